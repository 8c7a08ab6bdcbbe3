"""What is required of lots from when on: dated rules with their documents, and which one counts for a lot on a day.

Knows districts, kinds of operators and days; must not know codes or takings. Called by old codes, the report and the command line.

The most special rule counts: of the lot itself, then of its district and kind, of its district, of its kind, of the city; and of
these the latest that has begun.
"""

import tomllib
from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.errors import Conflict, Refused
from payments.lots import Regime

Requires = Literal["invited", "parallel", "city_code_required", "city_code_only"]
"""``invited``: nothing is required. ``parallel``: the city's code hangs, and the old one beside it. ``city_code_required``: the
city's code hangs; an old one may stay. ``city_code_only``: the city's code hangs and no other."""

DOCUMENT_LETTERS_MAX: Final = 200
RULES_MAX: Final = 1_000
BYTES_MAX: Final = 256 * 1024
_EVERY: Final[tuple[None]] = (None,)


class NewRule(Struct, frozen=True, kw_only=True):
    """A rule to be entered: of a lot, or of a district and a kind of operator; None stands for every one."""

    requires: Requires
    valid_from: date
    document: str
    district: str | None = None
    regime: Regime | None = None
    lot_id: int | None = None


class Rule(NewRule, frozen=True, kw_only=True):
    """A rule as it was entered."""

    rule_id: int


class FileRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule of a file: it counts for each of its districts and each of its kinds; without them for all."""

    requires: Requires
    valid_from: date
    districts: list[str] = []
    regimes: list[Regime] = []


class RuleFile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of rules with the document that they are from."""

    document: str
    rules: list[FileRule]


def rule_of(rules: Sequence[Rule], *, lot_id: int, district: str, regime: str, day: date) -> Rule | None:
    """Return the rule that counts for a lot on a day: the most special one, then the latest. None: none has begun."""
    fitting = [
        rule
        for rule in rules
        if rule.valid_from <= day
        and rule.lot_id in (None, lot_id)
        and rule.district in (None, district)
        and rule.regime in (None, regime)
    ]
    return max(fitting, key=_rank, default=None)


def _rank(rule: Rule) -> tuple[bool, bool, bool, date, int]:
    return rule.lot_id is not None, rule.district is not None, rule.regime is not None, rule.valid_from, rule.rule_id


IN_FORCE: Final = """
    select r.rule_id, r.requires, r.valid_from, r.document from payments.rollout_rule r
    where r.valid_from <= :day and (r.lot_id is null or r.lot_id = l.lot_id) and (r.district is null or r.district = l.district)
      and (r.regime is null or r.regime = o.regime)
    order by r.lot_id is null, r.district is null, r.regime is null, r.valid_from desc, r.rule_id desc limit 1
"""
"""``rule_of`` in SQL, for a lot ``l`` of an operator ``o`` on ``:day``."""


def read(content: bytes) -> list[NewRule]:
    """Return the rules of a TOML file, one for each district and kind that it names.

    Raises:
        Refused: ``rollout_rule_invalid``, with what is wrong.
    """
    if len(content) > BYTES_MAX:
        raise _invalid(f"a file of rules has at most {BYTES_MAX} bytes")
    try:
        file = msgspec.convert(tomllib.loads(content.decode("utf-8")), RuleFile)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as wrong:
        raise _invalid(f"the file is not one of rules: {wrong}") from None
    return [
        NewRule(requires=one.requires, valid_from=one.valid_from, document=file.document, district=district, regime=regime)
        for one in file.rules
        for district in one.districts or _EVERY
        for regime in one.regimes or _EVERY
    ]


def enter(tx: Connection, *, rules: Sequence[NewRule], at: datetime) -> int:
    """Enter rules, all or none; returns how many are new. The same rule again is the same rule; none is ever changed.

    Raises:
        Refused: ``rollout_rule_invalid``.
        Conflict: ``rollout_rule_conflict``, there is another one of the same place from the same day on.
    """
    if len(rules) > RULES_MAX:
        raise _invalid(f"at most {RULES_MAX} rules are entered at once")
    for rule in rules:
        if not 0 < len(rule.document.strip()) <= DOCUMENT_LETTERS_MAX:
            raise _invalid(f"a rule names its document, in 1 to {DOCUMENT_LETTERS_MAX} letters")
        if rule.lot_id is not None and (rule.district is not None or rule.regime is not None):
            raise _invalid("a rule of one lot names no district or kind")
    values = {name: [getattr(rule, name) for rule in rules] for name in NewRule.__struct_fields__}
    given = """
        unnest(cast(:lot_id as integer[]), cast(:district as text[]), cast(:regime as text[]), cast(:valid_from as date[]),
               cast(:requires as text[]), cast(:document as text[])) with ordinality
            as n (lot_id, district, regime, valid_from, requires, document, place)
        """
    made = tx.execute(
        text(f"""
        insert into payments.rollout_rule (lot_id, district, regime, valid_from, requires, document, entered_at)
        select lot_id, district, regime, valid_from, requires, document, :at from {given} order by place
        on conflict (lot_id, district, regime, valid_from) do nothing returning 1
        """),
        values | {"at": at},
    ).all()
    other = tx.execute(
        text(f"""
        select r.rule_id, r.valid_from from {given}
        join payments.rollout_rule r on (r.lot_id, r.district, r.regime) is not distinct from (n.lot_id, n.district, n.regime)
             and r.valid_from = n.valid_from
        where (r.requires, r.document) <> (n.requires, n.document) limit 1
        """),
        values,
    ).first()
    if other is not None:
        raise Conflict(
            f"rule {other.rule_id} says something else of this place from {other.valid_from} on; begin on another day",
            code="rollout_rule_conflict",
        )
    return len(made)


def rules(tx: Connection) -> list[Rule]:
    """Return all rules in the order in which they begin."""
    query = text("""
        select rule_id, requires, valid_from, document, district, regime, lot_id from payments.rollout_rule
        order by valid_from, rule_id
        """)
    return [Rule(**row._mapping) for row in tx.execute(query)]


def _invalid(words: str) -> Refused:
    return Refused(words, code="rollout_rule_invalid")
