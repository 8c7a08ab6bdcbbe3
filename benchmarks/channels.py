"""Measure the channels beside each other: notices end to end, each as a ratio to WeChat's, and building a signed call.

Knows the contract, the stand-ins' signing functions and the demo's key files; must not change how the product runs. Called by
``benchmarks``. All notices are made before the clock runs; rounds alternate between the channels.

ETC is measured twice, because an installation's own key there decides what its signatures cost: ``etc`` signs with SM2 on both
sides, ``etc_rsa`` with RSA. The latter is a second installation on the same database, beside the first one.
"""

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from app import demo
from app.channels import connect, read_files
from app.keys import make_missing, sandbox_keys_dir
from benchmarks import callbacks
from benchmarks.callbacks import AMOUNT_FEN, WECHAT, Bench, Filled, Wire, request
from benchmarks.figures import Notebook
from benchmarks.ground import Ground
from config.settings import Settings, load
from gateways.contract import Deduction, PrepayOrder, Way
from gateways.etc import envelope
from gateways.etc.services import Service
from gateways.registry import Connected
from gateways.sandbox.alipay import demo as alipay_demo
from gateways.sandbox.alipay import signing as alipay
from gateways.sandbox.etc import demo as etc_demo
from gateways.sandbox.unionpay import demo as unionpay_demo
from gateways.sandbox.unionpay import signing as unionpay
from ledger.clock import CHINA
from ledger.ids import payment_number
from ledger.money import yuan

CONNECTIONS: Final = 64
MERCHANTS: Final = 8
ETC_RSA: Final = "etc_rsa"
NONCE: Final = "593BEC0C930BF1AFEB40B4A08C8FB242"
_FORM: Final = {"content-type": "application/x-www-form-urlencoded;charset=utf-8"}
_JSON: Final = {"content-type": "application/json"}
_SECONDS_AHEAD: Final = 60
"""Notices are signed before the clock runs; ETC's are stale after 300 seconds."""


def _alipay_notices(payments: Filled, settings: Settings) -> list[bytes]:
    config = alipay_demo.config(read_files(sandbox_keys_dir(settings) / "alipay"))
    app = config.apps[alipay_demo.APP_ID]
    apps_of = {leave.merchant_no: leave.auth_app_id for leave in config.leaves.values()}
    at = datetime.now(CHINA)
    made = []
    for payment_id, merchant_no in payments:
        number, told, amount = payment_number(0, payment_id), f"{at:%Y-%m-%d %H:%M:%S}", yuan(AMOUNT_FEN)
        fields = {
            "notify_time": told, "notify_type": "trade_status_sync", "notify_id": f"{payment_id.int % 10**32:032d}",
            "app_id": app.app_id, "auth_app_id": apps_of[merchant_no], "trade_no": f"{payment_id.int % 10**28:028d}",
            "out_trade_no": number, "buyer_id": "2088102146225135", "buyer_logon_id": "139****0001", "seller_id": merchant_no,
            "trade_status": "TRADE_SUCCESS", "total_amount": amount, "subject": "停车费", "gmt_create": told, "gmt_payment": told,
            "receipt_amount": amount, "invoice_amount": amount, "buyer_pay_amount": amount, "point_amount": "0.00",
            "fund_bill_list": f'[{{"amount":"{amount}","fundChannel":"ALIPAYACCOUNT"}}]',
        }  # fmt: skip
        made.append(request("alipay", _FORM, alipay.notice_body(fields, app=app, signer=config.signers[0])))
    return made


def _unionpay_notices(payments: Filled, settings: Settings) -> list[bytes]:
    signer = unionpay_demo.config(read_files(sandbox_keys_dir(settings) / "unionpay")).signers[0].signer()
    at = datetime.now(CHINA)
    made = []
    for payment_id, merchant_no in payments:
        fields = {
            "bizType": "000201", "txnTime": f"{at:%Y%m%d%H%M%S}", "txnType": "01", "txnSubType": "01", "accessType": "1",
            "acqInsCode": unionpay_demo.INSTITUTION_NO, "merId": merchant_no, "orderId": payment_number(0, payment_id),
            "txnAmt": str(AMOUNT_FEN), "currencyCode": "156", "queryId": f"{payment_id.int % 10**21:021d}", "respCode": "00",
            "respMsg": "成功[0000000]", "settleAmt": str(AMOUNT_FEN), "settleCurrencyCode": "156", "settleDate": f"{at:%m%d}",
            "traceNo": f"{payment_id.int % 10**6:06d}", "traceTime": f"{at:%m%d%H%M%S}", "accNo": "6216***********0018",
            "payCardType": "01", "payType": "0001",
        }  # fmt: skip
        made.append(request("unionpay", _FORM, unionpay.notice_body(signer.sealed(fields))))
    return made


def _etc_notices(payments: Filled, settings: Settings) -> list[bytes]:
    config = etc_demo.config(read_files(sandbox_keys_dir(settings) / "etc"), notify_url="")
    algorithm = connect(settings).find("etc").keys.own(None).algorithm
    key = next(key for key in config.keys if key.algorithm == algorithm)
    made, at = [], datetime.now(UTC) + timedelta(seconds=_SECONDS_AHEAD)
    for payment_id, merchant_no in payments:
        body = {
            "orderId": payment_number(0, payment_id), "merchantNo": merchant_no, "fee": AMOUNT_FEN, "state": "PAID",
            "payTime": datetime.now(CHINA).isoformat(timespec="seconds"), "issuerId": "320101",
            "channelSerial": f"E{payment_id.int % 10**13:013d}",
        }  # fmt: skip
        head = envelope.head_for(
            Service.PLATE_PAY_NOTIFY, msg_id=f"{payment_id.int % 10**20:020d}", sender=config.party, receiver=config.provider,
            key=key, now=at,
        )  # fmt: skip
        made.append(request("etc", _JSON, envelope.seal(body, head=head, key=key)))
    return made


def _on_every_core(make: Callable[[Filled, Settings], list[bytes]]) -> Callable[[Filled, Settings], list[bytes]]:
    def signed(payments: Filled, settings: Settings) -> list[bytes]:
        workers = os.cpu_count() or 1
        with ProcessPoolExecutor(workers) as pool:
            done = [pool.submit(make, payments[n::workers], settings) for n in range(workers)]
            return [one for part in done for one in part.result()]

    return signed


def _wire(channel: str, way: Way, make: Callable[[Filled, Settings], list[bytes]]) -> Wire:
    return Wire(
        channel=channel,
        way=way.value,
        merchants=tuple(demo.platform_merchants(channel)[:MERCHANTS]),
        provider_no=lambda settings: connect(settings).find(channel).channel.provider_no,
        signed=_on_every_core(make),
    )


WIRES: Final[Mapping[str, Wire]] = {
    "wechat": WECHAT,
    "alipay": _wire("alipay", Way.IN_WALLET, _alipay_notices),
    "unionpay": _wire("unionpay", Way.BROWSER, _unionpay_notices),
    "etc": _wire("etc", Way.DEDUCTION, _etc_notices),
    ETC_RSA: _wire("etc", Way.DEDUCTION, _etc_notices),
}
"""By the name under which it is noted."""


def _with_rsa(home: Path) -> Settings:
    """Make the keys of an installation that signs to ETC's clearing party with RSA; the clearing party has a key of either kind."""
    settings = load({"TONGTING_HOME": str(home)})
    make_missing(settings)
    own = settings.keys_dir / "etc" / "own"
    (own / f"{etc_demo.OUR_KEY}.sm2").unlink()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    content = rsa.generate_private_key(65537, 2048).private_bytes(pem, pkcs8, serialization.NoEncryption())
    (own / f"{etc_demo.OUR_KEY}.pem").write_bytes(content)
    return settings


def measure_notices(url: str, home: Path, rsa_home: Path, notes: Notebook, *, rounds: int, notices: int) -> None:
    """Note ``channels.notice.NAME``: notices per second end to end over 64 connections, p99, and the ratio to WeChat's."""
    _with_rsa(rsa_home)
    with callbacks.opened(url, home) as usual, callbacks.opened(url, rsa_home) as with_rsa:
        serving: dict[str, Bench] = dict.fromkeys(WIRES, usual) | {ETC_RSA: with_rsa}
        for name, wire in WIRES.items():
            serving[name].round(connections=CONNECTIONS, notices=min(notices, 500), wire=wire)  # warm up
        for number in range(rounds):
            rates: dict[str, float] = {}
            for name in list(WIRES)[:: 1 if number % 2 == 0 else -1]:
                rates[name] = _round(serving[name], name, notes, notices=notices)
            for name, rate in rates.items():
                notes.write(f"channels.notice.{name}.to_wechat", rate / rates["wechat"], unit="ratio")


def _round(service: Bench, name: str, notes: Notebook, *, notices: int) -> float:
    """Note one round of a channel's notices and return its rate."""
    wire = WIRES[name]
    before = service.paid(wire.channel)
    run = service.round(connections=CONNECTIONS, notices=notices, wire=wire)
    assert run.positive == notices, f"a genuine notice of {name} was not acknowledged"
    assert service.paid(wire.channel) - before == notices, f"a genuine notice of {name} was not booked"
    notes.write(f"channels.notice.{name}", run.rate, unit="notices/s")
    notes.write(f"channels.notice.{name}.p99_ms", run.p99_ms, unit="ms")
    return run.rate


# Building a call


def _order(name: str, way: Way, number: int, at: datetime) -> PrepayOrder:
    payers = {"wechat": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "alipay": "2088102146225135"}
    return PrepayOrder(
        order_no=f"P{number:027d}",
        merchant_no=WECHAT.merchants[0] if name == "wechat" else demo.platform_merchants(name)[0],
        description="停车费 中心广场地下停车场",
        amount_fen=AMOUNT_FEN,
        created_at=at,
        expires_at=at + timedelta(minutes=15),
        way=way,
        payer_id="6200000000000000001" if way is Way.SCANNED else payers.get(name),
        payer_ip="192.0.2.7",
        return_url="https://pay.example/r/1",
    )


def _deduction(number: int, at: datetime, merchant_no: str) -> Deduction:
    return Deduction(
        order_no=f"P{number:027d}",
        merchant_no=merchant_no,
        plate="苏BD12345",
        plate_color="green",
        amount_fen=AMOUNT_FEN,
        description="停车费",
        entered_at=at - timedelta(hours=2),
        left_at=at,
        minutes=120,
        lot_no="3202010001",
        lot_name="中心广场地下停车场",
        created_at=at,
    )


def _builds(connected: Connected) -> dict[str, Callable[[int], Any]]:
    """Return what builds and signs a payment of a channel, by way; each number is another order."""
    channel, at = connected.channel, datetime.now(UTC)
    given = {"keys": connected.keys, "now": at, "nonce": NONCE}
    if channel.ways:
        return {
            way.value: lambda number, way=way: channel.build_prepay(_order(channel.name, way, number, at), **given)  # type: ignore[misc]
            for way in sorted(channel.ways)
        }
    merchant_no = demo.platform_merchants(channel.name)[0]
    return {Way.DEDUCTION.value: lambda number: channel.build_deduct(_deduction(number, at, merchant_no), **given)}


@cache
def _order_cost_us(calls: int) -> float:
    """Return what making the order itself takes, in microseconds, so that it can be seen beside the figures."""
    return _microseconds(lambda number: _order("alipay", Way.CODE, number, datetime.now(UTC)), calls)


def _microseconds(build: Callable[[int], Any], calls: int) -> float:
    begin = time.perf_counter()
    for number in range(calls):
        build(number)
    return (time.perf_counter() - begin) / calls * 1e6


def measure_builds(home: Path, rsa_home: Path, notes: Notebook, *, rounds: int, calls: int) -> None:
    """Note ``channels.build.NAME.WAY``: microseconds of building and signing one payment; each round goes over all of them."""
    settings = load({"TONGTING_HOME": str(home)})
    make_missing(settings)
    connected = {one.channel.name: one for one in connect(settings)} | {ETC_RSA: connect(_with_rsa(rsa_home)).find("etc")}
    builds = {f"{name}.{way}": build for name, one in connected.items() for way, build in _builds(one).items()}
    for build in builds.values():
        _microseconds(build, 20)
    for _ in range(rounds):
        for name, build in builds.items():
            notes.write(f"channels.build.{name}", _microseconds(build, calls), unit="us")
    notes.write("channels.build.order_alone", _order_cost_us(calls), unit="us")


def measure(on: Ground, notes: Notebook, *, rounds: int, url: str) -> None:
    """Measure both on a prepared database; ``--quick`` is one round."""
    quick = rounds == 1
    measure_builds(on.folder("builds"), on.folder("builds_rsa"), notes, rounds=rounds, calls=100 if quick else 1_000)
    measure_notices(url, on.folder("channels"), on.folder("channels_rsa"), notes, rounds=rounds, notices=500 if quick else 4_000)
