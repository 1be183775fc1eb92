"""Parse the finished bytes of a mail again, and refuse the mail if they differ from the fields that were submitted.

The libraries that encode and fold headers have had bugs that added a recipient or a header to a mail. Therefore
`verify` does not trust them. It parses the bytes as a receiver would, and compares every field with its source.

Always true: a mail that passes `verify` has exactly the headers in HEADERS, one sender, one recipient, and the subject
and the body that were submitted. This is the last check before the mail is sent, so no later step finds a mistake.
"""

import re
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from .mail_fields import BadMail, CheckedMail
from .words import describe, describe_error

MAX_LINE = 998  # bytes in a line, without its CRLF (RFC 5322 section 2.1.1)
HEADERS = ["From", "To", "Subject", "Date", "Message-ID"]
HEADERS += ["Content-Type", "Content-Transfer-Encoding", "MIME-Version"]
POLICY = policy.SMTPUTF8.clone(refold_source="none")  # "none": `as_bytes()` writes each header as it was parsed

CONTENT_TYPE = 'text/plain; charset="utf-8"'

LINE_END = re.compile(r"\r\n|\r|\n")
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def verify(content: bytes, fields: CheckedMail) -> None:
    """Raise BadMail if `content`, parsed again, is not the mail that `fields` describe.

    Raises BadMail too if a line of `content` does not end with CRLF or is longer than 998 bytes.
    """
    lines = content.split(b"\r\n")
    if BARE.search(content) or lines[-1] or max(map(len, lines)) > MAX_LINE:
        raise BadMail(f"a mail must have lines of at most {MAX_LINE} bytes that end with CRLF, not {describe(content)}")
    found = _parse(content)
    for name, value in _expected(fields).items():
        if found[name] != value:
            raise BadMail(
                f"{name} must be the same when the finished mail is parsed again: "
                f"{describe(value)} becomes {describe(found[name])}"
            )


def _expected(fields: CheckedMail) -> dict[str, Any]:
    return {
        "headers": HEADERS,
        "sender": [("", fields.sender)],
        "address": [(_without_space(fields.name), fields.address)],
        "subject": fields.subject,
        "date": fields.date,
        "message_id": fields.message_id,
        "content_type": CONTENT_TYPE,
        "body": LINE_END.sub("\n", fields.body).removesuffix("\n"),
        "defects": [],
    }


def _parse(content: bytes) -> dict[str, Any]:
    """Parse the mail and return its fields. Raises BadMail if the parser raises anything."""
    try:
        message = BytesParser(policy=POLICY).parsebytes(content)
        assert isinstance(message, EmailMessage)
        return _fields(message)
    except Exception as error:
        why = describe_error(error)
        raise BadMail(f"a mail must be readable, but parsing {describe(content)} gives {why}") from error


def _fields(message: EmailMessage) -> dict[str, Any]:
    return {
        "headers": message.keys(),
        "sender": [_mailbox(address) for address in message["From"].addresses],
        "address": [_mailbox(address) for address in message["To"].addresses],
        "subject": str(message["Subject"]),
        "date": str(message["Date"]),
        "message_id": str(message["Message-ID"]),
        "content_type": str(message["Content-Type"]),
        # `_body` replaces `message.get_content()`, which parses the Content-Type header six times.
        "body": LINE_END.sub("\n", _body(message)).removesuffix("\n"),
        "defects": message.defects,
    }


def _body(message: EmailMessage) -> str:
    body = message.get_payload(decode=True)
    return body.decode() if isinstance(body, bytes) else ""


def _mailbox(address: Address) -> tuple[str, str]:
    return _without_space(_decoded(address.display_name)), _decoded(address.addr_spec)


def _without_space(text: str) -> str:
    """Return a name without white space.

    The parser changes white space between and inside encoded words. This change is harmless, so the comparison ignores
    white space in names.
    """
    return "".join(text.split())


def _decoded(text: str) -> str:
    """Replace surrogate escapes, which the parser uses for UTF-8 in a header, by the characters that they stand for."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
