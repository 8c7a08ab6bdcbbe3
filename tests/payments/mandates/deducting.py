"""A city whose lot deducts: WeChat's, Alipay's and ETC's stand-ins on one port, their notices come to the product's own door."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import Engine, text

from app.callbacks.gate import Gate
from gateways import routing
from gateways.alipay import channel as alipay_channel
from gateways.alipay import keys as alipay_keys
from gateways.calls import Line
from gateways.etc import channel as etc_channel
from gateways.etc import keys as etc_keys
from gateways.etc import line as etc_line
from gateways.registry import Connected, Registry
from gateways.sandbox.alipay import demo as alipay_demo
from gateways.sandbox.alipay.stand_in import AlipayStandIn
from gateways.sandbox.etc import demo as etc_demo
from gateways.sandbox.etc.stand_in import EtcStandIn
from gateways.sandbox.server import running
from gateways.sandbox.stand_in import DemoKeys, StandIn, Surroundings
from gateways.sandbox.wechat.signing import Pair
from gateways.transport import HttpTransport
from gateways.wechat.channel import Provider, WeChat
from ledger.clock import SetClock
from ledger.ids import Ids, RandomIds
from payments.checkout import Till
from payments.invariants import check
from payments.lots import Lot
from payments.mandates import deductions, entrances
from payments.mandates.deductions import Deducted
from payments.mandates.entrances import NewEntrance, Recorded
from payments.orders import RandomTokens
from tests.app.test_callbacks import opened
from tests.gateways.conftest import APP_ID, HTTP, PROVIDER_NO, config_of, free_port
from tests.payments.conftest import AT, make_charge, make_city

PLATE, OPENID = "苏B12345", "oOwner"
MERCHANTS = {"wechat": "1620000007", "alipay": "2088001122334455", "etc": "M-1620000007"}
LOT_NUMBERS = {"alipay": "PI0001", "etc": "3202010001"}


class Source:
    """Demo keys of one test run; the same name gives the same key."""

    at = AT - timedelta(days=1)

    @cache  # noqa: B019 one per run
    def rsa(self, name: str) -> bytes:  # noqa: ARG002 each name has a key of its own
        return rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def secret(self, name: str) -> bytes:
        return hashlib.sha256(name.encode()).digest()

    def serial(self, name: str) -> int:
        return int.from_bytes(self.secret(name)[:16], "big")


@cache
def demo_keys() -> tuple[DemoKeys, DemoKeys]:
    """Alipay's and ETC's keys, made once per run."""
    return alipay_demo.make(Source(), merchants=(MERCHANTS["alipay"],)), etc_demo.make(Source())


class City:
    """A till with three channels, a lot with an open charge, and everything that can happen to it."""

    def __init__(self, db: Engine, registry: Registry, transport: HttpTransport, clock: SetClock, url: str) -> None:
        self.db, self.registry, self.transport, self.clock, self.url = db, registry, transport, clock, url
        self.ids: Ids = RandomIds()
        self.till = Till(
            db=db, lane=0, clock=clock, ids=self.ids, tokens=RandomTokens(), channels=registry.names, line=self.line,
            query_after=(timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5)),
        )  # fmt: skip
        with db.begin() as tx:
            self.lot: Lot = make_city(tx)
            self.charge_id = make_charge(tx, self.lot, "S1", entered_at=AT - timedelta(hours=2), left_at=AT)
            for channel, number in LOT_NUMBERS.items():
                deductions.number_lot(tx, lot_id=self.lot.lot_id, channel=channel, number=number, at=AT)
                self.route(tx, channel)

    def route(self, tx: Any, channel: str, *, valid_from: datetime = AT - timedelta(days=60), **more: Any) -> None:
        account = routing.NewAccount(
            operator_id=self.lot.operator_id, channel=channel, merchant_no=MERCHANTS[channel],
            payee_name=self.lot.operator_name, evidence="agreement 1", valid_from=valid_from, **more,
        )  # fmt: skip
        routing.register(tx, account=account, operator_name=self.lot.operator_name, provider_no="x", at=AT)

    def line(self, channel: str) -> Line:
        return Line(self.registry.find(channel), self.transport, self.clock, self.ids)

    def later(self, **span: float) -> None:
        self.clock.set(self.clock.now() + timedelta(**span))

    # What the lot does

    def enter(self, **other: Any) -> Recorded:
        said: dict[str, Any] = {
            "lot_serial": "E1", "plate": PLATE, "plate_color": "blue", "entered_at": AT - timedelta(hours=2), "free_minutes": 15,
        } | other  # fmt: skip
        return entrances.record(self.till, lot=self.lot, entrance=NewEntrance(**said))

    def deduct(self, channel: str | None = None, serial: str = "S1") -> Deducted:
        return deductions.deduct(self.till, lot_id=self.lot.lot_id, lot_serial=serial, channel=channel)

    def charge(self, serial: str, **other: Any) -> None:
        with self.db.begin() as tx:
            make_charge(tx, self.lot, serial, **({"entered_at": AT - timedelta(hours=2), "left_at": AT} | other))

    # What drivers and channels do

    def wechat_plate(self, **changes: Any) -> None:
        plate = {"plate_number": PLATE, "plate_color": "BLUE", "openid": OPENID} | changes
        self.control("plates", plates=[plate])

    def etc_plate(self, **changes: Any) -> None:
        self.posted("etc-sandbox/plates", {"plate": PLATE, "colour": 0} | changes)

    def alipay_plate(self, **changes: str) -> None:
        form = {"plate": PLATE, "plate_color": "BLUE", "buyer_id": "2088102233445566"} | changes
        assert HTTP.post(f"{self.url}/alipay/agreements", data=form).status_code == 303

    def fault(self, channel: str, kind: str, **other: Any) -> None:
        where = "faults" if channel == "wechat" else f"{channel}/faults"
        self.control(where, faults=[{"kind": kind, **other}])

    def deliver(self) -> None:
        for where in ("deliver", "etc/deliver", "alipay/deliver"):
            self.control(where)

    def control(self, path: str, **body: Any) -> None:
        self.posted(f"_control/{path}", body)

    def posted(self, path: str, body: Any) -> None:
        answer = HTTP.post(f"{self.url}/{path}", content=msgspec.json.encode(body))
        assert answer.status_code in (200, 204), answer.text

    # What the database holds

    def column(self, query: str) -> list[Any]:
        with self.db.connect() as tx:
            return list(tx.execute(text(query)).scalars())

    def states(self) -> list[str]:
        """States of all payments, in alphabetical order."""
        return self.column("select state from payments.payment order by state")

    def calls(self, operation: str) -> int:
        return len(self.column(f"select 1 from gateways.raw_message where operation = '{operation}'"))

    def sound(self) -> bool:
        with self.db.connect() as tx:
            return check(tx) == []


@contextmanager
def city(db: Engine, pair: Pair, path: Path, **wechat: Any) -> Iterator[City]:
    """Serve the three channels and the product's door for their notices; ``wechat`` are settings of WeChat's stand-in."""
    (of_alipay, of_etc), clock, port = demo_keys(), SetClock(AT), free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as over:
        door = Gate(db=db, lane=0, channels=_channels(pair, url, "http://127.0.0.1:9"), clock=clock, ids=RandomIds())
        callbacks = f"http://127.0.0.1:{over.enter_context(opened(door))}/callbacks"
        around = Surroundings(state_dir=path, base_url=url, clock=clock, manual=True, seed="test")
        others: list[StandIn] = [
            AlipayStandIn(around, alipay_demo.config(of_alipay.theirs)),
            EtcStandIn(around, etc_demo.config(of_etc.theirs, notify_url=f"{callbacks}/etc")),
        ]
        config = msgspec.structs.replace(config_of(pair, path / "sandbox.db", port), clock=clock, **wechat)
        over.enter_context(running(config, host="127.0.0.1", port=port, others=others))
        transport = HttpTransport(timeout_seconds=3)
        over.callback(transport.close)
        yield City(db, _channels(pair, url, callbacks), transport, clock, url)


def _channels(pair: Pair, url: str, callbacks: str) -> Registry:
    of_alipay, of_etc = demo_keys()
    provider = Provider(provider_no=PROVIDER_NO, app_id=APP_ID, notify_url=f"{callbacks}/wechat", api_url=url)
    ours = alipay_channel.Provider(
        app_id=alipay_demo.APP_ID, merchant_no=alipay_demo.PARTNER_NO, notify_url=f"{callbacks}/alipay",
        api_url=f"{url}/alipay/gateway.do", login_url=f"{url}/alipay/login",
    )  # fmt: skip
    party = etc_line.Provider(sender_id=etc_demo.PROVIDER, receiver_id=etc_demo.PARTY, api_url=url)
    return Registry([
        Connected(channel=WeChat(provider), keys=pair.ring),
        Connected(channel=alipay_channel.Alipay(ours), keys=alipay_keys.load(of_alipay.ours)),
        Connected(channel=etc_channel.Etc(party), keys=etc_keys.load(of_etc.ours)),
    ])  # fmt: skip
