"""Open agreements are asked about again in batches, and who signed is forgotten when its keeping is over."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError

from gateways.sandbox.wechat.signing import Pair
from ledger.errors import Conflict, Refused
from payments.mandates import agreements, renewing
from payments.mandates.agreement_store import Agreement
from payments.mandates.agreements import AgreementUnknown
from payments.mandates.renewal_store import Keeping
from payments.mandates.renewing import Renewed
from tests.gateways.conftest import HTTP, fresh_pair, pair  # noqa: F401  # fixtures
from tests.payments.conftest import AT
from tests.payments.mandates.deducting import OPENID, PLATE, City, _channels, city
from tests.payments.mandates.test_agreements import BUYER, TOKEN, agree, ask, end, opened

MONTH = timedelta(days=30)


@pytest.fixture
def at(db: Engine, fresh_pair: Pair, tmp_path: Path) -> Iterator[City]:  # noqa: F811  # a fixture
    with city(db, fresh_pair, tmp_path) as made:
        yield made


def renew(at: City, *, limit: int = 100, threads: int = 1) -> Renewed:
    return renewing.renew(at.till, confirmed_for=MONTH, limit=limit, threads=threads)


def states(at: City) -> list[str]:
    return at.column("select state from payments.v_agreement order by confirmed_at, agreement_id")


def end_in_alipay(at: City, plate: str = PLATE) -> None:
    form = {"plate": plate, "plate_color": "BLUE", "act": "end"}
    assert HTTP.post(f"{at.url}/alipay/agreements", data=form).status_code == 303


def test_an_open_agreement_is_asked_about_when_nobody_confirmed_it_for_the_days(at: City) -> None:
    opened(at)
    assert renew(at) == Renewed()
    at.later(days=30)
    asked = at.calls("mandate_query")
    assert renew(at) == Renewed(asked=1)
    assert (renew(at), at.calls("mandate_query")) == (Renewed(), asked + 1)
    assert states(at) == ["open"]
    at.later(days=29)
    assert renew(at) == Renewed()
    at.later(days=1)
    assert renew(at) == Renewed(asked=1)


def test_who_looks_confirms_it_and_it_is_not_asked_about(at: City) -> None:
    made = opened(at)
    at.later(days=20)
    assert ask(at, made) == ("open", "open")
    at.later(days=20)
    assert renew(at) == Renewed()


def test_what_its_driver_ended_in_the_wallet_is_open_no_more_with_the_message_as_evidence(at: City) -> None:
    opened(at)
    end_in_alipay(at)
    at.later(days=30)
    assert renew(at) == Renewed(asked=1, ended=1)
    assert states(at) == ["none"]
    kept = "select message_id is not null and confirmed_at is not null from payments.agreement_event where kind = 'none'"
    assert at.column(kept) == [True]
    assert at.column("select state from payments.mandate where channel = 'alipay'") == ["none"]
    at.later(days=90)
    assert renew(at) == Renewed()


def test_a_channel_that_is_away_ends_nothing_and_is_asked_again_later_and_later(at: City, fresh_pair: Pair) -> None:  # noqa: F811
    opened(at)
    at.later(days=30)
    there, at.registry = at.registry, _channels(fresh_pair, "http://127.0.0.1:9", "http://127.0.0.1:9")
    assert renew(at) == Renewed(asked=1, unproven=1)
    for hours, asked in ((0.5, 0), (0.5, 1), (1, 0), (1, 1)):
        at.later(hours=hours)
        assert renew(at) == Renewed(asked=asked, unproven=asked)
    at.registry = there
    at.later(hours=4)
    assert renew(at) == Renewed(asked=1)
    assert states(at) == ["open"]


def test_a_deduction_that_failed_for_want_of_a_mandate_has_it_asked_about_at_once(at: City) -> None:
    opened(at)
    end_in_alipay(at)
    at.later(minutes=1)
    at.charge("S2", plate_color="blue")
    assert at.deduct("alipay", "S2").tried[0].reason == "mandate_none"
    assert renew(at) == Renewed(asked=1, ended=1)


def test_a_proven_refusal_has_it_asked_about_at_once(at: City) -> None:
    at.enter()
    opened(at)
    at.enter(lot_serial="E2")  # the channel says that it is open, so it is not asked before the deduction
    end_in_alipay(at)
    at.later(minutes=1)
    at.charge("E2", plate_color="blue")
    assert at.deduct("alipay", "E2").state == "failed"
    assert renew(at) == Renewed(asked=1, ended=1)


def test_where_only_the_payer_can_ask_the_channels_own_word_about_the_plate_counts(at: City) -> None:
    opened(at, "wechat", OPENID)
    at.later(days=60)
    assert renew(at) == Renewed()
    at.wechat_plate(state="PAUSE")
    at.enter()
    assert renew(at) == Renewed(ended=1)
    assert (states(at), renew(at)) == (["none"], Renewed())


def test_of_a_plate_that_came_to_another_owner_nobody_is_asked_any_more(at: City) -> None:
    opened(at)
    at.later(days=30)
    with at.db.begin() as tx:
        tx.execute(text("update payments.plate set held_since = :at"), {"at": at.clock.now()})
    assert (renew(at), at.column("select 1 from payments.agreement_watch")) == (Renewed(), [])


def several(at: City, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        plate = f"苏B1{number:04}"
        at.alipay_plate(plate=plate, buyer_id=BUYER)
        assert ask(at, agree(at, token=f"{TOKEN}-{number}", plate=plate)) == ("open", "open")


def test_a_run_asks_no_more_than_its_limit_goes_on_where_it_was_and_takes_as_many_statements_for_many(at: City) -> None:
    several(at, 5)
    at.later(days=30)
    assert [renew(at, limit=2).asked, renew(at, limit=2, threads=2).asked, renew(at, limit=2).asked] == [2, 2, 1]
    said: list[str] = []
    event.listen(at.db, "before_cursor_execute", lambda *given: said.append(given[2]))
    counts = []
    for limit in (1, 4):
        at.later(days=31)
        said.clear()
        assert renew(at, limit=limit).asked == limit
        counts.append(len(said))
    assert counts[0] == counts[1]


def test_a_run_that_died_is_gone_on_with_when_its_claim_is_over(at: City, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(at)
    at.later(days=30)
    with monkeypatch.context() as broken:
        broken.delattr(renewing, "_asked")
        with pytest.raises(NameError):
            renew(at)
    assert renew(at) == Renewed()
    at.later(minutes=10)
    assert renew(at) == Renewed(asked=1)


# Who signed


def payers(at: City) -> list[bool]:
    return at.column("select payer_digest is not null from payments.agreement order by confirmed_at, agreement_id")


def mine(at: City) -> list[Agreement]:
    with at.db.begin() as tx:
        return agreements.of_payer(tx, lane=0, channel="alipay", payer_id=BUYER)


def test_who_signed_is_forgotten_three_years_after_the_end_and_what_was_agreed_stays(at: City) -> None:
    made = opened(at)
    at.later(days=1500)
    assert (renewing.forget_payers(at.till), payers(at)) == (0, [True])
    end(at, made)
    at.later(days=1094)
    assert renewing.forget_payers(at.till) == 0
    at.later(days=2)
    assert (renewing.forget_payers(at.till), renewing.forget_payers(at.till)) == (1, 0)
    assert (payers(at), mine(at), states(at)) == ([False], [], ["ended"])
    with at.db.begin() as tx:
        known = agreements.by_token(tx, lane=0, token=TOKEN)
        assert not agreements.is_payer(tx, agreement=known, channel="alipay", payer_id=BUYER)
    assert at.sound()


def test_an_erased_plate_is_shown_to_nobody_at_once_and_its_payer_is_forgotten_when_the_keeping_is_over(at: City) -> None:
    opened(at)
    with at.db.begin() as tx:
        tx.execute(
            text("update payments.plate set number = '#1', color = 'unknown', salt = '', erased_at = :at"), {"at": at.clock.now()}
        )
    assert mine(at) == []
    with at.db.begin() as tx, pytest.raises(AgreementUnknown):
        agreements.by_token(tx, lane=0, token=TOKEN)
    assert (renewing.forget_payers(at.till), payers(at)) == (0, [True])
    at.later(days=1097)
    assert (renewing.forget_payers(at.till), payers(at)) == (1, [False])


def test_how_long_it_is_kept_is_dated_with_its_law(at: City) -> None:
    end(at, opened(at))
    five = Keeping(valid_from=datetime(2027, 1, 1, tzinfo=UTC), years=5, document="order 9")
    with at.db.begin() as tx:
        for wrong in ({"years": 2}, {"document": " "}, {"valid_from": AT - timedelta(days=1)}):
            with pytest.raises(Refused, match="3 to 30 years"):
                renewing.keep_for(tx, keeping=Keeping(**({"valid_from": AT, "years": 3, "document": "d"} | wrong)), at=AT)  # type: ignore[arg-type]
        renewing.keep_for(tx, keeping=five, at=AT)
        with pytest.raises(Conflict):
            renewing.keep_for(tx, keeping=five, at=AT)
        assert [one.years for one in renewing.keepings(tx)] == [3, 5]
    at.later(days=1200)
    assert renewing.forget_payers(at.till) == 0
    at.later(days=700)
    assert renewing.forget_payers(at.till) == 1


@pytest.mark.parametrize(
    "change", ["payer_digest = null", "page = 'x', payer_digest = null, payer_erased_at = now()", "payer_erased_at = now()"]
)
def test_of_an_agreement_only_the_payer_is_forgotten(at: City, change: str) -> None:
    agree(at)
    with pytest.raises(DBAPIError, match=r"append-only|permission denied|agreement_payer"), at.db.begin() as tx:
        tx.execute(text(f"update payments.agreement set {change}"))
