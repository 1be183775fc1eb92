"""Security: sockets on loopback only, and harmful mails, pictures, tables, and code; Jupyter's token."""

import ast
import csv
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from aiosmtpd.controller import Controller
from conftest import wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from pictures import bombs, encoded, harmless, png, resize_all

from helpers.pools import BatchEmailSender, EmailJob, ImageJob
from helpers.pools.email import BadMail, build_message
from helpers.pools.image import ImageError, resize
from helpers.services import Api, Database, MailServer, inactive_users, postgres, run_in_sandbox

ROOT = Path(__file__).parents[1]
MIB = 2**20
ours = pytest.mark.skipif(
    "DATABASE_URL" in os.environ, reason="DATABASE_URL names a server that is not ours to look at"
)


# --- sockets ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with Database(max_connections=10) as db:
        yield db


def listening(kind: str = "inet", *more: psutil.Process) -> list:
    """Return open sockets of child processes and of `more`: listening TCP, all UDP, and named Unix sockets."""
    found = [c for p in [*psutil.Process().children(recursive=True), *more] for c in p.net_connections(kind) if c.laddr]
    return [c for c in found if c.type == socket.SOCK_DGRAM or c.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)]


def notes_of(database: Database) -> list[str]:
    """Return the lines of postmaster.pid: pid, data, start, port, folder of the Unix socket, and address."""
    return (database._answer["place"] / "data" / "postmaster.pid").read_text().splitlines()


def own_addresses() -> set[str]:
    """Return addresses of this machine other than 127.0.0.1. On Linux, all of 127.0.0.0/8 belong to it."""
    all_of_them = {a.address for card in psutil.net_if_addrs().values() for a in card if a.family == socket.AF_INET}
    return all_of_them - {"127.0.0.1"} | ({"127.0.0.2"} if sys.platform == "linux" else set())


@ours
def test_every_service_listens_on_loopback_only_and_each_start_uses_other_ports():
    databases = [Database(max_connections=5), Database(max_connections=5)]
    with ExitStack() as stack:
        for service in (Api(), MailServer(), Api(), MailServer(), *databases):
            stack.enter_context(service)
        postmasters = [psutil.Process(int(notes_of(database)[0])) for database in databases]  # not our children
        sockets = listening("inet", *postmasters)
        assert {c.laddr.ip for c in sockets} == {"127.0.0.1"}
        ports = [c.laddr.port for c in sockets]
        assert len(set(ports)) == len(ports) == 2 * (1 + 2 + 1), "a mail server has one for mails and one for questions"
        for address in own_addresses():
            for port in ports:
                with socket.socket() as probe:
                    probe.settimeout(5)
                    assert probe.connect_ex((address, port)) != 0, f"{address}:{port} accepts a connection"


@ours
def test_postgresql_has_no_other_access_and_its_files_are_private(database):
    with database.connect() as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        pid, _, _, port, folder, address = notes_of(database)[:6]
        assert (folder, address) == ("", "127.0.0.1") and f":{port}/" in database.url
        if sys.platform != "win32":
            assert listening("unix", psutil.Process(int(pid))) == []
            for folder in (database._answer["place"], database._answer["place"] / "data"):
                assert folder.stat().st_mode & 0o077 == 0, folder
            assert postgres.workplace().stat().st_mode & 0o022 == 0


# --- mails --------------------------------------------------------------------------------------------------------

HEADERS = [b"From", b"To", b"Subject", b"Date", b"Message-ID"]
HEADERS += [b"Content-Type", b"Content-Transfer-Encoding", b"MIME-Version"]
GOOD = {"user_id": 1, "address": "a@example.com", "name": "A", "subject": "s", "body": "b"}


def headers(wire: bytes) -> list[bytes]:
    """Return the header names of a mail in order. A line that starts with white space continues the line before it."""
    lines = wire.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return [line.partition(b":")[0] for line in lines if not line.startswith((b" ", b"\t"))]


@pytest.mark.parametrize(
    "change",
    [
        {"address": "a@example.com\nRCPT TO:<x@example.com>"},
        {"address": "a@example.com>, <b@example.com"},
        {"address": "A <a@example.com>"},
        {"address": "a@ex\u2028ample.com"},
        {"address": "a@example.com\x85"},
        {"address": "=?utf-8?q?a=0D=0ABcc=3A_x=40example.com?=@example.com"},
        {"address": "=?utf-8?b?YQ0KQmNjOiB4QGV4YW1wbGUuY29t?=@example.com"},
        {"name": "Eve\r\nBcc: all@example.com"},
        {"name": "Eve\n Bcc: all@example.com"},
        {"name": "=?utf-8?q?Eve=0D=0ABcc:_all@example.com?="},
        {"name": "=?utf-8", "address": "?q?=0D=0ABcc=3A_x?=@example.com"},
        {"subject": "hello\nBcc: all@example.com"},
        {"subject": "hello\r\n\r\nbody"},
        {"subject": "folded\r\n Bcc: all@example.com"},
        {"subject": "a\u2028Bcc: b"},
        {"subject": "a\u2029b"},
        {"subject": "a\x85b"},
        {"subject": "a\x0bb"},
        {"subject": "=?utf-8?q?hi=0D=0ABcc:_all@example.com?="},
        {"subject": "Re: =?US-ASCII*en?B?YQ0KQmNjOiB4QGV4YW1wbGUuY29t?="},
    ],
)
def test_a_field_that_would_add_a_header_is_refused_by_name(change):
    with pytest.raises(BadMail) as refused:
        build_message(EmailJob(**GOOD | change), "news@example.com")
    assert str(refused.value).startswith(next(iter(change)))
    assert all(repr(value) in str(refused.value) for value in change.values())


@given(
    st.lists(
        st.sampled_from(["=?", "?=", "utf-8", "?q?", "?b?", "=0D=0A", "YQ0K", "Bcc:", "x", " ", "_", "<", '"', "é"])
    )
)
@settings(max_examples=150)
def test_no_name_or_subject_changes_the_list_of_headers(parts):
    text = "".join(parts)
    for change in ({"name": text}, {"subject": text}, {"name": text, "address": "?q?=0D=0ABcc=3A_x?=@example.com"}):
        try:
            wire = build_message(EmailJob(**GOOD | change), "news@example.com").as_bytes()
        except BadMail:
            continue
        assert headers(wire) == HEADERS, change


SMUGGLED = (
    "\r\nMAIL FROM:<eve@example.com>\r\nRCPT TO:<all@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nhello\r\n.\r\n"
)
ENDS = [
    "\r\n.\r\n",
    "\n.\n",
    "\r.\r",
    "\n.\r\n",
    "\r.\r\n",
    "\r\n.\r",
    "\r\n.\n",
    "\r\r\n.\r\r\n",
    "\u2028.\u2028",
    "\x85.\x85",
]
ENDS += ["\x0b.\x0b", "\x0c.\x0c", "\r\n..\r\n"]


class Sink:
    """A handler that keeps the bytes of every mail as they were received."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], bytes]] = []

    async def handle_DATA(self, server, session, envelope) -> str:
        self.mails.append((envelope.rcpt_tos, envelope.original_content))
        return "250 OK"


@pytest.fixture
def sink() -> Iterator[Controller]:
    controller = Controller(Sink(), hostname="127.0.0.1", port=postgres.free_port())
    controller.start()
    yield controller
    controller.stop()


def test_a_body_cannot_end_its_mail_and_begin_another(sink):
    jobs = [EmailJob(n, f"u{n}@example.com", "A", "s", f"hi{end}{SMUGGLED}ü") for n, end in enumerate(ENDS)]
    jobs += [EmailJob(len(ENDS), "long@example.com", "n" * 600, "word " * 400, "x" * 5000)]
    with BatchEmailSender(host=sink.hostname, port=sink.port, workers=2) as sender:
        assert [r.error for r in sender.stream(jobs) if not r.ok] == []
    arrived = sink.handler.mails
    assert sorted(to for [to], _ in arrived) == sorted(job.address for job in jobs)
    for [to], wire in arrived:
        assert headers(wire) == HEADERS, to
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)", wire), f"{to}: a bare carriage return or line feed"


# --- pictures -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_picture(tmp_path_factory) -> int:
    """Return the maximum memory that the service needs for one small picture, in bytes."""
    folder = tmp_path_factory.mktemp("one")
    (folder / "good").write_bytes(encoded("JPEG"))
    report = run_in_sandbox(resize_all, str(folder), ["good"])
    assert report.value == {"good": ""}
    return report.peak_memory


def test_picture_bombs_fail_their_job_in_bounded_memory_and_other_jobs_succeed(tmp_path, one_picture):
    bad, good = bombs(), harmless()
    pictures = {name: content for name, (content, _) in bad.items()} | good
    for name, content in pictures.items():
        (tmp_path / name).write_bytes(content)
    report = run_in_sandbox(resize_all, str(tmp_path), list(pictures), memory=2048 * MIB)
    assert report.error is None and sorted(report.value) == sorted(pictures)
    for name, (_, says) in bad.items():
        assert says in report.value[name] and report.value[name].startswith(f"{name} ({name}): ")
    assert {name for name, error in report.value.items() if not error} == set(good)
    written = {path.name: path.stat().st_size for path in tmp_path.glob("*.jpg")}
    assert set(written) == {f"{name}_8x8.jpg" for name in good} and max(written.values()) < 10_000
    assert report.peak_memory - one_picture < 300 * MIB


def test_a_transparent_picture_is_in_memory_twice_and_not_five_times(tmp_path, one_picture):
    side = 4000
    (tmp_path / "flat").write_bytes(png(side=side, colours=6, rows=bytes((1 + 4 * side) * side)))
    report = run_in_sandbox(resize_all, str(tmp_path), ["flat"])
    assert report.value == {"flat": ""}
    assert report.peak_memory - one_picture < 3 * 4 * side * side


@pytest.mark.parametrize(
    "image_id",
    [
        "../evil",
        "a/b",
        "a\\b",
        "..",
        ".",
        ".hidden",
        "/etc/evil",
        "C:evil",
        "a\n",
        "a\0",
        "a:b",
        "\u2215etc",
        "x" * 101,
    ],
)
def test_no_image_id_leads_out_of_the_output_folder(tmp_path, image_id):
    source, out = tmp_path / "good", tmp_path / "out"
    source.write_bytes(encoded("JPEG"))
    out.mkdir()
    with pytest.raises(ImageError) as refused:
        resize(ImageJob(image_id, source, 8, 8), out)
    assert "image_id must be a plain file name" in str(refused.value) and repr(image_id) in str(refused.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["good", "out"]


# --- tables -------------------------------------------------------------------------------------------------------

COLUMNS = ["id", "name", "email", "city", "signed_up", "last_login", "active"]
DAYS = ["2020-01-01", "2020-01-02", "false"]
HOSTILE = [
    ["1", "Eve\nBcc: all@example.com", "u1@example.com", "two\r\nlines", *DAYS],
    ["2", "O'Brien\"); DROP TABLE users; --", "u2@example.com", "' OR '1'='1", *DAYS],
    ["3", "=cmd|' /C calc'!A0", "u3@example.com", "@SUM(1+1)", *DAYS],
    ["4", "\\N", "u4@example.com", "\\.\\x41%s{0}", *DAYS],
    ["5", "x" * 200_000, "u5@example.com", "NULL", *DAYS],
    ["6", "=?utf-8?q?Eve=0D=0ABcc:_x?=", "u6@example.com", "$(id) `id` ; id", *DAYS],
]


def write_users(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([COLUMNS, *rows])
    return path


@pytest.fixture
def schema(database, monkeypatch, tmp_path) -> Iterator[str]:
    """Return the URI of an empty schema, and make users.csv a file that the test writes."""
    monkeypatch.setattr(postgres, "USERS", tmp_path / "users.csv")
    with database.connect() as connection:
        connection.execute("CREATE SCHEMA hostile")
        yield f"{database.url}{'&' if '?' in database.url else '?'}options=-csearch_path%3Dhostile"
        connection.execute("DROP SCHEMA hostile CASCADE")


def test_hostile_fields_stay_data_from_the_file_to_the_mail(schema, tmp_path):
    write_users(tmp_path / "users.csv", HOSTILE)
    with psycopg.connect(schema, autocommit=True) as connection:
        postgres.load_users(connection)
        rows = connection.execute("SELECT id::text, name, email, city FROM users ORDER BY id").fetchall()
    assert [list(row) for row in rows] == [row[:4] for row in HOSTILE]
    users = list(inactive_users(schema, batch=2))
    assert [user.name for user in users] == [row[1] for row in HOSTILE]
    jobs = [EmailJob(user.id, user.email, user.name, "We miss you!", f"Hi {user.name}") for user in users]
    with MailServer(latency=(0.0, 0.0)) as server:
        with BatchEmailSender(host=server.host, port=server.port, workers=1) as sender:
            results = {r.job.user_id: r for r in sender.stream(jobs)}
        arrived = [mail.recipient for mail in server.mailbox()]
    assert sorted(arrived) == ["u2@example.com", "u3@example.com", "u4@example.com", "u5@example.com"]
    assert {n: type(r.error).__name__ for n, r in results.items() if not r.ok} == {
        1: "BadMail", 6: "BadMail",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (["1", "a\0b", "e@example.com", "c", *DAYS], "invalid byte sequence.*0x00"),
        (["1", "", "e@example.com", "c", *DAYS], 'null value in column "name"'),
        (["1; DROP TABLE users", "a", "e@example.com", "c", *DAYS], 'integer: "1; DROP TABLE users"'),
        (["1", "a", "e@example.com", "c", "now() --", *DAYS[1:]], 'date: "now\\(\\) --"'),
        (["1", "a"], 'missing data for column "email"'),
        (["1", "a", "e@example.com", "c", *DAYS, "more"], "extra data after last expected column"),
    ],
)
def test_a_bad_row_is_refused_by_name_and_nothing_is_loaded(schema, tmp_path, row, says):
    write_users(tmp_path / "users.csv", [HOSTILE[1], row])
    with psycopg.connect(schema, autocommit=True) as connection:
        with pytest.raises(psycopg.DataError if "null" not in says else psycopg.IntegrityError, match=says):
            postgres.load_users(connection)
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)


def test_no_cell_that_we_write_is_a_formula():
    tables = [*ROOT.glob("benchmarks/*.csv"), ROOT / "data" / "users.csv"]
    assert len(tables) > 5
    for path in tables:
        with path.open(encoding="utf-8", newline="") as file:
            cells = {
                cell for row in csv.reader(file) for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))
            }
        assert [cell for cell in cells if not re.fullmatch(r"-?[\d.e+-]+", cell)] == [], path


# --- code ---------------------------------------------------------------------------------------------------------

# Pickles between a parent and its own child.
OWN_PIPES = {"helpers/services/child.py", "helpers/services/sandbox.py"}
OWN_PIPES |= {"helpers/exercises/engines.py"}  # a check that unpickles what the answer of the reader has returned
OWN_PIPES |= {f"helpers/pools/{name}.py" for name in ("child", "child_main", "processes", "wire")}


def dangers(code: str) -> list[str]:
    """Return the calls in a source text that run text as code or turn bytes into objects."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput"}:
                found.append(name)
            found += ["shell" for k in node.keywords if k.arg == "shell" and ast.unparse(k.value) != "False"]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            found += sorted(names & {"pickle", "marshal", "shelve", "dill", "cloudpickle"})
    return found


def test_no_text_becomes_code_and_no_bytes_from_outside_become_objects():
    code = "import pickle\nfrom marshal import loads\neval('1')\nos.system('x')\nsubprocess.run('x', shell=True)"
    assert dangers(code) == ["pickle", "marshal", "eval", "os.system", "shell"], "the test finds what it looks for"
    paths = [p for folder in ("helpers", "benchmarks", "tools", "data") for p in (ROOT / folder).rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix(): dangers(path.read_text(encoding="utf-8")) for path in paths}
    assert len(found) > 60
    assert {name: what for name, what in found.items() if what} == {name: ["pickle"] for name in OWN_PIPES}


# --- what is installed --------------------------------------------------------------------------------------------


def requirements() -> list[Requirement]:
    names = ("requirements.txt", "requirements-pages.txt", "requirements-dev.txt")
    lines = [line for name in names for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    wanted = [Requirement(line) for line in lines if line and not line.startswith(("#", "-e", "-r"))]
    return [requirement for requirement in wanted if requirement.marker is None or requirement.marker.evaluate()]


def test_every_requirement_has_two_bounds_and_the_installed_version_is_within_them():
    wanted = requirements()
    assert len(wanted) > 20 and len({r.name for r in wanted}) == len(wanted)
    for requirement in wanted:
        assert {clause.operator for clause in requirement.specifier} == {">=", "<"}, requirement
        installed = importlib.metadata.version(requirement.name)
        assert requirement.specifier.contains(installed, prereleases=True), f"{requirement}, not {installed}"


# --- Jupyter ------------------------------------------------------------------------------------------------------

OPEN_DOORS = re.compile(
    r"\b(token|password|hashed_password|password_required)\s*=|disable_check_xsrf|allow_unauthenticated|allow_origin"
    r"|JUPYTER_TOKEN|PasswordIdentityProvider",
    re.I,
)


def test_nothing_switches_off_the_token():
    assert all(
        OPEN_DOORS.search(x) for x in ("--ServerApp.token=''", "--NotebookApp.token=", "--ServerApp.password=''")
    )
    paths = [ROOT / "Makefile", ROOT / ".ci" / "run", *ROOT.glob("*.md"), *ROOT.glob("notebooks/*.md")]
    paths += [path for path in (ROOT / "tools").rglob("*") if path.suffix in (".py", ".sh", ".json")]
    assert len(paths) > 5
    for path in paths:
        assert not OPEN_DOORS.search(path.read_text(encoding="utf-8")), path
    found = [p for p in ROOT.rglob("jupyter_*config*") if not any(part.startswith(".venv") for part in p.parts)]
    assert found == [ROOT / "tools" / "jupyter" / "jupyter_server_config.py"], "the file that was checked above"


def running(folder: Path) -> dict[str, Any]:
    """Return what a server writes about itself when it listens, or {} before."""
    for path in folder.glob("jpserver-*.json"):
        with suppress(ValueError):  # the file is not complete yet
            return json.loads(path.read_text())
    return {}


@pytest.mark.skipif(importlib.util.find_spec("jupyterlab") is None, reason="JupyterLab is not installed here")
@pytest.mark.skipif(shutil.which("make") is None, reason="the options are the Makefile's, and there is no make here")
@pytest.mark.long
def test_the_server_of_make_lab_requires_its_token(tmp_path):
    dry = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    [line] = [line for line in dry.splitlines() if "-m jupyterlab" in line]
    command = [sys.executable, *shlex.split(line)[1:], "--no-browser", f"--ServerApp.port={postgres.free_port()}"]
    folders = {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("RUNTIME", "CONFIG", "DATA")}
    environment = {key: value for key, value in os.environ.items() if key != "JUPYTER_TOKEN"} | folders
    server = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: running(tmp_path / "RUNTIME") or server.poll() is not None, 60)
        note = running(tmp_path / "RUNTIME")
        with httpx.Client(base_url=note["url"], trust_env=False, timeout=30) as client:
            assert client.get("api/contents").status_code == 403
            assert client.post("api/kernels").status_code == 403
            page = client.get("lab")
            assert page.status_code == 302 and "/login" in page.headers["location"]
            assert client.get("api/contents", params={"token": "wrong"}).status_code == 403
        with httpx.Client(base_url=note["url"], trust_env=False, timeout=30) as client:
            assert len(note["token"]) >= 32
            assert client.get("api/contents", headers={"Authorization": f"token {note['token']}"}).status_code == 200
        assert {c.laddr.ip for c in listening() if c.laddr.port == note["port"]} <= {"127.0.0.1", "::1"}
    finally:
        server.terminate()
        try:
            server.wait(20)
        finally:
            server.kill()
            server.wait()
