"""Nothing is to be paid, for others pay it: what took it off, and where that stands in the sealed book.

Knows covered stays and how they are shown; must not know who bears them. Called by the pages of what is due and of coupons.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from litestar import Response
from msgspec import Struct
from sqlalchemy import Connection

from app.pages import after_words, facts
from app.pages.render import Page
from app.wiring import Wiring
from ledger import places
from ledger.ids import entry_id, payment_number
from ledger.journal import EntryKind
from ledger.money import yuan
from payments.discounts import covered
from payments.discounts.covered import Covered, Line
from payments.lots import Lot
from payments.plates import PlateColor

ROOT_LETTERS: Final = 12
"""Of a checkpoint's root, as a payment's receipt shows them."""
SHOWN_FOR: Final = timedelta(hours=2)
"""Whoever types the plate later learns no more of the stay: it is over."""


class Proof(Struct, frozen=True):
    """What took something off: its words, how much, and where the entry stands; no number where the operator gave it itself."""

    words: str
    amount: str
    number: str | None
    seal: str | None
    proof: str | None


def of_plate(
    wiring: Wiring, page: Page, *, lot: Lot, token: str, plate: str, color: PlateColor | None
) -> Response[bytes] | None:  # fmt: skip
    """Return the page of a stay at this lot that was covered just now; None: there is none."""
    since = wiring.clock.now() - SHOWN_FOR
    with wiring.db.connect() as tx:
        found = covered.of_plate(tx, lane=wiring.lane, lot_id=lot.lot_id, number=plate, since=since)
        mine = [one for one in found if color is None or one.plate_color in (color, "unknown")]
        return _shown(tx, wiring, page, lot, token, _of_one_moment(mine)) if mine else None


def of_charge(wiring: Wiring, page: Page, *, lot: Lot, token: str, charge_id: UUID) -> Response[bytes] | None:
    """Return the page of a charge that was covered, with the others of its stay; None: it was not."""
    with wiring.db.connect() as tx:
        found = covered.of_charges(tx, lane=wiring.lane, charge_ids=[charge_id])
        if not found:
            return None
        stay = covered.of_plate(tx, lane=wiring.lane, lot_id=lot.lot_id, number=found[0].plate, since=found[0].covered_at)
        return _shown(tx, wiring, page, lot, token, [one for one in stay if one.covered_at == found[0].covered_at])


def _of_one_moment(found: Sequence[Covered]) -> list[Covered]:
    """Return the latest stay: a stay that owed several payees was covered for all of them at once."""
    return [one for one in found if one.covered_at == found[0].covered_at]


def _shown(
    tx: Connection, wiring: Wiring, page: Page, lot: Lot, token: str, found: Sequence[Covered]
) -> Response[bytes]:  # fmt: skip
    lines = [line for one in found for line in one.lines]
    entries = [entry_id(line.part_id, EntryKind.BEARER_CLAIMED) for line in lines if line.part_id is not None]
    sealed = places.sealed(tx, lane=wiring.lane, entry_ids=entries)
    total = yuan(sum(one.amount_fen for one in found))
    return page.answer(
        "covered.html", keep=True, switch=f"/p/{token}", lot=lot, token=token, r=after_words.words(is_english=page.is_english),
        plate=facts.plate(found[0].plate), chip=facts.chip(found[0].plate, found[0].plate_color),
        text=page.w.covered_text.format(yuan=total), at=facts.precise(found[0].covered_at), origin=wiring.settings.public_url,
        proofs=[_proof(wiring, page, line, sealed) for line in lines],
    )  # fmt: skip


def _proof(wiring: Wiring, page: Page, line: Line, sealed: dict[UUID, places.Place]) -> Proof:
    r = after_words.words(is_english=page.is_english)
    said = line.words_en if page.is_english else line.words
    if line.part_id is None:
        return Proof(said, yuan(line.fen), None, None, None)
    number = payment_number(wiring.lane, line.part_id)
    place = sealed.get(entry_id(line.part_id, EntryKind.BEARER_CLAIMED))
    if place is None:
        return Proof(said, yuan(line.fen), number, None, None)
    seal = r.sealed.format(number=place.number, size=place.tree_size, root=place.root[:ROOT_LETTERS])
    return Proof(said, yuan(line.fen), number, seal, f"/v1/receipts/{number}/proof?tree_size={place.tree_size}")
