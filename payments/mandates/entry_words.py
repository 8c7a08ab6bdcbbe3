"""What channels say later of cars that they were told of: whether the plate may be deducted now.

Knows entrances and the words about them; must not know any channel's wire, routes or money. Called by the applier alone; the
numbers of entrances are written here too.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from gateways.contract import EntryTold
from ledger.ids import payment_number, read_payment_number
from payments.mandates import deduction_store
from payments.mandates.deduction_store import HeldWord, Word


class Finding(StrEnum):
    """What a word about a car turned out to be, in order of precedence."""

    ELSEWHERE = "entrance_elsewhere"
    """The entrance is of another lane, whose writer has not seen this: refused, so that it comes again."""
    UNKNOWN = "entrance_unknown"
    """We never told of such a car. We keep an entrance before any channel hears of it, so no repeat will ever find it: it is kept
    and acknowledged. Nothing else would follow from it, because nothing is deducted without an entrance."""
    UNTOLD = "entrance_untold"
    """The channel's answer to our own call is not kept yet: refused, and soon it comes again."""
    MERCHANT_DIFFERS = "merchant_differs"
    """The channel was told of the car in another merchant's name: refused, nothing follows."""
    ENTRY_DIFFERS = "entry_differs"
    """The channel's own number of it is another one than it gave us: refused, nothing follows."""
    OLDER = "entry_older"
    """A newer word is known: acknowledged, nothing follows."""
    ALREADY = "entry_already"
    """It is known: acknowledged, nothing follows."""
    APPLIED = "entry_applied"
    """From now on this is the channel's word about the plate."""


ACCEPTED: Final = frozenset({Finding.UNKNOWN, Finding.OLDER, Finding.ALREADY, Finding.APPLIED})
"""Findings that are acknowledged to the channel."""
_WORTH_A_REASON: Final = frozenset(Finding) - {Finding.ALREADY, Finding.APPLIED}


class Outcome(Struct, frozen=True):
    """What became of one word. ``reason`` is kept with the message when nothing followed from it."""

    finding: Finding
    entrance_id: UUID | None = None

    @property
    def accepted(self) -> bool:
        """The channel gets its positive answer once the transaction has committed."""
        return self.finding in ACCEPTED

    @property
    def reason(self) -> str | None:
        return self.finding.value if self.finding in _WORTH_A_REASON else None


def entrance_number(lane: int, entrance_id: UUID) -> str:
    """Return the 28 characters (A–Z, 0–9) that channels know an entrance by: E, the lane, the id."""
    return "E" + payment_number(lane, entrance_id)[1:]


def read_entrance_number(number: str) -> tuple[int, UUID] | None:
    """Return lane and id of an entrance's number, or None when it is not one of ours."""
    return read_payment_number("P" + number[1:]) if number[:1] == "E" else None


def carry_out(tx: Connection, *, lane: int, channels: Sequence[str], told: Sequence[EntryTold]) -> list[Outcome]:
    """Keep what channels say of cars: an older word never overtakes a newer one, and a repeat changes nothing.

    Locks the words about the entrances that are named, in the order of their ids, and nothing else. That the message is addressed
    to us has been seen by its adapter, which knows the provider; the merchant is compared here with whom the car was told for.

    Args:
        channels: Who says it, one per word.
        told: The words. Times are the channel's, of whole seconds: within one second the word that comes last counts.

    Returns:
        One outcome per word, in order.
    """
    named = [read_entrance_number(one.entrance_no) for one in told]
    wanted = sorted({found[1] for found in named if found is not None and found[0] == lane})
    held = deduction_store.hold_words(tx, lane=lane, entrance_ids=wanted)
    known = deduction_store.known_entrances(tx, lane=lane, entrance_ids=wanted)
    outcomes = []
    for channel, one, found in zip(channels, told, named, strict=True):
        if found is None or found[0] != lane:
            outcomes.append(Outcome(Finding.UNKNOWN if found is None else Finding.ELSEWHERE))
            continue
        said = [word for word in held.get(found[1], []) if word.channel == channel]
        outcomes.append(_carried_out(tx, lane, found[1], said, one) if found[1] in known else Outcome(Finding.UNKNOWN))
    return outcomes


def _carried_out(tx: Connection, lane: int, entrance_id: UUID, said: list[HeldWord], told: EntryTold) -> Outcome:
    """Decide about one word, write it down, and remember it for the next one about the same car."""
    finding, held = _decide(said, told)
    if finding is Finding.APPLIED:
        assert held is not None
        word = Word(
            channel=held.channel, merchant_no=held.merchant_no, entry_no=told.entry_no, state=told.state, word=told.word
        )  # fmt: skip
        deduction_store.put_word(tx, lane=lane, entrance_id=entrance_id, word=word, at=told.happened_at)
        held.entry_no, held.state, held.word, held.told_at = told.entry_no, told.state, told.word, told.happened_at
    return Outcome(finding, entrance_id)


def _decide(said: list[HeldWord], told: EntryTold) -> tuple[Finding, HeldWord | None]:
    """Say what a word means, given what the channel said of the car before; the first line that fits counts.

    A word of the same second is not older: our own call is timed by our clock to the microsecond, the channel's word by the second.
    """
    if not said:
        return Finding.UNTOLD, None
    held = next((word for word in said if word.merchant_no == told.merchant_no), None)
    if held is None:
        return Finding.MERCHANT_DIFFERS, None
    if held.entry_no not in (None, told.entry_no):
        return Finding.ENTRY_DIFFERS, None
    if held.state != "unknown" and _second(told.happened_at) < _second(held.told_at):
        return Finding.OLDER, None
    same = (held.entry_no, held.state, held.word, held.told_at) == (told.entry_no, told.state, told.word, told.happened_at)
    return (Finding.ALREADY if same else Finding.APPLIED), held


def _second(at: datetime) -> datetime:
    return at.replace(microsecond=0)
