"""`leftovers`, which runs after every test and every notebook, finds threads, processes, and sockets."""

import multiprocessing
import socket
from concurrent.futures import ProcessPoolExecutor

from helpers.leftovers import leftovers, listening_ports
from helpers.pools import DynamicRetryingPool
from helpers.services import MailServer


def test_threads_processes_and_sockets_are_found():
    before = listening_ports()
    assert not leftovers(before)
    with (
        socket.create_server(("127.0.0.1", 0)) as ours,
        MailServer() as server,
        DynamicRetryingPool(print, min_workers=1, max_workers=2),
    ):
        port = ours.getsockname()[1]
        with socket.create_connection(("127.0.0.1", server.port)):
            left = leftovers(before)
        assert f"connection to port {server.port}" in left and f"listening on port {port}" in left
        for kind in ("-worker-1", "-scaling", "-retries", "child process"):
            assert any(kind in what for what in left), left
    assert not leftovers(before)


def test_a_process_of_an_executor_is_found_and_pythons_resource_tracker_is_not():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        executor.submit(abs, -1).result()
        assert sum("child process" in what for what in leftovers()) == 1
    assert not leftovers()
