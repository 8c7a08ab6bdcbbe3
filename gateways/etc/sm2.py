"""SM2 signatures over SM3 (GB/T 32918.1, .2 and .5): keys, signing, verifying, on Python's own integers.

Knows the curve and nothing of messages. Called by the envelope. The library that does everything else here has no SM2.

Side channels: signing takes the same number of the same steps for every key and message, and its secret number is derived from key
and message, so no random source can betray the key. Python's integers still take a time that depends on their values. Use it
where nobody can time single signatures on the same machine; with a key that is worth more, sign in a hardware module instead.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from msgspec import Struct

USER_ID: Final = b"1234567812345678"
"""The standard's default distinguishing id; both sides use it."""
SIGNATURE_BYTES: Final = 64

P: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A: Final = P - 3
B: Final = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G: Final = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
"""The recommended curve's generator, affine."""

_SPKI_PREFIX: Final = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200")
_PRIVATE_HEX: Final = re.compile(r"[0-9A-Fa-f]{64}")
_BITS: Final = 257
"""A secret factor is raised to exactly this many bits, so that the ladder always takes as many steps."""


class _Point(NamedTuple):
    """A point in Jacobian coordinates: x / z², y / z³; z = 0 is the point at infinity."""

    x: int
    y: int
    z: int


_INFINITY: Final = _Point(1, 1, 0)
_G: Final = _Point(*G, 1)


class PublicKey(Struct, frozen=True):
    """A point of the curve. Make it with ``public_key``, which checks that it is one."""

    x: int
    y: int

    @property
    def raw(self) -> bytes:
        """The point's 64 bytes, x then y."""
        return _bytes(self.x) + _bytes(self.y)

    def verifies(self, message: bytes, signature: bytes, *, user_id: bytes = USER_ID) -> bool:
        """Tell whether ``signature`` (r‖s, 64 bytes) is this key's over ``message``. Takes some milliseconds."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        t = (r + s) % N
        if not (0 < r < N and 0 < s < N and t):
            return False
        point = _affine(_twofold(s, t, _Point(self.x, self.y, 1)))
        return point is not None and (message_number(self, message, user_id) + point[0]) % N == r


class PrivateKey:
    """A private key. It never shows its number."""

    def __init__(self, number: int) -> None:
        """Raises ValueError for a number outside 1 … n − 2."""
        if not 0 < number < N - 1:
            raise ValueError("an SM2 private key lies between 1 and n - 2")
        self._number = number
        point = _affine(_ladder(number, _G))
        assert point is not None, "no multiple below n of the generator is the point at infinity"
        self.public = PublicKey(*point)

    def sign(self, message: bytes, *, user_id: bytes = USER_ID) -> bytes:
        """Return the signature r‖s, 64 bytes. The same message gives the same signature.

        The secret number comes from key and message as in RFC 6979, with SM3. Takes some milliseconds.
        """
        e = message_number(self.public, message, user_id)
        for k in _secret_numbers(self._number, e):
            if (signature := self.sign_digest(e, k)) is not None:
                return signature
        raise AssertionError("a number that fits comes up")

    def sign_digest(self, e: int, k: int) -> bytes | None:
        """Return the signature with the secret number ``k``, or None when the standard asks for another one.

        For the standard's own examples; everybody else calls ``sign``: a number used twice gives the key away.
        """
        point = _affine(_ladder(k, _G))
        if point is None:
            return None
        r = (e + point[0]) % N
        s = pow(1 + self._number, -1, N) * (k - r * self._number) % N
        return _bytes(r) + _bytes(s) if r and r + k != N and s else None


def public_key(raw: bytes) -> PublicKey:
    """Return a key from 64 bytes x‖y, 65 bytes with 04 before, or a SubjectPublicKeyInfo (DER).

    Raises ValueError for anything else, and for a point that is not on the curve.
    """
    point = raw.removeprefix(_SPKI_PREFIX)
    if len(point) == 65 and point[0] == 4:
        point = point[1:]
    x, y = int.from_bytes(point[:32], "big"), int.from_bytes(point[32:], "big")
    if len(point) != 64 or x >= P or y >= P or (y * y - (x * x * x + A * x + B)) % P:
        raise ValueError("this is not a point of the SM2 curve")
    return PublicKey(x, y)


def private_key(text: str) -> PrivateKey:
    """Return a key from its 64 hex digits. Raises ValueError for anything else."""
    if _PRIVATE_HEX.fullmatch(text.strip()) is None:
        raise ValueError("an SM2 private key has 64 hex digits")
    return PrivateKey(int(text, 16))


def sm3(message: bytes) -> bytes:
    """Return the SM3 digest (GB/T 32905), 32 bytes."""
    digest = hashes.Hash(hashes.SM3())
    digest.update(message)
    return digest.finalize()


def identity_digest(key: PublicKey, user_id: bytes) -> bytes:
    """Return Z, which binds a signature to id, curve and key."""
    curve = b"".join(_bytes(number) for number in (A, B, *G))
    return sm3((len(user_id) * 8).to_bytes(2, "big") + user_id + curve + key.raw)


def message_number(key: PublicKey, message: bytes, user_id: bytes) -> int:
    """Return e, the number that is signed: SM3 of Z and the message."""
    return int.from_bytes(sm3(identity_digest(key, user_id) + message), "big")


def _secret_numbers(private: int, e: int) -> Iterator[int]:
    """Yield the secret numbers of RFC 6979, section 3.2, with HMAC-SM3."""
    seed = _bytes(private) + _bytes(e % N)
    key, value = bytes(32), b"\x01" * 32
    for mark in (b"\x00", b"\x01"):
        key = _hmac(key, value + mark + seed)
        value = _hmac(key, value)
    while True:
        value = _hmac(key, value)
        if 0 < (number := int.from_bytes(value, "big")) < N:
            yield number
        key = _hmac(key, value + b"\x00")
        value = _hmac(key, value)


def _hmac(key: bytes, message: bytes) -> bytes:
    code = HMAC(key, hashes.SM3())
    code.update(message)
    return code.finalize()


def _bytes(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _doubled(point: _Point) -> _Point:
    x, y, z = point
    square = y * y % P
    delta = z * z % P
    four = 4 * x * square % P
    slope = 3 * (x - delta) * (x + delta) % P  # the curve's a is -3
    new_x = (slope * slope - 2 * four) % P
    new_y = (slope * (four - new_x) - 8 * square * square) % P
    return _Point(new_x, new_y, 2 * y * z % P)


def _sum(one: _Point, other: _Point) -> _Point:
    if not one.z:
        return other
    if not other.z:
        return one
    z_one, z_other = one.z * one.z % P, other.z * other.z % P
    u_one, u_other = one.x * z_other % P, other.x * z_one % P
    s_one, s_other = one.y * z_other * other.z % P, other.y * z_one * one.z % P
    if u_one == u_other:
        return _doubled(one) if s_one == s_other else _INFINITY
    h, r = u_other - u_one, s_other - s_one
    h_square = h * h % P
    h_cube = h * h_square % P
    part = u_one * h_square % P
    new_x = (r * r - h_cube - 2 * part) % P
    return _Point(new_x, (r * (part - new_x) - s_one * h_cube) % P, h * one.z * other.z % P)


def _ladder(factor: int, point: _Point) -> _Point:
    """Multiply by a secret factor: one addition and one doubling for each of always the same number of bits."""
    factor += N
    if factor.bit_length() < _BITS:
        factor += N
    low, high = point, _doubled(point)
    for place in range(factor.bit_length() - 2, -1, -1):
        both = _sum(low, high)
        if factor >> place & 1:
            low, high = both, _doubled(high)
        else:
            low, high = _doubled(low), both
    return low


def _twofold(s: int, t: int, point: _Point) -> _Point:
    """Return s·G + t·point; both factors are public."""
    both = _sum(_G, point)
    result = _INFINITY
    for place in range(max(s.bit_length(), t.bit_length()) - 1, -1, -1):
        result = _doubled(result)
        bits = (s >> place & 1, t >> place & 1)
        if bits != (0, 0):
            result = _sum(result, both if bits == (1, 1) else _G if bits == (1, 0) else point)
    return result


def _affine(point: _Point) -> tuple[int, int] | None:
    if not point.z:
        return None
    inverse = pow(point.z, -1, P)
    square = inverse * inverse % P
    return point.x * square % P, point.y * square * inverse % P
