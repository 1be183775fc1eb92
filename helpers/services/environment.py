"""What our servers and clients take from the reader's environment: as little as possible.

A reader's shell is full of settings for other work: PGSERVICE for the company's database, PYTHONWARNINGS=error, a
proxy, a locale. None of them is meant for our services, and many of them would break one. So

- our Python child processes get the environment of `for_python`, without the variables of libpq, of the Python
  interpreter, and of HTTP clients;
- the programs of PostgreSQL get the environment of `for_programs`, which has only what a program needs to run at all;
- `database_url` names every setting that libpq would otherwise read from the environment. So a client in the reader's
  own process is safe too, and `os.environ` stays as it is.

Four variables cannot be overruled by a connection string. libpq looks up PGSERVICE although it needs nothing from it,
and fails if there is no such service. It sends PGTZ, PGDATESTYLE and PGGEQO to the server, which refuses a bad value.
`set_aside` removes these four from `os.environ` while a database of ours is open, and `put_back` restores them. A
connection to another server that depends on one of the four has to be opened before or after that.

A reader who sets DATABASE_URL wants a server of their own. Then the PG* variables complete that URI, as for every
program that uses libpq, and nothing is removed.
"""

import os
import threading
from urllib.parse import quote, urlencode

# Variables of the interpreter that a child needs to find its modules, or that only say where and whether it writes.
PYTHON_KEPT = {
    *("PYTHONHOME", "PYTHONPATH", "PYTHONPLATLIBDIR", "PYTHONEXECUTABLE", "PYTHONUSERBASE", "PYTHONCASEOK"),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUTF8", "PYTHONHASHSEED", "PYTHON_GIL"),
}
PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"}
# Where programs and libraries are; the second row is what Windows asks for.
PROGRAM_NEEDS = {
    *("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP", "USERPROFILE", "APPDATA"),
}

NOT_OVERRULED = ("PGSERVICE", "PGTZ", "PGDATESTYLE", "PGGEQO")
# Every setting that libpq reads from the environment, with the value that our server needs. Empty means: none.
LIBPQ = {
    "hostaddr": "127.0.0.1",
    "password": "unused",  # the server asks for none; without it libpq would read, and complain about, ~/.pgpass
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
    """Return the environment of a child process of ours that runs Python."""
    own_server = bool(os.environ.get("DATABASE_URL"))

    def disturbs(name: str) -> bool:
        if name.startswith("PYTHON"):
            return name not in PYTHON_KEPT
        return name in PROXIES or (name.startswith("PG") and not own_server)

    return {name: value for name, value in os.environ.items() if not disturbs(name.upper())}


def for_programs() -> dict[str, str]:
    """Return the environment of PostgreSQL's programs. They speak English, because notebooks compare what they say."""
    kept = {name: value for name, value in os.environ.items() if name.upper() in PROGRAM_NEEDS}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def database_url(user: str, port: int, database: str, **more: str) -> str:
    """Return a postgresql:// URI for 127.0.0.1 that leaves nothing to the environment of the client.

    more: further settings of libpq. A setting that the installed libpq does not know is left out, as a URI with
    an unknown setting is refused.
    """
    import psycopg

    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    settings = {name: value for name, value in (LIBPQ | more).items() if name in known}
    return f"postgresql://{user}@127.0.0.1:{port}/{database}?{urlencode(settings, quote_via=quote)}"


# Reentrant, because the garbage collector may run `put_back` for a forgotten Database while this thread holds the lock.
_lock = threading.RLock()
_holders: set[int] = set()
_aside: dict[str, str] = {}


def set_aside(holder: int) -> None:
    """Remove from `os.environ` what libpq obeys whatever the connection string says, until `put_back(holder)`."""
    with _lock:
        _holders.add(holder)
        for name in NOT_OVERRULED:
            if name in os.environ:
                _aside[name] = os.environ.pop(name)


def put_back(holder: int) -> None:
    """Undo `set_aside(holder)`: the last holder restores the variables. May be called twice."""
    with _lock:
        _holders.discard(holder)
        if not _holders:
            for name, value in _aside.items():
                os.environ.setdefault(name, value)  # a value that the reader has set since then is newer
            _aside.clear()
