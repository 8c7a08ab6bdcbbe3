"""The services of WXETC-1 [P]: what each one's body holds, how it is built and read, what must agree in it.

Knows bodies; must not know envelopes, keys or what follows in the book. Called by the adapter and the stand-in.
A builder raises ValueError for a message that must not be sent; a reader never raises: it returns what to answer.
Source: docs/ETC.md, section 8.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from gateways.contract import ChannelState
from gateways.etc import clearing
from gateways.etc.clearing import BookingResult, ClearingStatistics, DisputeResult, Instant, MerchantNo
from gateways.etc.codes import BookingReason, PlateColour, Receipt, RefundReason, RefundRefusal, Rejection
from gateways.etc.envelope import plain
from gateways.etc.record import CAP_FEN_DEFAULT, FEE_FEN_MAX

STATUS_ENTRIES_MAX: Final = 100_000
"""Most entries that one answer of a status list adds or removes [P]."""
STATUS_LIST_HOURS_MAX: Final = 2
"""A status list that was not renewed for so long is stale; lists are expected hourly."""

_KEPT: Final = (datetime, date)
_T = TypeVar("_T", bound=Struct)


class Service(StrEnum):
    """Names of the services; the path and ``msgType``."""

    TRANS_UPLOAD = "etc.trans.upload"
    PLATE_PAY = "etc.plate.pay"
    PLATE_PAY_QUERY = "etc.plate.pay.query"
    PLATE_PAY_NOTIFY = "etc.plate.pay.notify"
    PLATE_SIGN_QUERY = "etc.plate.sign.query"
    ACCOUNT_RESULT = "etc.account.result"
    DISPUTE_RESULT = "etc.dispute.result"
    CLEAR_STAT = "etc.clear.stat"
    REFUND_APPLY = "etc.refund.apply"
    REFUND_QUERY = "etc.refund.query"
    REFUND_RESULT = "etc.refund.result"
    STATUS_LIST = "etc.status.list"
    RECON_FILE = "etc.recon.file"


CALLED_BY_US: Final = frozenset(
    {
        Service.TRANS_UPLOAD,
        Service.PLATE_PAY,
        Service.PLATE_PAY_QUERY,
        Service.PLATE_SIGN_QUERY,
        Service.REFUND_APPLY,
        Service.REFUND_QUERY,
        Service.STATUS_LIST,
        Service.RECON_FILE,
    }
)
"""The other services are called by the clearing party at our door."""

OrderNo = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-]{1,32}\Z")]
ChargeNo = Annotated[str, Meta(pattern=r"^[0-9]{26}\Z")]
LotNo = Annotated[str, Meta(pattern=r"^[0-9]{10}\Z")]
IssuerNo = Annotated[str, Meta(pattern=r"^[0-9]{6}\Z")]
Plate = Annotated[str, Meta(pattern=r"^[0-9A-Za-z\u4e00-\u9fff]{1,12}\Z")]
Serial = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-]{1,32}\Z")]
Fee = Annotated[int, Meta(ge=0, le=FEE_FEN_MAX)]
ListEntry = Annotated[str, Meta(pattern=r"^[0-9A-Za-z\u4e00-\u9fff]{1,32}\Z")]
ListVersion = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_.\-]{0,32}\Z")]
ListKind = Literal["CARD", "OBU", "PLATE"]


class PlateState(StrEnum):
    """What the clearing party says of a charge by plate."""

    ACCEPTED = "ACCEPTED"
    """The issuer will pull the money; it is not there yet."""
    PAID = "PAID"
    REFUSED = "REFUSED"
    UNKNOWN = "UNKNOWN"
    """Ask again: it may still become PAID."""


PLATE_STATES: Final[dict[PlateState, ChannelState]] = {
    PlateState.ACCEPTED: ChannelState.PENDING,
    PlateState.PAID: ChannelState.SUCCEEDED,
    PlateState.REFUSED: ChannelState.FAILED,
    PlateState.UNKNOWN: ChannelState.UNKNOWN,
}


class PlatePay(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "order_no": "orderId",
        "charge_id": "id",
        "lot_no": "parkId",
        "merchant_no": "merchantNo",
        "colour": "plateColor",
        "entered_at": "enterTime",
        "exited_at": "exitTime",
        "fee_fen": "fee",
        "notify_no": "notifyId",
        "cap_fen": "capFen",
    },
):
    """Ask for a charge by plate. ``merchant_no`` is the operator's own; nobody else may receive the money."""

    order_no: OrderNo
    charge_id: ChargeNo
    lot_no: LotNo
    merchant_no: MerchantNo
    plate: Plate
    colour: PlateColour
    entered_at: Instant
    exited_at: Instant
    fee_fen: Fee
    mode: Literal["EXIT", "ARREARS"]
    """At the exit, or later for a debt."""
    notify_no: Serial
    """Names the address that notices go to; both sides agreed on it."""
    cap_fen: Annotated[int, Meta(ge=1, le=FEE_FEN_MAX)] = CAP_FEN_DEFAULT
    """The other side must refuse a fee above this, too."""


class PlatePayQuery(Struct, frozen=True, rename={"order_no": "orderId"}):
    """Ask what became of a charge by plate."""

    order_no: OrderNo


class PlatePayState(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "order_no": "orderId",
        "merchant_no": "merchantNo",
        "fee_fen": "fee",
        "paid_at": "payTime",
        "issuer_no": "issuerId",
        "channel_serial": "channelSerial",
    },
):
    """``data`` of the reply to a charge by plate and to its query. A paid one has a time."""

    order_no: OrderNo
    merchant_no: MerchantNo
    fee_fen: Fee
    state: PlateState
    paid_at: Instant | None = None
    reason: BookingReason | None = None
    """Why it is refused."""
    issuer_no: IssuerNo | None = None
    channel_serial: Serial | None = None


class PlatePayNotice(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "order_no": "orderId",
        "merchant_no": "merchantNo",
        "paid_at": "payTime",
        "issuer_no": "issuerId",
        "channel_serial": "channelSerial",
        "fee_fen": "fee",
    },
):
    """Tells the end of a charge by plate. A paid one has a time, an issuer and the channel's own number."""

    order_no: OrderNo
    merchant_no: MerchantNo
    state: PlateState
    fee_fen: Fee
    paid_at: Instant | None = None
    reason: BookingReason | None = None
    issuer_no: IssuerNo | None = None
    channel_serial: Serial | None = None


class PlateSignQuery(Struct, frozen=True, kw_only=True, rename={"colour": "plateColor", "merchant_no": "merchantNo"}):
    """Ask whether a plate may be charged for a merchant."""

    plate: Plate
    colour: PlateColour
    merchant_no: MerchantNo


class PlateSigned(Struct, frozen=True, kw_only=True, rename={"colour": "plateColor", "sign_no": "signNo"}):
    """``data`` of the reply: ``SIGNED`` (it may be charged), ``UNSIGNED`` (nobody signed), ``LISTED`` (on the status list)."""

    plate: Plate
    colour: PlateColour
    state: Literal["SIGNED", "UNSIGNED", "LISTED"]
    sign_no: Serial | None = None


class RefundApply(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "refund_no": "refundId",
        "charge_id": "id",
        "order_no": "orderId",
        "refund_fen": "refundFen",
        "reason": "reasonCode",
    },
):
    """Ask for a refund of one charge, named either by its 26 digits or by its order number."""

    refund_no: OrderNo
    refund_fen: Annotated[int, Meta(ge=1, le=FEE_FEN_MAX)]
    reason: RefundReason
    charge_id: ChargeNo | None = None
    order_no: OrderNo | None = None
    remark: Annotated[str, Meta(max_length=128)] = ""


class RefundQuery(Struct, frozen=True, rename={"refund_no": "refundId"}):
    """Ask what became of a refund."""

    refund_no: OrderNo


class RefundResult(
    Struct,
    frozen=True,
    kw_only=True,
    rename={
        "refund_no": "refundId",
        "order_no": "orderId",
        "charge_id": "id",
        "merchant_no": "merchantNo",
        "refund_fen": "refundFen",
        "done_at": "doneTime",
        "clear_on": "clearTargetDate",
    },
):
    """Tells where a refund stands: its notice, and ``data`` of the replies to the application and to the query.

    ``clear_on`` is the clearing date from which it is deducted.
    """

    refund_no: OrderNo
    refund_fen: Annotated[int, Meta(ge=1, le=FEE_FEN_MAX)]
    merchant_no: MerchantNo | None = None
    """Missing only where there is no charge that it could be of."""
    state: Literal["ACCEPTED", "DONE", "REFUSED"]
    order_no: OrderNo | None = None
    charge_id: ChargeNo | None = None
    reason: RefundRefusal | None = None
    """Why it is refused."""
    done_at: Instant | None = None
    clear_on: date | None = None


class StatusListAsk(Struct, frozen=True, rename="camel"):
    """Ask for what changed in a province's list since a version; an empty version asks for all."""

    kind: ListKind
    province_code: Annotated[str, Meta(pattern=r"^[0-9]{2}\Z")]
    since_version: ListVersion = ""


class StatusList(Struct, frozen=True, kw_only=True):
    """``data`` of the reply: entries that must not be charged. ``full``: it replaces what was known."""

    version: ListVersion
    full: bool
    add: Annotated[tuple[ListEntry, ...], Meta(max_length=STATUS_ENTRIES_MAX)] = ()
    remove: Annotated[tuple[ListEntry, ...], Meta(max_length=STATUS_ENTRIES_MAX)] = ()


class ReconFileAsk(Struct, frozen=True, rename={"clear_on": "clearTargetDate", "merchant_no": "merchantNo"}):
    """Ask where one operator's reconciliation file of a clearing date is."""

    clear_on: date
    merchant_no: MerchantNo


class ReconFileLink(Struct, frozen=True, rename={"file_name": "fileName"}):
    """``data`` of the reply [P]: where the file is and its SM3; beside it lies the same digest with the suffix ``.sm3``.

    ``url`` is an address, or a path on the gateway that answers."""

    file_name: Annotated[str, Meta(pattern=r"^WXETC_DETAIL_[0-9A-Za-z_\-]{1,32}_[0-9]{8}\.txt\Z")]
    url: Annotated[str, Meta(pattern=r"^(https?:/)?/[\x21-\x2e\x30-\x7e][\x21-\x7e]{0,999}\Z")]
    sm3: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Arrival(StrEnum):
    """Whether a message number was seen before."""

    NEW = "new"
    AGAIN = "again"
    """The same content: give the first reply again and do nothing."""
    OTHER_CONTENT = "other_content"
    """Answer 5; the first message stands."""


def arrival(fingerprint: str, *, first: str | None) -> Arrival:
    """Judge a message by what came first under the same number of the same sender (None: nothing)."""
    if first is None:
        return Arrival.NEW
    return Arrival.AGAIN if first == fingerprint else Arrival.OTHER_CONTENT


def body_of(message: Struct) -> dict[str, Any]:
    """Return the body that says ``message``. Raises ValueError for one that its own reader would refuse."""
    body = builtins_of(message)
    if isinstance(refused := read(type(message), body), Rejection):
        raise ValueError(f"{type(message).__name__} must not be sent: {refused.reason}")
    return body


def read(kind: type[_T], body: Mapping[str, Any]) -> _T | Rejection:
    """Return what a body says: form wrong 3, counts or contradictions 4. Fields that are not listed are ignored."""
    try:
        message = msgspec.convert(body, kind)
    except (msgspec.ValidationError, OverflowError) as wrong:
        return Rejection(Receipt.SCHEMA_INVALID, str(wrong))
    rule = _RULES.get(kind)
    if rule is not None and (wrong_content := rule(message)):
        return Rejection(Receipt.CONTENT_WRONG, wrong_content)
    return message


def refund_objection(refund: RefundApply, *, paid_fen: int, refunded_fen: int, cleared: bool) -> str | None:
    """Return why a refund cannot be asked for, or None: nothing before clearing, never more than is left.

    ``refunded_fen`` counts what was given back or is being given back.
    """
    if not cleared:
        return "the charge is not cleared yet"
    rest_fen = paid_fen - refunded_fen
    return None if refund.refund_fen <= rest_fen else f"{refund.refund_fen} fen are more than the {rest_fen} left"


def with_changes(present: frozenset[str], change: StatusList) -> frozenset[str]:
    """Return a status list after a change; a full one replaces it. An entry both added and removed stays in."""
    return frozenset(change.add) if change.full else (present - frozenset(change.remove)) | frozenset(change.add)


def builtins_of(message: Struct) -> dict[str, Any]:
    """Return a message's fields under the wire's names, without looking whether they agree."""
    body: dict[str, Any] = plain(msgspec.to_builtins(message, builtin_types=_KEPT))
    return body


def _plate_pay_rule(pay: PlatePay) -> str | None:
    if pay.fee_fen > pay.cap_fen:
        return f"a fee of {pay.fee_fen} fen is above the cap of {pay.cap_fen}"
    if pay.entered_at > pay.exited_at:
        return "the entry is after the exit"
    return None if pay.charge_id.startswith(pay.lot_no) else "the charge's id is not of this car park"


def _plate_state_rule(told: PlatePayState) -> str | None:
    if told.state is PlateState.PAID and told.paid_at is None:
        return "a paid charge has a time"
    return _reason_rule(told)


def _plate_notice_rule(notice: PlatePayNotice) -> str | None:
    if notice.state is PlateState.PAID and None in (notice.paid_at, notice.issuer_no, notice.channel_serial):
        return "a paid charge has time, issuer and serial"
    return _reason_rule(notice)


def _reason_rule(told: PlatePayState | PlatePayNotice) -> str | None:
    return "only a refused charge has a reason" if told.reason is not None and told.state is not PlateState.REFUSED else None


def _refund_rule(refund: RefundApply) -> str | None:
    return "a refund names a charge or an order" if (refund.charge_id is None) is (refund.order_no is None) else None


def _refund_result_rule(result: RefundResult) -> str | None:
    if result.state == "DONE" and None in (result.done_at, result.clear_on):
        return "a refund that is done has a time and a clearing date"
    if result.reason is not None and result.state != "REFUSED":
        return "only a refused refund has a reason"
    if result.merchant_no is None and result.reason is not RefundRefusal.NO_CHARGE:
        return "a refund is of a merchant"
    return "a refund is of an order or a charge" if result.order_no is None and result.charge_id is None else None


def _clear_stat_rule(statistics: ClearingStatistics) -> str | None:
    if statistics.fee_fen is None or statistics.net_fen is None:
        return "channelFee and netAmount are missing"
    return clearing.clearing_form_objection(statistics)


_RULES: Final[dict[type[Struct], Callable[[Any], str | None]]] = {
    PlatePay: _plate_pay_rule,
    PlatePayState: _plate_state_rule,
    PlatePayNotice: _plate_notice_rule,
    RefundApply: _refund_rule,
    RefundResult: _refund_result_rule,
    BookingResult: clearing.booking_form_objection,
    DisputeResult: clearing.dispute_form_objection,
    ClearingStatistics: _clear_stat_rule,
}
"""What must agree within a body, beyond its form."""
