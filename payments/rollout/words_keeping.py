"""How long drivers' words are kept: so many days after its case was closed what somebody wrote is erased; the case stays.

Knows cases, rules and runs; must not know HTTP or settings. Called by the worker once a day, and by the command line.
Source: docs/ROLLOUT.md.

Words of an open case stay: whoever looks into it needs them. The digest in the evidence says nothing once its salt is gone, too.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Event
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, Engine, text

from ledger.clock import checked
from ledger.errors import Conflict, Refused

DAYS_MAX: Final = 3_650
DOCUMENT_LETTERS_MAX: Final = 200
BATCH: Final = 1_000
SAID_EVERY: Final = 10
"""Batches from one word about progress to the next."""

_BEGUN: Final = text("""
    insert into payments.report_keeping (rule_id, days, kept_from, started_at)
    select r.rule_id, r.days, cast(:at as timestamptz) - r.days * interval '24 hours', :at
    from (select rule_id, days from payments.report_keeping_rule where valid_from <= :at order by valid_from desc limit 1) r
    where exists (select from payments.code_report c
                  where c.words is not null and c.closed_at < cast(:at as timestamptz) - r.days * interval '24 hours')
      and not exists (select from payments.report_keeping k where k.ended_at is null)
    on conflict do nothing
    """)
_NEXT: Final = text("select payments.erase_report_words_v1(:batch, :at)")


class Rule(Struct, frozen=True, kw_only=True):
    """A rule as it was entered: so many days after its case was closed a driver's words are erased."""

    rule_id: int
    days: int
    valid_from: datetime
    document: str


def enter(tx: Connection, *, days: int, valid_from: datetime, document: str, at: datetime) -> int:
    """Enter a rule; returns its number. It is never changed: a later one replaces it from its moment on.

    Raises:
        Refused: ``report_keeping_invalid``.
        Conflict: ``report_keeping_conflict``, there is another one from the same moment on.
    """
    if not 1 <= days <= DAYS_MAX or not 0 < len(document.strip()) <= DOCUMENT_LETTERS_MAX:
        raise Refused(f"a rule has 1 to {DAYS_MAX} days and names its document", code="report_keeping_invalid")
    query = text("""
        insert into payments.report_keeping_rule (days, valid_from, document, entered_at)
        values (:days, :valid_from, :document, :at) on conflict (valid_from) do nothing returning rule_id
        """)
    given = {"days": days, "valid_from": checked(valid_from), "document": document.strip(), "at": at}
    number = tx.execute(query, given).scalar()
    if number is None:
        raise Conflict("there is a rule from that moment on; begin at another one", code="report_keeping_conflict")
    return int(number)


def rules(tx: Connection) -> Sequence[Rule]:
    """Return all rules, the latest first."""
    query = text("select rule_id, days, valid_from, document from payments.report_keeping_rule order by valid_from desc")
    return [Rule(**row._mapping) for row in tx.execute(query)]


def left_open(tx: Connection, *, at: datetime) -> int:
    """Return how many cases with words have been open for longer than the words of a closed one are kept."""
    query = text("""
        select count(*) from payments.code_report c
        where c.closed_at is null and c.words is not null and c.reported_at < cast(:at as timestamptz) - interval '24 hours' *
              (select r.days from payments.report_keeping_rule r where r.valid_from <= :at order by r.valid_from desc limit 1)
        """)
    return int(tx.execute(query, {"at": at}).scalar_one())


def erase(
    db: Engine, *, at: Callable[[], datetime], say: Callable[[str], object] = lambda _: None, stop: Event | None = None,
    batch: int = BATCH,
) -> int:  # fmt: skip
    """Erase the words of cases that were closed longer ago than the rule keeps them, batch by batch; returns of how many.

    Each batch is a transaction. A run that was broken off is ended first, with its own moment; ``stop`` ends it between two batches
    and the next call goes on. May run beside itself: one of them finds nothing to do.
    """
    erased = number = 0
    with db.begin() as tx:
        tx.execute(_BEGUN, {"at": checked(at())})
    while stop is None or not stop.is_set():
        with db.begin() as tx:
            gone = tx.execute(_NEXT, {"batch": batch, "at": at()}).scalar()
        if gone is None:
            break
        erased, number = erased + gone, number + 1
        if number % SAID_EVERY == 0:
            say(f"the words of {erased} reports of codes are erased so far")
        if gone < batch:
            break
    return erased
