"""A task that rescues the jobs of dead workers. A worker of procrastinate has it as soon as this module is imported."""

from procrastinate import JobContext
from procrastinate.jobs import Status

from helpers.durable.mails import SILENCE, app

URGENT = 100  # a higher priority than that of other jobs, which have 0: else the rescue would wait behind all of them
MOST_ATTEMPTS = 3  # a stalled job that has run so often is given up


@app.periodic(cron="* * * * * *")
@app.task(name="rescue", queueing_lock="rescue", pass_context=True, priority=URGENT)
async def rescue(context: JobContext, timestamp: int) -> None:
    """Retry the jobs of workers that have been silent for too long. Give up a job that has run MOST_ATTEMPTS times."""
    manager = context.app.job_manager
    for job in await manager.get_stalled_jobs(seconds_since_heartbeat=SILENCE):
        if job.attempts + 1 < MOST_ATTEMPTS:
            await manager.retry_job(job)
        else:
            await manager.finish_job(job, status=Status.FAILED, delete_job=False)
