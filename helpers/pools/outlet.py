"""Where finished results go: one outlet for `results()`, one for every stream, one that feeds a callback.

Always true: a result is counted before it is put here, so whoever reads a result finds it in `stats()`. `put` and `get`
are one call in C each. A None in an outlet is not a result: it wakes the reader, who then looks again at what it
is waiting for.
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
        delayed:  how many jobs of this outlet wait for a retry; guarded by the pool's lock.
        owed:     results that the stream has still to read; only the reading thread uses it.
        eager:    True if `deliver` must be called, without the lock, after results have been put here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wanted = True
        self.delayed = self.owed = 0
        self.eager = False

    def wake(self) -> None:
        """Have the reader look again."""
        self.put(None)

    def deliver(self) -> None:
        """Hand out what has been put here. In this outlet the results wait for their reader instead."""


class CallbackOutlet(Outlet[Job, Value]):
    """Hands every result to a callback, in the thread that finished or cancelled the job.

    Whatever the callback raises goes to `note_error`: that thread is a worker that has more to do.
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
