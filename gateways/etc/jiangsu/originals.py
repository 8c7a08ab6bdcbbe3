"""Original transactions 原始交易 in Jiangsu's XML: a package and its charges, to and from the neutral record.

Knows the element names and what ``Detail`` and ``CustomizedData`` repeat; must not know headers. Called by the messages.
Source: docs/ETC.md, section 6, Transaction.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from gateways.etc import clearing
from gateways.etc.clearing import PACKAGE_CHARGES_MAX, Package
from gateways.etc.codes import Receipt
from gateways.etc.jiangsu.fields import (
    TEXT_BYTES_MAX,
    Wrong,
    cut,
    date_of,
    fen_of,
    fields,
    integer,
    message_number,
    national_party,
    spaced,
    text_of,
    texts,
    wire_party,
    within,
)
from gateways.etc.jiangsu.tree import Element, leaf, node
from gateways.etc.record import (
    FEE_FEN_MAX,
    TransactionRecord,
    agrees,
    china_time,
    custom_data,
    joined_plate,
    parted_plate,
    read_china_time,
    read_compact_time,
    read_custom_data,
)
from ledger.money import yuan

ROAD_NETWORK: Final = "3201"
"""Jiangsu's number, in ``Detail``."""
_MINUTES: Final = 60
_TRANSACTION: Final = (
    "TransId",
    "Time",
    "Fee",
    "Service",
    "ICCard",
    "Validation",
    "OBU",
    "CustomizedData",
    "Id",
    "name",
    "parkTime",
    "vehicleType",
    "algorithmIdentifier",
)
_DETAIL: Final = re.compile(
    r"(?P<vehicle>[0-9]{1,2})\|04\|[0-9]{4}\|(?P<station>[0-9A-Za-z]{0,16})\|(?P<exit>[0-9A-Za-z]{0,16})\|(?P<at>[0-9]{8} [0-9]{6})"
    r"\|03\|[0-9]{4}\|[0-9A-Za-z]{0,16}\|(?P<entry>[0-9A-Za-z]{0,16})\|(?P<entered>[0-9]{8} [0-9]{6})"
)


def description(record: TransactionRecord) -> str:
    """Return what the driver reads: name of the car park (cut where it must be) and how long, ``车场名|1小时34分``."""
    hours, minutes = divmod(record.parked_minutes, _MINUTES)
    duration = f"|{f'{hours}小时' if hours else ''}{minutes}分"
    return cut(record.lot_name, TEXT_BYTES_MAX - len(duration.encode("gb18030"))) + duration


def record_objection(record: TransactionRecord) -> str | None:
    """Return why this wire has no words for a record that is right in itself, or None: it needs an entry time, a name that fits."""
    if record.entered_at is None:
        return "there is no entry time"
    if len(record.lot_name.encode("gb18030")) > TEXT_BYTES_MAX:
        return f"the car park's name has more than {TEXT_BYTES_MAX} bytes in GB18030"
    return None


def write(package: Package, message_no: str, parties: Mapping[str, str]) -> tuple[Element, ...]:
    """Return the body of original transactions. Raises ValueError for a package that must not be sent."""
    objection = clearing.package_objection(package, charges_max=PACKAGE_CHARGES_MAX, cap_fen=FEE_FEN_MAX)
    if message_no != package.message_no:
        objection = "the header has another number"
    if objection:
        raise ValueError(f"package {package.message_no} must not be sent: {objection}")
    return (
        leaf("ClearTargetDate", package.clear_on.isoformat()),
        leaf("ServiceProviderId", wire_party(package.service_provider_no, parties)),
        leaf("IssuerId", wire_party(package.issuer_no, parties)),
        leaf("MessageId", int(package.message_no)),
        leaf("Count", len(package.records)),
        leaf("Amount", yuan(package.amount_fen)),
        *(_transaction(record, trans_no) for trans_no, record in enumerate(package.records, 1)),
    )


def _transaction(record: TransactionRecord, trans_no: int) -> Element:
    if record.entered_at is None:
        raise ValueError(f"charge {trans_no} has no entry time")
    license_text = joined_plate(record.plate, record.colour)
    return node(
        "Transaction",
        leaf("TransId", trans_no),
        leaf("Time", china_time(record.happened_at)),
        leaf("Fee", yuan(record.fee_fen)),
        node(
            "Service",
            leaf("ServiceType", record.service_type),
            leaf("Description", description(record)),
            leaf("Detail", _detail(record, record.entered_at)),
        ),
        node(
            "ICCard",
            leaf("CardType", record.card_type),
            leaf("NetNo", record.card_net),
            leaf("CardId", record.card_no),
            leaf("License", license_text),
            leaf("PreBalance", yuan(record.pre_balance_fen)),
            leaf("PostBalance", yuan(record.post_balance_fen)),
        ),
        node(
            "Validation",
            leaf("TAC", record.tac),
            leaf("TransType", record.trans_type),
            leaf("TerminalNo", record.terminal_no),
            leaf("TerminalTransNo", record.terminal_serial),
        ),
        node(
            "OBU",
            leaf("NetNo", record.obu_net or record.card_net),
            leaf("OBUId", record.obu_no),
            leaf("OBEState", record.obu_state),
            leaf("License", license_text),
        ),
        leaf("CustomizedData", custom_data(record)),
        leaf("Id", record.charge_id),
        leaf("name", within("name", record.lot_name)),
        leaf("parkTime", record.parked_minutes),
        leaf("vehicleType", record.vehicle_type),
        leaf("algorithmIdentifier", record.algorithm),
    )


def _detail(record: TransactionRecord, entered_at: datetime) -> str:
    exit_part = f"04|{ROAD_NETWORK}|{record.station_no}|{record.exit_lane_no}|{spaced(record.happened_at)}"
    return f"{record.vehicle_type}|{exit_part}|03|{ROAD_NETWORK}|{record.station_no}|{record.entry_lane_no}|{spaced(entered_at)}"


def read(body: Element, message_no: str, national: Mapping[str, str]) -> Package:
    """Return the package. Raises Wrong: schema 3; counts, sums, repeats and contradictions 4."""
    *fixed, _ = fields(
        body, "ClearTargetDate", "ServiceProviderId", "IssuerId", "MessageId", "Count", "Amount", "Transaction", more="Transaction"
    )
    clear_on, provider, issuer, number, count, amount = (text_of(element) for element in fixed)
    provider, issuer = national_party(provider, national), national_party(issuer, national)
    package = Package(
        message_no=message_number(number),
        clear_on=date_of(clear_on),
        service_provider_no=provider,
        issuer_no=issuer,
        records=tuple(
            _read_transaction(element, trans_no, provider, issuer)
            for trans_no, element in enumerate(body.children[len(fixed) :], 1)
        ),
    )
    objection = clearing.totals_objection(package, count=integer(count), amount_fen=fen_of(amount))
    objection = objection or clearing.package_objection(package, charges_max=PACKAGE_CHARGES_MAX, cap_fen=FEE_FEN_MAX)
    if message_no != package.message_no:
        objection = "header and body name different messages"
    if objection:
        raise Wrong(objection, Receipt.CONTENT_WRONG)
    return package


def _read_transaction(element: Element, trans_no: int, provider: str, issuer: str) -> TransactionRecord:
    try:
        return _transaction_of(element, trans_no, provider, issuer)
    except Wrong as wrong:
        raise Wrong(f"charge {trans_no}: {wrong}", wrong.result) from None


def _transaction_of(element: Element, trans_no: int, provider: str, issuer: str) -> TransactionRecord:
    number, time, fee, service, card, validation, obu, custom_text, *last = fields(element, *_TRANSACTION)
    charge_id, name, parked, vehicle, algorithm = (text_of(item) for item in last)
    service_type, described, detail_text = texts(service, "ServiceType", "Description", "Detail")
    card_type, card_net, card_no, plate_text, before, after = texts(
        card, "CardType", "NetNo", "CardId", "License", "PreBalance", "PostBalance"
    )
    tac, trans_type, terminal_no, terminal_serial = texts(validation, "TAC", "TransType", "TerminalNo", "TerminalTransNo")
    obu_net, obu_no, obu_state, _ = texts(obu, "NetNo", "OBUId", "OBEState", "License")
    if any(len(text.encode("gb18030")) > TEXT_BYTES_MAX for text in (name, described, detail_text)):
        raise Wrong(f"name, Description or Detail has more than {TEXT_BYTES_MAX} bytes in GB18030")
    plate, detail, custom = parted_plate(plate_text), _DETAIL.fullmatch(detail_text), read_custom_data(text_of(custom_text))
    happened_at = read_china_time(text_of(time))
    if plate is None or detail is None or custom is None or happened_at is None:
        raise Wrong("License, Detail, CustomizedData or Time has another form")
    entered_at = read_compact_time(detail["entered"].replace(" ", ""))
    if entered_at is None:
        raise Wrong("Detail has no entry time")
    record = TransactionRecord(
        charge_id=charge_id,
        lot_no=charge_id[:10],
        clearing_party_no=provider,
        issuer_no=issuer,
        service_type=integer(service_type),
        happened_at=happened_at,
        parked_minutes=integer(parked),
        fee_fen=fen_of(text_of(fee)),
        card_type=integer(card_type),
        card_net=card_net,
        card_no=card_no,
        obu_no=obu_no,
        obu_state=obu_state,
        plate=plate[0],
        colour=plate[1],
        vehicle_type=integer(vehicle),
        tac=tac,
        trans_type=trans_type,
        terminal_no=terminal_no,
        terminal_serial=terminal_serial,
        card_counter=custom.card_counter,
        pre_balance_fen=fen_of(before),
        post_balance_fen=fen_of(after),
        algorithm=integer(algorithm),
        entered_at=entered_at,
        lot_name=name,
        obu_net=obu_net,
        station_no=detail["station"],
        entry_lane_no=detail["entry"],
        exit_lane_no=detail["exit"],
    )
    if integer(text_of(number)) != trans_no:
        raise Wrong(f"it says it is {text_of(number)[:20]}", Receipt.CONTENT_WRONG)
    if not agrees(record, custom):
        raise Wrong("CustomizedData says something else than the record", Receipt.CONTENT_WRONG)
    return record
