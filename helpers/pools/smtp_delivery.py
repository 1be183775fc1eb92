"""Send one mail over one open SMTP connection, and report its outcome.

A server names its extensions in its reply to EHLO. This module uses only these:
- 8BITMIME (RFC 6152): a body that is not ASCII is sent unchanged, with BODY=8BITMIME. Without it, a 7-bit form is sent.
- SMTPUTF8 (RFC 6531): required for an address that is not ASCII. Without it, `BadMail` is raised.
- SIZE (RFC 1870): the size of the mail is declared. If it exceeds the server's limit, `BadMail` is raised.
A server that refuses EHLO is greeted with HELO, and then no extension is used.

Always true: `send_over` never reports a mail as sent if the server has not accepted it, and never reports it as failed
if the server may have accepted it. A mistake here would lose a mail without an error, or send it twice. The four
outcomes:
- It returns: the server has accepted the mail with a 2xx reply to the content.
- It raises `MailRefused` or `BadMail`: the server does not have the mail.
- It raises `ConnectionDropped`: the connection cannot be used any more, and the content was not sent. The caller can
  send the mail over another connection.
- It raises `OutcomeUnknown`: the connection failed after the content may have reached the server, or the reply to the
  content is not an SMTP reply.
"""

import re
import smtplib

from .mail_fields import BadMail, CheckedMail
from .mail_message import OutgoingMail
from .result import OutcomeUnknown
from .words import describe, describe_error

QUIT_TIMEOUT = 1.0  # seconds that a server has for its reply to QUIT
SERVICE_CLOSES = 421  # after this reply, the server closes the connection (RFC 5321 section 3.8)
MAX_REPLY_TEXT = 500  # characters of a server's reply that are kept

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class MailRefused(Exception):
    """The server has refused a mail.

    Attributes:
        code:       the code of the reply: 4xx for a temporary and 5xx for a permanent refusal.
        permanent:  True for a permanent refusal, so that the mail is not retried.
    """

    def __init__(self, code: int, reply: str) -> None:
        super().__init__(code, reply)
        self.code = code
        self.permanent = code >= 500

    def __str__(self) -> str:
        return f"{self.args[0]} {self.args[1]}"


class ConnectionDropped(Exception):
    """The connection cannot be used any more, and the content of the mail was not sent over the connection."""


def send_over(smtp: smtplib.SMTP, mail: OutgoingMail) -> str:
    """Send the mail and return the server's reply.

    Raises BadMail, MailRefused, ConnectionDropped, or OutcomeUnknown, as the docstring of this module says.
    """
    try:
        smtp.ehlo_or_helo_if_needed()
        _require_smtputf8(smtp, mail.fields)
        content = mail.content(eight_bit=smtp.has_extn("8bitmime"))
        options = _options(smtp, content, mail.fields)
        _raise_unless_accepted(*smtp.mail(mail.fields.sender, options))
        _raise_unless_accepted(*smtp.rcpt(mail.fields.address))
    except OSError as error:  # the error classes of smtplib are subclasses of OSError
        raise ConnectionDropped(describe_error(error)) from error
    return _send_content(smtp, content)


def is_usable(smtp: smtplib.SMTP) -> bool:
    """Return True if the connection can be used for another mail after a mail was refused."""
    try:
        return smtp.sock is not None and smtp.rset()[0] == 250
    except Exception:  # `smtp` may be of a class of the caller
        return False


def say_goodbye(smtp: smtplib.SMTP) -> None:
    """Close the connection. Send QUIT first, and wait at most a second for the reply.

    Raises no Exception, because no mail depends on these steps.
    """
    for step in (lambda: _shorten_timeout(smtp), smtp.quit, smtp.close):
        try:
            step()
        except Exception:  # `smtp` may be of a class of the caller
            continue


def _shorten_timeout(smtp: smtplib.SMTP) -> None:
    if smtp.sock is not None:
        smtp.sock.settimeout(QUIT_TIMEOUT)


def _require_smtputf8(smtp: smtplib.SMTP, fields: CheckedMail) -> None:
    if fields.needs_utf8 and not (smtp.has_extn("smtputf8") and smtp.has_extn("8bitmime")):
        name, value = ("sender", fields.sender) if fields.address.isascii() else ("address", fields.address)
        offer = "SMTPUTF8" if not smtp.has_extn("smtputf8") else "8BITMIME, which SMTPUTF8 requires"
        raise BadMail(f"{name} must be ASCII, because this server does not offer {offer}; it is {describe(value)}")


def _options(smtp: smtplib.SMTP, content: bytes, fields: CheckedMail) -> list[str]:
    """Return the parameters of the MAIL FROM command. Raises BadMail if the mail is larger than the server allows."""
    options = ["SMTPUTF8"] if fields.needs_utf8 else []
    if not content.isascii():
        options.append("BODY=8BITMIME")
    if smtp.has_extn("size"):
        limit = smtp.esmtp_features.get("size", "")
        # If the server sends 0 or no number, it has not named a limit.
        if re.fullmatch("[0-9]{1,18}", limit) and 0 < int(limit) < len(content):
            rule = f"the mail must have at most {int(limit)} bytes, which is the limit of this server (SIZE)"
            raise BadMail(f"{rule}, not {len(content)}; its body is {describe(fields.body)}")
        options.append(f"SIZE={len(content)}")
    return options


def _raise_unless_accepted(code: int, reply: bytes | str) -> None:
    """Return if a reply to a command before the content is 2xx. Otherwise raise MailRefused or ConnectionDropped."""
    if 400 <= code < 600 and code != SERVICE_CLOSES:
        raise MailRefused(code, _one_line(reply))
    # After 421, the server closes the connection. After a reply that SMTP does not allow here, the client cannot know
    # which command the next reply belongs to.
    if not 200 <= code < 300:
        raise ConnectionDropped(f"{code} {_one_line(reply)}")


def _send_content(smtp: smtplib.SMTP, content: bytes) -> str:
    """Send DATA and the content, and return the server's reply to the content."""
    try:
        code, reply = smtp.data(content)
    except smtplib.SMTPDataError as error:  # the server has refused DATA, so the content was not sent
        _raise_unless_accepted(error.smtp_code, error.smtp_error)
        raise ConnectionDropped(f"{error.smtp_code} in reply to DATA: {_one_line(error.smtp_error)}") from error
    except BaseException as error:  # with any other error, the content may have reached the server
        raise OutcomeUnknown(f"connection lost after DATA, before the reply: {describe_error(error)}") from error
    if 200 <= code < 300:
        return f"{code} {_one_line(reply)}"
    if 400 <= code < 600:
        raise MailRefused(code, _one_line(reply))
    raise OutcomeUnknown(f"the reply to the content is not an SMTP reply: {code} {_one_line(reply)}")


def _one_line(reply: bytes | str) -> str:
    """Return a reply, which may have any bytes and any number of lines, as one line of limited length."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
    return CONTROL.sub(" ", text[: 2 * MAX_REPLY_TEXT])[:MAX_REPLY_TEXT]
