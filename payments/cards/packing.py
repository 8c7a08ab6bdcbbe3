"""Pack records and send packages: timed work, claimed in the database, so that any number of workers does it once.

Knows records, packages and the states of a package; must not know a wire: packages leave by an uplink. Called by the worker and the
simulation. Source: docs/ETC.md, sections 7 and 9.
"""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from gateways import messages
from gateways.calls import Call
from gateways.contract import RawMessage
from gateways.etc import state
from gateways.etc.clearing import Package
from gateways.etc.record import TransactionRecord
from gateways.etc.state import ChargeState, Event, Step, Task
from gateways.etc.uploads import AWAITED, NOT_ARRIVED, UploadOutcome
from ledger.clock import business_date
from payments import store
from payments.cards import store as cards
from payments.cards.packages import number_of, package_of, record_of
from payments.cards.records import CHANNEL, CardRow, PackageRow
from payments.checkout import Till
from payments.store import NewCase

PACK_AFTER: Final = timedelta(minutes=15)
"""A record waits at most so long for others of its issuer."""
PACKED_AT_ONCE: Final = 20_000
CLAIM: Final = timedelta(minutes=2)
PAUSES: Final = tuple(timedelta(seconds=seconds) for seconds in (5, 5, 60, 300, 900, 1_800, 3_600))
"""Before the same package goes again; the last one repeats."""
MENDING: Final = timedelta(minutes=10)
"""Before a package that only a person's work on keys or clock helps is tried again."""
AWAITED_AGAIN: Final = timedelta(minutes=10)
"""Before a package that arrived, and whose receipt is still to come in a message of its own, goes again. The texts name no time for
it: this is long enough for a receipt that is late, and as short as the interval at which packages go; a package that was taken is
answered as repeated, which does no harm but costs a person a look. Once a person is told, it goes again after the last pause."""
WAITS_AFTER: Final = 6
"""Tries without an answer after which a person is told; it goes on all the same."""
NOT_ARRIVED_AFTER: Final = 3
"""The same, for tries of which nobody knows that they arrived at all: three were seen, five seconds apart, then a person's task."""
BOOKING_WITHIN: Final = timedelta(hours=24)
"""A booking result that has not come by then is a person's case: only the clearing party can send it again."""


class Uplink(Protocol):
    """The way to the clearing party. ``send`` never raises for what the outside does."""

    charges_max: int

    def heap(self, record: TransactionRecord) -> str: ...

    def send(self, package: Package, *, subject: UUID, occasion: str) -> Call[UploadOutcome]: ...


class Sent(Struct, frozen=True):
    """What a run did: packages made, calls made, and how many of them were answered with a receipt."""

    packed: int
    called: int
    answered: int


def run_due(till: Till, uplink: Uplink, *, pack_after: timedelta = PACK_AFTER) -> Sent:
    """Pack what has waited long enough and send every package that is due. May be run by any number of workers at once."""
    packed, called, answered = pack(till, uplink, pack_after=pack_after), 0, 0
    while claimed := _claimed(till):
        called += 1
        answered += _send(till, uplink, claimed)
    _tell_unbooked(till)
    return Sent(packed, called, answered)


def pack(till: Till, uplink: Uplink, *, pack_after: timedelta = PACK_AFTER) -> int:
    """Put records into packages: of each issuer those that have waited ``pack_after``, or as soon as a package is full."""
    at = till.clock.now()
    with till.db.begin() as tx:
        heaps: dict[tuple[str, ...], list[tuple[CardRow, datetime]]] = defaultdict(list)
        for row, came_at in cards.lock_new(tx, lane=till.lane, limit=PACKED_AT_ONCE):
            heaps[row.service_no, row.issuer_no, uplink.heap(record_of(row))].append((row, came_at))
        made, places = _packages(till, heaps, uplink.charges_max, at, pack_after)
        if made:
            cards.insert_packages(tx, lane=till.lane, rows=made, at=at)
            cards.put_into(tx, lane=till.lane, places=places)
    return len(made)


def _packages(
    till: Till, heaps: dict[tuple[str, ...], list[tuple[CardRow, datetime]]], charges_max: int, at: datetime, pack_after: timedelta
) -> tuple[list[PackageRow], list[tuple[UUID, UUID, int]]]:
    made: list[PackageRow] = []
    places: list[tuple[UUID, UUID, int]] = []
    for (service_no, issuer_no, *_), heap in sorted(heaps.items()):
        for first in range(0, len(heap), charges_max):
            part = heap[first : first + charges_max]
            if len(part) < charges_max and part[0][1] + pack_after > at:
                continue  # the youngest part waits for others
            package_id = till.ids.new(at, f"package {part[0][0].number}")
            made.append(
                PackageRow(
                    package_id=package_id, number=number_of(package_id), service_no=service_no, issuer_no=issuer_no,
                    clear_on=business_date(at), count=len(part), amount_fen=sum(row.fee_fen for row, _ in part), state="packed",
                    created_at=at,
                )
            )  # fmt: skip
            places += [(row.record_id, package_id, place) for place, (row, _) in enumerate(part, 1)]
    return made, places


def repack(tx: Connection, *, lane: int, number: str) -> int:
    """Take the records out of a package that was rejected, so that they are packed anew under another number; returns how many.

    For a person who has found out why it was rejected. May be repeated: a second time there is nothing left.
    """
    return cards.take_out(tx, lane=lane, number=number)


def answered(tx: Connection, till: Till, *, number: str, call: Call[UploadOutcome]) -> None:
    """Carry out an answer that came by itself, where the wire answers in a message of its own.

    An answer to an unknown number, or to a package that was not sent or is answered, is only kept.
    """
    messages.keep(tx, lane=till.lane, messages=[call.message])
    row = cards.lock_packages(tx, lane=till.lane, numbers=[number]).get(number)
    if row is not None and row.state == ChargeState.SENT.value:
        _carry_out(tx, till, row, call)


def _claimed(till: Till) -> PackageRow | None:
    """Claim one package that is due: one at a time, because the claim must outlast a call that nobody answers."""
    at = till.clock.now()
    with till.db.begin() as tx:
        return next(iter(cards.claim_packages(tx, lane=till.lane, at=at, until=at + CLAIM, limit=1)), None)


def _send(till: Till, uplink: Uplink, row: PackageRow) -> bool:
    """Send one claimed package outside any transaction and carry out the answer; says whether there was a receipt."""
    with till.db.connect() as tx:
        members = cards.cards_of(tx, lane=till.lane, package_id=row.package_id)
    call = uplink.send(package_of(row, members), subject=row.package_id, occasion=f"upload {row.number} {row.tries}")
    with till.db.begin() as tx:
        messages.keep(tx, lane=till.lane, messages=[call.message])
        _carry_out(tx, till, row, call)
    return call.outcome.receipt is not None


def _carry_out(tx: Connection, till: Till, row: PackageRow, call: Call[UploadOutcome]) -> None:
    """Write what an answer leads to: the state, when the package goes again, and the case when a person must look."""
    at, outcome = till.clock.now(), call.outcome
    step = _step(outcome)
    moved = cards.answer_package(
        tx, lane=till.lane, package_id=row.package_id, state=step.state.value, reason=outcome.reason,
        due_at=_due(step.task, outcome.reason, row.tries, at), clear_on=outcome.clear_on,
        acked_at=at if step.state is ChargeState.ACKED else None,
    )  # fmt: skip
    if not moved:
        return
    if step.state is ChargeState.REJECTED:
        cards.set_cards(tx, lane=till.lane, package_id=row.package_id, state="rejected")
        _open_case(tx, till, row, "package_refused", call.message, f"refused: {outcome.reason}; mend it, then pack it anew")
    elif step.task in (Task.LOOK_UP, Task.MEND_LINE):
        _open_case(tx, till, row, "package_waits", call.message, f"not taken: {outcome.reason}")
    elif step.task is Task.SEND_SAME and row.tries >= (NOT_ARRIVED_AFTER if outcome.reason in NOT_ARRIVED else WAITS_AFTER):
        _open_case(tx, till, row, "package_waits", call.message, f"{row.tries} tries without a receipt: {outcome.reason}")


def _step(outcome: UploadOutcome) -> Step:
    """Return where an answer leads a package that was sent. One that must not be sent at all is rejected like one they refuse."""
    if outcome.reason == "package_form":
        return Step(ChargeState.REJECTED, Task.REPAIR)
    if outcome.receipt is None:
        return state.STEPS[ChargeState.SENT, Event.NO_ANSWER]
    return state.ANSWERS[outcome.receipt]


def _due(task: Task, reason: str | None, tries: int, at: datetime) -> datetime | None:
    if task is Task.SEND_SAME and reason == AWAITED and tries < WAITS_AFTER:
        return at + AWAITED_AGAIN
    if task is Task.SEND_SAME:
        return at + PAUSES[min(max(tries, 1), len(PAUSES)) - 1]
    return at + MENDING if task is Task.MEND_LINE else None


def _tell_unbooked(till: Till) -> None:
    """Open a case for each package whose booking result has not come for too long."""
    at = till.clock.now()
    with till.db.begin() as tx:
        late = cards.unbooked(tx, lane=till.lane, before=at - BOOKING_WITHIN)
        cases = [
            _case(till, row, "package_waits", None, "no booking result; ask the clearing party to send it again") for row in late
        ]
        if cases:
            store.open_cases(tx, lane=till.lane, cases=cases, at=at)


def _open_case(tx: Connection, till: Till, row: PackageRow, kind: str, message: RawMessage, words: str) -> None:
    store.open_cases(tx, lane=till.lane, cases=[_case(till, row, kind, message, words)], at=till.clock.now())


def _case(till: Till, row: PackageRow, kind: str, message: RawMessage | None, words: str) -> NewCase:
    about = f"package {row.number} of {row.count} records of issuer {row.issuer_no}"
    return NewCase(
        till.ids.new(till.clock.now(), f"case {kind} {row.number}"), kind, CHANNEL, row.number, None, None, row.amount_fen,
        row.package_id if message is None else message.message_id, f"{about}: {words}",
    )  # fmt: skip
