"""What UnionPay tells: the fields of a notice or answer, what codes mean, dates that have no year.

Knows what the channel's documents print; must not know keys or what follows from a message. Read by the adapter and the bill.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from gateways.contract import ChannelState
from gateways.unionpay.wire import OrderKey, instant, txn_time
from ledger.clock import CHINA, checked

_DETAIL: Final = re.compile(r"\[([0-9]{7})\]$")
_CHINA_AHEAD: Final = timedelta(hours=8)

Text = Annotated[str, Meta(max_length=4_096)]
Number = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-|*@]{1,64}$")]
"""A number of an order or a merchant. Anything else cannot be stored or compared safely."""
Code = Annotated[str, Meta(pattern=r"^[0-9A-Z]{2}$")]


class Transaction(Struct, frozen=True, rename="camel"):
    """What a notice or an answer tells of a transaction; other fields are kept with the evidence.

    The fields without which money must not be booked are typed strictly; the rest is text that may be of any form.
    """

    access_type: Text | None = None
    acq_ins_code: Text | None = None
    mer_id: Number | None = None
    order_id: Number | None = None
    txn_time: Annotated[str, Meta(pattern=r"^[0-9]{14}$")] | None = None
    txn_type: Code | None = None
    resp_code: Code | None = None
    orig_resp_code: Code | None = None
    """In a query's answer: what became of the transaction asked for."""
    query_id: Annotated[str, Meta(pattern=r"^[0-9]{21}$")] | None = None
    """The channel's number of the transaction. A refund needs the payment's."""
    orig_qry_id: Annotated[str, Meta(pattern=r"^[0-9]{21}$")] | None = None
    """In a refund's notice: the payment's queryId."""
    txn_amt: Annotated[str, Meta(pattern=r"^[0-9]{1,12}$")] | None = None
    currency_code: Annotated[str, Meta(pattern=r"^[0-9]{3}$")] | None = None
    resp_msg: Text | None = None
    settle_amt: Text | None = None
    settle_currency_code: Text | None = None
    settle_date: Text | None = None
    """MMDD; see ``date_near``."""
    trace_no: Text | None = None
    trace_time: Text | None = None
    """MMDDhhmmss; see ``instant_near``."""
    req_reserved: Text | None = None
    qr_code: Annotated[str, Meta(pattern=r"^https://[\x21-\x7e]{1,1000}$")] | None = None
    """The address to be shown as a QR code; what is in it is the channel's matter."""
    pay_url: Annotated[str, Meta(pattern=r"^https://[\x21-\x7e]{1,4000}$")] | None = None
    app_user_id: Text | None = None
    tn: Text | None = None
    file_name: Text | None = None


def transaction(fields: Mapping[str, str]) -> Transaction | None:
    """Return what verified fields tell, or None when one of them has a form that cannot be relied on."""
    try:
        return msgspec.convert({name: value for name, value in fields.items() if value}, Transaction)
    except msgspec.ValidationError:
        return None


def traced_at(told: Transaction) -> datetime | None:
    """Return when the channel carried a transaction out, UTC, from its traceTime, which has no year; None when it does not say."""
    sent_at = None if told.txn_time is None else instant(told.txn_time)
    if sent_at is None or told.trace_time is None:
        return None
    return instant_near(told.trace_time, sent_at.astimezone(CHINA).date())


NAMED_BY: Final = ("merId", "orderId", "txnTime")
"""The fields that name a transaction: an answer must repeat all of them."""


def query_mismatch(told: Transaction, *, merchant_no: str, key: OrderKey) -> str | None:
    """Return the first field by which a query's answer speaks of another transaction than was asked for, or None."""
    ours = (merchant_no, key.order_no, txn_time(key.created_at))
    theirs = (told.mer_id, told.order_id, told.txn_time)
    return next((name for name, our, their in zip(NAMED_BY, ours, theirs, strict=True) if our != their), None)


def detail(resp_msg: str) -> str | None:
    """Return the 7-digit detail at the end of a ``respMsg``: ``成功[0000000]`` → ``0000000``."""
    found = _DETAIL.search(resp_msg)
    return None if found is None else found[1]


class Meaning(StrEnum):
    """What a respCode means for us; the word is the ``reason`` of an outcome."""

    ACCEPTED = "accepted"
    """A query: the answer counts. Anything else: taken on, the result comes by notice or query."""
    FAILED = "failed"
    UNAVAILABLE = "unavailable"
    """Closed or busy: query, then the same order again."""
    UNDECIDED = "undecided"
    """The channel itself does not know yet: query."""
    REFUSED = "call_refused"
    """Our message is wrong; repeating it cannot help."""
    TAKEN = "order_number_taken"
    """This transaction is there already: query it. Not a failure."""
    DECLINED = "declined"
    """By issuer, card or balance."""
    NOT_ALLOWED = "not_allowed"
    """Signature, permission or limit: to be mended by a person. As an answer it says nothing about the order."""
    NOT_FOUND = "not_found"
    ORIGINAL_UNFIT = "original_unfit"
    """The payment to be refunded or cancelled is missing, in the wrong state, or does not match."""
    RATE_LIMITED = "rate_limited"
    RISK = "risk"
    """Risk rules, opening hours or binding."""
    MONEY_MOVED = "money_moved"
    """The payer was debited, but late or without the channel's bookkeeping: to be handled, never to be forgotten."""
    UNDONE = "already_undone"
    """Refunded or cancelled before: query, then treat as done."""
    PAYER_ACTS = "payer_acts"
    """The payer must do something first."""
    FILE_ABSENT = "not_ready"
    """No clearing file: not made yet, or nothing happened that day. The code does not say which."""


RESP_CODES: Final[dict[str, Meaning]] = {
    "00": Meaning.ACCEPTED,
    "A6": Meaning.ACCEPTED,
    "01": Meaning.FAILED,
    "02": Meaning.UNAVAILABLE,
    **dict.fromkeys(("03", "04", "05"), Meaning.UNDECIDED),
    **dict.fromkeys(("10", "13", "14", "80"), Meaning.REFUSED),
    "12": Meaning.TAKEN,
    "30": Meaning.DECLINED,
    **dict.fromkeys(("11", "31", "32", "33"), Meaning.NOT_ALLOWED),
    "34": Meaning.NOT_FOUND,
    **dict.fromkeys(("35", "36"), Meaning.ORIGINAL_UNFIT),
    "37": Meaning.RATE_LIMITED,
    **dict.fromkeys(("38", "39", "40", "41"), Meaning.RISK),
    **dict.fromkeys(("42", "74", "75"), Meaning.MONEY_MOVED),
    "45": Meaning.UNDONE,
    **dict.fromkeys((str(code) for code in range(60, 70)), Meaning.DECLINED),
    **dict.fromkeys(("73", "78", "79"), Meaning.DECLINED),
    **dict.fromkeys(("70", "71", "72", "76", "77"), Meaning.PAYER_ACTS),
    **dict.fromkeys(("98", "99"), Meaning.FILE_ABSENT),
}
"""A code that is not here says nothing: on money its result is unknown. 98 and 99 are probable, the others certain."""

DEFECT: Final = "A6"
"""Success with a defect: counts as success, and is worth a line in the log."""

DEBITED_IS_PAID: Final = frozenset({"42"})
"""Of the money-moved codes in a query's answer those that count as paid: 42 was debited too late, and is booked and given back.
74 and 75 were debited without certain bookkeeping at the channel: they stay unknown until a person or the clearing file decides."""

_ATTEMPT_FAILED: Final = frozenset(
    {
        Meaning.FAILED,
        Meaning.UNAVAILABLE,
        Meaning.REFUSED,
        Meaning.DECLINED,
        Meaning.NOT_ALLOWED,
        Meaning.NOT_FOUND,
        Meaning.ORIGINAL_UNFIT,
        Meaning.RISK,
        Meaning.PAYER_ACTS,
    }
)
"""As origRespCode: this attempt failed."""
_NOT_MADE: Final = frozenset({Meaning.FAILED, Meaning.REFUSED, Meaning.DECLINED, Meaning.ORIGINAL_UNFIT, Meaning.PAYER_ACTS})
"""As the answer to an order: nothing was made, nor by an identical call before. The other refusals may hide an earlier order."""


def query_state(resp_code: str | None, orig_resp_code: str | None, *, final: bool) -> ChannelState:
    """Return what a query's verified answer says of the transaction asked for.

    ``final``: no further attempt can come; true for a charge, refund or cancel, and for what a payer pays in a browser or by QR
    only after payTimeout. Before that "failed" and "not found" may be one attempt, or none yet: pending.
    respCode 00 alone never means paid. Source: ACP 5.1.0, 交易状态查询.
    """
    if resp_code is None or (asked := RESP_CODES.get(resp_code)) is None:
        return ChannelState.UNKNOWN
    if asked is Meaning.NOT_FOUND:
        return ChannelState.NOT_FOUND if final else ChannelState.PENDING
    if asked is not Meaning.ACCEPTED or orig_resp_code is None:
        return ChannelState.UNKNOWN
    original = RESP_CODES.get(orig_resp_code)
    if original is Meaning.ACCEPTED or orig_resp_code in DEBITED_IS_PAID:
        return ChannelState.SUCCEEDED
    if original in _ATTEMPT_FAILED:
        return ChannelState.FAILED if final else ChannelState.PENDING
    return ChannelState.UNKNOWN


def order_state(resp_code: str | None) -> ChannelState:
    """Return what the verified answer to an order, charge, refund or cancel says: 00 is accepted, which is pending, not done.

    Whatever is unknown here, also where the payer was debited, is for the query to decide.
    """
    meaning = None if resp_code is None else RESP_CODES.get(resp_code)
    if meaning is Meaning.ACCEPTED:
        return ChannelState.PENDING
    return ChannelState.FAILED if meaning in _NOT_MADE else ChannelState.UNKNOWN


def notice_state(resp_code: str | None) -> ChannelState:
    """Return what a notice says. Failures are not notified, so anything but success is unknown: query."""
    paid = resp_code is not None and RESP_CODES.get(resp_code) is Meaning.ACCEPTED
    return ChannelState.SUCCEEDED if paid else ChannelState.UNKNOWN


def date_near(month_day: str, near: date) -> date | None:
    """Return the ``MMDD`` that lies nearest to ``near``, or None when there is no such day: the channel writes no year.

    A payment of 31 December with settleDate 0101 is settled in the next year.
    """
    if len(month_day) != 4 or not (month_day.isascii() and month_day.isdigit()):
        return None
    return _date_near(month_day, near)


@lru_cache(maxsize=1_024)
def _date_near(month_day: str, near: date) -> date | None:
    month, day = int(month_day[:2]), int(month_day[2:])
    days = [found for year in (near.year - 1, near.year, near.year + 1) if (found := _date(year, month, day)) is not None]
    return min(days, key=lambda found: abs(found - near), default=None)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def instant_near(text: str, near: date) -> datetime | None:
    """Return the instant (UTC) of a ``MMDDhhmmss`` in China whose day lies nearest to ``near``, or None when it is no time."""
    day = date_near(text[:4], near)
    rest = text[4:]
    if day is None or len(rest) != 6 or not (rest.isascii() and rest.isdigit()):
        return None
    try:
        local = datetime(day.year, day.month, day.day, int(rest[:2]), int(rest[2:4]), int(rest[4:]), tzinfo=UTC)
    except ValueError:
        return None
    return local - _CHINA_AHEAD


def settled_on(settle_date: str, *, paid_at: datetime) -> date | None:
    """Return the clearing day of a transaction from its settleDate (MMDD), or None when it is no day."""
    return date_near(settle_date, checked(paid_at).astimezone(CHINA).date())
