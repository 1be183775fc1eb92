"""A child process with limits, in which a function may exhaust what it likes: the reader's kernel survives it.

    report = run_in_sandbox(run_unbounded, handler, range(10_000), burst=True, memory=2 * 1024**3)
    report.succeeded, report.errors         # 61, {"RuntimeError: can't start new thread": 9939}

The child is a fresh Python, no fork: it inherits no thread, no lock and no open file. It gets its work through stdin,
which then stays open: when it ends, the parent is gone and the child goes too. It answers in an unnamed temporary
file, which no child can fill up and block on, as it could a pipe; so the parent needs no thread to empty it.
"""

import _thread
import inspect
import io
import json
import math
import os
import pickle
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import FunctionType
from typing import IO, Any, NamedTuple

import psutil

from helpers.services.environment import for_python
from helpers.services.words import class_name, describe, text_of

try:
    import resource
except ImportError:  # Windows has no such limits; the report says so
    resource = None  # type: ignore[assignment]

SAMPLE_SECONDS = 0.02
SAMPLING_SHARE = 5  # sampling takes at most one part in so many of the parent's time
START_CHECK_SECONDS = 0.005
ORPHAN_CHECK_SECONDS = 0.5
TAIL_BYTES = 1000  # of stderr, for the error of a child that crashed
GUARDS = 1  # threads of the child that are ours
ENOUGH_FILES = 10_240  # macOS says "unlimited", and then refuses more than this


class Sample(NamedTuple):
    """One look at the child, from outside."""

    seconds: float  # since the function began
    threads: int  # the main one included
    memory: int  # bytes resident
    connections: int  # TCP, established; the last known number, as counting them is slow


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """What became of a function in the sandbox.

    Attributes:
        jobs, succeeded, failed:  if the function returned a collection of objects with an `error` (None: success), such
            as a list of `Result`: how many there were. They are counted in the child and stay there. Else 0.
        errors:   how often each kind of error was theirs (see `error_kind`), the most frequent first.
        value:    what the function returned, if it was no such collection and can be pickled; else None.
        error:    None, or what ended the function: the kind of its exception, "killed: timed out after 60 s",
                  "killed by SIGKILL" (what a system short of memory does), "exited with status 3". If the child
                  crashed, the end of what it wrote to stderr follows on the next lines.
        peak_threads, peak_connections:  the most in one sample; connections are TCP, established.
        peak_memory:  bytes resident, the imports included; the kernel's own maximum, or, where that cannot be had (a
                  child that was killed), the most in one sample.
        seconds:  wall time of the function alone; of what it had until it was killed.
        samples:  what the parent saw about every 20 ms.
        limits:   "memory" (bytes), "files", "threads", "timeout" (seconds) -> the limit that really was in force, or
                  None where there was none: because none was asked for, or because the platform has none.
    """

    jobs: int = 0
    succeeded: int = 0
    failed: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    value: Any = None
    error: str | None = None
    peak_threads: int = 0
    peak_memory: int = 0
    peak_connections: int = 0
    seconds: float = 0.0
    samples: tuple[Sample, ...] = field(default=(), repr=False)
    limits: dict[str, float | None] = field(default_factory=dict)


def run_in_sandbox(
    function: Callable[..., Any],
    *args: Any,
    memory: int | None = None,
    files: int | None = None,
    threads: int | None = None,
    timeout: float = 60.0,
    **kwargs: Any,
) -> SandboxReport:
    """Call `function(*args, **kwargs)` in a fresh child process under limits, and tell what happened.

    Args:
        function:  must live in a module that can be imported, as must the functions and classes of the arguments: the
                   child gets their names only. A lambda or what a notebook cell defines cannot go.
        memory:    bytes of address space (RLIMIT_AS), from just before the call; imports come before. Address space is
                   more than resident memory: a thread reserves 8 MiB for its stack and uses little of it.
                   Not enforced on macOS, not there on Windows.
        files:     open files, sockets included (RLIMIT_NOFILE); None: as many as the system allows. Not on Windows.
        threads:   threads at one time, the main one included. The kernel's own limit (RLIMIT_NPROC) does not bind root,
                   so this one is counted in `threading.Thread.start`, which raises the RuntimeError that the kernel's
                   limit would bring. Threads that C code starts are not counted.
        timeout:   seconds from this call on; then the child is killed, and what it had counted is lost.

    It is for code that is careless, not for code that is malicious. What the child prints is not shown. When this
    process is interrupted the child is killed and the KeyboardInterrupt goes on; when it dies the child ends too.
    Raises TypeError or ValueError for bad limits and for what cannot be sent to the child.
    """
    for name, limit in (("memory", memory), ("files", files), ("threads", threads)):
        if limit is not None:
            check_whole(name, limit)
    check_number("timeout", timeout, above=0)
    deadline = time.monotonic() + timeout
    work = _pack(function, args, kwargs)
    order = pickle.dumps(({"memory": memory, "files": files, "threads": threads}, work))
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaints:
        child = _start(str(len(order)), answer, complaints)
        watch = _Watch(child, answer)
        try:
            _send(child, order)
            in_time = watch.until(deadline)
        finally:
            _end(child)
        ending = _ending(child.returncode, complaints) if in_time else f"killed: timed out after {timeout:g} s"
        return _report(watch, answer, ending, timeout)


# error_kind, which charts and tables count by

_WHOLE = (  # forms whose meaning does not stand last
    (re.compile(r"'([1-5]\d\d [^']*)' for url"), r"\1"),  # httpx
    (re.compile(r"\(([2-5]\d\d), b?(['\"])(.*?)\2"), r"\1 \3"),  # smtplib
)
_WAY = r"(?:\b(?:for url|to|at|from|on) )?['\"(\[<]*"  # what leads up to an address, and goes with it
_IPV4 = r"\b\d{1,3}(?:\.\d{1,3}){3}\b"
_IPV6 = r"(?<![\w:])[0-9a-fA-F:]*::[0-9a-fA-F:]*(?!\w)"
_NOISE = (
    (r"\[(?:Errno|WinError) -?\d+\]", ""),
    (_WAY + r"\b[a-z][a-z0-9+.-]*://[^\s'\")>]+['\")>]?", ""),
    (_WAY + rf"(?:{_IPV4}|{_IPV6})['\"\]]?(?::\d+|(?:, ?\d+)*)[)\]]?", ""),
    (r",? ?\bport[ =]\d+", ""),
    (r"<?[\w.+-]+@[\w-]+(?:\.[\w-]+)*>?", ""),
    (r"(?: at)? ?\b0x[0-9a-fA-F]+\b", ""),
    (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", ""),
    (r"\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{12,}\b", ""),
    (r"(?<!\w)(['\"])(?=[^'\"]*[\d/\\@])[^'\"]*\1(?!\w)", ""),  # a quoted path, id or address; quoted names stay
    (r"(?<!\w)\(\s*\)|''|\"\"", ""),
    (r"\s+", " "),
)
_NOISE_PATTERNS = tuple((re.compile(pattern), by) for pattern, by in _NOISE)
_NUMBER = re.compile(r"(?<![A-Za-z0-9])\d+(?:[.,:]\d+)*(?![A-Za-z0-9])")
_QUOTED = re.compile(r"(['\"])[^'\"]*\1")


def error_kind(error: BaseException) -> str:
    """A short text that is the same for errors of the same kind: "OperationalError: sorry, too many clients already".

    It is the name of the class and the last part of the message that says something. Addresses, ports, URLs and ids
    are left out, other numbers become N; the code of an HTTP or SMTP answer stays. Never raises.
    """
    name: str = class_name(type(error))
    try:
        lines = str.__str__(str(error)).strip().splitlines()
    except BaseException as problem:  # an exception whose __str__ is broken is still one of its class
        if isinstance(problem, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise  # it may be the Stop button
        return name
    meaning = _meaning(lines[0][:1000]) if lines else ""
    return f"{name}: {meaning}" if meaning else name


def _meaning(line: str) -> str:
    for form, by in _WHOLE:
        if found := form.search(line):
            return _quiet(found.expand(by))
    for part in reversed(re.split(r":(?:\s+|$)", _NUMBER.sub("N", _quiet(line)))):
        words = part.strip(" ,;.-")
        if re.search(r"[^\W\d_]{2}", words) and not _QUOTED.fullmatch(words):
            return words[:120]
    return ""


def _quiet(line: str) -> str:
    for pattern, by in _NOISE_PATTERNS:
        line = pattern.sub(by, line)
    return line.strip()


# What the services need: how bad input is refused, and how a process gets along with its parent


def check_number(name: str, value: Any, *, above: float | None = None, least: float | None = None) -> None:
    """Raises TypeError if `value` is no int or float, ValueError if it is not finite or too small."""
    rule = f"more than {above}" if above is not None else f"at least {least}"
    message = f"{name} must be a finite number, {rule}, not {describe(value)}"
    if type(value) is bool or not issubclass(type(value), int | float):  # isinstance() may run the value's own code
        raise TypeError(message)
    low = (above is not None and value <= above) or (least is not None and value < least)
    if low or not value <= sys.float_info.max:  # NaN as well
        raise ValueError(message)


def check_whole(name: str, value: Any, *, least: int = 1, most: int = sys.maxsize) -> None:
    """Raises TypeError if `value` is no int (True is none), ValueError if it is not from `least` to `most`."""
    message = f"{name} must be a whole number of at least {least}, not {describe(value)}"
    if type(value) is bool or not issubclass(type(value), int):
        raise TypeError(message)
    if value < least:
        raise ValueError(message)
    if value > most:
        raise ValueError(f"{name} must be a whole number of at most {most}, not {describe(value)}")


def check_path(name: str, value: Any) -> None:
    """Raises TypeError if `value` is no path."""
    if not issubclass(type(value), str | os.PathLike):
        raise TypeError(f"{name} must be a path, not {describe(value)}")


def check_url(value: Any, *schemes: str) -> None:
    """Raises TypeError if `value` is no text, ValueError if it begins with none of `schemes`."""
    message = f"url must be text that begins with {' or '.join(schemes)}, not {describe(value)}"
    if not issubclass(type(value), str):
        raise TypeError(message)
    if not value.startswith(schemes):
        raise ValueError(message)


def raise_open_files() -> int | None:
    """Let this process open as many files as the system allows it to; that number, or None on Windows."""
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(soft, ENOUGH_FILES) if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def die_with_parent(stdin: int) -> None:
    """In a child: start a thread that ends this process, and its group, once the parent is gone.

    The parent is gone when the pipe `stdin` (a file descriptor) ends. A process that was forked from the parent may
    hold the pipe's other end open; so the parent's pid is watched as well. The thread is not of `threading`: neither
    its counts nor its exit know of it.
    """
    parent = os.getppid()

    def watch() -> None:
        if os.name == "nt":
            os.read(stdin, 1)
        else:
            while os.getppid() == parent and not select.select([stdin], [], [], ORPHAN_CHECK_SECONDS)[0]:
                pass
            if os.getpgrp() == os.getpid():
                os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)

    _thread.start_new_thread(watch, ())


# The parent's side


class _ByName(pickle.Pickler):
    """Pickles functions and classes by name, as pickle does, but refuses those whose name the child cannot import."""

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, FunctionType | type) and (thing.__module__ == "__main__" or "<" in thing.__qualname__):
            raise ValueError(
                f"{thing.__module__}.{thing.__qualname__} must live in an importable module: the sandbox is a new "
                "process, which knows no lambda, no inner function and nothing that a notebook cell or script defines"
            )
        return NotImplemented


def _pack(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    if not callable(function):
        raise TypeError(f"function must be callable, not {describe(function)}")
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"function must be a plain function: nobody awaits the coroutine of {describe(function)}")
    buffer = io.BytesIO()
    try:
        _ByName(buffer).dump((function, args, kwargs))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"function and arguments must be picklable, to be sent to the sandbox: {text_of(error)}"
        ) from error
    return buffer.getvalue()


def _start(argument: str, answer: IO[bytes], complaints: IO[bytes]) -> "subprocess.Popen[bytes]":
    executable, environment, flags = sys.executable, for_python(), 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        # A virtual environment's python.exe only starts another one; as multiprocessing does, start that one directly,
        # so that the process we watch is the one that works.
        if sys.prefix != sys.base_prefix:
            executable = getattr(sys, "_base_executable", executable)
            environment["__PYVENV_LAUNCHER__"] = sys.executable
    return subprocess.Popen(
        [executable, "-P", "-c", _BOOT, json.dumps(sys.path), argument],
        stdin=subprocess.PIPE,
        stdout=answer,
        stderr=complaints,
        env=environment,
        start_new_session=True,  # the Stop button's SIGINT is for us; we decide what becomes of the child
        creationflags=flags,
    )


def _send(child: "subprocess.Popen[bytes]", order: bytes) -> None:
    assert child.stdin is not None
    try:
        child.stdin.write(order)
        child.stdin.flush()
    except OSError:
        pass  # the child is dead already: how it died will be in the report


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Kill the child, and what it has started, if it is still there. Leaves no zombie and no pipe."""
    if child.poll() is None:
        if os.name == "nt":
            child.kill()
        else:
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert child.stdin is not None
    with suppress(OSError):  # what was not sent cannot be flushed
        child.stdin.close()


class _Watch:
    """Looks at the child from the moment its function begins until it ends."""

    def __init__(self, child: "subprocess.Popen[bytes]", answer: IO[bytes]) -> None:
        self.samples: list[Sample] = []
        self.began = self.ended = 0.0
        self._child, self._answer = child, answer
        self._connections = 0
        self._count_next = -math.inf

    def until(self, deadline: float) -> bool:
        """Return True when the child has ended, False if it is still there at `deadline`."""
        pause = START_CHECK_SECONDS
        while (now := time.monotonic()) < deadline:
            if self.began:
                self._sample(now)
                pause = max(SAMPLE_SECONDS, (time.monotonic() - now) * (SAMPLING_SHARE - 1))
            elif os.fstat(self._answer.fileno()).st_size:  # the child's first word is that the function begins
                self.began = now
                continue
            try:
                self._child.wait(max(0.0, min(pause, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                continue
            self.ended = time.monotonic()
            return True
        self.ended = time.monotonic()
        return False

    def _sample(self, now: float) -> None:
        try:
            process = psutil.Process(self._child.pid)
            threads, memory = process.num_threads() - GUARDS, process.memory_info().rss
            if now >= self._count_next:
                self._connections = sum(c.status == psutil.CONN_ESTABLISHED for c in process.net_connections("tcp"))
                done = time.monotonic()
                self._count_next = done + (done - now) * (SAMPLING_SHARE - 1)
        except (psutil.Error, OSError):
            return  # the child has just ended
        if memory:  # a zombie has none
            self.samples.append(Sample(now - self.began, threads, memory, self._connections))


def _ending(status: int, complaints: IO[bytes]) -> str | None:
    """How the child ended, in words; None if it ended well."""
    if status == 0:
        return None
    try:
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
    except ValueError:  # a real-time signal has no name
        how = f"killed by signal {-status}"
    size = complaints.seek(0, os.SEEK_END)
    complaints.seek(max(0, size - TAIL_BYTES))
    return f"{how}\n{complaints.read().decode(errors='replace')}".strip()


def _report(watch: _Watch, answer: IO[bytes], ending: str | None, timeout: float) -> SandboxReport:
    """Put together what the child has said (its words, as far as it came) and what the parent has seen."""
    words: dict[str, Any] = {}
    answer.seek(0)
    try:
        while True:
            words.update(pickle.load(answer))
    except (EOFError, pickle.UnpicklingError):
        pass  # the last word, or one that was cut short
    if "done" not in words:
        words["error"] = ending or "exited with status 0 before the function was done"
    samples = watch.samples
    return SandboxReport(
        jobs=words.get("jobs", 0),
        succeeded=words.get("succeeded", 0),
        failed=words.get("failed", 0),
        errors=words.get("errors", {}),
        value=_unpickled(words.get("value")),
        error=words["error"],
        peak_threads=max((sample.threads for sample in samples), default=0),
        peak_memory=words.get("peak_memory") or max((sample.memory for sample in samples), default=0),
        peak_connections=max((sample.connections for sample in samples), default=0),
        seconds=words.get("seconds", watch.ended - watch.began if watch.began else 0.0),
        samples=tuple(samples),
        limits={"memory": None, "files": None, "threads": None, **words.get("limits", {}), "timeout": timeout},
    )


def _unpickled(value: bytes | None) -> Any:
    try:
        return None if value is None else pickle.loads(value)
    except Exception:  # a value that cannot be unpickled is one that cannot be sent
        return None


# The child's side

_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from helpers.services.sandbox import _child; _child()"


def _child() -> None:
    """The child's life: read the order, say that the function begins, call it, say what came of it."""
    orders, answers = _take(0), _take(1)
    with open(orders, "rb", buffering=0, closefd=False) as pipe, open(answers, "wb") as answer:
        asked, work = pickle.loads(_read(pipe, int(sys.argv[2])))
        die_with_parent(orders)

        def say(**words: Any) -> None:
            pickle.dump(words, answer)
            answer.flush()

        try:
            function, args, kwargs = pickle.loads(work)
        except BaseException as error:
            say(done=True, error=error_kind(error))
        else:
            _call(function, args, kwargs, _Limits(**asked), say)
    os._exit(0)  # the function's threads may never end


def _read(pipe: IO[bytes], size: int) -> bytes:
    """Exactly `size` bytes: a buffered reader would wait for more, and none comes while the parent lives."""
    pieces = []
    while size and (piece := pipe.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _call(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], limits: "_Limits", say: Any
) -> None:
    value: Any = None
    failure: BaseException | None = None
    say(limits=limits.in_force)
    began = time.monotonic()
    try:
        limits.apply()
        value = function(*args, **kwargs)
        if isinstance(value, Iterator):
            value = list(value)  # a generator's work is done here, under the limits
    except BaseException as error:
        failure = error
    finally:
        limits.lift()  # before anything else: there may not be a byte left to say so with
    seconds = time.monotonic() - began
    if failure is None:
        say(done=True, seconds=seconds, error=None, peak_memory=_peak_memory(), **_outcome(value))
    else:  # Run as little code as possible: CPython 3.15.0 may crash in `issubclass` after it was out of memory.
        say(done=True, seconds=seconds, error=error_kind(failure), peak_memory=_peak_memory())


def _outcome(value: Any) -> dict[str, Any]:
    """The tally of a collection of results; for anything else its pickle, if it has one."""
    errors = _errors_of(value)
    if errors:
        kinds = Counter(error_kind(error) for error in errors if error is not None)
        failed = kinds.total()
        return {
            "jobs": len(errors),
            "succeeded": len(errors) - failed,
            "failed": failed,
            "errors": dict(kinds.most_common()),
        }
    try:
        return {"value": pickle.dumps(value)}
    except BaseException:  # raised by the value's own code: nothing of it may keep the child from reporting
        return {"value": None}


def _errors_of(value: Any) -> list[Any]:
    """The `error` of each item if `value` is a collection of results; an empty list if it is anything else."""
    kind = type(value)  # isinstance() may run the value's own code
    if not issubclass(kind, Collection) or issubclass(kind, str | bytes | Mapping):
        return []
    try:
        return [item.error for item in value]
    except BaseException:  # no results, or a collection that cannot be read
        return []


class _Limits:
    """What the function is held to, from `apply` to `lift`. `in_force` names what this platform can really hold."""

    def __init__(self, memory: int | None, files: int | None, threads: int | None) -> None:
        self._old: list[tuple[int, tuple[int, int]]] = []
        self._new: list[tuple[int, tuple[int, int]]] = []
        self._threads = threads
        most_files = raise_open_files()
        if resource is None:
            memory = files = None
        else:
            memory = self._plan(resource.RLIMIT_AS, memory) if sys.platform != "darwin" else None
            files = self._plan(resource.RLIMIT_NOFILE, files) or most_files
        self.in_force = {"memory": memory, "files": files, "threads": threads}

    def _plan(self, kind: int, limit: int | None) -> int | None:
        if limit is None:
            return None
        soft, hard = resource.getrlimit(kind)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        self._new.append((kind, (limit, hard)))
        self._old.append((kind, (soft, hard)))  # only the soft limit moves, so that it can move back
        return limit

    def apply(self) -> None:
        if self._threads is not None:
            _limit_threads(self._threads)
        for kind, limit in self._new:
            resource.setrlimit(kind, limit)

    def lift(self) -> None:
        for kind, limit in self._old:
            resource.setrlimit(kind, limit)


def _limit_threads(most: int) -> None:
    start = threading.Thread.start
    lock = threading.Lock()  # guards: no thread starts between the count and the start that it allowed

    def limited(thread: threading.Thread) -> None:
        with lock:
            if threading.active_count() >= most:
                raise RuntimeError("can't start new thread")
            start(thread)

    threading.Thread.start = limited  # type: ignore[method-assign,assignment]


def _take(standard: int) -> int:
    """A file descriptor of our own for stdin or stdout; what the function reads or prints there goes nowhere."""
    ours = os.dup(standard)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, standard)
    os.close(nowhere)
    return ours


def _peak_memory() -> int:
    """The most bytes this process ever had resident; 0 if the platform does not say."""
    try:
        # Not getrusage: on Linux its maximum survives exec, so a child begins with that of the process that made it.
        with open("/proc/self/status", "rb") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(b"VmHWM"))
    except (OSError, StopIteration):
        pass
    if resource is not None:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return getattr(psutil.Process().memory_info(), "peak_wset", 0)
