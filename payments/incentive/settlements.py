"""Settlements between parties: what one owes another up to a date, approved by a second person, booked with the bank slip.

Knows lines, parties and the book; must not know drivers' money: nothing here touches a channel. Called by the command line.
"""

from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection

from ledger import recipes
from ledger.ids import Ids
from payments import settling
from payments.incentive import lines, parties

State = settling.State


class Settlement(settling.Settled, frozen=True, kw_only=True):
    """What one party pays another."""

    owner_id: int
    recoverer_id: int


def propose(
    tx: Connection, *, lane: int, until_on: date, by: str, at: datetime, ids: Ids, owner_id: int | None = None,
    recoverer_id: int | None = None,
) -> list[Settlement]:  # fmt: skip
    """Propose a settlement for each pair of parties; raises as ``settling.Settlements.propose``."""
    return _SETTLEMENTS.propose(
        tx, lane=lane, until_on=until_on, by=by, at=at, ids=ids, payer_id=owner_id, payee_id=recoverer_id
    )  # fmt: skip


def _book(tx: Connection, held: Settlement, happened_at: datetime, booked_on: date, at: datetime) -> None:
    every = {party.party_id: party for party in parties.listed(tx)}
    owner, recoverer = every[held.owner_id], every[held.recoverer_id]
    paid = recipes.incentive_paid(
        settlement_id=held.settlement_id, book_id=owner.book_id, amount_fen=held.amount_fen, happened_at=happened_at,
        booked_on=booked_on, evidence_id=held.settlement_id,
    )  # fmt: skip
    received = recipes.incentive_received(
        settlement_id=held.settlement_id, book_id=recoverer.book_id, amount_fen=held.amount_fen, happened_at=happened_at,
        booked_on=booked_on, evidence_id=held.settlement_id,
    )  # fmt: skip
    lines.post(tx, booked=[(owner, paid), (recoverer, received)], at=at)


_TABLES: Final = settling.Tables(
    settlement="payments.incentive_settlement", settled_line="payments.incentive_settlement_line", line="payments.incentive_line",
    key=("line_id",), payer="owner_id", payee="recoverer_id",
)  # fmt: skip
_SETTLEMENTS: Final = settling.Settlements(Settlement, name="incentive", tables=_TABLES, book=_book)
approve: Final = _SETTLEMENTS.approve
reject: Final = _SETTLEMENTS.reject
pay: Final = _SETTLEMENTS.pay
listed: Final = _SETTLEMENTS.listed
as_document: Final = _SETTLEMENTS.as_document
