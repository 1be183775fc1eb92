"""The engine `Processes`: the contract of the pools, with the handler in a child process of each worker."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import process_handlers as handlers
import psutil
import pytest
from conftest import CHAOS_SEED, wait_until

from helpers.pools import (
    DynamicPool,
    DynamicRetryingPool,
    HandlerFailed,
    ImageJob,
    ImageProcessor,
    JobCancelled,
    JobTimedOut,
    OutcomeUnknown,
    PoolExecutor,
    Processes,
    RetryingPool,
    RetryPolicy,
    WorkerDied,
    WorkerPool,
)
from helpers.services.photos import make_photo

ROOT = Path(__file__).parents[1]
POOLS = {
    "WorkerPool": partial(WorkerPool, workers=2),
    "DynamicPool": partial(DynamicPool, min_workers=1, max_workers=2),
    "RetryingPool": partial(RetryingPool, workers=2),
    "DynamicRetryingPool": partial(DynamicRetryingPool, min_workers=1, max_workers=2),
}
POLICY = RetryPolicy(max_attempts=3, base=0.001, cap=0.002)
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture(params=POOLS)
def make_pool(request):
    return partial(POOLS[request.param], engine=Processes())


others = set()  # processes of earlier tests, such as the resource tracker of multiprocessing


@pytest.fixture(autouse=True)
def no_child_left():
    others.update(psutil.Process().children(recursive=True))
    yield
    wait_until(lambda: not children(), 5.0)
    others.clear()


def children():
    return [process for process in psutil.Process().children(recursive=True) if process not in others]


def outcomes(handler, jobs, *, workers=2, engine=None, **options):
    """Return the results of a pool with the engine `Processes`, by job."""
    with WorkerPool(handler, workers=workers, engine=engine or Processes(), **options) as pool:
        return {result.job: result for result in pool.stream(jobs)}


# -- features that work as with threads -------------------------------------------------------------------------------


def test_values_come_from_other_processes(make_pool):
    with make_pool(handlers.pid_of) as pool:
        found = {result.value for result in pool.stream(range(40))}
    assert os.getpid() not in found
    assert 1 <= len(found) <= 2


def test_the_counts_are_those_of_any_pool(make_pool):
    with make_pool(handlers.raise_named) as pool:
        list(pool.stream([*["plain"] * 3, "unknown", "odd unknown", "cancelled"]))
    stats = pool.stats()
    assert (stats.submitted, stats.failed, stats.unknown, stats.cancelled) == (6, 3, 2, 1)


def test_a_retry_knows_its_attempt():
    with RetryingPool(handlers.attempt_of, workers=2, policy=POLICY, engine=Processes()) as pool:
        results = {result.job: result for result in pool.stream([0, 1, 2])}
    assert {job: result.value for job, result in results.items()} == {0: 1, 1: 2, 2: 3}
    assert [len(results[job].attempts) for job in (0, 1, 2)] == [1, 2, 3]


def test_a_handler_knows_its_worker():
    for result in outcomes(handlers.number_of, range(20)).values():
        assert result.value == result.worker


def test_an_executor_on_processes():
    with PoolExecutor(2, engine=Processes()) as executor:
        assert list(executor.map(handlers.double, range(10))) == [2 * n for n in range(10)]
        assert isinstance(executor.submit(handlers.raise_named, "plain").exception(), ValueError)


def test_an_image_processor_on_processes(tmp_path):
    make_photo(1, 640, 480).save(tmp_path / "photo.jpg")
    with ImageProcessor(workers=1, output=tmp_path, engine=Processes()) as service:
        [result] = service.stream([ImageJob("small", tmp_path / "photo.jpg", 100, 100)])
    assert result.value.path.name == "small_100x100.jpg"
    assert result.value.path.exists()


def test_each_child_opens_and_closes_its_own_resource(tmp_path):
    log = tmp_path / "log"
    found = outcomes(handlers.use_resource, range(20), resource=partial(handlers.notebook_of, log))
    pids = {result.value for result in found.values()}
    assert sorted(log.read_text().split("\n")[:-1]) == sorted(
        f"{what} {pid}" for pid in pids for what in ("open", "close")
    )


def run_child_main(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script that drives `ChildMain` without a pool, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


# The pool closes the pipe as soon as it has the reply, while the child still does what comes after sending it.
CLOSED_AT_ONCE = """
import os, pickle, sys, time
from functools import partial
import process_handlers as handlers
from helpers.pools.child_main import JOB, SETUP, TICK, ChildMain, Setup
from helpers.pools.wire import Pipe, pack

reader, writer = os.pipe()
parent = Pipe(os.fdopen(writer, "wb", buffering=0))
sent = []

class Outbox:
    def send(self, frame):
        sent.append(frame)
        if len(sent) == 2:  # the reply to the job, after that to the setup
            parent.close()
            time.sleep(4 * TICK)

child = ChildMain(Pipe(os.fdopen(reader, "rb", buffering=0)), Outbox())
resource = partial(handlers.notebook_of, sys.argv[1])
parent.send(pack(SETUP, Setup(1, None, *map(pickle.dumps, (handlers.use_resource_for_long, resource, ())))))
parent.send(pack(JOB, (1, 1)))
child.serve()
"""


def test_the_resource_is_closed_although_the_pipe_is_closed_right_after_a_long_job(tmp_path):
    run_child_main(CLOSED_AT_ONCE, str(tmp_path / "log")).check_returncode()
    assert [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()] == ["open", "close"]


CANCELLED_AT_ONCE = """
import os, pickle
import process_handlers as handlers
from helpers.pools.child_main import CANCEL, JOB, SETUP, ChildMain, Setup
from helpers.pools.wire import Pipe, pack

class Outbox:
    def send(self, frame):
        print(frame.load())

reader, writer = os.pipe()
parent = Pipe(os.fdopen(writer, "wb", buffering=0))
parent.send(pack(CANCEL, None))
parent.send(pack(SETUP, Setup(1, None, *map(pickle.dumps, (handlers.wait_for_cancelled, None, ())))))
parent.send(pack(JOB, (1, 1)))
parent.close()
ChildMain(Pipe(os.fdopen(reader, "rb", buffering=0)), Outbox()).serve()
"""


def test_a_child_can_be_cancelled_before_it_is_set_up():
    done = run_child_main(CANCELLED_AT_ONCE)
    assert (done.stdout, done.stderr) == ("None\nstopped\n", "")


PARENT_IS_GONE = """
import os, pickle
import process_handlers as handlers
from helpers.pools.child_main import SETUP, ChildMain, Setup
from helpers.pools.wire import Pipe, pack

class Outbox:
    def send(self, frame):
        raise BrokenPipeError

reader, writer = os.pipe()
parent = Pipe(os.fdopen(writer, "wb", buffering=0))
parent.send(pack(SETUP, Setup(1, None, *map(pickle.dumps, (handlers.double, None, ())))))
ChildMain(Pipe(os.fdopen(reader, "rb", buffering=0)), Outbox()).serve()
"""


def test_a_child_whose_parent_has_ended_before_it_is_ready_ends_silently():
    done = run_child_main(PARENT_IS_GONE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_broken_resource_is_opened_again(tmp_path):
    log = tmp_path / "log"
    jobs = [1, "break", 2]
    outcomes(handlers.use_resource, jobs, workers=1, resource=partial(handlers.notebook_of, log))
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["open", "close", "open", "close"]


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("plain", ValueError),
        ("exit", SystemExit),
        ("interrupt", KeyboardInterrupt),
        ("group", ExceptionGroup),
        ("odd", HandlerFailed),
        ("evil", HandlerFailed),
        ("unknown", OutcomeUnknown),
        ("odd unknown", OutcomeUnknown),
        ("cancelled", JobCancelled),
    ],
)
def test_any_exception_of_a_handler_is_the_error_of_its_job(name, kind):
    found = outcomes(handlers.raise_named, [name], workers=1)
    assert type(found[name].error) is kind
    [note] = found[name].error.__notes__
    assert note.startswith("in the child process:")
    assert "raise_named" in note or name == "evil"


def test_an_error_that_cannot_be_pickled_keeps_its_text():
    error = outcomes(handlers.raise_named, ["odd"])["odd"].error
    assert str(error) == "Odd: 1 and 2 (this error could not be pickled and sent back as it was)"


@pytest.mark.parametrize(
    ("handler", "kind", "text"),
    [
        (handlers.unpicklable_value, TypeError, "the handler's value cannot be pickled and sent back"),
        (handlers.value_that_breaks, ValueError, "invalid literal"),
        (handlers.explode_on_import, ModuleNotFoundError, "module_that_does_not_exist"),
    ],
)
def test_a_value_that_cannot_be_unpickled_fails_only_its_job(handler, kind, text):
    found = outcomes(handler, [1, 2])
    for result in found.values():
        assert type(result.error) is kind
        assert text in str(result.error)


def test_a_job_that_cannot_be_pickled_fails_alone():
    with WorkerPool(handlers.double, workers=1, engine=Processes()) as pool:
        odd, good = list(pool.stream([lambda: 1, 2]))
    assert str(odd.error).startswith("the job cannot be pickled and sent to a process")
    assert good.value == 4


def test_a_module_that_a_child_cannot_import_fails_the_jobs_and_nothing_hangs(monkeypatch):
    monkeypatch.setenv("BROKEN_HANDLERS", str(os.getpid()))
    import broken_handlers

    found = outcomes(broken_handlers.handle, [1, 2, 3])
    assert [str(result.error) for result in found.values()] == ["this module is broken in a child"] * 3


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"handler": lambda job: job}, "handler must be importable in a new process"),
        ({"resource": lambda: None}, "resource must be importable in a new process"),
        ({"broken": lambda error: True}, "broken must be importable in a new process"),
    ],
)
def test_a_handler_that_a_process_cannot_import_is_refused_by_the_constructor(arguments, text):
    with pytest.raises(TypeError, match=text):
        WorkerPool(**{"handler": handlers.double, "engine": Processes()} | arguments)


def test_a_function_of_a_script_or_a_notebook_is_refused_with_a_way_to_fix_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from helpers.pools import Processes, WorkerPool\n"
        "def handle(job): return job\n"
        "try:\n    WorkerPool(handle, engine=Processes())\n"
        "except TypeError as error:\n    print(error)\n"
    )
    said = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert "move what is defined in this script or notebook into a .py file, and import it" in said.stdout
    assert not said.stderr


@pytest.mark.parametrize(
    "engine",
    [
        Processes(timeout=0),
        Processes(timeout="1"),
        Processes(grace=-1),
        Processes(start_timeout=None),
        Processes(memory=0),
        Processes(memory=1.5),
        "processes",
        Processes,
        3,
    ],
)
def test_a_bad_engine_is_refused(engine):
    with pytest.raises((TypeError, ValueError), match="must be"):
        WorkerPool(handlers.double, engine=engine)


# -- crashes and time limits ----------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize(
    ("way", "code", "text"),
    [
        ("kill", -9, "was killed by SIGKILL"),
        ("exit", 3, "ended with exit code 3 in the middle of its job"),
        ("segfault", -11, "was killed by SIGSEGV"),
    ],
)
def test_a_child_that_dies_fails_exactly_its_job(make_pool, way, code, text):
    with make_pool(handlers.die) as pool:
        found = {result.job: result for result in pool.stream([*range(10), way, *range(10, 20)])}
    assert {job for job, result in found.items() if not result.ok} == {way}
    assert type(found[way].error) is WorkerDied
    assert found[way].error.exit_code == code
    assert text in str(found[way].error)
    assert pool.stats().succeeded == 20


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="Windows, and macOS before Python 3.13")
def test_a_child_that_is_killed_while_it_has_no_job_fails_none():
    with WorkerPool(handlers.pid_of, workers=1, engine=Processes()) as pool:
        pool.submit(1)
        results = pool.results()
        first = next(results).value
        os.kill(first, signal.SIGKILL)
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT  # so that the pool can still read the exit code
        wait_until(lambda: os.waitid(os.P_PID, first, ended) is not None)
        pool.submit(2)
        second = next(results)
    assert second.ok
    assert second.value != first


@posix
def test_a_forked_process_that_lives_on_does_not_hide_the_death_of_the_child(tmp_path):
    with WorkerPool(handlers.fork_and_die, workers=1, engine=Processes()) as pool:
        [result] = pool.stream([tmp_path / "pid"])
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert type(result.error) is WorkerDied


@pytest.mark.parametrize("handler", [handlers.sleep, handlers.hold_the_lock])
def test_a_job_that_takes_too_long_fails_alone(handler):
    if os.name != "posix" and handler is handlers.hold_the_lock:
        pytest.skip("usleep is a function of POSIX")
    found = outcomes(handler, [0, 0.001, 60, 0.002], engine=Processes(timeout=2.0))
    assert {job for job, result in found.items() if not result.ok} == {60}
    assert type(found[60].error) is JobTimedOut
    assert "it took longer than 2 s" in str(found[60].error)


def test_the_time_of_a_job_does_not_include_the_start_of_its_child(tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(2.5)\ndef handle(job): return job\n")
    monkeypatch.syspath_prepend(tmp_path)
    import slow_to_import

    found = outcomes(slow_to_import.handle, [1], workers=1, engine=Processes(timeout=2.0))
    assert found[1].ok, found[1].error


def test_a_child_that_never_gets_ready_is_killed(tmp_path, monkeypatch):
    (tmp_path / "never_ready.py").write_text(
        "import os, time\nif os.environ.get('PARENT') != str(os.getpid()):\n    time.sleep(60)\n"
        "def handle(job): return job\n"
    )
    monkeypatch.setenv("PARENT", str(os.getpid()))
    monkeypatch.syspath_prepend(tmp_path)
    import never_ready

    found = outcomes(never_ready.handle, [1], workers=1, engine=Processes(start_timeout=0.3))
    assert type(found[1].error) is JobTimedOut


def test_a_retrying_pool_retries_a_job_whose_child_died():
    with RetryingPool(handlers.sleep, workers=1, policy=POLICY, engine=Processes(timeout=0.2)) as pool:
        [result] = pool.stream([60])
    assert [type(attempt.error) for attempt in result.attempts] == [JobTimedOut] * 3
    [letter] = pool.dead_letters()
    assert letter.job == 60


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces RLIMIT_AS")
def test_memory_is_limited():
    # Not 512 MiB: a free-threaded Python reserves more address space than that when it starts.
    found = outcomes(handlers.need_memory, [1000, 2**33], engine=Processes(memory=2**32))
    assert found[1000].value == 1000
    assert type(found[2**33].error) is MemoryError


def test_a_large_value_makes_the_trip_unchanged():
    np = pytest.importorskip("numpy")
    array = np.arange(2_500_000, dtype="f4")
    with WorkerPool(handlers.echo, workers=1, engine=Processes()) as pool:
        first, second = pool.stream([array, b"x" * 10_000_000])
    assert (first.value == array).all()
    assert first.value.flags.writeable
    assert second.value == b"x" * 10_000_000


# -- the end --------------------------------------------------------------------------------------------------------


def test_a_forced_shutdown_reaches_the_handler():
    results = []
    pool = WorkerPool(handlers.wait_for_cancelled, workers=2, engine=Processes(grace=20.0), on_result=results.append)
    for job in range(2):
        pool.submit(job)
    wait_until(lambda: pool.stats().running == 2 and len(children()) == 2)
    pool.force_shutdown()
    wait_until(lambda: len(results) == 2)
    assert [result.value for result in results] == ["stopped"] * 2


@pytest.mark.parametrize("handler", [handlers.sleep, handlers.hold_the_lock])
def test_a_handler_that_does_not_stop_is_killed(handler):
    if os.name != "posix" and handler is handlers.hold_the_lock:
        pytest.skip("usleep is a function of POSIX")
    results = []
    pool = WorkerPool(handler, workers=2, engine=Processes(grace=0.1), on_result=results.append)
    for _ in range(4):
        pool.submit(60)
    wait_until(lambda: pool.stats().running == 2 and len(children()) == 2)
    pool.force_shutdown()
    wait_until(lambda: len(results) == 4)
    errors = [result.error for result in results]
    assert sorted(type(error).__name__ for error in errors) == [
        "JobCancelled",
        "JobCancelled",
        "WorkerDied",
        "WorkerDied",
    ]
    wait_until(lambda: not children())


def test_the_time_limit_of_a_job_also_ends_it_during_the_grace():
    results = []
    engine = Processes(timeout=0.4, grace=60.0)
    pool = WorkerPool(handlers.sleep, workers=1, engine=engine, on_result=results.append)
    pool.submit(60)
    wait_until(lambda: pool.stats().running == 1 and len(children()) == 1)
    pool.force_shutdown()
    wait_until(lambda: results)
    assert type(results[0].error) is JobTimedOut


def test_a_deadline_ends_a_pool_whose_handler_hangs():
    pool = WorkerPool(handlers.sleep, workers=1, engine=Processes(grace=0.1))
    pool.submit(60)
    wait_until(lambda: pool.stats().running == 1)
    pool.shutdown(deadline=0.1)
    wait_until(lambda: pool.stats().workers == 0)
    assert pool.stats().failed == 1


def test_what_a_handler_prints_goes_to_stderr_and_not_into_the_pipe(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import process_handlers\n"
        "from helpers.pools import Processes, WorkerPool\n"
        "with WorkerPool(process_handlers.print_all, workers=1, engine=Processes()) as pool:\n"
        "    print([result.value for result in pool.stream([1, 2])])\n"
    )
    said = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    assert said.stdout == "['', '']\n"
    for line in ("to stdout 1", "to stderr 2", "to descriptor 1", "from a grandchild"):
        assert line in said.stderr.splitlines()


@posix
@pytest.mark.parametrize("handler", ["sleep", "hold_the_lock"])
def test_no_child_outlives_a_parent_that_is_killed(tmp_path, handler):
    if handler == "hold_the_lock" and sys.platform != "linux":
        pytest.skip("only Linux ends a child that holds its interpreter lock: see `child_main`")
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import process_handlers\n"
        "from helpers.pools import Processes, WorkerPool\n"
        f"pool = WorkerPool(process_handlers.{handler}, workers=3, engine=Processes())\n"
        "for seconds in (0, 60, 60): pool.submit(seconds)\n"
        "next(pool.results())\nprint('ready', flush=True)\nimport time; time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        wait_until(lambda: len(psutil.Process(parent.pid).children()) == 3)
        time.sleep(0.2)  # until both handlers sleep
        left = psutil.Process(parent.pid).children()
        parent.kill()
    _, alive = psutil.wait_procs(left, timeout=10)
    assert not alive


@posix
def test_ctrl_c_ends_the_program_and_its_children_and_these_print_nothing(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import process_handlers\n"
        "from helpers.pools import Processes, WorkerPool\n"
        "try:\n"
        "    with WorkerPool(process_handlers.sleep, workers=2, engine=Processes(grace=0.1)) as pool:\n"
        "        pool.submit(0)\n        next(pool.results())\n        print('ready', flush=True)\n"
        "        list(pool.stream([60] * 4))\n"
        "except KeyboardInterrupt:\n    print('stopped', pool.stats().workers)\n"
    )
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([sys.executable, script], **options) as parent:
        assert parent.stdout.readline() == "ready\n"
        time.sleep(0.3)
        os.killpg(parent.pid, signal.SIGINT)
        out, err = parent.communicate(timeout=30)
    assert out == "stopped 0\n"
    assert not err


@posix
def test_kills_at_random_lose_no_job_and_leave_no_child():
    rng, stop = random.Random(CHAOS_SEED), threading.Event()
    kills = 0

    def killer():
        nonlocal kills
        while not stop.wait(rng.uniform(0.01, 0.05)):
            if found := children():
                kills += 1
                try:
                    rng.choice(found).kill()
                except psutil.NoSuchProcess:
                    kills -= 1

    thread = threading.Thread(target=killer)
    with WorkerPool(handlers.sleep, workers=3, queue_size=10, engine=Processes()) as pool:
        thread.start()
        results = list(pool.stream([0.001] * 300))
        stop.set()
        thread.join()
    stats = pool.stats()
    assert len(results) == 300 == stats.succeeded + stats.failed
    errors = [result.error for result in results if not result.ok]
    assert {type(error) for error in errors} <= {WorkerDied}
    assert len(errors) <= kills
