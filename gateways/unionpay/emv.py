"""EMVCo's merchant-presented payload: the text inside a static or cross-border code, built and taken apart.

Knows tags, lengths and the check sum; must not know what a payment is. Called by the pages' room and by a stand-in.
Source: EMV QRCPS, merchant-presented mode; UnionPay's tag 15.
"""

import re
from binascii import crc_hqx
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from ledger.money import yuan

FORMAT: Final = "00"
INITIATION: Final = "01"
UNIONPAY_ACCOUNT: Final = "15"
CATEGORY: Final = "52"
CURRENCY: Final = "53"
AMOUNT: Final = "54"
COUNTRY: Final = "58"
NAME: Final = "59"
CITY: Final = "60"
ADDITIONAL: Final = "62"
CRC: Final = "63"
LANGUAGE: Final = "64"
"""Tags of the payload."""

VERSION: Final = "01"
STATIC: Final = "11"
DYNAMIC: Final = "12"
"""Values of the initiation: a code that is paid many times, or once."""
CURRENCY_CNY: Final = "156"
CURRENCY_HKD: Final = "344"
BILL_NUMBER: Final = "01"
STORE: Final = "03"
REFERENCE: Final = "05"
TERMINAL: Final = "07"
PURPOSE: Final = "08"
"""Tags inside the additional data."""

PAYLOAD_CHARACTERS_MAX: Final = 512
VALUE_CHARACTERS_MAX: Final = 99
NAME_CHARACTERS_MAX: Final = 25
CITY_CHARACTERS_MAX: Final = 15
AMOUNT_CHARACTERS_MAX: Final = 13
"""Limits of the specification, in characters, not bytes."""

_TEMPLATES: Final = frozenset(
    {*(f"{tag:02d}" for tag in range(26, 52)), ADDITIONAL, LANGUAGE, *(str(tag) for tag in range(80, 100))}
)
"""Tags whose value is again a list of objects. Probable for 80–99; a value that is none is then plain text."""
_NEEDED: Final = (CATEGORY, CURRENCY, COUNTRY, NAME, CITY)
_TWO_DIGITS: Final = re.compile(r"[0-9]{2}")
_AMOUNT: Final = re.compile(r"(?P<whole>[0-9]{1,11})(?:\.(?P<part>[0-9]{0,2}))?")
_TWO_DECIMALS: Final = frozenset({CURRENCY_CNY, CURRENCY_HKD})
_ACCOUNT: Final = re.compile(r"(?P<acquirer>[0-9]{8})(?P<forwarder>[0-9]{8})(?P<merchant>[0-9A-Za-z]{15})")
_CRC_HEAD: Final = "6304"


class Fault(StrEnum):
    """Why a text is not a payload."""

    TOO_LONG = "too_long"
    LENGTH = "length"
    """A tag or length is no two digits, or a value ends after the text."""
    FORMAT = "format"
    """It does not begin with ``000201``."""
    CRC_MISSING = "crc_missing"
    """The check sum is not the last object, or not there."""
    CRC = "crc"
    DUPLICATE = "duplicate"
    """A tag comes twice."""
    FIELD_MISSING = "field_missing"


class DataObject(Struct, frozen=True):
    """One tag with its value. The length is never stated: it is the value's number of characters."""

    tag: str
    value: str


class UnionPayAccount(Struct, frozen=True):
    """Tag 15: 31 characters."""

    acquirer_no: str
    """Acquirer's IIN, 8 digits."""
    forwarder_no: str
    """Forwarding institution's IIN, 8 digits."""
    merchant_no: str


class Payload(Struct, frozen=True):
    """A payload whose check sum agrees, with its objects in their order; the check sum is not among them."""

    objects: tuple[DataObject, ...]

    def value(self, tag: str) -> str | None:
        """Return a tag's value."""
        return next((one.value for one in self.objects if one.tag == tag), None)

    def template(self, tag: str) -> tuple[DataObject, ...] | None:
        """Return the objects inside a tag, or None when it is absent, holds plain text, or is not a list of objects."""
        value = self.value(tag)
        return None if value is None or tag not in _TEMPLATES else objects(value)

    def unionpay_account(self) -> UnionPayAccount | None:
        """Return the merchant of tag 15, or None when UnionPay cannot pay this code."""
        found = _ACCOUNT.fullmatch(self.value(UNIONPAY_ACCOUNT) or "")
        if found is None:
            return None
        return UnionPayAccount(acquirer_no=found["acquirer"], forwarder_no=found["forwarder"], merchant_no=found["merchant"])

    def amount(self) -> int | None:
        """Return the amount in hundredths of the currency (CNY: fen), or None when there is none or its currency has others."""
        found = _AMOUNT.fullmatch(self.value(AMOUNT) or "")
        if found is None or self.value(CURRENCY) not in _TWO_DECIMALS:
            return None
        return int(found["whole"]) * 100 + int((found["part"] or "").ljust(2, "0"))


def crc(text: str) -> str:
    """Return the check sum of everything up to and including ``6304``: CRC-16/CCITT-FALSE over UTF-8, four upper-case digits."""
    return f"{crc_hqx(text.encode(), 0xFFFF):04X}"


def joined(parts: Iterable[DataObject]) -> str:
    """Return objects as text, lengths counted in characters. Raises ValueError for a tag or value that has no such form."""
    return "".join(_text(part) for part in parts)


def _text(part: DataObject) -> str:
    if _TWO_DIGITS.fullmatch(part.tag) is None:
        raise ValueError(f"{part.tag!r} is not a tag")
    if not 0 < len(part.value) <= VALUE_CHARACTERS_MAX:
        raise ValueError(f"the value of tag {part.tag} has {len(part.value)} characters, not 1–{VALUE_CHARACTERS_MAX}")
    return f"{part.tag}{len(part.value):02d}{part.value}"


def objects(text: str) -> tuple[DataObject, ...] | None:
    """Return the objects of a text, or None when a length does not fit or a tag comes twice."""
    split = _split(text)
    return None if isinstance(split, Fault) else split


def _split(text: str) -> tuple[DataObject, ...] | Fault:
    found: dict[str, DataObject] = {}
    at = 0
    while at < len(text):
        tag, length, start = text[at : at + 2], text[at + 2 : at + 4], at + 4
        if _TWO_DIGITS.fullmatch(tag) is None or _TWO_DIGITS.fullmatch(length) is None:
            return Fault.LENGTH
        at = start + int(length)
        if at > len(text) or at == start:
            return Fault.LENGTH
        if tag in found:
            return Fault.DUPLICATE
        found[tag] = DataObject(tag=tag, value=text[start:at])
    return tuple(found.values())


def parse(text: str) -> Payload | Fault:
    """Return what a scanned text holds when it is a merchant's payload and its check sum agrees, or why it is none."""
    if len(text) > PAYLOAD_CHARACTERS_MAX:
        return Fault.TOO_LONG
    found = _split(text)
    if isinstance(found, Fault):
        return found
    if not found or found[0] != DataObject(tag=FORMAT, value=VERSION):
        return Fault.FORMAT
    last = found[-1]
    if last.tag != CRC or len(last.value) != 4:
        return Fault.CRC_MISSING
    try:
        agrees = crc(text[:-4]) == last.value.upper()
    except UnicodeEncodeError:
        return Fault.CRC
    if not agrees:
        return Fault.CRC
    payload = Payload(objects=found[:-1])
    return Fault.FIELD_MISSING if any(payload.value(tag) is None for tag in _NEEDED) else payload


def build(parts: Iterable[DataObject]) -> str:
    """Return the payload of objects: format first, check sum last; neither is among ``parts``. Raises ValueError."""
    inner = tuple(parts)
    tags = [part.tag for part in inner]
    if len(set(tags)) != len(tags) or not {FORMAT, CRC}.isdisjoint(tags):
        raise ValueError("a tag comes twice, or format or check sum is among the objects")
    if missing := [tag for tag in _NEEDED if tag not in tags]:
        raise ValueError(f"a payload needs tag {', '.join(missing)}")
    text = joined((DataObject(tag=FORMAT, value=VERSION), *inner)) + _CRC_HEAD
    if len(text) + 4 > PAYLOAD_CHARACTERS_MAX:
        raise ValueError(f"a payload has at most {PAYLOAD_CHARACTERS_MAX} characters")
    return text + crc(text)


def merchant_payload(
    account: UnionPayAccount,
    *,
    category: str,
    name: str,
    city: str,
    country: str = "CN",
    currency: str = CURRENCY_CNY,
    amount_fen: int | None = None,
    additional: Mapping[str, str] | None = None,
) -> str:
    """Return the payload of a UnionPay merchant's code: static without an amount, dynamic with one (then in fen of CNY or HKD).

    ``additional`` is the content of tag 62 by inner tag. Raises ValueError for what does not fit: nothing is cut off.
    """
    parts = [
        DataObject(tag=INITIATION, value=STATIC if amount_fen is None else DYNAMIC),
        DataObject(tag=UNIONPAY_ACCOUNT, value=_account(account)),
        DataObject(tag=CATEGORY, value=_fitting(category, r"[0-9]{4}", "a merchant category")),
        DataObject(tag=CURRENCY, value=_fitting(currency, r"156|344", "a currency with hundredths that is known here")),
    ]
    if amount_fen is not None:
        parts.append(DataObject(tag=AMOUNT, value=_amount(amount_fen)))
    parts += [
        DataObject(tag=COUNTRY, value=_fitting(country, r"[A-Z]{2}", "a country")),
        DataObject(tag=NAME, value=_fitting(name, rf".{{1,{NAME_CHARACTERS_MAX}}}", "a name")),
        DataObject(tag=CITY, value=_fitting(city, rf".{{1,{CITY_CHARACTERS_MAX}}}", "a city")),
    ]
    if additional:
        parts.append(
            DataObject(tag=ADDITIONAL, value=joined(DataObject(tag=tag, value=additional[tag]) for tag in sorted(additional)))
        )
    return build(parts)


def _account(account: UnionPayAccount) -> str:
    return _fitting(account.acquirer_no + account.forwarder_no + account.merchant_no, _ACCOUNT.pattern, "a UnionPay merchant")


def _amount(amount_fen: int) -> str:
    text = yuan(amount_fen)
    if amount_fen <= 0 or len(text) > AMOUNT_CHARACTERS_MAX:
        raise ValueError(f"{amount_fen} fen cannot be asked for")
    return text


def _fitting(text: str, form: str, words: str) -> str:
    if re.fullmatch(form, text) is None:
        raise ValueError(f"{text!r} is not {words}")
    return text
