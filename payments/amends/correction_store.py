"""The questions that corrections ask of PostgreSQL, all set by set. Private to this room; called by ``corrections`` alone.

Payments are locked first, in the order of their ids, then charges in theirs, as the applier does.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.documents import DocumentKind
from ledger.journal import EntryKind
from payments.owed.debt_store import Basis
from payments.refunding.refund_decisions import BY_HAND, State

Kind = Literal["cancel", "reduce", "replace"]
"""cancel: all that is left of the charge is taken away. reduce: a part of it. replace: all of it, and a new bill is due."""
Reason = Literal["misread_plate", "wrong_time", "wrong_tariff", "duplicate", "free_pass", "complaint", "other"]


class Known(Struct, frozen=True, kw_only=True):
    """A correction that was made before."""

    serial: str
    content_digest: bytes
    number: str
    amount_fen: int
    credited_fen: int
    refunded_fen: int


class Paid(Struct, frozen=True, kw_only=True):
    """A payment that counts for a charge, with what of it went back already or is promised back."""

    payment_id: UUID
    charge_id: UUID
    channel: str
    provider_no: str
    merchant_no: str
    trade_no: str
    taken_fen: int
    returned_fen: int

    @property
    def left_fen(self) -> int:
        return self.taken_fen - self.returned_fen


class Held(Struct, frozen=True, kw_only=True):
    """A charge as a correction finds it, held."""

    charge_id: UUID
    operator_id: int
    operator_name: str
    credit_code: str
    book_id: int
    lot_serial: str
    plate: str
    salt: bytes
    entered_at: datetime
    left_at: datetime | None
    state: str
    amount_fen: int
    paid_fen: int
    reduced_fen: int
    noted_fen: int
    """What earlier credit notes promised back."""
    is_receivable: bool
    basis: Basis | None
    opened_at: datetime | None
    covered_fen: int = 0
    """What others pay of a charge of which they pay all that was left: it is neither owed nor paid."""

    @property
    def owed_fen(self) -> int:
        return self.amount_fen - self.paid_fen - self.reduced_fen


class Note(Struct, frozen=True, kw_only=True):
    """A credit note as it is kept."""

    note_id: UUID
    operator_id: int
    lot_id: int
    sequence: int
    number: str
    serial: str
    content_digest: bytes
    charge_id: UUID
    kind: Kind
    reason: Reason
    amount_fen: int
    credited_fen: int
    refunded_fen: int
    was_debt: bool
    new_serial: str | None
    evidence_id: UUID
    document: bytes
    signature: bytes
    public_key: bytes
    made_on: date
    created_at: datetime


class NoteRefund(Struct, frozen=True, kw_only=True):
    """What of a note goes back to a payer."""

    note_id: UUID
    number: str
    refund_id: UUID
    payment_id: UUID
    operator_id: int
    book_id: int
    channel: str
    provider_no: str
    merchant_no: str
    trade_no: str
    amount_fen: int
    total_fen: int


class RefundSeen(Struct, frozen=True, kw_only=True):
    """Where the refund of a note stands."""

    refund_id: UUID
    payment_id: UUID
    amount_fen: int
    state: State
    done_at: datetime | None


class NoteSeen(Struct, frozen=True, kw_only=True):
    """A credit note as its lot may ask for it."""

    note_id: UUID
    number: str
    serial: str
    charge_serial: str
    kind: Kind
    reason: Reason
    words: str | None
    amount_fen: int
    credited_fen: int
    refunded_fen: int
    new_serial: str | None
    document: bytes
    signature: bytes
    public_key: bytes
    created_at: datetime


def known(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> dict[str, Known]:
    """Return, by serial, the corrections of a lot that were made before."""
    rows = tx.execute(
        text("""
        select serial, content_digest, number, amount_fen, credited_fen, refunded_fen from payments.credit_note
        where lane = :lane and lot_id = :lot and serial = any(cast(:serials as text[]))
        """),
        {"lane": lane, "lot": lot_id, "serials": list(serials)},
    )
    return {row.serial: Known(**row._mapping) for row in rows}


def last_sequence(tx: Connection, *, lane: int, lot_id: int) -> int:
    """Return the count of the lot's newest credit note; 0: it has none. Certain for whoever holds the lot's intake."""
    query = text("select coalesce(max(sequence), 0) from payments.credit_note where lane = :lane and lot_id = :lot")
    return int(tx.execute(query, {"lane": lane, "lot": lot_id}).scalar_one())


def charge_ids(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> dict[str, UUID]:
    """Return the charges of a lot by serial; those that are not there are left out."""
    rows = tx.execute(
        text("""
        select lot_serial, charge_id from payments.charge
        where lane = :lane and lot_id = :lot and lot_serial = any(cast(:serials as text[]))
        """),
        {"lane": lane, "lot": lot_id, "serials": list(serials)},
    )
    return {row.lot_serial: row.charge_id for row in rows}


def hold(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> frozenset[UUID]:
    """Lock the payments of charges in the order of their ids, then the charges in theirs; returns the payments."""
    given = {"lane": lane, "ids": sorted(charge_ids)}
    payments = tx.execute(
        text("""
        select payment_id from payments.payment
        where lane = :lane and charge_id = any(cast(:ids as uuid[])) order by payment_id for update
        """),
        given,
    )
    found = frozenset(payments.scalars())
    charges = text("""
        select 1 from payments.charge where lane = :lane and charge_id = any(cast(:ids as uuid[])) order by charge_id for update
        """)
    tx.execute(charges, given).all()
    return found


def held(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> dict[UUID, Held]:
    """Return charges as they stand; they are held by the caller."""
    rows = tx.execute(
        text("""
        select c.charge_id, c.operator_id, o.legal_name as operator_name, o.credit_code, o.book_id, c.lot_serial, p.number as plate,
               p.salt, c.entered_at, c.left_at, c.state, c.amount_fen, c.paid_fen, c.reduced_fen, c.is_receivable, d.basis,
               d.opened_at,
               (select coalesce(sum(n.refunded_fen), 0)::bigint from payments.credit_note n
                where n.lane = c.lane and n.charge_id = c.charge_id) as noted_fen,
               (select coalesce(sum(e.amount_fen), 0)::bigint from payments.v_discount e
                where e.lane = c.lane and e.charge_id = c.charge_id and e.is_final and c.state = 'waived') as covered_fen
        from payments.charge c
        join payments.operator o on o.operator_id = c.operator_id
        join payments.plate p on p.plate_id = c.plate_id
        left join payments.debt d on d.lane = c.lane and d.charge_id = c.charge_id
        where c.lane = :lane and c.charge_id = any(cast(:ids as uuid[]))
        """),
        {"lane": lane, "ids": list(charge_ids)},
    )
    return {row.charge_id: Held(**(dict(row._mapping) | {"salt": bytes(row.salt)})) for row in rows}


def live(
    tx: Connection, *, lane: int, charge_ids: Sequence[UUID], of: frozenset[UUID]
) -> dict[UUID, str]:  # fmt: skip
    """Return, by charge, the way of a payment that is not decided, or that is not one of those held (``of``)."""
    rows = tx.execute(
        text("""
        select distinct on (charge_id) charge_id, way from payments.payment
        where lane = :lane and charge_id = any(cast(:ids as uuid[]))
          and (state in ('created', 'pending', 'unknown') or payment_id <> all(cast(:held as uuid[])))
        order by charge_id, way = 'card' desc
        """),
        {"lane": lane, "ids": list(charge_ids), "held": list(of)},
    )
    return {row.charge_id: row.way for row in rows}


def paid(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> dict[UUID, list[Paid]]:
    """Return, by charge, the payments that count for it, the newest first; they are held by the caller."""
    rows = tx.execute(
        text("""
        select p.payment_id, p.charge_id, p.channel, p.provider_no, p.merchant_no, p.trade_no, p.taken_fen,
               (select coalesce(sum(r.amount_fen), 0)::bigint from payments.refund r
                where r.lane = p.lane and r.payment_id = p.payment_id and r.state <> 'closed') as returned_fen
        from payments.payment p
        join payments.payment_fact f
          on f.lane = p.lane and f.channel = p.channel and f.merchant_no = p.merchant_no and f.trade_no = p.trade_no
        where p.lane = :lane and p.charge_id = any(cast(:ids as uuid[])) and p.taken_back_at is null
          and f.treatment in ('settled', 'part')
        order by p.succeeded_at desc, p.payment_id desc
        """),
        {"lane": lane, "ids": list(charge_ids)},
    )
    found: dict[UUID, list[Paid]] = {}
    for row in rows:
        found.setdefault(row.charge_id, []).append(Paid(**row._mapping))
    return found


def bills(tx: Connection, *, lane: int, lot_id: int, serials: Sequence[str]) -> dict[str, list[UUID]]:
    """Return the charges that stand for each of these serials: one, or its parts where a split rule cut it."""
    rows = tx.execute(
        text("""
        select lot_serial, charge_id from payments.charge
        where lane = :lane and lot_id = :lot and lot_serial = any(cast(:serials as text[]))
        union all
        select g.lot_serial, p.charge_id from payments.charge_group g
        join payments.charge_part p on p.lane = g.lane and p.group_id = g.group_id
        where g.lane = :lane and g.lot_id = :lot and g.lot_serial = any(cast(:serials as text[])) and p.charge_id is not null
        order by 1, 2
        """),
        {"lane": lane, "lot": lot_id, "serials": list(serials)},
    )
    found: dict[str, list[UUID]] = {}
    for row in rows:
        found.setdefault(row.lot_serial, []).append(row.charge_id)
    return found


_NOTE: Final = Note.__struct_fields__
_NOTE_TYPES: Final = {
    "note_id": "uuid", "operator_id": "integer", "lot_id": "integer", "sequence": "bigint", "content_digest": "bytea",
    "charge_id": "uuid", "amount_fen": "bigint", "credited_fen": "bigint", "refunded_fen": "bigint", "was_debt": "boolean",
    "evidence_id": "uuid", "document": "bytea", "signature": "bytea", "public_key": "bytea", "made_on": "date",
    "created_at": "timestamptz",
}  # fmt: skip
_NOTE_ARRAYS: Final = ", ".join(f"cast(:{name} as {_NOTE_TYPES.get(name, 'text')}[])" for name in _NOTE)
_INSERT_NOTES: Final = text(f"""
    insert into payments.credit_note (lane, {", ".join(_NOTE)})
    select :lane, {", ".join(_NOTE)} from unnest({_NOTE_ARRAYS}) as n ({", ".join(_NOTE)})
    """)


def insert_notes(tx: Connection, *, lane: int, notes: Sequence[Note], words: dict[UUID, str]) -> None:
    """Keep credit notes, and apart from them the lot's words."""
    tx.execute(_INSERT_NOTES, {"lane": lane} | {name: [getattr(note, name) for note in notes] for name in _NOTE})
    if words:
        tx.execute(
            text("""
            insert into payments.credit_note_words (note_id, lane, words)
            select note_id, :lane, words from unnest(cast(:ids as uuid[]), cast(:words as text[])) as w (note_id, words)
            """),
            {"lane": lane, "ids": list(words), "words": list(words.values())},
        )


def insert_refunds(tx: Connection, *, lane: int, refunds: Sequence[NoteRefund], reason: str, at: datetime) -> None:
    """Keep what goes back to payers as promised refunds. Their payments are held.

    Channels are called at once; of what was taken by hand nobody is called: the lot hands it back.
    """
    if not refunds:
        return
    tx.execute(
        text("""
        with given as materialized (
            select * from unnest(cast(:note_id as uuid[]), cast(:number as text[]), cast(:refund_id as uuid[]),
                                 cast(:payment_id as uuid[]), cast(:operator_id as integer[]), cast(:book_id as integer[]),
                                 cast(:channel as text[]), cast(:provider_no as text[]), cast(:merchant_no as text[]),
                                 cast(:trade_no as text[]), cast(:amount_fen as bigint[]), cast(:total_fen as bigint[]))
                 as g (note_id, number, refund_id, payment_id, operator_id, book_id, channel, provider_no, merchant_no, trade_no,
                       amount_fen, total_fen)
        ), promised as (
            insert into payments.refund (refund_id, lane, payment_id, operator_id, book_id, channel, provider_no, merchant_no,
                                         trade_no, amount_fen, total_fen, from_suspense, source, source_ref, reason, state,
                                         created_at)
            select refund_id, :lane, payment_id, operator_id, book_id, channel, provider_no, merchant_no, trade_no, amount_fen,
                   total_fen, false, 'operator', number, :reason, 'promised', :at
            from given
        ), next as (
            insert into payments.next_refund (refund_id, lane, due_at)
            select refund_id, :lane, :at from given where channel <> all(cast(:by_hand as text[]))
        )
        insert into payments.credit_note_refund (note_id, lane, refund_id, payment_id, amount_fen)
        select note_id, :lane, refund_id, payment_id, amount_fen from given
        """),
        {"lane": lane, "reason": reason, "at": at, "by_hand": sorted(BY_HAND)}
        | {name: [getattr(one, name) for one in refunds] for name in NoteRefund.__struct_fields__},
    )


class Ended(Struct, frozen=True, kw_only=True):
    """A dispute that a credit note ended."""

    dispute_id: UUID
    charge_id: UUID
    lot_serial: str
    operator_id: int
    lot_id: int


def take_off(tx: Connection, *, lane: int, amounts: dict[UUID, int], words: dict[UUID, str], at: datetime) -> list[Ended]:
    """Take amounts off what is owed of charges and their debts; they are held by the caller.

    A charge of which nothing is due any more is ``credited``; a dispute about it is upheld (``words`` say by which note).
    """
    given = {
        "lane": lane, "ids": list(amounts), "fen": list(amounts.values()), "words": [words[one] for one in amounts], "at": at,
    }  # fmt: skip
    rows = tx.execute(
        text("""
        with given as materialized (
            select * from unnest(cast(:ids as uuid[]), cast(:fen as bigint[]), cast(:words as text[])) as g (charge_id, fen, words)
        ), lowered as (
            update payments.charge c set reduced_fen = c.reduced_fen + g.fen,
                state = case when c.paid_fen + c.reduced_fen + g.fen = c.amount_fen then 'credited' else c.state end
            from given g where c.lane = :lane and c.charge_id = g.charge_id
            returning c.charge_id, c.state, c.lot_serial
        ), owed as (
            update payments.debt d set owed_fen = d.owed_fen - g.fen,
                disputed_at = case when d.owed_fen = g.fen then null else d.disputed_at end
            from given g where d.lane = :lane and d.charge_id = g.charge_id
        )
        update payments.debt_dispute x set state = 'upheld', decided_at = :at, decided_note = g.words
        from lowered l join given g on g.charge_id = l.charge_id
        where x.lane = :lane and x.charge_id = l.charge_id and x.state in ('open', 'deciding') and l.state = 'credited'
        returning x.dispute_id, x.charge_id, l.lot_serial, x.operator_id, x.lot_id
        """),
        given,
    )
    return sorted((Ended(**row._mapping) for row in rows), key=lambda one: one.charge_id)


_SEEN: Final = """
select n.note_id, n.number, n.serial, c.lot_serial as charge_serial, n.kind, n.reason, w.words, n.amount_fen, n.credited_fen,
       n.refunded_fen, n.new_serial, n.document, n.signature, n.public_key, n.created_at
from payments.credit_note n
join payments.charge c on c.lane = n.lane and c.charge_id = n.charge_id
left join payments.credit_note_words w on w.lane = n.lane and w.note_id = n.note_id
"""


def by_serial(tx: Connection, *, lane: int, lot_id: int, serial: str) -> NoteSeen | None:
    query = text(_SEEN + "where n.lane = :lane and n.lot_id = :lot and n.serial = :serial")
    row = tx.execute(query, {"lane": lane, "lot": lot_id, "serial": serial}).first()
    return None if row is None else NoteSeen(**row._mapping)


def by_number(tx: Connection, *, lane: int, lot_id: int, number: str) -> NoteSeen | None:
    query = text(_SEEN + "where n.lane = :lane and n.lot_id = :lot and n.number = :number")
    row = tx.execute(query, {"lane": lane, "lot": lot_id, "number": number}).first()
    return None if row is None else NoteSeen(**row._mapping)


def refunds_of(tx: Connection, *, lane: int, note_id: UUID) -> list[RefundSeen]:
    """Return where the refunds of a note stand, in the order in which they were promised."""
    rows = tx.execute(
        text("""
        select b.refund_id, b.payment_id, b.amount_fen, r.state, r.done_at
        from payments.credit_note_refund b join payments.refund r on r.lane = b.lane and r.refund_id = b.refund_id
        where b.lane = :lane and b.note_id = :id order by b.refund_id
        """),
        {"lane": lane, "id": note_id},
    )
    return [RefundSeen(**row._mapping) for row in rows]


_ENTRY: Final = f"cast(left(n.note_id::text, 34) || '{EntryKind.CREDITED:02x}' as uuid)"
_CHECKS: Final = (
    f"""
    select format('credit note %s credited %s fen of a debt, and its entry says %s', n.number, n.booked_fen, e.amount_fen)
    from payments.v_credit_note n
    left join ledger.v_posting e on e.lane = n.lane and e.entry_id = {_ENTRY}
    where coalesce(e.amount_fen, 0) <> n.booked_fen
       or (e.entry_id is not null and (e.book_id, e.evidence_id) <> (n.book_id, n.evidence_id))
    """,
    f"""
    select format('entry %s credits a debt without a credit note', e.entry_id)
    from ledger.v_posting e
    where e.kind = {EntryKind.CREDITED:d}
      and not exists (select from payments.credit_note n where n.lane = e.lane and {_ENTRY} = e.entry_id)
    """,
    f"""
    select format('credit note %s is not the one that was sealed', n.number)
    from payments.credit_note n
    left join ledger.v_document d on d.lane = n.lane and d.document_id = n.note_id
    where (d.kind, d.digest) is distinct from ({DocumentKind.CREDIT_NOTE:d}, sha256(n.document))
    """,
    """
    select format('credit note %s promised %s fen back, and its refunds sum to %s', n.number, n.refunded_fen, coalesce(r.fen, 0))
    from payments.credit_note n
    left join (
        select b.lane, b.note_id, sum(b.amount_fen) as fen from payments.credit_note_refund b
        join payments.refund f on f.lane = b.lane and f.refund_id = b.refund_id and f.amount_fen = b.amount_fen
        group by b.lane, b.note_id
    ) r on r.lane = n.lane and r.note_id = n.note_id
    where n.refunded_fen <> coalesce(r.fen, 0)
    """,
    """
    select format('lot %s has %s credit notes, and the last is number %s', lot_id, count(*), max(sequence))
    from payments.credit_note group by lane, lot_id having count(*) <> max(sequence)
    """,
    """
    select format('charge %s of %s fen is reduced by %s, and its credit notes take away %s', c.charge_id, c.amount_fen,
                  c.reduced_fen, sum(n.amount_fen))
    from payments.credit_note n join payments.charge c on c.lane = n.lane and c.charge_id = n.charge_id
    group by c.lane, c.charge_id having sum(n.credited_fen) > c.reduced_fen or sum(n.amount_fen) > c.amount_fen
    """,
)
FOUND_MAX: Final = 100
"""Most violations named per check."""


def wrong(tx: Connection) -> list[str]:
    """Return, in words, what does not agree between credit notes, the book, the tree and refunds; read only."""
    return [str(words) for query in _CHECKS for words in tx.execute(text(f"{query} limit {FOUND_MAX}")).scalars()]
