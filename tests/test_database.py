"""The PostgreSQL server enforces its connection limit, listens on loopback only, and stops with its owner."""

import asyncio
import csv
import os
import pickle
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date, timedelta
from pathlib import Path

import psutil
import psycopg
import pytest
from conftest import new_threads, wait_until

from helpers.services import Database, ReadUser, ReadUserAsync, postgres, programs
from helpers.services.child import Child, ServiceError

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(autouse=True)
def no_server_of_the_readers(monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)


@pytest.fixture(scope="module")
def shared():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL", raising=False)
        with Database(max_connections=20) as db:
            yield db


def arguments(process):
    """The command line of a process; [] if the process has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # or ZombieProcess
        return []


class Traces:
    """The traces of a server: its port, its processes (including the guardian), and its folder."""

    def __init__(self, url, owner=None):
        self.port = psycopg.conninfo.conninfo_to_dict(url)["port"]
        here = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        server = psutil.Process(next(c.pid for c in here if c.laddr.port == int(self.port)))
        command = server.cmdline()
        self.place = Path(command[command.index("-D") + 1]).parent
        guardians = [p for p in psutil.Process(owner).children() if "helpers.services.postgres" in arguments(p)]
        self.guardian = max(guardians, key=psutil.Process.create_time)  # the guardian of the latest server
        self.server = server
        self.processes = [self.guardian, server, *server.children(recursive=True)]

    def alive(self):
        return [p for p in self.processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    def gone(self):
        with socket.socket() as probe:
            refused = probe.connect_ex(("127.0.0.1", int(self.port))) != 0
        return refused and not self.alive() and not self.place.exists()


# The data


def test_users_csv_is_what_its_program_writes(tmp_path):
    runpy.run_path(str(DATA / "make_users.py"))["write_users"](tmp_path / "users.csv")
    assert (tmp_path / "users.csv").read_bytes() == (DATA / "users.csv").read_bytes()


def test_users_csv_is_small_and_no_address_in_it_can_receive_mail():
    assert (DATA / "users.csv").stat().st_size < 900_000
    with (DATA / "users.csv").open(encoding="ascii", newline="") as file:
        users = list(csv.DictReader(file))
    assert [int(u["id"]) for u in users] == list(range(1, 10_001))
    assert {u["email"].split("@")[1] for u in users} == {"example.com", "example.org", "example.net"}
    assert len({u["email"] for u in users}) == 10_000
    inactive = {u["id"] for u in users if date.fromisoformat(u["last_login"]) < date(2026, 1, 1) - timedelta(days=180)}
    assert inactive == {u["id"] for u in users if u["active"] == "false"}
    assert 2_800 < len(inactive) < 3_200
    assert all(u["signed_up"] <= u["last_login"] <= "2026-01-01" for u in users)


def test_the_readme_names_every_file_of_data():
    readme = (DATA / "README.md").read_text()
    names = [f.name for f in DATA.iterdir() if f.is_file() and not f.name.startswith(".") and f.name != "README.md"]
    assert [name for name in names if f"`{name}`" not in readme] == []


# Queries and limits


def test_the_table_is_the_file(shared):
    with shared.connect() as connection, (DATA / "users.csv").open(newline="") as file:
        rows = connection.execute("SELECT * FROM users ORDER BY id").fetchall()
        expected = list(csv.reader(file))[1:]
    assert [[str(v).lower() if isinstance(v, bool) else str(v) for v in row] for row in rows] == expected


def test_the_reader_may_use_the_database_but_not_the_machine(shared):
    with shared.connect() as connection:
        connection.execute("CREATE TABLE mine (id int)")
        connection.execute("DROP TABLE mine")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("COPY users TO PROGRAM 'cat'")
    for intruder in ("postgres", "nobody"):
        with pytest.raises(psycopg.OperationalError, match="pg_hba.conf"):
            psycopg.connect(shared.url.replace("//reader@", f"//{intruder}@"))


def test_a_connection_above_the_limit_is_refused_by_the_server():
    with Database(max_connections=5) as db:
        assert (db.max_connections, db.connections()) == (5, 0)
        crowd = [db.connect() for _ in range(5)]
        for _ in range(3):
            with pytest.raises(psycopg.OperationalError, match="FATAL:  sorry, too many clients already"):
                db.connect()
        assert db.connections() == 5, "it works when the server is full, and does not count itself"
        assert crowd[0].execute("SHOW max_connections").fetchone() == ("5",)
        crowd.pop().close()
        wait_until(lambda: db.connections() == 4)
        crowd.append(db.connect())
        for connection in crowd:
            connection.close()
        wait_until(lambda: db.connections() == 0)


def test_one_connection_is_enough():
    with Database(max_connections=1) as db, db.connect():
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            db.connect()
        assert db.connections() == 1


def test_both_handlers_read_users_over_a_connection_of_their_own(shared):
    sync, awaited = pickle.loads(pickle.dumps((ReadUser(shared.url), ReadUserAsync(shared.url))))
    with shared.connect() as connection:
        expected = connection.execute("SELECT id, name FROM users WHERE id IN (7, 8) ORDER BY id").fetchall()
    assert [sync(7), asyncio.run(awaited(8))] == expected
    for missing in (0, 10_001):
        with pytest.raises(LookupError, match=f"no user has the id {missing}"):
            sync(missing)
        with pytest.raises(LookupError):
            asyncio.run(awaited(missing))
    wait_until(lambda: shared.connections() == 0)


def test_a_slow_query_holds_its_connection_that_long(shared):
    began = time.monotonic()
    reader = threading.Thread(target=ReadUser(shared.url, seconds=0.5), args=(7,))
    reader.start()
    wait_until(lambda: shared.connections() == 1)
    reader.join()
    assert time.monotonic() - began >= 0.5
    assert asyncio.run(_timed(ReadUserAsync(shared.url, seconds=0.2))) >= 0.2


async def _timed(read):
    began = time.monotonic()
    await read(7)
    return time.monotonic() - began


def test_it_listens_on_loopback_only(shared):
    server = Traces(shared.url).server
    listening = [c.laddr.ip for c in server.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]
    assert [c for c in server.net_connections("unix") if c.laddr] == []


def test_two_servers_at_the_same_time_are_independent(shared):
    with Database(max_connections=2) as other:
        assert other.url != shared.url
        with shared.connect() as one, other.connect() as two:
            two.execute("DELETE FROM users")
            assert two.execute("SELECT count(*) FROM users").fetchone() == (0,)
            assert one.execute("SELECT count(*) FROM users").fetchone() == (10_000,)
        one_server, two_server = Traces(shared.url), Traces(other.url)
        assert one_server.place != two_server.place
    assert two_server.gone()
    assert one_server.place.exists()
    assert ReadUser(shared.url)(1)[0] == 1


# Its end


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_it_stops_at_the_end_of_the_with_also_when_the_block_raises(error):
    threads = threading.enumerate()
    files = os.listdir("/proc/self/fd") if sys.platform == "linux" else []
    try:
        with Database(max_connections=3) as db:
            traces, connection = Traces(db.url), db.connect()
            assert not traces.gone()
            if error is not None:
                raise error
    except (ValueError, KeyboardInterrupt) as raised:
        assert type(raised) is error
    assert traces.gone()
    assert not traces.guardian.is_running(), "not even a zombie"
    connection.close()
    assert not new_threads(threads)
    assert len(files) == (len(os.listdir("/proc/self/fd")) if files else 0)


def test_it_can_be_started_again_but_not_twice_at_the_same_time():
    db = Database(max_connections=2)
    for use in (lambda: db.url, db.connect, db.connections):
        with pytest.raises(ServiceError, match="not running"):
            use()
    for _ in range(2):
        with db:
            with pytest.raises(ServiceError, match="running already"), db:
                pass
            assert ReadUser(db.url)(1)[0] == 1, "the refusal does not affect the running server"
        db.__exit__(None, None, None)
        db.__exit__(None, None, None)


@posix
def test_it_stops_even_if_its_guardian_was_killed():
    with Database(max_connections=3) as db:
        traces = Traces(db.url)
        traces.guardian.kill()
        assert ReadUser(db.url)(1)[0] == 1
    wait_until(traces.gone)


OWNER = """
import os, signal, sys, time
from helpers.services import Database
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that SIGINT is ignored
db = Database(max_connections=5)
try:
    with db:
        print(db.url, flush=True)
        {body}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.fixture
def owner():
    """Start a process that has a database and reads lines from this process."""
    started = []

    def start(body, **changes):
        process = subprocess.Popen(
            [sys.executable, "-c", OWNER.format(body=body)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **changes,
        )
        started.append(process)
        process.url = process.stdout.readline().strip()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_it_dies_with_its_owner(owner):
    process = owner("sys.stdin.read()")
    traces = Traces(process.url, process.pid)
    assert not traces.gone()
    process.kill()
    wait_until(traces.gone)


@posix
def test_it_dies_with_its_owner_also_when_a_fork_holds_the_pipe_open(owner):
    process = owner("pid = os.fork()\n        if pid: print(pid, flush=True)\n        time.sleep(600)")
    fork = psutil.Process(int(process.stdout.readline()))
    try:
        traces = Traces(process.url, process.pid)
        process.kill()
        wait_until(traces.gone)
        assert fork.is_running()
    finally:
        fork.kill()


@posix
def test_the_end_of_a_fork_does_not_stop_it(owner):
    process = owner("if os.fork() == 0: sys.exit()\n        print(os.wait()[1], flush=True)\n        sys.stdin.read()")
    traces = Traces(process.url, process.pid)
    assert process.stdout.readline() == "0\n"
    with pytest.raises(psutil.TimeoutExpired):
        traces.guardian.wait(1.0)  # time enough to end
    assert ReadUser(process.url)(1)[0] == 1
    process.stdin.close()
    assert process.wait(30) == 0
    assert traces.gone()


@posix
def test_the_stop_button_ends_the_with_and_not_the_server(owner):
    body = (
        "try: time.sleep(600)\n"
        "        except KeyboardInterrupt:\n"
        "            with db.connect() as c: print(c.execute('SELECT count(*) FROM users').fetchone(), flush=True)\n"
        "            sys.stdin.readline()\n"
        "            raise"
    )
    process = owner(body)
    traces = Traces(process.url, process.pid)
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "(10000,)\n", "the server answers after the interrupt"
    assert not traces.gone()
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "interrupted\n"
    assert traces.gone()


def test_it_ends_with_an_interpreter_that_did_not_end_the_with():
    script = (
        "from helpers.services import Database; db = Database(3); db.__enter__(); print(db.url, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        traces = Traces(process.stdout.readline(), process.pid)
        process.communicate("\n")
    assert process.returncode == 0
    assert traces.gone()


# Its start


def test_a_busy_port_does_not_matter():
    found = postgres.find_programs()
    with socket.socket() as occupant, postgres.private_directory("server") as place:
        occupant.bind(("127.0.0.1", 0))
        occupant.listen()
        busy, free = occupant.getsockname()[1], postgres.free_port()
        ports = iter([busy, busy, free])
        postgres.unpack(postgres.template(found), place)
        with postgres.running(found, place, 3, choose_port=lambda: next(ports)) as port:
            assert port == free
            assert ReadUser(f"postgresql://reader@127.0.0.1:{port}/workshop")(1)[0] == 1
    assert not place.exists()


def kept(workplace):
    """The kinds of files that are kept for the next start, without the copy of programs that only root can read."""
    return [path.suffix for path in workplace.iterdir() if not path.name.startswith("programs-")]


@pytest.mark.long
def test_two_first_starts_at_the_same_time_share_what_they_made():
    with tempfile.TemporaryDirectory(dir=None if os.name == "nt" else "/tmp") as empty:
        Path(empty).chmod(0o755)
        script = "from helpers.services import *\nwith Database(3) as db: print(ReadUser(db.url)(1)[0])"
        command = [sys.executable, "-c", script]
        env = {**os.environ, "TMPDIR": empty, "TEMP": empty, "TMP": empty}
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) for _ in range(3)]
        assert [process.communicate()[0] for process in processes] == ["1\n"] * 3
        (workplace,) = Path(empty).glob("worker-pool-notebooks-*")
        assert kept(workplace) == [".tar"]


def test_the_error_for_a_server_that_cannot_start_has_the_reason_and_nothing_is_left(monkeypatch):
    with tempfile.TemporaryDirectory(dir=None if os.name == "nt" else "/tmp") as base:
        Path(base).chmod(0o755)  # a folder of its own, because other servers use the usual one
        monkeypatch.setattr(tempfile, "tempdir", None)
        for name in ("TMPDIR", "TEMP", "TMP"):
            monkeypatch.setenv(name, base)
        too_many = Database(max_connections=10_000_000)
        with pytest.raises(ServiceError, match="(?s)pg_ctl failed.*10000000 is outside the valid range"), too_many:
            pass
        (workplace,) = Path(base).glob("worker-pool-notebooks-*")
        assert kept(workplace) == [".tar"]


@posix
@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_root_copies_programs_that_other_users_cannot_read(tmp_path, monkeypatch):
    wheels = [folder for folder, source in programs.places() if source in programs.WHEELS]
    if not wheels:
        pytest.skip("PostgreSQL is not from a wheel here, and only a wheel is copied")
    seen = wheels[0]
    package = seen.parents[1]
    (tmp_path / package.name).symlink_to(package)  # only the owner can read pytest's folders
    (tmp_path / f"{package.name}.libs").symlink_to(f"{package}.libs")
    hidden = tmp_path / package.name / seen.parent.name / "bin"
    assert not postgres.everybody_reads(hidden / "postgres")
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        Path(base).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", base)
        copy = postgres.readable_copy(hidden)
        assert postgres.everybody_reads(copy / "postgres")
        assert postgres.readable_copy(hidden) == copy
        with postgres.private_directory("try") as place:
            postgres.tool(copy, place, 30, "initdb", "-D", str(place / "data"), "-A", "trust", "--no-sync")
            assert (place / "data" / "PG_VERSION").is_file()


@posix
def test_a_folder_of_another_user_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setattr(postgres, "account", dict)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"worker-pool-notebooks-{os.geteuid()}").symlink_to(tmp_path)
    with pytest.raises(ServiceError, match="belongs to another user"):
        postgres.workplace()


# A server that runs already


def test_database_url_names_the_server_to_use(shared, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", shared.url)
    with shared.connect() as plain:
        plain.execute("CREATE TABLE IF NOT EXISTS keep AS SELECT 1")
        with Database(max_connections=3) as db, db.connect() as connection:
            assert db.max_connections == 20
            assert db.url.startswith(shared.url)
            connection.execute("DELETE FROM users WHERE id > 10")
            assert connection.execute("SELECT count(*) FROM users").fetchone() == (10,)
            assert ReadUser(db.url)(7)[0] == 7
            wait_until(lambda: db.connections() == 2)
            assert plain.execute("SELECT count(*) FROM users").fetchone() == (10_000,), (
                "the table of the other schema is not used"
            )
        schemas = plain.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'worker_pool_%'").fetchone()
        assert schemas == (0,)
        plain.execute("DROP TABLE keep")


def test_options_of_database_url_are_kept(shared, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", shared.url + "&options=-c%20work_mem%3D7MB")
    with Database() as db, db.connect() as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)
        assert connection.execute("SHOW search_path").fetchone()[0].startswith("worker_pool_")


def test_a_database_url_without_a_server_gives_psycopgs_error(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://reader@127.0.0.1:{postgres.free_port()}/workshop")
    db = Database()
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError, match="Connection refused"), db:
            pass
    monkeypatch.setenv("DATABASE_URL", "host=127.0.0.1")
    with pytest.raises(ValueError, match="must be a postgresql:// URI, not 'host=127.0.0.1'"), db:
        pass


# The child


def test_the_error_for_a_child_that_ends_before_it_answers_has_the_reason():
    child = Child("helpers.services.no_such_module", None)
    with pytest.raises(ServiceError, match="no_such_module"):
        child.receive(30)
    child.stop()


def test_a_child_that_does_not_answer_is_ended(tmp_path, monkeypatch):
    (tmp_path / "silent.py").write_text("import time; time.sleep(600)")
    monkeypatch.syspath_prepend(tmp_path)  # the child can import what this process can import
    child = Child("silent", None)
    with pytest.raises(ServiceError, match="before it answered"):
        child.receive(0.2)
    child.stop()
    child = Child("this", None)  # it prints text at once, which is not a report
    with pytest.raises(ServiceError):
        child.receive(30)
    child.stop()
    child.stop()
