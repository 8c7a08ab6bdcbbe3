"""Combined orders over real HTTP: all legs or none, one notice, each leg with its own number, bill row and refund."""

from datetime import date, timedelta
from typing import Any

import pytest

from gateways.contract import (
    BillRequest,
    ChannelState,
    CloseOutcome,
    CombinedOrder,
    CombinedRef,
    Leg,
    OrderRef,
    PrepayOutcome,
    Reading,
    RefundState,
    Way,
)
from gateways.sandbox.wechat.bills import Bills
from tests.gateways.conftest import HTTP, MERCHANT_NO, NOW, Play, Played
from tests.gateways.playing import control, inbox, later, order, prepay, read, refund, refund_order, refunded, state

OTHER_NO = "1620000008"
COMBINED_NO = "C" + "0" * 26 + "1"


def combined(**changes: Any) -> CombinedOrder:
    legs = (
        Leg(order_no=order(1).order_no, merchant_no=MERCHANT_NO, description="停车费 太湖广场停车场", amount_fen=1200),
        Leg(order_no=order(2).order_no, merchant_no=OTHER_NO, description="停车费 三阳广场停车场", amount_fen=500),
        Leg(order_no=order(3).order_no, merchant_no=MERCHANT_NO, description="停车费 补缴", amount_fen=300),
    )
    given: dict[str, Any] = {
        "combined_no": COMBINED_NO,
        "legs": legs,
        "created_at": NOW,
        "expires_at": NOW + timedelta(minutes=15),
        "payer_id": "oPayer",
    }
    return CombinedOrder(**(given | changes))


def ref(wanted: CombinedOrder) -> CombinedRef:
    legs = tuple(
        OrderRef(order_no=leg.order_no, merchant_no=leg.merchant_no, created_at=NOW, expires_at=wanted.expires_at)
        for leg in wanted.legs
    )
    return CombinedRef(combined_no=wanted.combined_no, legs=legs)


def ordered(played: Played, wanted: CombinedOrder) -> PrepayOutcome:
    channel, keys, now = played.line.connected.channel, played.line.connected.keys, played.clock.now()
    answer = played.transport.send(channel.build_combined(wanted, keys=keys, now=now, nonce="n"))
    return channel.parse_combined(answer, order=wanted, keys=keys, now=now, nonce="n")


def asked(played: Played, wanted: CombinedOrder) -> Reading:
    channel, keys, now = played.line.connected.channel, played.line.connected.keys, played.clock.now()
    answer = played.transport.send(channel.build_combined_query(ref(wanted), keys=keys, now=now, nonce="n"))
    return channel.parse_combined_query(answer, order=ref(wanted), keys=keys, now=now)


def closed(played: Played, named: CombinedRef) -> CloseOutcome:
    channel, keys, now = played.line.connected.channel, played.line.connected.keys, played.clock.now()
    answer = played.transport.send(channel.build_combined_close(named, keys=keys, now=now, nonce="n"))
    return channel.parse_combined_close(answer, order=named, keys=keys, now=now)


def states(played: Played) -> set[ChannelState]:
    return {one.state for one in asked(played, combined()).results}


def test_the_payer_pays_all_legs_in_one_act(play: Play) -> None:
    played = play()
    control(played, "merchants", merchants=[{"merchant_no": OTHER_NO, "name": "三阳停车有限公司"}])
    hand_off = ordered(played, combined()).hand_off
    assert hand_off is not None
    assert states(played) == {ChannelState.PENDING}
    url = f"{played.url}/cashier/{hand_off.fields['package'].removeprefix('prepay_id=')}"
    page = HTTP.get(url).text
    assert "合并支付 3 笔" in page
    assert "20.00" in page
    assert "三阳停车有限公司" in page
    assert "已支付" in HTTP.post(f"{url}/pay").text
    results = asked(played, combined()).results
    assert [(one.order_no, one.merchant_no, one.amount_fen) for one in results] == [
        (leg.order_no, leg.merchant_no, leg.amount_fen) for leg in combined().legs
    ]
    assert {one.state for one in results} == {ChannelState.SUCCEEDED}
    assert len({one.trade_no for one in results}) == 3


@pytest.mark.parametrize("way", [Way.BROWSER, Way.CODE])
def test_the_other_ways_lead_to_the_same_cashier(play: Play, way: Way) -> None:
    played = play()
    hand_off = ordered(played, combined(way=way, payer_ip="203.0.113.7")).hand_off
    assert hand_off is not None
    if way is Way.BROWSER:
        path = HTTP.get(hand_off.url or "", headers={"referer": "https://pay.example/"}).headers["location"]
    else:
        path = HTTP.get(f"{played.url}/scan", params=hand_off.fields).headers["location"]
    assert "已支付" in HTTP.post(f"{played.url}{path}/pay").text
    assert states(played) == {ChannelState.SUCCEEDED}


def test_one_notice_tells_of_all_legs_and_comes_again_until_it_is_taken(play: Play) -> None:
    with inbox(lambda count: 500 if count == 1 else 200) as (url, came):
        played = play(notify_url=url)
        ordered(played, combined())
        control(played, "pay", order_no=order(2).order_no)
        control(played, "deliver")
        later(played, 15)
        control(played, "deliver")
        first, second = (read(played, message) for message in came)
    assert first == second
    assert {one.order_no: one.amount_fen for one in first.results} == {leg.order_no: leg.amount_fen for leg in combined().legs}


@pytest.mark.parametrize(("kind", "attribute"), [("wrong_amount", "amount_fen"), ("other_merchant", "merchant_no")])
def test_a_fault_may_meet_one_leg(play: Play, kind: str, attribute: str) -> None:
    with inbox(lambda count: 500 if count == 1 else 200) as (url, came):
        played = play(notify_url=url)
        control(played, "faults", faults=[{"kind": kind, "order_like": order(2).order_no}])
        ordered(played, combined())
        control(played, "pay", order_no=COMBINED_NO)
        control(played, "deliver")
        later(played, 15)
        control(played, "deliver")
        wrong, right = (read(played, message).results for message in came)
    differing = [one.order_no for one, other in zip(wrong, right, strict=True) if one != other]
    assert differing == [order(2).order_no]
    assert getattr(wrong[1], attribute) in (501, "1699999999")


@pytest.mark.parametrize(("kind", "count"), [("never", 0), ("twice", 2)])
def test_notices_of_the_whole_act_fail_as_any_other(play: Play, kind: str, count: int) -> None:
    with inbox(lambda _: 200) as (url, came):
        played = play(notify_url=url)
        control(played, "faults", faults=[{"kind": kind}])
        ordered(played, combined())
        control(played, "pay", order_no=COMBINED_NO)
        control(played, "deliver")
        later(played, 10)
        control(played, "deliver")
        assert len(came) == count
    assert states(played) == {ChannelState.SUCCEEDED}


def test_a_lost_answer_leaves_the_order_made_and_the_repeat_is_safe(play: Play) -> None:
    played = play()
    control(played, "faults", faults=[{"kind": "unknown", "next": 1}])
    assert ordered(played, combined()).state is ChannelState.UNKNOWN
    assert ordered(played, combined()).state is ChannelState.PENDING


def test_the_same_number_with_other_legs_is_refused(play: Play) -> None:
    played = play()
    ordered(played, combined())
    again = ordered(played, combined(legs=combined().legs[:2]))
    assert (again.state, again.reason) == (ChannelState.UNKNOWN, "order_number_taken")


def test_a_legs_number_must_be_new(play: Play) -> None:
    played = play()
    prepay(played, order(2))
    assert ordered(played, combined()).reason == "order_number_taken"
    assert {one.state for one in asked(played, combined()).results} == {ChannelState.PENDING}
    ordered(played, combined(combined_no="C" + "0" * 26 + "2", legs=combined().legs[2:]))
    assert prepay(played, order(3)).reason == "order_number_taken"


def test_the_ordinary_query_knows_no_leg(play: Play) -> None:
    played = play()
    ordered(played, combined())
    control(played, "pay", order_no=COMBINED_NO)
    assert state(played, order(1)) is ChannelState.PENDING


def test_a_close_takes_all_legs_or_is_refused(play: Play) -> None:
    played = play()
    ordered(played, combined())
    whole = ref(combined())
    part = CombinedRef(combined_no=COMBINED_NO, legs=whole.legs[:2])
    assert closed(played, part).state is ChannelState.UNKNOWN
    assert [closed(played, whole).state for _ in range(2)] == [ChannelState.CLOSED] * 2
    assert states(played) == {ChannelState.CLOSED}
    assert HTTP.post(f"{played.url}/_control/pay", json={"order_no": COMBINED_NO}).status_code == 409


def test_a_paid_one_is_not_closed(play: Play) -> None:
    played = play()
    ordered(played, combined())
    control(played, "pay", order_no=COMBINED_NO)
    assert (closed(played, ref(combined())).state, closed(played, ref(combined())).reason) == (ChannelState.UNKNOWN, "order_paid")


def test_after_the_last_moment_nobody_pays(play: Play) -> None:
    played = play()
    ordered(played, combined())
    later(played, 900)
    assert HTTP.post(f"{played.url}/_control/pay", json={"order_no": COMBINED_NO}).status_code == 409


def test_each_leg_is_refunded_and_billed_by_itself(play: Play) -> None:
    played = play()
    ordered(played, combined())
    control(played, "pay", order_no=COMBINED_NO)
    leg = asked(played, combined()).results[1]
    taken = {"order_no": leg.order_no, "trade_no": leg.trade_no, "amount_fen": leg.amount_fen}
    made = refund(played, refund_order(taken, merchant_no=OTHER_NO, refund_fen=500))
    assert refunded(made).state is RefundState.PENDING
    assert {one.state for one in asked(played, combined()).results} == {ChannelState.SUCCEEDED}
    later(played, 86_400)
    desk, channel = played.sandbox.desk, played.line.connected.channel
    token, _ = Bills(desk).write(date(2026, 3, 2), "ALL", None, compressed=False)
    bill = channel.parse_bill(Bills(desk).file(token), bill=BillRequest(bill_on=date(2026, 3, 2)))
    assert [(line.kind, line.order_no, line.merchant_no, line.amount_fen) for line in bill.lines] == [
        ("payment", order(1).order_no, MERCHANT_NO, 1200),
        ("payment", order(2).order_no, OTHER_NO, 500),
        ("refund", order(2).order_no, OTHER_NO, 500),
        ("payment", order(3).order_no, MERCHANT_NO, 300),
    ]
