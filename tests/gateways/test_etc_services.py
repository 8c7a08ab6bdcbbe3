"""Each service's body is built and read back; what contradicts itself is neither sent nor taken."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from gateways.contract import ChannelState
from gateways.etc import clearing
from gateways.etc.clearing import (
    UPLOAD_CHARGES_MAX,
    BookingResult,
    ClearingStatistics,
    DisputedCharge,
    DisputeResult,
    MerchantShare,
    Package,
    SettledCharge,
    SettledPackage,
    Totals,
    booked,
    booking_objection,
    clearing_objection,
    dispute_objection,
    released,
)
from gateways.etc.codes import BookingReason, DisputeOutcome, PlateColour, Receipt, RefundReason, Rejection
from gateways.etc.envelope import canonical
from gateways.etc.record import CAP_FEN_DEFAULT
from gateways.etc.services import (
    CALLED_BY_US,
    PLATE_STATES,
    Arrival,
    PlatePay,
    PlatePayNotice,
    PlatePayQuery,
    PlatePayState,
    PlateState,
    ReconFileAsk,
    ReconFileLink,
    RefundApply,
    RefundResult,
    Service,
    StatusList,
    StatusListAsk,
    arrival,
    body_of,
    read,
    refund_objection,
    with_changes,
)
from gateways.etc.uploads import read_transaction, read_upload, transaction_body, upload_body
from tests.gateways.etc_cases import CLEAR_ON, ENTERED_AT, LOT_NO, MESSAGE_NO, NOW, PAID_AT, RECORD, changed, package

PAY = PlatePay(
    order_no="P1",
    charge_id=RECORD.charge_id,
    lot_no=LOT_NO,
    merchant_no="M-1620000007",
    plate="苏BD12345",
    colour=PlateColour.GRADIENT_GREEN,
    entered_at=ENTERED_AT,
    exited_at=PAID_AT,
    fee_fen=1500,
    mode="EXIT",
    notify_no="N1",
)
PAID = PlatePayNotice(
    order_no="P1", merchant_no="M1", state=PlateState.PAID, fee_fen=1500, paid_at=PAID_AT, issuer_no="320101", channel_serial="S1"
)
BOOKING = BookingResult(
    service_provider_no="320201",
    issuer_no="320101",
    message_no=MESSAGE_NO,
    processed_at=NOW,
    count=3,
    amount_fen=400,
    confirmed_count=2,
    disputed_count=1,
    disputed=(DisputedCharge(2, BookingReason.NO_SUCH_CARD),),
)
DISPUTES = DisputeResult(
    file_no="20250619",
    processed_at=NOW,
    count=2,
    amount_fen=200,
    packages=(
        SettledPackage(MESSAGE_NO, 2, 200, (SettledCharge(2, DisputeOutcome.RELEASED), SettledCharge(3, DisputeOutcome.BAD_DEBT))),
    ),
)
SHARE = MerchantShare(merchant_no="M1", count=3, amount_fen=600, fee_fen=4, net_fen=596, pay_on=CLEAR_ON, bank_ref="B1")
CLEARED = ClearingStatistics(
    clear_on=CLEAR_ON,
    count=3,
    amount_fen=600,
    message_nos=(MESSAGE_NO,),
    file_nos=("20250619",),
    fee_fen=4,
    net_fen=596,
    shares=(SHARE,),
)
MESSAGES = [
    PAY,
    replace(PAY, mode="ARREARS", fee_fen=0, entered_at=PAID_AT),
    PlatePayQuery("P1"),
    PlatePayState(order_no="P1", merchant_no="M1", fee_fen=1500, state=PlateState.UNKNOWN),
    PlatePayState(order_no="P1", merchant_no="M1", fee_fen=1500, state=PlateState.REFUSED, reason=BookingReason.OVER_LIMIT),
    PAID,
    PlatePayNotice(order_no="P1", merchant_no="M1", state=PlateState.REFUSED, fee_fen=1500),
    BOOKING,
    DISPUTES,
    CLEARED,
    RefundApply(refund_no="R1", refund_fen=1, reason=RefundReason.DUPLICATE, order_no="P1"),
    RefundApply(refund_no="R1", refund_fen=1, reason=RefundReason.POLICY, charge_id=RECORD.charge_id, remark="多收"),
    RefundResult(refund_no="R1", merchant_no="M1", refund_fen=1, order_no="P1", state="DONE", done_at=NOW, clear_on=CLEAR_ON),
    RefundResult(refund_no="R1", merchant_no="M1", refund_fen=1, order_no="P1", state="REFUSED"),
    StatusListAsk("PLATE", "32"),
    StatusList(version="20250618.1", full=False, add=("苏BD12345",), remove=("3201220012345678",)),
    ReconFileAsk(CLEAR_ON, "M1"),
    ReconFileLink("WXETC_DETAIL_M1_20250619.txt", "https://etc.example/f", "0" * 64),
    ReconFileLink("WXETC_DETAIL_M1_20250619.txt", "/etc/files/WXETC_DETAIL_M1_20250619.txt", "0" * 64),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_body_is_read_back_as_it_was_meant(message: Struct) -> None:
    body = body_of(message)
    assert canonical(body)
    assert read(type(message), body) == message


def test_the_body_of_a_charge_by_plate_to_the_letter() -> None:
    assert canonical(body_of(PAY)).decode() == (
        '{"capFen":30000,"enterTime":"2025-06-18T13:00:34+08:00","exitTime":"2025-06-18T14:34:34+08:00","fee":1500,'
        '"id":"32010200012025061814343407","merchantNo":"M-1620000007","mode":"EXIT","notifyId":"N1","orderId":"P1",'
        '"parkId":"3201020001","plate":"苏BD12345","plateColor":4}'
    )


def refused_for(kind: type[Struct], body: dict[str, Any]) -> Receipt:
    refused = read(kind, body)
    assert isinstance(refused, Rejection)
    return refused.result


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (PAY, {"fee": "1500"}),
        (PAY, {"fee": -1}),
        (PAY, {"fee": 2**32}),
        (PAY, {"fee": 1500.0}),
        (PAY, {"plateColor": 8}),
        (PAY, {"orderId": ""}),
        (PAY, {"orderId": "P1\n"}),
        (PAY, {"orderId": "P" * 33}),
        (PAY, {"mode": "ENTRY"}),
        (PAY, {"enterTime": "2025-06-18T13:00:34"}),
        (PAY, {"enterTime": "2025-06-18 13:00:34"}),
        (PAY, {"enterTime": 1}),
        (PAY, {"parkId": "32010200"}),
        (PAID, {"state": "DONE"}),
        (PAID, {"channelSerial": "|"}),
        (BOOKING, {"messageId": "42"}),
        (BOOKING, {"disputedRecord": [{"transId": 1, "result": 18}]}),
        (BOOKING, {"disputedRecord": [{"transId": 0, "result": 1}]}),
        (DISPUTES, {"fileId": "2025-06-19"}),
        (
            DISPUTES,
            {"messageList": [{"messageId": MESSAGE_NO, "count": 1, "amount": 1, "transactions": [{"transId": 1, "result": 2}]}]},
        ),
        (CLEARED, {"clearTargetDate": "20250619"}),
        (CLEARED, {"clearTargetDate": "2025-06-31"}),
        (MESSAGES[10], {"refundFen": 0}),
        (MESSAGES[10], {"reasonCode": "BECAUSE"}),
        (MESSAGES[14], {"provinceCode": "3"}),
        (MESSAGES[17], {"fileName": "../x.txt"}),
        (MESSAGES[17], {"url": "file:///etc/passwd"}),
    ],
)
def test_a_wrong_form_is_answered_3(message: Struct, fields: dict[str, Any]) -> None:
    assert refused_for(type(message), body_of(message) | fields) is Receipt.SCHEMA_INVALID


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (PAY, {"fee": CAP_FEN_DEFAULT + 1}),
        (PAY, {"capFen": 1499}),
        (PAY, {"exitTime": "2025-06-18T13:00:33+08:00"}),
        (PAY, {"parkId": "3201020002"}),
        (MESSAGES[3], {"state": "PAID"}),
        (MESSAGES[3], {"reason": 1}),
        (MESSAGES[6], {"state": "PAID"}),
        (BOOKING, {"disputedCount": 2}),
        (BOOKING, {"count": 4}),
        (BOOKING, {"accountCount": 3}),
        (BOOKING, {"disputedCount": 2, "count": 4, "disputedRecord": [{"transId": 2, "result": 1}] * 2}),
        (DISPUTES, {"count": 3}),
        (DISPUTES, {"amount": 201}),
        (CLEARED, {"channelFee": 5}),
        (CLEARED, {"netAmount": 595, "channelFee": 5}),
        (CLEARED, {"count": 4}),
        (CLEARED, {"messageIds": [MESSAGE_NO, MESSAGE_NO]}),
        (CLEARED, {"perMerchant": []}),
        (MESSAGES[10], {"id": RECORD.charge_id}),
        (MESSAGES[13], {"state": "DONE"}),
    ],
)
def test_a_contradiction_is_answered_4_and_never_sent(message: Struct, fields: dict[str, Any]) -> None:
    assert refused_for(type(message), body_of(message) | fields) is Receipt.CONTENT_WRONG


def test_statistics_without_fee_are_answered_4() -> None:
    body = body_of(CLEARED)
    del body["channelFee"]
    assert refused_for(ClearingStatistics, body) is Receipt.CONTENT_WRONG


def test_nothing_is_sent_that_would_be_refused() -> None:
    with pytest.raises(ValueError, match="cap"):
        body_of(replace(PAY, fee_fen=CAP_FEN_DEFAULT + 1))
    with pytest.raises(ValueError, match="orderId"):
        body_of(replace(PAY, order_no=""))


# Uploads


def test_an_upload_is_read_back() -> None:
    sent = package(100, 0, 300)
    body = upload_body(sent)
    assert (body["count"], body["amount"]) == (3, 400)
    assert [one["transId"] for one in body["transactions"]] == [1, 2, 3]
    assert canonical(body)
    assert read_upload(body) == sent


def test_a_charge_has_the_names_of_the_records_table() -> None:
    assert transaction_body(
        changed(entered_at=None, lot_name="", obu_net="", station_no="", entry_lane_no="", exit_lane_no=""), 1
    ) == {
        "transId": 1,
        "id": "32010200012025061814343407",
        "parkId": "3201020001",
        "operatorId": "320201",
        "issuerId": "320101",
        "serviceType": 2,
        "transTime": "2025-06-18 14:34:34",
        "parkTime": 94,
        "fee": 1500,
        "cardType": 22,
        "cardNet": "3201",
        "cardId": "2200123456789012",
        "obuId": "3201011234567890",
        "obuState": "0000",
        "plate": "苏BD12345",
        "plateColor": 4,
        "vehicleType": 1,
        "tac": "E2D839B8",
        "transType": "09",
        "terminalNo": "01320002D9F7",
        "terminalTransNo": "000017D5",
        "transNo": "0DA2",
        "preBalance": 10000,
        "postBalance": 8500,
        "algorithmIdentifier": 1,
    }


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=5))
def test_any_package_is_read_back(fees: list[int]) -> None:
    assert read_upload(upload_body(package(*fees))) == package(*fees)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"count": 4}, Receipt.CONTENT_WRONG),
        ({"amount": 401}, Receipt.CONTENT_WRONG),
        ({"transactions": []}, Receipt.CONTENT_WRONG),
        ({"transactions": [{}] * 1001}, Receipt.CONTENT_WRONG),
        ({"transactions": [1]}, Receipt.SCHEMA_INVALID),
        ({"transactions": [transaction_body(RECORD, 2)]}, Receipt.CONTENT_WRONG),
        ({"transactions": [transaction_body(RECORD, 1) | {"fee": "1"}]}, Receipt.SCHEMA_INVALID),
        ({"transactions": {}}, Receipt.SCHEMA_INVALID),
        ({"issuerId": "1"}, Receipt.SCHEMA_INVALID),
        ({"issuerId": "310101"}, Receipt.CONTENT_WRONG),
        ({"messageId": "1"}, Receipt.SCHEMA_INVALID),
    ],
)
def test_an_upload_is_refused_for_its_reason(fields: dict[str, Any], expected: Receipt) -> None:
    refused = read_upload(upload_body(package(100, 0, 300)) | fields)
    assert isinstance(refused, Rejection)
    assert refused.result is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"transId": 2}, Receipt.CONTENT_WRONG),
        ({"transId": True}, Receipt.CONTENT_WRONG),
        ({"transId": None}, Receipt.CONTENT_WRONG),
        ({"transTime": "2025-06-18T14:34:34"}, Receipt.SCHEMA_INVALID),
        ({"transTime": 1}, Receipt.SCHEMA_INVALID),
        ({"enterTime": ""}, Receipt.SCHEMA_INVALID),
        ({"fee": "1"}, Receipt.SCHEMA_INVALID),
        ({"plateColor": 99}, Receipt.SCHEMA_INVALID),
        ({"tac": None}, Receipt.SCHEMA_INVALID),
    ],
)
def test_a_charge_of_another_form_is_refused(fields: dict[str, Any], expected: Receipt) -> None:
    refused = read_transaction(transaction_body(RECORD, 1) | fields, trans_no=1)
    assert isinstance(refused, Rejection)
    assert refused.result is expected


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ((), "1 to 1000 charges, not 0"),
        ((RECORD, RECORD), "stands twice"),
        ((changed(tac=""),), "charge 1: tac"),
        ((changed(issuer_no="310101"),), "issuer 310101's"),
        ((changed(fee_fen=CAP_FEN_DEFAULT + 1),), "not between 0 and 30000"),
        ((changed(fee_fen=-1),), "not between"),
        ((changed(post_balance_fen=1),), "balances"),
    ],
)
def test_a_package_in_disorder_is_not_sent(records: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        upload_body(replace(package(1), records=records))


def test_a_charge_above_the_cap_is_not_taken_either() -> None:
    body = upload_body(package(100, 5000))
    refused = read_upload(body, cap_fen=4999)
    assert isinstance(refused, Rejection)
    assert refused.result is Receipt.CONTENT_WRONG
    assert len(upload_body(package(*[1] * UPLOAD_CHARGES_MAX))["transactions"]) == UPLOAD_CHARGES_MAX
    with pytest.raises(ValueError, match="not 1001"):
        upload_body(package(*[1] * (UPLOAD_CHARGES_MAX + 1)))


# Repeats


def test_a_message_number_seen_before_is_answered_by_its_content() -> None:
    assert arrival("a", first=None) is Arrival.NEW
    assert arrival("a", first="a") is Arrival.AGAIN
    assert arrival("b", first="a") is Arrival.OTHER_CONTENT


def test_every_plate_state_has_a_neutral_one() -> None:
    assert set(PLATE_STATES) == set(PlateState)
    assert PLATE_STATES[PlateState.ACCEPTED] is ChannelState.PENDING
    assert len(CALLED_BY_US) == 8
    assert set(Service) > CALLED_BY_US


# Booking, disputes, clearing

SENT = package(100, 200, 300)


def test_what_is_not_disputed_is_confirmed() -> None:
    assert booked(SENT, BOOKING) == Totals(2, 400)
    assert booking_objection(SENT, BOOKING) is None


@pytest.mark.parametrize(
    "result",
    [
        replace(BOOKING, message_no="1".zfill(20)),
        replace(BOOKING, issuer_no="310101"),
        replace(BOOKING, amount_fen=401),
        replace(BOOKING, count=2, confirmed_count=1),
        replace(BOOKING, disputed=(DisputedCharge(4, BookingReason.OTHER),)),
        replace(BOOKING, disputed=(DisputedCharge(3, BookingReason.OTHER),)),
        replace(BOOKING, disputed=()),
    ],
)
def test_a_booking_result_that_does_not_fit_its_package_is_refused(result: BookingResult) -> None:
    refused = booking_objection(SENT, result)
    assert refused is not None
    assert refused.result is Receipt.CONTENT_WRONG


def test_a_released_dispute_is_paid_in_full_and_a_bad_debt_not_at_all() -> None:
    disputed = {(MESSAGE_NO, 2): 200, (MESSAGE_NO, 3): 300}
    assert dispute_objection(DISPUTES, disputed) is None
    assert released(DISPUTES, disputed) == Totals(1, 200)


def test_a_settled_dispute_is_never_settled_again() -> None:
    once = {(MESSAGE_NO, 3): 300}
    refused = dispute_objection(DISPUTES, once)
    assert refused is not None
    assert "charge 2" in refused.reason
    twice = replace(DISPUTES, count=4, amount_fen=400, packages=DISPUTES.packages * 2)
    refused = dispute_objection(twice, once)
    assert refused is not None
    assert "settled twice" in refused.reason


def test_a_dispute_result_of_another_amount_is_refused() -> None:
    refused = dispute_objection(DISPUTES, {(MESSAGE_NO, 2): 199, (MESSAGE_NO, 3): 300})
    assert refused is not None
    wrong_count = replace(DISPUTES, packages=(replace(DISPUTES.packages[0], count=1),), count=1)
    assert dispute_objection(wrong_count, {(MESSAGE_NO, 2): 200, (MESSAGE_NO, 3): 300}) is not None


BOOKED = {MESSAGE_NO: Totals(2, 400)}
RELEASED = {"20250619": Totals(1, 200)}


def test_clearing_agrees_when_booked_and_released_sum_to_it() -> None:
    assert clearing_objection(CLEARED, booked_packages=BOOKED, released_files=RELEASED) is None
    bare = replace(CLEARED, fee_fen=None, net_fen=None, shares=())
    assert clearing_objection(bare, booked_packages=BOOKED, released_files=RELEASED) is None


@pytest.mark.parametrize(
    ("packages", "files"),
    [
        ({MESSAGE_NO: Totals(2, 401)}, RELEASED),
        ({MESSAGE_NO: Totals(3, 400)}, RELEASED),
        (BOOKED, {"20250619": Totals(0, 0)}),
        ({}, RELEASED),
        (BOOKED, {}),
    ],
)
def test_clearing_off_by_a_fen_or_a_charge_or_of_something_unknown_is_answered_8(
    packages: dict[str, Totals], files: dict[str, Totals]
) -> None:
    refused = clearing_objection(CLEARED, booked_packages=packages, released_files=files)
    assert refused is not None
    assert refused.result is Receipt.CLEARING_DISAGREES


def test_the_other_reading_of_counts_and_amounts_is_one_switch_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clearing, "BOOKING_COUNT_IS_WHOLE", False)
    assert booking_objection(SENT, BOOKING) is not None
    assert booking_objection(SENT, replace(BOOKING, count=2)) is None
    monkeypatch.setattr(clearing, "DISPUTE_AMOUNT_IS_RELEASED", False)
    disputed = {(MESSAGE_NO, 2): 200, (MESSAGE_NO, 3): 300}
    assert dispute_objection(DISPUTES, disputed) is not None
    both = replace(DISPUTES, amount_fen=500, packages=(replace(DISPUTES.packages[0], amount_fen=500),))
    assert dispute_objection(both, disputed) is None


def test_clearing_that_lists_a_package_twice_is_answered_8() -> None:
    twice = replace(CLEARED, message_nos=(MESSAGE_NO, MESSAGE_NO), count=5, amount_fen=1000, fee_fen=None)
    refused = clearing_objection(twice, booked_packages=BOOKED, released_files=RELEASED)
    assert refused is not None
    assert refused.result is Receipt.CLEARING_DISAGREES


@pytest.mark.parametrize("share", [replace(SHARE, net_fen=597), replace(SHARE, amount_fen=601, net_fen=597)])
def test_clearing_whose_shares_do_not_sum_is_answered_8(share: MerchantShare) -> None:
    assert clearing_objection(replace(CLEARED, shares=(share,)), booked_packages=BOOKED, released_files=RELEASED) is not None
    both = replace(CLEARED, shares=(SHARE, SHARE))
    assert clearing_objection(both, booked_packages=BOOKED, released_files=RELEASED) is not None


# Refunds and status lists


def test_a_refund_waits_for_clearing_and_never_exceeds_what_is_left() -> None:
    refund = RefundApply(refund_no="R1", refund_fen=500, reason=RefundReason.WRONG_FEE, order_no="P1")
    assert refund_objection(refund, paid_fen=1500, refunded_fen=1000, cleared=True) is None
    assert refund_objection(refund, paid_fen=1500, refunded_fen=1001, cleared=True) == "500 fen are more than the 499 left"
    assert refund_objection(refund, paid_fen=1500, refunded_fen=0, cleared=False) == "the charge is not cleared yet"


def test_a_status_list_changes_or_is_replaced() -> None:
    present = frozenset({"a", "b"})
    assert with_changes(present, StatusList(version="2", full=False, add=("c",), remove=("a",))) == {"b", "c"}
    assert with_changes(present, StatusList(version="2", full=False, add=("a",), remove=("a",))) == {"a", "b"}
    assert with_changes(present, StatusList(version="3", full=True, add=("c",), remove=("b",))) == {"c"}


def test_a_charge_by_plate_may_last_no_time_but_not_less() -> None:
    assert body_of(replace(PAY, entered_at=PAID_AT))
    with pytest.raises(ValueError, match="entry is after"):
        body_of(replace(PAY, entered_at=PAID_AT + timedelta(seconds=1)))


def test_a_package_knows_its_sum() -> None:
    assert isinstance(SENT, Package)
    assert SENT.amount_fen == 600
