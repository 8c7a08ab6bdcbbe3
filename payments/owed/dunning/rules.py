"""Rules of dunning: dated steps, texts and quiet days, each with its document.

Knows rules and their form; must not know debts. Called by planning, sending and the command line. A rule or text that is there is
never changed: a later one replaces it from its date on, so that each reminder's rule can be shown.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Final, Literal

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.clock import CHINA
from ledger.errors import Conflict, Refused
from payments.owed.dunning.texts import Language, Template, checked

STEPS_MAX: Final = 20


class Step(Struct, frozen=True, kw_only=True):
    """One step. ``channels`` stand in order of preference; ``proof`` says what proves the demand."""

    step: int
    days_after_due: int
    channels: tuple[str, ...]
    template_code: str
    owed_fen_min: int
    per: Literal["plate", "debt"] = "plate"
    proof: Literal["sent", "receipt"] = "receipt"


class NewRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule as it is entered, for the city or one operator. Nothing is sent from ``quiet_from`` to ``quiet_until``, in China."""

    document: str
    valid_from: datetime
    steps: tuple[Step, ...]
    operator_id: int | None = None
    quiet_from: time = time(20)
    quiet_until: time = time(9)
    days_between: int = 14


class Rule(Struct, frozen=True, kw_only=True):
    """A rule in force."""

    rule_id: int
    operator_id: int | None
    document: str
    valid_from: datetime
    quiet_from: time
    quiet_until: time
    days_between: int
    steps: tuple[Step, ...]


class NewText(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text as it is entered."""

    template_code: str
    language: Language
    valid_from: datetime
    subject: str
    body: str
    document: str


def enter(tx: Connection, *, rule: NewRule, channels: Sequence[str], at: datetime) -> int:
    """Enter a rule; returns its number.

    Raises:
        Refused: ``rule_invalid``: no document, a past date, steps that do not follow each other, an unknown channel or text.
        Conflict: ``rule_taken``, another one of the same place begins then.
    """
    _check(tx, rule, channels, at)
    rule_id = tx.execute(
        text("""
        insert into payments.dunning_rule (operator_id, valid_from, document, quiet_from, quiet_until, days_between, entered_at)
        values (:operator, :valid_from, :document, :quiet_from, :quiet_until, :days_between, :at)
        on conflict (operator_id, valid_from) do nothing returning rule_id
        """),
        {
            "operator": rule.operator_id, "valid_from": rule.valid_from, "document": rule.document.strip(),
            "quiet_from": rule.quiet_from, "quiet_until": rule.quiet_until, "days_between": rule.days_between, "at": at,
        },
    ).scalar_one_or_none()  # fmt: skip
    if rule_id is None:
        raise Conflict("another rule of the same place begins at that moment", code="rule_taken")
    tx.execute(
        text("""
        insert into payments.dunning_step (rule_id, step, days_after_due, channels, template_code, owed_fen_min, per, proof)
        values (:rule_id, :step, :days_after_due, :channels, :template_code, :owed_fen_min, :per, :proof)
        """),
        [
            {
                "rule_id": rule_id, "step": x.step, "days_after_due": x.days_after_due, "channels": list(x.channels),
                "template_code": x.template_code, "owed_fen_min": x.owed_fen_min, "per": x.per, "proof": x.proof,
            }
            for x in rule.steps
        ],
    )  # fmt: skip
    return int(rule_id)


def enter_text(tx: Connection, *, new: NewText, at: datetime) -> None:
    """Enter a version of a text. Raises Refused (``text_invalid``, ``rule_invalid``), Conflict (``rule_taken``)."""
    checked(Template(subject=new.subject, body=new.body))
    if not 0 < len(new.document.strip()) <= 200 or new.valid_from < at:
        raise Refused("a text has a document, and counts from now or later", code="rule_invalid")
    done = tx.execute(
        text("""
        insert into payments.dunning_text (template_code, language, valid_from, subject, body, document, entered_at)
        values (:template_code, :language, :valid_from, :subject, :body, :document, :at)
        on conflict (template_code, language, valid_from) do nothing returning 1
        """),
        {name: getattr(new, name) for name in NewText.__struct_fields__} | {"at": at},
    ).first()
    if done is None:
        raise Conflict("another version of the text begins at that moment", code="rule_taken")


def enter_quiet_days(tx: Connection, *, days: Sequence[date], document: str, at: datetime) -> int:
    """Enter days on which nothing is sent; returns how many were new. Raises Refused (``rule_invalid``)."""
    if not 0 < len(document.strip()) <= 200 or not 0 < len(days) <= 400:
        raise Refused("name the document, and 1 to 400 days", code="rule_invalid")
    done = tx.execute(
        text("""
        insert into payments.quiet_day (quiet_on, document, entered_at)
        select distinct d, :document, cast(:at as timestamptz) from unnest(cast(:days as date[])) as d
        on conflict (quiet_on) do nothing
        """),
        {"days": list(days), "document": document.strip(), "at": at},
    )
    return int(done.rowcount)


def in_force(tx: Connection, *, at: datetime) -> list[Rule]:
    """Return the rules in force: the city's first, then those of operators by number."""
    rows = tx.execute(
        text("""
        select distinct on (operator_id) rule_id, operator_id, document, valid_from, quiet_from, quiet_until, days_between
        from payments.dunning_rule where valid_from <= :at order by operator_id nulls first, valid_from desc
        """),
        {"at": at},
    ).all()
    steps = _steps(tx, [row.rule_id for row in rows])
    return [Rule(**row._mapping, steps=tuple(steps.get(row.rule_id, ()))) for row in rows]


def by_ids(tx: Connection, rule_ids: Sequence[int]) -> dict[int, Rule]:
    """Return rules by number, in force or not."""
    rows = tx.execute(
        text("""
        select rule_id, operator_id, document, valid_from, quiet_from, quiet_until, days_between
        from payments.dunning_rule where rule_id = any(cast(:ids as integer[]))
        """),
        {"ids": list(rule_ids)},
    ).all()
    steps = _steps(tx, rule_ids)
    return {row.rule_id: Rule(**row._mapping, steps=tuple(steps.get(row.rule_id, ()))) for row in rows}


def texts(tx: Connection, *, at: datetime) -> dict[tuple[str, Language], tuple[datetime, Template]]:
    """Return the texts in force, with the date of their version, by code and language."""
    rows = tx.execute(
        text("""
        select distinct on (template_code, language) template_code, language, valid_from, subject, body
        from payments.dunning_text where valid_from <= :at order by template_code, language, valid_from desc
        """),
        {"at": at},
    )
    return {(x.template_code, x.language): (x.valid_from, Template(subject=x.subject, body=x.body)) for x in rows}


def is_quiet_day(tx: Connection, *, at: datetime) -> bool:
    """Tell whether nothing is sent on the day of ``at`` in China."""
    query = text("select exists (select from payments.quiet_day where quiet_on = :day)")
    return bool(tx.execute(query, {"day": at.astimezone(CHINA).date()}).scalar_one())


def is_quiet(rule: Rule, at: datetime) -> bool:
    """Tell whether ``at`` lies in the quiet hours of a rule; they may pass midnight."""
    now = at.astimezone(CHINA).time()
    if rule.quiet_from == rule.quiet_until:
        return False
    if rule.quiet_from < rule.quiet_until:
        return rule.quiet_from <= now < rule.quiet_until
    return now >= rule.quiet_from or now < rule.quiet_until


def of_operator(rules: Sequence[Rule]) -> tuple[Rule | None, Mapping[int, Rule]]:
    """Return the city's rule, and those of operators that have one of their own."""
    city = next((rule for rule in rules if rule.operator_id is None), None)
    return city, {rule.operator_id: rule for rule in rules if rule.operator_id is not None}


def _steps(tx: Connection, rule_ids: Sequence[int]) -> dict[int, list[Step]]:
    rows = tx.execute(
        text("""
        select rule_id, step, days_after_due, channels, template_code, owed_fen_min, per, proof
        from payments.dunning_step where rule_id = any(cast(:ids as integer[])) order by rule_id, step
        """),
        {"ids": list(rule_ids)},
    )
    found: dict[int, list[Step]] = {}
    for row in rows:
        values = dict(row._mapping)
        rule_id = values.pop("rule_id")
        found.setdefault(rule_id, []).append(Step(**(values | {"channels": tuple(values["channels"])})))
    return found


def _check(tx: Connection, rule: NewRule, channels: Sequence[str], at: datetime) -> None:
    if not 0 < len(rule.document.strip()) <= 200 or rule.valid_from < at:
        raise Refused("a rule has a document, and counts from now or later", code="rule_invalid")
    numbers = [step.step for step in rule.steps]
    days = [step.days_after_due for step in rule.steps]
    if not 0 < len(numbers) <= STEPS_MAX or numbers != list(range(1, len(numbers) + 1)) or days != sorted(set(days)):
        raise Refused(f"steps are numbered 1 to at most {STEPS_MAX}, each later than the one before", code="rule_invalid")
    if rule.days_between < 1 or any(step.owed_fen_min < 1 or not step.channels for step in rule.steps):
        raise Refused("days between, smallest amounts and channels cannot be empty", code="rule_invalid")
    if unknown := sorted({name for step in rule.steps for name in step.channels} - set(channels)):
        raise Refused(f"there is no channel {unknown[0]!r} here, but: {', '.join(channels)}", code="rule_invalid")
    known = {code for code, language in texts(tx, at=at) if language == "zh"}
    if missing := sorted({step.template_code for step in rule.steps} - known):
        raise Refused(f"there is no Chinese text {missing[0]!r}; enter it first", code="rule_invalid")
