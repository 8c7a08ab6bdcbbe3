"""Alipay's notices over real HTTP: the schedule, what stops it, and each fault that the adapter must see or bear."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pytest

from gateways.alipay import wire
from gateways.contract import ChannelState, RefundState
from gateways.sandbox.alipay.notices import SCHEDULE_SECONDS
from tests.gateways.conftest import HTTP, NOW
from tests.gateways.test_sandbox_alipay import (
    BUYER,
    MERCHANT_NO,
    NEIGHBOUR,
    Play,
    agree,
    by_browser,
    deduction,
    demo_keys,
    only,
    order,
    play,
    refund_of,
)

__all__ = ["demo_keys", "play"]
Inbox = list[tuple[dict[str, str], bytes]]


@contextmanager
def inbox(answer: Callable[[int], tuple[int, bytes]] = lambda _: (200, b"success")) -> Iterator[tuple[str, Inbox]]:
    """A receiver of notices; ``answer`` gives status and body for the n-th one (from 1)."""
    came: Inbox = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            came.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status, said = answer(len(came))
            self.send_response(status)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/callbacks/alipay", came
        finally:
            server.shutdown()
            thread.join()


def delivered(played: Any) -> Any:
    return played.control("deliver")


def field(notice: tuple[dict[str, str], bytes], name: str) -> str:
    return parse_qs(notice[1].decode())[name][0]


def test_a_payment_is_told_of_once_when_it_is_taken(play: Play) -> None:
    with inbox() as (url, came):
        played = play(notify_url=url)
        taken = played.paid(attach="lot 7/甲")
        assert delivered(played) == {"attempts": 1, "accepted": 1, "failed": 0, "waiting": 0}
        reading = played.read(came[0])
        result = only(reading)
        assert (reading.verdict, result.state, result.trade_no) == ("verified", ChannelState.SUCCEEDED, taken["trade_no"])
        assert (result.amount_fen, result.currency, result.happened_at) == (1200, "CNY", NOW)
        assert (result.provider_no, result.merchant_no) == (played.channel.provider_no, MERCHANT_NO)
        assert only(played.query(order())) == result
        played.later(days=2)
        assert delivered(played)["attempts"] == 0


@pytest.mark.parametrize("said", [(200, b""), (200, b"success\n"), (200, b'"success"'), (200, b"fail"), (500, b"success"),
                                  (302, b"success")])  # fmt: skip
def test_anything_but_the_bare_word_makes_it_come_again_seven_times(play: Play, said: tuple[int, bytes]) -> None:
    with inbox(lambda _: said) as (url, came):
        played = play(notify_url=url)
        played.paid()
        for seconds in (0.0, *SCHEDULE_SECONDS, 1e6):
            played.later(seconds=max(seconds - 1, 0))
            before = len(came)
            delivered(played)
            assert len(came) == before + (seconds == 0), "nothing comes before its time"
            played.later(seconds=min(seconds, 1))
            delivered(played)
        assert len(came) == 8
        assert len({field(notice, "notify_id") for notice in came}) == 1
        assert len({field(notice, "notify_time") for notice in came}) == 8
        assert {only(played.read(notice)).state for notice in came} == {ChannelState.SUCCEEDED}


def test_our_own_acknowledgements_stop_it_and_keep_it_coming(play: Play) -> None:
    with inbox(lambda number: (200, wire.ACCEPTED) if number > 1 else (200, wire.NOT_ACCEPTED)) as (url, came):
        played = play(notify_url=url)
        accepted, refused = played.channel.ack(accepted=True), played.channel.ack(accepted=False, reason="signature")
        assert ((accepted.status, accepted.body), refused.body) == ((200, b"success"), b"fail")
        played.paid()
        assert delivered(played)["accepted"] == 0
        played.later(minutes=4)
        assert (delivered(played)["accepted"], len(came)) == (1, 2)


@pytest.mark.parametrize(
    ("kind", "verdict", "reason"),
    [
        ("wrong_signature", "refused", "signature"),
        ("wrong_amount", "verified", None),
        ("other_merchant", "unreadable", "other_merchant"),
    ],
)
def test_a_wrong_notice_is_seen_and_the_next_attempt_is_right(play: Play, kind: str, verdict: str, reason: str | None) -> None:
    with inbox(lambda number: (200, b"success" if number > 1 else b"fail")) as (url, came):
        played = play(notify_url=url)
        played.fault(kind)
        played.paid()
        delivered(played)
        wrong = played.read(came[0])
        assert (wrong.verdict, wrong.reason) == (verdict, reason)
        if kind == "wrong_amount":
            assert only(wrong).amount_fen == 1201, "genuine: only the book knows the right amount"
        played.later(minutes=4)
        delivered(played)
        assert only(played.read(came[1])).amount_fen == 1200


def test_late_twice_never_and_out_of_order_notices(play: Play) -> None:
    with inbox() as (url, came):
        played = play(notify_url=url)
        played.control(
            "faults",
            faults=[
                {"kind": "late", "order_like": "*1", "seconds": 60}, {"kind": "twice", "order_like": "*2"},
                {"kind": "never", "order_like": "*3"}, {"kind": "out_of_order", "order_like": "*4"},
            ],
        )  # fmt: skip
        for number in (1, 2, 3, 4):
            played.paid(number)
        played.later(seconds=1)
        delivered(played)
        assert [field(notice, "out_trade_no")[-1] for notice in came] == ["2", "2"]
        played.later(seconds=600)
        delivered(played)
        assert sorted(field(notice, "out_trade_no")[-1] for notice in came) == ["1", "2", "2", "4"]


def test_a_refund_is_told_of_by_its_number_and_not_as_a_payment(play: Play) -> None:
    with inbox() as (url, came):
        played = play(notify_url=url)
        taken = played.paid()
        delivered(played)
        played.refund(refund_of(taken, 1))
        played.refund(refund_of(taken, 2, refund_fen=800))
        played.refund(refund_of(taken, 2, refund_fen=800))
        delivered(played)
        told = [played.read(notice) for notice in came[1:]]
        assert [reading.results for reading in told] == [(), ()]
        refunds = [reading.refund for reading in told if reading.refund is not None]
        assert [(one.refund_no, one.state, one.trade_no, one.happened_at) for one in refunds] == [
            (f"R{number:027d}", RefundState.DONE, taken["trade_no"], NOW) for number in (1, 2)
        ]
        assert [field(notice, "refund_fee") for notice in came[1:]] == ["4.00", "12.00"]
        assert [field(notice, "trade_status") for notice in came[1:]] == ["TRADE_SUCCESS", "TRADE_CLOSED"]
        played.control("refund", order_no=order(2).order_no) if played.paid(2) else None
        assert delivered(played)["attempts"] == 1, "the console's refund is not told of"


@pytest.mark.parametrize(("kind", "count"), [("refund_never", 0), ("refund_twice", 2), ("refund_late", 0)])
def test_faults_of_refund_notices(play: Play, kind: str, count: int) -> None:
    with inbox() as (url, came):
        played = play(notify_url=url)
        played.fault(kind, seconds=60)
        taken = played.paid()
        delivered(played)
        played.refund(refund_of(taken))
        played.later(seconds=1)
        delivered(played)
        assert len(came) == 1 + count
        played.later(seconds=60)
        delivered(played)
        assert len(came) == 1 + (count or (kind == "refund_late"))


def test_an_unpaid_browser_order_is_told_of_when_it_ends_and_a_paid_one_is_not(play: Play) -> None:
    with inbox() as (url, came):
        played = play(notify_url=url)
        for number in (1, 2, 3):
            HTTP.get(played.browser(by_browser(number)))
        played.control("pay", order_no=order(2).order_no)
        delivered(played)
        assert played.close(by_browser(3)).state is ChannelState.CLOSED
        delivered(played)
        played.later(minutes=15)
        delivered(played)
        told = [only(played.read(notice)) for notice in came]
        assert [(one.order_no[-1], one.state) for one in told] == [
            ("2", ChannelState.SUCCEEDED), ("3", ChannelState.CLOSED), ("1", ChannelState.CLOSED)
        ]  # fmt: skip


def test_a_debit_and_an_operators_own_trade_are_told_of_too(play: Play) -> None:
    with inbox() as (url, came):
        played = play(notify_url=url)
        agree(played)
        played.deduct(deduction())
        played.paid(2, merchant_no="2088001122334466", key_ref="lake")
        played.paid(3, merchant_no=NEIGHBOUR)
        delivered(played)
        told = sorted((only(played.read(notice)) for notice in came), key=lambda one: one.order_no)
        assert [one.merchant_no for one in told] == [MERCHANT_NO, "2088001122334466", NEIGHBOUR]
        assert {field(notice, "buyer_id") for notice in came} == {BUYER}


def test_notices_after_a_rotation_are_signed_with_the_next_key(play: Play) -> None:
    with inbox() as (url, came):
        played = play(notify_url=url)
        played.paid(1)
        delivered(played)
        played.fault("rotate_key")
        played.paid(2)
        delivered(played)
        assert len({field(notice, "alipay_cert_sn") for notice in came}) == 2
        assert {only(played.read(notice)).state for notice in came} == {ChannelState.SUCCEEDED}
