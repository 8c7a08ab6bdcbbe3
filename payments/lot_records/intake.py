"""What every record of a lot must be: its serial, its number, its times, its plate; and the answer that each one gets.

Knows the forms of records; must not know tables of one kind of record, or HTTP. Called by stays, charges, takings and openings.

A lot's records are taken one call at a time (``hold``), so that what a call decides by reading stays true until it commits.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct
from sqlalchemy import Connection

from ledger.arrays import integer, texts
from ledger.clock import EPOCH
from ledger.errors import Refused
from ledger.volley import Shot, Statement, fire
from payments import plates
from payments.errors import PlateRefused
from payments.plates import PlateColor

RECORDS_MAX: Final = 10_000
"""Most records in one call."""
SERIAL_LETTERS_MAX: Final = 64
NAME_LETTERS_MAX: Final = 32
"""Names of lanes, berths and software."""
REMARK_LETTERS_MAX: Final = 500
NUMBER_MAX: Final = 10**15
STAY_DAYS_MAX: Final = 3 * 366
OLDEST: Final = timedelta(days=STAY_DAYS_MAX)
CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""How far a lot's clock may be ahead of ours."""
NO_TIME: Final = EPOCH
"""Stands for no time in an array of times, which the statements take out again: no record is so old."""

_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
_LOTS_RECORDS: Final = 7_019
"""Our number of the advisory locks of lots' records."""


class Rejected(Refused):
    """A record that cannot be taken; carries the name of the field."""

    def __init__(self, field: str, reason: str, detail: str) -> None:
        super().__init__(detail, code=reason)
        self.field = field


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What became of one record; answers stand in the order of the records.

    ``created``: it is kept now. ``completed``: it was there and has its end now. ``already``: it was posted before with the same
    content. ``refused``: ``reason`` is a stable word, ``field`` names what is wrong and ``detail`` says what to do.
    """

    serial: str
    outcome: Literal["created", "completed", "already", "refused"]
    reason: str | None = None
    field: str | None = None
    detail: str | None = None


def refused(serial: str, wrong: Rejected) -> Answer:
    """Return the answer to a record that is refused."""
    return Answer(serial=serial, outcome="refused", reason=wrong.code, field=wrong.field, detail=str(wrong))


def differs(serial: str, field: str) -> Rejected:
    """Return the refusal of a serial that came with other content."""
    return Rejected(
        field, "content_differs", f"serial {serial} was posted before with another {field}; another record needs another serial"
    )


def check_count(records: Sequence[object]) -> None:
    """Raise Refused (``too_many_records``) when one call brings more than ``RECORDS_MAX``."""
    if len(records) > RECORDS_MAX:
        raise Refused(f"at most {RECORDS_MAX} records fit into one call, not {len(records)}", code="too_many_records")


def check_name(serial: str, number: int | None) -> None:
    """Raise Rejected for a serial or number that cannot be."""
    if not 0 < len(serial) <= SERIAL_LETTERS_MAX or not serial.isprintable():
        raise Rejected("serial", "serial_invalid", f"a serial has 1 to {SERIAL_LETTERS_MAX} printable characters")
    if number is not None and not 0 < number <= NUMBER_MAX:
        raise Rejected("number", "number_invalid", f"numbers count 1, 2, 3 ... up to {NUMBER_MAX}")


def check_time(field: str, value: datetime, at: datetime) -> None:
    """Raise Rejected for a time without offset, in the future or older than three years."""
    if value.tzinfo is None:
        raise Rejected(field, "time_invalid", "a time needs its offset, such as +08:00")
    if value > at + CLOCK_TOLERANCE:
        raise Rejected(field, "time_in_future", "the time lies in the future; set its clock")
    if at - value > OLDEST:
        raise Rejected(field, "too_old", "the time is more than three years ago")


def check_words(field: str, value: str | None, letters_max: int) -> None:
    """Raise Rejected for words that are too long, empty, or hold what cannot be printed."""
    if value is not None and (not 0 < len(value) <= letters_max or not value.isprintable()):
        raise Rejected(field, "words_invalid", f"{field} has 1 to {letters_max} printable characters, or is left out")


def digest(field: str, value: str | None) -> bytes | None:
    """Return the bytes of a SHA-256 in hex. Raises Rejected (``digest_invalid``)."""
    if value is None:
        return None
    if _DIGEST.fullmatch(value) is None:
        raise Rejected(field, "digest_invalid", f"{field} is a SHA-256: 64 hexadecimal digits")
    return bytes.fromhex(value)


def plate(number: str, color: PlateColor) -> str:
    """Return a plate in the one form in which it is kept. Raises Rejected (``plate_invalid``)."""
    try:
        return plates.checked(number, color)
    except PlateRefused as wrong:
        raise Rejected("plate", "plate_invalid", str(wrong)) from None


# The lock and the plates.

_HOLD: Final = Statement("select pg_advisory_xact_lock(%(class)s::integer, %(lot)s::integer)")
_PLATES: Final = Statement(
    """
    with asked as materialized (
        select * from unnest(%(numbers)s::text[], %(colors)s::text[]) with ordinality as w (number, color, n)
    ), known as materialized (
        select a.n, p.plate_id from asked a join payments.plate p on p.number = a.number and p.color = a.color
    ), made as (
        insert into payments.plate (number, color, salt)
        select number, color, uuid_send(gen_random_uuid()) from asked
        where n not in (select n from known) order by number, color
        on conflict (number, color) do nothing
        returning plate_id, number, color
    )
    select n, plate_id, null, null from known
    union all
    select null, plate_id, number, color from made
    """
)


def holding(lot_id: int) -> Shot:
    """Return what waits until no other call brings records of the lot, and holds the lot's intake until the transaction ends."""
    return _HOLD.shot(**{"class": integer(_LOTS_RECORDS), "lot": integer(lot_id)})


def hold(tx: Connection, *, lot_id: int) -> None:
    """Send ``holding``. Taken before any other lock, one lot per transaction."""
    fire(tx, [holding(lot_id)])


def write(tx: Connection, shots: Sequence[Shot]) -> None:
    """Send what is to be written, if anything is."""
    if shots:
        fire(tx, shots)


Plates = dict[tuple[str, str], tuple[int, bool]]
"""The keys of plates by number and colour, and whether they are new."""


def plate_keys(tx: Connection, asked: Sequence[tuple[str, str]]) -> Plates:
    """Return the keys of plates (number, colour), without repeats, making those that are new.

    The salt of a new one is made by the server: 122 random bits.
    """
    keys = _plate_keys(tx, asked)
    if len(keys) < len(asked):  # somebody else made one at the same moment
        keys |= _plate_keys(tx, [one for one in asked if one not in keys])
    return keys


def _plate_keys(tx: Connection, asked: Sequence[tuple[str, str]]) -> Plates:
    if not asked:
        return {}
    [rows] = fire(tx, [_PLATES.shot(numbers=texts([one for one, _ in asked]), colors=texts([one for _, one in asked]))])
    return {(number, color) if n is None else asked[n - 1]: (plate_id, n is None) for n, plate_id, number, color in rows}
