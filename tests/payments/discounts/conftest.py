"""A city with a mall that validates cars and bears it, and coupons."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from app.checks import violations
from payments import charges
from payments.bearers import following
from payments.discounts import effects, grants, offers
from payments.discounts.grants import Coupon, NewValidation, Used, ValidationAnswer
from payments.discounts.offers import NewOffer, Offer
from payments.orders import RandomTokens
from payments.results import apply
from tests.payments.bearers.conftest import bearer
from tests.payments.conftest import AT, IDS, Due, make_attempt, make_city, new_charge
from tests.payments.incentive.conftest import sealer
from tests.payments.owed.owing import staff

DAY = timedelta(days=1)


class Town:
    """Everything a test of discounts acts with. op-1 runs lot-1, op-2 lot-2."""

    def __init__(self, db: Engine, folder: Path) -> None:
        self.db, self.at = db, AT
        with db.begin() as tx:
            self.lots = [make_city(tx, number=number) for number in (1, 2)]
            staff(tx)
            bearer(tx, "mall", "示例商场")
        self._sealer = sealer(folder)

    def offer(self, code: str = "M5", kind: Any = "validation", **other: Any) -> Offer:
        said: dict[str, Any] = {
            "code": code, "kind": kind, "words": "商家优惠", "words_en": "Shop discount", "document": f"agreement {code}",
            "valid_from": AT - DAY, "valid_until": AT + 30 * DAY, "bearer": "mall",
        }  # fmt: skip
        if not {"off_bps", "free_up_to_fen"} & set(other):
            said["off_fen"] = 500
        with self.db.begin() as tx:
            return offers.add(tx, lane=0, offer=NewOffer(**(said | other)), at=AT, ids=IDS)

    def post(self, serial: str = "S1", *, lot: int = 0, **other: Any) -> UUID:
        """The lot posts a charge, as the API does."""
        with self.db.begin() as tx:
            [told] = charges.post(tx, lane=0, lot=self.lots[lot], charges=[new_charge(serial, **other)], at=self.at, ids=IDS)
            effects.meet(tx, lane=0, lot_id=self.lots[lot].lot_id, numbers=["苏B12345"], at=self.at, ids=IDS)
        assert told.charge_id is not None
        return told.charge_id

    def validate(self, *given: NewValidation, lot: int = 0, client: str = "mall-1", **other: Any) -> list[ValidationAnswer]:
        wanted = list(given) or [NewValidation(**({"serial": "V1", "offer": "M5", "plate": "苏B12345"} | other))]
        with self.db.begin() as tx:
            return grants.validate(
                tx, lane=0, lot=self.lots[lot], client_id=client, validations=wanted, at=self.at, ids=IDS, body=b"{}"
            )  # fmt: skip

    def cancel(self, serial: str = "V1", *, client: str = "mall-1") -> ValidationAnswer:
        with self.db.begin() as tx:
            return grants.cancel(tx, lane=0, lot=self.lots[0], client_id=client, serial=serial, at=self.at, ids=IDS)

    def issue(self, offer: str = "C8", *, uses: int = 1) -> Coupon:
        with self.db.begin() as tx:
            [made] = grants.issue(tx, lane=0, offer=offer, count=1, uses=uses, at=AT, ids=IDS, tokens=RandomTokens())
        return made

    def use(self, coupon: Coupon, charge_id: UUID, *, lot: int = 0) -> Used:
        with self.db.begin() as tx:
            return grants.use_coupon(
                tx, lane=0, lot_id=self.lots[lot].lot_id, charge_id=charge_id, code=coupon.code, at=self.at, ids=IDS
            )  # fmt: skip

    def begin_to_pay(self, charge_id: UUID) -> Due:
        with self.db.begin() as tx:
            return make_attempt(tx, self.lots[0], charge_id, at=self.at)

    def pay(self, charge_id: UUID) -> None:
        due = self.begin_to_pay(charge_id)
        with self.db.begin() as tx:
            apply(tx, lane=0, notices=[due.callback()], at=self.at, ids=IDS)

    def follow(self) -> int:
        with self.db.connect() as connection:
            while self._sealer.seal_once(connection, at=self.at) is not None:
                pass
        claimed = following.follow(self.db, lane=0, at=lambda: self.at).claimed
        with self.db.connect() as connection:
            while self._sealer.seal_once(connection, at=self.at) is not None:
                pass
        return claimed

    def stands(self, charge_id: UUID) -> tuple[str, int, int]:
        """State of a charge, what is taken off it, and what is still due."""
        query = text("""
            select state, reduced_fen, amount_fen - paid_fen - reduced_fen as owed from payments.charge where charge_id = :id
            """)
        with self.db.connect() as tx:
            row = tx.execute(query, {"id": charge_id}).one()
        return row.state, row.reduced_fen, row.owed

    def value(self, query: str) -> Any:
        with self.db.connect() as tx:
            return tx.execute(text(query)).scalar()

    def broken(self) -> list[str]:
        with self.db.connect() as tx:
            return [f"{one.invariant} {one.detail}" for one in violations(tx)]


@pytest.fixture
def town(db: Engine, tmp_path: Path) -> Iterator[Town]:
    """At its end every invariant holds."""
    made = Town(db, tmp_path)
    yield made
    assert made.broken() == []
