"""Send one mail over one open SMTP connection, and say exactly what became of the mail.

Nothing about the server is assumed. Its reply to EHLO names its extensions, and this module uses only those:
- 8BITMIME (RFC 6152): a body that is not ASCII is sent as it is, with BODY=8BITMIME; without 8BITMIME in 7 bits.
- SMTPUTF8 (RFC 6531): needed for an address that is not ASCII; without it that mail is a `BadMail`.
- SIZE (RFC 1870): the size of the mail is declared; a mail over the server's limit is a `BadMail` and is not sent.
A server that refuses EHLO is greeted with HELO and offers nothing.

The outcome of `send_over` is one of four. It never calls a mail sent that the server has not accepted, and never calls
a mail failed that the server may have accepted:
- it returns: the server has accepted the mail with a 2xx reply to the content;
- `MailRefused` or `BadMail`: the server does not have the mail;
- `ConnectionDropped`: the connection is useless, and the content was not sent: use another connection;
- `OutcomeUnknown`: the content was on its way when the connection failed, or the reply to it is not an SMTP reply.
"""

import re
import smtplib

from .mail_fields import BadMail, CheckedMail
from .mail_message import OutgoingMail
from .result import OutcomeUnknown
from .words import describe, describe_error

QUIT_TIMEOUT = 1.0  # seconds that a server has to answer QUIT
SERVICE_CLOSES = 421  # the server closes the connection after this reply (RFC 5321 section 3.8)
LIMIT = 500  # characters of a server's reply that are kept

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class MailRefused(Exception):
    """The server has refused a mail. `code` is 4xx (temporarily) or 5xx (permanently, so `permanent` is true)."""

    def __init__(self, code: int, reply: str) -> None:
        super().__init__(code, reply)
        self.code = code
        self.permanent = code >= 500

    def __str__(self) -> str:
        return f"{self.args[0]} {self.args[1]}"


class ConnectionDropped(Exception):
    """The connection cannot be used any more, and the content of the mail was not sent over it."""


def send_over(smtp: smtplib.SMTP, mail: OutgoingMail) -> str:
    """Send the mail and return the server's reply. Raises BadMail, MailRefused, ConnectionDropped, OutcomeUnknown."""
    try:
        smtp.ehlo_or_helo_if_needed()
        _demand_utf8(smtp, mail.fields)
        content = mail.content(eight_bit=smtp.has_extn("8bitmime"))
        options = _options(smtp, content, mail.fields)
        _demand_accepted(*smtp.mail(mail.fields.sender, options))
        _demand_accepted(*smtp.rcpt(mail.fields.address))
    except OSError as error:  # smtplib's own errors are OSErrors
        raise ConnectionDropped(describe_error(error)) from error
    return _send_content(smtp, content)


def is_usable(smtp: smtplib.SMTP) -> bool:
    """Return True if the connection can be used for the next mail after a mail that was refused."""
    try:
        return smtp.sock is not None and smtp.rset()[0] == 250
    except Exception:  # `smtp` may be of a class of the caller
        return False


def say_goodbye(smtp: smtplib.SMTP) -> None:
    """Close the connection, with QUIT if the server answers within a second. Raises nothing: no mail depends on it."""
    for step in (lambda: _shorten_timeout(smtp), smtp.quit, smtp.close):
        try:
            step()
        except Exception:  # `smtp` may be of a class of the caller
            continue


def _shorten_timeout(smtp: smtplib.SMTP) -> None:
    if smtp.sock is not None:
        smtp.sock.settimeout(QUIT_TIMEOUT)


def _demand_utf8(smtp: smtplib.SMTP, fields: CheckedMail) -> None:
    if fields.needs_utf8 and not (smtp.has_extn("smtputf8") and smtp.has_extn("8bitmime")):
        name, value = ("sender", fields.sender) if fields.address.isascii() else ("address", fields.address)
        offer = "SMTPUTF8" if not smtp.has_extn("smtputf8") else "8BITMIME, which SMTPUTF8 requires"
        raise BadMail(f"{name} must be ASCII, because this server does not offer {offer}; it is {describe(value)}")


def _options(smtp: smtplib.SMTP, content: bytes, fields: CheckedMail) -> list[str]:
    """Return the parameters of MAIL FROM. Raises BadMail if the mail is larger than the server allows."""
    options = ["SMTPUTF8"] if fields.needs_utf8 else []
    if not content.isascii():
        options.append("BODY=8BITMIME")
    if smtp.has_extn("size"):
        limit = smtp.esmtp_features.get("size", "")
        # No number and 0 both mean that the server names no limit.
        if re.fullmatch("[0-9]{1,18}", limit) and 0 < int(limit) < len(content):
            rule = f"the mail must have at most {int(limit)} bytes, which is the limit of this server (SIZE)"
            raise BadMail(f"{rule}, not {len(content)}; its body is {describe(fields.body)}")
        options.append(f"SIZE={len(content)}")
    return options


def _demand_accepted(code: int, reply: bytes | str) -> None:
    """Return after a 2xx reply to a command that is not the content."""
    if 400 <= code < 600 and code != SERVICE_CLOSES:
        raise MailRefused(code, _words(reply))
    if not 200 <= code < 300:  # 421, or a reply that SMTP does not allow here: client and server are out of step
        raise ConnectionDropped(f"{code} {_words(reply)}")


def _send_content(smtp: smtplib.SMTP, content: bytes) -> str:
    """Send DATA and the content, and return the server's reply to the content."""
    try:
        code, reply = smtp.data(content)
    except smtplib.SMTPDataError as error:  # the reply to DATA itself: the content was not sent
        _demand_accepted(error.smtp_code, error.smtp_error)
        raise ConnectionDropped(f"{error.smtp_code} in reply to DATA: {_words(error.smtp_error)}") from error
    except BaseException as error:  # whatever it is, the content may have reached the server
        raise OutcomeUnknown(f"connection lost after DATA, before the reply: {describe_error(error)}") from error
    if 200 <= code < 300:
        return f"{code} {_words(reply)}"
    if 400 <= code < 600:
        raise MailRefused(code, _words(reply))
    raise OutcomeUnknown(f"the reply to the content is not an SMTP reply: {code} {_words(reply)}")


def _words(reply: bytes | str) -> str:
    """Return a reply as one line of text. A server may send any bytes, and any number of lines."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
    return CONTROL.sub(" ", text[: 2 * LIMIT])[:LIMIT]
