"""SM2 signatures over SM3 (GB/T 32918.1, .2 and .5): keys, signing, verifying, on Python's own integers.

Knows the curve and nothing of messages. Called by the envelope. The library that does everything else here has no SM2.

A multiple of a point that comes again is a sum of 32 points of its table. The generator's table is made at first use, a public
key's once ``TABLE_AFTER`` signatures of it have held, for at most ``KEYS_MAX`` keys. A table has 8,192 points (32 windows of
8 bits, half of them the opposites of the other half), takes 1.5 MB, and is made in the time of some ten products without one.
Windows of 6 bits would take a third of the memory and 43 additions, windows of 10 bits three times as much and 26.

Side channels: signing takes the same number of the same steps for every key and message: 32 points, no addition skipped, one
inversion, in coordinates that are scaled by chance each time. (Of all secret numbers two end with a doubling instead; nobody
meets them.) The secret number is derived from key and message, so no random source can betray the key. But which points of the
table are read depends on the secret number, and Python's integers take a time that depends on their values. Use it where nobody
can share the processor's caches or time single signatures on the same machine; with a key that is worth more, sign in a hardware
module instead.
"""

import re
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from threading import Lock
from typing import Final, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from msgspec import Struct

USER_ID: Final = b"1234567812345678"
"""The standard's default distinguishing id; both sides use it."""
SIGNATURE_BYTES: Final = 64
KEYS_MAX: Final = 8
"""As many public keys have a table; one more takes the place of the one that was not used for longest."""
TABLE_AFTER: Final = 8
"""A public key has a table from this many signatures on that held; a wrong signature counts for nothing."""

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
_WINDOW_BITS: Final = 8
_WINDOWS: Final = 256 // _WINDOW_BITS
_ONES: Final = 2**256 - 1
_HALF: Final = (N + 1) // 2
"""One half modulo n."""

Affine = tuple[int, int]
"""A point of the curve, never the one at infinity."""
Table = tuple[tuple[Affine, ...], ...]
"""The multiples (2·digit - 255)·256^window of a point, by window, then by digit from 0 to 255; none is the point at infinity."""


class _Point(NamedTuple):
    """A point as x / zz, y / zzz, where zz³ = zzz²; all four are 0 for the point at infinity."""

    x: int
    y: int
    zz: int
    zzz: int


_INFINITY: Final = _Point(0, 0, 0, 0)


class PublicKey(Struct, frozen=True):
    """A point of the curve. Make it with ``public_key``, which checks that it is one."""

    x: int
    y: int

    @property
    def raw(self) -> bytes:
        """The point's 64 bytes, x then y."""
        return _bytes(self.x) + _bytes(self.y)

    def verifies(self, message: bytes, signature: bytes, *, user_id: bytes = USER_ID) -> bool:
        """Tell whether ``signature`` (r‖s, 64 bytes) is this key's over ``message``.

        Takes some tenths of a millisecond, without a table of the key some milliseconds.
        """
        return len(signature) == SIGNATURE_BYTES and self.verifies_digest(message_number(self, message, user_id), signature)

    def verifies_digest(self, e: int, signature: bytes, *, tables: "KeyTables | None" = None) -> bool:
        """Tell whether ``signature``, 64 bytes, is this key's over the message whose number is ``e``.

        ``tables`` are those of the process unless others are given. Whoever has a message calls ``verifies``.
        """
        known = _TABLES if tables is None else tables
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        t = (r + s) % N
        if not (0 < r < N and 0 < s < N and t):
            return False
        point = _public_multiples(s, t, self, known.of(self))
        holds = bool(point.zz) and any(point.x == x * point.zz % P for x in range((r - e) % N, P, N))
        if holds:
            known.held(self)
        return holds


class PrivateKey:
    """A private key. It never shows its number."""

    def __init__(self, number: int) -> None:
        """Raises ValueError for a number outside 1 … n − 2."""
        if not 0 < number < N - 1:
            raise ValueError("an SM2 private key lies between 1 and n - 2")
        self._number = number
        self._inverse = pow(1 + number, -1, N)
        self.public = PublicKey(*_affine([_secret_multiple(number)])[0])

    def sign(self, message: bytes, *, user_id: bytes = USER_ID) -> bytes:
        """Return the signature r‖s, 64 bytes. The same message gives the same signature.

        The secret number comes from key and message as in RFC 6979, with SM3. Takes some tenths of a millisecond.
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
        point = _secret_multiple(k)
        if not point.zz:
            return None
        r = (e + point.x * pow(point.zz, -1, P) % P) % N
        s = (self._inverse * (k + r) - r) % N  # the standard's (k - r·number) / (1 + number)
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


@lru_cache(maxsize=64)
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


class _Use(Struct):
    """How often signatures of a public key held, and the key's table from then on."""

    times: int = 0
    table: Table | None = None


class KeyTables:
    """The tables of those public keys that are used often, by key. Any number of threads may use it.

    A key is not even noted before a signature of it held, so nobody without a key of the ring makes us make a table.
    """

    def __init__(self, *, keys_max: int = KEYS_MAX, after: int = TABLE_AFTER) -> None:
        self._keys_max, self._after = keys_max, after
        self._uses: OrderedDict[PublicKey, _Use] = OrderedDict()
        self._lock = Lock()

    def of(self, key: PublicKey) -> Table | None:
        """Return the table of a key when it has one."""
        with self._lock:
            if (use := self._uses.get(key)) is None:
                return None
            self._uses.move_to_end(key)
            return use.table

    def held(self, key: PublicKey) -> None:
        """Note that a signature of a key held. After enough of them its table is made, while other threads wait."""
        with self._lock:
            use = self._uses.setdefault(key, _Use())
            self._uses.move_to_end(key)
            use.times += 1
            if use.table is None and use.times >= self._after:
                use.table = _table((key.x, key.y))
            if len(self._uses) > self._keys_max:
                self._uses.popitem(last=False)

    def __len__(self) -> int:
        return len(self._uses)


_TABLES: Final = KeyTables()


@cache
def generator_table() -> Table:
    """Return the generator's table. Threads that ask for it first at the same time may each make it: they are the same."""
    return _table(G)


def _table(point: Affine) -> Table:
    """Return a point's table. All its windows are made together, so that one inversion serves a whole step."""
    doubled = [_Point(*point, 1, 1)]
    while len(doubled) < 256:
        doubled.append(_doubled(doubled[-1]))
    powers = _affine(doubled)
    odd = powers[::_WINDOW_BITS]
    for bit in range(1, _WINDOW_BITS):  # after this step: the odd multiples below 2 << bit, each for every window
        odd += _sums(odd, powers[bit::_WINDOW_BITS] * (len(odd) // _WINDOWS))
    return tuple(_mirrored(odd[window::_WINDOWS]) for window in range(_WINDOWS))


def _mirrored(odd: Sequence[Affine]) -> tuple[Affine, ...]:
    return (*((x, P - y) for x, y in reversed(odd)), *odd)


def _chosen(table: Table, factor: int) -> list[Affine]:
    """Return the 32 points of a table whose sum is the factor's multiple; they are as many for every factor.

    2·digits - (2²⁵⁶ - 1) is the factor modulo n, so the digits are half of factor + 2²⁵⁶ - 1. What the first windows add up to
    is an odd multiple, smaller than the next summand: only in the last addition the two can be the same or opposite, namely for
    the factors ±510·2²⁴⁸ and 0.
    """
    digits = ((factor + _ONES) * _HALF % N).to_bytes(_WINDOWS, "little")
    return [row[digit] for row, digit in zip(table, digits, strict=True)]


def _secret_multiple(factor: int) -> _Point:
    """Multiply the generator by a secret factor, in coordinates that differ each time."""
    (x, y), *others = _chosen(generator_table(), factor)
    scale = secrets.randbelow(P - 1) + 1
    square = scale * scale % P
    cube = scale * square % P
    return _sum(others, _Point(x * square % P, y * cube % P, square, cube))


def _public_multiples(s: int, t: int, key: PublicKey, table: Table | None) -> _Point:
    """Return s·G + t·key; both factors are public. ``table`` is the key's, if it has one."""
    start = _product(t, (key.x, key.y)) if table is None else _sum(_chosen(table, t))
    return _sum(_chosen(generator_table(), s), start)


def _product(factor: int, point: Affine) -> _Point:
    """Multiply a point without a table by a public factor: a doubling for each bit, an addition for every third one.

    The digits are those of 3·factor less those of factor, halved.
    """
    opposite, triple, total = (point[0], P - point[1]), 3 * factor, _INFINITY
    for place in range(triple.bit_length() - 1, 0, -1):
        total = _doubled(total)
        digit = (triple >> place & 1) - (factor >> place & 1)
        if digit:
            total = _sum((point if digit > 0 else opposite,), total)
    return total


def _doubled(point: _Point) -> _Point:
    x, y, zz, zzz = point
    double = 2 * y
    square = double * double % P
    cube = double * square % P
    part = x * square % P
    slope = 3 * (x - zz) * (x + zz) % P  # the curve's a is -3
    new_x = (slope * slope - 2 * part) % P
    return _Point(new_x, (slope * (part - new_x) - cube * y) % P, square * zz % P, cube * zzz % P)


def _sum(points: Iterable[Affine], start: _Point = _INFINITY) -> _Point:
    """Add points to ``start``, one after the other; any of the sums may be the point at infinity."""
    x, y, zz, zzz = start
    for other_x, other_y in points:
        h = (other_x * zz - x) % P
        r = (other_y * zzz - y) % P
        if not h:  # nothing yet, the same point, or its opposite
            other = _Point(other_x, other_y, 1, 1)
            x, y, zz, zzz = other if not zz else _INFINITY if r else _doubled(other)
            continue
        square = h * h % P
        cube = h * square % P
        part = x * square % P
        x = (r * r - cube - 2 * part) % P
        y = (r * (part - x) - y * cube) % P
        zz = zz * square % P
        zzz = zzz * cube % P
    return _Point(x, y, zz, zzz)


def _sums(ones: Sequence[Affine], others: Sequence[Affine]) -> list[Affine]:
    """Add points in pairs; none of the pairs has the same x."""
    made = []
    inverses = _inverses([other[0] - one[0] for one, other in zip(ones, others, strict=True)])
    for one, other, inverse in zip(ones, others, inverses, strict=True):
        slope = (other[1] - one[1]) * inverse % P
        x = (slope * slope - one[0] - other[0]) % P
        made.append((x, (slope * (one[0] - x) - one[1]) % P))
    return made


def _affine(points: Sequence[_Point]) -> list[Affine]:
    """Return points, none of them at infinity, in affine coordinates."""
    made = []
    for point, inverse in zip(points, _inverses([point.zzz for point in points]), strict=True):
        once = point.zz * inverse % P
        made.append((point.x * once * once % P, point.y * inverse % P))
    return made


def _inverses(numbers: Sequence[int]) -> list[int]:
    """Return the inverses modulo p of numbers of which none is 0, by a single inversion (Montgomery's way)."""
    products = [1]
    for number in numbers:
        products.append(products[-1] * number % P)
    inverse = pow(products.pop(), -1, P)
    found = []
    for number, product in zip(reversed(numbers), reversed(products), strict=True):
        found.append(inverse * product % P)
        inverse = inverse * number % P
    return found[::-1]
