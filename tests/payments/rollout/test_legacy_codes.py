"""Old codes: registered once, by one operator, and whose a scanned one is."""

import threading
import unicodedata
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from ledger.errors import Refused
from payments.lot_records.intake import RECORDS_MAX, Answer
from payments.lots import Lot, NewLot, register_lots
from payments.rollout import legacy_codes, policy
from payments.rollout.legacy_codes import PAYLOAD_BYTES_MAX, NewLegacyCode, Whose, normalised, standing
from payments.rollout.policy import NewRule
from tests.payments.conftest import AT, IDS, make_city

DAY = date(2026, 3, 2)
PAYLOAD = "https://qr.alipay.com/FKX01234AbCd?s=Web"


@pytest.fixture
def lot(tx: Connection) -> Lot:
    return make_city(tx)


def code(serial: str = "Q1", /, **other: object) -> NewLegacyCode:
    said: dict[str, Any] = {
        "serial": serial, "payload": PAYLOAD, "kind": "alipay", "first_day": date(2024, 1, 1), "document": "协议 7",
    } | other  # fmt: skip
    return NewLegacyCode(**said)


def post(tx: Connection, lot: Lot, *given: NewLegacyCode, body: bytes = b"[]", minutes: int = 0) -> list[Answer]:
    return legacy_codes.post(tx, lane=0, lot=lot, codes=given, body=body, at=AT + timedelta(minutes=minutes), ids=IDS)


def outcomes(answers: list[Answer]) -> list[tuple[str, str | None, str | None]]:
    return [(one.outcome, one.reason, one.field) for one in answers]


def ask(tx: Connection, payload: str = PAYLOAD, *, day: date = DAY, lot: Lot | None = None) -> Whose:
    return legacy_codes.whose(tx, payload=payload, day=day, lot=lot)


def count(tx: Connection, table: str) -> int:
    return int(tx.execute(text(f"select count(*) from payments.{table}")).scalar_one())


def another_lot(tx: Connection, number: int = 1, code: str = "lot-9") -> Lot:
    return register_lots(
        tx, lots=[NewLot(code, f"op-{number}", "另一停车场", "梁溪区", "示例路9号", 10, "gate", "每小时6元")], at=AT
    )[0]  # fmt: skip


def test_a_code_is_registered_with_its_call_as_evidence_and_again_is_the_same(tx: Connection, lot: Lot) -> None:
    assert outcomes(post(tx, lot, code(), body=b'{"serial":"Q1"}')) == [("created", None, None)]
    assert outcomes(post(tx, lot, code(payload=f"  {PAYLOAD}\n"), body=b"later", minutes=1)) == [("already", None, None)]
    query = "select body from gateways.raw_message m join payments.legacy_code c on c.evidence_id = m.message_id"
    assert [bytes(one) for one in tx.execute(text(query)).scalars()] == [b'{"serial":"Q1"}']
    assert count(tx, "legacy_code") == 1


def test_the_same_serial_with_other_content_is_refused_and_claims_nothing(tx: Connection, lot: Lot) -> None:
    post(tx, lot, code())
    answers = post(tx, lot, code(kind="bank"), code(document="协议 8"), code(payload="https://other.example/1"))
    assert outcomes(answers) == [("refused", "content_differs", field) for field in ("kind", "document", "payload")]
    assert count(tx, "legacy_payload") == 1


def test_a_code_ends_once(tx: Connection, lot: Lot) -> None:
    post(tx, lot, code())
    end = code(last_day=date(2026, 3, 1))
    assert [one.outcome for one in post(tx, lot, end, end, minutes=1)] == ["completed", "already"]
    assert outcomes(post(tx, lot, code(last_day=date(2026, 6, 30)))) == [("refused", "content_differs", "last_day")]
    assert ask(tx, day=date(2026, 3, 1)).is_allowed
    ended = ask(tx)
    assert (ended.is_allowed, ended.registered[0].standing) == (False, "ended")


def test_a_code_is_registered_and_ended_in_one_call(tx: Connection, lot: Lot) -> None:
    assert [one.outcome for one in post(tx, lot, code(), code(last_day=DAY))] == ["created", "completed"]
    assert ask(tx).registered[0].last_day == DAY


def test_one_code_is_never_two_operators(tx: Connection, lot: Lot) -> None:
    theirs = make_city(tx, number=2)
    post(tx, lot, code(last_day=date(2025, 1, 1)))
    [answer] = post(tx, theirs, code("X1", first_day=date(2026, 1, 1)))
    assert (answer.outcome, answer.reason, answer.field) == ("refused", "code_of_another", "payload")
    assert "op-1" in (answer.detail or "")
    assert [one.operator_code for one in ask(tx).registered] == ["op-1"]


def test_one_operator_may_have_one_code_at_several_lots_and_again_at_one_after_it_ended(tx: Connection, lot: Lot) -> None:
    second = another_lot(tx)
    assert outcomes(post(tx, lot, code(last_day=date(2025, 12, 31)))) == [("created", None, None)]
    assert outcomes(post(tx, second, code())) == [("created", None, None)]
    again = [code("Q2", first_day=date(2025, 12, 31)), code("Q3", first_day=date(2026, 1, 1))]
    assert outcomes(post(tx, lot, *again)) == [("refused", "overlaps", "first_day"), ("created", None, None)]
    assert {one.lot_code for one in ask(tx).registered} == {"lot-1", "lot-9"}


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"payload": " \ufeff "}, "payload_invalid", "payload"),
        ({"payload": "a\nb"}, "payload_invalid", "payload"),
        ({"payload": "a\u200bb"}, "payload_invalid", "payload"),
        ({"payload": "停" * 667}, "payload_invalid", "payload"),
        ({"payload": "https://pay.test/p/" + "A2" * 56}, "payload_of_city", "payload"),
        ({"last_day": date(2023, 12, 31)}, "days_invalid", "last_day"),
        ({"document": ""}, "words_invalid", "document"),
        ({"serial": ""}, "serial_invalid", "serial"),
    ],
)
def test_what_cannot_be_is_refused_by_itself_and_the_others_stand(
    tx: Connection, lot: Lot, change: dict[str, Any], reason: str, field: str
) -> None:
    answers = post(tx, lot, code(**({"payload": "https://x.example/1"} | change)), code("Q9"))
    assert outcomes(answers) == [("refused", reason, field), ("created", None, None)]
    assert count(tx, "legacy_code") == 1


def test_a_code_of_as_many_bytes_as_fit_is_taken(tx: Connection, lot: Lot) -> None:
    assert outcomes(post(tx, lot, code(payload="停" * 666 + "ab"))) == [("created", None, None)]
    assert len(("停" * 666 + "ab").encode()) == PAYLOAD_BYTES_MAX


def test_a_code_is_compared_trimmed_in_one_form_of_unicode_and_never_in_another_case(tx: Connection, lot: Lot) -> None:
    name = "https://x.example/café"
    post(tx, lot, code(payload=unicodedata.normalize("NFD", name)))
    assert ask(tx, f"\t{name} ").found == "registered"
    assert ask(tx, name.upper()).found == "unknown"
    assert normalised("\ufeffＡＢ　") == "ＡＢ"


def test_many_codes_of_one_call_ask_no_more_of_the_database_than_few(tx: Connection, lot: Lot) -> None:
    codes = [code(f"Q{n}", payload=f"https://x.example/{n}") for n in range(RECORDS_MAX)]
    assert {one.outcome for one in post(tx, lot, *codes)} == {"created"}
    assert {one.outcome for one in post(tx, lot, *codes, minutes=1)} == {"already"}
    with pytest.raises(Refused) as refused:
        post(tx, lot, *codes, code("one more"))
    assert refused.value.code == "too_many_records"


def test_a_scanned_code_is_allowed_here_elsewhere_or_unknown(tx: Connection, lot: Lot) -> None:
    second = another_lot(tx)
    post(tx, lot, code())
    assert ask(tx).is_allowed
    here, there = ask(tx, lot=lot), ask(tx, lot=second)
    assert (here.is_allowed, there.is_allowed, there.registered[0].standing) == (True, False, "elsewhere")
    assert ask(tx, "https://fraud.example/pay") == Whose(found="unknown", day=DAY, is_allowed=False, registered=[])
    assert ask(tx, "http://pay.test/p/" + "A2" * 56 + "?lang=en").found == "city_code"
    with pytest.raises(Refused) as refused:
        ask(tx, "  ")
    assert refused.value.code == "payload_invalid"


def test_where_the_city_code_counts_alone_no_old_code_is_allowed_any_more(tx: Connection, lot: Lot) -> None:
    post(tx, lot, code())
    only = NewRule(requires="city_code_only", valid_from=date(2026, 3, 3), document="通知", lot_id=lot.lot_id)
    policy.enter(tx, rules=[only], at=AT)
    assert [ask(tx, day=day).registered[0].standing for day in (DAY, date(2026, 3, 3))] == ["allowed", "city_code_only"]
    assert not ask(tx, day=date(2026, 3, 3)).is_allowed


def test_the_gravest_word_is_told_first() -> None:
    first, last = date(2026, 1, 1), date(2026, 1, 31)
    assert standing(first, last, date(2025, 12, 31), "city_code_only", is_elsewhere=False) == "not_yet"
    assert standing(first, last, last, None, is_elsewhere=False) == "allowed"
    assert standing(first, last, date(2026, 2, 1), "city_code_only", is_elsewhere=False) == "ended"
    assert standing(first, None, last, "parallel", is_elsewhere=True) == "elsewhere"


def test_of_two_operators_at_the_same_moment_one_has_the_code(db: Engine) -> None:
    with db.begin() as tx:
        lots = [make_city(tx, number=number) for number in (1, 2)]
    meet = threading.Barrier(2)
    told: list[tuple[str, str | None]] = []

    def register(lot: Lot) -> None:
        with db.begin() as tx:
            meet.wait()
            [answer, _] = post(tx, lot, code(), code(f"X{lot.lot_id}", payload=f"https://x.example/{lot.lot_id}"))
            told.append((answer.outcome, answer.reason))

    threads = [threading.Thread(target=register, args=(lot,)) for lot in lots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [("created", None), ("refused", "code_of_another")]
