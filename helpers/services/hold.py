"""Jobs that only need memory: each holds some bytes for a while, as a picture that is being resized would."""

import asyncio
import mmap
import time
from dataclasses import dataclass

# Bytes a job leaves free for others. Without them a process at its limit cannot even make the MemoryErrors it should
# report, and the interpreter aborts.
ROOM = 2**24


@dataclass(frozen=True, slots=True)
class Hold:
    """A handler: fill `size` bytes of memory, keep them for `seconds`, let go. Raises MemoryError if there are none."""

    size: int = 0
    seconds: float = 0.0

    def __call__(self, job: int) -> int:
        data = _filled(self.size)
        time.sleep(self.seconds)
        return len(data)


@dataclass(frozen=True, slots=True)
class HoldAsync:
    """`Hold` for asyncio: a handler that is awaited."""

    size: int = 0
    seconds: float = 0.0

    async def __call__(self, job: int) -> int:
        data = _filled(self.size)
        await asyncio.sleep(self.seconds)
        return len(data)


def _filled(size: int) -> bytearray:
    if size:
        try:
            mmap.mmap(-1, size + ROOM).close()  # asked for and given back, never touched: is there room for both?
        except OSError:
            raise MemoryError from None
    return bytearray(size)
