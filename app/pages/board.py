"""The city's notice board: how to pay, where, and with what.

Knows the registry of lots; must not know what anybody owes. Mounted by ``app.pages``. Works without scripts: the search is a form.
"""

from typing import Final
from urllib.parse import urlencode

from litestar import Response, get
from msgspec import Struct

from app.pages.codes import AnyRequest, page_of
from app.pages.render import Page
from app.pages.wallets import payable
from app.wiring import Wired
from payments import lot_search, paycode
from payments.lots import Lot

ROWS: Final = 20
"""Lots on a page of the board."""
PAGES_MAX: Final = 100
WALL: Final = 12
"""Codes on the demonstration's wall."""
_MORE: Final = ("/leave-first", "/report")
"""Pages that the board leads to where the installation has them."""


class BoardEntry(Struct, frozen=True):
    """A car park on the notice board, and the address its code leads to."""

    lot: Lot
    page: str


@get("/", sync_to_thread=True, include_in_schema=False)
def board(request: AnyRequest, wiring: Wired) -> Response[bytes]:
    """Show what this is, and car parks: all, or those that fit what was typed."""
    typed, number = _typed(request.query_params.get("q", "")), _number(request.query_params.get("page", ""))
    with wiring.db.connect() as tx:
        found = lot_search.found(tx, typed=typed, skip=(number - 1) * ROWS, limit=ROWS + 1)
    page, more = page_of(request, wiring), len(found) > ROWS and number < PAGES_MAX
    entries = [BoardEntry(lot, f"/p/{paycode.token(lot.lot_id, keys=wiring.pay_codes)}{page.query}") for lot in found[:ROWS]]
    return page.answer(
        "board.html", entries=entries, typed=typed, wallets=page.w.apps(payable(one.channel for one in wiring.channels)),
        forward=_at(page, typed, number + 1) if more else None, backward=_at(page, typed, number - 1) if number > 1 else None,
        switch=f"/?{urlencode({'q': typed, 'page': number})}" if typed or number > 1 else "/", leads=_leads(request),
        wall=entries[:WALL] if wiring.settings.sandbox else [],
    )  # fmt: skip


def _at(page: Page, typed: str, number: int) -> str:
    return page.link("/", q=typed, page=str(number))


def _typed(asked: str) -> str:
    return "".join(letter for letter in asked[: lot_search.LETTERS_MAX] if letter.isprintable()).strip()


def _number(asked: str) -> int:
    """Return the page that is asked for; the first where that is none."""
    return min(max(int(asked), 1), PAGES_MAX) if asked.isascii() and asked.isdigit() and len(asked) < 5 else 1


def _leads(request: AnyRequest) -> frozenset[str]:
    """Return which of the pages that the board leads to this installation has."""
    return frozenset(path for path in _MORE if any(route.path == path for route in request.app.routes))
