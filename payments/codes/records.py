"""The records of pay codes: places, codes, their history, and what a scanned one stands for.

Knows words and types only. Read by every module of this room, the API, the pages and the printing.
"""

from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from payments.lots import Lot
from payments.paycode import BasketCode, Content, StayCode

PlaceKind = Literal["lot", "lane", "berth"]
CodeState = Literal["issued", "posted", "moved", "retired", "replaced", "reported"]
"""issued: made, perhaps printed. posted: it hangs. moved: it was carried to another lot. retired: taken down. replaced: another one
hangs in its place. reported: stolen, pasted over, or found where it does not belong."""
GOOD: Final[frozenset[CodeState]] = frozenset({"issued", "posted"})
"""States in which a code is paid with. One that nobody reported as posted is: the wall is quicker than the report."""


class Place(Struct, frozen=True, forbid_unknown_fields=True):
    """What a code stands for. ``name`` is the lane's name or the berth's number, and empty for the whole lot."""

    place: PlaceKind
    name: str = ""


WHOLE_LOT: Final = Place("lot")


class Code(Struct, frozen=True, kw_only=True):
    """A code of the registry as it stands now."""

    code_no: int
    lot_id: int
    place: PlaceKind
    place_name: str
    state: CodeState
    successor_no: int | None
    acts: int
    """Rows of its history."""
    batch: str
    changed_at: datetime
    reports: int = 0
    """Cases open of it: strangers say that it looks wrong. It is paid with as before; only its state takes it out of use."""


class Act(Struct, frozen=True, kw_only=True):
    """One row of a code's history: what was done, and where the code hung afterwards."""

    number: int
    act: CodeState
    lot_code: str
    place: PlaceKind
    place_name: str
    successor_no: int | None
    reason: str
    done_by: str
    done_at: datetime


class Scanned(Struct, frozen=True):
    """What a scanned code stands for, once it is known to count. ``code_no`` is None for codes that are not in the registry."""

    lot: Lot
    place: Place
    state: CodeState
    content: Content
    is_reported: bool = False
    """A case is open of it, or of the lot's own code: whoever scans it is asked to compare names."""

    @property
    def code_no(self) -> int | None:
        return getattr(self.content, "code_no", None)

    @property
    def shown(self) -> StayCode | BasketCode | None:
        """What exactly is to be paid, when the code was made for that."""
        return self.content if isinstance(self.content, StayCode | BasketCode) else None
