"""The fields of one mail and the rule for each field. Bad text is refused here, before a message is built from it.

`EmailJob` is what the caller submits; nothing in it has been checked. `CheckedMail.of(job, sender)` checks every
field and copies the text into plain strings, so that the text that was checked is the text that is sent.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, make_msgid
from smtplib import quoteaddr
from typing import Any, Self

from .words import describe

MOST_LOCAL, MOST_ADDRESS, MOST_LABEL = 64, 254, 63  # bytes: RFC 5321 sections 4.5.3.1.1 and 4.5.3.1.3, RFC 1035

LOCAL = re.compile(r"[^\s\x00-\x1f\x7f-\x9f@<>()\[\]\\,;:\"]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
ENCODED = re.compile(r"=\?[^?]*\?[bq]\?", re.I)  # the beginning of an encoded word (RFC 2047)
SURROGATE = re.compile(r"[\ud800-\udfff]")


class BadMail(ValueError):
    """This mail cannot be sent through this server. The message names the value and the rule that it breaks."""

    permanent = True


@dataclass(frozen=True, slots=True)
class EmailJob:
    """One mail to one user. The fields are checked when a worker takes the job, so a bad job is one failed result."""

    user_id: int
    address: str
    name: str
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class CheckedMail:
    """The fields of one mail, all of them checked plain strings. `date` and `message_id` are the header values."""

    sender: str
    address: str
    name: str
    subject: str
    body: str
    date: str
    message_id: str

    @classmethod
    def of(cls, job: EmailJob, sender: str) -> Self:
        """Check the fields of `job`. Raises BadMail, which names the value and the rule; TypeError for another type."""
        if not isinstance(job, EmailJob):
            raise TypeError(f"job must be an EmailJob, not {describe(job)}")
        sender, address = checked_address("sender", sender), checked_address("address", job.address)
        name, subject = checked_line("name", job.name), checked_line("subject", job.subject)
        if ENCODED.search(f"{name} {address}"):  # half of the encoded word in each of them
            both = f"{describe(name)} and {describe(address)}"
            raise BadMail(f"name and address must not form an encoded word (RFC 2047) together, not {both}")
        body = checked_text("body", job.body)
        domain = sender.rpartition("@")[2]
        # A Message-ID in ASCII needs no SMTPUTF8, and mail programs can quote it in their replies.
        message_id = make_msgid(domain=domain if domain.isascii() else "localhost")
        return cls(sender, address, name, subject, body, format_datetime(datetime.now(UTC)), message_id)

    @property
    def needs_utf8(self) -> bool:
        """True if an address is not ASCII: only a server with SMTPUTF8 (RFC 6531) can take this mail."""
        return not (self.sender.isascii() and self.address.isascii())


def checked_address(name: str, value: Any) -> str:
    """Return one plain mail address of at most 254 bytes (RFC 5321). Raises BadMail for anything else.

    A quoted local part (`"a b"@example.com`) is refused: no mailbox of a user has one.
    """
    if isinstance(value, str):
        address = str.__str__(value)  # a plain string, also if `value` has a class with methods of its own
        local, _, domain = address.rpartition("@")
        # smtplib parses the address once more for the envelope: what it would send must be this very address.
        plain = _is_local(local) and _is_domain(domain) and not ENCODED.search(address)
        if plain and _fits(address, MOST_ADDRESS) and quoteaddr(address) == f"<{address}>":
            return address
    raise BadMail(f"{name} must be one address like name@example.com, not {describe(value)}")


def checked_line(name: str, value: Any) -> str:
    """Return text for a header. A line end in the text would begin another header (header injection).

    Raises BadMail for control characters, and for text with an encoded word (RFC 2047): mail programs would decode
    the word, including the line ends in it.
    """
    line = checked_text(name, value)
    if CONTROL.search(line):
        raise BadMail(f"{name} must be one line without control characters, not {describe(value)}")
    if ENCODED.search(line):
        raise BadMail(f"{name} must be plain text without an encoded word (RFC 2047), not {describe(value)}")
    return line


def checked_text(name: str, value: Any) -> str:
    """Return text that can be encoded as UTF-8. Raises BadMail for anything else, and for NUL (RFC 5321)."""
    if isinstance(value, str):
        text = str.__str__(value)
        if "\0" not in text and not SURROGATE.search(text):
            return text
    raise BadMail(f"{name} must be text without NUL and lone surrogates, not {describe(value)}")


def _is_local(local: str) -> bool:
    return LOCAL.fullmatch(local) is not None and _fits(local, MOST_LOCAL)


def _is_domain(domain: str) -> bool:
    """True for labels of letters, digits, and inner hyphens. Letters of Indic and Thai labels carry marks."""
    return all(
        _fits(label, MOST_LABEL)
        and not (label.startswith("-") or label.endswith("-"))
        and all(sign == "-" or unicodedata.category(sign)[0] in "LMN" for sign in label)
        for label in domain.split(".")
    )


def _fits(text: str, most: int) -> bool:
    """True for 1 to `most` bytes of UTF-8."""
    return not SURROGATE.search(text) and 0 < len(text.encode()) <= most
