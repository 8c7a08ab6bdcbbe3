"""Splits: one stay that owes several payees, cut by a dated rule into charges of their own. Source: docs/SPLITS.md.

Knows groups, their parts and charges; must not know channels, payments' states or HTTP. Called by ``payments.charges``, the pages,
and whoever names a stay by the lot's serial.

Every part is a charge of its own operator, so its money goes into that operator's merchant account and its entry into that
operator's book; nothing passes through the platform or another operator. The parts of a stay are paid together as a basket.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final, Protocol
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.errors import Refused
from ledger.ids import Ids
from ledger.invariants import Violation
from payments import store
from payments.bearers import parts as borne_parts
from payments.bearers.parts import BornePart
from payments.lots import Lot
from payments.records import Charge, Posted
from payments.splitting import cutting, rules, split_store
from payments.splitting.split_store import Group, KeptGroup, NewGroup, NewPart, Rule

PART_MARK: Final = "#"
"""Stands between the lot's serial and the number of the part in the serial of a part's charge."""


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
    cuts: list[_Cut] = []
    for charge in sorted(charges, key=attrgetter("lot_serial")):
        rule = rules.in_force(known, scene=charge.scene or lot.scene, at=charge.left_at or at)
        if rule is None or charge.lot_serial in before or charge.lot_serial in uncut:
            continue
        try:
            cuts.append(_cut_up(charge, rule, lot, plate_ids, energy_fen.get(charge.lot_serial), at, ids))
        except Refused as wrong:
            results[charge.lot_serial] = Posted(
                lot_serial=charge.lot_serial, outcome="refused", reason=wrong.code, field="energy_fen", detail=str(wrong)
            )
    created = _insert(tx, lane=lane, lot=lot, cuts=cuts, at=at, results=results)
    grouped = before.keys() | {one.charge.lot_serial for one in cuts} - results.keys()
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
    return split_store.groups_of_charges(tx, lane=lane, charge_ids=charge_ids)


def by_serial(tx: Connection, *, lane: int, lot_id: int, lot_serial: str) -> Group | None:
    """Return the group of a lot's own serial; None when that charge was not cut."""
    return split_store.group_of_serial(tx, lane=lane, lot_id=lot_id, lot_serial=lot_serial)


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


class _Cut(Struct, frozen=True):
    """A charge with the group that it becomes, its parts, and those of them that somebody bears in place of the driver."""

    charge: Whole
    group: NewGroup
    parts: list[NewPart]
    borne: list[BornePart]


def _cut_up(
    charge: Whole,
    rule: Rule,
    lot: Lot,
    plate_ids: Mapping[tuple[str, str], int],
    energy_fen: int | None,
    at: datetime,
    ids: Ids,
) -> _Cut:
    name = f"{lot.lot_id} {charge.lot_serial}"
    content = [charge.lot_serial, charge.amount_fen, energy_fen, charge.left_at, *(getattr(charge, field) for field in _CONTENT)]
    digest = hashlib.sha256(msgspec.json.encode(content)).digest()
    group = NewGroup(
        group_id=ids.new(at, f"charge group {name}"), lot_serial=charge.lot_serial, rule_id=rule.rule_id, content_digest=digest,
        amount_fen=charge.amount_fen, energy_fen=energy_fen,
    )  # fmt: skip
    amounts = cutting.cut(charge.amount_fen, rule.legs, energy_fen=energy_fen)
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
    bearers = {leg.number: leg.bearer for leg in rule.legs if leg.bearer is not None}
    borne = [
        BornePart(
            part_id=ids.new(at, f"borne part {name}{PART_MARK}{part.number}"), source="split", source_id=group.group_id,
            number=part.number, bearer=bearers[part.number], operator_id=part.operator_id, lot_id=lot.lot_id,
            lot_serial=charge.lot_serial, charge_id=_beside(part, parts), amount_fen=part.amount_fen, document_id=rule.rule_id,
            happened_at=charge.left_at or at,
        )
        for part in parts
        if part.number in bearers
    ]  # fmt: skip
    return _Cut(charge, group, parts, borne)


def _beside(borne: NewPart, parts: Sequence[NewPart]) -> UUID | None:
    """Return the driver's charge with which a borne part is earned: its own payee's, else the first; None: there is none."""
    drivers = [part for part in parts if part.charge_id is not None]
    return next((part.charge_id for part in sorted(drivers, key=lambda part: part.operator_id != borne.operator_id)), None)


def _insert(
    tx: Connection, *, lane: int, lot: Lot, cuts: Sequence[_Cut], at: datetime, results: dict[str, Posted]
) -> set[str]:  # fmt: skip
    """Insert what is new; returns its serials. A part whose serial belongs to another charge of the lot refuses the whole."""
    if not cuts:
        return set()
    wanted = [part.lot_serial for one in cuts for part in one.parts]
    taken = split_store.serials_taken(tx, lane=lane, lot_id=lot.lot_id, serials=wanted)
    free: list[_Cut] = []
    for one in cuts:
        if clash := sorted(taken & {part.lot_serial for part in one.parts}):
            results[one.charge.lot_serial] = Posted(
                lot_serial=one.charge.lot_serial, outcome="refused", reason="serial_taken", field="lot_serial",
                detail=f"serial {clash[0]}, which a part of this charge needs, is another charge of the lot; take a new serial",
            )  # fmt: skip
        else:
            free.append(one)
    ids = split_store.insert_groups(tx, lane=lane, lot_id=lot.lot_id, groups=[one.group for one in free], at=at)
    made = [one for one in free if one.group.group_id in ids]
    split_store.insert_parts(tx, lane=lane, lot_id=lot.lot_id, parts=[part for one in made for part in one.parts], at=at)
    borne_parts.note(tx, lane=lane, parts=[part for one in made for part in one.borne], at=at)
    return {one.group.lot_serial for one in made}


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


def _difference(charge: Whole, energy_fen: int | None, group: KeptGroup, first: Charge | None) -> str | None:
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
    union all
    select format('part %s of charge %s is borne by somebody and not noted so', p.number, p.group_id)
    from payments.charge_part p
    left join payments.v_borne_part b
        on b.lane = p.lane and b.source = 'split' and b.source_id = p.group_id and b.number = p.number
    where p.charge_id is null and (b.amount_fen, b.operator_id) is distinct from (p.amount_fen, p.operator_id)
    limit 100
"""


def check(tx: Connection) -> list[Violation]:
    """Check that parts sum to the whole, that each is its payee's charge, and that every rule is the one that was sealed."""
    return [Violation("splits", str(detail)) for detail in tx.execute(text(_CHECK)).scalars()] + rules.check(tx)
