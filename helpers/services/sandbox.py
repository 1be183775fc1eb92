"""A child process with limits, in which a function may exhaust its resources. The notebook's kernel is not affected.

    report = run_in_sandbox(run_unbounded, handler, range(10_000), burst=True, memory=2 * 1024**3)
    report.succeeded, report.errors         # 61, {"RuntimeError: can't start new thread": 9939}

The child is a new Python process and not a fork, so it inherits no thread, no lock, and no open file. It receives its
work through stdin, which then stays open. When stdin ends, the parent is gone, and the child ends too. The child
writes its answer to an unnamed temporary file. In contrast to a pipe, a file does not block when it is full, so the
parent needs no thread that reads it.
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
except ImportError:  # Windows has no such limits, and the report says so
    resource = None  # type: ignore[assignment]

SAMPLE_SECONDS = 0.02
SAMPLING_SHARE = 5  # sampling takes at most 1 / SAMPLING_SHARE of the parent's time
START_CHECK_SECONDS = 0.005
ORPHAN_CHECK_SECONDS = 0.5
TAIL_BYTES = 1000  # the end of stderr that becomes part of the error of a child that crashed
GUARDS = 1  # threads of the child that belong to the sandbox and not to the function
ENOUGH_FILES = 10_240  # macOS reports "unlimited" but refuses more than this


class Sample(NamedTuple):
    """One observation of the child, made by the parent."""

    seconds: float  # since the start of the function
    threads: int  # including the main thread
    memory: int  # resident bytes
    connections: int  # established TCP connections; counting is slow, so this can be the number of an earlier sample


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """The outcome of a function in the sandbox.

    Attributes:
        jobs, succeeded, failed:  the numbers of results, if the function returned a collection of objects with an
                  attribute `error` (None: success), such as a list of `Result`; otherwise 0. The results are counted in
                  the child and are not sent to the parent.
        errors:   how often each kind of error occurred (see `error_kind`), the most frequent first.
        value:    the value that the function returned, if it was not such a collection and can be pickled; else None.
        error:    None, or why the function ended: the kind of its exception, "killed: timed out after 60 s",
                  "killed by SIGKILL" (for example by a system without free memory), "exited with status 3". If the
                  child crashed, the end of its stderr follows on the next lines.
        peak_threads, peak_connections:  the maximum over all samples; established TCP connections are counted.
        peak_memory:  the maximum of the resident bytes, including the imports, as the kernel reports it. If it is not
                  available, as for a child that was killed, the maximum over all samples.
        seconds:  the wall time of the function alone, until it returned or was killed.
        samples:  observations by the parent, about one every 20 ms.
        limits:   "memory" (bytes), "files", "threads", "timeout" (seconds) -> the limit that was in force, or None if
                  no limit was given or if the platform does not have it.
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
    """Call `function(*args, **kwargs)` in a new child process with limits, and report the outcome.

    Args:
        function:  it and the functions and classes of the arguments must be in importable modules, because the child
                   receives only their names. A lambda, or a function that is defined in a notebook cell, is refused.
        memory:    the limit on the address space in bytes (RLIMIT_AS). It is set just before the call, after the
                   imports. Address space is more than resident memory: a thread reserves 8 MiB for its stack and uses
                   little of it. The limit is not enforced on macOS and does not exist on Windows.
        files:     the limit on open files, including sockets (RLIMIT_NOFILE). None: as many as the system allows. The
                   limit does not exist on Windows.
        threads:   the limit on threads at a time, including the main thread. The kernel's limit (RLIMIT_NPROC) does not
                   apply to root. So `threading.Thread.start` counts the threads and raises the same RuntimeError as for
                   the kernel's limit. Threads that C code starts are not counted.
        timeout:   seconds from this call on. Then the child is killed, and the counts of its results are lost.

    The sandbox protects against careless code, not against malicious code. The output of the child is not shown. If
    this process is interrupted, the child is killed and the KeyboardInterrupt is raised again. If this process dies,
    the child ends too. Raises TypeError or ValueError for bad limits and for arguments that cannot be pickled.
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


# error_kind, by which charts and tables group errors

_WHOLE = (  # messages whose meaning is not in the last part
    (re.compile(r"'([1-5]\d\d [^']*)' for url"), r"\1"),  # httpx
    (re.compile(r"\(([2-5]\d\d), b?(['\"])(.*?)\2"), r"\1 \3"),  # smtplib
)
_WAY = r"(?:\b(?:for url|to|at|from|on) )?['\"(\[<]*"  # words and signs before an address, removed with it
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
    (r"(?<!\w)(['\"])(?=[^'\"]*[\d/\\@])[^'\"]*\1(?!\w)", ""),  # a quoted path, id, or address; names stay
    (r"(?<!\w)\(\s*\)|''|\"\"", ""),
    (r"\s+", " "),
)
_NOISE_PATTERNS = tuple((re.compile(pattern), by) for pattern, by in _NOISE)
_NUMBER = re.compile(r"(?<![A-Za-z0-9])\d+(?:[.,:]\d+)*(?![A-Za-z0-9])")
_QUOTED = re.compile(r"(['\"])[^'\"]*\1")


def error_kind(error: BaseException) -> str:
    """Return a short text that is equal for errors of the same kind.

    An example is "OperationalError: sorry, too many clients already". The text has the name of the class and the last
    meaningful part of the message. Addresses, ports, URLs, and ids are removed, and other numbers become N, but the
    code of an HTTP or SMTP answer is kept. An error whose `__str__` raises gives the name of its class.
    """
    name: str = class_name(type(error))
    try:
        lines = str.__str__(str(error)).strip().splitlines()
    except BaseException as problem:  # the exception's __str__ is broken
        if isinstance(problem, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise  # it can come from the Stop button
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


# Functions for all services: checks of arguments, the limit on open files, and the end of an orphaned child


def check_number(name: str, value: Any, *, above: float | None = None, least: float | None = None) -> None:
    """Raise TypeError if `value` is not an int or float, ValueError if it is not finite or too small."""
    rule = f"more than {above}" if above is not None else f"at least {least}"
    message = f"{name} must be a finite number, {rule}, not {describe(value)}"
    if type(value) is bool or not issubclass(type(value), int | float):  # isinstance() can run the value's own code
        raise TypeError(message)
    low = (above is not None and value <= above) or (least is not None and value < least)
    if low or not value <= sys.float_info.max:  # NaN as well
        raise ValueError(message)


def check_whole(name: str, value: Any, *, least: int = 1, most: int = sys.maxsize) -> None:
    """Raise TypeError if `value` is not an int, or is a bool; ValueError if it is not from `least` to `most`."""
    message = f"{name} must be a whole number of at least {least}, not {describe(value)}"
    if type(value) is bool or not issubclass(type(value), int):
        raise TypeError(message)
    if value < least:
        raise ValueError(message)
    if value > most:
        raise ValueError(f"{name} must be a whole number of at most {most}, not {describe(value)}")


def check_path(name: str, value: Any) -> None:
    """Raise TypeError if `value` is not a path."""
    if not issubclass(type(value), str | os.PathLike):
        raise TypeError(f"{name} must be a path, not {describe(value)}")


def check_url(value: Any, *schemes: str) -> None:
    """Raise TypeError if `value` is not text, ValueError if it begins with none of `schemes`."""
    message = f"url must be text that begins with {' or '.join(schemes)}, not {describe(value)}"
    if not issubclass(type(value), str):
        raise TypeError(message)
    if not value.startswith(schemes):
        raise ValueError(message)


def raise_open_files() -> int | None:
    """Raise this process's limit on open files as far as the system allows. Return the limit, or None on Windows."""
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(soft, ENOUGH_FILES) if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def die_with_parent(stdin: int) -> None:
    """Start a thread that kills this child process and its process group when the parent is gone.

    The pipe `stdin` (a file descriptor) ends when the parent is gone, unless another process that was forked from the
    parent holds the pipe open. So the parent's pid is checked as well. The thread is started without `threading`, so
    that `threading` does not count it or wait for it at the exit.
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
    """A pickler that refuses functions and classes that the child cannot import by name."""

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, FunctionType | type) and (thing.__module__ == "__main__" or "<" in thing.__qualname__):
            raise ValueError(
                f"{thing.__module__}.{thing.__qualname__} must be in an importable module: the sandbox is a new "
                "process, which cannot import a lambda, an inner function, or a name from a notebook cell or a script"
            )
        return NotImplemented


def _pack(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    if not callable(function):
        raise TypeError(f"function must be callable, not {describe(function)}")
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"function must be a plain function, because nothing awaits a coroutine: {describe(function)}")
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
        # On Windows, the python.exe of a virtual environment only starts another python.exe. Start that one directly,
        # as multiprocessing does, so that the process that is watched is the one that runs the function.
        if sys.prefix != sys.base_prefix:
            executable = getattr(sys, "_base_executable", executable)
            environment["__PYVENV_LAUNCHER__"] = sys.executable
    return subprocess.Popen(
        [executable, "-P", "-c", _BOOT, json.dumps(sys.path), argument],
        stdin=subprocess.PIPE,
        stdout=answer,
        stderr=complaints,
        env=environment,
        start_new_session=True,  # so that the Stop button's SIGINT reaches only the parent, which then kills the child
        creationflags=flags,
    )


def _send(child: "subprocess.Popen[bytes]", order: bytes) -> None:
    assert child.stdin is not None
    try:
        child.stdin.write(order)
        child.stdin.flush()
    except OSError:
        pass  # the child has died already, and the report will say how


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Kill the child and its process group if it still runs. Leave no zombie and no open pipe."""
    if child.poll() is None:
        if os.name == "nt":
            child.kill()
        else:
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert child.stdin is not None
    with suppress(OSError):  # flushing fails if the child has not read everything
        child.stdin.close()


class _Watch:
    """Takes samples of the child from the start of its function until it ends."""

    def __init__(self, child: "subprocess.Popen[bytes]", answer: IO[bytes]) -> None:
        self.samples: list[Sample] = []
        self.began = self.ended = 0.0
        self._child, self._answer = child, answer
        self._connections = 0
        self._count_next = -math.inf

    def until(self, deadline: float) -> bool:
        """Return True when the child has ended, False if it still runs at `deadline`."""
        pause = START_CHECK_SECONDS
        while (now := time.monotonic()) < deadline:
            if self.began:
                self._sample(now)
                pause = max(SAMPLE_SECONDS, (time.monotonic() - now) * (SAMPLING_SHARE - 1))
            elif os.fstat(self._answer.fileno()).st_size:  # the child's first message: the function starts
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
            return  # the child has ended in the meantime
        if memory:  # 0 for a zombie
            self.samples.append(Sample(now - self.began, threads, memory, self._connections))


def _ending(status: int, complaints: IO[bytes]) -> str | None:
    """Return a description of how the child ended, or None if its exit status is 0."""
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
    """Combine the messages of the child, as far as it sent them, with the observations of the parent."""
    words: dict[str, Any] = {}
    answer.seek(0)
    try:
        while True:
            words.update(pickle.load(answer))
    except (EOFError, pickle.UnpicklingError):
        pass  # the end of the messages, or a message that is incomplete
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
    except Exception:  # a value that cannot be unpickled is treated like one that cannot be pickled
        return None


# The child's side

_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from helpers.services.sandbox import _child; _child()"


def _child() -> None:
    """Run the child: read the work, report the start of the function, call it, and report the outcome."""
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
    os._exit(0)  # because the function's threads may never end


def _read(pipe: IO[bytes], size: int) -> bytes:
    """Read exactly `size` bytes. A buffered reader would wait for more, and none arrives while the parent lives."""
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
            value = list(value)  # so that the code of a generator runs here, under the limits
    except BaseException as error:
        failure = error
    finally:
        limits.lift()  # first, because without free memory nothing else could run
    seconds = time.monotonic() - began
    if failure is None:
        say(done=True, seconds=seconds, error=None, peak_memory=_peak_memory(), **_outcome(value))
    else:  # Run as little code as possible: CPython 3.15.0 may crash in `issubclass` after it was out of memory.
        say(done=True, seconds=seconds, error=error_kind(failure), peak_memory=_peak_memory())


def _outcome(value: Any) -> dict[str, Any]:
    """Return the counts of a collection of results, or, for any other value, its pickle if it has one."""
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
    except BaseException:  # raised by the value's own code, which must not keep the child from reporting
        return {"value": None}


def _errors_of(value: Any) -> list[Any]:
    """Return the `error` of each item if `value` is a collection of results, or an empty list for any other value."""
    kind = type(value)  # isinstance() can run the value's own code
    if not issubclass(kind, Collection) or issubclass(kind, str | bytes | Mapping):
        return []
    try:
        return [item.error for item in value]
    except BaseException:  # the items are not results, or the collection cannot be read
        return []


class _Limits:
    """The limits of the function, from `apply` to `lift`. `in_force` has the limits that this platform can enforce."""

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
        self._old.append((kind, (soft, hard)))  # only the soft limit is changed, so that it can be restored
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
    lock = threading.Lock()  # guards: no thread starts between the check of the count and the start that it allows

    def limited(thread: threading.Thread) -> None:
        with lock:
            if threading.active_count() >= most:
                raise RuntimeError("can't start new thread")
            start(thread)

    threading.Thread.start = limited  # type: ignore[method-assign,assignment]


def _take(standard: int) -> int:
    """Return a new file descriptor for stdin or stdout, and redirect the standard one to the null device.

    So the function can neither read the pipe from the parent nor write to the answer.
    """
    ours = os.dup(standard)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, standard)
    os.close(nowhere)
    return ours


def _peak_memory() -> int:
    """Return the maximum of the resident bytes of this process so far, or 0 if the platform does not report it."""
    try:
        # Not getrusage: on Linux its maximum survives exec, so a child starts with the maximum of its parent.
        with open("/proc/self/status", "rb") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(b"VmHWM"))
    except (OSError, StopIteration):
        pass
    if resource is not None:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return getattr(psutil.Process().memory_info(), "peak_wset", 0)
