"""Settlements of open lines: what one side owes another up to a date, approved by a second person, booked with the bank slip.

Knows people, states, slips and the form of the tables it is given; must not know whose lines they are, nor how they are booked.
Called by the rooms whose lines are settled: incentives between parties, and what bearers of discounts owe.
"""

from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any, Final, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, TextClause, text

from ledger import documents
from ledger.clock import CHINA, business_date, checked
from ledger.documents import DocumentKind
from ledger.errors import Conflict, NotAllowed, NotFound, Refused
from ledger.ids import Ids
from ledger.money import yuan
from payments import people

NOTE_LETTERS_MAX: Final = 500
SLIP_LETTERS_MAX: Final = 64

State = Literal["proposed", "approved", "rejected", "paid"]


class Settled(Struct, frozen=True, kw_only=True):
    """What a settlement carries beside its two sides. ``digest`` is over its exact lines; rejecting frees them for a later one."""

    settlement_id: UUID
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


S = TypeVar("S", bound=Settled)
Book = Callable[[Connection, S, datetime, date, datetime], None]
"""Posts what a slip paid: the settlement, when the money moved, the day it is booked on, and now."""


class Tables(Struct, frozen=True):
    """Where a room keeps its lines, what names them, and the columns of the two sides."""

    settlement: str
    settled_line: str
    """Which lines a settlement holds; ``is_live`` until it is rejected."""
    line: str
    key: tuple[str, ...]
    """Columns that name a line; the first stands in the digest, all of them order it."""
    payer: str
    payee: str


class Settlements(Generic[S]):
    """The settlements of one room."""

    def __init__(self, kind: type[S], *, name: str, tables: Tables, book: "Book[S]") -> None:
        self._kind, self._name, self._tables, self._book = kind, name, tables, book
        self._sql = _statements(kind, tables)

    def propose(
        self, tx: Connection, *, lane: int, until_on: date, by: str, at: datetime, ids: Ids, payer_id: int | None = None,
        payee_id: int | None = None,
    ) -> list[S]:  # fmt: skip
        """Propose a settlement for each pair of sides over everything open that was booked until a day; set by set.

        A pair of which as much was returned as was owed is left: its lines wait until there is something to pay. Who proposes at
        the same time waits.

        Raises:
            NotAllowed: ``person_unknown``, ``person_may_not``.
            Refused: ``date_invalid``, the day is not over.
        """
        people.maker(tx, person_code=by, at=at)
        if until_on >= business_date(at):
            raise Refused(f"lines are settled of days that are over: at the latest before {business_date(at)}", code="date_invalid")
        tx.execute(text("select pg_advisory_xact_lock(hashtext(:table))"), {"table": self._tables.settlement})
        given = {"lane": lane, "until": until_on, "payer": payer_id, "payee": payee_id}
        pairs = [(int(payer), int(payee)) for payer, payee in tx.execute(self._sql["pairs"], given)]
        made = [ids.new(at, f"{self._name} settlement {payer} {payee} {until_on} {at.isoformat()}") for payer, payee in pairs]
        sides = {"payers": [payer for payer, _ in pairs], "payees": [payee for _, payee in pairs]}
        tx.execute(self._sql["propose"], given | sides | {"ids": made, "by": by, "at": at})
        return [one for one in self.listed(tx, lane=lane, state="proposed") if one.settlement_id in made]

    def approve(
        self, tx: Connection, *, lane: int, settlement_id: UUID, digest: bytes, by: str, at: datetime, note: str | None = None
    ) -> S:
        """Approve the exact lines that were proposed, as a second person, and seal that. Nothing is booked before the slip.

        Raises:
            NotFound: ``settlement_not_found``. NotAllowed: ``person_unknown``, ``person_may_not``, ``same_person``.
            Conflict: ``settlement_made`` (it is decided), ``settlement_changed`` (the lines are not those that were shown).
        """
        held = self._for_decision(tx, lane=lane, settlement_id=settlement_id, by=by, at=at)
        if not held.digest == digest == self._digest(tx, lane=lane, settlement_id=settlement_id):
            raise Conflict("the lines are not those that were shown; look at the settlement again", code="settlement_changed")
        self._decide(tx, lane=lane, settlement_id=settlement_id, state="approved", by=by, note=note, at=at)
        document = self.as_document(self._held(tx, lane=lane, settlement_id=settlement_id))
        documents.record(tx, lane=lane, documents=[document], at=at)
        return self._held(tx, lane=lane, settlement_id=settlement_id)

    def reject(self, tx: Connection, *, lane: int, settlement_id: UUID, by: str, note: str, at: datetime) -> S:
        """Reject a proposal, as a second person; its lines are open again. Raises as ``approve``; Refused ``note_missing``."""
        if not note.strip():
            raise Refused("say why it is rejected", code="note_missing")
        self._for_decision(tx, lane=lane, settlement_id=settlement_id, by=by, at=at)
        self._decide(tx, lane=lane, settlement_id=settlement_id, state="rejected", by=by, note=note, at=at)
        tx.execute(self._sql["free"], {"lane": lane, "id": settlement_id})
        return self._held(tx, lane=lane, settlement_id=settlement_id)

    def pay(
        self, tx: Connection, *, lane: int, settlement_id: UUID, slip: str, paid_on: date, amount_fen: int, by: str, at: datetime
    ) -> S:
        """Enter the bank slip of an approved settlement and book it on each side that has a book. The same slip again is the same.

        Raises:
            NotFound: ``settlement_not_found``. NotAllowed: ``person_unknown``, ``person_may_not``.
            Conflict: ``settlement_not_approved``; ``settlement_paid``, by another slip; ``slip_taken``, by another settlement.
            Refused: ``slip_invalid``; ``slip_differs``, the amount of the slip is another one; ``date_invalid``.
        """
        people.maker(tx, person_code=by, at=at)
        slip = slip.strip() if len(slip.strip()) <= SLIP_LETTERS_MAX else ""
        if not slip:
            raise Refused(f"the number of the slip has 1 to {SLIP_LETTERS_MAX} characters", code="slip_invalid")
        if paid_on > business_date(at):
            raise Refused("the slip is of a day to come", code="date_invalid")
        held = self._held(tx, lane=lane, settlement_id=settlement_id)
        if held.state == "paid":
            if (held.slip, held.paid_on, held.amount_fen) == (slip, paid_on, amount_fen):
                return held
            raise Conflict(f"it was paid by slip {held.slip} of {held.paid_on}", code="settlement_paid")
        self._check_slip(tx, held, slip=slip, amount_fen=amount_fen)
        tx.execute(self._sql["pay"], {"lane": lane, "id": settlement_id, "slip": slip, "paid_on": paid_on, "by": by, "at": at})
        self._book(tx, held, checked(datetime.combine(paid_on, time(), CHINA)), business_date(at), at)
        return self._held(tx, lane=lane, settlement_id=settlement_id)

    def listed(self, tx: Connection, *, lane: int, state: State | None = None) -> list[S]:
        """Return all settlements, or those of a state, oldest first."""
        return [self._kind(**row._mapping) for row in tx.execute(self._sql["listed"], {"lane": lane, "state": state})]

    def as_document(self, settlement: S) -> documents.Document:
        """Return a settlement as it is sealed once it is approved: sides, lines by their digest, amount, and the two persons."""
        sides = (self._tables.payer, self._tables.payee)
        kept = (*sides, "until_on", "lines", "amount_fen", "made_by", "made_at", "decided_by", "decided_at")
        content = {name: getattr(settlement, name) for name in kept} | {"digest": settlement.digest.hex()}
        assert settlement.decided_at is not None
        return documents.of(
            kind=DocumentKind.SETTLEMENT, document_id=settlement.settlement_id, content=content, happened_at=settlement.decided_at
        )

    def _check_slip(self, tx: Connection, held: S, *, slip: str, amount_fen: int) -> None:
        if held.state != "approved":
            raise Conflict(
                f"the settlement is {held.state}; a second person has to approve it first", code="settlement_not_approved"
            )
        if amount_fen != held.amount_fen:
            raise Refused(f"the slip is of {yuan(amount_fen)} yuan, the settlement of {yuan(held.amount_fen)}", code="slip_differs")
        payer = getattr(held, self._tables.payer)
        if tx.execute(self._sql["slip_taken"], {"payer": payer, "slip": slip}).scalar_one():
            raise Conflict(f"slip {slip} of this payer is entered for another settlement", code="slip_taken")

    def _for_decision(self, tx: Connection, *, lane: int, settlement_id: UUID, by: str, at: datetime) -> S:
        people.checker(tx, person_code=by, at=at)
        held = self._held(tx, lane=lane, settlement_id=settlement_id)
        if held.state != "proposed":
            raise Conflict(f"the settlement is {held.state} already", code="settlement_made")
        if held.made_by == by:
            raise NotAllowed("whoever proposed it cannot decide about it; another person has to", code="same_person")
        return held

    def _held(self, tx: Connection, *, lane: int, settlement_id: UUID) -> S:
        row = tx.execute(self._sql["held"], {"lane": lane, "id": settlement_id}).first()
        if row is None:
            raise NotFound(f"there is no settlement {settlement_id}", code="settlement_not_found")
        return self._kind(**row._mapping)

    def _decide(
        self, tx: Connection, *, lane: int, settlement_id: UUID, state: State, by: str, note: str | None, at: datetime
    ) -> None:
        said = None if note is None else note.strip()[:NOTE_LETTERS_MAX]
        given: dict[str, Any] = {"lane": lane, "id": settlement_id, "state": state, "by": by, "at": at, "note": said}
        tx.execute(self._sql["decide"], given)

    def _digest(self, tx: Connection, *, lane: int, settlement_id: UUID) -> bytes:
        return bytes(tx.execute(self._sql["digest"], {"lane": lane, "id": settlement_id}).scalar_one() or b"")


_NET: Final = "sum(case when i.returned then -i.amount_fen else i.amount_fen end)"
_ONE: Final = "where lane = :lane and settlement_id = :id"


def _statements(kind: type[Settled], of: Tables) -> dict[str, TextClause]:
    """Return what is asked of a room's tables."""
    selected = f"select {', '.join(field.name for field in msgspec.structs.fields(kind))} from {of.settlement}"
    is_same_line = " and ".join(f"x.{name} = i.{name}" for name in ("lane", *of.key))
    sides, named = f"i.{of.payer}, i.{of.payee}", ", ".join(f"i.{name}" for name in of.key)
    is_same_pair = f"i.{of.payer} = p.{of.payer} and i.{of.payee} = p.{of.payee}"
    digest = f"""
        sha256(convert_to(string_agg(format('%s %s %s %s %s', i.{of.key[0]}, {sides}, i.amount_fen, i.returned), E'\\n'
                                     order by {named}), 'UTF8'))
    """
    is_open = f"""
        {of.line} i
        where i.lane = :lane and i.booked_on <= :until
          and (i.{of.payer} = :payer or cast(:payer as integer) is null)
          and (i.{of.payee} = :payee or cast(:payee as integer) is null)
          and not exists (select from {of.settled_line} x where {is_same_line} and x.is_live)
    """
    statements = {
        "listed": f"{selected} where lane = :lane and (state = :state or cast(:state as text) is null) order by settlement_id",
        "held": f"{selected} {_ONE} for update",
        "decide": f"update {of.settlement} set state = :state, decided_by = :by, decided_at = :at, decided_note = :note {_ONE}",
        "free": f"update {of.settled_line} set is_live = false {_ONE}",
        "pay": f"""
            update {of.settlement}
            set state = 'paid', slip = :slip, paid_on = :paid_on, entered_by = :by, entered_at = :at {_ONE}
            """,
        "slip_taken": f"select exists (select from {of.settlement} where {of.payer} = :payer and slip = :slip)",
        "digest": f"""
            select {digest} from {of.settled_line} x join {of.line} i on {is_same_line}
            where x.lane = :lane and x.settlement_id = :id and x.is_live
            """,
        "pairs": f"select {sides} from {is_open} group by 1, 2 having {_NET} > 0 order by 1, 2",
        "propose": f"""
            with pair as materialized (
                select * from unnest(cast(:ids as uuid[]), cast(:payers as integer[]), cast(:payees as integer[]))
                    as p (settlement_id, {of.payer}, {of.payee})
            ), open_line as materialized (
                select i.* from {is_open}
            ), summed as (
                select p.settlement_id, {sides}, count(*)::integer as lines, {_NET}::bigint as amount_fen, {digest} as digest
                from pair p join open_line i on {is_same_pair}
                group by p.settlement_id, {sides}
            ), made as (
                insert into {of.settlement} (settlement_id, lane, {of.payer}, {of.payee}, until_on, lines, amount_fen,
                                             digest, state, made_by, made_at)
                select settlement_id, :lane, {of.payer}, {of.payee}, :until, lines, amount_fen, digest, 'proposed', :by, :at
                from summed
            )
            insert into {of.settled_line} (settlement_id, lane, {", ".join(of.key)})
            select p.settlement_id, :lane, {named} from pair p join open_line i on {is_same_pair}
            """,
    }
    return {name: text(statement) for name, statement in statements.items()}
