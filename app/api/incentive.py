"""Reports of the recovery incentive over HTTP.

Knows the form of requests and who may see what; must not know how shares come about. Mounted by ``app.api``.
"""

from datetime import date
from typing import Annotated, Final

from litestar import get
from litestar.params import QueryParameter
from msgspec import Struct

from app.auth import Called, Caller
from app.wiring import Wired
from ledger.errors import NotAllowed, Refused
from payments.incentive import reports
from payments.incentive.reports import Row, Viewer

DAYS_MAX: Final = 400


class IncentiveReport(Struct, frozen=True):
    """Shares of recovered debts, in fen, by month, pair of parties and rule; both days are included."""

    since: date
    until: date
    rows: list[Row]


@get("/v1/incentive", sync_to_thread=True, tags=["operators"], summary="Read shares of recovered debts")
def get_incentive(
    wiring: Wired,
    caller: Called,
    since: Annotated[date, QueryParameter(description="First business date (China)")],
    until: Annotated[date, QueryParameter(description="Last business date (China)")],
) -> IncentiveReport:
    """Return what was given, returned, paid and is open between parties, by the business date of the entries.

    An operator sees the lines in which it owes or earns, a district those of its operators and of its bureau, the city all.
    """
    if not 0 <= (until - since).days < DAYS_MAX:
        raise Refused(f"from since to until there are 1 to {DAYS_MAX} days", code="date_invalid")
    with wiring.db.connect() as tx:
        rows = reports.read(tx, lane=wiring.lane, since=since, until=until, viewer=_viewer(caller))
    return IncentiveReport(since, until, rows)


def _viewer(caller: Caller) -> Viewer:
    """Return whose figures a caller may see. Raises NotAllowed (``scope_refused``) for a lot's client."""
    match caller.scope:
        case "city":
            return Viewer()
        case "operator":
            return Viewer(operator_id=caller.operator_id)
        case "district":
            return Viewer(district=caller.district)
        case "lot":
            raise NotAllowed("a lot's client reads no figures of parties; use the operator's", code="scope_refused")
