"""Who may call the API: OAuth 2 client credentials in, short-lived ES256 tokens out, and what a caller may see.

The only module that touches python-jose. Knows clients, keys and the clock; must not know what the API does. Called by ``app.api``.
Source: RFC 6749 §4.4 (client credentials), RFC 9068 (claims), RFC 8725 (pinned algorithm, audience, issuer).
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jose import jwt
from jose.exceptions import JOSEError
from litestar import Request
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Struct
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from app.wiring import Wired, Wiring
from ledger.errors import Conflict, NotAllowed, NotFound
from payments.lots import Lot, lot_by_code

ALGORITHM: Final = "ES256"
AUDIENCE: Final = "tongting-api"
SECRET_BYTES: Final = 32
TOKEN_LETTERS_MAX: Final = 4_096
PROVEN_MAX: Final = 8_192
"""Tokens whose signature one process remembers: more than a city's lots hold at a time."""
_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}
_NOBODY: Final = bytes(16)

Scope = Literal["lot", "operator", "district", "city"]
"""What a client may see: one lot, all lots of one operator, all lots of a district (read only), everything (read only)."""


class Caller(Struct, frozen=True, kw_only=True):
    """Who calls, as proven by a token."""

    client_id: str
    scope: Scope
    lot_id: int | None = None
    operator_id: int | None = None
    district: str | None = None

    def sees(self, lot: Lot) -> bool:
        """Tell whether a lot lies in the caller's scope."""
        match self.scope:
            case "lot":
                return lot.lot_id == self.lot_id
            case "operator":
                return lot.operator_id == self.operator_id
            case "district":
                return lot.district == self.district
            case "city":
                return True

    @property
    def may_write(self) -> bool:
        """Supervisors read; only a lot's or an operator's own systems post."""
        return self.scope in ("lot", "operator")


class Shop(Struct, frozen=True, kw_only=True):
    """A merchant that calls, as proven by a token. It is no ``Caller``: it may give its discounts and nothing else."""

    client_id: str
    merchant_id: UUID


Called = NamedDependency[SkipValidation[Caller]]
"""How a handler asks who calls: a parameter ``caller: Called``."""
CalledByShop = NamedDependency[SkipValidation[Shop]]
"""How a handler for merchants asks which one calls: a parameter ``shop: CalledByShop``."""


class AccessToken(Struct, frozen=True):
    """The answer of the token endpoint (RFC 6749 §5.1)."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    scope: str


class _Claims(Struct, frozen=True):
    """Claims of a token, as we write them. Times are seconds since 1970."""

    iss: str
    aud: str
    sub: str
    iat: int
    exp: int
    scope: Scope | Literal["merchant"]
    lot_id: int | None = None
    operator_id: int | None = None
    district: str | None = None
    merchant_id: UUID | None = None


class _Proof(Struct, frozen=True):
    """A token whose signature is right: by which key, and what it says. Whether it counts now is judged at each call."""

    kid: str
    key: EllipticCurvePrivateKey
    """The key itself: another one of the same name, or none any more, and the proof is void."""
    issuer: str
    claims: _Claims


class Proven:
    """Tokens whose signature was checked already, for checking one costs more than most answers. For many threads.

    Kept by the SHA-256 of the whole token, so that no token lies here to be stolen and every other spelling is checked by itself.
    What was refused is not kept: strangers cannot fill it. The first in is the first out, which is the one that expires first.
    """

    def __init__(self, most: int = PROVEN_MAX) -> None:
        self._most = most
        self._proofs: dict[bytes, _Proof] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._proofs)

    def claims(self, token: str, keys: Mapping[str, EllipticCurvePrivateKey], issuer: str) -> _Claims:
        """Return what a token says that one of ``keys``, as they are now, has signed. Raises NotAllowed (``token_invalid``)."""
        if len(token) > TOKEN_LETTERS_MAX:
            raise NotAllowed("this is not a token of ours", code="token_invalid")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._proofs.get(digest)
        if known is not None and keys.get(known.kid) is known.key and known.issuer == issuer:
            return known.claims
        proof = _proof(token, keys, issuer)
        with self._lock:
            self._proofs.pop(digest, None)
            while len(self._proofs) >= self._most:
                del self._proofs[next(iter(self._proofs))]
            self._proofs[digest] = proof
        return proof.claims


_PROVEN: Final = Proven()


def register_client(tx: Connection, *, client: Caller, at: datetime, secret: str | None = None) -> str:
    """Let a machine ask for tokens; returns its secret, which is stored only as a digest. ``secret`` sets it instead.

    Raises:
        Conflict: ``client_taken``, the client id is in use.
    """
    chosen = secret or secrets.token_urlsafe(SECRET_BYTES)
    salt = secrets.token_bytes(16)
    insert = text("""
        insert into access.client (client_id, secret_digest, salt, scope, lot_id, operator_id, district, created_at)
        values (:client_id, :digest, :salt, :scope, :lot_id, :operator_id, :district, :at)
        """)
    try:
        with tx.begin_nested():
            tx.execute(insert, msgspec.structs.asdict(client) | {"digest": _digest(chosen, salt), "salt": salt, "at": at})
    except IntegrityError as taken:
        raise Conflict(f"there is a client {client.client_id!r} already", code="client_taken") from taken
    return chosen


def register_shop(tx: Connection, *, shop: Shop, at: datetime) -> str:
    """Let a merchant's machine ask for tokens; returns its secret, which is stored only as a digest.

    Raises:
        Conflict: ``client_taken``, the client id is in use.
    """
    chosen, salt = secrets.token_urlsafe(SECRET_BYTES), secrets.token_bytes(16)
    made = tx.execute(
        text("""
        insert into access.client (client_id, secret_digest, salt, scope, merchant_id, created_at)
        values (:client_id, :digest, :salt, 'merchant', :merchant_id, :at) on conflict (client_id) do nothing returning 1
        """),
        {
            "client_id": shop.client_id, "merchant_id": shop.merchant_id, "digest": _digest(chosen, salt), "salt": salt, "at": at,
        },
    ).first()  # fmt: skip
    if made is None:
        raise Conflict(f"there is a client {shop.client_id!r} already", code="client_taken")
    return chosen


def shops(tx: Connection, *, merchant_id: UUID) -> list[str]:
    """Return the clients of a merchant that are not ended."""
    query = text("select client_id from access.client where merchant_id = :id and ended_at is null order by client_id")
    return list(tx.execute(query, {"id": merchant_id}).scalars())


def end_client(tx: Connection, *, client_id: str, at: datetime) -> None:
    """Switch a client off: it gets no more tokens; those it has end by themselves within minutes."""
    tx.execute(
        text("update access.client set ended_at = :at where client_id = :id and ended_at is null"), {"id": client_id, "at": at}
    )  # fmt: skip


def issue(wiring: Wiring, tx: Connection, *, client_id: str, secret: str) -> AccessToken:
    """Give a client a token. A wrong secret, an unknown and an ended client look alike and take equally long.

    Raises:
        NotAllowed: ``invalid_client``.
    """
    row = tx.execute(
        text("""
        select client_id, scope, lot_id, operator_id, district, merchant_id, secret_digest, salt
        from access.client where client_id = :id and (ended_at is null or ended_at > :now)
        """),
        {"id": client_id, "now": wiring.clock.now()},
    ).first()
    digest = _digest(secret, _NOBODY if row is None else row.salt)
    if row is None or not hmac.compare_digest(digest, row.secret_digest):
        raise NotAllowed("client id or secret is wrong", code="invalid_client")
    caller: Caller | Shop
    if row.scope == "merchant":
        caller = Shop(client_id=row.client_id, merchant_id=row.merchant_id)
    else:
        caller = Caller(
            client_id=row.client_id, scope=row.scope, lot_id=row.lot_id, operator_id=row.operator_id, district=row.district
        )  # fmt: skip
    lifetime = timedelta(minutes=wiring.settings.token_minutes)
    token = signed(caller, keys=wiring.keys.tokens, issuer=wiring.settings.public_url, at=wiring.clock.now(), lifetime=lifetime)
    return AccessToken(token, "Bearer", int(lifetime.total_seconds()), row.scope)


def signed(
    caller: Caller | Shop, *, keys: Mapping[str, EllipticCurvePrivateKey], issuer: str, at: datetime, lifetime: timedelta
) -> str:  # fmt: skip
    """Return a token that proves ``caller``, signed with the newest key."""
    name = max(keys)
    said = {"scope": "merchant"} if isinstance(caller, Shop) else {}
    said |= {field: value for field, value in msgspec.to_builtins(caller).items() if field != "client_id"}
    claims = {
        "iss": issuer, "aud": AUDIENCE, "sub": caller.client_id, "iat": int(at.timestamp()),
        "exp": int((at + lifetime).timestamp()),
    } | said  # fmt: skip
    pem = keys[name].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return str(jwt.encode(claims, pem, algorithm=ALGORITHM, headers={"kid": name}))


def verified(
    token: str, *, keys: Mapping[str, EllipticCurvePrivateKey], issuer: str, at: datetime, proven: Proven = _PROVEN
) -> Caller:  # fmt: skip
    """Return who a token proves. The algorithm is ours to choose, never the token's; times are judged by ``at``.

    The signature is checked once for a token and a key (``proven`` remembers it), everything else at each call.

    Raises:
        NotAllowed: ``token_invalid``, ``token_expired``; ``scope_refused``: a merchant's token, which is good for its own routes.
    """
    claims = _current(token, keys, issuer, at, proven)
    if claims.scope == "merchant":
        raise NotAllowed("a merchant's client may give and withdraw validations, nothing else", code="scope_refused")
    return Caller(
        client_id=claims.sub, scope=claims.scope, lot_id=claims.lot_id, operator_id=claims.operator_id, district=claims.district
    )  # fmt: skip


def verified_shop(
    token: str, *, keys: Mapping[str, EllipticCurvePrivateKey], issuer: str, at: datetime, proven: Proven = _PROVEN
) -> Shop:  # fmt: skip
    """Return which merchant's client a token proves, as ``verified`` does of others.

    Raises:
        NotAllowed: ``token_invalid``, ``token_expired``, ``scope_refused``: it is no merchant's token.
    """
    claims = _current(token, keys, issuer, at, proven)
    if claims.scope != "merchant" or claims.merchant_id is None:
        raise NotAllowed("this is for merchants' clients; a lot's own system posts validations to its lot", code="scope_refused")
    return Shop(client_id=claims.sub, merchant_id=claims.merchant_id)


def _current(
    token: str, keys: Mapping[str, EllipticCurvePrivateKey], issuer: str, at: datetime, proven: Proven
) -> _Claims:  # fmt: skip
    claims = proven.claims(token, keys, issuer)
    now = int(at.timestamp())
    if now >= claims.exp:
        raise NotAllowed("the token has expired; ask for a new one", code="token_expired")
    if claims.iat > now + 60:
        raise NotAllowed("the token comes from the future", code="token_invalid")
    return claims


def _proof(token: str, keys: Mapping[str, EllipticCurvePrivateKey], issuer: str) -> _Proof:
    """Check a token's signature, audience and issuer."""
    try:
        header = jwt.get_unverified_header(token)
        kid = header["kid"]
        key = keys[kid]
        if header.get("alg") != ALGORITHM:
            raise NotAllowed(f"tokens are signed with {ALGORITHM} only", code="token_invalid")
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_at_hash": False}
        claims = jwt.decode(token, public, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=issuer, options=options)
        return _Proof(kid, key, issuer, msgspec.convert(claims, _Claims))
    except (JOSEError, KeyError, TypeError, ValueError, msgspec.ValidationError):
        raise NotAllowed("this is not a token of ours", code="token_invalid") from None


def authenticate(request: Request[Any, Any, Any], wiring: Wired) -> Caller:
    """Return who calls, by the bearer token of a request.

    Raises:
        NotAllowed: ``token_missing``, ``token_invalid``, ``token_expired``.
    """
    token = _bearer(request)
    return verified(token, keys=wiring.keys.tokens, issuer=wiring.settings.public_url, at=wiring.clock.now())


def authenticate_shop(request: Request[Any, Any, Any], wiring: Wired) -> Shop:
    """Return which merchant calls, by the bearer token of a request.

    Raises:
        NotAllowed: ``token_missing``, ``token_invalid``, ``token_expired``, ``scope_refused``.
    """
    token = _bearer(request)
    return verified_shop(token, keys=wiring.keys.tokens, issuer=wiring.settings.public_url, at=wiring.clock.now())


def _bearer(request: Request[Any, Any, Any]) -> str:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise NotAllowed("this needs a token: POST /oauth/token, then Authorization: Bearer ...", code="token_missing")
    return token.strip()


def own_lot(tx: Connection, *, caller: Caller, code: str) -> Lot:
    """Return a lot that the caller may see. Raises NotFound: not-yours looks exactly like not-there."""
    try:
        lot = lot_by_code(tx, code=code)
    except NotFound:
        lot = None
    return seen_lot(lot, caller=caller, code=code)


def seen_lot(lot: Lot | None, *, caller: Caller, code: str) -> Lot:
    """Return what was found under a lot's code, if the caller may see it. Raises NotFound as ``own_lot`` does."""
    if lot is None or not caller.sees(lot):
        raise NotFound(f"there is no lot {code}", code="lot_not_found")
    return lot


def own_operator_id(tx: Connection, *, caller: Caller, code: str) -> int:
    """Return the number of an operator whose figures the caller may see. Raises NotFound as ``own_lot`` does."""
    row = tx.execute(text("select operator_id, district from payments.v_operator where code = :code"), {"code": code}).first()
    mine = row is not None and (
        caller.scope == "city"
        or (caller.scope == "operator" and row.operator_id == caller.operator_id)
        or (caller.scope == "district" and row.district == caller.district)
    )
    if row is None or not mine:
        raise NotFound(f"there is no operator {code}", code="operator_not_found")
    return int(row.operator_id)


def _digest(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, **_SCRYPT)
