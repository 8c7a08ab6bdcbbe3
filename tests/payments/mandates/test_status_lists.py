"""Status lists over the real wire: pulled hourly by one worker, kept as the clearing party says, and heeded before a deduction."""

import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, text

from gateways.etc import lists
from gateways.etc.list_line import ListLine
from gateways.etc.services import ListKind, StatusList, StatusListAsk, with_changes
from gateways.sandbox.wechat.signing import Pair
from ledger.errors import NotFound, Unavailable
from payments.cards.records import NewCardCharge
from payments.mandates import status_list_store, status_lists
from payments.mandates.status_lists import Changes, Pulled
from tests.gateways.conftest import fresh_pair, pair  # noqa: F401  # fixtures
from tests.payments.conftest import AT
from tests.payments.list_party import party
from tests.payments.mandates import deducting
from tests.payments.mandates.deducting import PLATE, City
from tests.payments.test_cards import Lane

ENTRY = PLATE + "蓝"
MANY = 100_000


@pytest.fixture
def city(db: Engine, fresh_pair: Pair, tmp_path: Path) -> Iterator[City]:  # noqa: F811  # a fixture
    with deducting.city(db, fresh_pair, tmp_path) as around:
        yield around


def pull(city: City, sender: ListLine | None = None, *kinds: ListKind, provinces: tuple[str, ...] = ("32",)) -> Pulled:
    line = sender or ListLine(city.line("etc"))
    return status_lists.pull_due(city.till, line, provinces=provinces, kinds=kinds or ("PLATE",))


def behave(city: City, **how: Any) -> None:
    city.posted("etc-sandbox/behaviour", how)


def entries(city: City, kind: ListKind = "PLATE") -> list[str]:
    return city.column(f"select entry from payments.status_entry where is_listed and kind = '{kind}' order by entry")


def standing(city: City, column: str = "version") -> Any:
    [found] = city.column(f"select {column} from payments.status_list")
    return found


def since(city: City, version: str = "") -> Changes:
    with city.db.connect() as tx:
        return status_lists.changes_since(tx, kind="PLATE", province="32", since=version, at=city.clock.now())


def listed(city: City, entry: str = ENTRY) -> bool:
    with city.db.connect() as tx:
        return status_lists.listed(tx, kind="PLATE", entry=entry, at=city.clock.now())


def told(version: str, *add: str, full: bool = False, remove: tuple[str, ...] = ()) -> StatusList:
    return StatusList(version=version, full=full, add=add, remove=remove)


def in_turn(*answers: StatusList) -> Callable[[StatusListAsk], StatusList]:
    left = iter(answers)
    return lambda _ask: next(left)


# Pulling


def test_all_is_asked_for_first_then_what_changed_hourly(city: City) -> None:
    city.etc_plate(listed=True)
    assert pull(city) == Pulled(called=1, renewed=1, stale=())
    assert (entries(city), standing(city), standing(city, "was_full")) == ([ENTRY], "1", True)
    assert pull(city).called == 0
    city.etc_plate(listed=False)
    city.etc_plate(plate="苏B99999", listed=True)
    city.later(minutes=59)
    assert pull(city).called == 0
    assert entries(city) == [ENTRY]
    city.later(minutes=1)
    assert pull(city).renewed == 1
    assert (entries(city), standing(city), standing(city, "was_full")) == (["苏B99999蓝"], "3", False)


def test_each_kind_and_province_is_a_list_of_its_own(city: City) -> None:
    city.etc_plate(listed=True)
    city.etc_plate(plate="沪A12345", listed=True)
    assert pull(city, None, "CARD", "OBU", "PLATE", provinces=("31", "32")).renewed == 6
    assert city.column("select province || entry from payments.status_entry order by 1") == ["31沪A12345蓝", "32" + ENTRY]
    with city.db.connect() as tx:
        assert status_lists.version(tx, kind="CARD", province="32") == "0"
        assert status_lists.version(tx, kind="CARD", province="33") is None


def test_a_list_that_is_not_wanted_any_more_is_deleted_with_its_entries(city: City) -> None:
    city.etc_plate(listed=True)
    city.etc_plate(plate="沪A12345", listed=True)
    pull(city, provinces=("31", "32"))
    pull(city)
    assert entries(city) == [ENTRY]
    assert city.column("select province from payments.status_list union select province from payments.status_step") == ["32"]
    assert not listed(city, "沪A12345蓝")


def test_every_answer_is_kept_and_names_nobody_in_the_published_view(city: City) -> None:
    city.etc_plate(listed=True)
    pull(city)
    kept = "select operation || ' ' || verdict from gateways.raw_message where operation = 'status_list'"
    assert city.column(kept) == ["status_list verified"]
    assert city.column("select to_jsonb(v)::text from payments.v_status_list v where to_jsonb(v)::text like '%苏%'") == []


def test_a_busy_party_is_asked_again_after_a_while_and_the_list_stands(city: City) -> None:
    city.etc_plate(listed=True)
    pull(city)
    behave(city, busy=1)
    city.later(hours=1)
    assert pull(city) == Pulled(called=1, renewed=0, stale=())
    assert (standing(city, "reason"), entries(city), pull(city).called) == ("unavailable", [ENTRY], 0)
    city.later(minutes=5)
    assert pull(city).renewed == 1
    assert standing(city, "reason") is None


def test_an_answer_that_is_not_signed_by_the_party_proves_nothing_and_is_kept(city: City) -> None:
    with party(city, in_turn(told("7", "苏B00001蓝", full=True), told("7", "苏B00001蓝", full=True))) as (other, line):
        other.spoil = lambda sealed: sealed.replace("苏B00001".encode(), "苏B00002".encode())
        assert pull(city, line).renewed == 0
        assert (entries(city), standing(city), standing(city, "reason")) == ([], "", "signature")
        assert city.column("select verdict from gateways.raw_message where operation = 'status_list'") == ["refused"]
        other.spoil = lambda _sealed: b"<html>502</html>"
        city.later(minutes=5)
        assert pull(city, line).renewed == 0
        assert standing(city, "reason") == "not_json"


def test_nobody_there_is_a_try_without_an_answer(city: City) -> None:
    with party(city, in_turn()) as (_, line):
        pass
    assert pull(city, line).renewed == 0
    assert standing(city, "reason") == "connect"


def test_an_answer_larger_than_an_envelope_is_not_read(city: City) -> None:
    with party(city, in_turn(told("7", full=True))) as (other, line):
        other.spoil = lambda sealed: sealed + b" " * (4 * 1024 * 1024)
        assert pull(city, line).renewed == 0
    assert standing(city, "reason") == "too_large"


def test_a_list_of_too_many_entries_is_not_taken(city: City) -> None:
    with party(city, in_turn(told("7", *(f"{n:06d}" for n in range(MANY + 1)), full=True))) as (_, line):
        assert pull(city, line).renewed == 0
    assert (standing(city, "reason"), entries(city)) == ("field_missing", [])


def test_a_version_that_goes_backwards_is_not_taken_and_all_is_asked_for_at_once(city: City) -> None:
    answers = in_turn(
        told("9", "苏B1蓝", "苏B2蓝", full=True), told("8", "苏B3蓝"), told("8", "苏B2蓝", "苏B4蓝", full=True), told("9", "苏B5蓝")
    )
    with party(city, answers) as (other, line):
        pull(city, line)
        city.later(hours=1)
        assert pull(city, line) == Pulled(called=2, renewed=1, stale=())
        assert (other.since(), standing(city), entries(city)) == (["", "9", ""], "8", ["苏B2蓝", "苏B4蓝"])
        city.later(hours=1)
        pull(city, line)
        assert (other.since()[-1], entries(city)) == ("8", ["苏B2蓝", "苏B4蓝", "苏B5蓝"])


def test_changes_without_a_list_that_they_change_are_not_taken(city: City) -> None:
    with party(city, in_turn(told("9", "苏B1蓝"), told("9", "苏B2蓝", full=True))) as (other, line):
        assert pull(city, line) == Pulled(called=1, renewed=0, stale=(status_lists.Stale("PLATE", "32", None, "not_full"),))
        assert entries(city) == []
        city.later(minutes=5)
        assert pull(city, line).renewed == 1
        assert (other.since(), entries(city)) == (["", ""], ["苏B2蓝"])


def test_all_that_does_not_come_after_a_version_went_backwards_is_asked_for_until_it_does(city: City) -> None:
    answers = in_turn(told("9", "苏B1蓝", full=True), told("8"), told("8"), told("10", "苏B2蓝", full=True))
    with party(city, answers) as (other, line):
        pull(city, line)
        city.later(hours=1)
        assert pull(city, line) == Pulled(called=2, renewed=0, stale=())
        assert entries(city) == ["苏B1蓝"]
        city.later(minutes=5)
        assert pull(city, line).renewed == 1
        assert (other.since(), entries(city)) == (["", "9", "", ""], ["苏B2蓝"])


def test_several_workers_at_once_pull_each_list_once(city: City) -> None:
    wanted = [(kind, province) for kind in ("CARD", "OBU", "PLATE") for province in ("31", "32", "33")]
    with party(city, lambda ask: told("1", f"{ask.kind}{ask.province_code}", full=True)) as (other, line):
        with ThreadPoolExecutor(4) as pool:
            runs = list(
                pool.map(lambda _: pull(city, line, "CARD", "OBU", "PLATE", provinces=("31", "32", "33")), range(4))
            )  # fmt: skip
        assert sorted((ask.kind, ask.province_code) for ask in other.asked) == sorted(wanted)
        assert sum(run.renewed for run in runs) == 9
    assert sorted(city.column("select entry from payments.status_entry")) == sorted(kind + province for kind, province in wanted)


def test_an_answer_that_comes_after_a_later_one_is_kept_and_not_carried_out(city: City) -> None:
    asked_again = Event()

    def answered(_ask: StatusListAsk) -> StatusList:
        if asked_again.is_set():
            return told("2", "苏B2蓝", full=True)
        asked_again.set()
        city.later(minutes=6)
        with ThreadPoolExecutor(1) as other_worker:
            assert other_worker.submit(pull, city, line).result().renewed == 1
        return told("1", "苏B1蓝", full=True)

    with party(city, answered) as (_, line):
        assert pull(city, line) == Pulled(called=1, renewed=0, stale=())
    assert (standing(city), entries(city), city.calls("status_list")) == ("2", ["苏B2蓝"], 2)


def test_a_hundred_thousand_entries_take_as_many_statements_as_one_and_bounded_memory(city: City) -> None:
    first = tuple(f"3201{number:016d}" for number in range(MANY))
    half = tuple(f"3201{number:016d}" for number in range(MANY // 2, MANY // 2 + MANY))
    answers = in_turn(told("1", *first, full=True), told("2", *half, full=True), told("3", full=False, remove=half))
    statements: list[str] = []

    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    with party(city, answers) as (_, line):
        event.listen(city.db, "before_cursor_execute", count)
        tracemalloc.start()
        for left in (MANY, MANY, 0):
            statements.clear()
            assert pull(city, line, "CARD").renewed == 1
            assert len(statements) < 20
            assert city.column("select count(*) from payments.status_entry where is_listed") == [left]
            city.later(hours=1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 200 * 1024 * 1024


# What is kept is what was said

_ENTRY = st.sampled_from([f"苏B{n}蓝" for n in range(5)])
_CHANGE = st.builds(
    lambda full, add, remove: (full, tuple(add), tuple(remove)), st.booleans(), st.lists(_ENTRY), st.lists(_ENTRY)
)  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(_CHANGE, min_size=1, max_size=6))
def test_what_is_kept_and_what_lots_make_of_changes_is_what_the_field_says(city: City, changes: list[Any]) -> None:
    """Whatever version a lot had, carrying out what it is told leads to the list that is kept."""
    said = [told(str(n), *add, full=full or n == 1, remove=remove) for n, (full, add, remove) in enumerate(changes, 1)]
    expected: dict[str, frozenset[str]] = {"": frozenset()}
    before: frozenset[str] = frozenset()
    with city.db.begin() as tx:
        tx.execute(text("delete from payments.status_list; delete from payments.status_step; delete from payments.status_entry"))
    with party(city, in_turn(*said)) as (_, line):
        for change in said:
            assert pull(city, line).renewed == 1
            expected[change.version] = before = with_changes(before, change)
            assert frozenset(entries(city)) == before
            city.later(hours=1)
    for version, had in expected.items():
        news = since(city, version)
        assert news.full is (version == "")
        assert set(news.add).isdisjoint(news.remove)
        assert (frozenset() if news.full else had - set(news.remove)) | set(news.add) == before


@pytest.mark.parametrize(
    ("version", "other", "earlier"),
    [("8", "9", True), ("9", "10", True), ("9", "9", False), ("10", "9", False), ("20260302.9", "20260302.10", True),
     ("a", "b", False), ("", "1", False), ("1", "", False), ("1.2", "3", False), ("", "", False)],
)  # fmt: skip
def test_versions_are_compared_as_numbers_where_they_are_some(version: str, other: str, earlier: bool) -> None:
    assert lists.is_earlier(version, other) is earlier


# Asking


def test_what_was_taken_off_is_told_for_thirty_days_and_then_deleted(city: City) -> None:
    answers = in_turn(told("1", "苏B1蓝", "苏B2蓝", full=True), told("2", remove=("苏B1蓝",)), told("3", "苏B3蓝"), told("3"))
    with party(city, answers) as (_, line):
        for _pull in range(3):
            pull(city, line)
            city.later(hours=1)
        assert since(city, "1").remove == ("苏B1蓝",)
        city.later(days=30)
        assert pull(city, line).renewed == 1
    assert city.column("select entry from payments.status_entry order by 1") == ["苏B2蓝", "苏B3蓝"]
    assert (since(city, "1").full, since(city, "1").add) == (True, ("苏B2蓝", "苏B3蓝"))
    assert (since(city, "3").full, since(city, "3").add, since(city, "3").remove) == (False, (), ())


def test_the_same_version_with_other_content_is_told_to_who_had_it(city: City) -> None:
    with party(city, in_turn(told("1", "苏B1蓝", full=True), told("1", "苏B2蓝", full=True))) as (_, line):
        pull(city, line)
        city.later(hours=1)
        pull(city, line)
    assert (since(city, "1").add, since(city, "1").remove) == (("苏B2蓝",), ("苏B1蓝",))


def test_who_has_the_oldest_version_left_needs_nothing_of_what_it_took_off(city: City) -> None:
    with party(city, in_turn(told("1", "苏B1蓝", full=True), told("2", remove=("苏B1蓝",)), told("2"))) as (_, line):
        for _pull in range(2):
            pull(city, line)
            city.later(hours=1)
        city.later(days=30)
        pull(city, line)
    assert city.column("select entry from payments.status_entry") == []
    assert (since(city, "2").full, since(city, "2").remove) == (False, ())


def test_what_is_told_again_without_having_changed_is_not_told_to_lots_again(city: City) -> None:
    again = told("3", "苏B1蓝", remove=("苏B1蓝",))
    with party(city, in_turn(told("1", "苏B1蓝", full=True), told("2", "苏B1蓝", full=True), again)) as (_, line):
        for _pull in range(3):
            pull(city, line)
            city.later(hours=1)
    assert (since(city, "1").version, since(city, "1").add, since(city, "1").remove) == ("3", (), ())


def test_a_list_that_never_came_is_not_an_empty_list(city: City) -> None:
    behave(city, busy=1)
    [one] = pull(city).stale
    assert (one.kind, one.province, one.pulled_at, one.reason) == ("PLATE", "32", None, "unavailable")
    with pytest.raises(Unavailable) as missing:
        since(city)
    assert missing.value.code == "status_list_missing"


def test_a_list_that_is_not_kept_is_not_found(city: City) -> None:
    with pytest.raises(NotFound) as unknown:
        since(city)
    assert unknown.value.code == "status_list_not_found"


def test_a_list_is_stale_after_two_hours_is_told_so_at_each_run_and_counts_no_more(city: City) -> None:
    city.etc_plate(listed=True)
    pull(city)
    assert (listed(city), since(city).stale) == (True, False)
    behave(city, busy=100)
    city.later(hours=2)
    assert (pull(city).stale, listed(city)) == ((), True)
    city.later(minutes=5)
    for _run in range(2):
        [one] = pull(city).stale
        assert (one.pulled_at, one.reason) == (AT, "unavailable")
    assert (listed(city), since(city).stale, since(city).add) == (False, True, (ENTRY,))


def test_an_entry_is_found_by_the_index(city: City) -> None:
    with party(city, in_turn(told("1", *(f"苏B{n:05d}蓝" for n in range(5000)), full=True))) as (_, line):
        pull(city, line)
    with city.db.connect() as tx:
        tx.execute(text("set local enable_seqscan = off"))
        query = "explain select from payments.status_entry where kind = 'PLATE' and entry = '苏B00001蓝' and is_listed"
        assert "status_entry_pkey" in "".join(tx.execute(text(query)).scalars())
        assert status_list_store.is_listed(tx, kind="PLATE", entry="苏B00001蓝", since=AT)


# Deductions


def reasons(city: City, channel: str | None = None) -> list[str | None]:
    return [one.reason for one in city.deduct(channel).tried if one.channel == "etc"]


@pytest.mark.parametrize("channel", [None, "etc"])
def test_a_plate_on_the_list_is_not_asked_for_at_etc(city: City, channel: str | None) -> None:
    city.etc_plate(listed=True)
    pull(city)
    assert reasons(city, channel) == ["plate_listed"]
    asked = "select channel from gateways.raw_message where operation = 'mandate_query' and channel = 'etc'"
    assert (city.column(asked), city.states()) == ([], [])


def test_the_next_channel_takes_what_etc_is_not_asked_for(city: City) -> None:
    city.etc_plate(listed=True)
    city.alipay_plate()
    pull(city)
    made = city.deduct()
    assert (made.state, made.channel, made.tried[0].reason) == ("succeeded", "alipay", "plate_listed")


def test_the_same_number_in_another_colour_is_another_car(city: City) -> None:
    city.etc_plate(listed=True, colour=1)
    city.etc_plate(answer="paid")
    pull(city)
    assert city.deduct("etc").state == "succeeded"


def test_a_stale_list_is_not_heeded_and_the_channel_itself_says(city: City) -> None:
    city.etc_plate(listed=True)
    pull(city)
    city.later(hours=2, seconds=1)
    assert reasons(city, "etc") == ["mandate_none"]
    assert city.calls("mandate_query") == 1


def test_a_list_that_keeps_to_an_old_version_leaves_the_word_to_the_channel(city: City) -> None:
    behave(city, stale_list=True)
    city.etc_plate(listed=True)
    assert pull(city).renewed == 1
    assert (entries(city), reasons(city, "etc")) == ([], ["mandate_none"])
    behave(city)
    city.later(hours=1)
    pull(city)
    assert (entries(city), reasons(city, "etc")) == ([ENTRY], ["plate_listed"])


def test_a_plate_that_was_taken_off_is_charged_again(city: City) -> None:
    city.etc_plate(listed=True)
    pull(city)
    city.etc_plate(answer="paid")
    city.later(hours=1)
    pull(city)
    assert city.deduct("etc").state == "succeeded"


def test_a_deduction_that_is_under_way_is_asked_about_though_its_plate_is_listed_now(city: City) -> None:
    city.etc_plate(answer="accepted")
    assert city.deduct("etc").state == "pending"
    city.etc_plate(listed=True)
    pull(city)
    city.later(seconds=10)
    assert city.deduct("etc").state == "succeeded"


# Cards


def test_a_card_that_was_charged_at_the_lane_is_taken_though_it_is_listed_now(city: City) -> None:
    lane = Lane(city)
    record = lane.record(1, list_version="3")
    card = record.card_net + record.card_no
    with party(city, lambda ask: told("4", card if ask.kind == "CARD" else record.obu_no, full=True)) as (_, line):
        assert pull(city, line, "CARD", "OBU").renewed == 2
    with city.db.connect() as tx:
        assert status_lists.listed(tx, kind="CARD", entry=card, at=AT)
        assert status_lists.listed(tx, kind="OBU", entry=record.obu_no, at=AT)
    [taken] = lane.take(NewCardCharge(record, "S1"))
    assert taken.outcome == "created"
    assert lane.send().answered == 1
