"""Evidence is kept verbatim, in one go, and never changed."""

from datetime import timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from gateways.contract import RawMessage
from gateways.messages import keep, received
from gateways.sandbox.wechat.signing import PaidOrder, Pair, signed_callback
from gateways.wechat.channel import WeChat
from ledger.ids import Ids, RandomIds, SeededIds
from tests.gateways.conftest import MERCHANT_NO, NOW, PROVIDER_NO


def message(channel: WeChat, *, ids: Ids | None = None, **changes: Any) -> RawMessage:
    given: dict[str, Any] = {
        "operation": "callback",
        "direction": "in",
        "verdict": "verified",
        "reason": None,
        "headers": {"wechatpay-nonce": "n", "cookie": "secret", "request-id": "r"},
        "body": "{\"摘要\":\"支付成功\"}\0".encode(),
        "at": NOW,
    }  # fmt: skip
    return received(channel, ids=ids or RandomIds(), **(given | changes))


def test_messages_are_kept_verbatim_with_only_the_headers_that_prove_them(tx: Connection, wechat: WeChat) -> None:
    subject = RandomIds().new(NOW, "payment")
    first = message(wechat, at=NOW + timedelta(microseconds=123_456))
    second = message(
        wechat, direction="out", operation="query", verdict="refused", reason="signature", subject=subject, request=b"GET /"
    )
    keep(tx, lane=0, messages=[first, second])
    rows = tx.execute(text("select * from gateways.raw_message order by operation")).all()
    assert [row.message_id for row in rows] == [first.message_id, second.message_id]
    assert rows[0].received_at == first.received_at
    assert bytes(rows[0].body) == first.body
    assert rows[0].headers == '{"request-id":"r","wechatpay-nonce":"n"}'
    assert (rows[0].subject, rows[0].reason, rows[0].request) == (None, None, None)
    assert (rows[1].lane, rows[1].channel, rows[1].direction, rows[1].verdict) == (0, "wechat", "out", "refused")
    assert (rows[1].reason, rows[1].subject, bytes(rows[1].request)) == ("signature", subject, b"GET /")


def test_a_kept_notice_can_be_verified_again(tx: Connection, wechat: WeChat, pair: Pair) -> None:
    paid = PaidOrder(
        order_no="P1", trade_no="T1", provider_no=PROVIDER_NO, merchant_no=MERCHANT_NO, amount_fen=1, paid_at=NOW
    )  # fmt: skip
    headers, body = signed_callback(pair.public_key, paid, api_key=pair.api_key, at=NOW)
    kept = message(wechat, headers=headers, body=body)
    assert wechat.parse_callback(msgspec.json.decode(kept.headers), kept.body, keys=pair.ring, now=NOW).verdict == "verified"


def test_keeping_nothing_does_nothing(tx: Connection) -> None:
    keep(tx, lane=0, messages=[])
    assert tx.execute(text("select count(*) from gateways.raw_message")).scalar_one() == 0


def test_the_same_message_cannot_be_kept_twice(tx: Connection, wechat: WeChat) -> None:
    one = message(wechat)
    keep(tx, lane=0, messages=[one])
    with pytest.raises(psycopg.errors.UniqueViolation):
        keep(tx, lane=0, messages=[one])


def test_a_kept_message_cannot_be_changed_or_deleted(tx: Connection, wechat: WeChat) -> None:
    keep(tx, lane=0, messages=[message(wechat)])
    for statement in ("update gateways.raw_message set body = ''", "delete from gateways.raw_message"):
        with pytest.raises(DBAPIError, match="permission denied"), tx.begin_nested():
            tx.execute(text(statement))


def test_a_simulated_message_has_the_same_id_again_and_another_occasion_another(wechat: WeChat) -> None:
    ids = SeededIds(7)
    assert message(wechat, ids=ids).message_id == message(wechat, ids=SeededIds(7)).message_id
    different = [
        message(wechat, ids=ids, occasion="2"),
        message(wechat, ids=ids, body=b"other"),
        message(wechat, ids=ids, headers={"wechatpay-nonce": "another attempt"}),
        message(wechat, ids=ids, operation="query"),
        message(wechat, ids=SeededIds(8)),
    ]
    assert len({one.message_id for one in [message(wechat, ids=ids), *different]}) == 6
