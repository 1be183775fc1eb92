"""A real mail server with limits and faults, whose mailbox is an exact record of the mails that arrived.

`MailServer` runs aiosmtpd on 127.0.0.1, in a child process, so that the server does not share the GIL with the clients
that flood it. The fate of a mail is drawn from the recipient's address. So the same mails fail at the same attempts on
every run and every machine, in any order and over any number of connections.
"""

import asyncio
import json
import logging
import os
import re
import socket
import warnings
from collections import Counter
from email.header import decode_header, make_header
from pathlib import Path
from random import Random
from typing import IO, Any, NamedTuple

from helpers.services.child import Parent, ServiceError
from helpers.services.sandbox import check_number, check_whole, raise_open_files
from helpers.services.server import Server
from helpers.services.words import describe

with warnings.catch_warnings():  # aiosmtpd uses a name of `typing` that Python 3.15 warns about
    warnings.simplefilter("ignore", DeprecationWarning)
    from aiosmtpd.smtp import SMTP, Envelope, Session

HOST = "127.0.0.1"
PATIENCE = 30.0  # seconds that the child gets to answer a question of the parent
BACKLOG = 1024  # connections that may wait to be accepted; the kernel may allow fewer
LATENCY = (0.020, 0.099)
TOO_MANY = b"421 4.7.0 too many connections, try again later\r\n"
ENOUGH = "421 4.7.0 enough mails on this connection, open another"
OUTCOMES = ("accepted", "transient", "permanent", "lost")


class Mail(NamedTuple):
    """A mail in the mailbox. `size` is in bytes, as received from the network."""

    recipient: str
    subject: str
    size: int
    message_id: str


def latency_of(recipient: str, latency: tuple[float, float] = LATENCY, seed: int = 1) -> float:
    """Return the seconds until a mail to `recipient` is answered: whole milliseconds, uniformly distributed.

    Raises TypeError or ValueError for a bad range.
    """
    _check_latency(latency)
    low, high = (round(seconds * 1000) for seconds in latency)
    return (low + int(_draw(seed, "latency", recipient) * (high - low + 1))) / 1000


def fate_of(
    recipient: str, attempt: int, *, transient: float = 0, permanent: float = 0, lost: float = 0, seed: int = 1
) -> str:
    """Return the fate of attempt number `attempt` to send a mail to `recipient`: one of `OUTCOMES`.

    Whether a mail is refused permanently depends on the recipient alone. The other outcomes also depend on the attempt.
    Raises TypeError or ValueError for bad shares.
    """
    _check_shares({"transient": transient, "permanent": permanent, "lost": lost})
    if permanent and _draw(seed, "permanent", recipient) < permanent:
        return "permanent"
    chance = _draw(seed, "fate", recipient, attempt) if transient or lost else 1.0
    if chance < transient:
        return "transient"
    return "lost" if chance < transient + lost else "accepted"


def _is_dropped(recipient: str, attempt: int, share: float, seed: int) -> bool:
    """Return whether the server drops the connection at this attempt, before the content of the mail."""
    return share > 0 and _draw(seed, "dropped", recipient, attempt) < share


def _arrives(recipient: str, attempt: int, seed: int) -> bool:
    """Return whether a mail whose answer is lost has arrived. Half of these mails have."""
    return _draw(seed, "arrives", recipient, attempt) < 0.5


def _draw(seed: int, *what: object) -> float:
    return Random(" ".join(map(str, (seed, *what)))).random()  # from a string: the same on every Python


class MailServer(Server):
    """An SMTP server that runs from the beginning to the end of its `with` block.

        with MailServer(max_connections=20, transient=0.05) as server:
            smtplib.SMTP(server.host, server.port, local_hostname="localhost")
            server.mailbox()            # every mail that has arrived

    A mail is answered after `latency_of` seconds, as its `fate_of` says: with 250 (sent), with 451 to its content
    (transient), or with 554 to its address (permanent). If its answer is lost, the connection is cut, and half of these
    mails have arrived. `dropped` is independent of these fates: the server cuts the connection instead of replying to
    the address, so the content is never sent.

    Args:
        latency:               (least, most) seconds until a mail is answered.
        transient, permanent, lost:  shares of the mails, from 0 to 1.
        dropped:               the share of the RCPT commands, from 0 to 1, after which the server cuts the connection.
        max_connections:       further connections are answered 421 and closed; None: no limit.
        mails_per_connection:  after this number of mails, the server ends a connection with 421, as many servers do;
                               None: no limit.
        smtputf8:              whether the server accepts addresses that are not ASCII.
        seed:                  the seed of all random choices.
        port:                  the port to listen on; None: any free port.
        journal:               a file to which every mail is written before it is answered, so that the mailbox survives
                               a killed server. The next server with this journal has these mails. None: the mailbox is
                               in memory only.

    The server stops at the end of the `with` block, also if the block raises. It also stops when this process ends,
    however that happens.

    Raises TypeError or ValueError for bad arguments, ServiceError if the server does not start.
    """

    _module = "helpers.services.smtp"

    def __init__(
        self,
        *,
        latency: tuple[float, float] = LATENCY,
        transient: float = 0.0,
        permanent: float = 0.0,
        lost: float = 0.0,
        dropped: float = 0.0,
        max_connections: int | None = None,
        mails_per_connection: int | None = None,
        smtputf8: bool = True,
        seed: int = 1,
        port: int | None = None,
        journal: Path | str | None = None,
    ) -> None:
        shares = {"transient": transient, "permanent": permanent, "lost": lost}
        _check_latency(latency)
        _check_shares(shares)
        check_number("dropped", dropped, least=0)
        if dropped > 1:
            raise ValueError(f"dropped must be a share from 0 to 1, not {describe(dropped)}")
        limits = {"max_connections": max_connections, "mails_per_connection": mails_per_connection}
        for name, limit in (limits | {"port": port}).items():
            if limit is not None:
                check_whole(name, limit)
        if type(smtputf8) is not bool:
            raise TypeError(f"smtputf8 must be True or False, not {describe(smtputf8)}")
        if type(seed) is bool or not issubclass(type(seed), int):
            raise TypeError(f"seed must be a whole number, not {describe(seed)}")
        path = None if journal is None else os.fspath(journal)
        settings = (latency, shares, dropped, max_connections, mails_per_connection, smtputf8, seed, port or 0, path)
        self._request = settings

    @property
    def host(self) -> str:
        """The address of the server: 127.0.0.1. Raises ServiceError outside the `with` block."""
        self._first_report()
        return HOST

    @property
    def port(self) -> int:
        """The port of the server. Raises ServiceError outside the `with` block."""
        port: int = self._first_report()[0]
        return port

    def mailbox(self) -> list[Mail]:
        """Return the mails that have arrived, in the order of their arrival."""
        rows = self._ask("mailbox")
        return [Mail(to, str(make_header(decode_header(subject))), size, name) for to, subject, size, name in rows]

    def counts(self) -> dict[str, int]:
        """Return counts: connections (open now), peak (the maximum), refused (421 at once), dropped, and `OUTCOMES`."""
        counts: dict[str, int] = self._ask("counts")
        return counts

    def die(self) -> None:
        """Simulate a crash of the server's machine: cut every connection and stop listening. The mailbox is kept."""
        self._ask("die")

    def come_back(self) -> None:
        """Listen again on the same port, after `die`."""
        self._ask("come_back")

    def _ask(self, question: str) -> Any:
        port = self._first_report()[1]
        try:
            with socket.create_connection((HOST, port), PATIENCE) as line, line.makefile("rb") as answer:
                line.sendall(question.encode() + b"\n")
                return json.loads(answer.read())
        except (OSError, ValueError) as error:
            raise ServiceError(f"the mail server does not answer; has its process been killed? {error}") from error


class _Settings(NamedTuple):
    """The settings that the parent sends to the child, as a tuple, because this module is __main__ in the child."""

    latency: tuple[float, float]
    shares: dict[str, float]
    dropped: float
    max_connections: int | None
    mails_per_connection: int | None
    smtputf8: bool
    seed: int
    port: int
    journal: str | None


def _check_latency(latency: Any) -> None:
    rule = f"latency must be two numbers of seconds, the least and the most, not {describe(latency)}"
    if not issubclass(type(latency), tuple | list) or len(latency) != 2:
        raise TypeError(rule)
    for seconds in latency:
        check_number("latency", seconds, least=0)
    if latency[0] > latency[1]:
        raise ValueError(rule)


def _check_shares(shares: dict[str, float]) -> None:
    for name, share in shares.items():
        check_number(name, share, least=0)
    if sum(shares.values()) > 1:
        rule = "transient, permanent and lost must be shares that add up to 1 at most"
        found = ", ".join(f"{name!r}: {describe(share)}" for name, share in shares.items())
        raise ValueError(f"{rule}, not {{{found}}}")


# The following code runs in the child process.

SUBJECT = re.compile(rb"^subject:[ \t]*([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.I | re.M)
MESSAGE_ID = re.compile(rb"^message-id:\s*(\S*)", re.I | re.M)


class _Office:
    """The state of the server. Only its event loop uses it, so it needs no lock."""

    def __init__(self, settings: _Settings) -> None:
        self.settings = settings
        self.sessions: set[_Session] = set()
        self.counts: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.addressed: Counter[str] = Counter()  # the RCPT commands per recipient
        self.mails: list[tuple[str, str, int, str]] = []
        self.journal: IO[bytes] | None = None
        if settings.journal is not None:
            # Without a buffer, written data is in the kernel and survives a killed process.
            self.journal = open(settings.journal, "a+b", buffering=0)  # noqa: SIM115 - open until the process ends
            self.journal.seek(0)
            self.mails = [tuple(json.loads(line)) for line in self.journal]
        self.server: asyncio.Server | None = None
        self.port = settings.port

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: _Session(self, loop), HOST, self.port, backlog=BACKLOG)
        self.port = self.server.sockets[0].getsockname()[1]

    def die(self) -> None:
        if self.server is not None:
            self.server.close()
        for session in list(self.sessions):
            session.cut()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one question, which is one line, in JSON."""
        answer: Any = None
        match (await reader.readline()).strip():
            case b"mailbox":
                answer = self.mails
            case b"counts":
                names = ("peak", "refused", "dropped", *OUTCOMES)
                answer = {"connections": len(self.sessions)} | {name: self.counts[name] for name in names}
            case b"die":
                self.die()
            case b"come_back":
                await self.listen()
        writer.write(json.dumps(answer).encode())
        writer.close()

    async def handle_MAIL(
        self, server: "_Session", session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if server.mails == self.settings.mails_per_connection:
            asyncio.get_running_loop().call_soon(server.hang_up)  # runs after the answer has been written
            return ENOUGH
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: "_Session", session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.addressed[address] += 1
        if _is_dropped(address, self.addressed[address], self.settings.dropped, self.settings.seed):
            self.counts["dropped"] += 1
            await server.cut_for_good()
        if self.fate(address, 1) == "permanent":
            await self.take_time(address)
            self.counts["permanent"] += 1
            return f"554 5.7.1 <{address}>: this address takes no mail"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: "_Session", session: Session, envelope: Envelope) -> str:
        recipient = envelope.rcpt_tos[0]
        self.attempts[recipient] += 1
        attempt, seed = self.attempts[recipient], self.settings.seed
        fate = self.fate(recipient, attempt)
        if fate == "lost":
            if _arrives(recipient, attempt, seed):
                self.keep(recipient, envelope)
            self.counts[fate] += 1
            await server.cut_for_good()
        await self.take_time(recipient)
        self.counts[fate] += 1
        if fate == "transient":
            return "451 4.3.0 try again later"
        self.keep(recipient, envelope)
        server.mails += 1
        return "250 2.0.0 OK: queued"

    async def take_time(self, recipient: str) -> None:
        if any(self.settings.latency):
            await asyncio.sleep(latency_of(recipient, self.settings.latency, self.settings.seed))

    def fate(self, recipient: str, attempt: int) -> str:
        return fate_of(recipient, attempt, seed=self.settings.seed, **self.settings.shares)

    def keep(self, recipient: str, envelope: Envelope) -> None:
        content = envelope.original_content or b""
        head = content.partition(b"\r\n\r\n")[0]
        subject, name = (found[1] if (found := form.search(head)) else b"" for form in (SUBJECT, MESSAGE_ID))
        mail = (recipient, subject.decode("utf-8", "replace"), len(content), name.decode("ascii", "replace"))
        self.mails.append(mail)
        if self.journal is not None:
            self.journal.write(json.dumps(mail).encode() + b"\n")


class _Session(SMTP):
    """One connection, which is refused if the maximum is reached."""

    def __init__(self, office: _Office, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(office, hostname="localhost", enable_SMTPUTF8=office.settings.smtputf8, loop=loop)
        self.office = office
        self.mails = 0
        self.let_in = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        office = self.office
        if len(office.sessions) == office.settings.max_connections:
            office.counts["refused"] += 1
            assert isinstance(transport, asyncio.Transport)
            transport.write(TOO_MANY)
            transport.close()
            return
        self.let_in = True
        office.sessions.add(self)
        office.counts["peak"] = max(office.counts["peak"], len(office.sessions))
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self.let_in:
            self.office.sessions.discard(self)
            super().connection_lost(error)

    def eof_received(self) -> bool | None:
        return super().eof_received() if self.let_in else False

    def hang_up(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def cut(self) -> None:
        """Cut the connection without an answer."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    async def cut_for_good(self) -> None:
        """Cut the connection and end the current command."""
        self.cut()
        await asyncio.sleep(PATIENCE)  # the loss of the connection cancels it


def _serve() -> None:
    """Listen, report the ports to the parent, and serve until the parent stops this process or is gone."""
    parent = Parent(when_gone=lambda: os._exit(0))  # at once, because there is nothing to clean up
    raise_open_files()
    logging.disable()
    asyncio.run(_answer_for_ever(parent, _Settings(*parent.request)))


async def _answer_for_ever(parent: Parent, settings: _Settings) -> None:
    office = _Office(settings)
    await office.listen()
    desk = await asyncio.start_server(office.answer, HOST, 0)
    parent.send((office.port, desk.sockets[0].getsockname()[1]))
    await asyncio.Event().wait()


if __name__ == "__main__":
    _serve()
