"""What goes wrong in a simulated day: the faults of each channel's stand-in, by seed. Pure.

Knows the stand-ins' faults; must not know the plan. Called by ``app.day.drive``.
"""

from typing import Final

import msgspec

from gateways.sandbox.shapes import Fault, FaultKind, FaultPlan

_UNKNOWN_SHARE: Final = 0.01
_FAULTS: Final = (
    Fault(kind=FaultKind.TWICE, probability=0.05),
    Fault(kind=FaultKind.LATE, probability=0.05, seconds=420),
    Fault(kind=FaultKind.OUT_OF_ORDER, probability=0.05),
    Fault(kind=FaultKind.NEVER, probability=0.04),
    Fault(kind=FaultKind.WRONG_SIGNATURE, probability=0.01, attempts=1),
    Fault(kind=FaultKind.WRONG_AMOUNT, probability=0.01, attempts=1),
    Fault(kind=FaultKind.OTHER_MERCHANT, probability=0.01, attempts=1),
    Fault(kind=FaultKind.UNKNOWN, probability=_UNKNOWN_SHARE),
    Fault(kind=FaultKind.REFUND_ERROR, next=1),
    Fault(kind=FaultKind.REFUND_LATE, probability=0.2, seconds=420),
    Fault(kind=FaultKind.REFUND_TWICE, probability=0.2),
    Fault(kind=FaultKind.REFUND_NEVER, probability=0.2),
    Fault(kind=FaultKind.BILL_CUT, next=1),
)
_OWN_FAULTS: Final = {
    "wechat": (Fault(kind=FaultKind.SIGNTEST, probability=0.01, attempts=1),),
    "alipay": (Fault(kind=FaultKind.ROTATE_KEY), Fault(kind=FaultKind.REFUND_UNKNOWN, next=1)),
    "unionpay": (Fault(kind=FaultKind.ROTATE_KEY), Fault(kind=FaultKind.REFUND_UNKNOWN, next=1)),
}
"""WeChat alone probes with false signatures. Its new keys must be fetched, which nobody does in a simulation; and the nonce of its
answer to a repeated refund call follows from the call, which names our port: the evidence would differ from city to city."""


def faults(channel: str) -> FaultPlan:
    """Return what a channel's stand-in does wrong, by seed: shares of the payments and refunds, and single mishaps."""
    return FaultPlan(faults=_FAULTS + _OWN_FAULTS.get(channel, ()))


def answering(plan: FaultPlan) -> FaultPlan:
    """Return what is left of a plan, but every order is answered.

    Somebody taps a second time; a share by seed meets an order every time, and real channels do recover.
    """
    return _with_unknown(plan, 0.0)


def failing_again(plan: FaultPlan) -> FaultPlan:
    """Return the plan that ``answering`` was made of; mishaps that have happened do not come back."""
    return _with_unknown(plan, _UNKNOWN_SHARE)


def _with_unknown(plan: FaultPlan, share: float) -> FaultPlan:
    """Give the orders that are not answered another share; faults keep their places, because shares by seed go by these."""
    return FaultPlan(
        faults=tuple(
            msgspec.structs.replace(fault, probability=share) if fault.kind is FaultKind.UNKNOWN else fault for fault in plan.faults
        )
    )
