"""The batch mailer: a pool whose workers keep their SMTP connections, and which never lies about a mail.

    with BatchEmailSender(workers=10, host="127.0.0.1", port=2525) as sender:
        for result in sender.stream(jobs):              # EmailJob in, Result of a Delivery out
            print(result.job.user_id, result.value or result.error)
    print(sender.stats().sent)

What became of a mail is one of three, and `stats()` counts them: processed = sent + failed + unknown.
- sent: the server has answered 250, it has the mail. Whatever happens to the connection afterwards.
- failed: it does not have it. `BadMail` (it could not be sent by anybody), `MailRefused` (the server's answer), or
  `NoConnection` (nobody there).
- unknown: the mail was handed over and the connection was lost before the answer. The server may have it or not, so
  it is not sent again here: a mail twice is worse than a question. The error is `OutcomeUnknown`.

A connection that the server drops between two mails is opened again, and the mail is sent over the new one: until the
content is handed over nothing can be sent twice. If the server lets fewer connections in than there are workers (421),
the workers take turns: see `connections`. Cost: a mail over a kept connection takes a third of the time of one that
opens its own (benchmarks/README.md). What not to do: count on more workers than the server lets in to be faster.
"""

import random as real
import re
import smtplib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any

from . import checks
from .connections import Connections, NoConnection
from .policy import RetryPolicy
from .result import OutcomeUnknown, PoolStats
from .retrying import RetryingPool
from .worker import current_worker

__all__ = ["BadMail", "BatchEmailSender", "Delivery", "EmailJob", "MailRefused", "MailStats", "NoConnection"]

FAREWELL = 1.0  # seconds that a server has to answer QUIT
FRESH_DROPS = 3  # connections lost at their first mail until it is given up: it may be the mail that kills them
SERVICE_CLOSES = 421  # RFC 5321: the server will close the connection now

LABEL = r"(?!-)[^\W_]([^\W_]|-)*(?<!-)"
ADDRESS = re.compile(rf"[^\s\x00-\x1f\x7f@<>()\[\]\\,;:\"]{{1,64}}@{LABEL}(\.{LABEL})*")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
ENCODED = re.compile(r"=\?[^?]*\?[bq]\?", re.I)  # how an encoded word begins (RFC 2047)
SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class EmailJob:
    """One mail to one user. Nothing is checked before a worker takes it: a bad job is a failed result of its own."""

    user_id: int
    address: str
    name: str
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the server said when it took a mail over."""

    user_id: int
    address: str
    message_id: str
    reply: str


class BadMail(ValueError):
    """This mail cannot be sent by anybody: the message names the value and the rule it breaks."""

    permanent = True


class MailRefused(Exception):
    """The server has refused a mail: `code` is 4xx, for now, or 5xx, for ever (`permanent`)."""

    def __init__(self, code: int, reply: str) -> None:
        super().__init__(code, reply)
        self.code = code
        self.permanent = code >= 500

    def __str__(self) -> str:
        return f"{self.args[0]} {self.args[1]}"


class MailStats(PoolStats):
    """A pool's counts in a mailer's words: processed = sent + failed + unknown, at any instant."""

    __slots__ = ()

    @property
    def sent(self) -> int:
        """Mails that the server has."""
        return self.succeeded

    @property
    def processed(self) -> int:
        """Mails whose fate is settled, as far as it can be."""
        return self.succeeded + self.failed + self.unknown


class BatchEmailSender(RetryingPool[EmailJob, Delivery]):
    """`workers` threads that send mails over connections they keep, at most one each.

    Args:
        workers, queue_size:  as for `WorkerPool`.
        host, port:  the server.
        sender:      the address in From and of the envelope.
        timeout:     seconds that the server has for each single answer.
        patience:    seconds without any working connection until mails fail with `NoConnection`.
        connect:     opens a connection in place of `smtplib.SMTP(host, port)`: with SMTP_SSL, a login, a proxy.
        random:      numbers from 0 to 1 for the jitter between attempts to connect.
        policy:      which mails are tried again, as for `RetryingPool`: refused for now (4xx), or no connection. Never
                     those refused for ever, nor those whose fate is unknown. None: none is.
        options:     `resource` and `clock` of `WorkerPool`.

    Raises TypeError or ValueError for an argument that breaks its rule. No connection is opened before the first mail.
    """

    def __init__(
        self,
        *,
        workers: int = 10,
        queue_size: int = 100,
        host: str,
        port: int,
        sender: str = "news@example.com",
        timeout: float = 10.0,
        patience: float = 10.0,
        connect: Callable[[], smtplib.SMTP] | None = None,
        random: Callable[[], float] = real.random,
        policy: RetryPolicy | None = None,
        **options: Any,
    ) -> None:
        checks.seconds("timeout", timeout)
        checks.seconds("patience", patience)
        if not isinstance(host, str) or host.split() != [host] or CONTROL.search(host):
            raise ValueError(f"host must be a name or an address, not {host!r}")
        if checks.whole_number("port", port) > 65535:
            raise ValueError(f"port must be a whole number from 1 to 65535, not {port!r}")
        self.sender = checked_address("sender", sender)
        checks.function("random", random)
        if connect is not None:
            checks.function("connect", connect)

        def plain() -> smtplib.SMTP:
            # Named "localhost", for smtplib would ask the DNS for our own name, which can take seconds.
            return smtplib.SMTP(host, port, local_hostname="localhost", timeout=timeout)

        self._connections = Connections(connect or plain, _say_goodbye, patience=patience, random=random)
        options.setdefault("resource", self._connections.member)
        options.setdefault("broken", ())
        super().__init__(self.deliver, workers=workers, queue_size=queue_size, policy=policy, **options)

    def deliver(self, job: EmailJob) -> Delivery:
        """What a worker does with one job. Raises BadMail, MailRefused, NoConnection or OutcomeUnknown."""
        message = build_message(job, self.sender)
        content, message_id = message.as_bytes(), str(message["Message-ID"])
        del message  # a thousand objects that the garbage collector would look at while we wait for the server
        worker = current_worker()
        connections: Connections[smtplib.SMTP] = worker.resource
        drops = 0
        while drops < FRESH_DROPS:
            smtp = connections.take(worker.cancelled)
            try:
                reply = _transmit(smtp, content, self.sender, job.address)
            except _Dropped as error:
                drops += connections.discard(smtp, error)
            except (BadMail, MailRefused) as error:  # that is about this mail, and not about the connection
                if _works(smtp):
                    connections.give_back(smtp)
                else:
                    connections.discard(smtp, error)
                raise
            except BaseException as error:
                connections.discard(smtp, error)
                raise
            else:
                connections.give_back(smtp)
                return Delivery(job.user_id, job.address, message_id, reply)
        raise NoConnection(f"the server has dropped {FRESH_DROPS} new connections at this mail")

    def stats(self) -> MailStats:
        """How many mails are where, all at one instant."""
        return MailStats(*super().stats())


def build_message(job: EmailJob, sender: str) -> EmailMessage:
    """The mail as it goes over the wire. Raises BadMail, which names the value and the rule; TypeError for no EmailJob.

    Line ends of the body become those of SMTP, lone carriage returns included: some servers take one for the end of
    a line, so a dot after it could end this mail and begin another (SMTP smuggling).
    """
    if not isinstance(job, EmailJob):
        raise TypeError(f"an EmailJob is wanted, not {job!r}")
    address = checked_address("address", job.address)
    local, _, domain = address.rpartition("@")
    message = EmailMessage(policy.SMTP if address.isascii() else policy.SMTPUTF8)
    message["From"] = sender
    message["To"] = Address(checked_line("name", job.name), local, domain)
    if ENCODED.search(f"{job.name} {address}"):  # one half in each
        raise BadMail(f"name and address must make no encoded word, not {job.name!r} and {address!r}")
    message["Subject"] = checked_line("subject", job.subject)
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message.set_content(checked_text("body", job.body))
    return message


def checked_address(name: str, value: Any) -> str:
    """One plain mail address, at most 254 characters (RFC 5321). Quoted local parts are refused: nobody has one."""
    if not isinstance(value, str) or len(value) > 254 or not ADDRESS.fullmatch(value) or ENCODED.search(value):
        raise BadMail(f"{name} must be one address like name@example.com, not {value!r}")
    return value


def checked_line(name: str, value: Any) -> str:
    """Text for a header. A line end in it would begin a header of the sender's choosing (header injection)."""
    if CONTROL.search(checked_text(name, value)):
        raise BadMail(f"{name} must be one line without control characters, not {value!r}")
    if ENCODED.search(value):  # `email` would decode it, line ends and all, and write them into the header
        raise BadMail(f"{name} must be plain text without an encoded word, not {value!r}")
    return str(value)


def checked_text(name: str, value: Any) -> str:
    """Text that can be encoded. A NUL may not be in a mail (RFC 5321)."""
    if not isinstance(value, str) or "\0" in value or SURROGATE.search(value):
        raise BadMail(f"{name} must be text without NUL and lone surrogates, not {value!r}")
    return value


class _Dropped(Exception):
    """The connection was lost before the mail was handed over: it can be sent over another one."""


def _transmit(smtp: smtplib.SMTP, content: bytes, sender: str, address: str) -> str:
    """Send over one connection; the server's answer. Raises _Dropped, BadMail, MailRefused, OutcomeUnknown."""
    utf8 = not address.isascii()
    try:
        smtp.ehlo_or_helo_if_needed()
        if utf8 and not smtp.has_extn("smtputf8"):
            raise BadMail(f"address must be ASCII, for this server has no SMTPUTF8; it is {address!r}")
        _demand(*smtp.mail(sender, ["SMTPUTF8", "BODY=8BITMIME"] if utf8 else []))
        _demand(*smtp.rcpt(address))
    except OSError as error:
        raise _Dropped(str(error)) from error
    try:
        code, reply = smtp.data(content)
    except smtplib.SMTPDataError as error:  # an answer, and to DATA itself: no content has been sent
        _demand(error.smtp_code, error.smtp_error)
        raise MailRefused(error.smtp_code, _words(error.smtp_error)) from error
    except OSError as error:
        raise OutcomeUnknown(f"connection lost after DATA, before the answer: {error}") from error
    if 200 <= code < 300:
        return f"{code} {_words(reply)}"
    if 400 <= code < 600:
        raise MailRefused(code, _words(reply))
    raise OutcomeUnknown(f"the answer to DATA is no SMTP: {code} {_words(reply)}")


def _demand(code: int, reply: bytes | str) -> None:
    """Go on only after a 2xx. 421 and what is no SMTP mean that the connection ends; all else is about this mail."""
    if code == SERVICE_CLOSES or not 200 <= code < 600:
        raise _Dropped(f"{code} {_words(reply)}")
    if code >= 300:
        raise MailRefused(code, _words(reply))


def _words(reply: bytes | str) -> str:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply


def _works(smtp: smtplib.SMTP) -> bool:
    """True if the connection can be used for the next mail, after one that came to nothing."""
    try:
        return smtp.sock is not None and smtp.rset()[0] == 250
    except OSError:
        return False


def _say_goodbye(smtp: smtplib.SMTP) -> None:
    if smtp.sock is not None:
        smtp.sock.settimeout(FAREWELL)
    with suppress(OSError):  # whether it hears us or not: no mail depends on it any more
        smtp.quit()
    smtp.close()
