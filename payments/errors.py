"""What payments refuses, with stable codes.

Knows the kernel's error tree; must not know HTTP. Raised by this room, translated once, in the application.
"""

from typing import ClassVar

from ledger.errors import Conflict, NotFound, Refused, Unavailable


class DeductionUnderWay(Conflict):
    """The charge is being taken by the plate's mandate; whoever pays by hand now would pay twice."""

    code: ClassVar[str] = "deduction_under_way"


class DebtReserved(Conflict):
    """Somebody is paying this debt on another phone at this moment: paid twice, one of the two would have to be refunded."""

    code: ClassVar[str] = "debt_reserved"


class PartRefused(Refused):
    """Not a part of what is due, or the car still stands at the gate, where all is paid."""

    code: ClassVar[str] = "part_invalid"


class CardUnderWay(Conflict):
    """The car's card has paid the charge at the lane; its issuer decides within days, and a refusal opens the charge again."""

    code: ClassVar[str] = "card_under_way"


class ChargeUnknown(NotFound):
    """There is no such charge, or it is not the asker's."""

    code: ClassVar[str] = "charge_unknown"


class AlreadyPaid(Conflict):
    """The charge is settled: nobody has to pay it again."""

    code: ClassVar[str] = "charge_settled"


class OrderUnknown(NotFound):
    """No order has this link token."""

    code: ClassVar[str] = "order_unknown"


class OrderExpired(Refused):
    """The price lock of the order is over: scan the code again."""

    code: ClassVar[str] = "order_expired"


class NoRoute(Unavailable):
    """The operator has no merchant account at this channel now, so nobody could be paid."""

    code: ClassVar[str] = "route_missing"


class ChannelBusy(Unavailable):
    """The channel did not answer, or not understandably. Whether an order was made is unknown; trying again is safe."""

    code: ClassVar[str] = "channel_unknown"


class ChannelRefused(Unavailable):
    """The channel refused to make the order: nothing was made."""

    code: ClassVar[str] = "channel_refused"


class PlateRefused(Refused):
    """Not a number plate of the mainland, or its colour does not fit."""

    code: ClassVar[str] = "plate_invalid"


class CursorRefused(Refused):
    """A cursor that did not come from us."""

    code: ClassVar[str] = "cursor_invalid"
