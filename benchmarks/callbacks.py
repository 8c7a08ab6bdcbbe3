"""Measure callbacks end to end: real ``tongting callbacks`` processes, genuine signed notices, a load generator in its own process.

Knows the product from outside and its tables for filling; must not change how the product runs. Called by ``benchmarks``.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import Struct
from sqlalchemy import Connection, Engine, text

from app.callbacks.serve import LISTENING, processes
from app.keys import SANDBOX_PUBLIC_KEY_ID, make_missing, sandbox_keys_dir
from app.wiring import LANE, origin
from benchmarks.load import written
from config.settings import Settings, as_environment, load
from gateways import routing
from gateways.sandbox.wechat.signing import PaidOrder, Signer, signed_callback
from ledger.books import open_lane
from ledger.db import engine
from ledger.ids import RandomIds, payment_number
from payments.lots import Lot, NewLot, NewOperator, register_lots, register_operators

AMOUNT_FEN: Final = 1200
LOTS: Final = 20
MERCHANT: Final = 1620000007
_IDS: Final = RandomIds()


Filled = list[tuple[UUID, str]]
"""Payments with their merchant numbers."""


class Wire(Struct, frozen=True, kw_only=True):
    """How one channel's notices are made. ``merchants`` are those that the notices may name, at most ``LOTS``."""

    channel: str
    way: str
    merchants: tuple[str, ...]
    provider_no: Callable[[Settings], str]
    signed: Callable[[Filled, Settings], list[bytes]]
    """Makes the bytes of one HTTP request for each payment."""


class Load(Struct, frozen=True, kw_only=True):
    """One run of the load generator. ``positive`` answers acknowledge a committed payment; memory is of the serving processes."""

    rate: float
    seconds: float
    p50_ms: float
    p99_ms: float
    answered: int
    positive: int
    rss_mb_start: float
    rss_mb_end: float


class Bench:
    """A served product on its own database. Make with ``opened``."""

    def __init__(self, settings: Settings, db: Engine, serving: list[subprocess.Popen[bytes]]) -> None:
        self._settings, self._db, self._serving = settings, db, serving
        self._lots = _city(db, settings)

    def round(self, *, connections: int, notices: int, wire: Wire | None = None) -> Load:
        """Answer ``notices`` fresh payments over ``connections`` connections; filling and signing are not measured.

        ``wire`` is the channel that tells of them; None: WeChat Pay.
        """
        chosen = WECHAT if wire is None else wire
        payments = self._filled(notices, chosen)
        path = self._settings.home / "requests.bin"
        written(path, chosen.signed(payments, self._settings))
        before = self.rss_mb()
        run = [sys.executable, "-m", "benchmarks.load", str(self._settings.callback_port), str(connections), str(path)]
        output = subprocess.run(run, check=True, capture_output=True).stdout
        path.unlink()
        return msgspec.convert(json.loads(output) | {"rss_mb_start": before, "rss_mb_end": self.rss_mb()}, type=Load)

    def rss_mb(self) -> float:
        """Resident memory of the largest serving process, from /proc; 0 where there is none."""
        return max(_rss_kb(process.pid) for process in self._serving) / 1000

    def paid(self, channel: str) -> int:
        """Return how many payments of a channel are booked as paid."""
        told = text("select count(*) from payments.payment where channel = :channel and state = 'succeeded'")
        with self._db.connect() as tx:
            return int(tx.execute(told, {"channel": channel}).scalar_one())

    def _filled(self, count: int, wire: Wire) -> Filled:
        """Make charges, orders and payments as the checkout leaves them; returns payment ids with their merchant numbers."""
        number = wire.provider_no(self._settings)
        with self._db.begin() as tx:
            return fill(tx, lots=self._lots, count=count, provider_no=number, wire=wire)


@contextmanager
def opened(url: str, home: Path) -> Iterator[Bench]:
    """Serve the product on the prepared database at ``url``, with keys and scratch files below ``home``, until the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = load({"TONGTING_HOME": str(home), "TONGTING_DATABASE_URL": url, "TONGTING_CALLBACK_PORT": str(port)})
    make_missing(settings)
    db = engine(url)
    environment = os.environ | as_environment(settings)
    command = [sys.executable, "-m", "app.cli", "callbacks"]
    with (home / "callbacks.log").open("wb") as log:
        several = range(processes(settings.callback_processes))
        serving = [subprocess.Popen(command, env=environment, stdout=log, stderr=log) for _ in several]
    try:
        _await_ready(serving, home / "callbacks.log")
        yield Bench(settings, db, serving)
    finally:
        for process in serving:
            process.terminate()
        for process in serving:
            process.wait(30)
        db.dispose()


def _await_ready(serving: list[subprocess.Popen[bytes]], log: Path) -> None:
    """Wait until every process has said that it listens."""
    for _ in range(300):
        if log.read_text().count(LISTENING) == len(serving):
            return
        if any(process.poll() is not None for process in serving):
            break
        time.sleep(0.1)
    raise RuntimeError(f"a serving process did not come up:\n{log.read_text()}")


def _rss_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def _city(db: Engine, settings: Settings) -> list[Lot]:
    at = datetime.now(UTC)
    with db.begin() as tx:
        open_lane(tx, lane=LANE, origin=origin(settings))
        operators = register_operators(
            tx,
            operators=[NewOperator(f"bench-{n}", f"示例{n}公司", f"91320200MA1{n:06d}X", "梁溪区", "social") for n in range(LOTS)],
            at=at,
        )
        for n, operator in enumerate(operators):
            account = routing.NewAccount(
                operator.operator_id, "wechat", str(MERCHANT + n), operator.legal_name, "benchmark", at - timedelta(days=1)
            )
            if routing.choose(tx, operator_id=operator.operator_id, channel="wechat", at=at) is None:
                routing.register(
                    tx, account=account, operator_name=operator.legal_name, provider_no=settings.wechat_provider_no, at=at
                )
        new = [NewLot(f"bench-{n}", f"bench-{n}", "示例", "梁溪区", "示例路", 9, "gate", "每小时6元") for n in range(LOTS)]
        return register_lots(tx, lots=new, at=at)


def fill(
    tx: Connection, *, lots: list[Lot], count: int, provider_no: str = "1900000001", wire: Wire | None = None
) -> Filled:  # fmt: skip
    """Insert ``count`` pending payments, each with its own charge and order, spread over ``lots`` (one merchant each)."""
    at, chosen = datetime.now(UTC), WECHAT if wire is None else wire
    lots = lots[: len(chosen.merchants)]
    ids = [(_IDS.new(at, "charge"), _IDS.new(at, "order"), _IDS.new(at, "payment")) for _ in range(count)]
    merchants = [chosen.merchants[n % len(lots)] for n in range(count)]
    parameters = {
        "charge": [one[0] for one in ids], "order": [one[1] for one in ids], "payment": [one[2] for one in ids],
        "lot": [lots[n % len(lots)].lot_id for n in range(count)], "merchant": merchants, "lane": LANE,
        "operator": [lots[n % len(lots)].operator_id for n in range(count)], "fen": AMOUNT_FEN, "at": at,
        "until": at + timedelta(minutes=15), "query": at + timedelta(hours=1), "provider": provider_no,
        "channel": chosen.channel, "way": chosen.way,
    }  # fmt: skip
    for statement in _FILL:
        tx.execute(text(statement), parameters)
    return [(one[2], merchant) for one, merchant in zip(ids, merchants, strict=True)]


_GIVEN: Final = """
    unnest(cast(:charge as uuid[]), cast(:order as uuid[]), cast(:payment as uuid[]), cast(:lot as integer[]),
           cast(:operator as integer[]), cast(:merchant as text[]))
        as n (charge_id, order_id, payment_id, lot_id, operator_id, merchant)
"""
_FILL: Final = (
    "insert into payments.plate (number, color, salt) values ('苏B00000', 'blue', '') on conflict do nothing",
    f"""
    insert into payments.charge (charge_id, lane, operator_id, lot_id, lot_serial, content_digest, plate_id, scene, entered_at,
                                 minutes, amount_fen, tariff_text, state, created_at)
    select n.charge_id, :lane, n.operator_id, n.lot_id, n.charge_id::text, '', p.plate_id, 'gate', :at, 60, :fen, '', 'open', :at
    from {_GIVEN}, (select plate_id from payments.plate where number = '苏B00000') p
    """,
    f"""
    insert into payments.pay_order (order_id, lane, charge_id, lot_id, amount_fen, token_digest, expires_at, created_at)
    select n.order_id, :lane, n.charge_id, n.lot_id, :fen, sha256(uuid_send(n.order_id)), :until, :at from {_GIVEN}
    """,
    f"""
    insert into payments.payment (payment_id, order_id, charge_id, lane, operator_id, book_id, route_id, channel, provider_no,
                                  merchant_no, amount_fen, state, payer_digest, created_at, expires_at, way)
    select n.payment_id, n.order_id, n.charge_id, :lane, n.operator_id, o.book_id, 1, :channel, :provider, n.merchant, :fen,
           'pending', '', :at, :until, :way
    from {_GIVEN} join payments.operator o on o.operator_id = n.operator_id
    """,
    f"insert into payments.next_query (payment_id, lane, due_at) select n.payment_id, :lane, :query from {_GIVEN}",
)


def signed(payments: Filled, settings: Settings) -> list[bytes]:
    """Return a genuine notice for each payment as the bytes of its HTTP request; signing uses every core."""
    workers = os.cpu_count() or 1
    parts = [payments[n::workers] for n in range(workers)]
    key = sandbox_keys_dir(settings) / f"{SANDBOX_PUBLIC_KEY_ID}.pem"
    api_key = (settings.keys_dir / "wechat" / "apiv3.key").read_bytes().strip()
    with ProcessPoolExecutor(workers) as pool:
        done = [pool.submit(_sign_all, part, key.read_bytes(), api_key, settings.wechat_provider_no) for part in parts]
        return [request for part in done for request in part.result()]


def _sign_all(payments: list[tuple[UUID, str]], key: bytes, api_key: bytes, provider_no: str) -> list[bytes]:
    private = serialization.load_pem_private_key(key, password=None)
    assert isinstance(private, rsa.RSAPrivateKey)
    signer, at = Signer(serial=SANDBOX_PUBLIC_KEY_ID, key=private), datetime.now(UTC) + timedelta(seconds=60)
    return [_request(payment_id, merchant, signer, api_key, provider_no, at) for payment_id, merchant in payments]


def _request(payment_id: UUID, merchant: str, signer: Signer, api_key: bytes, provider_no: str, at: datetime) -> bytes:
    paid = PaidOrder(
        order_no=payment_number(LANE, payment_id),
        trade_no=f"42{payment_id.int % 10**26:026d}",
        provider_no=provider_no,
        merchant_no=merchant,
        amount_fen=AMOUNT_FEN,
        paid_at=at,
    )
    headers, body = signed_callback(signer, paid, api_key=api_key, at=at)
    return request("wechat", headers, body)


def request(channel: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the bytes of the HTTP request that brings a notice."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = [f"POST /callbacks/{channel} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


WECHAT: Final = Wire(
    channel="wechat",
    way="in_wallet",
    merchants=tuple(str(MERCHANT + n) for n in range(LOTS)),
    provider_no=lambda settings: settings.wechat_provider_no,
    signed=signed,
)
