"""The demo city: operators and car parks over Wuxi's districts, so that a first start has something to show and to pay.

Knows made-up names and round tariffs (companies are called 示范, demonstration, because none of them exists); must not know HTTP.
Called by ``tongting run`` and the simulated day.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection

from config.settings import ROLLOUT, TARIFFS
from gateways import routing
from gateways.routing import NewAccount
from ledger.clock import CHINA
from ledger.ids import Ids
from payments import charges, lots
from payments.lots import Lot, NewLot, NewOperator, Operator, Scene
from payments.mandates import deductions
from payments.owed import leaving
from payments.owed.leaving import NewRule
from payments.records import NewCharge
from payments.rollout import policy
from payments.tariffs import files, registry

PLATE: Final = "苏B12345"
"""The demo's own car: it always owes something at the first car park."""
FREE_MINUTES: Final = 30
DAY_MINUTES: Final = 24 * 60

_OPERATORS: Final = (
    NewOperator("liangxi", "无锡梁溪示范停车管理有限公司", "91320213MA0DEM0011", "梁溪区", "government"),
    NewOperator("binhu", "无锡滨湖示范城市停车有限公司", "91320211MA0DEM0027", "滨湖区", "government"),
    NewOperator("xinwu", "无锡新吴示范智慧停车有限公司", "91320214MA0DEM003M", "新吴区", "government"),
    NewOperator("xishan", "无锡锡山示范城投停车运营有限公司", "91320205MA0DEM004P", "锡山区", "soe"),
    NewOperator("huishan", "无锡惠山示范交通停车管理有限公司", "91320206MA0DEM0059", "惠山区", "soe"),
    NewOperator("jingkai", "无锡经开示范商业管理有限公司", "91320292MA0DEM006X", "经开区", "social"),
    NewOperator("jiangyin", "江阴示范城市停车管理有限公司", "91320281MA0DEM0073", "江阴市", "government"),
    NewOperator("yixing", "宜兴示范停车服务有限公司", "91320282MA0DEM008L", "宜兴市", "government"),
    NewOperator("hospital", "无锡示范综合医院", "12320211MA0DEM0092", "滨湖区", "institution"),
)
_CODES: Final = tuple(operator.code for operator in _OPERATORS)
_DIRECT: Final = ("hospital",)
"""Operators that have an agreement of their own with Alipay and UnionPay."""
_WITHOUT: Final = frozenset({("etc", "hospital"), ("unionpay", "yixing")})
"""Operators that have no merchant account at a channel: it is not offered there."""


class Tariff(Struct, frozen=True):
    """A round demo tariff, in whole yuan: fen per begun hour after the free minutes, capped per day of 24 hours."""

    hour_fen: int
    day_fen: int

    def due_fen(self, minutes: int) -> int:
        """Return what a stay of ``minutes`` owes; 0 within the free minutes. A begun hour counts; after 24 hours it begins anew."""
        if minutes <= FREE_MINUTES:
            return 0
        days, rest = divmod(minutes, DAY_MINUTES)
        return days * self.day_fen + min(self.day_fen, -(-rest // 60) * self.hour_fen)

    def words(self) -> str:
        """Return the tariff as one plain sentence."""
        hour, day = self.hour_fen // 100, self.day_fen // 100
        return f"{FREE_MINUTES}分钟内免费，超过后每小时{hour}元，不足1小时按1小时计，24小时最高{day}元。"


class DemoLot(Struct, frozen=True):
    """A car park of the demo city."""

    code: str
    operator: str
    name: str
    district: str
    address: str
    berths: int
    scene: Scene
    tariff: Tariff

    def new(self) -> NewLot:
        """Return it as it is registered."""
        return NewLot(
            code=self.code, operator_code=self.operator, name=self.name, district=self.district, address=self.address,
            berths=self.berths, scene=self.scene, tariff_text=self.tariff.words(),
        )  # fmt: skip


_CENTRE, _TOWN, _OUTER = Tariff(500, 6000), Tariff(300, 3000), Tariff(200, 2000)
LOTS: Final = (
    DemoLot("LX-0001", "liangxi", "中心广场地下停车场", "梁溪区", "中山路示范段1号", 412, "gate", _CENTRE),
    DemoLot("LX-0002", "liangxi", "南门古街停车场", "梁溪区", "南长街示范段88号", 186, "gate", _CENTRE),
    DemoLot("LX-0003", "liangxi", "人民路路侧泊位", "梁溪区", "人民中路示范段", 64, "on_street", _CENTRE),
    DemoLot("LX-0004", "liangxi", "火车站北广场停车场", "梁溪区", "兴源北路示范段2号", 730, "gate", _TOWN),
    DemoLot("BH-0001", "binhu", "湖滨公园停车场", "滨湖区", "环湖路示范段6号", 520, "gate", _TOWN),
    DemoLot("BH-0002", "binhu", "大学城路侧泊位", "滨湖区", "蠡湖大道示范段", 120, "on_street", _OUTER),
    DemoLot("BH-0003", "hospital", "综合医院门诊停车场", "滨湖区", "梁清路示范段100号", 610, "hospital", Tariff(200, 4000)),
    DemoLot("XW-0001", "xinwu", "高新科技园停车场", "新吴区", "菱湖大道示范段18号", 980, "gate", _OUTER),
    DemoLot("XW-0002", "xinwu", "机场长时停车场", "新吴区", "机场路示范段1号", 1500, "gate", _TOWN),
    DemoLot("XW-0003", "xinwu", "旺庄充电停车场", "新吴区", "旺庄路示范段33号", 90, "charging", _OUTER),
    DemoLot("XS-0001", "xishan", "锡东新城枢纽停车场", "锡山区", "丹山路示范段9号", 860, "gate", _OUTER),
    DemoLot("XS-0002", "xishan", "东亭商业街停车场", "锡山区", "东亭中路示范段21号", 240, "gate", _OUTER),
    DemoLot("HS-0001", "huishan", "惠山古镇停车场", "惠山区", "惠山大道示范段5号", 450, "gate", _TOWN),
    DemoLot("HS-0002", "huishan", "堰桥共享停车场", "惠山区", "堰桥路示范段7号", 150, "shared", _OUTER),
    DemoLot("JK-0001", "jingkai", "湖畔商业中心停车场", "经开区", "观山路示范段199号", 1320, "gate", _CENTRE),
    DemoLot("JK-0002", "jingkai", "会展中心停车场", "经开区", "清舒道示范段88号", 2100, "gate", _TOWN),
    DemoLot("JY-0001", "jiangyin", "江阴步行街停车场", "江阴市", "人民中路示范段66号", 380, "gate", _TOWN),
    DemoLot("JY-0002", "jiangyin", "江阴长江公园停车场", "江阴市", "滨江路示范段3号", 290, "gate", _OUTER),
    DemoLot("YX-0001", "yixing", "宜兴陶都广场停车场", "宜兴市", "解放东路示范段12号", 330, "gate", _TOWN),
    DemoLot("YX-0002", "yixing", "宜兴东氿路侧泊位", "宜兴市", "氿滨大道示范段", 140, "on_street", _OUTER),
)
_STAYING: Final = timedelta(days=30)
"""Cars that stood there before the demo began are priced, too."""
_ZONES: Final = {"LX-0003": "core", "BH-0002": "centre", "YX-0002": "outer"}
"""Road berths by the zones of the road tariff."""
_BY_CODE: Final = {lot.code: lot for lot in LOTS}
_PLATES: Final = (
    "苏B8A6K6",
    "苏B66T20",
    "苏BD10086",
    "沪A5F320",
    "苏BF20318",
    "苏E71K92",
    "浙A2P88C",
    "苏B0Q415",
    "苏BDA0520",
    "皖A3M617",
)
_STAYS_MINUTES: Final = (45, 75, 100, 140, 185, 260, 320, 455, 610, 1510)


def fill(tx: Connection, *, lane: int, providers: Mapping[str, str], at: datetime, ids: Ids) -> bool:
    """Register the demo city and post its first charges, unless there is any operator already. Returns whether it did."""
    if lots.operators(tx):
        return False
    register(tx, providers=providers, at=at)
    let_leave_first(tx, at=at)
    policy.enter(tx, rules=policy.read((ROLLOUT / "wuxi-2025.toml").read_bytes()), at=at)
    for lot in lots.lots(tx, limit=len(LOTS)):
        charges.post(tx, lane=lane, lot=lot, charges=_first_charges(lot, at), at=at, ids=ids)
    return True


def register(tx: Connection, *, providers: Mapping[str, str], at: datetime) -> tuple[list[Operator], list[Lot]]:
    """Register operators with their own merchant accounts at each channel, and lots.

    ``providers`` are our numbers at the channels. May be repeated where nothing was changed by hand.
    """
    operators = lots.register_operators(tx, operators=_OPERATORS, at=at)
    for operator in operators:
        taken = {account.channel for account in routing.listed(tx, operator_id=operator.operator_id)}
        for channel, provider_no in providers.items():
            if channel not in taken and (channel, operator.code) not in _WITHOUT:
                account = _account(operator, channel, at)
                routing.register(tx, account=account, operator_name=operator.legal_name, provider_no=provider_no, at=at)
    registered = lots.register_lots(tx, lots=[lot.new() for lot in LOTS], at=at)
    for place, lot in enumerate(registered, 1):
        deductions.number_lot(tx, lot_id=lot.lot_id, channel="etc", number=f"3202{place:06d}", at=at)
        deductions.number_lot(tx, lot_id=lot.lot_id, channel="alipay", number=f"PI{place:014d}", at=at)
    return operators, registered


def let_leave_first(tx: Connection, *, at: datetime) -> None:
    """Let everyone leave first from road berths, which are charged by the published road tariff; elsewhere a mandate is needed."""
    for name in ("wuxi-rules-2023", "wuxi-road-2022", "wuxi-road-2023"):
        registry.add(tx, file=files.read((TARIFFS / f"{name}.toml").read_bytes()), at=at)
    for demo_lot in (one for one in LOTS if one.scene == "on_street"):
        lot = lots.lot_by_code(tx, code=demo_lot.code)
        rule = NewRule(
            operator_id=lot.operator_id, lot_id=lot.lot_id, valid_from=at, document="示范规则", admits="everyone", debts_max=3,
            owed_fen_max=30_000, overdue_days_max=30, checks_lists=True, due_days=30,
        )  # fmt: skip
        leaving.enter_rule(tx, rule=rule, at=at)
        registry.assign(
            tx, lot=lot, tariff_code="wuxi-road", valid_from=at - _STAYING, document="示范清单", at=at, missing_price="base",
            selectors={"zone": _ZONES[demo_lot.code], "road": "branch", "section": "ordinary"},
        )  # fmt: skip


def ensure_due(tx: Connection, *, lane: int, at: datetime, ids: Ids) -> Lot:
    """Post a charge for the demo's own car at the first lot when it owes nothing there. Returns the lot."""
    lot = lots.lot_by_code(tx, code=LOTS[0].code)
    if not charges.due(tx, lane=lane, lot_id=lot.lot_id, plate=PLATE):
        stay = charge(lot.code, serial=f"DEMO-{at:%Y%m%d%H%M%S}", plate=PLATE, minutes=135, left_at=at)
        charges.post(tx, lane=lane, lot=lot, charges=[stay], at=at, ids=ids)
    return lot


def merchant_no(operator: Operator, channel: str = "wechat") -> str:
    """Return the demo merchant number of an operator at a channel, in the channel's own form."""
    return f"16000{operator.operator_id:05d}" if channel == "wechat" else numbered(channel, _CODES.index(operator.code) + 1)


def numbered(channel: str, number: int) -> str:
    """Return the merchant number of the demo's operator number ``number`` at a channel other than WeChat."""
    return {"alipay": f"20880000{number:08d}", "unionpay": f"89832000{number:07d}", "etc": f"3202{number:012d}"}[channel]


def platform_merchants(channel: str) -> list[str]:
    """Return the merchant numbers of the operators that let the platform act for them at a channel."""
    return [numbered(channel, place + 1) for place, code in enumerate(_CODES) if code not in _DIRECT]


def own_keys(channel: str) -> dict[str, str]:
    """Return the operators of the demo that sign with keys of their own at a channel: merchant number by the name of the keys."""
    return {code: numbered(channel, _CODES.index(code) + 1) for code in _DIRECT}


def operator_of(lot_code: str) -> str:
    """Return the code of the operator of a demo lot."""
    return _BY_CODE[lot_code].operator


def charge(lot_code: str, *, serial: str, plate: str, minutes: int, left_at: datetime) -> NewCharge:
    """Return the charge of a stay of ``minutes`` (more than the free ones) that ends at ``left_at``, by the demo tariff."""
    tariff = _BY_CODE[lot_code].tariff
    return NewCharge(
        lot_serial=serial, plate=plate, plate_color="green" if len(plate) == 8 else "blue",
        entered_at=(left_at - timedelta(minutes=minutes)).astimezone(CHINA), left_at=left_at.astimezone(CHINA),
        minutes=minutes, amount_fen=tariff.due_fen(minutes), tariff_text=tariff.words(),
    )  # fmt: skip


def _account(operator: Operator, channel: str, at: datetime) -> NewAccount:
    direct = channel in ("alipay", "unionpay") and operator.code in _DIRECT
    return NewAccount(
        operator_id=operator.operator_id, channel=channel, merchant_no=merchant_no(operator, channel),
        payee_name=operator.legal_name, evidence=f"示范进件申请 {operator.operator_id:04d}", valid_from=at,
        mode="direct" if direct else "provider", key_ref=operator.code if direct else None,
    )  # fmt: skip


def _first_charges(lot: Lot, at: datetime) -> Sequence[NewCharge]:
    """Return a handful of open charges, other ones for each lot."""
    return [
        charge(
            lot.code,
            serial=f"DEMO-{lot.code}-{number}",
            plate=_PLATES[(lot.lot_id + number) % len(_PLATES)],
            minutes=_STAYS_MINUTES[(lot.lot_id * 3 + number) % len(_STAYS_MINUTES)],
            left_at=at - timedelta(minutes=number),
        )
        for number in range(1, 6)
    ]
