"""Every failure as one plain sentence and a way on; the log gets the code.

Knows the error tree and the pages; must not know how anything failed. Set as the exception handlers of the pages.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import HTTPException

from app import problems
from app.pages.codes import page_of
from app.pages.pay import NoWallet
from app.pages.render import Page
from app.wiring import Wiring
from ledger.errors import Conflict, NotFound, Refused, TongtingError, Unavailable
from payments import paycode
from payments.codes.errors import CodeMoved, CodeOver, CodeReplaced, CodeReported, CodeRetired
from payments.errors import CardUnderWay, ChargeUnknown, DebtReserved, DeductionUnderWay, OrderUnknown, PartRefused
from payments.paycode import PayCodeRefused
from payments.quoting.asked_quote_store import QuoteOver

_FOR_PROGRAMS: Final = ("/v1/", "/oauth/", "/callbacks/", "/schema/", "/health", "/_simulation/")
_log: Final = logging.getLogger("tongting.pages")


def refused(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer an error with a page."""
    wiring: Wiring = request.app.state.wiring
    page = page_of(request, wiring)
    if isinstance(error, TongtingError):
        _log.info("%s %s: %s: %s", request.method, _route(request), error.code, error)
    elif not isinstance(error, HTTPException):
        _log.exception("%s %s failed", request.method, _route(request), exc_info=error)
    return _answer(page, error, _lot_of_screen(wiring, error) or way_back(request))


def _lot_of_screen(wiring: Wiring, error: Exception) -> str | None:
    """Return the page where a plate is typed, of the lot whose code on a screen is over."""
    return f"/p/{paycode.token(error.lot_id, keys=wiring.pay_codes)}" if isinstance(error, CodeOver) else None


def missing(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer an address that is nothing here: a problem to a program, a page to a person."""
    if request.url.path.startswith(_FOR_PROGRAMS) or "text/html" not in request.headers.get("accept", ""):
        return problems.from_http(request, error)
    return refused(request, error)


def way_back(request: Request[Any, Any, Any]) -> str | None:
    """Return the scan page of the code in the address, where there is one."""
    token = request.path_params.get("token")
    return f"/p/{token}" if isinstance(token, str) and request.url.path.startswith("/p/") else None


def _route(request: Request[Any, Any, Any]) -> str:
    """Return the first part of the address: what follows may be a secret link."""
    return "/" + request.url.path.split("/")[1]


def _answer(page: Page, error: Exception, back: str | None) -> Response[bytes]:
    w = page.w
    status, title, text, more = _words(page, error)
    if isinstance(error, PayCodeRefused | NotFound) and not isinstance(error, CodeOver | ChargeUnknown):
        back = None
    way, way_text = (f"{back}{page.query}", w.scan_again) if back else (f"/{page.query}", w.sorry_code_lots)
    if isinstance(error, CodeRetired | CodeReplaced | CodeMoved):
        way, way_text = f"/{page.query}", w.sorry_code_lots
    elif isinstance(error, CodeOver):
        way_text = w.plate_enter
    elif isinstance(error, PayCodeRefused):
        way, way_text = page.link("/report"), w.report_link
    return page.answer(
        "message.html", status=status, title=title, text=text, more=more, mark="warn" if status == 503 else "bad", way=way,
        way_text=way_text,
    )  # fmt: skip


def _words(page: Page, error: Exception) -> tuple[int, str, str, str | None]:
    """Return status, title, sentence and what to do."""
    w = page.w
    match error:
        case CodeRetired():
            return 410, w.sorry_title, w.sorry_code_retired, w.sorry_code_look
        case CodeReplaced():
            return 410, w.sorry_title, w.sorry_code_replaced, w.sorry_code_look
        case CodeMoved():
            return 410, w.sorry_title, w.sorry_code_moved, w.sorry_code_look
        case CodeReported():
            return 410, w.sorry_title, w.sorry_code_reported, w.sorry_code_reported_next
        case CodeOver():
            return 410, w.sorry_title, w.sorry_code_over, w.sorry_code_over_next
        case PayCodeRefused():
            return 404, w.sorry_title, w.sorry_code, w.sorry_code_next
        case OrderUnknown():
            return 404, w.sorry_title, w.sorry_missing, None
        case NoWallet():
            return 409, w.sorry_wallet_title, w.sorry_wallet, None
        case DeductionUnderWay():
            return 409, w.sorry_title, w.sorry_deducting, None
        case CardUnderWay():
            return 409, w.sorry_title, w.sorry_card, None
        case QuoteOver():
            return 409, w.sorry_title, w.sorry_price, None
        case PartRefused():
            return 422, w.sorry_title, w.sorry_part, None
        case DebtReserved():
            return 409, w.sorry_title, w.sorry_reserved, None
        case ChargeUnknown() | Conflict():
            return 409, w.sorry_title, w.sorry_gone, None
        case NotFound():
            return 404, w.sorry_title, w.sorry_missing, None
        case Refused():
            return 409, w.sorry_title, w.sorry_gone, None
        case Unavailable():
            return 503, w.sorry_title, w.sorry_busy, None
        case HTTPException() if error.status_code < 500:
            return error.status_code, w.sorry_title, w.sorry_missing, None
        case _:
            return 500, w.sorry_title, w.sorry_broken, None


HANDLERS: Final[Mapping[type[Exception] | int, Any]] = {Exception: refused, HTTPException: refused}
