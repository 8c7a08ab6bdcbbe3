"""What the tests do with a served stand-in: order, pay, refund, ask, receive notices, steer it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import msgspec

from gateways import calls
from gateways.contract import (
    ChannelState,
    OrderRef,
    PrepayOrder,
    PrepayOutcome,
    Reading,
    RefundOrder,
    RefundRef,
    RefundResult,
    RefundState,
)
from ledger.ids import RandomIds
from tests.gateways.conftest import HTTP, MERCHANT_NO, NOW, Played

SUBJECT = RandomIds().new(NOW, "payment")


def order(number: int = 1, **changes: Any) -> PrepayOrder:
    given: dict[str, Any] = {
        "order_no": f"P{number:027d}",
        "merchant_no": MERCHANT_NO,
        "description": "停车费 太湖广场停车场",
        "amount_fen": 1200,
        "payer_id": "oPayer",
        "created_at": NOW,
        "expires_at": NOW + timedelta(minutes=15),
    }
    return PrepayOrder(**(given | changes))


def reference(wanted: PrepayOrder) -> OrderRef:
    """Name an order as a query or a close does."""
    return OrderRef(
        order_no=wanted.order_no,
        merchant_no=wanted.merchant_no,
        created_at=wanted.created_at,
        expires_at=wanted.expires_at,
        way=wanted.way,
    )


def prepay(played: Played, wanted: PrepayOrder) -> PrepayOutcome:
    return calls.prepay(played.line, wanted, subject=SUBJECT, occasion="1").outcome


def query(played: Played, wanted: PrepayOrder) -> Reading:
    ref = reference(wanted)
    return calls.query(played.line, ref, subject=SUBJECT, occasion="1").outcome


def close(played: Played, wanted: PrepayOrder) -> ChannelState:
    ref = reference(wanted)
    return calls.close(played.line, ref, subject=SUBJECT, occasion="1").outcome.state


def control(played: Played, path: str, **body: Any) -> Any:
    answer = HTTP.post(f"{played.url}/_control/{path}", content=msgspec.json.encode(body))
    assert answer.status_code in (200, 204), answer.text
    return answer.json() if answer.content else None


def pay(played: Played, wanted: PrepayOrder) -> Any:
    return control(played, "pay", order_no=wanted.order_no)


def paid(played: Played, number: int = 1, **changes: Any) -> Any:
    """Order and pay; returns what the stand-in says of the payment."""
    prepay(played, order(number, **changes))
    return pay(played, order(number))


def refund_order(taken: Any, number: int = 1, **changes: Any) -> RefundOrder:
    """A part refund of a payment, as ``paid`` returned it."""
    given: dict[str, Any] = {
        "refund_no": f"R{number:027d}",
        "order_no": taken["order_no"],
        "trade_no": taken["trade_no"],
        "merchant_no": MERCHANT_NO,
        "refund_fen": 400,
        "total_fen": taken["amount_fen"],
        "asked_at": NOW,
        "paid_at": NOW,
        "reason": "重复缴费",
    }
    return RefundOrder(**(given | changes))


def refund(played: Played, wanted: RefundOrder) -> Reading:
    channel, keys, now = played.line.connected.channel, played.line.connected.keys, played.clock.now()
    answer = played.transport.send(channel.build_refund(wanted, keys=keys, now=now, nonce="n"))
    return channel.parse_refund(answer, refund=wanted, keys=keys, now=now)


def refund_query(played: Played, wanted: RefundOrder) -> Reading:
    channel, keys, now = played.line.connected.channel, played.line.connected.keys, played.clock.now()
    ref = RefundRef(
        refund_no=wanted.refund_no,
        order_no=wanted.order_no,
        trade_no=wanted.trade_no,
        merchant_no=wanted.merchant_no,
        asked_at=wanted.asked_at,
    )
    answer = played.transport.send(channel.build_refund_query(ref, keys=keys, now=now, nonce="n"))
    return channel.parse_refund_query(answer, refund=ref, keys=keys, now=now)


def refunded(reading: Reading) -> RefundResult:
    assert reading.refund is not None, reading
    return reading.refund


def refund_state(played: Played, wanted: RefundOrder) -> RefundState:
    return refunded(refund_query(played, wanted)).state


def later(played: Played, seconds: float) -> None:
    """Let time pass."""
    played.clock.set(played.clock.now() + timedelta(seconds=seconds))


def state(played: Played, wanted: PrepayOrder) -> ChannelState:
    result = query(played, wanted).result
    assert result is not None
    return result.state


Inbox = list[tuple[dict[str, str], bytes]]


@contextmanager
def inbox(answer: Callable[[int], int]) -> Iterator[tuple[str, Inbox]]:
    """A receiver of notices; ``answer`` gives the status for the n-th one (from 1)."""
    came: Inbox = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            came.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(answer(len(came)))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/callbacks/wechat", came
        finally:
            server.shutdown()
            thread.join()


def read(played: Played, notice: tuple[dict[str, str], bytes]) -> Reading:
    channel, keys = played.line.connected.channel, played.line.connected.keys
    return channel.parse_callback(notice[0], notice[1], keys=keys, now=played.clock.now())


def arrived(came: list[Any], count: int) -> bool:
    """Wait until so many have come in, half a minute at most."""
    deadline = time.monotonic() + 30
    while len(came) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return len(came) >= count
