"""Bills: kept whole, version by version, or refused as a whole."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from gateways.contract import BillLine, BillRefused, BillSums, RefundState
from gateways.spool import Spool
from reconciliation import bills
from reconciliation.bill_lines import BillLines
from reconciliation.bills import Fetched
from tests.payments.conftest import PROVIDER
from tests.reconciliation.conftest import DAY, FETCHED_AT, IDS, City, billed


def keep(db: Engine, fetched: Fetched) -> bills.Kept:
    with db.begin() as tx:
        return bills.keep(tx, lane=0, fetched=fetched, at=FETCHED_AT, ids=IDS)


def test_a_bill_is_kept_byte_for_byte_with_its_lines(city: City) -> None:
    due = city.pay()
    kept = city.keep([billed(due), billed(due, kind="refund", refund_no="R1", fee_fen=-2)], content=b"the file\r\n")
    assert (kept.outcome, kept.version) == ("new", 1)
    assert kept.bill_id is not None
    with city.db.begin() as tx:
        assert bills.content(tx, bill_id=kept.bill_id) == b"the file\r\n"
        query = text("select line, kind, payment_id, payment_lane, refund_no, fee_fen from reconciliation.bill_line order by line")
        rows = [tuple(row) for row in tx.execute(query)]
    assert rows == [
        (1, "payment", due.attempt.payment_id, 0, None, 7),
        (2, "refund", due.attempt.payment_id, 0, "R1", -2),
    ]


def test_an_order_number_that_is_not_ours_is_kept_without_a_payment(city: City) -> None:
    city.keep([billed(city.pay(), order_no="ELSEWHERE-1")])
    with city.db.begin() as tx:
        assert tx.execute(text("select payment_id from reconciliation.bill_line")).scalar_one() is None


def test_the_same_file_again_adds_nothing(city: City) -> None:
    lines = [billed(city.pay())]
    first, again = city.keep(lines), city.keep(lines)
    assert (again.outcome, again.bill_id, again.version) == ("same", first.bill_id, 1)


def test_a_reissued_file_is_the_next_version_and_the_former_stays(city: City) -> None:
    due = city.pay()
    first, second = city.keep([billed(due)]), city.keep([billed(due, amount_fen=1300)])
    assert (second.outcome, second.version) == ("new", 2)
    assert first.bill_id != second.bill_id
    assert city.keep([billed(due)], bill_on=DAY + timedelta(days=1)).version == 1


def test_a_day_on_which_nothing_happened_is_kept_as_an_empty_bill(city: City) -> None:
    kept = keep(city.db, Fetched("wechat", PROVIDER, DAY, None, lines=BillLines.of(())))
    assert (kept.outcome, kept.version) == ("new", 1)


def test_a_refused_file_is_kept_as_it_came_and_gives_no_bill(city: City) -> None:
    refused = BillRefused("the totals differ: the file is cut", code="bill_cut")
    kept = keep(city.db, Fetched("wechat", PROVIDER, DAY, None, file=Spool.of([b"half a fi"]), refused=refused))
    assert (kept.outcome, kept.reason, kept.bill_id) == ("refused", "bill_cut", None)
    with city.db.begin() as tx:
        assert tuple(tx.execute(text("select code, body from reconciliation.refused_bill")).one()) == ("bill_cut", b"half a fi")
        assert tx.execute(text("select count(*) from reconciliation.bill")).scalar_one() == 0


def test_a_large_file_is_stored_in_parts_and_given_back_whole(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bills, "PART_BYTES", 4)
    lines = [billed(city.pay())]
    for content, parts in ((b"nine-byte", [b"nine", b"-byt", b"e"]), (b"eight by", [b"eigh", b"t by"]), (b"four", [b"four"])):
        kept = city.keep(lines, content=content)
        assert kept.bill_id is not None
        assert city.keep(lines, content=content).outcome == "same"
        with city.db.begin() as tx:
            assert list(bills.parts(tx, bill_id=kept.bill_id)) == parts
            assert bills.content(tx, bill_id=kept.bill_id) == content


def test_a_large_refused_file_is_kept_whole_too(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bills, "PART_BYTES", 4)
    refused = BillRefused("the totals differ: the file is cut", code="bill_cut")
    keep(city.db, Fetched("wechat", PROVIDER, DAY, None, file=Spool.of([b"half a", b" file"]), refused=refused))
    with city.db.begin() as tx:
        (first,) = tx.execute(text("select body from reconciliation.refused_bill")).scalars()
        following = tx.execute(text("select body from reconciliation.refused_part order by part")).scalars()
        assert b"".join([first, *following]) == b"half a file"


@pytest.mark.parametrize("table", ["bill", "bill_part", "bill_line", "refused_bill", "refused_part"])
@pytest.mark.parametrize("change", ["delete from reconciliation.{}", "truncate reconciliation.{} cascade"])
def test_what_was_kept_of_a_bill_is_never_changed(city: City, table: str, change: str) -> None:
    with city.db.begin() as tx, pytest.raises(DBAPIError, match=r"permission denied|append"):
        tx.execute(text(change.format(table)))


def test_a_bill_whose_end_is_refused_leaves_nothing_of_its_lines(city: City) -> None:
    def lines() -> Iterator[BillLine]:
        yield billed(due)
        raise BillRefused("the totals differ: the file is cut", code="bill_cut")

    due = city.pay()
    with pytest.raises(BillRefused):
        BillLines.of(lines())


def test_the_lines_of_a_bill_can_be_gone_through_again_and_say_what_they_add_up_to(city: City) -> None:
    due = city.pay()
    told = [billed(due, line=number, amount_fen=number) for number in range(1, 2_501)]
    told += [billed(due, line=2_501, kind="refund", amount_fen=400, fee_fen=-2, refund_no="R1", refund_state=RefundState.DONE)]
    told += [billed(due, line=2_502, kind="revoked", amount_fen=30, fee_fen=0)]
    lines = BillLines.of(told)
    assert list(lines) == list(lines) == told
    assert lines.sums == BillSums(lines=2_502, total_fen=2_500 * 2_501 // 2, refund_fen=430, fee_fen=2_500 * 7 - 2)


@pytest.mark.parametrize(
    "other",
    [
        {"trade_no": "42\0"}, {"order_no": "\0"}, {"merchant_no": "1\0"}, {"refund_no": "\0R"}, {"amount_fen": 10**14},
        {"fee_fen": -(10**14)}, {"amount_fen": -1},
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_kept_refuses_the_bill(city: City, other: dict[str, object]) -> None:
    with pytest.raises(BillRefused) as refused:
        BillLines.of([billed(city.pay(), **other)])
    assert refused.value.code == "bill_form"


def test_a_bill_that_is_not_there_yet_leaves_the_day_open(city: City) -> None:
    kept = keep(city.db, Fetched("wechat", PROVIDER, DAY, None, absent="not_ready"))
    assert (kept.outcome, kept.reason) == ("absent", "not_ready")
