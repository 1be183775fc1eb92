"""Durable jobs: what survives a killed worker, in our own queue and in procrastinate's, and how often."""

import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial

import psutil
import psycopg
import pytest
from conftest import SLOW, wait_until

from helpers.durable import delete_first, mails, queue_table, stalled, welcome
from helpers.durable.children import ChildProcess, supervise
from helpers.services import Database, MailServer
from helpers.services.child import ServiceError


@pytest.fixture(scope="module")
def database():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL", raising=False)
        with Database() as db:
            yield db


@pytest.fixture
def connection(database):
    """A connection to a database without our tables."""
    with database.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS jobs, welcomed, doomed")
        yield connection


# Processes


def test_a_child_returns_a_value_or_raises_what_the_function_raised():
    with ChildProcess(divmod, 17, 5) as child:
        assert child.value() == (3, 2)
    with ChildProcess(divmod, 17, 0) as child, pytest.raises(ZeroDivisionError):
        child.value()
    assert child.status == 1


def test_a_child_that_is_killed_says_so_and_one_that_was_never_started_too():
    with ChildProcess(time.sleep, 60) as child:
        assert child.status is None
        child.kill()
        assert child.status not in (None, 0, 1)
        with pytest.raises(ServiceError, match="ended"):
            child.value()
    with pytest.raises(RuntimeError, match="with ChildProcess"):
        ChildProcess(time.sleep, 60).kill()
    own = type(wait_until)(wait_until.__code__, {"__name__": "__main__"}, "work")
    with pytest.raises(TypeError, match=r"move wait_until into a \.py file"):
        ChildProcess(own)


def test_a_child_ends_with_its_block_and_with_its_parent():
    with ChildProcess(time.sleep, 60) as child:
        pass
    assert child.status is not None
    code = (
        "import time; from helpers.durable.children import ChildProcess\n"
        "with ChildProcess(time.sleep, 60) as child: print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        grandchild = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        wait_until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


def test_a_supervisor_passes_errors_on_and_gives_up_when_nothing_helps():
    assert supervise(divmod, 17, 5) == 0
    with pytest.raises(ZeroDivisionError):
        supervise(divmod, 17, 0)
    with pytest.raises(TimeoutError, match=r"after 0\.1 s"):
        supervise(time.sleep, 60, timeout=0.1)


# The queue in a table


def test_jobs_are_done_once_in_their_order_and_deleted(database, connection):
    done = []
    queue_table.fill(connection, [3, 1, 2])
    queue_table.work(database.url, lambda inside, job, user: done.append((job, user)))
    assert done == [(1, 3), (2, 1), (3, 2)] and not queue_table.do_one(connection, None)


def test_a_worker_skips_a_job_that_another_one_holds(database, connection):
    queue_table.fill(connection, [1, 2])
    done = []

    def outer(inside, job, user):
        done.append(user)
        with database.connect() as other:
            assert queue_table.do_one(other, lambda inside, job, user: done.append(user))
            assert not queue_table.do_one(other, None)

    assert queue_table.do_one(connection, outer) and done == [1, 2]


def test_a_handler_that_fails_leaves_its_job_and_undoes_its_writes(database, connection):
    welcome.prepare(connection)
    queue_table.fill(connection, [1])

    def fails(inside, job, user):
        inside.execute("INSERT INTO welcomed VALUES (%s)", [user])
        raise LookupError(user)

    with pytest.raises(LookupError):
        queue_table.work(database.url, fails)
    assert connection.execute("SELECT count(*) FROM welcomed").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (1,)


def test_rows_are_exactly_once_and_mails_at_least_once(database, connection):
    doomed = [3, 7]
    welcome.prepare(connection, doomed)
    with ChildProcess(welcome.submit_and_die, database.url, range(1, 13)) as program:
        assert program.wait() not in (0, 1), "killed"
    with MailServer(latency=(0, 0)) as server:
        handler = partial(welcome.welcome, database.url, server.port)
        assert supervise(queue_table.work, database.url, handler) == 2
        mails_sent = Counter(mail.recipient for mail in server.mailbox())
        ids = {mail.message_id for mail in server.mailbox()}
    assert connection.execute("SELECT count(*), count(DISTINCT user_id) FROM welcomed").fetchone() == (12, 12)
    assert mails_sent == {f"user-{n}@example.com": 2 if n in doomed else 1 for n in range(1, 13)}
    assert len(ids) == 12, "the key is the same in both attempts"


def test_a_job_that_is_deleted_first_is_lost_with_its_worker(database, connection):
    doomed = [3, 7]
    welcome.prepare(connection, doomed)
    queue_table.fill(connection, range(1, 13))
    with MailServer(latency=(0, 0)) as server:
        handler = partial(welcome.welcome, database.url, server.port)
        assert supervise(delete_first.work, database.url, handler) == 2
        sent = sorted(mail.recipient for mail in server.mailbox())
    rows = connection.execute("SELECT user_id FROM welcomed ORDER BY 1").fetchall()
    assert rows == [(n,) for n in range(1, 13) if n not in doomed], "nobody runs these jobs again"
    assert sent == sorted(f"user-{n}@example.com" for n in range(1, 13)), "a worker dies after its mail"
    assert not queue_table.do_one(connection, None) and not delete_first.do_one(connection, None)


def test_a_worker_that_dies_in_a_statement_holds_its_job_until_the_server_looks(database, connection):
    for check, seconds, least, most in [("0", 3.0, 1.0, 60.0), ("50ms", 60.0, 0.0, SLOW)]:
        queue_table.fill(connection, [1])
        handler = partial(welcome.hold_in_sql, check, seconds=seconds)
        with ChildProcess(queue_table.work, database.url, handler) as child:
            wait_until(lambda: connection.execute(queue_table.TAKE).fetchone() is None)
            time.sleep(0.3)  # the worker is in its statement
            killed = time.monotonic()
            child.kill()
        wait_until(lambda: connection.execute(queue_table.TAKE).fetchone() is not None)
        assert least < time.monotonic() - killed < most, check


def test_the_pool_in_a_process_that_dies_loses_its_queue(database, connection):
    welcome.prepare(connection, [5])
    with (
        MailServer(latency=(0, 0)) as server,
        ChildProcess(welcome.welcome_in_pool, database.url, server.port, range(1, 13)) as child,
    ):
        with pytest.raises(ServiceError):
            child.value()
        assert len(server.mailbox()) == 5
    assert connection.execute("SELECT count(*) FROM welcomed").fetchone() == (4,)


def test_the_job_of_a_killed_worker_is_free_again_within_a_second(database, connection):
    queue_table.fill(connection, [1])
    with ChildProcess(queue_table.work, database.url, welcome.hold) as child:
        wait_until(lambda: connection.execute(queue_table.TAKE).fetchone() is None)
        assert not queue_table.do_one(connection, None), "the job is held"
        child.kill()
    wait_until(lambda: queue_table.do_one(connection, lambda inside, job, user: None))


# procrastinate


@pytest.fixture
def deferring(database, connection):
    """The app, on a database with an empty queue."""
    connection.execute("DROP SCHEMA public CASCADE")
    connection.execute("CREATE SCHEMA public")
    with mails.connected(database.url) as app:
        app.schema_manager.apply_schema()
        welcome.prepare(connection)
        yield


def test_a_job_is_deferred_with_the_transaction_or_not_at_all(database, connection, deferring):
    for outcome in ("fails", "works"):
        with psycopg.connect(database.url) as own:
            own.execute("INSERT INTO welcomed VALUES (1)")
            mails.do_nothing.configure(connection=own).defer(job=1)
            if outcome == "fails":
                own.rollback()
    assert mails.states(connection, "do_nothing") == {"todo": 1}
    with ChildProcess(mails.run_worker, database.url) as worker:
        worker.value()
    assert mails.states(connection, "do_nothing") == {"succeeded": 1}


def test_what_fails_is_retried_and_in_the_end_a_dead_letter(database, connection, deferring):
    with MailServer(latency=(0, 0), transient=1.0) as server:
        mails.send_welcome.defer(user=1, url=database.url, port=server.port)
        with ChildProcess(mails.run_worker, database.url) as worker:
            worker.value()
        assert server.counts()["transient"] == mails.RETRIES + 1
        port = server.port
    ((number, arguments),) = mails.dead_letters(connection)
    assert arguments["user"] == 1 and mails.states(connection) == {"failed": 1}
    redrive = partial(mails.app.job_manager.retry_job_by_id, number)
    with MailServer(latency=(0, 0), transient=1.0, port=port) as server:
        redrive(retry_at=datetime.now(UTC))
        with ChildProcess(mails.run_worker, database.url) as worker:
            worker.value()
        assert server.counts()["transient"] == 1, "a redriven job runs once"
    with MailServer(latency=(0, 0), port=port) as server:
        redrive(retry_at=datetime.now(UTC))
        with ChildProcess(mails.run_worker, database.url) as worker:
            worker.value()
        assert [mail.recipient for mail in server.mailbox()] == ["user-1@example.com"]
    assert mails.states(connection) == {"succeeded": 1}


def test_a_stalled_job_waits_until_it_is_rescued(database, connection, deferring):
    connection.execute("INSERT INTO doomed VALUES (1)")
    with MailServer(latency=(0, 0)) as server:
        mails.send_welcome.defer(user=1, url=database.url, port=server.port)
        with ChildProcess(mails.run_worker, database.url) as worker, pytest.raises(ServiceError):
            worker.value()
        with ChildProcess(mails.run_worker, database.url) as worker:
            worker.value()
        assert mails.states(connection) == {"doing": 1}
        with ChildProcess(mails.run_worker, database.url, wait=True, rescues=True):
            wait_until(lambda: mails.states(connection) == {"succeeded": 1})
        sent = [mail.message_id for mail in server.mailbox()]
    assert len(sent) == 2 and len(set(sent)) == 1


def test_a_job_that_has_killed_several_workers_is_given_up(database, connection, deferring):
    mails.do_nothing.defer(job=1)
    mails.do_nothing.defer(job=2)
    earlier = stalled.MOST_ATTEMPTS - 3
    connection.execute("UPDATE procrastinate_jobs SET status = 'doing', attempts = id + %s", [earlier])
    with ChildProcess(mails.run_worker, database.url, wait=True, rescues=True):
        wait_until(lambda: mails.states(connection, "do_nothing") == {"failed": 1, "succeeded": 1})
    assert [arguments for _, arguments in mails.dead_letters(connection)] == [{"job": 2}]
    query = "SELECT DISTINCT priority FROM procrastinate_jobs WHERE task_name = 'rescue'"
    assert connection.execute(query).fetchall() == [(stalled.URGENT,)], "else it waits behind a long queue"
