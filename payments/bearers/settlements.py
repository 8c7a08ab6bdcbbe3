"""Settlements of bearers: what one owes an operator up to a date, approved by a second person, booked with the bank slip.

Knows lines, bearers and the book; must not know drivers' money: nothing here touches a channel. Called by the command line.
"""

from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection

from ledger import recipes
from ledger.ids import Ids
from payments import settling
from payments.bearers import bearers
from payments.incentive import lines as party_books
from payments.incentive import parties

State = settling.State


class Settlement(settling.Settled, frozen=True, kw_only=True):
    """What a bearer pays an operator."""

    bearer_id: int
    operator_id: int


def propose(
    tx: Connection, *, lane: int, until_on: date, by: str, at: datetime, ids: Ids, bearer_id: int | None = None,
    operator_id: int | None = None,
) -> list[Settlement]:  # fmt: skip
    """Propose a settlement for each bearer and operator; raises as ``settling.Settlements.propose``."""
    return _SETTLEMENTS.propose(
        tx, lane=lane, until_on=until_on, by=by, at=at, ids=ids, payer_id=bearer_id, payee_id=operator_id
    )  # fmt: skip


def _book(tx: Connection, held: Settlement, happened_at: datetime, booked_on: date, at: datetime) -> None:
    """Post it in the operator's book, and in the bearer's own where it has one."""
    every = parties.listed(tx)
    [operator] = [party for party in every if party.operator_id == held.operator_id]
    [bearer] = [one for one in bearers.listed(tx) if one.bearer_id == held.bearer_id]
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


_TABLES: Final = settling.Tables(
    settlement="payments.bearer_settlement", settled_line="payments.bearer_settlement_line", line="payments.bearer_line",
    key=("part_id", "returned"), payer="bearer_id", payee="operator_id",
)  # fmt: skip
_SETTLEMENTS: Final = settling.Settlements(Settlement, name="bearer", tables=_TABLES, book=_book)
approve: Final = _SETTLEMENTS.approve
reject: Final = _SETTLEMENTS.reject
pay: Final = _SETTLEMENTS.pay
listed: Final = _SETTLEMENTS.listed
as_document: Final = _SETTLEMENTS.as_document
