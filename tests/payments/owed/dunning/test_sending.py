"""Sending: at least once, recognisable when twice, never in quiet hours, never what is not owed any more; the proof is kept."""

import hashlib
import threading
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from ledger.errors import NotFound, Refused
from payments.owed.dunning import contacts, rules, sending
from payments.owed.dunning.channels import FileChannel, Message, Receipt, Registry
from payments.owed.dunning.rules import NewRule, NewText, Step
from tests.payments.conftest import AT, make_attempt
from tests.payments.owed.dunning.conftest import Dunned, days_later
from tests.payments.owed.owing import CHECKER, MAKER, owe


def owing(dunned: Dunned, *amounts: int, **other: object) -> list[UUID]:
    with dunned.db.begin() as tx:
        return owe(tx, dunned.lot, *amounts, **({"overdue_days": 5} | other))  # type: ignore[arg-type]


def letter(dunned: Dunned, number: int = 0) -> Message:
    return msgspec.json.decode(dunned.files()[number].read_bytes(), type=Message)


def one_step(dunned: Dunned, *channels: str, proof: str = "receipt") -> None:
    step = Step(step=1, days_after_due=1, channels=channels, template_code="demand", owed_fen_min=1, proof=proof)  # type: ignore[arg-type]
    with dunned.db.begin() as tx:
        rules.enter(
            tx, rule=NewRule(document="方案 3", valid_from=AT, steps=(step,)), channels=dunned.channels.names(), at=AT
        )  # fmt: skip


def test_a_reminder_is_one_file_without_the_plate_and_its_proof_is_kept(dunned: Dunned) -> None:
    owing(dunned, 1200, 300)
    dunned.contact("mobile", "13800000001")
    dunned.plan()
    assert dunned.send().sent == 1
    [path] = dunned.files()
    assert "B12345" not in path.name
    assert path.stat().st_mode & 0o777 == 0o600
    sent = letter(dunned)
    assert sent.to == "13800000001"
    assert "15.00元" in sent.body
    assert "2笔" in sent.body
    assert "https://pay.test/d" in sent.body
    assert "苏B12345" not in sent.body
    assert "示例停车场" not in sent.body
    [(state, masked, digest, receipt, body)] = dunned.ask(
        "select state, to_masked, body_digest, receipt, body from payments.reminder"
    )
    assert (state, masked, receipt, body) == ("sent", "138****0001", path.name, sent.body)
    assert digest == hashlib.sha256(f"{sent.subject}\n{sent.body}".encode()).digest()
    assert path.name == f"{sent.number}.json"
    assert sent.number in sent.body


@pytest.mark.parametrize(("is_proven", "named"), [(True, True), (False, False)])
def test_lots_are_named_only_to_a_proven_holder(dunned: Dunned, is_proven: bool, named: bool) -> None:
    one_step(dunned, "post")
    owing(dunned, 1200)
    dunned.contact("address", "无锡市梁溪区示例路1号101室", is_proven_holder=is_proven)
    dunned.plan()
    dunned.send()
    assert ("示例停车场" in letter(dunned).body) is named


def test_a_letter_without_an_address_waits_in_the_outbox_and_names_no_lot(dunned: Dunned) -> None:
    one_step(dunned, "post")
    owing(dunned, 1200)
    dunned.plan()
    assert dunned.send().sent == 1
    assert letter(dunned).to is None
    assert "示例停车场" not in letter(dunned).body


def test_english_is_written_to_whoever_wants_it(dunned: Dunned) -> None:
    owing(dunned, 1200)
    dunned.contact("mobile", "13800000001", language="en")
    dunned.plan()
    dunned.send()
    assert letter(dunned).body.startswith("Hello, 1 parking fee(s)")


@pytest.mark.parametrize(
    ("at", "claimed"),
    [
        (datetime.fromisoformat("2026-03-02T20:00:00+08:00"), 0),
        (datetime.fromisoformat("2026-03-03T08:59:59+08:00"), 0),
        (datetime.fromisoformat("2026-03-03T09:00:00+08:00"), 1),
        (datetime.fromisoformat("2026-05-01T10:00:00+08:00"), 0),
    ],
)
def test_nothing_is_sent_in_quiet_hours_or_on_quiet_days(dunned: Dunned, at: datetime, claimed: int) -> None:
    owing(dunned, 1200)
    dunned.plan()
    with dunned.db.begin() as tx:
        rules.enter_quiet_days(tx, days=[date(2026, 5, 1)], document="国办发明电 1", at=AT)
    assert dunned.send(at).claimed == claimed


def test_what_was_paid_since_the_planning_is_not_demanded(dunned: Dunned) -> None:
    first, second, _ = owing(dunned, 1200, 300, 500)
    dunned.contact("mobile", "13800000001")
    dunned.plan()
    dunned.do("update payments.debt set owed_fen = 0 where charge_id = :id", id=first)
    dunned.do("update payments.debt set owed_fen = 100 where charge_id = :id", id=second)
    dunned.send()
    assert "6.00元" in letter(dunned).body
    assert dunned.ask("select owed_fen, debts, state from payments.reminder") == [(600, 2, "sent")]
    assert sorted(dunned.ask("select owed_fen from payments.reminder_debt")) == [(100,), (500,)]


def test_a_reminder_of_which_nothing_is_left_is_dropped_and_taken_again_when_it_may(dunned: Dunned) -> None:
    [one] = owing(dunned, 1200)
    dunned.plan()
    dunned.do("update payments.debt set disputed_at = now()")
    assert dunned.send().dropped == 1
    assert dunned.files() == []
    dunned.do("update payments.debt set disputed_at = null")
    assert dunned.plan(days_later(1)).reminders == 1
    with dunned.db.begin() as tx:
        make_attempt(tx, dunned.lot, one)
    assert dunned.send(days_later(1)).dropped == 1
    assert dunned.ask("select step from payments.debt_step") == [(0,)]


class Broken:
    """A carrier that takes a message and dies before it says so, for some tries."""

    name, medium, needs_contact, carries = "sms", "mobile", True, True

    def __init__(self, *, tries: int) -> None:
        self.taken: list[Message] = []
        self._tries = tries

    def send(self, messages: Sequence[Message]) -> list[Receipt]:
        self.taken += messages
        if len(self.taken) <= self._tries:
            raise KeyboardInterrupt
        return [Receipt("sent", "ok") for _ in messages]


def test_a_sender_that_dies_is_followed_by_another_with_the_same_text_and_number(dunned: Dunned) -> None:
    carrier = Broken(tries=1)
    dunned.channels = Registry([carrier])  # type: ignore[list-item]
    owing(dunned, 1200, 700)
    dunned.contact("mobile", "13800000001")
    dunned.plan()
    with pytest.raises(KeyboardInterrupt):
        dunned.send()
    assert dunned.ask("select state, body is not null from payments.reminder") == [("sending", True)]
    assert dunned.send(AT + timedelta(minutes=14)).claimed == 0
    assert dunned.send(AT + timedelta(minutes=16)).sent == 1
    first, second = carrier.taken
    assert (first.number, first.body) == (second.number, second.body)


class Rude:
    """A plug-in that raises, or gives too few receipts."""

    name, medium, needs_contact, carries = "sms", "mobile", True, True

    def __init__(self, *, raises: bool) -> None:
        self._raises = raises

    def send(self, messages: Sequence[Message]) -> list[Receipt]:  # noqa: ARG002  # it looks at none
        if self._raises:
            raise ValueError("a defect")
        return []


@pytest.mark.parametrize("raises", [True, False])
def test_a_plug_in_that_breaks_leaves_its_reminders_to_be_tried_again(dunned: Dunned, raises: bool) -> None:
    dunned.channels = Registry([Rude(raises=raises)])  # type: ignore[list-item]
    owing(dunned, 1200)
    dunned.contact("mobile", "13800000001")
    dunned.plan()
    assert dunned.send().again == 1
    assert dunned.ask("select state, receipt from payments.reminder") == [("sending", "the channel broke; it may have been sent")]


def test_an_outbox_that_cannot_be_written_is_tried_again_and_then_failed(dunned: Dunned) -> None:
    dunned.outbox.mkdir()
    (dunned.outbox / "sms").write_text("not a directory")
    owing(dunned, 1200)
    dunned.contact("mobile", "13800000001")
    dunned.plan()
    found = [dunned.send(AT + timedelta(minutes=31 * n)) for n in range(5)]
    assert [(one.again, one.failed) for one in found] == [(1, 0)] * 4 + [(0, 1)]
    [(state, reason)] = dunned.ask("select state, reason from payments.reminder")
    assert state == "failed"
    assert "cannot be written" in str(reason)
    assert dunned.plan(days_later(1)).reminders == 1


def test_a_file_that_is_there_is_the_same_message_or_another(dunned: Dunned) -> None:
    channel = FileChannel("sms", dunned.outbox, medium="mobile", needs_contact=True)
    message = Message(number="A1", to="1", subject="s", body="b", language="zh", at=AT)
    later = msgspec.structs.replace(message, at=days_later(1))
    other = msgspec.structs.replace(message, body="c")
    assert [one.outcome for one in channel.send([message, later, other])] == ["sent", "sent", "failed"]
    assert not list(dunned.outbox.glob("*.part"))


def test_two_senders_at_once_send_each_reminder_once(dunned: Dunned) -> None:
    for number in range(12):
        owing(dunned, 1000, plate=f"苏B200{number:02}")
        dunned.contact("mobile", f"138000000{number:02}", plate=f"苏B200{number:02}")
    dunned.plan()
    counts: list[int] = []

    def work() -> None:
        while claimed := dunned.send(limit=2):
            if not claimed.claimed:
                return
            counts.append(claimed.sent)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 12
    assert len(dunned.files()) == 12


def test_a_proven_demand_begins_the_years_anew_and_a_bounced_one_does_not(dunned: Dunned) -> None:
    one_step(dunned, "post")
    [one] = owing(dunned, 1200, overdue_days=700)
    dunned.plan()
    dunned.send()
    before = dunned.ask("select limitation_on from payments.debt")
    [(reminder,)] = dunned.ask("select reminder_id from payments.reminder")
    assert isinstance(reminder, UUID)
    with dunned.db.begin() as tx:
        proven_at = days_later(4)
        sending.prove(
            tx, lane=0, reminder_id=reminder, proven_at=proven_at, proof="EMS 1234567890", by=MAKER, at=days_later(9)
        )  # fmt: skip
    assert dunned.ask("select limitation_on from payments.debt") == [(date(2029, 3, 6),)]
    assert dunned.ask("select proof from payments.reminder") == [(f"EMS 1234567890 ({MAKER})",)]
    with dunned.db.begin() as tx:
        sending.bounce(tx, lane=0, reminder_id=reminder, reason="查无此人", at=days_later(10))
    assert dunned.ask("select limitation_on from payments.debt") == before
    assert dunned.ask("select state, proven_at from payments.reminder") == [("bounced", None)]
    assert dunned.ask("select charge_id, void_at is not null from payments.limitation_act") == [(one, True)]


def test_sending_alone_proves_a_demand_only_where_the_rule_says_so(dunned: Dunned) -> None:
    one_step(dunned, "sms", "page", proof="sent")
    owing(dunned, 1200, overdue_days=700)
    owing(dunned, 1200, plate="苏B00001", overdue_days=700)
    dunned.contact("mobile", "13800000001")
    dunned.plan()
    assert dunned.send().sent == 2
    assert sorted(dunned.ask("select channel, proven_at is not null from payments.reminder")) == [("page", False), ("sms", True)]
    assert len(dunned.ask("select 1 from payments.limitation_act")) == 1


def test_proof_of_what_cannot_be_is_refused(dunned: Dunned) -> None:
    owing(dunned, 1200)
    dunned.plan()
    [(reminder,)] = dunned.ask("select reminder_id from payments.reminder")
    assert isinstance(reminder, UUID)

    def proving(reminder_id: UUID = reminder, *, by: str = MAKER, proven_at: datetime = AT, proof: str = "EMS 1") -> None:
        with dunned.db.begin() as tx:
            sending.prove(tx, lane=0, reminder_id=reminder_id, proven_at=proven_at, proof=proof, by=by, at=AT)

    with pytest.raises(Refused, match="was sent"):
        proving()
    dunned.send()
    with pytest.raises(Refused, match="until now"):
        proving(proven_at=days_later(1))
    with pytest.raises(Refused, match="what proves it"):
        proving(proof=" ")
    with pytest.raises(Refused, match="propose"):
        proving(by=CHECKER)
    with pytest.raises(NotFound):
        proving(UUID(int=256))


def test_whoever_enters_the_plate_sees_the_newest_notice(dunned: Dunned) -> None:
    owing(dunned, 1200)
    dunned.plan()
    with dunned.db.begin() as tx:
        assert sending.notice(tx, lane=0, plate_id=1, at=AT) is None
    dunned.send()
    with dunned.db.begin() as tx:
        found = sending.notice(tx, lane=0, plate_id=1, at=AT)
        assert found is not None
        assert "12.00元" in found.body
        assert sending.notice(tx, lane=0, plate_id=1, at=days_later(91)) is None


def test_texts_say_only_what_their_places_allow(dunned: Dunned) -> None:
    def entering(body: str, **other: object) -> None:
        given: dict[str, object] = {
            "template_code": "kind", "language": "zh", "valid_from": AT, "subject": "提醒", "body": body, "document": "方案 4",
        } | other  # fmt: skip
        with dunned.db.begin() as tx:
            rules.enter_text(tx, new=NewText(**given), at=AT)  # type: ignore[arg-type]

    good = "合计{amount}元，{link} {number}"
    for body, said in (
        (good + "{owner}", "no place"), (good + "{plate.__class__}", "no place"), (good + "{plate!r}", "nothing more"),
        (good + "{", "pair"), ("{amount}", "must say"), ("", "1 to"),
    ):  # fmt: skip
        with pytest.raises(Refused, match=said):
            entering(body)
    with pytest.raises(Refused, match="subject"):
        entering(good, subject="a\nBcc: x")
    with pytest.raises(Refused, match="document"):
        entering(good, document="")
    entering(good)
    with pytest.raises(Refused, match="begins at that moment"):
        entering(good)


def test_contacts_end_with_their_consent_and_are_erased_on_their_day(dunned: Dunned) -> None:
    owing(dunned, 1200)
    first = dunned.contact("mobile", "13800000001")
    dunned.contact("email", "a@example.com", erase_on=date(2026, 3, 10))
    with dunned.db.begin() as tx:
        contacts.withdraw(tx, contact_id=first, at=AT)
        assert contacts.erase_due(tx, at=days_later(7)) == 0
        assert contacts.erase_due(tx, at=days_later(8)) == 1
        with pytest.raises(NotFound):
            contacts.withdraw(tx, contact_id=first, at=AT)
    assert dunned.ask("select value, ended_because from payments.plate_contact order by 2") == [
        (None, "erased"),
        (None, "withdrawn"),
    ]
    for medium, value in (("mobile", "abc"), ("email", "a@b"), ("address", "x"), ("wallet", " ")):
        with pytest.raises(Refused, match="this is no"):
            dunned.contact(medium, value)  # type: ignore[arg-type]
    for wrong in (date(2026, 3, 2), date(2036, 3, 2)):
        with pytest.raises(Refused, match="erasure"):
            dunned.contact("mobile", "13800000001", erase_on=wrong)
    with pytest.raises(NotFound, match="never been here"):
        dunned.contact("mobile", "13800000001", plate="苏B99999")


def test_a_withdrawn_contact_gets_nothing_that_was_planned_for_it(dunned: Dunned) -> None:
    owing(dunned, 1200)
    contact = dunned.contact("mobile", "13800000001")
    dunned.plan()
    with dunned.db.begin() as tx:
        contacts.withdraw(tx, contact_id=contact, at=AT)
    assert dunned.send().dropped == 1
    assert not dunned.outbox.exists()
    dunned.plan(days_later(1))
    assert dunned.send(days_later(1)).sent == 1
    assert dunned.ask("select channel from payments.reminder where state = 'sent'") == [("page",)]
