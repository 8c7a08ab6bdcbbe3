"""Who may call: client credentials, tokens, and every way in which a token is not one."""

import hashlib
import hmac
import json
from base64 import b64encode, urlsafe_b64encode
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jose import jwt

from app import auth
from app.auth import Caller, Proven
from app.wiring import Wiring
from ledger.clock import SetClock
from ledger.errors import Conflict, NotAllowed
from tests.app.conftest import SECRET, City, Client, bearer, later
from tests.payments.conftest import AT

EVENTS = "/v1/lots/lot-1/events"


@pytest.fixture
def client_id(product: Wiring, two_lots: City) -> str:
    with product.db.begin() as tx:
        client = Caller(client_id="lot-1-system", scope="lot", lot_id=two_lots.ours.lot_id, operator_id=two_lots.ours.operator_id)
        auth.register_client(tx, client=client, at=AT, secret=SECRET)
    return client.client_id


def asked(api: Client, **fields: str) -> Any:
    return api.post("/oauth/token", data={"grant_type": "client_credentials"} | fields)


def test_a_client_gets_a_token_that_opens_its_lot(api: Client, client_id: str) -> None:
    answer = asked(api, client_id=client_id, client_secret=SECRET)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    given = answer.json()
    assert (given["token_type"], given["expires_in"], given["scope"]) == ("Bearer", 1800, "lot")
    assert api.get(EVENTS, headers={"authorization": f"Bearer {given['access_token']}"}).status_code == 200


def test_credentials_may_come_as_http_basic(api: Client, client_id: str) -> None:
    basic = b64encode(f"{client_id}:{SECRET}".encode()).decode()
    answer = api.post("/oauth/token", data={"grant_type": "client_credentials"}, headers={"authorization": f"Basic {basic}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("basic", ["!!", b64encode(b"\xff:\xff").decode(), b64encode(b"nobody:x").decode()])
def test_broken_basic_credentials_are_refused(api: Client, client_id: str, basic: str) -> None:
    answer = api.post("/oauth/token", data={"grant_type": "client_credentials"}, headers={"authorization": f"Basic {basic}"})
    assert (answer.status_code, answer.json()) == (401, {"error": "invalid_client"})


def test_a_wrong_secret_and_an_unknown_client_look_alike(api: Client, client_id: str) -> None:
    wrong = asked(api, client_id=client_id, client_secret="x")
    unknown = asked(api, client_id="nobody", client_secret=SECRET)
    assert (wrong.status_code, wrong.content) == (unknown.status_code, unknown.content) == (401, b'{"error":"invalid_client"}')


def test_another_grant_is_refused(api: Client, client_id: str) -> None:
    answer = api.post("/oauth/token", data={"grant_type": "password", "client_id": client_id, "client_secret": SECRET})
    assert (answer.status_code, answer.json()) == (400, {"error": "unsupported_grant_type"})


def test_a_client_that_was_switched_off_gets_no_token(api: Client, product: Wiring, client_id: str) -> None:
    with product.db.begin() as tx:
        auth.end_client(tx, client_id=client_id, at=AT)
    assert asked(api, client_id=client_id, client_secret=SECRET).status_code == 401


def test_a_client_id_is_given_once(product: Wiring, client_id: str) -> None:
    with product.db.begin() as tx, pytest.raises(Conflict):
        auth.register_client(tx, client=Caller(client_id=client_id, scope="city"), at=AT)


def refused(api: Client, token: str) -> str:
    answer = api.get(EVENTS, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    return str(answer.json()["code"])


def claims(product: Wiring, **other: object) -> dict[str, object]:
    return {
        "iss": product.settings.public_url, "aud": auth.AUDIENCE, "sub": "x", "iat": int(AT.timestamp()),
        "exp": int(AT.timestamp()) + 600, "scope": "city",
    } | other  # fmt: skip


def encoded(product: Wiring, key: ec.EllipticCurvePrivateKey | None = None, kid: str | None = None, **other: object) -> str:
    name = max(product.keys.tokens)
    pem = (key or product.keys.tokens[name]).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return str(jwt.encode(claims(product, **other), pem, algorithm="ES256", headers={"kid": kid or name}))


def test_a_genuine_token_is_taken(api: Client, product: Wiring, two_lots: City) -> None:
    assert api.get(EVENTS, headers={"authorization": f"Bearer {encoded(product)}"}).status_code == 200


def test_no_token_is_asked_for(api: Client, two_lots: City) -> None:
    for header in ({}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer "}):
        answer = api.get(EVENTS, headers=header)
        assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")


def _part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_an_unsigned_token_is_refused(api: Client, product: Wiring, two_lots: City) -> None:
    kid = max(product.keys.tokens)
    for algorithm in ("none", "None", "NONE", ""):
        assert refused(api, f"{_part({'alg': algorithm, 'kid': kid})}.{_part(claims(product))}.") == "token_invalid"


def test_a_token_signed_with_our_public_key_as_a_shared_secret_is_refused(api: Client, product: Wiring, two_lots: City) -> None:
    kid = max(product.keys.tokens)
    pem = product.keys.tokens[kid].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{_part({'alg': 'HS256', 'kid': kid})}.{_part(claims(product))}"
    mac = urlsafe_b64encode(hmac.digest(pem, signed.encode(), hashlib.sha256)).rstrip(b"=").decode()
    assert refused(api, f"{signed}.{mac}") == "token_invalid"


def test_a_token_of_another_key_is_refused(api: Client, product: Wiring, two_lots: City) -> None:
    foreign = ec.generate_private_key(ec.SECP256R1())
    assert refused(api, encoded(product, foreign)) == "token_invalid"
    assert refused(api, encoded(product, foreign, kid="unknown")) == "token_invalid"


@pytest.mark.parametrize(
    "other",
    [
        {"aud": "somebody"},
        {"aud": None},
        {"iss": "http://elsewhere"},
        {"scope": "x"},
        {"exp": "x"},
        {"iat": 4_000_000_000},
        {"sub": None},
    ],
)
def test_a_token_with_wrong_claims_is_refused(api: Client, product: Wiring, two_lots: City, other: dict[str, Any]) -> None:
    assert refused(api, encoded(product, **other)) == "token_invalid"


def test_a_token_expires_by_our_clock(api: Client, product: Wiring, two_lots: City) -> None:
    headers = bearer(product, "city", two_lots.ours)
    assert isinstance(product.clock, SetClock)
    product.clock.set(later(29.9))
    assert api.get(EVENTS, headers=headers).status_code == 200
    product.clock.set(later(30))
    assert api.get(EVENTS, headers=headers).json()["code"] == "token_expired"


@pytest.mark.parametrize("token", ["x", "a.b.c", "..", "x" * 10_000, "é.è.ê"])
def test_what_is_not_a_token_is_refused(api: Client, two_lots: City, token: str) -> None:
    answer = api.get(EVENTS, headers={b"authorization": f"Bearer {token}".encode()})
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


def test_an_older_key_still_verifies_while_tokens_of_it_live(product: Wiring) -> None:
    old, new = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    caller = Caller(client_id="x", scope="city")
    token = auth.signed(caller, keys={"1": old}, issuer="i", at=AT, lifetime=timedelta(minutes=5))
    assert auth.verified(token, keys={"1": old, "2": new}, issuer="i", at=AT) == caller


def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def given(keys: dict[str, ec.EllipticCurvePrivateKey], client_id: str = "x") -> str:
    return auth.signed(Caller(client_id=client_id, scope="city"), keys=keys, issuer="i", at=AT, lifetime=timedelta(minutes=5))


def code_of(token: str, keys: dict[str, ec.EllipticCurvePrivateKey], proven: Proven, *, issuer: str = "i", minutes: int = 0) -> str:
    """Tell how a token is refused, ``taken`` when it is not."""
    try:
        auth.verified(token, keys=keys, issuer=issuer, at=AT + timedelta(minutes=minutes), proven=proven)
    except NotAllowed as refusal:
        return refusal.code
    return "taken"


def test_the_signature_of_a_token_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, proven = {"1": key()}, Proven()
    token = given(keys)
    assert code_of(token, keys, proven) == "taken"
    monkeypatch.setattr(jwt, "decode", None)
    assert [code_of(token, keys, proven) for _ in range(3)] == ["taken"] * 3
    assert code_of(given(keys, "y"), keys, proven) == "token_invalid", "nothing can be checked any more"


def test_a_remembered_token_expires_and_does_not_come_from_the_future() -> None:
    keys, proven = {"1": key()}, Proven()
    token = given(keys)
    assert [code_of(token, keys, proven, minutes=minutes) for minutes in (0, 4, 5, 6, -2, 0)] == [
        "taken", "taken", "token_expired", "token_expired", "token_invalid", "taken",
    ]  # fmt: skip
    assert len(proven) == 1


def test_a_remembered_token_ends_with_its_key() -> None:
    old, new, proven = key(), key(), Proven()
    token = given({"1": old})
    assert code_of(token, {"1": old, "2": new}, proven) == "taken"
    assert code_of(token, {"2": new}, proven) == "token_invalid", "the key was taken away"
    assert code_of(token, {"1": new}, proven) == "token_invalid", "another key came under its name"
    assert code_of(token, {"1": old}, proven, issuer="elsewhere") == "token_invalid"
    assert code_of(token, {"1": old}, proven) == "taken"


def test_what_was_refused_is_not_remembered_and_no_other_spelling_of_a_token_is_taken() -> None:
    keys, proven = {"1": key()}, Proven()
    token = given(keys)
    assert code_of(token, keys, proven) == "taken"
    head, body, signature = token.split(".")
    other = given({"1": key()}).split(".")[2]
    swapped = signature[:-2] + ("A" if signature[-2] != "A" else "B") + signature[-1]
    for tampered in (f"{head}.{body}.{other}", f"{head}.{body}.{swapped}", f"{head}.{body}.", f"{head}.{body}", token[1:]):
        assert [code_of(tampered, keys, proven) for _ in range(2)] == ["token_invalid"] * 2
    assert len(proven) == 1


def test_only_so_many_tokens_are_remembered() -> None:
    keys, proven = {"1": key()}, Proven(most=2)
    tokens = [given(keys, str(number)) for number in range(4)]
    assert [code_of(token, keys, proven) for token in (*tokens, *tokens)] == ["taken"] * 8, "forgotten is checked again"
    assert len(proven) == 2


def test_a_remembered_token_says_of_whom_it_is() -> None:
    keys, proven = {"1": key()}, Proven()
    for client_id in ("a", "b", "a"):
        caller = auth.verified(given(keys, client_id), keys=keys, issuer="i", at=AT, proven=proven)
        assert caller.client_id == client_id


def test_a_token_of_a_client_that_was_switched_off_ends_at_its_time_and_none_follows(
    api: Client, product: Wiring, client_id: str
) -> None:  # fmt: skip
    headers = {"authorization": f"Bearer {asked(api, client_id=client_id, client_secret=SECRET).json()['access_token']}"}
    assert api.get(EVENTS, headers=headers).status_code == 200
    assert isinstance(product.clock, SetClock)
    with product.db.begin() as tx:
        auth.end_client(tx, client_id=client_id, at=product.clock.now())
    assert asked(api, client_id=client_id, client_secret=SECRET).status_code == 401
    product.clock.set(later(30))
    assert api.get(EVENTS, headers=headers).json()["code"] == "token_expired"
