"""The ways to run jobs on a few threads that the benchmarks compare.

A function in NOOP runs many jobs: it takes (handler, jobs, workers, queue_size) and returns the number of results. A
function in ONCE creates a pool, runs one job, and closes the pool: it takes (handler, job, workers) and returns the
result. This file imports only the standard library and `helpers.pools`; other packages are imported in the functions.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.pool import ThreadPool
from typing import Any

from helpers.pools import PoolExecutor, WorkerPool

Run = Callable[[Callable[[Any], Any], Iterable[Any], int, int], int]
RunOnce = Callable[[Callable[[Any], Any], Any, int], Any]


def worker_pool(handler, jobs, workers, queue_size):
    with WorkerPool(handler, workers=workers, queue_size=queue_size) as pool:
        return sum(1 for _ in pool.stream(jobs))


def pool_executor_map(handler, jobs, workers, queue_size):
    with PoolExecutor(workers, queue_size=queue_size) as executor:
        return sum(1 for _ in executor.map(handler, jobs, buffersize=queue_size))


def executor_map(handler, jobs, workers, queue_size):
    with ThreadPoolExecutor(workers) as executor:
        return sum(1 for _ in executor.map(handler, jobs))


def executor_map_with_buffersize(handler, jobs, workers, queue_size):
    with ThreadPoolExecutor(workers) as executor:
        return sum(1 for _ in executor.map(handler, jobs, buffersize=queue_size))


def executor_as_completed(handler, jobs, workers, queue_size):
    with ThreadPoolExecutor(workers) as executor:
        return sum(1 for _ in as_completed([executor.submit(handler, job) for job in jobs]))


def executor_behind_a_semaphore(handler, jobs, workers, queue_size):
    room = threading.Semaphore(queue_size + workers)
    done = []

    def finished(future):
        done.append(None)
        room.release()

    with ThreadPoolExecutor(workers) as executor:
        for job in jobs:
            room.acquire()
            executor.submit(handler, job).add_done_callback(finished)
    return len(done)


def threadpool_imap_unordered(handler, jobs, workers, queue_size):
    with ThreadPool(workers) as pool:
        return sum(1 for _ in pool.imap_unordered(handler, jobs))


def textbook(handler, jobs, workers, queue_size):
    """Run jobs with two objects of `queue.Queue`, one record per job, and sentinels, as in most tutorials."""
    todo, done = queue.Queue(queue_size), queue.Queue()

    def work(number):
        while (job := todo.get()) is not None:
            begun = time.monotonic()
            try:
                record = (job, handler(job), None, number, begun, time.monotonic())
            except Exception as error:
                record = (job, None, error, number, begun, time.monotonic())
            done.put(record)
        done.put(None)

    def feed():
        for job in jobs:
            todo.put((job,))
        for _ in range(workers):
            todo.put(None)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(workers)] + [threading.Thread(target=feed)]
    for thread in threads:
        thread.start()
    count, open_ = 0, workers
    while open_:
        if done.get() is None:
            open_ -= 1
        else:
            count += 1
    for thread in threads:
        thread.join()
    return count


def mpire_threads(handler, jobs, workers, queue_size):
    from mpire import WorkerPool as MpirePool

    with MpirePool(n_jobs=workers, start_method="threading") as pool:
        jobs = list(jobs)
        return sum(1 for _ in pool.imap_unordered(handler, jobs, iterable_len=len(jobs)))


def anyio_streams(handler, jobs, workers, queue_size):
    """Run jobs in tasks on one event loop and not in threads, so the handler must not block."""
    import anyio

    async def main():
        send_job, jobs_in = anyio.create_memory_object_stream(queue_size)
        send_result, results = anyio.create_memory_object_stream(queue_size)

        async def work(inbox, outbox):
            async with inbox, outbox:
                async for job in inbox:
                    await outbox.send(handler(job))

        async def feed():
            async with send_job:
                for job in jobs:
                    await send_job.send(job)

        count = 0
        async with anyio.create_task_group() as group:
            for _ in range(workers):
                group.start_soon(work, jobs_in.clone(), send_result.clone())
            jobs_in.close()
            send_result.close()
            group.start_soon(feed)
            async for _ in results:
                count += 1
        return count

    return asyncio.run(main())


NOOP: dict[str, Run] = {
    "WorkerPool": worker_pool,
    "PoolExecutor.map with a buffersize": pool_executor_map,
    "ThreadPoolExecutor.map": executor_map,
    "ThreadPoolExecutor.map with a buffersize": executor_map_with_buffersize,
    "ThreadPoolExecutor, as_completed": executor_as_completed,
    "ThreadPoolExecutor behind a semaphore": executor_behind_a_semaphore,
    "ThreadPool.imap_unordered": threadpool_imap_unordered,
    "textbook: two queue.Queue": textbook,
    "mpire, threads": mpire_threads,
    "anyio memory streams (tasks)": anyio_streams,
}
# Contenders that need Python 3.14.
NEED_3_14 = ("ThreadPoolExecutor.map with a buffersize",)


def worker_pool_once(handler, job, workers):
    with WorkerPool(handler, workers=workers) as pool:
        pool.submit(job)
    [result] = pool.results()
    return result.value


def pool_executor_once(handler, job, workers):
    with PoolExecutor(workers) as executor:
        return executor.submit(handler, job).result()


def executor_once(handler, job, workers):
    with ThreadPoolExecutor(workers) as executor:
        return executor.submit(handler, job).result()


def threadpool_once(handler, job, workers):
    with ThreadPool(workers) as pool:
        value = pool.apply(handler, (job,))
        pool.close()
        pool.join()  # the end of the block only terminates the pool; the other contenders wait for their threads
    return value


ONCE: dict[str, RunOnce] = {
    "WorkerPool": worker_pool_once,
    "PoolExecutor": pool_executor_once,
    "ThreadPoolExecutor": executor_once,
    "multiprocessing ThreadPool": threadpool_once,
}
