"""A coupon: the driver types its code on the page that shows what is due.

Knows coupons and the pages of what is due; must not know what a coupon takes off, nor channels. Mounted by ``app.pages``.
"""

from typing import Final

from litestar import Response, get, post
from litestar.params import FromPath, URLEncodedBody
from litestar.response import Redirect
from msgspec import Struct

from app.pages import covered, scan, seals
from app.pages.codes import AnyRequest, page_of
from app.pages.limits import Misses, address_of
from app.pages.render import Page
from app.wiring import Wired
from ledger.money import yuan
from payments import charges
from payments.discounts import grants
from payments.discounts.grants import CouponRefused
from payments.errors import ChargeUnknown
from payments.lots import Lot

MISSES: Final = Misses(per_minute=10)
"""Of this process: codes that are none. Whoever has a coupon types it right at the first or second try."""


class CouponForm(Struct, frozen=True):
    """The code that was typed, and the charge it is to count for."""

    charge: str = ""
    code: str = ""


@post("/p/{token:str}/coupon", sync_to_thread=True, include_in_schema=False, status_code=200)
def use(request: AnyRequest, wiring: Wired, token: FromPath[str], data: URLEncodedBody[CouponForm]) -> Response[bytes]:
    """Let a coupon count for a shown charge, and show again what is due; or that nothing is, and that the car may leave.

    A coupon that does not count leaves the driver where the price is, with a word about it.
    """
    page, peer = page_of(request, wiring), request.client.host if request.client else ""
    address = address_of(peer, request.headers.get("x-forwarded-for", ""))
    with wiring.db.connect() as tx:
        lot = scan.lot_of(tx, wiring, token)
    if MISSES.is_over(address):
        return _answer(page, lot, token, page.w.sorry_often, status=429)
    with wiring.db.connect() as tx:
        charge = charges.by_id(tx, lane=wiring.lane, charge_id=seals.charge(wiring, lot.lot_id, data.charge))
    if charge.lot_id != lot.lot_id:
        raise ChargeUnknown("the charge is another lot's")
    try:
        with wiring.db.begin() as tx:
            used = grants.use_coupon(
                tx, lane=wiring.lane, lot_id=lot.lot_id, charge_id=charge.charge_id, code=data.code, at=wiring.clock.now(),
                ids=wiring.ids,
            )  # fmt: skip
    except CouponRefused as refused:
        MISSES.count(address)
        sorry = page.w.coupon_sorry[_SORRY.index(refused.code)]
        if charge.state != "open":
            return _answer(page, lot, token, sorry, status=409)
        return scan.changed(request, wiring, token, charge, shown_fen=charge.owed_fen, sorry=sorry)
    if used.owed_fen == 0:
        shown = covered.of_charge(wiring, page, lot=lot, token=token, charge_id=charge.charge_id)
        return shown or _answer(page, lot, token, page.w.coupon_free.format(yuan=yuan(used.fen)), done=page.w.coupon_free_title)
    return scan.changed(request, wiring, token, charge, shown_fen=used.owed_fen)


@get("/p/{token:str}/coupon", sync_to_thread=False, include_in_schema=False)
def begin_again(request: AnyRequest, wiring: Wired, token: FromPath[str]) -> Redirect:
    """Lead whoever opens the address of the form without its content back to the first page."""
    return Redirect(f"/p/{token}{page_of(request, wiring).query}", status_code=303)


_SORRY: Final = (
    "coupon_unknown", "coupon_over", "coupon_used", "coupon_elsewhere", "coupon_no_better", "coupon_busy", "coupon_closed",
)  # fmt: skip
"""In the order of the pages' words."""


def _answer(page: Page, lot: Lot, token: str, text: str, *, done: str | None = None, status: int = 200) -> Response[bytes]:
    w = page.w
    return page.answer(
        "message.html", status=status, switch=f"/p/{token}", lot=lot, title=done or w.sorry_title, text=text,
        mark="done" if done else "warn", more=None, way=f"/p/{token}{page.query}", way_text=w.scan_again,
    )  # fmt: skip
