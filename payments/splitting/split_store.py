"""SQL of the splits. Private to ``payments``; ``tx`` first, structs out, sets instead of rows."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, Row, text

Basis = Literal["energy", "fixed", "share"]


class Leg(Struct, frozen=True, kw_only=True):
    """What one payee gets by a rule."""

    number: int
    operator_id: int
    operator_code: str
    basis: Basis
    fixed_fen: int | None = None
    share_bps: int | None = None
    bearer: str | None = None
    words: str
    words_en: str


class Rule(Struct, frozen=True, kw_only=True):
    """A split rule as it is kept."""

    rule_id: UUID
    lane: int
    lot_id: int
    lot_code: str
    scene: str | None
    valid_from: datetime
    document: str
    entered_at: datetime
    legs: tuple[Leg, ...]


class NewPart(Struct, frozen=True, kw_only=True):
    """A part to be inserted; with ``charge_id`` also as a charge of its own under ``lot_serial``."""

    group_id: UUID
    number: int
    operator_id: int
    amount_fen: int
    charge_id: UUID | None
    lot_serial: str
    content_digest: bytes
    plate_id: int
    scene: str
    entered_at: datetime
    left_at: datetime | None
    minutes: int
    tariff_text: str


class NewGroup(Struct, frozen=True, kw_only=True):
    """A group to be inserted."""

    group_id: UUID
    lot_serial: str
    rule_id: UUID
    content_digest: bytes
    amount_fen: int
    energy_fen: int | None


class KeptGroup(Struct, frozen=True, kw_only=True):
    """A group as it is kept. ``charge_id`` is the charge of the first part that the driver pays."""

    group_id: UUID
    lot_serial: str
    amount_fen: int
    energy_fen: int | None
    charge_id: UUID | None


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


_RULE: Final = """
select r.rule_id, r.lane, r.lot_id, t.code as lot_code, r.scene, r.valid_from, r.document, r.entered_at, l.number, l.operator_id,
       o.code as operator_code, l.basis, l.fixed_fen, l.share_bps, l.bearer, l.words, l.words_en
from payments.split_rule r
join payments.lot t on t.lot_id = r.lot_id
left join payments.split_leg l on l.lane = r.lane and l.rule_id = r.rule_id
left join payments.operator o on o.operator_id = l.operator_id
"""
_RULE_FIELDS: Final = ("rule_id", "lane", "lot_id", "lot_code", "scene", "valid_from", "document", "entered_at")
_ORDER: Final = " order by r.lot_id, r.scene nulls first, r.valid_from, r.rule_id, l.number"


def rules(tx: Connection, *, lot_id: int | None = None) -> list[Rule]:
    """Return all rules, or those of a lot, by lot, scene and date."""
    query = text(_RULE + "where r.lot_id = :lot or cast(:lot as integer) is null" + _ORDER)
    return [
        Rule(
            **{name: getattr(first, name) for name in _RULE_FIELDS},
            legs=tuple(
                Leg(**{name: getattr(row, name) for name in Leg.__struct_fields__}) for row in of_rule if row.number is not None
            ),
        )
        for _, rows in groupby(tx.execute(query, {"lot": lot_id}), key=attrgetter("rule_id"))
        for of_rule in [list(rows)]
        for first in of_rule[:1]
    ]


def insert_rule(tx: Connection, *, rule: Rule) -> bool:
    """Insert a rule with its legs unless its lot, scene and date are taken; says whether it did."""
    given: dict[str, Any] = {name: getattr(rule, name) for name in _RULE_FIELDS} | {
        name: [getattr(leg, name) for leg in rule.legs] for name in Leg.__struct_fields__
    }
    made = tx.execute(
        text("""
        with made as (
            insert into payments.split_rule (rule_id, lane, lot_id, scene, valid_from, document, entered_at)
            values (:rule_id, :lane, :lot_id, :scene, :valid_from, :document, :entered_at)
            on conflict (lot_id, scene, valid_from) do nothing
            returning rule_id, lane
        ), legs as (
            insert into payments.split_leg (rule_id, lane, number, operator_id, basis, fixed_fen, share_bps, bearer, words,
                                            words_en)
            select made.rule_id, made.lane, l.number, l.operator_id, l.basis, l.fixed_fen, l.share_bps, l.bearer, l.words,
                   l.words_en
            from made, unnest(cast(:number as smallint[]), cast(:operator_id as integer[]), cast(:basis as text[]),
                    cast(:fixed_fen as bigint[]), cast(:share_bps as integer[]), cast(:bearer as text[]), cast(:words as text[]),
                    cast(:words_en as text[]))
                as l (number, operator_id, basis, fixed_fen, share_bps, bearer, words, words_en)
        )
        select 1 from made
        """),
        given,
    )
    return made.first() is not None


def groups(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> dict[str, KeptGroup]:
    """Return the groups of these serials of a lot."""
    rows = tx.execute(
        text("""
        select g.group_id, g.lot_serial, g.amount_fen, g.energy_fen, f.charge_id
        from payments.charge_group g
        left join lateral (
            select p.charge_id from payments.charge_part p
            where p.lane = g.lane and p.group_id = g.group_id and p.charge_id is not null order by p.number limit 1
        ) f on true
        where g.lane = :lane and g.lot_id = :lot and g.lot_serial = any(cast(:serials as text[]))
        """),
        {"lane": lane, "lot": lot_id, "serials": list(serials)},
    )
    return {row.lot_serial: KeptGroup(**row._mapping) for row in rows}


def serials_taken(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> set[str]:
    """Return which of these serials of a lot belong to charges that are no parts."""
    query = text("""
        select c.lot_serial from payments.charge c
        where c.lane = :lane and c.lot_id = :lot and c.lot_serial = any(cast(:serials as text[]))
          and not exists (select from payments.charge_part p where p.lane = c.lane and p.charge_id = c.charge_id)
        """)
    return set(tx.execute(query, {"lane": lane, "lot": lot_id, "serials": list(serials)}).scalars())


def insert_groups(tx: Connection, *, lane: int, lot_id: int, groups: Sequence[NewGroup], at: datetime) -> set[UUID]:
    """Insert groups in the order given; returns the ids of those whose serials were new."""
    rows = tx.execute(
        text("""
        insert into payments.charge_group (group_id, lane, lot_id, lot_serial, rule_id, content_digest, amount_fen, energy_fen,
                                           created_at)
        select group_id, :lane, :lot_id, lot_serial, rule_id, content_digest, amount_fen, energy_fen, :at
        from unnest(cast(:group_id as uuid[]), cast(:lot_serial as text[]), cast(:rule_id as uuid[]),
                    cast(:content_digest as bytea[]), cast(:amount_fen as bigint[]), cast(:energy_fen as bigint[]))
             as n (group_id, lot_serial, rule_id, content_digest, amount_fen, energy_fen)
        on conflict (lot_id, lot_serial, lane) do nothing
        returning group_id
        """),
        _columns(groups, NewGroup) | {"lane": lane, "lot_id": lot_id, "at": at},
    )
    return set(rows.scalars())


def insert_parts(tx: Connection, *, lane: int, lot_id: int, parts: Sequence[NewPart], at: datetime) -> None:
    """Insert parts, and those that a driver pays as charges of their payees."""
    tx.execute(
        text("""
        with new as materialized (
            select * from unnest(cast(:group_id as uuid[]), cast(:number as smallint[]), cast(:operator_id as integer[]),
                cast(:amount_fen as bigint[]), cast(:charge_id as uuid[]), cast(:lot_serial as text[]),
                cast(:content_digest as bytea[]), cast(:plate_id as bigint[]), cast(:scene as text[]),
                cast(:entered_at as timestamptz[]), cast(:left_at as timestamptz[]), cast(:minutes as integer[]),
                cast(:tariff_text as text[]))
                as n (group_id, number, operator_id, amount_fen, charge_id, lot_serial, content_digest, plate_id, scene, entered_at,
                      left_at, minutes, tariff_text)
        ), part as (
            insert into payments.charge_part (group_id, lane, number, operator_id, amount_fen, charge_id)
            select group_id, :lane, number, operator_id, amount_fen, charge_id from new
        )
        insert into payments.charge (charge_id, lane, operator_id, lot_id, lot_serial, content_digest, plate_id, scene, entered_at,
                                     left_at, minutes, amount_fen, tariff_text, state, created_at)
        select charge_id, :lane, operator_id, :lot_id, lot_serial, content_digest, plate_id, scene, entered_at, left_at, minutes,
               amount_fen, tariff_text, 'open', :at
        from new where charge_id is not null
        """),
        _columns(parts, NewPart) | {"lane": lane, "lot_id": lot_id, "at": at},
    )


_PARTS: Final = """
select g.group_id, g.lot_serial, g.lot_id, g.rule_id, g.amount_fen as whole_fen, p.number, p.operator_id, o.legal_name as payee,
       p.amount_fen, case when c.state = 'open' then c.amount_fen - c.paid_fen - c.reduced_fen else 0 end as owed_fen, p.charge_id,
       c.state, l.words, l.words_en, b.name as bearer
from payments.charge_part p
join payments.charge_group g on g.lane = p.lane and g.group_id = p.group_id
join payments.split_leg l on l.lane = p.lane and l.rule_id = g.rule_id and l.number = p.number
join payments.operator o on o.operator_id = p.operator_id
left join payments.v_bearer b on b.code = l.bearer
left join payments.charge c on c.lane = p.lane and c.charge_id = p.charge_id
"""


def groups_of_charges(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> list[Group]:
    """Return the groups in which these charges are, with all their parts."""
    query = text(
        _PARTS
        + """
        where p.lane = :lane and p.group_id in (
            select x.group_id from payments.charge_part x where x.lane = :lane and x.charge_id = any(cast(:ids as uuid[])))
        order by g.group_id, p.number
        """
    )
    return _grouped(tx.execute(query, {"lane": lane, "ids": list(charge_ids)}))


def group_of_serial(tx: Connection, *, lane: int, lot_id: int, lot_serial: str) -> Group | None:
    """Return the group of a lot's own serial; None when that charge was not cut."""
    query = text(_PARTS + "where g.lane = :lane and g.lot_id = :lot and g.lot_serial = :serial order by p.number")
    return next(iter(_grouped(tx.execute(query, {"lane": lane, "lot": lot_id, "serial": lot_serial}))), None)


def _grouped(rows: Iterable[Row[Any]]) -> list[Group]:
    return [
        Group(
            group_id=group_id, lot_id=first.lot_id, lot_serial=first.lot_serial, rule_id=first.rule_id, amount_fen=first.whole_fen,
            parts=tuple(Part(**{name: getattr(row, name) for name in Part.__struct_fields__}) for row in of_group),
        )
        for group_id, found in groupby(rows, key=attrgetter("group_id"))
        for of_group in [list(found)]
        for first in of_group[:1]
    ]  # fmt: skip


def charges_of_serials(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> list[tuple[str, UUID]]:
    """Return the charges of parts with the lot's own serials, by serial and number."""
    query = text("""
        select g.lot_serial, p.charge_id
        from payments.charge_group g join payments.charge_part p on p.lane = g.lane and p.group_id = g.group_id
        where g.lane = :lane and g.lot_id = :lot and g.lot_serial = any(cast(:serials as text[])) and p.charge_id is not null
        order by g.lot_serial, p.number
        """)
    given = {"lane": lane, "lot": lot_id, "serials": list(serials)}
    return [(row.lot_serial, row.charge_id) for row in tx.execute(query, given)]


def _columns(rows: Sequence[Struct], form: type[Struct]) -> dict[str, Any]:
    return {name: [getattr(row, name) for row in rows] for name in form.__struct_fields__}
