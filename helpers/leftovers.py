"""What a notebook or a test must not leave behind: a thread of a pool, a child process, an open socket."""

import threading
from typing import Any

import psutil

# What the names of the series' threads have in them.
OURS = ("-worker-", "-scaling", "-retries", "unbounded-", "control-room")
TRACKER = "multiprocessing.resource_tracker"  # in the command line of the one child process that Python keeps
# A connection that is still open at this end; CLOSE_WAIT: only the other end has closed it.
OPEN = (psutil.CONN_ESTABLISHED, psutil.CONN_CLOSE_WAIT)


def listening_ports() -> frozenset[int]:
    """The ports on which this process listens. A notebook's kernel has some of its own, to talk to JupyterLab."""
    return _listening(psutil.Process().net_connections("inet"))


def leftovers(known_ports: frozenset[int] = frozenset()) -> list[str]:
    """What is there now, in words, but for `known_ports`; empty if nothing is."""
    threads = [t.name for t in threading.enumerate() if any(name in t.name for name in OURS)]
    process = psutil.Process()
    children = [f"child process {c.name()}" for c in process.children(recursive=True) if _lives(c)]
    sockets = process.net_connections("inet")
    listening = [f"listening on port {port}" for port in sorted(_listening(sockets) - known_ports)]
    return threads + children + listening + _begun(sockets)


def _listening(sockets: list[Any]) -> frozenset[int]:
    return frozenset(s.laddr.port for s in sockets if s.status == psutil.CONN_LISTEN)


def _begun(sockets: list[Any]) -> list[str]:
    """The connections that this process has begun and not closed: to a database, a mail server, an API."""
    # Not begun by us: what came in at a port of ours. Nor, on Windows, the two ends with which a program wakes itself.
    own, ends = _listening(sockets), {s.laddr for s in sockets}
    begun = [s for s in sockets if s.raddr and s.laddr.port not in own and s.raddr not in ends]
    return [f"connection to port {s.raddr.port}" for s in begun if s.status in OPEN]


def _lives(process: psutil.Process) -> bool:
    """Return whether a child process is one that somebody forgot to end.

    Python's resource tracker is not: `multiprocessing` starts it once, and it ends with the program.
    """
    try:
        if TRACKER in " ".join(process.cmdline()):
            return False
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
