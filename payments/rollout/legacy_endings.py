"""Old codes that are ended together: where only the city's code may hang from a day on, others get their last day.

Knows old codes, lots and the rollout's rules; must not know HTTP. Called by the command line. A run goes lot by lot in batches,
each a transaction; one that was broken off goes on where it was.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from threading import Event
from typing import Final

from msgspec import Struct
from sqlalchemy import Engine, text

from ledger.clock import business_date
from ledger.errors import Conflict, Refused
from payments import people
from payments.rollout.policy import IN_FORCE

DOCUMENT_LETTERS_MAX: Final = 200
BATCH: Final = 500
"""Lots looked at in one transaction."""

_BEGUN: Final = text("""
    insert into payments.legacy_ending (last_day, district, document, person_code, started_at)
    values (:last_day, :district, :document, :person, :at) on conflict do nothing
    """)
_OPEN: Final = text("select last_day, district, document from payments.legacy_ending where ended_at is null")
_NEXT: Final = text(f"""
    with run as materialized (
        select ending_id, last_day, district, after_lot_id from payments.legacy_ending where ended_at is null for update skip locked
    ), part as materialized (
        select l.lot_id from payments.lot l, run
        where l.lot_id > run.after_lot_id and (run.district is null or l.district = run.district) order by l.lot_id limit :batch
    ), bound as materialized (
        select l.lot_id from part join payments.lot l on l.lot_id = part.lot_id
        join payments.operator o on o.operator_id = l.operator_id
        cross join lateral ({IN_FORCE}) r
        where r.requires = 'city_code_only'
    ), gone as (
        update payments.legacy_code c
        set last_day = run.last_day, ended_at = :at, ending_id = run.ending_id
        from bound b, run
        where c.lot_id = b.lot_id and c.first_day <= run.last_day and (c.last_day is null or c.last_day > run.last_day)
        returning 1
    ), told as (
        update payments.legacy_ending e
        set codes = e.codes + (select count(*) from gone), after_lot_id = coalesce((select max(lot_id) from part), e.after_lot_id),
            ended_at = case when (select count(*) from part) < :batch then cast(:at as timestamptz) end
        from run where e.ending_id = run.ending_id
        returning e.ended_at
    )
    select (select count(*) from gone) as codes, (select count(*) from part) as lots, ended_at is not null as is_over from told
    """)


class Ended(Struct, frozen=True):
    """What a call ended. Unless ``is_over`` it was told to stop, and the same call again goes on."""

    codes: int
    lots: int
    is_over: bool


def end_all(
    db: Engine, *, last_day: date, document: str, person_code: str, at: Callable[[], datetime], district: str | None = None,
    say: Callable[[str], object] = lambda _: None, stop: Event | None = None, batch: int = BATCH,
) -> Ended:  # fmt: skip
    """Give old codes their last day at all lots at which only the city's code may hang on the day behind it, batch by batch.

    A code that ends earlier by itself stays as it is. The run is on record before the first code ends; ``stop`` ends it between two
    batches. The same call goes on with a run that was broken off; done again it finds nothing to do.

    Raises:
        Refused: ``legacy_ending_invalid``, no document, or a last day that is over.
        Conflict: ``legacy_ending_conflict``, another run was broken off and goes first.
        NotAllowed: ``person_unknown``, ``person_may_not``.
    """
    _begin(db, last_day=last_day, district=district, document=document.strip(), person_code=person_code, at=at())
    codes = seen = 0
    while stop is None or not stop.is_set():
        with db.begin() as tx:
            done = tx.execute(_NEXT, {"batch": batch, "at": at(), "day": last_day + timedelta(days=1)}).first()
        if done is None:
            return Ended(codes, seen, True)
        codes, seen = codes + done.codes, seen + done.lots
        if done.is_over:
            return Ended(codes, seen, True)
        say(f"{codes} old codes of {seen} lots are ended so far")
    return Ended(codes, seen, False)


def _begin(
    db: Engine, *, last_day: date, district: str | None, document: str, person_code: str, at: datetime
) -> None:  # fmt: skip
    """Put a run on record, or find that it is under way."""
    if not 0 < len(document) <= DOCUMENT_LETTERS_MAX:
        raise Refused(f"name the document that orders it, in 1 to {DOCUMENT_LETTERS_MAX} letters", code="legacy_ending_invalid")
    with db.begin() as tx:
        people.maker(tx, person_code=person_code, at=at)
        under_way = tx.execute(_OPEN).first()
        if under_way is None:
            if last_day < business_date(at):
                raise Refused(f"{last_day} is over: old codes end today or later", code="legacy_ending_invalid")
            given = {"last_day": last_day, "district": district, "document": document, "person": person_code, "at": at}
            tx.execute(_BEGUN, given)
            under_way = tx.execute(_OPEN).one()
        if tuple(under_way) != (last_day, district, document):
            raise Conflict(
                f"the run that ends old codes on {under_way.last_day} in {under_way.district or 'the city'} by "
                f"{under_way.document} was broken off; call it again first",
                code="legacy_ending_conflict",
            )
