"""`BatchEmailSender`: a pool that sends mails over connections that it keeps, and reports the outcome of every mail.

    with BatchEmailSender(workers=10, host="127.0.0.1", port=2525) as sender:
        for result in sender.stream(jobs):              # jobs are EmailJob objects; a result's value is a Delivery
            print(result.job.user_id, result.value or result.error)
    print(sender.stats().sent)

Always true: each mail that was not cancelled has one of three outcomes, and `stats()` counts them: processed = sent +
failed + unknown.
- sent: the server has accepted the mail (a 2xx reply). A connection that breaks afterwards does not change the outcome.
- failed: the server does not have the mail. The error is `BadMail` (the mail breaks a rule), `MailRefused` (the server
  refused the mail), or `NoConnection` (no server could be reached).
- unknown: the connection was lost after the content of the mail was sent and before the server replied. The server may
  or may not have the mail. By default the mail is not sent again, because the recipient might get a second copy. The
  error is `OutcomeUnknown`.
A mistake in these rules would send a mail twice, or report a mail as sent that the server does not have.

If the server drops a connection before the content of a mail was sent, the sender opens another connection and sends
the mail over that one. This cannot send a mail twice. If the server accepts fewer connections than there are workers
(reply 421), the workers take turns: see `connections`. Additional workers then do not make a batch faster. A mail over
a kept connection takes about a third of the time of a mail that opens its own connection (benchmarks/README.md).

The parts: `mail_fields` checks a job, `mail_message` builds the bytes, `mail_readback` verifies the bytes,
`smtp_delivery` sends one mail over one connection, and `smtp_replies` reads the replies of the server.
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

# A mail fails after this many new connections were dropped while it was being sent, because the mail may be the reason.
MAX_FRESH_DROPS = 3


@dataclass(frozen=True, slots=True)
class Delivery:
    """A mail that the server has accepted: its user, address, and Message-ID header, and the reply of the server."""

    user_id: int
    address: str
    message_id: str
    reply: str


class MailStats(PoolStats):
    """The counts of `PoolStats`, with the names of a mailer. At every instant, processed = sent + failed + unknown."""

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
    """A pool of `workers` threads that send mails over connections that they keep, at most one connection per worker.

    Args:
        workers, queue_size:  as for `WorkerPool`.
        host, port:  the server; `port` is a whole number from 1 to 65535.
        sender:      the address in the From header and in the envelope.
        timeout:     the seconds that the server has for each of its replies, more than 0.
        patience:    the seconds without any working connection after which mails fail with `NoConnection`, more than 0.
        connect:     a function that opens a connection, instead of an unencrypted one to `host` and `port`. Pass one to
                     use SMTP_SSL, STARTTLS, a login, or a proxy. It raises an OSError (as smtplib does) if it fails.
        random:      a function that returns numbers from 0 to 1, for the jitter between attempts to connect.
        policy:      the rules for retries, as for `RetryingPool`; None: no mail is retried. Mails that break a rule or
                     that the server has refused permanently (5xx) are never retried. Mails whose outcome is unknown are
                     retried only if `retry_on` names `OutcomeUnknown`.
        options:     `clock`, `on_result`, and other options of `RetryingPool`.

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
        if options.get("engine") is not None:
            raise TypeError("engine must be None for this pool, because its workers share their connections")
        self.sender = checked_address("sender", sender)
        checks.function("random", random)
        plain = _plain_connection(host, port, timeout)
        if connect is not None:
            checks.function("connect", connect)
        patience = checks.seconds("patience", patience)
        self._connections = Connections(connect or plain, say_goodbye, patience=patience, random=random)
        options.setdefault("resource", self._connections.member)
        # No error breaks a worker's resource: the resource is the shared `Connections`, which replaces broken
        # connections.
        options.setdefault("broken", ())
        super().__init__(self.deliver, workers=workers, queue_size=queue_size, policy=policy, **options)

    def deliver(self, job: EmailJob) -> Delivery:
        """Send one mail and return its `Delivery`. This is the handler of the pool, so only workers can call it.

        Raises BadMail, MailRefused, NoConnection, or OutcomeUnknown for the outcomes that the module describes;
        TypeError if `job` is not an EmailJob; and JobCancelled if the pool stops while the job waits for a connection.
        """
        mail = OutgoingMail(job, self.sender)
        worker = current_worker()
        connections: Connections[smtplib.SMTP] = worker.resource
        drops = 0
        while drops < MAX_FRESH_DROPS:
            smtp = connections.take(worker.cancelled)
            try:
                reply = _send_and_return(connections, smtp, mail)
            except ConnectionDropped as error:
                drops, problem = drops + connections.discard(smtp, error), error
            else:
                return Delivery(job.user_id, mail.fields.address, mail.fields.message_id, reply)
        raise NoConnection(f"the server dropped {MAX_FRESH_DROPS} new connections on this mail; the last: {problem}")

    def stats(self) -> MailStats:
        """Return how many mails are in each state, all counted at one instant."""
        return MailStats(*super().stats())


def _plain_connection(host: Any, port: Any, timeout: Any) -> Callable[[], smtplib.SMTP]:
    """Return a function that opens an unencrypted connection. Raises TypeError or ValueError for a bad argument."""
    seconds = checks.seconds("timeout", timeout)
    if not isinstance(host, str) or host.split() != [host] or not host.isprintable():
        raise ValueError(f"host must be a name or an address, not {describe(host)}")
    number = checks.whole_number("port", port)
    if number > 65535:
        raise ValueError(f"port must be a whole number from 1 to 65535, not {describe(port)}")
    return lambda: StrictSMTP(host, number, timeout=seconds)


def _send_and_return(connections: Connections[smtplib.SMTP], smtp: smtplib.SMTP, mail: OutgoingMail) -> str:
    """Send one mail and return the reply. Give back or discard its connection, except after ConnectionDropped.

    If ConnectionDropped is raised, the caller has to discard the connection.
    """
    try:
        reply = send_over(smtp, mail)
    except ConnectionDropped:
        raise
    except (BadMail, MailRefused) as error:  # the mail is the reason, so the connection may still work
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
