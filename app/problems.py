"""Errors of the API as problem details (RFC 9457). The one place where the error tree meets HTTP status codes.

Knows the error tree and HTTP; must not know how anything failed. Set as the exception handlers of the API's routes.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap
from msgspec import Struct

from ledger.errors import Conflict, NotAllowed, NotFound, Refused, TongtingError, Unavailable

MEDIA_TYPE: Final = "application/problem+json"
TYPES: Final = "https://tongting.example/problems/"
_STATUS: Final = ((NotFound, 404), (Conflict, 409), (NotAllowed, 403), (Refused, 422), (Unavailable, 503))
_log: Final = logging.getLogger("tongting.api")


class Problem(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A problem: ``code`` is stable and for programs, ``detail`` says to a person what to do, ``field`` names what is wrong."""

    type: str
    title: str
    status: int
    code: str
    detail: str | None = None
    field: str | None = None


def problem(status: int, code: str, detail: str | None, *, field: str | None = None) -> Problem:
    """Return a problem; its type is an address that ends in the code, its title the code in words."""
    return Problem(
        type=TYPES + code, title=code.replace("_", " ").capitalize(), status=status, code=code, detail=detail, field=field
    )  # fmt: skip


def answer(found: Problem, *, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """Return a problem as an HTTP answer."""
    return Response(
        msgspec.json.encode(found), status_code=found.status, media_type=MEDIA_TYPE, headers=dict(headers or {})
    )  # fmt: skip


def status_of(error: TongtingError) -> int:
    """Return the HTTP status of an error: 401 for a missing or bad token, else by its branch of the tree."""
    if isinstance(error, NotAllowed) and error.code.startswith("token_"):
        return 401
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def expected(_request: Request[Any, Any, Any], error: TongtingError) -> Response[bytes]:
    status = status_of(error)
    headers = {"www-authenticate": f'Bearer realm="tongting", error="{error.code}"'} if status == 401 else {}
    return answer(problem(status, error.code, str(error)), headers=headers)


def from_http(_request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer what the framework refused: wrong path, method, content."""
    code = {400: "malformed", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "media_type"}
    return answer(problem(error.status_code, code.get(error.status_code, "refused"), error.detail), headers=error.headers)


def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer a defect of ours; what it was stands in the log only."""
    _log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
    return answer(problem(500, "internal", "something went wrong here; try again, and tell us if it stays"))


HANDLERS: Final[ExceptionHandlersMap] = {TongtingError: expected, HTTPException: from_http, Exception: unexpected}
