"""The errors of the pools: a job was refused or cancelled, has an unknown outcome, or its worker died.

Always true: a job with an error counts as exactly one of cancelled, unknown, and failed. `counts_as` decides this in
one place, so the counts of a pool always add up.
"""


class PoolClosed(RuntimeError):
    """Raised by a pool that is shutting down or has shut down. The job was not accepted."""


class JobCancelled(Exception):
    """The error of a job that was cancelled, for example by a shutdown.

    Most cancelled jobs were still in the queue or waited for a retry. A handler that finds `current_worker().cancelled`
    set may raise this error too, if it leaves no work half done. Its job then counts as cancelled and not as failed.
    """


class OutcomeUnknown(Exception):
    """Raised by a handler that cannot know whether the work was done, because its request got no reply.

    An example is a mail or a payment whose connection is lost after the request and before the reply. Such a job has
    neither succeeded nor failed, and `stats().unknown` counts it. If the job is repeated, the work may be done twice.
    """


class WorkerDied(RuntimeError):
    """The error of a job whose worker died while it ran the job, for a reason outside of the handler.

    `__cause__` is the exception that ended the worker. Another worker replaces the dead worker. If the handler runs in
    a child process and that process died, `exit_code` is its exit code, or minus the number of the signal.
    """

    exit_code: int | None = None


class JobTimedOut(TimeoutError):
    """The error of a job that ran longer than the `timeout` of its engine, so that its process was killed."""


class HandlerFailed(RuntimeError):
    """The error of a job whose handler raised, in a child process, an error that cannot be pickled. It has its text."""


def counts_as(error: BaseException) -> type[BaseException]:
    """Return the class under which a job with this error is counted.

    JobCancelled means cancelled, OutcomeUnknown means unknown, and Exception stands for every other error: failed.
    """
    kind = type(error)  # not isinstance, which reads `error.__class__`: this attribute may be user code
    for special in (JobCancelled, OutcomeUnknown):
        if issubclass(kind, special):
            return special
    return Exception
