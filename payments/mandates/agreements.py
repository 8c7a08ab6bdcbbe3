"""Mandates that drivers sign on our pages: the consent as it was given, what the channel says of it, and its end.

Knows words, plates, payers' digests and calls to channels; must not know HTTP or any channel's wire. Called by the pages.

The record is the consent; what may be deducted is what the channel says, and never what a browser comes back with. A consent that
has ended stops deductions whatever the channel says. Source: docs/MANDATES.md.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from gateways import calls
from gateways.contract import HandOff, MandateOutcome, MandateRef, MerchantAccount, RawMessage
from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import Ids
from payments import orders, plates, store
from payments.checkout import Till
from payments.errors import PlateRefused
from payments.mandates import agreement_store, agreement_texts, deduction_store
from payments.mandates.agreement_store import Agreement, Count, Event
from payments.plates import PlateColor

Word = Literal["open", "none", "unknown"]
LISTED_MAX: Final = 20
"""Most agreements that a payer is shown."""
ASKED_MAX: Final = 3
"""Most agreements that are asked about when their payer opens the list."""
OVER: Final = frozenset({"ended", "withdrawn", "passed_on"})
"""States in which nothing is asked of the channel any more."""


class AgreementUnknown(NotFound):
    """There is no such agreement, or it is not the asker's."""

    code = "agreement_unknown"


class TextChanged(Conflict):
    """Other words count than those that were shown: show them again."""

    code = "agreement_text_changed"


class Consent(Struct, frozen=True, kw_only=True):
    """What a driver agreed to on a page. ``token`` is the secret of the link; ``text_digest`` that of the words that were shown."""

    plate: str
    plate_color: PlateColor
    account: MerchantAccount
    payer_id: str
    text_digest: bytes
    token: str
    page: str
    language: Literal["zh", "en"]


def confirm(tx: Connection, *, lane: int, consent: Consent, at: datetime, ids: Ids) -> Agreement:
    """Keep a consent, once: the same token finds it again. Nothing is signed by it yet.

    Raises:
        PlateRefused: the plate cannot be, or its colour is not said.
        TextChanged: other words count by now.
        Conflict: ``agreement_token_taken``, the token is of another plate or payer.
    """
    color = consent.plate_color
    if color == "unknown":
        raise PlateRefused("a mandate is for a plate of one colour")
    plate, channel = plates.checked(consent.plate, color), consent.account.channel
    payer = payer_digest(tx, channel=channel, payer_id=consent.payer_id)
    digest, agreement_id = orders.digest_of(consent.token), ids.new(at, f"agreement {consent.token}")
    if not agreement_store.insert_link(tx, lane=lane, agreement_id=agreement_id, digest=digest, at=at):
        known = by_token(tx, lane=lane, token=consent.token)
        if (known.plate, known.plate_color, known.channel, known.payer_digest) != (plate, color, channel, payer):
            raise Conflict("this link is of another plate or payer; begin again", code="agreement_token_taken")
        return known
    text = agreement_texts.kept_in_force(tx, lane=lane, at=at, ids=ids)
    if text.digest != consent.text_digest or text.text_id is None:
        raise TextChanged("other words count than those that were shown")
    plate_id = store.plate_ids(tx, plates=[(plate, color)], salt=lambda: secrets.token_bytes(16))[plate, color]
    agreement_store.insert_agreement(
        tx, agreement_id=agreement_id, lane=lane, text_id=text.text_id, plate_id=plate_id, channel=channel,
        merchant_no=consent.account.merchant_no, key_ref=consent.account.key_ref, payer_digest=payer, page=consent.page,
        language=consent.language, at=at,
    )  # fmt: skip
    return _there(agreement_store.by_id(tx, lane=lane, agreement_id=agreement_id))


def by_token(tx: Connection, *, lane: int, token: str) -> Agreement:
    """Return the agreement behind a link. Raises AgreementUnknown."""
    return _there(agreement_store.by_link(tx, lane=lane, digest=orders.digest_of(token)))


def of_payer(tx: Connection, *, lane: int, channel: str, payer_id: str) -> list[Agreement]:
    """Return the agreements of a payer whom the channel has just named, the newest first."""
    payer = payer_digest(tx, channel=channel, payer_id=payer_id)
    return agreement_store.of_payer(tx, lane=lane, channel=channel, payer_digest=payer, limit=LISTED_MAX)


def new_link(tx: Connection, *, lane: int, agreement_id: UUID, channel: str, payer_id: str, token: str, at: datetime) -> None:
    """Give a payer, whom the channel has just named, one more link to an own agreement. Raises AgreementUnknown."""
    found = agreement_store.by_id(tx, lane=lane, agreement_id=agreement_id)
    if found is None or not is_payer(tx, agreement=found, channel=channel, payer_id=payer_id):
        raise AgreementUnknown("this payer has no such agreement")
    agreement_store.insert_link(tx, lane=lane, agreement_id=agreement_id, digest=orders.digest_of(token), at=at)


def counts(tx: Connection, *, lane: int) -> list[Count]:
    """Return how many agreements stand where, by channel, state and version of the words."""
    return agreement_store.counts(tx, lane=lane)


def is_payer(tx: Connection, *, agreement: Agreement, channel: str, payer_id: str) -> bool:
    """Tell whether a payer is the one who agreed."""
    mine = payer_digest(tx, channel=channel, payer_id=payer_id)
    return channel == agreement.channel and hmac.compare_digest(mine, agreement.payer_digest or b"")


def payer_digest(tx: Connection, *, channel: str, payer_id: str) -> bytes:
    """Return what is kept of a payer: enough to know the same one again at the same channel, and nothing else."""
    salt = agreement_store.payer_salt(tx, channel=channel, new=secrets.token_bytes(32))
    return hashlib.sha256(salt + payer_id.encode()).digest()


# The channel


def sign_hand_off(till: Till, agreement: Agreement, *, payer_id: str, return_url: str) -> HandOff:
    """Return where the payer signs, sees and ends it at the channel. Nothing is sent."""
    return till.line(agreement.channel).connected.channel.sign_hand_off(_ref(agreement, payer_id), return_url=return_url)


def ask(till: Till, agreement: Agreement, *, payer_id: str) -> tuple[Agreement, Word]:
    """Ask the channel whether the mandate is open, outside any transaction, and keep its word; returns how it stands now.

    May be repeated at any time. An answer that proves nothing changes nothing: ``unknown``. What has ended here stays ended.
    """
    if agreement.state in OVER:
        return agreement, "none"
    outcome, message = _asked(till, agreement, payer_id)
    at = till.clock.now()
    with till.db.begin() as tx:
        if message is not None:
            deduction_store.keep_message(tx, lane=till.lane, message=message)
        agreement_store.hold(tx, plate=agreement.plate, channel=agreement.channel)
        now = _there(agreement_store.by_id(tx, lane=agreement.lane, agreement_id=agreement.agreement_id))
        if outcome.state == "unknown" or now.state in OVER:
            return now, "unknown" if outcome.state == "unknown" else "none"
        _carry_out(tx, now, outcome, message, at)
        return _there(agreement_store.by_id(tx, lane=now.lane, agreement_id=now.agreement_id)), outcome.state


def confirmed(till: Till, found: Sequence[Agreement], *, payer_id: str) -> None:
    """Ask the channel about a payer's agreements that stand open, ``ASKED_MAX`` at most: those that it confirmed longest ago."""
    standing = [one for one in found if one.state == "open"]
    for one in sorted(standing, key=lambda one: one.told_open_at or one.confirmed_at)[:ASKED_MAX]:
        ask(till, one, payer_id=payer_id)


def _asked(till: Till, agreement: Agreement, payer_id: str) -> tuple[MandateOutcome, RawMessage | None]:
    subject, at = agreement.agreement_id, till.clock.now()
    occasion = f"agreement {subject} {at.isoformat()}"
    try:
        call = calls.mandate(till.line(agreement.channel), _ref(agreement, payer_id), subject=subject, occasion=occasion)
    except Refused as wrong:
        return MandateOutcome(verdict="unanswered", state="unknown", reason=wrong.code), None
    return call.outcome, call.message


def _carry_out(tx: Connection, now: Agreement, outcome: MandateOutcome, message: RawMessage | None, at: datetime) -> None:
    """Write a channel's word down, unless it is the one that is known. The consent is held.

    "None" is about this payer; of the plate it says something only when this payer had opened it.
    """
    assert outcome.state != "unknown", "the caller looked"
    if outcome.state != now.state:
        message_id = None if message is None else message.message_id
        event = Event(kind=outcome.state, said_by="channel", message_id=message_id, word=outcome.word)
        agreement_store.insert_event(tx, agreement=now, event=event, at=at)
    elif now.state == "open":
        agreement_store.still_open(tx, agreement=now, at=at)
    if outcome.state == "open" or now.state == "open":
        agreement_store.remember(
            tx, plate=now.plate, color=now.plate_color, channel=now.channel, state=outcome.state, at=at
        )  # fmt: skip


def _ref(agreement: Agreement, payer_id: str) -> MandateRef:
    return MandateRef(
        plate=agreement.plate, plate_color=agreement.plate_color, merchant_no=agreement.merchant_no, payer_id=payer_id,
        key_ref=agreement.key_ref,
    )  # fmt: skip


# The end


def end(tx: Connection, *, agreement: Agreement, at: datetime) -> Agreement:
    """End an agreement: once ``tx`` commits no deduction of this plate over this channel is begun. May be repeated.

    What is under way is finished. Had it been open, every agreement for the plate at the channel ends with it; one that was never
    open is withdrawn and changes nothing else, for anybody can begin one for any plate.
    """
    agreement_store.hold(tx, plate=agreement.plate, channel=agreement.channel)
    now = _there(agreement_store.by_id(tx, lane=agreement.lane, agreement_id=agreement.agreement_id))
    if now.state in OVER:
        return now
    if now.was_open:
        agreement_store.end_all(
            tx, lane=now.lane, plate=now.plate, color=now.plate_color, channel=now.channel, at=at
        )  # fmt: skip
    else:
        agreement_store.insert_event(tx, agreement=now, event=Event(kind="withdrawn", said_by="driver"), at=at)
    return _there(agreement_store.by_id(tx, lane=now.lane, agreement_id=now.agreement_id))


def ended(tx: Connection, *, plate: str, color: str, channel: str) -> bool:
    """Tell whether a driver has ended deductions from a plate over a channel; waits for one who is just ending them.

    Held until ``tx`` ends: a payment that is made in it was made before the end, or not at all.
    """
    return agreement_store.held_consent_ended(tx, plate=plate, color=color, channel=channel)


def _there(found: Agreement | None) -> Agreement:
    if found is None:
        raise AgreementUnknown("there is no such agreement")
    return found
