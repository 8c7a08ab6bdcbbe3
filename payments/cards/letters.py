"""Our own messages to a clearing party whose answers, and ours, are messages of their own: kept until they have arrived.

Knows when a letter goes, again, and when a person must look; must not know a wire: letters are written and posted by others. Called
by whoever holds the line. Source: docs/ETC.md, sections 5 and 7.

A letter is written in the transaction of what it answers, so that neither can be there without the other; it is sent afterwards, by
any number of workers, each letter by one at a time.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from gateways import messages
from gateways.calls import Call
from gateways.etc.jiangsu.session import Letter
from ledger.clock import business_date
from payments import store
from payments.cards import store as cards
from payments.cards.packing import BOOKING_WITHIN, CLAIM
from payments.cards.records import CHANNEL, LetterRow
from payments.checkout import Till
from payments.store import NewCase

TRIES: Final = 3
"""So many tries, ``PAUSE`` apart, then it is a person's task."""
PAUSE: Final = timedelta(seconds=5)
REST: Final = timedelta(hours=1)
"""Before a letter of which a person was told is tried again: when the line is mended nobody has to remember it."""
_ERA_MS: Final = 5_000_000_000_000
"""Added to the milliseconds in a letter's number, so that it is never that of a package, whose milliseconds stay below until 2128;
a number of 20 digits then still fits into the 64 bits that the centre has for it, until 2103."""


class Post(Protocol):
    """The way of letters. Never raises for what the outside does; the outcome says whether the letter arrived."""

    def post(self, letter: Letter, *, subject: UUID, occasion: str) -> Call[bool]: ...


class Posted(Struct, frozen=True):
    """What a run did: how many letters were tried, and how many of them arrived."""

    tried: int
    arrived: int


Write = Callable[[str], bytes]
"""Writes a letter under the number that it is given."""


def number_of(letter_id: UUID) -> str:
    """Return a letter's number: 0, thirteen digits that follow from its millisecond, six from its id. Never used again."""
    return f"0{_ERA_MS + (letter_id.int >> 80):013d}{(letter_id.int >> 8) % 1_000_000:06d}"


def answer(tx: Connection, till: Till, *, answers_no: str, evidence: UUID, write: Write) -> str:
    """Put an answer to a message on the way, within the transaction that carries that message out; returns its number."""
    row = _row(till, "answer", f"answer to {answers_no} {evidence}", write, answers_no=answers_no, evidence_id=evidence)
    assert cards.insert_letter(tx, lane=till.lane, row=row, at=till.clock.now()), "a number is used once"
    return row.number


def ask_for_bookings(till: Till, *, write: Write) -> bool:
    """Ask for booking results again when one has not come in time; at most once a business date. Says whether a letter was made."""
    at = till.clock.now()
    with till.db.begin() as tx:
        if not cards.unbooked(tx, lane=till.lane, before=at - BOOKING_WITHIN):
            return False
        today = business_date(at)
        return cards.insert_letter(tx, lane=till.lane, row=_row(till, "resend", f"resend {today}", write, asked_on=today), at=at)


def run_due(till: Till, post: Post) -> Posted:
    """Send every letter that is due, one after another. May be run by any number of workers at once."""
    tried, arrived = 0, 0
    while (row := _claimed(till)) is not None:
        tried += 1
        arrived += _send(till, post, row)
    return Posted(tried, arrived)


def _row(till: Till, kind: str, name: str, write: Write, **other: object) -> LetterRow:
    letter_id = till.ids.new(till.clock.now(), name)
    number = number_of(letter_id)
    return LetterRow(letter_id=letter_id, number=number, kind=kind, content=write(number), **other)  # type: ignore[arg-type]


def _claimed(till: Till) -> LetterRow | None:
    at = till.clock.now()
    with till.db.begin() as tx:
        return cards.claim_letter(tx, lane=till.lane, at=at, until=at + CLAIM)


def _send(till: Till, post: Post, row: LetterRow) -> bool:
    """Send one claimed letter outside any transaction and write what came of it; says whether it arrived."""
    call = post.post(Letter(row.number, row.content), subject=row.letter_id, occasion=f"letter {row.number} {row.tries}")
    at = till.clock.now()
    due_at = None if call.outcome else at + (PAUSE if row.tries < TRIES else REST)
    with till.db.begin() as tx:
        messages.keep(tx, lane=till.lane, messages=[call.message])
        cards.letter_tried(tx, lane=till.lane, letter_id=row.letter_id, due_at=due_at, reason=call.message.reason, at=at)
        if not call.outcome and row.tries >= TRIES:
            store.open_cases(tx, lane=till.lane, cases=[_case(till, row, call)], at=at)
    return call.outcome


def _case(till: Till, row: LetterRow, call: Call[bool]) -> NewCase:
    what = f"our answer to message {row.answers_no}" if row.kind == "answer" else "our request to send booking results again"
    return NewCase(
        till.ids.new(till.clock.now(), f"case package_waits {row.number}"), "package_waits", CHANNEL, row.number, None, None, None,
        call.message.message_id, f"message {row.number}, {what}: {row.tries} tries, not arrived: {call.message.reason}",
    )  # fmt: skip
