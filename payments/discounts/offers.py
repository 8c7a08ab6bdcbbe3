"""Offers: rules by which something is taken off stays, with their documents, and sealed. Source: docs/DISCOUNTS.md.

Knows offers, bearers, lots and operators; must not know charges. Called by ``grants``, ``effects`` and the command line.
"""

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Final, Literal, get_args
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, text

from ledger import documents
from ledger.arrays import instant, smallint
from ledger.clock import checked
from ledger.documents import Document, DocumentKind
from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import Ids
from ledger.invariants import Violation
from ledger.volley import Question, Statement
from payments import lots
from payments.bearers import bearers
from payments.lot_records.charge_caps import CHARGE_FEN_MAX
from payments.lots import Scene

LETTERS_MAX: Final = 40
DOCUMENT_LETTERS_MAX: Final = 200
WHOLE_BPS: Final = 10_000
MINUTES_MAX: Final = 366 * 24 * 60
FREE_MINUTES_STEP: Final = 5
"""Free minutes are given in steps: of all steps up to what is given the cheapest counts, so that more never give less."""
FREE_MINUTES_MAX: Final = 24 * 60

Kind = Literal["validation", "coupon"]
"""validation: a merchant names a car. coupon: the driver has a code."""
MinutesAt = Literal["entry", "exit"]
"""entry: the stay is priced as if it had begun so much later. exit: as if it had ended so much earlier."""
MinutesElse = Literal["pro_rata", "refuse"]
"""Where no tariff of ours gives the price. pro_rata: the same share of the amount as of the minutes. refuse: nothing goes off."""


class NewOffer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An offer as a file gives it; exactly one of ``off_fen``, ``off_bps``, ``free_up_to_fen`` and ``free_minutes``."""

    code: str
    kind: Kind
    words: str
    """What it is, as the payer reads it, such as 商家优惠."""
    words_en: str
    bearer: str | None = None
    """Code of the bearer who pays it in place of the driver; None: the operator, as a plain discount."""
    document: str
    valid_from: datetime
    valid_until: datetime
    minutes: int | None = None
    """Free minutes that ``off_fen`` stand for, as the payer is told."""
    off_fen: int | None = None
    off_bps: int | None = None
    cap_fen: int | None = None
    free_up_to_fen: int | None = None
    """All of it, up to so many fen."""
    free_minutes: int | None = None
    """The price of the stay less its price with so many minutes less, by the lot's tariff; ``cap_fen`` may limit it."""
    minutes_at: MinutesAt = "entry"
    minutes_else: MinutesElse | None = None
    """Said with ``free_minutes``, always."""
    group: str | None = None
    alone: bool = False
    lots: tuple[str, ...] = ()
    """Codes of the lots it counts at; none: at all."""
    operators: tuple[str, ...] = ()
    scenes: tuple[Scene, ...] = ()
    uses_max: int | None = None
    plate_uses_max: int | None = None


class Offer(Struct, frozen=True, kw_only=True):
    """An offer as it is kept."""

    offer_id: UUID
    lane: int
    code: str
    kind: Kind
    words: str
    words_en: str
    bearer: str | None
    """Code of its bearer."""
    document: str
    valid_from: datetime
    valid_until: datetime
    minutes: int | None
    off_fen: int | None
    off_bps: int | None
    cap_fen: int | None
    free_minutes: int | None
    minutes_at: MinutesAt | None
    minutes_else: MinutesElse | None
    stack_group: str | None
    is_alone: bool
    lot_ids: list[int] | None
    operator_ids: list[int] | None
    scenes: list[str] | None
    uses_max: int | None
    plate_uses_max: int | None
    entered_at: datetime

    @property
    def most_fen(self) -> int | None:
        """The most that it takes off; None: it has no limit of its own."""
        return self.off_fen if self.off_fen is not None else self.cap_fen

    def fits(self, *, lot_id: int, operator_id: int, scene: str) -> bool:
        """Say whether it counts for a charge of this lot, operator and scene."""
        wanted = ((self.lot_ids, lot_id), (self.operator_ids, operator_id), (self.scenes, scene))
        return all(among is None or one in among for among, one in wanted)


def add(tx: Connection, *, lane: int, offer: NewOffer, at: datetime, ids: Ids) -> Offer:
    """Enter an offer and seal it. May be repeated: the same is the same.

    Raises:
        Refused: ``discount_invalid``, with what is wrong. Conflict: ``discount_conflict``, the code is another offer's.
        NotFound: ``bearer_not_found``, ``lot_not_found``, ``operator_not_found``.
    """
    _check(offer)
    kept = _kept(tx, lane, offer, at, ids)
    columns = {name: getattr(kept, name) for name in Offer.__struct_fields__}
    made = tx.execute(_INSERT, columns).first()
    if made is not None:
        documents.record(tx, lane=lane, documents=[as_document(kept)], at=at)
        return kept
    before = by_code(tx, lane=lane, code=kept.code)
    if msgspec.structs.replace(before, offer_id=kept.offer_id, entered_at=at) != kept:
        raise Conflict(
            f"{kept.code} is another offer; an offer is never changed: enter one of another code", code="discount_conflict"
        )
    return before


def listed(tx: Connection, *, lane: int) -> list[Offer]:
    """Return all offers in the order in which they were entered."""
    return [Offer(**row._mapping) for row in tx.execute(text(f"{OFFER} where o.lane = :lane order by o.offer_id"), {"lane": lane})]


_COUPONS: Final = Statement("""
    select exists (select from payments.discount_offer
                   where lane = %(lane)s::smallint and kind = 'coupon' and valid_from <= %(at)s::timestamptz
                     and valid_until > %(at)s::timestamptz)
    """)


def are_there_coupons(*, lane: int, at: datetime) -> Question[bool]:
    """Whether any offer of coupons is valid now, so that pages ask for one."""
    return Question(_COUPONS.shot(lane=smallint(lane), at=instant(at)), lambda rows: bool(rows[0][0]))


def by_code(tx: Connection, *, lane: int, code: str) -> Offer:
    """Return an offer. Raises NotFound (``discount_not_found``)."""
    row = tx.execute(text(f"{OFFER} where o.lane = :lane and o.code = :code"), {"lane": lane, "code": code}).first()
    if row is None:
        raise NotFound(f"there is no offer {code[:LETTERS_MAX]!r}", code="discount_not_found")
    return Offer(**row._mapping)


def by_ids(tx: Connection, *, lane: int, offer_ids: Iterable[UUID]) -> dict[UUID, Offer]:
    """Return offers by their ids."""
    query = text(f"{OFFER} where o.lane = :lane and o.offer_id = any(cast(:ids as uuid[]))")
    return {row.offer_id: Offer(**row._mapping) for row in tx.execute(query, {"lane": lane, "ids": sorted(set(offer_ids))})}


def as_document(offer: Offer) -> Document:
    """Return an offer as it is sealed: everything but its id and when it was entered."""
    content = msgspec.structs.asdict(offer)
    del content["offer_id"], content["lane"], content["entered_at"]
    if offer.free_minutes is None:  # offers of before these words were there keep their seal
        del content["free_minutes"], content["minutes_at"], content["minutes_else"]
    return documents.of(
        kind=DocumentKind.RULE_VERSION, document_id=offer.offer_id, content={"discount": content}, happened_at=offer.entered_at
    )  # fmt: skip


def check(tx: Connection) -> list[Violation]:
    """Check that every offer is the one that was sealed."""
    found: list[Violation] = []
    every = [Offer(**row._mapping) for row in tx.execute(text(f"{OFFER} order by o.lane, o.offer_id"))]
    for lane, of_lane in groupby(every, key=attrgetter("lane")):
        wanted = [as_document(offer) for offer in of_lane]
        sealed = {one.document_id: one for one in documents.find(tx, lane=lane, document_ids=[one.document_id for one in wanted])}
        found += [
            Violation("discounts", f"offer {one.document_id} is not the one that was sealed")
            for one in wanted
            if sealed.get(one.document_id) != one
        ]
    return found


def _kept(tx: Connection, lane: int, offer: NewOffer, at: datetime, ids: Ids) -> Offer:
    if offer.bearer is not None:
        bearers.by_code(tx, code=offer.bearer)
    known = {operator.code: operator.operator_id for operator in lots.operators(tx)}
    for code in offer.operators:
        if code not in known:
            raise NotFound(f"there is no operator {code}", code="operator_not_found")
    lot_ids = sorted({lots.lot_by_code(tx, code=code).lot_id for code in offer.lots})
    off_bps, cap_fen = (offer.off_bps, offer.cap_fen) if offer.free_up_to_fen is None else (WHOLE_BPS, offer.free_up_to_fen)
    return Offer(
        offer_id=ids.new(at, f"discount {offer.code}"), lane=lane, code=offer.code.strip(), kind=offer.kind,
        words=offer.words.strip(), words_en=offer.words_en.strip(), bearer=offer.bearer, document=offer.document.strip(),
        valid_from=checked(offer.valid_from), valid_until=checked(offer.valid_until), minutes=offer.minutes, off_fen=offer.off_fen,
        off_bps=off_bps, cap_fen=cap_fen, free_minutes=offer.free_minutes,
        minutes_at=None if offer.free_minutes is None else offer.minutes_at, minutes_else=offer.minutes_else,
        stack_group=offer.group, is_alone=offer.alone, lot_ids=lot_ids or None,
        operator_ids=sorted({known[code] for code in offer.operators}) or None, scenes=sorted(set(offer.scenes)) or None,
        uses_max=offer.uses_max, plate_uses_max=offer.plate_uses_max, entered_at=at,
    )  # fmt: skip


def _check(offer: NewOffer) -> None:
    """Raise Refused for an offer that cannot stand."""

    def need(holds: bool, say: str) -> None:
        if not holds:
            raise Refused(f"the offer cannot stand: {say}", code="discount_invalid")

    named = {"code": offer.code, "words": offer.words, "words_en": offer.words_en}
    named |= {} if offer.group is None else {"group": offer.group}
    for field, said in named.items():
        need(0 < len(said.strip()) <= LETTERS_MAX and said.isprintable(), f"{field}: 1 to {LETTERS_MAX} printable characters")
    need(
        0 < len(offer.document.strip()) <= DOCUMENT_LETTERS_MAX, f"the document is named in 1 to {DOCUMENT_LETTERS_MAX} characters"
    )
    for field, moment in (("valid_from", offer.valid_from), ("valid_until", offer.valid_until)):
        need(moment.tzinfo is not None, f"{field} needs its offset, such as 2026-04-01T00:00:00+08:00")
    need(offer.valid_from < offer.valid_until, "it ends before it begins")
    ways = [offer.off_fen, offer.off_bps, offer.free_up_to_fen, offer.free_minutes]
    need(sum(way is not None for way in ways) == 1, "it needs exactly one of off_fen, off_bps, free_up_to_fen, free_minutes")
    for field, fen in (("off_fen", offer.off_fen), ("cap_fen", offer.cap_fen), ("free_up_to_fen", offer.free_up_to_fen)):
        need(fen is None or 0 < fen <= CHARGE_FEN_MAX, f"{field} is 1 to {CHARGE_FEN_MAX}")
    need(offer.off_bps is None or 0 < offer.off_bps <= WHOLE_BPS, f"off_bps is 1 to {WHOLE_BPS}")
    is_fixed = offer.off_fen is not None or offer.free_up_to_fen is not None
    need(offer.off_bps is None or offer.cap_fen is not None, "a share has a cap (cap_fen)")
    need(offer.cap_fen is None or not is_fixed, "only a share or free minutes have a cap")
    need((offer.free_minutes is None) == (offer.minutes_else is None), "free_minutes say with minutes_else what counts elsewhere")
    most, step = FREE_MINUTES_MAX, FREE_MINUTES_STEP
    fits = offer.free_minutes is None or (0 < offer.free_minutes <= most and offer.free_minutes % step == 0)
    need(fits, f"free_minutes are {step} to {most}, in steps of {step}")
    need(offer.minutes is None or offer.off_fen is not None, "free minutes say with off_fen what they stand for")
    need(offer.minutes is None or 0 < offer.minutes <= MINUTES_MAX, f"minutes are 1 to {MINUTES_MAX}")
    need(all(most is None or 0 < most < 2**31 for most in (offer.uses_max, offer.plate_uses_max)), "a limit of uses is 1 at least")
    need(set(offer.scenes) <= set(get_args(Scene)), "a scene is not one of ours")
    need(not (offer.alone and offer.group), "what counts alone is in no group")


OFFER: Final = """
select o.offer_id, o.lane, o.code, o.kind, o.words, o.words_en, b.code as bearer, o.document, o.valid_from, o.valid_until,
       o.minutes, o.off_fen, o.off_bps, o.cap_fen, o.free_minutes, o.minutes_at, o.minutes_else, o.stack_group,
       o.is_alone, o.lot_ids, o.operator_ids, o.scenes, o.uses_max, o.plate_uses_max, o.entered_at
from payments.discount_offer o left join payments.bearer b on b.bearer_id = o.bearer_id
"""
_INSERT: Final = text("""
    insert into payments.discount_offer (offer_id, lane, code, kind, words, words_en, bearer_id, document, valid_from, valid_until,
                                         minutes, off_fen, off_bps, cap_fen, free_minutes, minutes_at, minutes_else, stack_group,
                                         is_alone, lot_ids, operator_ids, scenes, uses_max, plate_uses_max, entered_at)
    values (:offer_id, :lane, :code, :kind, :words, :words_en, (select bearer_id from payments.bearer where code = :bearer),
            :document, :valid_from, :valid_until, :minutes, :off_fen, :off_bps, :cap_fen, :free_minutes, :minutes_at,
            :minutes_else, :stack_group, :is_alone, cast(:lot_ids as integer[]), cast(:operator_ids as integer[]),
            cast(:scenes as text[]), :uses_max, :plate_uses_max, :entered_at)
    on conflict (code, lane) do nothing returning offer_id
    """)
