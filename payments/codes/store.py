"""The SQL of pay codes: one short function per question.

Knows the tables of this room; must not know what an act means. Called by ``registry``, ``reading`` and ``shown``.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from payments.codes.records import Act, Code, CodeState, Place

_CODES: Final = """
select c.code_no, c.lot_id, c.place, c.place_name, c.state, c.successor_no, c.acts, b.name as batch, c.changed_at,
       (select count(*) from payments.v_code_report r where r.code_no = c.code_no and r.closed_at is null) as reports
from payments.pay_code c join payments.code_batch b on b.batch_id = c.batch_id
"""


def lock_registry(tx: Connection) -> None:
    """Let one transaction at a time give numbers, so that they stay dense."""
    tx.execute(text("select pg_advisory_xact_lock(hashtext('payments.codes'))"))


def batch(tx: Connection, *, lot_id: int, name: str) -> list[tuple[int, Place]]:
    """Return the codes of a batch with the places they were issued for; none: there is no such batch."""
    query = text("""
        select a.code_no, a.place, a.place_name
        from payments.code_batch b
        join payments.pay_code c on c.batch_id = b.batch_id
        join payments.code_act a on a.code_no = c.code_no and a.number = 1
        where b.lot_id = :lot_id and b.name = :name order by a.code_no
        """)
    return [(row.code_no, Place(row.place, row.place_name)) for row in tx.execute(query, {"lot_id": lot_id, "name": name})]


def insert_batch(
    tx: Connection, *, lot_id: int, name: str, places: Sequence[Place], reason: str, by: str, at: datetime
) -> None:  # fmt: skip
    """Insert a batch, its codes and the first row of each history, in one statement."""
    statement = text("""
        with batch as (
            insert into payments.code_batch (batch_id, lot_id, name, codes, issued_at, issued_by)
            select (select coalesce(max(batch_id), 0) + 1 from payments.code_batch), :lot_id, :name, :codes, :at, :by
            returning batch_id
        ), code as (
            insert into payments.pay_code (code_no, batch_id, lot_id, place, place_name, state, acts, changed_at)
            select (select coalesce(max(code_no), 0) from payments.pay_code) + given.n, batch.batch_id, :lot_id, given.place,
                   given.name, 'issued', 1, :at
            from batch, unnest(cast(:places as text[]), cast(:names as text[])) with ordinality as given (place, name, n)
            returning code_no, place, place_name
        )
        insert into payments.code_act (code_no, number, act, lot_id, place, place_name, reason, done_by, done_at)
        select code_no, 1, 'issued', :lot_id, place, place_name, :reason, :by, :at from code
        """)
    given = {"places": [one.place for one in places], "names": [one.name for one in places], "codes": len(places)}
    tx.execute(statement, given | {"lot_id": lot_id, "name": name, "reason": reason, "by": by, "at": at})


def codes(tx: Connection, *, code_nos: Sequence[int], lock: bool = False) -> list[Code]:
    """Return codes by their numbers, in the order of these; ``lock`` holds their rows."""
    query = _CODES + "where c.code_no = any(cast(:code_nos as integer[])) order by c.code_no" + (" for update of c" if lock else "")
    return [Code(**row) for row in tx.execute(text(query), {"code_nos": list(code_nos)}).mappings()]


def codes_of_lot(
    tx: Connection, *, lot_id: int, after: int, limit: int, states: Sequence[CodeState] | None, batch_name: str | None
) -> list[Code]:
    """Return a lot's codes in the order of their numbers, those after ``after``."""
    query = text(
        _CODES
        + """
        where c.lot_id = :lot_id and c.code_no > :after
          and (cast(:states as text[]) is null or c.state = any(cast(:states as text[])))
          and (cast(:batch as text) is null or b.name = :batch)
        order by c.code_no limit :limit
        """
    )
    given = {"lot_id": lot_id, "after": after, "limit": limit, "states": None if states is None else list(states)}
    return [Code(**row) for row in tx.execute(query, given | {"batch": batch_name}).mappings()]


def change(
    tx: Connection, *, act: CodeState, states: Sequence[CodeState], code_nos: Sequence[int], lot_ids: Sequence[int],
    places: Sequence[Place], successors: Sequence[int | None], reason: str, by: str, at: datetime,
) -> None:  # fmt: skip
    """Put codes into their new states and places and add a row to each history, in one statement. The caller holds the rows.

    A history's row says where the code hangs now; a code that was carried to another lot keeps the lot that is printed on it.
    """
    statement = text("""
        with code as (
            update payments.pay_code c
            set state = given.state, place = given.place, place_name = given.name, successor_no = given.successor_no,
                acts = c.acts + 1, changed_at = :at
            from unnest(cast(:code_nos as integer[]), cast(:states as text[]), cast(:places as text[]), cast(:names as text[]),
                        cast(:successors as integer[]), cast(:lot_ids as integer[]))
                 as given (code_no, state, place, name, successor_no, lot_id)
            where c.code_no = given.code_no
            returning c.code_no, c.acts, c.place, c.place_name, c.successor_no, given.lot_id
        )
        insert into payments.code_act (code_no, number, act, lot_id, place, place_name, successor_no, reason, done_by, done_at)
        select code_no, acts, :act, lot_id, place, place_name, successor_no, :reason, :by, :at from code
        """)
    given = {
        "code_nos": list(code_nos), "states": list(states), "places": [one.place for one in places],
        "names": [one.name for one in places], "successors": list(successors), "lot_ids": list(lot_ids),
    }  # fmt: skip
    tx.execute(statement, given | {"act": act, "reason": reason, "by": by, "at": at})


def history(tx: Connection, *, code_no: int) -> list[Act]:
    """Return a code's history, the first act first."""
    query = text("""
        select a.number, a.act, l.code as lot_code, a.place, a.place_name, a.successor_no, a.reason, a.done_by, a.done_at
        from payments.code_act a join payments.lot l on l.lot_id = a.lot_id
        where a.code_no = :code_no order by a.number
        """)
    return [Act(**row) for row in tx.execute(query, {"code_no": code_no}).mappings()]


def insert_printing(
    tx: Connection, *, printing_id: UUID, lot_id: int, key_id: int, code_nos: Sequence[int], form: str, by: str, at: datetime
) -> None:  # fmt: skip
    """Note which codes were written to print files, and signed with which key."""
    statement = text("""
        insert into payments.code_printing (printing_id, lot_id, key_id, code_nos, form, printed_at, printed_by)
        values (:printing_id, :lot_id, :key_id, cast(:code_nos as integer[]), :form, :at, :by)
        """)
    given = {"printing_id": printing_id, "lot_id": lot_id, "key_id": key_id, "code_nos": list(code_nos), "form": form}
    tx.execute(statement, given | {"by": by, "at": at})


def key_ids(tx: Connection) -> list[tuple[int, int]]:
    """Return by key how many codes that still count were printed with it; lots' own codes of version 1 count as one each."""
    query = text("""
        select key_id, count(*) as codes
        from (
            select distinct p.key_id, c.code_no, cast(null as integer) as lot_id
            from payments.code_printing p, unnest(p.code_nos) n join payments.pay_code c on c.code_no = n
            where c.state in ('issued', 'posted')
            union
            select key_id, null, lot_id from payments.code_printing where code_nos = '{}'
        ) printed group by key_id order by key_id
        """)
    return [(row.key_id, row.codes) for row in tx.execute(query)]


def insert_set(
    tx: Connection, *, set_id: UUID, lane: int, lot_id: int, charge_ids: Sequence[UUID], by: str, at: datetime
) -> None:  # fmt: skip
    """Keep which charges one code stands for."""
    statement = text("""
        insert into payments.code_set (set_id, lane, lot_id, charge_ids, made_at, made_by)
        values (:set_id, :lane, :lot_id, cast(:charge_ids as uuid[]), :at, :by)
        """)
    given = {"set_id": set_id, "lane": lane, "lot_id": lot_id, "charge_ids": list(charge_ids), "by": by, "at": at}
    tx.execute(statement, given)


def set_of(tx: Connection, *, set_id: UUID, lane: int, lot_id: int) -> list[UUID]:
    """Return the charges of a set; none: there is no such set of this lot."""
    query = text("select charge_ids from payments.code_set where set_id = :set_id and lane = :lane and lot_id = :lot_id")
    row = tx.execute(query, {"set_id": set_id, "lane": lane, "lot_id": lot_id}).first()
    return [] if row is None else list(row.charge_ids)
