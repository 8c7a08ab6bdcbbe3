"""The page of a code on a screen: exactly the stay or the set of debts that it was made for, without a plate being typed.

Knows what the code proves and how a charge is shown; must not know channels, nor anything else that the plate owes. Called by
``scan``, whose address it answers.
"""

from collections.abc import Sequence
from typing import Any

from litestar import Response
from msgspec import Struct

from app.pages import facts, seals
from app.pages.codes import AnyRequest, page_of
from app.pages.render import Page
from app.pages.wallets import Offer
from app.wiring import Wiring
from ledger.money import yuan
from payments import paycode
from payments.codes import shown
from payments.codes.records import Scanned
from payments.records import Charge


class Row(Struct, frozen=True):
    """A charge of the code as its page lists it. ``plate`` is masked."""

    plate: str
    chip: str
    entered: str
    left: str | None
    stay: str
    amount: str
    tariff_text: str


def answer(
    request: AnyRequest, wiring: Wiring, found: Scanned, token: str, *, offered: Sequence[Offer], was_fen: int = 0,
    sorry: str | None = None,
) -> Response[Any]:  # fmt: skip
    """Return the page of a scanned code that was made for a stay or a set of debts. ``was_fen``: the page said so much before.

    ``sorry`` says what could not be done. One charge is paid directly, several as a basket.

    Raises ChargeUnknown when the lot of the code has no such charge.
    """
    page, lot, at = page_of(request, wiring), found.lot, wiring.clock.now()
    assert found.shown is not None
    with wiring.db.connect() as tx:
        stands_for = shown.opened(tx, lane=wiring.lane, code=found.shown)
    others = f"/p/{paycode.token(lot.lot_id, keys=wiring.pay_codes)}{page.query}"
    due, first = stands_for.due, stands_for.charges[0]
    plate, chip = facts.plate(first.plate), facts.chip(first.plate, first.plate_color)
    if not due:
        return page.answer(
            "message.html", switch=f"/p/{token}", lot=lot, title=page.w.shown_done_title, text=page.w.shown_done, mark="done",
            more=page.w.nothing_next, plate=plate, chip=chip, way=others, way_text=page.w.shown_others,
        )  # fmt: skip
    ids = ",".join(str(charge.charge_id) for charge in due)
    total = sum(charge.owed_fen for charge in due)
    link = wiring.link_tokens.new(f"shown {ids} {at.isoformat()}")
    changed = page.w.price_changed.format(old=yuan(was_fen), new=yuan(total)) if was_fen and was_fen != total else None
    return page.answer(
        "shown.html", status=409 if sorry else 200, switch=f"/p/{token}", lot=lot, token=token,
        rows=[_row(page, one) for one in due], amount=yuan(total), charges=seals.of(wiring, lot.lot_id, ids), order=link,
        offers=offered, is_one=len(due) == 1, others=others, changed=sorry or changed,
    )  # fmt: skip


def _row(page: Page, charge: Charge) -> Row:
    return Row(
        plate=facts.plate(charge.plate),
        chip=facts.chip(charge.plate, charge.plate_color),
        entered=facts.instant(charge.entered_at, page.w),
        left=facts.instant(charge.left_at, page.w) if charge.left_at else None,
        stay=facts.stay(charge.minutes, page.w),
        amount=yuan(charge.owed_fen),
        tariff_text=charge.tariff_text,
    )
