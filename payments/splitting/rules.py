"""Split rules: how a lot's charges are cut for several payees, dated, with their document, and sealed. Source: docs/SPLITS.md.

Knows rules, lots and bearers; must not know charges. Called by ``splits`` and the command line.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Final

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from ledger import documents
from ledger.clock import checked
from ledger.documents import Document, DocumentKind
from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import Ids
from ledger.invariants import Violation
from payments import lots
from payments.bearers import bearers
from payments.lots import Scene
from payments.splitting import split_store
from payments.splitting.split_store import Leg, Rule

LEGS_MAX: Final = 20
WHOLE_BPS: Final = 10_000
DOCUMENT_LETTERS_MAX: Final = 200
WORDS_LETTERS_MAX: Final = 40


class NewLeg(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one payee gets, as a rule's file says it; exactly one of ``energy``, ``fixed_fen`` and ``share_bps``."""

    operator: str
    """Code of the payee."""
    energy: bool = False
    """What the lot gives as the amount for energy."""
    fixed_fen: int | None = None
    share_bps: int | None = None
    """Share, in basis points, of what energy and fixed amounts leave."""
    bearer: str | None = None
    """Code of the bearer who pays this leg in place of the driver; None: the driver."""
    words: str
    """What it is paid for, as the payer reads it, such as 充电费."""
    words_en: str


class NewRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A split rule as a file gives it. Without legs the lot's charges are not cut any more from then on."""

    lot: str
    """Code of the lot."""
    scene: Scene | None = None
    """Charges of this scene only; None: all that have no rule of their own scene."""
    valid_from: datetime
    document: str
    """Agreement or approval."""
    leg: tuple[NewLeg, ...] = ()


def add_rule(tx: Connection, *, lane: int, rule: NewRule, at: datetime, ids: Ids) -> Rule:
    """Let a lot's charges be cut from a date on, and seal the rule. May be repeated: the same rule is the same.

    Raises:
        NotFound: ``lot_not_found``, ``operator_not_found``, ``bearer_not_found``.
        Refused: ``split_rule_invalid``, with what is wrong.
        Conflict: ``split_rule_conflict``, the lot has another rule of that scene and moment.
    """
    legs = _checked_legs(rule)
    lot = lots.lot_by_code(tx, code=rule.lot)
    payees = {operator.code: operator for operator in lots.operators(tx)}
    for leg in legs:
        if leg.operator not in payees:
            raise NotFound(f"there is no operator {leg.operator}", code="operator_not_found")
        if leg.bearer is not None:
            bearers.by_code(tx, code=leg.bearer)
    if {payees[code].lane for code in (lot.operator_code, *(leg.operator for leg in legs))} != {lane}:
        raise Refused("all payees of a lot keep their books in one lane", code="split_rule_invalid")
    valid_from = checked(rule.valid_from)
    kept = Rule(
        rule_id=ids.new(at, f"split rule {rule.lot} {rule.scene} {valid_from.isoformat()}"), lane=lane, lot_id=lot.lot_id,
        lot_code=lot.code, scene=rule.scene, valid_from=valid_from, document=rule.document.strip(), entered_at=at,
        legs=tuple(_kept(number, leg, payees[leg.operator].operator_id) for number, leg in enumerate(legs, 1)),
    )  # fmt: skip
    if split_store.insert_rule(tx, rule=kept):
        documents.record(tx, lane=lane, documents=[as_document(kept)], at=at)
        return kept
    [before] = [
        one for one in split_store.rules(tx, lot_id=lot.lot_id) if (one.scene, one.valid_from) == (rule.scene, valid_from)
    ]  # fmt: skip
    if (before.document, before.legs) != (kept.document, kept.legs):
        raise Conflict(
            f"lot {rule.lot} has another rule from {valid_from.isoformat()} on; a rule is never changed: enter one of a later date",
            code="split_rule_conflict",
        )
    return before


def rules(tx: Connection, *, lot: str | None = None) -> list[Rule]:
    """Return all rules, or those of a lot, past and future. Raises NotFound (``lot_not_found``)."""
    return split_store.rules(tx, lot_id=None if lot is None else lots.lot_by_code(tx, code=lot).lot_id)


def in_force(rules: Iterable[Rule], *, scene: str, at: datetime) -> Rule | None:
    """Return the rule that cuts a lot's charge of a scene: the newest of that scene, else the newest of all scenes.

    None: it stays whole.
    """
    begun = [rule for rule in rules if rule.valid_from <= at and rule.scene in (scene, None)]
    found = max(begun, key=lambda rule: (rule.scene is not None, rule.valid_from), default=None)
    return found if found is not None and found.legs else None


def as_document(rule: Rule) -> Document:
    """Return a rule as it is sealed: lot, scene, date, document and legs, with the codes of the payees."""
    content = {
        "lot": rule.lot_code, "scene": rule.scene, "valid_from": rule.valid_from, "document": rule.document,
        "legs": [msgspec.structs.asdict(leg) for leg in rule.legs],
    }  # fmt: skip
    return documents.of(kind=DocumentKind.RULE_VERSION, document_id=rule.rule_id, content=content, happened_at=rule.entered_at)


def _kept(number: int, leg: NewLeg, operator_id: int) -> Leg:
    return Leg(
        number=number, operator_id=operator_id, operator_code=leg.operator,
        basis="energy" if leg.energy else "fixed" if leg.fixed_fen is not None else "share",
        fixed_fen=leg.fixed_fen, share_bps=leg.share_bps, bearer=leg.bearer, words=leg.words.strip(), words_en=leg.words_en.strip(),
    )  # fmt: skip


def _checked_legs(rule: NewRule) -> Sequence[NewLeg]:
    """Return a rule's legs, which can take any amount apart. Raises Refused."""

    def need(holds: bool, say: str) -> None:
        if not holds:
            raise Refused(f"the split rule of lot {rule.lot} cannot stand: {say}", code="split_rule_invalid")

    need(rule.valid_from.tzinfo is not None, "valid_from needs its offset, such as 2026-04-01T00:00:00+08:00")
    need(0 < len(rule.document.strip()) <= DOCUMENT_LETTERS_MAX, f"the document is named in 1 to {DOCUMENT_LETTERS_MAX} characters")
    need(len(rule.leg) <= LEGS_MAX, f"at most {LEGS_MAX} legs")
    for leg in rule.leg:
        ways = [leg.energy, leg.fixed_fen is not None, leg.share_bps is not None]
        need(sum(ways) == 1, f"the leg of {leg.operator} needs exactly one of energy, fixed_fen, share_bps")
        need(leg.fixed_fen is None or leg.fixed_fen > 0, f"the leg of {leg.operator} has no fixed amount")
        need(leg.share_bps is None or 0 < leg.share_bps <= WHOLE_BPS, f"the share of {leg.operator} is 1 to {WHOLE_BPS} bps")
        for said in (leg.words, leg.words_en, *([] if leg.bearer is None else [leg.bearer])):
            need(
                0 < len(said.strip()) <= WORDS_LETTERS_MAX,
                f"words of the leg of {leg.operator}: 1 to {WORDS_LETTERS_MAX} characters",
            )
    need(sum(leg.energy for leg in rule.leg) <= 1, "energy goes to one payee")
    need(sum(leg.share_bps or 0 for leg in rule.leg) == (WHOLE_BPS if rule.leg else 0), f"the shares sum to {WHOLE_BPS} bps")
    paid = [(leg.operator, leg.bearer) for leg in rule.leg]
    need(len(set(paid)) == len(paid), "a payee has one leg of the driver's, and one of each bearer's")
    need(not rule.leg or any(leg.bearer is None for leg in rule.leg), "the driver pays at least one leg")
    return rule.leg


def check(tx: Connection) -> list[Violation]:
    """Check that every rule is the one that was sealed."""
    found: list[Violation] = []
    for lane, of_lane in groupby(sorted(split_store.rules(tx), key=attrgetter("lane")), key=attrgetter("lane")):
        wanted = [as_document(rule) for rule in of_lane]
        sealed = {one.document_id: one for one in documents.find(tx, lane=lane, document_ids=[one.document_id for one in wanted])}
        found += [
            Violation("splits", f"split rule {one.document_id} is not the one that was sealed")
            for one in wanted
            if sealed.get(one.document_id) != one
        ]
    return found
