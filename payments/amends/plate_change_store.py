"""The questions that changes of plates ask of PostgreSQL. Private to this room; called by ``plate_changes`` alone."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from payments.plates import PlateColor

Kind = Literal["transfer", "erasure"]
State = Literal["proposed", "approved", "rejected"]


class Plate(Struct, frozen=True, kw_only=True):
    """A plate as it is kept."""

    plate_id: int
    number: str
    color: PlateColor
    held_since: datetime | None
    erased_at: datetime | None


class Change(Struct, frozen=True, kw_only=True):
    """A proposal about a plate and what became of it."""

    change_id: UUID
    plate_id: int
    kind: Kind
    held_since: datetime | None
    reason: str
    document_name: str
    document_digest: bytes
    state: State
    proposed_by: str
    proposed_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    decided_note: str | None


class Seen(Struct, frozen=True, kw_only=True):
    """A change with its plate, as the command line lists it."""

    change: Change
    number: str
    color: PlateColor


class Lookup(Struct, frozen=True, kw_only=True):
    """Somebody saw or exported everything about a plate."""

    lookup_id: UUID
    number: str
    color: PlateColor
    person_code: str
    purpose: str
    looked_at: datetime


class Nearby(Struct, frozen=True, kw_only=True):
    """A car that was at the lot around the time and whose plate may have been misread."""

    number: str
    color: PlateColor
    source: Literal["stay", "entrance", "charge"]
    serial: str
    entered_at: datetime
    left_at: datetime | None


class Stay(Struct, frozen=True, kw_only=True):
    """Where and when the car of a charge is said to have been."""

    lot_id: int
    number: str
    entered_at: datetime
    left_at: datetime | None


_CHANGE: Final = ", ".join(f"c.{name}" for name in Change.__struct_fields__)


def find(tx: Connection, *, number: str, color: PlateColor, lock: bool = False) -> Plate | None:
    """Return a plate, holding its row when ``lock``."""
    query = """
        select plate_id, number, color, held_since, erased_at from payments.plate where number = :number and color = :color
        """
    row = tx.execute(text(query + ("for update" if lock else "")), {"number": number, "color": color}).first()
    return None if row is None else Plate(**row._mapping)


def hold(tx: Connection, *, plate_id: int) -> Plate:
    """Return a plate, holding its row."""
    query = text("""
        select plate_id, number, color, held_since, erased_at from payments.plate where plate_id = :plate for update
        """)
    return Plate(**tx.execute(query, {"plate": plate_id}).one()._mapping)


def insert(tx: Connection, *, lane: int, change: Change, document_bytes: bytes | None) -> bool:
    """Insert a proposal; False, with nothing written, while another one about the plate waits."""
    made = tx.execute(
        text("""
        insert into payments.plate_change (change_id, lane, plate_id, kind, held_since, reason, document_name, document_digest,
                                           document_bytes, state, proposed_by, proposed_at)
        values (:change_id, :lane, :plate_id, :kind, :held_since, :reason, :document_name, :document_digest, :document_bytes,
                'proposed', :proposed_by, :proposed_at)
        on conflict (plate_id, lane) where state = 'proposed' do nothing
        returning 1
        """),
        {"lane": lane, "document_bytes": document_bytes} | {n: getattr(change, n) for n in Change.__struct_fields__},
    ).first()
    return made is not None


def change(tx: Connection, *, lane: int, change_id: UUID, lock: bool = False) -> Change | None:
    """Return a change, holding its row when ``lock``."""
    query = f"select {_CHANGE} from payments.plate_change c where c.lane = :lane and c.change_id = :id"
    row = tx.execute(text(query + (" for update" if lock else "")), {"lane": lane, "id": change_id}).first()
    return None if row is None else Change(**(dict(row._mapping) | {"document_digest": bytes(row.document_digest)}))


def changes(tx: Connection, *, lane: int, state: State | None, number: str | None, limit: int) -> list[Seen]:
    """Return changes, the newest first."""
    rows = tx.execute(
        text(f"""
        select {_CHANGE}, p.number, p.color from payments.plate_change c join payments.plate p on p.plate_id = c.plate_id
        where c.lane = :lane and (cast(:state as text) is null or c.state = :state)
          and (cast(:number as text) is null or p.number = :number)
        order by c.change_id desc limit :limit
        """),
        {"lane": lane, "state": state, "number": number, "limit": limit},
    )
    return [
        Seen(
            change=Change(**{name: getattr(row, name) for name in Change.__struct_fields__}), number=row.number, color=row.color
        )
        for row in rows
    ]  # fmt: skip


def decide(
    tx: Connection, *, lane: int, change_id: UUID, state: State, by: str, note: str | None, at: datetime
) -> None:  # fmt: skip
    tx.execute(
        text("""
        update payments.plate_change set state = :state, decided_by = :by, decided_at = :at, decided_note = :note
        where lane = :lane and change_id = :id
        """),
        {"lane": lane, "id": change_id, "state": state, "by": by, "note": note, "at": at},
    )


NEVER: Final = date(9999, 12, 31)
"""Debts of an earlier owner are paused until then: nothing reaches the plate's new owner by itself."""


def hand_over(tx: Connection, *, lane: int, plate_id: int, held_since: datetime, at: datetime) -> None:
    """Give a plate to its new owner: mandates end, and no earlier debt is deducted or reminded of by itself any more.

    The plate is held by the caller; holds the earlier charges that are owed, in the order of their ids.
    """
    given = {"lane": lane, "plate": plate_id, "since": held_since, "at": at, "never": NEVER}
    earlier = text("""
        select charge_id from payments.charge
        where lane = :lane and plate_id = :plate and is_receivable and state = 'open' and entered_at < :since
        order by charge_id for update
        """)
    charge_ids = list(tx.execute(earlier, given).scalars())
    tx.execute(
        text("""
        with given as (
            update payments.plate set held_since = :since where plate_id = :plate
        ), ended as (
            update payments.mandate set state = 'none', told_at = :at where plate_id = :plate and state = 'open'
        ), unplanned as (
            delete from payments.deduction_plan where lane = :lane and charge_id = any(cast(:charges as uuid[]))
        )
        update payments.debt set paused_until = :never where lane = :lane and charge_id = any(cast(:charges as uuid[]))
        """),
        given | {"charges": charge_ids},
    )


_OPEN: Final = (
    (
        "a charge is open",
        """from payments.charge c where c.lane = :lane and c.plate_id = :plate and c.state = 'open' and (c.is_receivable
           or not exists (select from payments.charge_quote q
                          where q.charge_id = c.charge_id and q.lane = c.lane and q.ended_at is not null))""",
    ),
    (
        "a payment is not decided",
        """from payments.payment y join payments.charge c on c.lane = y.lane and c.charge_id = y.charge_id
           where c.lane = :lane and c.plate_id = :plate and y.state in ('created', 'pending', 'unknown')""",
    ),
    (
        "a refund is not made",
        """from payments.refund r join payments.payment y on y.lane = r.lane and y.payment_id = r.payment_id
           join payments.charge c on c.lane = y.lane and c.charge_id = y.charge_id
           where c.lane = :lane and c.plate_id = :plate and r.state not in ('done', 'closed')""",
    ),
    (
        "money lies in suspense",
        """from payments.payment_case k join payments.payment y on y.lane = k.lane and y.payment_id = k.payment_id
           join payments.charge c on c.lane = y.lane and c.charge_id = y.charge_id
           where c.lane = :lane and c.plate_id = :plate and k.state = 'open'""",
    ),
    ("the car is in a lot", "from payments.stay s where s.lane = :lane and s.plate_id = :plate and s.state = 'in'"),
    (
        "a dispute is not over",
        """from payments.debt_dispute x join payments.debt d on d.lane = x.lane and d.charge_id = x.charge_id
           where d.lane = :lane and d.plate_id = :plate and x.state in ('open', 'deciding')""",
    ),
    ("instalments run", "from payments.instalment_plan i where i.lane = :lane and i.plate_id = :plate and i.state = 'running'"),
)
_OPEN_QUERY: Final = " union all ".join(
    f"select {place} as place where exists (select {query})" for place, (_, query) in enumerate(_OPEN)
)


def still_open(tx: Connection, *, lane: int, plate_id: int) -> list[str]:
    """Return, in words, what still needs to know whose plate it is."""
    places = tx.execute(text(_OPEN_QUERY + " order by place"), {"lane": lane, "plate": plate_id}).scalars()
    return [_OPEN[place][0] for place in places]


def erase(tx: Connection, *, lane: int, plate_id: int, at: datetime) -> None:
    """Take away what leads from a plate to a person: number, salt, contacts, mandates, words of notes, papers of changes.

    The plate is held. Its row stays, so that charges keep their key.
    """
    given = {"lane": lane, "plate": plate_id, "at": at}
    tx.execute(
        text("""
        update payments.plate set number = '#' || plate_id, color = 'unknown', salt = '', erased_at = :at where plate_id = :plate
        """),
        given,
    )
    tx.execute(
        text("""
        update payments.plate_contact
        set value = null, ends_at = coalesce(ends_at, :at), ended_because = coalesce(ended_because, 'erased')
        where plate_id = :plate and value is not null
        """),
        given,
    )
    tx.execute(text("update payments.mandate set state = 'none', told_at = :at where plate_id = :plate and state = 'open'"), given)
    tx.execute(
        text("""
        delete from payments.credit_note_words w
        using payments.credit_note n join payments.charge c on c.lane = n.lane and c.charge_id = n.charge_id
        where c.lane = :lane and c.plate_id = :plate and w.lane = n.lane and w.note_id = n.note_id
        """),
        given,
    )
    tx.execute(
        text("""
        update payments.plate_change set document_bytes = null, reason = case kind when 'transfer' then 'erased' else reason end
        where lane = :lane and plate_id = :plate
        """),
        given,
    )


def lookups(tx: Connection, *, number: str | None, limit: int) -> list[Lookup]:
    """Return who saw or exported everything about plates, the newest first."""
    rows = tx.execute(
        text("""
        select l.lookup_id, p.number, p.color, l.person_code, l.purpose, l.looked_at
        from payments.plate_lookup l join payments.plate p on p.plate_id = l.plate_id
        where cast(:number as text) is null or p.number = :number
        order by l.looked_at desc, l.lookup_id desc limit :limit
        """),
        {"number": number, "limit": limit},
    )
    return [Lookup(**row._mapping) for row in rows]


def stay_of(tx: Connection, *, lane: int, charge_id: UUID) -> Stay | None:
    """Return where and when the car of a charge is said to have been."""
    row = tx.execute(
        text("""
        select c.lot_id, p.number, c.entered_at, c.left_at from payments.charge c join payments.plate p on p.plate_id = c.plate_id
        where c.lane = :lane and c.charge_id = :id
        """),
        {"lane": lane, "id": charge_id},
    ).first()
    return None if row is None else Stay(**row._mapping)


def nearby(
    tx: Connection, *, lane: int, lot_id: int, numbers: Sequence[str], first: datetime, last: datetime
) -> list[Nearby]:  # fmt: skip
    """Return what the lot told of these numbers that touches the time between first and last."""
    rows = tx.execute(
        text("""
        with wanted as materialized (
            select plate_id, number, color from payments.plate where number = any(cast(:numbers as text[]))
        )
        select w.number, w.color, 'stay' as source, s.lot_serial as serial, s.entered_at, s.left_at
        from wanted w join payments.stay s on s.plate_id = w.plate_id and s.lot_id = :lot and s.lane = :lane
        where s.entered_at <= :last and coalesce(s.left_at, s.entered_at) >= :first
        union all
        select w.number, w.color, 'entrance', e.lot_serial, e.entered_at, null
        from wanted w join payments.entrance e on e.lot_id = :lot and e.plate_id = w.plate_id and e.lane = :lane
        where e.entered_at between :first and :last
        union all
        select w.number, w.color, 'charge', c.lot_serial, c.entered_at, c.left_at
        from wanted w join payments.charge c on c.lot_id = :lot and c.plate_id = w.plate_id and c.lane = :lane
        where c.entered_at <= :last and coalesce(c.left_at, c.entered_at) >= :first
        """),
        {"lane": lane, "lot": lot_id, "numbers": list(numbers), "first": first, "last": last},
    )
    return [Nearby(**row._mapping) for row in rows]
