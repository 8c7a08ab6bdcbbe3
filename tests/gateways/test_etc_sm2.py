"""SM2 and SM3 give the values that the standards print and the textbook's slow formulas, and nothing else verifies."""

import random
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from threading import Barrier

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

Point = tuple[int, int] | None
"""A point of the textbook; None is the point at infinity."""


def added(one: Point, other: Point) -> Point:
    """The textbook's sum, GB/T 32918.1, 3.2.3.1."""
    if one is None or other is None:
        return one or other
    if one[0] == other[0] and (one[1] + other[1]) % sm2.P == 0:
        return None
    up, down = (3 * one[0] ** 2 + sm2.A, 2 * one[1]) if one == other else (other[1] - one[1], other[0] - one[0])
    slope = up * pow(down, -1, sm2.P) % sm2.P
    x = (slope**2 - one[0] - other[0]) % sm2.P
    return x, (slope * (one[0] - x) - one[1]) % sm2.P


@cache
def doubled(point: Point) -> tuple[Point, ...]:
    """2^0, 2^1, … 2^255 times a point."""
    powers = [point]
    while len(powers) < 256:
        powers.append(added(powers[-1], powers[-1]))
    return tuple(powers)


def times(factor: int, point: Point) -> Point:
    total: Point = None
    for place, power in enumerate(doubled(point)):
        if factor >> place & 1:
            total = added(total, power)
    return total


def opposite(point: Point) -> Point:
    return None if point is None else (point[0], -point[1] % sm2.P)


def public(point: Point) -> sm2.PublicKey:
    assert point is not None
    return sm2.public_key(point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big"))


def signature(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def factor_of(digits: int) -> int:
    """The factor whose digits in the table are the bytes of a number, the lowest first."""
    return (2 * digits - (2**256 - 1)) % sm2.N


@lru_cache(maxsize=4)
def warm(key: sm2.PublicKey) -> sm2.KeyTables:
    """Tables among which is this key's."""
    tables = sm2.KeyTables(after=1)
    tables.held(key)
    assert tables.of(key) is not None
    return tables


def with_and_without_table(key: sm2.PublicKey, e: int, proof: bytes) -> bool:
    """What a key says of a signature; it must be the same before and after its table is made."""
    cold = sm2.KeyTables(after=2**62)
    said = {key.verifies_digest(e, proof, tables=tables) for tables in (cold, warm(key))}
    assert len(said) == 1
    return said.pop()


# Numbers near both ends, and those whose digits are the lowest and the highest that there are
FACTORS = sorted(
    {1, 2, 3, 4, 5, 255, 256, 257, 2**64, 2**128 - 1, 2**248 - 1, 2**248, 2**255, sm2.N // 2, sm2.N // 2 + 1}
    | {sm2.N - near for near in (1, 2, 3, 4, 255, 256, 257)}
    | {factor_of(digits) for digits in (0, 1, 2, 127, 128, 254, 255, 256, 2**248, sm2.N - 1, sm2.N - 2, (1 << 248) - 1, 255 << 240)}
    | {factor_of(0x7F << 248), factor_of(0x80 << 248), factor_of(int("00ff" * 16, 16)), factor_of(int("fe00" + "ff00" * 15, 16))}
    | {sign * 510 * 2**248 % sm2.N for sign in (1, -1)}  # the last addition is a doubling
)


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


@pytest.mark.parametrize("factor", FACTORS)
def test_multiples_of_the_generator_are_the_textbooks_at_every_edge(factor: int) -> None:
    point = times(factor, sm2.G)
    assert point is not None
    if factor < sm2.N - 1:
        assert sm2.PrivateKey(factor).public == public(point)
    r = (NUMBER + point[0]) % sm2.N
    s = pow(1 + int(PRIVATE, 16), -1, sm2.N) * (factor - r * int(PRIVATE, 16)) % sm2.N
    assert KEY.sign_digest(NUMBER, factor) == signature(r, s)


def test_three_hundred_random_numbers_sign_as_the_textbook_says() -> None:
    chance = random.Random(20260101)
    for _ in range(300):
        number, k, e = chance.randrange(1, sm2.N - 1), chance.randrange(1, sm2.N), chance.randrange(2**256)
        key, point = sm2.PrivateKey(number), times(k, sm2.G)
        assert point is not None
        r = (e + point[0]) % sm2.N
        made = key.sign_digest(e, k)
        assert made == signature(r, pow(1 + number, -1, sm2.N) * (k - r * number) % sm2.N)
        assert key.public.verifies_digest(e, made)
        assert not key.public.verifies_digest(e + 1, made)


def test_sixty_random_sums_are_the_textbooks_with_and_without_a_table() -> None:
    chance = random.Random(20260102)
    for number in range(60):
        r, s, d = (chance.randrange(1, sm2.N) for _ in range(3))
        q = times(d, sm2.G)
        point = added(times(s, sm2.G), times((r + s) % sm2.N, q))
        assert point is not None
        assert with_and_without_table(public(q), r - point[0], signature(r, s))
        assert not with_and_without_table(public(q), r - point[0] + 1 + number, signature(r, s))
        doubled.cache_clear()


@pytest.mark.parametrize("t", FACTORS)
@pytest.mark.parametrize("s", [1, sm2.N - 1, factor_of(0), factor_of(sm2.N - 1), 510 * 2**248 % sm2.N])
@pytest.mark.parametrize("q", [sm2.G, opposite(sm2.G)], ids=["G", "-G"])
def test_the_generator_and_its_opposite_are_keys_like_others(q: Point, s: int, t: int) -> None:
    r = (t - s) % sm2.N
    point = added(times(s, sm2.G), times(t, q))
    if not r:
        assert not with_and_without_table(public(q), 0, signature(r, s))
        return
    if point is None:
        assert (s + t) % sm2.N == 0
        assert not any(with_and_without_table(public(q), e, signature(r, s)) for e in (r, 0, r - 1))
        return
    assert with_and_without_table(public(q), r - point[0], signature(r, s))
    assert not with_and_without_table(public(q), r - point[0] + 1, signature(r, s))


def test_a_sum_that_is_the_point_at_infinity_never_verifies() -> None:
    d, r = int(PRIVATE, 16), 0x1234567890ABCDEF
    s = -r * d * pow(1 + d, -1, sm2.N) % sm2.N
    assert added(times(s, sm2.G), times((r + s) % sm2.N, (PUBLIC_X, PUBLIC_Y))) is None
    for e in (r, 0, 1, NUMBER, r + sm2.N, r - sm2.P):
        assert not with_and_without_table(KEY.public, e, signature(r, s))


@pytest.mark.parametrize(
    ("window", "same"), [(window, same) for window in (0, 1, 2, 16, 30) for same in (False, True)] + [(31, True)]
)
def test_sums_go_on_after_the_point_at_infinity_and_after_a_doubling(window: int, same: bool) -> None:
    """The key is chosen so that its part of the sum meets what the generator's windows add: as its opposite or as the same."""
    s, t = factor_of(0xC3A5 << 200 | 0x5AA5C33C), 0x1F2E3D4C5B6A79880123456789ABCDEF << 96
    digits = (s + 2**256 - 1) * pow(2, -1, sm2.N) % sm2.N
    summands = [(2 * (digits >> 8 * place & 255) - 255) << 8 * place for place in range(window + 1)]
    before, last = sum(summands[:-1]), summands[-1]
    d = (last - before if same else -last - before) * pow(t, -1, sm2.N) % sm2.N  # t·d + before is ± the window's own summand
    q, r = times(d, sm2.G), (t - s) % sm2.N
    point = times((s + t * d) % sm2.N, sm2.G)
    assert point is not None
    assert with_and_without_table(public(q), r - point[0], signature(r, s))
    assert not with_and_without_table(public(q), r - point[0] + 1, signature(r, s))


@pytest.mark.parametrize(
    ("r", "s"), [(0, 7), (sm2.N, 7), (sm2.N + 5, 7), (7, 0), (7, sm2.N), (7, sm2.N + 5), (7, sm2.N - 7), (sm2.N - 7, 7)]
)
def test_what_would_hold_but_for_its_range_is_refused(r: int, s: int) -> None:
    """The number of the message is chosen so that the last equation is true."""
    point = added(times(s % sm2.N, sm2.G), times((r + s) % sm2.N, (PUBLIC_X, PUBLIC_Y)))
    assert point is not None
    assert not with_and_without_table(KEY.public, r - point[0], signature(r, s))


def test_signing_asks_for_another_number_where_the_standard_does() -> None:
    k, d, point = SECRET, int(PRIVATE, 16), times(SECRET, sm2.G)
    assert point is not None
    for r in (0, sm2.N - k, k * pow(d, -1, sm2.N) % sm2.N):  # r = 0, r + k = n, s = 0
        assert KEY.sign_digest((r - point[0]) % sm2.N, k) is None


def test_an_x_beyond_n_is_counted_modulo_n() -> None:
    for x in range(sm2.N, sm2.P):
        square = (x**3 + sm2.A * x + sm2.B) % sm2.P
        y = pow(square, (sm2.P + 1) // 4, sm2.P)
        if y * y % sm2.P == square:
            break
    r, s = 0xABCDEF, 0xFEDCBA987654321
    q = times(pow(r + s, -1, sm2.N), added((x, y), opposite(times(s, sm2.G))))
    assert with_and_without_table(public(q), r - x, signature(r, s))
    assert not with_and_without_table(public(q), r - x + sm2.P - sm2.N, signature(r, s))


def test_a_key_has_its_table_after_signatures_that_held_and_never_after_wrong_ones() -> None:
    tables = sm2.KeyTables(keys_max=2, after=3)
    one, other, third = (sm2.PrivateKey(number) for number in (11, 12, 13))
    proofs = {key.public: key.sign(MESSAGE) for key in (one, other, third)}
    numbers = {key: sm2.message_number(key, MESSAGE, sm2.USER_ID) for key in proofs}

    def verify(key: sm2.PublicKey, count: int) -> None:
        for _ in range(count):
            assert key.verifies_digest(numbers[key], proofs[key], tables=tables)

    for _ in range(10):
        assert not one.public.verifies_digest(numbers[one.public], proofs[other.public], tables=tables)
    assert len(tables) == 0
    verify(one.public, 2)
    assert tables.of(one.public) is None
    verify(one.public, 1)
    verify(other.public, 3)
    assert tables.of(other.public) is not None
    assert tables.of(one.public) is not None  # now the other one was not used for longest
    verify(third.public, 1)
    assert len(tables) == 2
    assert tables.of(other.public) is None
    assert tables.of(one.public) is not None
    verify(other.public, 1)
    verify(third.public, 1)


def test_several_threads_at_once_make_the_same_tables_and_keep_the_bound() -> None:
    keys = [sm2.PrivateKey(number) for number in range(101, 107)]
    made = [(key.public, sm2.message_number(key.public, MESSAGE, sm2.USER_ID), key.sign(MESSAGE)) for key in keys]
    tables, ready = sm2.KeyTables(keys_max=4, after=2), Barrier(8)
    sm2.generator_table.cache_clear()

    def work(turn: int) -> bool:
        ready.wait()
        for n in range(24):
            public_key, e, proof = made[(n // 4 + turn) % len(made)]
            good = public_key.verifies_digest(e, proof, tables=tables)
            bad = public_key.verifies_digest(e ^ 1, proof, tables=tables)
            again = keys[(n + turn) % len(keys)].sign(MESSAGE) == made[(n + turn) % len(keys)][2]
            if not good or bad or not again:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert len(tables) == 4


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
