"""How a basket is cut into acts."""

from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from payments.basket_plan import Act, Cut, Limits, Owed, best, cut

WALLET = Limits("wechat", legs_max=3, act_fen_max=10_000)


def owed(*pairs: tuple[int, int]) -> list[Owed]:
    """Charges of (operator, fen), numbered from 1."""
    return [Owed(UUID(int=number), operator, fen) for number, (operator, fen) in enumerate(pairs, 1)]


def numbers(found: Cut) -> list[list[int]]:
    return [[charge.int for charge in act.charge_ids] for act in found.acts]


def test_charges_of_several_operators_are_one_act() -> None:
    found = cut(owed((1, 500), (2, 700), (1, 300)), WALLET, routed={1: True, 2: True})
    assert found == Cut((Act(tuple(UUID(int=n) for n in (1, 2, 3)), 1500),), ())


def test_more_legs_than_the_channel_takes_are_several_acts() -> None:
    assert numbers(cut(owed(*[(1, 100)] * 7), WALLET, routed={1: True})) == [[1, 2, 3], [4, 5, 6], [7]]


def test_an_act_is_never_above_the_channels_amount() -> None:
    found = cut(owed((1, 6_000), (1, 5_000), (1, 5_000), (1, 1)), WALLET, routed={1: True})
    assert numbers(found) == [[1], [2, 3], [4]]


def test_a_charge_above_the_limit_of_one_order_is_left() -> None:
    found = cut(owed((1, 10_001), (1, 10_000)), WALLET, routed={1: True})
    assert (numbers(found), [one.int for one in found.left]) == ([[2]], [1])


def test_an_operator_with_keys_of_its_own_is_paid_by_itself() -> None:
    assert numbers(cut(owed((1, 1), (2, 1), (1, 1)), WALLET, routed={1: True, 2: False})) == [[1, 3], [2]]


def test_an_operator_without_an_account_is_left_for_another_wallet() -> None:
    found = cut(owed((1, 1), (2, 1)), WALLET, routed={1: True})
    assert (numbers(found), [one.int for one in found.left]) == ([[1]], [2])


def test_a_wallet_that_combines_nothing_takes_one_charge_at_a_time() -> None:
    assert numbers(cut(owed((1, 1), (2, 1)), Limits("alipay", 1, 10_000), routed={1: True, 2: True})) == [[1], [2]]


def test_the_best_wallet_leaves_least_and_needs_the_fewest_acts() -> None:
    charges = owed((1, 1), (2, 1), (3, 1))
    cuts = {
        "alipay": cut(charges, Limits("alipay", 1, 100), routed={1: True, 2: True, 3: True}),
        "wechat": cut(charges, WALLET, routed={1: True, 2: True, 3: True}),
        "unionpay": cut(charges, Limits("unionpay", 1, 100), routed={1: True}),
    }
    assert best(cuts, order=("alipay", "wechat", "unionpay")) == "wechat"
    assert best({"unionpay": cut(charges, WALLET, routed={})}, order=("unionpay",)) is None


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 12_000)), max_size=60),
    st.dictionaries(st.integers(1, 5), st.booleans()),
    st.integers(1, 50),
)
def test_every_cut_is_legal_and_loses_nothing(pairs: list[tuple[int, int]], routed: dict[int, bool], legs_max: int) -> None:
    charges = owed(*pairs)
    found = cut(charges, Limits("x", legs_max, 10_000), routed=routed)
    by_id = {one.charge_id: one for one in charges}
    placed = [charge_id for act in found.acts for charge_id in act.charge_ids]
    assert sorted([*placed, *found.left]) == sorted(by_id)
    for act in found.acts:
        legs = [by_id[charge_id] for charge_id in act.charge_ids]
        assert 1 <= len(legs) <= legs_max
        assert act.amount_fen == sum(leg.amount_fen for leg in legs) <= 10_000
        assert all(leg.operator_id in routed for leg in legs)
        assert len(legs) == 1 or all(routed[leg.operator_id] for leg in legs)
        assert all(before < after for before, after in pairwise(act.charge_ids))
