"""Rules and assignments: what is owed for a recovered debt, and whose debts are given to whom to recover. Dated, sealed documents.

Knows parties, rules and ages; must not know payments or the book. Called by the command line and by ``lines``.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, text

from ledger import documents
from ledger.accounts import OwnerKind
from ledger.clock import checked
from ledger.documents import Document, DocumentKind
from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import Ids
from ledger.money import split
from payments.incentive import parties
from payments.incentive.parties import Party

WHOLE_BPS: Final = 10_000
SHARES_MAX: Final = 50
DOCUMENT_LETTERS_MAX: Final = 200
TO_RECOVERER: Final = "recoverer"


class NewShare(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One share, as a rule's file says it."""

    to: str = TO_RECOVERER
    """``recoverer``, or the code of another party."""
    bps: int
    days_min: int = 0
    cap_fen: int | None = None


class NewRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule as a file gives it. Without shares nothing is owed any more from then on."""

    valid_from: datetime
    document: str
    recovered_by: OwnerKind
    """Debts recovered by a party of this kind …"""
    recoverer: str | None = None
    """… or by the one of this code only."""
    owner: str | None = None
    """Debts to the operator of this code only."""
    district: str | None = None
    """Debts of lots in this district only."""
    share: tuple[NewShare, ...] = ()


class NewAssignment(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Debts given to a party to recover, as a file gives it. Without ``recoverer`` they are nobody's any more from then on."""

    valid_from: datetime
    document: str
    recoverer: str | None = None
    owner: str | None = None
    district: str | None = None
    days_min: int = 0


class Share(Struct, frozen=True, kw_only=True):
    """One share of a rule; ``party_id`` None: of whoever recovered the debt."""

    number: int
    days_min: int
    party_id: int | None
    share_bps: int
    cap_fen: int | None


class Rule(Struct, frozen=True, kw_only=True):
    """A rule as it is kept."""

    rule_id: UUID
    lane: int
    operator_id: int | None
    district: str | None
    recovered_by: OwnerKind
    recoverer_id: int | None
    valid_from: datetime
    document: str
    entered_at: datetime
    shares: tuple[Share, ...]


class Assignment(Struct, frozen=True, kw_only=True):
    """An assignment as it is kept."""

    assignment_id: UUID
    lane: int
    recoverer_id: int | None
    operator_id: int | None
    district: str | None
    days_min: int
    valid_from: datetime
    document: str
    entered_at: datetime


class Given(Struct, frozen=True):
    """What one share of a rule gives for a payment, in fen."""

    number: int
    party_id: int
    amount_fen: int


# Pure.


def in_force(rules: Iterable[Rule], *, operator_id: int, district: str, recoverer: Party, at: datetime) -> Rule | None:
    """Return the rule for a debt recovered at a moment: the most exact about whose debt it was, then about who recovered it, then
    the newest. None: nothing is owed."""
    fitting = [
        rule for rule in rules
        if rule.valid_from <= at and rule.recovered_by == recoverer.kind and rule.operator_id in (operator_id, None)
        and rule.district in (district, None) and rule.recoverer_id in (recoverer.party_id, None)
    ]  # fmt: skip
    found = max(fitting, key=_exactness, default=None)
    return found if found is not None and found.shares else None


def _exactness(rule: Rule) -> tuple[bool, bool, bool, datetime]:
    return rule.operator_id is not None, rule.district is not None, rule.recoverer_id is not None, rule.valid_from


def shares_of(rule: Rule, *, recovered_fen: int, days: int, owner_id: int, recoverer_id: int) -> list[Given]:
    """Return what a recovered payment gives to whom, in fen; never more than was recovered.

    The shares of the highest ``days_min`` that the debt's age reaches count. The amount is divided among them and the owner, who
    keeps the rest, by largest remainder, the earlier share first; then each is cut at its cap. Shares of 0 fen, and one that the
    owner would owe itself, are left out.
    """
    reached = max((share.days_min for share in rule.shares if share.days_min <= days), default=None)
    shares = [share for share in rule.shares if share.days_min == reached]
    if not shares:
        return []
    weights = [share.share_bps for share in shares]
    amounts = split(recovered_fen, [*weights, WHOLE_BPS - sum(weights)])
    given = [
        Given(share.number, share.party_id or recoverer_id, amount if share.cap_fen is None else min(amount, share.cap_fen))
        for share, amount in zip(shares, amounts, strict=False)
    ]
    return [one for one in given if one.amount_fen and one.party_id != owner_id]


def kept_of(given_fen: int, *, recovered_fen: int, gone_fen: int) -> int:
    """Return what is left of a share when so much of the payment went back: in proportion, by largest remainder, half a fen up."""
    return split(given_fen, [recovered_fen - gone_fen, gone_fen])[0]


# Kept.


def add_rule(tx: Connection, *, lane: int, rule: NewRule, at: datetime, ids: Ids) -> Rule:
    """Let shares be owed for recovered debts from a date on, and seal the rule. May be repeated: the same rule is the same.

    Raises:
        NotFound: ``party_not_found``, ``operator_not_found``.
        Refused: ``incentive_rule_invalid``, with what is wrong.
        Conflict: ``incentive_rule_conflict``, there is another rule for the same from that moment on.
    """
    _check_rule(rule)
    parties.take_in_operators(tx, at=at)
    known = parties.listed(tx)
    to = {share.to: None if share.to == TO_RECOVERER else parties.by_code(tx, code=share.to).party_id for share in rule.share}
    valid_from = checked(rule.valid_from)
    recoverer = None if rule.recoverer is None else parties.by_code(tx, code=rule.recoverer, kind=rule.recovered_by).party_id
    name = f"incentive rule {rule.owner} {rule.district} {rule.recovered_by} {rule.recoverer} {valid_from.isoformat()}"
    kept = Rule(
        rule_id=ids.new(at, name), lane=lane, operator_id=_operator_id(known, rule.owner), district=rule.district,
        recovered_by=rule.recovered_by, recoverer_id=recoverer, valid_from=valid_from, document=rule.document.strip(),
        entered_at=at,
        shares=tuple(
            Share(number=number, days_min=share.days_min, party_id=to[share.to], share_bps=share.bps, cap_fen=share.cap_fen)
            for number, share in enumerate(rule.share, 1)
        ),
    )  # fmt: skip
    if _insert_rule(tx, kept):
        documents.record(tx, lane=lane, documents=[as_document(kept)], at=at)
        return kept
    [before] = [one for one in rules(tx) if _place(one) == _place(kept)]
    if (before.document, before.shares) != (kept.document, kept.shares):
        raise Conflict(
            f"there is another rule for the same from {valid_from.isoformat()} on; enter one of a later date",
            code="incentive_rule_conflict",
        )
    return before


def add_assignment(tx: Connection, *, lane: int, assignment: NewAssignment, at: datetime, ids: Ids) -> Assignment:
    """Give debts to a party to recover from a date on, and seal that. May be repeated: the same is the same.

    Raises:
        NotFound: ``party_not_found``, ``operator_not_found``.
        Refused: ``assignment_invalid``.
        Conflict: ``assignment_conflict``, the same debts are given otherwise from that moment on.
    """
    _check_document(assignment.document, assignment.valid_from, "assignment_invalid")
    if assignment.days_min < 0:
        raise Refused("days_min counts days, 0 or more", code="assignment_invalid")
    parties.take_in_operators(tx, at=at)
    valid_from = checked(assignment.valid_from)
    name = f"assignment {assignment.owner} {assignment.district} {assignment.days_min} {valid_from.isoformat()}"
    kept = Assignment(
        assignment_id=ids.new(at, name), lane=lane,
        recoverer_id=None if assignment.recoverer is None else parties.by_code(tx, code=assignment.recoverer).party_id,
        operator_id=_operator_id(parties.listed(tx), assignment.owner), district=assignment.district, days_min=assignment.days_min,
        valid_from=valid_from, document=assignment.document.strip(), entered_at=at,
    )  # fmt: skip
    made = tx.execute(
        text("""
        insert into payments.recovery_assignment (assignment_id, lane, recoverer_id, operator_id, district, days_min, valid_from,
                                                  document, entered_at)
        values (:assignment_id, :lane, :recoverer_id, :operator_id, :district, :days_min, :valid_from, :document, :entered_at)
        on conflict (operator_id, district, days_min, valid_from) do nothing returning 1
        """),
        msgspec.structs.asdict(kept),
    ).first()
    if made is not None:
        documents.record(tx, lane=lane, documents=[assignment_document(kept)], at=at)
        return kept
    same = attrgetter("operator_id", "district", "days_min", "valid_from")
    [before] = [one for one in assignments(tx) if same(one) == same(kept)]
    if (before.recoverer_id, before.document) != (kept.recoverer_id, kept.document):
        raise Conflict(
            f"these debts are given otherwise from {valid_from.isoformat()} on; enter one of a later date",
            code="assignment_conflict",
        )
    return before


def rules(tx: Connection) -> list[Rule]:
    """Return all rules, past and future, oldest first."""
    rows = tx.execute(
        text("""
        select r.rule_id, r.lane, r.operator_id, r.district, r.recovered_by, r.recoverer_id, r.valid_from, r.document, r.entered_at,
               s.number, s.days_min, s.party_id, s.share_bps, s.cap_fen
        from payments.incentive_rule r left join payments.incentive_share s on s.lane = r.lane and s.rule_id = r.rule_id
        order by r.valid_from, r.rule_id, s.number
        """)
    )
    return [
        Rule(
            **{name: getattr(found[0], name) for name in Rule.__struct_fields__ if name != "shares"},
            shares=tuple(Share(**_fields(row, Share)) for row in found if row.number is not None),
        )
        for _, of_rule in groupby(rows, key=attrgetter("rule_id"))
        for found in [list(of_rule)]
    ]


def assignments(tx: Connection) -> list[Assignment]:
    """Return all assignments, past and future, oldest first."""
    rows = tx.execute(
        text("""
        select assignment_id, lane, recoverer_id, operator_id, district, days_min, valid_from, document, entered_at
        from payments.recovery_assignment order by valid_from, assignment_id
        """)
    )
    return [Assignment(**row._mapping) for row in rows]


def as_document(rule: Rule) -> Document:
    """Return a rule as it is sealed."""
    content = {name: getattr(rule, name) for name in Rule.__struct_fields__ if name not in ("rule_id", "lane", "entered_at")}
    return documents.of(kind=DocumentKind.RULE_VERSION, document_id=rule.rule_id, content=content, happened_at=rule.entered_at)


def assignment_document(assignment: Assignment) -> Document:
    """Return an assignment as it is sealed."""
    left_out = ("assignment_id", "lane", "entered_at")
    content = {name: getattr(assignment, name) for name in Assignment.__struct_fields__ if name not in left_out}
    return documents.of(
        kind=DocumentKind.RULE_VERSION, document_id=assignment.assignment_id, content=content, happened_at=assignment.entered_at
    )


def _insert_rule(tx: Connection, rule: Rule) -> bool:
    given: Mapping[str, Any] = msgspec.structs.asdict(rule) | {
        name: [getattr(share, name) for share in rule.shares] for name in Share.__struct_fields__
    }
    made = tx.execute(
        text("""
        with made as (
            insert into payments.incentive_rule (rule_id, lane, operator_id, district, recovered_by, recoverer_id, valid_from,
                                                 document, entered_at)
            values (:rule_id, :lane, :operator_id, :district, :recovered_by, :recoverer_id, :valid_from, :document, :entered_at)
            on conflict (operator_id, district, recovered_by, recoverer_id, valid_from) do nothing
            returning rule_id, lane
        ), shares as (
            insert into payments.incentive_share (rule_id, lane, number, days_min, party_id, share_bps, cap_fen)
            select made.rule_id, made.lane, s.number, s.days_min, s.party_id, s.share_bps, s.cap_fen
            from made, unnest(cast(:number as smallint[]), cast(:days_min as integer[]), cast(:party_id as integer[]),
                              cast(:share_bps as integer[]), cast(:cap_fen as bigint[]))
                       as s (number, days_min, party_id, share_bps, cap_fen)
        )
        select 1 from made
        """),
        {name: value for name, value in given.items() if name != "shares"},
    )
    return made.first() is not None


def _place(rule: Rule) -> tuple[object, ...]:
    return rule.operator_id, rule.district, rule.recovered_by, rule.recoverer_id, rule.valid_from


def _fields(row: Any, form: type[Struct]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in form.__struct_fields__}


def _operator_id(known: Sequence[Party], code: str | None) -> int | None:
    if code is None:
        return None
    found = [party.operator_id for party in known if party.kind == "operator" and party.code == code]
    if not found:
        raise NotFound(f"there is no operator {code}", code="operator_not_found")
    return found[0]


def _check_rule(rule: NewRule) -> None:
    def need(holds: bool, say: str) -> None:
        if not holds:
            raise Refused(f"the incentive rule cannot stand: {say}", code="incentive_rule_invalid")

    _check_document(rule.document, rule.valid_from, "incentive_rule_invalid")
    need(len(rule.share) <= SHARES_MAX, f"at most {SHARES_MAX} shares")
    for share in rule.share:
        need(0 <= share.bps <= WHOLE_BPS, f"a share is 0 to {WHOLE_BPS} bps")
        need(share.days_min >= 0, "days_min counts days, 0 or more")
        need(share.cap_fen is None or share.cap_fen > 0, "a cap is 1 fen or more; without one leave it out")
    for days_min in {share.days_min for share in rule.share}:
        bucket = [share for share in rule.share if share.days_min == days_min]
        need(sum(share.bps for share in bucket) <= WHOLE_BPS, f"the shares from {days_min} days on are more than the whole")
        need(len({share.to for share in bucket}) == len(bucket), f"a party has one share from {days_min} days on")


def _check_document(document: str, valid_from: datetime, code: str) -> None:
    if not 0 < len(document.strip()) <= DOCUMENT_LETTERS_MAX:
        raise Refused(f"the document is named in 1 to {DOCUMENT_LETTERS_MAX} characters", code=code)
    if valid_from.tzinfo is None:
        raise Refused("valid_from needs its offset, such as 2026-04-01T00:00:00+08:00", code=code)
