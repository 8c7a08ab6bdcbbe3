"""Dense numbers 连续编号: each lot counts its records 1, 2, 3 ... per kind, so that one that is hidden or lost leaves a gap.

Knows lots' numbers and what bears them; must not know what a record says, or HTTP. Called by the intake of every kind.
Source: 锡政办发〔2025〕12号 二(七), 三(三).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.arrays import bigint, bigints, instant, integer, uuids
from ledger.volley import Shot, Statement, fire
from payments.lot_records.intake import Rejected

Series = Literal["stay", "charge", "taking", "opening", "return"]
"""What is counted; each has a count of its own."""
GAPS_MAX: Final = 1_000


class Gap(Struct, frozen=True, kw_only=True):
    """Numbers that are missing, from ``first`` to ``last``, since the one behind them came."""

    series: Series
    first: int
    last: int
    since: datetime


class Count(Struct, frozen=True, kw_only=True):
    """Where a lot's count of one kind stands. It is dense when ``numbers`` is ``last_number``."""

    series: Series
    last_number: int
    numbers: int
    heard_at: datetime

    @property
    def missing(self) -> int:
        return self.last_number - self.numbers


class Claimed:
    """The numbers of one call: who bears them already, and who takes them now."""

    def __init__(self, known: Mapping[int, UUID]) -> None:
        self._bearers: dict[int, UUID] = dict(known)
        self.taken: list[tuple[int, UUID]] = []

    def check(self, number: int | None, subject: UUID | None) -> None:
        """Raise Rejected when a number is another record's, or a record that is kept has not this one."""
        if number is None:
            return
        bearer = self._bearers.get(number)
        if bearer is not None and bearer != subject:
            raise Rejected("number", "number_taken", f"number {number} is another record's; count on, and never use a number twice")
        if bearer is None and subject is not None:
            raise Rejected("number", "content_differs", f"the record was posted before without number {number}")

    def take(self, number: int | None, subject: UUID) -> None:
        """Give a new record its number, which was checked."""
        if number is not None:
            self._bearers[number] = subject
            self.taken.append((number, subject))


_KNOWN: Final = Statement(
    """
    select number, subject from payments.lot_record_number
    where lot_id = %(lot)s::integer and series = %(series)s::text and number = any(%(numbers)s::bigint[])
      and number <= (select last_number from payments.lot_series where lot_id = %(lot)s::integer and series = %(series)s::text)
    """
)
_REGISTER: Final = Statement(
    """
    with made as (
        insert into payments.lot_record_number (subject, number, heard_at, lot_id, series)
        select subject, number, %(at)s::timestamptz, %(lot)s::integer, %(series)s::text
        from unnest(%(subjects)s::uuid[], %(numbers)s::bigint[]) as n (subject, number)
        order by number
    )
    insert into payments.lot_series as s (lot_id, series, last_number, numbers, heard_at)
    values (%(lot)s::integer, %(series)s::text, %(last)s::bigint, %(count)s::bigint, %(at)s::timestamptz)
    on conflict (lot_id, series) do update
    set last_number = greatest(s.last_number, excluded.last_number), numbers = s.numbers + excluded.numbers,
        heard_at = greatest(s.heard_at, excluded.heard_at)
    """
)


def claimed(tx: Connection, *, lot_id: int, series: Series, numbers: Sequence[int | None]) -> Claimed:
    """Return the numbers of a call with those that are borne already. The caller holds the lot's intake."""
    asked = sorted({number for number in numbers if number is not None})
    if not asked:
        return Claimed({})
    [rows] = fire(tx, [_KNOWN.shot(lot=integer(lot_id), series=series.encode(), numbers=bigints(asked))])
    return Claimed(dict(rows))


def registering(*, lot_id: int, series: Series, taken: Sequence[tuple[int, UUID]], at: datetime) -> list[Shot]:
    """Return what writes numbers that were taken now, and where the count stands."""
    if not taken:
        return []
    numbers = [number for number, _ in taken]
    return [
        _REGISTER.shot(
            lot=integer(lot_id), series=series.encode(), at=instant(at), subjects=uuids([subject for _, subject in taken]),
            numbers=bigints(numbers), last=bigint(max(numbers)), count=bigint(len(numbers)),
        )
    ]  # fmt: skip


def counts(tx: Connection, *, lot_id: int) -> list[Count]:
    """Return where a lot's counts stand."""
    query = text("select series, last_number, numbers, heard_at from payments.lot_series where lot_id = :lot order by series")
    return [Count(**row._mapping) for row in tx.execute(query, {"lot": lot_id})]


def gaps(tx: Connection, *, lot_id: int, limit: int = GAPS_MAX) -> list[Gap]:
    """Return what is missing of a lot's numbers, by kind and number; reads only the kinds in which something is."""
    series = [count.series for count in counts(tx, lot_id=lot_id) if count.missing]
    if not series:
        return []
    query = text("""
        select series, first, last, since from payments.v_record_gap
        where lot_id = :lot and series = any(cast(:series as text[])) order by series, first limit :limit
        """)
    return [Gap(**row._mapping) for row in tx.execute(query, {"lot": lot_id, "series": series, "limit": limit})]
