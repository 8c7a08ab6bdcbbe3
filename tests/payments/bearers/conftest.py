"""A city where a mall, the platform and an operator bear parts of stays; charges that are paid, and a book that is sealed."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from app.checks import violations
from payments import charges
from payments.amends.corrections import NewCorrection
from payments.bearers import bearers, following
from payments.bearers.bearers import Bearer
from payments.bearers.following import Done
from payments.incentive import parties
from payments.incentive.parties import NewParty, Party
from payments.owed import debts
from payments.owed.debts import Left
from payments.results import apply
from payments.splitting import rules, splits
from payments.splitting.rules import NewLeg, NewRule
from payments.splitting.split_store import Group
from tests.payments.amends.test_corrections import correct
from tests.payments.conftest import AT, IDS, Due, make_attempt, make_city, new_charge
from tests.payments.incentive.conftest import sealer
from tests.payments.owed.owing import staff

CLAIM, OWED, COST, INCOME, BANK = 122102, 224104, 660104, 600101, 100201


class Town:
    """Everything a test of bearers acts with. op-1 runs lot-1, op-2 lot-2; of a stay at lot-1 up to 5 yuan are borne."""

    def __init__(self, db: Engine, folder: Path) -> None:
        self.db, self.at = db, AT
        with db.begin() as tx:
            self.lots = [make_city(tx, number=number) for number in (1, 2)]
            staff(tx)
            self.platform = parties.register(tx, party=NewParty(kind="platform", code="city", name="示例市停车平台"), at=AT)
            self.mall = bearer(tx, "mall", "示例商场")
            self.city = bearer(tx, "city", "示例市停车平台", party="city")
            self.own = bearer(tx, "own", "示例停车1", party="op-1")
        self._sealer = sealer(folder)

    def rule(self, code: str = "mall", *, payee: str = "op-1", lot: str = "lot-1", bps: int | None = None) -> None:
        """Up to 5 yuan of a stay, or a share of it, go to the payee from a bearer, the rest to op-1 from the driver."""
        said: dict[str, Any] = {"fixed_fen": 500} if bps is None else {"share_bps": bps}
        legs = (
            NewLeg(operator=payee, bearer=code, words="会员减免", words_en="discount", **said),
            NewLeg(operator="op-1", share_bps=10_000 - (bps or 0), words="停车费", words_en="parking"),
        )
        rule = NewRule(lot=lot, valid_from=AT - timedelta(days=1), document=f"agreement {code}", leg=legs)
        with self.db.begin() as tx:
            rules.add_rule(tx, lane=0, rule=rule, at=AT, ids=IDS)

    def post(self, *serials: str, amount_fen: int = 1200) -> Group:
        """The lot posts charges; returns how the first was cut."""
        wanted = [new_charge(serial, amount_fen=amount_fen) for serial in serials or ("S1",)]
        with self.db.begin() as tx:
            charges.post(tx, lane=0, lot=self.lots[0], charges=wanted, at=self.at, ids=IDS)
            found = splits.by_serial(tx, lane=0, lot_id=self.lots[0].lot_id, lot_serial=wanted[0].lot_serial)
        assert found is not None
        return found

    def pay(self, group: Group, *, times: int = 1) -> None:
        """The driver pays the driver's part."""
        with self.db.begin() as tx:
            dues: list[Due] = [make_attempt(tx, self.lots[0], group.charge_ids[0], at=AT) for _ in range(times)]
        with self.db.begin() as tx:
            apply(tx, lane=0, notices=[due.callback() for due in dues], at=self.at, ids=IDS)

    def leave(self, group: Group) -> None:
        """The car leaves without paying."""
        charge_id: UUID = group.charge_ids[0]
        with self.db.begin() as tx:
            debts.open_debts(tx, lane=0, left=[Left(charge_id, "policy", AT)], evidence_id=IDS.new(AT, "exit"), at=AT, ids=IDS)

    def correct(self, **said: Any) -> None:
        """The operator corrects the driver's part of S1."""
        given: dict[str, Any] = {"serial": "K1", "charge_serial": "S1#2", "kind": "cancel", "reason": "duplicate"} | said
        [answer] = correct(self.db, self.lots[0], NewCorrection(**given))
        assert answer.outcome == "created", answer

    def seal(self) -> None:
        with self.db.connect() as connection:
            while self._sealer.seal_once(connection, at=self.at) is not None:
                pass

    def follow(self) -> Done:
        self.seal()
        done = following.follow(self.db, lane=0, at=lambda: self.at)
        self.seal()
        return done

    def earned(self, *serials: str, amount_fen: int = 1200) -> Done:
        """Stays at lot-1 that are paid, and read."""
        for serial in serials:
            self.pay(self.post(serial, amount_fen=amount_fen))
        return self.follow()

    def lines(self) -> list[tuple[str, str, int]]:
        """Bearer, serial and fen (less than nothing: returned) of each line, in order."""
        return [
            (code, serial, fen)
            for code, serial, fen in self.rows(
                "select b.code, l.lot_serial, case when l.returned then -l.amount_fen else l.amount_fen end "
                "from payments.v_bearer_line l join payments.bearer b on b.bearer_id = l.bearer_id "
                "order by l.lot_serial, l.returned"
            )
        ]

    def rows(self, query: str) -> list[Any]:
        with self.db.connect() as tx:
            return list(tx.execute(text(query)).all())

    def balance(self, code: str, account: int) -> int:
        """Debits less credits of an account in a party's book, in fen."""
        with self.db.begin() as tx:
            party = self.party(tx, code)
            query = text("""
                select coalesce(sum(case when debit_account = :account then amount_fen else -amount_fen end), 0)
                from ledger.posting where book_id = :book and :account in (debit_account, credit_account)
                """)
            return int(tx.execute(query, {"book": party.book_id, "account": account}).scalar_one())

    def party(self, tx: Connection, code: str) -> Party:
        parties.take_in_operators(tx, at=AT)
        return parties.by_code(tx, code=code)


def bearer(tx: Connection, code: str, name: str, *, party: str | None = None) -> Bearer:
    return bearers.register(tx, code=code, name=name, document=f"agreement {code}", party=party, at=AT)


@pytest.fixture
def town(db: Engine, tmp_path: Path) -> Iterator[Town]:
    """At its end every invariant holds."""
    acting = Town(db, tmp_path)
    yield acting
    with db.connect() as tx:
        assert violations(tx) == []
