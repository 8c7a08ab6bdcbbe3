"""The stand-in's bills, and what else its control routes show."""

import json
from datetime import date, timedelta
from typing import Any

import pytest

from gateways import calls
from gateways.calls import BillFile
from gateways.contract import (
    Answer,
    BillAbsent,
    BillRefused,
    BillRequest,
)
from tests.gateways.conftest import HTTP, MERCHANT_NO, NOW, Play, Played
from tests.gateways.playing import control, order, pay, prepay


def a_day(play: Play, count: int = 3) -> Played:
    played = play()
    for number in range(1, count + 1):
        prepay(played, order(number, amount_fen=100 * number))
        pay(played, order(number))
    played.clock.set(NOW + timedelta(days=1, seconds=1))
    return played


def bill(played: Played, **changes: Any) -> BillFile | BillAbsent:
    return calls.bill(played.line, BillRequest(bill_on=date(2026, 3, 2), **changes), occasion="1").outcome


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("form", ["all", "success"])
def test_the_days_bill_lists_every_payment_with_its_fee(play: Play, compressed: bool, form: str) -> None:
    played = a_day(play)
    file = bill(played, compressed=compressed, form=form)
    assert isinstance(file, BillFile)
    read_back = played.line.connected.channel.parse_bill(file.content, bill=BillRequest(bill_on=date(2026, 3, 2)))
    assert [(line.order_no, line.amount_fen, line.fee_fen) for line in read_back.lines] == [
        (order(1).order_no, 100, 1), (order(2).order_no, 200, 1), (order(3).order_no, 300, 2)
    ]  # fmt: skip
    assert (read_back.total_fen, read_back.fee_fen) == (600, 4)


def test_a_bill_of_one_operator_lists_only_its_payments(play: Play) -> None:
    played = a_day(play)
    assert bill(played, merchant_no="1620000008") == BillAbsent(reason="empty")
    assert isinstance(bill(played, merchant_no=MERCHANT_NO), BillFile)


def test_the_bill_is_not_ready_before_ten_and_never_for_today(play: Play) -> None:
    played = play()
    prepay(played, order())
    pay(played, order())
    assert bill(played) == BillAbsent(reason="call_refused")
    played.clock.set(NOW + timedelta(days=1, seconds=-1))
    assert bill(played) == BillAbsent(reason="not_ready")
    played.clock.set(NOW + timedelta(days=1))
    assert isinstance(bill(played), BillFile)


def test_a_day_without_payments_has_no_bill(play: Play) -> None:
    played = play()
    played.clock.set(NOW + timedelta(days=1))
    assert bill(played) == BillAbsent(reason="empty")


def test_a_reissued_bill_first_lacks_its_last_row_and_then_has_it(play: Play) -> None:
    played = a_day(play)
    control(played, "faults", faults=[{"kind": "bill_reissued", "next": 1, "bill_on": "2026-03-02"}])
    first, second = bill(played), bill(played)
    assert isinstance(first, BillFile)
    assert isinstance(second, BillFile)
    channel = played.line.connected.channel
    wanted = BillRequest(bill_on=date(2026, 3, 2))
    assert [len(channel.parse_bill(file.content, bill=wanted).lines) for file in (first, second)] == [2, 3]
    assert first.link is not None
    assert second.link is not None
    assert first.link.digest != second.link.digest


def test_a_cut_bill_has_the_digest_of_the_cut_file_and_is_refused_by_its_form(play: Play) -> None:
    played = a_day(play)
    control(played, "faults", faults=[{"kind": "bill_cut"}])
    file = bill(played)
    assert isinstance(file, BillFile)
    with pytest.raises(BillRefused):
        played.line.connected.channel.parse_bill(file.content, bill=BillRequest(bill_on=date(2026, 3, 2)))


def test_a_bill_link_dies_after_five_minutes(play: Play) -> None:
    played = a_day(play)
    file = bill(played)
    assert isinstance(file, BillFile)
    assert file.link is not None
    played.clock.set(played.clock.now() + timedelta(minutes=5))
    channel, keys = played.line.connected.channel, played.line.connected.keys
    answer = played.transport.send(channel.build_bill_download(file.link, keys=keys, now=played.clock.now(), nonce="n"))
    assert isinstance(answer, Answer)
    assert (answer.status, json.loads(answer.body)["code"]) == (400, "INVALID_REQUEST")


def test_merchants_takings_are_kept(play: Play) -> None:
    played = a_day(play)
    control(played, "merchants", merchants=[{"merchant_no": MERCHANT_NO, "name": "无锡太湖停车"}])
    assert HTTP.get(f"{played.url}/_control/merchants").json()["merchants"] == [
        {
            "merchant_no": MERCHANT_NO, "name": "无锡太湖停车", "payments": 3, "taken_fen": 600, "fee_fen": 4,
            "refunds": 0, "refunded_fen": 0, "fee_returned_fen": 0, "net_fen": 596,
        }
    ]  # fmt: skip


def test_the_clock_is_set_forward_only(play: Play) -> None:
    played = play()
    assert control(played, "clock", at="2026-03-02T11:00:00+08:00") == {"now": "2026-03-02T03:00:00Z"}
    assert HTTP.post(f"{played.url}/_control/clock", json={"at": "2026-03-02T10:00:00+08:00"}).status_code == 409
    assert HTTP.post(f"{played.url}/_control/clock", json={"at": "2026-03-02T10:00:00"}).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v3/nothing", 404), ("DELETE", "/health", 405), ("GET", "/health", 200)]
)
def test_an_address_that_is_not_there_is_answered_plainly(play: Play, method: str, path: str, status: int) -> None:
    assert HTTP.request(method, play().url + path).status_code == status


def test_a_huge_body_is_not_read(play: Play) -> None:
    assert HTTP.post(f"{play().url}/_control/faults", content=b"x" * 9_000_000).status_code == 413
