"""A small city with one operator, one lot and its route, and payments ready to be answered by the channel."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from msgspec import Struct
from sqlalchemy import Connection, Engine, text

from gateways import routing
from gateways.contract import ChannelState, MerchantAccount, RawMessage, Result, Way
from ledger.books import open_lane
from ledger.ids import RandomIds, payment_number
from payments import charges, orders
from payments.lots import Lot, NewLot, NewOperator, register_lots, register_operators
from payments.records import Attempt, NewCharge, Order
from payments.results import Notice

AT = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
PROVIDER = "1900000001"
MERCHANT = "1620000007"
IDS = RandomIds()
_numbers = itertools.count(1)


class Due(Struct, frozen=True):
    """An attempt that waits for the channel's word."""

    lot: Lot
    order: Order
    attempt: Attempt
    token: str

    @property
    def order_no(self) -> str:
        return payment_number(0, self.attempt.payment_id)

    def result(self, **other: object) -> Result:
        """The channel's word for it: success, unless said otherwise."""
        said: dict[str, object] = {
            "channel": "wechat", "state": ChannelState.SUCCEEDED, "order_no": self.order_no, "provider_no": PROVIDER,
            "merchant_no": self.attempt.merchant_no, "trade_no": f"42{self.attempt.payment_id.hex[:30]}",
            "amount_fen": self.attempt.amount_fen, "currency": "CNY", "happened_at": AT,
        } | other  # fmt: skip
        return Result(**said)  # type: ignore[arg-type]

    def callback(self, **other: object) -> Notice:
        return Notice(message(), self.result(**other))

    def answer(self, **other: object) -> Notice:
        return Notice(message("query"), self.result(**other), "query")


def message(operation: str = "callback", *, verdict: str = "verified", reason: str | None = None) -> RawMessage:
    number = next(_numbers)
    return RawMessage(
        message_id=IDS.new(AT, f"message {number}"), channel="wechat", operation=operation,
        direction="in" if operation == "callback" else "out", verdict=verdict, reason=reason,  # type: ignore[arg-type]
        received_at=AT, headers='{"wechatpay-serial":"X"}', body=b"{%d}" % number,
    )  # fmt: skip


def new_charge(serial: str = "S1", **other: object) -> NewCharge:
    said: dict[str, object] = {
        "lot_serial": serial, "plate": "苏B12345", "plate_color": "blue", "entered_at": AT - timedelta(hours=2), "left_at": None,
        "minutes": 120, "amount_fen": 1200, "tariff_text": "每小时6元", "scene": None,
    } | other  # fmt: skip
    return NewCharge(**said)  # type: ignore[arg-type]


@pytest.fixture
def city(db: Engine) -> Lot:
    """One committed lot with a route from the beginning of the year."""
    with db.begin() as tx:
        return make_city(tx)


def make_city(tx: Connection, *, number: int = 1) -> Lot:
    open_lane(tx, lane=0, origin="tongting.example/lane/0")
    [operator] = register_operators(
        tx,
        operators=[
            NewOperator(
                code=f"op-{number}",
                legal_name=f"无锡示例停车{number}有限公司",
                credit_code=f"91320200MA1{number:06d}X",
                district="梁溪区",
                regime="government",
            )
        ],
        at=AT,
    )  # fmt: skip
    [lot] = register_lots(
        tx,
        lots=[
            NewLot(
                code=f"lot-{number}",
                operator_code=f"op-{number}",
                name="示例停车场",
                district="梁溪区",
                address="示例路1号",
                berths=100,
                scene="gate",
                tariff_text="每小时6元",
            )
        ],
        at=AT,
    )  # fmt: skip
    account = routing.NewAccount(
        operator_id=operator.operator_id, channel="wechat", merchant_no=str(int(MERCHANT) + number - 1),
        payee_name=operator.legal_name, evidence="agreement 1", valid_from=AT - timedelta(days=60),
    )  # fmt: skip
    routing.register(tx, account=account, operator_name=operator.legal_name, provider_no=PROVIDER, at=AT)
    return lot


def route_of(tx: Connection, lot: Lot) -> MerchantAccount:
    found = routing.choose(tx, operator_id=lot.operator_id, channel="wechat", at=AT)
    assert found is not None
    return found


def make_charge(tx: Connection, lot: Lot, serial: str, **other: object) -> UUID:
    [posted] = charges.post(tx, lane=0, lot=lot, charges=[new_charge(serial, **other)], at=AT, ids=IDS)
    assert posted.charge_id is not None
    return posted.charge_id


def make_attempt(tx: Connection, lot: Lot, charge_id: UUID, *, at: datetime = AT) -> Due:
    token = orders.RandomTokens().new("test")
    order = orders.open_order(
        tx, lane=0, lot_id=lot.lot_id, charge_id=charge_id, token=token, at=at, ids=IDS, price_lock=timedelta(minutes=15)
    )
    attempt = orders.attempt(
        tx, order=order, route=route_of(tx, lot), provider_no=PROVIDER, payer_id=f"payer-{next(_numbers)}",
        way=Way.IN_WALLET, at=at, ids=IDS,
        first_query=timedelta(seconds=5),
    )  # fmt: skip
    return Due(lot, order, attempt, token)


@pytest.fixture
def due(db: Engine, city: Lot) -> Callable[..., Due]:
    """Makes a committed attempt: for a new charge, or a second one for the charge of another."""
    serials = itertools.count(1)

    def make(*, same_charge_as: Due | None = None, amount_fen: int = 1200) -> Due:
        with db.begin() as tx:
            charge_id = (
                same_charge_as.attempt.charge_id
                if same_charge_as
                else make_charge(tx, city, f"S{next(serials)}", amount_fen=amount_fen)
            )
            return make_attempt(tx, city, charge_id)

    return make


class Books(Struct, frozen=True):
    """What the database holds, for assertions."""

    entries: list[tuple[int, int, int]]
    """Debit, credit, fen; sorted."""
    facts: list[str]
    cases: list[str]
    events: list[str]
    messages: int


def books(db: Engine) -> Books:
    def column(query: str) -> list[str]:
        return list(tx.execute(text(query)).scalars())

    with db.begin() as tx:
        entries = tx.execute(text("select debit_account, credit_account, amount_fen from ledger.posting order by 1, 2, 3"))
        return Books(
            entries=[(row[0], row[1], row[2]) for row in entries],
            facts=column("select treatment from payments.payment_fact order by 1"),
            cases=column("select kind from payments.payment_case order by 1"),
            events=column("select kind from payments.outbox order by 1"),
            messages=tx.execute(text("select count(*) from gateways.raw_message")).scalar_one(),
        )


def payment_state(db: Engine, due: Due) -> str:
    with db.begin() as tx:
        query = text("select state from payments.payment where payment_id = :id")
        return str(tx.execute(query, {"id": due.attempt.payment_id}).scalar_one())


def charge_state(db: Engine, due: Due) -> str:
    with db.begin() as tx:
        query = text("select state from payments.charge where charge_id = :id")
        return str(tx.execute(query, {"id": due.attempt.charge_id}).scalar_one())
