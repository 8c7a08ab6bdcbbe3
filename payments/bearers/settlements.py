"""Settlements of bearers: what one owes an operator up to a date, approved by a second person, booked with the bank slip.

Knows lines, bearers, people and the book; must not know drivers' money: nothing here touches a channel. Called by the command line.
"""

from datetime import date, datetime, time
from typing import Final, Literal
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, text

from ledger import documents, recipes
from ledger.clock import CHINA, business_date, checked
from ledger.documents import DocumentKind
from ledger.errors import Conflict, NotAllowed, NotFound, Refused
from ledger.ids import Ids
from ledger.money import yuan
from payments import people
from payments.bearers import bearers
from payments.incentive import lines as party_books
from payments.incentive import parties

NOTE_LETTERS_MAX: Final = 500
SLIP_LETTERS_MAX: Final = 64

State = Literal["proposed", "approved", "rejected", "paid"]


class Settlement(Struct, frozen=True, kw_only=True):
    """What a bearer pays an operator. ``digest`` is over its exact lines; rejecting frees them for a later one."""

    settlement_id: UUID
    bearer_id: int
    operator_id: int
    until_on: date
    lines: int
    amount_fen: int
    digest: bytes
    state: State
    made_by: str
    made_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    decided_note: str | None
    slip: str | None
    paid_on: date | None


class _Open(Struct, frozen=True):
    """A bearer and an operator between whom something is open."""

    bearer_id: int
    operator_id: int


def propose(
    tx: Connection, *, lane: int, until_on: date, by: str, at: datetime, ids: Ids, bearer_id: int | None = None,
    operator_id: int | None = None,
) -> list[Settlement]:  # fmt: skip
    """Propose a settlement for each bearer and operator over everything open that was booked until a day; set by set.

    A pair of which as much was returned as was claimed is left: its lines wait until there is something to pay. Who proposes at the
    same time waits.

    Raises:
        NotAllowed: ``person_unknown``, ``person_may_not``.
        Refused: ``date_invalid``, the day is not over.
    """
    people.maker(tx, person_code=by, at=at)
    if until_on >= business_date(at):
        raise Refused(f"lines are settled of days that are over: at the latest before {business_date(at)}", code="date_invalid")
    tx.execute(text("select pg_advisory_xact_lock(hashtext('payments.bearer_settlement'))"))
    given = {"lane": lane, "until": until_on, "bearer": bearer_id, "operator": operator_id}
    pairs = [_Open(*row) for row in tx.execute(_PAIRS, given)]
    made = [ids.new(at, f"bearer settlement {pair.bearer_id} {pair.operator_id} {until_on} {at.isoformat()}") for pair in pairs]
    tx.execute(
        _PROPOSE,
        given
        | {
            "ids": made, "bearers": [pair.bearer_id for pair in pairs], "operators": [pair.operator_id for pair in pairs],
            "by": by, "at": at,
        },
    )  # fmt: skip
    return [one for one in listed(tx, lane=lane, state="proposed") if one.settlement_id in made]


def approve(
    tx: Connection, *, lane: int, settlement_id: UUID, digest: bytes, by: str, at: datetime, note: str | None = None
) -> Settlement:  # fmt: skip
    """Approve the exact lines that were proposed, as a second person, and seal that. Nothing is booked before the slip.

    Raises:
        NotFound: ``settlement_not_found``. NotAllowed: ``person_unknown``, ``person_may_not``, ``same_person``.
        Conflict: ``settlement_made`` (it is decided), ``settlement_changed`` (the lines are not those that were shown).
    """
    held = _for_decision(tx, lane=lane, settlement_id=settlement_id, by=by, at=at)
    if not held.digest == digest == _digest(tx, lane=lane, settlement_id=settlement_id):
        raise Conflict("the lines are not those that were shown; look at the settlement again", code="settlement_changed")
    _decide(tx, lane=lane, settlement_id=settlement_id, state="approved", by=by, note=note, at=at)
    document = as_document(_held(tx, lane=lane, settlement_id=settlement_id))
    documents.record(tx, lane=lane, documents=[document], at=at)
    return _held(tx, lane=lane, settlement_id=settlement_id)


def reject(tx: Connection, *, lane: int, settlement_id: UUID, by: str, note: str, at: datetime) -> Settlement:
    """Reject a proposal, as a second person; its lines are open again. Raises as ``approve``; Refused ``note_missing``."""
    if not note.strip():
        raise Refused("say why it is rejected", code="note_missing")
    _for_decision(tx, lane=lane, settlement_id=settlement_id, by=by, at=at)
    _decide(tx, lane=lane, settlement_id=settlement_id, state="rejected", by=by, note=note, at=at)
    tx.execute(
        text("update payments.bearer_settlement_line set is_live = false where lane = :lane and settlement_id = :id"),
        {"lane": lane, "id": settlement_id},
    )
    return _held(tx, lane=lane, settlement_id=settlement_id)


def pay(
    tx: Connection, *, lane: int, settlement_id: UUID, slip: str, paid_on: date, amount_fen: int, by: str, at: datetime
) -> Settlement:  # fmt: skip
    """Enter the bank slip of an approved settlement and book it, in a bearer's book too. The same slip again is the same.

    Raises:
        NotFound: ``settlement_not_found``. NotAllowed: ``person_unknown``, ``person_may_not``.
        Conflict: ``settlement_not_approved``; ``settlement_paid``, by another slip; ``slip_taken``, by another settlement.
        Refused: ``slip_invalid``; ``slip_differs``, the amount of the slip is another one; ``date_invalid``.
    """
    people.maker(tx, person_code=by, at=at)
    if not 0 < len(slip.strip()) <= SLIP_LETTERS_MAX:
        raise Refused(f"the number of the slip has 1 to {SLIP_LETTERS_MAX} characters", code="slip_invalid")
    if paid_on > business_date(at):
        raise Refused("the slip is of a day to come", code="date_invalid")
    held = _held(tx, lane=lane, settlement_id=settlement_id)
    if held.state == "paid":
        if (held.slip, held.paid_on, held.amount_fen) == (slip.strip(), paid_on, amount_fen):
            return held
        raise Conflict(f"it was paid by slip {held.slip} of {held.paid_on}", code="settlement_paid")
    if held.state != "approved":
        raise Conflict(f"the settlement is {held.state}; a second person has to approve it first", code="settlement_not_approved")
    if amount_fen != held.amount_fen:
        raise Refused(f"the slip is of {yuan(amount_fen)} yuan, the settlement of {yuan(held.amount_fen)}", code="slip_differs")
    if _slip_taken(tx, bearer_id=held.bearer_id, slip=slip.strip()):
        raise Conflict(f"slip {slip.strip()} of this payer is entered for another settlement", code="slip_taken")
    tx.execute(
        text("""
        update payments.bearer_settlement
        set state = 'paid', slip = :slip, paid_on = :paid_on, entered_by = :by, entered_at = :at
        where lane = :lane and settlement_id = :id
        """),
        {"lane": lane, "id": settlement_id, "slip": slip.strip(), "paid_on": paid_on, "by": by, "at": at},
    )
    _book(tx, held, paid_on=paid_on, at=at)
    return _held(tx, lane=lane, settlement_id=settlement_id)


def listed(tx: Connection, *, lane: int, state: State | None = None) -> list[Settlement]:
    """Return all settlements, or those of a state, oldest first."""
    query = text(_SETTLEMENT + "where lane = :lane and (state = :state or cast(:state as text) is null) order by settlement_id")
    return [Settlement(**row._mapping) for row in tx.execute(query, {"lane": lane, "state": state})]


def as_document(settlement: Settlement) -> documents.Document:
    """Return a settlement as it is sealed once it is approved: pair, lines by their digest, amount, and the two persons."""
    kept = ("bearer_id", "operator_id", "until_on", "lines", "amount_fen", "made_by", "made_at", "decided_by", "decided_at")
    content = {name: getattr(settlement, name) for name in kept} | {"digest": settlement.digest.hex()}
    assert settlement.decided_at is not None
    return documents.of(
        kind=DocumentKind.SETTLEMENT, document_id=settlement.settlement_id, content=content, happened_at=settlement.decided_at
    )


def _book(tx: Connection, held: Settlement, *, paid_on: date, at: datetime) -> None:
    every = parties.listed(tx)
    [operator] = [party for party in every if party.operator_id == held.operator_id]
    [bearer] = [one for one in bearers.listed(tx) if one.bearer_id == held.bearer_id]
    happened_at, booked_on = checked(datetime.combine(paid_on, time(), CHINA)), business_date(at)
    received = recipes.bearer_paid(
        settlement_id=held.settlement_id, book_id=operator.book_id, amount_fen=held.amount_fen, happened_at=happened_at,
        booked_on=booked_on, evidence_id=held.settlement_id,
    )  # fmt: skip
    booked = [(operator, received)]
    for own in [party for party in every if party.party_id == bearer.party_id]:
        paid = recipes.bearer_paid_out(
            settlement_id=held.settlement_id, book_id=own.book_id, amount_fen=held.amount_fen, happened_at=happened_at,
            booked_on=booked_on, evidence_id=held.settlement_id,
        )  # fmt: skip
        booked.append((own, paid))
    party_books.post(tx, booked=booked, at=at)


def _for_decision(tx: Connection, *, lane: int, settlement_id: UUID, by: str, at: datetime) -> Settlement:
    people.checker(tx, person_code=by, at=at)
    held = _held(tx, lane=lane, settlement_id=settlement_id)
    if held.state != "proposed":
        raise Conflict(f"the settlement is {held.state} already", code="settlement_made")
    if held.made_by == by:
        raise NotAllowed("whoever proposed it cannot decide about it; another person has to", code="same_person")
    return held


def _held(tx: Connection, *, lane: int, settlement_id: UUID) -> Settlement:
    query = text(_SETTLEMENT + "where lane = :lane and settlement_id = :id for update")
    row = tx.execute(query, {"lane": lane, "id": settlement_id}).first()
    if row is None:
        raise NotFound(f"there is no settlement {settlement_id}", code="settlement_not_found")
    return Settlement(**row._mapping)


def _decide(tx: Connection, *, lane: int, settlement_id: UUID, state: State, by: str, note: str | None, at: datetime) -> None:
    said = None if note is None else note.strip()[:NOTE_LETTERS_MAX]
    tx.execute(
        text("""
        update payments.bearer_settlement set state = :state, decided_by = :by, decided_at = :at, decided_note = :note
        where lane = :lane and settlement_id = :id
        """),
        {"lane": lane, "id": settlement_id, "state": state, "by": by, "at": at, "note": said},
    )


def _slip_taken(tx: Connection, *, bearer_id: int, slip: str) -> bool:
    query = text("select exists (select from payments.bearer_settlement where bearer_id = :bearer and slip = :slip)")
    return bool(tx.execute(query, {"bearer": bearer_id, "slip": slip}).scalar_one())


def _digest(tx: Connection, *, lane: int, settlement_id: UUID) -> bytes:
    query = text(f"""
        select {_DIGEST} from payments.bearer_settlement_line x
        join payments.bearer_line i on i.lane = x.lane and i.part_id = x.part_id and i.returned = x.returned
        where x.lane = :lane and x.settlement_id = :id and x.is_live
        """)
    return bytes(tx.execute(query, {"lane": lane, "id": settlement_id}).scalar_one() or b"")


_SETTLEMENT: Final = (
    f"select {', '.join(field.name for field in msgspec.structs.fields(Settlement))} from payments.bearer_settlement "
)
_DIGEST: Final = """
    sha256(convert_to(string_agg(format('%s %s %s %s %s', i.part_id, i.bearer_id, i.operator_id, i.amount_fen, i.returned), E'\\n'
                                 order by i.part_id, i.returned), 'UTF8'))
"""
_NET: Final = "sum(case when i.returned then -i.amount_fen else i.amount_fen end)"
_OPEN: Final = """
    payments.bearer_line i
    where i.lane = :lane and i.booked_on <= :until
      and (i.bearer_id = :bearer or cast(:bearer as integer) is null)
      and (i.operator_id = :operator or cast(:operator as integer) is null)
      and not exists (
          select from payments.bearer_settlement_line x
          where x.lane = i.lane and x.part_id = i.part_id and x.returned = i.returned and x.is_live)
"""
_PAIRS: Final = text(f"select i.bearer_id, i.operator_id from {_OPEN} group by 1, 2 having {_NET} > 0 order by 1, 2")
_PROPOSE: Final = text(f"""
    with pair as materialized (
        select * from unnest(cast(:ids as uuid[]), cast(:bearers as integer[]), cast(:operators as integer[]))
            as p (settlement_id, bearer_id, operator_id)
    ), open_line as materialized (
        select i.* from {_OPEN}
    ), summed as (
        select p.settlement_id, i.bearer_id, i.operator_id, count(*)::integer as lines, {_NET}::bigint as amount_fen,
               {_DIGEST} as digest
        from pair p join open_line i on i.bearer_id = p.bearer_id and i.operator_id = p.operator_id
        group by p.settlement_id, i.bearer_id, i.operator_id
    ), made as (
        insert into payments.bearer_settlement (settlement_id, lane, bearer_id, operator_id, until_on, lines, amount_fen,
                                                digest, state, made_by, made_at)
        select settlement_id, :lane, bearer_id, operator_id, :until, lines, amount_fen, digest, 'proposed', :by, :at from summed
    )
    insert into payments.bearer_settlement_line (settlement_id, lane, part_id, returned)
    select p.settlement_id, :lane, i.part_id, i.returned
    from pair p join open_line i on i.bearer_id = p.bearer_id and i.operator_id = p.operator_id
    """)
