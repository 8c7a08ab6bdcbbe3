"""ETC's code words: plate colours, cards, results of receipt, of booking and of disputes, reasons of the pre-check.

Knows the numbers that the documents print; must not know what follows from them. Read by every module of the adapter.
Source: docs/ETC.md, sections 4 and 6.
"""

from enum import IntEnum, StrEnum
from typing import Final

from msgspec import Struct


class PlateColour(IntEnum):
    """Colour code of a plate; together with the number it names one car."""

    BLUE = 0
    YELLOW = 1
    BLACK = 2
    WHITE = 3
    GRADIENT_GREEN = 4
    YELLOW_GREEN = 5
    BLUE_WHITE = 6
    TEMPORARY = 7
    GREEN = 11
    RED = 12


COLOUR_WORDS: Final[dict[PlateColour, str]] = {
    PlateColour.BLUE: "蓝",
    PlateColour.YELLOW: "黄",
    PlateColour.BLACK: "黑",
    PlateColour.WHITE: "白",
    PlateColour.GRADIENT_GREEN: "渐变绿",
    PlateColour.YELLOW_GREEN: "黄绿",
    PlateColour.BLUE_WHITE: "蓝白",
    PlateColour.TEMPORARY: "临时",
    PlateColour.GREEN: "绿",
    PlateColour.RED: "红",
}
"""The word that the XML appends to the number. Only 蓝 was seen [?]; the other words are the usual ones."""

CARDS_STORED_VALUE: Final = frozenset({22, 1})
CARDS_CREDIT: Final = frozenset({23, 2})
"""22 and 23 are Jiangsu's. Other provinces use 1 and 2; that 1 is the stored-value card and 2 the credit card is believed [?]."""

TRANS_TYPES: Final = frozenset({"06", "09"})
"""Simple and compound purchase."""

ALGORITHM_3DES: Final = 1
ALGORITHM_SM4: Final = 2


class Receipt(IntEnum):
    """Result of receipt: what the receiver says about a message, not about the charges in it."""

    ACCEPTED = 1
    HEADER_WRONG = 2
    SCHEMA_INVALID = 3
    CONTENT_WRONG = 4
    """The form is right; counts, sums or repeats are not."""
    REPEATED = 5
    ADVICE_REFUSED = 6
    VERSION_WRONG = 7
    CLEARING_DISAGREES = 8
    """Only in answer to clearing statistics."""
    SIGNATURE_WRONG = 30
    CLOCK_WRONG = 31
    KEY_UNKNOWN = 32
    NOT_OUR_LOT = 33
    BUSY = 34
    """Nothing was done; the same message may be sent again."""


class BookingReason(IntEnum):
    """Why the issuer disputes a charge."""

    VERIFICATION_FAILED = 1
    REPEATED = 2
    USER_STATE_CHANGED = 3
    TYPE_INVALID = 4
    OVERDUE = 5
    FIELD_WRONG = 6
    OVER_LIMIT = 7
    NO_SUCH_CARD = 8
    CARD_STATE = 9
    CARD_EXPIRED = 10
    NOT_ALLOWED = 11
    CSN_MISMATCH = 12
    TEST_CHARGE = 13
    CARD_AND_ACCOUNT_DISAGREE = 14
    CARD_TYPE = 15
    LANE_CLOCK_WRONG = 16
    NO_SUCH_OBU = 17
    OTHER = 100


class DisputeOutcome(IntEnum):
    """How a dispute ends: in full or not at all."""

    RELEASED = 0
    """The issuer pays the whole charge."""
    BAD_DEBT = 1
    """The issuer pays nothing: the charge is owed by the parker again."""


class PreCheck(IntEnum):
    """Why a charge is not packed."""

    TAC = 2
    FEE = 3
    CARD_NO = 7
    ENTRY_AFTER_EXIT = 9
    LOT_NOT_ACTIVE = 11
    BALANCES = 14
    OVERDUE = 21


class RefundReason(StrEnum):
    """Why the platform gives money back."""

    DUPLICATE = "DUP"
    WRONG_FEE = "WRONG_FEE"
    WRONG_CAR = "WRONG_CAR"
    COMPLAINT = "COMPLAINT"
    POLICY = "POLICY"


class RefundRefusal(StrEnum):
    """Why the clearing party does not give money back [P]."""

    NOT_CLEARED = "NOT_CLEARED"
    """The charge is not cleared yet: the same refund may be asked for again later."""
    ABOVE_REST = "ABOVE_REST"
    """More than is left of the charge."""
    NO_CHARGE = "NO_CHARGE"
    """There is no such paid charge."""
    ISSUER = "ISSUER"
    """The issuer turned it down; the money stays with the operator."""
    ACCOUNT = "ACCOUNT"
    """The payer's account takes no money any more."""


class Rejection(Struct, frozen=True):
    """A message that is not taken: the result to answer with, and one sentence for the log and the other side."""

    result: Receipt
    reason: str
