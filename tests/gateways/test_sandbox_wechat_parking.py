"""The parking service over real HTTP: a plate is opened, a car comes and goes, the charge is taken by itself."""

from datetime import date, timedelta
from typing import Any

import msgspec
import pytest

from gateways.contract import (
    BillRequest,
    ChannelState,
    Deduction,
    Entrance,
    EntryOutcome,
    EntryTold,
    MandateOutcome,
    MandateRef,
    OrderRef,
    Reading,
    RefundState,
    Way,
)
from gateways.sandbox.wechat.bills import Bills
from tests.gateways.conftest import HTTP, MERCHANT_NO, NOW, Play, Played
from tests.gateways.playing import control, inbox, later, order, read, refund, refund_order, refund_query, refunded

PLATE, OPENID = "苏B12345", "oOwner"
ENTRANCE = Entrance(
    entrance_no="E0000000000000000000000000A1",
    merchant_no=MERCHANT_NO,
    plate=PLATE,
    plate_color="blue",
    entered_at=NOW - timedelta(hours=2),
    free_minutes=30,
    lot_no="LOT-17",
    lot_name="太湖广场停车场",
)
DEDUCTION = Deduction(
    order_no=order(9).order_no,
    merchant_no=MERCHANT_NO,
    plate=PLATE,
    plate_color="blue",
    amount_fen=800,
    description="停车费 太湖广场停车场",
    entered_at=ENTRANCE.entered_at,
    left_at=NOW,
    minutes=120,
    lot_no="LOT-17",
    lot_name="太湖广场停车场",
    created_at=NOW,
)
REF = OrderRef(
    order_no=DEDUCTION.order_no, merchant_no=MERCHANT_NO, created_at=NOW, expires_at=NOW + timedelta(days=1), way=Way.DEDUCTION
)


def opened(played: Played, **changes: Any) -> None:
    plate = {"plate_number": PLATE, "plate_color": "BLUE", "openid": OPENID} | changes
    control(played, "plates", plates=[plate])


def mandate(played: Played, **changes: Any) -> MandateOutcome:
    given: dict[str, Any] = {"plate": PLATE, "plate_color": "blue", "merchant_no": MERCHANT_NO, "payer_id": OPENID}
    ref, channel, keys = MandateRef(**(given | changes)), played.line.connected.channel, played.line.connected.keys
    answer = played.transport.send(channel.build_mandate_query(ref, keys=keys, now=played.clock.now(), nonce="n"))
    return channel.parse_mandate_query(answer, mandate=ref, keys=keys, now=played.clock.now())


def entered(played: Played, **changes: Any) -> EntryOutcome:
    wanted, channel, keys = msgspec.structs.replace(ENTRANCE, **changes), played.line.connected.channel, played.line.connected.keys
    answer = played.transport.send(channel.build_entry(wanted, keys=keys, now=played.clock.now(), nonce="n"))
    return channel.parse_entry(answer, entrance=wanted, keys=keys, now=played.clock.now())


def deducted(played: Played, entry_no: str | None, **changes: Any) -> Reading:
    wanted = msgspec.structs.replace(DEDUCTION, entry_no=entry_no, **changes)
    channel, keys = played.line.connected.channel, played.line.connected.keys
    answer = played.transport.send(channel.build_deduct(wanted, keys=keys, now=played.clock.now(), nonce="n"))
    return channel.parse_deduct(answer, deduction=wanted, keys=keys, now=played.clock.now())


def asked(played: Played) -> Reading:
    channel, keys = played.line.connected.channel, played.line.connected.keys
    answer = played.transport.send(channel.build_query(REF, keys=keys, now=played.clock.now(), nonce="n"))
    return channel.parse_query(answer, order=REF, keys=keys, now=played.clock.now())


def state(reading: Reading) -> ChannelState:
    assert reading.result is not None, reading
    return reading.result.state


def test_a_plate_has_the_service_only_with_its_own_payer(play: Play) -> None:
    played = play()
    assert (mandate(played).state, mandate(played).word) == ("none", "OUT_SERVICE")
    opened(played)
    assert mandate(played) == MandateOutcome(verdict="verified", state="open", payer_id=OPENID)
    assert mandate(played, payer_id="oSomeoneElse").state == "none"
    assert mandate(played, plate_color="green").state == "none"
    opened(played, state="PAUSE")
    assert (mandate(played).state, mandate(played).word) == ("none", "PAUSE")


def test_without_the_payers_openid_nothing_is_known(play: Play) -> None:
    outcome = mandate(play(), payer_id=None)
    assert (outcome.state, outcome.reason) == ("unknown", "call_refused")


def test_a_payer_opens_the_service_on_a_page(play: Play) -> None:
    played = play()
    url = f"{played.url}/pages/auth-creditpay/auth-creditpay"
    query = {
        "mchid": "1900000001", "sub_mchid": "1620000007", "openid": OPENID, "plate_number": PLATE, "plate_color": "BLUE",
        "trade_scene": "PARKING",
    }  # fmt: skip
    assert PLATE in HTTP.get(url, params=query).text
    for wrong in ({"mchid": "1900000002"}, {"sub_mchid": ""}, {"trade_scene": "OTHER"}):
        assert HTTP.get(url, params=query | wrong).status_code == 400
    assert "已开通" in HTTP.post(url, data=query).text
    assert mandate(played).state == "open"
    assert HTTP.get(url, params={"openid": OPENID}).status_code == 400
    assert HTTP.post(url, data=query | {"plate_color": "PINK"}).status_code == 400


def test_an_entry_says_whether_the_plate_may_be_deducted(play: Play) -> None:
    played = play()
    blocked = entered(played)
    assert (blocked.state, blocked.word) == ("none", "OUT_SERVICE")
    opened(played)
    first = entered(played, entrance_no="E2")
    assert (first.verdict, first.state, first.word) == ("verified", "open", None)
    assert first.entry_no is not None
    assert entered(played, entrance_no="E2") == first
    assert entered(played, entrance_no="E2", lot_name="另一个停车场").reason == "order_number_taken"


def test_a_deduction_is_taken_on_then_told_of_and_found(play: Play) -> None:
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url)
        opened(played)
        taken = deducted(played, entered(played).entry_no)
        assert (taken.verdict, state(taken)) == ("verified", ChannelState.PENDING)
        assert state(asked(played)) is ChannelState.PENDING
        control(played, "deliver")
        assert came == []
        later(played, 5)
        control(played, "deliver")
        told = read(played, came[0])
    found = asked(played)
    assert told.results == found.results
    assert state(found) is ChannelState.SUCCEEDED
    assert found.result is not None
    assert (found.result.amount_fen, found.result.currency, found.result.merchant_no) == (800, "CNY", MERCHANT_NO)
    assert found.result.happened_at == NOW + timedelta(seconds=2)


def test_a_failed_deduction_says_so(play: Play) -> None:
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url)
        opened(played, pays="never")
        deducted(played, entered(played).entry_no)
        later(played, 5)
        control(played, "deliver")
        assert state(read(played, came[0])) is ChannelState.FAILED
    assert state(asked(played)) is ChannelState.FAILED


def test_what_the_channel_advanced_is_paid_once(play: Play) -> None:
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url)
        opened(played, pays="later")
        deducted(played, entered(played).entry_no)
        later(played, 3700)
        control(played, "deliver")
        first, second = (read(played, message) for message in came)
    assert state(first) is ChannelState.SUCCEEDED
    assert first.results == second.results


def test_a_plate_that_is_blocked_during_its_stay_is_told_of_and_not_deducted(play: Play) -> None:
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url)
        opened(played)
        entry_no = entered(played).entry_no
        opened(played, state="OVERDUE")
        control(played, "deliver")
        reading = read(played, came[0])
        assert (reading.verdict, reading.reason, reading.results) == ("verified", None, ())
        assert reading.entry == EntryTold(
            entrance_no=ENTRANCE.entrance_no, provider_no=played.line.connected.channel.provider_no, merchant_no=MERCHANT_NO,
            entry_no=entry_no or "", state="none", word="OVERDUE", happened_at=NOW,
        )  # fmt: skip
    assert deducted(played, entry_no).results == ()
    assert state(asked(played)) is ChannelState.PENDING
    played.clock.set(REF.expires_at)
    assert state(asked(played)) is ChannelState.NOT_FOUND


def test_a_payer_pauses_and_ends_the_service_on_its_page_and_the_stay_is_told_of_each(play: Play) -> None:
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url)
        opened(played)
        entered(played)
        page = f"{played.url}/pages/auth-creditpay/auth-creditpay"
        query = {"openid": OPENID, "plate_number": PLATE, "plate_color": "BLUE"}
        assert "暂停停车服务" in HTTP.get(page, params=query).text
        for seconds, act, words in ((1, "PAUSE", "已暂停"), (2, "NORMAL", "已开通"), (3, "OUT_SERVICE", "已解除")):
            later(played, seconds)
            assert words in HTTP.post(page, data=query | {"state": act}).text
        control(played, "deliver")
        told = [read(played, message).entry for message in came]
    assert [(one.state, one.word) for one in told if one] == [("none", "PAUSE"), ("open", None), ("none", "REMOVE")]
    assert [one.happened_at for one in told if one] == [NOW + timedelta(seconds=after) for after in (1, 3, 6)]
    assert mandate(played).state == "none"
    assert HTTP.post(page, data=query | {"state": "OVERDUE"}).status_code == 400
    assert HTTP.post(page, data=query | {"openid": "oOther", "state": "PAUSE"}).status_code == 404


def test_a_notice_tells_of_the_entry_as_it_stood_and_comes_again_by_the_schedule(play: Play) -> None:
    answers = iter([500, 500, 200, 200])
    with inbox(lambda _: next(answers)) as (url, came):
        played = play(notify_url=url)
        opened(played)
        entered(played)
        opened(played, state="PAUSE")
        control(played, "deliver")
        later(played, 1)
        opened(played)
        control(played, "deliver")
        assert len(came) == 2
        later(played, 14)
        control(played, "deliver")
        later(played, 1)
        control(played, "deliver")
        told = [read(played, message).entry for message in came]
    assert [one.state for one in told if one] == ["none", "open", "none", "open"]


def test_a_lost_answer_leaves_the_deduction_made_and_the_repeat_is_safe(play: Play) -> None:
    played = play()
    opened(played)
    entry_no = entered(played).entry_no
    control(played, "faults", faults=[{"kind": "unknown", "next": 1}])
    assert deducted(played, entry_no).results == ()
    assert state(deducted(played, entry_no)) is ChannelState.PENDING
    later(played, 5)
    assert state(deducted(played, entry_no)) is ChannelState.SUCCEEDED
    assert deducted(played, entry_no, amount_fen=900).reason == "order_number_taken"


@pytest.mark.parametrize(
    "changes",
    [{"plate": "苏B54321"}, {"lot_name": "另一个停车场"}, {"entered_at": NOW - timedelta(hours=3)}, {"merchant_no": "1620000008"}],
)
def test_a_stay_other_than_the_entry_is_not_deducted(play: Play, changes: dict[str, Any]) -> None:
    played = play()
    opened(played)
    assert deducted(played, entered(played).entry_no, **changes).reason == "order_number_taken"


def test_an_entry_is_used_once_and_a_newer_one_voids_it(play: Play) -> None:
    played = play()
    opened(played)
    first = entered(played).entry_no
    second = entered(played, entrance_no="E2").entry_no
    assert deducted(played, first).results == ()
    assert state(deducted(played, second)) is ChannelState.PENDING
    assert deducted(played, second, order_no=order(10).order_no).results == ()


@pytest.mark.parametrize("changes", [{"left_at": NOW + timedelta(hours=1)}, {"amount_fen": 0}, {"lot_no": ""}])
def test_a_senseless_deduction_is_refused_for_good(play: Play, changes: dict[str, Any]) -> None:
    played = play()
    opened(played)
    reading = deducted(played, entered(played).entry_no, **changes)
    assert (reading.reason, state(reading)) == ("call_refused", ChannelState.FAILED)


@pytest.mark.parametrize(("kind", "attribute"), [("wrong_amount", "amount_fen"), ("other_merchant", "merchant_no")])
def test_faults_meet_its_notices(play: Play, kind: str, attribute: str) -> None:
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url)
        opened(played)
        control(played, "faults", faults=[{"kind": kind}])
        deducted(played, entered(played).entry_no)
        later(played, 5)
        control(played, "deliver")
        wrong, right = read(played, came[0]).result, asked(played).result
    assert wrong is not None
    assert getattr(wrong, attribute) != getattr(right, attribute)


def test_it_is_refunded_and_billed_as_any_payment(play: Play) -> None:
    played = play()
    opened(played)
    deducted(played, entered(played).entry_no)
    later(played, 5)
    result = asked(played).result
    assert result is not None
    wanted = refund_order({"order_no": result.order_no, "trade_no": result.trade_no, "amount_fen": 800}, refund_fen=300)
    assert refunded(refund(played, wanted)).state is RefundState.PENDING
    assert state(asked(played)) is ChannelState.SUCCEEDED
    later(played, 60)
    assert refunded(refund_query(played, wanted)).state is RefundState.DONE
    later(played, 86_400)
    desk = played.sandbox.desk
    token, _ = Bills(desk).write(date(2026, 3, 2), "ALL", None, compressed=False)
    bill = played.line.connected.channel.parse_bill(Bills(desk).file(token), bill=BillRequest(bill_on=date(2026, 3, 2)))
    assert [(line.kind, line.amount_fen) for line in bill.lines] == [("payment", 800), ("refund", 300)]


def test_a_deduction_is_not_found_as_an_order_nor_the_reverse(play: Play) -> None:
    played = play()
    opened(played)
    deducted(played, entered(played).entry_no)
    channel, keys = played.line.connected.channel, played.line.connected.keys
    ref = msgspec.structs.replace(REF, way=Way.IN_WALLET)
    answer = played.transport.send(channel.build_query(ref, keys=keys, now=NOW, nonce="n"))
    assert state(channel.parse_query(answer, order=ref, keys=keys, now=NOW)) is ChannelState.PENDING
    deduction = played.transport.send(channel.build_query(REF, keys=keys, now=NOW, nonce="n"))
    assert channel.parse_query(deduction, order=ref, keys=keys, now=NOW).reason == "other_order"
