"""The staff of a simulated city: its dated rules at the beginning, and what a maker and a checker decide about debts.

Knows the functions that the product's command line calls for these; must not know pages or how a day went. Called by
``app.day.leaving`` and ``app.day.command``.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import Connection

from app.day.owing import STREETS
from app.day.plan import DebtDeed, Deed
from app.dunning import channels
from app.wiring import Wiring
from ledger.clock import business_date
from payments import charges, lots, people, store
from payments.incentive import parties
from payments.incentive import rules as incentive
from payments.incentive.parties import NewParty
from payments.incentive.rules import NewAssignment, NewShare
from payments.owed import debt_desk, disputes, leaving
from payments.owed.debt_desk import Ask
from payments.owed.debt_desk_store import Kind
from payments.owed.dunning import contacts, rules
from payments.owed.dunning.contacts import NewContact
from payments.owed.dunning.rules import Step
from payments.people import Person
from payments.records import Charge, NewCharge

MAKER, CHECKER = "day-maker", "day-checker"
_DOCUMENT: Final = "示范文件 1"
_SALT_BYTES: Final = 16
DUE_DAYS: Final = 1
DUE_AT_ONCE: Final = "BH-0002"
"""At this street's lots debts are due on the day itself, so that few days show reminders and letters."""
DEBTS_MAX, OWED_FEN_MAX, OVERDUE_DAYS_MAX = 3, 30_000, 30
ASSIGNED: Final = "yixing"
"""Debts to this operator are recovered by a company, from the day after."""
_STEPS: Final = (
    Step(step=1, days_after_due=1, channels=("page",), template_code="reminder", owed_fen_min=100),
    Step(step=2, days_after_due=2, channels=("post", "page"), template_code="second", owed_fen_min=100),
)


def enter_rules(wiring: Wiring, *, at: datetime) -> None:
    """Enter people, rules of leaving first and of dunning, and who earns what by recovering debts. Once, at the beginning."""
    with wiring.db.begin() as tx:
        people.enter(tx, person=Person(MAKER, may_propose=True, may_approve=False, document=_DOCUMENT), at=at)
        people.enter(tx, person=Person(CHECKER, may_propose=False, may_approve=True, document=_DOCUMENT), at=at)
        _leave_rules(tx, at)
        dunning = rules.NewRule(document=_DOCUMENT, valid_from=at, steps=_STEPS, days_between=1)
        rules.enter(tx, rule=dunning, channels=channels(wiring.settings).names(), at=at)
        _incentives(tx, wiring, at)


def _leave_rules(tx: Connection, at: datetime) -> None:
    """Let plates with a mandate leave every lot first, and everybody the streets' lots."""
    leaving.enter_rule(tx, rule=_leave_rule(at, "mandate"), at=at)
    for code in STREETS:
        lot = lots.lot_by_code(tx, code=code)
        due_days = 0 if code == DUE_AT_ONCE else DUE_DAYS
        rule = _leave_rule(at, "everyone", operator_id=lot.operator_id, lot_id=lot.lot_id, due_days=due_days)
        leaving.enter_rule(tx, rule=rule, at=at)


def _leave_rule(
    at: datetime,
    admits: Literal["mandate", "everyone"],
    *,
    operator_id: int | None = None,
    lot_id: int | None = None,
    due_days: int = DUE_DAYS,
) -> leaving.NewRule:  # fmt: skip
    return leaving.NewRule(
        operator_id=operator_id, lot_id=lot_id, valid_from=at, document=_DOCUMENT, admits=admits, debts_max=DEBTS_MAX,
        owed_fen_max=OWED_FEN_MAX, overdue_days_max=OVERDUE_DAYS_MAX, checks_lists=True, due_days=due_days,
    )  # fmt: skip


def _incentives(tx: Connection, wiring: Wiring, at: datetime) -> None:
    """Let the platform earn a twentieth of what its window recovers, and a company a fifth of what is assigned to it."""
    platform = NewParty(kind="platform", code="platform", name="无锡示范停车平台运营有限公司", lane=wiring.lane)
    company = NewParty(kind="company", code="recover", name="无锡示范催收服务有限公司", lane=wiring.lane)
    for party in (platform, company):
        parties.register(tx, party=party, at=at)
    for party, bps in ((platform, 500), (company, 2_000)):
        rule = incentive.NewRule(valid_from=at, document=_DOCUMENT, recovered_by=party.kind, share=(NewShare(bps=bps),))
        incentive.add_rule(tx, lane=wiring.lane, rule=rule, at=at, ids=wiring.ids)
    assignment = NewAssignment(valid_from=at, document=_DOCUMENT, recoverer=company.code, owner=ASSIGNED, days_min=1)
    incentive.add_assignment(tx, lane=wiring.lane, assignment=assignment, at=at, ids=wiring.ids)


class Desk:
    """Carries out what the staff decides; keeps what waits for the second person."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._waiting: dict[str, UUID] = {}
        self._does: Mapping[DebtDeed, Callable[[Connection, Charge, datetime], None]] = {
            "contact": self._contact, "uphold": self._uphold, "reject": self._reject,
            "waive": self._waive, "write_off": self._write_off, "approve": self._approve,
        }  # fmt: skip

    def know(self, cars: Collection[NewCharge]) -> None:
        """Make plates known before their cars come, with salts made of the seed: a credit note names a plate by a salted digest."""
        seed = self._wiring.settings.simulated_seed
        known = sorted({(car.plate, car.plate_color) for car in cars})
        salts = iter(hashlib.sha256(f"salt {seed} {plate} {color}".encode()).digest()[:_SALT_BYTES] for plate, color in known)
        with self._wiring.db.begin() as tx:
            store.plate_ids(tx, plates=known, salt=lambda: next(salts))

    def does(self, deed: Deed) -> bool:
        """Say whether this is the staff's."""
        return deed.kind in self._does

    def carry_out(self, deed: Deed, *, at: datetime) -> None:
        """Carry out one deed in a transaction of its own."""
        with self._wiring.db.begin() as tx:
            self._does[deed.kind](tx, self._charge(tx, deed.stay.lot_code, deed.stay.serial), at)

    def _charge(self, tx: Connection, lot_code: str, serial: str) -> Charge:
        lot = lots.lot_by_code(tx, code=lot_code)
        return charges.by_serial(tx, lane=self._wiring.lane, lot_id=lot.lot_id, lot_serial=serial)

    def _contact(self, tx: Connection, charge: Charge, at: datetime) -> None:
        contact = NewContact(
            plate=charge.plate, plate_color=charge.plate_color, medium="address", value=f"无锡市示范路{charge.lot_id}号",
            purpose="reminder", document=_DOCUMENT, erase_on=business_date(at) + timedelta(days=365), is_proven_holder=True,
        )  # fmt: skip
        contacts.enter(tx, contact=contact, at=at, ids=self._wiring.ids)

    def _uphold(self, tx: Connection, charge: Charge, at: datetime) -> None:
        made = disputes.uphold(
            tx, lane=charge.lane, dispute_id=_disputed(tx, charge), by=MAKER, note="出场记录缺失，予以减免。",
            document=_paper(charge), at=at, ids=self._wiring.ids,
        )  # fmt: skip
        assert made.waiver_id is not None, "what is upheld is let off"
        self._waiting[charge.lot_serial] = made.waiver_id

    def _reject(self, tx: Connection, charge: Charge, at: datetime) -> None:
        disputes.reject(
            tx, lane=charge.lane, dispute_id=_disputed(tx, charge), by=MAKER, note="进出场照片清晰，时间无误。",
            at=at, ids=self._wiring.ids,
        )  # fmt: skip

    def _waive(self, tx: Connection, charge: Charge, at: datetime) -> None:
        self._propose(tx, "waiver", charge, at)

    def _write_off(self, tx: Connection, charge: Charge, at: datetime) -> None:
        self._propose(tx, "write_off", charge, at)

    def _propose(self, tx: Connection, kind: Kind, charge: Charge, at: datetime) -> None:
        made = debt_desk.propose(
            tx, lane=charge.lane, kind=kind, asked=[Ask(charge.charge_id)], reason="示范决定", document=_paper(charge), by=MAKER,
            at=at, ids=self._wiring.ids,
        )  # fmt: skip
        self._waiting[charge.lot_serial] = made.decision_id

    def _approve(self, tx: Connection, charge: Charge, at: datetime) -> None:
        decision_id = self._waiting.pop(charge.lot_serial)
        seen, _ = debt_desk.shown(tx, lane=charge.lane, decision_id=decision_id)
        debt_desk.approve(
            tx, lane=charge.lane, decision_id=decision_id, lines_digest=seen.lines_digest, by=CHECKER, at=at, ids=self._wiring.ids
        )


def _disputed(tx: Connection, charge: Charge) -> UUID:
    """Return the dispute of a charge that its lot may answer."""
    [found] = [one for one in disputes.of_lot(tx, lane=charge.lane, lot_id=charge.lot_id) if one.charge_id == charge.charge_id]
    return found.dispute_id


def _paper(charge: Charge) -> debt_desk.Paper:
    return debt_desk.paper(_DOCUMENT, f"示范决定 {charge.lot_serial}".encode())
