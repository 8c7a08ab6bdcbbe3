"""A driver says that a debt is wrong, on the page that shows it. No account, no name: who scanned the lot's code saw the debt.

Knows disputes; must not know channels. Mounted by ``app.pages``. Of a debt at another lot nothing can be disputed here.
"""

from typing import Any

from litestar import Response, post
from litestar.params import FromPath, URLEncodedBody
from msgspec import Struct

from app.pages import scan, seals
from app.pages.codes import AnyRequest, page_of
from app.pages.scan import REASONS
from app.wiring import Wired
from payments import charges
from payments.errors import ChargeUnknown
from payments.owed import disputes
from payments.owed.dispute_store import Reason


class DisputeForm(Struct, frozen=True):
    """What the form of the due page sends."""

    charge: str = ""
    reason: str = ""
    statement: str = ""


@post("/p/{token:str}/dispute", sync_to_thread=True, include_in_schema=False)
def dispute(request: AnyRequest, wiring: Wired, token: FromPath[str], data: URLEncodedBody[DisputeForm]) -> Response[Any]:
    """Open a dispute of a shown debt: it is not demanded until somebody has looked at it. A second tap is the same dispute."""
    page = page_of(request, wiring)
    reason: Reason = next((one for one in REASONS if one == data.reason), "other")
    with wiring.db.begin() as tx:
        lot = scan.lot_of(tx, wiring, token)
        charge_id = seals.charge(wiring, lot.lot_id, data.charge)
        charge = charges.by_id(tx, lane=wiring.lane, charge_id=charge_id)
        if charge.lot_id != lot.lot_id or not charge.is_receivable:
            raise ChargeUnknown("the lot has no such debt")
        statement = data.statement.strip()[: disputes.STATEMENT_LETTERS_MAX] or page.w.dispute_reasons[REASONS.index(reason)]
        disputes.open_dispute(
            tx, lane=wiring.lane, charge_id=charge_id, reason=reason, statement=statement, opened_by="page", opened_ref="",
            at=wiring.clock.now(), ids=wiring.ids,
        )  # fmt: skip
    w = page.w
    return page.answer(
        "message.html", keep=True, switch=f"/p/{token}", lot=lot, title=w.dispute_title, text=w.dispute_text, mark="done",
        more=w.dispute_next, way=f"/p/{token}{page.query}", way_text=w.back_to_lot,
    )  # fmt: skip
