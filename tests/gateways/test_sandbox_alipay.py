"""Alipay's stand-in over real HTTP: its adapter orders, pays, refunds, debits and fetches bills; nothing is taken on trust."""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateways.alipay import exchange, login, sign, wire
from gateways.alipay.channel import Alipay, Provider
from gateways.alipay.keys import AlipayKeys, inspect, load
from gateways.contract import (
    Answer,
    BillAbsent,
    BillLink,
    BillRefused,
    BillRequest,
    ChannelState,
    CloseOutcome,
    Deduction,
    Entrance,
    FundBillRequest,
    HandOff,
    MandateRef,
    OrderRef,
    PrepayOrder,
    PrepayOutcome,
    Reading,
    RefundOrder,
    RefundRef,
    RefundState,
    Request,
    Result,
    Way,
)
from gateways.sandbox.alipay import demo
from gateways.sandbox.alipay.stand_in import AlipayStandIn
from gateways.sandbox.application import Sandbox
from gateways.sandbox.server import running
from gateways.sandbox.stand_in import DemoKeys, Surroundings
from gateways.sandbox.wechat.signing import Pair
from gateways.transport import HttpTransport
from ledger.clock import SetClock
from tests.gateways.conftest import HTTP, NOW, config_of, free_port

MERCHANT_NO, NEIGHBOUR, DIRECT_NO = "2088001122334455", "2088001122334477", "2088001122334466"
BUYER, PLATE = "2088102233445566", "苏B12345"
DAY = date(2026, 3, 2)


class Chance:
    """Demo keys of one test run; the same name gives the same key."""

    at = NOW - timedelta(days=1)

    @cache  # noqa: B019 one per run
    def rsa(self, name: str) -> bytes:  # noqa: ARG002 each name has a key of its own
        return rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def secret(self, name: str) -> bytes:
        return hashlib.sha256(name.encode()).digest()

    def serial(self, name: str) -> int:
        return int.from_bytes(self.secret(name)[:16], "big")


@pytest.fixture(scope="session")
def demo_keys() -> DemoKeys:
    return demo.make(Chance(), merchants=(MERCHANT_NO, NEIGHBOUR), own={"lake": DIRECT_NO})


class Played:
    """A stand-in that is served, and our side of the line to it."""

    def __init__(self, sandbox: Sandbox, channel: Alipay, keys: AlipayKeys, clock: SetClock, transport: HttpTransport) -> None:
        self.sandbox, self.channel, self.keys, self.clock, self.transport = sandbox, channel, keys, clock, transport
        self.url = sandbox.desk.config.base_url

    def prepay(self, order: PrepayOrder) -> PrepayOutcome:
        request = self.channel.build_prepay(order, keys=self.keys, now=self.clock.now(), nonce="n")
        assert isinstance(request, Request)
        answer = self.transport.send(request)
        return self.channel.parse_prepay(answer, order=order, keys=self.keys, now=self.clock.now(), nonce="n")

    def browser(self, order: PrepayOrder) -> str:
        """Build what a browser takes to the channel."""
        hand_off = self.channel.build_prepay(order, keys=self.keys, now=self.clock.now(), nonce="n")
        assert isinstance(hand_off, HandOff)
        assert hand_off.url is not None
        return hand_off.url

    def query(self, order: PrepayOrder, **changes: Any) -> Reading:
        ref = ref_of(order, **changes)
        answer = self.transport.send(self.channel.build_query(ref, keys=self.keys, now=self.clock.now(), nonce="n"))
        return self.channel.parse_query(answer, order=ref, keys=self.keys, now=self.clock.now())

    def state(self, order: PrepayOrder) -> ChannelState:
        result = self.query(order).result
        assert result is not None
        return result.state

    def close(self, order: PrepayOrder) -> CloseOutcome:
        answer = self.transport.send(self.channel.build_close(ref_of(order), keys=self.keys, now=self.clock.now(), nonce="n"))
        return self.channel.parse_close(answer, order=ref_of(order), keys=self.keys, now=self.clock.now())

    def cancel(self, order: PrepayOrder) -> CloseOutcome:
        answer = self.transport.send(self.channel.build_cancel(ref_of(order), keys=self.keys, now=self.clock.now(), nonce="n"))
        return self.channel.parse_cancel(answer, order=ref_of(order), keys=self.keys, now=self.clock.now())

    def refund(self, wanted: RefundOrder) -> Reading:
        answer = self.transport.send(self.channel.build_refund(wanted, keys=self.keys, now=self.clock.now(), nonce="n"))
        return self.channel.parse_refund(answer, refund=wanted, keys=self.keys, now=self.clock.now())

    def refund_query(self, wanted: RefundOrder) -> Reading:
        ref = RefundRef(
            refund_no=wanted.refund_no, order_no=wanted.order_no, trade_no=wanted.trade_no, merchant_no=wanted.merchant_no,
            asked_at=wanted.asked_at, key_ref=wanted.key_ref,
        )  # fmt: skip
        answer = self.transport.send(self.channel.build_refund_query(ref, keys=self.keys, now=self.clock.now(), nonce="n"))
        return self.channel.parse_refund_query(answer, refund=ref, keys=self.keys, now=self.clock.now())

    def deduct(self, wanted: Deduction) -> Reading:
        answer = self.transport.send(self.channel.build_deduct(wanted, keys=self.keys, now=self.clock.now(), nonce="n"))
        return self.channel.parse_deduct(answer, deduction=wanted, keys=self.keys, now=self.clock.now())

    def link(self, bill: BillRequest) -> BillLink | BillAbsent:
        answer = self.transport.send(self.channel.build_bill(bill, keys=self.keys, now=self.clock.now(), nonce="n"))
        found = self.channel.parse_bill_link(answer, bill=bill, keys=self.keys, now=self.clock.now())
        assert isinstance(found, BillLink | BillAbsent)
        return found

    def download(self, link: BillLink) -> bytes:
        answer = self.transport.send(self.channel.build_bill_download(link, keys=self.keys, now=self.clock.now(), nonce="n"))
        assert isinstance(answer, Answer)
        return self.channel.open_bill(answer, link=link)

    def bill(self, bill: BillRequest) -> bytes:
        link = self.link(bill)
        assert isinstance(link, BillLink), link
        return self.download(link)

    def control(self, path: str, **body: Any) -> Any:
        answer = HTTP.post(f"{self.url}/_control/alipay/{path}", content=msgspec.json.encode(body))
        assert answer.status_code in (200, 204), answer.text
        return answer.json() if answer.content else None

    def fault(self, kind: str, **changes: Any) -> None:
        self.control("faults", faults=[{"kind": kind, **changes}])

    def later(self, **passed: float) -> None:
        self.clock.set(self.clock.now() + timedelta(**passed))

    def read(self, notice: tuple[dict[str, str], bytes]) -> Reading:
        return self.channel.parse_callback(notice[0], notice[1], keys=self.keys, now=self.clock.now())

    def paid(self, number: int = 1, **changes: Any) -> Any:
        """Order inside the app and pay; returns what the stand-in says of the payment."""
        assert self.prepay(order(number, **changes)).state is ChannelState.PENDING
        return self.control("pay", order_no=order(number).order_no)


class Play(Protocol):
    def __call__(self, *, notify_url: str = ..., **changes: Any) -> Played: ...


@pytest.fixture
def play(pair: Pair, demo_keys: DemoKeys, tmp_path: Path) -> Iterator[Play]:
    """Serve a stand-in; ``changes`` go into its configuration."""
    served: list[tuple[Any, HttpTransport]] = []

    def started(*, notify_url: str = "http://127.0.0.1:9/callbacks/alipay", **changes: Any) -> Played:
        port, clock = free_port(), SetClock(NOW)
        config = msgspec.structs.replace(config_of(pair, tmp_path / "sandbox.db", port), clock=clock)
        around = Surroundings(state_dir=tmp_path, base_url=config.base_url, clock=clock, manual=True, seed="test")
        stand_in = AlipayStandIn(around, demo.config(demo_keys.theirs, **changes))
        context, transport = running(config, host="127.0.0.1", port=port, others=[stand_in]), HttpTransport(timeout_seconds=3)
        sandbox = context.__enter__()
        served.append((context, transport))
        provider = Provider(
            app_id=demo.APP_ID, merchant_no=demo.PARTNER_NO, notify_url=notify_url, api_url=f"{config.base_url}/alipay/gateway.do",
            login_url=f"{config.base_url}/alipay/oauth2/publicAppAuthorize.htm",
        )  # fmt: skip
        return Played(sandbox, Alipay(provider), load(demo_keys.ours), clock, transport)

    yield started
    for context, transport in reversed(served):
        transport.close()
        context.__exit__(None, None, None)


def order(number: int = 1, **changes: Any) -> PrepayOrder:
    given: dict[str, Any] = {
        "order_no": f"P{number:027d}", "merchant_no": MERCHANT_NO, "description": "停车费 太湖广场停车场", "amount_fen": 1200,
        "created_at": NOW, "expires_at": NOW + timedelta(minutes=15), "payer_id": BUYER,
    }  # fmt: skip
    return PrepayOrder(**(given | changes))


def by_browser(number: int = 1, **changes: Any) -> PrepayOrder:
    return order(number, **({"way": Way.BROWSER, "payer_id": None, "return_url": "https://pay.example/back?p=1"} | changes))


def by_code(number: int = 1, **changes: Any) -> PrepayOrder:
    return order(number, way=Way.CODE, payer_id=None, **changes)


def ref_of(wanted: PrepayOrder, **changes: Any) -> OrderRef:
    given: dict[str, Any] = {
        "order_no": wanted.order_no, "merchant_no": wanted.merchant_no, "created_at": wanted.created_at,
        "expires_at": wanted.expires_at, "way": wanted.way, "key_ref": wanted.key_ref,
    }  # fmt: skip
    return OrderRef(**(given | changes))


def refund_of(taken: Any, number: int = 1, **changes: Any) -> RefundOrder:
    """A part refund of a payment, as ``paid`` returned it."""
    given: dict[str, Any] = {
        "refund_no": f"R{number:027d}", "order_no": taken["order_no"], "trade_no": taken["trade_no"], "merchant_no": MERCHANT_NO,
        "refund_fen": 400, "total_fen": taken["amount_fen"], "asked_at": NOW, "paid_at": NOW, "reason": "重复缴费",
    }  # fmt: skip
    return RefundOrder(**(given | changes))


def deduction(**changes: Any) -> Deduction:
    given: dict[str, Any] = {
        "order_no": order().order_no, "merchant_no": MERCHANT_NO, "plate": PLATE, "plate_color": "blue", "amount_fen": 1200,
        "description": "停车费", "entered_at": NOW - timedelta(hours=2), "left_at": NOW, "minutes": 120, "lot_no": "PI0001",
        "lot_name": "太湖广场", "created_at": NOW,
    }  # fmt: skip
    return Deduction(**(given | changes))


def agree(played: Played, plate: str = PLATE, **changes: str) -> httpx.Response:
    form = {"plate": plate, "plate_color": "BLUE", "buyer_id": BUYER, **changes}
    return HTTP.post(f"{played.url}/alipay/agreements", data=form)


def only(reading: Reading) -> Result:
    assert reading.result is not None, reading
    return reading.result


def refund_state(reading: Reading) -> RefundState:
    assert reading.refund is not None, reading
    return reading.refund.state


def successes(_: int) -> tuple[int, bytes]:
    return 200, b"success"


# Orders


def test_an_order_inside_the_app_is_paid_told_of_and_asked_for(play: Play) -> None:
    played = play()
    made = played.prepay(order())
    assert made.hand_off is not None
    assert (made.state, made.hand_off.kind, list(made.hand_off.fields)) == (ChannelState.PENDING, "jsapi", ["tradeNO"])
    assert played.state(order()) is ChannelState.PENDING
    paid = played.control("pay", order_no=order().order_no)
    result = only(played.query(order()))
    assert (result.state, result.trade_no) == (ChannelState.SUCCEEDED, made.hand_off.fields["tradeNO"])
    assert (result.amount_fen, result.currency, result.happened_at, result.merchant_no) == (1200, "CNY", NOW, MERCHANT_NO)
    assert (paid["trade_no"], result.provider_no) == (result.trade_no, demo.APP_ID)


def test_a_repeat_is_the_same_trade_and_other_content_is_refused(play: Play) -> None:
    played = play()
    first = played.prepay(order())
    played.later(seconds=5)
    assert played.prepay(order()) == first
    other = played.prepay(order(amount_fen=1300))
    assert (other.state, other.reason) == (ChannelState.UNKNOWN, "order_number_taken")
    played.control("pay", order_no=order().order_no)
    assert played.prepay(order()).reason == "order_paid"


def test_an_operators_own_application_orders_with_its_own_keys(play: Play) -> None:
    played = play()
    own = order(merchant_no=DIRECT_NO, key_ref="lake")
    assert played.prepay(own).state is ChannelState.PENDING
    played.control("pay", order_no=own.order_no)
    assert only(played.query(own)).merchant_no == DIRECT_NO
    absent = only(played.query(order(), expires_at=NOW - timedelta(hours=1)))
    assert absent.state is ChannelState.NOT_FOUND, "the platform's operator has no such order"


def test_a_browser_makes_the_trade_when_it_comes_and_is_led_back_signed(play: Play) -> None:
    played, wanted = play(), by_browser()
    assert played.state(wanted) is ChannelState.PENDING, "nobody has come, anybody may still come"
    arrived = HTTP.get(played.browser(wanted))
    assert (arrived.status_code, played.state(wanted)) == (302, ChannelState.PENDING)
    cashier = played.url + arrived.headers["location"]
    assert "12.00" in HTTP.get(cashier).text
    back = HTTP.post(f"{cashier}/pay")
    assert (back.status_code, played.state(wanted)) == (303, ChannelState.SUCCEEDED)
    target, _, query = back.headers["location"].partition("&")
    assert target == "https://pay.example/back?p=1"
    form = sign.read_form(query.encode())
    app = played.keys.app(None)
    assert exchange.notice_objection(form, app=app, now=NOW) is None
    assert (form.text["out_trade_no"], form.text["total_amount"], form.text["app_id"]) == (wanted.order_no, "12.00", demo.APP_ID)
    again = HTTP.get(played.browser(wanted))
    assert "已支付" in HTTP.get(played.url + again.headers["location"]).text
    assert HTTP.post(f"{cashier}/pay").status_code == 303, "a second tap leads back too"


def test_a_long_order_goes_as_a_form_that_the_gateway_takes(play: Play) -> None:
    played = play()
    wanted = by_browser(description="停" * 200)
    hand_off = played.channel.build_prepay(wanted, keys=played.keys, now=NOW, nonce="n")
    assert isinstance(hand_off, HandOff)
    assert (hand_off.kind, list(hand_off.fields)) == ("form", ["biz_content"])
    assert hand_off.url is not None
    assert HTTP.post(hand_off.url, data=dict(hand_off.fields)).status_code == 302
    assert played.state(wanted) is ChannelState.PENDING


def test_an_altered_address_of_a_browser_makes_no_trade(play: Play) -> None:
    played, wanted = play(), by_browser()
    altered = played.browser(wanted).replace("12.00", "0.01")
    assert HTTP.get(altered).status_code == 400
    assert played.state(msgspec.structs.replace(wanted, expires_at=NOW - timedelta(hours=1))) is ChannelState.NOT_FOUND


def test_a_code_makes_the_trade_when_it_is_scanned(play: Play) -> None:
    played, wanted = play(), by_code()
    made = played.prepay(wanted)
    assert made.hand_off is not None
    assert made.hand_off.kind == "code"
    assert played.prepay(wanted) == made
    assert (played.state(wanted), played.close(wanted).state) == (ChannelState.PENDING, ChannelState.UNKNOWN)
    scanned = HTTP.get(made.hand_off.fields["code"])
    assert scanned.status_code == 302
    HTTP.post(f"{played.url}{scanned.headers['location']}/pay")
    assert played.state(wanted) is ChannelState.SUCCEEDED
    assert played.prepay(by_code(amount_fen=5)).reason == "order_paid"


def test_a_code_of_other_content_is_refused_and_a_dead_one_is_not_scanned(play: Play) -> None:
    played = play()
    made = played.prepay(by_code())
    assert made.hand_off is not None
    assert played.prepay(by_code(amount_fen=5)).reason == "order_number_taken"
    played.later(minutes=15)
    assert HTTP.get(made.hand_off.fields["code"]).status_code == 404
    played.later(minutes=2)
    assert played.state(by_code()) is ChannelState.NOT_FOUND
    assert played.close(by_code()).state is ChannelState.NOT_FOUND


def test_an_unpaid_trade_is_closed_by_its_end_or_by_us_and_a_paid_one_is_not(play: Play) -> None:
    played = play()
    played.prepay(order(1))
    played.prepay(order(2))
    assert (played.close(order(2)).state, played.state(order(2))) == (ChannelState.CLOSED, ChannelState.CLOSED)
    assert played.prepay(order(2)).state is ChannelState.CLOSED
    played.paid(3)
    assert (played.close(order(3)).state, played.close(order(3)).reason) == (ChannelState.UNKNOWN, "order_state")
    played.later(minutes=15)
    assert played.state(order(1)) is ChannelState.CLOSED
    refused = HTTP.post(f"{played.url}/_control/alipay/pay", json={"order_no": order(1).order_no})
    assert refused.status_code == 409


def test_a_cancel_closes_what_is_unpaid_and_gives_back_what_is_paid(play: Play) -> None:
    played = play()
    played.prepay(order(1))
    assert (played.cancel(order(1)).state, played.state(order(1))) == (ChannelState.CLOSED, ChannelState.CLOSED)
    played.paid(2)
    assert played.cancel(order(2)).state is ChannelState.CLOSED
    assert played.cancel(order(2)).state is ChannelState.CLOSED
    assert played.state(order(2)) is ChannelState.SUCCEEDED, "it was paid, and refunded whole"
    nobody = played.cancel(order(3))
    assert (nobody.state, nobody.reason) == (ChannelState.UNKNOWN, "not_found")


def test_the_end_of_refunds_does_not_hide_the_payment(play: Play) -> None:
    played = play(refund_days=90)
    taken = played.paid()
    played.later(days=90)
    assert played.state(order()) is ChannelState.SUCCEEDED
    assert refund_state(played.refund(refund_of(taken))) is RefundState.STUCK


def test_an_unknown_answer_hides_a_trade_that_was_made(play: Play) -> None:
    played = play()
    played.fault("unknown", next=1)
    made = played.prepay(order())
    assert (made.state, made.reason) == (ChannelState.UNKNOWN, "unavailable")
    assert played.state(order()) is ChannelState.PENDING
    assert played.prepay(order()).state is ChannelState.PENDING


# Who calls


def refusal_of(played: Played, request: Request) -> str:
    answer = played.transport.send(request)
    assert isinstance(answer, Answer)
    return str(next(iter(answer_json(answer).values()))["sub_code"])


def answer_json(answer: Answer) -> Any:
    return msgspec.json.decode(answer.body)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("biz_content", '{"out_trade_no":"P2"}', "isv.invalid-signature"),
        ("app_id", "2021000000000009", "isv.invalid-app-id"),
        ("app_auth_token", "x" * 40, "isv.invalid-signature"),
        ("sign_type", "RSA", "isv.invalid-signature"),
        ("sign", "", "isv.missing-sign"),
        ("charset", "latin-9", "isv.invalid-parameter"),
    ],
)
def test_a_call_that_its_application_did_not_sign_is_refused(play: Play, name: str, value: str, said: str) -> None:
    played = play()
    request = played.channel.build_query(ref_of(order()), keys=played.keys, now=NOW, nonce="n")
    fields = dict(parse_qsl(request.body.decode())) | {name: value}
    assert refusal_of(played, msgspec.structs.replace(request, body=urlencode(fields).encode())) == said


def test_a_call_of_another_day_or_without_leave_is_refused(play: Play) -> None:
    played = play()
    old = played.channel.build_query(ref_of(order()), keys=played.keys, now=NOW - timedelta(days=2), nonce="n")
    assert refusal_of(played, old) == "isv.invalid-timestamp"
    app, grant = played.keys.app(None), msgspec.structs.replace(played.keys.grants[MERCHANT_NO], app_auth_token="0" * 40)
    fields = exchange.signed_fields(wire.QUERY, app=app, now=NOW, content='{"out_trade_no":"P1"}', grant=grant)
    assert refusal_of(played, exchange.posted(fields, gateway=played.channel.provider.api_url)) == "aop.invalid-app-auth-token"
    fields = exchange.signed_fields("alipay.nothing", app=app, now=NOW, content="{}")
    assert refusal_of(played, exchange.posted(fields, gateway=played.channel.provider.api_url)) == "isv.invalid-method"


def test_fields_in_the_address_and_in_the_body_are_one_call(play: Play) -> None:
    played = play()
    played.prepay(order())
    request = played.channel.build_query(ref_of(order()), keys=played.keys, now=NOW, nonce="n")
    fields = dict(parse_qsl(request.body.decode()))
    content = {"biz_content": fields.pop("biz_content")}
    for answer in (
        HTTP.post(f"{request.url}?{urlencode(fields)}", data=content),
        HTTP.get(f"{request.url}?{urlencode(fields | content)}"),
    ):
        came = Answer(status=answer.status_code, headers={}, body=answer.content)
        assert (
            only(played.channel.parse_query(came, order=ref_of(order()), keys=played.keys, now=NOW)).state is ChannelState.PENDING
        )


def test_a_rotated_key_goes_on_being_believed_while_both_are_held(play: Play) -> None:
    played = play()
    played.paid()
    before = answer_json_of_query(played)["alipay_cert_sn"]
    played.fault("rotate_key")
    assert played.state(order()) is ChannelState.SUCCEEDED
    assert answer_json_of_query(played)["alipay_cert_sn"] != before
    own = order(2, merchant_no=DIRECT_NO, key_ref="lake")
    assert played.prepay(own).state is ChannelState.PENDING


def answer_json_of_query(played: Played) -> Any:
    answer = played.transport.send(played.channel.build_query(ref_of(order()), keys=played.keys, now=NOW, nonce="n"))
    assert isinstance(answer, Answer)
    return answer_json(answer)


def test_a_payer_is_known_after_the_login_once(play: Play) -> None:
    played = play()
    provider = played.channel.provider
    url = login.login_url(provider, return_url="https://pay.example/who?x=1", state="s1")
    came = HTTP.get(f"{url}&buyer_id={BUYER}")
    back = parse_qs(urlsplit(came.headers["location"]).query)
    assert (came.status_code, back["state"], back["x"], back["app_id"]) == (302, ["s1"], ["1"], [demo.APP_ID])

    def exchanged() -> login.Buyer:
        request = login.build_exchange(provider, code=back["auth_code"][0], keys=played.keys, now=played.clock.now())
        return login.parse_exchange(played.transport.send(request), keys=played.keys, now=played.clock.now())

    assert exchanged() == login.Buyer(payer_id=BUYER)
    assert exchanged() == login.Buyer(reason="ask_again")
    assert HTTP.get(url.replace(demo.APP_ID, "2021000000000009")).status_code == 400


# Refunds


def test_a_refund_is_made_at_once_and_its_repeat_moves_no_second_money(play: Play) -> None:
    played = play()
    wanted = refund_of(played.paid())
    first, again = played.refund(wanted), played.refund(wanted)
    assert (refund_state(first), refund_state(again)) == (RefundState.DONE, RefundState.PENDING)
    told = played.refund_query(wanted).refund
    assert told is not None
    assert (told.state, told.refund_fen, told.happened_at) == (RefundState.DONE, 400, NOW)
    assert played.refund(refund_of(played.control("refund", order_no=order().order_no, amount_fen=100) | {
        "trade_no": wanted.trade_no, "amount_fen": 1200}, 2, refund_fen=800)).reason == "refund_exceeds"  # fmt: skip
    assert refund_state(played.refund(refund_of({"order_no": wanted.order_no, "trade_no": wanted.trade_no, "amount_fen": 1200}, 3,
                                                refund_fen=700))) is RefundState.DONE  # fmt: skip
    assert played.state(order()) is ChannelState.SUCCEEDED


def test_a_refund_of_another_amount_under_the_same_number_says_nothing(play: Play) -> None:
    played = play()
    wanted = refund_of(played.paid())
    played.refund(wanted)
    reading = played.refund(msgspec.structs.replace(wanted, refund_fen=500))
    assert (reading.refund, reading.reason) == (None, "refund_number_taken")


def test_a_refund_that_was_never_asked_for_is_not_there_after_ten_seconds(play: Play) -> None:
    played = play()
    wanted = refund_of(played.paid())
    assert refund_state(played.refund_query(wanted)) is RefundState.PENDING
    played.later(seconds=10)
    assert refund_state(played.refund_query(wanted)) is RefundState.NOT_FOUND


@pytest.mark.parametrize(
    ("kind", "state", "reason"),
    [
        ("refund_not_enough", RefundState.LATER, "balance_short"),
        ("refund_closed", RefundState.REFUSED, "call_refused"),
        ("refund_abnormal", RefundState.STUCK, "refund_not_allowed"),
        ("refund_error", None, "unavailable"),
    ],
)
def test_a_refund_that_is_not_made_says_so(play: Play, kind: str, state: RefundState | None, reason: str) -> None:
    played = play()
    wanted = refund_of(played.paid())
    played.fault(kind, next=1)
    reading = played.refund(wanted)
    assert (None if reading.refund is None else reading.refund.state, reading.reason) == (state, reason)
    played.later(seconds=10)
    assert refund_state(played.refund_query(wanted)) is RefundState.NOT_FOUND
    assert refund_state(played.refund(wanted)) is RefundState.DONE, "the same number may be asked for again"


def test_an_unknown_refund_was_made(play: Play) -> None:
    played = play()
    wanted = refund_of(played.paid())
    played.fault("refund_unknown", next=1)
    assert played.refund(wanted).refund is None
    assert refund_state(played.refund_query(wanted)) is RefundState.DONE


def test_a_merchant_without_money_refunds_nothing(play: Play) -> None:
    played = play(check_balance=True)
    first, second = played.paid(1), played.paid(2, amount_fen=100)
    assert refund_state(played.refund(refund_of(first, 1, refund_fen=1200))) is RefundState.DONE
    assert refund_state(played.refund(refund_of(second, 2, refund_fen=100))) is RefundState.DONE
    played.paid(3, amount_fen=100)
    with_little = order(4, merchant_no=NEIGHBOUR)
    played.prepay(with_little)
    taken = played.control("pay", order_no=with_little.order_no)
    assert refund_state(played.refund(refund_of(taken, 4, merchant_no=NEIGHBOUR))) is RefundState.DONE


def test_the_merchants_console_refunds_without_a_notice_and_the_query_proves_it(play: Play) -> None:
    played = play()
    taken = played.paid()
    page = f"{played.url}/alipay/console/{MERCHANT_NO}"
    assert order().order_no in HTTP.get(page).text
    done = HTTP.post(f"{page}/refund", data={"order_no": order().order_no, "amount": "2.50"})
    assert done.status_code == 303
    refund_no = re.search(r"CONSOLE\d+", HTTP.get(page).text)
    assert refund_no is not None
    told = played.refund_query(refund_of(taken, refund_no=refund_no[0])).refund
    assert told is not None
    assert (told.state, told.refund_fen) == (RefundState.DONE, 250)
    for data, status in [({"order_no": "P9", "amount": "1"}, 404), ({"order_no": order().order_no, "amount": "x"}, 400),
                         ({"order_no": order().order_no, "amount": "9.51"}, 400)]:  # fmt: skip
        assert HTTP.post(f"{page}/refund", data=data).status_code == status


# Parking


def test_a_plate_with_an_agreement_is_debited_once(play: Play) -> None:
    played = play()
    mandate = MandateRef(plate=PLATE, plate_color="blue", merchant_no=MERCHANT_NO)

    def mandated() -> str:
        answer = played.transport.send(played.channel.build_mandate_query(mandate, keys=played.keys, now=NOW, nonce="n"))
        return played.channel.parse_mandate_query(answer, mandate=mandate, keys=played.keys, now=NOW).state

    assert mandated() == "none"
    failed = only(played.deduct(deduction(order_no=order(9).order_no)))
    assert failed.state is ChannelState.FAILED
    assert agree(played).status_code == 303
    assert (mandated(), "已开通" in HTTP.get(f"{played.url}/alipay/agreements", params={"plate": PLATE}).text) == ("open", True)
    taken = only(played.deduct(deduction()))
    assert (taken.state, taken.amount_fen, taken.happened_at) == (ChannelState.SUCCEEDED, 1200, NOW)
    assert played.deduct(deduction()).reason == "order_paid"
    asked = only(played.query(order(), way=Way.DEDUCTION))
    assert msgspec.structs.replace(asked) == taken
    agree(played, act="end")
    assert mandated() == "none"


def test_a_debit_that_was_answered_with_an_error_is_found_by_the_query(play: Play) -> None:
    played = play()
    agree(played)
    played.fault("unknown", next=1)
    assert played.deduct(deduction()).results == ()
    assert only(played.query(order(), way=Way.DEDUCTION)).state is ChannelState.SUCCEEDED


def test_a_car_that_comes_is_told_of_and_may_be_debited(play: Play) -> None:
    played = play()
    agree(played)
    entrance = Entrance(
        entrance_no="E1", merchant_no=MERCHANT_NO, plate=PLATE, plate_color="blue", entered_at=NOW, free_minutes=15,
        lot_no="PI0001", lot_name="太湖广场",
    )  # fmt: skip

    def told() -> Any:
        answer = played.transport.send(played.channel.build_entry(entrance, keys=played.keys, now=NOW, nonce="n"))
        return played.channel.parse_entry(answer, entrance=entrance, keys=played.keys, now=NOW)

    first = told()
    assert (first.verdict, first.state, told()) == ("verified", "open", first)
    assert only(played.deduct(deduction(entry_no=first.entry_no))).state is ChannelState.SUCCEEDED


# Bills


def a_day(play: Play) -> tuple[Played, list[Any]]:
    played = play()
    taken = []
    for number in (1, 2, 3):
        taken.append(played.paid(number, amount_fen=1000 * number))
        played.later(seconds=1)
    played.refund(refund_of(taken[2]))
    played.clock.set(NOW + timedelta(days=1))
    return played, taken


def bill_request(**changes: Any) -> BillRequest:
    given: dict[str, Any] = {"bill_on": DAY, "merchant_no": MERCHANT_NO}
    return BillRequest(**(given | changes))


def test_a_merchants_bill_lists_payments_and_refunds_with_commission(play: Play) -> None:
    played, taken = a_day(play)
    content = played.bill(bill_request())
    bill = played.channel.parse_bill(content, bill=bill_request())
    assert [(line.kind, line.trade_no, line.amount_fen, line.fee_fen, line.refund_no) for line in bill.lines] == [
        ("payment", taken[0]["trade_no"], 1000, 6, None),
        ("payment", taken[1]["trade_no"], 2000, 12, None),
        ("payment", taken[2]["trade_no"], 3000, 18, None),
        ("refund", taken[2]["trade_no"], 400, -2, f"R{1:027d}"),
    ]
    names = [entry.filename.encode("cp437").decode("gbk") for entry in zipfile.ZipFile(io.BytesIO(content)).infolist()]
    stem = f"{MERCHANT_NO}0156_20260302_业务明细"
    assert names == [f"{stem}.csv", f"{stem}(汇总).csv"]
    assert played.bill(bill_request()) == content, "an unchanged day is the same file"


def test_another_merchants_bill_and_another_days_are_refused_as_this_one(play: Play) -> None:
    played, _ = a_day(play)
    neighbours = bill_request(merchant_no=NEIGHBOUR)
    content = played.bill(neighbours)
    assert played.channel.parse_bill(content, bill=neighbours).lines == ()
    for other in (bill_request(), bill_request(merchant_no=NEIGHBOUR, bill_on=DAY - timedelta(days=1))):
        with pytest.raises(BillRefused):
            played.channel.parse_bill(content, bill=other)


def test_the_bill_of_an_operators_own_application_is_asked_for_with_its_keys(play: Play) -> None:
    played, _ = a_day(play)
    own = bill_request(merchant_no=DIRECT_NO, key_ref="lake")
    assert played.channel.parse_bill(played.bill(own), bill=own).lines == ()


def test_a_bill_is_not_there_today_nor_early_tomorrow(play: Play) -> None:
    played = play()
    played.paid()
    assert played.link(bill_request()) == BillAbsent(reason="call_refused")
    played.clock.set(NOW + timedelta(hours=22, minutes=59))
    assert played.link(bill_request()) == BillAbsent(reason="not_ready")
    played.later(minutes=1)
    assert isinstance(played.link(bill_request()), BillLink)


def test_a_bill_address_dies_after_thirty_seconds_with_a_page(play: Play) -> None:
    played, _ = a_day(play)
    link = played.link(bill_request())
    assert isinstance(link, BillLink)
    played.later(seconds=30)
    with pytest.raises(BillRefused) as refused:
        played.download(link)
    assert refused.value.code == "bill_digest"


def test_a_cut_bill_is_refused_and_a_reissued_one_is_whole_the_second_time(play: Play) -> None:
    played, _ = a_day(play)
    played.fault("bill_cut", next=1)
    with pytest.raises(BillRefused):
        played.bill(bill_request())
    played.fault("bill_reissued", next=1)
    lines = [len(played.channel.parse_bill(played.bill(bill_request()), bill=bill_request()).lines) for _ in range(2)]
    assert lines == [3, 4]


def test_the_accounts_bill_has_every_movement_and_ends_in_the_balance(play: Play) -> None:
    played, _ = a_day(play)
    wanted = FundBillRequest(bill_on=DAY, account="signcustomer", merchant_no=MERCHANT_NO)
    answer = played.transport.send(played.channel.build_fund_bill(wanted, keys=played.keys, now=played.clock.now(), nonce="n"))
    link = played.channel.parse_fund_bill_link(answer, bill=wanted, keys=played.keys, now=played.clock.now())
    assert isinstance(link, BillLink)
    bill = played.channel.parse_fund_bill(played.download(link), bill=wanted, keys=played.keys)
    assert [line.income_fen - line.expense_fen for line in bill.lines] == [1000, -6, 2000, -12, 3000, -18, -400, 2]
    assert (bill.income_fen - bill.expense_fen, bill.lines[-1].balance_fen) == (5566, 5566)
    played.later(days=1)
    played.clock.set(played.clock.now())
    page = HTTP.get(f"{played.url}/alipay/console/{MERCHANT_NO}").text
    assert "55.66" in page


# Pages, keys, repeatability


def test_the_cashier_shows_names_leads_back_and_knows_no_other_trades(play: Play) -> None:
    played = play()
    made = played.prepay(order())
    assert made.hand_off is not None
    played.control("merchants", merchants=[{"merchant_no": MERCHANT_NO, "name": "无锡<太湖>停车"}])
    cashier = f"{played.url}/alipay/cashier/{made.hand_off.fields['tradeNO']}"
    text = HTTP.get(cashier, params={"return_url": "https://pay.example/back"}).text
    assert "无锡&lt;太湖&gt;停车" in text
    assert "https%3A%2F%2Fpay.example%2Fback" in text
    cancelled = HTTP.post(f"{cashier}/cancel", params={"return_url": "https://pay.example/back"})
    assert cancelled.headers["location"] == "https://pay.example/back"
    for bad in ("javascript:alert(1)", "https://pay.example/\nx", "//x"):
        assert "javascript" not in HTTP.get(cashier, params={"return_url": bad}).text
        assert HTTP.post(f"{cashier}/cancel", params={"return_url": bad}).status_code == 200
    paid = HTTP.post(f"{cashier}/pay", params={"return_url": "https://pay.example/back"})
    assert (paid.status_code, paid.headers["location"]) == (303, "https://pay.example/back")
    assert HTTP.get(f"{played.url}/alipay/cashier/20260302").status_code == 404


def test_demo_keys_are_in_order_on_our_side(demo_keys: DemoKeys) -> None:
    assert [note for note in inspect(demo_keys.ours) if note.fault] == []
    assert demo.make(Chance(), merchants=(MERCHANT_NO,)).ours.keys() < demo_keys.ours.keys()


def test_the_state_outlives_a_restart_and_numbers_repeat_with_the_seed(play: Play) -> None:
    played = play()
    taken = played.paid()
    again = play()
    assert only(again.query(order())).trade_no == taken["trade_no"]
