"""Stays 停车记录: a car comes and goes, as the lots' systems post it, one by one at the gate or thousands at a time.

Knows plates, stays and lots' numbers; must not know charges, money or HTTP. Called by the API and the benchmark.

The stays of a plate at a lot form a line: each begins after the one before it has ended. Whoever comes again must have gone, so an
older stay without an end does not stand in the way: it becomes ``exit_unknown``, and the answer names it.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection

from ledger.ids import Ids
from ledger.volley import Shot, fire
from payments.lot_records import intake, numbers, stay_store
from payments.lot_records.intake import NAME_LETTERS_MAX, Answer, Rejected, differs
from payments.lot_records.numbers import Claimed
from payments.lot_records.stay_store import Full, Going, Kept, Row
from payments.lots import Lot
from payments.plates import PlateColor

SCENES: Final = frozenset({"gate", "on_street", "hospital", "shared", "charging"})


class NewStay(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A stay as a lot posts it: when the car comes without ``left_at``, and once more under the same ``serial`` when it goes."""

    serial: str
    number: int | None = None
    """The lot's own dense number of the stay."""
    plate: str
    plate_color: PlateColor = "unknown"
    entered_at: datetime
    left_at: datetime | None = None
    """None while the car is there."""
    berth: str | None = None
    lane_in: str | None = None
    lane_out: str | None = None
    scene: str | None = None
    """None: the lot's own scene."""
    entry_photo_digest: str | None = None
    """SHA-256 of the photo, 64 hexadecimal digits; the photo stays at the lot."""
    exit_photo_digest: str | None = None


class StayAnswer(Answer, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What became of one stay. ``exit_unknown``: serials of older stays of the plate whose going nobody posted, closed so by this
    one; its own serial when a later stay of the plate was there already."""

    exit_unknown: tuple[str, ...] = ()


class _Good(Struct, gc=False):
    """A stay that can be true, in the form in which it is kept."""

    place: int
    posted: NewStay
    plate: tuple[str, str]
    scene: str
    entry_photo: bytes | None
    exit_photo: bytes | None


def post(tx: Connection, *, lane: int, lot: Lot, stays: Sequence[NewStay], at: datetime, ids: Ids) -> list[StayAnswer]:
    """Take the stays of one lot, set by set; a wrong one is refused by itself and the others stand.

    May be called again with the same stays: they are ``already``. In one call the order of the list counts: a stay may come and
    go in it. Holds the intake of the lot, so that what is decided stays true.

    Args:
        stays: At most ``intake.RECORDS_MAX``.
        at: When they came to us (UTC): nothing may lie behind it by more than the clocks' tolerance.

    Raises:
        Refused: ``too_many_records``.
    """
    intake.check_count(stays)
    answers: list[StayAnswer | None] = [None] * len(stays)
    good: list[_Good] = []
    for place, posted in enumerate(stays):
        try:
            good.append(_checked(place, posted, lot, at))
        except Rejected as wrong:
            answers[place] = _refused(posted.serial, wrong)
    if good:
        _Work(tx, lane=lane, lot=lot, good=good, at=at, ids=ids).carry_out(answers)
    return [answer for answer in answers if answer is not None]


def _refused(serial: str, wrong: Rejected) -> StayAnswer:
    return StayAnswer(serial=serial, outcome="refused", reason=wrong.code, field=wrong.field, detail=str(wrong))


def _checked(place: int, posted: NewStay, lot: Lot, at: datetime) -> _Good:
    """Return a stay in the form in which it is kept. Raises Rejected for one that cannot be true."""
    intake.check_name(posted.serial, posted.number)
    intake.check_time("entered_at", posted.entered_at, at)
    if posted.left_at is not None:
        intake.check_time("left_at", posted.left_at, at)
        if posted.left_at < posted.entered_at:
            raise Rejected("left_at", "left_before_entry", "the car cannot have left before it came")
    scene = posted.scene or lot.scene
    if scene not in SCENES:
        raise Rejected("scene", "scene_invalid", f"a scene is one of {', '.join(sorted(SCENES))}")
    plate = (intake.plate(posted.plate, posted.plate_color), posted.plate_color)
    for field, words in (("berth", posted.berth), ("lane_in", posted.lane_in), ("lane_out", posted.lane_out)):
        if words is not None:
            intake.check_words(field, words, NAME_LETTERS_MAX)
    entry = exit_photo = None
    if posted.entry_photo_digest is not None or posted.exit_photo_digest is not None:
        entry = intake.digest("entry_photo_digest", posted.entry_photo_digest)
        exit_photo = intake.digest("exit_photo_digest", posted.exit_photo_digest)
    return _Good(place, posted, plate, scene, entry, exit_photo)


class _Work:
    """One call: what is kept read set by set, decided about stay by stay in memory, written set by set."""

    def __init__(self, tx: Connection, *, lane: int, lot: Lot, good: list[_Good], at: datetime, ids: Ids) -> None:
        self._tx, self._lane, self._lot, self._good, self._at, self._ids = tx, lane, lot, good, at, ids
        intake.hold(tx, lot_id=lot.lot_id)
        serials = [one.posted.serial for one in good]
        self._full: dict[str, Full] = stay_store.by_serial(tx, lane=lane, lot_id=lot.lot_id, serials=sorted(set(serials)))
        self._plates = intake.plate_keys(tx, sorted({one.plate for one in good if one.posted.serial not in self._full}))
        self._numbers: Claimed = numbers.claimed(tx, lot_id=lot.lot_id, series="stay", numbers=[one.posted.number for one in good])
        self._lines: dict[int, list[Kept]] = defaultdict(list)
        self._read_lines()
        self._rows: dict[str, Row] = {}
        self._goings: dict[str, Going] = {}
        self._lost: dict[str, Kept] = {}

    def _read_lines(self) -> None:
        """Read the neighbours of every stay that is to take its place in a line, or to end there."""
        asked = []
        for one in self._good:
            full = self._full.get(one.posted.serial)
            if full is not None:
                if full.left_at is None and one.posted.left_at is not None:
                    asked.append((full.plate_id, full.entered_at))
                continue
            plate_id, fresh = self._plates[one.plate]
            if not fresh:
                asked.append((plate_id, one.posted.entered_at))
        found = stay_store.neighbours(self._tx, lane=self._lane, lot_id=self._lot.lot_id, of=asked)
        for kept in sorted(found.values(), key=lambda kept: kept.entered_at):
            self._lines[kept.plate_id].append(kept)

    def carry_out(self, answers: list[StayAnswer | None]) -> None:
        """Decide about each stay in order, write what follows, and put the answers into their places."""
        for one in self._good:
            try:
                answers[one.place] = self._decide(one)
            except Rejected as wrong:
                answers[one.place] = _refused(one.posted.serial, wrong)
        self._write()

    def _decide(self, one: _Good) -> StayAnswer:
        serial = one.posted.serial
        if (full := self._full.get(serial)) is not None:
            return self._again(one, full, self._goings.get(serial))
        if (row := self._rows.get(serial)) is not None:
            return self._again_here(one, row)
        return self._new(one)

    # A stay that is not there yet.

    def _new(self, one: _Good) -> StayAnswer:
        posted = one.posted
        self._numbers.check(posted.number, None)
        plate_id = self._plates[one.plate][0]
        stay_id = self._ids.new(self._at, f"stay {self._lot.lot_id} {posted.serial}")
        kept = Kept(stay_id, plate_id, posted.entered_at, posted.left_at, "in" if posted.left_at is None else "out", posted.serial)
        lost = self._take_place(kept)
        self._numbers.take(posted.number, stay_id)
        self._rows[posted.serial] = Row(
            kept, one.scene, posted.berth, posted.lane_in, posted.lane_out, one.entry_photo, one.exit_photo
        )
        return StayAnswer(serial=posted.serial, outcome="created", exit_unknown=lost)

    def _take_place(self, kept: Kept) -> tuple[str, ...]:
        """Put a new stay into its plate's line; returns what is ``exit_unknown`` by it. Raises Rejected."""
        line = self._lines[kept.plate_id]
        if not line:
            line.append(kept)
            return ()
        place = bisect_left(line, kept.entered_at, key=lambda other: other.entered_at)
        after = line[place] if place < len(line) else None
        if after is not None:
            _check_before(kept, after, kept.left_at)
        lost: list[str] = []
        if place:
            before = line[place - 1]
            if before.left_at is not None and before.left_at > kept.entered_at:
                raise _overlap("entered_at", before)
            if before.state == "in":
                self._lose(before)
                lost.append(before.serial)
        if after is not None and kept.state == "in":
            kept.state = "exit_unknown"
            lost.append(kept.serial)
        line.insert(place, kept)
        return tuple(lost)

    def _lose(self, kept: Kept) -> None:
        """The plate came again: what was never ended has an end that nobody knows."""
        kept.state = "exit_unknown"
        if kept.serial not in self._rows:
            self._lost[kept.serial] = kept

    # A stay that is there, from an earlier call or from this one.

    def _again(self, one: _Good, full: Full, going: Going | None) -> StayAnswer:
        posted = one.posted
        plate = self._same_plate(one, (full.number, full.color))
        _check_same(posted, plate=plate, entered_at=full.entered_at, scene=posted.scene is None or one.scene == full.scene)
        self._numbers.check(posted.number, full.stay_id)
        ended = full if full.left_at is not None else going
        if posted.left_at is None or ended is not None:
            said = (posted.left_at, posted.berth, posted.lane_in, posted.lane_out, one.entry_photo, one.exit_photo)
            _check_told(posted.serial, said, _merged(full, going))
            return StayAnswer(serial=posted.serial, outcome="already")
        said = (None, posted.berth, posted.lane_in, None, one.entry_photo, None)
        _check_told(posted.serial, said, _merged(full, None), may_add=True)
        self._end(self._kept(full), posted.left_at)
        self._goings[posted.serial] = Going(
            full.stay_id, posted.left_at, posted.berth, posted.lane_in, posted.lane_out, one.entry_photo, one.exit_photo
        )
        return StayAnswer(serial=posted.serial, outcome="completed")

    def _kept(self, full: Full) -> Kept:
        return next(kept for kept in self._lines[full.plate_id] if kept.stay_id == full.stay_id)

    def _again_here(self, one: _Good, row: Row) -> StayAnswer:
        """The same serial twice in one call."""
        posted, kept = one.posted, row.kept
        plate = self._plates[one.plate][0] == kept.plate_id
        _check_same(posted, plate=plate, entered_at=kept.entered_at, scene=posted.scene is None or one.scene == row.scene)
        self._numbers.check(posted.number, kept.stay_id)
        known = (kept.left_at, row.berth, row.lane_in, row.lane_out, row.entry_photo, row.exit_photo)
        said = (posted.left_at, posted.berth, posted.lane_in, posted.lane_out, one.entry_photo, one.exit_photo)
        if posted.left_at is None or kept.left_at is not None:
            _check_told(posted.serial, said, known)
            return StayAnswer(serial=posted.serial, outcome="already")
        _check_told(posted.serial, (None, said[1], said[2], None, said[4], None), known, may_add=True)
        self._end(kept, posted.left_at)
        row.berth, row.lane_in, row.lane_out = row.berth or posted.berth, row.lane_in or posted.lane_in, posted.lane_out
        row.entry_photo, row.exit_photo = row.entry_photo or one.entry_photo, one.exit_photo
        return StayAnswer(serial=posted.serial, outcome="completed")

    def _same_plate(self, one: _Good, kept: tuple[str, str]) -> bool:
        """Say whether a later post means the same car: one that says nothing of the colour does."""
        return one.plate[0] == kept[0] and one.plate[1] in (kept[1], "unknown")

    def _end(self, kept: Kept, left_at: datetime) -> None:
        """End a stay in its line. Raises Rejected (``overlaps``) when the plate had come again before that."""
        line = self._lines[kept.plate_id]
        after = next((other for other in line if other.entered_at > kept.entered_at), None)
        if after is not None:
            _check_before(kept, after, left_at)
        kept.left_at, kept.state = left_at, "out"
        self._lost.pop(kept.serial, None)

    def _write(self) -> None:
        """Write everything in one message: ends first, so that no two stays of a plate are open at once."""
        lane, lot_id = self._lane, self._lot.lot_id
        rows, goings = list(self._rows.values()), list(self._goings.values())
        entries = Counter([stay_store.day_number(row.kept.entered_at) for row in rows])
        exits = Counter([stay_store.day_number(row.kept.left_at) for row in rows if row.kept.left_at is not None])
        exits.update([stay_store.day_number(one.left_at) for one in goings])
        shots: list[Shot] = [
            *stay_store.losing(lane=lane, stay_ids=sorted(kept.stay_id for kept in self._lost.values())),
            *stay_store.completing(lane=lane, goings=goings, at=self._at),
            *stay_store.inserting(lane=lane, lot=self._lot, rows=rows, at=self._at),
            *numbers.registering(lot_id=lot_id, series="stay", taken=self._numbers.taken, at=self._at),
            *stay_store.counting(lot_id=lot_id, entries=entries, exits=exits),
        ]
        if shots:
            fire(self._tx, shots)


_TOLD: Final = ("left_at", "berth", "lane_in", "lane_out", "entry_photo_digest", "exit_photo_digest")

_Told = tuple[datetime | None, str | None, str | None, str | None, bytes | None, bytes | None]


def _merged(full: Full, going: Going | None) -> _Told:
    """Return what is known of a stay's end and places after what this call added."""
    if going is None:
        return (full.left_at, full.berth, full.lane_in, full.lane_out, full.entry_photo, full.exit_photo)
    return (
        going.left_at, full.berth or going.berth, full.lane_in or going.lane_in, going.lane_out,
        full.entry_photo or going.entry_photo, going.exit_photo,
    )  # fmt: skip


def _check_same(posted: NewStay, *, plate: bool, entered_at: datetime, scene: bool) -> None:
    if not plate:
        raise differs(posted.serial, "plate")
    if posted.entered_at != entered_at:
        raise differs(posted.serial, "entered_at")
    if not scene:
        raise differs(posted.serial, "scene")


def _check_told(serial: str, said: _Told, known: _Told, *, may_add: bool = False) -> None:
    """Raise Rejected when a post says other than what is known; what it leaves out, it does not contradict."""
    for field, new, old in zip(_TOLD, said, known, strict=True):
        if new is not None and new != old and not (may_add and old is None):
            raise differs(serial, field)


def _check_before(kept: Kept, after: Kept, left_at: datetime | None) -> None:
    """Raise Rejected when a stay does not end before the next one of its plate begins."""
    if after.entered_at == kept.entered_at or (left_at is not None and left_at > after.entered_at):
        raise _overlap("left_at" if after.entered_at > kept.entered_at else "entered_at", after)


def _overlap(field: str, other: Kept) -> Rejected:
    return Rejected(
        field,
        "overlaps",
        f"the plate has stay {other.serial} at this lot at that time; a car is in one place once: correct the times",
    )
