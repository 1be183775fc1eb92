"""KeyboardInterrupt: the one mechanism by which the pools survive Ctrl-C, the Stop button, and every signal handler.

Python runs a signal handler in the main thread, between any two bytecodes. A handler that raises, as the default one
of SIGINT does, breaks off whatever the main thread is doing. So in the main thread the pools do two kinds of things:

- *Single steps*, which cannot be broken off: an `append` as the last statement of a locked block, one call of a
  `SimpleQueue`, or one assignment in a `finally`.
- *Acts* that must happen as a whole, such as starting workers, closing, cancelling, or leaving a stream. They run in
  a short-lived thread, where no signal handler ever runs, through `uninterrupted`. An interrupt ends the wait for the
  act, not the act. The price is about 0.1 ms per act.

Without this, an interrupt could end an act half-way. Then a job would be in no place, a running worker would be in no
list, or a lock would stay locked.

An act must not call `threading.current_thread()`: its thread was not started by `threading`, which would make a record
for it and never remove that record. An act must not call user code that waits for the main thread either.
"""

from _thread import start_new_thread
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import RLock, get_ident, main_thread
from typing import TypeVar, cast

from .parker import SLICE

T = TypeVar("T")


def uninterrupted(act: Callable[[], T]) -> T:
    """Call act() so that no KeyboardInterrupt can end it half-way. Return its result, or raise its error.

    In any thread but the main one this is a plain call, since Python raises KeyboardInterrupt nowhere else.
    """
    if not may_be_interrupted():
        return act()
    outcome: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
    try:
        start_new_thread(_run, (act, outcome))
    except RuntimeError:  # The interpreter is about to exit, or the machine has no thread left. Run it unprotected.
        return act()
    value, error = _wait_for(outcome)
    if error is None:
        return cast(T, value)
    try:
        raise error
    finally:
        del error  # its traceback refers to this frame: no cycle between the two


def _run(act: Callable[[], T], outcome: SimpleQueue[tuple[T | None, BaseException | None]]) -> None:
    try:
        outcome.put((act(), None))
    except BaseException as error:
        outcome.put((None, error))


def may_be_interrupted() -> bool:
    """True in the main thread, the only one in which Python runs signal handlers."""
    return get_ident() == main_thread().ident


def is_stop_button(problem: BaseException) -> bool:
    """True if `problem`, which a call of user code raised, may be the KeyboardInterrupt of the Stop button.

    Python raises that KeyboardInterrupt in the main thread only. In any other thread it comes from the user code.
    """
    # Not isinstance: it asks `problem.__class__`, which is user code.
    return issubclass(type(problem), KeyboardInterrupt) and may_be_interrupted()


def _wait_for(outcome: SimpleQueue[T]) -> T:
    while True:
        try:
            return outcome.get(timeout=SLICE)
        except Empty:
            continue


def in_own_thread(act: Callable[[], object]) -> None:
    """Call act() in a thread of its own and do not wait for it.

    For clean-up in a place where the calling thread may hold the lock that the act needs: the garbage collector closes
    a forgotten stream in whichever thread it runs.
    """
    start_new_thread(act, ())


def release_if_owned(lock: RLock) -> None:
    """Release `lock` if an interrupt has left it in the hands of the calling thread.

    CPython 3.14 can raise KeyboardInterrupt after `with lock` has taken the lock and before its block is entered.
    Nothing can prevent that; an act in another thread would then wait for the lock forever.
    """
    try:
        while True:
            lock.release()
    except RuntimeError:  # it is not ours, or not ours any more
        pass
