"""Ctrl-C and the Stop button, put off for the few lines that must be done as a whole.

Python hears a SIGINT between any two calls of the main thread, and raises KeyboardInterrupt there: half-way through
cancelling a queue, say; or inside `threading`, where it can leave a lock taken for ever (in `with condition`, Event.set
and Thread.start) or a running thread marked as ended (in Thread.join, before Python 3.13).
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident, main_thread


@contextmanager
def undisturbed() -> Iterator[None]:
    """A SIGINT that comes inside is heard at the end of the block. Keep it short: microseconds, or one TICK.

    Only the main thread hears signals; in all others this does nothing. Blocks may be nested.
    """
    handler = signal.getsignal(signal.SIGINT)
    if get_ident() != main_thread().ident or handler is None:  # None: not installed by Python, and not ours to replace
        yield
        return
    pressed: list[int] = []
    try:
        signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if pressed:
            signal.raise_signal(signal.SIGINT)
