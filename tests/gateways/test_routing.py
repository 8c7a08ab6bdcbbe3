"""Routes are dated, belong to the operator itself, and never overlap."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from gateways import routing
from gateways.contract import MerchantAccount
from gateways.routing import NewAccount
from ledger.errors import Conflict, NotFound, Refused
from tests.gateways.conftest import MERCHANT_NO, NOW, PROVIDER_NO

NAME = "无锡太湖停车服务有限公司"


def account(**changes: Any) -> NewAccount:
    given: dict[str, Any] = {
        "operator_id": 1,
        "channel": "wechat",
        "merchant_no": MERCHANT_NO,
        "payee_name": NAME,
        "evidence": "进件申请单 2026-001",
        "valid_from": NOW,
    }
    return NewAccount(**(given | changes))


def enter(tx: Connection, **changes: Any) -> MerchantAccount:
    return routing.register(tx, account=account(**changes), operator_name=NAME, provider_no=PROVIDER_NO, at=NOW)


def test_a_route_counts_from_its_begin_up_to_but_not_including_its_end(tx: Connection) -> None:
    end = NOW + timedelta(days=30)
    entered = enter(tx, valid_until=end, sub_app_id="wx1")

    def chosen(at: Any) -> MerchantAccount | None:
        return routing.choose(tx, operator_id=1, channel="wechat", at=at)

    assert chosen(NOW) == entered
    assert chosen(end - timedelta(microseconds=1)) == entered
    assert chosen(NOW - timedelta(microseconds=1)) is None
    assert chosen(end) is None


def test_another_channel_or_operator_has_no_route(tx: Connection) -> None:
    enter(tx)
    assert routing.choose(tx, operator_id=1, channel="alipay", at=NOW) is None
    assert routing.choose(tx, operator_id=2, channel="wechat", at=NOW) is None


def test_an_account_of_another_payee_is_refused(tx: Connection) -> None:
    with pytest.raises(Refused) as refused:
        enter(tx, payee_name="无锡太湖停车服务有限公司 ")
    assert refused.value.code == "payee_differs"


def test_the_platforms_own_account_is_refused(tx: Connection) -> None:
    with pytest.raises(Refused) as refused:
        enter(tx, merchant_no=PROVIDER_NO)
    assert refused.value.code == "account_of_platform"


def test_a_route_that_ends_before_it_begins_is_refused(tx: Connection) -> None:
    with pytest.raises(Refused) as refused:
        enter(tx, valid_until=NOW)
    assert refused.value.code == "period_empty"


@pytest.mark.parametrize("days", [-1, 0, 10])
def test_overlapping_routes_are_refused_and_the_transaction_goes_on(tx: Connection, days: int) -> None:
    first = enter(tx)
    with pytest.raises(Conflict) as conflict:
        enter(tx, merchant_no="1620000008", valid_from=NOW + timedelta(days=days))
    assert conflict.value.code == "route_overlaps"
    assert routing.listed(tx, operator_id=1) == [first]


def test_one_operators_merchant_number_cannot_be_anothers_at_the_same_time(tx: Connection) -> None:
    enter(tx)
    with pytest.raises(Conflict) as conflict:
        enter(tx, operator_id=2)
    assert conflict.value.code == "merchant_taken"


def test_a_route_is_changed_by_ending_it_and_entering_the_next(tx: Connection) -> None:
    first, switch = enter(tx), NOW + timedelta(days=5)
    routing.end(tx, route_id=first.route_id, at=switch)
    second = enter(tx, merchant_no="1620000008", valid_from=switch)
    before = routing.choose(tx, operator_id=1, channel="wechat", at=switch - timedelta(seconds=1))
    after = routing.choose(tx, operator_id=1, channel="wechat", at=switch)
    assert before is not None
    assert before.merchant_no == MERCHANT_NO
    assert after == second
    assert [route.valid_until for route in routing.listed(tx, operator_id=1)] == [switch, None]


def test_a_route_that_is_not_open_cannot_be_ended(tx: Connection) -> None:
    first = enter(tx)
    for route_id, at in ((first.route_id + 1, NOW + timedelta(days=1)), (first.route_id, NOW)):
        with pytest.raises(NotFound) as missing:
            routing.end(tx, route_id=route_id, at=at)
        assert missing.value.code == "route_not_found"


def test_a_route_cannot_be_rewritten(tx: Connection) -> None:
    enter(tx)
    with pytest.raises(Exception, match="permission denied"):
        tx.execute(text("update gateways.merchant_account set merchant_no = '1'"))
