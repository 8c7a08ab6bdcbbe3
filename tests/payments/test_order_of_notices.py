"""Laws: in whatever order and however often genuine notices come, the money is the same."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from gateways.contract import ChannelState
from ledger.ids import RandomIds
from payments.invariants import check
from payments.lots import Lot
from payments.results import Notice, apply
from tests.payments.conftest import AT, IDS, Due, make_attempt, make_charge

CHARGES = 3
PHONES = 2
_rounds = itertools.count(1)

Words = st.lists(
    st.tuples(
        st.integers(0, CHARGES - 1),
        st.integers(0, PHONES - 1),
        st.sampled_from(["paid", "paid", "paid", "asked_paid", "altered", "closed", "pending", "unknown"]),
    ),
    max_size=25,
)
"""Which charge, whose attempt at it, and what the channel says."""


def notice(due: Due, word: str) -> Notice:
    match word:
        case "paid":
            return due.callback()
        case "asked_paid":
            return due.answer()
        case "altered":
            return due.callback(amount_fen=due.attempt.amount_fen - 1)
        case _:
            return due.answer(state=ChannelState(word), trade_no=None, amount_fen=None, currency=None, happened_at=None)


def money(db: Engine, charge_ids: list[object]) -> list[tuple[object, ...]]:
    with db.connect() as tx:
        rows = tx.execute(
            text("""
            select c.lot_serial, c.state, f.treatment, e.amount_fen, count(*)
            from payments.charge c
            join payments.payment p on p.charge_id = c.charge_id
            join payments.payment_fact f on f.payment_id = p.payment_id
            join ledger.v_posting e on e.evidence_id = f.evidence_id
            where c.charge_id = any(:charges) group by 1, 2, 3, 4 order by 1, 3
            """),
            {"charges": charge_ids},
        )
        return [tuple(row) for row in rows]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=Words, sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_any_order_and_any_number_of_repeats_give_the_same_money(
    db: Engine, city: Lot, words: list[tuple[int, int, str]], sizes: list[int]
) -> None:
    number = next(_rounds)
    with db.begin() as tx:
        charges = [make_charge(tx, city, f"{number}-{n}") for n in range(CHARGES)]
        dues = [[make_attempt(tx, city, charge) for _ in range(PHONES)] for charge in charges]
    left = [(charge, phone, word) for charge, phone, word in words]
    for size in itertools.cycle(sizes):
        if not left:
            break
        batch, left = left[:size], left[size:]
        with db.begin() as tx:
            apply(tx, lane=0, notices=[notice(dues[c][p], word) for c, p, word in batch], at=AT, ids=IDS)
    paid = {charge: {phone for c, phone, word in words if c == charge and "paid" in word} for charge in range(CHARGES)}
    expected = []
    for charge, phones in paid.items():
        if len(phones) == PHONES:
            expected.append((f"{number}-{charge}", "settled", "second_payment", 1200, 1))
        if phones:
            expected.append((f"{number}-{charge}", "settled", "settled", 1200, 1))
    assert money(db, list(charges)) == expected
    with db.connect() as tx:
        assert check(tx) == []


def test_repeats_in_parallel_batches_book_once(db: Engine, city: Lot, due: Callable[..., Due]) -> None:
    """Batches that hold the same payments in opposite order never wait for each other in a circle."""

    dues = [due() for _ in range(10)]
    dues += [due(same_charge_as=one) for one in dues]

    def send(turn: int) -> None:
        order = dues if turn % 2 else dues[::-1]
        with db.begin() as tx:
            apply(tx, lane=0, notices=[one.callback() for one in order], at=AT, ids=RandomIds())

    with ThreadPoolExecutor(6) as pool:
        for one in [pool.submit(send, turn) for turn in range(12)]:
            one.result()
    with db.connect() as tx:
        assert tx.execute(text("select count(*) from ledger.posting")).scalar_one() == 20
        assert check(tx) == []
