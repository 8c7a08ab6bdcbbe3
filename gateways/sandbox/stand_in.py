"""What a channel's stand-in is to the application around it, and what all stand-ins are given.

Knows routes and the control's bodies; must not know any channel. Implemented by one class per channel folder.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field

from gateways.sandbox.http import Route
from gateways.sandbox.shapes import Delivered, FaultPlan, MerchantIn, PaidOut, RefundedByHandOut
from ledger.clock import Clock, SystemClock


class Surroundings(Struct, frozen=True, kw_only=True):
    """What all stand-ins of one application have in common. With ``manual`` nothing is sent by itself, only by ``deliver``."""

    state_dir: Path
    """Each stand-in keeps one file here, ``<channel>.sqlite``."""
    base_url: str
    """Address of the application, as others reach it, without a slash at its end."""
    clock: Clock = field(default_factory=SystemClock)
    manual: bool = False
    seed: str | None = None
    """Makes numbers, notices and faults repeatable; None: by chance, once for the life of the state."""
    time_factor: float = 1.0
    """How many times faster than real the notices' schedule, refunds and clearing run."""
    fee_bps: int = 60
    """Commission of the channel in hundredths of a percent."""


class KeySource(Protocol):
    """Where demo keys come from: chance, or in a simulation the seed. The same name gives the same key in a simulation."""

    @property
    def at(self) -> datetime:
        """When certificates begin to be valid."""
        ...

    def rsa(self, name: str) -> bytes:
        """Return a new RSA private key of 2048 bits as PEM (PKCS #8)."""
        ...

    def secret(self, name: str) -> bytes:
        """Return 32 secret bytes."""
        ...

    def serial(self, name: str) -> int:
        """Return a certificate serial."""
        ...


class DemoKeys(Struct, frozen=True):
    """Key files of both sides, by path below ``keys/{channel}/`` and below ``sandbox-keys/{channel}/``."""

    ours: Mapping[str, bytes]
    theirs: Mapping[str, bytes]


class HandRefused(Exception):
    """What was asked for by hand (on a control route) cannot be done; the text says why."""


class StandIn(Protocol):
    """One channel's stand-in. One thread at a time."""

    name: str
    """The channel's name, as in ``Channel.name``; also the folder of its control routes: ``/_control/{name}/…``."""

    def routes(self) -> Sequence[Route]:
        """Return the routes of its wire, its cashier's pages and its merchant console. Their paths are its own: ``/{name}/…``."""
        ...

    def plan(self) -> FaultPlan: ...

    def set_plan(self, plan: FaultPlan) -> None:
        """Take a fault plan in place of the one before."""
        ...

    def name_merchants(self, merchants: Sequence[MerchantIn]) -> None:
        """Take the names of merchants, as cashier and console show them."""
        ...

    def pay(self, order_no: str) -> PaidOut:
        """Pay an order as its payer does and put its notices on the way. Raises HandRefused."""
        ...

    def refund_by_hand(self, order_no: str, amount_fen: int | None) -> RefundedByHandOut:
        """Refund as the merchant's console does; None means all that is left. Raises HandRefused."""
        ...

    async def deliver(self, limit: int) -> Delivered:
        """Send what is due, one after another in a fixed order, until nothing is due or ``limit`` is reached."""
        ...

    async def run(self) -> None:
        """Send what is due, for ever. Started by the application unless ``manual``."""
        ...

    def wake(self) -> None:
        """Hear that the clock was set."""
        ...

    async def close(self) -> None:
        """Close connections and the state; what waits is sent after the next start."""
        ...
