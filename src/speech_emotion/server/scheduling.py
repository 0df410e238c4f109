"""Fair shares of the cores. In: work for threads. Out: its results, each core doing one piece at a time.

Every sound that comes over the network, live or whole, is scored in turns of a tenth of a second. So no request waits
for all of another one's sound.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from speech_emotion.cores import n_cores

TURN_SECONDS: Final = 0.1  # of sound; a live message usually has as much

T = TypeVar("T")


class Cores:
    """The cores that all requests of an app share."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(n_cores())

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return `work(*arguments)`, called in a thread once a core is free; first come, first served.

        The core stays taken until the thread is done, even if the request was cancelled: threads cannot be.
        """
        async with self._free:
            done = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
            try:
                return await asyncio.shield(done)
            finally:
                while not done.done():
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait([done])
