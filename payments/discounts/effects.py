"""Effects: discounts are put on charges, and taken off again while nobody has paid. Source: docs/DISCOUNTS.md.

Knows grants, offers, charges and borne parts; must not know who gives grants, pages or HTTP. Called by ``grants``, by whoever has
posted charges, and by the worker.

What is put on lowers the charge itself, so that every way of paying finds the lower price: a wallet, a basket, a mandate, cash, and
the debt of a car that leaves. While somebody is paying nothing changes; a validation then waits.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, Engine, text

from ledger.ids import Ids
from payments import events
from payments.bearers import parts
from payments.bearers.parts import BornePart
from payments.discounts import effect_store, offers, shortening, stacking
from payments.discounts.effect_store import Effect, Grant, HeldCharge, ReckonedBy, Why
from payments.discounts.offers import MinutesAt, Offer
from payments.discounts.shortening import ChargedStay, Curve
from payments.discounts.stacking import OFFERS_MAX, Terms
from payments.splitting import splits

HOLD_FOR: Final = timedelta(minutes=30)
"""A coupon stays on a charge so long; longer than an order locks its price."""
LOOK_AGAIN: Final = timedelta(minutes=5)
"""Where somebody is paying when the time is over."""
BATCH: Final = 500
SOURCE: Final = "discount"
"""Of borne parts."""

Standing = Literal["on", "busy", "closed", "over", "used_up", "elsewhere", "no_better", "too_many", "no_price"]
"""on: it takes something off. busy: somebody is paying the charge. closed: the charge is paid, a debt or gone. over: it has
expired, not begun or was cancelled. used_up: a limit of uses. elsewhere: it does not count for this lot or scene. no_better:
others that may not stand beside it take off as much, or nothing is left. too_many: so many offers are on it already. no_price: its
minutes are reckoned by a tariff, and the stay has no price by one."""


class Wanted(Struct, frozen=True):
    """A grant that is to count for the stay of a charge. ``hold_until``: it is taken off again if nobody has paid by then."""

    grant_id: UUID
    charge_id: UUID
    hold_until: datetime | None = None
    was_on: bool = False
    """It counted until now, while it was valid: it does not matter that its time may be over since."""


class Answer(Struct, frozen=True):
    """What became of a grant that was wanted: where it stands, what it takes off, and what is left to pay of the stay."""

    standing: Standing
    fen: int = 0
    owed_fen: int = 0


class Shown(Struct, frozen=True):
    """What is taken off a charge, as its payer reads it."""

    charge_id: UUID
    words: str
    words_en: str
    fen: int


def meet(
    tx: Connection, *, lane: int, lot_id: int, at: datetime, ids: Ids, numbers: Sequence[str] | None = None, quotes: bool = False
) -> int:  # fmt: skip
    """Let validations of a lot that wait count for charges that are open; returns how many do now. May be repeated.

    One statement where none waits. Holds the charges in the order of their ids, then the grants.

    Args:
        numbers: Of plates; None: all.
        quotes: Also for prices that the lot gave for a moment: only when their driver is just asking.
    """
    found = effect_store.waiting(tx, lane=lane, lot_id=lot_id, numbers=numbers, quotes=quotes, at=at)
    first: dict[UUID, UUID] = {}
    for grant_id, charge_id in found:
        first.setdefault(grant_id, charge_id)
    answers = put_on(tx, lane=lane, wanted=[Wanted(*pair) for pair in first.items()], at=at, ids=ids)
    return sum(one.standing == "on" for one in answers.values())


def put_on(tx: Connection, *, lane: int, wanted: Sequence[Wanted], at: datetime, ids: Ids) -> dict[UUID, Answer]:
    """Let grants count for stays, beside what counts already; returns what became of each. May be repeated.

    The best for the driver counts, so something that was on may go off. A charge of which nothing is left is let off at once, for
    good, and its car is released. Holds the charges in the order of their ids, then the grants in theirs.
    """
    if not wanted:
        return {}
    stays = _stays(tx, lane, sorted({one.charge_id for one in wanted}))
    held = effect_store.hold(tx, lane=lane, charge_ids=sorted({one for stay in stays.values() for one in stay}))
    work = _Work(tx, lane, held, [one.grant_id for one in wanted], at, ids)
    of_stay: dict[tuple[UUID, ...], list[Wanted]] = {}
    for one in wanted:
        of_stay.setdefault(stays[one.charge_id], []).append(one)
    work.price({stay: [one.grant_id for one in mine] for stay, mine in of_stay.items()})
    answers: dict[UUID, Answer] = {}
    for stay, mine in of_stay.items():
        answers |= work.reckon([held[charge_id] for charge_id in stay if charge_id in held], mine)
    work.write()
    return answers


def move(tx: Connection, *, lane: int, onto: Mapping[UUID, UUID | None], at: datetime, ids: Ids) -> None:
    """Take off what is on charges whose place others take: coupons go on to those, validations wait again.

    One statement where nothing is on them. Holds the charges.
    """
    on = effect_store.in_effect(tx, lane=lane, charge_ids=list(onto))
    if not on:
        return
    take_off(tx, lane=lane, dropped=on, why="superseded", at=at, ids=ids)
    coupons = {
        one.grant_id: Wanted(one.grant_id, new, one.hold_until, was_on=True)
        for one in on
        if one.hold_until is not None and (new := onto[one.charge_id]) is not None
    }
    put_on(tx, lane=lane, wanted=list(coupons.values()), at=at, ids=ids)


def take_off(tx: Connection, *, lane: int, dropped: Sequence[Effect], why: Why, at: datetime, ids: Ids) -> int:
    """Take effects off charges that nobody pays, and reckon anew what else is on them; returns how many were taken off.

    Charges that are paid, being paid, left or let off keep what is on them.
    """
    stays = _stays(tx, lane, sorted({one.charge_id for one in dropped}))
    held = effect_store.hold(tx, lane=lane, charge_ids=sorted({one for stay in stays.values() for one in stay}))
    fixed = {charge_id for stay in stays.values() if not all(held[one].is_free for one in stay) for charge_id in stay}
    now = effect_store.in_effect(tx, lane=lane, charge_ids=[one for one in held if one not in fixed])
    gone = {(one.grant_id, stays[one.charge_id]) for one in dropped if one.charge_id in stays and one.charge_id not in fixed}
    mine = [one for one in now if (one.grant_id, _stay_of(stays, one.charge_id)) in gone]
    touched = {_stay_of(stays, one.charge_id) for one in mine}
    others = [one for one in now if one not in mine and _stay_of(stays, one.charge_id) in touched]
    work = _Work(tx, lane, held, [], at, ids)
    work.end(mine, why)
    work.end(others, "reckoned_anew")
    work.write(quiet={one.charge_id for one in others} if why != "superseded" else frozenset())
    if why != "superseded":
        again = [Wanted(one.grant_id, one.charge_id, one.hold_until, was_on=True) for one in others]
        unique = {(one.grant_id, _stay_of(stays, one.charge_id)): one for one in again}
        put_on(tx, lane=lane, wanted=list(unique.values()), at=at, ids=ids)
    return len(mine)


def cancel(tx: Connection, *, lane: int, grant_id: UUID, at: datetime, ids: Ids) -> bool:
    """Take a grant back, as long as nobody pays or has paid with it; returns whether it counts no more. May be repeated."""
    if on := effect_store.of_grant(tx, lane=lane, grant_id=grant_id):
        take_off(tx, lane=lane, dropped=on, why="cancelled", at=at, ids=ids)
    [held] = effect_store.grants(tx, lane=lane, grant_ids=[grant_id]).values()
    if held.used:
        return False
    effect_store.cancel(tx, lane=lane, grant_ids=[grant_id], at=at)
    return True


def uncover(tx: Connection, *, lane: int, charge_ids: Sequence[UUID], evidence_id: UUID, at: datetime) -> None:
    """Take everything off charges that were covered in full, for they are corrected; the claims on bearers are returned.

    The charges owe again what was taken off until the caller, who holds them, credits it. A grant that counted for them may count
    for another stay while it is valid.
    """
    if not charge_ids:
        return
    on = [one for one in effect_store.in_effect(tx, lane=lane, charge_ids=charge_ids) if one.is_final]
    if not on:
        return
    grant_ids = sorted({one.grant_id for one in on})
    effect_store.grants(tx, lane=lane, grant_ids=grant_ids)
    effect_store.end_effects(tx, lane=lane, effects=on, why=["corrected"] * len(on), at=at)
    fen: Counter[UUID] = Counter()
    for one in on:
        fen[one.charge_id] -= one.amount_fen
    effect_store.move_charges(tx, lane=lane, by={charge_id: fen[charge_id] for charge_id in sorted(fen)})
    effect_store.recount_uses(tx, lane=lane, grant_ids=grant_ids)
    parts.give_back(
        tx, lane=lane, source=SOURCE, source_ids=[one.effect_id for one in on], evidence_id=evidence_id, at=at
    )  # fmt: skip


def end_due(db: Engine, *, lane: int, at: datetime, ids: Ids) -> int:
    """Take off coupons that nobody paid with in time and what was withdrawn while somebody paid, and let validations that wait meet
    their charges; returns how many changed.

    Each step is a transaction of its own; broken off, the next call goes on.
    """
    changed = 0
    while True:
        with db.begin() as tx:
            due = effect_store.overdue(tx, lane=lane, at=at, limit=BATCH)
            changed += take_off(tx, lane=lane, dropped=due, why="not_paid", at=at, ids=ids) if due else 0
            effect_store.hold_longer(tx, lane=lane, effect_ids=[one.effect_id for one in due], until=at + LOOK_AGAIN)
        if len(due) < BATCH:
            break
    with db.begin() as tx:
        withdrawn = effect_store.withdrawn(tx, lane=lane, limit=BATCH)
        changed += take_off(tx, lane=lane, dropped=withdrawn, why="cancelled", at=at, ids=ids) if withdrawn else 0
        grant_ids = sorted({one.grant_id for one in withdrawn})
        free = [one.grant_id for one in effect_store.grants(tx, lane=lane, grant_ids=grant_ids).values() if not one.used]
        effect_store.cancel(tx, lane=lane, grant_ids=free, at=at)
    with db.connect() as tx:
        waiting = effect_store.waiting_lots(tx, lane=lane, at=at)
    for lot_id in waiting:
        with db.begin() as tx:
            changed += meet(tx, lane=lane, lot_id=lot_id, at=at, ids=ids)
    return changed


def shown(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> list[Shown]:
    """Return what is taken off charges, in the order in which it was put on."""
    query = text("""
        select charge_id, words, words_en, amount_fen as fen from payments.v_discount
        where lane = :lane and charge_id = any(cast(:ids as uuid[])) order by effect_id
        """)
    return [Shown(**row._mapping) for row in tx.execute(query, {"lane": lane, "ids": list(charge_ids)})]


def _stays(tx: Connection, lane: int, charge_ids: Sequence[UUID]) -> dict[UUID, tuple[UUID, ...]]:
    """Return for each charge all charges of its stay: itself, or those of all payees."""
    groups = splits.groups_of(tx, lane=lane, charge_ids=charge_ids)
    group_of = {charge_id: tuple(sorted(group.charge_ids)) for group in groups for charge_id in group.charge_ids}
    return {charge_id: group_of.get(charge_id, (charge_id,)) for charge_id in charge_ids}


def _charged(charges: Sequence[HeldCharge]) -> ChargedStay:
    """Return the stay of charges, for all of its payees together."""
    first = charges[0]
    return ChargedStay(
        key=first.charge_id, lot_id=first.lot_id, plate=first.plate, plate_color=first.plate_color, entered_at=first.entered_at,
        left_at=first.left_at, minutes=first.minutes, amount_fen=sum(one.amount_fen for one in charges),
    )  # fmt: skip


def _stay_of(stays: Mapping[UUID, tuple[UUID, ...]], charge_id: UUID) -> tuple[UUID, ...]:
    return next(stay for stay in stays.values() if charge_id in stay)


class _Work:
    """Stays held under lock, reckoned one by one in memory and written set by set at the end."""

    def __init__(
        self, tx: Connection, lane: int, held: Mapping[UUID, HeldCharge], new: Sequence[UUID], at: datetime, ids: Ids
    ) -> None:  # fmt: skip
        self._tx, self._lane, self._held, self._at, self._ids = tx, lane, held, at, ids
        self._on = effect_store.in_effect(tx, lane=lane, charge_ids=list(held)) if new else []
        grant_ids = [*new, *(one.grant_id for one in self._on)]
        self._grants: dict[UUID, Grant] = effect_store.grants(tx, lane=lane, grant_ids=grant_ids) if new else {}
        offer_ids = [one.offer_id for one in self._grants.values()]
        self._offers: dict[UUID, Offer] = offers.by_ids(tx, lane=lane, offer_ids=offer_ids) if new else {}
        self._uses: dict[tuple[UUID, int], effect_store.Used] = {}
        self._more: Counter[UUID] = Counter()
        """Uses of offers that this call adds."""
        limited = [one for one in self._offers.values() if one.uses_max is not None or one.plate_uses_max is not None]
        if limited and held:
            pairs = [(one.offer_id, plate) for one in limited for plate in sorted({x.plate_id for x in held.values()})]
            self._uses = effect_store.uses(tx, lane=lane, pairs=pairs)
        self._curves: dict[tuple[UUID, MinutesAt], Curve | str] = {}
        self._unpriced: dict[tuple[UUID, UUID], str] = {}
        self._put: list[Effect] = []
        self._ended: list[tuple[Effect, Why]] = []
        self._released: list[HeldCharge] = []

    def price(self, wanted: Mapping[tuple[UUID, ...], Sequence[UUID]]) -> None:
        """Ask the tariffs what free minutes take off stays that these grants are wanted for, all in one go."""
        stays: dict[UUID, ChargedStay] = {}
        minutes: Counter[tuple[UUID, MinutesAt]] = Counter()
        for charge_ids, grant_ids in wanted.items():
            charges = [self._held[one] for one in charge_ids if one in self._held]
            on = [one.grant_id for one in self._on if one.charge_id in charge_ids]
            for grant_id in sorted({one for one in (*grant_ids, *on) if one in self._grants} if charges else ()):
                offer = self._offers[self._grants[grant_id].offer_id]
                if offer.free_minutes is not None and offer.minutes_at is not None:
                    stays[charges[0].charge_id] = _charged(charges)
                    minutes[charges[0].charge_id, offer.minutes_at] += offer.free_minutes
        if minutes:
            self._curves = shortening.curves(self._tx, lane=self._lane, wanted=shortening.wanted_of(stays, minutes))

    def reckon(self, stay: Sequence[HeldCharge], wanted: Sequence[Wanted]) -> dict[UUID, Answer]:
        """Decide what counts for one stay with these grants beside what is on it."""
        ids = {one.charge_id for one in stay}
        on = [one for one in self._on if one.charge_id in ids]
        counting = sorted({one.grant_id for one in on})
        answers: dict[UUID, Answer] = {}
        fresh: dict[UUID, Wanted] = {}
        for one in wanted:
            standing = "on" if one.grant_id in counting else self._standing(stay, one, len(counting) + len(fresh))
            if standing == "on" and one.grant_id not in counting:
                fresh[one.grant_id] = one
            answers[one.grant_id] = Answer(standing)
        owed = sum(one.amount_fen - one.paid_fen - one.reduced_fen for one in stay)
        if fresh:
            holds = {one.grant_id: one.hold_until for one in on} | {one.grant_id: one.hold_until for one in fresh.values()}
            owed = self._change(stay, on, [*counting, *fresh], holds)
        now: Counter[UUID] = Counter()
        for effect in [*(one for one in on if all(one is not x for x, _ in self._ended)), *self._put]:
            if effect.charge_id in ids:
                now[effect.grant_id] += effect.amount_fen
        for grant_id, answer in answers.items():
            if answer.standing == "on":
                answers[grant_id] = Answer("on" if now[grant_id] else "no_better", now[grant_id], owed)
        return answers

    def end(self, effects: Iterable[Effect], why: Why) -> None:
        """Take effects off."""
        self._ended += [(one, why) for one in effects]

    def write(self, *, quiet: Collection[UUID] = ()) -> None:
        """Write everything that was decided; lots are told but of ``quiet`` charges, which are reckoned again at once."""
        effect_store.keep_unpriced(self._tx, lane=self._lane, found=self._unpriced, at=self._at)
        if not (self._put or self._ended):
            return
        ended = [one for one, _ in self._ended]
        if ended:
            effect_store.end_effects(self._tx, lane=self._lane, effects=ended, why=[why for _, why in self._ended], at=self._at)
            parts.drop(self._tx, lane=self._lane, source=SOURCE, source_ids=[one.effect_id for one in ended], at=self._at)
        if self._put:
            effect_store.insert_effects(self._tx, lane=self._lane, effects=self._put, at=self._at)
            parts.note(self._tx, lane=self._lane, parts=self._borne(), at=self._at)
        fen: Counter[UUID] = Counter()
        for one, sign in [*((one, 1) for one in self._put), *((one, -1) for one in ended)]:
            fen[one.charge_id] += sign * one.amount_fen
        effect_store.move_charges(self._tx, lane=self._lane, by={charge_id: fen[charge_id] for charge_id in sorted(fen)})
        uses = Counter(grant_id for _, grant_id in {(one.use_id, one.grant_id) for one in self._put})
        uses.subtract(Counter(grant_id for _, grant_id in {(one.use_id, one.grant_id) for one in ended}))
        if moved := {grant_id: uses[grant_id] for grant_id in sorted(uses) if uses[grant_id]}:
            effect_store.move_uses(self._tx, lane=self._lane, by=moved)
        events.write(
            self._tx, lane=self._lane, rows=self._told({one: fen[one] for one in sorted(fen) if fen[one] and one not in quiet})
        )

    def _standing(self, stay: Sequence[HeldCharge], wanted: Wanted, beside: int) -> Standing:
        grant = self._grants.get(wanted.grant_id)
        if not stay or grant is None or any(one.state != "open" or one.paid_fen or one.is_receivable for one in stay):
            return "closed"
        if any(one.is_busy for one in stay):
            return "busy"
        offer = self._offers[grant.offer_id]
        is_valid = wanted.was_on or offer.valid_from <= self._at < min(grant.valid_until, offer.valid_until)
        if grant.cancelled_at is not None or not is_valid:
            return "over"
        if not all(offer.fits(lot_id=one.lot_id, operator_id=one.operator_id, scene=one.scene) for one in stay):
            return "elsewhere"
        curve = self._curves.get((stay[0].charge_id, offer.minutes_at or "entry"))
        if offer.minutes_else == "refuse" and isinstance(curve, str):
            self._unpriced[grant.grant_id, stay[0].charge_id] = curve
            return "no_price"
        used = self._uses.get((offer.offer_id, stay[0].plate_id), effect_store.Used(0, 0))
        more = self._more[offer.offer_id]
        limits = ((grant.used, grant.uses_max), (used.uses + more, offer.uses_max), (used.plate_uses + more, offer.plate_uses_max))
        if any(most is not None and count >= most for count, most in limits):
            return "used_up"
        if beside >= OFFERS_MAX:
            return "too_many"
        self._more[offer.offer_id] += 1
        return "on"

    def _change(
        self, stay: Sequence[HeldCharge], on: Sequence[Effect], grant_ids: Sequence[UUID], holds: Mapping[UUID, datetime | None]
    ) -> int:  # fmt: skip
        """Reckon a stay and note down what goes off and what comes on; returns what is left to pay of it."""
        before: Counter[UUID] = Counter()
        for one in on:
            before[one.charge_id] += one.amount_fen
        rests = [one.amount_fen - one.paid_fen - one.reduced_fen + before[one.charge_id] for one in stay]
        terms = [self._terms(grant_id) for grant_id in grant_ids]
        curves = self._curves_of(stay) if any(one.minutes is not None for one in terms) else {}
        found = stacking.apply(sum(rests), terms, self._at, curves)
        shares: dict[tuple[UUID, UUID], int] = {}
        for line in found.lines:
            for place, fen in enumerate(stacking.share(line.fen, rests)):
                rests[place] -= fen
                if fen:
                    shares[line.key, stay[place].charge_id] = fen
        free = {charge.charge_id for charge, rest in zip(stay, rests, strict=True) if rest == 0}
        if found.rest_fen == 0:
            self._released += [one for one in stay if one.left_at is None]
        same = {line.key for line in found.lines if self._is_same(line.key, on, shares) and not free}
        self.end([one for one in on if one.grant_id not in same], "reckoned_anew")
        for line in found.lines:
            if line.key not in same:
                use_id = self._ids.new(self._at, f"discount use {line.key} {stay[0].charge_id} {self._at.isoformat()}")
                self._put += [
                    Effect(
                        effect_id=self._ids.new(self._at, f"discount {use_id} {charge_id}"), use_id=use_id, grant_id=key,
                        charge_id=charge_id, amount_fen=fen, is_final=charge_id in free, hold_until=holds[key],
                        reckoned_by=self._reckoned_by(key, stay),
                    )
                    for (key, charge_id), fen in shares.items()
                    if key == line.key
                ]  # fmt: skip
        return found.rest_fen

    @staticmethod
    def _is_same(key: UUID, on: Sequence[Effect], shares: Mapping[tuple[UUID, UUID], int]) -> bool:
        was = {one.charge_id: one.amount_fen for one in on if one.grant_id == key}
        return was == {charge_id: fen for (of, charge_id), fen in shares.items() if of == key}

    def _terms(self, grant_id: UUID) -> Terms:
        offer = self._offers[self._grants[grant_id].offer_id]
        return Terms(
            key=grant_id, off_fen=offer.off_fen, off_bps=offer.off_bps, cap_fen=offer.cap_fen, group=offer.stack_group,
            is_alone=offer.is_alone, minutes=offer.free_minutes, curve=offer.minutes_at or "",
        )  # fmt: skip

    def _curves_of(self, stay: Sequence[HeldCharge]) -> dict[str, stacking.Curve]:
        """Return what minutes take off a stay, at either end."""
        found: dict[str, stacking.Curve] = {}
        for (charge_id, at), curve in self._curves.items():
            if charge_id == stay[0].charge_id:
                found[at] = partial(shortening.pro_rata, _charged(stay)) if isinstance(curve, str) else curve.off
        return found

    def _reckoned_by(self, grant_id: UUID, stay: Sequence[HeldCharge]) -> ReckonedBy | None:
        offer = self._offers[self._grants[grant_id].offer_id]
        if offer.minutes_at is None:
            return None
        return "pro_rata" if isinstance(self._curves[stay[0].charge_id, offer.minutes_at], str) else "tariff"

    def _borne(self) -> list[BornePart]:
        """Return the parts that others pay. Where nothing is left of the driver's charge they are earned at once."""
        found = []
        for one in self._put:
            offer, charge = self._offers[self._grants[one.grant_id].offer_id], self._held[one.charge_id]
            if offer.bearer is not None:
                part = BornePart(
                    part_id=self._ids.new(self._at, f"borne part {one.effect_id}"), source=SOURCE, source_id=one.effect_id,
                    number=1, bearer=offer.bearer, operator_id=charge.operator_id, lot_id=charge.lot_id,
                    lot_serial=charge.lot_serial, charge_id=None if one.is_final else one.charge_id, amount_fen=one.amount_fen,
                    document_id=offer.offer_id, happened_at=self._at,
                )  # fmt: skip
                found.append(part)
        return found

    def _told(self, changed: Mapping[UUID, int]) -> list[events.NewEvent]:
        """Return what lots are told: what is left to pay, and that cars of which nothing is due any more may leave."""
        told = []
        for charge_id, fen in changed.items():
            charge = self._held[charge_id]
            off_fen = charge.reduced_fen + fen
            said = events.DiscountEvent(
                charge_serial=charge.lot_serial, amount_fen=off_fen, owed_fen=charge.amount_fen - charge.paid_fen - off_fen,
                at=self._at,
            )  # fmt: skip
            event_id = self._ids.new(self._at, f"charge.discounted {charge_id} {off_fen} {self._at.isoformat()}")
            row = (event_id, charge.operator_id, charge.lot_id, charge_id, charge_id, said.kind, events.encode(said))
            told.append(events.NewEvent(*row))
        for charge in self._released:
            body = events.ReleaseEvent(charge_serial=charge.lot_serial, at=self._at, reason="free")
            event_id, subject = self._ids.new(self._at, f"release.granted {charge.charge_id}"), charge.charge_id
            told.append(
                events.NewEvent(event_id, charge.operator_id, charge.lot_id, subject, subject, body.kind, events.encode(body))
            )  # fmt: skip
        return told
