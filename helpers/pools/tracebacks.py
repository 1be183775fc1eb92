"""Keep an error without keeping the data of the handler that raised it.

A traceback refers to frames, and a frame refers to its local variables: the picture being resized, a page of rows. A
pool that keeps ten thousand failed results would keep ten thousand pictures. So the frames of a failed handler are
cleared: the traceback still shows every file and line, but no local variables.

A frame is cleared only if the handler's own call created it. The chain of `f_back` tells that, because a frame that has
returned still refers to its caller. All other frames belong to the user. An error can bring such frames along when it
was first raised elsewhere: by another job, in another thread, or in a generator that is suspended. Before Python 3.13,
clearing the frame of a suspended generator closes it, and everything that it had not yet yielded is lost.

Work per error is bounded. A single exception object that is raised again and again, such as a module-level constant,
collects the traceback of every raise. Only the first `MOST_FOREIGN` entries that belong to others are kept.
"""

from contextlib import suppress
from opcode import opmap
from types import FrameType, TracebackType
from typing import Any

from . import checks

MOST_FOREIGN = 32  # traceback entries of other calls that are kept, per error
GENERATORS = checks.GENERATOR | checks.COROUTINE | checks.ASYNC_GENERATOR
SUSPENDED = {opmap["YIELD_VALUE"], opmap["SEND"], opmap["RESUME"]}
RAISES = {opmap["RAISE_VARARGS"], opmap["RERAISE"]}
MOST_ERRORS = 100  # errors that are looked at: the error itself, its causes, contexts, and members of groups

# The descriptors of the base class. A subclass may override the attributes, or `__setattr__`, with code that raises.
_traceback: Any = BaseException.__traceback__
_cause: Any = BaseException.__cause__
_context: Any = BaseException.__context__
_members: Any = BaseExceptionGroup.exceptions


def clear_locals(error: BaseException, root: FrameType) -> None:
    """Clear the local variables of every frame below `root` that the tracebacks of `error` refer to.

    `root` is the frame that called the handler. Its own entry has no useful information and is removed. Causes,
    contexts, and the members of exception groups are treated in the same way. Never raises because of what `error` is.
    """
    ours = {root: True}
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo and len(seen) < MOST_ERRORS:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        _clear_traceback(current, root, ours)
        todo += [_cause.__get__(current), _context.__get__(current)]
        if issubclass(type(current), BaseExceptionGroup):  # not isinstance: it asks `current.__class__`, user's code
            todo += _members.__get__(current)[:MOST_ERRORS]


def _clear_traceback(error: BaseException, root: FrameType, ours: dict[FrameType, bool]) -> None:
    entry = _without_root(error, root)
    kept: list[TracebackType] = []
    foreign = 0
    while entry is not None and foreign < MOST_FOREIGN:
        if kept and _has_called(kept[-1], entry.tb_frame):
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


def _has_called(caller: TracebackType, frame: FrameType) -> bool:
    """True if `frame` is a generator that has ended and that the frame before it in the traceback has called.

    Python 3.11 forgets who has called a generator once the generator has ended. So the instructions tell: a generator
    that is suspended stands at a yield, and a frame that has raised an older error stands at a raise.
    """
    if frame.f_back is not None or not frame.f_code.co_flags & GENERATORS:
        return False
    here, there = frame.f_code.co_code[frame.f_lasti], caller.tb_frame.f_code.co_code[caller.tb_lasti]
    return here not in SUSPENDED and there not in RAISES


def _copy(entries: list[TracebackType]) -> TracebackType | None:
    """Return a traceback of copies of these entries. The originals may be part of another traceback too."""
    trace: TracebackType | None = None
    for entry in reversed(entries):
        trace = TracebackType(trace, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return trace


def _is_ours(frame: FrameType, ours: dict[FrameType, bool]) -> bool:
    """Return True if `root` called this frame, directly or through others. The answer is added to `ours`."""
    chain: list[FrameType] = []
    caller: FrameType | None = frame
    while caller is not None and caller not in ours:
        chain.append(caller)
        caller = caller.f_back
    answer = caller is not None and ours[caller]
    ours.update(dict.fromkeys(chain, answer))
    return answer


def _clear(frame: FrameType) -> None:
    with suppress(RuntimeError):  # The frame is still running: a generator of the handler, in another thread.
        frame.clear()
