"""Whom an invoice is made out to: names, tax numbers and e-mail addresses. Pure.

Knows the forms of tax numbers; must not know the database. Called by ``invoices``.
Source: GB 32100-2015 for the 18 characters of a unified social credit code 统一社会信用代码; older tax numbers have 15 or 20.
"""

import re
from typing import Final, Literal

from msgspec import Struct

from ledger.errors import Refused

BuyerKind = Literal["person", "company"]
TITLE_LETTERS_MAX: Final = 100
EMAIL_LETTERS_MAX: Final = 120
_LETTERS: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""The 31 characters of GB 32100: without I, O, S, V and Z."""
_OLDER: Final = re.compile(r"[0-9A-Z]{15}|[0-9A-Z]{20}")
_EMAIL: Final = re.compile(r"[^\s@,;<>\"]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")


class TitleRefused(Refused):
    """The name, the tax number or the e-mail address cannot be right; ``field`` says which."""

    code = "invoice_title_invalid"

    def __init__(self, message: str, *, field: Literal["title", "tax_no", "email"]) -> None:
        super().__init__(message)
        self.field = field


class Title(Struct, frozen=True, kw_only=True):
    """Whom an invoice is made out to. ``tax_no`` belongs to companies; ``email`` is kept for the delivery only."""

    buyer_kind: BuyerKind
    title: str
    tax_no: str | None = None
    email: str | None = None


def checked(*, buyer_kind: str, title: str, tax_no: str, email: str) -> Title:
    """Return what was typed in the form it is kept in: full-width letters and spaces are mended. Raises TitleRefused."""
    kind: BuyerKind = "company" if buyer_kind == "company" else "person"
    name = " ".join(_CONTROLS.sub(" ", title).split())
    if not 0 < len(name) <= TITLE_LETTERS_MAX:
        raise TitleRefused(f"a name has 1 to {TITLE_LETTERS_MAX} characters", field="title")
    number = "".join(narrow(tax_no).upper().split()).replace("-", "")
    if kind == "company" and not is_tax_no(number):
        raise TitleRefused("not a tax number: a digit is wrong or missing", field="tax_no")
    address = narrow(email).strip()
    if address and (len(address) > EMAIL_LETTERS_MAX or _EMAIL.fullmatch(address) is None):
        raise TitleRefused("not an e-mail address", field="email")
    return Title(buyer_kind=kind, title=name, tax_no=number if kind == "company" else None, email=address or None)


def is_tax_no(number: str) -> bool:
    """Say whether this can be a tax number: 18 characters with a right check character, or an older one of 15 or 20."""
    if len(number) == 18:
        return all(letter in _LETTERS for letter in number) and check_letter(number[:17]) == number[17]
    return _OLDER.fullmatch(number) is not None


def check_letter(first: str) -> str:
    """Return the check character of the first 17 of a credit code: weights 3^i mod 31 (GB 32100, after ISO 7064)."""
    total = sum(_LETTERS.index(letter) * pow(3, place, 31) for place, letter in enumerate(first))
    return _LETTERS[-total % 31]


def narrow(typed: str) -> str:
    """Return full-width letters, digits and signs as the plain ones that a Chinese keyboard wrote wide."""
    return "".join(chr(ord(one) - 0xFEE0) if 0xFF01 <= ord(one) <= 0xFF5E else one for one in typed)
