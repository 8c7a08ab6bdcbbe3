"""E-mail goes to a real server over STARTTLS with a login; what the server says is the receipt."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from payments.owed.dunning.channels import Message, PageChannel, Registry
from payments.owed.dunning.smtp import MailServer as Settings
from payments.owed.dunning.smtp import SmtpChannel
from tests.payments.conftest import AT
from tests.payments.owed.dunning.conftest import Dunned, days_later
from tests.payments.owed.dunning.mail_server import MailServer, mail_server
from tests.payments.owed.owing import owe

TEXT = Message(number="A1", to="a@example.com", subject="停车费提醒", body="您好，合计12.00元。\n.\n谢谢", language="zh", at=AT)


@pytest.fixture
def post_office(tmp_path: Path) -> Iterator[tuple[MailServer, Settings]]:
    password = tmp_path / "password"
    password.write_text("secret\n")
    with mail_server(tmp_path, login=("dunning", "secret")) as (running, certificate):
        settings = Settings(
            host="127.0.0.1", port=running.port, sender="parking@pay.test", user="dunning", password_file=password,
            ca_file=certificate, timeout_seconds=5,
        )  # fmt: skip
        yield running, settings


def test_a_batch_goes_over_one_connection_and_arrives_word_for_word(post_office: tuple[MailServer, Settings]) -> None:
    running, settings = post_office
    other = msgspec.structs.replace(TEXT, number="A2", to="b@example.com")
    receipts = SmtpChannel(settings).send([TEXT, other])
    assert [(receipt.outcome, receipt.words) for receipt in receipts] == [("sent", "250 2.0.0 Ok: queued as 4F2")] * 2
    first, second = running.taken
    assert (first["Message-ID"], first["Subject"], first["To"]) == ("<A1@pay.test>", "停车费提醒", "a@example.com")
    assert first.get_content().replace("\r\n", "\n").strip() == TEXT.body
    assert second["Message-ID"] == "<A2@pay.test>"
    assert running.connections == 1


@pytest.mark.parametrize(
    ("answer", "outcome"), [("550 5.1.1 no such mailbox", "bounced"), ("450 4.2.1 try later", "retry"), ("421 closing", "retry")]
)
def test_what_the_server_says_of_a_mailbox_decides(post_office: tuple[MailServer, Settings], answer: str, outcome: str) -> None:
    running, settings = post_office
    running.refusing["a@example.com"] = answer
    good = msgspec.structs.replace(TEXT, number="A2", to="b@example.com")
    first, second = SmtpChannel(settings).send([TEXT, good])
    assert (first.outcome, first.words) == (outcome, answer)
    assert second.outcome == "sent"


def test_a_text_that_the_server_does_not_take_is_tried_again(post_office: tuple[MailServer, Settings]) -> None:
    running, settings = post_office
    running.data_answer = "451 4.3.0 disk full"
    [receipt] = SmtpChannel(settings).send([TEXT])
    assert (receipt.outcome, receipt.words) == ("retry", "451 4.3.0 disk full")


def test_nothing_is_sent_to_a_server_that_is_not_trusted_or_not_there(post_office: tuple[MailServer, Settings]) -> None:
    running, settings = post_office
    for wrong in (
        msgspec.structs.replace(settings, ca_file=None),
        msgspec.structs.replace(settings, user="somebody"),
        msgspec.structs.replace(settings, password_file=Path("/nowhere")),
        msgspec.structs.replace(settings, starttls=False, user=None),
    ):
        assert [receipt.outcome for receipt in SmtpChannel(wrong).send([TEXT, TEXT])] == ["retry", "retry"]
    assert running.taken == []
    running.shutdown()
    running.server_close()
    assert SmtpChannel(settings).send([TEXT])[0].outcome == "retry"


def test_a_reminder_by_mail_is_kept_with_its_text_and_the_servers_receipt(
    dunned: Dunned, post_office: tuple[MailServer, Settings]
) -> None:
    running, settings = post_office
    dunned.channels = Registry([SmtpChannel(settings)])
    with dunned.db.begin() as tx:
        owe(tx, dunned.lot, 1200, overdue_days=5)
    dunned.contact("email", "owner@example.com")
    assert dunned.plan().reminders == 1
    assert dunned.send().sent == 1
    [mail] = running.taken
    [(state, receipt, subject, body, digest, to)] = dunned.ask(
        "select state, receipt, subject, body, body_digest, to_masked from payments.reminder"
    )
    assert (state, receipt, to) == ("sent", "250 2.0.0 Ok: queued as 4F2", "o***@example.com")
    assert mail.get_content().strip() == body
    assert digest == hashlib.sha256(f"{subject}\n{body}".encode()).digest()


def test_a_mailbox_that_is_not_there_is_used_no_more_and_the_step_is_taken_another_way(
    dunned: Dunned, post_office: tuple[MailServer, Settings]
) -> None:
    running, settings = post_office
    running.refusing["owner@example.com"] = "550 5.1.1 no such mailbox"
    dunned.channels = Registry([SmtpChannel(settings), PageChannel()])
    with dunned.db.begin() as tx:
        owe(tx, dunned.lot, 1200, overdue_days=5)
    dunned.contact("email", "owner@example.com")
    dunned.plan()
    assert dunned.send().bounced == 1
    assert dunned.ask("select ended_because from payments.plate_contact") == [("bounced",)]
    dunned.plan(days_later(1))
    assert dunned.ask("select channel, step, state from payments.reminder order by planned_at") == [
        ("email", 1, "bounced"), ("page", 1, "planned"),
    ]  # fmt: skip
