"""One run of the control room: a pool, and a thread that submits jobs to it when they arrive, and takes samples.

Always true: when the thread has ended, the pool is shut down. The thread ends when it is stopped, after `lasts`
seconds, and if it fails. It submits with `try_submit`, so a full queue never blocks it: such a job is turned away.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from helpers.control_room.alert import OK, Alert
from helpers.control_room.arrivals import Arrivals
from helpers.control_room.history import History, Sample
from helpers.control_room.service import Call, Service
from helpers.pools import DynamicPool, JobCancelled, PoolClosed, Result
from helpers.pools.words import describe_error

TICK = 0.1  # seconds between two frames
LAST_WAIT = 5.0  # seconds that the end of a run waits for jobs that are still running after the forced shutdown
RECENT = 50  # results from which the service time of a real handler is measured
RUNNING, PAUSED, STOPPING, STOPPED = "running", "paused", "stopping", "stopped"

Pool = DynamicPool[Call, object]


class Run:
    """A run, from `start` until its thread has ended.

    Args:
        make_pool:  makes the pool. It must call the function that it is given with each result, and keep no results.
        service, arrivals, alert:  what the jobs call, when they arrive, and when to alert.
        lasts:    seconds after which the run ends by itself.
        window:   seconds that the charts show.
        on_tick:  called ten times per second and once when the run has ended, in the thread of the run.

    Attributes:
        state:        "running", "paused", "stopping", or "stopped".
        turned_away:  the number of jobs that arrived while the queue was full.
        last_error:   the error of the last job that failed, as text; "" if none has failed.
        alert_state:  "ok", "pending", or "firing".
        last:         the last sample, at most TICK seconds old.
        history:      the samples for the charts.
    """

    def __init__(
        self,
        make_pool: Callable[[Callable[[Result[Call, object]], object]], Pool],
        service: Service,
        arrivals: Arrivals,
        alert: Alert,
        lasts: float,
        window: float,
        on_tick: Callable[[], object],
    ) -> None:
        self._service, self._arrivals, self._alert = service, arrivals, alert
        self._lasts, self._on_tick = lasts, on_tick
        self.state = RUNNING
        self.turned_away = 0
        self.last_error = ""
        self.alert_state = OK
        self.history = History(window)
        self._durations: deque[float] = deque(maxlen=RECENT)
        self._numbers = count(1)
        self._lock = threading.Lock()  # guards `state`, which two threads change
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._work, name="control-room", daemon=True)
        self._began = time.monotonic()
        self.pool = make_pool(self._note)
        self.last = Sample(0.0, 0, 0.0, 0.0, self.limit(self.pool.worker_count), self.pool.worker_count)

    def start(self) -> None:
        """Begin. Raises RuntimeError if the machine has no thread left; then the pool is shut down."""
        self._began = time.monotonic()
        try:
            self._thread.start()
        except BaseException:
            self._finish()
            raise

    def pause(self, paused: bool) -> None:
        """Submit no more jobs, or submit jobs again."""
        with self._lock:
            if self.state in (RUNNING, PAUSED):
                self.state = PAUSED if paused else RUNNING
        self._arrivals.restart()

    def stop(self) -> None:
        """End the run, and return at once. Queued jobs are cancelled, and running jobs are told to stop."""
        with self._lock:
            if self.state != STOPPED:
                self.state = STOPPING
        self._ends.set()

    def wait(self, timeout: float | None) -> bool:
        """Wait until the thread has ended, or for `timeout` seconds. Return True if it has ended."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def elapsed(self) -> float:
        """Return the seconds since the run began."""
        return time.monotonic() - self._began

    def limit(self, workers: int) -> float | None:
        """Return the most jobs per second that the workers can finish; None before a real handler has returned once."""
        if self._service.handler is None:
            return self._service.limit(workers)
        recent = list(self._durations)
        return workers / (sum(recent) / len(recent)) if recent else None

    # -- what the thread does -------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            with suppress(PoolClosed):  # If other code has shut down the pool, the run ends.
                self._loop()
        finally:
            self._finish()

    def _loop(self) -> None:
        next_tick = 0.0
        while not self._ends.is_set() and (now := self.elapsed()) < self._lasts:
            if self.state == RUNNING:
                self._submit(now)
            if now >= next_tick:
                self._sample(now)
                self._on_tick()
                next_tick = now + TICK
            until_tick = next_tick - now
            self._ends.wait(self._arrivals.wait(now, until_tick) if self.state == RUNNING else until_tick)

    def _finish(self) -> None:
        self.pool.force_shutdown()
        # A killed child process may take longer to end than a forced shutdown waits, if the machine is busy.
        self.pool.shutdown(LAST_WAIT)
        with self._lock:
            self.state = STOPPED
        self._sample(self.elapsed())
        self._on_tick()

    def _submit(self, now: float) -> None:
        for _ in range(self._arrivals.due(now)):
            if not self.pool.try_submit(Call(next(self._numbers), self._service)):
                self.turned_away += 1

    def _sample(self, now: float) -> None:
        stats, oldest_wait = self.pool.stats(), self.pool.oldest_wait()
        self.alert_state = self._alert.update(now, oldest_wait)
        throughput = self.history.throughput(now, stats.succeeded)
        limit = self.limit(stats.workers)
        self.last = Sample(now, stats.queued, oldest_wait, throughput, limit, stats.workers)
        self.history.add(self.last)

    def _note(self, result: Result[Call, object]) -> None:
        """Remember the service time or the error of a result. The pool calls this in a worker's thread."""
        if result.ok:
            self._durations.append(result.duration)
        elif not isinstance(result.error, JobCancelled) and result.error is not None:
            self.last_error = describe_error(result.error)
