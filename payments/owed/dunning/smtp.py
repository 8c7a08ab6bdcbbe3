"""Reminders by e-mail over SMTP (RFC 5321), with STARTTLS and login.

Knows the mail server and the form of a message; must not know debts. Registered by the composition root under the name ``email``.
A server that takes a message has not proven its arrival: what it says is kept as the receipt.
"""

import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from msgspec import Struct

from payments.owed.dunning.channels import Message, Receipt

_REFUSED_FOR_GOOD: Final = frozenset({550, 551, 552, 553, 554})
"""What a server says of a mailbox that will never take the message (RFC 5321, 4.2.3)."""


class MailServer(Struct, frozen=True, kw_only=True):
    """Where mail is handed over. The password stands in a file and is read for each connection, so it may be changed."""

    host: str
    port: int
    sender: str
    starttls: bool = True
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    timeout_seconds: float = 20.0


class SmtpChannel:
    """E-mail. One connection carries a whole batch."""

    name: Final = "email"
    medium: Final = "email"
    needs_contact: Final = True
    carries: Final = True

    def __init__(self, server: MailServer) -> None:
        self._server = server

    def send(self, messages: Sequence[Message]) -> list[Receipt]:
        receipts: list[Receipt] = []
        try:
            with self._connected() as line:
                for message in messages:
                    receipts.append(self._hand_over(line, message))
        except (OSError, smtplib.SMTPException, ValueError) as broken:
            said = _words(broken)
            receipts += [Receipt("retry", said)] * (len(messages) - len(receipts))
        return receipts

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        line = smtplib.SMTP(server.host, server.port, timeout=server.timeout_seconds)
        try:
            if server.starttls:
                line.starttls(context=ssl.create_default_context(cafile=server.ca_file))
            if server.user is not None and server.password_file is not None:
                line.login(server.user, server.password_file.read_text(encoding="utf-8").strip())
        except BaseException:
            line.close()
            raise
        return line

    def _hand_over(self, line: smtplib.SMTP, message: Message) -> Receipt:
        assert message.to is not None, "planning gives this channel a contact"
        wire = self._mail(message).as_bytes(policy=WIRE)
        try:
            code, said = line.mail(self._server.sender)
            if code == 250:
                code, said = line.rcpt(message.to)
            if code not in (250, 251):
                line.rset()
                return Receipt("bounced" if code in _REFUSED_FOR_GOOD else "retry", f"{code} {_plain(said)}")
            code, said = line.data(wire)
        except smtplib.SMTPDataError as refused:
            line.rset()
            return Receipt("retry", f"{refused.smtp_code} {_plain(refused.smtp_error)}")
        if code == 250:
            return Receipt("sent", f"{code} {_plain(said)}")
        return Receipt("bounced" if code in _REFUSED_FOR_GOOD else "retry", f"{code} {_plain(said)}")

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["Message-ID"] = f"<{message.number}@{self._server.sender.rpartition('@')[2]}>"
        mail["Date"] = format_datetime(message.at)
        mail["From"] = self._server.sender
        mail["To"] = message.to
        mail["Subject"] = message.subject
        mail["Auto-Submitted"] = "auto-generated"
        mail["Content-Language"] = message.language
        mail.set_content(message.body)
        return mail


def _words(broken: Exception) -> str:
    if isinstance(broken, smtplib.SMTPResponseException):
        return f"{broken.smtp_code} {_plain(broken.smtp_error)}"
    return f"{type(broken).__name__}: {broken}"[:200]


def _plain(said: bytes | str) -> str:
    words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return " ".join(words.split())[:200]
