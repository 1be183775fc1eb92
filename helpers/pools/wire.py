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
from io import RawIOBase
from struct import Struct
from typing import Any, NamedTuple

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


class Pipe:
    """One end of a pipe, an unbuffered file: `send` writes a frame to it, or `receive` reads one from it.

    Only one thread at a time may call a method. `_rest` has the bytes that were read beyond the last frame.
    """

    def __init__(self, file: RawIOBase) -> None:
        self._file = file
        self._rest = b""

    def close(self) -> None:
        """Close the pipe. The other side finds its end."""
        self._file.close()

    def send(self, frame: Frame) -> None:
        """Write a frame. Raises OSError (BrokenPipeError) if the other side has closed the pipe."""
        head = _header.pack(frame.kind, len(frame.buffers), len(frame.pickled))
        if not frame.buffers and len(frame.pickled) <= SMALL:
            self._write(head + frame.pickled)
            return
        lengths = [_length.pack(buffer.nbytes) for buffer in frame.buffers]
        for part in (head, *lengths, frame.pickled, *frame.buffers):
            self._write(part)

    def receive(self) -> Frame:
        """Read the next frame. Raises EOFError if the other side has closed the pipe."""
        data = self._rest or self._file.read(SMALL) or b""
        if len(data) >= _header.size:
            kind, count, length = _header.unpack_from(data)
            end = _header.size + length
            if not count and end <= len(data):  # One system call has read all of a small frame.
                self._rest = data[end:]
                return Frame(kind, data[_header.size : end])
        self._rest = data
        kind, count, length = _header.unpack(self._read(_header.size))
        lengths = [_length.unpack(self._read(_length.size))[0] for _ in range(count)]
        pickled = self._read(length)
        return Frame(kind, pickled, [self._read(size) for size in lengths])

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        while rest:  # One call may write only a part.
            rest = rest[self._file.write(rest) :]

    def _read(self, size: int) -> bytearray:
        """Read exactly `size` bytes. Raises EOFError if the pipe ends before."""
        data = bytearray(size)
        begun = len(self._rest[:size])
        data[:begun], self._rest = self._rest[:size], self._rest[size:]
        view = memoryview(data)
        while begun < size:
            count = self._file.readinto(view[begun:])
            if not count:
                raise EOFError("the other process has closed the pipe")
            begun += count
        return data
