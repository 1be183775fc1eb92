"""The worker pool: a few threads, a bounded queue, and no job ever lost.

The kitchen: `submit` hangs an order on the rail, `workers` cooks take orders from it, finished dishes stand on the
pass until somebody asks for them with `results()`. The rail has `queue_size` hooks. When all are taken whoever brings
orders waits: that is backpressure, and the reason why a pool holds under a load that breaks the program without one.

    with WorkerPool(handler, workers=5) as pool:
        for result in pool.stream(jobs):            # feeds the jobs and yields their results as they finish
            print(result.job, result.value if result.ok else result.error)

What holds, always:
- submitted = queued + running + succeeded + failed + cancelled. A job that was taken comes out as one result.
  (And + unknown, for handlers that raise `OutcomeUnknown`.)
- Whatever a handler raises is in its result. A bad job never kills a worker.
- At most `queue_size` jobs wait and at most `workers` run. Results that nobody reads are kept and block nobody;
  `stream` never has more than queue_size + workers jobs in the pool, unread results included.
- Once a shutdown has begun no job is taken, and whoever waits in `submit` gets `PoolClosed`.
- A thread that runs is never killed. Handlers that may run long look at `current_worker().cancelled`.

What it costs: about a tenth of `ThreadPoolExecutor.map`'s time a job (benchmarks/README.md), because one lock guards
one deque and nothing is allocated but the result. What not to do: a handler must not `submit` to its own pool (when
the queue is full, all workers wait for each other for ever; it is refused, `try_submit` works), and a pool that is
never shut down keeps its threads until the program ends. Use `with`.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from itertools import count
from queue import Empty, SimpleQueue
from threading import Condition, Event, RLock, Thread, current_thread
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from . import checks
from .alarm import Alarm
from .result import JobCancelled, OutcomeUnknown, PoolClosed, PoolStats, Result, ShutdownReport
from .stop import undisturbed
from .worker import OpenResource, Worker, become, worker_or_none

Job = TypeVar("Job")
Value = TypeVar("Value")


class Pass(SimpleQueue[Result[Job, Value] | None]):
    """Where finished results go: one for `results()`, one for every stream. A None in it says: look for the end."""

    wanted = True  # False once the stream that reads it has been left

    def hand_on(self) -> None:
        """Called after results have been put, without the lock. Here they wait for their reader: see `executor`."""


# What waits in the queue and goes through a worker's hands: the result to fill in, and the pass it belongs on.
Order = tuple[Result[Job, Value], Pass[Job, Value]]

# The longest single wait, seconds. Windows cannot interrupt a lock: so the Stop button works there as well.
SLICE = 0.5
# The longest single wait in which Stop is put off, seconds.
TICK = 0.05
# How long a forced shutdown waits for handlers that look at `cancelled`, seconds.
GRACE = 0.5

_pool_numbers = count(1)


class WorkerPool(Generic[Job, Value]):
    """`workers` threads that call handler(job) for the jobs of a queue of at most `queue_size`.

    Args:
        handler:    called with a job in a worker's thread; what it returns or raises goes into the job's `Result`.
        workers:    how many jobs run at the same time.
        queue_size: how many jobs may wait.
        resource:   makes the context manager of what each worker keeps for itself (a connection, say): opened when
                    a handler first asks for `current_worker().resource`, closed when the worker leaves.
        clock:      gives the time stamps of the results, seconds. Waiting is always done in real time.

    Raises TypeError or ValueError for an argument that breaks its rule, RuntimeError if the machine cannot start
    that many threads (those that did start are stopped again).
    """

    def __init__(
        self,
        handler: Callable[[Job], Value],
        *,
        workers: int = 5,
        queue_size: int = 100,
        resource: OpenResource | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        checks.function("handler", handler)
        if resource is not None:
            checks.function("resource", resource)
        checks.function("clock", clock)
        workers = checks.whole_number("workers", workers)
        self.queue_size = checks.whole_number("queue_size", queue_size)
        self.cancelled = Event()  # set when a shutdown no longer wants what runs
        self._handler = handler
        self._resource = resource
        self._clock = clock
        self._name = f"{type(self).__name__}-{next(_pool_numbers)}"
        # The lock guards all below: every job is in one place (in _queue, in a worker's hand, or counted as finished
        # with its result on a pass); _queue holds at most queue_size; nothing is added to it once _closed.
        # Re-entrant, because the garbage collector may close a forgotten stream in whoever holds it at that moment.
        self._lock = RLock()
        self._not_full = Condition(self._lock)
        self._queue: deque[Order[Job, Value]] = deque()
        self._running = self._succeeded = self._failed = self._cancelled = self._unknown = 0
        self._idle: list[Worker] = []  # who waits for a job and has not been called, the last to come at the end
        self._blocked = 0  # submitters that wait for room
        self._closed = self._abandoned = False  # no more jobs; and: no more waiting for what still runs
        self._done_late: list[Job] = []  # finished since _closed
        self._taken_back: list[Job] = []  # cancelled since _closed
        self._errors: list[BaseException] = []  # from closing resources
        self._feeders: set[Thread] = set()  # the first two threads that have submitted, workers apart
        self._pass: Pass[Job, Value] = Pass()  # for results()
        self._reader: list[Pass[Job, Value]] | None = None  # who reads now, and from which pass
        self._crew: list[Worker] = []  # all hired, until their threads have ended
        self._hired = self._present = 0  # ever; and those that have not decided to leave
        self._alarms: list[Alarm] = []  # what kinds of pools that must act at a certain time have
        try:
            self._open(workers)
        except BaseException:  # the machine has no more threads, or Stop was pressed: leave none behind
            self.force_shutdown()
            raise

    # -- jobs come in ---------------------------------------------------------------------------------------------

    def submit(self, job: Job, timeout: float | None = None) -> None:
        """Queue a job; while the queue is full, wait, at most `timeout` seconds (None: as long as it takes).

        Raises PoolClosed if the pool shuts down before there is room, TimeoutError if there is none in time,
        RuntimeError from inside one of this pool's own handlers. In all three cases the job has not been taken.
        """
        deadline = checks.deadline_after("timeout", timeout)
        self._refuse_own_handler("submit() could wait for ever; try_submit() does not wait")
        with self._lock:
            self._wait_for_room(job, deadline, timeout)
            self._note_feeder()  # first: once its job is in, a thread that is stopped can still read it
            self._enqueue((Result(job, self._clock()), self._pass))

    def try_submit(self, job: Job) -> bool:
        """Queue a job if there is room at this instant; False, and the job not taken, if there is none.

        May be called from inside a handler. Raises PoolClosed once a shutdown has begun.
        """
        with self._lock:
            if not self._has_room(job):
                return False
            if not self._is_own_handler():
                self._note_feeder()
            self._enqueue((Result(job, self._clock()), self._pass))
            return True

    def _note_feeder(self) -> None:
        """The calling thread has submitted: see `_no_more_results`; the caller holds the lock."""
        # The thread and not its number, which the system gives to another when it has ended: a reader that got it would
        # go home in the middle. Two are enough to know that it is not the reader alone.
        if len(self._feeders) < 2:
            self._feeders.add(current_thread())

    def _offer(self, job: Job, outlet: Pass[Job, Value]) -> bool:
        """Queue a job if there is room; the caller holds the lock."""
        if not self._has_room(job):
            return False
        self._enqueue((Result(job, self._clock()), outlet))
        return True

    def _enqueue(self, order: Order[Job, Value]) -> None:
        """Queue an order, room or no room, and call a worker that is idle; the caller holds the lock."""
        if self._idle:
            self._call_one()
        self._queue.append(order)  # last: if Stop comes before it, no job was taken, and who woke lies down again

    def _call_one(self) -> None:
        """Wake who came last to the idle list (the others can tell how long they have not been needed); hold the lock.

        Off the list, so that a burst of jobs calls each only once; but not before the bell has rung: a Stop in between
        would leave a worker that sleeps and that nobody ever calls.
        """
        worker = self._idle[-1]
        worker.bell.notify_all()  # its one waiter, and any whose notify a Stop has broken off: see gh-92530
        self._idle.pop()
        worker.idle = False

    def _call_all(self) -> None:
        """Have all idle workers look again; the caller holds the lock."""
        while self._idle:
            self._call_one()

    def _has_room(self, job: Job) -> bool:
        if self._closed:
            raise PoolClosed(f"{self._name} is shut down and takes no more jobs: {job!r} was not taken")
        return len(self._queue) < self.queue_size

    def _wait_for_room(self, job: Job, deadline: float | None, timeout: float | None) -> None:
        """Until the queue has room for this job; the caller holds the lock, and has it again afterwards."""
        while not self._has_room(job):
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"no room in the queue of {self.queue_size} within {timeout} s for {job!r}")
            self._await_room(deadline)

    def _await_room(self, deadline: float | None = None) -> None:
        self._blocked += 1
        try:
            self._not_full.wait(SLICE if deadline is None else min(SLICE, max(0.0, deadline - time.monotonic())))
        except BaseException:
            # Stop may strike in wait() when it has let go of the lock and not yet reached its `try`. The `with` of our
            # caller would then let go of a lock that is not ours: a RuntimeError that hides the KeyboardInterrupt.
            with suppress(RuntimeError):
                self._lock.release()
            self._lock.acquire()
            raise
        finally:
            self._blocked -= 1

    # -- workers work ---------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """What a kind of pool needs once there is a lock, and before there is a worker."""

    def _open(self, workers: int) -> None:
        with undisturbed():  # an alarm whose thread has started is on the list of those to be stopped
            self._prepare()
        for _ in range(workers):
            self._hire_one()

    def _hire_one(self) -> None:
        # Undisturbed: Stop inside Thread.start() can leave its lock taken, and the new thread waiting for it for ever.
        with undisturbed(), self._lock:
            self._crew = [worker for worker in self._crew if worker.thread.is_alive()]
            self._hired += 1
            worker = Worker(self._hired, self, self._resource, Condition(self._lock))
            name = f"{self._name}-worker-{worker.number}"
            worker.thread = Thread(target=self._work, args=(worker,), name=name, daemon=True)
            self._crew.append(worker)
            self._present += 1
            try:
                worker.thread.start()
            except BaseException:  # there is no thread
                self._crew.remove(worker)
                self._present -= 1
                raise

    def _work(self, worker: Worker) -> None:
        """The life of a worker, in its own thread."""
        become(worker)
        while (order := self._take(worker)) is not None:
            result, outlet = order
            result.run(self._handler, worker.number, self._clock)
            self._settle(worker, result, outlet)
            outlet.hand_on()
            del order, result  # a worker that waits keeps nothing of its last job alive
        self._gone(worker.close())

    def _take(self, worker: Worker) -> Order[Job, Value] | None:
        """The next order, now in this worker's hand; None when there will be no more for it."""
        with self._lock:
            while not self._queue:
                if self._may_go(worker):
                    self._let_go(worker)
                    return None
                self._lie_down(worker)
                worker.bell.wait(self._idle_time(worker))
                self._get_up(worker)
            worker.in_hand = order = self._queue.popleft()
            self._running += 1
            if self._blocked:
                self._not_full.notify()
            return order

    def _may_go(self, worker: Worker) -> bool:
        """True if a worker for which there is no job now will not be needed; the caller holds the lock."""
        return self._closed

    def _idle_time(self, worker: Worker) -> float | None:
        """Seconds until an idle worker looks again without being called."""
        return None

    def _lie_down(self, worker: Worker) -> None:
        worker.idle = True
        self._idle.append(worker)

    def _get_up(self, worker: Worker) -> None:
        # Whoever calls a worker takes it off the list. So one that times out in the moment in which it is called
        # finds itself off the list, and a job in the queue; only one that was not called takes itself off.
        if worker.idle:
            worker.idle = False
            if worker in self._idle:  # else Stop was pressed while it was being called
                self._idle.remove(worker)

    def _let_go(self, worker: Worker) -> None:
        """One worker less, in the same breath in which `_may_go` said so; the caller holds the lock."""
        self._present -= 1
        if not self._present:
            self._wake_reader()
            if self._closed:
                self._stop_alarms()

    def _gone(self, error: BaseException | None) -> None:
        """A worker that was let go has closed its resource, with this error or none; its thread ends now."""
        if error is not None:
            with self._lock:
                self._errors.append(error)

    def _settle(self, worker: Worker, result: Result[Job, Value], outlet: Pass[Job, Value]) -> None:
        """Count a job that has run and put its result on the pass: who reads a result finds it counted."""
        with self._lock:
            worker.in_hand = None
            self._running -= 1
            if result.error is None:
                self._succeeded += 1
            else:
                self._count_error(result.error)
            if self._closed:
                gone = self._taken_back if isinstance(result.error, JobCancelled) else self._done_late
                gone.append(result.job)
            outlet.put(result)

    def _count_error(self, error: BaseException) -> None:
        if isinstance(error, JobCancelled):
            self._cancelled += 1
        elif isinstance(error, OutcomeUnknown):
            self._unknown += 1
        else:
            self._failed += 1

    # -- results go out -------------------------------------------------------------------------------------------

    def results(self) -> Generator[Result[Job, Value], None, None]:
        """The results of submitted jobs, as they finish.

        Ends when no more can come: the pool is shut down and all is read (what a shutdown left running apart), or
        nothing is left in the pool and only the reading thread has ever submitted. So a script that submits all
        and then reads all comes to its end, and a reader in a thread of its own waits for jobs until the shutdown.

        Raises RuntimeError, at once, while another `results()` or `stream()` of this pool is being read, and from
        inside one of its own handlers.
        """
        self._refuse_own_handler("results() would wait for itself")
        return _started(self._read())

    def _read(self) -> Generator[Result[Job, Value], None, None]:
        reading = [self._pass]
        try:
            yield self._begin(reading)
            while (result := self._receive(self._pass, self._no_more_results)) is not None:
                yield result
        finally:
            if self._reader is reading:
                self._reader = None

    def _no_more_results(self) -> bool:
        with self._lock:
            return self._over() or (not self._unfinished() and self._feeders == {current_thread()})

    def _unfinished(self) -> bool:
        """True if the pool has jobs whose result is still to come; the caller holds the lock."""
        return bool(self._queue or self._running)

    def stream(self, jobs: Iterable[Job]) -> Generator[Result[Job, Value], None, None]:
        """Feed the jobs of any iterable, an endless one included, and yield their results as they finish.

        The loop that reads is the loop that feeds: it takes the next jobs between two results, in the caller's own
        thread. So a database cursor can be the source, and a source that takes long holds up the results behind it.
        If the iterable raises, or the pool is shut down, the jobs already taken finish and then the error comes out.
        Leaving the loop early cancels what it still has queued; the next stream waits for what still runs, and so
        starts clean.

        Raises TypeError if `jobs` is no iterable, PoolClosed after a shutdown, RuntimeError while another
        `results()` or `stream()` of this pool is being read, and from inside one of its own handlers.
        """
        self._refuse_own_handler("stream() would wait for itself")
        source = checks.iterable("jobs", jobs)
        if self._closed:
            raise PoolClosed(f"{self._name} is shut down and takes no more jobs: the stream was not begun")
        return _started(self._feed(source))

    def _feed(self, source: Iterator[Job]) -> Generator[Result[Job, Value], None, None]:
        outlet: Pass[Job, Value] = Pass()
        owed = 0  # results still to come: queued, running or unread
        failure: Exception | None = None
        reading = [outlet]
        try:
            begun = self._begin(reading)
            self._await_left()
            yield begun
            try:
                for job in source:
                    while not self._admit(job, outlet, owed):
                        result = self._receive_owed(outlet)
                        owed -= 1
                        yield result
                    owed += 1
                    while not outlet.empty():
                        if (ready := outlet.get()) is not None:
                            owed -= 1
                            yield ready
            except Exception as error:  # the source's own, or PoolClosed
                failure = error
            while owed:
                result = self._receive_owed(outlet)
                owed -= 1
                yield result
        except BaseException:
            # `break`, an exception in the loop, or Stop: a stream that is left takes its queued jobs with it. It does
            # not wait here for what runs: Python closes it while that exception is on its way, and Stop is to be quick;
            # and a KeyboardInterrupt that is raised while Python closes a generator is lost, and must be pressed again.
            self._take_back(outlet)
            raise
        finally:
            if self._reader is reading:
                self._reader = None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # its traceback holds this frame: no cycle between the two

    def _admit(self, job: Job, outlet: Pass[Job, Value], owed: int) -> bool:
        """Queue a stream's job; False if it must read a result first."""
        if owed >= self.queue_size + self._present:
            return False
        with self._lock:
            while not self._offer(job, outlet):
                # Wait for room, not for a result, if no result of ours would make any (jobs of others fill the queue),
                # or if free workers are about to take all that is queued: a short queue must not let them stand idle.
                if owed and len(self._queue) > self._present - self._running:
                    return False
                self._await_room()
            return True

    def _receive_owed(self, outlet: Pass[Job, Value]) -> Result[Job, Value]:
        """A stream's next result, which is certain to come. Raises PoolClosed if a shutdown gave up on it."""
        result = self._receive(outlet, self._over)
        if result is None:
            raise PoolClosed(f"{self._name} was shut down while jobs of this stream were still running")
        return result

    def _receive(self, outlet: Pass[Job, Value], ended: Callable[[], bool]) -> Result[Job, Value] | None:
        """The next result on a pass; None if there is none and none will come."""
        while True:
            try:
                result = outlet.get_nowait()
            except Empty:
                # Asked before the second look: what was put before the end is found by it.
                end = ended()
                try:
                    result = outlet.get(timeout=0 if end else SLICE)
                except Empty:
                    if end:
                        return None
                    continue
            if result is not None:
                return result

    def _over(self) -> bool:
        """True if no job will finish any more, as far as anybody waits for it."""
        return self._abandoned or (self._closed and not self._present)

    def _wake_reader(self) -> None:
        reading = self._reader  # looked at once: it takes no lock to leave, and may do so before the next line
        if reading is not None:
            reading[0].put(None)

    def _begin(self, reading: list[Pass[Job, Value]]) -> Any:
        """One reader at a time: two would each see a part of the results and think it was all.

        Who has begun says `_reader = None` in a `finally`, if it is their own `reading`: so Stop cannot part the two.
        """
        with self._lock:
            if self._reader is not None:
                raise RuntimeError(f"{self._name} has a reader: finish or close() its results() or stream() first")
            self._reader = reading

    def _await_left(self) -> None:
        """Until nothing runs any more of streams that were left, or the pool shuts down."""
        while not self._closed and (left := self._left_running()) is not None:
            with suppress(Empty):
                left.get(timeout=SLICE)

    def _left_running(self) -> Pass[Job, Value] | None:
        """The pass of a stream that was left while one of its jobs ran, which still runs."""
        with self._lock:
            orders = [worker.in_hand for worker in self._crew]
        return next((order[1] for order in orders if order is not None and not order[1].wanted), None)

    # -- the end --------------------------------------------------------------------------------------------------

    def shutdown(self, deadline: float | None = None) -> ShutdownReport:
        """Take no more jobs, finish those in the pool, let the workers go; after `deadline` seconds stop waiting.

        At the deadline (None: there is none) what is still queued is cancelled, `cancelled` is set for the handlers
        that look at it, and what runs is named in the report; its results can still be read if they come later.
        Nobody needs to read results meanwhile. May be called again, from any thread but the pool's own: it then
        waits for what is still there.

        Raises TypeError or ValueError for a bad deadline, RuntimeError from inside one of this pool's handlers.
        """
        until = checks.deadline_after("deadline", deadline)
        self._refuse_own_handler("shutdown() would wait for itself")
        self._close()
        ended = self._join(until)
        if not ended:
            self._give_up()
        return self._report(ended)

    def force_shutdown(self) -> ShutdownReport:
        """Take no more jobs, cancel what is queued, wait half a second for what runs and looks at `cancelled`.

        Each cancelled job comes out as a result with a `JobCancelled`; what did not stop in time is named in the
        report as still running. May be called again, and after or during a shutdown(), from any thread but the
        pool's own: RuntimeError there.
        """
        self._refuse_own_handler("force_shutdown() would wait for itself")
        self._unlock()
        with undisturbed():
            self._close()
            self._give_up()
        try:
            ended = self._join(time.monotonic() + GRACE)
        except BaseException:  # Stop: whoever pressed it waits for nothing any more, a reader of results() neither
            self._report(ended=False)
            raise
        return self._report(ended)

    def _unlock(self) -> None:
        """Let go of the lock, should a Stop have left it in the hands of this thread: no worker could go on, or home.

        Python 3.14 can hear a Stop when `with self._lock` has taken the lock and not yet entered its block.
        """
        with suppress(RuntimeError):  # it is not ours, or no longer
            while True:
                self._lock.release()

    def _close(self) -> None:
        with undisturbed(), self._lock:
            self._closed = True
            self._call_all()  # workers that wait go home
            self._not_full.notify_all()  # submitters that wait get PoolClosed

    def _join(self, until: float | None) -> bool:
        """Wait for the end of every thread, those that are hired meanwhile included. True if all have ended."""
        while (thread := self._alive()) is not None:
            remaining = TICK if until is None else until - time.monotonic()
            if remaining <= 0:
                return False
            # Before Python 3.13 a Stop inside join() marks a running thread as ended, and we would take a pool that
            # works for one that has stopped.
            with undisturbed():
                thread.join(min(remaining, TICK))
        return True

    def _alive(self) -> Thread | None:
        """One of the pool's threads that has not ended, workers first; None if all have."""
        with self._lock:
            threads = [worker.thread for worker in self._crew] + [alarm.thread for alarm in self._alarms]
        with undisturbed():  # is_alive() is a join() of no length: see there
            return next((thread for thread in threads if thread.is_alive()), None)

    def _give_up(self) -> None:
        """Want nothing any more that has not been done: in one step, so that nothing is begun again in between."""
        with undisturbed(), self._lock:
            self.cancelled.set()
            self._take_back()
            self._stop_alarms()
        self._pass.hand_on()

    def _stop_alarms(self) -> None:
        for alarm in self._alarms:
            alarm.stop()

    def _take_back(self, outlet: Pass[Job, Value] | None = None) -> None:
        """Cancel the jobs that wait: those of one pass, or all. Each comes out as a cancelled result."""
        with undisturbed(), self._lock:  # no order is lost on its way from the queue to the pass
            if outlet is not None:
                outlet.wanted = False
            now = self._clock()
            for order in self._withdraw(outlet):
                self._cancel(order, now)
            self._not_full.notify_all()
            if self._closed:
                self._call_all()

    def _withdraw(self, outlet: Pass[Job, Value] | None) -> list[Order[Job, Value]]:
        """The orders that wait, of one pass or all, off the queue; the caller holds the lock and cancels them."""
        # The garbage collector may close a forgotten stream in here, wherever something is made or called, and that
        # comes in once more. So all is taken first, in one step, for nobody to find again; what stays is put back.
        rest: deque[Order[Job, Value]] = deque()
        orders, self._queue = self._queue, rest
        self._queue.extend(order for order in orders if outlet is not None and order[1] is not outlet)
        return [order for order in orders if outlet is None or order[1] is outlet]

    def _cancel(self, order: Order[Job, Value], now: float) -> None:
        result, outlet = order
        result.drop(self._why_cancelled(result), now)
        self._cancelled += 1
        if self._closed:
            self._taken_back.append(result.job)
        outlet.put(result)

    def _why_cancelled(self, result: Result[Job, Value]) -> JobCancelled:
        return JobCancelled(f"taken back from the queue of {self._name} before any worker took it")

    def _report(self, ended: bool) -> ShutdownReport:
        with self._lock:
            running = tuple(w.in_hand[0].job for w in self._crew if w.in_hand is not None)
            if not ended:
                self._abandoned = True
                self._wake_reader()
            return ShutdownReport(
                finished=tuple(self._done_late),
                cancelled=tuple(self._taken_back),
                still_running=running,
                errors=tuple(self._errors),
                stats=self._count(),
            )

    def stats(self) -> PoolStats:
        """How many jobs are where, all at one instant."""
        with self._lock:
            return self._count()

    def oldest_wait(self) -> float:
        """Seconds that the first job in the queue has waited; 0.0 if none waits. The one figure to watch: see 07."""
        with self._lock:
            now = self._clock()  # first: while it runs, the garbage collector may empty the queue of a forgotten stream
            return now - self._queue[0][0].waiting_since if self._queue else 0.0

    def _count(self) -> PoolStats:
        places = {
            "queued": len(self._queue),
            "running": self._running,
            "succeeded": self._succeeded,
            "failed": self._failed,
            "cancelled": self._cancelled,
            "unknown": self._unknown,
        }
        return PoolStats(submitted=sum(places.values()), workers=self._present, **places)

    def __enter__(self) -> Self:
        # A Stop between the constructor's return and here finds no `with` yet, and nothing can be done about that: the
        # crew stays, asleep and without a job, until the program ends. They are daemons and do not hold it up.
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Drain on a clean exit; when the body raised, or Stop is pressed while draining, force.

        What an earlier shutdown has given up on is not waited for again.
        """
        # A Stop that Python hears at the very entry of this method, before the `try`, leaves the pool open: there is no
        # line in which to catch it. Then its daemon threads do what is queued, and force_shutdown() still works.
        try:
            if kind is None and not self._abandoned:
                self.shutdown()
            elif not self._abandoned:  # at once, and once more below, should Stop come in here
                self.force_shutdown()
        finally:
            if not self._abandoned and self._alive() is not None:
                self.force_shutdown()
        return False

    def _is_own_handler(self) -> bool:
        worker = worker_or_none()
        return worker is not None and worker.pool is self

    def _refuse_own_handler(self, why: str) -> None:
        if self._is_own_handler():
            raise RuntimeError(f"called by a handler of {self._name} itself: {why}")


def _started(
    generator: Generator[Result[Job, Value], None, None],
) -> Generator[Result[Job, Value], None, None]:
    """The generator run up to its first yield: so a second reader is refused at the call, and close() cleans up."""
    try:
        next(generator)
        return generator
    except BaseException:  # its own, or Stop just after it has begun: then nobody else could close it
        generator.close()
        raise
