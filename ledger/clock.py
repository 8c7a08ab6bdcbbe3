"""Time: instants in UTC, business dates in China time.

Knows no database. The clock is always passed in, so that a simulated city day runs the product's own code.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

CHINA: Final = ZoneInfo("Asia/Shanghai")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MILLISECOND: Final = timedelta(milliseconds=1)


class Clock(Protocol):
    """Tells the present instant (aware, UTC)."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class SetClock:
    """A clock that stands until it is set; time never goes back."""

    def __init__(self, at: datetime) -> None:
        self._at = checked(at)

    def now(self) -> datetime:
        return self._at

    def set(self, at: datetime) -> None:
        """Move to ``at``. Raises ValueError when that would go back."""
        if checked(at) < self._at:
            raise ValueError(f"the clock stands at {self._at.isoformat()} and cannot go back to {at.isoformat()}")
        self._at = checked(at)


def checked(at: datetime) -> datetime:
    """Return ``at`` in UTC. Raises ValueError for a naive time: its meaning would be a guess."""
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone")
    return at.astimezone(UTC)


def business_date(at: datetime) -> date:
    """Return the business date 会计日 of an instant: the calendar day in China, cut at 00:00:00."""
    return checked(at).astimezone(CHINA).date()


def microseconds(at: datetime) -> int:
    """Return whole microseconds since 1970 (UTC)."""
    return (at - EPOCH) // _MICROSECOND


def milliseconds(at: datetime) -> int:
    """Return whole milliseconds since 1970 (UTC), rounded down."""
    return (at - EPOCH) // _MILLISECOND
