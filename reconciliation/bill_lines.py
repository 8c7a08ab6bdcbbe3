"""The lines of a bill between reading and keeping: on disk, and there only when the whole file was in order.

Knows neutral lines; must not know a channel's form, nor the database. Called by bills.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, Self

import msgspec

from gateways.contract import BillLine, BillRefused, BillSums
from gateways.spool import Spool
from ledger.money import AMOUNT_FEN_MAX

_BATCH: Final = 1_000
_LENGTH_BYTES: Final = 4
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[BillLine])


class BillLines:
    """All lines of a bill in order, and what they add up to. May be gone through again and again, by one at a time."""

    def __init__(self, spool: Spool, sums: BillSums) -> None:
        self._spool, self.sums = spool, sums

    @classmethod
    def of(cls, lines: Iterable[BillLine]) -> Self:
        """Take lines to their end. What ``lines`` raises there comes through, and nothing is left of them.

        Raises BillRefused ``bill_form`` for what no column can hold and no channel means.
        """
        spool, sums, rest = Spool(), BillSums(), iter(lines)
        while batch := list(islice(rest, _BATCH)):
            for line in batch:
                _check(line)
                sums.add(line)
            packed = _ENCODER.encode(batch)
            spool.write(len(packed).to_bytes(_LENGTH_BYTES) + packed)
        if sums.total_fen < 0 or sums.refund_fen < 0:
            raise BillRefused(f"the bill's payments sum to {sums.total_fen} fen, its refunds to {sums.refund_fen}")
        return cls(spool, sums)

    def __iter__(self) -> Iterator[BillLine]:
        file = self._spool.open()
        while length := file.read(_LENGTH_BYTES):
            yield from _DECODER.decode(file.read(int.from_bytes(length)))


def _check(line: BillLine) -> None:
    if not -AMOUNT_FEN_MAX <= line.amount_fen <= AMOUNT_FEN_MAX or not -AMOUNT_FEN_MAX <= line.fee_fen <= AMOUNT_FEN_MAX:
        raise BillRefused(f"line {line.line} has {line.amount_fen} fen and a fee of {line.fee_fen}: that is no payment")
    if "\0" in line.trade_no or "\0" in line.order_no or "\0" in line.merchant_no or "\0" in (line.refund_no or ""):
        raise BillRefused(f"line {line.line} has a number with a zero character")
