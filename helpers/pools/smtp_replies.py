"""`StrictSMTP`: an SMTP connection that reads the replies of the server strictly.

`smtplib` takes the code of a reply from the first three bytes of its last line. It therefore accepts "550-no" followed
by "250 yes" as a success, and "2500 OK" too. A server that sends "250-" lines forever keeps `smtplib` reading forever.

Always true: a reply that breaks RFC 5321 section 4.2 has the code -1, which `smtplib` uses for a reply without a
number. A reply has a maximum length in bytes and in seconds. No command is sent while a surplus reply is unread. If any
of this were wrong, a mail could be reported as sent that the server has refused, or a worker could wait forever.
"""

import re
import smtplib
import time
from typing import Any

from .words import describe, describe_error

MAX_REPLY = 65_536  # bytes in all lines of one reply
CHUNK = 4096  # bytes per read

LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])([^\r\n]*))?\r?\n")


class StrictSMTP(smtplib.SMTP):
    """An unencrypted connection to the server at `host` and `port`.

    `timeout` is the number of seconds that the server has for a whole reply, and not for each read. Raises OSError, or
    its subclass smtplib.SMTPException, if the server cannot be reached or does not greet with 220.
    """

    # The bytes that were received and not yet used. The default is on the class, because `__init__` of smtplib already
    # reads the greeting.
    _pending = b""

    def __init__(self, host: str, port: int, *, timeout: float) -> None:
        # Pass a `local_hostname`, because smtplib otherwise asks the DNS for the name of this machine, which can take
        # seconds.
        super().__init__(host, port, local_hostname="localhost", timeout=timeout)

    def send(self, s: Any) -> None:
        """Send bytes or text. Raises SMTPServerDisconnected if the server has sent more replies than it was asked for.

        Without this check, the additional reply would count as the reply to the next command.
        """
        if self._pending:
            self.close()
            raise smtplib.SMTPServerDisconnected(f"unexpected reply from the server: {describe(self._pending)}")
        super().send(s)

    def data(self, msg: Any) -> tuple[int, bytes]:
        """Send DATA and the bytes `msg`, whose lines end with CRLF, and return the reply to the content.

        Raises SMTPDataError if the content was not sent. Its code is the code of the reply to DATA, or -1 if there was
        no reply. Raises another OSError if the content may have been sent. The method of `smtplib` does not make this
        distinction: it raises the same error whether the connection is lost before or after the content.
        """
        try:
            code, reply = self.docmd("DATA")
        except OSError as error:
            raise smtplib.SMTPDataError(-1, describe_error(error)) from error
        if code != 354:
            raise smtplib.SMTPDataError(code, reply)
        # Double each dot at the beginning of a line (RFC 5321 section 4.5.2). The first line is a header and has none.
        self.send(msg.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        return self.getreply()

    def getreply(self) -> tuple[int, bytes]:
        """Read one reply. Return its code, or -1 if it is malformed, and its text, with lines joined by line feeds.

        Raises SMTPServerDisconnected if the connection ends, and if the reply is too long or takes too long.
        """
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("the connection is closed")
        deadline = time.monotonic() + (self.sock.gettimeout() or float(self.timeout))
        lines: list[re.Match[bytes]] = []
        size = 0
        while not lines or lines[-1][2] == b"-":  # a hyphen after the code means that another line follows
            line = self._read_line(deadline, MAX_REPLY - size)
            size += len(line)
            found = LINE.fullmatch(line)
            if found is None:
                return -1, line.strip()
            lines.append(found)
        codes = {found[1] for found in lines}
        return (int(codes.pop()) if len(codes) == 1 else -1), b"\n".join((found[3] or b"").strip() for found in lines)

    def _read_line(self, deadline: float, most: int) -> bytes:
        """Return the next line, including its line end, before the deadline. Raises SMTPServerDisconnected.

        `most` is the maximum number of bytes that the line may have.
        """
        while b"\n" not in self._pending:
            try:
                if len(self._pending) >= most:
                    raise TimeoutError(f"the server's reply is longer than {MAX_REPLY} bytes")
                self._pending += self._receive(deadline)
            except OSError as error:
                self.close()
                raise smtplib.SMTPServerDisconnected(f"Connection unexpectedly closed: {error}") from error
        line, _, self._pending = self._pending.partition(b"\n")
        return line + b"\n"

    def _receive(self, deadline: float) -> bytes:
        """Read some bytes before the deadline, and restore the timeout of the socket."""
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
