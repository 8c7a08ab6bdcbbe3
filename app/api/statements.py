"""The operator's statement over HTTP.

Knows the form of requests and answers; must not know how statements are read. Mounted by ``app.api``.
"""

from datetime import date
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import FromPath, QueryParameter

from app import auth
from app.auth import Called
from app.wiring import Wired
from ledger.errors import Refused
from reconciliation import statements
from reconciliation.statements import LIMIT_DEFAULT, LIMIT_MAX, Statement

CURSOR_LETTERS_MAX = 200


@get(
    "/v1/operators/{operator_code:str}/statements/{booked_on:str}",
    sync_to_thread=True,
    tags=["operators"],
    summary="Read a day's statement",
)
def get_statement(
    wiring: Wired,
    caller: Called,
    operator_code: FromPath[str],
    booked_on: FromPath[str],
    limit: Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX, description="Lines on a page")] = LIMIT_DEFAULT,
    cursor: Annotated[str | None, QueryParameter(max_length=CURSOR_LETTERS_MAX, description="From the page before")] = None,
) -> Statement:
    """Return what was booked for an operator on a business date (China), read at a seal, page by page.

    All pages of one reading carry the same seal, totals and checkpoint, whatever is booked meanwhile. Another operator's
    statement looks like one that is not there.
    """
    day = _date(booked_on)
    with wiring.db.connect() as tx:
        auth.own_operator_id(tx, caller=caller, code=operator_code)
        of = statements.party(tx, operator_code=operator_code)
        return statements.read(tx, of=of, booked_on=day, cursor=cursor, limit=limit)


def _date(text: str) -> date:
    try:
        return msgspec.convert(text, date)
    except msgspec.ValidationError:
        raise Refused("the date must be written as 2026-03-02", code="date_invalid") from None
