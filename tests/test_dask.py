"""Pools on a Dask cluster: bounded, one result per job even if processes are killed, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from functools import partial
from itertools import count

import psutil
import pytest
from conftest import new_threads, wait_until

from helpers.cluster import dask_cluster
from helpers.picture_tasks import leave_mark, resize_with_mark
from helpers.pools import DynamicPool, RetryingPool, RetryPolicy, WorkerPool
from helpers.pools.image import ImageJob
from helpers.services import PHOTOS

pytestmark = pytest.mark.usefixtures("resource_tracker")
dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
Client = distributed.Client
posix = pytest.mark.skipif(sys.platform == "win32", reason="sends a signal of POSIX")

NAMES = [f"photo-{number:02}" for number in range(1, 13)]


@pytest.fixture
def handler(tmp_path):
    """A function that makes a handler; its pictures and marks go to two folders of `tmp_path`."""
    for name in ("pictures", "marks"):
        (tmp_path / name).mkdir()
    return partial(partial, resize_with_mark, output=tmp_path / "pictures", marks=tmp_path / "marks")


def jobs():
    return [ImageJob(name, PHOTOS / "photo1.jpg", 200, 150) for name in NAMES]


def starts(tmp_path):
    return Counter(mark.stem for mark in (tmp_path / "marks").iterdir())


def test_an_endless_source_is_read_as_far_as_the_pool_has_room(tmp_path):
    taken = []

    def source():
        for number in count():
            taken.append(number)
            yield f"job-{number}"

    handler = partial(leave_mark, tmp_path)
    with dask_cluster(processes=1) as cluster, Client(cluster.scheduler_address) as client:  # as from another computer
        engine = client.get_executor(pure=False)
        with WorkerPool(handler, workers=2, queue_size=5, engine=engine) as pool:
            for read, result in enumerate(pool.stream(source())):
                assert result.value == 1 and len(taken) - read <= 2 + 5 + 1
                if read == 100:
                    break
    assert pool.stats().succeeded >= 100


def test_a_process_that_is_killed_loses_no_job_and_only_its_job_runs_twice(tmp_path, handler):
    with dask_cluster() as cluster, Client(cluster) as client:
        engine = client.get_executor(pure=False)
        with WorkerPool(handler(victim="photo-07", kills=1), workers=2, engine=engine) as pool:
            results = list(pool.stream(jobs()))
    assert sorted(result.value.path.stem for result in results) == [f"{name}_200x150" for name in NAMES]
    assert starts(tmp_path) == Counter(NAMES) + Counter(["photo-07"])


def test_a_job_that_kills_every_process_is_a_dead_letter_and_the_others_succeed(tmp_path, handler):
    policy, deaths = RetryPolicy(give_up_on=distributed.KilledWorker), {"distributed.scheduler.allowed-failures": 1}
    with dask.config.set(deaths), dask_cluster() as cluster, Client(cluster) as client:
        engine = client.get_executor(pure=False)
        with RetryingPool(handler(victim="photo-12", kills=99), workers=2, policy=policy, engine=engine) as pool:
            results = list(pool.stream(jobs()))
            [after] = pool.stream(jobs()[:1])  # the pool and the cluster still work
    assert [result.job.image_id for result in results if not result.ok] == ["photo-12"] and after.ok
    [letter] = pool.dead_letters()
    assert type(letter.error) is distributed.KilledWorker
    assert starts(tmp_path)["photo-12"] == 2


def test_workers_and_processes_come_when_jobs_wait_and_go_when_they_are_idle():
    with dask_cluster(processes=1) as cluster, Client(cluster) as client:
        cluster.adapt(minimum=1, maximum=2, interval="50ms", target_duration="100ms")

        def sizes():
            return pool.worker_count, len(cluster.scheduler.workers)

        def naps():
            give_up = time.monotonic() + 60  # the second process takes its time on a busy machine
            while sizes() != (4, 2) and time.monotonic() < give_up:
                yield 0.02

        engine = client.get_executor(pure=False)
        with DynamicPool(time.sleep, min_workers=1, max_workers=4, idle_timeout=0.2, engine=engine) as pool:
            assert sizes() == (1, 1)
            seen = {sizes() for _ in pool.stream(naps())}
            assert max(workers for workers, _ in seen) == 4 and max(processes for _, processes in seen) == 2
            wait_until(lambda: sizes() == (1, 1))


def test_it_listens_on_loopback_only_and_leaves_one_tracker_one_thread_and_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other tests, in other processes, also start clusters
    threads, us = threading.enumerate(), psutil.Process()
    children = set(us.children())
    with dask_cluster(processes=1) as cluster, Client(cluster) as client:
        assert client.submit(abs, -1).result() == 1
        assert len(list(tmp_path.glob("dask-*"))) == 1
        everybody = [us, *us.children(recursive=True)]
        sockets = [s for process in everybody for s in process.net_connections("inet")]
        assert {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
        assert len(set(us.children()) - children) == 1
    wait_until(lambda: all("Dask-Offload" in thread.name for thread in new_threads(threads)))
    wait_until(lambda: set(us.children()) == children)  # the tracker is among them
    assert list(tmp_path.glob("dask-*")) == []


@pytest.mark.parametrize("processes", [0, 1.5, True, "two"])
def test_a_bad_number_of_processes_is_refused(processes):
    with pytest.raises((TypeError, ValueError), match="processes must be a whole number of at least 1"):
        dask_cluster(processes).__enter__()


SCRIPT = """
import os, signal, sys, time
import psutil
from distributed import Client
from helpers.cluster import dask_cluster

def die(job):
    if not os.path.exists(job):
        open(job, "w").close()
        psutil.Process().kill()
    return job

if __name__ == "__main__":
    with dask_cluster(processes=1) as cluster, Client(cluster) as client:
        client.submit(die, sys.argv[1]).result()
        try:  # the Stop button of Jupyter, and Ctrl-C
            os.killpg(0, signal.SIGINT)
            time.sleep(60)
        except KeyboardInterrupt:
            time.sleep(0.5)
        print(*client.run(os.getpid).values(), flush=True)
        time.sleep(60)
"""


@posix
def test_a_kill_and_an_interrupt_write_nothing_to_stderr_and_the_process_dies_with_its_owner(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, script, tmp_path / "mark"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    temporary = os.environ | {"TMPDIR": str(tmp_path)}  # A killed owner leaves its temporary folder there.
    with subprocess.Popen(command, start_new_session=True, env=temporary, **pipes) as owner:
        left = [psutil.Process(int(pid)) for pid in owner.stdout.readline().split()]
        assert len(left) == 1
        os.kill(owner.pid, signal.SIGKILL)
        said = owner.communicate(timeout=20)[1].splitlines()
    # The resource tracker says that it cleans up after its dead owner. From Python 3.13 on, its warning has two lines.
    assert all("resource_tracker" in line or line.strip() == "warnings.warn(" for line in said), said
    _, alive = psutil.wait_procs(left, timeout=20)
    assert not alive
