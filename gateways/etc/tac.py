"""The transaction authentication code 交易验证码: what the card signs a purchase with.

Knows the bytes and the two algorithms; must not know where keys live. In production only the issuer has a card's key: we check the
form. Called by tests, by the stand-in, and by whoever is given a key. Source: docs/ETC.md, section 4; JR/T 0025.
"""

from datetime import datetime
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

from gateways.etc.codes import ALGORITHM_SM4
from gateways.etc.record import TransactionRecord, compact_time

KEY_BYTES: Final = 16
STEP_BYTES: Final = 8
"""Issuer code and card number each enter a diversification as eight bytes."""
_DES_BLOCK: Final = 8
_SM4_BLOCK: Final = 16
_TAC_BYTES: Final = 4


def tac_data(*, fee_fen: int, trans_type: str, terminal_no: str, terminal_serial: str | None, happened_at: datetime) -> bytes:
    """Return the bytes a TAC covers: amount, type, terminal, serial (None leaves it out), Beijing time in BCD.

    Raises ValueError when a field is not hex, OverflowError for an amount outside four bytes.
    """
    head = fee_fen.to_bytes(4, "big") + bytes.fromhex(trans_type + terminal_no)
    return head + bytes.fromhex(terminal_serial or "") + bytes.fromhex(compact_time(happened_at))


def tac_3des(key: bytes, message: bytes) -> str:
    """Return the TAC with single DES in CBC: the DES key is the left half XOR the right half of the card's TAC key.

    The data is known; that the halves are combined so is the usual rule of PBOC purses [?].
    """
    left, right = _checked_key(key)[:8], key[8:]
    single = bytes(a ^ b for a, b in zip(left, right, strict=True))
    return _last_block(TripleDES(single * 3), message, _DES_BLOCK)


def tac_sm4(key: bytes, message: bytes) -> str:
    """Return the TAC with SM4 in CBC, the key as it is [P]: no public text fixes it."""
    return _last_block(SM4(_checked_key(key)), message, _SM4_BLOCK)


def tac_of(record: TransactionRecord, key: bytes) -> str:
    """Return the TAC that the card with this key makes for a record, upper-case hex.

    With 3DES a credit card's TAC leaves the terminal's serial out; the SM4 profile never does [P].
    Raises ValueError or OverflowError for a record whose form is wrong.
    """
    is_sm4 = record.algorithm == ALGORITHM_SM4
    message = tac_data(
        fee_fen=record.fee_fen,
        trans_type=record.trans_type,
        terminal_no=record.terminal_no,
        terminal_serial=record.terminal_serial if is_sm4 or not record.is_credit else None,
        happened_at=record.happened_at,
    )
    return tac_sm4(key, message) if is_sm4 else tac_3des(key, message)


def card_key(master: bytes, *, issuer: bytes, card_no: bytes) -> bytes:
    """Return a card's TAC key: the master key diversified by the issuer's code, then by the card number (8 bytes each)."""
    return _diversified(_diversified(master, issuer), card_no)


def _diversified(key: bytes, factor: bytes) -> bytes:
    if len(factor) != STEP_BYTES:
        raise ValueError(f"a diversification takes {STEP_BYTES} bytes, not {len(factor)}")
    opposite = bytes(byte ^ 0xFF for byte in factor)
    encryptor = Cipher(TripleDES(_checked_key(key) + key[:8]), modes.ECB()).encryptor()
    return encryptor.update(factor + opposite)


def _last_block(algorithm: CipherAlgorithm, message: bytes, block: int) -> str:
    padded = message + b"\x80"
    padded += bytes(-len(padded) % block)
    encryptor = Cipher(algorithm, modes.CBC(bytes(block))).encryptor()
    return (encryptor.update(padded) + encryptor.finalize())[-block:][:_TAC_BYTES].hex().upper()


def _checked_key(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a TAC key has {KEY_BYTES} bytes, not {len(key)}")
    return key
