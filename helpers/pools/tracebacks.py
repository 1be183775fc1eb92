"""Clear the local variables of a failed handler, so that a pool can keep the error without keeping the handler's data.

A traceback refers to frames, and a frame refers to its local variables, such as the picture that is being resized or a
page of rows. Without this module, a pool that keeps ten thousand failed results would keep ten thousand pictures. After
the frames are cleared, the traceback still shows every file and line, but no local variables.

Always true: a frame is cleared only if the handler's own call created it. Such a frame leads to the frame that called
the handler, because a frame that has returned still refers to its caller (`f_back`). All other frames are foreign: they
belong to the user. An error has foreign frames if it was first raised elsewhere: by another job, in another thread, or
in a generator that is suspended now. Clearing a foreign frame would destroy data that is in use. Before Python 3.13, it
would even close a suspended generator, which then never yields its remaining values.

The work per error is bounded. A single exception object that is raised again and again, such as a module-level
constant, collects the traceback entries of every raise. Only the first `MAX_FOREIGN_ENTRIES` foreign entries are kept.
"""

from contextlib import suppress
from opcode import opmap
from types import FrameType, TracebackType
from typing import Any

from . import checks

MAX_FOREIGN_ENTRIES = 32  # the number of foreign traceback entries that are kept per error
MAX_ERRORS = 100  # the number of errors that are cleared: the error itself, its causes, contexts, and group members

GENERATORS = checks.GENERATOR | checks.COROUTINE | checks.ASYNC_GENERATOR
SUSPENDING = {opmap["YIELD_VALUE"], opmap["SEND"], opmap["RESUME"]}  # a suspended generator has stopped at one of these
RAISING = {opmap["RAISE_VARARGS"], opmap["RERAISE"]}  # the instructions of a `raise` statement

# Use the descriptors of the base class, because a subclass may override the attributes with code that raises.
_traceback: Any = BaseException.__traceback__
_cause: Any = BaseException.__cause__
_context: Any = BaseException.__context__
_members: Any = BaseExceptionGroup.exceptions


def clear_locals(error: BaseException, root: FrameType) -> None:
    """Clear the local variables of every frame below `root` that the tracebacks of `error` refer to.

    `root` is the frame that called the handler. The traceback entry of `root` itself contains no useful information and
    is removed. Causes, contexts, and the members of exception groups are cleared too. The function uses no attribute or
    method that a class of errors can override, so no error can make it raise.
    """
    # For each frame that was checked: True if the handler's call created it, False if it is foreign.
    ours = {root: True}
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo and len(seen) < MAX_ERRORS:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        _clear_traceback(current, root, ours)
        todo += [_cause.__get__(current), _context.__get__(current)]
        if issubclass(type(current), BaseExceptionGroup):  # not isinstance, which runs user code in `__class__`
            todo += _members.__get__(current)[:MAX_ERRORS]


def _clear_traceback(error: BaseException, root: FrameType, ours: dict[FrameType, bool]) -> None:
    """Clear the frames of one error's traceback, and remove the entries after the last foreign one that is kept."""
    entry = _without_root(error, root)
    kept: list[TracebackType] = []
    foreign = 0
    while entry is not None and foreign < MAX_FOREIGN_ENTRIES:
        if kept and _called_ended_generator(kept[-1], entry.tb_frame):
            ours.setdefault(entry.tb_frame, ours.get(kept[-1].tb_frame, False))
        kept.append(entry)
        if _is_ours(entry.tb_frame, ours):
            _clear(entry.tb_frame)
        else:
            foreign += 1
        entry = entry.tb_next
    if entry is not None:
        _traceback.__set__(error, _copy(kept))


def _without_root(error: BaseException, root: FrameType) -> TracebackType | None:
    """Remove the entry of `root` from the error's traceback, and return the first entry that is left."""
    entry: TracebackType | None = _traceback.__get__(error)
    if entry is not None and entry.tb_frame is root:
        entry = entry.tb_next
        _traceback.__set__(error, entry)
    return entry


def _called_ended_generator(before: TracebackType, frame: FrameType) -> bool:
    """Return True if `frame` is a generator that has ended and that the frame of the entry `before` it has called.

    Only Python 3.11 needs this function. From 3.12 on, `f_back` of an ended generator refers to its caller. In 3.11 it
    is None, as it is for a suspended generator, which must not be cleared. Two instructions decide instead:

    - The instruction at which `frame` has stopped. A suspended generator has stopped at a `yield` or an `await`. (It is
      not enough to compare `f_lasti` with `tb_lasti`: a generator that catches an error at its `yield`, and then waits
      at the same `yield` again, has the same value in both.)
    - The instruction that put `before` into the traceback. If it is a call or a loop, it called `frame`. If it is a
      `raise`, it raised an error that already existed, and `frame` is from an earlier raise, perhaps by another job.
    """
    if frame.f_back is not None or not frame.f_code.co_flags & GENERATORS:
        return False
    stopped_at = frame.f_code.co_code[frame.f_lasti]
    entered_by = before.tb_frame.f_code.co_code[before.tb_lasti]
    return stopped_at not in SUSPENDING and entered_by not in RAISING


def _copy(entries: list[TracebackType]) -> TracebackType | None:
    """Return a traceback of copies of these entries, because the originals may be part of another traceback too."""
    trace: TracebackType | None = None
    for entry in reversed(entries):
        trace = TracebackType(trace, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return trace


def _is_ours(frame: FrameType, ours: dict[FrameType, bool]) -> bool:
    """Return True if the root frame called `frame`, directly or through others. Record the answer in `ours`."""
    chain: list[FrameType] = []
    caller: FrameType | None = frame
    while caller is not None and caller not in ours:
        chain.append(caller)
        caller = caller.f_back
    answer = caller is not None and ours[caller]
    ours.update(dict.fromkeys(chain, answer))
    return answer


def _clear(frame: FrameType) -> None:
    with suppress(RuntimeError):  # the frame is still running: the handler's generator, in another thread
        frame.clear()
