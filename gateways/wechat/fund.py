"""WeChat Pay's fund-flow bill: opening the encrypted form, reading its rows, checking its totals.

Knows the file's layout and its encryption; must not know our book. Called by the adapter.
A file is read row by row and taken whole or not at all. Source: docs/CHANNELS.md, WeChat Pay, fund-flow bill.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Final, Protocol, runtime_checkable

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from gateways.contract import BillLink, BillRefused, FundBill, FundLine
from gateways.keys import KeyRing
from gateways.wechat.files import SEPARATOR, amount_of, instant_of, proven, text_lines, unpacked, values_of
from gateways.wechat.wire import UNREADABLE, SealedPart
from ledger.money import fen, yuan

_COLUMNS: Final = ("记账时间", "微信支付业务单号", "业务类型", "收支类型", "收支金额(元)", "账户结余(元)", "备注", "业务凭证号")
_TOTALS: Final = ("资金流水总笔数", "收入笔数", "收入金额", "支出笔数", "支出金额")
_INCOME: Final = "收入"
_EXPENSE: Final = "支出"
_KEY_BYTES: Final = (16, 24, 32)
_LABEL: Final = b'{"sealed":'
"""Begins the first line of a kept encrypted file; a file in the clear begins with its header."""


@runtime_checkable
class Unwraps(Protocol):
    """Keys that can decrypt what the channel encrypted for our merchant certificate."""

    def unwrap(self, box: str) -> bytes | None:
        """Return what is in a box (base64, RSA-OAEP with SHA-1), or None when it is not for us."""
        ...


class SealedLink(BillLink, frozen=True):
    """Where an encrypted file can be fetched, and what opens it. The digest is that of the content, not of the encrypted file."""

    encrypt_key: str
    nonce: str


class _Seal(Struct, frozen=True):
    encrypt_key: str
    nonce: str
    hash_type: str
    hash_value: str


class _Kept(Struct, frozen=True):
    sealed: _Seal


def sealed_link(part: SealedPart) -> SealedLink:
    """Return the link of a part as the channel announces it."""
    return SealedLink(
        url=part.download_url,
        digest_kind=part.hash_type,
        digest=part.hash_value,
        compressed=True,
        encrypt_key=part.encrypt_key,
        nonce=part.nonce,
    )


def sealed_label(link: SealedLink) -> bytes:
    """Return the line that is kept before an encrypted file: what opens and proves it."""
    seal = _Seal(encrypt_key=link.encrypt_key, nonce=link.nonce, hash_type=link.digest_kind, hash_value=link.digest)
    return msgspec.json.encode(_Kept(sealed=seal)) + b"\n"


def unsealed(content: bytes, *, keys: KeyRing) -> bytes:
    """Return the file in the clear, uncompressed, when the key opens it and its SHA-1 is the announced one.

    Raises BillRefused: ``bill_form`` (not a kept file, no key for it), ``bill_digest`` (not for us, altered, another file).
    """
    label, end, box = content.partition(b"\n")
    if not label.startswith(_LABEL) or not end:
        raise BillRefused("an operator's fund bill comes encrypted; this file has no label of what opens it", code="bill_form")
    try:
        seal = msgspec.json.decode(label, type=_Kept).sealed
    except UNREADABLE as wrong:
        raise BillRefused(f"the label of the encrypted fund bill cannot be read: {wrong}", code="bill_form") from None
    if not isinstance(keys, Unwraps):
        raise BillRefused("the merchant key at hand can sign and not decrypt: an operator's fund bill needs it", code="bill_form")
    key = keys.unwrap(seal.encrypt_key)
    if key is None or len(key) not in _KEY_BYTES:
        raise BillRefused("the key of the encrypted fund bill was not encrypted for our merchant certificate", code="bill_digest")
    if seal.hash_type.upper() != "SHA1":
        raise BillRefused(f"the digest of the fund bill is {seal.hash_type}, not SHA1", code="bill_digest")
    return b"".join(proven([unpacked(_decrypted(box, key, seal.nonce))], seal.hash_value))


def _decrypted(box: bytes, key: bytes, nonce: str) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce.encode(), box, None)
    except (InvalidTag, ValueError):
        raise BillRefused("the encrypted fund bill does not open with its key: it is altered or cut", code="bill_digest") from None


def parse(content: bytes) -> FundBill:
    """Return the bill's movements when every row can be read and every total agrees.

    Raises BillRefused: ``bill_form`` (with the row), ``bill_cut`` (summary missing, or a total differs).
    """
    rows = text_lines(BytesIO(content))
    names = next(rows, "").split(",")
    if missing := set(_COLUMNS) - set(names):
        raise BillRefused(f"the fund bill's header has no column {'、'.join(sorted(missing))}", code="bill_form")
    place = {name: index for index, name in enumerate(names)}
    lines: list[FundLine] = []
    for number, row in enumerate(rows, 1):
        if not row.startswith("`"):
            bill = _bill(lines)
            _check_summary(row, next(rows, None), rows, bill)
            return bill
        lines.append(_line(number, values_of(row, len(names), number), place))
    raise BillRefused(f"the fund bill ends after {len(lines)} rows without a summary", code="bill_cut")


def _bill(lines: list[FundLine]) -> FundBill:
    return FundBill(
        lines=tuple(lines),
        income_fen=sum(line.income_fen for line in lines),
        expense_fen=sum(line.expense_fen for line in lines),
    )


def _line(number: int, values: list[str], place: dict[str, int]) -> FundLine:
    told = {name: values[place[name]] for name in _COLUMNS}
    amount_fen = amount_of(told["收支金额(元)"], number, "收支金额(元)")
    if (side := told["收支类型"]) not in (_INCOME, _EXPENSE):
        raise BillRefused(f"row {number} of the fund bill is neither income nor expense: {side!r}", code="bill_form")
    if amount_fen <= 0:
        raise BillRefused(f"row {number} of the fund bill moves {yuan(amount_fen)}", code="bill_form")
    return FundLine(
        line=number,
        happened_at=instant_of(told["记账时间"], number),
        kind=told["业务类型"],
        trade_no=told["微信支付业务单号"],
        income_fen=amount_fen if side == _INCOME else 0,
        expense_fen=amount_fen if side == _EXPENSE else 0,
        balance_fen=amount_of(told["账户结余(元)"], number, "账户结余(元)"),
        order_no=told["业务凭证号"] or None,
        note=told["备注"] or None,
    )


def _check_summary(header: str, values: str | None, rest: Iterator[str], bill: FundBill) -> None:
    names = header.split(",")
    if not set(names) >= set(_TOTALS) or values is None or not values.startswith("`"):
        raise BillRefused(f"after {len(bill.lines)} rows a summary was due, not {header[:80]!r}", code="bill_cut")
    stated = values[1:].split(SEPARATOR)
    if len(stated) != len(names):
        raise BillRefused("the fund bill ends in its summary", code="bill_cut")
    told = dict(zip(names, stated, strict=True))
    incomes = sum(line.income_fen > 0 for line in bill.lines)
    counted = dict(
        zip(_TOTALS, (len(bill.lines) * 100, incomes * 100, bill.income_fen, (len(bill.lines) - incomes) * 100, bill.expense_fen),
            strict=True)
    )  # fmt: skip
    for name, counted_fen in counted.items():  # a count is printed as 20 or 20.0: read with two decimals
        if _total(name, told[name]) != counted_fen:
            raise BillRefused(f"the fund bill states {name} {told[name]} and its rows {yuan(counted_fen)}: cut", code="bill_cut")
    if any(rest):
        raise BillRefused("the fund bill goes on after its summary", code="bill_form")


def _total(name: str, text: str) -> int:
    try:
        return fen(text)
    except ValueError as wrong:
        raise BillRefused(f"the fund bill's {name}: {wrong}", code="bill_cut") from None
