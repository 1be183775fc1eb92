"""What the control room runs: a pool, the jobs that arrive, and the service that they call. It needs no browser.

    room = Room(workers=4, rate=30)
    room.start()
    room.set_mode("slow")
    room.snapshot()             # a plain dict: the counts of the pool, the waits, the rates, and the alert
    room.close()

Always true: at most one room of a program runs. A run ends after `lasts` seconds, when it is stopped, when another room
starts, and with the program. It then stops its pool, and so leaves no thread and no process behind.
"""

import atexit
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from helpers.control_room.alert import OK, Alert
from helpers.control_room.arrivals import Arrivals
from helpers.control_room.history import WINDOW, Sample
from helpers.control_room.run import PAUSED, RUNNING, STOPPED, Pool, Run
from helpers.control_room.service import Call, Service, serve
from helpers.pools import DynamicPool, PoolClosed, PoolStats, Result, checks
from helpers.pools.processes import Processes, pickled
from helpers.pools.words import describe

BACKLOG, MAX_WAIT, IDLE = 2, 0.2, 0.5  # of a pool that grows and shrinks: see DynamicPool
CLOSE_WAIT = 10.0  # seconds that `close` waits for the end of a run, which takes less than six
ENGINES = ("threads", "processes")
READY = "ready"  # the state before the first run
NO_SAMPLE = Sample(0.0, 0, 0.0, 0.0, None, 0)

_started: "weakref.WeakSet[Room]" = weakref.WeakSet()


class Room:
    """A pool with a service, and the settings that can be changed while it runs.

    Args:
        workers:      the number of workers.
        max_workers:  if it is more than `workers`, the pool starts and stops workers itself, between the two.
        rate, burst, seed:  how the jobs arrive: see `Arrivals`.
        seconds, handler:   the service: see `Service`.
        queue_size:   the bound of the queue. Jobs that arrive while the queue is full are turned away.
        engine:       "threads" or "processes". Only a process can be killed.
        alert_limit, alert_hold:  when the alert fires: see `Alert`.
        lasts:        seconds after which a run ends by itself.
        window:       seconds that the charts show; at most `lasts`.

    Attributes:
        run:      the current or last run; None before the first one.
        on_tick:  called ten times per second and when a run has ended, in the thread of the run.

    Raises TypeError or ValueError for an argument that breaks its rule.
    """

    def __init__(
        self,
        *,
        workers: int = 4,
        max_workers: int | None = None,
        rate: float = 30.0,
        burst: int = 1,
        seed: int | None = None,
        seconds: float = 0.1,
        handler: Callable[[int], object] | None = None,
        queue_size: int = 60,
        engine: str = "threads",
        alert_limit: float = 1.0,
        alert_hold: float = 3.0,
        lasts: float = 600.0,
        window: float = WINDOW,
    ) -> None:
        self.run: Run | None = None
        self.resize(workers, max_workers)
        self.elastic = self.max_workers > self.workers
        self.queue_size = checks.whole_number("queue_size", queue_size)
        self.lasts = checks.seconds("lasts", lasts)
        self.window = min(checks.seconds("window", window), self.lasts)
        self.arrivals = Arrivals(rate, burst, seed)
        self.service = Service(seconds, handler)
        self.alert = Alert(alert_limit, alert_hold)
        self.on_tick: Callable[[], object] = lambda: None
        self.set_engine(engine)

    # -- what the buttons do --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a run with a new pool, and close every other room. Does nothing while this room runs or is paused.

        Raises TypeError if a real handler cannot be sent to a process, RuntimeError if the machine has no thread left.
        """
        if self.state in (RUNNING, PAUSED):
            return
        close_all()  # It also waits for the end of an earlier run of this room.
        self.alert.since = None
        self.arrivals.restart()
        self.service.forget_kills()
        self.run = Run(self._new_pool, self.service, self.arrivals, self.alert, self.lasts, self.window, self._tick)
        _started.add(self)
        self.run.start()

    def pause(self) -> None:
        """Submit no more jobs until `resume`. The pool finishes the jobs that it has."""
        if self.run is not None:
            self.run.pause(True)

    def resume(self) -> None:
        """Submit jobs again."""
        if self.run is not None:
            self.run.pause(False)

    def resize(self, workers: int, max_workers: int | None = None) -> None:
        """Change the number of workers, or its bounds. Raises TypeError or ValueError if they break their rule."""
        low = checks.whole_number("workers", workers)
        high = low if max_workers is None else checks.whole_number("max_workers", max_workers)
        if low > high:
            raise ValueError(f"workers must be at most max_workers, not {low} and {high}")
        self.workers, self.max_workers = low, high
        if self.run is not None:
            with suppress(PoolClosed):  # The run has ended.
                self.run.pool.resize(low, high)

    def set_rate(self, rate: float) -> None:
        """Change the mean number of jobs per second. Raises TypeError or ValueError for anything but 0 or more."""
        self.arrivals.set_rate(rate)

    def set_mode(self, mode: str) -> None:
        """Change how the service answers. Raises ValueError for a mode that is not one of `service.MODES`."""
        self.service.set_mode(mode)

    def set_engine(self, engine: str) -> None:
        """Choose the engine of the next run. Raises ValueError for one that is not in ENGINES, or during a run."""
        if engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {describe(engine)}")
        if self.is_running():
            raise ValueError("engine can be changed only between two runs: call stop() first")
        self.engine = engine

    def kill_worker(self) -> None:
        """Kill the process of the next job that starts. Raises RuntimeError if the engine is not "processes"."""
        if self.engine != "processes":
            raise RuntimeError('a thread cannot be killed: stop, and choose the engine "processes"')
        if self.is_running():
            self.service.kill_next()

    def stop(self) -> None:
        """End the run, and return at once. Queued jobs are cancelled, and running jobs are told to stop."""
        if self.run is not None:
            self.run.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run has ended, or for `timeout` seconds. Return True if it has ended."""
        return self.run is None or self.run.wait(timeout)

    def close(self) -> None:
        """End the run, and wait until it has ended."""
        self.stop()
        self.wait(CLOSE_WAIT)

    def is_running(self) -> bool:
        """Return True from `start` until the pool of the run has stopped."""
        return self.run is not None and self.run.state != STOPPED

    @property
    def state(self) -> str:
        """The state: "ready" before the first run, then "running", "paused", "stopping", or "stopped"."""
        return READY if self.run is None else self.run.state

    # -- what the pictures show -----------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the state of the room as a dict of numbers and texts. The counts belong to the same instant."""
        run = self.run
        stats = PoolStats(0, 0, 0, 0, 0, 0, self.workers) if run is None else run.pool.stats()
        last = NO_SAMPLE if run is None else run.last
        return {
            **stats._asdict(),
            "finished": stats.finished,
            **self._settings(),
            "state": READY if run is None else run.state,
            "time": last.time,
            "oldest_wait": last.oldest_wait,
            "throughput": last.throughput,
            "limit": self.service.limit(self.workers) if run is None else last.limit,
            "turned_away": 0 if run is None else run.turned_away,
            "last_error": "" if run is None else run.last_error,
            "alert": OK if run is None else run.alert_state,
        }

    def history(self) -> list[Sample]:
        """Return the samples of the last `window` seconds of the run, for the charts."""
        return [] if self.run is None else list(self.run.history.samples)

    def _settings(self) -> dict[str, Any]:
        return {
            "min_workers": self.workers,
            "max_workers": self.max_workers,
            "rate": self.arrivals.rate,
            "mode": self.service.mode,
            "engine": self.engine,
            "queue_size": self.queue_size,
            "window": self.window,
            "alert_limit": self.alert.limit,
            "alert_hold": self.alert.hold,
        }

    def _tick(self) -> None:
        self.on_tick()

    def _new_pool(self, note: Callable[[Result[Call, object]], object]) -> Pool:
        if self.engine == "processes" and self.service.handler is not None:
            pickled("handler", self.service.handler)
        return DynamicPool(
            serve,
            min_workers=self.workers,
            max_workers=self.max_workers,
            queue_size=self.queue_size,
            backlog=BACKLOG,
            max_wait=MAX_WAIT,
            idle_timeout=IDLE,
            engine=Processes() if self.engine == "processes" else None,
            on_result=note,
        )


@atexit.register
def close_all() -> None:
    """Close every room that runs. A program that ends does so, because a thread cannot stop its pool afterwards."""
    rooms = list(_started)
    for room in rooms:
        room.stop()
    for room in rooms:
        room.wait(CLOSE_WAIT)
