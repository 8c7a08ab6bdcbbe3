"""The ETC transaction record: one charge on one card, its forms, its packed hex string, the check before it is packed.

Knows what a record must look like; must not know keys, files or messages. Called by both wires (WXETC-1 and Jiangsu).
Source: docs/ETC.md, sections 4 and 6.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from gateways.etc.codes import (
    ALGORITHM_3DES,
    ALGORITHM_SM4,
    CARDS_CREDIT,
    CARDS_STORED_VALUE,
    COLOUR_WORDS,
    TRANS_TYPES,
    PlateColour,
    PreCheck,
)
from ledger.clock import CHINA

FEE_FEN_MAX: Final = 0xFFFF_FFFF
"""The card counts in four bytes."""
CAP_FEN_DEFAULT: Final = 30_000
"""Largest single charge unless configured otherwise [P]: 300 yuan. A wrong entry time must not empty an account."""
OVERDUE_AFTER_DEFAULT: Final = timedelta(days=30)
"""Age from which a charge is not packed any more [P]; the access document names the issuers' own limit."""
CARD_NO_DIGITS_MAX: Final = 20
PLATE_CHARACTERS_MAX: Final = 12
MINUTES_MAX: Final = 5_256_000
"""Ten years: more is a mistake."""
LOT_NAME_CHARACTERS_MAX: Final = 150

_FORMS: Final[dict[str, re.Pattern[str]]] = {
    "charge_id": re.compile(r"[0-9]{26}"),
    "lot_no": re.compile(r"[0-9]{10}"),
    "clearing_party_no": re.compile(r"[0-9]{6}"),
    "issuer_no": re.compile(r"[0-9]{6}"),
    "card_net": re.compile(r"[0-9]{4}"),
    "card_no": re.compile(r"[0-9]{16}"),
    "obu_no": re.compile(r"[0-9]{16}|[0-9A-Fa-f]{12}"),  # an older text says 12 hex [?]
    "obu_state": re.compile(r"[0-9A-Fa-f]{4}"),
    "plate": re.compile(r"[0-9A-Za-z\u4e00-\u9fff]{1,12}"),
    "tac": re.compile(r"[0-9A-Fa-f]{8}"),
    "trans_type": re.compile("|".join(sorted(TRANS_TYPES))),
    "terminal_no": re.compile(r"[0-9A-Fa-f]{12}"),
    "terminal_serial": re.compile(r"[0-9A-Fa-f]{8}"),
    "card_counter": re.compile(r"[0-9A-Fa-f]{4}"),
    "obu_net": re.compile(r"[0-9]{4}|"),
    "station_no": re.compile(r"[0-9A-Za-z]{0,16}"),
    "entry_lane_no": re.compile(r"[0-9A-Za-z]{0,16}"),
    "exit_lane_no": re.compile(r"[0-9A-Za-z]{0,16}"),
    "list_version": re.compile(r"[0-9A-Za-z_.\-]{0,32}"),
    "lot_name": re.compile(r"[^\x00-\x1f|\ud800-\udfff]{0,150}"),
}
_RANGES: Final[dict[str, range]] = {
    "service_type": range(1, 4),
    "parked_minutes": range(MINUTES_MAX + 1),
    "vehicle_type": range(1, 11),
    "pre_balance_fen": range(FEE_FEN_MAX + 1),
    "post_balance_fen": range(FEE_FEN_MAX + 1),
}
_CUSTOM: Final = re.compile(
    r"(?P<tac>[0-9A-Fa-f]{8})(?P<fee>[0-9A-Fa-f]{8})(?P<type>[0-9A-Fa-f]{2})(?P<terminal>[0-9A-Fa-f]{12})"
    r"(?P<serial>[0-9A-Fa-f]{8})(?P<time>[0-9]{14})0000(?P<after>[0-9A-Fa-f]{8})(?P<before>[0-9A-Fa-f]{8})"
    r"(?P<counter>[0-9A-Fa-f]{4})"
)
_COLOURS_BY_LENGTH: Final = sorted(COLOUR_WORDS.items(), key=lambda item: -len(item[1]))
_TEXT_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)
_COMPACT_TIME: Final = "%Y%m%d%H%M%S"


_NAMES: Final = {
    "charge_id": "id",
    "lot_no": "parkId",
    "clearing_party_no": "operatorId",
    "issuer_no": "issuerId",
    "service_type": "serviceType",
    "happened_at": "transTime",
    "parked_minutes": "parkTime",
    "fee_fen": "fee",
    "card_type": "cardType",
    "card_net": "cardNet",
    "card_no": "cardId",
    "obu_no": "obuId",
    "obu_state": "obuState",
    "colour": "plateColor",
    "vehicle_type": "vehicleType",
    "trans_type": "transType",
    "terminal_no": "terminalNo",
    "terminal_serial": "terminalTransNo",
    "card_counter": "transNo",
    "pre_balance_fen": "preBalance",
    "post_balance_fen": "postBalance",
    "algorithm": "algorithmIdentifier",
    "entered_at": "enterTime",
    "lot_name": "parkName",
    "obu_net": "obuNet",
    "station_no": "stationNo",
    "entry_lane_no": "entryLane",
    "exit_lane_no": "exitLane",
    "list_version": "blackVer",
}
"""Names in JSON: those of the record's table, and from ``entered_at`` on our own [P]."""


class TransactionRecord(Struct, frozen=True, kw_only=True, rename=_NAMES):
    """One charge as the lane made it: proof of what the card owes. Hex and digits are kept in the case they came in.

    It holds whatever came; ``form_faults`` tells what is malformed and ``precheck`` what must not be packed.
    """

    charge_id: str
    """26 digits, see ``charge_id``."""
    lot_no: str
    """Car park, 10 digits."""
    clearing_party_no: str
    """Extension-service clearing party 拓展服务清分方, 6 digits."""
    issuer_no: str
    """Issuer 发行方 of the card, 6 digits."""
    service_type: int = 2
    """1 service area or municipal, 2 parking, 3 fuel."""
    happened_at: datetime
    """When the card paid, whole seconds, UTC. It enters the TAC as Beijing time."""
    parked_minutes: int
    fee_fen: int
    card_type: int
    card_net: str
    """Card network number; with ``card_no`` the unique card."""
    card_no: str
    obu_no: str
    """Contract serial of the on-board unit."""
    obu_state: str
    """Bits for removed and low battery, 4 hex."""
    plate: str
    colour: PlateColour
    vehicle_type: int
    """1–6, and 7–10 which are private."""
    tac: str
    """Transaction authentication code, 8 hex."""
    trans_type: str
    """``06`` simple, ``09`` compound purchase."""
    terminal_no: str
    terminal_serial: str
    """The PSAM's own counter, 8 hex."""
    card_counter: str
    """The card's own counter, 4 hex."""
    pre_balance_fen: int
    post_balance_fen: int
    """Credit cards carry a huge dummy balance; before − after is the fee all the same."""
    algorithm: int = ALGORITHM_3DES
    """1 3DES, 2 SM4."""
    entered_at: datetime | None = None
    lot_name: str = ""
    obu_net: str = ""
    """Network number of the unit; empty: the card's."""
    station_no: str = ""
    entry_lane_no: str = ""
    exit_lane_no: str = ""
    list_version: str = ""
    """Status list that the lane used (``black_ver``)."""

    @property
    def is_credit(self) -> bool:
        """Tell whether the card is a credit card 记账卡."""
        return self.card_type in CARDS_CREDIT


class PackingRules(Struct, frozen=True):
    """What a charge is measured against before it is packed; facts of the operator's agreement, not of the wire."""

    own_network: str
    """Card network whose TAC can be checked, Jiangsu ``3201``."""
    lots_active: frozenset[str]
    cap_fen: int = CAP_FEN_DEFAULT
    overdue_after: timedelta = OVERDUE_AFTER_DEFAULT


class CustomData(Struct, frozen=True, kw_only=True):
    """What ``CustomizedData`` repeats of a record, in the order of the string."""

    tac: str
    fee_fen: int
    trans_type: str
    terminal_no: str
    terminal_serial: str
    happened_at: datetime
    post_balance_fen: int
    pre_balance_fen: int
    card_counter: str


def charge_id(*, lot_no: str, at: datetime, lane_serial: int) -> str:
    """Return a charge's 26 digits: car park, Beijing time, last two digits of the lane's serial number."""
    return f"{lot_no}{compact_time(at)}{lane_serial % 100:02d}"


def form_faults(record: TransactionRecord) -> tuple[str, ...]:
    """Return the names of the fields whose form is wrong, in the order of the record; empty when all can be sent.

    A fee below zero and balances that do not agree are right in form: ``precheck`` names those.
    """
    wrong = {name for name, form in _FORMS.items() if form.fullmatch(getattr(record, name)) is None}
    wrong |= {name for name, span in _RANGES.items() if getattr(record, name) not in span}
    wrong |= {name for name in ("happened_at", "entered_at") if not _is_whole_second(getattr(record, name))}
    if abs(record.fee_fen) > FEE_FEN_MAX:
        wrong.add("fee_fen")
    if record.card_type not in CARDS_STORED_VALUE | CARDS_CREDIT:
        wrong.add("card_type")
    if record.algorithm not in (ALGORITHM_3DES, ALGORITHM_SM4):
        wrong.add("algorithm")
    if not record.charge_id.startswith(record.lot_no):
        wrong.add("charge_id")
    return tuple(name for name in record.__struct_fields__ if name in wrong)


def tac_has_form(record: TransactionRecord) -> bool:
    """Tell whether the TAC can be one at all. More than this only the issuer can check."""
    return _FORMS["tac"].fullmatch(record.tac) is not None


def precheck(
    record: TransactionRecord,
    *,
    rules: PackingRules,
    now: datetime,
    tac_holds: Callable[[TransactionRecord], bool] = tac_has_form,
) -> tuple[PreCheck, ...]:
    """Return why a charge must not be packed, in the order of the codes; empty when it may.

    ``tac_holds`` is asked for cards of the own network that pay something, and nobody else. A zero charge is packed: it makes
    the driver's list complete. Times must be aware (``form_faults`` names those that are not).
    Source: docs/ETC.md, section 6.
    """
    own = record.card_net == rules.own_network and record.fee_fen > 0
    card_no = record.card_net + record.card_no
    found = {
        PreCheck.TAC: own and not tac_holds(record),
        PreCheck.FEE: not 0 <= record.fee_fen <= rules.cap_fen,
        PreCheck.CARD_NO: not record.card_no or len(card_no) > CARD_NO_DIGITS_MAX,
        PreCheck.ENTRY_AFTER_EXIT: record.entered_at is not None and record.entered_at > record.happened_at,
        PreCheck.LOT_NOT_ACTIVE: record.lot_no not in rules.lots_active,
        PreCheck.BALANCES: record.pre_balance_fen - record.post_balance_fen != record.fee_fen,
        PreCheck.OVERDUE: now - record.happened_at > rules.overdue_after,
    }
    return tuple(code for code, is_so in found.items() if is_so)


def custom_data(record: TransactionRecord) -> str:
    """Return ``CustomizedData``, 76 hex digits. Raises ValueError for a record whose form or balances cannot be written so."""
    if (faults := form_faults(record)) or record.fee_fen < 0:
        raise ValueError(f"the record cannot be packed: {', '.join(faults) or 'fee_fen'}")
    return (
        f"{record.tac}{record.fee_fen:08X}{record.trans_type}{record.terminal_no}{record.terminal_serial}"
        f"{compact_time(record.happened_at)}0000{record.post_balance_fen:08X}{record.pre_balance_fen:08X}{record.card_counter}"
    )


def read_custom_data(text: str) -> CustomData | None:
    """Return what ``CustomizedData`` says, or None when it is not 76 digits of that form."""
    found = _CUSTOM.fullmatch(text)
    at = None if found is None else read_compact_time(found["time"])
    if found is None or at is None:
        return None
    return CustomData(
        tac=found["tac"],
        fee_fen=int(found["fee"], 16),
        trans_type=found["type"],
        terminal_no=found["terminal"],
        terminal_serial=found["serial"],
        happened_at=at,
        post_balance_fen=int(found["after"], 16),
        pre_balance_fen=int(found["before"], 16),
        card_counter=found["counter"],
    )


def agrees(record: TransactionRecord, custom: CustomData) -> bool:
    """Tell whether ``CustomizedData`` repeats the record; hex is compared without case."""
    return all(_folded(getattr(record, name)) == _folded(getattr(custom, name)) for name in custom.__struct_fields__)


def joined_plate(plate: str, colour: PlateColour) -> str:
    """Return number and colour as the XML writes them: ``皖EYG511蓝``."""
    return plate + COLOUR_WORDS[colour]


def parted_plate(text: str) -> tuple[str, PlateColour] | None:
    """Return number and colour of a joined plate, or None. The longest colour word counts; a trailing 色 is allowed."""
    text = text.removesuffix("色")
    for colour, word in _COLOURS_BY_LENGTH:
        if text.endswith(word) and len(text) > len(word):
            return text.removesuffix(word), colour
    return None


def china_time(at: datetime) -> str:
    """Return an instant as Beijing time ``yyyy-MM-dd HH:mm:ss``."""
    return at.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")


def read_china_time(text: str) -> datetime | None:
    """Return the instant of Beijing time ``yyyy-MM-dd HH:mm:ss`` in UTC, or None."""
    return None if _TEXT_TIME.fullmatch(text) is None else _instant(text, "%Y-%m-%d %H:%M:%S")


def compact_time(at: datetime) -> str:
    """Return an instant as Beijing time in 14 digits."""
    return at.astimezone(CHINA).strftime(_COMPACT_TIME)


def read_compact_time(text: str) -> datetime | None:
    """Return the instant of 14 digits of Beijing time in UTC, or None."""
    return _instant(text, _COMPACT_TIME) if len(text) == 14 and text.isascii() and text.isdigit() else None


def _instant(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form).replace(tzinfo=CHINA).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _is_whole_second(at: datetime | None) -> bool:
    return at is None or (at.tzinfo is not None and at.microsecond == 0)


def _folded(value: object) -> object:
    return value.lower() if isinstance(value, str) else value
