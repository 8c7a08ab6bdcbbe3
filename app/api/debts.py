"""Debts over HTTP: lists and ageing for lots, operators and supervisors; disputes opened for drivers and answered by lots.

Knows the form of requests and answers; must not know how debts are kept. Mounted by ``app.api``.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final, Literal, TypeVar
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import FromPath, QueryParameter, RawBody
from msgspec import Meta, Struct
from sqlalchemy import Connection

from app import auth
from app.api.charges import Malformed
from app.auth import Called, Caller
from app.wiring import Wired, Wiring
from gateways import messages
from ledger.clock import business_date
from ledger.errors import NotAllowed, NotFound
from payments import charges
from payments.lots import Lot
from payments.owed import debt_list, disputes
from payments.owed.debt_ageing import Ageing, By, ageing
from payments.owed.debt_list import LIMIT_MAX, DebtLine, Scope, State
from payments.owed.dispute_store import Dispute, Reason, Standing
from payments.owed.disputes import EXHIBITS_MAX, Shown


class FileIn(Struct, frozen=True, forbid_unknown_fields=True):
    """A file that is shown; ``body`` in Base64."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    media_type: str
    body: bytes


class DisputeIn(Struct, frozen=True, forbid_unknown_fields=True):
    """A dispute that the operator's own page or staff took up from the driver."""

    reason: Reason
    statement: Annotated[str, Meta(min_length=1, max_length=2000)]
    files: Annotated[tuple[FileIn, ...], Meta(max_length=EXHIBITS_MAX)] = ()


class AnswerIn(Struct, frozen=True, forbid_unknown_fields=True):
    """What the lot says to a dispute, and what it shows."""

    answer: Annotated[str, Meta(min_length=1, max_length=4000)]
    files: Annotated[tuple[FileIn, ...], Meta(max_length=EXHIBITS_MAX)] = ()


class DisputeView(Struct, frozen=True, kw_only=True):
    """A dispute as its lot sees it. ``deciding``: a waiver waits for the second person.

    ``standing`` is the state with what became of the debt meanwhile: ``paid``, ``refund_due``, ``refunded``, ``waiver_due``;
    ``to_give_back_fen`` is what the lot has to refund if the driver is right."""

    dispute_id: UUID
    lot_serial: str
    owed_fen: int
    reason: Reason
    statement: str
    opened_at: datetime
    answer_until: datetime
    answer: str | None
    answered_at: datetime | None
    state: Literal["open", "deciding", "upheld", "partly", "rejected", "withdrawn"]
    decided_at: datetime | None
    decided_note: str | None
    standing: Standing
    to_give_back_fen: int


class AgeingView(Struct, frozen=True):
    """What is owed by age on a business date, and the code to ask behind for more."""

    on: str
    by: By
    rows: list[Ageing]


T = TypeVar("T")
_dispute: Final = msgspec.json.Decoder(DisputeIn).decode
_answer: Final = msgspec.json.Decoder(AnswerIn).decode


@get("/v1/debts", sync_to_thread=True, tags=["debts"], summary="List debts")
def get_debts(
    wiring: Wired,
    caller: Called,
    wanted: Annotated[State | None, QueryParameter(name="state", description="Only these; else all that owe something")] = None,
    after: Annotated[UUID | None, QueryParameter(description="`charge_id` of the last debt read")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX)] = 100,
) -> list[DebtLine]:  # fmt: skip
    """Return the debts in the caller's scope, the oldest first, with masked plates."""
    with wiring.db.connect() as tx:
        return debt_list.listed(
            tx, lane=wiring.lane, scope=_scope(caller), today=business_date(wiring.clock.now()), state=wanted,
            only_owed=wanted is None, after=after, limit=limit,
        )  # fmt: skip


@get("/v1/debts/ageing", sync_to_thread=True, tags=["debts"], summary="Debts by age")
def get_ageing(
    wiring: Wired,
    caller: Called,
    by: Annotated[By, QueryParameter(description="What a row stands for")] = "operator",
    after: Annotated[str, QueryParameter(max_length=64, description="`code` of the last row read")] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX)] = 1_000,
) -> AgeingView:
    """Return what is owed by age in the caller's scope; the totals of an operator are the receivables of its book (1122)."""
    today, scope = business_date(wiring.clock.now()), _scope(caller)
    with wiring.db.connect() as tx:
        rows = ageing(
            tx, lane=wiring.lane, by=by, today=today, operator_id=scope.operator_id, lot_id=scope.lot_id, district=scope.district,
            after=after, limit=limit,
        )  # fmt: skip
    return AgeingView(today.isoformat(), by, rows)


@get("/v1/lots/{lot_code:str}/disputes", sync_to_thread=True, tags=["debts"], summary="Disputes that wait for an answer")
def get_disputes(wiring: Wired, caller: Called, lot_code: FromPath[str]) -> list[DisputeView]:
    """Return the lot's disputes that are not decided, the oldest first."""
    with wiring.db.connect() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        return [_view(one) for one in disputes.of_lot(tx, lane=wiring.lane, lot_id=lot.lot_id)]


@post("/v1/lots/{lot_code:str}/charges/{serial:str}/disputes", sync_to_thread=True, tags=["debts"], summary="Dispute a debt")
def post_dispute(wiring: Wired, caller: Called, lot_code: FromPath[str], serial: FromPath[str], body: RawBody) -> DisputeView:
    """Open a dispute that a driver raised with the lot: nothing is demanded or deducted until it is decided.

    A dispute of the debt that is open already is returned, with the new files added.
    """
    asked = _decoded(_dispute, body)
    with wiring.db.begin() as tx:
        lot = _writing(tx, caller, lot_code)
        _keep(tx, wiring, body, operation="dispute", occasion=f"{lot_code} {serial}")
        charge = charges.by_serial(tx, lane=wiring.lane, lot_id=lot.lot_id, lot_serial=serial)
        opened = disputes.open_dispute(
            tx, lane=wiring.lane, charge_id=charge.charge_id, reason=asked.reason, statement=asked.statement, opened_by="api",
            opened_ref=caller.client_id, shown=_shown(asked.files), at=wiring.clock.now(), ids=wiring.ids,
        )  # fmt: skip
    return _view(opened)


@post(
    "/v1/lots/{lot_code:str}/disputes/{dispute_id:uuid}/answer",
    sync_to_thread=True,
    status_code=200,
    tags=["debts"],
    summary="Answer a dispute",
)
def post_answer(wiring: Wired, caller: Called, lot_code: FromPath[str], dispute_id: FromPath[UUID], body: RawBody) -> DisputeView:
    """Keep the lot's answer with its evidence; a later answer replaces the words and adds to the files."""
    asked = _decoded(_answer, body)
    with wiring.db.begin() as tx:
        lot = _writing(tx, caller, lot_code)
        found = disputes.by_id(tx, lane=wiring.lane, dispute_id=dispute_id)
        if found.lot_id != lot.lot_id:
            raise NotFound(f"there is no dispute {dispute_id}", code="dispute_not_found")
        _keep(tx, wiring, body, operation="dispute_answer", occasion=f"{lot_code} {dispute_id}")
        answered = disputes.answer(
            tx, lane=wiring.lane, dispute_id=dispute_id, words=asked.answer, shown=_shown(asked.files), by=caller.client_id,
            at=wiring.clock.now(), ids=wiring.ids,
        )  # fmt: skip
    return _view(answered)


def _scope(caller: Caller) -> Scope:
    return Scope(operator_id=caller.operator_id, lot_id=caller.lot_id, district=caller.district)


def _writing(tx: Connection, caller: Caller, lot_code: str) -> Lot:
    if not caller.may_write:
        raise NotAllowed("this client may read, not post", code="read_only")
    return auth.own_lot(tx, caller=caller, code=lot_code)


def _decoded(decode: Callable[[bytes], T], body: bytes) -> T:
    try:
        return decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError) as wrong:
        raise Malformed(str(wrong)) from None


def _keep(tx: Connection, wiring: Wiring, body: bytes, *, operation: str, occasion: str) -> None:
    """Keep what a lot sent, verbatim, with what follows from it."""
    message = messages.from_lot(operation=operation, body=body, at=wiring.clock.now(), ids=wiring.ids, occasion=occasion)
    messages.keep(tx, lane=wiring.lane, messages=[message])


def _shown(files: tuple[FileIn, ...]) -> list[Shown]:
    return [Shown(one.name, one.media_type, one.body) for one in files]


def _view(dispute: Dispute) -> DisputeView:
    return DisputeView(**{name: getattr(dispute, name) for name in DisputeView.__struct_fields__})
