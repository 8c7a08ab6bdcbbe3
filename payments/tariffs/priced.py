"""The records of an answer: a stay, what it costs, the lines that explain it, and the tariffs it stands on.

Knows types only. Read by every module that prices, by the API and the command line.
"""

from datetime import datetime

from msgspec import Struct

from payments.plates import PlateColor
from payments.tariffs.tariff import Names, Regime


class Stay(Struct, frozen=True, kw_only=True):
    """A car's stay. Times carry their offset."""

    entered_at: datetime
    left_at: datetime
    plate_color: PlateColor = "unknown"


class Line(Struct, frozen=True, kw_only=True):
    """One part of an amount. ``units * unit_fen == amount_fen``, but for caps, whose amounts are negative and stand alone.

    ``why`` is a stable word: a band's name, ``free_minutes``, ``free_hours``, ``calendar:CODE``, ``pass:NUMBER``,
    ``exempt_vehicle``, ``cap_stay``, ``cap_24h``, ``cap_day``.
    """

    from_at: datetime
    to_at: datetime
    units: int
    unit_fen: int
    amount_fen: int
    why: str
    words: Names


class Basis(Struct, frozen=True, kw_only=True):
    """A version of a tariff by which a stay was priced."""

    code: str
    version: int
    regime: Regime
    document: str


class Priced(Struct, frozen=True, kw_only=True):
    """What a stay costs and why. The lines sum to the amount; ``words.zh`` fits a charge's ``tariff_text``.

    ``minutes`` are those of the stay. ``same_until``: leaving before that instant costs the same; None: no change was found within
    40 days, or it was not asked for.
    """

    amount_fen: int
    minutes: int
    lines: tuple[Line, ...]
    words: Names
    tariffs: tuple[Basis, ...]
    same_until: datetime | None = None
