"""UnionPay's keys: what we sign with for each merchant account, and whose certificates we believe.

Knows key files and certificates; must not know messages. Built by the composition root, read by the adapter. The files, below the
channel's key directory:

    platform/key.pem, platform/certificate.pem              signs for merchant accounts without keys of their own
    merchants/{key_ref}/key.pem, …/certificate.pem          an operator's own; ``key_ref`` as in its merchant account
    verify/root*.pem, verify/middle*.pem                    the authority above the channel's certificates: CFCA
    verify/signers.txt                                      only against the channel's test environment: who may sign, one per line

A merchant's key comes as ``.pfx``; ``openssl pkcs12`` makes the two files of it. Old and new certificates of the authority lie side
by side while they change. The channel's own signing certificate needs no file: it comes with each message and is checked here.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import Certificate, load_pem_x509_certificate
from msgspec import Struct

from gateways.keys import FileKey, KeyNote, SigningFailed, SigningKey, private_key
from gateways.unionpay.sign import SIGNERS, SignerCertificates, cert_id

PLATFORM: Final = "platform"
MERCHANTS: Final = "merchants"
KEY: Final = "key.pem"
CERTIFICATE: Final = "certificate.pem"
ROOT: Final = "verify/root"
MIDDLE: Final = "verify/middle"
SIGNER_NAMES: Final = "verify/signers.txt"


class MerchantSigner(Struct, frozen=True):
    """What one merchant account signs with."""

    certificate_id: str
    """Serial of its certificate, decimal: ``certId`` of each message."""
    key: SigningKey

    def sign(self, message: bytes) -> str:
        """Return the signature over ``message`` as base64. Raises SigningFailed."""
        return b64encode(self.key.sign(message)).decode()

    def __repr__(self) -> str:
        return f"MerchantSigner(certificate_id={self.certificate_id!r})"


class UnionPayKeys(Struct, frozen=True):
    """All keys of this installation at the channel. Replaced as a whole when a file changes."""

    signers: Mapping[str | None, MerchantSigner]
    """By ``key_ref``; the platform's own under None."""
    certificates: SignerCertificates
    """Decides which certificates inside messages are the channel's. Shared by all merchant accounts."""

    def signer(self, key_ref: str | None) -> MerchantSigner:
        """Return what a merchant account signs with. Raises SigningFailed when there is none: nothing is sent then."""
        found = self.signers.get(key_ref)
        if found is None:
            raise SigningFailed(f"there is no UnionPay signing key in {_folder(key_ref)}/")
        return found

    def __repr__(self) -> str:
        return f"UnionPayKeys(signers={sorted(self.signers, key=str)!r})"


def load(files: Mapping[str, bytes], *, signers: Mapping[str, SigningKey] | None = None) -> UnionPayKeys:
    """Return the keys that the files hold; ``signers`` stand in place of private key files of the same path.

    Raises:
        ValueError: a file is missing, unreadable or does not belong to its neighbour; the text names it and says what to do.
    """
    outside = signers or {}
    found = {ref: _signer(_folder(ref), files, outside) for ref in _refs(files, outside)}
    if not found:
        raise ValueError(f"there is no signing key: put {PLATFORM}/{KEY} and {PLATFORM}/{CERTIFICATE}, or an operator's own")
    return UnionPayKeys(signers=found, certificates=_believed(files))


def _refs(files: Mapping[str, bytes], outside: Mapping[str, SigningKey]) -> list[str | None]:
    """Return the key references that have a file of any kind, the platform's first."""
    paths = {*files, *outside}
    own = sorted({parts[1] for path in paths if len(parts := path.split("/")) == 3 and parts[0] == MERCHANTS})
    platform: list[str | None] = [None] if any(path.startswith(f"{PLATFORM}/") for path in paths) else []
    return [*platform, *own]


def _folder(key_ref: str | None) -> str:
    return PLATFORM if key_ref is None else f"{MERCHANTS}/{key_ref}"


def _signer(folder: str, files: Mapping[str, bytes], outside: Mapping[str, SigningKey]) -> MerchantSigner:
    certificate = _certificate(f"{folder}/{CERTIFICATE}", files)
    key_path = f"{folder}/{KEY}"
    if (held := outside.get(key_path)) is None:
        held = _file_key(key_path, files, certificate)
    return MerchantSigner(certificate_id=cert_id(certificate), key=held)


def _file_key(path: str, files: Mapping[str, bytes], certificate: Certificate) -> FileKey:
    if path not in files:
        raise ValueError(
            f"{path} is missing: put the merchant's private key there (openssl pkcs12 -nocerts -nodes makes it of the .pfx)"
        )
    try:
        key = private_key(files[path])
    except (ValueError, TypeError):
        raise ValueError(f"{path} holds no unencrypted RSA private key of at least 2048 bits in PEM form") from None
    if key.public_key() != certificate.public_key():
        raise ValueError(f"{path} and the certificate beside it are not a pair: take both out of the same .pfx")
    return FileKey(key)


def _certificate(path: str, files: Mapping[str, bytes]) -> Certificate:
    if path not in files:
        raise ValueError(f"{path} is missing: put the certificate there in PEM form")
    try:
        certificate = load_pem_x509_certificate(files[path])
        public = certificate.public_key()
    except ValueError:
        raise ValueError(f"{path} holds no certificate in PEM form") from None
    if not isinstance(public, RSAPublicKey):
        raise ValueError(f"{path} is not the certificate of an RSA key")
    return certificate


def _believed(files: Mapping[str, bytes]) -> SignerCertificates:
    roots, middles = ([_certificate(path, files) for path in _paths(files, start)] for start in (ROOT, MIDDLE))
    if not roots or not middles:
        raise ValueError(f"{ROOT}.pem and {MIDDLE}.pem are needed: put the channel's root and middle certificates there")
    names = files.get(SIGNER_NAMES)
    try:
        return SignerCertificates(roots=roots, middles=middles, signers=SIGNERS if names is None else _names(names))
    except ValueError as wrong:
        raise ValueError(f"verify/: {wrong}; put root and middle of the same authority there") from None


def _paths(files: Mapping[str, bytes], start: str) -> list[str]:
    return sorted(path for path in files if path.startswith(start) and path.endswith(".pem"))


def _names(content: bytes) -> frozenset[str]:
    try:
        names = frozenset(line.strip() for line in content.decode().splitlines() if line.strip())
    except UnicodeDecodeError:
        names = frozenset()
    if not names:
        raise ValueError(f"{SIGNER_NAMES} must hold who may sign, one per line in UTF-8; without the file it is the channel alone")
    return names


def inspect(files: Mapping[str, bytes]) -> tuple[KeyNote, ...]:
    """Say of each key file what it is, until when it holds, and what is wrong with it. Never raises, shows no secret."""
    return tuple(_notes(files))


def _notes(files: Mapping[str, bytes]) -> Iterator[KeyNote]:
    refs = _refs(files, {})
    if not refs:
        yield KeyNote(
            file=f"{PLATFORM}/{KEY}", words="the platform's signing key", fault="there is no signing key at all; put one here"
        )
    for ref in refs:
        whose = "the platform" if ref is None else f"merchant account {ref}"
        yield from _signer_notes(_folder(ref), whose, files)
    for start, words in ((ROOT, "root certificate above the channel's"), (MIDDLE, "certificate that issues the channel's")):
        paths = _paths(files, start)
        if not paths:
            yield KeyNote(
                file=f"{start}.pem", words=words, fault="is missing; without it no message of the channel can be verified"
            )
        for path in paths:
            yield _certificate_note(path, words, files)
    if SIGNER_NAMES in files:
        yield KeyNote(
            file=SIGNER_NAMES, words="who may sign; only for the channel's test environment", fault=_fault_of_names(files)
        )
    elif (fault := _fault_of_chain(files)) is not None:
        yield KeyNote(file=_paths(files, MIDDLE)[0], words="the chain above the channel's certificates", fault=fault)


def _signer_notes(folder: str, whose: str, files: Mapping[str, bytes]) -> Iterator[KeyNote]:
    note = _certificate_note(f"{folder}/{CERTIFICATE}", f"signing certificate of {whose}", files)
    yield note
    path, words = f"{folder}/{KEY}", f"signing key of {whose}"
    if note.fault is not None:
        yield KeyNote(file=path, words=words, fault=None if path in files else f"{path} is missing")
        return
    try:
        _file_key(path, files, _certificate(f"{folder}/{CERTIFICATE}", files))
    except ValueError as wrong:
        yield KeyNote(file=path, words=words, fault=str(wrong))
    else:
        yield KeyNote(file=path, words=words)


def _certificate_note(path: str, words: str, files: Mapping[str, bytes]) -> KeyNote:
    try:
        expires_at: datetime = _certificate(path, files).not_valid_after_utc.astimezone(UTC)
    except ValueError as wrong:
        return KeyNote(file=path, words=words, fault=str(wrong))
    return KeyNote(file=path, words=words, expires_at=expires_at)


def _fault_of_names(files: Mapping[str, bytes]) -> str | None:
    try:
        _names(files[SIGNER_NAMES])
    except ValueError as wrong:
        return str(wrong)
    return _fault_of_chain(files)


def _fault_of_chain(files: Mapping[str, bytes]) -> str | None:
    """Return what is wrong with root and middle together; a missing file is told of by its own note."""
    if not _paths(files, ROOT) or not _paths(files, MIDDLE):
        return None
    try:
        _believed(files)
    except ValueError as wrong:
        return str(wrong)
    return None
