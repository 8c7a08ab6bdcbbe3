"""Where a lot's system is asked what a plate owes now: entered, looked at and ended by the lot's or its operator's system.

Knows the form of requests and answers; must not know how questions are asked. Mounted by ``app.api``.
"""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import Response, delete, get, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, RawBody
from msgspec import UNSET, Meta, Struct, UnsetType
from sqlalchemy import Connection

from app import auth
from app.api.charges import Malformed
from app.auth import Called, Caller
from app.wiring import Wired
from gateways.parking.addresses import URL_LETTERS_MAX
from ledger.errors import NotAllowed
from payments.lots import Lot
from payments.quoting import asked_quote_store, endpoints
from payments.quoting.asked_quote_store import REFUSALS_SHOWN, Refused
from payments.quoting.endpoint_store import FAILURES_MAX, Endpoint


class QuoteEndpointIn(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the lot is to be asked. Without a time-out it is the longest that the installation allows."""

    url: Annotated[str, Meta(min_length=1, max_length=URL_LETTERS_MAX)]
    timeout_seconds: float | None = None
    new_secret: bool = False
    """Make another secret; the one before signs as well for a day."""


class QuoteEndpointView(Struct, frozen=True, kw_only=True):
    """Where a lot is asked, and how that fares. ``secret`` is there only when it is new."""

    url: str
    timeout_seconds: float
    state: str
    """``answering``; ``failing``: the last answers were of no use; ``resting``: so many were not that it is asked seldom."""
    failures: int
    """Questions in a row without a usable answer."""
    last_error: str | None
    tried_at: datetime | None
    """When the last of them was asked."""
    overlap_until: datetime | None
    """Until then the secret before signs as well."""
    created_at: datetime
    created_by: str
    changed_at: datetime
    refused: list[Refused]
    """The last quotes that could not be taken, the newest first."""
    secret: str | UnsetType = UNSET


@put(
    "/v1/lots/{lot_code:str}/quote-endpoint",
    sync_to_thread=True,
    status_code=200,
    tags=["lots"],
    summary="Say where the lot is asked for quotes",
    responses={
        200: ResponseSpec(QuoteEndpointView, description="Changed; with a secret only where a new one was wanted"),
        201: ResponseSpec(QuoteEndpointView, description="Entered, with its secret, shown this once"),
    },
)
def put_quote_endpoint(wiring: Wired, caller: Called, lot_code: FromPath[str], body: RawBody) -> Response[bytes]:
    """Let the lot's system be asked what a plate owes while a driver waits: see docs/QUOTES.md. May be repeated."""
    asked = _read(body)
    with wiring.db.connect() as tx:
        _managed(tx, caller, lot_code)
    endpoints.check_url(asked.url, guard=wiring.post().guard)
    most = round(wiring.settings.quote_timeout_seconds * 1000)
    with wiring.db.begin() as tx:
        lot = _managed(tx, caller, lot_code)
        shown = endpoints.enter(
            tx, lane=wiring.lane, lot_id=lot.lot_id, url=asked.url, timeout_ms=_milliseconds(asked.timeout_seconds, most),
            timeout_ms_max=most, new=asked.new_secret, by=caller.client_id, at=wiring.clock.now(), ids=wiring.ids,
            tokens=wiring.link_tokens, vault=wiring.post().vault,
        )  # fmt: skip
        view = _view(tx, wiring.lane, shown.endpoint, secret=UNSET if shown.secret is None else shown.secret)
    return Response(
        msgspec.json.encode(view), status_code=201 if shown.is_new else 200, media_type="application/json",
        headers={"cache-control": "no-store"},
    )  # fmt: skip


@get("/v1/lots/{lot_code:str}/quote-endpoint", sync_to_thread=True, tags=["lots"], summary="Ask where the lot is asked for quotes")
def get_quote_endpoint(wiring: Wired, caller: Called, lot_code: FromPath[str]) -> QuoteEndpointView:
    """Return where the lot is asked, how its answers fare, and which quotes could not be taken."""
    with wiring.db.connect() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        return _view(tx, wiring.lane, endpoints.find(tx, lane=wiring.lane, lot_id=lot.lot_id))


@delete(
    "/v1/lots/{lot_code:str}/quote-endpoint",
    sync_to_thread=True,
    status_code=200,
    tags=["lots"],
    summary="Ask the lot for quotes no more",
)
def delete_quote_endpoint(wiring: Wired, caller: Called, lot_code: FromPath[str]) -> QuoteEndpointView:
    """Ask the lot no more. Prices that it gave stand until they end; charges can be posted as before."""
    with wiring.db.begin() as tx:
        lot = _managed(tx, caller, lot_code)
        ended = endpoints.end(tx, lane=wiring.lane, lot_id=lot.lot_id, at=wiring.clock.now())
        return _view(tx, wiring.lane, ended)


def _read(body: bytes) -> QuoteEndpointIn:
    try:
        return msgspec.json.decode(body, type=QuoteEndpointIn)
    except msgspec.DecodeError as wrong:
        raise Malformed(f"the body does not fit: {wrong}") from None


def _milliseconds(seconds: float | None, most: int) -> int:
    """Return a time-out in milliseconds; what is far outside stays outside."""
    return most if seconds is None else round(max(0.0, min(seconds, 1e6)) * 1000)


def _managed(tx: Connection, caller: Caller, code: str) -> Lot:
    """Return the caller's lot. Raises NotAllowed (``read_only``): supervisors change nothing."""
    if not caller.may_write:
        raise NotAllowed("this client may read, not change", code="read_only")
    return auth.own_lot(tx, caller=caller, code=code)


def _view(tx: Connection, lane: int, endpoint: Endpoint, *, secret: str | UnsetType = UNSET) -> QuoteEndpointView:
    state = "answering" if not endpoint.failures else "resting" if endpoint.failures >= FAILURES_MAX else "failing"
    return QuoteEndpointView(
        url=endpoint.url, timeout_seconds=endpoint.timeout_ms / 1000, state=state, failures=endpoint.failures,
        last_error=endpoint.last_error, tried_at=endpoint.tried_at, overlap_until=endpoint.old_until,
        created_at=endpoint.created_at, created_by=endpoint.created_by, changed_at=endpoint.changed_at,
        refused=asked_quote_store.refusals(tx, lane=lane, lot_id=endpoint.lot_id, limit=REFUSALS_SHOWN), secret=secret,
    )  # fmt: skip


routes: Final = [put_quote_endpoint, get_quote_endpoint, delete_quote_endpoint]
