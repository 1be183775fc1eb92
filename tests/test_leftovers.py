"""What looks for things left behind, after every test and every notebook, finds them."""

import socket

from helpers.leftovers import leftovers, listening_ports
from helpers.pools import DynamicRetryingPool
from helpers.services import MailServer


def test_whatever_is_left_behind_is_seen():
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
