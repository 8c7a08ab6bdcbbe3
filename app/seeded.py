"""Keys that follow from the seed of a simulation, so that the same seed gives the same signatures, evidence and checkpoint.

Knows number theory only. Never for real money: who knows the seed knows the keys. Called by ``app.keys`` when simulated.
"""

import hashlib
from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

_EXPONENT: Final = 65537
_PRIME_BITS: Final = 1024
_ROUNDS: Final = 20
_SMALL_PRIMES: Final = [n for n in range(3, 2000, 2) if all(n % d for d in range(3, int(n**0.5) + 1, 2))]


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
    if any(candidate % small == 0 for small in _SMALL_PRIMES):
        return False
    odd, twos = candidate - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_passes(candidate, odd, twos, 2 + int.from_bytes(next(blocks), "big")) for _ in range(_ROUNDS))


def _passes(candidate: int, odd: int, twos: int, base: int) -> bool:
    power = pow(base, odd, candidate)
    if power in (1, candidate - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % candidate
        if power == candidate - 1:
            return True
    return False
