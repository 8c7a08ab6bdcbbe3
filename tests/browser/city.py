"""The city that the browser tests drive through: two lots of two operators, and cars that owe, in a real database.

Knows the product's rooms and writes through them; must not know pages. Made once, by ``conftest``; each test has cars of its own.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import structs
from sqlalchemy import Connection, text

from app import clerk_links, demo
from app.wiring import Wiring
from gateways import routing
from gateways.parking.quotes import LotQuote
from ledger.books import open_lane
from payments import charges, lots, paycode, people
from payments.bearers import bearers
from payments.codes import registry, shown
from payments.codes.records import Place
from payments.discounts import clerks, grants, merchants, offers
from payments.discounts.merchants import NewMerchant
from payments.discounts.offers import NewOffer
from payments.lots import Lot, NewLot, NewOperator
from payments.owed.debts import Left, open_debts
from payments.paycode import WallCode
from payments.people import Person
from payments.plates import PlateColor
from payments.quoting import endpoints, taking
from payments.records import NewCharge
from payments.webhooks.secret import Vault

ROUTES: Final = {"liangxi": ("wechat", "alipay", "unionpay"), "binhu": ("wechat", "alipay")}
"""Where each operator has a merchant account; the second lot's has none at UnionPay."""


class City:
    """Lots of two operators with routes to their merchant accounts, served by real processes; the third lot's system is away."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.url = wiring.settings.public_url
        self._serial = 0
        self.last_plate = ""
        self._kept: dict[str, str] = {}
        self._stay = ""
        self._stays: dict[str, datetime] = {}
        with wiring.db.begin() as tx:
            self.lot, self.other_lot, self.away_lot = self._register(wiring, tx)
            self._keep_away(tx, self.away_lot)
        self.code = self.code_of(self.lot)

    def _register(self, wiring: Wiring, tx: Connection) -> list[Lot]:
        now = wiring.clock.now()
        open_lane(tx, lane=wiring.lane, origin="tongting.example/lane0")
        operators = [
            NewOperator("liangxi", "无锡梁溪示范停车管理有限公司", "91320213MA0DEM0011", "梁溪区", "government"),
            NewOperator("binhu", "无锡滨湖示范城市停车有限公司", "91320211MA0DEM0027", "滨湖区", "government"),
        ]
        registered = lots.register_operators(tx, operators=operators, at=now)
        tariff = "30分钟内免费，超过后每小时5元，不足1小时按1小时计，24小时最高60元。"
        wanted = [
            NewLot("LX-01", "liangxi", "中山路地面停车场", "梁溪区", "中山路 100 号", 80, "gate", tariff),
            NewLot("BH-01", "binhu", "湖滨公园停车场", "滨湖区", "环湖路 6 号", 520, "gate", tariff),
            NewLot("LX-02", "liangxi", "南禅寺文化商城地下停车场", "梁溪区", "向阳路 32 号", 310, "gate", tariff),
        ]
        providers = wiring.providers()
        for number, operator in enumerate(registered, 1):
            for channel in ROUTES[operator.code]:
                account = routing.NewAccount(
                    operator_id=operator.operator_id, channel=channel, payee_name=operator.legal_name, evidence="agreement 1",
                    merchant_no=f"162000000{number}" if channel == "wechat" else demo.numbered(channel, number),
                    valid_from=now - timedelta(days=1),
                )  # fmt: skip
                routing.register(
                    tx, account=account, operator_name=operator.legal_name, provider_no=providers[channel], at=now
                )  # fmt: skip
        return lots.register_lots(tx, lots=wanted, at=now)

    def code_of(self, lot: Lot) -> str:
        return paycode.token(lot.lot_id, keys=self.wiring.pay_codes)

    def owe(
        self, *, amount_fen: int = 1500, minutes: int = 161, plate: str | None = None, lot: Lot | None = None,
        color: PlateColor = "unknown",
    ) -> str:  # fmt: skip
        """Let a car that was never here before owe a fee, or one that was another; returns its plate."""
        self._serial += 1
        plate = self.last_plate = plate or f"苏B{10_000 + self._serial}"
        now = datetime.now(UTC).replace(microsecond=0)
        charge = NewCharge(
            lot_serial=f"S{self._serial}", plate=plate, plate_color=color, entered_at=now - timedelta(minutes=minutes),
            minutes=minutes,
            amount_fen=amount_fen, tariff_text="首30分钟免费，3小时 × 5元",
        )  # fmt: skip
        with self.wiring.db.begin() as tx:
            (posted,) = charges.post(tx, lane=self.wiring.lane, lot=lot or self.lot, charges=[charge], at=now, ids=self.wiring.ids)
        assert posted.outcome == "created", posted
        return plate

    def books(self) -> list[tuple[str, int]]:
        """Return treatment and fen of the money taken for the car that was made to owe last."""
        query = text("""
            select f.treatment, f.amount_fen from payments.v_payment_fact f
            join payments.charge c on c.charge_id = f.charge_id where c.lot_serial = :serial order by 1
            """)
        with self.wiring.db.begin() as tx:
            return [(row[0], row[1]) for row in tx.execute(query, {"serial": f"S{self._serial}"})]

    def paid_over(self, plate: str) -> list[tuple[str, int]]:
        """Return channel and fen of the payments that settled a car's charges, in the order of its charges."""
        query = text("""
            select p.channel, p.taken_fen from payments.charge c join payments.payment p on p.payment_id = c.settled_by
            join payments.plate n on n.plate_id = c.plate_id where n.number = :plate order by c.lot_id, c.amount_fen
            """)
        with self.wiring.db.begin() as tx:
            return [(row[0], row[1]) for row in tx.execute(query, {"plate": plate})]

    def attempts(self) -> int:
        """Return how many payments were ordered for that car."""
        query = text("select count(*) from payments.v_payment where lot_serial = :serial")
        with self.wiring.db.begin() as tx:
            return int(tx.execute(query, {"serial": f"S{self._serial}"}).scalar_one())

    def kept(self, name: str, make: Callable[[], str]) -> str:
        """Return what was made under this name, making it the first time: what is dear to make and changes no more."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def let_leave(self) -> None:
        """Let the car that was made to owe last leave without paying: it owes a debt."""
        now = datetime.now(UTC)
        with self.wiring.db.begin() as tx:
            charge = charges.by_serial(tx, lane=self.wiring.lane, lot_id=self.lot.lot_id, lot_serial=f"S{self._serial}")
            left = [Left(charge.charge_id, "policy", now)]
            open_debts(tx, lane=self.wiring.lane, left=left, evidence_id=charge.charge_id, at=now, ids=self.wiring.ids)

    def coupon(self, *, fen: int = 500) -> str:
        """Return the code of a coupon."""
        now, lane, code = datetime.now(UTC), self.wiring.lane, f"C{fen}"
        offer = NewOffer(
            code=code, kind="coupon", words="商家优惠", words_en="Shop discount", bearer="mall", document="agreement 3",
            valid_from=now - timedelta(days=1), valid_until=now + timedelta(days=1), off_fen=fen,
        )  # fmt: skip
        with self.wiring.db.begin() as tx:
            bearers.register(tx, code="mall", name="示例商场", document="agreement 3", at=now)
            if code not in {one.code for one in offers.listed(tx, lane=lane)}:
                offers.add(tx, lane=lane, offer=offer, at=now, ids=self.wiring.ids)
            (made,) = grants.issue(
                tx, lane=lane, offer=code, count=1, at=now, ids=self.wiring.ids, tokens=self.wiring.link_tokens
            )  # fmt: skip
        return made.code

    def counter(self) -> str:
        """Return the path of the link of a shop's counter, which may give a coupon's worth and two free hours."""
        now, lane, ids = datetime.now(UTC), self.wiring.lane, self.wiring.ids
        until = now + timedelta(days=1)
        free = NewOffer(
            code="SHOP-5", kind="validation", words="观影停车优惠", words_en="Cinema parking", bearer="mall",
            document="agreement 3", valid_from=now - timedelta(days=1), valid_until=until, off_fen=500,
        )  # fmt: skip
        whole = structs.replace(
            free, code="SHOP-ALL", words="贵宾停车", words_en="Guests", off_fen=None, off_bps=10_000, cap_fen=3000
        )
        shop = NewMerchant(
            code="shop", name="示例影院（中山路八佰伴店）", name_en="Example Cinema, Zhongshan Road", bearer="mall",
            offers=("SHOP-5", "SHOP-ALL"), lots=(self.lot.code, self.away_lot.code), document="agreement 3",
            valid_from=now - timedelta(days=1), valid_until=until,
        )  # fmt: skip
        with self.wiring.db.begin() as tx:
            bearers.register(tx, code="mall", name="示例商场", document="agreement 3", at=now)
            people.enter(tx, person=Person("li", may_propose=True, may_approve=False, document="order 1"), at=now)
            for offer in (free, whole):
                offers.add(tx, lane=lane, offer=offer, at=now, ids=ids)
            merchants.add(tx, lane=lane, merchant=shop, by="li", at=now, ids=ids)
            clerk = clerks.make(tx, lane=lane, merchant="shop", name="前台一", valid_until=until, by="li", at=now, ids=ids)
        return clerk_links.link(self.wiring, clerk).removeprefix(self.url)

    def on_screen(self, *, charges_shown: int = 1) -> str:
        """Return the path of a code for the screen, of what the last cars that were made to owe have to pay."""
        now, lane = datetime.now(UTC), self.wiring.lane
        serials = [f"S{self._serial - number}" for number in range(charges_shown)]
        with self.wiring.db.begin() as tx:
            if charges_shown == 1:
                stay = shown.stay(tx, lane=lane, lot=self.lot, serial=serials[0], minutes=5, at=now)
                return f"/p/{paycode.signed(stay, keys=self.wiring.pay_codes)}"
            basket = shown.basket(tx, lane=lane, lot=self.lot, serials=serials, minutes=5, by="clerk", at=now, ids=self.wiring.ids)
        return f"/p/{paycode.signed(basket, keys=self.wiring.pay_codes)}"

    def wall_code(self, *, state: str = "good") -> str:
        """Return the path of a berth's code, good, or ``retired``."""
        self._serial += 1
        now, name = datetime.now(UTC), f"A-{self._serial}"
        with self.wiring.db.begin() as tx:
            (made,) = registry.issue(tx, lot=self.lot, batch=name, places=[Place("berth", name)], by="wang", at=now)
            if state == "retired":
                registry.retire(tx, code_nos=[made.code_no], reason="torn", by="wang", at=now)
        return f"/p/{paycode.signed(WallCode(made.code_no), keys=self.wiring.pay_codes)}"

    def quoted(self, *, amount_fen: int, plate: str | None = None, instead: bool = False) -> str:
        """Let the first lot say a price of its own for a car, or another one ``instead`` of its last; returns the plate."""
        self._serial += 1
        if not instead:
            self._stay = f"P{self._serial}"
        plate, now = plate or f"苏B{10_000 + self._serial}", datetime.now(UTC).replace(microsecond=0)
        quote = LotQuote(
            serial=f"Q{self._serial}", stay_serial=self._stay, plate=plate, entered_at=self._entered(now), minutes=120,
            amount_fen=amount_fen, tariff_text="每小时5元", valid_until=now + timedelta(minutes=20),
        )  # fmt: skip
        with self.wiring.db.begin() as tx:
            refused = taking.take(
                tx, lane=self.wiring.lane, lot=self.lot, plate=plate, quotes=[quote], evidence_id=self.wiring.ids.new(now, "x"),
                asked_at=now, at=now, ids=self.wiring.ids,
            )  # fmt: skip
        assert not refused, refused
        return plate

    def _entered(self, now: datetime) -> datetime:
        return self._stays.setdefault(self._stay, now - timedelta(hours=2))

    def _keep_away(self, tx: Connection, lot: Lot) -> None:
        """Let a lot have a system of its own to ask, which does not answer."""
        wiring = self.wiring
        endpoints.enter(
            tx, lane=wiring.lane, lot_id=lot.lot_id, url="https://192.0.2.1/quotes", timeout_ms=1_000, timeout_ms_max=2_000,
            new=False, by="wang", at=wiring.clock.now(), ids=wiring.ids, tokens=wiring.link_tokens,
            vault=Vault(wiring.keys.webhook),
        )  # fmt: skip
