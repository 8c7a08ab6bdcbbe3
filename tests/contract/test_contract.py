"""One suite for every channel in the registry: what each must do, whatever its wire looks like.

Golden files hold every request byte for byte. To make them anew after a wanted change: ``TONGTING_GOLDEN=write pytest
tests/contract``, and read the difference.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from datetime import UTC, timedelta
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import Struct
from msgspec.structs import replace

from gateways.contract import (
    Answer,
    Bill,
    BillAbsent,
    BillInline,
    BillLink,
    BillRefused,
    Channel,
    ChannelState,
    HandOff,
    Operation,
    PrepayOutcome,
    Reading,
    Request,
    Unanswered,
    Unsupported,
    Way,
)
from gateways.registry import Connected, Registry
from ledger.errors import NotFound
from tests.contract import alipay, etc, unionpay, wechat
from tests.contract.case import NONCE, NOW, Case

GOLDEN: Final = Path(__file__).parent / "golden"
NAMES: Final = ("wechat", "alipay", "unionpay", "etc")
_MAKERS: Final[Mapping[str, Callable[[], Case]]] = {
    "wechat": wechat.case, "alipay": alipay.case, "unionpay": unionpay.case, "etc": etc.case,
}  # fmt: skip
ANSWERS_OF_NOBODY: Final = (
    b"",
    b"{}",
    b"null",
    b"[]",
    b"<html>",
    b"\xff\xfe",
    b'{"prepay_id":"x"}',
    b'{"code":5}',
    b"a=1&b=2",
    b"&=&",
)
REASONS: Final = ("timeout", "dns", "connect", "tls", "broken", "too_large", "signing")


@cache
def made(name: str) -> Case:
    """Making keys takes a while: once per run."""
    return _MAKERS[name]()


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest) -> Case:
    return made(request.param)


class Call(Struct, frozen=True):
    """One operation of a channel in one way of it: how its request is made and how its answer is read."""

    operation: Operation
    name: str
    build: Callable[..., Request | HandOff]
    parse: Callable[..., Any]


def calls_of(case: Case) -> list[Call]:
    """Return every call that a channel supports."""
    c: Channel[Any] = case.channel

    def call(
        operation: Operation, order: Any, argument: str, build: str, parse: str, *, name: str = "", nonce: bool = False
    ) -> Call:
        def read(answer: Answer | Unanswered, *, now: Any = NOW) -> Any:
            told = {"nonce": NONCE} if nonce else {}
            return getattr(c, parse)(answer, **{argument: order}, keys=case.keys, now=now, **told)

        def make(*, now: Any = NOW, nonce: str = NONCE) -> Request | HandOff:
            found: Request | HandOff = getattr(c, build)(order, keys=case.keys, now=now, nonce=nonce)
            return found

        return Call(operation, name or operation.value, make, read)

    orders = [
        call(Operation.PREPAY, order, "order", "build_prepay", "parse_prepay", name=f"prepay_{way}", nonce=True)
        for way, order in sorted(case.orders.items())
    ]
    others = [
        call(Operation.COMBINE, case.combined, "order", "build_combined", "parse_combined", nonce=True),
        call(Operation.COMBINE, case.combined_ref, "order", "build_combined_query", "parse_combined_query", name="combined_query"),
        call(Operation.COMBINE, case.combined_ref, "order", "build_combined_close", "parse_combined_close", name="combined_close"),
        call(Operation.QUERY, case.ref, "order", "build_query", "parse_query"),
        call(Operation.CLOSE, case.ref, "order", "build_close", "parse_close"),
        call(Operation.CANCEL, case.ref, "order", "build_cancel", "parse_cancel"),
        call(Operation.MANDATE_QUERY, case.mandate, "mandate", "build_mandate_query", "parse_mandate_query"),
        call(Operation.ENTRY, case.entrance, "entrance", "build_entry", "parse_entry"),
        call(Operation.DEDUCT, case.deduction, "deduction", "build_deduct", "parse_deduct"),
        call(Operation.REFUND, case.refund, "refund", "build_refund", "parse_refund"),
        call(Operation.REFUND_QUERY, case.refund_ref, "refund", "build_refund_query", "parse_refund_query"),
        call(Operation.BILL, case.bill, "bill", "build_bill", "parse_bill_link"),
        call(Operation.FUND_BILL, case.fund_bill, "bill", "build_fund_bill", "parse_fund_bill_link"),
    ]
    return [one for one in (*orders, *others) if one.operation in c.supports]


CALLS: Final = [
    pytest.param(name, place, id=f"{name}-{call.name}") for name in NAMES for place, call in enumerate(calls_of(made(name)))
]
ASKED: Final = [
    pytest.param(name, place, id=f"{name}-{call.name}")
    for name in NAMES
    for place, call in enumerate(calls_of(made(name)))
    if isinstance(call.build(), Request)
]


def rendered(built: Request | HandOff) -> bytes:
    """Return a request, or what a payer's browser is given, as the bytes of a golden file."""
    if isinstance(built, HandOff):
        lines = [f"{built.kind} {built.url or ''}", *(f"{name}: {value}" for name, value in built.fields.items())]
        return "\n".join(lines).encode()
    lines = [f"{built.method} {built.url}", *(f"{name}: {value}" for name, value in built.headers.items())]
    return "\n".join(lines).encode() + b"\n\n" + built.body


def golden(path: Path, content: bytes) -> bytes:
    """Return what a golden file holds; write it first when it is to be made anew."""
    if os.environ.get("TONGTING_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return path.read_bytes()


# What is built


@pytest.mark.parametrize(("name", "place"), CALLS)
def test_what_is_built_is_byte_for_byte_as_before(name: str, place: int) -> None:
    case = made(name)
    call = calls_of(case)[place]
    if not case.golden_repeats:
        pytest.skip("signatures of this channel have chance in them")
    content = rendered(call.build())
    assert content == golden(GOLDEN / name / f"{call.name}.txt", content)


@pytest.mark.parametrize(("name", "place"), CALLS)
def test_the_same_arguments_build_the_same(name: str, place: int) -> None:
    case = made(name)
    if case.golden_repeats:
        assert rendered(calls_of(case)[place].build()) == rendered(calls_of(case)[place].build())


def test_the_page_on_which_a_mandate_is_signed_is_byte_for_byte_as_before(case: Case) -> None:
    if Operation.MANDATE_SIGN in case.channel.supports:
        assert case.mandate is not None
        built = case.channel.sign_hand_off(case.mandate, return_url="https://pay.test/back?a=b&c=d")
        content = rendered(built)
        assert built.kind in ("mini_program", "redirect", "none")
        assert content == golden(GOLDEN / case.channel.name / "mandate_sign.txt", content)


def test_the_answers_to_notices_are_byte_for_byte_as_before(case: Case) -> None:
    for number, genuine in enumerate(case.notices, 1):
        reading = case.channel.parse_callback(genuine.headers, genuine.body, keys=case.keys, now=NOW)
        for accepted, word in ((True, "accepted"), (False, "refused")):
            reason = None if accepted else "merchant_differs"
            answer = case.channel.ack(accepted=accepted, reason=reason, reading=reading, keys=case.keys, now=NOW)
            assert (answer.status < 300) == accepted or answer.body != b""
            if case.golden_repeats:
                content = f"{answer.status}\n".encode() + answer.body
                assert content == golden(GOLDEN / case.channel.name / f"ack_{number}_{word}.txt", content)


def test_a_positive_answer_to_a_notice_differs_from_a_negative_one(case: Case) -> None:
    for genuine in case.notices:
        reading = case.channel.parse_callback(genuine.headers, genuine.body, keys=case.keys, now=NOW)
        yes = case.channel.ack(accepted=True, reading=reading, keys=case.keys, now=NOW)
        no = case.channel.ack(accepted=False, reason="merchant_differs", reading=reading, keys=case.keys, now=NOW)
        assert (yes.status, yes.body) != (no.status, no.body)


def test_a_notice_that_could_not_be_read_is_refused_in_the_channels_form(case: Case) -> None:
    for reason in ("signature", "not_json", "too_large", "unavailable"):
        answer = case.channel.ack(accepted=False, reason=reason)
        assert answer.status >= 400 or answer.body not in (b"", b"success")


# What a channel says it can


def test_every_supported_operation_has_its_methods_and_no_other_pretends(case: Case) -> None:
    channel = case.channel
    for operation, methods in METHODS.items():
        own = [method for method in methods if getattr(type(channel), method) is not getattr(Channel, method)]
        assert own == (list(methods) if operation in channel.supports else []), operation


def test_an_operation_that_is_not_supported_says_so(case: Case) -> None:
    if Operation.COMBINE not in case.channel.supports:
        with pytest.raises(Unsupported, match="combine"):
            case.channel.build_combined(None, keys=None, now=NOW, nonce="")  # type: ignore[arg-type]


def test_a_case_covers_every_way_and_operation(case: Case) -> None:
    channel = case.channel
    assert set(case.orders) == set(channel.ways)
    needed = {
        Operation.COMBINE: (case.combined, case.combined_ref), Operation.DEDUCT: (case.deduction,),
        Operation.ENTRY: (case.entrance,),
        Operation.MANDATE_QUERY: (case.mandate,), Operation.REFUND: (case.refund,), Operation.REFUND_QUERY: (case.refund_ref,),
        Operation.BILL: (case.bill, case.bill_file), Operation.FUND_BILL: (case.fund_bill,),
        Operation.CALLBACK: case.notices[:1] or (None,),
    }  # fmt: skip
    for operation, parts in needed.items():
        assert all(part is not None for part in parts) == (operation in channel.supports), operation


METHODS: Final[Mapping[Operation, tuple[str, ...]]] = {
    Operation.CALLBACK: ("parse_callback", "ack"),
    Operation.PREPAY: ("build_prepay", "parse_prepay"),
    Operation.COMBINE: (
        "build_combined", "parse_combined", "build_combined_query", "parse_combined_query", "build_combined_close",
        "parse_combined_close",
    ),
    Operation.QUERY: ("build_query", "parse_query"),
    Operation.CLOSE: ("build_close", "parse_close"),
    Operation.CANCEL: ("build_cancel", "parse_cancel"),
    Operation.ENTRY: ("build_entry", "parse_entry"),
    Operation.MANDATE_QUERY: ("build_mandate_query", "parse_mandate_query"),
    Operation.MANDATE_SIGN: ("sign_hand_off",),
    Operation.DEDUCT: ("build_deduct", "parse_deduct"),
    Operation.REFUND: ("build_refund", "parse_refund"),
    Operation.REFUND_QUERY: ("build_refund_query", "parse_refund_query"),
    Operation.BILL: ("build_bill", "parse_bill_link"),
    Operation.FUND_BILL: ("build_fund_bill", "parse_fund_bill_link", "parse_fund_bill"),
    Operation.CERTIFICATES: ("build_certificates", "parse_certificates"),
}  # fmt: skip


# Notices


def test_genuine_notices_are_read(case: Case) -> None:
    for genuine in case.notices:
        reading = case.channel.parse_callback(genuine.headers, genuine.body, keys=case.keys, now=NOW)
        assert (reading.verdict, reading.results, reading.refund) == ("verified", genuine.results, genuine.refund)
        for result in genuine.results:
            assert (result.channel, result.provider_no) == (case.channel.name, case.channel.provider_no)
            assert result.happened_at is None or result.happened_at.tzinfo is UTC
            assert result.state is not ChannelState.SUCCEEDED or (result.currency, bool(result.trade_no)) == ("CNY", True)


def test_no_altered_byte_of_a_notice_says_anything_else(case: Case) -> None:
    """A byte that the signature does not cover (a header's spelling, padding of base64) may be altered without effect."""
    for genuine in case.notices:
        honest = (genuine.results, genuine.refund)
        for place in range(0, len(genuine.body), 5):
            altered = genuine.body[:place] + bytes([genuine.body[place] ^ 1]) + genuine.body[place + 1 :]
            reading = case.channel.parse_callback(genuine.headers, altered, keys=case.keys, now=NOW)
            told = (reading.results, reading.refund)
            assert told in (((), None), honest), altered
            assert reading.verdict != "verified" or told == honest


def test_cut_notices_say_nothing(case: Case) -> None:
    for genuine in case.notices:
        for length in range(0, len(genuine.body), 11):
            reading = case.channel.parse_callback(genuine.headers, genuine.body[:length], keys=case.keys, now=NOW)
            assert (reading.results, reading.refund) == ((), None)


@pytest.mark.parametrize("body", [b"", b"{", b"\xb2\xee\xb4\xed", b"a=1&a=2", b"<xml/>", b"[" * 5_000, b"=" * 5_000, b"%"])
def test_garbage_is_no_notice_and_never_raises(case: Case, body: bytes) -> None:
    for headers in ({}, case.notices[0].headers, {"content-type": "application/json"}):
        reading = case.channel.parse_callback(headers, body, keys=case.keys, now=NOW)
        assert reading.verdict != "verified"
        assert (reading.results, reading.refund) == ((), None)


def test_the_evidence_verifies_a_notice_again(case: Case) -> None:
    """Only these headers are kept beside the body: they must be enough."""
    for genuine in case.notices:
        kept = {name: value for name, value in genuine.headers.items() if name in case.channel.evidence_headers}
        assert case.channel.parse_callback(kept, genuine.body, keys=case.keys, now=NOW).verdict == "verified"


# Answers


def proves_nothing(outcome: Any) -> bool:
    """Say whether a parsed answer leaves everything open."""
    match outcome:
        case Reading():
            return not outcome.results and outcome.refund is None
        case PrepayOutcome():
            return outcome.state is ChannelState.UNKNOWN and outcome.hand_off is None
        case BillLink() | BillInline():
            return False
        case BillAbsent():
            return outcome.reason != "empty"
    return str(outcome.state) == "unknown"


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize(("name", "place"), ASKED)
def test_no_answer_means_unknown_and_never_raises(name: str, place: int, reason: str) -> None:
    outcome = calls_of(made(name))[place].parse(Unanswered(reason=reason))
    assert proves_nothing(outcome)
    assert outcome.reason == reason


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 500, 502])
@pytest.mark.parametrize(("name", "place"), ASKED)
def test_an_answer_of_nobody_proves_nothing_and_never_raises(name: str, place: int, status: int) -> None:
    call = calls_of(made(name))[place]
    for body in ANSWERS_OF_NOBODY:
        try:
            assert proves_nothing(call.parse(Answer(status=status, headers={}, body=body))), body
        except BillRefused:
            assert call.operation in (Operation.BILL, Operation.FUND_BILL)


def genuine_answers() -> list[Any]:
    return [
        pytest.param(name, place, id=f"{name}-{call.name}")
        for name in NAMES
        for place, call in enumerate(calls_of(made(name)))
        if call.operation in made(name).genuine and call.name in (call.operation.value, f"prepay_{_first_way(made(name))}")
    ]


def _first_way(case: Case) -> Way | None:
    """Return the way whose answer a case holds: the first that is asked for by a call."""
    asked = [way for way, order in sorted(case.orders.items()) if isinstance(_built(case, order), Request)]
    return asked[0] if len(asked) == 1 else None


def _built(case: Case, order: Any) -> Request | HandOff:
    return case.channel.build_prepay(order, keys=case.keys, now=NOW, nonce=NONCE)


@pytest.mark.parametrize(("name", "place"), genuine_answers())
def test_genuine_answers_are_understood(name: str, place: int) -> None:
    case = made(name)
    call = calls_of(case)[place]
    assert not proves_nothing(call.parse(case.genuine[call.operation]))


@pytest.mark.parametrize(("name", "place"), genuine_answers())
def test_an_altered_answer_proves_nothing(name: str, place: int) -> None:
    """The last digit of every number in the body is altered; where the signature covers it, nothing may follow from it."""
    case = made(name)
    call = calls_of(case)[place]
    answer = case.genuine[call.operation]
    honest = call.parse(answer)
    for spot in [at for at, byte in enumerate(answer.body) if 48 <= byte <= 57][::3]:
        body = answer.body[:spot] + bytes([answer.body[spot] ^ 1]) + answer.body[spot + 1 :]
        try:
            told = call.parse(Answer(status=answer.status, headers=answer.headers, body=body))
        except BillRefused:
            continue
        assert proves_nothing(told) or told == honest or call.operation in UNSIGNED.get(name, ()), body


UNSIGNED: Final[Mapping[str, tuple[Operation, ...]]] = {}
"""Operations whose positive answers a channel does not sign."""


# Bills


def test_a_genuine_bill_is_read(case: Case) -> None:
    assert case.bill is not None
    assert case.bill_file is not None
    bill = case.channel.parse_bill(case.bill_file, bill=case.bill)
    assert bill.lines
    assert bill.total_fen == sum(line.amount_fen for line in bill.lines if line.kind == "payment")


def test_a_bill_is_read_line_by_line_from_a_file(case: Case) -> None:
    assert case.bill is not None
    assert case.bill_file is not None
    lines = case.channel.read_bill(BytesIO(case.bill_file), bill=case.bill)
    assert Bill.of(lines) == case.channel.parse_bill(case.bill_file, bill=case.bill)


@pytest.mark.parametrize("length", [1, 100, 1_000_000])
def test_a_fetched_file_is_the_same_however_its_parts_come(case: Case, length: int) -> None:
    if case.link is None:
        assert Operation.BILL_FILE not in case.channel.supports
        return
    assert case.bill_file is not None
    link, content = case.link, case.bill_file
    if link.digest_kind == "SHA1":
        link = replace(link, digest=hashlib.sha1(content, usedforsecurity=False).hexdigest())
    cut = [content[at : at + length] for at in range(0, len(content), length)]
    assert b"".join(case.channel.open_bill_parts(200, cut, link=link)) == content
    for status, parts in ((404, cut), (200, cut[:-1]), (200, [b"<html></html>"]), (200, [])):
        with pytest.raises(BillRefused):
            list(case.channel.open_bill_parts(status, parts, link=link))


def test_a_bill_that_is_cut_is_refused_whole(case: Case) -> None:
    assert case.bill is not None
    assert case.bill_file is not None
    for part in (0.0, 0.3, 0.7, 0.97):
        with pytest.raises(BillRefused):
            case.channel.parse_bill(case.bill_file[: int(len(case.bill_file) * part)], bill=case.bill)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xff", "交易时间\n".encode(), b"`1,`2\n", b"PK\x03\x04", b"<html></html>"])
def test_garbage_is_no_bill(case: Case, content: bytes) -> None:
    assert case.bill is not None
    with pytest.raises(BillRefused):
        case.channel.parse_bill(content, bill=case.bill)


def test_the_day_of_a_bill_has_a_begin_and_an_end(case: Case) -> None:
    assert case.bill is not None
    begin, end = case.channel.bill_period(case.bill.bill_on)
    following, _ = case.channel.bill_period(case.bill.bill_on + timedelta(days=1))
    assert (end - begin, following) == (timedelta(days=1), end)


# The registry


def test_the_registry_finds_channels_by_name(case: Case) -> None:
    registry = Registry([Connected(channel=case.channel, keys=case.keys)])
    assert registry.find(case.channel.name).channel is case.channel
    assert registry.names() == (case.channel.name,)
    with pytest.raises(NotFound) as missing:
        registry.find("carrier pigeon")
    assert missing.value.code == "channel_not_found"


def test_the_table_of_channels_and_operations_in_the_documents_is_true() -> None:
    page = (Path(__file__).parents[2] / "docs" / "CHANNELS.md").read_text(encoding="utf-8")
    assert table() in page, table()


def table() -> str:
    """Return what each channel supports, as the documents show it."""
    lines = ["| operation | " + " | ".join(NAMES) + " |", "|---|" + "---|" * len(NAMES)]
    for operation in Operation:
        marks = ["yes" if operation in made(name).channel.supports else "–" for name in NAMES]
        lines.append(f"| {operation.value} | " + " | ".join(marks) + " |")
    ways = [", ".join(sorted(made(name).channel.ways)) or "–" for name in NAMES]
    lines.append("| ways of an order | " + " | ".join(ways) + " |")
    lines.append("| legs of one act | " + " | ".join(str(made(name).channel.legs_max) for name in NAMES) + " |")
    lines.append("| bills by | " + " | ".join(made(name).channel.bills_by for name in NAMES) + " |")
    return "\n".join(lines)
