"""Charges by card over the province's line: packages and what becomes of them, over real TCP to the network centre's stand-in."""

import random
import socket
import string
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine, text

from gateways.etc.clearing import PACKAGE_CHARGES_MAX, Package
from gateways.etc.codes import BookingReason, Receipt
from gateways.etc.jiangsu import messages
from gateways.etc.jiangsu.frame import PACKED_BYTES_MAX
from gateways.etc.jiangsu.messages import Answer
from gateways.etc.jiangsu.session import Outbound
from gateways.etc.jiangsu.uplink import CHARGES_MAX, JiangsuUplink
from gateways.etc.record import TransactionRecord, charge_id
from payments.cards import packing
from payments.cards.packing import Sent
from payments.cards.records import NewCardCharge
from tests.gateways.conftest import free_port
from tests.gateways.etc_cases import ENTERED_AT, PAID_AT, RECORD
from tests.payments.conftest import AT
from tests.payments.line_city import CENTRE, TODAY, US, LineLane, lane_on_the_line, said
from tests.payments.test_cards import OWED, SETTLED

TOMORROW = TODAY + timedelta(days=1)


@pytest.fixture
def lane(db: Engine, tmp_path: Path) -> Iterator[LineLane]:
    with lane_on_the_line(db, tmp_path) as found:
        yield found


# The life of a package


def test_a_package_goes_all_the_way(lane: LineLane) -> None:
    lane.behave(dispute=[1, 9])
    lane.bring(3)
    assert lane.send() == Sent(packed=1, called=1, answered=0)
    assert lane.package() == "sent", "a reply says that the frame arrived, and nothing else"
    assert lane.entries() == [OWED] * 3
    lane.deliver()
    assert lane.package() == "acked"
    lane.deliver(seconds=61)
    assert lane.package() == "booked"
    assert sorted(lane.cards()) == ["booked", "disputed", "disputed"]
    lane.settle(0, trans_no=1)
    lane.settle(1, trans_no=2)
    assert sorted(lane.cards()) == ["bad", "booked", "released"]
    assert lane.entries() == [SETTLED, SETTLED, OWED, OWED, OWED]
    assert lane.city.states() == ["failed", "succeeded", "succeeded"]
    lane.clear()
    assert lane.city.column("select cleared_on from payments.v_payment_fact") == [TODAY, TODAY]
    assert lane.answers() == [Receipt.ACCEPTED] * 4
    assert lane.came() == [("verified", None)] * 5
    assert lane.cases() == []
    assert lane.city.sound()


def test_what_was_sent_and_what_was_replied_is_kept(lane: LineLane) -> None:
    lane.bring(1)
    lane.send()
    with lane.city.db.connect() as tx:
        [row] = tx.execute(text("select verdict, reason, body, request from gateways.raw_message where operation = 'upload'"))
    [package] = lane.packages()
    assert (row.verdict, row.reason) == ("unanswered", "awaited")
    assert bytes(row.body) == f"{package['message_no']}1".encode()
    assert b"<Transaction>" in bytes(row.request)


def test_an_answer_comes_late_and_twice(lane: LineLane) -> None:
    lane.behave(answer_late_seconds=61, answer_twice=True)
    lane.bring(1)
    lane.send()
    lane.deliver()
    assert lane.package() == "sent"
    lane.deliver(seconds=1)
    assert (lane.package(), lane.cases()) == ("acked", [])
    assert lane.came() == [("verified", None)] * 2
    assert lane.again(hours=1).called == 0, "what is answered does not go again"


def test_a_booking_result_overtakes_the_answer(lane: LineLane) -> None:
    lane.bring(1)
    lane.send()
    lane.deliver(seconds=61)
    assert (lane.package(), lane.city.states(), lane.cases()) == ("booked", ["succeeded"], [])


def test_a_reply_of_0_means_the_same_again_after_five_seconds(lane: LineLane) -> None:
    lane.behave(reply_not_received=2)
    lane.bring(1)
    lane.send()
    assert lane.again(seconds=4).called == 0
    assert [lane.again(seconds=1).called, lane.again(seconds=5).called] == [1, 1]
    assert len(lane.packages()) == 1
    lane.book()
    assert (lane.city.states(), lane.cases()) == (["succeeded"], [])
    reasons = lane.city.column("select reason from gateways.raw_message where operation = 'upload' order by message_id")
    assert reasons == ["line_not_received", "line_not_received", "awaited"]


def test_after_three_tries_a_person_is_told(lane: LineLane) -> None:
    lane.behave(reply_not_received=3)
    lane.bring(1)
    lane.send()
    lane.again(seconds=5)
    assert lane.cases() == []
    lane.again(seconds=5)
    assert lane.cases() == ["package_waits"]


def test_a_package_whose_answer_is_lost_goes_again_after_ten_minutes_and_is_looked_at(lane: LineLane) -> None:
    lane.bring(1)
    lane.behave(hold_booking=True)
    lane.send()
    lane.lose_answers()
    assert lane.again(minutes=9).called == 0
    assert lane.again(minutes=1).called == 1
    lane.deliver()
    assert (lane.package(), lane.cases()) == ("sent", ["package_waits"]), "5: taken before; nobody sends it again"
    assert lane.again(hours=1).called == 0
    lane.city.later(hours=24)
    lane.ask()
    lane.deliver()
    assert (lane.package(), lane.city.states()) == ("booked", ["succeeded"])


def test_a_wrong_digest_of_theirs_is_replied_to_with_0_and_comes_again(lane: LineLane) -> None:
    lane.behave(wrong_digest=1)
    lane.bring(1)
    lane.send()
    lane.deliver()
    assert lane.package() == "sent"
    lane.deliver(seconds=5)
    assert lane.package() == "acked"


def test_a_package_that_is_refused_waits_for_a_person_and_is_packed_anew(lane: LineLane) -> None:
    lane.bring(2)
    lane.send()
    [number] = lane.city.column("select number from payments.card_package")
    refusal = Answer(message_no=number, processed_at=AT.replace(microsecond=0), result=Receipt.CONTENT_WRONG)
    assert lane.say(said(messages.ORIGINAL_ANSWER, refusal))[-1:] == b"1"
    assert (lane.package(), lane.cards(), lane.cases()) == ("rejected", ["rejected"] * 2, ["package_refused"])
    with lane.city.db.begin() as tx:
        assert packing.repack(tx, lane=0, number=number) == 2
    assert lane.send() == Sent(packed=1, called=1, answered=0)
    assert len({one["message_no"] for one in lane.packages()}) == 2


def test_an_answer_to_what_was_never_sent_changes_nothing(lane: LineLane) -> None:
    lane.bring(1)
    lane.city.later(minutes=16)
    packing.pack(lane.city.till, lane.line)
    [number] = lane.city.column("select number from payments.card_package")
    for about in (number, "0" * 20):
        accepted = Answer(message_no=about, processed_at=AT.replace(microsecond=0), result=Receipt.ACCEPTED, clear_on=TODAY)
        lane.say(said(messages.ORIGINAL_ANSWER, accepted))
    assert lane.package() == "packed"
    assert packing.run_due(lane.city.till, lane.line).called == 1


# Booking, disputes, clearing


@pytest.mark.parametrize("reason", list(BookingReason))
def test_a_booking_result_names_each_reason(lane: LineLane, reason: BookingReason) -> None:
    lane.behave(dispute=[int(reason)])
    lane.bring(1)
    lane.send()
    lane.book()
    assert lane.city.column("select reason from payments.card_record") == [int(reason)]
    assert (lane.cards(), lane.entries()) == (["disputed"], [OWED])
    assert lane.answers() == [Receipt.ACCEPTED]


def test_no_booking_result_until_it_is_asked_for(lane: LineLane) -> None:
    lane.behave(hold_booking=True)
    lane.bring(1)
    lane.send()
    lane.book()
    assert lane.package() == "acked"
    assert lane.ask().tried == 0, "it is not overdue"
    lane.again(hours=25)
    assert lane.cases() == ["package_waits"]
    assert lane.ask().arrived == 1
    assert lane.ask().tried == 0, "once a day"
    lane.deliver()
    assert lane.city.states() == ["succeeded"]
    lane.city.later(hours=24)
    assert lane.ask().tried == 2, "the answers to the booking result and to that day's statistics, and no request"


def test_who_is_not_heard_asks_again_the_next_day(lane: LineLane) -> None:
    lane.bring(1)
    lane.behave(hold_booking=True)
    lane.send()
    lane.deliver()
    lane.city.later(hours=25)
    assert lane.ask().arrived == 1
    lane.city.later(hours=24)
    assert lane.ask().arrived == 1
    assert len(lane.letters()) == 2


def test_booking_results_that_differ_are_refused(lane: LineLane) -> None:
    lane.behave(booking_twice=True, dispute=[1])
    lane.bring(2)
    lane.send()
    lane.book()
    assert lane.cases() == ["booking_refused"]
    assert lane.answers() == [Receipt.ACCEPTED, Receipt.CONTENT_WRONG]
    assert lane.city.sound()


def test_the_same_booking_result_again_is_answered_as_repeated(lane: LineLane) -> None:
    lane.bring(1)
    lane.send()
    lane.book()
    [package] = lane.packages()
    lane.centre.do(lambda: lane.centre.stand_in.packages.book(package["message_no"]))
    lane.deliver()
    assert lane.answers() == [Receipt.ACCEPTED, Receipt.REPEATED]
    assert lane.entries() == [SETTLED, OWED]


@pytest.mark.parametrize("off", [{"clearing_off_fen": 1}, {"clearing_off_count": 1}])
def test_clearing_that_is_off_is_answered_8(lane: LineLane, off: dict[str, int]) -> None:
    lane.bring(1)
    lane.send()
    lane.book()
    lane.behave(**off)
    lane.clear()
    assert lane.answers() == [Receipt.ACCEPTED, Receipt.CLEARING_DISAGREES]
    assert lane.cases() == ["clearing_disagrees"]
    assert lane.city.column("select cleared_on from payments.v_payment_fact") == [None]


def test_two_dispute_files_a_day_and_one_charge_settled_twice(lane: LineLane) -> None:
    lane.behave(dispute=[1, 9])
    lane.bring(2)
    lane.send()
    lane.book()
    lane.settle(0, trans_no=1)
    lane.settle(1, trans_no=2)
    lane.settle(0, trans_no=2, again=True)
    assert sorted(lane.cards()) == ["bad", "released"]
    assert len(lane.city.column("select file_no from payments.card_dispute_file")) == 2
    assert lane.cases() == ["dispute_refused"]
    assert lane.answers() == [Receipt.ACCEPTED, Receipt.ACCEPTED, Receipt.ACCEPTED, Receipt.CONTENT_WRONG]
    assert lane.city.sound()


def test_the_clearing_date_is_the_one_that_they_state(lane: LineLane) -> None:
    lane.behave(move_clear_date=True)
    lane.bring(1)
    lane.send()
    lane.book()
    assert lane.city.column("select clear_on from payments.card_package") == [TOMORROW]
    lane.clear(TOMORROW)
    assert lane.city.column("select cleared_on from payments.v_payment_fact") == [TOMORROW]
    assert lane.answers() == [Receipt.ACCEPTED] * 2


def test_a_charge_of_nothing_is_told_and_moves_no_money(lane: LineLane) -> None:
    lane.take(NewCardCharge(lane.record(1, fee_fen=0)))
    lane.send()
    lane.book()
    lane.clear()
    assert (lane.cards(), lane.entries(), lane.cases()) == (["booked"], [], [])
    assert lane.answers() == [Receipt.ACCEPTED] * 2


# How large packages are


def test_packages_are_by_network_and_kind_of_card(lane: LineLane) -> None:
    kinds: list[dict[str, Any]] = [{}, {"card_type": 23}, {"card_net": "3101"}, {}]
    lane.take(*(NewCardCharge(lane.record(number, fee_fen=0, **kind)) for number, kind in enumerate(kinds, 1)))
    assert lane.send().packed == 3
    lane.book()
    assert sorted(one["count"] for one in lane.packages()) == [1, 1, 2]
    assert lane.cards() == ["booked"] * 4


@pytest.mark.parametrize("change", [{"entered_at": None}, {"lot_name": "停" * 76}])
def test_a_record_that_this_wire_has_no_words_for_holds_up_no_other(lane: LineLane, change: dict[str, Any]) -> None:
    lane.take(NewCardCharge(lane.record(1, fee_fen=0, **change)), NewCardCharge(lane.record(2, fee_fen=0)))
    assert lane.send().packed == 2
    assert sorted(lane.city.column("select state from payments.card_package")) == ["rejected", "sent"]
    assert lane.cases() == ["package_refused"]
    assert [one["count"] for one in lane.packages()] == [1]


def test_a_thousand_records_go_at_once(lane: LineLane) -> None:
    records = [NewCardCharge(lane.record(number, fee_fen=0)) for number in range(1, CHARGES_MAX + 2)]
    lane.take(*records[1:])
    lane.take(records[0])
    assert packing.run_due(lane.city.till, lane.line) == Sent(packed=1, called=1, answered=0)
    lane.book()
    assert [one["count"] for one in lane.packages()] == [CHARGES_MAX]
    assert sorted(set(lane.cards())) == ["booked", "new"]


def _random_record(number: int, chance: random.Random, *, worst: bool) -> TransactionRecord:
    """A record whose every part is of chance; ``worst``: with the longest texts, of chance as well."""

    def digits(count: int) -> str:
        return "".join(chance.choices(string.digits, k=count))

    def hexes(count: int) -> str:
        return "".join(chance.choices("0123456789ABCDEF", k=count))

    at, fee, before = PAID_AT + timedelta(seconds=number), chance.randrange(30_000), chance.randrange(30_000, 2**32)
    lot_no = digits(10) if worst else RECORD.lot_no
    record = replace(
        RECORD, charge_id=charge_id(lot_no=lot_no, at=at, lane_serial=number), lot_no=lot_no, happened_at=at,
        entered_at=ENTERED_AT - timedelta(minutes=chance.randrange(600)), fee_fen=fee, pre_balance_fen=before,
        post_balance_fen=before - fee, card_no=digits(16), obu_no=digits(16), plate=f"苏B{digits(5)}", tac=hexes(8),
        terminal_serial=hexes(8), card_counter=hexes(4), parked_minutes=chance.randrange(600),
    )  # fmt: skip
    if not worst:
        return record
    characters = [chr(chance.randrange(0x4E00, 0x9FA6)) for _ in range(75 + 12)]
    return replace(
        record, lot_name="".join(characters[:75]), plate="".join(characters[75:]), station_no=hexes(16), entry_lane_no=hexes(16),
        exit_lane_no=hexes(16), obu_net=digits(4), obu_state=hexes(4), terminal_no=hexes(12), vehicle_type=chance.randrange(1, 11),
        parked_minutes=chance.randrange(5_000_000),
    )  # fmt: skip


def _frame_bytes(count: int, *, worst: bool) -> int:
    chance = random.Random(1)
    package = Package(
        message_no="1".zfill(20), clear_on=TODAY, service_provider_no="320201", issuer_no="320101",
        records=tuple(_random_record(number, chance, worst=worst) for number in range(count)),
    )  # fmt: skip
    return len(Outbound(said(messages.ORIGINAL, package, number=1, sender=US, receiver=CENTRE)).content)


def test_a_full_package_of_the_longest_texts_fits_into_a_frame_with_room() -> None:
    assert _frame_bytes(CHARGES_MAX, worst=True) < 0.6 * PACKED_BYTES_MAX


def test_how_many_charges_a_frame_holds() -> None:
    """What stands beside ``CHARGES_MAX``: measured on a part, because a whole one takes some seconds."""
    real, worst = _frame_bytes(500, worst=False) / 500, _frame_bytes(500, worst=True) / 500
    assert 4_500 < PACKED_BYTES_MAX / real < 6_500
    assert 1_700 < PACKED_BYTES_MAX / worst < 2_200
    assert CHARGES_MAX < PACKAGE_CHARGES_MAX


def test_what_is_too_large_for_a_frame_is_not_sent(lane: LineLane) -> None:
    chance = random.Random(1)
    package = Package(
        message_no="2".zfill(20), clear_on=TODAY, service_provider_no="320201", issuer_no="320101",
        records=tuple(_random_record(number, chance, worst=True) for number in range(2_200)),
    )  # fmt: skip
    call = lane.line.send(package, subject=lane.city.ids.new(AT, "x"), occasion="1")
    assert (call.outcome.verdict, call.outcome.reason, call.outcome.receipt) == ("unanswered", "package_form", None)
    assert lane.packages() == []


# The line itself


@contextmanager
def other_side(*parts: bytes, pause: float = 0.0, hold: bool = False) -> Iterator[int]:
    """A port that takes one connection after another, reads some, and writes ``parts`` with pauses between."""
    taken = socket.create_server(("127.0.0.1", 0))
    taken.settimeout(0.1)
    ended = False

    def serve() -> None:
        held = []
        while not ended:
            try:
                connection, _ = taken.accept()
            except TimeoutError:
                continue
            connection.recv(1024)
            for part in parts:
                time.sleep(pause)
                try:
                    connection.sendall(part)
                except OSError:
                    break
            held.append(connection)
            if not hold:
                connection.close()
        for connection in held:
            connection.close()
        taken.close()

    thread = Thread(target=serve)
    thread.start()
    try:
        yield int(taken.getsockname()[1])
    finally:
        ended = True
        thread.join()


def reason_of(lane: LineLane, port: int, *, seconds: float = 0.6) -> str | None:
    lane.line.centre = replace(lane.line.centre, port=port, reply_seconds_max=seconds)
    lane.bring(1)
    lane.send()
    assert lane.package() == "sent"
    [reason] = lane.city.column("select reason from payments.card_package")
    return str(reason)


def test_no_connection(lane: LineLane) -> None:
    assert reason_of(lane, free_port()) == "line_down"


def test_a_host_that_nobody_knows(lane: LineLane) -> None:
    lane.line.centre = replace(lane.line.centre, host="centre.invalid")
    assert reason_of(lane, free_port()) == "line_down"


def test_silence(lane: LineLane) -> None:
    with other_side(hold=True) as port:
        assert reason_of(lane, port) == "line_silent"


def test_a_connection_that_is_closed_without_a_word(lane: LineLane) -> None:
    with other_side() as port:
        assert reason_of(lane, port) == "line_silent"


def test_a_reply_that_drips(lane: LineLane) -> None:
    with other_side(*[b"0"] * 20, pause=0.1, hold=True) as port:
        assert reason_of(lane, port) == "line_silent"


def test_a_reply_to_something_else(lane: LineLane) -> None:
    with other_side(b"9" * 20 + b"1", hold=True) as port:
        assert reason_of(lane, port) == "line_unreadable"


def test_a_line_that_is_down_holds_back_nothing_for_ever(lane: LineLane) -> None:
    good = lane.line.centre
    assert reason_of(lane, free_port()) == "line_down"
    lane.line.centre = good
    lane.again(seconds=5)
    lane.book()
    assert lane.city.states() == ["succeeded"]


def test_the_uplink_says_in_one_word_what_it_needs_to_be_alike() -> None:
    heap = JiangsuUplink.heap
    uplink = object.__new__(JiangsuUplink)
    assert heap(uplink, RECORD) == "3201 stored"
    assert heap(uplink, replace(RECORD, card_type=2, card_net="3101")) == "3101 credit"
    assert heap(uplink, replace(RECORD, entered_at=None)) != "3201 stored"
