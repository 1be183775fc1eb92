"""Handlers that only use memory: each holds some bytes for a while, like a handler that resizes a picture."""

import asyncio
import mmap
import time
from dataclasses import dataclass

from helpers.services.sandbox import check_number, check_whole

# Bytes that a job leaves free. Without them a process at its limit could not even create the MemoryError objects that
# it reports, and the interpreter would abort.
ROOM = 2**24


@dataclass(frozen=True, slots=True)
class Hold:
    """A handler that fills `size` bytes of memory and holds them for `seconds`. Raises MemoryError if it cannot."""

    size: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        _check(self.size, self.seconds)

    def __call__(self, job: int) -> int:
        data = _filled(self.size)
        time.sleep(self.seconds)
        return len(data)


@dataclass(frozen=True, slots=True)
class HoldAsync:
    """`Hold` for asyncio: the call is awaited."""

    size: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        _check(self.size, self.seconds)

    async def __call__(self, job: int) -> int:
        data = _filled(self.size)
        await asyncio.sleep(self.seconds)
        return len(data)


def _check(size: int, seconds: float) -> None:
    check_whole("size", size, least=0)
    check_number("seconds", seconds, least=0)


def _filled(size: int) -> bytearray:
    if size:
        try:
            mmap.mmap(-1, size + ROOM).close()  # reserved and released without use: raises if there is no room
        except OSError:
            raise MemoryError from None
    return bytearray(size)
