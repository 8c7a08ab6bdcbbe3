"""Sending 催缴发送: what was planned is looked at once more, written down, sent, and closed with the carrier's receipt.

Knows reminders, texts, contacts and channels; must not know what a channel does. Called by the worker and the command line.
A text is kept before it is sent, and at each try it carries the same number: sent at least once, recognisable when twice.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, Engine

from ledger.clock import business_date
from ledger.errors import NotFound, Refused
from payments import people
from payments.owed.dunning import limitation, rules, send_store, texts
from payments.owed.dunning.channels import Channel, Message, Receipt, Registry
from payments.owed.dunning.limitation import Act
from payments.owed.dunning.rules import Rule
from payments.owed.dunning.send_store import Claimed, Closed, DueDebt, Notice, Text
from payments.owed.dunning.texts import Facts, Language, Stay, Template

LOG: Final = logging.getLogger("tongting.dunning")
BATCH: Final = 200
CLAIM: Final = timedelta(minutes=15)
"""How long a sender may hold a batch; after that another takes it over, with the same texts and numbers."""
TRY_AGAIN: Final = timedelta(minutes=30)
TRIES_MAX: Final = 5
NOTICE_DAYS: Final = 90
PARTS_LOOKED_BACK: Final = timedelta(days=31)


class Ways(Struct, frozen=True):
    """What texts lead to."""

    link: str
    help_line: str


class Sent(Struct, frozen=True):
    """What one batch did. ``claimed`` 0: nothing waits, or everything is quiet."""

    claimed: int = 0
    sent: int = 0
    bounced: int = 0
    failed: int = 0
    again: int = 0
    dropped: int = 0


def send_due(db: Engine, *, lane: int, at: datetime, channels: Registry, ways: Ways, limit: int = BATCH) -> Sent:
    """Send one batch of what waits, outside quiet hours and days. Call again with a new ``at`` while ``claimed`` is not 0.

    May run in several processes at once. What was paid, disputed or paused since it was planned is not demanded; a reminder of
    which nothing is left is dropped, and its debts take the step again when they may. Channels are called outside any transaction.
    """
    with db.begin() as tx:
        awake = _awake(tx, lane=lane, at=at)
        claimed = send_store.claim(tx, lane=lane, rule_ids=list(awake), at=at, until=at + CLAIM, limit=limit) if awake else []
        if not claimed:
            return Sent()
        ready, dropped = _write(tx, lane=lane, claimed=claimed, at=at, channels=channels, ways=ways)
    receipts = _hand_over(ready, channels)
    with db.begin() as tx:
        counted = _close(tx, lane=lane, ready=ready, receipts=receipts, rules_of=awake, channels=channels, at=at)
    return Sent(len(claimed), dropped=dropped, **counted)


def prove(
    tx: Connection, *, lane: int, reminder_id: UUID, proven_at: datetime, proof: str, by: str, at: datetime
) -> None:  # fmt: skip
    """Enter the proof that a reminder has arrived, such as the number of a postal receipt: the years begin anew from that day.

    May be called twice with the same. Holds the reminder, then the charges in the order of their ids.

    Raises:
        NotAllowed: ``person_unknown``, ``person_may_not``.
        NotFound: ``reminder_not_found``.
        Refused: ``proof_invalid``: it was not sent, the day does not fit, or no words.
    """
    people.maker(tx, person_code=by, at=at)
    state, _, sent_at = _held(tx, lane=lane, reminder_id=reminder_id)
    if state != "sent" or sent_at is None or not sent_at <= proven_at <= at:
        raise Refused("proof is of a reminder that was sent, of a day from then until now", code="proof_invalid")
    if not 0 < len(proof.strip()) <= 200:
        raise Refused("say what proves it, in 1 to 200 characters", code="proof_invalid")
    send_store.prove(tx, lane=lane, reminder_id=reminder_id, proven_at=proven_at, proof=f"{proof.strip()} ({by})")
    _begin_anew(tx, lane=lane, reminder_ids=[reminder_id], at=proven_at)


def bounce(tx: Connection, *, lane: int, reminder_id: UUID, reason: str, at: datetime) -> None:
    """Enter that a reminder came back after all: it proves nothing, its contact is not used any more, and the step is taken again.

    Raises:
        NotFound: ``reminder_not_found``. Refused: ``proof_invalid``, it was not sent.
    """
    state, _, _ = _held(tx, lane=lane, reminder_id=reminder_id)
    if state != "sent":
        raise Refused(f"only what was sent comes back; this reminder is {state}", code="proof_invalid")
    send_store.bounce(tx, lane=lane, reminder_id=reminder_id, reason=reason[:200])
    send_store.end_contacts(tx, lane=lane, reminder_ids=[reminder_id], at=at)
    send_store.step_back(tx, lane=lane, reminder_ids=[reminder_id])
    limitation.void(tx, lane=lane, source_id=reminder_id, at=at)


def notice(tx: Connection, *, lane: int, plate_id: int, at: datetime) -> Notice | None:
    """Return the newest notice that was laid out for whoever enters the plate at a pay page; None: none of the last 90 days."""
    return send_store.notice(tx, lane=lane, plate_id=plate_id, since=at - timedelta(days=NOTICE_DAYS))


def count_parts_paid(tx: Connection, *, lane: int, at: datetime) -> int:
    """Let the parts of debts that were paid of late begin the years anew; returns how many were new. Repeatable."""
    found = send_store.parts_paid(tx, lane=lane, since=at - PARTS_LOOKED_BACK)
    acts = [Act(paid_on, "part_paid", charge_id, payment_id) for paid_on, charge_id, payment_id in found]
    return limitation.begin_anew(tx, lane=lane, acts=acts)


def _awake(tx: Connection, *, lane: int, at: datetime) -> dict[int, Rule]:
    """Return the rules by which something waits and may be sent now."""
    waiting = send_store.rules_waiting(tx, lane=lane)
    if not waiting or rules.is_quiet_day(tx, at=at):
        return {}
    return {number: rule for number, rule in rules.by_ids(tx, waiting).items() if not rules.is_quiet(rule, at)}


def _write(
    tx: Connection, *, lane: int, claimed: Sequence[Claimed], at: datetime, channels: Registry, ways: Ways
) -> tuple[list[tuple[Claimed, Message]], int]:  # fmt: skip
    """Fix the texts of a batch and return its messages, with how many were dropped."""
    today = business_date(at)
    owed = send_store.debts(tx, lane=lane, reminder_ids=[one.reminder_id for one in claimed], today=today)
    templates = rules.texts(tx, at=at)
    settled = [one for one in claimed if not any(debt.may for debt in owed.get(one.reminder_id, ()))]
    gone = [one for one in claimed if one not in settled and _is_gone(one, channels)]
    live = [one for one in claimed if one not in settled and one not in gone]
    new = [one for one in live if one.body is None]
    fixed = {one.reminder_id: _text(one, owed[one.reminder_id], templates, ways, at) for one in new}
    send_store.drop(tx, lane=lane, reminder_ids=[one.reminder_id for one in settled], reason="nothing may be demanded any more")
    send_store.drop(tx, lane=lane, reminder_ids=[one.reminder_id for one in gone], reason="the contact or channel is gone")
    out = [debt for one in new for debt in owed[one.reminder_id] if not debt.may]
    send_store.leave_out(tx, lane=lane, debts=out)
    kept = [debt for one in new for debt in owed[one.reminder_id] if debt.may]
    send_store.fix(tx, lane=lane, texts=list(fixed.values()), debts=kept)
    return [(one, _message(one, fixed.get(one.reminder_id), at)) for one in live], len(settled) + len(gone)


def _is_gone(one: Claimed, channels: Registry) -> bool:
    channel = channels.find(one.channel)
    return channel is None or (one.to is None and (channel.needs_contact or one.contact_id is not None))


def _text(
    one: Claimed, debts: Sequence[DueDebt], templates: Mapping[tuple[str, Language], tuple[datetime, Template]], ways: Ways,
    at: datetime,
) -> Text:  # fmt: skip
    language: Language = one.language if (one.template_code, one.language) in templates else "zh"
    version, template = templates[one.template_code, language]
    named = [debt for debt in debts if debt.may]
    facts = Facts(
        reminder_id=one.reminder_id, plate=one.plate, names_lots=one.is_proven_holder and one.to is not None,
        stays=[Stay(debt.left_on, debt.lot_name, debt.owed_fen, debt.due_on) for debt in named], today=business_date(at),
        link=ways.link, help_line=ways.help_line,
    )  # fmt: skip
    written = texts.written(template, facts, language)
    return Text(
        reminder_id=one.reminder_id, owed_fen=sum(debt.owed_fen for debt in named), debts=len(named), text_from=version,
        subject=written.subject, body=written.body, body_digest=written.digest, to_masked=texts.masked(one.medium, one.to),
        to_digest=one.to_digest,
    )  # fmt: skip


def _message(one: Claimed, fixed: Text | None, at: datetime) -> Message:
    subject, body = (one.subject, one.body) if fixed is None else (fixed.subject, fixed.body)
    assert subject is not None, "a text is fixed before it is sent"
    assert body is not None, "a text is fixed before it is sent"
    return Message(number=texts.number(one.reminder_id), to=one.to, subject=subject, body=body, language=one.language, at=at)


def _hand_over(ready: Sequence[tuple[Claimed, Message]], channels: Registry) -> dict[UUID, Receipt]:
    """Give messages to their channels, channel by channel."""
    receipts: dict[UUID, Receipt] = {}
    for name in sorted({one.channel for one, _ in ready}):
        batch = [(one, message) for one, message in ready if one.channel == name]
        said = _said(_channel(channels, name), [message for _, message in batch])
        receipts |= {one.reminder_id: receipt for (one, _), receipt in zip(batch, said, strict=True)}
    return receipts


def _said(channel: Channel, messages: Sequence[Message]) -> list[Receipt]:
    """Return what a channel says; a plug-in that breaks its promise is logged, and what it did with the messages is unknown."""
    try:
        receipts = channel.send(messages)
        if len(receipts) == len(messages):
            return receipts
        LOG.error("channel %s gave %d receipts for %d messages", channel.name, len(receipts), len(messages))
    except Exception:
        LOG.exception("channel %s broke", channel.name)
    return [Receipt("retry", "the channel broke; it may have been sent")] * len(messages)


def _close(
    tx: Connection, *, lane: int, ready: Sequence[tuple[Claimed, Message]], receipts: Mapping[UUID, Receipt],
    rules_of: Mapping[int, Rule], channels: Registry, at: datetime,
) -> dict[str, int]:  # fmt: skip
    again = [one for one, _ in ready if receipts[one.reminder_id].outcome == "retry" and one.attempts < TRIES_MAX]
    closed = [_closed(one, receipts[one.reminder_id], rules_of, channels) for one, _ in ready if one not in again]
    send_store.close(tx, lane=lane, closed=closed, at=at)
    words = [receipts[one.reminder_id].words for one in again]
    send_store.try_again(tx, lane=lane, reminder_ids=[one.reminder_id for one in again], words=words, at=at + TRY_AGAIN)
    by_outcome = {name: [x.reminder_id for x in closed if x.outcome == name] for name in ("sent", "bounced", "failed")}
    send_store.end_contacts(tx, lane=lane, reminder_ids=by_outcome["bounced"], at=at)
    send_store.step_back(tx, lane=lane, reminder_ids=by_outcome["bounced"] + by_outcome["failed"])
    _begin_anew(tx, lane=lane, reminder_ids=[x.reminder_id for x in closed if x.is_proven], at=at)
    return {name: len(found) for name, found in by_outcome.items()} | {"again": len(again)}


def _closed(one: Claimed, receipt: Receipt, rules_of: Mapping[int, Rule], channels: Registry) -> Closed:
    step = rules_of[one.rule_id].steps[one.step - 1]
    outcome = "failed" if receipt.outcome == "retry" else receipt.outcome
    is_proven = outcome == "sent" and step.proof == "sent" and _channel(channels, one.channel).carries
    return Closed(reminder_id=one.reminder_id, outcome=outcome, words=receipt.words, is_proven=is_proven)


def _channel(channels: Registry, name: str) -> Channel:
    found = channels.find(name)
    assert found is not None, "what has no channel was dropped"
    return found


def _begin_anew(tx: Connection, *, lane: int, reminder_ids: Sequence[UUID], at: datetime) -> None:
    if reminder_ids:
        demanded = send_store.demanded(tx, lane=lane, reminder_ids=reminder_ids)
        acts = [Act(business_date(at), "demand", charge_id, reminder_id) for reminder_id, charge_id in demanded]
        limitation.begin_anew(tx, lane=lane, acts=acts)


def _held(tx: Connection, *, lane: int, reminder_id: UUID) -> tuple[str, str, datetime | None]:
    found = send_store.state(tx, lane=lane, reminder_id=reminder_id)
    if found is None:
        raise NotFound(f"there is no reminder {reminder_id}", code="reminder_not_found")
    return found
