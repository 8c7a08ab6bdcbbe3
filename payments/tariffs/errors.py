"""What this package refuses, with stable codes.

Knows the kernel's error tree; must not know HTTP. Raised by this package, translated once, in the application.
"""

from typing import ClassVar

from ledger.errors import Conflict, NotFound, Refused


class TariffInvalid(Refused):
    """A tariff, calendar or rule that cannot stand; the message names everything that is wrong with it."""

    code: ClassVar[str] = "tariff_invalid"


class TariffConflict(Conflict):
    """The version or code is taken by other content."""

    code: ClassVar[str] = "tariff_conflict"


class TariffOverlaps(Conflict):
    """It would count at a time for which another is entered."""

    code: ClassVar[str] = "tariff_overlaps"


class TariffUnknown(NotFound):
    """No tariff or calendar has this code."""

    code: ClassVar[str] = "tariff_not_found"


class TariffMissing(Refused):
    """The lot has no tariff of ours at that time. ``minute`` is when it is needed."""

    code: ClassVar[str] = "tariff_missing"

    def __init__(self, message: str, *, minute: int) -> None:
        super().__init__(message)
        self.minute = minute


class PriceMissing(Refused):
    """A price that this stay needs was not found in any source. ``minute`` is when it is needed."""

    code: ClassVar[str] = "tariff_price_missing"

    def __init__(self, message: str, *, minute: int) -> None:
        super().__init__(message)
        self.minute = minute


class StayInvalid(Refused):
    """Times that are no stay."""

    code: ClassVar[str] = "stay_invalid"


class PassInvalid(Refused):
    """A pass that cannot stand."""

    code: ClassVar[str] = "pass_invalid"
