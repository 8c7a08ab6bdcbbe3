"""Alipay's signatures: what we sign, what we verify.

Knows the exact bytes that are signed; must not know what a message means. Called by the adapter and a stand-in, each on its side.
Source: Alipay OpenAPI "签名" (request), "同步返回验签" (answer), "异步返回验签" (notice).
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from msgspec import Struct

from gateways.keys import VerificationKey

SIGN: Final = "sign"
SIGN_TYPE: Final = "sign_type"
RSA2: Final = "RSA2"
"""SHA256withRSA, the only kind we make or believe; ``RSA`` is SHA-1."""
CERT_SN: Final = "alipay_cert_sn"
ERROR_NODE: Final = "error_response"
CHARSET: Final = "utf-8"
"""What our requests declare; answers come in the same."""

UNSIGNED_NOTICE_FIELDS: Final = frozenset({b"sign", b"sign_type", b"alipay_cert_sn"})
"""Left out of a notice's text. That ``alipay_cert_sn`` is among them is only probable."""
EMPTY_NOTICE_FIELDS_OPTIONAL: Final = True
"""Notices leave empty fields out, so no document says whether an empty one is signed, and the official SDKs differ. True: a notice
that does not hold with its empty fields is tried once without them; an empty field is read as absent either way."""
SLASHES_OPTIONAL: Final = True
"""Some answers are signed before ``/`` is written as ``\\/`` (probable). True: a text that does not hold is tried once without."""

FORM_FIELDS_MAX: Final = 200
"""A notice has about thirty."""

_CODECS: Final = {"utf-8": "utf-8", "utf8": "utf-8", "gbk": "gb18030", "gb2312": "gb18030", "gb18030": "gb18030"}
"""GB18030 contains GBK and GB2312, byte for byte."""
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SPACE: Final = re.compile(r"[ \t\r\n]*+")
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BARE: Final = re.compile(r"[-+.0-9A-Za-z]++")
_NESTED: Final = re.compile(rf'{_STRING.pattern}|["{{}}\[\]]', re.DOTALL)
_PADDING: Final = PKCS1v15()
_SHA256: Final = hashes.SHA256()
_NOTHING: Final[Mapping[bytes, bytes]] = MappingProxyType({})
_NO_TEXT: Final[Mapping[str, str]] = MappingProxyType({})


class Form(Struct, frozen=True):
    """A form as it came: a notice, the query of a return address, or a request to the channel."""

    raw: Mapping[bytes, bytes] = _NOTHING
    """Every field, decoded from the form once and not yet from its charset: these bytes are what is signed."""
    text: Mapping[str, str] = _NO_TEXT
    """The fields that are not empty, in the charset that the form declares."""
    reason: str | None = None
    """Why it cannot be read: ``not_form``, ``field_twice``, ``charset_unknown``, ``not_text``."""


class Envelope(Struct, frozen=True):
    """An answer taken apart without reading it: which node came, its text exactly as on the wire, and what is to prove it."""

    node: str
    text: str
    """From the node's first character to its last: an object, or a quoted box when the answer is encrypted."""
    codec: str
    signature: str | None
    cert_sn: str | None
    """Names the certificate that signed, in certificate mode."""

    @property
    def failed(self) -> bool:
        """Tell whether the gateway itself answered, not the method."""
        return self.node == ERROR_NODE


class Opened(Struct, frozen=True):
    """An answer after its signature was looked at. Only without a ``reason`` is there a text, and it is the one that was proven."""

    text: str = ""
    reason: str | None = None


def rsa2(message: bytes, *, key: RSAPrivateKey) -> str:
    """Return the RSA-SHA256 (PKCS #1 v1.5) signature over ``message`` as base64 on one line: 344 characters for 2048 bits."""
    return b64encode(key.sign(message, _PADDING, _SHA256)).decode()


def codec(charset: str) -> str | None:
    """Return the codec of a charset as the channel names it, or None for one that it does not use."""
    return _CODECS.get(charset.lower())


def request_message(fields: Mapping[bytes, bytes]) -> bytes:
    """Return the bytes a request's signature covers: all fields but ``sign`` and those without a value. ``sign_type`` is in."""
    return _joined((name, value) for name, value in fields.items() if value and name != b"sign")


def notice_message(fields: Mapping[bytes, bytes], *, empties: bool = True) -> bytes:
    """Return the bytes a notice's signature covers: all fields that came, known or not, but those about the signature itself."""
    return _joined(
        (name, value) for name, value in fields.items() if (value or empties) and name not in UNSIGNED_NOTICE_FIELDS
    )  # fmt: skip


def signed(fields: Mapping[str, str], *, sign: Callable[[bytes], str]) -> dict[str, str]:
    """Return a request's fields, which declare ``CHARSET``, with their signature; they must go out unchanged.

    ``sign`` is the ring's signing method. Fields without a value are left out: the channel does not count them.
    """
    sent = {name: value for name, value in fields.items() if value and name != SIGN}
    message = request_message({name.encode(): value.encode() for name, value in sent.items()})
    return sent | {SIGN: sign(message)}


def read_form(body: bytes) -> Form:
    """Take a form apart: each name once, each value decoded once. A form that could be read in two ways is not read."""
    raw: dict[bytes, bytes] = {}
    for part in body.split(b"&"):
        if not part:
            continue
        if _BAD_ESCAPE.search(part) or len(raw) >= FORM_FIELDS_MAX:
            return Form(reason="not_form")
        name, _, value = (unquote_to_bytes(piece) for piece in part.replace(b"+", b" ").partition(b"="))
        if name in raw:
            return Form(reason="field_twice")
        raw[name] = value
    return _in_charset(raw)


def notice_objection(form: Form, *, key: VerificationKey | None) -> str | None:
    """Return why a notice is not proven to be the channel's, or None when it is.

    ``key`` is the channel's key for the application that the notice names, found in our own settings before this is asked.
    Checked in this order: readable (the form's reason), signed at all (``signature_missing``), RSA2 (``sign_type``), key known and
    valid (``serial_unknown``), signature over the fields that came (``signature``).
    """
    if form.reason is not None:
        return form.reason
    if SIGN not in form.text:
        return "signature_missing"
    if form.text.get(SIGN_TYPE) != RSA2:
        return "sign_type"
    if key is None:
        return "serial_unknown"
    return None if _notice_holds(form, key) else "signature"


def envelope(body: bytes, *, method: str, charset: str = CHARSET) -> Envelope | None:
    """Take an answer to ``method`` apart, or return None when it is none: not JSON, a name twice, both nodes or neither.

    The node's text is cut out as it stands, never parsed and written again: the signature covers these characters.
    """
    name = codec(charset)
    if name is None:
        return None
    try:
        members = _members(body.decode(name))
    except UnicodeDecodeError:
        return None
    nodes = [node for node in (node_name(method), ERROR_NODE) if node in members]
    if len(nodes) != 1:
        return None
    return Envelope(
        node=nodes[0],
        text=members[nodes[0]],
        codec=name,
        signature=_text(members.get(SIGN)),
        cert_sn=_text(members.get(CERT_SN)),
    )


def node_name(method: str) -> str:
    """Return the name of the node that a method's answer comes in."""
    return method.replace(".", "_") + "_response"


def opened(answer: Envelope | None, *, key: VerificationKey | None) -> Opened:
    """Return the node's text when it is proven to be the channel's, else why not.

    In this order: ``not_json``, ``signature_missing``, ``serial_unknown`` (no ``key``), ``signature``. Whatever the reason, nothing
    is known about the call: an unsigned or badly signed answer is neither a success nor a failure.
    """
    if answer is None:
        return Opened(reason="not_json")
    if answer.signature is None:
        return Opened(reason="signature_missing")
    if key is None:
        return Opened(reason="serial_unknown")
    texts = [answer.text]
    if SLASHES_OPTIONAL and "\\/" in answer.text:
        texts.append(answer.text.replace("\\/", "/"))
    for text in texts:
        if key.verifies(text.encode(answer.codec), answer.signature):
            return Opened(text=text)
    return Opened(reason="signature")


def _joined(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"&".join(name + b"=" + value for name, value in sorted(fields))


def _in_charset(raw: Mapping[bytes, bytes]) -> Form:
    name = codec(raw.get(b"charset", CHARSET.encode()).decode("ascii", "replace"))
    if name is None:
        return Form(reason="charset_unknown")
    try:
        text = {field.decode(name): value.decode(name) for field, value in raw.items() if value}
    except UnicodeDecodeError:
        return Form(reason="not_text")
    return Form(raw=raw, text=text)


def _notice_holds(form: Form, key: VerificationKey) -> bool:
    signature = form.text[SIGN]
    if key.verifies(notice_message(form.raw), signature):
        return True
    if not EMPTY_NOTICE_FIELDS_OPTIONAL or all(form.raw.values()):
        return False
    return key.verifies(notice_message(form.raw, empties=False), signature)


def _members(text: str) -> dict[str, str]:
    """Return the raw text of each member of a JSON object; nothing when it is not one or names a member twice."""
    found: dict[str, str] = {}
    at = _past(text, 0)
    separator = "{"
    while text.startswith(separator, at):
        name = _STRING.match(text, _past(text, at + 1))
        colon = _past(text, name.end()) if name is not None else len(text)
        start = _past(text, colon + 1)
        end = _value_end(text, start)
        key = None if name is None else _text(name.group())
        if not text.startswith(":", colon) or end is None or key is None or key in found:
            return {}
        found[key] = text[start:end]
        at, separator = _past(text, end), ","
    whole = text.startswith("}", at) and _past(text, at + 1) == len(text)
    return found if whole else {}


def _past(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


def _value_end(text: str, start: int) -> int | None:
    """Return where the JSON value ends that begins at ``start``; brackets inside strings do not count."""
    if not text.startswith(("{", "["), start):
        plain = _STRING.match(text, start) or _BARE.match(text, start)
        return None if plain is None else plain.end()
    depth = 0
    for piece in _NESTED.finditer(text, start):
        mark = piece.group()
        if mark == '"':
            return None
        depth += 1 if mark in "{[" else -1 if mark in "}]" else 0
        if depth == 0:
            return piece.end()
    return None


def _text(raw: str | None) -> str | None:
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
