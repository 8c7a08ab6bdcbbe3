"""Open agreements are asked about again, and in the end it is forgotten who signed: the timed work on mandates of drivers.

Knows agreements, words about plates and calls to channels; must not know HTTP or wires. Called by the worker and the command line.

The payer's id is never kept, so a channel that answers only its payer (WeChat) cannot be asked here: of it counts what it says of
the plate by itself, at an entrance or by a notice. Where a plate alone can be asked about (Alipay), "none" closes an agreement and
"open" leaves it as it is, for it may be another payer's: only the payer's own look confirms it. Source: docs/MANDATES.md.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection

from gateways import calls, messages
from gateways.contract import MandateOutcome, MandateRef, Operation, RawMessage
from ledger.errors import Conflict, Refused
from payments.checkout import Till
from payments.mandates import agreement_store, renewal_store
from payments.mandates.agreement_store import Agreement
from payments.mandates.renewal_store import Keeping, NotOpen
from payments.owed import debt_store
from payments.owed.debt_store import Said

CLAIM: Final = timedelta(minutes=10)
"""How long a worker may hold an agreement; after that another one asks about it."""
REST: Final = timedelta(hours=1)
REST_MAX: Final = timedelta(days=1)
"""After answers that prove nothing it is asked again after one hour, two, four, at most a day."""
BATCH: Final = 100
YEARS_MIN: Final = 3
YEARS_MAX: Final = 30
DOCUMENT_LETTERS_MAX: Final = 200

_Answer = tuple[Agreement, MandateOutcome, RawMessage | None]


class Renewed(Struct, frozen=True):
    """What a run did: agreements asked about, among them those of which nothing was proven; and those that are open no more."""

    asked: int = 0
    unproven: int = 0
    ended: int = 0


def renew(till: Till, *, confirmed_for: timedelta, limit: int, threads: int = 1) -> Renewed:
    """Ask again about agreements that no channel confirmed for so long, or whose deductions failed; at most ``limit`` in a run.

    May run in several processes at once, be stopped and be gone on with: each agreement is claimed and asked about by one of them,
    outside any transaction. A batch takes as many statements for a hundred as for one.
    """
    by_plate, by_payer = _askable(till)
    ended = _take_words(till, by_plate, by_payer)
    asked = unproven = 0
    while asked < limit and (batch := _claimed(till, by_plate, confirmed_for, min(BATCH, limit - asked))):
        answers = _all(till, batch, threads)
        ended += _carry_out(till, answers, confirmed_for)
        asked += len(answers)
        unproven += sum(outcome.state == "unknown" for _, outcome, _ in answers)
    return Renewed(asked, unproven, ended)


def _askable(till: Till) -> tuple[list[str], list[str]]:
    """Return the channels that drivers sign at: those that can be asked about a plate alone, and the others."""
    wires = {name: till.line(name).connected.channel for name in till.channels()}
    sign = sorted(name for name, wire in wires.items() if Operation.MANDATE_SIGN in wire.supports)
    by_plate = [name for name in sign if Operation.MANDATE_QUERY in wires[name].supports and not wires[name].mandates_by_payer]
    return by_plate, [name for name in sign if name not in by_plate]


def _take_words(till: Till, by_plate: Sequence[str], by_payer: Sequence[str]) -> int:
    """Let count what channels said of plates by themselves since they confirmed an agreement. Returns how many are not open."""
    ended, at = 0, till.clock.now()
    with till.db.begin() as tx:
        renewal_store.ask_overtaken(tx, lane=till.lane, channels=by_plate, at=at)
    while True:
        with till.db.begin() as tx:
            ids = renewal_store.overtaken(tx, lane=till.lane, channels=by_payer, limit=BATCH)
            made = _close(tx, till.lane, [NotOpen(one, None, None) for one in ids], at)
        ended += made
        if not made:
            return ended


def _close(tx: Connection, lane: int, told: Sequence[NotOpen], at: datetime) -> int:
    if not told:
        return 0
    found = agreement_store.by_ids(tx, lane=lane, agreement_ids=[one.agreement_id for one in told])
    renewal_store.hold(tx, consents=[(one.channel, one.plate) for one in found])
    return renewal_store.not_open(tx, lane=lane, told=told, at=at)


def _claimed(till: Till, channels: Sequence[str], confirmed_for: timedelta, limit: int) -> list[Agreement]:
    at = till.clock.now()
    with till.db.begin() as tx:
        ids = renewal_store.claim(
            tx, lane=till.lane, channels=channels, confirmed_before=at - confirmed_for, at=at, until=at + CLAIM, limit=limit
        )  # fmt: skip
        found = agreement_store.by_ids(tx, lane=till.lane, agreement_ids=ids) if ids else []
        if gone := [one.agreement_id for one in found if one.state != "open"]:
            renewal_store.unwatch(tx, lane=till.lane, agreement_ids=gone)
    return found


def _all(till: Till, batch: Sequence[Agreement], threads: int) -> list[_Answer]:
    asked = [one for one in batch if one.state == "open"]
    if threads == 1:
        return [_asked(till, one) for one in asked]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda one: _asked(till, one), asked))


def _asked(till: Till, agreement: Agreement) -> _Answer:
    """Ask a channel about a plate alone."""
    subject, at = agreement.agreement_id, till.clock.now()
    ref = MandateRef(
        plate=agreement.plate, plate_color=agreement.plate_color, merchant_no=agreement.merchant_no, key_ref=agreement.key_ref
    )  # fmt: skip
    try:
        call = calls.mandate(till.line(agreement.channel), ref, subject=subject, occasion=f"renewal {subject} {at.isoformat()}")
    except Refused as wrong:
        return agreement, MandateOutcome(verdict="unanswered", state="unknown", reason=wrong.code), None
    return agreement, call.outcome, call.message


def _carry_out(till: Till, answers: Sequence[_Answer], confirmed_for: timedelta) -> int:
    """Keep the answers of a batch and write what follows from them. Returns how many agreements are open no more."""
    at, ids = till.clock.now(), [agreement.agreement_id for agreement, _, _ in answers]
    with till.db.begin() as tx:
        messages.keep(tx, lane=till.lane, messages=[message for _, _, message in answers if message is not None])
        tries = renewal_store.tries(tx, lane=till.lane, agreement_ids=ids)
        told = [
            NotOpen(agreement.agreement_id, None if message is None else message.message_id, outcome.word)
            for agreement, outcome, message in answers if outcome.state == "none"
        ]  # fmt: skip
        ended = _close(tx, till.lane, told, at)
        debt_store.remember_mandates(
            tx, at=at, said=[Said(one.plate, one.plate_color, one.channel, said.state) for one, said, _ in answers
                             if said.state != "unknown"],
        )  # fmt: skip
        rests = [
            confirmed_for if outcome.state == "open" else _rest(tries.get(agreement.agreement_id, 1))
            for agreement, outcome, _ in answers
        ]  # fmt: skip
        renewal_store.put_off(
            tx, lane=till.lane, agreement_ids=ids, until=[at + rest for rest in rests],
            proven=[outcome.state != "unknown" for _, outcome, _ in answers],
        )  # fmt: skip
    return ended


def _rest(tries: int) -> timedelta:
    return min(REST * (1 << min(tries - 1, 10)), REST_MAX)


# Who signed


def keep_for(tx: Connection, *, keeping: Keeping, at: datetime) -> None:
    """Enter for how many years after a mandate's end it is kept who signed it, from a moment on.

    Raises:
        Refused: ``agreement_keeping_invalid``.
        Conflict: ``agreement_keeping_conflict``, another one begins at that moment.
    """
    named = 0 < len(keeping.document.strip()) <= DOCUMENT_LETTERS_MAX
    if not named or keeping.valid_from < at or not YEARS_MIN <= keeping.years <= YEARS_MAX:
        raise Refused(
            f"{YEARS_MIN} to {YEARS_MAX} years, from now on or later, by a document that is named", code="agreement_keeping_invalid"
        )
    if not renewal_store.insert_keeping(tx, keeping=keeping, at=at):
        raise Conflict("there is one from that moment on; begin at another one", code="agreement_keeping_conflict")


def keepings(tx: Connection) -> list[Keeping]:
    """Return for how long it is kept who signed, by date."""
    return renewal_store.keepings(tx)


def forget_payers(till: Till) -> int:
    """Forget who signed the mandates that ended longer ago than that is kept, in batches. Returns how many; may be repeated.

    What was agreed to, when and for which plate stays; nothing leads from it to a payer any more. Source: 个人信息保护法第四十七条.
    """
    forgotten = 0
    while True:
        with till.db.begin() as tx:
            made = renewal_store.forget_payers(tx, lane=till.lane, at=till.clock.now(), limit=BATCH)
        forgotten += made
        if not made:
            return forgotten
