"""The SMTP dialog: a mail uses only extensions that the server offers, and every form of reply is read correctly."""

import smtplib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from aiosmtpd.controller import Controller
from conftest import id_of

from helpers.pools import BatchEmailSender, EmailJob, OutcomeUnknown
from helpers.pools.email import BadMail, MailRefused, NoConnection
from helpers.pools.smtp_replies import MAX_REPLY
from helpers.services import postgres

GREETINGS = EmailJob(1, "ann@example.com", "Jürgen Müller, Köln", "Grüße", "Schöne Grüße\n.\nJürgen")
PLAIN = EmailJob(2, "bob@example.com", "Bob", "Hello", "Hi Bob")
UTF8 = EmailJob(3, "jürgen@exämple.com", "Jürgen", "Grüße", "Grüße")


# --- a server whose capabilities can be switched off ---------------------------------------------------------------


class Recorder:
    """A handler of aiosmtpd that hides some extensions and keeps each mail's MAIL parameters and bytes."""

    def __init__(self, hidden: tuple[str, ...]) -> None:
        self.hidden = hidden
        self.options: list[list[str]] = []
        self.contents: list[bytes] = []

    async def handle_EHLO(self, server, session, envelope, hostname, responses) -> list[str]:
        session.host_name = hostname
        return [line for line in responses if line[4:].split()[0] not in self.hidden]

    async def handle_MAIL(self, server, session, envelope, address, options) -> str:
        self.options.append(options)
        envelope.mail_from = address
        return "250 OK"

    async def handle_DATA(self, server, session, envelope) -> str:
        self.contents.append(envelope.original_content)
        return "250 OK"


@contextmanager
def server_without(*hidden: str, **options) -> Iterator[Controller]:
    controller = Controller(Recorder(hidden), hostname="127.0.0.1", port=postgres.free_port(), **options)
    controller.start()
    try:
        yield controller
    finally:
        controller.stop()


def send(server, *jobs, **options):
    with BatchEmailSender(host="127.0.0.1", port=server.port, workers=1, **options) as sender:
        return list(sender.stream(jobs))


def received(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def text_of(content: bytes) -> str:
    return received(content).get_content().replace("\r\n", "\n").removesuffix("\n")


def longest_line(content: bytes) -> int:
    return max(map(len, content.split(b"\r\n")))


@pytest.mark.parametrize("body", [GREETINGS.body, "日本語の本文です。" * 50, "ü" * 5000])
def test_without_8bitmime_a_mail_is_7_bit_and_has_the_same_text(body):
    job = EmailJob(1, GREETINGS.address, GREETINGS.name, GREETINGS.subject, body)
    with server_without("8BITMIME") as server:
        [result] = send(server, job)
        [content], [options] = server.handler.contents, server.handler.options
    assert result.ok and content.isascii() and longest_line(content) <= 78
    assert not [option for option in options if option.startswith("BODY=")]
    assert received(content)["Content-Transfer-Encoding"] in ("quoted-printable", "base64")
    assert text_of(content) == body and received(content)["Subject"] == "Grüße"
    assert received(content)["To"].addresses[0].display_name == GREETINGS.name


def test_with_8bitmime_an_8_bit_body_is_declared_and_an_ascii_body_is_not():
    with server_without() as server:
        assert all(result.ok for result in send(server, GREETINGS, PLAIN))
        eight, seven = server.handler.contents
        assert "BODY=8BITMIME" in server.handler.options[0]
        assert not [option for option in server.handler.options[1] if option.startswith("BODY=")]
    head, _, body = eight.partition(b"\r\n\r\n")
    assert head.isascii(), "8BITMIME is about the body: headers in UTF-8 need SMTPUTF8"
    assert "Schöne Grüße".encode() in body and received(eight)["Content-Transfer-Encoding"] == "8bit"
    assert text_of(eight) == GREETINGS.body
    assert seven.isascii() and received(seven)["Content-Transfer-Encoding"] == "7bit"


def test_smtputf8_is_used_only_for_an_address_that_needs_it():
    with server_without() as server:
        assert all(result.ok for result in send(server, UTF8, GREETINGS))
        first, second = server.handler.options
        assert {"SMTPUTF8", "BODY=8BITMIME"} <= set(first) and "SMTPUTF8" not in second
        assert "To: =?utf-8?q?J=C3=BCrgen?=\r\n <jürgen@exämple.com>\r\n".encode() in server.handler.contents[0]


@pytest.mark.parametrize("hidden", ["SMTPUTF8", "8BITMIME"])
def test_without_smtputf8_or_8bitmime_a_non_ascii_address_is_refused_and_the_connection_kept(hidden):
    with server_without(hidden) as server:
        refused, sent = send(server, UTF8, GREETINGS)
        assert len(server.handler.contents) == len(server.handler.options) == 1, "the server was not asked"
    assert isinstance(refused.error, BadMail) and sent.ok
    assert hidden in str(refused.error) and repr(UTF8.address) in str(refused.error)


def test_a_non_ascii_sender_needs_smtputf8_too():
    with server_without() as server:
        [result] = send(server, PLAIN, sender="grüße@exämple.com")
        assert result.ok and "SMTPUTF8" in server.handler.options[0]
        assert received(server.handler.contents[0])["Message-ID"].isascii()
    with server_without("SMTPUTF8") as server:
        [result] = send(server, PLAIN, sender="grüße@exämple.com")
    assert isinstance(result.error, BadMail) and str(result.error).startswith("sender must be ASCII")


@pytest.mark.parametrize("hidden", [(), ("8BITMIME",)])
@pytest.mark.parametrize("sign", ["x", "é", "😀"])
@pytest.mark.parametrize("size", [998, 999, 5000])
def test_no_line_is_longer_than_998_bytes(hidden, sign, size):
    width = len(sign.encode())
    body = "first\n." + sign * (size // width) + "x" * (size % width)
    with server_without(*hidden) as server:
        [result] = send(server, EmailJob(1, "a@example.com", "A", "s", body))
        [content] = server.handler.contents
    assert result.ok and longest_line(content) <= 998 and text_of(content) == body


def test_a_line_of_exactly_998_bytes_stays_as_it_is():
    with server_without() as server:
        send(server, EmailJob(1, "a@example.com", "A", "s", "." * 998))
        assert b"\r\n" + b"." * 998 + b"\r\n" in server.handler.contents[0]


def test_the_size_is_declared_and_a_mail_over_the_limit_is_not_sent():
    big = EmailJob(9, "big@example.com", "Big", "s", "x" * 70 + "\n" + "y\n" * 2000)
    with server_without(data_size_limit=2000) as server:
        refused, sent = send(server, big, PLAIN)
        [content], [options] = server.handler.contents, server.handler.options
    assert isinstance(refused.error, BadMail) and "at most 2000 bytes" in str(refused.error)
    assert sent.ok and f"SIZE={len(content)}" in options
    with server_without("SIZE") as server:
        assert send(server, big)[0].ok
        assert not [option for option in server.handler.options[0] if option.startswith("SIZE")]


# --- a server that sends any reply ---------------------------------------------------------------------------------

GOOD = {
    "greeting": b"220 ready\r\n",
    "EHLO": b"250-here\r\n250 8BITMIME\r\n",
    "HELO": b"250 here\r\n",
    "MAIL": b"250 ok\r\n",
    "RCPT": b"250 ok\r\n",
    "DATA": b"354 go on\r\n",
    "content": b"250 taken\r\n",
    "RSET": b"250 ok\r\n",
    "QUIT": b"221 bye\r\n",
}
Reply = bytes | None | Callable[[socket.socket], None]


class Talker:
    """An SMTP server that sends the given replies: bytes, None to hang up, or a function of the socket.

    `first` replaces replies on the first connection, `always` on every connection.
    """

    def __init__(self, first: dict[str, Reply] | None = None, **always: Reply) -> None:
        self.first, self.always = first or {}, always
        self.lines: list[bytes] = []
        self.contents: list[bytes] = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self) -> "Talker":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock = self.listener.accept()[0]
                self.connections += 1
                replies = GOOD | self.always | (self.first if self.connections == 1 else {})
                threading.Thread(target=self._talk, args=(sock, replies), daemon=True).start()

    def _talk(self, sock: socket.socket, replies: dict[str, Reply]) -> None:
        with sock, suppress(OSError), sock.makefile("rb") as lines:
            going_on = self._reply(sock, replies["greeting"])
            while going_on and (line := lines.readline()):
                self.lines.append(line)
                verb = line[:4].decode("latin-1").upper()
                going_on = self._reply(sock, replies.get(verb, b"500 what?\r\n"))
                reply = replies.get(verb)
                if verb == "DATA" and isinstance(reply, bytes) and reply.startswith(b"354 "):
                    content = b""
                    while not content.endswith(b"\r\n.\r\n"):
                        content += lines.readline()
                    self.contents.append(content)
                    going_on = self._reply(sock, replies["content"])

    @staticmethod
    def _reply(sock: socket.socket, reply: Reply) -> bool:
        if reply is None:
            return False
        if callable(reply):
            reply(sock)
        else:
            sock.sendall(reply)
        return True


def endless(sock: socket.socket) -> None:
    with suppress(OSError):
        while True:
            sock.sendall(b"250-more\r\n" * 100)


def trickle(sock: socket.socket) -> None:
    with suppress(OSError):
        while True:
            sock.sendall(b"250-more\r\n")
            time.sleep(0.02)


SENT = [b"250 ok", b"250-a\r\n250 b", b"250", b"250-\r\n250 ", b"251 forwarded", b"250 \xff\xfe", "250 schön".encode()]


@pytest.mark.parametrize("reply", SENT)
def test_a_mail_is_sent_after_any_good_reply_to_its_content(reply):
    with Talker(content=reply + b"\r\n") as server:
        [result] = send(server, PLAIN)
    assert result.ok and result.value.reply.startswith(reply[:3].decode()) and result.value.reply.isprintable()


UNKNOWN = [b"550-no\r\n250 yes\r\n", b"250-yes\r\n550 no\r\n", b"2500 ok\r\n", b"250_ok\r\n", b"+250 ok\r\n"]
UNKNOWN += [
    b" 250 ok\r\n",
    b"-250 ok\r\n",
    b"2_5 ok\r\n",
    b"25\r\n",
    b"OK\r\n",
    b"\r\n",
    b"\xff\xfe\r\n",
    b"000 ok\r\n",
]
UNKNOWN += [b"150 ok\r\n", b"354 go on\r\n", b"600 ok\r\n", b"250-a\r\ngarbage\r\n", b"x" * 10_000 + b"\r\n"]
UNKNOWN += [None, endless, b"x" * (MAX_REPLY + 1)]


@pytest.mark.parametrize("reply", UNKNOWN, ids=id_of)
def test_a_mail_is_unknown_and_not_repeated_after_any_other_reply_to_its_content(reply):
    with Talker(content=reply) as server:
        [result] = send(server, PLAIN)
    assert isinstance(result.error, OutcomeUnknown), result
    assert len(server.contents) == 1 and len(str(result.error)) < 1000 and str(result.error).isprintable()


@pytest.mark.parametrize("reply", [trickle, lambda sock: time.sleep(3)], ids=["one line at a time", "silence"])
def test_the_time_out_is_for_the_whole_reply(reply):
    with Talker(content=reply) as server:
        [result] = send(server, PLAIN, timeout=1.5)
    assert isinstance(result.error, OutcomeUnknown) and "timed out" in str(result.error)


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "content"])
@pytest.mark.parametrize(
    ("reply", "code"),
    [(b"550 no\r\n", 550), (b"451-a\r\n451 b\r\n", 451), (b"554\r\n", 554), (b"550 n\xf6 \x1b[31m\r\n", 550)],
)
def test_a_refusal_at_any_step_is_a_refusal_and_keeps_the_connection(step, reply, code):
    with Talker(**{step: reply}) as server:
        results = send(server, PLAIN, GREETINGS)
    for result in results:
        assert isinstance(result.error, MailRefused) and result.error.code == code
        assert result.error.permanent == (code >= 500) and str(result.error).isprintable()
    assert server.connections == 1 and b"RSET\r\n" in [line.upper() for line in server.lines]


USELESS = [None, b"421 closing\r\n", b"garbage\r\n", b"\xff\xfe\r\n", b"\r\n", b"334 what\r\n", b"100 wait\r\n"]
USELESS += [b"250-yes\r\n550 no\r\n", b"550-no\r\n250 yes\r\n", b"2500 ok\r\n"]
STEPS = [("greeting", reply) for reply in [*USELESS, b"554 no service\r\n", b"250 ready\r\n"]]
STEPS += [(step, reply) for step in ("MAIL", "RCPT") for reply in [*USELESS, b"250 ok\r\n250 ok\r\n"]]
STEPS += [("DATA", reply) for reply in [*USELESS, b"250 ok\r\n"]]


@pytest.mark.parametrize(("step", "reply"), STEPS, ids=lambda value: repr(value)[:30])
def test_a_useless_connection_is_replaced_and_the_mail_sent_once(step, reply):
    with Talker(first={step: reply}) as server:
        [result] = send(server, PLAIN)
    assert result.ok, result
    assert server.connections == 2 and len(server.contents) == 1


@pytest.mark.parametrize("ehlo", [b"502 unknown\r\n", b"500-what\r\n500 is that\r\n", b"250-a\r\n550 b\r\n"])
def test_a_server_that_refuses_ehlo_gets_helo_and_plain_7_bit_mail(ehlo):
    with Talker(EHLO=ehlo) as server:
        results = send(server, GREETINGS, UTF8)
    sent = [line.lower() for line in server.lines]  # smtplib writes commands in small or in large letters
    assert results[0].ok and b"mail from:<news@example.com>\r\n" in sent
    assert server.contents[0].isascii() and len(server.contents) == 1
    assert isinstance(results[1].error, BadMail)


def test_a_server_that_refuses_ehlo_and_helo_is_no_connection():
    with Talker(EHLO=b"502 unknown\r\n", HELO=b"550 go away\r\n") as server:
        [result] = send(server, PLAIN)
    assert isinstance(result.error, NoConnection) and "go away" in str(result.error) and not server.contents


@pytest.mark.parametrize("greeting", [b"554 no service\r\n", b"421-busy\r\n421 come back\r\n", None, b"hello\r\n"])
def test_a_server_that_does_not_greet_is_no_connection(greeting):
    with Talker(greeting=greeting) as server:
        [result] = send(server, PLAIN, patience=0.1)
    assert isinstance(result.error, NoConnection) and "no connection has worked for 0.1 s" in str(result.error)


@pytest.mark.parametrize("offer", [b"SIZE", b"SIZE 0", b"SIZE many", b"SIZE -5", b"SIZE 9" + b"9" * 30, b"size=7"])
def test_a_size_without_a_limit_is_no_limit(offer):
    with Talker(EHLO=b"250-here\r\n250-\xff\xfe\r\n250 " + offer + b"\r\n") as server:
        [result] = send(server, PLAIN)
    assert result.ok


def test_without_starttls_nothing_is_sent_in_the_clear():
    def connect() -> smtplib.SMTP:
        smtp = smtplib.SMTP("127.0.0.1", server.port, local_hostname="localhost", timeout=5)
        try:
            smtp.starttls()
        except BaseException:
            smtp.close()
            raise
        return smtp

    with Talker() as server:
        [result] = send(server, PLAIN, connect=connect, patience=0.1)
    assert isinstance(result.error, NoConnection) and "STARTTLS" in str(result.error)
    assert not server.contents and not [line for line in server.lines if line[:4].upper() == b"MAIL"]


def test_a_server_that_closes_idle_connections_loses_no_mail():
    def take_and_leave(sock: socket.socket) -> None:
        sock.sendall(b"250 taken\r\n421 idle for too long\r\n")
        sock.shutdown(socket.SHUT_RDWR)

    jobs = [EmailJob(n, f"u{n}@example.com", "U", "s", "b") for n in range(5)]
    with Talker(content=take_and_leave) as server:
        results = send(server, *jobs)
    assert all(result.ok for result in results) and len(server.contents) == 5


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt(), MemoryError()])
def test_the_outcome_is_unknown_after_any_exception_after_the_content(error):
    class Buggy(smtplib.SMTP):
        def data(self, content: bytes) -> tuple[int, bytes]:
            super().data(content)
            raise error

    with Talker() as server:
        [result] = send(server, PLAIN, connect=lambda: Buggy("127.0.0.1", server.port, local_hostname="me", timeout=5))
    assert isinstance(result.error, OutcomeUnknown) and len(server.contents) == 1
