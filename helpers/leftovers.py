"""What a notebook or a test must not leave behind: a thread of a pool, a child process, an open socket."""

import threading

import psutil

# What the names of the series' threads have in them.
OURS = ("-worker-", "-scaling", "-retries", "unbounded-", "live-crew")
# A connection that is still open at this end; CLOSE_WAIT: only the other end has closed it.
OPEN = (psutil.CONN_ESTABLISHED, psutil.CONN_CLOSE_WAIT)


def listening_ports() -> frozenset[int]:
    """The ports on which this process listens. A notebook's kernel has some of its own, to talk to JupyterLab."""
    connections = psutil.Process().net_connections("inet")
    return frozenset(c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN)


def leftovers(known_ports: frozenset[int] = frozenset()) -> list[str]:
    """What is there now, in words, but for `known_ports`; empty if nothing is."""
    threads = [t.name for t in threading.enumerate() if any(name in t.name for name in OURS)]
    children = [f"child process {c.name()}" for c in psutil.Process().children(recursive=True) if _lives(c)]
    sockets = [f"listening on port {port}" for port in sorted(listening_ports() - known_ports)]
    return threads + children + sockets + _connections()


def _connections() -> list[str]:
    """Those that this process has begun and not closed: to a database, a mail server, an API."""
    everything = psutil.Process().net_connections("inet")
    # Not begun by us: what came in at a port of ours. Nor, on Windows, the two ends with which a program wakes itself.
    own = {c.laddr.port for c in everything if c.status == psutil.CONN_LISTEN}
    ends = {c.laddr for c in everything}
    begun = [c for c in everything if c.raddr and c.laddr.port not in own and c.raddr not in ends]
    return [f"connection to port {c.raddr.port}" for c in begun if c.status in OPEN]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
