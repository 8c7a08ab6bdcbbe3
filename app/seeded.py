"""Keys that follow from the seed of a simulation, so that the same seed gives the same signatures, evidence and checkpoint.

Knows number theory only. Never for real money: who knows the seed knows the keys. Called by ``app.keys`` when simulated.
"""

import hashlib
import math
from collections.abc import Iterator
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

_EXPONENT: Final = 65537
_PRIME_BITS: Final = 1024
_ROUNDS: Final = 20
"""Blocks of the stream that a prime takes, one for each base; a number without small divisors that is not prime takes one."""
_ROUNDS_TRIED: Final = 4
"""A number of 1024 bits that passes so many and is no prime is not met by chance; making the key of it tests it again."""
_SMALL: Final = 2_000
"""A number with an odd divisor below this takes no block."""
_LARGER: Final = 1 << 16
"""With a divisor below this it is known to fail with any base that chance gives: the power need not be taken."""


def stream(seed: int, name: str) -> Iterator[bytes]:
    """Yield blocks of 32 bytes that follow from the seed and the name of what they are for."""
    counter = 0
    while True:
        yield hashlib.sha256(f"tongting simulation\n{seed}\n{name}\n{counter}".encode()).digest()
        counter += 1


def secret(seed: int, name: str) -> bytes:
    """Return 32 bytes."""
    return next(stream(seed, name))


def ed25519_key(seed: int, name: str) -> ed25519.Ed25519PrivateKey:
    """Return an Ed25519 key."""
    return ed25519.Ed25519PrivateKey.from_private_bytes(secret(seed, name))


def p256_key(seed: int, name: str) -> ec.EllipticCurvePrivateKey:
    """Return a P-256 key."""
    return ec.derive_private_key(int.from_bytes(secret(seed, name)[:31], "big") + 1, ec.SECP256R1())


def rsa_key(seed: int, name: str) -> rsa.RSAPrivateKey:
    """Return an RSA key of 2048 bits. Takes about a second."""
    blocks = stream(seed, name)
    p, q = _prime(blocks), _prime(blocks)
    d = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p, q=q, d=d, dmp1=d % (p - 1), dmq1=d % (q - 1), iqmp=pow(q, -1, p), public_numbers=rsa.RSAPublicNumbers(_EXPONENT, p * q)
    )
    return numbers.private_key()


def _prime(blocks: Iterator[bytes]) -> int:
    """Return the first prime at or above a number drawn from ``blocks`` whose two top bits are set."""
    start = int.from_bytes(b"".join(next(blocks) for _ in range(_PRIME_BITS // 256)), "big")
    candidate = start | 3 << (_PRIME_BITS - 2) | 1
    while not _is_prime(candidate, blocks) or (candidate - 1) % _EXPONENT == 0:
        candidate += 2
    return candidate


def _is_prime(candidate: int, blocks: Iterator[bytes]) -> bool:
    """Miller and Rabin's test after trial division."""
    if math.gcd(candidate, _product(3, _SMALL)) > 1:
        return False
    if math.gcd(candidate, _product(_SMALL, _LARGER)) > 1:
        next(blocks)
        return False
    odd, twos = candidate - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    if not all(_passes(candidate, odd, twos, 2 + int.from_bytes(next(blocks), "big")) for _ in range(_ROUNDS_TRIED)):
        return False
    for _ in range(_ROUNDS - _ROUNDS_TRIED):
        next(blocks)
    return True


@cache
def _product(low: int, high: int) -> int:
    """Return the product of all odd primes from ``low`` on and below ``high``."""
    composite = bytearray(high)
    for n in range(3, math.isqrt(high) + 1, 2):
        if not composite[n]:
            composite[n * n :: n] = b"\1" * len(range(n * n, high, n))
    return math.prod(n for n in range(low | 1, high, 2) if not composite[n])


def _passes(candidate: int, odd: int, twos: int, base: int) -> bool:
    power = pow(base, odd, candidate)
    if power in (1, candidate - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % candidate
        if power == candidate - 1:
            return True
    return False
