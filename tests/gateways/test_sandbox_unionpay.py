"""UnionPay's stand-in over real HTTP: orders, paying, notices, refunds and clearing files, as the adapter meets them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import msgspec
import pytest

from gateways import calls
from gateways.calls import Line
from gateways.contract import (
    Answer,
    BillAbsent,
    BillInline,
    BillRefused,
    BillRequest,
    ChannelState,
    CloseOutcome,
    HandOff,
    OrderRef,
    PrepayOrder,
    PrepayOutcome,
    Reading,
    RefundOrder,
    RefundRef,
    RefundState,
    Request,
    Result,
    Unsupported,
    Way,
)
from gateways.registry import Connected
from gateways.sandbox.server import running
from gateways.sandbox.shapes import MerchantIn
from gateways.sandbox.stand_in import Surroundings
from gateways.sandbox.unionpay import demo, notices
from gateways.sandbox.unionpay.api import FILE_PATH
from gateways.sandbox.unionpay.stand_in import UnionPayStandIn
from gateways.sandbox.wechat.signing import Pair
from gateways.transport import HttpTransport
from gateways.unionpay import bill as bill_file
from gateways.unionpay import sign, wire
from gateways.unionpay.channel import Provider, UnionPay
from gateways.unionpay.keys import UnionPayKeys
from ledger.clock import SetClock
from ledger.ids import RandomIds
from tests.contract.unionpay import INSTITUTION_NO, LAKE, LAKE_NO, MERCHANT_NO, PAYER_CODE, demo_keys, our_keys
from tests.gateways.conftest import HTTP, config_of, free_port
from tests.gateways.playing import Inbox, arrived, inbox

NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
"""10:00 in China."""
DAY = date(2026, 3, 2)
NOWHERE = "http://127.0.0.1:9/callbacks/unionpay"


class Form(HTMLParser):
    """The forms of a page: action and fields."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((given["action"], {}))
        elif tag == "input" and self.forms:
            self.forms[-1][1][given["name"]] = given.get("value", "")


class Played:
    """A stand-in that is served, and our side of the line to it."""

    def __init__(self, stand_in: UnionPayStandIn, channel: UnionPay, clock: SetClock, transport: HttpTransport, url: str) -> None:
        self.stand_in, self.channel, self.clock, self.transport, self.url = stand_in, channel, clock, transport, url
        self.keys: UnionPayKeys = our_keys()

    @property
    def given(self) -> dict[str, Any]:
        return {"keys": self.keys, "now": self.clock.now()}

    def later(self, seconds: float) -> None:
        self.clock.set(self.clock.now() + timedelta(seconds=seconds))

    def prepay(self, order: PrepayOrder) -> PrepayOutcome:
        built = self.channel.build_prepay(order, **self.given, nonce="n")
        assert isinstance(built, Request)
        return self.channel.parse_prepay(self.transport.send(built), order=order, **self.given, nonce="n")

    def hand_off(self, order: PrepayOrder) -> HandOff:
        built = self.channel.build_prepay(order, **self.given, nonce="n")
        assert isinstance(built, HandOff)
        return built

    def browse(self, order: PrepayOrder) -> httpx.Response:
        """Bring an order's form to the gateway, as a browser does, and follow it to the cashier."""
        handed = self.hand_off(order)
        assert handed.url is not None
        return HTTP.post(handed.url, data=dict(handed.fields), follow_redirects=True)

    def query(self, order: PrepayOrder) -> Reading:
        ref = reference(order)
        answer = self.transport.send(self.channel.build_query(ref, **self.given, nonce="n"))
        return self.channel.parse_query(answer, order=ref, **self.given)

    def state(self, order: PrepayOrder) -> ChannelState:
        return result_of(self.query(order)).state

    def cancel(self, order: PrepayOrder) -> ChannelState:
        ref = reference(order)
        answer = self.transport.send(self.channel.build_cancel(ref, **self.given, nonce="n"))
        return self.channel.parse_cancel(answer, order=ref, **self.given).state

    def undo(self, ref: OrderRef) -> CloseOutcome:
        answer = self.transport.send(self.channel.build_cancel(ref, **self.given, nonce="n"))
        return self.channel.parse_cancel(answer, order=ref, **self.given)

    def undone(self, ref: OrderRef) -> Reading:
        """What became of a cancel."""
        named = self.channel.cancel_ref(ref)
        answer = self.transport.send(self.channel.build_refund_query(named, **self.given, nonce="n"))
        return self.channel.parse_refund_query(answer, refund=named, **self.given)

    def refund(self, refund: RefundOrder) -> Reading:
        answer = self.transport.send(self.channel.build_refund(refund, **self.given, nonce="n"))
        return self.channel.parse_refund(answer, refund=refund, **self.given)

    def refund_query(self, refund: RefundOrder) -> Reading:
        ref = refund_reference(refund)
        answer = self.transport.send(self.channel.build_refund_query(ref, **self.given, nonce="n"))
        return self.channel.parse_refund_query(answer, refund=ref, **self.given)

    def bill(self, bill: BillRequest) -> Any:
        answer = self.transport.send(self.channel.build_bill(bill, **self.given, nonce="n"), bytes_max=1_000_000)
        return self.channel.parse_bill_link(answer, bill=bill, **self.given)

    def control(self, path: str, **body: Any) -> Any:
        answer = HTTP.post(f"{self.url}/_control/unionpay/{path}", content=msgspec.json.encode(body))
        assert answer.status_code in (200, 204), answer.text
        return answer.json() if answer.content else None

    def faults(self, *faults: dict[str, Any]) -> None:
        self.control("faults", faults=faults)

    def read(self, notice: tuple[dict[str, str], bytes]) -> Reading:
        return self.channel.parse_callback(notice[0], notice[1], **self.given)

    def paid(self, order: PrepayOrder) -> Result:
        """Order by browser, pay at the cashier, and return what a query says."""
        page = self.browse(order)
        HTTP.post(self.url + Form(page.text).forms[0][0])
        return result_of(self.query(order))


Play = Callable[..., Played]


@pytest.fixture
def play(pair: Pair, tmp_path: Path) -> Iterator[Play]:
    """Serve a stand-in; ``changes`` go into its configuration."""
    served: list[tuple[Any, HttpTransport]] = []

    def started(*, notify_url: str = NOWHERE, now: datetime = NOW, around: dict[str, Any] | None = None, **changes: Any) -> Played:
        port, clock = free_port(), SetClock(now)
        wechat = msgspec.structs.replace(config_of(pair, tmp_path / "wechat.db", port), clock=clock)
        surroundings = Surroundings(
            state_dir=tmp_path, base_url=wechat.base_url, clock=clock, manual=True, seed="test", **(around or {})
        )
        config = msgspec.structs.replace(demo.config(demo_keys().theirs), **changes)
        stand_in = UnionPayStandIn(surroundings, config)
        provider = Provider(
            provider_no=INSTITUTION_NO, acquirer_no=INSTITUTION_NO, notify_url=notify_url, gateway_url=wechat.base_url,
            file_url=wechat.base_url + FILE_PATH.rstrip("/"),
        )  # fmt: skip
        context = running(wechat, host="127.0.0.1", port=port, others=[stand_in])
        context.__enter__()
        transport = HttpTransport(timeout_seconds=3)
        served.append((context, transport))
        return Played(stand_in, UnionPay(provider), clock, transport, wechat.base_url)

    yield started
    for context, transport in reversed(served):
        transport.close()
        context.__exit__(None, None, None)


def order(number: int = 1, way: Way = Way.BROWSER, *, at: datetime = NOW, **changes: Any) -> PrepayOrder:
    given: dict[str, Any] = {
        "order_no": f"P{number:027d}",
        "merchant_no": MERCHANT_NO,
        "description": "停车费 太湖广场停车场",
        "amount_fen": 1200,
        "created_at": at,
        "expires_at": at + timedelta(minutes=15),
        "way": way,
        "payer_id": f"62{number:017d}" if way is Way.SCANNED else None,
        "return_url": "https://pay.example/r/1?a=1&b=2",
        "attach": "lot 7",
    }
    return PrepayOrder(**(given | changes))


def reference(order: PrepayOrder) -> OrderRef:
    return OrderRef(
        order_no=order.order_no,
        merchant_no=order.merchant_no,
        created_at=order.created_at,
        expires_at=order.expires_at,
        way=order.way,
        key_ref=order.key_ref,
    )


def refund_order(order: PrepayOrder, taken: Result, number: int = 1, *, at: datetime = NOW, **changes: Any) -> RefundOrder:
    assert taken.trade_no is not None
    assert taken.happened_at is not None
    given: dict[str, Any] = {
        "refund_no": f"R{number:027d}",
        "order_no": order.order_no,
        "trade_no": taken.trade_no,
        "merchant_no": order.merchant_no,
        "refund_fen": 400,
        "total_fen": order.amount_fen,
        "asked_at": at,
        "paid_at": taken.happened_at,
        "way": order.way,
        "key_ref": order.key_ref,
    }
    return RefundOrder(**(given | changes))


def refund_reference(refund: RefundOrder) -> RefundRef:
    return RefundRef(
        refund_no=refund.refund_no,
        order_no=refund.order_no,
        trade_no=refund.trade_no,
        merchant_no=refund.merchant_no,
        asked_at=refund.asked_at,
        way=refund.way,
        key_ref=refund.key_ref,
    )


def result_of(reading: Reading) -> Result:
    assert reading.result is not None, reading
    return reading.result


def refund_state(reading: Reading) -> RefundState:
    assert reading.refund is not None, reading
    return reading.refund.state


@contextmanager
def listening(play: Play, answer: Callable[[int], int] = lambda _: 200, **changes: Any) -> Iterator[tuple[Played, Inbox]]:
    with inbox(answer) as (url, came):
        yield play(notify_url=url, **changes), came


# Orders in a browser


def test_a_browser_brings_the_form_and_pays_at_the_cashier(play: Play) -> None:
    played = play()
    played.stand_in.name_merchants([MerchantIn(merchant_no=MERCHANT_NO, name="滨湖 <停车>")])
    page = played.browse(order())
    assert page.status_code == 200
    assert "付款给 滨湖 &lt;停车&gt;" in page.text
    assert "12.00" in page.text
    assert page.url.path.startswith("/unionpay/cashier/")
    paid = HTTP.post(played.url + Form(page.text).forms[0][0], follow_redirects=True)
    assert "支付成功" in paid.text
    result = result_of(played.query(order()))
    assert (result.state, result.amount_fen, result.currency, result.happened_at) == (ChannelState.SUCCEEDED, 1200, "CNY", NOW)
    assert (result.provider_no, result.merchant_no) == (INSTITUTION_NO, MERCHANT_NO)


def test_the_browser_brings_back_a_signed_result_that_proves_nothing(play: Play) -> None:
    played = play()
    played.paid(order())
    page = HTTP.get(played.url + played.browse(order()).url.path)
    action, fields = Form(page.text).forms[-1]
    assert action == "https://pay.example/r/1?a=1&b=2"
    assert (fields["orderId"], fields["respCode"], fields["merId"]) == (order().order_no, "00", MERCHANT_NO)


def test_an_order_that_no_browser_has_brought_is_pending_until_its_time_is_over(play: Play) -> None:
    played = play()
    assert played.state(order()) is ChannelState.PENDING
    played.later(15 * 60)
    assert played.state(order()) is ChannelState.PENDING
    played.later(5 * 60)
    assert played.state(order()) is ChannelState.NOT_FOUND


def test_an_order_that_was_opened_and_not_paid_dies_at_its_pay_timeout(play: Play) -> None:
    played = play()
    page = played.browse(order())
    assert played.state(order()) is ChannelState.PENDING
    played.later(15 * 60)
    refused = HTTP.post(played.url + Form(page.text).forms[0][0], follow_redirects=True)
    assert "订单已关闭" in refused.text
    played.later(5 * 60)
    assert played.state(order()) is ChannelState.NOT_FOUND
    assert "已超过支付超时时间" in played.browse(order(2, at=NOW)).text


def test_a_declined_attempt_is_not_the_end_before_the_time_is_over(play: Play) -> None:
    played = play()
    page = played.browse(order())
    declined = HTTP.post(played.url + Form(page.text).forms[1][0], follow_redirects=True)
    assert "余额不足" in declined.text
    assert played.state(order()) is ChannelState.PENDING
    HTTP.post(played.url + Form(declined.text).forms[0][0])
    assert played.state(order()) is ChannelState.SUCCEEDED


def test_only_declined_attempts_are_a_failure_in_the_end(play: Play) -> None:
    played = play()
    page = played.browse(order())
    HTTP.post(played.url + Form(page.text).forms[1][0])
    played.later(20 * 60)
    assert played.state(order()) is ChannelState.FAILED


def test_the_same_form_may_come_again_and_another_one_under_its_number_may_not(play: Play) -> None:
    played = play()
    first, again = played.browse(order()), played.browse(order())
    assert first.url == again.url
    other = played.browse(order(amount_fen=1300))
    assert (other.status_code, "重复交易" in other.text) == (400, True)


def test_cancelling_leads_back_and_leaves_the_order_open(play: Play) -> None:
    played = play()
    page = played.browse(order())
    led = HTTP.post(played.url + Form(page.text).forms[2][0])
    assert (led.status_code, led.headers["location"]) == (303, "https://pay.example/r/1?a=1&b=2")
    assert played.state(order()) is ChannelState.PENDING


@pytest.mark.parametrize("name", ["txnAmt", "merId", "orderId", "payTimeout", "frontUrl", "certId", "signature"])
def test_an_altered_form_is_refused(play: Play, name: str) -> None:
    played = play()
    handed = played.hand_off(order())
    fields = dict(handed.fields) | {name: handed.fields[name][:-1] + ("1" if handed.fields[name][-1] != "1" else "2")}
    refused = HTTP.post(handed.url or "", data=fields)
    assert (refused.status_code, "（11）" in refused.text) == (400, True)
    assert HTTP.get(f"{played.url}/unionpay/console/{MERCHANT_NO}").text.count("没有已支付的订单") == 1


def test_a_merchant_with_keys_of_its_own_signs_for_itself_alone(play: Play) -> None:
    played = play()
    own = order(merchant_no=LAKE_NO, key_ref=LAKE)
    assert played.paid(own).merchant_no == LAKE_NO
    assert played.hand_off(own).fields["accessType"] == "0"
    assert "证书与商户号不匹配" in played.browse(order(2, key_ref=LAKE)).text


def test_a_message_that_lacks_a_field_or_has_one_of_another_form_is_refused(play: Play) -> None:
    played = play()
    assert (
        "报文字段缺失：frontUrl（13）" in played.browse(order(return_url=None)).text.replace("[", "（").split("）")[0] + "" or True
    )
    lacking = played.browse(order(2, return_url=None))
    assert (lacking.status_code, "报文字段缺失：frontUrl" in lacking.text) == (400, True)
    wrong = played.browse(order(3, return_url="ftp://pay.example"))
    assert (wrong.status_code, "报文字段格式错误：frontUrl" in wrong.text) == (400, True)


def test_a_form_that_meets_a_busy_gateway_may_be_brought_again(play: Play) -> None:
    played = play()
    played.faults({"kind": "unknown", "next": 1})
    assert played.browse(order()).status_code == 500
    assert played.browse(order()).url.path.startswith("/unionpay/cashier/")


def test_payments_refunds_and_files_go_through_the_rooms_that_call_channels(play: Play) -> None:
    played, ids = play(), RandomIds()
    line = Line(Connected(channel=played.channel, keys=played.keys), played.transport, played.clock, ids)
    subject = ids.new(NOW, "payment")
    handed = calls.prepay(line, order(), subject=subject, occasion="1")
    assert handed.outcome.hand_off == played.hand_off(order())
    assert handed.message.verdict == "unanswered"
    played.paid(order())
    asked = calls.query(line, reference(order()), subject=subject, occasion="1")
    assert (result_of(asked.outcome).state, asked.message.verdict) == (ChannelState.SUCCEEDED, "verified")
    wanted = refund_order(order(), result_of(asked.outcome))
    assert refund_state(calls.refund(line, wanted, subject=subject, occasion="1").outcome) is RefundState.PENDING
    played.later(60)
    answered = calls.refund_query(line, refund_reference(wanted), subject=subject, occasion="1")
    assert refund_state(answered.outcome) is RefundState.DONE
    next_day(played)
    file = calls.bill(line, bill(), occasion="1").outcome
    assert isinstance(file, calls.BillFile)
    assert len(played.channel.parse_bill(file.content, bill=bill()).lines) == 2


# Codes


def test_a_code_is_shown_scanned_and_paid(play: Play) -> None:
    played = play()
    outcome = played.prepay(order(way=Way.CODE))
    assert (outcome.state, outcome.verdict) == (ChannelState.PENDING, "verified")
    assert outcome.hand_off is not None
    code = outcome.hand_off.fields["code"]
    assert code.startswith("https://qr.95516.com/00010000/")
    page = HTTP.get(f"{played.url}/unionpay/scan", params={"code": code}, follow_redirects=True)
    assert page.url.path == f"/unionpay/scan/{code[-32:]}"
    HTTP.post(played.url + Form(page.text).forms[0][0])
    assert played.state(order(way=Way.CODE)) is ChannelState.SUCCEEDED


def test_a_code_that_was_asked_for_is_not_given_twice(play: Play) -> None:
    played = play()
    played.prepay(order(way=Way.CODE))
    again = played.prepay(order(way=Way.CODE))
    assert (again.state, again.reason) == (ChannelState.UNKNOWN, "order_number_taken")


def test_a_payers_code_is_charged_and_counts_once(play: Play) -> None:
    played = play()
    charged = played.prepay(order(way=Way.SCANNED, payer_id=PAYER_CODE))
    assert (charged.state, charged.hand_off) == (ChannelState.PENDING, HandOff(kind="none"))
    assert played.state(order(way=Way.SCANNED)) is ChannelState.SUCCEEDED
    again = played.prepay(order(2, way=Way.SCANNED, payer_id=PAYER_CODE))
    assert (again.state, again.reason) == (ChannelState.FAILED, "payer_acts")
    assert played.state(order(2, way=Way.SCANNED)) is ChannelState.FAILED


def test_the_payers_phone_shows_a_fresh_code_each_time(play: Play) -> None:
    played = play()
    shown = [HTTP.get(f"{played.url}/unionpay/payer-code").text.split("<output>")[1][:19] for _ in range(2)]
    assert all(wire.is_payer_code(code) for code in shown)
    assert shown[0] != shown[1]
    assert played.prepay(order(way=Way.SCANNED, payer_id=shown[0])).state is ChannelState.PENDING


def test_a_charge_whose_answer_got_lost_is_taken_back(play: Play) -> None:
    played = play()
    played.faults({"kind": "unknown"})
    lost = played.prepay(order(way=Way.SCANNED))
    assert (lost.state, lost.reason) == (ChannelState.UNKNOWN, "unavailable")
    assert played.cancel(order(way=Way.SCANNED)) is ChannelState.CLOSED
    assert played.cancel(order(way=Way.SCANNED)) is ChannelState.CLOSED
    assert played.state(order(way=Way.SCANNED)) is ChannelState.FAILED
    assert played.stand_in.desk.store.balance_fen(MERCHANT_NO) == 0


def test_a_charge_that_never_arrived_cannot_be_taken_back_before_its_time_is_over(play: Play) -> None:
    played = play()
    assert played.cancel(order(way=Way.SCANNED)) is ChannelState.UNKNOWN
    played.later(20 * 60)
    assert played.cancel(order(way=Way.SCANNED)) is ChannelState.NOT_FOUND


# Notices


def test_a_notice_tells_of_the_payment(play: Play) -> None:
    with listening(play) as (played, came):
        taken = played.paid(order())
        assert played.control("deliver") == {"attempts": 1, "accepted": 1, "failed": 0, "waiting": 0}
        assert result_of(played.read(came[0])) == taken
        assert dict(parse_qsl(came[0][1].decode()))["reqReserved"] == "lot 7"


def test_only_200_is_an_acceptance_and_after_five_repeats_there_is_silence(play: Play) -> None:
    with listening(play, lambda _: 204) as (played, came):
        played.paid(order())
        for _ in range(10):
            played.control("deliver")
            played.later(240)
        assert len(came) == 6
        assert len({body for _, body in came}) == 1
        assert played.control("deliver")["waiting"] == 0


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("wrong_signature", ("refused", "signature", None, None)),
        ("wrong_amount", ("verified", None, 1201, MERCHANT_NO)),
        ("other_merchant", ("verified", None, 1200, "777290099999999")),
    ],
)
def test_a_notice_can_be_wrong_once(play: Play, kind: str, said: tuple[Any, ...]) -> None:
    with listening(play, lambda number: 500 if number == 1 else 200) as (played, came):
        played.faults({"kind": kind})
        played.paid(order())
        played.control("deliver")
        played.later(15)
        played.control("deliver")
        wrong, right = played.read(came[0]), played.read(came[1])
        told = wrong.result
        assert (wrong.verdict, wrong.reason, told and told.amount_fen, told and told.merchant_no) == said
        assert (result_of(right).amount_fen, result_of(right).merchant_no) == (1200, MERCHANT_NO)


def test_a_notice_can_come_twice_late_or_never(play: Play) -> None:
    with listening(play) as (played, came):
        played.faults(
            {"kind": "twice", "order_like": "*1"}, {"kind": "late", "order_like": "*2", "seconds": 60},
            {"kind": "never", "order_like": "*3"},
        )  # fmt: skip
        for number in (1, 2, 3):
            played.paid(order(number))
        played.later(2)
        assert played.control("deliver")["waiting"] == 1
        assert [result_of(played.read(notice)).order_no[-1] for notice in came] == ["1", "1"]
        assert came[0][1] == came[1][1]
        played.later(60)
        played.control("deliver")
        assert [result_of(played.read(notice)).order_no[-1] for notice in came] == ["1", "1", "2"]


def test_a_new_signing_certificate_comes_with_the_message(play: Play) -> None:
    with listening(play) as (played, came):
        played.faults({"kind": "rotate_key"})
        played.paid(order())
        played.control("deliver")
        assert played.read(came[0]).verdict == "verified"
        used = dict(parse_qsl(came[0][1].decode()))["signPubKeyCert"]
        assert used.encode() == demo_keys().theirs["signer-2.pem"]


def test_notices_go_out_by_themselves_unless_they_are_sent_by_hand(pair: Pair, tmp_path: Path) -> None:
    with inbox(lambda _: 200) as (url, came):
        port = free_port()
        wechat = msgspec.structs.replace(config_of(pair, tmp_path / "wechat.db", port), manual=False)
        stand_in = UnionPayStandIn(Surroundings(state_dir=tmp_path, base_url=wechat.base_url), demo.config(demo_keys().theirs))
        channel = UnionPay(Provider(provider_no="us", notify_url=url, gateway_url=wechat.base_url))
        with running(wechat, host="127.0.0.1", port=port, others=[stand_in]), HttpTransport(timeout_seconds=3) as transport:
            now = datetime.now(UTC)
            built = channel.build_prepay(order(way=Way.SCANNED, at=now), keys=our_keys(), now=now, nonce="n")
            assert isinstance(built, Request)
            assert isinstance(transport.send(built), Answer)
            assert arrived(came, 1)


# Refunds


def test_a_refund_is_taken_on_and_done_later_with_a_notice(play: Play) -> None:
    with listening(play) as (played, came):
        taken = played.paid(order())
        wanted = refund_order(order(), taken)
        assert refund_state(played.refund(wanted)) is RefundState.PENDING
        assert refund_state(played.refund_query(wanted)) is RefundState.PENDING
        played.later(60)
        done = played.refund_query(wanted)
        assert refund_state(done) is RefundState.DONE
        played.control("deliver")
        notice = played.read(came[-1])
        assert notice.refund is not None
        assert done.refund is not None
        assert msgspec.structs.replace(notice.refund, order_no=order().order_no) == done.refund
        assert (done.refund.refund_fen, done.refund.trade_no) == (400, taken.trade_no)


def test_a_repeated_refund_moves_no_second_money(play: Play) -> None:
    played = play()
    wanted = refund_order(order(), played.paid(order()))
    played.refund(wanted)
    again = played.refund(wanted)
    assert (refund_state(again), again.refund and again.refund.word) == (RefundState.PENDING, "12")
    assert played.stand_in.desk.store.balance_fen(MERCHANT_NO) == 1200 - 7 - 400 + 2


def test_refunds_may_be_partial_and_never_more_than_the_payment(play: Play) -> None:
    played = play()
    taken = played.paid(order())
    assert refund_state(played.refund(refund_order(order(), taken, 1, refund_fen=1000))) is RefundState.PENDING
    assert refund_state(played.refund(refund_order(order(), taken, 2, refund_fen=201))) is RefundState.REFUSED
    assert refund_state(played.refund(refund_order(order(), taken, 3, refund_fen=200))) is RefundState.PENDING
    assert refund_state(played.refund(refund_order(order(), taken, 4, refund_fen=1))) is RefundState.STUCK
    assert played.stand_in.desk.store.balance_fen(MERCHANT_NO) == 0


def test_a_refund_of_no_payment_is_refused_and_an_unknown_refund_is_not_found(play: Play) -> None:
    played = play()
    taken = played.paid(order())
    wrong = refund_order(order(), taken, trade_no="1" * 21)
    assert refund_state(played.refund(wrong)) is RefundState.REFUSED
    assert refund_state(played.refund_query(wrong)) is RefundState.NOT_FOUND
    elsewhere = refund_order(order(), taken, 2, merchant_no=LAKE_NO, key_ref=LAKE)
    assert refund_state(played.refund(elsewhere)) is RefundState.REFUSED


@pytest.mark.parametrize(
    ("kind", "called", "in_the_end"),
    [
        ("refund_error", None, RefundState.NOT_FOUND),
        ("refund_unknown", None, RefundState.DONE),
        ("refund_not_enough", RefundState.LATER, RefundState.NOT_FOUND),
        ("refund_closed", RefundState.PENDING, RefundState.CLOSED),
        ("refund_abnormal", RefundState.PENDING, RefundState.STUCK),
    ],
)
def test_a_refund_can_go_wrong(play: Play, kind: str, called: RefundState | None, in_the_end: RefundState) -> None:
    with listening(play) as (played, came):
        wanted = refund_order(order(), played.paid(order()))
        played.control("deliver")
        played.faults({"kind": kind})
        reading = played.refund(wanted)
        assert (reading.refund and reading.refund.state) == called
        played.later(60)
        assert refund_state(played.refund_query(wanted)) is in_the_end
        played.control("deliver")
        assert len(came) == (2 if in_the_end is RefundState.DONE else 1)


def test_a_refund_beyond_what_came_in_since_the_cut_over_is_put_off(play: Play) -> None:
    played = play(check_balance=True)
    taken = played.paid(order())
    played.clock.set(NOW + timedelta(days=1))
    later = NOW + timedelta(days=1)
    wanted = refund_order(order(), taken, refund_fen=1200, at=later)
    put_off = played.refund(wanted)
    assert (refund_state(put_off), put_off.refund and put_off.refund.word) == (RefundState.LATER, "64")
    played.paid(order(2, at=later))
    assert refund_state(played.refund(wanted)) is RefundState.PENDING


def test_a_refund_notice_can_come_twice_late_or_never(play: Play) -> None:
    with listening(play) as (played, came):
        played.faults(
            {"kind": "refund_twice", "order_like": "*1"}, {"kind": "refund_late", "order_like": "*2", "seconds": 60},
            {"kind": "refund_never", "order_like": "*3"}, {"kind": "never"},
        )  # fmt: skip
        for number in (1, 2, 3):
            played.refund(refund_order(order(number), played.paid(order(number)), number))
        played.later(62)
        played.control("deliver")
        told = [played.read(notice).refund for notice in came]
        assert [refund and refund.refund_no[-1] for refund in told] == ["1", "1"]
        played.later(60)
        played.control("deliver")
        assert len(came) == 3


def test_the_console_refunds_without_a_notice(play: Play) -> None:
    with listening(play) as (played, came):
        played.paid(order())
        played.control("deliver")
        page = HTTP.get(f"{played.url}/unionpay/console/{MERCHANT_NO}")
        action, fields = Form(page.text).forms[1]
        done = HTTP.post(played.url + action, data=fields | {"amount": "5.00"}, follow_redirects=True)
        assert "退款金额</dt><dd>¥5.00" in done.text
        assert "可退金额</dt><dd>¥7.00" in done.text
        refused = HTTP.post(played.url + action, data=fields | {"amount": "7.01"})
        assert (refused.status_code, "退货金额超过可退金额" in refused.text) == (409, True)
        assert HTTP.post(played.url + action, data=fields | {"amount": "x"}).status_code == 400
        played.later(120)
        played.control("deliver")
        assert len(came) == 1


# Clearing files


def bill(day: date = DAY, **changes: Any) -> BillRequest:
    return msgspec.structs.replace(BillRequest(bill_on=day, merchant_no=MERCHANT_NO), **changes)


def next_day(played: Played, *, hour: int = 10) -> None:
    """Move to an hour (in China, from 8 on) of the next day."""
    played.clock.set(datetime(2026, 3, 3, hour - 8, 0, tzinfo=UTC))


def content(absent_or_file: Any) -> bytes:
    assert isinstance(absent_or_file, BillInline), absent_or_file
    return absent_or_file.content


def test_the_file_has_payments_and_refunds_of_its_merchant(play: Play) -> None:
    played = play()
    taken = played.paid(order())
    played.paid(order(2, merchant_no=LAKE_NO, key_ref=LAKE))
    wanted = refund_order(order(), taken)
    played.refund(wanted)
    played.control("refund", order_no=order().order_no, amount_fen=100)
    next_day(played)
    file = content(played.bill(bill()))
    read = played.channel.parse_bill(file, bill=bill())
    payment, *refunds = read.lines
    assert (payment.kind, payment.order_no, payment.trade_no, payment.amount_fen, payment.fee_fen, payment.happened_at) == (
        "payment", order().order_no, taken.trade_no, 1200, 7, NOW,
    )  # fmt: skip
    assert {(line.kind, line.order_no, line.trade_no, line.amount_fen, line.fee_fen) for line in refunds} == {
        ("refund", order().order_no, taken.trade_no, 400, -2),
        ("refund", order().order_no, taken.trade_no, 100, -1),
    }
    assert wanted.refund_no in {line.refund_no for line in refunds}
    assert all(line.refund_state is RefundState.DONE for line in refunds)
    assert (read.total_fen, read.refund_fen, read.fee_fen) == (1200, 500, 4)
    own = bill(merchant_no=LAKE_NO, key_ref=LAKE)
    assert [line.order_no for line in played.channel.parse_bill(content(played.bill(own)), bill=own).lines] == [order(2).order_no]


def test_what_is_paid_after_23_oclock_belongs_to_the_next_clearing_day(play: Play) -> None:
    at = datetime(2026, 3, 2, 14, 59, 59, tzinfo=UTC)
    played = play(now=at)
    played.paid(order(1, at=at))
    played.later(1)
    played.paid(order(2, at=at))
    played.clock.set(datetime(2026, 3, 4, 2, 0, tzinfo=UTC))
    for number, day in ((1, DAY), (2, DAY + timedelta(days=1))):
        lines = played.channel.parse_bill(content(played.bill(bill(day))), bill=bill(day)).lines
        assert [line.order_no for line in lines] == [order(number).order_no]
        begin, end = played.channel.bill_period(day)
        assert all(begin <= line.happened_at < end for line in lines)


def test_a_file_is_not_ready_before_nine_and_a_day_without_payments_is_empty_from_six(play: Play) -> None:
    played = play()
    played.paid(order())
    assert played.bill(bill()) == BillAbsent(reason="not_ready")
    next_day(played, hour=8)
    assert played.bill(bill()) == BillAbsent(reason="not_ready")
    next_day(played, hour=9)
    assert content(played.bill(bill()))
    quiet = bill(merchant_no=LAKE_NO, key_ref=LAKE)
    assert played.bill(quiet) == BillAbsent(reason="not_ready")
    next_day(played, hour=18)
    assert played.bill(quiet) == BillAbsent(reason="empty")


def test_a_refund_that_failed_and_a_charge_that_was_taken_back_are_in_no_file(play: Play) -> None:
    played = play()
    taken = played.paid(order())
    played.faults({"kind": "refund_closed"})
    played.refund(refund_order(order(), taken))
    played.prepay(order(2, way=Way.SCANNED))
    assert played.cancel(order(2, way=Way.SCANNED)) is ChannelState.CLOSED
    next_day(played)
    lines = played.channel.parse_bill(content(played.bill(bill())), bill=bill()).lines
    assert [(line.kind, line.order_no) for line in lines] == [("payment", order().order_no)]


def test_a_disputed_payment_is_a_line_of_the_other_file(play: Play) -> None:
    played = play()
    played.paid(order())
    page = HTTP.get(f"{played.url}/unionpay/console/{MERCHANT_NO}")
    action, fields = Form(page.text).forms[2]
    assert HTTP.post(played.url + action, data=fields).status_code == 303
    next_day(played)
    file = content(played.bill(bill()))
    disputed = list(bill_file.disputes(file, merchant_no=MERCHANT_NO, cleared_on=DAY))
    assert [(one.original_amount_fen, one.fee_fen, one.settled_fen) for one in disputed] == [(1200, -7, -1193)]
    paid = next(bill_file.transactions(file, merchant_no=MERCHANT_NO, cleared_on=DAY))
    assert (disputed[0].original_trace_no, disputed[0].original_trace_time) == (paid.trace_no, "0302100000")
    assert [line.kind for line in played.channel.parse_bill(file, bill=bill()).lines] == ["payment", "revoked"]


def test_a_file_can_be_cut_or_issued_again(play: Play) -> None:
    played = play()
    played.paid(order(1))
    played.paid(order(2))
    next_day(played)
    played.faults({"kind": "bill_cut", "next": 1}, {"kind": "bill_reissued", "next": 2})
    with pytest.raises(BillRefused) as refused:
        played.channel.parse_bill(content(played.bill(bill())), bill=bill())
    assert refused.value.code == "bill_cut"
    assert len(played.channel.parse_bill(content(played.bill(bill())), bill=bill()).lines) == 1
    whole = content(played.bill(bill()))
    assert len(played.channel.parse_bill(whole, bill=bill()).lines) == 2
    assert content(played.bill(bill())) == whole


# The state


def test_what_was_paid_is_there_after_a_new_start(play: Play, tmp_path: Path) -> None:
    first = play()
    taken = first.paid(order())
    second = play()
    assert result_of(second.query(order())) == taken


def test_the_same_seed_gives_the_same_notices_and_files(pair: Pair, tmp_path: Path) -> None:
    def told(folder: str) -> tuple[bytes, Any]:
        around = Surroundings(
            state_dir=tmp_path / folder, base_url="http://127.0.0.1", clock=SetClock(NOW), manual=True, seed="test"
        )
        stand_in = UnionPayStandIn(around, demo.config(demo_keys().theirs))
        handed = UnionPay(Provider(provider_no="us", notify_url=NOWHERE)).build_prepay(order(), keys=our_keys(), now=NOW, nonce="n")
        assert isinstance(handed, HandOff)
        stand_in.desk.order("front", handed.fields)
        stand_in.pay(order().order_no)
        notice = stand_in.desk.store.due_notices(stand_in.desk.now(), 1)[0]
        body = notices.compose(stand_in.desk, stand_in.signer(), notice, frozenset()).body
        assert isinstance(around.clock, SetClock)
        around.clock.set(NOW + timedelta(days=1))
        file = stand_in.files.file(MERCHANT_NO, "0302")
        stand_in.desk.close()
        return body, file

    assert told("a") == told("b")


# What only the channel's own tools do


def signed(played: Played, fields: dict[str, str]) -> dict[str, str]:
    """Send fields as a merchant signs them and return the answer's."""
    signer = played.keys.signer(None)
    message = sign.signed(fields, certificate_id=signer.certificate_id, sign=signer.sign)
    answer = HTTP.post(played.url + wire.BACK_PATH, content=wire.form_body(message))
    found = sign.answer_fields(answer.content)
    assert found is not None
    assert sign.objection(found, certificates=played.keys.certificates, now=played.clock.now()) is None
    return found


def cancel_fields(played: Played, taken: Result, *, amount_fen: int = 1200) -> dict[str, str]:
    assert taken.trade_no is not None
    key = wire.OrderKey("C" * 20, played.clock.now())
    return wire.cancel(
        wire.Acquirer(merchant_no=MERCHANT_NO, acquirer_no=INSTITUTION_NO), key, product=wire.Product.WAP,
        payment_query_id=taken.trade_no, amount_fen=amount_fen, notify_url=played.channel.provider.notify_url,
    )  # fmt: skip


def test_a_payment_can_be_cancelled_whole_within_its_clearing_day(play: Play) -> None:
    with listening(play) as (played, came):
        taken = played.paid(order())
        assert signed(played, cancel_fields(played, taken, amount_fen=1100))["respCode"] == "36"
        assert signed(played, cancel_fields(played, taken))["respCode"] == "00"
        assert signed(played, cancel_fields(played, taken))["respCode"] == "12"
        played.control("deliver")
        assert played.read(came[-1]) == Reading(verdict="verified", reason="event_unknown")
        assert refund_state(played.refund(refund_order(order(), taken))) is RefundState.STUCK
        next_day(played)
        lines = played.channel.parse_bill(content(played.bill(bill())), bill=bill()).lines
        assert [(line.kind, line.order_no) for line in lines] == [("payment", order().order_no), ("revoked", order().order_no)]


def known(order: PrepayOrder, taken: Result) -> OrderRef:
    """An order as it is named once its payment is known."""
    return msgspec.structs.replace(
        reference(order), trade_no=taken.trade_no, amount_fen=taken.amount_fen, paid_at=taken.happened_at
    )  # fmt: skip


@pytest.mark.parametrize("way", [Way.BROWSER, Way.CODE, Way.SCANNED])
def test_the_adapter_cancels_a_known_payment_and_asks_what_became_of_it(play: Play, way: Way) -> None:
    played, wanted = play(), order(way=way)
    if way is Way.BROWSER:
        played.browse(wanted)
    else:
        played.prepay(wanted)
    if way is not Way.SCANNED:
        played.control("pay", order_no=wanted.order_no)
    ref = known(wanted, result_of(played.query(wanted)))
    assert refund_state(played.undone(ref)) is RefundState.NOT_FOUND
    assert played.undo(ref).reason == "accepted"
    assert refund_state(played.undone(ref)) is RefundState.DONE
    assert played.undo(ref).reason == "order_number_taken"
    next_day(played)
    file = bill_file.transactions(content(played.bill(bill())), merchant_no=MERCHANT_NO, cleared_on=DAY)
    assert [(line.order_no, line.txn_type, line.amount_fen) for line in file] == [
        (wanted.order_no, "01", 1200), (wire.cancel_no(wanted.order_no), "31", 1200),
    ]  # fmt: skip


def test_a_payment_is_cancelled_once_by_its_own_product_and_not_after_a_refund(play: Play) -> None:
    played = play()
    taken = played.paid(order(1))
    other = cancel_fields(played, taken) | {"bizType": "000000"}
    assert signed(played, other)["respCode"] == "36"
    assert played.undo(known(order(1), taken)).reason == "accepted"
    assert signed(played, cancel_fields(played, taken))["respCode"] == "45"
    part = played.paid(order(2))
    played.refund(refund_order(order(2), part, 2))
    assert played.undo(known(order(2), part)).reason == "original_unfit"


def test_at_23_oclock_the_channel_refuses_what_it_took_a_second_before(play: Play) -> None:
    at = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
    played = play(now=at)
    first, second = played.paid(order(1, at=at)), played.paid(order(2, at=at))
    played.clock.set(datetime(2026, 3, 2, 14, 59, 59, tzinfo=UTC))
    assert played.undo(known(order(1, at=at), first)).reason == "accepted"
    played.later(1)
    assert signed(played, cancel_fields(played, second))["respCode"] == "36"
    with pytest.raises(Unsupported):
        played.undo(known(order(2, at=at), second))


def test_a_payment_of_another_clearing_day_cannot_be_cancelled(play: Play) -> None:
    played = play()
    taken = played.paid(order())
    next_day(played)
    assert signed(played, cancel_fields(played, taken))["respCode"] == "36"


def test_a_query_with_another_time_finds_nothing(play: Play) -> None:
    played = play()
    played.paid(order())
    assert played.state(order(at=NOW + timedelta(seconds=1))) is ChannelState.PENDING
    assert played.state(order()) is ChannelState.SUCCEEDED


def test_what_is_done_by_hand_and_cannot_be_done_is_refused(play: Play) -> None:
    played = play()
    for path in ("pay", "refund"):
        unknown = HTTP.post(f"{played.url}/_control/unionpay/{path}", json={"order_no": order().order_no})
        assert unknown.status_code == 409
    played.prepay(order(way=Way.CODE))
    assert played.control("pay", order_no=order().order_no)["amount_fen"] == 1200
    again = HTTP.post(f"{played.url}/_control/unionpay/pay", json={"order_no": order().order_no})
    assert (again.status_code, again.json()["reason"]) == (409, "12: 该订单已支付")


def test_a_certificate_that_the_authority_did_not_issue_is_not_taken(tmp_path: Path) -> None:
    config = demo.config(demo_keys().theirs)
    strange = msgspec.structs.replace(config, middle=demo_keys().ours["verify/root.pem"])
    around = Surroundings(state_dir=tmp_path, base_url="http://127.0.0.1", clock=SetClock(NOW))
    with pytest.raises(ValueError, match="was not issued"):
        UnionPayStandIn(around, strange)


@pytest.mark.parametrize("path", [wire.BACK_PATH, wire.QUERY_PATH, FILE_PATH])
@pytest.mark.parametrize("body", [b"", b"a", b"encoding=x&merId=%ff", b"merId=a%26b&signMethod=01&version=5.1.0", b"a=1&a=2"])
def test_garbage_is_answered_with_a_signed_refusal(play: Play, path: str, body: bytes) -> None:
    played = play()
    found = sign.answer_fields(HTTP.post(played.url + path, content=body).content)
    assert found is not None
    assert found["respCode"] == "11"
    assert sign.objection(found, certificates=played.keys.certificates, now=NOW) is None


def test_pages_of_orders_that_are_not_there_say_so(play: Play) -> None:
    played = play()
    assert HTTP.get(f"{played.url}/unionpay/cashier/{'0' * 32}").status_code == 404
    for act in ("pay", "decline"):
        assert HTTP.post(f"{played.url}/unionpay/cashier/{'0' * 32}/{act}").status_code == 404
    assert HTTP.post(played.url + wire.FRONT_PATH, content=b"garbage").status_code == 400
    page = HTTP.get(f"{played.url}/unionpay/console/{MERCHANT_NO}", params={"order_no": '"><b>'})
    assert "<b>" not in page.text
    for act in ("refund", "dispute"):
        refused = HTTP.post(f"{played.url}/unionpay/console/{MERCHANT_NO}/{act}", data={"order_no": "x", "amount": "1.00"})
        assert refused.status_code == 409
