"""Where every job of a pool is: the one state, with the one lock, that all parts of a pool share.

                       room?                 worker.task               outlet
    submit, stream ──> queue ──── take ────> a worker's hand ─ finish ─> results(), stream, callback
                       ^   │                        │                    ^
             bring_back│   └─────────── cancel ─────│────────────────────┤
                       │                            │ delay              │
                       └───────── delayed <─────────┘──── cancel ────────┘

The invariant, which holds whenever nobody holds the lock:

- Every job that was accepted is in exactly one place: in `queue`, in `delayed`, in the hand of one worker
  (`worker.task`; `running` counts these), or counted as finished with its result in an outlet.
- Nothing is added to `queue` by a submitter once `closed` is true, or while it has no room: `queue_size` jobs are
  queued, or `max_delayed` jobs are delayed. A retry that has become due enters the queue even if it is full.
- A worker in `idle` is parked or about to park, and has not been notified. If a job is queued, then no worker is idle
  or one has been notified that has not looked yet. So no job waits while all workers sleep.
- A submitter in `blocked` is parked or about to park. Whenever there may be room again one of them is notified, and
  all of them are when the pool closes.

What a mistake would break: a job outside of all places is lost, a job in two places is done twice, and a thread that is
not notified sleeps forever.

The lock is never held while user code runs or a thread waits. It is re-entrant so that a thread can find out whether it
holds it: see `interrupts`. All methods are called with the lock held, unless they say otherwise. The order of their
steps matters: in the main thread KeyboardInterrupt can come between any two of them.
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

# What waits in the queue and goes through a worker's hand: the result to fill in, and the outlet it belongs to.
Task = tuple[Result[Job, Value], Outlet[Job, Value]]

MOST_ERRORS = 1000  # errors of resources and callbacks that are kept: a pool may run for a year

_serial = count()  # numbers the delayed jobs, so that no two entries of a heap are equal


class PoolState(Generic[Job, Value]):
    """The jobs of one pool, and the threads that wait for a change of them.

    Attributes that are not described above:
        name, clock:      of the pool; the clock gives time stamps in seconds and never raises.
        present, most:    workers that have not retired; above `most` they retire before they take another job.
        waits_for_running:  True if a running job may come back to the queue, so that idle workers must stay for it.
        cancelled:        set when the pool wants running handlers to stop.
        abandoned:        True once a shutdown has stopped waiting for running jobs.
        reader:           a list with the outlet that is being read now, or None.
        watchers:         parkers of the threads that wait for the last worker to end.
        finished_late, cancelled_late:  the jobs that have finished or were cancelled since the pool was closed.
        errors, alarms:   what went wrong in resources and callbacks; threads that act at a certain time.
    """

    def __init__(self, name: str, queue_size: int, clock: Clock) -> None:
        self.name, self.queue_size, self.clock = name, queue_size, clock
        self.lock = RLock()  # guards everything else
        self.cancelled = Event()
        self.closed = self.abandoned = self.waits_for_running = False
        self.most = self.max_delayed = sys.maxsize  # and not infinity: comparing two integers is faster
        self.running = self.succeeded = self.failed = self.unknown = self.cancelled_count = self.present = 0
        self.queue: deque[Task[Job, Value]] = deque()
        self.delayed: list[tuple[float, int, Task[Job, Value]]] = []  # a heap: when due, a serial number, the task
        self.idle: list[Worker] = []  # the worker that became idle last is at the end
        self.blocked: deque[Parker] = deque()
        self.finished_late, self.cancelled_late = list[Job](), list[Job]()
        self.errors: deque[BaseException] = deque(maxlen=MOST_ERRORS)
        self.reader: list[Outlet[Job, Value]] | None = None
        self.watchers: list[Parker] = []
        self.alarms: list[Alarm] = []

    def note_error(self, error: BaseException | None) -> None:
        """Keep what went wrong outside of any job, for the report of the shutdown. Called without the lock."""
        if error is not None:
            clear_locals(error, sys._getframe(1))  # the frame that has called the user's code
            with self.lock:
                self.errors.append(error)

    def wake_idle_worker(self) -> None:
        """Notify the worker that became idle last. The idle time of the others goes on."""
        worker = self.idle[-1]
        # Remove the worker from the idle list only after notifying it. If KeyboardInterrupt arrives between the two
        # lines, the worker is awake and still listed, which is harmless: it removes itself. The other way round it
        # would sleep forever.
        worker.parker.unpark()
        self.idle.pop()
        worker.idle = False

    def wake_all_idle(self) -> None:
        """Have all idle workers look again."""
        while self.idle:
            self.wake_idle_worker()

    def wake_blocked(self, everybody: bool = False) -> None:
        """Notify the submitter that has waited longest for room; or all of them."""
        while self.blocked:
            parker = self.blocked.popleft()
            parker.listed, parker.notified = False, True
            parker.unpark()
            if not everybody:
                return

    def wake_watchers(self) -> None:
        """Wake the threads that wait for the end of the pool: the reader, and callers of `shutdown`."""
        reader = self.reader  # read it once: a reader leaves without the lock
        if reader is not None:
            reader[0].wake()
        for parker in list(self.watchers):  # a copy: a watcher leaves without the lock
            parker.unpark()

    def crew_ended(self) -> None:
        """The last worker has ended, or there was none when the pool was closed."""
        if self.closed:
            for alarm in self.alarms:
                alarm.stop()
        self.wake_watchers()

    def has_room(self) -> bool:
        """True if a submitter may add a job."""
        return len(self.queue) < self.queue_size and len(self.delayed) < self.max_delayed

    def enqueue(self, task: Task[Job, Value]) -> None:
        """Queue a job, room or no room, and notify an idle worker."""
        if self.idle:
            self.wake_idle_worker()
        # The append comes last: if KeyboardInterrupt arrives before it, the job was not accepted, and the worker that
        # was notified finds nothing and becomes idle again.
        self.queue.append(task)

    def finish(self, worker: Worker, task: Task[Job, Value]) -> None:
        """Count the job in this worker's hand, whose result is filled in, and put the result into its outlet.

        Called with or without the lock. A reader of the result finds it counted.
        """
        result, outlet = task
        kind = None if result.error is None else counts_as(result.error)
        with self.lock:
            # No call before `put`: an exception that is injected into this thread comes after a call, so that it finds
            # the job either in the worker's hand or counted and in its outlet.
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
                self._note_late(result)

    def _note_late(self, result: Result[Job, Value]) -> None:
        late = self.cancelled_late if issubclass(type(result.error), JobCancelled) else self.finished_late
        late.append(result.job)
        if self.waits_for_running and not self.unfinished():
            self.wake_all_idle()  # that was the last one: workers that stayed because it might be retried can end

    def delay(self, worker: Worker, task: Task[Job, Value], due: float) -> None:
        """Move the job in this worker's hand to the delayed ones; it may run again at `due`."""
        result, outlet = task
        entry = (due, next(_serial), task)
        result.record_attempt(due)
        # No call before `heappush`: see `finish`.
        worker.task = None
        self.running -= 1
        outlet.delayed += 1
        heappush(self.delayed, entry)
        outlet.wake()  # a delayed job takes no place in its stream's window: the stream may have room for another

    def bring_back(self, now: float) -> float:
        """Move every delayed job that is due to the queue. Returns when the next is due (infinity: never)."""
        while self.delayed and self.delayed[0][0] <= now:
            task = self.delayed[0][2]
            self.enqueue(task)  # first: if the memory is used up and this raises, the job is still delayed
            heappop(self.delayed)
            task[1].delayed -= 1
            self.wake_blocked()
        return self.delayed[0][0] if self.delayed else math.inf

    def cancel(self, outlet: Outlet[Job, Value] | None, now: float) -> None:
        """Cancel the queued and delayed jobs of one outlet, or all of them: each gets a result with a JobCancelled."""
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
        """Fill in and count the result of a job that is in no place any more, as cancelled."""
        result, outlet = task
        result.drop(self.why_cancelled(result), now)
        self.cancelled_count += 1
        if self.closed:
            self._note_late(result)
        outlet.put(result)

    def why_cancelled(self, result: Result[Job, Value]) -> JobCancelled:
        """The error of a job that is cancelled now."""
        if not result.attempts:
            return JobCancelled(f"cancelled in the queue of {self.name} before any worker took it")
        why = JobCancelled(f"not retried: {self.name} was stopped after attempt {result.attempt} had failed")
        why.__cause__ = result.attempts[-1].error
        return why

    def unfinished(self) -> bool:
        """True if the pool has jobs whose result is still to come."""
        return bool(self.queue or self.running or self.delayed)

    def oldest_wait(self, now: float) -> float:
        """Seconds that the first job in the queue has waited; 0.0 if none waits."""
        return max(0.0, now - self.queue[0][0].waiting_since) if self.queue else 0.0

    def needs_nobody(self) -> bool:
        """True if a worker for which there is no job now will not be needed any more."""
        return self.closed and (self.cancelled.is_set() or not (self.waits_for_running and self.unfinished()))

    def count(self) -> PoolStats:
        """All counts at this instant."""
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
