"""The fields of one mail, and the rule for each field. Bad text is refused here, before a message is built from it.

The caller submits an `EmailJob`, whose fields are not checked. `CheckedMail.of(job, sender)` checks every field and
copies its text into a plain string.

Always true: the text that is sent is the text that was checked, and no text can add a header or another recipient to
the mail. A mistake here would let a user's name or subject change the mails of other users (header injection).
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, make_msgid
from smtplib import quoteaddr
from typing import Any, Self

from .words import describe

# The maximum lengths, in bytes, of a local part, an address, and a label of a domain. Sources: RFC 5321 sections
# 4.5.3.1.1 and 4.5.3.1.3, RFC 1035.
MAX_LOCAL, MAX_ADDRESS, MAX_LABEL = 64, 254, 63

LOCAL = re.compile(r"[^\s\x00-\x1f\x7f-\x9f@<>()\[\]\\,;:\"]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
ENCODED = re.compile(r"=\?[^?]*\?[bq]\?", re.I)  # the beginning of an encoded word (RFC 2047)
SURROGATE = re.compile(r"[\ud800-\udfff]")


class BadMail(ValueError):
    """A mail that cannot be sent through this server. The message names the value and the rule that it breaks.

    `permanent` is True, so the mail is not retried.
    """

    permanent = True


@dataclass(frozen=True, slots=True)
class EmailJob:
    """One mail to one user. A worker checks the fields, so a job that breaks a rule is one failed result.

    Attributes:
        user_id:  any value; it identifies the mail in the results and is not sent.
        address:  the mail address of the recipient, by the rule of `checked_address`.
        name:     the display name of the recipient, one line by the rule of `checked_line`; it may be empty.
        subject:  one line, by the rule of `checked_line`.
        body:     plain text, by the rule of `checked_text`.
    """

    user_id: int
    address: str
    name: str
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class CheckedMail:
    """The fields of one mail as checked plain strings. `date` and `message_id` are the values of these headers."""

    sender: str
    address: str
    name: str
    subject: str
    body: str
    date: str
    message_id: str

    @classmethod
    def of(cls, job: EmailJob, sender: str) -> Self:
        """Check the fields of `job` and return them.

        Raises BadMail, which names the value and the rule, and TypeError if `job` is not an EmailJob.
        """
        if not isinstance(job, EmailJob):
            raise TypeError(f"job must be an EmailJob, not {describe(job)}")
        sender, address = checked_address("sender", sender), checked_address("address", job.address)
        name, subject = checked_line("name", job.name), checked_line("subject", job.subject)
        if ENCODED.search(f"{name} {address}"):  # an encoded word may begin in the name and end in the address
            both = f"{describe(name)} and {describe(address)}"
            raise BadMail(f"name and address must not form an encoded word (RFC 2047) together, not {both}")
        body = checked_text("body", job.body)
        domain = sender.rpartition("@")[2]
        # A Message-ID in ASCII needs no SMTPUTF8, and mail programs can quote it in their replies.
        message_id = make_msgid(domain=domain if domain.isascii() else "localhost")
        return cls(sender, address, name, subject, body, format_datetime(datetime.now(UTC)), message_id)

    @property
    def needs_utf8(self) -> bool:
        """True if an address is not ASCII. Only a server with SMTPUTF8 (RFC 6531) accepts such a mail."""
        return not (self.sender.isascii() and self.address.isascii())


def checked_address(name: str, value: Any) -> str:
    """Return `value` if it is one plain mail address of at most 254 bytes (RFC 5321). Otherwise raise BadMail.

    `name` is the name of the field, for the message. A quoted local part (`"a b"@example.com`) is refused, because real
    mailboxes do not have one.
    """
    if isinstance(value, str):
        address = str.__str__(value)  # a plain string, even if `value` is of a subclass with its own methods
        local, _, domain = address.rpartition("@")
        # smtplib parses the address again for the envelope. It must find exactly this address.
        plain = _is_local(local) and _is_domain(domain) and not ENCODED.search(address)
        if plain and _fits(address, MAX_ADDRESS) and quoteaddr(address) == f"<{address}>":
            return address
    raise BadMail(f"{name} must be one address like name@example.com, not {describe(value)}")


def checked_line(name: str, value: Any) -> str:
    """Return `value` if it is text for one header. `name` is the name of the field, for the message.

    Raises BadMail for control characters, because a line end would begin another header (header injection). Raises
    BadMail for an encoded word (RFC 2047) too, because mail programs would decode it, with the line ends in it. Raises
    what `checked_text` raises.
    """
    line = checked_text(name, value)
    if CONTROL.search(line):
        raise BadMail(f"{name} must be one line without control characters, not {describe(value)}")
    if ENCODED.search(line):
        raise BadMail(f"{name} must be plain text without an encoded word (RFC 2047), not {describe(value)}")
    return line


def checked_text(name: str, value: Any) -> str:
    """Return `value` if it is text that UTF-8 can encode, without NUL (RFC 5321). Otherwise raise BadMail.

    `name` is the name of the field, for the message.
    """
    if isinstance(value, str):
        text = str.__str__(value)
        if "\0" not in text and not SURROGATE.search(text):
            return text
    raise BadMail(f"{name} must be text without NUL and lone surrogates, not {describe(value)}")


def _is_local(local: str) -> bool:
    return LOCAL.fullmatch(local) is not None and _fits(local, MAX_LOCAL)


def _is_domain(domain: str) -> bool:
    """Return True if every label has only letters, digits, and hyphens, and no hyphen at its beginning or end.

    Combining marks count as letters, because the letters of Indic and Thai labels need them.
    """
    return all(map(_is_label, domain.split(".")))


def _is_label(label: str) -> bool:
    return _fits(label, MAX_LABEL) and not (label.startswith("-") or label.endswith("-")) and all(map(_in_label, label))


def _in_label(char: str) -> bool:
    return char == "-" or unicodedata.category(char)[0] in "LMN"


def _fits(text: str, most: int) -> bool:
    """Return True if the text has from 1 to `most` bytes in UTF-8."""
    return not SURROGATE.search(text) and 0 < len(text.encode()) <= most
