"""KeyboardInterrupt: the one mechanism by which the pools survive Ctrl-C, the Stop button, and other signal handlers.

Python runs a signal handler in the main thread, between any two bytecodes. If the handler raises, as the default one
of SIGINT does, the main thread stops in the middle of whatever it is doing. So in the main thread the pools do only two
kinds of things:

- *Single steps*, which an exception cannot divide: an `append` as the last statement of a locked block, one call of a
  function written in C, or one assignment in a `finally`.
- *Acts*, which must happen as a whole: starting workers, closing, cancelling, or leaving a stream. `uninterrupted` runs
  an act in a short-lived thread, where Python never runs a signal handler. An interrupt ends the wait for the act, but
  not the act. An act costs about 0.1 ms.

Without this, an interrupt could stop an act half-way. Then a job could be in no place, a running worker could be in no
list, or a lock could stay locked.

The pools do not pass a generator expression to `any`, `all`, or `next`, which may leave it early. Python closes a
generator that is left. If a signal handler raises in this moment, Python prints the exception and goes on without it.

An act must not call `threading.current_thread()`. The thread of an act was not started by `threading`, so that call
would make a record for it that is never removed. An act must not call user code in its own thread, because that code
may call it.
"""

from _thread import start_new_thread
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import RLock, get_ident, main_thread
from typing import TypeVar, cast

from .parker import SLICE

T = TypeVar("T")


def uninterrupted(act: Callable[[], T]) -> T:
    """Call act() so that no KeyboardInterrupt can stop it half-way. Return its result, or raise its error.

    In any other thread than the main one this is a plain call, because KeyboardInterrupt cannot arrive there.
    """
    if not may_be_interrupted():
        return act()
    outcome: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
    try:
        start_new_thread(_run, (act, outcome))
    except RuntimeError:  # The interpreter is exiting, or the machine has no thread left. Run the act unprotected.
        return act()
    value, error = _wait_for(outcome)
    if error is None:
        return cast(T, value)
    try:
        raise error
    finally:
        del error  # The traceback of the error refers to this frame, so the two would form a reference cycle.


def _run(act: Callable[[], T], outcome: SimpleQueue[tuple[T | None, BaseException | None]]) -> None:
    try:
        outcome.put((act(), None))
    except BaseException as error:
        outcome.put((None, error))


def may_be_interrupted() -> bool:
    """Return True in the main thread, the only one in which Python runs signal handlers."""
    return get_ident() == main_thread().ident


def is_stop_button(problem: BaseException) -> bool:
    """Return True if `problem`, which a call of user code raised, may be the KeyboardInterrupt of the Stop button.

    Python raises that KeyboardInterrupt in the main thread only. In any other thread it comes from the user code.
    """
    # Not isinstance, because it reads `problem.__class__`, which may be user code.
    return issubclass(type(problem), KeyboardInterrupt) and may_be_interrupted()


def _wait_for(outcome: SimpleQueue[T]) -> T:
    while True:
        try:
            return outcome.get(timeout=SLICE)
        except Empty:
            continue


def in_own_thread(act: Callable[[], object]) -> None:
    """Call act() in a thread of its own and do not wait for it.

    Use it for clean-up in a place where the calling thread may hold the lock that the act needs. For example, the
    garbage collector may close a forgotten stream in any thread and at any moment.
    """
    start_new_thread(act, ())


def release_if_owned(lock: RLock) -> None:
    """Release `lock` if an interrupt has left it locked by the calling thread.

    CPython 3.14 can raise KeyboardInterrupt after `with lock` has taken the lock and before its block begins. No code
    can prevent that, and an act in another thread would then wait for the lock forever.
    """
    try:
        while True:
            lock.release()
    except RuntimeError:  # The calling thread does not hold the lock, or does not hold it any more.
        pass
