"""How fast lots' records come in: ten thousand a call, beside COPY of the same rows into the same tables.

Knows the intake of stays and charges and the tables they fill. Called by ``make bench`` (``make bench ONLY=intake``).

Both sides are one transaction per ten thousand rows over one connection with fsync on. COPY gets rows that are ready: plates with
their keys, ids, checked times. The intake gets the bytes of a request: it decodes, checks, finds plates and overlaps, and answers.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import Connection, Engine, text

from app.database import prepare
from benchmarks.figures import Notebook
from benchmarks.ground import Ground
from ledger.books import open_lane
from ledger.db import engine, raw
from ledger.ids import RandomIds
from payments import charges
from payments.lot_records import stays
from payments.lot_records.stays import NewStay
from payments.lots import Lot, NewLot, NewOperator, register_lots, register_operators
from payments.records import NewCharge

DATABASE: Final = "intake"
ROWS: Final = 10_000
PLATES: Final = 6_000
"""Plates of a round; half of them were there before."""
_IDS: Final = RandomIds()
_stays: Final = msgspec.json.Decoder(list[NewStay])
_charges: Final = msgspec.json.Decoder(list[NewCharge])
_encode: Final = msgspec.json.Encoder().encode


def measure(on: Ground, notes: Notebook, *, rounds: int) -> None:
    """Note ``intake.stays`` and ``intake.charges``: rows per second, as ratios to COPY of the same rows."""
    prepare(on.server.url(DATABASE), today=datetime.now(UTC).date())
    db = engine(on.server.url(DATABASE))
    with db.begin() as tx:
        open_lane(tx, lane=0, origin="bench.invalid/lane/0")
    lots = _lots(db)
    _measure(db, notes, "stays", stay_body, post_stays, _STAYS, lots, rounds)
    _measure(db, notes, "charges", charge_body, post_charges, _CHARGES, lots, rounds)
    db.dispose()


def _lots(db: Engine) -> list[Lot]:
    """Return two lots: one is posted to, one is copied into."""
    at = datetime.now(UTC)
    with db.begin() as tx:
        register_operators(
            tx, operators=[NewOperator("intake", "量测示例停车有限公司", "91320200MA1INTAKE1", "梁溪区", "social")], at=at
        )  # fmt: skip
        return register_lots(
            tx,
            lots=[
                NewLot(f"intake-{n}", "intake", "量测示例停车场", "梁溪区", "示例路1号", 100, "gate", "每小时6元") for n in (1, 2)
            ],
            at=at,
        )  # fmt: skip


Post = Callable[[Connection, Lot, bytes], None]
Tables = tuple[tuple[str, str, str], ...]
"""What COPY fills: table, columns, and the query that gives the rows of the round for another lot."""


def _measure(
    db: Engine, notes: Notebook, name: str, bodies: Callable[[int, datetime], bytes], ours: Post, tables: Tables,
    lots: list[Lot], rounds: int,
) -> None:  # fmt: skip
    """Post a round to one lot, copy the same rows to the other, in turns."""
    start = datetime.now(UTC) - timedelta(days=300)
    for number in range(rounds + 1):
        body = bodies(number, start + timedelta(days=number))
        known = _last_plate(db)
        seconds = _timed(db, lambda tx, body=body: ours(tx, lots[0], body))  # type: ignore[misc]
        ready = _copied_out(db, tables, number, known, lots)
        copy_seconds = _timed(db, lambda tx, ready=ready: _copy(tx, ready))  # type: ignore[misc]
        if number == 0:
            continue  # connections and statements are warm from now on
        notes.write(f"intake.{name}", ROWS / seconds, unit="rows/s", baseline=ROWS / copy_seconds)
        notes.write(f"intake.{name}.copy", ROWS / copy_seconds, unit="rows/s")


def _timed(db: Engine, act: Callable[[Connection], None]) -> float:
    with db.connect() as tx:
        tx.begin()
        start = time.perf_counter()
        act(tx)
        tx.commit()
        return time.perf_counter() - start


def _last_plate(db: Engine) -> int:
    with db.connect() as tx:
        return int(tx.execute(text("select coalesce(max(plate_id), 0) from payments.plate")).scalar_one())


def _copied_out(db: Engine, tables: Tables, number: int, known: int, lots: list[Lot]) -> list[tuple[str, bytes]]:
    """Return for each table the COPY that fills it, with its bytes ready, in binary form."""
    words = {
        "round": f"{number:04d}-",
        "known": known,
        "from": lots[0].lot_id,
        "to": lots[1].lot_id,
        "rows": ROWS,
        "number": number,
    }
    ready = []
    with db.connect() as tx:
        for table, columns, query in tables:
            with raw(tx).cursor().copy(f"copy ({query.format(**words)}) to stdout (format binary)".encode()) as out:
                ready.append((f"copy {table} ({columns}) from stdin (format binary)", b"".join(bytes(part) for part in out)))
    return ready


def _copy(tx: Connection, ready: list[tuple[str, bytes]]) -> None:
    for command, body in ready:
        with raw(tx).cursor().copy(command.encode()) as into:
            into.write(body)


def _plate(number: int, n: int, province: str) -> str:
    place = number * PLATES // 2 + n % PLATES
    return f"{province}{'ABCDEFGHJK'[place // 100_000]}{place % 100_000:05d}"


def stay_body(number: int, at: datetime) -> bytes:
    """Return the bytes of a call with a round of completed stays."""
    times = [(at + timedelta(hours=3 * (n // PLATES), seconds=n % PLATES)) for n in range(ROWS)]
    return _encode([
        {
            "serial": f"{number:04d}-{n:06d}", "number": number * ROWS + n + 1, "plate": _plate(number, n, "苏"),
            "plate_color": "blue", "entered_at": times[n], "left_at": times[n] + timedelta(hours=1),
            "lane_in": f"A{n % 4}", "lane_out": f"B{n % 4}",
        }
        for n in range(ROWS)
    ])  # fmt: skip


def post_stays(tx: Connection, lot: Lot, body: bytes) -> None:
    """Take the bytes of a call, and make the bytes of its answer."""
    answers = stays.post(tx, lane=0, lot=lot, stays=_stays.decode(body), at=datetime.now(UTC), ids=_IDS)
    assert all(answer.outcome == "created" for answer in answers)
    _encode(answers)


def charge_body(number: int, at: datetime) -> bytes:
    """Return the bytes of a call with a round of charges."""
    return _encode([
        {
            "lot_serial": f"{number:04d}-{n:06d}", "plate": _plate(number, n, "浙"), "plate_color": "blue", "entered_at": at,
            "left_at": at + timedelta(hours=1), "minutes": 60, "amount_fen": 600 + n % 50, "tariff_text": "每小时6元, 60分钟",
            "number": number * ROWS + n + 1,
        }
        for n in range(ROWS)
    ])  # fmt: skip


def post_charges(tx: Connection, lot: Lot, body: bytes) -> None:
    """Take the bytes of a call, which are kept as evidence, and make the bytes of its answer."""
    given = _charges.decode(body)
    answers = charges.post(tx, lane=0, lot=lot, charges=given, at=datetime.now(UTC), ids=_IDS, body=body)
    assert all(answer.outcome == "created" for answer in answers)
    _encode(answers)


_PLATE: Final = (
    "payments.plate", "number, color, salt",
    "select number, 'black'::text, salt from payments.plate where plate_id > {known} and color = 'blue' order by number",
)  # fmt: skip
_STAYS: Final = (
    _PLATE,
    (
        "payments.stay",
        ("stay_id, entered_at, left_at, created_at, completed_at, plate_id, operator_id, lot_id, lane, state, scene, lot_serial, "
        "lane_in, lane_out"),
        ("select uuidv7(), entered_at, left_at, created_at, completed_at, plate_id, operator_id, {to}::integer, lane, state, "
        "scene, lot_serial, lane_in, lane_out from payments.stay "
         "where lot_id = {from} and lot_serial like '{round}%' order by stay_id"),
    ),
    (
        "payments.lot_record_number", "subject, number, heard_at, lot_id, series",
        ("select subject, number, heard_at, {to}::integer, series from payments.lot_record_number "
        "where lot_id = {from} and series = 'stay' and number > {number} * {rows} order by number"),
    ),
)  # fmt: skip
_CHARGES: Final = (
    _PLATE,
    (
        "payments.charge",
        ("charge_id, lane, operator_id, lot_id, lot_serial, content_digest, plate_id, scene, entered_at, left_at, minutes, "
        "amount_fen, tariff_text, state, created_at"),
        ("select uuidv7(), lane, operator_id, {to}::integer, lot_serial, content_digest, plate_id, scene, entered_at, left_at, "
        "minutes, amount_fen, tariff_text, state, created_at from payments.charge "
        "where lot_id = {from} and lot_serial like '{round}%' order by charge_id"),
    ),
    (
        "payments.lot_record_number", "subject, number, heard_at, lot_id, series",
        ("select subject, number, heard_at, {to}::integer, series from payments.lot_record_number "
        "where lot_id = {from} and series = 'charge' and number > {number} * {rows} order by number"),
    ),
)  # fmt: skip
