"""A city with two operators, a platform, a bureau and a company; debts that are paid, and a book that is sealed."""

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine, text

from app.checks import violations
from gateways.contract import ChannelState, RefundResult, RefundState
from ledger.checkpoint import Signer
from ledger.seal import Sealer, Witness
from payments.incentive import following, invariants, parties, rules
from payments.incentive.following import Done
from payments.incentive.parties import NewParty, Party
from payments.incentive.rules import NewAssignment, NewRule, NewShare
from payments.owed import debts
from payments.owed.debts import Left
from payments.refunding import refunds
from payments.refunding.refund_store import Refund
from payments.results import Notice, apply
from tests.payments.conftest import AT, IDS, Due, make_attempt, make_charge, make_city, message
from tests.payments.owed.owing import staff

ORIGIN = "tongting.example/lane/0"
LONG_AGO = AT - timedelta(days=1000)
_numbers = itertools.count(1)


def sealer(folder: Path) -> Sealer:
    """A sealer of lane 0 with a witness file in a folder."""
    signer = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    return Sealer(lane=0, signer=signer, witness=Witness(folder / "witness"))


class City:
    """Everything a test of the incentive acts with."""

    def __init__(self, db: Engine, tmp_path: Path) -> None:
        self.db, self.at = db, AT
        with db.begin() as tx:
            self.lots = [make_city(tx, number=number) for number in (1, 2)]
            staff(tx)
            wanted = [
                NewParty(kind="platform", code="city", name="示例市停车平台"),
                NewParty(kind="district", code="liangxi", name="示例区停车管理处", district="梁溪区"),
                NewParty(kind="company", code="recover-1", name="示例追缴有限公司"),
            ]
            self.platform, self.bureau, self.company = [parties.register(tx, party=one, at=AT) for one in wanted]
        self._sealer = sealer(tmp_path)

    def owe(self, amount_fen: int = 1200, *, days: int = 10, lot: int = 0) -> UUID:
        """A car left so many days ago and owes an amount."""
        left_at = AT - timedelta(days=days)
        with self.db.begin() as tx:
            charge_id = make_charge(
                tx,
                self.lots[lot],
                f"D{next(_numbers)}",
                amount_fen=amount_fen,
                entered_at=left_at - timedelta(hours=2),
                left_at=left_at,
            )
            debts.open_debts(tx, lane=0, left=[Left(charge_id, "policy", left_at)], evidence_id=charge_id, at=AT, ids=IDS)
        return charge_id

    def pay(
        self, charge_id: UUID, *, lot: int = 0, scanned: int | None = None, by: Party | None = None, in_basket: bool = False,
        amount_fen: int | None = None, way: str | None = None,
    ) -> Due:  # fmt: skip
        """A debt of a lot, or a part of it, is paid, at the code of ``scanned``, through the effort of ``by``."""
        with self.db.begin() as tx:
            due = make_attempt(tx, self.lots[lot], charge_id, at=AT + timedelta(milliseconds=next(_numbers)))
            if amount_fen is not None:
                due = Due(due.lot, due.order, msgspec.structs.replace(due.attempt, amount_fen=amount_fen), due.token)
                given = {"fen": amount_fen, "id": due.attempt.payment_id}
                tx.execute(text("update payments.payment set amount_fen = :fen where payment_id = :id"), given)
            if way is not None:
                given = {"way": way, "id": due.attempt.payment_id}
                tx.execute(text("update payments.payment set way = :way where payment_id = :id"), given)
            basket_id = IDS.new(AT, "basket")
            if scanned is not None or in_basket:
                _basket(tx, basket_id, due, self.lots[lot if scanned is None else scanned].lot_id)
            if by is not None and in_basket:
                assert parties.refer(tx, lane=0, recoverer=by, basket_ids=[basket_id]) == 1
            elif by is not None:
                assert parties.refer(tx, lane=0, recoverer=by, order_ids=[due.order.order_id]) == 1
        with self.db.begin() as tx:
            apply(tx, lane=0, notices=[due.callback()], at=self.at, ids=IDS)
        return due

    def paid(self, amount_fen: int = 1200, *, days: int = 10, lot: int = 0, **how: Any) -> Due:
        return self.pay(self.owe(amount_fen, days=days, lot=lot), lot=lot, **how)

    def refund(self, due: Due, amount_fen: int, ref: str = "r-1") -> Refund:
        with self.db.begin() as tx:
            refund = refunds.promise(
                tx, lane=0, payment_id=due.attempt.payment_id, amount_fen=amount_fen, source="operator", source_ref=ref,
                reason="多收", evidence_id=due.attempt.payment_id, at=self.at, ids=IDS,
            )  # fmt: skip
        self.refund_told(due, refund, RefundState.DONE)
        return refund

    def refund_told(self, due: Due, refund: Refund, state: RefundState) -> None:
        result = RefundResult(
            channel="wechat", state=state, refund_no=refunds.number(refund), provider_no=due.attempt.provider_no,
            merchant_no=due.attempt.merchant_no, refund_fen=refund.amount_fen, happened_at=self.at,
        )  # fmt: skip
        with self.db.begin() as tx:
            apply(tx, lane=0, notices=[Notice(message("refund"), None, "query", result)], at=self.at, ids=IDS)

    def take_back(self, due: Due) -> None:
        with self.db.begin() as tx:
            apply(tx, lane=0, notices=[due.answer(state=ChannelState.REVERSED, happened_at=None)], at=self.at, ids=IDS)

    def rule(self, **said: Any) -> rules.Rule:
        given: dict[str, Any] = {
            "valid_from": LONG_AGO, "document": "incentive notice 1", "recovered_by": "platform", "share": (NewShare(bps=500),),
        } | said  # fmt: skip
        with self.db.begin() as tx:
            return rules.add_rule(tx, lane=0, rule=NewRule(**given), at=AT, ids=IDS)

    def assign(self, **said: Any) -> rules.Assignment:
        given: dict[str, Any] = {"valid_from": LONG_AGO, "document": "recovery mandate 1", "recoverer": "recover-1"} | said
        with self.db.begin() as tx:
            return rules.add_assignment(tx, lane=0, assignment=NewAssignment(**given), at=AT, ids=IDS)

    def seal(self) -> None:
        with self.db.connect() as connection:
            while self._sealer.seal_once(connection, at=self.at) is not None:
                pass

    def follow(self) -> Done:
        self.seal()
        done = following.follow(self.db, lane=0, at=lambda: self.at, ids=IDS)
        self.seal()
        return done

    def bases(self) -> list[tuple[str, str]]:
        """Why each payment was attributed to whom, in order."""
        return [
            (basis, code)
            for basis, code in self.rows(
                "select r.basis, p.code from payments.recovery r join payments.party p on p.party_id = r.recoverer_id "
                "order by r.payment_id"
            )
        ]

    def lines(self) -> list[tuple[str, str, int]]:
        """Owner, recoverer and fen (less than nothing: returned) of each line, in order."""
        return [
            (owner, recoverer, fen)
            for owner, recoverer, fen in self.rows(
                "select o.code, r.code, case when i.returned then -i.amount_fen else i.amount_fen end "
                "from payments.incentive_line i join payments.party o on o.party_id = i.owner_id "
                "join payments.party r on r.party_id = i.recoverer_id "
                "order by i.payment_id, i.turn, i.number"
            )
        ]

    def rows(self, query: str) -> list[Any]:
        with self.db.connect() as tx:
            return list(tx.execute(text(query)).all())

    def balance(self, party: Party, account: int) -> int:
        """Debits less credits of an account in a party's book, in fen."""
        with self.db.connect() as tx:
            query = text("""
                select coalesce(sum(case when debit_account = :account then amount_fen else -amount_fen end), 0)
                from ledger.posting where book_id = :book and :account in (debit_account, credit_account)
                """)
            return int(tx.execute(query, {"book": party.book_id, "account": account}).scalar_one())

    def party(self, code: str) -> Party:
        with self.db.connect() as tx:
            return parties.by_code(tx, code=code)


def _basket(tx: Connection, basket_id: UUID, due: Due, lot_id: int) -> None:
    """Put an order into a basket that was opened at a lot."""
    given = {"basket": basket_id, "lot": lot_id, "at": AT, "order": due.order.order_id, "digest": basket_id.bytes}
    tx.execute(
        text("""
        insert into payments.basket (basket_id, lane, lot_id, token_digest, expires_at, created_at)
        values (:basket, 0, :lot, :digest, :at, :at)
        """),
        given,
    )
    tx.execute(text("insert into payments.basket_order (order_id, lane, basket_id) values (:order, 0, :basket)"), given)


@pytest.fixture
def town(db: Engine, tmp_path: Path) -> Iterator[City]:
    """At its end every invariant holds."""
    acting = City(db, tmp_path)
    yield acting
    with db.connect() as tx:
        assert violations(tx) + invariants.check(tx) == []
