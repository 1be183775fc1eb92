"""Where every job of a pool is: the one state, with the one lock, that all parts of a pool share.

                      enqueue              take                  finish
    submit, stream ──────────> queue ──────────> worker.task ──────────> outlet ──> results(), stream, on_result
                               ^   │                  │                    ^
                   bring_back  │   └───── cancel ─────┼────────────────────┤
                               │                      │ delay              │
                               └────── delayed <──────┘                    │
                                          └─────────── cancel ─────────────┘

The invariant, which holds whenever no thread holds the lock:

- Every accepted job is in exactly one place: in `queue`, in `delayed`, in one worker's `task` (`running` counts these
  jobs), or counted as finished, with its result in an outlet.
- A submitter adds a job to `queue` only if the pool is not `closed` and has room: fewer than `queue_size` jobs are
  queued, and fewer than `max_delayed` jobs are delayed. A retry that is due enters the queue even if it is full.
- A worker in `idle` is parked, about to park, or about to check again after its timeout. If a job is queued, then no
  worker is idle, or a notified worker has not looked at the queue yet. So no job waits while all workers sleep.
- A submitter in `blocked` is parked, about to park, or about to check again. Whenever there may be room, one of them is
  notified. When the pool closes, all of them are notified.

What a mistake would break: a job that is in no place is lost, a job in two places runs twice, and a thread that is not
notified sleeps forever.

No thread runs user code or waits while it holds the lock. The lock is re-entrant, because some methods call each other
with the lock held, and because a thread can check whether it holds it: see `Reading._leave`. Call every method with the
lock held unless its docstring says otherwise. The order of the steps in a method matters, because in the main thread
KeyboardInterrupt can arrive between any two steps.
"""

import math
import sys
from collections import deque
from heapq import heapify, heappop, heappush
from itertools import count
from threading import Event, RLock
from typing import Generic, TypeVar

from .alarm import Alarm
from .clocks import Clock
from .errors import JobCancelled, OutcomeUnknown, counts_as
from .outlet import Outlet
from .parker import Parker
from .report import PoolStats
from .result import Result
from .tracebacks import clear_locals
from .worker import Worker

Job = TypeVar("Job")
Value = TypeVar("Value")

# One job on its way: the result to fill in, and the outlet that the result goes to.
Task = tuple[Result[Job, Value], Outlet[Job, Value]]

ERRORS_KEPT = 1000  # A pool may run for a year, so it keeps only the last errors of resources and callbacks.

_serial = count()  # numbers the delayed jobs, so that no two entries of a heap are equal


class PoolState(Generic[Job, Value]):
    """The jobs of one pool, and the threads that wait for a change.

    Attributes that are not described above:
        name, clock:  the pool's name and its clock, which returns seconds.
        present, max_workers:  the number of workers that have not retired, and its maximum. If there are more, workers
            retire before they take another job.
        waits_for_running:  True if a running job may return to the queue, so that idle workers must wait for it.
        cancelled:    set when the pool asks running handlers to stop.
        abandoned:    True once a shutdown has stopped waiting for running jobs.
        reader:       a list with the outlet that is being read now, or None.
        watchers:     the parkers of threads that wait for the last worker to end.
        finished_after_close, cancelled_after_close:  jobs that finished or were cancelled after the pool was closed.
        errors, alarms:  errors of resources and callbacks; the pool's alarm threads.
    """

    def __init__(self, name: str, queue_size: int, clock: Clock) -> None:
        self.name, self.queue_size, self.clock = name, queue_size, clock
        self.lock = RLock()  # guards everything else, except that a reader and a watcher leave without it
        self.cancelled = Event()
        self.closed = self.abandoned = self.waits_for_running = False
        self.max_workers = self.max_delayed = sys.maxsize  # and not infinity: comparing two integers is faster
        self.running = self.succeeded = self.failed = self.unknown = self.cancelled_count = self.present = 0
        self.queue: deque[Task[Job, Value]] = deque()
        self.delayed: list[tuple[float, int, Task[Job, Value]]] = []  # a heap: when due, a serial number, the task
        self.idle: list[Worker] = []  # the worker that became idle last is at the end
        self.blocked: deque[Parker] = deque()
        self.finished_after_close, self.cancelled_after_close = list[Job](), list[Job]()
        self.errors: deque[BaseException] = deque(maxlen=ERRORS_KEPT)
        self.reader: list[Outlet[Job, Value]] | None = None
        self.watchers: list[Parker] = []
        self.alarms: list[Alarm] = []

    def note_error(self, error: BaseException | None) -> None:
        """Keep an error that belongs to no job, for the shutdown report. Call it without the lock."""
        if error is not None:
            clear_locals(error, sys._getframe(1))  # the frame that called the user's code
            with self.lock:
                self.errors.append(error)

    def wake_idle_worker(self) -> None:
        """Notify the worker that became idle last. So the other workers can become idle for long enough to retire."""
        worker = self.idle[-1]
        # Remove the worker from the idle list only after notifying it. If KeyboardInterrupt arrives between the two
        # lines, the worker is awake and still listed, which is harmless: it removes itself. With the lines exchanged,
        # it would sleep forever.
        worker.parker.unpark()
        self.idle.pop()
        worker.idle = False

    def wake_all_idle(self) -> None:
        """Notify all idle workers, so that each checks again what there is to do."""
        while self.idle:
            self.wake_idle_worker()

    def wake_blocked(self, everybody: bool = False) -> None:
        """Notify the submitter that has waited longest for room, or every waiting submitter."""
        while self.blocked:
            parker = self.blocked.popleft()
            parker.listed, parker.notified = False, True
            parker.unpark()
            if not everybody:
                return

    def wake_watchers(self) -> None:
        """Wake the threads that wait for the end of the pool: the reader and callers of `shutdown`."""
        reader = self.reader  # Read the attribute once, because a reader leaves without taking the lock.
        if reader is not None:
            reader[0].wake()
        for parker in list(self.watchers):  # Copy the list, because a watcher leaves without taking the lock.
            parker.unpark()

    def has_room(self) -> bool:
        """Return True if a submitter may add a job."""
        return len(self.queue) < self.queue_size and len(self.delayed) < self.max_delayed

    def enqueue(self, task: Task[Job, Value]) -> None:
        """Queue a job, whether there is room or not, and notify an idle worker."""
        if self.idle:
            self.wake_idle_worker()
        # Append last. If KeyboardInterrupt arrives before the append, the job was not accepted, and the notified worker
        # finds no job and becomes idle again.
        self.queue.append(task)

    def finish(self, worker: Worker, task: Task[Job, Value]) -> None:
        """Count the worker's job as finished and put its complete result into its outlet.

        Call it with or without the lock. A thread that reads the result finds it counted.
        """
        result, outlet = task
        kind = None if result.error is None else counts_as(result.error)
        with self.lock:
            # Make no call before `put`. Python raises an injected exception only after a call, so it finds the job
            # either in `worker.task`, or counted and in its outlet.
            worker.task = None
            self.running -= 1
            if kind is None:
                self.succeeded += 1
            else:
                self.cancelled_count += kind is JobCancelled
                self.unknown += kind is OutcomeUnknown
                self.failed += kind is Exception
            outlet.put(result)
            if self.closed:
                self._note_after_close(result)

    def _note_after_close(self, result: Result[Job, Value]) -> None:
        late = self.cancelled_after_close if issubclass(type(result.error), JobCancelled) else self.finished_after_close
        late.append(result.job)
        if self.waits_for_running and not self.unfinished():
            self.wake_all_idle()  # Nothing is left that could be retried, so the workers that waited for it can end.

    def delay(self, worker: Worker, task: Task[Job, Value], due: float) -> None:
        """Move the worker's job to the delayed jobs. It may run again at `due`, seconds on the pool's clock."""
        result, outlet = task
        entry = (due, next(_serial), task)
        result.record_attempt(due)
        # Make no call before `heappush`, for the same reason as in `finish`.
        worker.task = None
        self.running -= 1
        outlet.delayed += 1
        heappush(self.delayed, entry)
        outlet.wake()  # A delayed job takes no place in its stream's window, so the stream may submit another job.

    def bring_back(self, now: float) -> float:
        """Queue every delayed job that is due, and return when the next one is due (infinity if there is none)."""
        while self.delayed and self.delayed[0][0] <= now:
            task = self.delayed[0][2]
            self.enqueue(task)  # If this raises MemoryError, the job is still delayed.
            heappop(self.delayed)
            task[1].delayed -= 1
            self.wake_blocked()
        return self.delayed[0][0] if self.delayed else math.inf

    def cancel(self, outlet: Outlet[Job, Value] | None, now: float) -> None:
        """Cancel the queued and delayed jobs of one outlet, or of all (None). Each gets a JobCancelled result."""
        everything = outlet is None
        gone = [task for task in self.queue if everything or task[1] is outlet]
        self.queue = deque(() if everything else (task for task in self.queue if task[1] is not outlet))
        late = sorted(item for item in self.delayed if everything or item[2][1] is outlet)
        self.delayed = [] if everything else [item for item in self.delayed if item[2][1] is not outlet]
        heapify(self.delayed)
        for _, _, task in late:
            task[1].delayed -= 1
            gone.append(task)
        for task in gone:
            self.cancel_one(task, now)
        self.wake_blocked(everybody=True)
        if self.closed:
            self.wake_all_idle()

    def cancel_one(self, task: Task[Job, Value], now: float) -> None:
        """Fill in the result of a job that was removed from its place, and count the job as cancelled."""
        result, outlet = task
        result.drop(self.why_cancelled(result), now)
        self.cancelled_count += 1
        if self.closed:
            self._note_after_close(result)
        outlet.put(result)

    def why_cancelled(self, result: Result[Job, Value]) -> JobCancelled:
        """Return the error for a job that is being cancelled."""
        if not result.attempts:
            return JobCancelled(f"cancelled in the queue of {self.name} before any worker took it")
        why = JobCancelled(f"not retried: cancelled in {self.name} after attempt {result.attempt} had failed")
        why.__cause__ = result.attempts[-1].error
        return why

    def unfinished(self) -> bool:
        """Return True if some accepted job has no result yet."""
        return bool(self.queue or self.running or self.delayed)

    def oldest_wait(self, now: float) -> float:
        """Return how long the first job in the queue has waited, in seconds; 0.0 if the queue is empty."""
        return max(0.0, now - self.queue[0][0].waiting_since) if self.queue else 0.0

    def count(self) -> PoolStats:
        """Return all counts at this instant."""
        queued, delayed = len(self.queue), len(self.delayed)
        finished = self.succeeded + self.failed + self.cancelled_count + self.unknown
        return PoolStats(
            submitted=queued + self.running + delayed + finished,
            queued=queued,
            running=self.running,
            succeeded=self.succeeded,
            failed=self.failed,
            cancelled=self.cancelled_count,
            workers=self.present,
            delayed=delayed,
            unknown=self.unknown,
        )
