"""Where finished results go: an outlet for `results()`, one for each stream, or one that calls a callback.

Always true: a result is counted before it is put into an outlet, so a thread that has read a result finds it in
`stats()`. `put` and `get` are one call each of a function written in C. A None in an outlet is not a result. It wakes
the reader, which then checks again what there is to do.
"""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

from .result import Result

Job = TypeVar("Job")
Value = TypeVar("Value")


class Outlet(SimpleQueue[Result[Job, Value] | None]):
    """The finished results for one reader, in the order in which they finished.

    Attributes:
        is_open:       False once the reader has left the stream that reads here; guarded by the pool's lock.
        delayed:       the number of jobs of this outlet that wait for a retry; guarded by the pool's lock.
        unread:        the number of results that the stream still has to read; only the reading thread uses it.
        has_callback:  True if `deliver` must be called, without the lock, after results were put here.
    """

    # With slots, a job costs 8% less time, because CPython 3.11 is slow at the attributes of a subclass of a C class.
    __slots__ = ("delayed", "has_callback", "is_open", "unread")

    def __init__(self) -> None:
        super().__init__()
        self.is_open = True
        self.delayed = self.unread = 0
        self.has_callback = False

    def wake(self) -> None:
        """Wake the reader, so that it checks again."""
        self.put(None)

    def deliver(self) -> None:
        """Deliver the results. This class does nothing here, because a reader takes the results."""


class CallbackOutlet(Outlet[Job, Value]):
    """Calls a callback with every result, in the thread that finished or cancelled the job.

    Every error of the callback goes to `note_error`, because that thread may be a worker, which must continue.
    """

    def __init__(self, callback: Callable[[Result[Job, Value]], object], note_error: Callable[[BaseException], None]):
        super().__init__()
        self.has_callback = True
        self._callback = callback
        self._note_error = note_error

    def deliver(self) -> None:
        """Call the callback with every result in this outlet."""
        while True:
            try:
                result = self.get_nowait()
            except Empty:
                return
            if result is not None:
                self._call(result)
            del result

    def _call(self, result: Result[Job, Value]) -> None:
        try:
            self._callback(result)
        except BaseException as error:
            self._note_error(error)
        del result  # A kept error refers to its frames, and they refer to this frame.
