"""How many stays one core prices: the engine alone, with its look ahead, and quotes of a batch with the database.

Knows the engine and the quotes. Called by hand: ``python -m benchmarks.tariffs``; its figures stand in docs/TARIFFS.md.
"""

import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from app.database import prepare
from app.embedded import EmbeddedPostgres
from config.tariffs import FOLDER
from ledger.clock import CHINA
from ledger.db import engine
from payments.lots import NewLot, NewOperator, register_lots, register_operators
from payments.plates import PlateColor
from payments.tariffs import files, registry
from payments.tariffs.priced import Stay
from payments.tariffs.pricing import price
from payments.tariffs.quotes import AskedStay, quote_many
from payments.tariffs.tariff import Tariff

STAYS: Final = 10_000
ROUNDS: Final = 5
PLACE: Final = {"zone": "core", "road": "main", "section": "ordinary"}
_BEGIN: Final = datetime(2026, 3, 2, 7, tzinfo=CHINA)


def stays(count: int) -> list[Stay]:
    """Return stays as roads see them: 20 minutes to 6 hours, beginning at any time of the day, one in ten large."""
    chance = random.Random(1)
    colors: list[PlateColor] = ["blue", "blue", "blue", "blue", "blue", "blue", "blue", "green", "green", "yellow"]
    found: list[Stay] = []
    for _ in range(count):
        entered_at = _BEGIN + timedelta(minutes=chance.randrange(13 * 60))
        left_at = entered_at + timedelta(minutes=chance.randrange(20, 360))
        found.append(Stay(entered_at=entered_at, left_at=left_at, plate_color=chance.choice(colors)))
    return found


def rate(work: Callable[[], object]) -> float:
    """Return stays per second: the median of some rounds over ``STAYS`` stays."""
    seconds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return STAYS / sorted(seconds)[ROUNDS // 2]


def engine_rates(tariff: Tariff) -> dict[str, float]:
    """Return what the pure engine does, without and with the moment of the next change; and with stays of thirty days."""
    typical = stays(STAYS)
    month = [Stay(entered_at=stay.entered_at, left_at=stay.entered_at + timedelta(days=30)) for stay in typical[: STAYS // 50]]
    return {
        "engine, typical stay": rate(lambda: [price(tariff, stay, selectors=PLACE) for stay in typical]),
        "engine, with the next change": rate(lambda: [price(tariff, stay, selectors=PLACE, looks_ahead=True) for stay in typical]),
        "engine, stay of 30 days": rate(lambda: [price(tariff, stay, selectors=PLACE) for stay in month]) / 50,
    }


def batch_rate(url: str) -> float:
    """Return what batches of 1,000 quotes do over 100 lots, the database included."""
    at = datetime(2026, 3, 2, 4, tzinfo=UTC)
    opened = engine(url)
    with opened.begin() as tx:
        tx.exec_driver_sql("insert into ledger.lane (lane, origin) values (0, 'bench.invalid/lane/0') on conflict do nothing")
        operator = NewOperator("op-1", "示例停车有限公司", "91320200MA1000001X", "梁溪区", "government")
        register_operators(tx, operators=[operator], at=at)
        new = [NewLot(f"lot-{n}", "op-1", "示例路", "梁溪区", "示例路1号", 20, "on_street", "见公示") for n in range(100)]
        lots = register_lots(tx, lots=new, at=at)
        for name in ("wuxi-road-2022", "wuxi-road-2023"):
            registry.add(tx, file=files.read((FOLDER / f"{name}.toml").read_bytes()), at=at)
        for lot in lots:
            begin = datetime(2025, 1, 1, tzinfo=CHINA)
            registry.assign(tx, lot=lot, tariff_code="wuxi-road", selectors=PLACE, valid_from=begin, document="list", at=at)
    asked = [
        AskedStay(
            lot_id=lots[n % len(lots)].lot_id, plate_color=stay.plate_color, entered_at=stay.entered_at, left_at=stay.left_at,
            plate=f"苏B{n:05d}",
        )
        for n, stay in enumerate(stays(STAYS))
    ]  # fmt: skip
    with opened.connect() as tx:
        found = rate(lambda: [quote_many(tx, lane=0, stays=asked[begin : begin + 1_000]) for begin in range(0, STAYS, 1_000)])
    opened.dispose()
    return found


def main() -> None:
    """Print the figures, one a line."""
    tariff = files.read((FOLDER / "wuxi-road-2023.toml").read_bytes())
    assert isinstance(tariff, Tariff)
    for name, figure in engine_rates(tariff).items():
        print(f"{name:<32} {figure:>10,.0f} a second", flush=True)
    with tempfile.TemporaryDirectory(prefix="tongting-bench-") as home:
        Path(home).chmod(0o755)
        server = EmbeddedPostgres(Path(home))
        server.start()
        try:
            prepare(server.url("bench"), today=datetime.now(UTC).date())
            print(f"{'batches of 1,000, with database':<32} {batch_rate(server.url('bench')):>10,.0f} a second")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
