"""What WeChat's stand-in says and is told of the parking service: the channel's JSON, and one control form.

Knows field names; must not know state. Used by the parking counter and its routes.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateways.sandbox.wechat.shapes import MchId
from gateways.wechat import parking_wire, wire

HttpsUrl = Annotated[str, Meta(pattern=r"^https?://[^?#]{1,248}$")]
Color = Literal["BLUE", "GREEN", "YELLOW", "BLACK", "WHITE", "LIMEGREEN"]
PlateNumber = Annotated[str, Meta(min_length=2, max_length=32)]
At = Annotated[datetime, Meta(tz=True)]


class PlateIn(Struct, frozen=True, forbid_unknown_fields=True):
    """A plate whose owner opens, pauses or ends the service; ``pays`` is how its deductions end."""

    plate_number: PlateNumber
    plate_color: Color
    openid: Annotated[str, Meta(pattern=r"^[0-9A-Za-z_-]{1,128}$")]
    state: Literal["NORMAL", "PAUSE", "OVERDUE", "OUT_SERVICE"] = "NORMAL"
    pays: Literal["at_once", "later", "never"] = "at_once"
    """``later``: the channel pays at once in the payer's place, and is paid back in an hour."""


class PlatesIn(Struct, frozen=True, forbid_unknown_fields=True):
    plates: tuple[PlateIn, ...]


class ServiceOut(Struct, frozen=True, omit_defaults=True):
    plate_number: str
    plate_color: str
    openid: str
    service_state: str
    service_open_time: str | None = None


class EntryIn(Struct, frozen=True):
    sub_mchid: MchId
    out_parking_no: Annotated[str, Meta(min_length=1, max_length=64)]
    plate_number: PlateNumber
    plate_color: Color
    notify_url: HttpsUrl
    start_time: At
    parking_name: Annotated[str, Meta(min_length=1, max_length=parking_wire.LOT_CHARACTERS_MAX)]
    free_duration: Annotated[int, Meta(ge=0)]


class EntryOut(Struct, frozen=True, omit_defaults=True):
    id: str
    out_parking_no: str
    plate_number: str
    plate_color: str
    start_time: str
    parking_name: str
    free_duration: int
    state: str
    block_reason: str | None = None


class EntryNoticeOut(Struct, frozen=True, omit_defaults=True):
    sp_mchid: str
    sub_mchid: str
    parking_id: str
    out_parking_no: str
    plate_number: str
    plate_color: str
    start_time: str
    parking_name: str
    free_duration: int
    parking_state: str
    state_update_time: str
    blocked_state_description: str | None = None


class ParkingInfoIn(Struct, frozen=True):
    parking_id: Annotated[str, Meta(min_length=1, max_length=32)]
    plate_number: PlateNumber
    plate_color: Color
    start_time: At
    end_time: At
    parking_name: Annotated[str, Meta(min_length=1, max_length=parking_wire.LOT_CHARACTERS_MAX)]
    charging_duration: Annotated[int, Meta(ge=0)]
    device_id: Annotated[str, Meta(min_length=1, max_length=parking_wire.DEVICE_CHARACTERS_MAX)]


class DeductAmountIn(Struct, frozen=True):
    total: Annotated[int, Meta(ge=1, le=100_000_000)]
    currency: Literal["CNY"]


class DeductIn(Struct, frozen=True, kw_only=True):
    """A deduction as the channel reads it."""

    appid: Annotated[str, Meta(max_length=32)]
    sub_mchid: MchId
    description: Annotated[str, Meta(min_length=1, max_length=128)]
    out_trade_no: Annotated[str, Meta(pattern=r"^[0-9A-Za-z_\-*]{1,32}$")]
    trade_scene: Literal["PARKING"]
    notify_url: HttpsUrl
    amount: DeductAmountIn
    parking_info: ParkingInfoIn
    profit_sharing: Literal["Y", "N"] = "N"
    sub_appid: Annotated[str, Meta(max_length=32)] | None = None
    attach: Annotated[str, Meta(max_length=wire.ATTACH_CHARACTERS_MAX)] | None = None


class DeductPayerOut(Struct, frozen=True):
    openid: str


class DeductAmountOut(Struct, frozen=True, omit_defaults=True):
    total: int
    currency: str
    payer_total: int | None = None


class DeductionOut(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A deduction as the call, the query and the notices tell of it."""

    appid: str
    sub_appid: str | None = None
    sp_mchid: str
    sub_mchid: str
    description: str
    create_time: str
    out_trade_no: str
    transaction_id: str | None = None
    trade_state: str
    trade_state_description: str | None = None
    success_time: str | None = None
    bank_type: str | None = None
    user_repaid: str | None = None
    attach: str | None = None
    trade_scene: str
    parking_info: ParkingInfoIn
    payer: DeductPayerOut
    amount: DeductAmountOut
