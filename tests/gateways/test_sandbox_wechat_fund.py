"""Fund-flow bills over real HTTP: an operator's account comes encrypted and adds up with its trade bill."""

from datetime import date, timedelta
from typing import Any

import pytest

from gateways.contract import Answer, BillAbsent, BillLink, BillRefused, BillRequest, FundBill, FundBillRequest
from gateways.sandbox.wechat.bills import Bills
from gateways.sandbox.wechat.signing import Pair
from gateways.wechat.keys import WeChatKeys
from tests.gateways.conftest import MERCHANT_NO, NOW, Play, Played
from tests.gateways.playing import control, later, paid, refund, refund_order

DAY = date(2026, 3, 2)


@pytest.fixture
def keys(pair: Pair) -> WeChatKeys:
    return WeChatKeys(
        merchant_key=pair.merchant_key,
        merchant_serial=pair.merchant_serial,
        api_key=pair.api_key,
        channel_keys=pair.ring.known(),
        preferred_serial=pair.public_key.serial,
    )


def link(played: Played, keys: WeChatKeys, bill_on: date = DAY, **changes: Any) -> BillLink | BillAbsent:
    channel, now = played.line.connected.channel, played.clock.now()
    given: dict[str, Any] = {"bill_on": bill_on, "account": "BASIC", "merchant_no": MERCHANT_NO}
    bill = FundBillRequest(**(given | changes))
    answer = played.transport.send(channel.build_fund_bill(bill, keys=keys, now=now, nonce="n"))
    return channel.parse_fund_bill_link(answer, bill=bill, keys=keys, now=now)


def read(played: Played, keys: WeChatKeys, bill_on: date = DAY) -> FundBill:
    channel, now, found = played.line.connected.channel, played.clock.now(), link(played, keys, bill_on)
    assert isinstance(found, BillLink), found
    answer = played.transport.send(channel.build_bill_download(found, keys=keys, now=now, nonce="n"))
    assert isinstance(answer, Answer)
    content = channel.open_bill(answer, link=found)
    bill = FundBillRequest(bill_on=bill_on, account="BASIC", merchant_no=MERCHANT_NO)
    return channel.parse_fund_bill(content, bill=bill, keys=keys)


def next_morning(played: Played, days: int = 1) -> None:
    played.clock.set(NOW + timedelta(days=days))


def test_an_account_tells_of_takings_commission_and_refunds(play: Play, keys: WeChatKeys) -> None:
    played = play()
    taken = paid(played, amount_fen=10_000)
    later(played, 60)
    refund(played, refund_order(taken, refund_fen=4_000))
    next_morning(played)
    bill = read(played, keys)
    assert [(line.kind, line.income_fen, line.expense_fen, line.balance_fen) for line in bill.lines] == [
        ("交易", 10_000, 0, 10_000),
        ("扣除交易手续费", 0, 60, 9_940),
        ("退款", 0, 4_000, 5_940),
        ("退还交易手续费", 24, 0, 5_964),
    ]
    assert {line.order_no for line in bill.lines[:2]} == {taken["order_no"]}
    assert bill.lines[0].trade_no == taken["trade_no"]
    desk = played.sandbox.desk
    token, _ = Bills(desk).write(DAY, "ALL", MERCHANT_NO, compressed=False)
    trades = played.line.connected.channel.parse_bill(
        Bills(desk).file(token), bill=BillRequest(bill_on=DAY, merchant_no=MERCHANT_NO)
    )
    assert bill.income_fen - bill.expense_fen == trades.total_fen - trades.refund_fen - trades.fee_fen


def test_a_day_begins_with_what_the_day_before_left(play: Play, keys: WeChatKeys) -> None:
    played = play()
    paid(played, amount_fen=10_000)
    next_morning(played)
    paid(played, 2, amount_fen=5_000, expires_at=played.clock.now() + timedelta(minutes=15))
    next_morning(played, 2)
    before, after = read(played, keys).lines[-1], read(played, keys, DAY + timedelta(days=1)).lines[0]
    assert after.balance_fen == before.balance_fen + 5_000


def test_a_refund_that_was_closed_comes_back_into_the_account(play: Play, keys: WeChatKeys) -> None:
    played = play()
    taken = paid(played, amount_fen=10_000)
    control(played, "faults", faults=[{"kind": "refund_closed"}])
    refund(played, refund_order(taken, refund_fen=4_000))
    next_morning(played)
    bill = read(played, keys)
    assert "退款关闭" in {line.kind for line in bill.lines}
    assert bill.lines[-1].balance_fen == 9_940


def test_a_quiet_account_has_no_file(play: Play, keys: WeChatKeys) -> None:
    played = play()
    paid(played)
    next_morning(played)
    assert link(played, keys, merchant_no="1620000099") == BillAbsent(reason="empty")
    assert link(played, keys, account="OPERATION") == BillAbsent(reason="empty")
    assert link(played, keys, merchant_no=None) == BillAbsent(reason="empty")
    assert link(played, keys, merchant_no=None, account="NONE") == BillAbsent(reason="call_refused")


def test_the_file_is_there_from_ten_on_the_next_day(play: Play, keys: WeChatKeys) -> None:
    played = play()
    paid(played)
    assert link(played, keys) == BillAbsent(reason="call_refused")
    played.clock.set(NOW + timedelta(hours=23))
    assert link(played, keys) == BillAbsent(reason="not_ready")


@pytest.mark.parametrize(("kind", "lines"), [("bill_cut", None), ("bill_reissued", 1)])
def test_bill_faults_meet_it_once(play: Play, keys: WeChatKeys, kind: str, lines: int | None) -> None:
    played = play()
    paid(played)
    control(played, "faults", faults=[{"kind": kind, "next": 1}])
    next_morning(played)
    if lines is None:
        with pytest.raises(BillRefused):
            read(played, keys)
    else:
        assert len(read(played, keys).lines) == lines
    assert len(read(played, keys).lines) == 2
