"""ETC's status lists for lanes: a lot's system pulls what must not be charged, or what changed of it.

Knows the form of requests and answers; must not know how lists are kept or pulled. Mounted by ``app.api``.
"""

import re
from typing import Annotated, Final

import msgspec
from litestar import get
from litestar.params import FromPath, QueryParameter

from app.auth import Called
from app.wiring import Wired
from gateways.etc.services import ListKind
from ledger.errors import NotAllowed, NotFound
from payments.mandates import status_lists
from payments.mandates.status_lists import Changes

_PROVINCE: Final = re.compile(r"[0-9]{2}", re.ASCII)
_VERSION: Final = re.compile(r"[0-9A-Za-z_.\-]{0,32}", re.ASCII)


@get(
    "/v1/etc/status-lists/{kind:str}/{province:str}",
    sync_to_thread=True,
    tags=["lots"],
    summary="Pull a status list of ETC",
)
def get_status_list(
    wiring: Wired,
    caller: Called,
    kind: FromPath[str],
    province: FromPath[str],
    since: Annotated[str, QueryParameter(max_length=32, description="Version that you have; leave it out to get all")] = "",
) -> Changes:
    """Return the cards (``CARD``), units (``OBU``) or plates (``PLATE``) of a province that must not be charged.

    With ``since`` only what was added and removed since that version, when the list had it within 30 days. Else ``full`` is true,
    and what is given replaces what you have. Carry the version in each record of a card, as ``blackVer``. The lists are personal
    data: they are for lanes, and only what is in force may be kept.
    """
    if caller.scope == "district":
        raise NotAllowed("status lists are for lanes: a lot's, an operator's or the city's client pulls them", code="scope_refused")
    known = _kind(kind)
    if known is None or not _PROVINCE.fullmatch(province):
        raise NotFound("this status list is not kept here", code="status_list_not_found")
    version = since if _VERSION.fullmatch(since) else ""
    with wiring.db.connect() as tx:
        return status_lists.changes_since(tx, kind=known, province=province, since=version, at=wiring.clock.now())


def _kind(text: str) -> ListKind | None:
    try:
        kind: ListKind = msgspec.convert(text, ListKind)
    except msgspec.ValidationError:
        return None
    return kind
