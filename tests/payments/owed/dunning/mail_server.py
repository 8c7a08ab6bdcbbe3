"""A mail server on this machine that speaks real SMTP, with STARTTLS and login, and can be told to refuse."""

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class MailServer(socketserver.ThreadingTCPServer):
    """Keeps what it takes. ``refusing`` maps a mailbox to the answer to RCPT; ``data_answer`` is the answer after the text."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext, login: tuple[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.tls, self.login = tls, login
        self.taken: list[EmailMessage] = []
        self.refusing: dict[str, str] = {}
        self.data_answer = "250 2.0.0 Ok: queued as 4F2"
        self.connections = 0

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        cast(MailServer, self.server).connections += 1
        self._secure = self._known = False
        with suppress(OSError):  # whoever does not trust this server hangs up
            self._talk()
        if self._secure:
            self.rfile.close()
            with suppress(OSError):
                self.wfile.close()
            self.connection.close()

    def _talk(self) -> None:
        self._say("220 mail.test ESMTP")
        while line := self.rfile.readline():
            words = line.decode().strip()
            verb = words.split(" ")[0].upper()
            if verb == "QUIT":
                self._say("221 bye")
                return
            getattr(self, f"_{verb.lower()}", self._unknown)(words)

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())
        self.wfile.flush()

    def _unknown(self, words: str) -> None:
        self._say(f"502 {words} is not known")

    def _ehlo(self, _words: str) -> None:
        self._say("250-mail.test", "250 AUTH PLAIN" if self._secure else "250 STARTTLS")

    def _starttls(self, _words: str) -> None:
        self._say("220 go on")
        wrapped = cast(MailServer, self.server).tls.wrap_socket(self.connection, server_side=True)
        self.connection, self._secure = wrapped, True
        self.rfile, self.wfile = wrapped.makefile("rb"), wrapped.makefile("wb")

    def _auth(self, words: str) -> None:
        _, user, password = base64.b64decode(words.split(" ")[2]).decode().split("\0")
        self._known = self._secure and (user, password) == cast(MailServer, self.server).login
        self._say("235 welcome" if self._known else "535 5.7.8 wrong password")

    def _mail(self, _words: str) -> None:
        self._say("250 ok" if self._known else "530 5.7.0 log in first")

    def _rcpt(self, words: str) -> None:
        mailbox = words.partition("<")[2].rstrip(">")
        self._say(cast(MailServer, self.server).refusing.get(mailbox, "250 ok"))

    def _rset(self, _words: str) -> None:
        self._say("250 ok")

    def _data(self, _words: str) -> None:
        server = cast(MailServer, self.server)
        self._say("354 go on")
        text = b""
        while (line := self.rfile.readline()) != b".\r\n":
            text += line.removeprefix(b".") if line.startswith(b"..") else line
        if server.data_answer.startswith("250"):
            server.taken.append(message_from_bytes(text, policy=default))
        self._say(server.data_answer)


@contextmanager
def mail_server(directory: Path, *, login: tuple[str, str]) -> Iterator[tuple[MailServer, Path]]:
    """A running server, and the certificate that it is to be trusted by."""
    certificate = _certificate(directory)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with MailServer(tls, login) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server, certificate
        finally:
            server.shutdown()
            thread.join()


def _certificate(directory: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / "mail.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    )  # fmt: skip
    return path
