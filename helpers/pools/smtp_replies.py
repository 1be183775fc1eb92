"""Read a server's replies strictly: an SMTP connection that takes no malformed reply for a good one.

`smtplib` reads the first three bytes of the last line of a reply. So "550-no" followed by "250 yes" is a success for
it, "2500 OK" is one, and a server that sends "250-" lines forever keeps it reading forever. `StrictSMTP` reports a
reply that breaks RFC 5321 section 4.2 with the code -1, as `smtplib` does for a reply without a number, and bounds
the length of a reply in bytes and in seconds.
"""

import re
import smtplib
import time
from typing import Any

from .words import describe, describe_error

MOST_REPLY = 65_536  # bytes in one reply, all lines together
CHUNK = 4096  # bytes per read

LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])([^\r\n]*))?\r?\n")


class StrictSMTP(smtplib.SMTP):
    """A connection without encryption. Its `timeout` (seconds) is for a whole reply, and not for each read.

    Raises OSError (or its subclass smtplib.SMTPException) if the server cannot be reached or does not greet with 220.
    """

    _pending = b""  # received and not yet used; on the class, because smtplib's __init__ already reads the greeting

    def __init__(self, host: str, port: int, *, timeout: float) -> None:
        # With a name given, smtplib does not ask the DNS for the name of this machine, which can take seconds.
        super().__init__(host, port, local_hostname="localhost", timeout=timeout)

    def send(self, s: Any) -> None:
        """Send bytes or text. Raises SMTPServerDisconnected if the server has answered more than it was asked.

        Without this check the surplus reply would be taken for the reply to the next command.
        """
        if self._pending:
            self.close()
            raise smtplib.SMTPServerDisconnected(f"unexpected reply from the server: {describe(self._pending)}")
        super().send(s)

    def data(self, msg: Any) -> tuple[int, bytes]:
        """Send DATA and the bytes `msg`, whose lines end with CRLF; return the reply to the content.

        Raises SMTPDataError if the content was not sent: with the code of the reply to DATA, or with -1 if there was
        none. (`smtplib` raises the same error for a connection that is lost before the content as after it.) Raises
        another OSError if the content may have been sent.
        """
        try:
            code, reply = self.docmd("DATA")
        except OSError as error:
            raise smtplib.SMTPDataError(-1, describe_error(error)) from error
        if code != 354:
            raise smtplib.SMTPDataError(code, reply)
        # A dot at the beginning of a line is doubled (RFC 5321 section 4.5.2). The first line is a header.
        self.send(msg.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        return self.getreply()

    def getreply(self) -> tuple[int, bytes]:
        """Return the code and the text of one reply, its lines joined by line feeds; -1 if it is malformed.

        Raises SMTPServerDisconnected if the connection ends, or the reply is too long or takes too long.
        """
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("the connection is closed")
        deadline = time.monotonic() + (self.sock.gettimeout() or float(self.timeout))
        lines: list[re.Match[bytes]] = []
        size = 0
        while not lines or lines[-1][2] == b"-":  # a hyphen after the code: another line follows
            line = self._read_line(deadline, MOST_REPLY - size)
            size += len(line)
            found = LINE.fullmatch(line)
            if found is None:
                return -1, line.strip()
            lines.append(found)
        codes = {found[1] for found in lines}
        return (int(codes.pop()) if len(codes) == 1 else -1), b"\n".join((found[3] or b"").strip() for found in lines)

    def _read_line(self, deadline: float, most: int) -> bytes:
        """Return the next line with its line end."""
        while b"\n" not in self._pending:
            try:
                if len(self._pending) >= most:
                    raise TimeoutError(f"the server's reply is longer than {MOST_REPLY} bytes")
                self._pending += self._receive(deadline)
            except OSError as error:
                self.close()
                raise smtplib.SMTPServerDisconnected(f"Connection unexpectedly closed: {error}") from error
        line, _, self._pending = self._pending.partition(b"\n")
        return line + b"\n"

    def _receive(self, deadline: float) -> bytes:
        """Read some bytes before the deadline, and leave the time-out of the socket as it was."""
        sock, left = self.sock, deadline - time.monotonic()
        if sock is None or left <= 0:
            raise TimeoutError("timed out")
        before = sock.gettimeout()
        sock.settimeout(left)
        try:
            received = sock.recv(CHUNK)
        finally:
            sock.settimeout(before)
        if not received:
            raise ConnectionResetError("the server closed the connection")
        return received
