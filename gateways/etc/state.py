"""The life of an ETC charge: which event leads where, and what is to be done next. One table, one pure function.

Knows states and events; must not know the book. The caller stores the state and posts what the step means (docs/ETC.md, section 9).
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct

from gateways.etc.codes import Receipt


class ChargeState(StrEnum):
    """Where a charge stands, and whose the risk is."""

    NEW = "new"
    """Captured at the lane; on no way yet."""
    PACKED = "packed"
    """In a package that was not sent."""
    SENT = "sent"
    """Sent; whether it arrived is not known."""
    ACKED = "acked"
    """The receiver has the package; the issuer has not decided."""
    BOOKED = "booked"
    """The issuer will pay."""
    DISPUTED = "disputed"
    """The issuer does not pay for now."""
    RELEASED = "released"
    """The dispute ended: the issuer will pay."""
    BAD = "bad"
    """The dispute ended: the issuer never pays; the parker owes the charge again. Final."""
    CLEARED = "cleared"
    """In clearing statistics that agree: final between the parties."""
    PAID_OUT = "paid_out"
    """On the operator's own account, less the fee."""
    REFUNDED_PART = "refunded_part"
    REFUNDED = "refunded"
    """Given back in full. Final."""
    REJECTED = "rejected"
    """The package was turned away; the charge goes into a new one with a new number."""


class Event(StrEnum):
    """What happens to a charge."""

    PACK = "pack"
    SEND = "send"
    ANSWER = "answer"
    """A result of receipt came; which one is the argument ``answer``."""
    NO_ANSWER = "no_answer"
    BOOK = "book"
    DISPUTE = "dispute"
    RELEASE = "release"
    WRITE_BAD = "write_bad"
    CLEAR = "clear"
    PAY_OUT = "pay_out"
    REFUND_PART = "refund_part"
    REFUND_FULL = "refund_full"
    REPAIR = "repair"


class Task(StrEnum):
    """What is to be done after an event."""

    NONE = "none"
    SEND_SAME = "send_same"
    """Send the same package again under the same number."""
    LOOK_UP = "look_up"
    """The package was taken before: find the first answer, send nothing."""
    REPAIR = "repair"
    """A person or a rule repairs the charge; then it gets a new number."""
    MEND_LINE = "mend_line"
    """Key, clock or agreement is wrong: a person mends it, then the same package goes again."""


class Step(Struct, frozen=True):
    """Where an event leads and what is to be done then."""

    state: ChargeState
    task: Task = Task.NONE


_S, _E = ChargeState, Event

STEPS: Final[dict[tuple[ChargeState, Event], Step]] = {
    (_S.NEW, _E.PACK): Step(_S.PACKED),
    (_S.PACKED, _E.SEND): Step(_S.SENT),
    (_S.SENT, _E.SEND): Step(_S.SENT),
    (_S.SENT, _E.NO_ANSWER): Step(_S.SENT, Task.SEND_SAME),
    (_S.SENT, _E.BOOK): Step(_S.BOOKED),  # a booking result proves the receipt whose answer was lost
    (_S.SENT, _E.DISPUTE): Step(_S.DISPUTED),
    (_S.ACKED, _E.BOOK): Step(_S.BOOKED),
    (_S.ACKED, _E.DISPUTE): Step(_S.DISPUTED),
    (_S.DISPUTED, _E.RELEASE): Step(_S.RELEASED),
    (_S.DISPUTED, _E.WRITE_BAD): Step(_S.BAD),
    (_S.BOOKED, _E.CLEAR): Step(_S.CLEARED),
    (_S.RELEASED, _E.CLEAR): Step(_S.CLEARED),
    (_S.CLEARED, _E.PAY_OUT): Step(_S.PAID_OUT),
    (_S.CLEARED, _E.REFUND_PART): Step(_S.REFUNDED_PART),
    (_S.CLEARED, _E.REFUND_FULL): Step(_S.REFUNDED),
    # a refund is netted in a later clearing day, so a charge paid out can be given back as well, and in parts [P]
    (_S.PAID_OUT, _E.REFUND_PART): Step(_S.REFUNDED_PART),
    (_S.PAID_OUT, _E.REFUND_FULL): Step(_S.REFUNDED),
    (_S.REFUNDED_PART, _E.REFUND_PART): Step(_S.REFUNDED_PART),
    (_S.REFUNDED_PART, _E.REFUND_FULL): Step(_S.REFUNDED),
    (_S.REJECTED, _E.REPAIR): Step(_S.NEW),
}
"""Every event that may happen, but for answers. ``REFUND_FULL`` is the refund after which nothing is left."""

ANSWERS: Final[dict[Receipt, Step]] = {
    Receipt.ACCEPTED: Step(_S.ACKED),
    Receipt.HEADER_WRONG: Step(_S.REJECTED, Task.REPAIR),
    Receipt.SCHEMA_INVALID: Step(_S.REJECTED, Task.REPAIR),
    Receipt.CONTENT_WRONG: Step(_S.REJECTED, Task.REPAIR),
    Receipt.REPEATED: Step(_S.SENT, Task.LOOK_UP),
    # received but refused as advice: no text says more, so a person looks and nothing is sent by itself [?]
    Receipt.ADVICE_REFUSED: Step(_S.SENT, Task.LOOK_UP),
    Receipt.VERSION_WRONG: Step(_S.REJECTED, Task.REPAIR),
    Receipt.SIGNATURE_WRONG: Step(_S.SENT, Task.MEND_LINE),
    Receipt.CLOCK_WRONG: Step(_S.SENT, Task.MEND_LINE),
    Receipt.KEY_UNKNOWN: Step(_S.SENT, Task.MEND_LINE),
    Receipt.NOT_OUR_LOT: Step(_S.REJECTED, Task.REPAIR),
    Receipt.BUSY: Step(_S.SENT, Task.SEND_SAME),
}
"""Where the answer to a package that was sent leads. ``CLEARING_DISAGREES`` is no answer to a package."""


def step(state: ChargeState, event: Event, *, answer: Receipt | None = None) -> Step | None:
    """Return where an event leads, or None when it cannot happen in this state: then nothing may change.

    ``answer`` goes with ``Event.ANSWER`` and with no other. A late answer to a package already answered is None too.
    """
    assert (answer is not None) is (event is Event.ANSWER), "an answer comes with its result, nothing else does"
    if answer is not None:
        return ANSWERS.get(answer) if state is ChargeState.SENT else None
    return STEPS.get((state, event))
