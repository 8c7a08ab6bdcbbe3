"""The pay code of a lot as picture and printable sheet, and the files beside the pages.

Knows lots and how codes are drawn; must not know payments. Mounted by ``app.pages``.
"""

from typing import Any

from litestar import Request, Response, get
from litestar.params import FromPath

from app.pages.render import Page, assets
from app.pages.wallets import payable
from app.wiring import Wired, Wiring
from ledger.errors import NotFound
from payments import lots, paycode, qr
from payments.lots import Lot

AnyRequest = Request[Any, Any, Any]


def page_of(request: AnyRequest, wiring: Wiring) -> Page:
    """Return what this request's pages share."""
    return Page(wiring.settings, path=request.url.path, lang=request.query_params.get("lang"))


def link(wiring: Wiring, lot: Lot) -> str:
    """Return the address inside a lot's code."""
    return paycode.link(wiring.settings.public_url, lot.lot_id, keys=wiring.pay_codes)


@get("/codes/{name:str}", sync_to_thread=True, include_in_schema=False)
def code(request: AnyRequest, wiring: Wired, name: FromPath[str]) -> Response[bytes]:
    """Return a lot's code: ``<lot code>.svg`` or ``.png`` as a picture, ``<lot code>`` as a sheet to print."""
    stem, _, kind = name.rpartition(".")
    lot_code = stem if kind in ("svg", "png") else name
    with wiring.db.connect() as tx:
        lot = lots.lot_by_code(tx, code=lot_code)
    if kind == "svg" and stem:
        return _picture(qr.svg(link(wiring, lot), title=f"{lot.name} {lot.code}").encode(), "image/svg+xml")
    if kind == "png" and stem:
        return _picture(qr.image(link(wiring, lot), module_pixels=12), "image/png")
    page = page_of(request, wiring)
    return page.answer("sheet.html", lot=lot, wallets=page.w.apps(payable(one.channel for one in wiring.channels)))


def _picture(body: bytes, kind: str) -> Response[bytes]:
    headers = {"cache-control": "public, max-age=3600", "x-content-type-options": "nosniff"}
    return Response(body, media_type=kind, headers=headers)


@get("/assets/{name:str}", sync_to_thread=False, include_in_schema=False)
def asset(request: AnyRequest, name: FromPath[str]) -> Response[bytes]:
    """Return a file that the pages use."""
    found = assets().get(name)
    if found is None:
        raise NotFound(f"there is no file {name}")
    return found.answer(gzipped="gzip" in request.headers.get("accept-encoding", ""))
