"""Alipay's keys of this installation: our applications, what the channel signs for each with, and operators' leave to act for them.

Knows key files and their layout; must not know messages, network or where the files lie. Called by the composition root, by
``tongting keys check`` and by the adapter. The layout below the channel's key directory::

    platform/app_id              our application's number, as text
    platform/app.key             its private key: PEM, or bare base64 (PKCS #8 or PKCS #1)
    platform/alipay-….pem        key mode: the channel's public key for this application: PEM or bare base64; several may overlap
    platform/app.crt             certificate mode: the application's certificate
    platform/root.crt            certificate mode: the channel's root bundle, as downloaded
    platform/alipay-….crt        certificate mode: the channel's certificate, leaf first; several may overlap
    tokens/{merchant number}.json   {"app_auth_token": "…", "auth_app_id": "…"}: an operator's leave to act for it
    operators/{key_ref}/…        an operator's own application: the files of platform/, and
    operators/{key_ref}/merchant_no   the operator's merchant number (PID), as text

With ``app.crt`` an application is in certificate mode, without it in key mode. A message that names a certificate is verified by
that one alone; one that names none by every key of its application that is valid.
"""

import re
from base64 import b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import Certificate
from msgspec import Struct

from gateways.alipay import certificates
from gateways.keys import FileKey, KeyNote, SigningFailed, SigningKey, VerificationKey

PLATFORM: Final = "platform"
_OPERATORS: Final = "operators"
_TOKENS: Final = "tokens"
_NUMBER: Final = re.compile(r"[0-9]{16}", re.ASCII)
_MERCHANT: Final = re.compile(r"2088[0-9]{12}", re.ASCII)
_CHANNEL_KEY: Final = re.compile(r"alipay[^/]*\.(?:pem|txt)")
_CHANNEL_CERTIFICATE: Final = re.compile(r"alipay[^/]*\.crt")


class NoKeys(SigningFailed):
    """No application or no leave of an operator is there to sign with: nothing was sent."""


class App(Struct, frozen=True, kw_only=True):
    """One application at the channel: how it signs, and what the channel signs for it with."""

    app_id: str
    key: SigningKey
    channel_keys: tuple[VerificationKey, ...]
    """The channel's keys, old and new."""
    merchant_no: str | None = None
    """PID of the operator that the application belongs to; None for the platform's."""
    app_cert_sn: str | None = None
    """With ``root_cert_sn``: certificate mode."""
    root_cert_sn: str | None = None

    def __repr__(self) -> str:
        mode = "key" if self.app_cert_sn is None else "certificate"
        return f"App({self.app_id}, {mode} mode, {len(self.channel_keys)} keys of the channel)"

    def sign(self, message: bytes) -> str:
        """Return our signature over ``message`` as base64 on one line. Raises SigningFailed when the key is out of reach."""
        return b64encode(self.key.sign(message)).decode()

    def candidates(self, cert_sn: str | None, *, at: datetime) -> tuple[VerificationKey, ...]:
        """Return the channel's keys that may have signed a message: the certificate it names, or all; those valid at ``at``."""
        return tuple(key for key in self.channel_keys if key.valid_at(at) and cert_sn in (None, key.serial))


class Grant(Struct, frozen=True, kw_only=True):
    """An operator's leave to act for it under our application."""

    app_auth_token: str
    auth_app_id: str
    """The operator's own application: notices of its trades name it."""

    def __repr__(self) -> str:
        return f"Grant(of application {self.auth_app_id})"


class AlipayKeys(Struct, frozen=True, kw_only=True):
    """All keys at the channel. Replaced as a whole, so that no reader ever sees half of a change."""

    apps: Mapping[str | None, App]
    """By ``key_ref``; the platform's own under None."""
    grants: Mapping[str, Grant]
    """By the operator's merchant number (PID)."""

    def __repr__(self) -> str:
        return f"AlipayKeys({', '.join(repr(app) for app in self.apps.values())}; {len(self.grants)} operators)"

    def app(self, key_ref: str | None) -> App:
        """Return the application that ``key_ref`` names. Raises NoKeys."""
        if (found := self.apps.get(key_ref)) is None:
            raise NoKeys(f"there is no application {_folder(key_ref)}")
        return found

    def named(self, app_id: str) -> tuple[str | None, App] | None:
        """Return the application with the number ``app_id`` and its ``key_ref``; None when it is none of ours."""
        return next(((ref, app) for ref, app in self.apps.items() if app.app_id == app_id), None)


# Reading key files


def load(files: Mapping[str, bytes], *, signers: Mapping[str, SigningKey] | None = None) -> AlipayKeys:
    """Return the keys in ``files``, contents by path below the channel's key directory; see the module for the layout.

    ``signers`` take the place of private key files of the same path. Raises ValueError naming the file and what to do.
    """
    held = signers or {}
    apps = {None if folder == PLATFORM else folder.partition("/")[2]: _app(files, held, folder) for folder in _folders(files, held)}
    if not apps:
        raise ValueError(f"{PLATFORM}/app_id is missing: put the application's files there")
    numbers = [app.app_id for app in apps.values()]
    if twice := {number for number in numbers if numbers.count(number) > 1}:
        raise ValueError(f"application {twice.pop()} stands in two folders: remove one of them")
    return AlipayKeys(apps=apps, grants={merchant_no: _grant(files, path) for merchant_no, path in _token_files(files)})


def inspect(files: Mapping[str, bytes]) -> tuple[KeyNote, ...]:
    """Return what is to be said of each key file, by path: what it is, when it ends, what is wrong with it."""
    return tuple(_note(files, path) for path in sorted(files))


def _folders(files: Mapping[str, bytes], signers: Mapping[str, SigningKey]) -> list[str]:
    """Return the folders that hold an application, the platform's first."""
    found = set()
    for path in (*files, *signers):
        parts = path.split("/")
        if parts[0] == PLATFORM and len(parts) == 2:
            found.add(PLATFORM)
        elif parts[0] == _OPERATORS and len(parts) == 3:
            found.add("/".join(parts[:2]))
    return sorted(found, key=lambda folder: (folder != PLATFORM, folder))


def _app(files: Mapping[str, bytes], signers: Mapping[str, SigningKey], folder: str) -> App:
    app_id = _number(files, f"{folder}/app_id", _NUMBER, "the application's number, 16 digits")
    key = signers.get(f"{folder}/app.key") or _file_key(files, f"{folder}/app.key")
    merchant_no = None
    if folder != PLATFORM:
        merchant_no = _number(files, f"{folder}/merchant_no", _MERCHANT, "the operator's merchant number, 2088 and 12 digits")
    found = tuple(_channel_keys(files, folder, app_id))
    certified = f"{folder}/app.crt" in files
    wanted = "alipay-….crt" if certified else "alipay-….pem"
    if not any((key_.valid_until is not None) == certified for key_ in found):
        raise ValueError(f"{folder}/{wanted} is missing: download the channel's {'certificate' if certified else 'public key'}")
    if not certified:
        return App(app_id=app_id, key=key, channel_keys=found, merchant_no=merchant_no)
    certificate = _certificate(files, f"{folder}/app.crt")
    if isinstance(key, FileKey) and certificate.public_key() != key.key.public_key():
        raise ValueError(f"{folder}/app.crt is not of the private key {folder}/app.key: put the files of one pair there")
    return App(
        app_id=app_id, key=key, channel_keys=found, merchant_no=merchant_no,
        app_cert_sn=certificates.certificate_sn(certificate), root_cert_sn=_root_sn(files, f"{folder}/root.crt"),
    )  # fmt: skip


def _channel_keys(files: Mapping[str, bytes], folder: str, app_id: str) -> Iterator[VerificationKey]:
    for path in sorted(files):
        parent, _, name = path.rpartition("/")
        if parent != folder:
            continue
        try:
            if _CHANNEL_CERTIFICATE.fullmatch(name):
                yield certificates.verification_key(files[path])
            elif _CHANNEL_KEY.fullmatch(name):
                yield certificates.public_key(files[path], app_id=app_id)
        except ValueError as wrong:
            raise ValueError(f"{path}: {wrong}") from None


def _number(files: Mapping[str, bytes], path: str, form: re.Pattern[str], words: str) -> str:
    text = _present(files, path, words).decode("ascii", "replace").strip()
    if not form.fullmatch(text):
        raise ValueError(f"{path} must hold {words}")
    return text


def _file_key(files: Mapping[str, bytes], path: str) -> FileKey:
    content = _present(files, path, "the application's private key")
    try:
        return FileKey(certificates.private_key(content))
    except ValueError as wrong:
        raise ValueError(f"{path}: {wrong}") from None


def _certificate(files: Mapping[str, bytes], path: str) -> Certificate:
    try:
        found = certificates.first_certificate(_present(files, path, "a certificate"))
    except ValueError as wrong:
        raise ValueError(f"{path}: {wrong}") from None
    if not isinstance(found.public_key(), RSAPublicKey):
        raise ValueError(f"{path} holds no RSA key: order an RSA certificate")
    return found


def _root_sn(files: Mapping[str, bytes], path: str) -> str:
    try:
        return certificates.root_sn(_present(files, path, "the channel's root bundle"))
    except ValueError as wrong:
        raise ValueError(f"{path}: {wrong}") from None


def _present(files: Mapping[str, bytes], path: str, words: str) -> bytes:
    if path not in files:
        raise ValueError(f"{path} is missing: put {words} there")
    return files[path]


def _token_files(files: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Return merchant number and path of each leave."""
    found = []
    for path in sorted(files):
        folder, _, name = path.rpartition("/")
        if folder == _TOKENS and name.endswith(".json"):
            merchant_no = name.removesuffix(".json")
            if not _MERCHANT.fullmatch(merchant_no):
                raise ValueError(f"{path} must be named by the operator's merchant number: 2088 and 12 digits")
            found.append((merchant_no, path))
    return found


def _grant(files: Mapping[str, bytes], path: str) -> Grant:
    try:
        grant = msgspec.json.decode(files[path], type=Grant)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise ValueError(f"{path} must hold app_auth_token and auth_app_id as JSON: {wrong}") from None
    if not grant.app_auth_token.strip() or not _NUMBER.fullmatch(grant.auth_app_id):
        raise ValueError(f"{path} must hold a token and the operator's application number, 16 digits")
    return grant


# Notes on key files


def _note(files: Mapping[str, bytes], path: str) -> KeyNote:
    folder, _, name = path.rpartition("/")
    try:
        if folder == _TOKENS and name.endswith(".json"):
            grant = _grant(files, path)
            return KeyNote(file=path, words=f"leave of operator {name.removesuffix('.json')}, application {grant.auth_app_id}")
        if folder == PLATFORM or (folder.startswith(f"{_OPERATORS}/") and folder.count("/") == 1):
            return _app_note(files, folder, name)
    except (ValueError, Base64Error) as wrong:
        return KeyNote(file=path, words=f"a file of {folder}", fault=str(wrong))
    return KeyNote(file=path, words="a file that nothing reads", fault="move it to where the layout wants it, or remove it")


def _app_note(files: Mapping[str, bytes], folder: str, name: str) -> KeyNote:
    path, whose = f"{folder}/{name}", "the platform" if folder == PLATFORM else f"operator {folder.partition('/')[2]}"
    if name == "app_id":
        return KeyNote(file=path, words=f"number of application {_number(files, path, _NUMBER, '16 digits')} of {whose}")
    if name == "merchant_no" and folder != PLATFORM:
        return KeyNote(file=path, words=f"merchant number {_number(files, path, _MERCHANT, '2088 and 12 digits')} of {whose}")
    if name == "app.key":
        _file_key(files, path)
        return KeyNote(file=path, words=f"private key of the application of {whose}")
    if name == "root.crt":
        return KeyNote(file=path, words=f"root bundle {_root_sn(files, path)}")
    if name == "app.crt":
        found = _certificate(files, path)
        words = f"certificate {certificates.certificate_sn(found)} of the application of {whose}"
        return KeyNote(file=path, words=words, expires_at=found.not_valid_after_utc)
    if _CHANNEL_CERTIFICATE.fullmatch(name):
        return _channel_certificate_note(files, folder, path)
    if _CHANNEL_KEY.fullmatch(name):
        certificates.public_key(files[path], app_id="")
        return KeyNote(file=path, words=f"the channel's public key for the application of {whose}")
    return KeyNote(
        file=path, words=f"a file of {whose}", fault="no file of this name is read: name it as the layout says, or remove it"
    )


def _channel_certificate_note(files: Mapping[str, bytes], folder: str, path: str) -> KeyNote:
    key = certificates.verification_key(files[path])
    roots = certificates.certificates(files.get(f"{folder}/root.crt", b""))
    chain = certificates.certificates(files[path])
    fault = None
    if not certificates.chain_holds(chain, roots=roots, at=chain[0].not_valid_before_utc):
        fault = f"it does not lead to {folder}/root.crt: download both anew from the channel"
    return KeyNote(file=path, words=f"certificate {key.serial} of the channel", expires_at=key.valid_until, fault=fault)


def _folder(key_ref: str | None) -> str:
    return PLATFORM if key_ref is None else f"{_OPERATORS}/{key_ref}"
