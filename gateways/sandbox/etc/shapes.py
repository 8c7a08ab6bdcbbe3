"""What steers the ETC stand-in beyond the common faults: plates, how it behaves, settling disputes, clearing a day.

Knows the bodies of the control routes below ``/etc-sandbox``; must not know the wire. Used by demo, tests and simulation.
"""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateways.etc.clearing import MerchantNo
from gateways.etc.codes import BookingReason, DisputeOutcome, PlateColour
from gateways.etc.services import Plate as PlateNo

Answered = Literal["paid", "accepted", "unknown", "refused", "refused_later"]
"""How a charge is answered: paid at once; taken on and paid later; ``UNKNOWN`` and paid later; refused; taken on, refused later."""


class PlateIn(Struct, frozen=True, forbid_unknown_fields=True):
    """A plate and what its issuer does with a charge. ``balance_fen`` None: as much as is asked for."""

    plate: PlateNo
    colour: PlateColour = PlateColour.BLUE
    signed: bool = True
    listed: bool = False
    """On the status list: no charge is taken."""
    balance_fen: Annotated[int, Meta(ge=0)] | None = None
    answer: Answered = "accepted"
    reason: BookingReason = BookingReason.OTHER
    """Why charges are refused, with ``refused`` and ``refused_later``."""


class PlateOut(Struct, frozen=True):
    plate: str
    colour: int
    signed: bool
    listed: bool
    balance_fen: int | None
    answer: Answered
    sign_no: str


class LotIn(Struct, frozen=True, forbid_unknown_fields=True):
    """A car park and the operator that is paid for it."""

    lot_no: Annotated[str, Meta(pattern=r"^[0-9]{10}\Z")]
    merchant_no: MerchantNo


class Behaviour(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What goes wrong on purpose with packages, lists and the line. Counters go down as they are used."""

    answer_late_seconds: Annotated[float, Meta(ge=0)] = 0
    """Every answer over HTTP, and every reply and answer over TCP, waits so long."""
    answer_twice: bool = False
    """Over TCP each answer to a message is sent twice."""
    reply_not_received: Annotated[int, Meta(ge=0)] = 0
    """So many frames over TCP are replied to with ``0`` and not looked at."""
    wrong_digest: Annotated[int, Meta(ge=0)] = 0
    """So many frames of ours over TCP carry a wrong MD5."""
    busy: Annotated[int, Meta(ge=0)] = 0
    """So many calls over HTTP are answered 34, nothing is done."""
    dispute: tuple[BookingReason, ...] = ()
    """Reasons for which the first charges of the next package are disputed, one each; used up by that package."""
    hold_booking: bool = False
    """No booking result is told until it is asked for."""
    booking_twice: bool = False
    """A second, differing booking result is told for each package."""
    move_clear_date: bool = False
    """Packages are cleared on the day after the one that they name, as if they had come after midnight."""
    clearing_off_fen: int = 0
    clearing_off_count: int = 0
    """Clearing statistics tell so much more."""
    stale_list: bool = False
    """Status lists keep to the version before; changes are not told."""


class SettleIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Settle open disputes into one file. Without ``message_no`` all that are open; ``again`` settles what was settled before."""

    outcome: DisputeOutcome = DisputeOutcome.RELEASED
    message_no: str | None = None
    trans_no: int | None = None
    again: bool = False


class SettledOut(Struct, frozen=True):
    file_no: str | None
    count: int
    amount_fen: int


class ClearIn(Struct, frozen=True, forbid_unknown_fields=True):
    clear_on: date


class ClearedOut(Struct, frozen=True):
    clear_on: date
    count: int
    amount_fen: int
    message_nos: tuple[str, ...]
    file_nos: tuple[str, ...]


class BadIn(Struct, frozen=True, forbid_unknown_fields=True):
    """A charge by plate that was paid becomes bad: its issuer does not pay it after all."""

    order_no: str


class BookIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Tell the booking result of a package (again)."""

    message_no: str


class PackageOut(Struct, frozen=True):
    message_no: str
    clear_on: date
    count: int
    amount_fen: int
    disputed: int
    settled: int
    cleared: bool


class PackagesOut(Struct, frozen=True):
    packages: tuple[PackageOut, ...]


class RotateOut(Struct, frozen=True):
    key_id: str
