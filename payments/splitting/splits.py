"""Splits: one stay that owes several payees, cut by a dated rule into charges of their own. Source: docs/SPLITS.md.

Knows rules, parts and charges; must not know channels, payments' states or HTTP. Called by ``payments.charges``, the pages and the
command line.

Every part is a charge of its own operator, so its money goes into that operator's merchant account and its entry into that
operator's book; nothing passes through the platform or another operator. The parts of a stay are paid together as a basket.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Final, Protocol
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, text

from ledger import documents
from ledger.clock import checked
from ledger.documents import Document, DocumentKind
from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import Ids
from ledger.invariants import Violation
from ledger.money import split, yuan
from payments import lots, store
from payments.lots import Lot, Scene
from payments.records import Charge, Posted
from payments.splitting import split_store
from payments.splitting.split_store import Leg, NewGroup, NewPart, PartRow, Rule

__all__ = [
    "Group",
    "Leg",
    "NewLeg",
    "NewRule",
    "Rule",
    "Words",
    "add_rule",
    "check",
    "complete",
    "cut",
    "group_of",
    "post",
    "words",
]

LEGS_MAX: Final = 20
WHOLE_BPS: Final = 10_000
DOCUMENT_LETTERS_MAX: Final = 200
WORDS_LETTERS_MAX: Final = 40
PART_MARK: Final = "#"
"""Stands between the lot's serial and the number of the part in the serial of a part's charge."""


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
    """Who pays this leg in place of the driver; None: the driver."""
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


class Part(Struct, frozen=True, kw_only=True):
    """What goes to one payee. ``owed_fen`` is what is still due; ``charge_id`` is None when a bearer pays it."""

    number: int
    operator_id: int
    payee: str
    amount_fen: int
    owed_fen: int
    charge_id: UUID | None
    state: str | None
    words: str
    words_en: str
    bearer: str | None


class Group(Struct, frozen=True, kw_only=True):
    """A charge that was cut, with its parts in the order of the rule."""

    group_id: UUID
    lot_id: int
    lot_serial: str
    """The lot's own serial; the charges of the parts have it with ``#1``, ``#2`` … behind it."""
    rule_id: UUID
    amount_fen: int
    parts: tuple[Part, ...]

    @property
    def charge_ids(self) -> list[UUID]:
        """The charges that the driver pays, in the order of the rule: what a basket is opened with."""
        return [part.charge_id for part in self.parts if part.charge_id is not None]

    @property
    def owed_fen(self) -> int:
        return sum(part.owed_fen for part in self.parts)

    @property
    def is_complete(self) -> bool:
        """Nothing of it is due any more."""
        return all(part.state != "open" for part in self.parts)


class Whole(Protocol):
    """A checked charge as ``post`` takes it: a posted one, or the form in which the intake keeps it."""

    @property
    def lot_serial(self) -> str: ...
    @property
    def plate(self) -> str: ...
    @property
    def plate_color(self) -> str: ...
    @property
    def entered_at(self) -> datetime: ...
    @property
    def left_at(self) -> datetime | None: ...
    @property
    def minutes(self) -> int: ...
    @property
    def amount_fen(self) -> int: ...
    @property
    def tariff_text(self) -> str: ...
    @property
    def scene(self) -> str | None: ...


class Words(Struct, frozen=True):
    """What the payer reads about a group."""

    zh: str
    en: str


# Pure.


def cut(amount_fen: int, legs: Sequence[Leg], *, energy_fen: int | None = None) -> list[int]:
    """Return what each leg gets of an amount, in fen; the parts sum to the amount.

    First comes the energy as the lot gave it, then the fixed amounts in their order as far as there is something left; what they
    leave is divided by the shares with largest remainder, the earlier leg first between equals.

    Raises:
        Refused: ``energy_missing``, the rule needs the amount for energy; ``energy_invalid``, it is more than the whole.
        ValueError: the legs have no shares to take what is left (a rule that ``add_rule`` would have refused).
    """
    parts, left = [0] * len(legs), amount_fen
    for place, leg in enumerate(legs):
        if leg.basis == "energy":
            parts[place] = _energy(amount_fen, energy_fen)
            left -= parts[place]
    for place, leg in enumerate(legs):
        if leg.basis == "fixed":
            parts[place] = min(leg.fixed_fen or 0, left)
            left -= parts[place]
    for place, fen in enumerate(split(left, [leg.share_bps or 0 for leg in legs])):
        parts[place] += fen
    return parts


def _energy(amount_fen: int, energy_fen: int | None) -> int:
    if energy_fen is None:
        raise Refused("this lot's charges are shared with the seller of energy: send energy_fen, 0 if none", code="energy_missing")
    if not 0 <= energy_fen <= amount_fen:
        raise Refused(f"energy of {energy_fen} fen is no part of {amount_fen} fen", code="energy_invalid")
    return energy_fen


def in_force(rules: Iterable[Rule], *, scene: str, at: datetime) -> Rule | None:
    """Return the rule that cuts a lot's charge of a scene: the newest of that scene, else the newest of all scenes.

    None: it stays whole.
    """
    begun = [rule for rule in rules if rule.valid_from <= at and rule.scene in (scene, None)]
    found = max(begun, key=lambda rule: (rule.scene is not None, rule.valid_from), default=None)
    return found if found is not None and found.legs else None


def words(group: Group, *, acts: int) -> Words:
    """Return who gets what and what is still to be done. ``acts``: how many payments the payer's wallet needs for what is open."""
    mine = [part for part in group.parts if part.charge_id is not None]
    borne = [part for part in group.parts if part.charge_id is None]
    zh = [f"本次共 {yuan(group.amount_fen)} 元，分别付给：{_joined('；', mine, '{payee} {yuan} 元（{words}）')}。"]
    en = [f"{yuan(group.amount_fen)} yuan in all, paid to: {_joined('; ', mine, '{payee} {yuan} yuan ({words_en})')}."]
    if borne:
        zh.append(f"由他方承担：{_joined('；', borne, '{bearer} {yuan} 元（{words}）')}。")
        en.append(f"Borne by others: {_joined('; ', borne, '{bearer} {yuan} yuan ({words_en})')}.")
    return Words("".join([*zh, *_to_do_zh(group, mine, acts)]), " ".join([*en, *_to_do_en(group, mine, acts)]))


def _joined(between: str, parts: Sequence[Part], form: str) -> str:
    return between.join([form.format_map(msgspec.structs.asdict(part) | {"yuan": yuan(part.amount_fen)}) for part in parts])


def _to_do_zh(group: Group, mine: Sequence[Part], acts: int) -> list[str]:
    if not group.owed_fen:
        return ["已全部付清。"]
    paid = sum(part.amount_fen - part.owed_fen for part in mine)
    said = [f"已付清 {yuan(paid)} 元，还差 {yuan(group.owed_fen)} 元，全部付清才算缴清。"] if paid else []
    if acts > 1:
        said.append(f"此钱包不能合并支付，需要付款 {acts} 次，每次付给一家。")
    elif len([part for part in mine if part.owed_fen]) > 1:
        said.append("一次付款，分别到账。")
    return said


def _to_do_en(group: Group, mine: Sequence[Part], acts: int) -> list[str]:
    if not group.owed_fen:
        return ["All of it is paid."]
    paid = sum(part.amount_fen - part.owed_fen for part in mine)
    said = [f"{yuan(paid)} yuan is paid, {yuan(group.owed_fen)} yuan is still due; it is settled when all is paid."] if paid else []
    if acts > 1:
        said.append(f"This wallet cannot combine payments: {acts} payments are needed, one for each payee.")
    elif len([part for part in mine if part.owed_fen]) > 1:
        said.append("You pay once; each payee gets its part.")
    return said


# Rules.


def add_rule(tx: Connection, *, lane: int, rule: NewRule, at: datetime, ids: Ids) -> Rule:
    """Let a lot's charges be cut from a date on, and seal the rule. May be repeated: the same rule is the same.

    Raises:
        NotFound: ``lot_not_found``, ``operator_not_found``.
        Refused: ``split_rule_invalid``, with what is wrong.
        Conflict: ``split_rule_conflict``, the lot has another rule of that scene and moment.
    """
    legs = _checked_legs(rule)
    lot = lots.lot_by_code(tx, code=rule.lot)
    payees = {operator.code: operator for operator in lots.operators(tx)}
    for leg in legs:
        if leg.operator not in payees:
            raise NotFound(f"there is no operator {leg.operator}", code="operator_not_found")
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


# Charges.


def post(
    tx: Connection,
    *,
    lane: int,
    lot: Lot,
    charges: Sequence[Whole],
    plate_ids: Mapping[tuple[str, str], int],
    energy_fen: Mapping[str, int],
    at: datetime,
    ids: Ids,
) -> dict[str, Posted]:
    """Cut those charges of a lot that a rule cuts into charges of their payees; returns what became of each of them, by serial.

    A charge that no rule cuts is not in the answer: it is one charge of the lot's operator, as ever. A part's charge stands under
    the same lot, with its payee's operator and with the serial ``<serial>#<number>``. Which rule counts says the moment the car
    left, or now while it stands at the gate; posted again, a charge keeps the rule by which it was cut first, or stays whole. May
    be repeated: the same charge is ``already``. Takes no lock but the uniqueness of the serials, in their order.

    Args:
        charges: Checked, and each serial once.
        plate_ids: Key of each charge's plate (number, colour).
        energy_fen: By serial: of the amount, how much is for energy, as the lot gave it.
    """
    known = split_store.rules(tx, lot_id=lot.lot_id)
    if not known:
        return {}
    before = split_store.groups(tx, lane=lane, lot_id=lot.lot_id, serials=[charge.lot_serial for charge in charges])
    uncut = store.charges_by_serial(tx, lane=lane, lot_id=lot.lot_id, serials=[charge.lot_serial for charge in charges])
    results: dict[str, Posted] = {}
    cuts: list[tuple[Whole, NewGroup, list[NewPart]]] = []
    for charge in sorted(charges, key=attrgetter("lot_serial")):
        rule = in_force(known, scene=charge.scene or lot.scene, at=charge.left_at or at)
        if rule is None or charge.lot_serial in before or charge.lot_serial in uncut:
            continue
        try:
            cuts.append(_cut_up(charge, rule, lot, plate_ids, energy_fen.get(charge.lot_serial), at, ids))
        except Refused as wrong:
            results[charge.lot_serial] = Posted(
                lot_serial=charge.lot_serial, outcome="refused", reason=wrong.code, field="energy_fen", detail=str(wrong)
            )
    created = _insert(tx, lane=lane, lot=lot, cuts=cuts, at=at, results=results)
    grouped = before.keys() | {charge.lot_serial for charge, _, _ in cuts} - results.keys()
    asked = [charge for charge in charges if charge.lot_serial in grouped]
    return results | _answers(tx, lane, lot, asked, energy_fen, created)


def are_cut(tx: Connection, *, lot_id: int) -> bool:
    """Say whether charges of a lot may be cut: it has, or had, a rule."""
    query = text("select exists (select from payments.split_rule where lot_id = :lot)")
    return bool(tx.execute(query, {"lot": lot_id}).scalar_one())


def group_of(tx: Connection, *, lane: int, charge_id: UUID) -> Group | None:
    """Return the group in which a charge is a part; None when it is a charge by itself."""
    return next(iter(groups_of(tx, lane=lane, charge_ids=[charge_id])), None)


def groups_of(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> list[Group]:
    """Return the groups in which any of these charges is a part."""
    return _grouped(split_store.parts_of_charges(tx, lane=lane, charge_ids=charge_ids))


def by_serial(tx: Connection, *, lane: int, lot_id: int, lot_serial: str) -> Group | None:
    """Return the group of a lot's own serial; None when that charge was not cut."""
    return next(iter(_grouped(split_store.parts_of_serial(tx, lane=lane, lot_id=lot_id, lot_serial=lot_serial))), None)


def charge_ids_of(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> dict[str, list[UUID]]:
    """Return the charges of the driver's parts by the lot's own serials, for whoever names a stay by it: departures, corrections.

    Serials whose charge was not cut are not in the answer.
    """
    found: dict[str, list[UUID]] = {}
    for serial, charge_id in split_store.charges_of_serials(tx, lane=lane, lot_id=lot_id, serials=serials):
        found.setdefault(serial, []).append(charge_id)
    return found


def charges_of(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> dict[str, list[Charge]]:
    """Return the charges of a lot's own serials: one, or those of the parts by their numbers. Who has none is left out."""
    whole = store.charges_by_serial(tx, lane=lane, lot_id=lot_id, serials=serials)
    parts = charge_ids_of(tx, lane=lane, lot_id=lot_id, serials=[serial for serial in serials if serial not in whole])
    ids = [charge_id for found in parts.values() for charge_id in found]
    by_id = {charge.charge_id: charge for charge in store.charges_by_ids(tx, lane=lane, charge_ids=ids)} if ids else {}
    return {serial: [charge] for serial, charge in whole.items()} | {
        serial: [by_id[charge_id] for charge_id in found] for serial, found in parts.items()
    }


def complete(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> list[Group]:
    """Return those groups of these charges of which nothing is due any more: only then may the car leave as paid."""
    return [group for group in groups_of(tx, lane=lane, charge_ids=charge_ids) if group.is_complete]


def _grouped(rows: Sequence[PartRow]) -> list[Group]:
    return [
        Group(
            group_id=group_id, lot_id=first.lot_id, lot_serial=first.lot_serial, rule_id=first.rule_id, amount_fen=first.whole_fen,
            parts=tuple(Part(**{name: getattr(row, name) for name in Part.__struct_fields__}) for row in of_group),
        )
        for group_id, found in groupby(rows, key=attrgetter("group_id"))
        for of_group in [list(found)]
        for first in of_group[:1]
    ]  # fmt: skip


def _cut_up(
    charge: Whole,
    rule: Rule,
    lot: Lot,
    plate_ids: Mapping[tuple[str, str], int],
    energy_fen: int | None,
    at: datetime,
    ids: Ids,
) -> tuple[Whole, NewGroup, list[NewPart]]:
    name = f"{lot.lot_id} {charge.lot_serial}"
    content = [charge.lot_serial, charge.amount_fen, energy_fen, charge.left_at, *(getattr(charge, field) for field in _CONTENT)]
    digest = hashlib.sha256(msgspec.json.encode(content)).digest()
    group = NewGroup(
        group_id=ids.new(at, f"charge group {name}"), lot_serial=charge.lot_serial, rule_id=rule.rule_id, content_digest=digest,
        amount_fen=charge.amount_fen, energy_fen=energy_fen,
    )  # fmt: skip
    amounts = cut(charge.amount_fen, rule.legs, energy_fen=energy_fen)
    parts = [
        NewPart(
            group_id=group.group_id, number=leg.number, operator_id=leg.operator_id, amount_fen=amount_fen,
            charge_id=None if leg.bearer else ids.new(at, f"charge {name}{PART_MARK}{leg.number}"),
            lot_serial=f"{charge.lot_serial}{PART_MARK}{leg.number}", content_digest=digest,
            plate_id=plate_ids[charge.plate, charge.plate_color], scene=charge.scene or lot.scene, entered_at=charge.entered_at,
            left_at=charge.left_at, minutes=charge.minutes, tariff_text=charge.tariff_text,
        )
        for leg, amount_fen in zip(rule.legs, amounts, strict=True)
        if amount_fen
    ]  # fmt: skip
    return charge, group, parts


def _insert(
    tx: Connection, *, lane: int, lot: Lot, cuts: Sequence[tuple[Whole, NewGroup, list[NewPart]]], at: datetime,
    results: dict[str, Posted],
) -> set[str]:  # fmt: skip
    """Insert what is new; returns its serials. A part whose serial belongs to another charge of the lot refuses the whole."""
    if not cuts:
        return set()
    wanted = [part.lot_serial for _, _, parts in cuts for part in parts]
    taken = split_store.serials_taken(tx, lane=lane, lot_id=lot.lot_id, serials=wanted)
    free = []
    for charge, group, parts in cuts:
        if clash := sorted(taken & {part.lot_serial for part in parts}):
            results[charge.lot_serial] = Posted(
                lot_serial=charge.lot_serial, outcome="refused", reason="serial_taken", field="lot_serial",
                detail=f"serial {clash[0]}, which a part of this charge needs, is another charge of the lot; take a new serial",
            )  # fmt: skip
        else:
            free.append((group, parts))
    made = split_store.insert_groups(tx, lane=lane, lot_id=lot.lot_id, groups=[group for group, _ in free], at=at)
    rows = [part for group, parts in free if group.group_id in made for part in parts]
    split_store.insert_parts(tx, lane=lane, lot_id=lot.lot_id, parts=rows, at=at)
    return {group.lot_serial for group, _ in free if group.group_id in made}


_CONTENT: Final = ("plate", "plate_color", "entered_at", "minutes", "tariff_text", "scene")


def _answers(
    tx: Connection, lane: int, lot: Lot, charges: Sequence[Whole], energy_fen: Mapping[str, int], created: set[str]
) -> dict[str, Posted]:
    """Say of each charge whether it was created, was there, or differs from what was posted before."""
    kept = split_store.groups(tx, lane=lane, lot_id=lot.lot_id, serials=[charge.lot_serial for charge in charges])
    firsts = [group.charge_id for group in kept.values() if group.charge_id is not None]
    of_first = {charge.charge_id: charge for charge in store.charges_by_ids(tx, lane=lane, charge_ids=firsts)}
    answers = {}
    for charge in charges:
        group = kept[charge.lot_serial]
        first = None if group.charge_id is None else of_first[group.charge_id]
        field = _difference(charge, energy_fen.get(charge.lot_serial), group, first)
        said = f"serial {charge.lot_serial} was posted before with another {field}; a new charge needs a new serial"
        answers[charge.lot_serial] = Posted(
            lot_serial=charge.lot_serial, charge_id=group.charge_id,
            outcome="refused" if field else "created" if charge.lot_serial in created else "already",
            reason="content_differs" if field else None, field=field,
            detail=said if field else None,
        )  # fmt: skip
    return answers


def _difference(charge: Whole, energy_fen: int | None, group: split_store.KeptGroup, first: Charge | None) -> str | None:
    """Return the field in which a repeated charge is not what was posted first."""
    if charge.amount_fen != group.amount_fen:
        return "amount_fen"
    if energy_fen != group.energy_fen:
        return "energy_fen"
    if first is None:
        return None
    if charge.left_at is not None and first.left_at != charge.left_at:
        return "left_at"
    return next((field for field in _CONTENT if getattr(charge, field) != getattr(first, field)), None)


# Standing checks.


_CHECK: Final = """
    select format('the parts of charge %s sum to %s fen and not to %s', g.group_id, sum(p.amount_fen), g.amount_fen)
    from payments.charge_group g left join payments.charge_part p on p.lane = g.lane and p.group_id = g.group_id
    group by g.lane, g.group_id, g.amount_fen having coalesce(sum(p.amount_fen), 0) <> g.amount_fen
    union all
    select format('part %s of charge %s has no charge of its payee over the same amount', p.number, p.group_id)
    from payments.charge_part p
    join payments.charge_group g on g.lane = p.lane and g.group_id = p.group_id
    left join payments.charge c on c.lane = p.lane and c.charge_id = p.charge_id
    where p.charge_id is not null
      and (c.charge_id is null or (c.operator_id, c.lot_id, c.amount_fen) <> (p.operator_id, g.lot_id, p.amount_fen))
    limit 100
"""


def check(tx: Connection) -> list[Violation]:
    """Check that parts sum to the whole, that each is its payee's charge, and that every rule is the one that was sealed."""
    found = [Violation("splits", str(detail)) for detail in tx.execute(text(_CHECK)).scalars()]
    for lane, of_lane in groupby(sorted(split_store.rules(tx), key=attrgetter("lane")), key=attrgetter("lane")):
        wanted = [as_document(rule) for rule in of_lane]
        sealed = {one.document_id: one for one in documents.find(tx, lane=lane, document_ids=[one.document_id for one in wanted])}
        found += [
            Violation("splits", f"split rule {one.document_id} is not the one that was sealed")
            for one in wanted
            if sealed.get(one.document_id) != one
        ]
    return found
