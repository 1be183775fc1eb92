"""The batch mailer: a pool whose workers keep their SMTP connections, and which reports the fate of every mail.

    with BatchEmailSender(workers=10, host="127.0.0.1", port=2525) as sender:
        for result in sender.stream(jobs):              # takes EmailJob objects, yields Results of Deliveries
            print(result.job.user_id, result.value or result.error)
    print(sender.stats().sent)

Each mail ends in one of three ways, and `stats()` counts them: processed = sent + failed + unknown.
- sent: the server has accepted the mail (a 2xx reply). What happens to the connection afterwards changes nothing.
- failed: the server does not have the mail. The error is `BadMail` (the mail breaks a rule), `MailRefused` (the
  server's reply), or `NoConnection` (no server could be reached).
- unknown: the content was sent, and the connection was lost before the reply. The server may have the mail or not.
  The mail is not sent again, because a second copy is worse than a question. The error is `OutcomeUnknown`.

If the server drops a connection between two mails, the sender opens another connection and sends the mail over it.
That cannot send a mail twice, because the content was not sent before. If the server accepts fewer connections than
there are workers (421), the workers take turns: see `connections`. So more workers than the server accepts do not make
a batch faster. A mail over a kept connection takes about a third of the time of a mail that opens its own connection
(benchmarks/README.md).

The parts: `mail_fields` checks a job, `mail_message` builds the bytes, `mail_readback` verifies the bytes,
`smtp_delivery` sends one mail over one connection, and `smtp_replies` reads what the server answers.
"""

import random as real
import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import checks
from .connections import Connections, NoConnection
from .mail_fields import BadMail, EmailJob, checked_address, checked_line, checked_text
from .mail_message import OutgoingMail, build_message
from .policy import RetryPolicy
from .result import PoolStats
from .retrying import RetryingPool
from .smtp_delivery import ConnectionDropped, MailRefused, is_usable, say_goodbye, send_over
from .smtp_replies import StrictSMTP
from .words import describe
from .worker import current_worker

__all__ = [
    "BadMail",
    "BatchEmailSender",
    "Delivery",
    "EmailJob",
    "MailRefused",
    "MailStats",
    "NoConnection",
    "build_message",
    "checked_address",
    "checked_line",
    "checked_text",
]

FRESH_DROPS = 3  # new connections lost on the same mail before the mail fails: perhaps this mail breaks them


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the server replied when it accepted a mail."""

    user_id: int
    address: str
    message_id: str
    reply: str


class MailStats(PoolStats):
    """A pool's counts with the names of a mailer. At every instant processed = sent + failed + unknown."""

    __slots__ = ()

    @property
    def sent(self) -> int:
        """Mails that the server has accepted."""
        return self.succeeded

    @property
    def processed(self) -> int:
        """Mails with an outcome: sent, failed, or unknown."""
        return self.succeeded + self.failed + self.unknown


class BatchEmailSender(RetryingPool[EmailJob, Delivery]):
    """`workers` threads that send mails over connections that they keep, at most one connection per worker.

    Args:
        workers, queue_size:  as for `WorkerPool`.
        host, port:  the server.
        sender:      the address in the From header and in the envelope.
        timeout:     seconds that the server has for each of its replies.
        patience:    seconds without any working connection after which mails fail with `NoConnection`.
        connect:     a function that opens a connection, in place of a plain one to `host` and `port`. With it you use
                     SMTP_SSL, STARTTLS, a login, or a proxy. It raises an OSError (as smtplib does) if that fails.
        random:      returns numbers from 0 to 1 for the jitter between attempts to connect.
        policy:      which mails are retried, as for `RetryingPool`: mails that the server refused temporarily (4xx),
                     and mails without a connection. Mails that were refused permanently and mails whose outcome is
                     unknown are never retried. None: no mail is retried.
        options:     `resource` and `clock` of `WorkerPool`.

    Raises TypeError or ValueError for an argument that breaks its rule. The first mail opens the first connection.
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
        self.sender = checked_address("sender", sender)
        checks.function("random", random)
        plain = _plain_connection(host, port, timeout)
        if connect is not None:
            checks.function("connect", connect)
        patience = checks.seconds("patience", patience)
        self._connections = Connections(connect or plain, say_goodbye, patience=patience, random=random)
        options.setdefault("resource", self._connections.member)
        # The sender replaces broken connections itself; the worker's resource is its share of them, and never breaks.
        options.setdefault("broken", ())
        super().__init__(self.deliver, workers=workers, queue_size=queue_size, policy=policy, **options)

    def deliver(self, job: EmailJob) -> Delivery:
        """Send one mail; workers call this. Raises BadMail, MailRefused, NoConnection, or OutcomeUnknown."""
        mail = OutgoingMail(job, self.sender)
        worker = current_worker()
        connections: Connections[smtplib.SMTP] = worker.resource
        drops = 0
        while drops < FRESH_DROPS:
            smtp = connections.take(worker.cancelled)
            try:
                reply = _send_and_return(connections, smtp, mail)
            except ConnectionDropped as error:
                drops, problem = drops + connections.discard(smtp, error), error
            else:
                return Delivery(job.user_id, mail.fields.address, mail.fields.message_id, reply)
        raise NoConnection(f"the server dropped {FRESH_DROPS} new connections on this mail; the last: {problem}")

    def stats(self) -> MailStats:
        """Return how many mails are in each state, all counted at one instant."""
        return MailStats(*super().stats())


def _plain_connection(host: Any, port: Any, timeout: Any) -> Callable[[], smtplib.SMTP]:
    """Return the function that connects to the server without encryption. Raises TypeError or ValueError."""
    seconds = checks.seconds("timeout", timeout)
    if not isinstance(host, str) or host.split() != [host] or not host.isprintable():
        raise ValueError(f"host must be a name or an address, not {describe(host)}")
    number = checks.whole_number("port", port)
    if number > 65535:
        raise ValueError(f"port must be a whole number from 1 to 65535, not {describe(port)}")
    return lambda: StrictSMTP(host, number, timeout=seconds)


def _send_and_return(connections: Connections[smtplib.SMTP], smtp: smtplib.SMTP, mail: OutgoingMail) -> str:
    """Send one mail, then return the connection or discard it. After ConnectionDropped the caller discards it."""
    try:
        reply = send_over(smtp, mail)
    except ConnectionDropped:
        raise
    except (BadMail, MailRefused) as error:  # these are about the mail: the connection may still work
        if is_usable(smtp):
            connections.give_back(smtp)
        else:
            connections.discard(smtp, error)
        raise
    except BaseException as error:
        connections.discard(smtp, error)
        raise
    connections.give_back(smtp)
    return reply
