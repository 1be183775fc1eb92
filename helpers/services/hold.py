"""Jobs that only need memory: each holds some bytes for a while, as a picture that is being resized would."""

import asyncio
import mmap
import time
from dataclasses import dataclass

from helpers.services.sandbox import check_number, check_whole

# Bytes a job leaves free for others. Without them a process at its limit cannot even make the MemoryErrors it should
# report, and the interpreter aborts.
ROOM = 2**24


@dataclass(frozen=True, slots=True)
class Hold:
    """A handler: fill `size` bytes of memory, keep them for `seconds`, let go. Raises MemoryError if there are none."""

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
    """`Hold` for asyncio: a handler that is awaited."""

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
            mmap.mmap(-1, size + ROOM).close()  # asked for and given back, never touched: is there room for both?
        except OSError:
            raise MemoryError from None
    return bytearray(size)
