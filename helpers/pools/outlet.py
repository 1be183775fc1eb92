"""Where finished results go: an outlet for `results()`, for each stream, or for a callback.

Always true: a result is counted before it is put here, so a thread that has read a result finds it in `stats()`. `put`
and `get` are one call in C each. A None in an outlet is not a result: it wakes the reader, which then checks again
whether there is something else to do.
"""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

from .result import Result

Job = TypeVar("Job")
Value = TypeVar("Value")


class Outlet(SimpleQueue[Result[Job, Value] | None]):
    """The finished results of one reader, in the order in which they finished.

    Attributes:
        wanted:   False once the stream that reads here has been left; guarded by the pool's lock.
        delayed:  the number of jobs of this outlet that wait for a retry; guarded by the pool's lock.
        owed:     the number of results that the stream still has to read; only the reading thread uses it.
        eager:    True if `deliver` must be called, without the lock, after results have been put here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wanted = True
        self.delayed = self.owed = 0
        self.eager = False

    def wake(self) -> None:
        """Wake the reader, so that it checks again."""
        self.put(None)

    def deliver(self) -> None:
        """Deliver the results. In this class nothing is done, because a reader takes them."""


class CallbackOutlet(Outlet[Job, Value]):
    """Calls a callback with every result, in the thread that finished or cancelled the job.

    All that the callback raises goes to `note_error`, because that thread may be a worker, which must go on.
    """

    def __init__(self, callback: Callable[[Result[Job, Value]], object], note_error: Callable[[BaseException], None]):
        super().__init__()
        self.eager = True
        self._callback = callback
        self._note_error = note_error

    def deliver(self) -> None:
        """Call the callback with every result that is here."""
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
        del result  # the frames of an error that is kept lead to this frame
