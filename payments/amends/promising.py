"""Promising back 更正退款: what a correction takes away of a charge, and the refunds by which paid money goes back to its payers.

Knows held charges, their payments, refunds and entries; must not know what a lot posts, what a note says or HTTP. Called by
``corrections`` and ``credit_notes``.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from ledger import recipes
from ledger.clock import business_date
from ledger.ids import Ids
from ledger.journal import Entry
from payments.amends import correction_store
from payments.amends.correction_store import Held, NoteRefund, Paid
from payments.lot_records.intake import Rejected

_PAYER_READS: Final = "停车费更正退款"


class Effect(Struct, frozen=True):
    """What a correction takes away: from what is owed, and from which payments how much."""

    credited_fen: int
    back: tuple[tuple[Paid, int], ...]

    @property
    def refunded_fen(self) -> int:
        return sum(fen for _, fen in self.back)

    @property
    def amount_fen(self) -> int:
        return self.credited_fen + self.refunded_fen


def decide(charge: Held, payments: Sequence[Paid], *, wanted_fen: int | None, live_way: str | None) -> Effect:
    """Return what a correction takes away from a charge that is held. Pure.

    Args:
        payments: Those that count for the charge, the newest first: what goes back is taken from them in this order.
        wanted_fen: By how much the charge is reduced; None: by all that is left.
        live_way: Way of a payment of the charge that is not decided; None: there is none.

    Raises:
        Rejected: ``card_under_way``, ``payment_under_way``, ``nothing_left``, ``amount_exceeds``, ``covered_in_full``.
    """
    if live_way == "card":
        raise Rejected(
            "charge_serial", "card_under_way", "the car's card has paid it at the lane; wait until its issuer has decided"
        )
    if live_way is not None:
        raise Rejected("charge_serial", "payment_under_way", "somebody is paying it; post the correction again when that is over")
    if charge.covered_fen:
        if wanted_fen is not None:
            words = "others pay all of it: cancel it, or replace it by a new bill, for which what is still valid counts again"
            raise Rejected("kind", "covered_in_full", words)
        return Effect(charge.covered_fen, ())
    left = left_of(charge, payments)
    if left == 0:
        raise Rejected("charge_serial", "nothing_left", _why_nothing_left(charge))
    wanted = left if wanted_fen is None else wanted_fen
    if wanted > left:
        raise Rejected("amount_fen", "amount_exceeds", f"{wanted} fen cannot be taken away: {left} of {charge.amount_fen} are left")
    credited = min(wanted, charge.owed_fen)
    return Effect(credited, _back(wanted - credited, payments))


def left_of(charge: Held, payments: Sequence[Paid]) -> int:
    """Return how much can still be taken away from a charge, in fen: what is owed, and what was paid and did not go back."""
    paid = sum(one.left_fen for one in payments)
    return max(0, min(charge.owed_fen + paid, charge.amount_fen - charge.reduced_fen - charge.noted_fen))


def refunds_of(effect: Effect, charge: Held, *, note_id: UUID, number: str, at: datetime, ids: Ids) -> list[NoteRefund]:
    """Return the refunds of a note, one for each payment that gives something back."""
    return [
        NoteRefund(
            note_id=note_id, number=number, refund_id=ids.new(at, f"refund {paid.payment_id} operator {number}"),
            payment_id=paid.payment_id, operator_id=charge.operator_id, book_id=charge.book_id, channel=paid.channel,
            provider_no=paid.provider_no, merchant_no=paid.merchant_no, trade_no=paid.trade_no, amount_fen=fen,
            total_fen=paid.taken_fen,
        )
        for paid, fen in effect.back
    ]  # fmt: skip


def promise(
    tx: Connection, *, lane: int, refunds: Sequence[NoteRefund], evidence_id: UUID, at: datetime
) -> list[Entry]:  # fmt: skip
    """Promise refunds: channels are called at once, of what was taken by hand the lot sees that it owes it. Returns their entries.

    The caller holds the payments and posts the entries.
    """
    correction_store.insert_refunds(tx, lane=lane, refunds=refunds, reason=_PAYER_READS, at=at)
    return [
        recipes.refund_accepted(
            refund_id=refund.refund_id, book_id=refund.book_id, from_suspense=False, amount_fen=refund.amount_fen, happened_at=at,
            booked_on=business_date(at), evidence_id=evidence_id,
        )
        for refund in refunds
    ]  # fmt: skip


def _why_nothing_left(charge: Held) -> str:
    if charge.state == "written_off":
        return "it was written off, so nothing is demanded; have it written back first if a new bill shall stand for it"
    if charge.state == "waived":
        return "it was let off, so nothing is demanded any more"
    return "it was corrected or refunded in full before"


def _back(wanted: int, payments: Sequence[Paid]) -> tuple[tuple[Paid, int], ...]:
    """Return how much of each payment goes back, the newest first."""
    back: list[tuple[Paid, int]] = []
    for payment in payments:
        if fen := min(wanted, payment.left_fen):
            back.append((payment, fen))
            wanted -= fen
    assert wanted == 0, "what goes back was paid"
    return tuple(back)
