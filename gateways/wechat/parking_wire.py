"""Wire forms of the parking service: addresses, JSON shapes, state words.

Knows what the channel's documents print; must not know keys or what follows from a message. Read by the adapter and the sandbox.
"""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from gateways.contract import ChannelState
from gateways.wechat.wire import Amount, Number

SCENE: Final = "PARKING"
"""``trade_scene`` of a deduction; orders have none."""
PARKING_SERVICE_PATH: Final = "/v3/vehicle/parking/services/find"
PARKING_ENTRY_PATH: Final = "/v3/vehicle/parking/parkings"
DEDUCT_PATH: Final = "/v3/vehicle/transactions/parking"
DEDUCTION_PATH: Final = "/v3/vehicle/transactions/out-trade-no/"
SIGN_APP_ID: Final = "wxbcad394b3d99dac9"
SIGN_USERNAME: Final = "gh_518c42c65952"
SIGN_PATH: Final = "/pages/auth-creditpay/auth-creditpay"
"""The channel's mini program in which a payer opens, sees and ends the service for a plate."""
DEVICE_CHARACTERS_MAX: Final = 32
WORD_CHARACTERS_MAX: Final = 64
"""Of the channel's word for why a plate is blocked; its own have up to seven."""
LOT_CHARACTERS_MAX: Final = 128

PARKING_STATES: Final[dict[str, ChannelState]] = {
    "ACCEPTED": ChannelState.PENDING,
    "ACCEPT": ChannelState.PENDING,  # the notices' text spells it so
    "SUCCESS": ChannelState.SUCCEEDED,
    "REFUND": ChannelState.SUCCEEDED,
    "PAY_FAIL": ChannelState.FAILED,
}


class ParkingService(Struct, frozen=True):
    """Whether a plate may be deducted."""

    plate_number: str
    plate_color: str
    service_state: str
    openid: str


class EntryCall(Struct, frozen=True):
    """Body of the entry call."""

    sub_mchid: str
    out_parking_no: str
    plate_number: str
    plate_color: str
    notify_url: str
    start_time: str
    parking_name: str
    free_duration: int
    """Seconds."""


class Entry(Struct, frozen=True):
    """A car's entry as the entry call answers it."""

    id: Number
    out_parking_no: str
    plate_number: str
    plate_color: str
    state: str
    block_reason: str | None = None


class EntryNotice(Struct, frozen=True):
    """A car's entry as its notices tell of it, under other names."""

    sp_mchid: Number
    sub_mchid: Number
    parking_id: Number
    out_parking_no: Number
    plate_number: Annotated[str, Meta(min_length=1)]
    plate_color: Annotated[str, Meta(min_length=1)]
    parking_state: str
    state_update_time: Annotated[datetime, Meta(tz=True)]
    blocked_state_description: str | None = None


class ParkingInfo(Struct, frozen=True):
    """The stay that a deduction is for; it must agree with the entry."""

    parking_id: str
    plate_number: str
    plate_color: str
    start_time: str
    end_time: str
    parking_name: str
    charging_duration: int
    """Seconds."""
    device_id: str


class DeductCall(Struct, frozen=True):
    """Body of the deduction call."""

    appid: str
    sub_mchid: str
    description: str
    out_trade_no: str
    trade_scene: str
    notify_url: str
    profit_sharing: str
    amount: Amount
    parking_info: ParkingInfo


decode_parking_service: Final = msgspec.json.Decoder(ParkingService).decode
decode_entry: Final = msgspec.json.Decoder(Entry).decode
decode_entry_notice: Final = msgspec.json.Decoder(EntryNotice).decode
