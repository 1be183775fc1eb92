"""Find what a notebook or a test has left behind: threads of a pool, child processes, and open sockets."""

import threading
from typing import Any

import psutil

# The names of the series' threads contain one of these.
OURS = ("-worker-", "-scaling", "-retries", "unbounded-", "control-room")
TRACKER = "multiprocessing.resource_tracker"  # in the command line of a child process that Python keeps until its end
# The states of a connection that this process has not closed. CLOSE_WAIT: only the other end has closed it.
OPEN = (psutil.CONN_ESTABLISHED, psutil.CONN_CLOSE_WAIT)


def listening_ports() -> frozenset[int]:
    """Return the ports on which this process listens. A notebook's kernel listens on some, to talk to JupyterLab."""
    return _listening(psutil.Process().net_connections("inet"))


def leftovers(known_ports: frozenset[int] = frozenset()) -> list[str]:
    """Return a description of each thread, child process, and socket that is left; `known_ports` are left out."""
    threads = [t.name for t in threading.enumerate() if any(name in t.name for name in OURS)]
    process = psutil.Process()
    children = [f"child process {c.name()}" for c in process.children(recursive=True) if _lives(c)]
    sockets = process.net_connections("inet")
    listening = [f"listening on port {port}" for port in sorted(_listening(sockets) - known_ports)]
    return threads + children + listening + _begun(sockets)


def _listening(sockets: list[Any]) -> frozenset[int]:
    return frozenset(s.laddr.port for s in sockets if s.status == psutil.CONN_LISTEN)


def _begun(sockets: list[Any]) -> list[str]:
    """Return the connections that this process has opened and not closed: to a database, a mail server, or an API."""
    # Left out: connections that others opened to a port of this process, and, on Windows, pairs of sockets whose two
    # ends are both in this process. A program wakes its event loop with such a pair.
    own, ends = _listening(sockets), {s.laddr for s in sockets}
    begun = [s for s in sockets if s.raddr and s.laddr.port not in own and s.raddr not in ends]
    return [f"connection to port {s.raddr.port}" for s in begun if s.status in OPEN]


def _lives(process: psutil.Process) -> bool:
    """Return whether a child process runs that should have been ended.

    This is never Python's resource tracker, which `multiprocessing` starts once and which ends with the program.
    """
    try:
        if TRACKER in " ".join(process.cmdline()):
            return False
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
