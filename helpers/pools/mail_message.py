"""Build the bytes of one mail, for a server that takes 8-bit lines and for one that does not, and verify them.

What a server takes is negotiated (see `smtp_delivery`), so a mail has up to two forms with the same content:
- the portable form: headers in ASCII, with RFC 2047 encoded words where needed, and a body in 7 bits: as it is if it
  is ASCII, and otherwise quoted-printable or base64, whichever is shorter;
- the 8-bit form: the same headers, and the body in UTF-8 as it is. It needs 8BITMIME (RFC 6152).
Only an address that is not ASCII puts UTF-8 into the headers, and then the mail needs SMTPUTF8 (RFC 6531).

A body line of more than 998 bytes (RFC 5322) is never sent as it is. Each mail is parsed again before it is sent, see
`mail_readback`. The headers are not folded by `email.policy`: in Python 3.11.7 its folding drops the quotes from a
long display name with a comma, and the mail then names other recipients.
"""

import base64
import binascii
import re
from email.header import Header
from email.message import EmailMessage
from email.parser import Parser

from .mail_fields import CheckedMail, EmailJob
from .mail_readback import CONTENT_TYPE, MOST_LINE, POLICY, verify

FOLD = 78  # characters in a header line (RFC 5322 section 2.1.1), without the line end
MOST_PLAIN = 60  # characters of a name or subject that is written as it is, on one line with its header

LINE_END = re.compile(r"\r\n|\r|\n")
ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+( [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
PLAIN = re.compile(r"([!-~]([ -~]*[!-~])?)?")


class OutgoingMail:
    """One checked mail, for any server. `fields` are its checked fields.

    Raises BadMail, which names the value and the rule; TypeError if `job` is not an EmailJob.
    """

    def __init__(self, job: EmailJob, sender: str) -> None:
        self.fields = CheckedMail.of(job, sender)
        # An ASCII body has one form for all servers. That form is built here, before the mail occupies a connection.
        self._only_form = encode(self.fields) if self.fields.body.isascii() else None

    def content(self, *, eight_bit: bool) -> bytes:
        """Return the verified bytes for a server that takes 8-bit lines, or for one that does not. Raises BadMail."""
        return encode(self.fields, eight_bit=eight_bit) if self._only_form is None else self._only_form


def build_message(job: EmailJob, sender: str) -> EmailMessage:
    """Return the mail in its portable form, as a message object; `as_bytes()` gives the bytes that are sent.

    Raises BadMail, which names the value and the rule; TypeError if `job` is not an EmailJob.
    """
    message = Parser(policy=POLICY).parsestr(encode(CheckedMail.of(job, sender)).decode())
    assert isinstance(message, EmailMessage)
    return message


def encode(fields: CheckedMail, *, eight_bit: bool = False) -> bytes:
    """Return the verified bytes of the mail. With `eight_bit` the body may be UTF-8 as it is.

    Raises BadMail if the bytes, parsed again, are not the mail that `fields` describe.
    """
    encoding, body = _body(fields.body, eight_bit)
    head = [
        f"From: {fields.sender}",
        _to(fields.name, fields.address),
        _subject(fields.subject),
        f"Date: {fields.date}",
        f"Message-ID: {fields.message_id}",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Transfer-Encoding: {encoding}",
        "MIME-Version: 1.0",
    ]
    content = "\r\n".join(head).encode() + b"\r\n\r\n" + body
    verify(content, fields)
    return content


def _to(name: str, address: str) -> str:
    if not name:
        return f"To: {address}"
    if len(name) > MOST_PLAIN or not ATOMS.fullmatch(name):
        # Encoded words and not a quoted string: nothing in them can be taken for a comma, a quote, or an address.
        return f"To: {_words('To', name)}\r\n <{address}>"
    line = f"To: {name} <{address}>"
    return line if len(line) <= FOLD else f"To: {name}\r\n <{address}>"


def _subject(subject: str) -> str:
    plain = len(subject) <= MOST_PLAIN and PLAIN.fullmatch(subject)
    return f"Subject: {subject if plain else _words('Subject', subject)}"


def _words(header: str, text: str) -> str:
    """Return the text as encoded words in UTF-8, folded into lines of at most 78 characters (RFC 2047)."""
    return Header(text, "utf-8", header_name=header).encode(linesep="\r\n")


def _body(text: str, eight_bit: bool) -> tuple[str, bytes]:
    """Return the Content-Transfer-Encoding and the encoded body.

    All line ends become CRLF, also a single carriage return: some servers take one for a line end, so a dot after it
    could end this mail and begin another (SMTP smuggling).
    """
    lines = LINE_END.sub("\r\n", text)
    raw = (lines if lines.endswith("\r\n") else f"{lines}\r\n").encode()
    if max(map(len, raw.split(b"\r\n"))) <= MOST_LINE and (eight_bit or raw.isascii()):
        return ("7bit" if raw.isascii() else "8bit"), raw
    quoted = binascii.b2a_qp(raw, istext=True)
    packed = base64.encodebytes(raw).replace(b"\n", b"\r\n")
    return ("quoted-printable", quoted) if len(quoted) <= len(packed) else ("base64", packed)
