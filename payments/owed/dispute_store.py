"""The questions that disputes ask of PostgreSQL. Private to this room."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.arrays import integer, smallint, uuids
from ledger.volley import Question, Statement, ask

Reason = Literal["not_my_car", "not_there", "times_wrong", "already_paid", "tariff_wrong", "exempt", "other"]
State = Literal["open", "deciding", "upheld", "partly", "rejected", "withdrawn"]


Standing = Literal[
    "open", "deciding", "paid", "refund_due", "refunded", "waiver_due", "upheld", "partly", "rejected", "withdrawn"
]  # fmt: skip
"""Where a dispute stands together with its debt; derived, never stored. paid: the debt was paid and the objection is still to be
decided. refund_due: it was upheld of a paid debt, and the money has yet to be promised back. refunded: it has been. waiver_due: so
upheld, but the channel took the payment back before."""


class Dispute(Struct, frozen=True, kw_only=True):
    """A dispute of one debt."""

    dispute_id: UUID
    charge_id: UUID
    operator_id: int
    lot_id: int
    lot_serial: str
    owed_fen: int
    opened_by: Literal["page", "api", "staff"]
    reason: Reason
    statement: str
    opened_at: datetime
    answer_until: datetime
    answer: str | None
    answered_at: datetime | None
    state: State
    waiver_id: UUID | None
    decided_at: datetime | None
    decided_note: str | None
    charge_state: str
    entered_at: datetime
    plate_color: str
    taken_fen: int
    """What was taken for the debt, by channels and by hand; not what came twice."""
    back_fen: int
    """What of it is promised back, or has gone back."""

    @property
    def standing(self) -> Standing:
        """Where it stands, with what became of the debt meanwhile."""
        if self.charge_state == "settled" and self.state in ("open", "deciding"):
            return "paid"
        if self.waiver_id is None and self.state in ("upheld", "partly"):
            if self.charge_state == "settled":
                return "refund_due" if self.to_give_back_fen else "refunded"
            if self.charge_state == "open":
                return "waiver_due"
        return self.state

    @property
    def to_give_back_fen(self) -> int:
        """What is still to be given back of a paid debt if the driver is right; of a part (``partly``) one refund is enough."""
        is_done = self.back_fen > 0 and self.state == "partly"
        return 0 if is_done else max(0, self.taken_fen - self.back_fen)


class Exhibit(Struct, frozen=True, kw_only=True):
    """What a party showed, verbatim."""

    exhibit_id: UUID
    shown_by: Literal["driver", "lot", "staff"]
    name: str
    media_type: str
    digest: bytes
    body: bytes
    shown_at: datetime


class Disputable(Struct, frozen=True, kw_only=True):
    """A debt as a dispute finds it, held."""

    charge_id: UUID
    operator_id: int
    lot_id: int
    lot_serial: str
    owed_fen: int
    paid_fen: int
    state: str
    disputed_at: datetime | None


_DISPUTE: Final = """
select x.dispute_id, x.charge_id, x.operator_id, x.lot_id, c.lot_serial, d.owed_fen, x.opened_by, x.reason, x.statement,
       x.opened_at, x.answer_until, x.answer, x.answered_at, x.state, x.waiver_id, x.decided_at, x.decided_note,
       c.state as charge_state, c.entered_at, p.color as plate_color, m.taken_fen, m.back_fen
from payments.debt_dispute x
join payments.charge c on c.lane = x.lane and c.charge_id = x.charge_id
join payments.debt d on d.lane = x.lane and d.charge_id = x.charge_id
join payments.plate p on p.plate_id = c.plate_id
cross join lateral (
    select coalesce(sum(y.taken_fen), 0)::bigint as taken_fen,
           coalesce(sum((select sum(r.amount_fen) from payments.v_refund r
                         where r.lane = y.lane and r.payment_id = y.payment_id and r.state <> 'closed')), 0)::bigint as back_fen
    from payments.payment y
    join payments.v_payment_fact f
      on f.lane = y.lane and f.channel = y.channel and f.merchant_no = y.merchant_no and f.trade_no = y.trade_no
    where y.lane = c.lane and y.charge_id = c.charge_id and y.taken_back_at is null and f.treatment in ('settled', 'part')
) m
"""

_NOT_OVER: Final = "x.state in ('open', 'deciding') order by x.opened_at, x.dispute_id limit :limit"
_UPHELD_UNDONE: Final = """x.state in ('upheld', 'partly') and x.waiver_id is null and (
    (c.state = 'open' and c.reduced_fen = 0)
    or (c.state = 'settled' and m.back_fen < case when x.state = 'partly' then least(1, m.taken_fen) else m.taken_fen end))"""
"""The driver was right and the debt was paid, but the money has not been promised back; or it came to be due again."""


def hold(tx: Connection, *, lane: int, charge_id: UUID) -> Disputable | None:
    """Return a debt, holding its charge."""
    row = tx.execute(
        text("""
        select c.charge_id, c.operator_id, c.lot_id, c.lot_serial, d.owed_fen, c.paid_fen, c.state, d.disputed_at
        from payments.charge c join payments.debt d on d.lane = c.lane and d.charge_id = c.charge_id
        where c.lane = :lane and c.charge_id = :id for update of c
        """),
        {"lane": lane, "id": charge_id},
    ).first()
    return None if row is None else Disputable(**row._mapping)


def insert(
    tx: Connection, *, lane: int, dispute_id: UUID, debt: Disputable, opened_by: str, opened_ref: str, reason: Reason,
    statement: str, at: datetime, answer_until: datetime,
) -> None:  # fmt: skip
    """Insert a dispute and mark its debt. The charge is held by the caller."""
    tx.execute(
        text("""
        with marked as (
            update payments.debt set disputed_at = :at where lane = :lane and charge_id = :charge_id
        )
        insert into payments.debt_dispute (dispute_id, lane, charge_id, operator_id, lot_id, opened_by, opened_ref, reason,
                                           statement, opened_at, answer_until, state)
        values (:dispute_id, :lane, :charge_id, :operator_id, :lot_id, :opened_by, :opened_ref, :reason, :statement, :at,
                :answer_until, 'open')
        """),
        {
            "lane": lane, "dispute_id": dispute_id, "charge_id": debt.charge_id, "operator_id": debt.operator_id,
            "lot_id": debt.lot_id, "opened_by": opened_by, "opened_ref": opened_ref, "reason": reason, "statement": statement,
            "at": at, "answer_until": answer_until,
        },
    )  # fmt: skip


def insert_exhibits(tx: Connection, *, lane: int, dispute_id: UUID, exhibits: Sequence[Exhibit]) -> None:
    """Keep what a party showed; the same bytes are kept once."""
    if not exhibits:
        return
    tx.execute(
        text("""
        insert into payments.dispute_exhibit (exhibit_id, lane, dispute_id, shown_by, name, media_type, digest, body, shown_at)
        select exhibit_id, :lane, :dispute, shown_by, name, media_type, digest, body, shown_at
        from unnest(cast(:exhibit_id as uuid[]), cast(:shown_by as text[]), cast(:name as text[]), cast(:media_type as text[]),
                    cast(:digest as bytea[]), cast(:body as bytea[]), cast(:shown_at as timestamptz[]))
             as e (exhibit_id, shown_by, name, media_type, digest, body, shown_at)
        on conflict (dispute_id, digest, lane) do nothing
        """),
        {"lane": lane, "dispute": dispute_id} | {n: [getattr(x, n) for x in exhibits] for n in Exhibit.__struct_fields__},
    )


def find(tx: Connection, *, lane: int, dispute_id: UUID, lock: bool = False) -> Dispute | None:
    """Return a dispute, holding its row when ``lock``."""
    query = text(_DISPUTE + "where x.lane = :lane and x.dispute_id = :id" + (" for update of x" if lock else ""))
    row = tx.execute(query, {"lane": lane, "id": dispute_id}).first()
    return None if row is None else Dispute(**row._mapping)


def of_lot(tx: Connection, *, lane: int, lot_id: int, limit: int) -> list[Dispute]:
    """Return the disputes of a lot that are not over, the oldest first."""
    query = text(_DISPUTE + "where x.lane = :lane and x.lot_id = :lot and " + _NOT_OVER)
    return [Dispute(**row._mapping) for row in tx.execute(query, {"lane": lane, "lot": lot_id, "limit": limit})]


def of_charges(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> list[Dispute]:
    """Return all disputes of debts, the oldest first."""
    query = text(_DISPUTE + "where x.lane = :lane and x.charge_id = any(cast(:ids as uuid[])) order by x.opened_at, x.dispute_id")
    return [Dispute(**row._mapping) for row in tx.execute(query, {"lane": lane, "ids": list(charge_ids)})]


def open_of_charge(tx: Connection, *, lane: int, charge_id: UUID) -> Dispute | None:
    """Return the dispute of a debt that is not over."""
    query = text(_DISPUTE + "where x.lane = :lane and x.charge_id = :id and x.state in ('open', 'deciding')")
    row = tx.execute(query, {"lane": lane, "id": charge_id}).first()
    return None if row is None else Dispute(**row._mapping)


def waiting(tx: Connection, *, lane: int, limit: int) -> list[Dispute]:
    """Return the disputes that somebody has to do something about: those that are not over, and those upheld of a paid debt whose
    money is not promised back. The oldest first."""
    query = text(
        _DISPUTE
        + f"""where x.lane = :lane and (x.state in ('open', 'deciding') or {_UPHELD_UNDONE})
        order by x.opened_at, x.dispute_id limit :limit"""
    )
    return [Dispute(**row._mapping) for row in tx.execute(query, {"lane": lane, "limit": limit})]


_PAID: Final = Statement("""
    select c.charge_id
    from (select * from payments.plate where number = %(number)s::text offset 0) p
    cross join lateral (
        select * from payments.charge x
        where x.plate_id = p.plate_id and x.lot_id = %(lot)s::integer and x.lane = %(lane)s::smallint and x.state = 'settled'
          and x.is_receivable
        offset 0
    ) c
    where p.held_since is null or c.entered_at >= p.held_since
    """)
_DISPUTED: Final = Statement("""
    select charge_id from payments.debt_dispute
    where lane = %(lane)s::smallint and charge_id = any(%(ids)s::uuid[]) and state in ('open', 'deciding')
    """)


def which_are_paid(*, lane: int, lot_id: int, number: str) -> Question[list[UUID]]:
    """The debts of a number at a lot that are paid, of whoever has the plate now."""
    shot = _PAID.shot(lane=smallint(lane), lot=integer(lot_id), number=number.encode())
    return Question(shot, lambda rows: [row[0] for row in rows])


def of_paid(tx: Connection, *, lane: int, charge_ids: Sequence[UUID], decided_after: datetime) -> list[Dispute]:
    """Return the disputes of debts that are paid: not over, or decided after the payment and after a moment; the oldest first.

    Of none, nothing is asked.
    """
    if not charge_ids:
        return []
    query = text(
        _DISPUTE
        + """where x.lane = :lane and x.charge_id = any(cast(:ids as uuid[]))
          and (x.state in ('open', 'deciding')
               or (x.waiver_id is null and x.state in ('upheld', 'partly', 'rejected')
                   and x.decided_at >= c.settled_at and x.decided_at > :after))
        order by x.opened_at, x.dispute_id"""
    )
    given = {"lane": lane, "ids": list(charge_ids), "after": decided_after}
    return [Dispute(**row._mapping) for row in tx.execute(query, given)]


def open_of_charges(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these charges are disputed by their drivers and not decided yet."""
    return ask(tx, which_are_disputed(lane=lane, charge_ids=charge_ids))


def which_are_disputed(*, lane: int, charge_ids: Sequence[UUID]) -> Question[set[UUID]]:
    """As ``open_of_charges``."""
    return Question(_DISPUTED.shot(lane=smallint(lane), ids=uuids(charge_ids)), lambda rows: {row[0] for row in rows})


def exhibits(tx: Connection, *, lane: int, dispute_ids: Sequence[UUID]) -> dict[UUID, list[Exhibit]]:
    """Return what was shown, by dispute, in the order in which it was."""
    rows = tx.execute(
        text("""
        select dispute_id, exhibit_id, shown_by, name, media_type, digest, body, shown_at from payments.dispute_exhibit
        where lane = :lane and dispute_id = any(cast(:ids as uuid[])) order by shown_at, exhibit_id
        """),
        {"lane": lane, "ids": list(dispute_ids)},
    )
    found: dict[UUID, list[Exhibit]] = {}
    for row in rows:
        values = dict(row._mapping)
        found.setdefault(values.pop("dispute_id"), []).append(Exhibit(**values))
    return found


def answer(tx: Connection, *, lane: int, dispute_id: UUID, words: str, by: str, at: datetime) -> None:
    tx.execute(
        text("""
        update payments.debt_dispute set answer = :words, answered_at = :at, answered_by = :by
        where lane = :lane and dispute_id = :id
        """),
        {"lane": lane, "id": dispute_id, "words": words, "by": by, "at": at},
    )


def wait_for_waiver(
    tx: Connection, *, lane: int, dispute_id: UUID, waiver_id: UUID, by: str, note: str, at: datetime
) -> None:  # fmt: skip
    tx.execute(
        text("""
        update payments.debt_dispute set state = 'deciding', waiver_id = :waiver, decided_by = :by, decided_at = :at,
               decided_note = :note
        where lane = :lane and dispute_id = :id
        """),
        {"lane": lane, "id": dispute_id, "waiver": waiver_id, "by": by, "note": note, "at": at},
    )


def end(
    tx: Connection, *, lane: int, dispute_id: UUID, charge_id: UUID, state: State, by: str | None, note: str | None, at: datetime,
    frees: bool = True,
) -> None:  # fmt: skip
    """End a dispute. The charge is held by the caller. ``frees``: its debt may be demanded again, now or should it become due."""
    tx.execute(
        text("""
        with freed as (
            update payments.debt set disputed_at = null where lane = :lane and charge_id = :charge and cast(:frees as boolean)
        )
        update payments.debt_dispute set state = :state, decided_by = :by, decided_at = :at, decided_note = :note
        where lane = :lane and dispute_id = :id
        """),
        {
            "lane": lane, "id": dispute_id, "charge": charge_id, "state": state, "by": by, "note": note, "at": at, "frees": frees,
        },
    )  # fmt: skip
