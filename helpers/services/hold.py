"""Jobs that only need memory: each holds some bytes for a while, as a picture that is being resized would."""

import asyncio
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hold:
    """A handler: fill `size` bytes of memory, keep them for `seconds`, let go. Raises MemoryError if there are none."""

    size: int = 0
    seconds: float = 0.0

    def __call__(self, job: int) -> int:
        data = bytearray(self.size)
        time.sleep(self.seconds)
        return len(data)


@dataclass(frozen=True, slots=True)
class HoldAsync:
    """`Hold` for asyncio: a handler that is awaited."""

    size: int = 0
    seconds: float = 0.0

    async def __call__(self, job: int) -> int:
        data = bytearray(self.size)
        await asyncio.sleep(self.seconds)
        return len(data)
