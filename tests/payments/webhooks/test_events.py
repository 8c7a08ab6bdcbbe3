"""Every kind of event is written, pulled and pushed in the same form."""

from base64 import b64decode
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest

from payments import events
from payments.events import CodeEvent, CorrectionEvent, DebtEvent, DiscountEvent, PaymentEvent, RefundRequestEvent, ReleaseEvent
from payments.webhooks import message, subscriptions
from tests.payments.conftest import AT, IDS
from tests.payments.webhooks.conftest import Town

PAID: Any = {"charge_serial": "S1", "receipt": "P1", "channel": "wechat", "amount_fen": 1200, "paid_at": AT}
DEBT: Any = {"charge_serial": "S1", "amount_fen": 1200, "owed_fen": 0, "at": AT}
ALL: dict[str, msgspec.Struct] = {
    **{kind: PaymentEvent(kind=kind, **PAID) for kind in get_args(events.PaymentKind)},
    **{kind: DebtEvent(kind=kind, **DEBT) for kind in get_args(events.DebtKind)},
    **{
        kind: CodeEvent(kind=kind, case="260302-ABCD-EFGH", code_no=7, place="berth A", is_refused=False, at=AT, reason="sticker")
        for kind in get_args(events.CodeKind)
    },
    "release.granted": ReleaseEvent(charge_serial="S1", at=AT, reason="paid"),
    "refund.requested": RefundRequestEvent(
        charge_serial="S1",
        receipt="P1",
        channel="wechat",
        request="0" * 32,
        amount_fen=1200,
        answer_until=AT,
        at=AT,
        reason="other",
    ),
    "charge.discounted": DiscountEvent(charge_serial="S1", amount_fen=500, owed_fen=700, at=AT),
    "charge.corrected": CorrectionEvent(charge_serial="S1", note="C1", amount_fen=100, at=AT, reason="wrong_time"),
}


def test_these_are_all_kinds() -> None:
    assert set(ALL) == set(subscriptions.KINDS)


@pytest.mark.parametrize("kind", sorted(ALL))
def test_an_event_is_pulled_as_it_was_written(kind: str, town: Town) -> None:
    body = events.encode(ALL[kind])
    new = events.NewEvent(IDS.new(AT, kind), town.lot.operator_id, town.lot.lot_id, UUID(int=256), None, kind, body)  # type: ignore[arg-type]
    with town.db.begin() as tx:
        events.write(tx, lane=0, rows=[new])
    with town.db.connect() as tx:
        [found] = events.read(tx, lane=0, lot_id=town.lot.lot_id).events
    assert found.event_id == new.event_id
    assert msgspec.json.decode(msgspec.json.encode(found))["event"] == msgspec.json.decode(body)


@pytest.mark.parametrize("kind", sorted(ALL))
def test_a_message_is_the_event_with_its_lot_and_its_time(kind: str) -> None:
    body = events.encode(ALL[kind])
    told = msgspec.json.decode(message.body(body, lot_code="lot-1"))
    assert told == {"type": kind, "timestamp": "2026-03-02T04:00:00Z", "data": msgspec.json.decode(body) | {"lot_code": "lot-1"}}


def test_many_events_are_written_in_one_statement_and_none_in_none(town: Town) -> None:
    with town.db.begin() as tx:
        events.write(tx, lane=0, rows=[])
        events.write(tx, lane=0, rows=[town.new(f"S{number}") for number in range(5)])
    assert town.column("select count(*) from payments.outbox where charge_id is not null") == [5]


def test_a_message_is_signed_as_the_standard_says() -> None:
    """With the same key, id, time and body the standard's own library comes to the same signature."""
    from standardwebhooks import Webhook

    at = datetime(2026, 3, 2, tzinfo=UTC)
    secret = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    event_id = UUID(int=7 << 76)
    key = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = message.headers(b"{}", event_id=event_id, at=at, keys=[key])
    assert made["webhook-signature"] == Webhook(secret).sign(str(event_id), at, "{}")
