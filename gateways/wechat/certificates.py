"""The channel's own certificates: asking for them, taking them out of their boxes.

Knows what makes a certificate trustworthy; must not know where keys are kept. Part of the adapter.
Source: docs/CHANNELS.md, WeChat Pay, keys.
"""

from datetime import datetime

from gateways.contract import Answer, Request, Unanswered
from gateways.keys import KeyRing, VerificationKey, canonical_serial, from_certificate
from gateways.wechat import sign, wire
from gateways.wechat.speaker import Speaker, read
from gateways.wechat.wire import Meaning


class Certificates(Speaker):
    """Fetching the platform certificates."""

    def build_certificates(self, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Ask for the platform certificates in force. Ask at intervals under 12 hours."""
        return self.request("GET", wire.CERTIFICATES_PATH, keys=keys, now=now, nonce=nonce)

    def parse_certificates(
        self, answer: Answer | Unanswered, *, keys: KeyRing, now: datetime
    ) -> tuple[VerificationKey, ...] | None:
        """Decrypt the certificates and take them only when the answer is signed by one of them or by a key known before.

        A provider that has public keys alone is told that there are none: then nothing is returned, which is not None.
        What makes a first certificate trustworthy is the box: only the channel and we have the APIv3 key.
        """
        if isinstance(answer, Unanswered) or answer.status != 200:
            return () if self.opened(answer, keys=keys, now=now).meaning is Meaning.NOT_FOUND else None
        listed = read(wire.decode_certificates, answer.body)
        if listed is None:
            return None
        found = tuple(key for row in listed.data if (key := _certificate(row, keys)) is not None)
        if not found or sign.objection(answer.headers, answer.body, keys=keys.beside(found), now=now) is not None:
            return None
        return found


def _certificate(row: wire.CertificateRow, keys: KeyRing) -> VerificationKey | None:
    box = row.encrypt_certificate
    pem = keys.decrypt(nonce=box.nonce, ciphertext=box.ciphertext, associated=box.associated_data)
    if pem is None:
        return None
    try:
        key = from_certificate(pem)
    except ValueError:
        return None
    return key if canonical_serial(key.serial) == canonical_serial(row.serial_no) else None
