"""Somebody says that a code looks wrong: a small form, a plain thank-you and a case number. No account, no name, no plate.

Knows reports of codes; must not know how cases are closed. Mounted by ``app.pages``. Also for codes of nobody, and without one.
"""

from typing import Final

from litestar import Response, get, post
from litestar.params import FromPath, URLEncodedBody
from msgspec import Struct

from app.pages import scan
from app.pages.codes import AnyRequest, page_of
from app.pages.limits import Misses, address_of
from app.pages.render import Page
from app.wiring import Wired, Wiring
from ledger.errors import NotFound, Refused
from payments.codes.records import Scanned
from payments.lots import Lot
from payments.paycode import PayCodeRefused
from payments.rollout import code_reports
from payments.rollout.code_reports import KINDS, WORDS_LETTERS_MAX, NewReport

REPORTS_PER_MINUTE: Final = 5
SCANNED_LETTERS_MAX: Final = 300
REPORTS: Final = Misses(per_minute=REPORTS_PER_MINUTE)
"""Of this process: who has reported how much just now; a restart forgives."""


class ReportForm(Struct, frozen=True):
    """What the form sends."""

    kind: str = ""
    words: str = ""


@get("/report", sync_to_thread=True, include_in_schema=False)
def ask(request: AnyRequest, wiring: Wired) -> Response[bytes]:
    """Ask what is wrong, whatever was scanned."""
    return _form(page_of(request, wiring), None, None, ReportForm())


@get("/p/{token:str}/report", sync_to_thread=True, include_in_schema=False)
def ask_at_lot(request: AnyRequest, wiring: Wired, token: FromPath[str]) -> Response[bytes]:
    """Ask what is wrong with the code of a lot, or with one that says it is."""
    found = _scanned(wiring, token)
    return _form(page_of(request, wiring), None if found is None else found.lot, token, ReportForm())


@post("/report", sync_to_thread=True, include_in_schema=False, status_code=200)
def take(request: AnyRequest, wiring: Wired, data: URLEncodedBody[ReportForm]) -> Response[bytes]:
    """Open a case."""
    return _taken(request, wiring, None, data)


@post("/p/{token:str}/report", sync_to_thread=True, include_in_schema=False, status_code=200)
def take_at_lot(
    request: AnyRequest, wiring: Wired, token: FromPath[str], data: URLEncodedBody[ReportForm]
) -> Response[bytes]:  # fmt: skip
    """Open a case about a lot's code, or about one that says it is."""
    return _taken(request, wiring, token, data)


def _taken(request: AnyRequest, wiring: Wiring, token: str | None, data: ReportForm) -> Response[bytes]:
    page = page_of(request, wiring)
    w = page.w
    address = address_of(request.client.host if request.client else "", request.headers.get("x-forwarded-for", ""))
    found = None if token is None else _scanned(wiring, token)
    lot = None if found is None else found.lot
    if REPORTS.is_over(address):
        return _form(page, lot, token, data, sorry=w.sorry_often, status=429)
    kind = next((one for one in KINDS if one == data.kind), None)
    if kind is None:
        return _form(page, lot, token, data, sorry=w.report_choose, status=422)
    try:
        words = code_reports.checked(data.words)
    except Refused:
        return _form(page, lot, token, data, sorry=w.report_too_long, status=422)
    REPORTS.count(address)
    if found is None:
        report = NewReport(kind=kind, words=words, scanned=None if token is None else token[:SCANNED_LETTERS_MAX])
    else:
        report = NewReport(kind=kind, words=words, lot_id=found.lot.lot_id, code_no=found.code_no)
    with wiring.db.begin() as tx:
        number = code_reports.open_case(tx, lane=wiring.lane, report=report, at=wiring.clock.now(), ids=wiring.ids)
    return page.answer(
        "message.html", keep=True, switch=_path(token), lot=lot, title=w.report_thanks, text=f"{w.report_number}{w.colon}{number}",
        mark="done", more=w.report_next, way=page.link("/"), way_text=w.sorry_code_lots,
    )  # fmt: skip


def _scanned(wiring: Wiring, token: str) -> Scanned | None:
    """Return what a code stands for; None: it is none of ours, or counts no more, which is just what may be reported."""
    try:
        with wiring.db.connect() as tx:
            return scan.scanned_of(tx, wiring, token, begun=True)
    except (PayCodeRefused, NotFound):
        return None


def _path(token: str | None) -> str:
    return "/report" if token is None else f"/p/{token}/report"


def _form(
    page: Page, lot: Lot | None, token: str | None, typed: ReportForm, *, sorry: str | None = None, status: int = 200
) -> Response[bytes]:  # fmt: skip
    return page.answer(
        "report.html", status=status, switch=_path(token), lot=lot, sorry=sorry, action=_path(token) + page.query,
        kinds=list(zip(KINDS, page.w.report_kinds, strict=True)), kind=typed.kind, words=typed.words[:2_000],
        letters_max=WORDS_LETTERS_MAX,
    )  # fmt: skip
