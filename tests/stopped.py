"""The code that `test_stop_button.py` interrupts: a pool that works without an end, and a report on what is left of it.

A kernel runs it in three cells (create a `Scene`, call `play`, call `look`). A script runs it as
`python stopped.py KIND PART PORT`.
"""

import gc
import itertools
import json
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import psutil
from inside import state_of
from PIL import Image

from helpers.leftovers import leftovers, listening_ports
from helpers.pools import (
    BatchEmailSender,
    DynamicPool,
    DynamicRetryingPool,
    EmailJob,
    ImageJob,
    ImageProcessor,
    RetryingPool,
    RetryPolicy,
    WorkerPool,
    current_worker,
)

WORKERS, ROOM = 3, 4
LATER = RetryPolicy(max_attempts=2, base=60.0, cap=60.0, jitter=False)  # failed jobs are delayed when Stop is pressed


class Pictures(ImageProcessor):
    """An image pool that resizes real pictures and also runs the scene's handler."""

    def __init__(self, handler, **options):
        self.handler = handler
        super().__init__(**options)

    def process(self, job):
        return super().process(job) if isinstance(job, ImageJob) else self.handler(job)


class Mails(BatchEmailSender):
    """A mailer that sends real mails and also runs the scene's handler."""

    def __init__(self, handler, **options):
        self.handler = handler
        super().__init__(**options)

    def deliver(self, job):
        return super().deliver(job) if isinstance(job, EmailJob) else self.handler(job)


class Scene:
    """One kind of pool in one part of its life. `port` is the port of a mail server."""

    def __init__(self, kind: str, part: str, port: int) -> None:
        self.kind, self.part, self.port = kind, part, port
        self.folder = tempfile.TemporaryDirectory()
        self.gate = threading.Event()  # handlers that ignore `cancelled` wait for it
        self.lock = threading.Lock()
        self.inside: Counter[str] = Counter()  # the handlers that run now
        self.pool = None
        self.ports = listening_ports()
        self.real = self.real_job()

    def real_job(self):
        if self.kind == "ImageProcessor":
            source = Path(self.folder.name) / "source.jpg"
            Image.effect_noise((400, 300), 50).save(source)
            return ImageJob("small", source, 80, 60)
        if self.kind == "BatchEmailSender":
            return EmailJob(1, "ann@example.com", "Ann", "We miss you!", "Hi Ann")
        return "quick"

    def make(self):
        size, crew = {"queue_size": ROOM}, {"workers": WORKERS}
        grows = {"min_workers": 1, "max_workers": WORKERS, "backlog": 1, "max_wait": 0.001}
        return {
            "WorkerPool": lambda: WorkerPool(self.handle, **crew, **size),
            "ImageProcessor": lambda: Pictures(self.handle, output=self.folder.name, policy=LATER, **crew, **size),
            "BatchEmailSender": lambda: Mails(
                self.handle, host="127.0.0.1", port=self.port, policy=LATER, **crew, **size
            ),
            "DynamicPool": lambda: DynamicPool(self.handle, **grows, **size),
            "RetryingPool": lambda: RetryingPool(self.handle, policy=LATER, **crew, **size),
            "DynamicRetryingPool": lambda: DynamicRetryingPool(self.handle, policy=LATER, **grows, **size),
        }[self.kind]()

    def handle(self, job):
        with self.lock:
            self.inside[job] += 1
        try:
            if job == "looks":
                current_worker().cancelled.wait(60)
            elif job == "deaf":
                self.gate.wait(60)
            elif job == "fails":
                raise ValueError("not now")
            return job
        finally:
            with self.lock:
                self.inside[job] -= 1

    # -- the parts of a pool's life ------------------------------------------------------------------------------

    def play(self) -> None:
        # Python loses a KeyboardInterrupt that comes while its garbage collector works, if that then calls a weakref's
        # callback (a thread's, an asyncio task's): Stop must be pressed again. That is not what we look at here.
        gc.disable()
        getattr(self, self.part)()

    def now(self) -> None:
        """Announce that Stop may be pressed from now on."""
        print("now", flush=True)

    def crowd(self) -> None:
        """Fill the queue and keep all workers busy. One handler ignores `cancelled`."""
        for job in ("fails", "deaf", "looks", "looks"):
            self.pool.submit(job)
        while self.pool.stats().running < WORKERS:
            time.sleep(0.001)
        while self.pool.try_submit("quick"):
            pass

    def constructing(self) -> None:
        self.now()
        while True:
            with self.make() as self.pool:
                pass

    def submitting(self) -> None:
        with self.make() as self.pool:
            self.now()
            while True:
                self.pool.submit("quick")

    def blocked(self) -> None:
        with self.make() as self.pool:
            self.crowd()
            self.now()
            self.pool.submit("quick")

    def stream(self) -> None:
        with self.make() as self.pool:
            self.now()
            for _ in self.pool.stream(itertools.cycle(["quick", self.real])):
                pass

    def loop(self) -> None:
        """Run a loop over a stream. An exception in its body makes Python close the stream."""
        with self.make() as self.pool:
            for _ in self.pool.stream(["quick", "deaf", "looks", *["quick"] * ROOM]):
                self.now()
                time.sleep(60)

    def results(self) -> None:
        with self.make() as self.pool:
            self.crowd()
            self.now()
            for _ in self.pool.results():
                pass

    def drain(self) -> None:
        with self.make() as self.pool:
            self.crowd()
            self.now()

    def work(self) -> None:
        """Stream real jobs, and then drain a few jobs whose handlers check `cancelled`."""
        with self.make() as self.pool:
            for _ in self.pool.stream([self.real] * 5):
                pass
            for job in ("looks", "looks", self.real):
                self.pool.submit(job)
            self.now()

    def shutdown(self) -> None:
        with self.make() as self.pool:
            self.crowd()
            self.now()
            self.pool.shutdown()

    def deadline(self) -> None:
        with self.make() as self.pool:
            self.crowd()
            self.now()
            self.pool.shutdown(deadline=60)

    def forcing(self) -> None:
        """Wait in the half second of a forced shutdown that another error has started."""
        with self.make() as self.pool:
            self.crowd()
            self.now()
            raise ZeroDivisionError

    # -- the report ----------------------------------------------------------------------------------------------

    def look(self) -> dict:
        """Release the handlers, wait, and return what is left after Stop. Asserts nothing."""
        ended = time.monotonic()
        gc.enable()
        unclosed = [  # not isinstance, which reads `p.__class__`: objects of other tests may raise there
            p
            for p in gc.get_objects()
            if issubclass(type(p), WorkerPool) and hasattr(p, "_closing") and not state_of(p).closed
        ]
        for pool in unclosed:
            pool.force_shutdown()
        seen = {"ended": ended, "unclosed": len(unclosed), "looking": self.inside["looks"]}
        if self.pool is not None:
            report = self.pool.force_shutdown()
            seen |= {"still_running": list(report.still_running), "deaf": self.inside["deaf"]}
            seen["stats"] = report.stats._asdict()
        self.gate.set()
        until = time.monotonic() + 20
        while (left := self.left()) and time.monotonic() < until:
            time.sleep(0.005)
        seen["left"] = left
        if self.pool is not None:
            seen["afterwards"] = self.pool.stats()._asdict()
        with self.make() as pool, closing(pool.stream(["quick"] * 5 + [self.real])) as stream:
            seen["next"] = [result.ok for result in stream]
        self.folder.cleanup()
        return seen

    def left(self) -> list[str]:
        """Return what `leftovers` finds, and half-closed connections to the mail server."""
        connections = psutil.Process().net_connections("tcp")
        mail = [f"a connection, {c.status}" for c in connections if c.raddr and c.raddr.port == self.port]
        return [x for x in mail if "TIME_WAIT" not in x] + leftovers(self.ports)


PARTS = [
    *("constructing", "submitting", "blocked", "stream", "loop", "results"),
    *("drain", "work", "shutdown", "deadline", "forcing"),
]


def main(kind: str, part: str, port: str) -> None:
    scene = Scene(kind, part, int(port))
    try:
        scene.play()
    finally:
        try:  # a second SIGINT that arrives this late has nothing to stop
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        except KeyboardInterrupt:  # it arrived just before, and this call raised it instead of its own work
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        print(json.dumps(scene.look()), flush=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    main(*sys.argv[1:])
