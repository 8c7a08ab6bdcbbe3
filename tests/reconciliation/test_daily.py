"""A channel's day: repeated until nothing waits, harmless when repeated more often."""

from datetime import timedelta

from gateways.sandbox.shapes import Fault, FaultKind, FaultPlan
from reconciliation import daily
from tests.gateways.conftest import Played, fresh_pair, pair, play, wechat
from tests.payments.conftest import PROVIDER
from tests.reconciliation.conftest import DAY, City
from tests.reconciliation.test_fetch import MORNING, pay, played

__all__ = ["fresh_pair", "pair", "play", "played", "wechat"]


def reconcile(played: Played, city: City) -> daily.Day:
    return daily.reconcile(city.db, lane=0, line=played.line, bill_on=DAY)


def is_closed(city: City) -> bool:
    with city.db.begin() as tx:
        return daily.is_closed(tx, channel="wechat", provider_no=PROVIDER, bill_on=DAY)


def test_a_day_with_missed_money_is_closed_at_the_second_run(played: Played, city: City) -> None:
    pay(played, city)
    pay(played, city, booked=False)
    city.seal()
    played.clock.set(MORNING)
    first = reconcile(played, city)
    assert (first.asked, is_closed(city)) == (1, False)
    city.seal()
    played.clock.set(MORNING + timedelta(minutes=30))
    second = reconcile(played, city)
    assert second.run is not None
    assert (second.bill.outcome, second.run.matched, second.asked, is_closed(city)) == ("same", 2, 0, True)


def test_a_run_repeated_on_a_closed_day_changes_nothing(played: Played, city: City) -> None:
    pay(played, city)
    city.seal()
    played.clock.set(MORNING)
    assert reconcile(played, city).run == reconcile(played, city).run
    assert is_closed(city)


def test_a_day_whose_bill_is_late_or_cut_stays_open(played: Played, city: City) -> None:
    pay(played, city)
    city.seal()
    played.clock.set(MORNING.replace(hour=1))
    assert (reconcile(played, city).bill.outcome, is_closed(city)) == ("absent", False)
    played.clock.set(MORNING)
    played.sandbox.desk.set_plan(FaultPlan(faults=(Fault(kind=FaultKind.BILL_CUT, next=1),)))
    assert (reconcile(played, city).bill.outcome, is_closed(city)) == ("refused", False)
    assert reconcile(played, city).bill.outcome == "new"
    assert is_closed(city)
