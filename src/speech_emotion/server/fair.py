"""Whose turn it is. In: requests of several clients. Out: the next one, so that every client has the same share.

A client is a key, or an address where there are no keys. The next request is that of the client that has used the
least time so far, however many requests others have sent. In a full queue the newest request of the client with the
most requests makes room. So nobody can fill the queue for the others, and nobody is late because of a crowd.
"""

import asyncio
from collections import deque
from typing import Final, Generic, TypeVar

FIRST_GUESS_SECONDS: Final = 0.1  # what a request takes, before there was one

T = TypeVar("T")


class FullError(Exception):
    """The queue is full, and this request has to make room."""


class Ticket(Generic[T]):
    """A request in the queue.

    Attributes:
        client: Whose it is.
        request: What is asked for.
        answer: What the client waits for. FullError if the request had to make room.
        n_attempts: How many workers were killed while they had it.
    """

    def __init__(self, client: str, request: T) -> None:
        self.client, self.request = client, request
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.n_attempts = 0
        self.estimate = 0.0  # seconds charged when its turn came


class FairQueue(Generic[T]):
    """Requests that wait."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._waiting: dict[str, deque[Ticket[T]]] = {}
        self._used: dict[str, float] = {}  # seconds, on a clock that starts where the others are
        self._now = 0.0  # what the client whose turn came last had used
        self._arrivals = asyncio.Semaphore(0)
        self.mean_seconds = FIRST_GUESS_SECONDS

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def is_full_for(self, client: str) -> bool:
        """Whether a request of `client` would be refused now."""
        n_own = len(self._waiting.get(client, ()))
        n_most = max(map(len, self._waiting.values()), default=0)
        return len(self) >= self._max_waiting and n_own + 1 >= n_most

    def put(self, ticket: Ticket[T]) -> None:
        """Add a request.

        Raises:
            FullError: There is no room for it.
        """
        if self.is_full_for(ticket.client):
            raise FullError
        if len(self) >= self._max_waiting:
            crowd = max(self._waiting, key=lambda client: len(self._waiting[client]))
            newest = self._waiting[crowd].pop()
            if not newest.answer.done():
                newest.answer.set_exception(FullError())
        if ticket.client not in self._waiting:  # time in which it asked for nothing earns nothing
            self._used = {client: used for client, used in self._used.items() if used > self._now}
            self._used.setdefault(ticket.client, self._now)
        self._waiting.setdefault(ticket.client, deque()).append(ticket)
        self._arrivals.release()

    def put_back(self, ticket: Ticket[T]) -> None:
        """Add a request whose turn came to nothing, before all others of its client. There is always room for it."""
        self._waiting.setdefault(ticket.client, deque()).appendleft(ticket)
        self._arrivals.release()

    async def get(self) -> Ticket[T]:
        """Wait for the next request; one that was given up is skipped."""
        while True:
            await self._arrivals.acquire()
            if (ticket := self._next()) is not None:
                return ticket

    def _next(self) -> Ticket[T] | None:
        if not self._waiting:
            return None
        client = min(self._waiting, key=lambda name: self._used.get(name, self._now))
        ticket = self._waiting[client].popleft()
        self._drop_empty(client)
        if ticket.answer.done():
            return None
        self._now = self._used.setdefault(client, self._now)
        ticket.estimate = self.mean_seconds
        self._used[client] += ticket.estimate
        return ticket

    def charge(self, ticket: Ticket[T], seconds: float) -> None:
        """Say how long a request took."""
        if ticket.client in self._used:
            self._used[ticket.client] += seconds - ticket.estimate
        self.mean_seconds += 0.1 * (seconds - self.mean_seconds)

    def discard(self, ticket: Ticket[T]) -> None:
        """Take out a request whose client has gone."""
        queue = self._waiting.get(ticket.client)
        if queue and ticket in queue:
            queue.remove(ticket)
            self._drop_empty(ticket.client)

    def _drop_empty(self, client: str) -> None:
        if not self._waiting[client]:
            del self._waiting[client]
