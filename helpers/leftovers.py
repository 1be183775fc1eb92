"""What a notebook or a test must not leave behind: a thread of a pool, a child process, a listening socket."""

import threading

import psutil


def listening_ports() -> frozenset[int]:
    """The ports on which this process listens. A notebook's kernel has some of its own, to talk to JupyterLab."""
    connections = psutil.Process().net_connections("inet")
    return frozenset(c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN)


def leftovers(known_ports: frozenset[int] = frozenset()) -> list[str]:
    """What is there now, in words, but for `known_ports`; empty if nothing is."""
    threads = [t.name for t in threading.enumerate() if "-worker-" in t.name or t.name.startswith("unbounded")]
    children = [f"child process {c.name()}" for c in psutil.Process().children(recursive=True) if _lives(c)]
    sockets = [f"listening on port {port}" for port in sorted(listening_ports() - known_ports)]
    return threads + children + sockets


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
