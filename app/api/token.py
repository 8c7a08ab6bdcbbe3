"""The token endpoint (RFC 6749 §4.4): client credentials in the body or as HTTP Basic, a bearer token out.

Knows the form of the request and its errors; must not know how tokens are made. Mounted by ``app.api``.
"""

import binascii
from base64 import b64decode
from typing import Any, Final
from urllib.parse import unquote_plus

import msgspec
from litestar import Request, Response, post
from litestar.params import URLEncodedBody
from msgspec import Struct

from app import auth
from app.wiring import Wired
from ledger.errors import NotAllowed

_NO_STORE: Final = {"cache-control": "no-store"}


class TokenForm(Struct, frozen=True):
    """The form of the request."""

    grant_type: str = ""
    client_id: str = ""
    client_secret: str = ""


@post("/oauth/token", sync_to_thread=True, status_code=200, tags=["access"], summary="Ask for an access token")
def token(request: Request[Any, Any, Any], wiring: Wired, data: URLEncodedBody[TokenForm]) -> Response[bytes]:
    """Give a client a bearer token for its id and secret (``grant_type=client_credentials``)."""
    client_id, secret = _basic(request.headers.get("authorization", "")) or (data.client_id, data.client_secret)
    if data.grant_type != "client_credentials":
        return _refused(400, "unsupported_grant_type")
    try:
        with wiring.db.connect() as tx:
            given = auth.issue(wiring, tx, client_id=client_id, secret=secret)
    except NotAllowed:
        return _refused(401, "invalid_client")
    return Response(msgspec.json.encode(given), media_type="application/json", headers=_NO_STORE)


def _basic(header: str) -> tuple[str, str] | None:
    kind, _, value = header.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        client_id, _, secret = b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote_plus(client_id), unquote_plus(secret)


def _refused(status: int, error: str) -> Response[bytes]:
    headers = _NO_STORE | ({"www-authenticate": 'Basic realm="tongting"'} if status == 401 else {})
    return Response(msgspec.json.encode({"error": error}), status_code=status, media_type="application/json", headers=headers)
