"""Dated tariffs, calendars and passes in the database, and quotes by what counted when."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

from ledger.errors import Refused
from payments.lots import Lot, Operator, operator_by_code
from payments.plates import PlateColor
from payments.tariffs import listing, quotes, registry
from payments.tariffs.errors import (
    PassInvalid,
    StayInvalid,
    TariffConflict,
    TariffInvalid,
    TariffMissing,
    TariffOverlaps,
    TariffUnknown,
)
from payments.tariffs.priced import Priced
from payments.tariffs.quotes import AskedStay, Refusal
from payments.tariffs.registry import NewPass
from payments.tariffs.tariff import Calendars, Tariff
from tests.payments.conftest import AT, make_city
from tests.payments.tariffs.wuxi import CORE_MAIN, HOSPITAL, ROAD_2022, ROAD_2023, at, calendars, rules, where

PLATE = "苏B12345"


class Town:
    """Two operators with a lot each; the first lot charges by the road tariff of the core zone's main roads since 2022."""

    def __init__(self, tx: Connection) -> None:
        self.tx = tx
        self.lot, self.other = make_city(tx, number=1), make_city(tx, number=2)
        for file in (rules(), ROAD_2022, ROAD_2023, HOSPITAL):
            registry.add(tx, file=file, at=AT)
        self.assign()

    def assign(self, lot: Lot | None = None, **other: Any) -> registry.Entered:
        given: dict[str, Any] = {
            "tariff_code": "wuxi-road", "selectors": CORE_MAIN, "valid_from": at("2022-01-01 00:00"), "document": "list 1",
        } | other  # fmt: skip
        return registry.assign(self.tx, lot=lot or self.lot, at=AT, **given)

    def quote(
        self, entered: str, left: str, *, lot: Lot | None = None, plate: str | None = None, color: PlateColor = "blue"
    ) -> Priced:
        return quotes.quote(
            self.tx, lane=0, lot=lot or self.lot, plate_color=color, entered_at=at(entered), left_at=at(left), plate=plate
        )  # fmt: skip

    def operator(self, number: int = 1) -> Operator:
        return operator_by_code(self.tx, code=f"op-{number}")

    def add_pass(self, number: str = "P1", *, lot: Lot | None = None, operator: int = 1, **other: Any) -> registry.Entered:
        given: dict[str, Any] = {
            "number": number, "kind": "month", "plate": PLATE, "plate_color": "blue", "first_day": date(2026, 3, 1),
            "last_day": date(2026, 3, 31), "document": "agreement 7",
        } | other  # fmt: skip
        return registry.add_pass(self.tx, operator=self.operator(operator), lot=lot, given=NewPass(**given), at=AT)


@pytest.fixture
def town(tx: Connection) -> Town:
    return Town(tx)


@contextmanager
def counted(db: Engine) -> Iterator[list[str]]:
    """Yield the statements that are sent meanwhile."""
    sent: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    event.listen(db, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(db, "before_cursor_execute", note)


def later(of: Tariff, version: int, day: date, **other: Any) -> Tariff:
    return msgspec.structs.replace(of, version=version, valid_from=day, **other)


# Quotes


def test_a_stay_is_priced_by_the_version_that_counted_when_the_car_came(town: Town) -> None:
    before, after = town.quote("2023-08-29 10:00", "2023-08-29 10:31"), town.quote("2023-08-30 10:00", "2023-08-30 10:31")
    assert [(basis.code, basis.version) for basis in (*before.tariffs, *after.tariffs)] == [("wuxi-road", 1), ("wuxi-road", 2)]
    assert (before.amount_fen, after.amount_fen) == (300, 300)
    assert (town.quote("2023-08-29 10:00", "2023-08-29 10:20").amount_fen, town.quote("2023-08-30 10:00", "2023-08-30 10:20").amount_fen) == (300, 0)  # fmt: skip  # noqa: E501


def test_a_stay_over_a_change_goes_on_by_the_old_version_until_its_twenty_four_hours_are_over(town: Town) -> None:
    over = town.quote("2023-08-29 10:00", "2023-08-30 10:25")
    assert [basis.version for basis in over.tariffs] == [1, 2]
    assert over.amount_fen == town.quote("2023-08-29 10:00", "2023-08-30 10:00").amount_fen
    assert town.quote("2023-08-29 10:00", "2023-08-30 10:31").amount_fen == over.amount_fen + 300


@pytest.mark.parametrize(("rule", "versions", "fen"), [("next_24h", [3], 300), ("entry", [3], 300), ("exit", [4], 900)])
def test_which_version_prices_a_stay_over_a_change_is_a_named_rule(town: Town, rule: str, versions: list[int], fen: int) -> None:
    options = msgspec.structs.replace(ROAD_2023.options, tariff_change=rule)
    kept = later(ROAD_2023, 3, date(2026, 1, 1), options=options, why=ROAD_2023.why | {"tariff_change": "a test"}, bands=())
    kept = msgspec.structs.replace(
        kept, cells=tuple(msgspec.structs.replace(cell, prices={"base": cell.prices["base"]}) for cell in kept.cells)
    )
    dearer = later(kept, 4, date(2026, 3, 3), vehicles=msgspec.structs.replace(kept.vehicles, blue="large", large_times=3))
    for file in (kept, dearer):
        registry.add(town.tx, file=file, at=AT)
    before = town.quote("2026-03-02 23:25", "2026-03-02 23:57")
    assert (before.amount_fen, before.same_until) == (300, at("2026-03-03 00:00" if rule == "exit" else "2026-03-03 00:26"))
    priced = town.quote("2026-03-02 23:25", "2026-03-03 00:10")
    assert ([basis.version for basis in priced.tariffs], priced.amount_fen) == (versions, fen)


def test_a_lot_without_a_tariff_has_no_quote(town: Town) -> None:
    with pytest.raises(TariffMissing, match="has no tariff at"):
        town.quote("10:00", "11:00", lot=town.other)
    with pytest.raises(TariffMissing):
        town.quote("2021-12-31 10:00", "2021-12-31 11:00")


def test_a_lot_that_gets_pricing_of_its_own_has_no_quote_from_then_on(town: Town) -> None:
    town.assign(tariff_code=None, selectors={}, valid_from=at("2026-03-03 00:00"), document="own system")
    assert town.quote("10:00", "11:00").amount_fen == 300
    with pytest.raises(TariffMissing):
        town.quote("2026-03-03 10:00", "2026-03-03 11:00")
    with pytest.raises(TariffMissing):
        town.quote("10:00", "2026-03-03 11:00")
    assert town.quote("21:00", "2026-03-03 06:00").same_until == at("2026-03-03 07:01")
    assert town.quote("06:00", "2026-03-03 05:59").same_until == at("2026-03-03 06:01")


def test_a_lot_that_changes_its_zone_is_priced_by_it_from_that_moment_on(town: Town) -> None:
    town.assign(selectors=where("outer", "branch"), valid_from=at("2026-03-03 00:00"), document="list 2")
    assert (town.quote("10:00", "11:00").amount_fen, town.quote("2026-03-03 10:00", "2026-03-03 11:00").amount_fen) == (300, 50)


def test_a_lot_keeps_its_longer_free_time(town: Town) -> None:
    town.assign(town.other, free_minutes=60)
    assert (town.quote("10:00", "11:00", lot=town.other).amount_fen, town.quote("10:00", "11:01", lot=town.other).amount_fen) == (
        0,
        300,
    )


def test_a_lots_own_document_may_let_the_base_price_stand_for_a_missing_one(town: Town) -> None:
    town.assign(town.other, selectors=where("centre", "main"), missing_price="base", document="letter of the price office")
    assert town.quote("08:00", "09:30", lot=town.other).amount_fen == 2 * 200


def test_a_batch_asks_four_times_however_many_stays_it_has(town: Town, db: Engine) -> None:
    town.add_pass()
    stays = [
        AskedStay(lot_id=town.lot.lot_id, plate_color="blue", entered_at=at("09:00"), left_at=at("09:00") + timedelta(minutes=n), plate=PLATE if n % 2 else "苏B99999")  # noqa: E501
        for n in range(200)
    ]  # fmt: skip
    with counted(db) as sent:
        answers = quotes.quote_many(town.tx, lane=0, stays=stays)
    assert (len(sent), len(answers)) == (4, 200)
    assert [answer.amount_fen for answer in answers[1::2] if isinstance(answer, Priced)] == [0] * 100
    with counted(db) as sent:
        town.quote("09:00", "10:00")
    assert len(sent) == 3


def test_a_batch_gives_each_stay_what_it_would_get_alone(town: Town) -> None:
    town.assign(town.other, selectors=where("core", "branch"))
    town.add_pass()
    around: list[tuple[Lot, PlateColor, str | None]] = [
        (town.lot, "blue", PLATE), (town.other, "yellow", None), (town.lot, "blue", None),
    ]  # fmt: skip
    stays = [
        AskedStay(
            lot_id=lot.lot_id, plate_color=color, entered_at=entered, left_at=entered + timedelta(minutes=37 * n), plate=plate
        )
        for n, (lot, color, plate) in enumerate(around * 5)
        for entered in (at("07:10"), at("2023-08-29 22:00"))
    ]
    alone = [
        quotes.quote(town.tx, lane=0, lot=town.lot if stay.lot_id == town.lot.lot_id else town.other, plate_color=stay.plate_color,
                     entered_at=stay.entered_at, left_at=stay.left_at, plate=stay.plate)
        for stay in stays
    ]  # fmt: skip
    assert quotes.quote_many(town.tx, lane=0, stays=stays, looks_ahead=True) == alone


def test_one_bad_stay_of_a_batch_is_refused_by_itself(town: Town) -> None:
    def asked(**other: Any) -> AskedStay:
        given: dict[str, Any] = {
            "lot_id": town.lot.lot_id,
            "plate_color": "blue",
            "entered_at": at("09:00"),
            "left_at": at("10:00"),
        }
        return AskedStay(**(given | other))

    answers = quotes.quote_many(
        town.tx, lane=0, stays=[
            asked(), asked(left_at=at("08:00")), asked(entered_at=datetime(2026, 3, 2, 9, 0)),  # noqa: DTZ001  # meant
            asked(lot_id=town.other.lot_id), asked(lot_id=999), asked(plate="XYZ"), asked(left_at=at("2028-03-02 09:00")),
            asked(entered_at=at("1990-03-02 09:00"), left_at=at("1990-03-02 10:00")),
            asked(entered_at=datetime.min.replace(tzinfo=UTC)), asked(entered_at=datetime.max.replace(tzinfo=UTC)), asked(),
        ],
    )  # fmt: skip
    assert [answer.code if isinstance(answer, Refusal) else answer.amount_fen for answer in answers] == [
        300, "stay_invalid", "stay_invalid", "tariff_missing", "tariff_missing", "plate_invalid", "stay_invalid", "stay_invalid",
        "stay_invalid", "stay_invalid", 300,
    ]  # fmt: skip
    assert quotes.quote_many(town.tx, lane=0, stays=[]) == []
    with pytest.raises(Refused) as refused:
        quotes.quote_many(town.tx, lane=0, stays=[asked()] * 10_001)
    assert refused.value.code == "too_many_stays"
    with pytest.raises(Refused, match="at most 20000 days together") as refused:
        quotes.quote_many(town.tx, lane=0, stays=[asked(left_at=at("2027-03-02 09:00"))] * 55)
    assert refused.value.code == "too_many_stays"
    with pytest.raises(StayInvalid):
        town.quote("10:00", "09:00")


# Calendars and passes


def test_a_lot_on_the_list_is_free_on_the_days_of_the_calendar(town: Town) -> None:
    entered = registry.add(town.tx, file=calendars(), at=AT)
    assert "284 of 284 published places are not on its list yet" in entered[0].remarks[0]
    town.assign(town.other)
    charged = town.quote("2024-02-10 10:00", "2024-02-10 12:00").amount_fen
    assert (
        registry.exempt(town.tx, calendar_code="wuxi-spring-festival-2024", lot_codes=["lot-1", "lot-1"], document="list", at=AT)
        == 1
    )
    free = town.quote("2024-02-10 10:00", "2024-02-10 12:00")
    assert (charged, free.amount_fen, free.lines[0].why) == (1000, 0, "calendar:wuxi-spring-festival-2024")
    assert town.quote("2024-02-10 10:00", "2024-02-10 12:00", lot=town.other).amount_fen == charged
    assert registry.exempt(town.tx, calendar_code="wuxi-spring-festival-2024", lot_codes=["lot-1"], document="list", at=AT) == 0


def day_kind(code: str, effect: str, first: date, last: date) -> Calendars:
    [sample] = calendars().calendars
    changed = msgspec.structs.replace(sample, code=code, effect=effect, first_day=first, last_day=last, places="all")
    return Calendars(format=1, calendars=(changed,))


def test_a_band_of_workdays_follows_the_calendar_of_holidays_and_moved_workdays(town: Town) -> None:
    bands = tuple(msgspec.structs.replace(band, days=("workday",)) if band.name == "peak" else band for band in ROAD_2023.bands)
    registry.add(town.tx, file=later(ROAD_2023, 3, date(2026, 1, 1), bands=bands), at=AT)
    monday, saturday = ("2026-03-02 07:30", "2026-03-02 08:30"), ("2026-03-07 07:30", "2026-03-07 08:30")
    assert (town.quote(*monday).amount_fen, town.quote(*saturday).amount_fen) == (500, 300)
    registry.add(town.tx, file=day_kind("moved", "workday", date(2026, 3, 7), date(2026, 3, 7)), at=AT)
    registry.add(town.tx, file=day_kind("feast", "holiday", date(2026, 3, 2), date(2026, 3, 3)), at=AT)
    assert (town.quote(*monday).amount_fen, town.quote(*saturday).amount_fen) == (300, 500)
    with pytest.raises(TariffOverlaps, match="are in another calendar of this kind"):
        registry.add(town.tx, file=day_kind("again", "workday", date(2026, 3, 3), date(2026, 3, 3)), at=AT)


def test_a_pass_frees_its_plate_at_the_operators_lots_on_its_days(town: Town) -> None:
    town.assign(town.other)
    assert town.add_pass().is_new
    assert not town.add_pass().is_new
    free = town.quote("10:00", "12:00", plate=PLATE)
    assert (free.amount_fen, free.lines[0].why, free.lines[0].words.zh) == (0, "pass:P1", "月卡免费")
    assert free.same_until == at("2026-04-01 07:01")
    charged = [
        town.quote("10:00", "12:00"),
        town.quote("10:00", "12:00", plate="苏B99999"),
        town.quote("10:00", "12:00", plate=PLATE, lot=town.other),
        town.quote("2026-04-01 10:00", "2026-04-01 12:00", plate=PLATE),
    ]
    assert [priced.amount_fen for priced in charged] == [1000] * 4


def test_a_stay_over_the_end_of_a_pass_is_charged_from_there_on(town: Town) -> None:
    town.assign(selectors=where("core", "main", "night_economy"), valid_from=at("2026-01-01 00:00"))
    town.add_pass(last_day=date(2026, 3, 2))
    assert town.quote("22:00", "2026-03-03 07:31", plate=PLATE).amount_fen == 2 * 500
    assert town.quote("22:00", "2026-03-03 07:00", plate=PLATE).amount_fen == 0


def test_a_pass_counts_whatever_colour_was_read_when_none_was(town: Town) -> None:
    town.add_pass()
    assert town.quote("10:00", "12:00", plate=PLATE, color="unknown").amount_fen == 0
    assert town.quote("10:00", "12:00", plate=PLATE, color="black").amount_fen == 1000


def test_a_pass_for_one_lot_counts_there_only(town: Town) -> None:
    town.add_pass(lot=town.lot)
    assert town.quote("10:00", "12:00", plate=PLATE).amount_fen == 0
    with pytest.raises(PassInvalid, match="is not the operator's"):
        town.add_pass("P2", lot=town.other)


def test_residents_passes_are_for_branch_roads(town: Town) -> None:
    with pytest.raises(PassInvalid, match="berths on branch roads"):
        town.add_pass(kind="resident", lot=town.lot)
    with pytest.raises(PassInvalid):
        town.add_pass(kind="resident")
    town.assign(town.other, selectors=where("core", "branch"))
    assert town.add_pass(kind="resident", lot=town.other, operator=2).is_new


def test_two_passes_at_one_place_and_time_and_other_wrong_passes_are_refused(town: Town) -> None:
    town.add_pass()
    with pytest.raises(TariffOverlaps, match="another pass there"):
        town.add_pass("P2", first_day=date(2026, 3, 31), last_day=date(2026, 4, 30))
    assert town.add_pass("P2", first_day=date(2026, 4, 1), last_day=date(2026, 4, 30)).is_new
    with pytest.raises(TariffConflict, match="take a new number"):
        town.add_pass(last_day=date(2026, 3, 30))
    for wrong in ({"last_day": date(2026, 2, 1)}, {"document": " "}, {"number": ""}, {"number": "x" * 65}):
        with pytest.raises(PassInvalid):
            town.add_pass(**{"number": "P3"} | wrong)
    with pytest.raises(Refused) as refused:
        town.add_pass("P3", plate="XYZ")
    assert refused.value.code == "plate_invalid"


# Entering


def test_entering_the_same_again_changes_nothing_and_other_content_is_refused(town: Town) -> None:
    assert [registry.add(town.tx, file=file, at=AT)[0].is_new for file in (ROAD_2022, ROAD_2023, rules())] == [False] * 3
    with pytest.raises(TariffConflict, match="give the new content version 3"):
        registry.add(town.tx, file=msgspec.structs.replace(ROAD_2023, free_minutes=31), at=AT)
    with pytest.raises(TariffConflict, match="the next version of wuxi-road is 3, not 5"):
        registry.add(town.tx, file=later(ROAD_2023, 5, date(2026, 1, 1)), at=AT)


def test_a_version_that_begins_no_later_than_another_is_refused(town: Town) -> None:
    for day in (date(2023, 8, 30), date(2022, 6, 1)):
        with pytest.raises(TariffOverlaps, match="version 2 counts from 2023-08-30 on"):
            registry.add(town.tx, file=later(ROAD_2023, 3, day), at=AT)


def test_a_tariff_that_keeps_less_than_the_rules_is_refused(town: Town) -> None:
    with pytest.raises(TariffInvalid, match="15 free minutes are less than the 30 of 停车便民惠民十项措施"):
        registry.add(town.tx, file=later(ROAD_2022, 3, date(2026, 1, 1)), at=AT)
    with pytest.raises(TariffInvalid, match="a unit of 60 minutes is not the 30"):
        registry.add(town.tx, file=later(ROAD_2023, 3, date(2026, 1, 1), unit_minutes=60), at=AT)


def test_a_version_under_which_a_lot_would_have_no_price_is_refused(town: Town) -> None:
    renamed = {**ROAD_2023.selectors, "zone": ("inner", "centre", "outer")}
    words = {"core": "inner", "centre": "centre", "outer": "outer"}
    cells = tuple(
        msgspec.structs.replace(cell, when=cell.when | {"zone": words[cell.when["zone"]]}) for cell in ROAD_2023.cells
    )  # fmt: skip
    with pytest.raises(TariffInvalid, match="do not fit lots that charge by it: lot-1"):
        registry.add(town.tx, file=later(ROAD_2023, 3, date(2026, 1, 1), selectors=renamed, cells=cells), at=AT)


def test_what_was_added_tells_what_was_assumed_and_what_is_missing(tx: Connection) -> None:
    [entered] = registry.add(tx, file=ROAD_2022, at=AT)
    assert entered.is_new
    assert entered.remarks[0].startswith("the first day 2022-01-01 is assumed: Only the year was found")
    assert "no quote is given there): centre zone, main road peak, outer zone, main road peak" in entered.remarks[1]


def test_lots_entries_that_cannot_stand_are_refused(town: Town) -> None:
    wrong: list[tuple[dict[str, Any], type[Refused], str]] = [
        ({}, TariffOverlaps, "the lot charges by wuxi-road from 2022-01-01 00:00 on"),
        ({"tariff_code": "nothing"}, TariffUnknown, "no version of tariff 'nothing'"),
        ({"tariff_code": "wuxi-hospital", "selectors": {}}, TariffUnknown, "no version of tariff 'wuxi-hospital'"),
        ({"selectors": {"zone": "core", "road": "main"}}, TariffInvalid, "section must be ordinary or night_economy"),
        ({"selectors": CORE_MAIN | {"side": "left"}}, TariffInvalid, "side is not asked for"),
        ({"document": " "}, TariffInvalid, "name the document"),
        ({"free_minutes": 30}, TariffInvalid, "a lot's own are longer"),
    ]
    assert not town.assign().is_new
    for given, kind, said in wrong:
        with pytest.raises(kind, match=said):
            town.assign(**{"document": "list 2"} | given)


def test_a_calendar_of_unknown_lots_or_other_content_is_refused(town: Town) -> None:
    [calendar] = calendars().calendars
    with pytest.raises(TariffUnknown, match="there is no lot lot-9"):
        registry.add(town.tx, file=Calendars(format=1, calendars=(msgspec.structs.replace(calendar, places=("lot-9",)),)), at=AT)
    registry.add(town.tx, file=calendars(), at=AT)
    with pytest.raises(TariffConflict, match="never changed"):
        registry.add(town.tx, file=Calendars(format=1, calendars=(msgspec.structs.replace(calendar, places=("lot-1",)),)), at=AT)
    with pytest.raises(TariffUnknown, match="no calendar 'none'"):
        registry.exempt(town.tx, calendar_code="none", lot_codes=["lot-1"], document="list", at=AT)
    registry.add(town.tx, file=day_kind("feast", "holiday", date(2026, 3, 2), date(2026, 3, 3)), at=AT)
    with pytest.raises(TariffInvalid, match="it has no list"):
        registry.exempt(town.tx, calendar_code="feast", lot_codes=["lot-1"], document="list", at=AT)


@pytest.mark.parametrize("table", ["tariff", "lot_tariff", "tariff_rule", "tariff_calendar", "tariff_calendar_lot", "parking_pass"])
@pytest.mark.parametrize("change", ["delete from payments.{}", "truncate payments.{}", "update payments.{} set entered_at = now()"])
def test_what_was_entered_cannot_be_changed(tx: Connection, table: str, change: str) -> None:
    with pytest.raises(DBAPIError, match="permission denied"):
        tx.execute(text(change.format(table)))


def test_everything_entered_is_listed(town: Town) -> None:
    registry.add(town.tx, file=calendars(), at=AT)
    lines = listing.lines(town.tx)
    assert [line.split()[0] for line in lines] == ["tariff"] * 3 + ["rule"] * 4 + ["calendar", "lot"]
    assert len(listing.lines(town.tx, lot_id=town.lot.lot_id)) == 1
    views = town.tx.execute(
        text("select (select count(*) from payments.v_tariff), (select count(*) from payments.v_lot_tariff)")
    ).one()
    assert tuple(views) == (3, 1)
