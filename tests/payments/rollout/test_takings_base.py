"""The base of fees agrees with the book: everything taken, over channels, in cash and over old codes, less what went back."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from ledger.accounts import Account
from payments.lot_records import takings
from payments.lot_records.takings import NewTaking
from payments.orders import RandomTokens
from payments.refunding import refunds
from payments.results import apply
from tests.payments.conftest import AT, IDS, Due, make_attempt, make_charge
from tests.payments.incentive.conftest import City

NEXT_MONTH = AT + timedelta(days=31)


def take(town: City, serial: str, channel: Any, fen: int, *, lot: int = 0, charge: str | None = None) -> UUID | None:
    """Money taken by hand; returns its payment, if it pays a charge."""
    given = NewTaking(
        serial=serial, channel=channel, charge_serial=charge, amount_fen=fen, taken_at=AT - timedelta(minutes=5), evidence_text="1"
    )
    with town.db.begin() as tx:
        if charge is not None:
            make_charge(tx, town.lots[lot], charge, amount_fen=fen)
        [answer] = takings.post(
            tx, lane=0, lot=town.lots[lot], takings=[given], body=serial.encode(), at=AT, ids=IDS, tokens=RandomTokens()
        )
        assert answer.outcome == "created", answer
        query = text("select payment_id from payments.taking where lot_serial = :serial")
        return tx.execute(query, {"serial": serial}).scalar_one()  # type: ignore[no-any-return]


def give_back(town: City, payment_id: UUID | None, fen: int) -> None:
    assert payment_id is not None
    with town.db.begin() as tx:
        refunds.promise(
            tx, lane=0, payment_id=payment_id, amount_fen=fen, source="operator", source_ref="b", reason="多收",
            evidence_id=payment_id, at=AT, ids=IDS,
        )  # fmt: skip


def at_once(town: City, serial: str, fen: int, *, lot: int = 0, at: Any = AT) -> Due:
    with town.db.begin() as tx:
        due = make_attempt(tx, town.lots[lot], make_charge(tx, town.lots[lot], serial, amount_fen=fen))
    with town.db.begin() as tx:
        apply(tx, lane=0, notices=[due.callback(happened_at=at)], at=at, ids=IDS)
    return due


def lived(town: City) -> None:
    """A city with all kinds: paid at once, debts paid and not, refunds, money taken back, cash and old codes."""
    at_once(town, "S1", 1200)
    at_once(town, "S2", 900, at=NEXT_MONTH)
    town.refund(at_once(town, "S3", 700), 300)
    at_once(town, "S4", 500)
    town.take_back(at_once(town, "S5", 650))
    town.paid(1500)
    town.owe(4000)
    town.paid(2000, lot=1)
    take(town, "T1", "cash", 1100, charge="C1")
    take(town, "T2", "legacy", 300)
    take(town, "T3", "cash", 250, lot=1)
    give_back(town, take(town, "T4", "legacy", 800, charge="C4"), 200)
    give_back(town, take(town, "T5", "cash", 950, charge="C5"), 950)


def balance(town: City, account: int, book_id: int) -> int:
    """Credits less debits of an account."""
    query = text("""
        select coalesce(sum(case when credit_account = :account then amount_fen else -amount_fen end), 0) from ledger.v_posting
        where book_id = :book and :account in (debit_account, credit_account)
        """)
    with town.db.connect() as tx:
        return int(tx.execute(query, {"account": int(account), "book": book_id}).scalar_one())


def rows(town: City) -> list[dict[str, Any]]:
    query = text("select * from payments.v_takings_base order by lot_id, month")
    with town.db.connect() as tx:
        return [dict(row) for row in tx.execute(query).mappings()]


def test_the_base_of_every_operator_is_its_income_less_refunds_less_what_is_still_owed(town: City) -> None:
    lived(town)
    found = rows(town)
    books = {row["book_id"] for row in found}
    assert len(books) == 2
    for book_id in books:
        income = balance(town, Account.INCOME, book_id) + balance(town, Account.INCOME_REFUNDED, book_id)
        owed = -balance(town, Account.RECEIVABLE, book_id)
        assert sum(row["base_fen"] for row in found if row["book_id"] == book_id) == income - owed
        assert income > owed
    assert sum(-balance(town, Account.RECEIVABLE, book_id) for book_id in books) == 4000 + 650


def test_each_way_of_paying_stands_by_itself_and_each_month(town: City) -> None:
    lived(town)
    march, april, theirs = rows(town)
    assert [str(row["month"]) for row in (march, april, theirs)] == ["2026-03-01", "2026-04-01", "2026-03-01"]
    names = ("city_fen", "city_returned_fen", "cash_fen", "cash_returned_fen", "legacy_fen", "legacy_returned_fen")
    assert [march[name] for name in names] == [1200 + 700 + 500 + 650 + 1500, 300 + 650, 1100 + 950, 950, 300 + 800, 200]
    assert [april[name] for name in names] == [900, 0, 0, 0, 0, 0]
    assert [theirs[name] for name in names] == [2000, 0, 250, 0, 0, 0]
    for row in (march, april, theirs):
        taken, back = (sum(row[name] for name in names[place::2]) for place in (0, 1))
        assert row["base_fen"] == taken - back


def test_a_second_payment_lies_in_suspense_and_is_no_income_also_when_it_goes_back(town: City) -> None:
    at_once(town, "S1", 1200)
    before = rows(town)
    with town.db.begin() as tx:
        take_of = NewTaking(
            serial="T1", channel="legacy", charge_serial="S1", amount_fen=1200, taken_at=AT, evidence_text="1"
        )  # fmt: skip
        [answer] = takings.post(tx, lane=0, lot=town.lots[0], takings=[take_of], body=b"{}", at=AT, ids=IDS, tokens=RandomTokens())
        payment_id = tx.execute(text("select payment_id from payments.taking")).scalar_one()
    assert answer.treatment == "second_payment"
    give_back(town, payment_id, 1200)
    assert rows(town) == before
