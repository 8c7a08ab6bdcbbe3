"""The listening side of the province's line: who is heard, what is bounded, what survives, over real TCP."""

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, text

from app import cli
from app.etc_line import serve
from app.etc_line.taking import Taker
from app.stand_in import network_centre
from app.wiring import Wiring, build, centre, origin
from app.worker import work
from config.settings import Settings, SettingsError, changed, load
from gateways import tcp
from gateways.etc.clearing import BookingResult
from gateways.etc.codes import Receipt
from gateways.etc.jiangsu import messages
from gateways.etc.jiangsu.frame import HEADER_BYTES, frame
from gateways.etc.jiangsu.messages import Answer, Kind, Message
from gateways.etc.jiangsu.session import Outbound, letter
from gateways.etc.jiangsu.uplink import JiangsuUplink
from gateways.etc.uplink import HttpsUplink
from ledger.books import open_lane
from ledger.db import engine
from payments.cards import letters, store
from payments.cards.packages import number_of
from payments.cards.records import LetterRow
from tests.gateways.conftest import free_port
from tests.gateways.etc_cases import package
from tests.payments.conftest import AT
from tests.payments.line_city import CENTRE, TODAY, US, LineLane, lane_on_the_line, listening, said, until
from tests.payments.test_cards import OWED, SETTLED

NO_WORD = b""
STRANGER = frozenset({"192.0.2.7"})


@pytest.fixture
def lane(db: Engine, tmp_path: Path) -> Iterator[LineLane]:
    with lane_on_the_line(db, tmp_path, frame_seconds_max=1.0) as found:
        yield found


def booking(lane: LineLane, **other: Any) -> BookingResult:
    """What the issuer says of the one package that is there: all of it is booked."""
    [(number, count, fen)] = lane.city.column("select array[number, count::text, amount_fen::text] from payments.card_package")
    told: dict[str, Any] = {
        "service_provider_no": "320201", "issuer_no": "320101", "message_no": number, "processed_at": AT.replace(microsecond=0),
        "count": int(count), "amount_fen": int(fen), "confirmed_count": int(count), "disputed_count": 0,
    } | other  # fmt: skip
    return BookingResult(**told)


def sent(lane: LineLane) -> None:
    """A package is with the centre, which keeps what it has to say to itself."""
    lane.bring(1)
    lane.behave(hold_booking=True)
    lane.send()
    lane.lose_answers()


# Who is heard


def test_what_the_centre_says_is_kept_carried_out_and_answered(lane: LineLane) -> None:
    sent(lane)
    message = said(messages.BOOKING, booking(lane))
    assert lane.say(message) == f"{message.head.message_no}1".encode()
    assert (lane.package(), lane.entries()) == ("booked", [SETTLED, OWED])
    assert lane.came() == [("verified", None)]
    [(body, headers)] = kept(lane)
    assert bytes(body) == letter(message).xml
    assert msgspec.json.decode(headers) == {"peer": "127.0.0.1", "frame": message.head.message_no}
    assert lane.answers() == [Receipt.ACCEPTED]


def kept(lane: LineLane) -> list[tuple[Any, str]]:
    with lane.city.db.connect() as tx:
        found = tx.execute(text("select body, headers from gateways.raw_message where direction = 'in' and headers <> '{}'"))
        return [(row[0], row[1]) for row in found]


def test_another_sender_is_kept_and_nothing_follows(lane: LineLane) -> None:
    sent(lane)
    assert lane.say(said(messages.BOOKING, booking(lane), sender=messages.ORDINARY_ROADS)) == NO_WORD
    assert (lane.package(), lane.letters()) == ("sent", [])
    assert lane.came() == [("unverified", "sender_unknown")]


def test_another_address_is_kept_and_nothing_follows(db: Engine, tmp_path: Path) -> None:
    with lane_on_the_line(db, tmp_path, peers=STRANGER) as lane:
        sent(lane)
        assert lane.say(said(messages.BOOKING, booking(lane))) == NO_WORD
        until(lambda: lane.came() == [("unverified", "peer_unknown")])
        assert (lane.package(), lane.letters()) == ("sent", [])


def test_a_flood_from_elsewhere_is_not_kept_for_ever(lane: LineLane) -> None:
    taker = Taker(lane.city.till, lane.city.line("etc"), lane.line.centre, refused_per_minute=2)
    with listening(taker, peers=STRANGER) as port:
        lane.port = port
        for number in range(5):
            assert lane.say(ask(number)) == NO_WORD
    assert lane.came() == [("unverified", "peer_unknown")] * 2


def ask(number: int) -> Message:
    return messages.resend(messages.BOOKING, sender=CENTRE, receiver=US, message_no=f"{number:020d}")


def test_a_message_for_somebody_else_is_answered_2(lane: LineLane) -> None:
    sent(lane)
    assert lane.say(said(messages.BOOKING, booking(lane), receiver=messages.ORDINARY_ROADS))[-1:] == b"1"
    assert lane.package() == "sent"
    assert lane.came() == [("unreadable", "header_wrong")]
    assert ">2<" in lane.letters()[0]


# What is said


def test_what_has_no_published_body_is_kept_and_answered_1(lane: LineLane, caplog: pytest.LogCaptureFixture) -> None:
    for number, kind in enumerate((messages.REFUND, messages.ADJUSTMENT, messages.SETTLEMENT, Kind(5, 12, 4)), 1):
        assert lane.throw(frame(f"{number:020d}", bodyless(kind, number)))[-1:] == b"1"
    assert lane.came() == [("verified", None)] * 4
    assert lane.answers() == [Receipt.ACCEPTED] * 4
    assert sum(one.levelname == "CRITICAL" for one in caplog.records) == 4


def bodyless(kind: Kind, number: int) -> bytes:
    """A message whose body holds what nobody has published."""
    empty = messages.write(messages.resend(messages.BOOKING, sender=CENTRE, receiver=US, message_no=f"{number:020d}"))
    text_of = empty.decode().replace("<MessageClass>1<", f"<MessageClass>{kind.message_class}<")
    text_of = text_of.replace("<MessageType>5<", f"<MessageType>{kind.message_type}<")
    return text_of.replace('ContentType="1"', f'ContentType="{kind.content}"').encode()


def test_a_package_is_not_for_us(lane: LineLane) -> None:
    theirs = msgspec.structs.replace(package(100), message_no=f"{7000:020d}")
    assert lane.say(said(messages.ORIGINAL, theirs))[-1:] == b"1"
    assert lane.answers() == [Receipt.ADVICE_REFUSED]
    assert lane.cards() == []


def test_a_request_of_theirs_is_kept_and_not_answered(lane: LineLane) -> None:
    assert lane.say(ask(1))[-1:] == b"1"
    assert (lane.came(), lane.letters()) == ([("verified", None)], [])


@pytest.mark.parametrize("answer", [Receipt.CLEARING_DISAGREES, Receipt.ACCEPTED])
def test_an_answer_that_means_nothing_changes_nothing(lane: LineLane, answer: Receipt) -> None:
    sent(lane)
    [number] = lane.city.column("select number from payments.card_package")
    kind = messages.ORIGINAL_ANSWER if answer is Receipt.CLEARING_DISAGREES else Kind(6, 5, 1)
    told = Answer(message_no=number, processed_at=AT.replace(microsecond=0), result=answer)
    assert lane.say(said(kind, told))[-1:] == b"1"
    assert (lane.package(), lane.letters(), lane.came()) == ("sent", [], [("verified", None)])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda xml: xml.replace(b"<DisputedCount>0<", b"<DisputedCount>1<"), 4),
        (lambda xml: xml.replace(b"<Amount>", b"<Amounts>").replace(b"</Amount>", b"</Amounts>"), 3),
        (lambda xml: xml.replace(b">00010000<", b">00090000<"), 7),
    ],
)
def test_what_cannot_be_taken_is_answered_with_its_code(lane: LineLane, change: Callable[[bytes], bytes], code: int) -> None:
    sent(lane)
    message = said(messages.BOOKING, booking(lane))
    assert lane.throw(frame(message.head.message_no, change(letter(message).xml)))[-1:] == b"1"
    assert lane.package() == "sent"
    assert [verdict for verdict, _ in lane.came()] == ["unreadable"]
    assert lane.answers() == [Receipt(code)]


@pytest.mark.parametrize("xml", [b"not XML at all", b"<?xml version='1.0'?><Message/>", b""])
def test_what_names_no_sender_is_kept_and_cannot_be_answered(lane: LineLane, xml: bytes) -> None:
    assert lane.throw(frame("5".zfill(20), xml))[-1:] == b"1"
    assert (lane.came(), lane.letters()) == ([("unreadable", "header")], [])


def test_the_same_message_again_is_answered_as_repeated(lane: LineLane) -> None:
    sent(lane)
    message = said(messages.BOOKING, booking(lane))
    assert lane.say(message) == lane.say(message)
    assert lane.entries() == [SETTLED, OWED]
    assert lane.answers() == [Receipt.ACCEPTED, Receipt.REPEATED]


# What is bounded


def conversation(lane: LineLane, *parts: bytes, pause: float = 0.0, end: bool = False) -> bytes:
    with socket.create_connection(("127.0.0.1", lane.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        if end:
            connection.shutdown(socket.SHUT_WR)
        return connection.recv(64)


def test_half_a_frame_is_replied_to_with_0(lane: LineLane) -> None:
    sent(lane)
    content = Outbound(said(messages.BOOKING, booking(lane))).content
    assert conversation(lane, content[:-1], end=True) == content[:20] + b"0"
    assert conversation(lane, content[: HEADER_BYTES - 1], end=True) == NO_WORD
    assert conversation(lane, b"", end=True) == NO_WORD
    assert (lane.package(), lane.came()) == ("sent", [])


def test_a_frame_that_comes_byte_by_byte_is_taken(lane: LineLane) -> None:
    content = Outbound(ask(1)).content
    assert conversation(lane, *(content[place : place + 1] for place in range(len(content)))) == content[:20] + b"1"


def test_a_frame_that_drips_too_slowly_is_replied_to_with_0(lane: LineLane) -> None:
    content = Outbound(ask(1)).content
    assert conversation(lane, *(content[place : place + 8] for place in range(0, 80, 8)), pause=0.12) == content[:20] + b"0"
    assert lane.came() == []


def test_an_announced_length_that_never_comes_is_replied_to_with_0(lane: LineLane) -> None:
    header = f"{1:020d}999999{'0' * 32}".encode()
    assert conversation(lane, header + b"x" * 100) == header[:20] + b"0"


def test_more_than_was_announced_is_replied_to_with_0(lane: LineLane) -> None:
    content = Outbound(ask(1)).content
    assert conversation(lane, content + b"x" * 200_000) == content[:20] + b"0"
    assert lane.came() == []


def test_a_small_frame_that_unpacks_to_gigabytes_is_replied_to_with_0(lane: LineLane) -> None:
    block = b"\x00\x00" + (14).to_bytes(2, "big") + b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
    content = block * 50_000
    assert conversation(lane, f"{1:020d}{len(content):06d}{'0' * 32}".encode() + content)[-1:] == b"0"


def test_garbage_is_closed_without_a_word(lane: LineLane) -> None:
    assert conversation(lane, b"GET / HTTP/1.1\r\nhost: example\r\nuser-agent: something that is long enough\r\n\r\n") == NO_WORD


def test_no_more_connections_than_there_are_places_and_strangers_take_none(db: Engine, tmp_path: Path) -> None:
    with lane_on_the_line(db, tmp_path, connections_max=1) as lane:
        with socket.create_connection(("127.0.0.1", lane.port), timeout=20) as first:
            first.sendall(b"0" * 10)
            time.sleep(0.3)
            assert lane.say(ask(1)) == NO_WORD
        until(lambda: lane.say(ask(1))[-1:] == b"1")


# What survives


def test_an_answer_survives_a_restart_between_receiving_and_answering(lane: LineLane) -> None:
    sent(lane)
    lane.say(said(messages.BOOKING, booking(lane)))
    again = JiangsuUplink(lane.city.line("etc"), lane.line.centre)  # all that a new process has is what the database holds
    assert letters.run_due(lane.city.till, again) == letters.Posted(1, 1)
    assert letters.run_due(lane.city.till, again) == letters.Posted(0, 0)
    assert lane.answers() == [Receipt.ACCEPTED]


def test_what_cannot_be_kept_is_not_replied_to_as_received(lane: LineLane, database: str) -> None:
    """The database is away when a message comes: it comes again, and nothing was lost or done by half."""
    sent(lane)
    gone = engine(database.replace("/test_", "/gone_"))
    taker = Taker(msgspec.structs.replace(lane.city.till, db=gone), lane.city.line("etc"), lane.line.centre, refused_per_minute=9)
    message, healthy = said(messages.BOOKING, booking(lane)), lane.port
    with listening(taker) as port:
        lane.port = port
        assert lane.say(message) == f"{message.head.message_no}0".encode()
    gone.dispose()
    lane.port = healthy
    assert (lane.package(), lane.came(), lane.letters()) == ("sent", [], [])
    assert lane.say(message)[-1:] == b"1"
    assert (lane.package(), len(lane.letters())) == ("booked", 1)


def test_a_message_that_cannot_be_carried_out_is_kept_and_not_replied_to_as_received(lane: LineLane) -> None:
    sent(lane)
    with lane.city.db.connect() as tx:
        owner = tx.engine
    admin = engine(owner.url.render_as_string(hide_password=False), role=None)
    with admin.begin() as tx:
        tx.execute(text("revoke update on payments.card_record from tongting_app"))
        tx.execute(text("revoke update (state, package_id, place, reason, file_no) on payments.card_record from tongting_app"))
    assert lane.say(said(messages.BOOKING, booking(lane)))[-1:] == b"0"
    assert (lane.package(), lane.came(), lane.letters()) == ("sent", [("verified", "not_applied")], [])
    with admin.begin() as tx:
        tx.execute(text("grant update (state, package_id, place, reason, file_no) on payments.card_record to tongting_app"))
    admin.dispose()
    assert lane.say(said(messages.BOOKING, booking(lane)))[-1:] == b"1"
    assert lane.package() == "booked"


def test_an_answer_that_does_not_arrive_is_tried_three_times_then_a_person_is_told(lane: LineLane) -> None:
    lane.throw(frame("9".zfill(20), bodyless(messages.SETTLEMENT, 9)))
    lane.behave(reply_not_received=3)
    assert lane.post() == letters.Posted(1, 0)
    assert lane.post().tried == 0
    lane.city.later(seconds=5)
    assert lane.post() == letters.Posted(1, 0)
    assert lane.cases() == []
    lane.city.later(seconds=5)
    assert lane.post() == letters.Posted(1, 0)
    assert lane.cases() == ["package_waits"]
    lane.city.later(hours=1)
    assert lane.post() == letters.Posted(1, 1), "once the line is mended nobody has to remember it"
    assert lane.answers() == [Receipt.ACCEPTED]
    reasons = lane.city.column("select reason from gateways.raw_message where operation = 'answer' order by message_id")
    assert reasons == ["line_not_received"] * 3 + [None]


def test_numbers_of_letters_are_never_those_of_packages(lane: LineLane) -> None:
    made = [lane.city.ids.new(AT + timedelta(milliseconds=number), str(number)) for number in range(200)]
    assert not {number_of(one) for one in made} & {letters.number_of(one) for one in made}
    assert all(int(letters.number_of(one)) < 2**63 and len(letters.number_of(one)) == 20 for one in made)


# In the product


@contextmanager
def wired(database: str, keys: Path, home: Path, **other: str) -> Iterator[Wiring]:
    """Our side with the line as a setting, in a home with these keys."""
    given = {
        "TONGTING_HOME": str(home), "TONGTING_DATABASE_URL": database, "TONGTING_JOBS_SECONDS": "0.1",
        "TONGTING_ETC_DIALECT": "jiangsu", "TONGTING_ETC_LINE_PORT": str(free_port()), "TONGTING_ETC_CENTRE_PORT": str(free_port()),
    }  # fmt: skip
    settings = load(given | {f"TONGTING_{name.upper()}": value for name, value in other.items()})
    shutil.copytree(keys, home, dirs_exist_ok=True)
    built = build(settings)
    with built.db.begin() as tx:
        open_lane(tx, lane=0, origin=origin(settings))
    yield built
    built.close()


def us_in(settings: Settings) -> str:
    return centre(settings).us


def test_the_worker_holds_the_line(database: str, home_with_keys: Path, tmp_path: Path) -> None:
    with wired(database, home_with_keys, tmp_path) as wiring:
        assert isinstance(wiring.uplink(), JiangsuUplink)
        stop = Event()
        worker = Thread(target=work, args=(wiring,), kwargs={"stop": stop})
        worker.start()
        try:
            until(lambda: _reply(wiring) == f"{5:020d}1".encode())
        finally:
            stop.set()
            worker.join()
        with wiring.db.connect() as tx:
            assert tx.execute(text("select count(*) from gateways.raw_message where verdict = 'verified'")).scalar_one() == 1


def _reply(wiring: Wiring) -> bytes:
    message = messages.resend(messages.BOOKING, sender=CENTRE, receiver=us_in(wiring.settings), message_no="5".zfill(20))
    content = Outbound(message).content
    return tcp.exchange("127.0.0.1", wiring.settings.etc_line_port, content, reply_bytes=21, seconds_max=5).content


def test_a_port_that_is_taken_is_an_alarm_and_not_the_end(
    database: str, home_with_keys: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "REST_SECONDS", 0.1)
    with wired(database, home_with_keys, tmp_path) as wiring:
        holder = socket.create_server(("127.0.0.1", wiring.settings.etc_line_port))
        with serve.running(wiring):
            until(lambda: any(one.levelname == "CRITICAL" for one in caplog.records))
            holder.close()
            until(lambda: _reply(wiring)[-1:] == b"1")


def test_the_line_is_not_held_with_the_other_dialect(database: str, home_with_keys: Path, tmp_path: Path) -> None:
    with wired(database, home_with_keys, tmp_path, etc_dialect="https") as wiring:
        assert isinstance(wiring.uplink(), HttpsUplink)
        with serve.running(wiring):
            assert _reply(wiring) == b""
        assert network_centre(wiring.settings) is None


def test_the_stand_in_is_given_its_side_of_the_line(database: str, home_with_keys: Path, tmp_path: Path) -> None:
    with wired(database, home_with_keys, tmp_path, etc_party_ids="320201=00000000000000fd") as wiring:
        config = network_centre(wiring.settings)
        assert config is not None
        assert (config.port, config.peer_port) == (wiring.settings.etc_centre_port, wiring.settings.etc_line_port)
        assert (config.peer, config.parties) == (us_in(wiring.settings), {"320201": "00000000000000FD"})


def test_the_command_says_that_there_is_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("TONGTING_HOME", str(tmp_path))
    assert cli.main(["etc-line"]) == cli.CANNOT_RUN
    assert "etc_dialect" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("etc_dialect", "ftp"), ("etc_centre_id", "20"), ("etc_sender_id", "GG"), ("etc_line_port", "0"),
        ("etc_centre_port", "70000"), ("etc_centre_host", ""), ("etc_line_peers", ""), ("etc_line_peers", "centre.example"),
        ("etc_party_ids", "320201"),
    ],
)  # fmt: skip
def test_settings_of_the_line_are_checked(name: str, value: str) -> None:
    good = load({
        "TONGTING_SANDBOX": "false", "TONGTING_ETC_DIALECT": "jiangsu", "TONGTING_ETC_CENTRE_HOST": "10.0.0.20",
        "TONGTING_ETC_LINE_PEERS": "10.0.0.20, 10.0.0.21",
    })  # fmt: skip
    assert good.etc_line_peers == ("10.0.0.20", "10.0.0.21")
    with pytest.raises(SettingsError, match=name):
        changed(good, **{name: value})


def test_a_letter_that_is_asked_for_twice_a_day_is_one(lane: LineLane) -> None:
    made = [
        LetterRow(
            letter_id=lane.city.ids.new(AT, str(number)), number=f"{number:020d}", kind="resend", content=b"x", asked_on=TODAY
        )
        for number in range(2)
    ]
    with lane.city.db.begin() as tx:
        assert [store.insert_letter(tx, lane=0, row=row, at=AT) for row in made] == [True, False]
