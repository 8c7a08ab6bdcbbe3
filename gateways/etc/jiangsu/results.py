"""What comes back in Jiangsu's XML: booking results, dispute results, clearing statistics.

Knows the element names; must not know headers or what was sent. Called by the messages. Source: docs/ETC.md, section 6.
"""

from collections.abc import Mapping
from typing import Any

from gateways.etc import clearing
from gateways.etc.clearing import BookingResult, ClearingStatistics, DisputeResult, SettledPackage
from gateways.etc.codes import Receipt
from gateways.etc.jiangsu.fields import (
    Wrong,
    agreed,
    converted,
    date_of,
    date_time,
    fen_of,
    fields,
    instant,
    integer,
    message_number,
    must_agree,
    national_party,
    text_of,
    texts,
    wire_party,
)
from gateways.etc.jiangsu.tree import Element, leaf, node
from ledger.money import yuan


def _charge(element: Element) -> dict[str, int]:
    trans_no, result = texts(element, "TransId", "Result")
    return {"transId": integer(trans_no), "result": integer(result)}


def write_booking(result: BookingResult, parties: Mapping[str, str]) -> tuple[Element, ...]:
    """Return the body of a booking result. Raises ValueError for one that contradicts itself."""
    must_agree(clearing.booking_form_objection(result))
    return (
        leaf("ServiceProviderId", wire_party(result.service_provider_no, parties)),
        leaf("IssuerId", wire_party(result.issuer_no, parties)),
        leaf("MessageId", int(result.message_no)),
        leaf("ProcessTime", date_time(result.processed_at)),
        leaf("Count", result.count),
        leaf("Amount", yuan(result.amount_fen)),
        leaf("DisputedCount", result.disputed_count),
        *(
            node("DisputedRecord", leaf("TransId", charge.trans_no), leaf("Result", int(charge.reason)))
            for charge in result.disputed
        ),
    )


def read_booking(body: Element, national: Mapping[str, str]) -> BookingResult:
    """Return a booking result. Raises Wrong."""
    names = ("ServiceProviderId", "IssuerId", "MessageId", "ProcessTime", "Count", "Amount", "DisputedCount")
    elements = fields(body, *names, more="DisputedRecord")
    provider, issuer, number, processed, count_text, amount, disputed_text = (text_of(element) for element in elements)
    count, disputed_count = integer(count_text), integer(disputed_text)
    told = {
        "serviceProviderId": national_party(provider, national),
        "issuerId": national_party(issuer, national),
        "messageId": message_number(number),
        "processTime": instant(processed),
        "count": count,
        "amount": fen_of(amount),
        "accountCount": count - disputed_count if clearing.BOOKING_COUNT_IS_WHOLE else count,
        "disputedCount": disputed_count,
        "disputedRecord": [_charge(element) for element in body.children[len(names) :]],
    }
    return agreed(converted(told, BookingResult), clearing.booking_form_objection)


def write_disputes(result: DisputeResult, parties: Mapping[str, str]) -> tuple[Element, ...]:
    """Return the body of a dispute result. Raises ValueError for one that contradicts itself or names no parties."""
    must_agree(clearing.dispute_form_objection(result))
    if result.clearing_operator_no is None or result.service_provider_no is None or result.issuer_no is None:
        raise ValueError("a dispute result in XML names clearing operator, service provider and issuer")
    return (
        leaf("ClearingOperatorId", wire_party(result.clearing_operator_no, parties)),
        leaf("ServiceProviderId", wire_party(result.service_provider_no, parties)),
        leaf("IssuerId", wire_party(result.issuer_no, parties)),
        leaf("FileId", result.file_no),
        leaf("ProcessTime", date_time(result.processed_at)),
        leaf("Count", result.count),
        leaf("Amount", yuan(result.amount_fen)),
        *(_settled(package) for package in result.packages),
    )


def _settled(package: SettledPackage) -> Element:
    return node(
        "MessageList",
        leaf("MessageId", int(package.message_no)),
        leaf("Count", package.count),
        leaf("Amount", yuan(package.amount_fen)),
        *(node("Transaction", leaf("TransId", charge.trans_no), leaf("Result", int(charge.outcome))) for charge in package.charges),
    )


def read_disputes(body: Element, national: Mapping[str, str]) -> DisputeResult:
    """Return a dispute result. Raises Wrong."""
    names = ("ClearingOperatorId", "ServiceProviderId", "IssuerId", "FileId", "ProcessTime", "Count", "Amount")
    elements = fields(body, *names, more="MessageList")
    operator, provider, issuer, file_no, processed, count, amount = (text_of(element) for element in elements)
    told = {
        "clearingOperatorId": national_party(operator, national),
        "serviceProviderId": national_party(provider, national),
        "issuerId": national_party(issuer, national),
        "fileId": file_no,
        "processTime": instant(processed),
        "count": integer(count),
        "amount": fen_of(amount),
        "messageList": [_read_settled(element) for element in body.children[len(names) :]],
    }
    return agreed(converted(told, DisputeResult), clearing.dispute_form_objection)


def _read_settled(element: Element) -> dict[str, Any]:
    names = ("MessageId", "Count", "Amount")
    number, count, amount = (text_of(item) for item in fields(element, *names, more="Transaction"))
    charges = [_charge(item) for item in element.children[len(names) :]]
    return {"messageId": message_number(number), "count": integer(count), "amount": fen_of(amount), "transactions": charges}


def write_clearing(statistics: ClearingStatistics, parties: Mapping[str, str]) -> tuple[Element, ...]:
    """Return the body of clearing statistics. Raises ValueError for some that contradict themselves."""
    must_agree(clearing.clearing_form_objection(statistics))
    if statistics.processed_at is None or statistics.service_provider_no is None:
        raise ValueError("clearing statistics in XML have a time and a service provider")
    return (
        leaf("ClearTargetDate", statistics.clear_on.isoformat()),
        leaf("Amount", yuan(statistics.amount_fen)),
        leaf("Count", statistics.count),
        leaf("ProcessTime", date_time(statistics.processed_at)),
        node(
            "List",
            leaf("ServiceProviderId", wire_party(statistics.service_provider_no, parties)),
            *(leaf("MessageId", int(number)) for number in statistics.message_nos),
            *(leaf("FileId", number) for number in statistics.file_nos),
            MessageCount=len(statistics.message_nos),
            FileCount=len(statistics.file_nos),
        ),
    )


def read_clearing(body: Element, national: Mapping[str, str]) -> ClearingStatistics:
    """Return clearing statistics. Raises Wrong."""
    *fixed, listed = fields(body, "ClearTargetDate", "Amount", "Count", "ProcessTime", "List")
    clear_on, amount, count, processed = (text_of(element) for element in fixed)
    messages = integer(listed.attributes.get("MessageCount", ""))
    files = integer(listed.attributes.get("FileCount", ""))
    names = [child.name for child in listed.children]
    if names[:1] != ["ServiceProviderId"] or not set(names[1:]) <= {"MessageId", "FileId"}:
        raise Wrong("a list has a service provider, messages and files")
    if names[1:] != ["MessageId"] * messages + ["FileId"] * files:
        raise Wrong("the list has other counts than it says, or another order", Receipt.CONTENT_WRONG)
    provider, *numbers = (text_of(child) for child in listed.children)
    told = {
        "clearTargetDate": date_of(clear_on),
        "amount": fen_of(amount),
        "count": integer(count),
        "processTime": instant(processed),
        "serviceProviderId": national_party(provider, national),
        "messageIds": [message_number(number) for number in numbers[:messages]],
        "fileIds": numbers[messages:],
    }
    return agreed(converted(told, ClearingStatistics), clearing.clearing_form_objection)
