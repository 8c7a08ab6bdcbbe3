"""SM2 and SM3 give the values that the standards print, and nothing else verifies."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.etc import sm2

# GB/T 32918.5-2017, annex A.2, with the default user id
PRIVATE = "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8"
PUBLIC_X = 0x09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020
PUBLIC_Y = 0xCCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13
IDENTITY = "B2E14C5C79C6DF5B85F4FE7ED8DB7A262B9DA7E07CCB0EA9F4747B8CCDA8A4F3"
NUMBER = 0xF0B43E94BA45ACCAACE692ED534382EB17E6AB5A19CE7B31F4486FDFC0D28640
SECRET = 0x59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21
SIGNATURE = bytes.fromhex(
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)
MESSAGE = b"message digest"
KEY = sm2.private_key(PRIVATE)


def test_sm3_of_the_standards_two_examples() -> None:
    assert sm2.sm3(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert sm2.sm3(b"abcd" * 16).hex() == "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"


def test_every_step_of_the_standards_example() -> None:
    assert (KEY.public.x, KEY.public.y) == (PUBLIC_X, PUBLIC_Y)
    assert sm2.identity_digest(KEY.public, sm2.USER_ID).hex().upper() == IDENTITY
    assert sm2.message_number(KEY.public, MESSAGE, sm2.USER_ID) == NUMBER
    assert KEY.sign_digest(NUMBER, SECRET) == SIGNATURE
    assert KEY.public.verifies(MESSAGE, SIGNATURE)


def test_a_secret_number_that_does_not_serve_gives_no_signature() -> None:
    assert KEY.sign_digest(NUMBER, sm2.N) is None


def test_the_curve_is_the_recommended_one() -> None:
    assert (sm2.G[1] ** 2 - (sm2.G[0] ** 3 + sm2.A * sm2.G[0] + sm2.B)) % sm2.P == 0
    with pytest.raises(ValueError, match="between"):
        sm2.PrivateKey(sm2.N - 1)
    last = sm2.PrivateKey(sm2.N - 2)
    assert last.public.verifies(MESSAGE, last.sign(MESSAGE))


@given(st.integers(1, sm2.N - 2), st.binary(max_size=100), st.integers(0, 511))
@settings(max_examples=15, deadline=None)
def test_a_signature_holds_and_any_other_bit_breaks_it(number: int, message: bytes, bit: int) -> None:
    key = sm2.PrivateKey(number)
    signature = key.sign(message)
    assert key.sign(message) == signature
    assert key.public.verifies(message, signature)
    assert not key.public.verifies(message + b".", signature)
    assert not KEY.public.verifies(message, signature)
    broken = (int.from_bytes(signature, "big") ^ 1 << bit).to_bytes(64, "big")
    assert not key.public.verifies(message, broken)


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        SIGNATURE[:-1],
        SIGNATURE + b"\x00",
        bytes(64),
        bytes(32) + SIGNATURE[32:],
        SIGNATURE[:32] + bytes(32),
        sm2.N.to_bytes(32, "big") + SIGNATURE[32:],
        SIGNATURE[:32] + sm2.N.to_bytes(32, "big"),
        SIGNATURE[:32] + (sm2.N - int.from_bytes(SIGNATURE[:32], "big")).to_bytes(32, "big"),
        b"\xff" * 64,
    ],
)
def test_numbers_outside_their_range_never_verify(signature: bytes) -> None:
    assert not KEY.public.verifies(MESSAGE, signature)


def test_another_user_id_is_another_signature() -> None:
    assert not KEY.public.verifies(MESSAGE, SIGNATURE, user_id=b"ALICE123@YAHOO.COM")


def test_a_public_key_is_read_in_its_three_forms() -> None:
    raw = KEY.public.raw
    spki = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200") + b"\x04" + raw
    assert sm2.public_key(raw) == sm2.public_key(b"\x04" + raw) == sm2.public_key(spki) == KEY.public


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        KEY.public.raw[:-1],
        b"\x03" + KEY.public.raw,
        bytes(64),
        KEY.public.raw[:-1] + b"\x14",
        sm2.P.to_bytes(32, "big") + KEY.public.raw[32:],
    ],
)
def test_what_is_not_a_point_of_the_curve_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a point"):
        sm2.public_key(raw)


@pytest.mark.parametrize("text", ["", PRIVATE[:-1], PRIVATE + "0", "0x" + PRIVATE[2:], "0" * 64, "f" * 64])
def test_what_is_not_a_private_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="SM2 private key"):
        sm2.private_key(text)


def test_a_key_does_not_show_its_number() -> None:
    assert PRIVATE.lower() not in repr(KEY).lower()
