"""Keep the environment of the reader's shell away from the services and their clients.

A shell has settings for other work, such as PGSERVICE for a company's database, PYTHONWARNINGS=error, a proxy, or a
locale. They are not meant for these services, and many of them would break one. So

- Python child processes get the environment of `for_python`, without the variables of libpq, of the Python interpreter,
  and of HTTP clients;
- the programs of PostgreSQL get the environment of `for_programs`, which has only what every program needs;
- `database_url` names every setting that libpq would otherwise read from the environment. So a client in the reader's
  own process is not affected either, and `os.environ` is not changed.

Four variables override a connection string. libpq looks up PGSERVICE even if it needs nothing from it, and fails if
there is no such service. It sends PGTZ, PGDATESTYLE, and PGGEQO to the server, which refuses a bad value. `set_aside`
removes these four from `os.environ` while a `Database` is open, and `put_back` restores them. A connection to another
server that depends on one of the four must be opened before or after that time.

If the reader sets DATABASE_URL, the PG* variables complete that URI, as in every program that uses libpq, and nothing
is removed.
"""

import os
import threading
from urllib.parse import quote, urlencode

# Variables of the interpreter that are kept: a child needs them to find modules, or they only control what it writes.
PYTHON_KEPT = {
    *("PYTHONHOME", "PYTHONPATH", "PYTHONPLATLIBDIR", "PYTHONEXECUTABLE", "PYTHONUSERBASE", "PYTHONCASEOK"),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUTF8", "PYTHONHASHSEED", "PYTHON_GIL"),
}
PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"}
# The locations of programs and libraries. The second row is for Windows.
PROGRAM_NEEDS = {
    *("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP", "USERPROFILE", "APPDATA"),
}

NOT_OVERRULED = ("PGSERVICE", "PGTZ", "PGDATESTYLE", "PGGEQO")
# Every setting that libpq reads from the environment, with the value for our server. An empty value means "none".
LIBPQ = {
    "hostaddr": "127.0.0.1",
    "password": "unused",  # the server needs none, but without a password libpq would read ~/.pgpass and warn about it
    "options": "",
    "client_encoding": "UTF8",
    "application_name": "worker-pool-notebooks",
    "connect_timeout": "0",  # psycopg's default
    "target_session_attrs": "any",
    "load_balance_hosts": "disable",
    "require_auth": "",
    "requirepeer": "",
    "channel_binding": "disable",
    "min_protocol_version": "3.0",
    "max_protocol_version": "3.0",
    "sslmode": "disable",
    "sslnegotiation": "postgres",
    "sslcompression": "0",
    "sslcertmode": "disable",
    "sslcert": "",
    "sslkey": "",
    "sslrootcert": "",
    "sslcrl": "",
    "sslcrldir": "",
    "sslsni": "1",
    "ssl_min_protocol_version": "TLSv1.2",
    "ssl_max_protocol_version": "",
    "gssencmode": "disable",
    "gssdelegation": "0",
    "gsslib": "",
    "krbsrvname": "postgres",
}


def for_python() -> dict[str, str]:
    """Return the environment for a child process that runs Python."""
    own_server = bool(os.environ.get("DATABASE_URL"))

    def disturbs(name: str) -> bool:
        if name.startswith("PYTHON"):
            return name not in PYTHON_KEPT
        return name in PROXIES or (name.startswith("PG") and not own_server)

    return {name: value for name, value in os.environ.items() if not disturbs(name.upper())}


def for_programs() -> dict[str, str]:
    """Return the environment for PostgreSQL's programs. Their messages are in English, because notebooks show them."""
    kept = {name: value for name, value in os.environ.items() if name.upper() in PROGRAM_NEEDS}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def database_url(user: str, port: int, database: str, **more: str) -> str:
    """Return a postgresql:// URI for 127.0.0.1 for which the client's environment has no effect.

    more: further settings of libpq. Settings that the installed libpq does not know are left out, because it refuses a
    URI with an unknown setting.
    """
    import psycopg

    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    settings = {name: value for name, value in (LIBPQ | more).items() if name in known}
    return f"postgresql://{user}@127.0.0.1:{port}/{database}?{urlencode(settings, quote_via=quote)}"


# Reentrant, because the garbage collector can run `put_back` for an unclosed Database while this thread holds the lock.
_lock = threading.RLock()
_holders: set[int] = set()
_aside: dict[str, str] = {}


def set_aside(holder: int) -> None:
    """Remove the variables that override a connection string from `os.environ`, until `put_back(holder)` is called."""
    with _lock:
        _holders.add(holder)
        for name in NOT_OVERRULED:
            if name in os.environ:
                _aside[name] = os.environ.pop(name)


def put_back(holder: int) -> None:
    """Undo `set_aside(holder)`. The call for the last holder restores the variables. May be called twice."""
    with _lock:
        _holders.discard(holder)
        if not _holders:
            for name, value in _aside.items():
                os.environ.setdefault(name, value)  # keeps a value that was set in the meantime
            _aside.clear()
