"""The ETC stand-in over real HTTP, through the adapter and the product's own transport."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec.structs import replace

from gateways.contract import (
    Answer,
    BillAbsent,
    BillInline,
    BillLink,
    BillRefused,
    BillRequest,
    ChannelState,
    Deduction,
    MandateRef,
    OrderRef,
    Reading,
    RefundOrder,
    RefundRef,
    RefundState,
    Request,
    Unanswered,
    Way,
)
from gateways.etc import clearing, envelope, keys, lists, uploads
from gateways.etc.channel import Etc
from gateways.etc.clearing import BookingResult, ClearingStatistics, DisputeResult, Totals
from gateways.etc.codes import BookingReason, Receipt
from gateways.etc.keys import EtcKeys
from gateways.etc.line import Provider
from gateways.etc.services import StatusListAsk, with_changes
from gateways.etc.sign import Algorithm
from gateways.sandbox.etc import demo
from gateways.sandbox.etc.stand_in import EtcStandIn
from gateways.sandbox.server import running
from gateways.sandbox.stand_in import DemoKeys, Surroundings
from gateways.sandbox.wechat.signing import Pair
from gateways.transport import HttpTransport
from ledger.clock import CHINA, SetClock
from tests.gateways.conftest import NOW, config_of, free_port
from tests.gateways.etc_cases import package
from tests.gateways.playing import arrived

MERCHANT_NO = "M-1620000007"
LOT_NO = "3202010001"
TODAY = date(2026, 3, 2)
HTTP = httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
Inbox = list[bytes]
SERVICES: dict[Any, str] = {
    BookingResult: "etc.account.result",
    DisputeResult: "etc.dispute.result",
    ClearingStatistics: "etc.clear.stat",
}


class Source:
    """Keys of a run: RSA is made once."""

    at = NOW

    def __init__(self) -> None:
        self._pems: dict[str, bytes] = {}

    def rsa(self, name: str) -> bytes:
        if name not in self._pems:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            self._pems[name] = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        return self._pems[name]

    def secret(self, name: str) -> bytes:
        return name.encode().ljust(32, b"!")

    def serial(self, name: str) -> int:
        return len(name)


SOURCE = Source()


class Played:
    """A stand-in that is served, our side of the line, and the door where its notices arrive."""

    def __init__(self, stand_in: EtcStandIn, etc: Etc, ours: EtcKeys, clock: SetClock, url: str, came: Inbox) -> None:
        self.stand_in, self.etc, self.keys, self.clock, self.url, self.came = stand_in, etc, ours, clock, url, came
        self.transport = HttpTransport(timeout_seconds=3)
        self.nonce = 0

    def given(self) -> dict[str, Any]:
        self.nonce += 1
        return {"keys": self.keys, "now": self.clock.now(), "nonce": str(self.nonce)}

    def send(self, request: Request) -> Answer | Unanswered:
        return self.transport.send(request)

    def later(self, **span: float) -> None:
        self.clock.set(self.clock.now() + timedelta(**span))

    def control(self, path: str, **body: Any) -> Any:
        answer = HTTP.post(f"{self.url}/{path}", content=msgspec.json.encode(body))
        assert answer.status_code in (200, 204), answer.text
        return answer.json() if answer.content else None

    def deliver(self) -> Any:
        return self.control("_control/etc/deliver")

    def faults(self, *kinds: str, **more: Any) -> None:
        self.control("_control/etc/faults", faults=[{"kind": kind, **more} for kind in kinds])

    def plate(self, **fields: Any) -> None:
        self.control("etc-sandbox/plates", **({"plate": "苏BD12345", "colour": 4} | fields))

    def deduct(self, wanted: Deduction) -> Reading:
        answer = self.send(self.etc.build_deduct(wanted, **self.given()))
        return self.etc.parse_deduct(answer, deduction=wanted, keys=self.keys, now=self.clock.now())

    def query(self, wanted: Deduction, **changes: Any) -> Reading:
        ref = OrderRef(
            order_no=wanted.order_no,
            merchant_no=wanted.merchant_no,
            created_at=wanted.created_at,
            expires_at=wanted.created_at + timedelta(hours=1),
            way=Way.DEDUCTION,
        )
        ref = replace(ref, **changes)
        answer = self.send(self.etc.build_query(ref, **self.given()))
        return self.etc.parse_query(answer, order=ref, keys=self.keys, now=self.clock.now())

    def refund(self, wanted: RefundOrder) -> Reading:
        answer = self.send(self.etc.build_refund(wanted, **self.given()))
        return self.etc.parse_refund(answer, refund=wanted, keys=self.keys, now=self.clock.now())

    def refund_query(self, wanted: RefundOrder) -> Reading:
        ref = RefundRef(
            refund_no=wanted.refund_no,
            order_no=wanted.order_no,
            trade_no=wanted.trade_no,
            merchant_no=wanted.merchant_no,
            asked_at=wanted.asked_at,
        )
        answer = self.send(self.etc.build_refund_query(ref, **self.given()))
        return self.etc.parse_refund_query(answer, refund=ref, keys=self.keys, now=self.clock.now())

    def mandate(self, plate: str = "苏BD12345") -> str:
        wanted = MandateRef(plate=plate, plate_color="green", merchant_no=MERCHANT_NO)
        answer = self.send(self.etc.build_mandate_query(wanted, **self.given()))
        return self.etc.parse_mandate_query(answer, mandate=wanted, keys=self.keys, now=self.clock.now()).state

    def link(self, on: date = TODAY) -> BillLink | BillInline | BillAbsent:
        wanted = BillRequest(bill_on=on, merchant_no=MERCHANT_NO)
        answer = self.send(self.etc.build_bill(wanted, **self.given()))
        return self.etc.parse_bill_link(answer, bill=wanted, keys=self.keys, now=self.clock.now())

    def file(self, link: BillLink | BillInline | BillAbsent) -> bytes:
        assert isinstance(link, BillLink), link
        answer = self.send(self.etc.build_bill_download(link, **self.given()))
        assert isinstance(answer, Answer)
        return self.etc.open_bill(answer, link=link)

    def bill(self, on: date = TODAY) -> Any:
        return self.etc.parse_bill(self.file(self.link(on)), bill=BillRequest(bill_on=on, merchant_no=MERCHANT_NO))

    def upload(self, wanted: clearing.Package) -> uploads.UploadOutcome:
        given: dict[str, Any] = {"provider": self.etc.provider, "keys": self.keys, "now": self.clock.now()}
        answer = self.send(uploads.build(wanted, **given))
        return uploads.outcome(answer, package=wanted, **given)

    def read(self, body: bytes) -> Reading:
        return self.etc.parse_callback({}, body, keys=self.keys, now=self.clock.now())

    def told(self, kind: Any) -> list[Any]:
        """Bodies of the notices of one kind that came, as structs."""
        name = {BookingResult: "etc.account.result", DisputeResult: "etc.dispute.result", ClearingStatistics: "etc.clear.stat"}[
            kind
        ]
        bodies = [msgspec.json.decode(body) for body in self.came]
        return [msgspec.convert(one["body"], kind) for one in bodies if one["head"]["msgType"] == name]


class Play:
    """Serves a stand-in; ``settings`` go into its configuration."""

    def __init__(self, pair: Pair, path: Path) -> None:
        self._pair, self._path = pair, path
        self._over: list[Callable[[], object]] = []

    def __call__(
        self, *, signs: Algorithm = Algorithm.SM2, taken: bool = True, manual: bool = True, **settings: Any
    ) -> Played:  # fmt: skip
        made: DemoKeys = demo.make(SOURCE, signs=signs)
        ours = keys.load(made.ours)
        port, clock = free_port(), SetClock(NOW)
        url = f"http://127.0.0.1:{port}"
        etc = Etc(Provider(sender_id=demo.PROVIDER, receiver_id=demo.PARTY, api_url=url))
        came: Inbox = []
        door = _door(etc, ours, clock, came, taken)
        around = Surroundings(state_dir=self._path, base_url=url, clock=clock, manual=manual, seed="test")
        stand_in = EtcStandIn(around, demo.config(made.theirs, notify_url=door.__enter__(), **settings))
        wechat = msgspec.structs.replace(config_of(self._pair, self._path / "sandbox.db", port), manual=manual)
        served = running(wechat, host="127.0.0.1", port=port, others=[stand_in])
        served.__enter__()
        played = Played(stand_in, etc, ours, clock, url, came)
        self._over += [lambda: door.__exit__(None, None, None), lambda: served.__exit__(None, None, None), played.transport.close]
        return played

    def close(self) -> None:
        for over in reversed(self._over):
            over()


@contextmanager
def _door(etc: Etc, ours: EtcKeys, clock: SetClock, came: Inbox, taken: bool) -> Iterator[str]:
    """Our door: reads each notice and answers as the adapter does; ``taken`` False: everything is asked for again."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            came.append(body)
            reading = etc.parse_callback({}, body, keys=ours, now=clock.now())
            accepted = taken and reading.verdict == "verified"
            answer = etc.ack(accepted=accepted, reason=reading.reason, reading=reading, keys=ours, now=clock.now())
            self.send_response(answer.status)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/callbacks/etc"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def play(pair: Pair, tmp_path: Path) -> Iterator[Play]:
    playing = Play(pair, tmp_path)
    yield playing
    playing.close()


def deduction(number: int = 1, **changes: Any) -> Deduction:
    given: dict[str, Any] = {
        "order_no": f"P{number:027d}",
        "merchant_no": MERCHANT_NO,
        "plate": "苏BD12345",
        "plate_color": "green",
        "amount_fen": 1200,
        "description": "停车费",
        "entered_at": NOW - timedelta(hours=1, seconds=number),
        "left_at": NOW - timedelta(seconds=number),
        "minutes": 60,
        "lot_no": LOT_NO,
        "lot_name": "太湖广场停车场",
        "created_at": NOW,
    }
    return Deduction(**(given | changes))


def refund_of(wanted: Deduction, number: int = 1, **changes: Any) -> RefundOrder:
    given: dict[str, Any] = {
        "refund_no": f"R{number:027d}",
        "order_no": wanted.order_no,
        "trade_no": wanted.order_no,
        "merchant_no": wanted.merchant_no,
        "refund_fen": 400,
        "total_fen": wanted.amount_fen,
        "asked_at": NOW,
        "paid_at": NOW,
    }
    return RefundOrder(**(given | changes))


def state(reading: Reading) -> ChannelState | None:
    return None if reading.result is None else reading.result.state


def refund_state(reading: Reading) -> RefundState | None:
    return None if reading.refund is None else reading.refund.state


def morning(day: int) -> datetime:
    return datetime(2026, 3, day, 10, 0, tzinfo=CHINA)


# Charges by plate


@pytest.mark.parametrize("signs", list(Algorithm))
def test_a_charge_is_taken_on_told_of_and_paid(play: Play, signs: Algorithm) -> None:
    """The whole way, with our signatures of either kind."""
    played = play(signs=signs)
    played.plate(answer="accepted")
    assert state(played.deduct(deduction())) is ChannelState.PENDING
    assert played.deliver()["attempts"] == 0
    assert state(played.query(deduction())) is ChannelState.PENDING
    played.later(seconds=3)
    assert played.deliver() == {"attempts": 1, "accepted": 1, "failed": 0, "waiting": 0}
    (notice,) = played.came
    told = played.read(notice).result
    assert told is not None
    assert (told.state, told.amount_fen, told.merchant_no, told.trade_no) == (
        ChannelState.SUCCEEDED, 1200, MERCHANT_NO, deduction().order_no,
    )  # fmt: skip
    assert played.query(deduction()).result == told


def test_a_repeat_is_the_same_charge_and_another_content_is_refused(play: Play) -> None:
    played = play()
    played.plate(answer="paid", balance_fen=2000)
    first = played.deduct(deduction())
    assert state(first) is ChannelState.SUCCEEDED
    assert played.deduct(deduction()) == first
    other = played.deduct(deduction(amount_fen=700))
    assert (other.reason, other.results) == ("content_refused", ())
    assert state(played.deduct(deduction(2, amount_fen=900))) is ChannelState.FAILED, "800 fen are left"


def test_a_message_number_with_another_content_is_answered_5(play: Play) -> None:
    played = play()
    played.plate()
    request = played.etc.build_deduct(deduction(), **played.given())
    number = msgspec.json.decode(request.body)["head"]["msgId"]
    played.send(request)
    key = played.keys.own(None)
    body = msgspec.json.decode(request.body)["body"] | {"fee": 1100}
    head = envelope.head_for(
        "etc.plate.pay", msg_id=number, sender=demo.PROVIDER, receiver=demo.PARTY, key=key, now=played.clock.now()
    )  # fmt: skip
    answer = played.send(Request("POST", request.url, {}, envelope.seal(body, head=head, key=key)))
    assert isinstance(answer, Answer)
    assert msgspec.json.decode(answer.body)["body"]["result"] == Receipt.REPEATED


@pytest.mark.parametrize("reason", list(BookingReason))
def test_every_reason_of_a_refusal_is_told(play: Play, reason: BookingReason) -> None:
    played = play()
    played.plate(answer="refused", reason=int(reason))
    reading = played.deduct(deduction())
    assert (state(reading), reading.reason) == (ChannelState.FAILED, f"booking_{reason.name.lower()}")
    assert state(played.query(deduction())) is ChannelState.FAILED


@pytest.mark.parametrize(
    ("plate", "changes"),
    [({"signed": False}, {}), ({"listed": True}, {}), ({"balance_fen": 1199}, {}), ({}, {"plate": "苏BD99999"})],
)
def test_a_plate_that_cannot_pay_is_refused(play: Play, plate: dict[str, Any], changes: dict[str, Any]) -> None:
    played = play()
    played.plate(**plate)
    assert state(played.deduct(deduction(**changes))) is ChannelState.FAILED
    assert played.deliver()["attempts"] == 0


def test_unknown_becomes_paid(play: Play) -> None:
    played = play()
    played.plate(answer="unknown")
    assert state(played.deduct(deduction())) is ChannelState.UNKNOWN
    played.later(seconds=3)
    assert state(played.query(deduction())) is ChannelState.SUCCEEDED


def test_what_was_taken_on_may_be_refused_later(play: Play) -> None:
    played = play()
    played.plate(answer="refused_later", reason=9)
    assert state(played.deduct(deduction())) is ChannelState.PENDING
    played.later(seconds=3)
    played.deliver()
    assert state(played.read(played.came[0])) is ChannelState.FAILED


def test_a_charge_of_nothing_is_taken(play: Play) -> None:
    played = play()
    played.plate()
    free = deduction(amount_fen=0)
    assert state(played.deduct(free)) is ChannelState.SUCCEEDED
    assert played.query(free).result == played.deduct(free).result
    played.clock.set(morning(3))
    assert [line.amount_fen for line in played.bill().lines] == [0]


def test_a_charge_above_their_cap_is_refused(play: Play) -> None:
    played = play(cap_fen=1000)
    played.plate()
    reading = played.deduct(deduction())
    assert (state(reading), reading.reason) == (ChannelState.FAILED, "booking_over_limit")


def test_a_car_park_that_is_not_theirs_is_a_refusal(play: Play) -> None:
    played = play(lots=frozenset({"3202010009"}))
    played.plate()
    reading = played.deduct(deduction())
    assert (state(reading), reading.reason) == (ChannelState.FAILED, "not_our_lot")


def test_an_order_that_never_came_is_pending_until_it_expires(play: Play) -> None:
    played = play()
    assert state(played.query(deduction())) is ChannelState.PENDING
    assert state(played.query(deduction(), expires_at=NOW)) is ChannelState.NOT_FOUND


def test_a_busy_party_has_done_nothing(play: Play) -> None:
    played = play()
    played.plate(answer="paid")
    played.control("etc-sandbox/behaviour", busy=1)
    assert played.deduct(deduction()).reason == "unavailable"
    assert state(played.deduct(deduction())) is ChannelState.SUCCEEDED


def test_an_answer_that_does_not_come_leaves_everything_open(play: Play) -> None:
    played = play()
    played.plate(answer="paid")
    played.faults("unknown", next=1)
    assert played.deduct(deduction()).results == ()
    assert state(played.query(deduction())) is ChannelState.SUCCEEDED


def test_a_strangers_key_is_not_served(play: Play) -> None:
    played = play()
    played.keys = EtcKeys(ours={None: demo.config(demo.make(SOURCE).theirs, notify_url="").keys[0]}, theirs=played.keys.theirs)
    assert played.deduct(deduction()).reason == "key_refused"


def test_a_clock_that_is_off_is_told(play: Play) -> None:
    played = play()
    request = played.etc.build_deduct(deduction(), keys=played.keys, now=NOW - timedelta(seconds=301), nonce="1")
    reading = played.etc.parse_deduct(played.send(request), deduction=deduction(), keys=played.keys, now=NOW)
    assert reading.reason == "clock_refused"


# Notices


def test_a_notice_that_is_not_taken_comes_again_on_schedule(play: Play) -> None:
    played = play(taken=False)
    played.plate(answer="paid")
    played.deduct(deduction())
    for wait in (0, 5, 5, 60, 300):
        played.later(seconds=wait)
        assert played.deliver()["failed"] == 1
    assert played.deliver()["attempts"] == 0
    numbers = {msgspec.json.decode(body)["head"]["msgId"] for body in played.came}
    assert (len(played.came), len(numbers)) == (5, 1), "the same message every time"


def test_notices_go_out_by_themselves(play: Play) -> None:
    played = play(manual=False)
    played.plate(answer="paid")
    played.deduct(deduction())
    assert arrived(played.came, 1)
    assert played.read(played.came[0]).verdict == "verified"


@pytest.mark.parametrize(
    ("kind", "count", "verdict"),
    [("twice", 2, "verified"), ("never", 0, None), ("wrong_signature", 1, "refused")],
)
def test_notices_go_wrong_as_they_are_told(play: Play, kind: str, count: int, verdict: str | None) -> None:
    played = play()
    played.plate(answer="paid")
    played.faults(kind)
    played.deduct(deduction())
    played.deliver()
    assert len(played.came) == count
    assert {played.read(body).verdict for body in played.came} == ({verdict} if verdict else set())
    if kind == "wrong_signature":
        played.later(seconds=5)
        assert played.deliver()["accepted"] == 1


@pytest.mark.parametrize(
    ("kind", "amount_fen", "merchant_no"), [("wrong_amount", 1201, MERCHANT_NO), ("other_merchant", 1200, "M-0000000000")]
)
def test_a_notice_may_tell_something_else_validly_signed(play: Play, kind: str, amount_fen: int, merchant_no: str) -> None:
    played = play()
    played.plate(answer="paid")
    played.faults(kind)
    played.deduct(deduction())
    played.deliver()
    result = played.read(played.came[0]).result
    assert result is not None
    assert (result.amount_fen, result.merchant_no) == (amount_fen, merchant_no)


def test_a_notice_comes_at_a_moment_by_seed(play: Play) -> None:
    played = play()
    played.plate(answer="paid")
    played.faults("out_of_order", seconds=60)
    for number in (1, 2, 3):
        played.deduct(deduction(number))
    for _ in range(60):
        played.later(seconds=1)
        played.deliver()
    orders = [msgspec.json.decode(body)["body"]["orderId"] for body in played.came]
    assert sorted(orders) == [deduction(number).order_no for number in (1, 2, 3)]
    assert orders != sorted(orders), "by this seed"


def test_a_late_notice(play: Play) -> None:
    played = play()
    played.plate(answer="paid")
    played.faults("late", seconds=61)
    played.deduct(deduction())
    assert played.deliver()["attempts"] == 0
    played.later(seconds=61)
    assert played.deliver()["accepted"] == 1


def test_both_kinds_of_key_sign_and_overlap(play: Play) -> None:
    played = play()
    played.plate(answer="paid")
    assert state(played.deduct(deduction(1))) is ChannelState.SUCCEEDED
    played.faults("rotate_key")
    assert state(played.deduct(deduction(2))) is ChannelState.SUCCEEDED
    played.deliver()
    algorithms = {msgspec.json.decode(body)["head"]["signAlg"] for body in played.came}
    assert algorithms == {Algorithm.RSA.value}
    assert all(played.read(body).verdict == "verified" for body in played.came)


# Plates, lists


def test_a_plate_is_signed_listed_and_ended(play: Play) -> None:
    played = play()
    assert played.mandate() == "none"
    played.plate()
    assert played.mandate() == "open"
    played.plate(listed=True)
    assert played.mandate() == "none"


def test_a_citizen_signs_a_plate_on_the_page(play: Play) -> None:
    played = play()
    page = HTTP.get(f"{played.url}/etc/sign", params={"plate": "苏BD12345", "colour": "4", "return_url": "https://pay.example/me"})
    assert page.status_code == 200
    assert 'value="苏BD12345"' in page.text
    form = {"plate": "苏BD12345", "colour": "4", "return_url": "https://pay.example/me", "act": "sign"}
    signed = HTTP.post(f"{played.url}/etc/sign", data=form)
    assert "已签约" in signed.text
    assert "https://pay.example/me" in signed.text
    assert played.mandate() == "open"
    HTTP.post(f"{played.url}/etc/sign", data=form | {"act": "end"})
    assert played.mandate() == "none"
    assert HTTP.post(f"{played.url}/etc/sign", data={"plate": "<", "colour": "4"}).status_code == 400


def test_a_status_list_is_pulled_whole_and_then_by_changes(play: Play) -> None:
    played = play()

    def pulled(since: str) -> lists.ListOutcome:
        ask = StatusListAsk("PLATE", "32", since)
        given: dict[str, Any] = {"provider": played.etc.provider, "keys": played.keys, "now": played.clock.now()}
        return lists.outcome(played.send(lists.build(ask, nonce=since, **given)), ask=ask, **given)

    played.plate(listed=True)
    whole = pulled("").changes
    assert whole is not None
    kept = with_changes(frozenset(), whole)
    assert (whole.full, kept) == (True, frozenset({"苏BD12345渐变绿"}))
    played.plate(listed=False)
    played.plate(plate="苏B12345", colour=0, listed=True)
    changes = pulled(whole.version).changes
    assert changes is not None
    assert with_changes(kept, changes) == {"苏B12345蓝"}
    played.control("etc-sandbox/behaviour", stale_list=True)
    played.plate(plate="苏B54321", colour=0, listed=True)
    stale = pulled(changes.version).changes
    assert stale is not None
    assert (stale.version, stale.add) == (changes.version, ())


# Refunds


def paid(played: Played, number: int = 1) -> Deduction:
    played.plate(answer="paid")
    wanted = deduction(number)
    assert state(played.deduct(wanted)) is ChannelState.SUCCEEDED
    return wanted


def test_a_refund_waits_for_the_clearing_and_never_exceeds_what_is_left(play: Play) -> None:
    played = play()
    wanted = refund_of(paid(played))
    assert refund_state(played.refund(wanted)) is RefundState.LATER
    assert refund_state(played.refund_query(wanted)) is RefundState.NOT_FOUND
    played.clock.set(morning(3))
    assert refund_state(played.refund(wanted)) is RefundState.PENDING
    assert refund_state(played.refund(replace(wanted, refund_fen=300))) is None
    above = replace(wanted, refund_no="R2", refund_fen=801)
    assert refund_state(played.refund(above)) is RefundState.REFUSED
    played.later(seconds=60)
    played.deliver()
    notices = [played.read(body).refund for body in played.came]
    told = notices[-1]
    assert told is not None
    assert (told.state, told.refund_fen, told.merchant_no) == (RefundState.DONE, 400, MERCHANT_NO)
    assert played.refund_query(wanted).refund == told


def test_a_refund_of_nothing_that_was_paid_is_refused(play: Play) -> None:
    played = play()
    refund = played.refund(refund_of(deduction())).refund
    assert refund is not None
    assert (refund.state, refund.merchant_no) == (RefundState.REFUSED, MERCHANT_NO)


@pytest.mark.parametrize(("kind", "expected"), [("refund_closed", RefundState.CLOSED), ("refund_abnormal", RefundState.STUCK)])
def test_a_refund_may_end_without_the_money(play: Play, kind: str, expected: RefundState) -> None:
    played = play()
    wanted = refund_of(paid(played))
    played.clock.set(morning(3))
    played.faults(kind)
    assert refund_state(played.refund(wanted)) is RefundState.PENDING
    played.later(seconds=60)
    assert refund_state(played.refund_query(wanted)) is expected
    played.faults()
    whole = refund_of(deduction(), 2, refund_fen=1200)
    assert refund_state(played.refund(whole)) is RefundState.PENDING, "the money stayed"


def test_calls_for_a_refund_go_wrong(play: Play) -> None:
    played = play()
    wanted = refund_of(paid(played))
    played.clock.set(morning(3))
    played.faults("refund_error", next=1)
    assert refund_state(played.refund(wanted)) is None
    assert refund_state(played.refund_query(wanted)) is RefundState.NOT_FOUND
    played.faults("refund_unknown", next=1)
    assert refund_state(played.refund(wanted)) is None
    assert refund_state(played.refund_query(wanted)) is RefundState.PENDING
    played.faults("refund_not_enough", next=1)
    assert refund_state(played.refund(replace(wanted, refund_no="R2"))) is RefundState.LATER


@pytest.mark.parametrize(("kind", "count"), [("refund_twice", 2), ("refund_never", 0), ("refund_late", 0)])
def test_notices_of_refunds_go_wrong(play: Play, kind: str, count: int) -> None:
    played = play()
    wanted = refund_of(paid(played))
    played.clock.set(morning(3))
    played.deliver()
    played.came.clear()
    played.faults(kind, seconds=120)
    played.refund(wanted)
    played.later(seconds=60)
    played.deliver()
    assert len(played.came) == count
    assert refund_state(played.refund_query(wanted)) is RefundState.DONE


def test_an_operator_refunds_by_hand_and_the_file_tells_of_it(play: Play) -> None:
    played = play()
    wanted = paid(played)
    early = HTTP.post(f"{played.url}/etc/console/{MERCHANT_NO}/refund", data={"order_no": wanted.order_no, "amount": "4.00"})
    assert early.status_code == 409
    played.clock.set(morning(3))
    done = HTTP.post(f"{played.url}/etc/console/{MERCHANT_NO}/refund", data={"order_no": wanted.order_no, "amount": "4.00"})
    assert done.status_code == 303
    page = HTTP.get(f"{played.url}/etc/console/{MERCHANT_NO}").text
    assert "CONSOLE" in page
    assert "8.00" in page
    played.clock.set(morning(4))
    (line,) = played.bill(date(2026, 3, 3)).lines
    assert (line.kind, line.amount_fen, line.order_no, line.refund_no[:7]) == ("refund", 400, wanted.order_no, "CONSOLE")


# Files


def test_the_file_is_there_from_nine_on_the_next_day(play: Play) -> None:
    played = play()
    wanted = paid(played)
    assert played.link() == BillAbsent("not_ready")
    played.clock.set(datetime(2026, 3, 3, 8, 59, 59, tzinfo=CHINA))
    assert played.link() == BillAbsent("not_ready")
    played.clock.set(datetime(2026, 3, 3, 9, 0, tzinfo=CHINA))
    bill = played.bill()
    assert [(line.order_no, line.trade_no, line.amount_fen, line.fee_fen) for line in bill.lines] == [
        (wanted.order_no, wanted.order_no, 1200, 7)
    ]
    link = played.link()
    assert isinstance(link, BillLink)
    beside = HTTP.get(f"{link.url}.sm3").text
    assert beside == f"{link.digest}  {link.url.rpartition('/')[2]}\n"
    played.clock.set(morning(5))
    assert played.bill(date(2026, 3, 4)).lines == ()


def test_a_file_that_is_cut_is_refused_and_a_later_issue_is_whole(play: Play) -> None:
    played = play()
    paid(played, 1)
    paid(played, 2)
    played.clock.set(morning(3))
    played.faults("bill_cut", next=1)
    with pytest.raises(BillRefused):
        played.bill()
    played.faults("bill_reissued", next=1)
    assert len(played.bill().lines) == 1
    assert len(played.bill().lines) == 2


# Packages over HTTP

PACKAGE = replace(package(100, 200, 300), clear_on=TODAY)


def test_a_package_is_booked_disputed_settled_and_cleared(play: Play) -> None:
    played = play()
    played.control("etc-sandbox/behaviour", dispute=[7, 8])
    outcome = played.upload(PACKAGE)
    assert (outcome.receipt, outcome.clear_on) == (Receipt.ACCEPTED, TODAY)
    assert played.upload(PACKAGE) == outcome, "the same message has the first reply again"
    played.later(seconds=60)
    assert played.deliver()["accepted"] == 1
    (booking,) = played.told(BookingResult)
    assert played.read(played.came[0]).clearing == booking
    assert clearing.booking_objection(PACKAGE, booking) is None
    assert [(one.trans_no, one.reason) for one in booking.disputed] == [(1, 7), (2, 8)]

    played.control("etc-sandbox/settle", outcome=0, trans_no=1)
    played.control("etc-sandbox/settle", outcome=1, trans_no=2)
    played.deliver()
    released, bad = played.told(DisputeResult)
    assert (released.file_no, bad.file_no) == ("20260302", "202603021")
    disputes = {(PACKAGE.message_no, 1): 100, (PACKAGE.message_no, 2): 200}
    assert clearing.dispute_objection(released, disputes) is None
    assert clearing.dispute_objection(bad, disputes) is None
    assert clearing.released(bad, disputes) == Totals(0, 0)

    played.clock.set(morning(3))
    played.deliver()
    (statistics,) = played.told(ClearingStatistics)
    totals = {"booked_packages": {PACKAGE.message_no: Totals(1, 300)}}
    files = {"released_files": {released.file_no: Totals(1, 100), bad.file_no: Totals(0, 0)}}
    assert clearing.clearing_objection(statistics, **totals, **files) is None
    assert (statistics.count, statistics.amount_fen) == (2, 400)
    assert statistics.shares[0].merchant_no == "3201020001"


def test_a_charge_settled_again_does_not_fit(play: Play) -> None:
    played = play()
    played.control("etc-sandbox/behaviour", dispute=[7])
    played.upload(PACKAGE)
    played.control("etc-sandbox/settle", outcome=0)
    played.control("etc-sandbox/settle", outcome=1, again=True)
    played.deliver()
    first, again = played.told(DisputeResult)
    open_disputes = {(PACKAGE.message_no, 1): 100}
    assert clearing.dispute_objection(first, open_disputes) is None
    assert clearing.dispute_objection(again, {}) is not None


@pytest.mark.parametrize("off", [{"clearing_off_fen": 1}, {"clearing_off_count": 1}])
def test_clearing_that_is_off_does_not_agree(play: Play, off: dict[str, int]) -> None:
    played = play()
    played.upload(PACKAGE)
    played.control("etc-sandbox/behaviour", **off)
    played.control("etc-sandbox/clear", clear_on="2026-03-02")
    played.deliver()
    (statistics,) = played.told(ClearingStatistics)
    rejection = clearing.clearing_objection(
        statistics, booked_packages={PACKAGE.message_no: Totals(3, 600)}, released_files={}
    )  # fmt: skip
    assert rejection is not None
    assert rejection.result is Receipt.CLEARING_DISAGREES
    again = HTTP.post(f"{played.url}/etc-sandbox/clear", content=b'{"clear_on":"2026-03-02"}')
    assert again.status_code == 409, "statistics are final"


def test_no_booking_result_until_it_is_asked_for_and_one_too_many(play: Play) -> None:
    played = play()
    played.control("etc-sandbox/behaviour", hold_booking=True)
    played.upload(PACKAGE)
    played.later(hours=1)
    assert played.deliver()["attempts"] == 0
    played.control("etc-sandbox/book", message_no=PACKAGE.message_no)
    assert played.deliver()["accepted"] == 1
    played.control("etc-sandbox/behaviour", booking_twice=True)
    other = replace(package(400, message_no="0" * 19 + "9"), clear_on=TODAY)
    played.upload(other)
    played.later(seconds=60)
    played.deliver()
    objections = [clearing.booking_objection(other, one) for one in played.told(BookingResult)[1:]]
    assert {objection is None for objection in objections} == {True, False}


def test_a_package_after_midnight_is_cleared_a_day_later(play: Play) -> None:
    played = play()
    played.control("etc-sandbox/behaviour", move_clear_date=True)
    assert played.upload(PACKAGE).clear_on == date(2026, 3, 3)


def test_the_file_has_charges_by_card_with_their_states(play: Play) -> None:
    played = play()
    played.stand_in.store.set_lot("3201020001", MERCHANT_NO)
    played.control("etc-sandbox/behaviour", dispute=[7, 8])
    played.upload(PACKAGE)
    played.control("etc-sandbox/settle", outcome=1, trans_no=1)
    played.control("etc-sandbox/clear", clear_on="2026-03-02")
    played.clock.set(morning(3))
    content = played.file(played.link()).decode()
    states = [row.split("|")[12] for row in content.splitlines() if row.startswith("D|")]
    assert states == ["BAD", "PENDING", "CLEARED"]
    assert [(line.kind, line.amount_fen) for line in played.bill().lines] == [("bad_debt", 100), ("payment", 300)]


def test_a_package_that_repeats_a_charge_is_disputed(play: Play) -> None:
    played = play()
    played.upload(PACKAGE)
    played.upload(replace(PACKAGE, message_no="0" * 19 + "7"))
    played.later(seconds=60)
    played.deliver()
    by_package = {one.message_no: one for one in played.told(BookingResult)}
    assert {one.reason for one in by_package["0" * 19 + "7"].disputed} == {BookingReason.REPEATED}


def test_a_card_charge_is_refunded_by_its_digits(play: Play) -> None:
    """Over the bare service: the adapter refunds orders."""
    played = play()
    played.upload(PACKAGE)
    played.control("etc-sandbox/clear", clear_on="2026-03-02")
    key = played.keys.own(None)
    body = {"refundId": "R1", "id": PACKAGE.records[0].charge_id, "refundFen": 100, "reasonCode": "WRONG_FEE", "remark": ""}
    head = envelope.head_for(
        "etc.refund.apply", msg_id="9" * 20, sender=demo.PROVIDER, receiver=demo.PARTY, key=key, now=played.clock.now()
    )  # fmt: skip
    url = f"{played.url}/etc/v1/etc.refund.apply"
    answer = played.send(Request("POST", url, {}, envelope.seal(body, head=head, key=key)))
    assert isinstance(answer, Answer)
    assert msgspec.json.decode(answer.body)["body"]["data"]["state"] == "ACCEPTED"


def test_an_answer_after_the_time_out_leaves_everything_open(play: Play) -> None:
    played = play()
    played.plate(answer="paid")
    played.control("etc-sandbox/behaviour", answer_late_seconds=1)
    with HttpTransport(timeout_seconds=0.3) as hasty:
        answer = hasty.send(played.etc.build_deduct(deduction(), **played.given()))
    reading = played.etc.parse_deduct(answer, deduction=deduction(), keys=played.keys, now=played.clock.now())
    assert (reading.verdict, reading.results) == ("unanswered", ())
    played.control("etc-sandbox/behaviour")
    assert state(played.query(deduction())) is ChannelState.SUCCEEDED


def test_a_full_upload_of_a_thousand_charges(play: Play) -> None:
    played = play()
    full = replace(package(*[100] * clearing.UPLOAD_CHARGES_MAX), clear_on=TODAY)
    assert played.upload(full).receipt is Receipt.ACCEPTED
    played.later(seconds=60)
    played.deliver()
    (booking,) = played.told(BookingResult)
    assert clearing.booking_objection(full, booking) is None


def test_a_package_for_a_day_that_is_cleared_goes_into_the_next(play: Play) -> None:
    played = play()
    played.upload(PACKAGE)
    played.control("etc-sandbox/clear", clear_on="2026-03-02")
    late = replace(package(400, message_no="0" * 19 + "9"), clear_on=TODAY)
    assert played.upload(late).clear_on == date(2026, 3, 3)
    played.clock.set(morning(4))
    played.deliver()
    assert [one.message_nos for one in played.told(ClearingStatistics)] == [(PACKAGE.message_no,), (late.message_no,)]


def test_a_refund_goes_back_to_the_plates_account(play: Play) -> None:
    played = play()
    played.plate(answer="paid", balance_fen=1200)
    assert state(played.deduct(deduction(1))) is ChannelState.SUCCEEDED
    assert state(played.deduct(deduction(2, amount_fen=400))) is ChannelState.FAILED
    played.clock.set(morning(3))
    assert refund_state(played.refund(refund_of(deduction(1)))) is RefundState.PENDING
    assert state(played.deduct(deduction(3, amount_fen=400))) is ChannelState.SUCCEEDED


def test_an_operators_own_key_is_known_there() -> None:
    made = demo.make(SOURCE, own=["taihu"])
    assert keys.load(made.ours).own("taihu").key_id == "taihu-1"
    config = demo.config(made.theirs, notify_url="http://127.0.0.1:9/")
    assert set(config.provider_keys) == {"tongting-1", "taihu-1"}
    assert [key.algorithm for key in config.keys] == [Algorithm.SM2, Algorithm.RSA]


def test_the_same_seed_makes_the_same_keys_and_numbers() -> None:
    assert demo.make(SOURCE) == demo.make(SOURCE)


def test_what_is_paid_by_hand_is_told_of(play: Play) -> None:
    played = play(collect_seconds=3600)
    played.plate()
    wanted = deduction()
    played.deduct(wanted)
    assert played.control("_control/etc/pay", order_no=wanted.order_no)["amount_fen"] == 1200
    played.deliver()
    assert state(played.read(played.came[0])) is ChannelState.SUCCEEDED
    assert HTTP.post(f"{played.url}/_control/etc/pay", json={"order_no": wanted.order_no}).status_code == 409
