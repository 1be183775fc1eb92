"""Where every job of a pool is: the one state, with the one lock, that all parts of a pool share.

                       room?                 worker.order               outlet
    submit, stream ──> queue ──── take ────> a worker's hand ─ finish ─> results(), stream, callback
                       ^   │                        │                    ^
             bring_back│   └─────────── cancel ─────│────────────────────┤
                       │                            │ delay              │
                       └───────── delayed <─────────┘──── cancel ────────┘

The invariant, which holds whenever nobody holds the lock:

- Every job that was accepted is in exactly one place: in `queue`, in `delayed`, in the hand of one worker
  (`worker.order`), or counted as succeeded, failed, unknown, or cancelled with its result in an outlet.
- `running` is the number of workers with a job in hand.
- Nothing is added to `queue` by a submitter once `closed` is true, or while it has no room: `queue_size` jobs are
  queued, or `max_delayed` jobs are delayed. A retry that has become due enters the queue even if it is full.
- A worker in `idle` is parked or about to park, and has not been notified. If a job is queued, then no worker is idle
  or one has been notified that has not looked yet. So no job waits while all workers sleep.
- A submitter in `blocked` is parked or about to park. Whenever there may be room again one of them is notified, and
  all of them are when the pool closes.

What a mistake would break: a job outside of all places is lost, a job in two places is done twice, and a notification
that is not sent lets a thread sleep forever.

The lock is never held while user code runs or while a thread waits. It is re-entrant so that a thread can find out
whether it holds it: see `interrupts`. All methods here are called with the lock held, unless they say otherwise. The
order of their steps matters: in the main thread KeyboardInterrupt can come between any two of them.
"""

import math
from collections import deque
from heapq import heapify, heappop, heappush
from itertools import count
from threading import Event, RLock, Thread
from typing import Generic, TypeVar

from .alarm import Alarm
from .clocks import Clock
from .errors import JobCancelled, OutcomeUnknown
from .outlet import Outlet
from .parker import Parker
from .report import PoolStats
from .result import Result
from .worker import Worker

Job = TypeVar("Job")
Value = TypeVar("Value")

# What waits in the queue and goes through a worker's hand: the result to fill in, and the outlet it belongs to.
Order = tuple[Result[Job, Value], Outlet[Job, Value]]


class PoolState(Generic[Job, Value]):
    """The jobs of one pool, and the threads that wait for a change of them.

    Attributes that are not described above:
        name:             of the pool, for messages.
        clock:            for time stamps, seconds; never raises.
        waits_for_running:  True if a running job may come back to the queue, so that idle workers must stay for it.
        cancelled:        set when the pool no longer wants what is running.
        abandoned:        True once a shutdown has stopped waiting for what is still running.
        feeders:          the first two threads that have submitted, workers apart: see `Reading.results`.
        reader:           the outlet that somebody reads now, or None.
        watchers:         parkers of those who wait for the last worker to end.
        finished_late, cancelled_late:  the jobs that have finished or were cancelled since the pool was closed.
        errors:           of resources and callbacks.
        alarms:           threads that act at a certain time, for pools that need any.
    """

    def __init__(self, name: str, queue_size: int, clock: Clock) -> None:
        self.name = name
        self.queue_size = queue_size
        self.clock = clock
        self.max_delayed = math.inf
        self.waits_for_running = False
        self.lock = RLock()  # guards everything below
        self.queue: deque[Order[Job, Value]] = deque()
        self.delayed: list[tuple[float, int, Order[Job, Value]]] = []  # a heap: when due, a serial number, the order
        self.running = self.succeeded = self.failed = self.unknown = self.cancelled_count = 0
        self.idle: list[Worker] = []  # the worker that became idle last is at the end
        self.blocked: deque[Parker] = deque()
        self.closed = self.abandoned = False
        self.cancelled = Event()
        self.finished_late: list[Job] = []
        self.cancelled_late: list[Job] = []
        self.errors: list[BaseException] = []
        self.feeders: set[Thread] = set()
        self.reader: Outlet[Job, Value] | None = None
        self.watchers: list[Parker] = []
        self.alarms: list[Alarm] = []
        self._serial = count()

    # -- notifications --------------------------------------------------------------------------------------------

    def wake_idle_worker(self) -> None:
        """Notify the worker that became idle last. The others can tell how long nobody has needed them."""
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
            parker.listed = False
            parker.unpark()
            if not everybody:
                return

    def wake_watchers(self) -> None:
        """Have those look again who wait for the end of the pool: the reader, and whoever waits in a shutdown."""
        if self.reader is not None:
            self.reader.wake()
        for parker in self.watchers:
            parker.unpark()

    def crew_ended(self) -> None:
        """The last worker has ended, or there was none when the pool was closed."""
        if self.closed:
            for alarm in self.alarms:
                alarm.stop()
        self.wake_watchers()

    # -- a job's way ----------------------------------------------------------------------------------------------

    def has_room(self) -> bool:
        """True if a submitter may add a job."""
        return len(self.queue) < self.queue_size and len(self.delayed) < self.max_delayed

    def enqueue(self, order: Order[Job, Value]) -> None:
        """Queue a job, room or no room, and notify an idle worker."""
        if self.idle:
            self.wake_idle_worker()
        # The append comes last: if KeyboardInterrupt arrives before it, the job was not accepted, and the worker that
        # was notified finds nothing and becomes idle again.
        self.queue.append(order)

    def finish(self, worker: Worker, order: Order[Job, Value]) -> None:
        """Count the job in this worker's hand, whose result is filled in, and put the result into its outlet.

        Called with or without the lock. Whoever reads the result finds it counted.
        """
        result = order[0]
        kind = None if result.error is None else _kind(result.error)
        with self.lock:
            # An exception injected into the worker's thread arrives after a call. The first call below is the last step
            # of the move, so the job is either in hand, or counted with its result in the outlet.
            worker.order = None
            self.running -= 1
            if kind is None:
                self.succeeded += 1
            elif kind is JobCancelled:
                self.cancelled_count += 1
            elif kind is OutcomeUnknown:
                self.unknown += 1
            else:
                self.failed += 1
            order[1].put(result)
            if self.closed:
                self._note_late(result)

    def _note_late(self, result: Result[Job, Value]) -> None:
        late = self.cancelled_late if issubclass(type(result.error), JobCancelled) else self.finished_late
        late.append(result.job)
        if self.waits_for_running and not self.unfinished():
            self.wake_all_idle()  # that was the last one: those who stayed because it might be retried can go

    def delay(self, worker: Worker, order: Order[Job, Value], due: float) -> None:
        """Move the job in this worker's hand to the delayed ones; it may run again at `due`."""
        order[0].record_attempt(due)
        item = (due, next(self._serial), order)
        worker.order = None  # from here on the only call is the heappush: see `finish`
        self.running -= 1
        order[1].delayed += 1
        heappush(self.delayed, item)
        order[1].wake()  # a delayed job takes no place in its stream's window: the stream may have room for another

    def bring_back(self, now: float) -> float:
        """Move every delayed job that is due to the queue. Returns when the next is due (infinity: never)."""
        while self.delayed and self.delayed[0][0] <= now:
            order = heappop(self.delayed)[2]
            order[1].delayed -= 1
            self.enqueue(order)
            self.wake_blocked()
        return self.delayed[0][0] if self.delayed else math.inf

    def cancel(self, outlet: Outlet[Job, Value] | None, now: float) -> None:
        """Cancel the queued and delayed jobs of one outlet, or all of them: each gets a result with a JobCancelled."""
        gone = [order for order in self.queue if outlet is None or order[1] is outlet]
        self.queue = deque(order for order in self.queue if not (outlet is None or order[1] is outlet))
        late = sorted(item for item in self.delayed if outlet is None or item[2][1] is outlet)
        self.delayed = [item for item in self.delayed if not (outlet is None or item[2][1] is outlet)]
        heapify(self.delayed)
        for _, _, order in late:
            order[1].delayed -= 1
            gone.append(order)
        for order in gone:
            self.cancel_one(order, now)
        self.wake_blocked(everybody=True)
        if self.closed:
            self.wake_all_idle()

    def cancel_one(self, order: Order[Job, Value], now: float) -> None:
        """Fill in and count the result of a job that is in no place any more, as cancelled."""
        result, outlet = order
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

    # -- questions ------------------------------------------------------------------------------------------------

    def unfinished(self) -> bool:
        """True if the pool has jobs whose result is still to come."""
        return bool(self.queue or self.running or self.delayed)

    def needs_nobody(self) -> bool:
        """True if a worker for which there is no job now will not be needed any more."""
        return self.closed and (self.cancelled.is_set() or not (self.waits_for_running and self.unfinished()))

    def count(self, workers: int) -> PoolStats:
        """All counts at this instant."""
        places = {
            "queued": len(self.queue),
            "running": self.running,
            "delayed": len(self.delayed),
            "succeeded": self.succeeded,
            "failed": self.failed,
            "cancelled": self.cancelled_count,
            "unknown": self.unknown,
        }
        return PoolStats(submitted=sum(places.values()), workers=workers, **places)


def _kind(error: BaseException) -> type[BaseException]:
    """How an error is counted: as JobCancelled, as OutcomeUnknown, or, like every other one, as a failure."""
    kind = type(error)  # not isinstance: it asks `error.__class__`, which is user code
    if issubclass(kind, JobCancelled):
        return JobCancelled
    return OutcomeUnknown if issubclass(kind, OutcomeUnknown) else BaseException
