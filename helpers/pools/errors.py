"""The errors of the pools themselves: a job refused, cancelled, of unknown outcome, or lost with its worker."""


class PoolClosed(RuntimeError):
    """Raised when a pool has begun to shut down and accepts no more jobs. The job was not accepted."""


class JobCancelled(Exception):
    """The error of a job that was not done because its pool no longer wanted it.

    Most cancelled jobs were still in the queue and no worker had started them. A handler that looks at
    `current_worker().cancelled` may raise it too, if it leaves nothing half done: its job then counts as cancelled and
    not as failed.
    """


class OutcomeUnknown(Exception):
    """Raised by a handler that cannot know whether the work was done: it asked for the work and got no answer.

    Examples are a mail or a payment when the connection is lost between the request and the reply. Such a
    job has neither succeeded nor failed, and `stats().unknown` counts it. If somebody repeats it, it may be done twice.
    """


class WorkerDied(RuntimeError):
    """The error of a job whose worker ended in the middle of it for a reason outside of the handler.

    `__cause__` is the reason. Another worker takes the place of the dead worker.
    """


def counts_as(error: BaseException) -> type[BaseException]:
    """Return what a job with this error counts as: JobCancelled, OutcomeUnknown, or, if it has failed, Exception."""
    kind = type(error)  # not isinstance: it asks `error.__class__`, which is user code
    for special in (JobCancelled, OutcomeUnknown):
        if issubclass(kind, special):
            return special
    return Exception
