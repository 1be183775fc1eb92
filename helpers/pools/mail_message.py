"""Build the bytes of one mail, for servers with and without 8-bit lines, and verify them.

A server says which extensions it offers only after it is connected (see `smtp_delivery`). So a mail has up to two forms
with the same content:
- The portable form has ASCII headers, with RFC 2047 encoded words where needed, and a 7-bit body. An ASCII body is sent
  unchanged. Any other body is encoded as quoted-printable or base64, whichever is shorter.
- The 8-bit form has the same headers and an unchanged UTF-8 body. It needs 8BITMIME (RFC 6152).
Only an address that is not ASCII puts UTF-8 into the headers. Such a mail needs SMTPUTF8 (RFC 6531).

Always true: the bytes were parsed again and compared with the fields (see `mail_readback`), and no line is longer than
998 bytes (RFC 5322). Without this check, a bug in a library could send a mail to other recipients.

This module folds the headers itself and does not let `email.policy` fold them: in Python 3.11.7, `email.policy` drops
the quotes from a long display name that contains a comma, and the mail then names other recipients.
"""

import base64
import binascii
import re
from email.header import Header
from email.message import EmailMessage
from email.parser import Parser

from .mail_fields import CheckedMail, EmailJob
from .mail_readback import CONTENT_TYPE, MAX_LINE, POLICY, verify

FOLD = 78  # characters in a header line (RFC 5322 section 2.1.1), without the line end
MAX_PLAIN = 60  # characters: a longer name or subject is written as encoded words, which can be folded

LINE_END = re.compile(r"\r\n|\r|\n")
ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+( [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
PLAIN = re.compile(r"([!-~]([ -~]*[!-~])?)?")


class OutgoingMail:
    """One checked mail, ready for any server. Its attribute `fields` is the `CheckedMail`.

    Raises BadMail, which names the value and the rule, and TypeError if `job` is not an EmailJob.
    """

    def __init__(self, job: EmailJob, sender: str) -> None:
        self.fields = CheckedMail.of(job, sender)
        # An ASCII body has the same form for all servers. Build that form now, before the mail occupies a connection.
        self._only_form = encode(self.fields) if self.fields.body.isascii() else None

    def content(self, *, eight_bit: bool) -> bytes:
        """Return the verified bytes, in the 8-bit form or in the portable form. Raises BadMail, as `encode` does."""
        return encode(self.fields, eight_bit=eight_bit) if self._only_form is None else self._only_form


def build_message(job: EmailJob, sender: str) -> EmailMessage:
    """Return the mail in its portable form as a message object, whose `as_bytes()` returns the bytes that are sent.

    Raises BadMail, which names the value and the rule, and TypeError if `job` is not an EmailJob.
    """
    message = Parser(policy=POLICY).parsestr(encode(CheckedMail.of(job, sender)).decode())
    assert isinstance(message, EmailMessage)
    return message


def encode(fields: CheckedMail, *, eight_bit: bool = False) -> bytes:
    """Return the verified bytes of the mail, in the 8-bit form if `eight_bit` is true, else in the portable form.

    Raises BadMail if the bytes, parsed again, are not the mail that `fields` describe.
    """
    encoding, body = _encode_body(fields.body, eight_bit)
    head = [
        f"From: {fields.sender}",
        _to_header(fields.name, fields.address),
        _subject_header(fields.subject),
        f"Date: {fields.date}",
        f"Message-ID: {fields.message_id}",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Transfer-Encoding: {encoding}",
        "MIME-Version: 1.0",
    ]
    content = "\r\n".join(head).encode() + b"\r\n\r\n" + body
    verify(content, fields)
    return content


def _to_header(name: str, address: str) -> str:
    if not name:
        return f"To: {address}"
    if len(name) > MAX_PLAIN or not ATOMS.fullmatch(name):
        # Use encoded words and not a quoted string, because they contain no comma, quote, or address that a server
        # could misread.
        return f"To: {_encoded_words('To', name)}\r\n <{address}>"
    line = f"To: {name} <{address}>"
    return line if len(line) <= FOLD else f"To: {name}\r\n <{address}>"


def _subject_header(subject: str) -> str:
    plain = len(subject) <= MAX_PLAIN and PLAIN.fullmatch(subject)
    return f"Subject: {subject if plain else _encoded_words('Subject', subject)}"


def _encoded_words(header: str, text: str) -> str:
    """Return the text as encoded words in UTF-8, folded into lines of at most 78 characters (RFC 2047)."""
    return Header(text, "utf-8", header_name=header).encode(linesep="\r\n")


def _encode_body(text: str, eight_bit: bool) -> tuple[str, bytes]:
    """Return the Content-Transfer-Encoding and the encoded body.

    All line ends become CRLF, even a single carriage return. Some servers read a single carriage return as a line end,
    so a dot after it could end this mail and begin another one (SMTP smuggling).
    """
    lines = LINE_END.sub("\r\n", text)
    raw = (lines if lines.endswith("\r\n") else f"{lines}\r\n").encode()
    if max(map(len, raw.split(b"\r\n"))) <= MAX_LINE and (eight_bit or raw.isascii()):
        return ("7bit" if raw.isascii() else "8bit"), raw
    quoted = binascii.b2a_qp(raw, istext=True)
    packed = base64.encodebytes(raw).replace(b"\n", b"\r\n")
    return ("quoted-printable", quoted) if len(quoted) <= len(packed) else ("base64", packed)
