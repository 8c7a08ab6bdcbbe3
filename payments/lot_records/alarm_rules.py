"""Rules of alarms: how often a lot is heard, how many openings are too many, how long a hand-back waits; dated, with their places.

Knows the rules alone; must not know what is measured against them. Called by heartbeats, alarms and the command line.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.errors import Conflict, Refused
from payments.lots import Lot, Scene

RuleKind = Literal["silent", "leak", "unreturned", "drop", "sudden"]
MOST_MAX: Final = 100_000
WEEKS_MAX: Final = 12
ODDS_MIN: Final = 1_000
ODDS_MAX: Final = 1_000_000_000
DOCUMENT_LETTERS_MAX: Final = 200

IN_FORCE: Final = """
    select r.rule_id, r.most, r.valid_from, r.weeks, r.least, r.odds from payments.alarm_rule r
    where r.kind = {kind} and r.valid_from <= :at and (r.operator_id is null or r.operator_id = l.operator_id)
      and (r.lot_id is null or r.lot_id = l.lot_id) and (r.scene is null or r.scene = l.scene)
    order by r.lot_id is null, r.operator_id is null, r.scene is null, r.valid_from desc, r.rule_id desc limit 1
"""
"""The rule of a kind that counts for a lot ``l`` at ``:at``: the nearest place, then the kind of lot, then the latest."""


class NewRule(Struct, frozen=True, kw_only=True):
    """A rule to be entered. Without ``operator_id`` it counts for the city, without ``lot_id`` for all lots of the operator."""

    kind: RuleKind
    most: int
    """silent: minutes within which a lot is heard; leak: openings of the exit per 100 cars that left; unreturned: days within which
    what was promised of money taken by hand is reported as handed back; drop: percent below the median of the same weekday; sudden:
    the same of the last hours."""
    document: str
    valid_from: datetime
    operator_id: int | None = None
    lot_id: int | None = None
    scene: Scene | None = None
    weeks: int | None = None
    """drop, sudden: how many weeks before the day count, 2 to 12."""
    least: int | None = None
    """drop: a lot whose median is smaller is too quiet to ring."""
    odds: int | None = None
    """sudden: it rings when chance alone brings so few less than once in so many looks."""


def enter(tx: Connection, *, rule: NewRule, at: datetime) -> int:
    """Enter a rule; returns its number. A rule is never changed: a later one of the same place replaces it from its date on.

    Raises:
        Refused: ``alarm_rule_invalid``.
        Conflict: ``alarm_rule_conflict``, there is another one of the same place from the same moment on.
    """
    if not 0 < rule.most <= MOST_MAX or not 0 < len(rule.document.strip()) <= DOCUMENT_LETTERS_MAX:
        raise Refused(f"a rule has a number from 1 to {MOST_MAX} and names its document", code="alarm_rule_invalid")
    _check_measures(rule)
    query = text("""
        insert into payments.alarm_rule
            (kind, operator_id, lot_id, scene, valid_from, document, most, weeks, least, odds, entered_at)
        values (:kind, :operator_id, :lot_id, :scene, :valid_from, :document, :most, :weeks, :least, :odds, :at)
        on conflict (kind, operator_id, lot_id, scene, valid_from) do nothing
        returning rule_id
        """)
    values = {name: getattr(rule, name) for name in NewRule.__struct_fields__}
    number = tx.execute(query, values | {"at": at}).scalar()
    if number is None:
        raise Conflict("there is a rule of this place from that moment on; begin at another one", code="alarm_rule_conflict")
    return int(number)


def _check_measures(rule: NewRule) -> None:
    """Raise Refused (``alarm_rule_invalid``) for a drop without its measures, and for measures that the kind has not."""
    needed = {"drop": ("weeks", "least"), "sudden": ("weeks", "odds")}.get(rule.kind, ())
    if stray := [name for name in ("weeks", "least", "odds") if name not in needed and getattr(rule, name) is not None]:
        raise Refused(f"a rule of {rule.kind} has no {' and no '.join(stray)}", code="alarm_rule_invalid")
    if not needed:
        return
    if rule.most > 100 or not 2 <= (rule.weeks or 0) <= WEEKS_MAX:
        raise Refused(f"{rule.kind} has 1 to 100 percent and 2 to {WEEKS_MAX} weeks", code="alarm_rule_invalid")
    if rule.kind == "drop" and not 0 < (rule.least or 0) <= MOST_MAX:
        raise Refused("a drop has the least median that counts", code="alarm_rule_invalid")
    if rule.kind == "sudden" and not ODDS_MIN <= (rule.odds or 0) <= ODDS_MAX:
        raise Refused(f"sudden has odds from {ODDS_MIN} to {ODDS_MAX}: once in so many looks", code="alarm_rule_invalid")


def minutes_of(tx: Connection, *, lot: Lot, at: datetime) -> int | None:
    """Return within how many minutes a lot is to be heard; None when no rule says."""
    query = text(f"select r.most from payments.lot l cross join lateral ({IN_FORCE.format(kind=':kind')}) r where l.lot_id = :lot")
    found = tx.execute(query, {"kind": "silent", "at": at, "lot": lot.lot_id}).scalar()
    return None if found is None else int(found)


def listed(tx: Connection, *, limit: int = 1_000) -> Sequence[str]:
    """Return all rules in words, the latest first."""
    query = text("""
        select r.kind, r.most, r.weeks, r.least, r.odds, coalesce(l.code, o.code, 'the city') as place, r.scene, r.valid_from,
               r.document
        from payments.alarm_rule r
        left join payments.operator o on o.operator_id = r.operator_id
        left join payments.lot l on l.lot_id = r.lot_id
        order by r.rule_id desc limit :limit
        """)
    return [
        f"{row.kind}: {row.most} {_UNITS[row.kind]}{_measures(row)} for {row.place}{f' ({row.scene})' if row.scene else ''} "
        f"from {row.valid_from.isoformat()} on, by {row.document}"
        for row in tx.execute(query, {"limit": limit})
    ]


_UNITS: Final = {
    "silent": "minutes", "leak": "openings per 100 exits", "unreturned": "days", "drop": "percent", "sudden": "percent",
}  # fmt: skip


def _measures(row: Any) -> str:
    if row.weeks is None:
        return ""
    if row.odds is not None:
        return (
            f" below the median of the same hours of {row.weeks} weeks, if chance brings so few once in {row.odds} looks or less,"
        )
    return f" below the median of {row.weeks} weeks, if it is {row.least} or more,"
