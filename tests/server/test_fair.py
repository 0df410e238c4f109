"""Whose turn it is: every client has its share of the time, and a crowd makes room for others."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from speech_emotion.server.fair import FairQueue, FullError, Ticket


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def served(queue: FairQueue[int], n: int, seconds: dict[str, float]) -> str:
    """The clients of the next `n` requests, each of which takes as long as its client's always do."""
    clients = ""
    for _ in range(n):
        ticket = await queue.get()
        clients += ticket.client
        queue.charge(ticket, seconds.get(ticket.client, 0.1))
    return clients


@in_loop
async def test_a_crowd_of_one_client_waits_for_the_single_request_of_another() -> None:
    queue: FairQueue[int] = FairQueue(100)
    for number in range(20):
        queue.put(Ticket("a", number))
    await served(queue, 5, {})
    queue.put(Ticket("b", 0))
    assert await served(queue, 2, {}) in ("ab", "ba")


@in_loop
async def test_shares_are_of_time_and_not_of_requests() -> None:
    queue: FairQueue[int] = FairQueue(100)
    for number in range(40):
        queue.put(Ticket("a", number))
        queue.put(Ticket("b", number))
    order = await served(queue, 33, {"a": 1.0, "b": 0.1})
    assert order.count("b") >= 8 * order.count("a")


@in_loop
async def test_a_client_that_was_silent_has_saved_nothing() -> None:
    queue: FairQueue[int] = FairQueue(100)
    for number in range(60):
        queue.put(Ticket("a", number))
    await served(queue, 30, {})
    for number in range(30):
        queue.put(Ticket("b", number))
    order = await served(queue, 20, {})
    assert 8 <= order.count("a") <= 12


@in_loop
async def test_in_a_full_queue_the_newest_of_the_crowd_makes_room() -> None:
    queue: FairQueue[int] = FairQueue(3)
    crowd = [Ticket("a", number) for number in range(3)]
    for ticket in crowd:
        queue.put(ticket)
    assert queue.is_full_for("a")
    with pytest.raises(FullError):
        queue.put(Ticket("a", 3))
    assert not queue.is_full_for("b")
    queue.put(Ticket("b", 0))
    assert isinstance(crowd[2].answer.exception(), FullError)
    assert sorted(await served(queue, 3, {})) == ["a", "a", "b"]
    assert len(queue) == 0


@in_loop
async def test_a_request_that_was_given_up_takes_no_turn() -> None:
    queue: FairQueue[int] = FairQueue(3)
    gone, cancelled, there = (Ticket("a", number) for number in range(3))
    for ticket in (gone, cancelled, there):
        queue.put(ticket)
    queue.discard(gone)
    cancelled.answer.cancel()
    assert await queue.get() is there
    assert len(queue) == 0


@in_loop
async def test_a_request_that_was_put_back_is_the_first_of_its_client() -> None:
    queue: FairQueue[int] = FairQueue(3)
    for number in range(3):
        queue.put(Ticket("a", number))
    first = await queue.get()
    queue.put(Ticket("a", 3))
    queue.put_back(first)  # the queue is full, and takes it nevertheless
    assert [(await queue.get()).request for _ in range(4)] == [0, 1, 2, 3]
