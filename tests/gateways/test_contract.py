"""One suite for every channel in the registry: what each must do, whatever its wire looks like."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from gateways.contract import (
    Answer,
    AnyChannel,
    BillAbsent,
    BillLink,
    BillRefused,
    BillRequest,
    ChannelState,
    Operation,
    OrderRef,
    PrepayOrder,
    RefundOrder,
    RefundRef,
    RefundState,
    Request,
    Unanswered,
)
from gateways.keys import KeyRing
from gateways.registry import Connected, Registry
from gateways.sandbox.wechat.signing import PaidOrder, Pair, RefundTold, signed_callback, signed_refund_callback
from gateways.wechat.channel import Provider, WeChat
from ledger.errors import NotFound
from tests.gateways.conftest import APP_ID, MERCHANT_NO, NOW, PROVIDER_NO
from tests.gateways.test_vectors import SAMPLE_KEY

GOLDEN = Path(__file__).parent / "golden"
NONCE = "593BEC0C930BF1AFEB40B4A08C8FB242"
ORDER = PrepayOrder(
    order_no="P0000000000000000000000000A1",
    merchant_no=MERCHANT_NO,
    description="停车费 太湖广场停车场",
    amount_fen=1200,
    payer_id="oSandbox0000000000000000payer",
    created_at=NOW,
    expires_at=NOW + timedelta(minutes=15),
    attach="lot=17",
)
REF = OrderRef(order_no=ORDER.order_no, merchant_no=MERCHANT_NO, created_at=NOW, expires_at=NOW + timedelta(minutes=15))
REFUND = RefundOrder(
    refund_no="R0000000000000000000000000B2",
    order_no=ORDER.order_no,
    trade_no="4200000000202603020000000001",
    merchant_no=MERCHANT_NO,
    refund_fen=400,
    total_fen=1200,
    asked_at=NOW,
    paid_at=NOW,
    reason="重复缴费",
)
REFUND_REF = RefundRef(
    refund_no=REFUND.refund_no, order_no=REFUND.order_no, trade_no=REFUND.trade_no, merchant_no=MERCHANT_NO, asked_at=NOW
)
BILL = BillRequest(bill_on=date(2026, 3, 1))
LINK = BillLink(
    url="https://api.mch.weixin.qq.com/v3/billdownload/file?token=t%2B1&tartype=gzip",
    digest_kind="SHA1",
    digest="0" * 40,
    compressed=True,
)


class Case(Struct, frozen=True):
    """A channel, a ring whose signatures repeat, and how genuine notices of it are made."""

    channel: AnyChannel
    golden_keys: KeyRing
    notice: Callable[[Pair, PaidOrder], tuple[dict[str, str], bytes]]
    refund_notice: Callable[[Pair, RefundTold], tuple[dict[str, str], bytes]]


def wechat_case() -> Case:
    keys = KeyRing(
        merchant_key=SAMPLE_KEY,
        merchant_serial="3775B6A45ACD588826D15E583A95F5DD00000000",
        api_key=b"0" * 32,
        channel_keys=(),
        preferred_serial="PUB_KEY_ID_0114232134912410000000000000",
    )
    channel = WeChat(Provider(provider_no=PROVIDER_NO, app_id=APP_ID, notify_url="https://pay.example/callbacks/wechat"))
    return Case(
        channel=channel,
        golden_keys=keys,
        notice=lambda pair, paid: signed_callback(pair.public_key, paid, api_key=pair.api_key, at=NOW),
        refund_notice=lambda pair, told: signed_refund_callback(pair.public_key, told, api_key=pair.api_key, at=NOW),
    )


CASES = [wechat_case()]
PAID = PaidOrder(
    order_no=ORDER.order_no,
    trade_no="4200000000202603020000000001",
    provider_no=PROVIDER_NO,
    merchant_no=MERCHANT_NO,
    amount_fen=1200,
    paid_at=NOW,
)
REFUNDED = RefundTold(
    refund_no=REFUND.refund_no,
    channel_refund_no="50300000002026030200000000001",
    order_no=ORDER.order_no,
    trade_no=PAID.trade_no,
    provider_no=PROVIDER_NO,
    merchant_no=MERCHANT_NO,
    refund_fen=400,
    total_fen=1200,
    happened_at=NOW,
)


@pytest.fixture(params=CASES, ids=lambda case: case.channel.name)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def rendered(request: Request) -> bytes:
    lines = [f"{request.method} {request.url}", *(f"{name}: {value}" for name, value in request.headers.items())]
    return "\n".join(lines).encode() + b"\n\n" + request.body


def built(channel: AnyChannel, keys: KeyRing) -> dict[str, Request]:
    told: dict[str, Any] = {"keys": keys, "now": NOW, "nonce": NONCE}
    prepay = channel.build_prepay(ORDER, **told)
    assert isinstance(prepay, Request)
    return {
        "prepay": prepay,
        "query": channel.build_query(REF, **told),
        "close": channel.build_close(REF, **told),
        "refund": channel.build_refund(REFUND, **told),
        "refund_query": channel.build_refund_query(REFUND_REF, **told),
        "bill": channel.build_bill(BILL, **told),
        "bill_file": channel.build_bill_download(LINK, **told),
        "certificates": channel.build_certificates(**told),
    }


@pytest.mark.parametrize("operation", ["prepay", "query", "close", "refund", "refund_query", "bill", "bill_file", "certificates"])
def test_a_request_is_built_byte_for_byte_as_before(case: Case, operation: str) -> None:
    golden = (GOLDEN / case.channel.name / f"{operation}.txt").read_bytes()
    assert rendered(built(case.channel, case.golden_keys)[operation]) == golden


def test_the_answers_to_notices_are_byte_for_byte_as_before(case: Case) -> None:
    folder = GOLDEN / case.channel.name
    accepted, refused = case.channel.ack(accepted=True), case.channel.ack(accepted=False, reason="signature")
    assert (accepted.status, accepted.body) == (200, (folder / "ack_accepted.json").read_bytes())
    assert (refused.status, refused.body) == (401, (folder / "ack_refused.json").read_bytes())


def test_the_same_arguments_build_the_same_bytes(case: Case) -> None:
    assert built(case.channel, case.golden_keys) == built(case.channel, case.golden_keys)


def test_a_repeated_order_differs_in_nothing_but_its_signature(case: Case) -> None:
    later = case.channel.build_prepay(ORDER, keys=case.golden_keys, now=NOW + timedelta(seconds=40), nonce="B" * 32)
    first = case.channel.build_prepay(ORDER, keys=case.golden_keys, now=NOW, nonce=NONCE)
    assert isinstance(first, Request)
    assert isinstance(later, Request)
    assert later.body == first.body


def test_a_repeated_refund_differs_in_nothing_but_its_signature(case: Case) -> None:
    later = case.channel.build_refund(REFUND, keys=case.golden_keys, now=NOW + timedelta(days=2), nonce="B" * 32)
    assert later.body == case.channel.build_refund(REFUND, keys=case.golden_keys, now=NOW, nonce=NONCE).body


def test_a_channel_says_what_it_supports(case: Case) -> None:
    needed = {Operation.CALLBACK, Operation.PREPAY, Operation.QUERY, Operation.CLOSE, Operation.REFUND, Operation.REFUND_QUERY}
    assert needed <= case.channel.supports


def test_a_genuine_notice_is_read(case: Case, pair: Pair) -> None:
    headers, body = case.notice(pair, PAID)
    reading = case.channel.parse_callback(headers, body, keys=pair.ring, now=NOW)
    assert reading.verdict == "verified"
    assert reading.result is not None
    assert reading.result.state is ChannelState.SUCCEEDED
    assert reading.result.channel == case.channel.name
    assert (reading.result.order_no, reading.result.trade_no) == (PAID.order_no, PAID.trade_no)
    assert (reading.result.provider_no, reading.result.merchant_no) == (PROVIDER_NO, MERCHANT_NO)
    assert (reading.result.amount_fen, reading.result.currency) == (1200, "CNY")
    assert reading.result.happened_at == NOW
    assert reading.result.happened_at.tzinfo is UTC


def test_a_genuine_notice_of_a_refund_is_read(case: Case, pair: Pair) -> None:
    headers, body = case.refund_notice(pair, REFUNDED)
    reading = case.channel.parse_callback(headers, body, keys=pair.ring, now=NOW)
    assert (reading.verdict, reading.result) == ("verified", None)
    assert reading.refund is not None
    assert (reading.refund.channel, reading.refund.state) == (case.channel.name, RefundState.DONE)
    assert (reading.refund.refund_no, reading.refund.order_no) == (REFUND.refund_no, ORDER.order_no)
    assert (reading.refund.trade_no, reading.refund.channel_refund_no) == (REFUND.trade_no, REFUNDED.channel_refund_no)
    assert (reading.refund.provider_no, reading.refund.merchant_no) == (PROVIDER_NO, MERCHANT_NO)
    assert (reading.refund.refund_fen, reading.refund.happened_at) == (400, NOW)


def test_every_altered_byte_of_a_notice_is_refused(case: Case, pair: Pair) -> None:
    for headers, body in (case.notice(pair, PAID), case.refund_notice(pair, REFUNDED)):
        for place in range(0, len(body), 7):
            altered = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
            reading = case.channel.parse_callback(headers, altered, keys=pair.ring, now=NOW)
            assert (reading.verdict, reading.result, reading.refund) == ("refused", None, None)


def test_a_notice_without_one_of_its_headers_is_refused(case: Case, pair: Pair) -> None:
    headers, body = case.notice(pair, PAID)
    needed = [name for name in headers if name in case.channel.evidence_headers and name.startswith("wechatpay-")]
    for name in needed:
        if name == "wechatpay-signature-type":
            continue
        fewer = {key: value for key, value in headers.items() if key != name}
        assert case.channel.parse_callback(fewer, body, keys=pair.ring, now=NOW).reason == "header_missing"


@pytest.mark.parametrize("reason", ["timeout", "dns", "connect", "tls", "broken", "too_large"])
def test_no_answer_means_unknown_and_never_raises(case: Case, pair: Pair, reason: str) -> None:
    none, keys, channel = Unanswered(reason=reason), pair.ring, case.channel
    assert channel.parse_prepay(none, order=ORDER, keys=keys, now=NOW, nonce=NONCE).state is ChannelState.UNKNOWN
    assert channel.parse_close(none, order=REF, keys=keys, now=NOW).state is ChannelState.UNKNOWN
    query = channel.parse_query(none, order=REF, keys=keys, now=NOW)
    assert (query.verdict, query.result, query.reason) == ("unanswered", None, reason)
    for refund in (
        channel.parse_refund(none, refund=REFUND, keys=keys, now=NOW),
        channel.parse_refund_query(none, refund=REFUND_REF, keys=keys, now=NOW),
    ):
        assert (refund.verdict, refund.refund, refund.reason) == ("unanswered", None, reason)
    assert channel.parse_bill_link(none, bill=BILL, keys=keys, now=NOW) == BillAbsent(reason=reason)
    assert channel.parse_certificates(none, keys=keys, now=NOW) is None


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[]", b"<html>", b"\xff\xfe", b'{"prepay_id":"x"}', b'{"code":5}'])
@pytest.mark.parametrize("status", [200, 202, 204, 302, 400, 404, 500, 502])
def test_an_unsigned_answer_proves_nothing_and_never_raises(case: Case, pair: Pair, status: int, body: bytes) -> None:
    answer, keys, channel = Answer(status=status, headers={}, body=body), pair.ring, case.channel
    assert channel.parse_prepay(answer, order=ORDER, keys=keys, now=NOW, nonce=NONCE).state is ChannelState.UNKNOWN
    assert channel.parse_close(answer, order=REF, keys=keys, now=NOW).state is ChannelState.UNKNOWN
    assert channel.parse_query(answer, order=REF, keys=keys, now=NOW).result is None
    assert channel.parse_refund(answer, refund=REFUND, keys=keys, now=NOW).refund is None
    assert channel.parse_refund_query(answer, refund=REFUND_REF, keys=keys, now=NOW).refund is None
    assert isinstance(channel.parse_bill_link(answer, bill=BILL, keys=keys, now=NOW), BillAbsent)
    assert channel.parse_certificates(answer, keys=keys, now=NOW) is None


def test_a_file_that_is_not_the_announced_one_is_refused(case: Case) -> None:
    with pytest.raises(BillRefused) as refused:
        case.channel.open_bill(Answer(status=200, headers={}, body=b"something else"), link=LINK)
    assert refused.value.code == "bill_digest"


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xff", "交易时间\n".encode(), b"`1,`2\n"])
def test_garbage_is_no_bill(case: Case, content: bytes) -> None:
    with pytest.raises(BillRefused):
        case.channel.parse_bill(content, bill=BILL)


def test_the_registry_finds_channels_by_name(case: Case) -> None:
    registry = Registry([Connected(channel=case.channel, keys=case.golden_keys)])
    assert registry.find(case.channel.name).channel is case.channel
    assert registry.names() == (case.channel.name,)
    assert [one.channel.name for one in registry] == [case.channel.name]
    with pytest.raises(NotFound) as missing:
        registry.find("carrier pigeon")
    assert missing.value.code == "channel_not_found"


def test_an_order_that_outlives_the_channels_limit_is_cut_to_it(case: Case) -> None:
    endless = msgspec.structs.replace(ORDER, expires_at=datetime(2030, 1, 1, tzinfo=UTC))
    built = case.channel.build_prepay(endless, keys=case.golden_keys, now=NOW, nonce=NONCE)
    assert isinstance(built, Request)
    assert b'"time_expire":"2026-03-17T10:00:00+08:00"' in built.body
