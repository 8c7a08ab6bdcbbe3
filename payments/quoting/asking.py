"""Ask a lot's own system what a plate owes now, while a payer waits: the question, its answer as evidence, and how the lot fares.

Knows endpoints, turns and stored messages; must not know pages, nor what follows from an answer: ``taking``. Called by the pages.
Source: docs/QUOTES.md, sections 2 and 5.

Question and answer are kept before anything follows from them.
"""

import logging
from datetime import datetime
from typing import ClassVar, Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, Engine

from gateways import messages
from gateways.contract import RawMessage
from gateways.parking import quotes as wire
from gateways.parking.quotes import Answer, Heard, Network
from ledger.clock import Clock
from ledger.errors import Unavailable
from ledger.ids import Ids
from payments.lots import Lot
from payments.quoting import endpoint_store, taking
from payments.quoting.endpoint_store import FAILURES_MAX, Endpoint
from payments.quoting.turns import Turns
from payments.webhooks import message
from payments.webhooks.secret import Vault

LOG: Final = logging.getLogger("tongting.quotes")
OPERATION: Final = "quote"
"""What questions are called among the stored messages."""


class LotAway(Unavailable):
    """The lot's system gave no usable answer: what is due now is unknown. Nothing was changed or charged."""

    code: ClassVar[str] = "lot_away"


class Asking(Struct, frozen=True):
    """What asking works with. ``seconds_max``: no answer is waited for longer, whatever the lot's owner allows."""

    db: Engine
    lane: int
    clock: Clock
    ids: Ids
    vault: Vault
    network: Network
    turns: Turns
    seconds_max: float


def ask(asking: Asking, *, lot: Lot, endpoint: Endpoint, plate: str) -> None:
    """Ask a lot's system what a plate owes now, and take its answer: afterwards the due list is today's.

    Takes up to the time-out of the endpoint. Must not run inside a transaction. May be called as often as wanted: a lot is asked
    about a plate every ten seconds at most, and one that has failed five times in a row only every thirty seconds.

    Args:
        plate: As ``plates.checked`` gives it.

    Raises:
        LotAway: there is no usable answer; what was due before still is.
    """
    seconds = min(endpoint.timeout_ms / 1000, asking.seconds_max)
    away = asking.turns.once(
        lot.lot_id, plate, lambda: _ask(asking, lot, endpoint, plate, seconds), wait_seconds=seconds + 1.0
    )  # fmt: skip
    if away is not None:
        raise LotAway(f"the system of lot {lot.code} is away: {away}")


def _ask(asking: Asking, lot: Lot, endpoint: Endpoint, plate: str, seconds: float) -> str | None:
    """Ask, keep, take. Returns why the lot is away, or None."""
    asked_at = asking.clock.now()
    if endpoint.failures >= FAILURES_MAX:
        with asking.db.begin() as tx:
            if not endpoint_store.may_ask(tx, endpoint_id=endpoint.endpoint_id, at=asked_at):
                return "it failed too often and is asked seldom"
    question_id = asking.ids.new(asked_at, f"quote {lot.lot_id} {plate}")
    body = wire.question(lot=lot.code, plate=plate, plate_color="unknown", at=asked_at)
    keys = _keys(asking.vault, endpoint, at=asked_at)
    headers = message.headers(body, event_id=question_id, at=asked_at, keys=keys)
    answer = asking.network.ask(endpoint.url, headers=headers, body=body, seconds=seconds)
    heard = wire.read(answer, secure=endpoint.url.startswith("https://"))
    evidence = _evidence(asking, endpoint, question_id, headers, body, answer, heard)
    with asking.db.begin() as tx:
        messages.keep(tx, lane=asking.lane, messages=[evidence])
        _remember(tx, lot, endpoint, heard, asked_at)
    if heard.quotes is None:
        return heard.detail or heard.reason
    with asking.db.begin() as tx:
        taking.take(
            tx, lane=asking.lane, lot=lot, plate=plate, quotes=heard.quotes, evidence_id=evidence.message_id, asked_at=asked_at,
            at=asking.clock.now(), ids=asking.ids,
        )  # fmt: skip
    return None


def _evidence(
    asking: Asking, endpoint: Endpoint, question_id: UUID, headers: dict[str, str], body: bytes, answer: Answer, heard: Heard
) -> RawMessage:  # fmt: skip
    lines = [f"POST {endpoint.url}", *(f"{name}: {value}" for name, value in headers.items())]
    at = asking.clock.now()
    return RawMessage(
        message_id=asking.ids.new(at, f"message lot {OPERATION} {question_id}", answer.body),
        channel="lot",
        operation=OPERATION,
        direction="out",
        verdict=heard.verdict,
        reason=heard.reason,
        received_at=at,
        headers="{}",
        body=answer.body,
        request="\n".join(lines).encode() + b"\n\n" + body,
    )


def _remember(tx: Connection, lot: Lot, endpoint: Endpoint, heard: Heard, at: datetime) -> None:
    """Count a failure, or forget those before; writes nothing as long as all is well."""
    if heard.quotes is not None:
        if endpoint.failures or endpoint.last_error:
            endpoint_store.succeeded(tx, endpoint_id=endpoint.endpoint_id)
            LOG.warning("the system of lot %s answers questions again", lot.code)
        return
    words = heard.detail or heard.reason or "no answer"
    failures = endpoint_store.failed(tx, endpoint_id=endpoint.endpoint_id, at=at, error=words)
    LOG.warning("the system of lot %s is away (%d in a row): %s", lot.code, failures, words)
    if failures == FAILURES_MAX:
        LOG.critical("the system of lot %s gave no usable answer %d times in a row; it is asked seldom now", lot.code, failures)


def _keys(vault: Vault, endpoint: Endpoint, *, at: datetime) -> list[bytes]:
    """Return what a question is signed with, the newest first."""
    stored = [endpoint.secret]
    if endpoint.old_secret is not None and endpoint.old_until is not None and at < endpoint.old_until:
        stored.append(endpoint.old_secret)
    return [vault.open(one, webhook_id=endpoint.endpoint_id) for one in stored]
