"""The standing checks of payments: silent over good books, loud over each kind of damage."""

from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy import Engine

from gateways.contract import ChannelState
from payments.invariants import check
from payments.results import apply
from tests.payments.conftest import AT, IDS, Due


@pytest.fixture
def good(db: Engine, due: Callable[..., Due]) -> list[Due]:
    """A settled charge, a second payment of it, an amount that differed, an open one, and two that were taken back."""
    first = due()
    second, third, open_one, bad = due(same_charge_as=first), due(), due(), due(amount_fen=700)
    doubled = due(same_charge_as=first)
    with db.begin() as tx:
        notices = [first.callback(), second.callback(), third.answer(amount_fen=5)]
        notices += [bad.callback(), doubled.callback()]
        apply(tx, lane=0, notices=notices, at=AT, ids=IDS)
    with db.begin() as tx:
        apply(tx, lane=0, notices=[one.answer(state=ChannelState.REVERSED) for one in (bad, doubled)], at=AT, ids=IDS)
    return [first, second, third, open_one]


def broken(db: Engine) -> set[str]:
    with db.connect() as tx:
        return {violation.invariant for violation in check(tx)}


def test_good_books_are_silent(db: Engine, good: list[Due]) -> None:
    assert broken(db) == set()


@pytest.mark.parametrize(
    ("damage", "invariant"),
    [
        ("update payments.payment_fact set treatment = 'settled' where treatment = 'second_payment'", "I2"),
        ("update payments.charge set state = 'open', settled_by = null, paid_fen = 0 where state = 'settled'", "I2"),
        ("update payments.charge set state = 'open', settled_by = null, paid_fen = paid_fen - 1 where state = 'settled'", "I2"),
        ("update payments.charge set state = 'settled', settled_by = charge_id, paid_fen = amount_fen where state = 'open'", "I2"),
        ("update payments.charge set state = 'waived', reduced_fen = amount_fen where is_receivable", "I16"),
        ("delete from payments.payment_case", "I2"),
        ("update payments.payment_fact set payment_id = (select min(payment_id::text)::uuid from payments.payment_fact)", "I3"),
        ("delete from payments.payment_fact where treatment = 'settled'", "I5"),
        ("update payments.payment set taken_fen = 7 where state = 'succeeded'", "I5"),
        ("delete from gateways.raw_message", "I7"),
        ("update gateways.raw_message set verdict = 'refused'", "I7"),
        ("update payments.payment set state = 'closed', trade_no = null, taken_fen = null, succeeded_at = null", "I8"),
        ("delete from ledger.posting", "facts"),
        ("update ledger.posting set amount_fen = amount_fen + 1", "facts"),
        ("delete from payments.payment_fact where treatment = 'amount_differs'", "facts"),
        ("update payments.payment set taken_back_at = null", "taken_back"),
        ("update payments.payment set taken_back_at = now() where taken_fen = 700", "taken_back"),
        ("update payments.payment set taken_back_at = succeeded_at where state = 'succeeded'", "taken_back"),
        ("delete from ledger.posting where entry_id::text like '%06'", "taken_back"),
        ("delete from ledger.posting where entry_id::text like '%81'", "taken_back"),
        ("update payments.payment set taken_back_at = null where taken_fen = 700", "I2"),
        ("update payments.charge set state = 'settled', settled_by = charge_id, paid_fen = amount_fen where is_receivable", "I2"),
        ("update payments.debt set owed_fen = owed_fen + 1", "I16"),
        ("delete from payments.debt", "I16"),
        ("update payments.charge set reduced_fen = 1 where state = 'open'", "reduced"),
        ("update ledger.book set owner_kind = 'platform'", "I15"),
        ("update payments.charge set is_receivable = false", "I16"),
        ("update payments.charge set is_receivable = true where state = 'open'", "I16"),
        ("delete from ledger.posting where debit_account = 112201", "I16"),
    ],
)
def test_damage_is_found(db: Engine, database: str, good: list[Due], damage: str, invariant: str) -> None:
    with psycopg.connect(database.replace("postgresql+psycopg", "postgresql")) as owner:
        owner.execute("set session_replication_role = replica")
        owner.execute(damage.encode())
    assert invariant in broken(db)
