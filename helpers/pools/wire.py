"""How two processes exchange Python objects over pipes: one frame per object.

A frame is a header (its kind, the length of the pickle, the number of buffers), the lengths of the buffers, the pickle,
and the buffers. The buffers are the memory of large arrays (pickle protocol 5, PEP 574): they are written to the pipe
without being copied into the pickle first.

Always true: a frame is written as a whole or not at all, if only one thread at a time calls `send`. `pack` may fail,
because it runs the user's `__reduce__`, but it writes nothing. A mistake here would mix two frames, and the reader
would unpickle garbage.
"""

import pickle
from collections.abc import Sequence
from struct import Struct
from typing import Any, BinaryIO, NamedTuple

_header = Struct("<BxxxIQ")  # kind, number of buffers, length of the pickle in bytes
_length = Struct("<Q")
SMALL = 32_768  # bytes: a frame up to this size is joined and written with one system call


class Frame(NamedTuple):
    """One frame: `kind`, a number from 0 to 255 that the two sides agree on, and a pickled object with its buffers."""

    kind: int
    pickled: bytes | bytearray
    buffers: Sequence[Any] = ()

    def load(self) -> Any:
        """Unpickle the object. Raises whatever the classes of the object raise: this is user code."""
        return pickle.loads(self.pickled, buffers=self.buffers)


def pack(kind: int, value: Any) -> Frame:
    """Return the frame of an object. Raises whatever pickling the object raises: this is user code."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return Frame(kind, pickled, [buffer.raw() for buffer in buffers])


def send(pipe: BinaryIO, frame: Frame) -> None:
    """Write a frame. Raises OSError (BrokenPipeError) if the other side has closed the pipe."""
    lengths = [_length.pack(buffer.nbytes) for buffer in frame.buffers]
    head = b"".join((_header.pack(frame.kind, len(frame.buffers), len(frame.pickled)), *lengths))
    if not frame.buffers and len(frame.pickled) <= SMALL:
        _write(pipe, head + frame.pickled)
        return
    for part in (head, frame.pickled, *frame.buffers):
        _write(pipe, part)


def receive(pipe: BinaryIO) -> Frame:
    """Read the next frame. Raises EOFError if the other side has closed the pipe."""
    kind, count, length = _header.unpack(_read(pipe, _header.size))
    lengths = [_length.unpack(_read(pipe, _length.size))[0] for _ in range(count)]
    pickled = _read(pipe, length)
    return Frame(kind, pickled, [_read(pipe, size) for size in lengths])


def _write(pipe: BinaryIO, data: Any) -> None:
    """Write all of `data`. The pipe is unbuffered, so one call may write only a part."""
    rest = memoryview(data)
    while rest:
        rest = rest[pipe.write(rest) :]


def _read(pipe: BinaryIO, size: int) -> bytearray:
    """Read exactly `size` bytes. Raises EOFError if the pipe ends before."""
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        count = pipe.readinto(rest)  # type: ignore[attr-defined]  # BinaryIO does not declare it
        if not count:
            raise EOFError("the other process has closed the pipe")
        rest = rest[count:]
    return data
