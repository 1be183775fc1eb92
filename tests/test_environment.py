"""The servers and clients ignore the reader's environment, and their errors describe values in bounded text."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from helpers.pools import words as pool_words
from helpers.services import (
    Database,
    MailServer,
    ReadUser,
    child,
    environment,
    error_kind,
    inactive_users,
    postgres,
    run_in_sandbox,
)
from helpers.services import words as service_words
from helpers.services.child import Child, ServiceError
from helpers.services.sandbox import _outcome

ROOT = Path(__file__).parents[1]
posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")

# As in notebooks 00 and 02: a pool with a connection per worker, and psycopg's connection pool.
READ = """
import os
import psycopg
from psycopg_pool import ConnectionPool
from helpers.pools import WorkerPool, current_worker, run_unbounded
from helpers.services import Database, ReadUser, inactive_users, run_in_sandbox

before = dict(os.environ)
def ask(user_id):
    query = "select id, current_setting('timezone'), current_setting('work_mem') from users where id = %s"
    return current_worker().resource.execute(query, (user_id,)).fetchone()

with Database(max_connections=10) as db:
    with WorkerPool(ask, workers=2, resource=lambda: psycopg.connect(db.url, autocommit=True)) as pool:
        print(sorted((r.value, r.error) for r in pool.stream([1, 2, 3])))
    with ConnectionPool(db.url, min_size=1, max_size=1) as pool, pool.connection(timeout=30) as connection:
        print(connection.execute("select 'ä', date '2026-01-31'").fetchone())
    print(ReadUser(db.url)(7)[0], next(inactive_users(db.url)).id > 0, isinstance(db.connections(), int))
    print(run_in_sandbox(run_unbounded, ReadUser(db.url), [1, 2], timeout=50).succeeded)
print(dict(os.environ) == before)
"""
READ_SAYS = (
    "[((1, 'UTC', '4MB'), None), ((2, 'UTC', '4MB'), None), ((3, 'UTC', '4MB'), None)]\n"
    "('ä', datetime.date(2026, 1, 31))\n7 True True\n2\nTrue\n"
)

SERVE = """
import smtplib
import httpx
from helpers.services import Api, FetchUser, MailServer, run_in_sandbox
from helpers.pools import run_unbounded

with Api(rate=100, latency=0) as api:
    print(FetchUser(api.url)(7), run_in_sandbox(run_unbounded, FetchUser(api.url), [1, 2], timeout=50).succeeded)
    print(httpx.Client(trust_env=False).get(api.url + "/users/3").status_code, api.counts())
with MailServer(latency=(0, 0)) as server:
    with smtplib.SMTP(server.host, server.port, local_hostname="localhost") as smtp:
        smtp.sendmail("a@example.com", ["b@example.com"], "Subject: hello\\r\\n\\r\\nbody")
    print([mail.subject for mail in server.mailbox()])
"""
SERVE_SAYS = "{'id': 7, 'name': 'User 7'} 2\n200 {200: 4}\n['hello']\n"

LIBPQ = {
    "PGSSLMODE": "require",
    "PGSERVICE": "no-such-service",
    "PGSERVICEFILE": "/no/such/file",
    "PGSYSCONFDIR": "/no/such/folder",
    "PGOPTIONS": "-c work_mem=9MB -c no_such_setting=1",
    "PGHOST": "10.255.255.1",
    "PGHOSTADDR": "10.255.255.1",
    "PGPORT": "1",
    "PGDATABASE": "nothing",
    "PGUSER": "nobody",
    "PGPASSWORD": "wrong",
    "PGPASSFILE": "/no/such/file",
    "PGDATA": "/no/such/folder",
    "PGCLIENTENCODING": "SQL_ASCII",
    "PGTZ": "Asia/Nowhere",
    "PGDATESTYLE": "nonsense",
    "PGGEQO": "nonsense",
    "PGCONNECT_TIMEOUT": "soon",
    "PGTARGETSESSIONATTRS": "standby",
    "PGLOADBALANCEHOSTS": "random",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGREQUIREPEER": "somebody",
    "PGREQUIRESSL": "1",
    "PGCHANNELBINDING": "require",
    "PGGSSENCMODE": "require",
    "PGSSLROOTCERT": "system",
    "PGSSLCERTMODE": "require",
    "PGSSLNEGOTIATION": "direct",
    "PGSSLMINPROTOCOLVERSION": "TLSv9",
    "PGMINPROTOCOLVERSION": "9.9",
    "PGMAXPROTOCOLVERSION": "latest",
    "PGAPPNAME": "x" * 300,
}
PYTHON = {
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "PYTHONSTARTUP": "/no/such/file.py",
    "PYTHONINSPECT": "1",
    "PYTHONDEVMODE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONIOENCODING": "utf-8",
    "PYTHONASYNCIODEBUG": "1",
}
LANGUAGE = {
    "LANG": "xx_XX.UTF-8",
    "LC_ALL": "xx_XX.UTF-8",
    "LC_MESSAGES": "de_DE.UTF-8",
    "LANGUAGE": "de",
    "TZ": "No/Where",
    "TZDIR": "/no/such/folder",
}
PROXY = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
PROXY |= {"NO_PROXY": "example.com", "SSL_CERT_FILE": "/no/such/file", "SSL_CERT_DIR": "/no/such/folder"}


def run(script: str, **changes: str) -> subprocess.CompletedProcess[str]:
    # With PYTHONINSPECT, Python reads commands from stdin at the end, so stdin is empty. UTF-8, because of an umlaut.
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"} | changes
    variables.pop("DATABASE_URL", None)
    command = [sys.executable, "-c", script]
    return subprocess.run(
        command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=110
    )


# Every script below starts a server, which takes seconds. The default run sets all variables at once, which finds
# nearly every problem. The long tests find the variable that causes it. SINGLE has one variable for each way to
# influence libpq or an interpreter.
SINGLE = ["PGSSLMODE", "PGSERVICE", "PGOPTIONS", "PGHOSTADDR", "PGTZ", "PYTHONOPTIMIZE", "PYTHONWARNINGS"]
KINDS = {"libpq": LIBPQ, "python": PYTHON, "language": LANGUAGE, "proxy": PROXY}


def spoil(home: Path) -> dict[str, str]:
    """Write files into a home folder that libpq would read. Return the variables that make libpq read them."""
    (home / ".pgpass").write_text("*:*:*:*:wrong\n")
    (home / ".pgpass").chmod(0o644)  # libpq would warn on stderr that others can read it
    (home / ".pg_service.conf").write_text("[mine]\nsslmode=require\nhost=10.255.255.1\n")
    (home / ".psqlrc").write_text("nonsense\n")
    return {"HOME": str(home), "PGSERVICE": "mine"}


def test_the_database_works_with_all_variables_and_files_set_at_once(tmp_path):
    done = run(READ, **LIBPQ | PYTHON | LANGUAGE | PROXY | spoil(tmp_path))
    assert (done.returncode, done.stdout) == (0, READ_SAYS), done.stderr[-3000:]


def test_the_api_and_the_mail_server_work_with_all_variables_set_at_once():
    done = run(SERVE, **LIBPQ, **PYTHON, **LANGUAGE, **PROXY)
    assert (done.returncode, done.stdout) == (0, SERVE_SAYS), done.stderr[-3000:]


@pytest.mark.long
@pytest.mark.parametrize("name", SINGLE)
def test_the_database_works_with_any_single_variable_set(name):
    done = run(READ, **{name: (LIBPQ | PYTHON)[name]})
    assert (done.returncode, done.stdout) == (0, READ_SAYS), done.stderr[-3000:]


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_the_database_works_with_all_variables_of_one_kind_set(kind):
    done = run(READ, **KINDS[kind])
    assert (done.returncode, done.stdout) == (0, READ_SAYS), done.stderr[-3000:]


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_the_api_and_the_mail_server_work_with_all_variables_of_one_kind_set(kind):
    done = run(SERVE, **KINDS[kind])
    assert (done.returncode, done.stdout) == (0, SERVE_SAYS), done.stderr[-3000:]


def read_in(folder: Path, base: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run READ with `folder`, which is inside `base`, as the folder for temporary files."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder, *folder.parents):
        if path.is_relative_to(base):
            path.chmod(0o755)
    return run(before + READ, TMPDIR=str(folder))


# An empty folder for temporary files, so that the service has to make everything in it first.
STRICT_UMASK = "import os; os.umask(0o077)\n"
FOLDERS = ["with space", 'quote"and$HOME', "back`tick`", "umläut", "new\nline", "/".join(c * 200 for c in "abcde")]


@posix
def test_the_database_works_in_a_folder_that_needs_quoting_and_with_a_strict_umask():
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        done = read_in(Path(base, 'space, quote"and$HOME`tick`\numläut'), base, STRICT_UMASK)
    assert (done.returncode, done.stdout) == (0, READ_SAYS), done.stderr[-3000:]


@posix
@pytest.mark.long
@pytest.mark.parametrize("name", FOLDERS, ids=lambda name: repr(name[:20]))
def test_the_database_works_in_any_temporary_folder(name):
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        done = read_in(Path(base, name), base)
    assert (done.returncode, done.stdout) == (0, READ_SAYS), done.stderr[-3000:]


@posix
@pytest.mark.long
def test_a_strict_umask_does_not_matter():
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        done = read_in(Path(base), base, STRICT_UMASK)
    assert (done.returncode, done.stdout) == (0, READ_SAYS), done.stderr[-3000:]


@posix
@pytest.mark.long
def test_files_of_libpq_in_the_home_folder_are_not_read(tmp_path):
    done = run(READ, **spoil(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, READ_SAYS, "")


def test_the_uri_has_every_setting_that_libpq_reads_from_the_environment():
    known = {option.keyword.decode(): option.envvar for option in psycopg.pq.Conninfo.get_defaults()}
    given = psycopg.conninfo.conninfo_to_dict(environment.database_url("reader", 5432, "workshop"))
    missing = {name for name, variable in known.items() if variable and name not in given}
    # libpq reads a password file only without a password, and no setting overrides PGSERVICE.
    assert missing == {"service", "passfile"} and given["password"]


def test_variables_that_override_the_uri_are_removed_while_a_database_is_open(monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("PGSERVICE", "mine")
    monkeypatch.setenv("PGTZ", "UTC")
    with Database(3):
        assert "PGSERVICE" not in os.environ and "PGTZ" not in os.environ
        os.environ["PGTZ"] = "CET"  # set by the reader in the meantime
        with Database(3):
            assert "PGTZ" not in os.environ
        assert "PGSERVICE" not in os.environ, "the first database is still open"
    assert os.environ["PGSERVICE"] == "mine" and os.environ["PGTZ"] == "CET"
    db = Database(max_connections=10_000_000)
    with pytest.raises(ServiceError), db:
        pass
    assert os.environ["PGSERVICE"] == "mine", "restored also after a start that failed"


def test_the_variables_of_the_readers_own_server_are_left_alone(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://reader@127.0.0.1:{postgres.free_port()}/workshop")
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "7")
    monkeypatch.setenv("PGSERVICE", "no-such-service")
    assert environment.for_python()["PGCONNECT_TIMEOUT"] == "7"
    with pytest.raises(psycopg.Error, match="no-such-service"), Database():
        pass
    assert os.environ["PGSERVICE"] == "no-such-service"


def test_a_child_keeps_what_python_needs_and_nothing_that_changes_it(monkeypatch):
    for name in ("PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONOPTIMIZE", "PYTHONWARNINGS", "PGHOST", "https_proxy"):
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    kept = environment.for_python()
    assert "PYTHONHOME" in kept and "PYTHONDONTWRITEBYTECODE" in kept and "PATH" in kept
    assert not {"PYTHONOPTIMIZE", "PYTHONWARNINGS", "PGHOST", "https_proxy"} & set(kept)


# The error of a service that does not start has the command, its output, and what to do


def test_a_server_that_fails_names_its_command_and_its_output(monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(ServiceError) as raised, Database(max_connections=10_000_000):
        pass
    text = str(raised.value)
    assert re.search(r"command: \S*pg_ctl start", text) and "10000000 is outside the valid range" in text
    assert "try again" in text and len(text) < 5000


def test_an_error_inside_the_guardian_is_a_service_error(monkeypatch):
    sent = []

    class Parent:
        request = {"max_connections": 3}  # noqa: RUF012

        def __init__(self, when_gone):
            pass

        def send(self, report):
            sent.append(report)

    def broken(programs):
        raise AssertionError("x" * 10_000)

    monkeypatch.setattr(postgres, "Parent", Parent)
    monkeypatch.setattr(postgres, "template", broken)
    umask = os.umask(0o022)
    try:
        postgres.main()
    finally:
        os.umask(umask)
    [error] = sent
    assert type(error) is ServiceError and "AssertionError" in str(error) and "try again" in str(error)
    assert len(str(error)) < 3000


BROKEN = """
import sys
{prologue}
sys.stderr.write("y" * 100_000 + "the last words")
sys.stdout.buffer.write({answer!r})
"""
UNREADABLE = b"chelpers.no_such_module\nThing\n."  # a pickle of something that this process cannot import


@pytest.mark.parametrize("answer", [b"", b"no pickle", UNREADABLE])
def test_a_child_with_an_unreadable_answer_is_a_service_error(tmp_path, monkeypatch, answer):
    (tmp_path / "broken_service.py").write_text(BROKEN.format(prologue="", answer=answer))
    monkeypatch.syspath_prepend(tmp_path)
    one = Child("broken_service", None)
    try:
        with pytest.raises(ServiceError) as raised:
            one.receive(60)
    finally:
        one.stop()
    text = str(raised.value)
    assert "-m broken_service" in text and "try again" in text and len(text) < 5000


def test_a_child_that_cannot_be_started_is_a_service_error(monkeypatch):
    def no_room(*args, **options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(child.subprocess, "Popen", no_room)
    with (
        pytest.raises(ServiceError, match=r"-m helpers\.services\.smtp` could not be started: .*temporarily"),
        MailServer(),
    ):
        pass


# The reader's values in the error messages of the services


class Hostile:
    """An object whose methods raise."""

    def __repr__(self):
        raise ZeroDivisionError

    def __len__(self):
        raise ZeroDivisionError

    def __iter__(self):
        raise ZeroDivisionError

    def __contains__(self, item):
        raise ZeroDivisionError

    @property
    def __class__(self):
        raise ZeroDivisionError


class Long:
    def __repr__(self):
        return "x" * 10**7


# These are not parameters of a test, because pytest would call their methods.
VALUES = [1, "text", 10**400, "a" * 1000, b"b" * 10**6, [1] * 50, {"a": 1}, None, Hostile(), Long(), (1, 2), 2.5]


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_services_and_pools_describe_a_value_in_the_same_way(number):
    said = service_words.describe(VALUES[number])
    assert said == pool_words.describe(VALUES[number])
    assert len(said) <= 200


@pytest.mark.parametrize("make", [Hostile, Long, lambda: "x" * 10**7], ids=["hostile", "long", "long text"])
def test_hostile_arguments_are_refused_in_bounded_text(make):
    value = make()
    for call in (
        lambda: Database(value),
        lambda: MailServer(latency=value),
        lambda: MailServer(seed=value),
        lambda: run_in_sandbox(len, "abc", timeout=value),
        lambda: run_in_sandbox(value),
        lambda: MailServer(smtputf8=value),
        lambda: ReadUser(value),
        lambda: inactive_users("postgresql://", today=value),
    ):
        with pytest.raises((TypeError, ValueError)) as raised:
            call()
        assert len(str(raised.value)) < 500


def test_the_kind_of_an_error_without_text_is_its_class():
    class Mute(Exception):
        def __str__(self):
            raise SystemExit

    class Odd(Exception):
        def __str__(self):
            return 5  # noqa: PLE0307

    assert error_kind(Mute()) == "Mute" and error_kind(Odd()) == "Odd"


def test_a_hostile_value_in_the_sandbox_is_reported_as_none():
    class Sized(list):
        def __len__(self):
            raise SystemExit

        def __iter__(self):
            raise SystemExit

        def __reduce_ex__(self, protocol):
            raise SystemExit

    assert _outcome(Sized()) == {"value": None}
