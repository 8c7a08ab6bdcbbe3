"""Which faults meet an order or a refund: pure decisions by pattern, count and seed.

Knows the fault plan; must not know state or HTTP. Called by the sandbox's desk.
"""

from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from gateways.sandbox.chance import digits
from gateways.sandbox.shapes import Fault, FaultKind, FaultPlan

_SHARES: Final = 10**12
OUT_OF_ORDER_SECONDS: Final = 600.0
FAILS_LATER_SECONDS: Final = 3600.0


def met(
    plan: FaultPlan,
    kinds: Iterable[FaultKind],
    *,
    subject: str,
    seed: str,
    bill_on: date | None = None,
    refund_no: str | None = None,
) -> tuple[tuple[Fault, ...], FaultPlan]:
    """Return the faults of ``kinds`` that meet ``subject`` (an order number or a bill), and the plan with its counts taken down.

    A refund is met by the number of its order; whether it is in a share follows from ``refund_no``.
    """
    wanted, hit, rest = frozenset(kinds), [], []
    for number, fault in enumerate(plan.faults):
        if fault.kind in wanted and _fits(fault, subject, bill_on) and _in_share(fault, number, refund_no or subject, seed):
            hit.append(fault)
            fault = fault if fault.next is None else msgspec.structs.replace(fault, next=fault.next - 1)
        rest.append(fault)
    return tuple(hit), FaultPlan(faults=tuple(rest))


def _fits(fault: Fault, subject: str, bill_on: date | None) -> bool:
    if fault.next == 0 or not fnmatchcase(subject, fault.order_like):
        return False
    return fault.bill_on is None or fault.bill_on == bill_on


def _in_share(fault: Fault, number: int, chosen_by: str, seed: str) -> bool:
    if fault.probability is None:
        return True
    return int(digits(12, seed, "fault", number, fault.kind, chosen_by)) < fault.probability * _SHARES


def delay_seconds(faults: Iterable[Fault], *, subject: str, seed: str) -> float:
    """Return how much later a notice comes."""
    late = 0.0
    for fault in faults:
        if fault.kind is FaultKind.LATE:
            late += fault.seconds
        elif fault.kind is FaultKind.OUT_OF_ORDER:
            late += int(digits(12, seed, "out of order", subject)) / _SHARES * (fault.seconds or OUT_OF_ORDER_SECONDS)
    return late


def seconds_of(kind: FaultKind, faults: Iterable[Fault], *, otherwise: float = 0.0) -> float:
    """Return the seconds of the faults of one kind together; ``otherwise`` for one that names none."""
    return sum(fault.seconds or otherwise for fault in faults if fault.kind is kind)


def on_attempt(faults: Iterable[Fault], attempt: int) -> frozenset[FaultKind]:
    """Return the kinds that touch attempt number ``attempt`` (from 1)."""
    return frozenset(fault.kind for fault in faults if fault.attempts == 0 or attempt <= fault.attempts)
