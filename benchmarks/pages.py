"""What a driver waits for: from the scan to the page, and from the tapped button to the hand-off to the wallet. 64 phones at once.

Knows the demo city, the product's processes and the load generator. Called by ``make bench`` (``ONLY=pages``).

Each figure is a ratio to a bare Litestar endpoint that is served the same way and asked in the same round. Every charge is paid
once: a round takes charges of its own.
"""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Final
from urllib.parse import quote, urlencode
from uuid import UUID

from msgspec import Struct

from app import demo
from app.database import prepare
from app.keys import make_missing
from app.pages import seals
from app.run import name_merchants
from app.wiring import Wiring, build, origin
from benchmarks.figures import Notebook
from benchmarks.ground import Ground
from benchmarks.load import written
from config.settings import Settings, as_environment, load
from ledger.books import open_lane
from ledger.money import yuan
from payments import charges, lots, paycode
from payments.lots import Lot
from payments.records import Posted

PHONES: Final = 64
LOOKS: Final = 6_000
"""Pages asked for in a round, of each kind that changes nothing."""
PAYS: Final = 1_500
"""Charges paid in a round over each channel."""
CHANNELS: Final = ("alipay", "wechat")
"""Alipay's form is signed here; WeChat is asked first, at its stand-in."""
LOT: Final = "LX-0001"
MINUTES: Final = 90
PRICE: Final = yuan(demo.charge(LOT, serial="", plate="", minutes=MINUTES, left_at=datetime.now(UTC)).amount_fen)
"""What each stay costs, as the page says it and the form repeats it."""
DATABASE: Final = "pages"
_BATCH: Final = 1_000
_HEAD: Final = "host: x\r\naccept: text/html\r\naccept-encoding: gzip\r\nx-forwarded-for: 203.0.113.7\r\n"


class Figures(Struct):
    """What one round measured."""

    rate: float
    p50_ms: float
    p99_ms: float


def measure(on: Ground, notes: Notebook, *, rounds: int) -> None:
    """Note ``pages.scan``, ``pages.due``, ``pages.pay.CHANNEL`` and ``pages.hand_off.CHANNEL`` beside ``pages.bare``."""
    with _city(on) as (wiring, lot, bare_port):
        folder, port = on.folder("pages-requests"), wiring.settings.web_port
        code = f"/p/{paycode.token(lot.lot_id, keys=wiring.pay_codes)}"
        looked_at = _owe(wiring, lot, LOOKS, series="L")
        for number in range(rounds):
            bare = _asked(bare_port, folder, [_get("/")] * LOOKS)
            notes.write("pages.bare", bare.rate, unit="1/s")
            notes.write("pages.bare.p99_ms", bare.p99_ms, unit="ms")
            _note(notes, "scan", _asked(port, folder, [_get(code)] * LOOKS), bare)
            dues = [_post(f"{code}/due", province=plate[0], rest=plate[1:]) for _, plate in looked_at]
            _note(notes, "due", _asked(port, folder, dues), bare)
            for channel in CHANNELS:
                due = _owe(wiring, lot, PAYS, series=f"{channel[0].upper()}{number}")
                tokens = [wiring.link_tokens.new(f"bench {channel} {number} {place}") for place in range(PAYS)]
                taps = [
                    _post(
                        f"{code}/pay",
                        charge=seals.of(wiring, lot.lot_id, str(charge_id)),
                        order=token,
                        channel=channel,
                        shown=PRICE,
                    )
                    for (charge_id, _), token in zip(due, tokens, strict=True)
                ]
                _note(notes, f"pay.{channel}", _asked(port, folder, taps), bare)
                opened = [_get(f"/r/{token}/pay?via={channel}") for token in tokens]
                _note(notes, f"hand_off.{channel}", _asked(port, folder, opened), bare)


def _note(notes: Notebook, name: str, ours: Figures, bare: Figures) -> None:
    notes.write(f"pages.{name}", ours.rate, unit="1/s", baseline=bare.rate)
    notes.write(f"pages.{name}.p50_ms", ours.p50_ms, unit="ms", baseline=bare.p50_ms)
    notes.write(f"pages.{name}.p99_ms", ours.p99_ms, unit="ms", baseline=bare.p99_ms)


@contextmanager
def _city(on: Ground) -> Iterator[tuple[Wiring, Lot, int]]:
    """Serve the demo city with its pages and the channels' stand-ins, and the bare endpoint on the port that is given."""
    web, stand_in, bare = _free_ports(3)
    home, url = on.folder("pages-home"), on.server.url(DATABASE)
    prepare(url, today=datetime.now(UTC).date())
    given = {"home": home, "database_url": url, "web_port": web, "sandbox_port": stand_in, "public_url": f"http://127.0.0.1:{web}"}
    settings = load({f"TONGTING_{name.upper()}": str(value) for name, value in given.items()})
    make_missing(settings)
    wiring = build(settings)
    with wiring.db.begin() as tx:
        open_lane(tx, lane=wiring.lane, origin=origin(settings))
        demo.fill(tx, lane=wiring.lane, providers=wiring.providers(), at=wiring.clock.now(), ids=wiring.ids)
        lot = lots.lot_by_code(tx, code=LOT)
    with ExitStack() as ending:
        ending.callback(wiring.close)
        served = ((["app.cli", "sandbox"], stand_in), (["app.cli", "web"], web), (["benchmarks.bare", str(bare)], bare))
        for command, port in served:
            ending.enter_context(_process(command, port, settings, home / f"{command[0]}-{port}.log"))
        name_merchants(wiring)
        yield wiring, lot, bare


@contextmanager
def _process(command: Sequence[str], port: int, settings: Settings, log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], env=os.environ | as_environment(settings), stdout=out, stderr=out
        )  # fmt: skip
    try:
        for _ in range(600):
            if _answers(port):
                break
            sleep(0.1)
        else:
            raise RuntimeError(f"{command[0]} did not come up:\n{log.read_text()}")
        yield
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _owe(wiring: Wiring, lot: Lot, count: int, *, series: str) -> list[tuple[UUID, str]]:
    """Post a charge for each of so many plates; returns charges and plates."""
    at = wiring.clock.now()
    plates = [f"苏{_letters(series)}{number:05d}" for number in range(count)]
    left_at = at - timedelta(minutes=1)
    new = [demo.charge(lot.code, serial=f"{series}-{plate}", plate=plate, minutes=MINUTES, left_at=left_at) for plate in plates]
    posted: list[Posted] = []
    for start in range(0, count, _BATCH):
        with wiring.db.begin() as tx:
            posted += charges.post(tx, lane=wiring.lane, lot=lot, charges=new[start : start + _BATCH], at=at, ids=wiring.ids)
    found = [(one.charge_id, plate) for one, plate in zip(posted, plates, strict=True) if one.charge_id is not None]
    assert len(found) == count, "not every charge was taken"
    return found


def _letters(series: str) -> str:
    """Return the city's letter of a series' plates."""
    return "BCDEFGHJKLMNPQRSTUVWXYZ"[sum(series.encode()) % 23]


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\n{_HEAD}\r\n".encode()


def _post(path: str, **form: str) -> bytes:
    body = urlencode(form, quote_via=quote).encode()
    length = f"content-type: application/x-www-form-urlencoded\r\ncontent-length: {len(body)}\r\n"
    head = f"POST {path} HTTP/1.1\r\n{_HEAD}{length}\r\n"
    return head.encode() + body


def _asked(port: int, folder: Path, requests: list[bytes]) -> Figures:
    path = folder / "requests.bin"
    written(path, requests)
    run = [sys.executable, "-m", "benchmarks.load", str(port), str(PHONES), str(path)]
    told = json.loads(subprocess.run(run, check=True, capture_output=True).stdout)
    assert told["positive"] == told["answered"] == len(requests), told
    return Figures(told["rate"], told["p50_ms"], told["p99_ms"])
