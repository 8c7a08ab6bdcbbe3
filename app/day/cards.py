"""Cards at the lanes of a simulated day: the records that lots bring, and what their issuers do with them.

Knows the plan, the doors and the form of a record; must not know the database. Called by ``app.day.drive``.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from app import demo
from app.api.cards import CardChargeIn
from app.day.doors import ETC_COLOURS, DoorClosed, Doors
from app.day.plan import BAD_DEBT_MINUTE, DISPUTES, LATE_LANE_MINUTE, RELEASING_MINUTE, Plan, Stay
from gateways.etc import tac, uploads
from gateways.etc.codes import DisputeOutcome
from gateways.etc.record import TransactionRecord, charge_id
from payments.records import NewCharge

_CARD_KEY: Final = hashlib.sha256(b"tongting day, every card").digest()[: tac.KEY_BYTES]
"""What the cards of the city make their TACs with; the stand-in does not check these."""
_CARD_NET: Final = "3201"
_STORED_VALUE, _CREDIT = 22, 23
_BALANCE_FEN: Final = 100_000
_NO_TAC: Final = "00000000"


class Lane(Struct, frozen=True):
    """A lot as the clearing party knows it: its number, and who is paid for it."""

    lot_no: str
    merchant_no: str


class CardCounts(Struct):
    """What lots and issuers did with cards, as seen from outside."""

    records: int = 0
    """Records that lots brought, those of stays that cost nothing among them."""
    brought_again: int = 0
    packages: int = 0
    """Calls that sent packages."""
    released: int = 0
    bad: int = 0
    bad_paid: int = 0
    """Bad debts whose drivers paid with a wallet then."""


class Cards:
    """The cards of a plan. ``lanes`` holds, by its code, each lot whose operator has an account at the clearing party."""

    def __init__(self, plan: Plan, doors: Doors, *, lanes: Mapping[str, Lane]) -> None:
        self.counts = CardCounts()
        self._plan, self._doors, self._lanes = plan, doors, lanes
        self._stays = [stay for stay in plan.stays if stay.card is not None]
        self._has_bad = any(stay.card is not None and stay.card.is_bad for stay in self._stays)

    async def begin(self) -> None:
        """Tell the clearing party whose the lots are."""
        if self._stays:
            for lane in self._lanes.values():
                await self._doors.name_lot(lane.lot_no, lane.merchant_no)

    async def bring(self, minute: int) -> int:
        """Let lots bring the records of a minute, one lot after another; returns how many of them their issuers will pay."""
        stays = [stay for stay in self._stays if stay.card is not None and stay.card.brought_minute == minute]
        stays.sort(key=lambda stay: (stay.lot_code, stay.serial))
        for lot_code, those in groupby(stays, key=lambda stay: stay.lot_code):
            await self._bring(lot_code, list(those))
        return sum(stay.is_paid_by_card for stay in stays)

    async def _bring(self, lot_code: str, stays: Sequence[Stay]) -> None:
        """Bring a lot's records; every fifth time its system brings them twice."""
        given = [self._given(stay) for stay in stays]
        operator = demo.operator_of(lot_code)
        created = await self._doors.post_cards(operator, lot_code, given)
        if created != len(given):
            raise DoorClosed(f"{lot_code} brought {len(given)} records and {created} were new")
        self.counts.records += created
        if int(stays[0].serial[1:]) % 5 == 0:
            again = await self._doors.post_cards(operator, lot_code, given)
            assert again == 0, "a record brought again is the same record"
            self.counts.brought_again += len(given)

    def _given(self, stay: Stay) -> CardChargeIn:
        made = record(stay, charge_of(self._plan, stay), lot_no=self._lanes[stay.lot_code].lot_no)
        return CardChargeIn(uploads.record_body(made), "" if stay.is_free else stay.serial)

    async def decide(self, minute: int) -> None:
        """Let issuers begin to dispute, and the clearing party settle what is in dispute."""
        if not self._stays:
            return
        if minute in DISPUTES and (minute != LATE_LANE_MINUTE or self._has_bad):
            await self._doors.dispute(DISPUTES[minute])
        if minute == RELEASING_MINUTE:
            self.counts.released += await self._doors.settle(DisputeOutcome.RELEASED)
        if minute == BAD_DEBT_MINUTE and self._has_bad:
            self.counts.bad += await self._doors.settle(DisputeOutcome.BAD_DEBT)
            if self.counts.bad != 1:
                raise DoorClosed(f"one charge was to become a bad debt, not {self.counts.bad}: packages wait too long")


def charge_of(plan: Plan, stay: Stay) -> NewCharge:
    """Return the charge of a stay; one of nothing is not posted."""
    left_at = plan.at(stay.charged_minute)
    return demo.charge(stay.lot_code, serial=stay.serial, plate=stay.plate, minutes=stay.stayed_minutes, left_at=left_at)


def record(stay: Stay, charge: NewCharge, *, lot_no: str) -> TransactionRecord:
    """Return what a lane made of a card: each stay has a number, a second and a card of its own, so no two records are the same.

    Every third card is a credit card, the others hold a balance.
    """
    assert stay.card is not None, "a card paid"
    assert charge.left_at is not None, "the car has left"
    number = int(stay.serial[1:])
    happened_at = charge.left_at - timedelta(seconds=number // 100 % 60)
    made = TransactionRecord(
        charge_id=charge_id(lot_no=lot_no, at=happened_at, lane_serial=number),
        lot_no=lot_no,
        clearing_party_no="320201",
        issuer_no=stay.card.issuer_no,
        happened_at=happened_at,
        parked_minutes=stay.stayed_minutes,
        fee_fen=charge.amount_fen,
        card_type=_STORED_VALUE if number % 3 else _CREDIT,
        card_net=_CARD_NET,
        card_no=f"2200{number:012d}",
        obu_no=f"{_CARD_NET}{number:012d}",
        obu_state="0000",
        plate=charge.plate,
        colour=ETC_COLOURS[charge.plate_color],
        vehicle_type=1,
        tac=_NO_TAC,
        trans_type="09",
        terminal_no=f"0132{int(lot_no) % 100_000_000:08d}",
        terminal_serial=f"{number:08X}",
        card_counter=f"{number % 0x1_0000:04X}",
        pre_balance_fen=_BALANCE_FEN,
        post_balance_fen=_BALANCE_FEN - charge.amount_fen,
        entered_at=charge.entered_at,
    )
    return replace(made, tac=tac.tac_of(made, _CARD_KEY))
