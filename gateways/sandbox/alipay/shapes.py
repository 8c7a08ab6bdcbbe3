"""What Alipay's stand-in is told: the content of calls as the channel reads it.

Knows field names and their limits; must not know the store. Used by the stand-in's gateway.
"""

import re
from datetime import date
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from gateways.alipay import wire
from gateways.sandbox.alipay.desk import Refusal
from ledger.clock import microseconds

AMOUNT_FEN_MAX: Final = 10_000_000_000
_LIFE: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])", re.ASCII)
_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400}

OrderNo = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_]{1,64}\Z")]
Amount = Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,2})?\Z")]
Text = Annotated[str, Meta(min_length=1, max_length=256)]
Time = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\Z")]


class TradeIn(Struct, frozen=True, kw_only=True):
    """Content of create, precreate and wap pay."""

    out_trade_no: OrderNo
    total_amount: Amount
    subject: Text
    product_code: str | None = None
    seller_id: str | None = None
    buyer_id: Annotated[str, Meta(pattern=r"^2088[0-9]{12}\Z")] | None = None
    buyer_open_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    op_app_id: str | None = None
    time_expire: Time | None = None
    timeout_express: str | None = None
    qr_code_timeout_express: str | None = None
    passback_params: Annotated[str, Meta(max_length=512)] | None = None
    quit_url: Annotated[str, Meta(max_length=400)] | None = None


class TradeNameIn(Struct, frozen=True, kw_only=True):
    """Content of query, close and cancel."""

    out_trade_no: str | None = None
    trade_no: str | None = None


class RefundIn(TradeNameIn, frozen=True, kw_only=True):
    refund_amount: Amount
    out_request_no: Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-]{1,64}\Z")] | None = None
    refund_reason: Annotated[str, Meta(max_length=256)] | None = None


class RefundQueryIn(TradeNameIn, frozen=True, kw_only=True):
    out_request_no: Annotated[str, Meta(min_length=1, max_length=64)]
    query_options: tuple[str, ...] = ()


class BillIn(Struct, frozen=True, kw_only=True):
    bill_type: str
    bill_date: date


class AgreementIn(Struct, frozen=True, kw_only=True):
    car_number: Text
    plate_color: str | None = None
    parking_id: str | None = None
    alipay_user_id: str | None = None
    open_id: str | None = None


class EntryIn(Struct, frozen=True, kw_only=True):
    parking_id: Text
    car_number: Text
    in_time: Time
    car_color: str | None = None
    agreement_query: bool = False


class DebitIn(Struct, frozen=True, kw_only=True):
    out_trade_no: OrderNo
    total_fee: Amount
    subject: Text
    car_number: Text
    seller_id: str
    pay_scene: str
    pay_version: str
    parking_id: str | None = None
    out_parking_id: str | None = None
    serial_no: str | None = None
    in_time: Time | None = None
    out_time: Time | None = None
    in_duration: str | None = None


def read(content: bytes, kind: type[Any]) -> Any:
    """Return a call's content. Raises Refusal INVALID_PARAMETER."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise Refusal("ACQ.INVALID_PARAMETER", f"参数无效：{wrong}") from None


def amount_fen(text: str) -> int:
    """Return an amount between 0.01 yuan and the most that the channel takes. Raises Refusal INVALID_PARAMETER."""
    fen = wire.fen(text)
    if not 0 < fen <= AMOUNT_FEN_MAX:
        raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：金额超出范围")
    return fen


def life_seconds(text: str | None) -> int | None:
    """Return a life such as ``90m`` in seconds, at most 15 days. Raises Refusal INVALID_PARAMETER."""
    if text is None:
        return None
    found = _LIFE.fullmatch(text)
    seconds = 0 if found is None else int(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds <= wire.EXPIRY_DAYS_MAX * 86_400:
        raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：timeout_express不正确")
    return seconds


def end(time_expire: str | None) -> int | None:
    """Return the last moment to pay in microseconds since 1970. Raises Refusal INVALID_PARAMETER."""
    if time_expire is None:
        return None
    at = wire.instant(time_expire)
    if at is None:
        raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：time_expire不正确")
    return microseconds(at)
