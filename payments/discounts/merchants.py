"""Merchants 商户: shops that give discounts to their visitors, where, which, and how much at most. Source: docs/DISCOUNTS.md.

Knows merchants, their offers, lots and limits; must not know tokens, pages or HTTP. Called by ``grants``, ``clerks``, the API
and the command line.

Limits count what was given on a business date or in its month, also what was withdrawn again: were it left out, giving and
withdrawing would tell a clerk whether a car is there. Only once a validation can count no more, its real fen take the place of the
most that it could have taken.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from itertools import groupby
from operator import attrgetter
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, text

from ledger import documents
from ledger.clock import business_date, checked
from ledger.documents import Document, DocumentKind
from ledger.errors import Conflict, NotAllowed, NotFound, Refused
from ledger.ids import Ids
from ledger.invariants import Violation
from payments import lots, people
from payments.bearers import bearers
from payments.discounts import offers
from payments.discounts.offers import DOCUMENT_LETTERS_MAX, LETTERS_MAX, Offer
from payments.lot_records.intake import Rejected
from payments.lots import Lot

CODE: Final = re.compile(r"[0-9a-z][0-9a-z_-]{0,39}")
OFFERS_MAX: Final = 12
"""A clerk has to see them all."""
LOTS_MAX: Final = 50


class NewMerchant(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A merchant as a file gives it. A limit that is not given is none."""

    code: str
    name: str
    name_en: str
    bearer: str | None = None
    """Code of the bearer who pays what it gives; None: the lots' operators themselves."""
    offers: tuple[str, ...]
    """Codes of the offers that it may give; each is borne by the same bearer."""
    lots: tuple[str, ...]
    document: str
    valid_from: datetime
    valid_until: datetime
    validation_fen_max: int | None = None
    plate_day_max: int | None = None
    day_max: int | None = None
    month_max: int | None = None
    day_fen_max: int | None = None
    month_fen_max: int | None = None


class Merchant(Struct, frozen=True, kw_only=True):
    """A merchant as it is kept."""

    merchant_id: UUID
    lane: int
    code: str
    name: str
    name_en: str
    bearer: str | None
    offer_ids: list[UUID]
    lot_ids: list[int]
    validation_fen_max: int | None
    plate_day_max: int | None
    day_max: int | None
    month_max: int | None
    day_fen_max: int | None
    month_fen_max: int | None
    document: str
    valid_from: datetime
    valid_until: datetime
    entered_by: str
    entered_at: datetime
    ended_at: datetime | None = None

    @property
    def has_limits(self) -> bool:
        """It may give only so much."""
        counted = (self.plate_day_max, self.day_max, self.month_max, self.day_fen_max, self.month_fen_max)
        return any(most is not None for most in counted)

    def gives(self, at: datetime) -> bool:
        """Say whether it may give anything now."""
        return self.valid_from <= at < self.valid_until and (self.ended_at is None or at < self.ended_at)


class Giver(Struct, frozen=True):
    """Who gives: a merchant, and of it the clerks of a link, or None over the API."""

    merchant: Merchant
    clerk_id: UUID | None = None

    @property
    def client_id(self) -> str:
        """What the grants are kept under."""
        return f"merchant {self.merchant.code}" if self.clerk_id is None else f"clerk {self.clerk_id}"


class Given(Struct, frozen=True):
    """What somebody wants to give: the plate's number, and the most that it can take off."""

    number: str
    most_fen: int | None


def add(tx: Connection, *, lane: int, merchant: NewMerchant, by: str, at: datetime, ids: Ids) -> Merchant:
    """Enter a merchant and seal it. May be repeated: the same is the same.

    Args:
        by: Code of a person who may propose.

    Raises:
        Refused: ``merchant_invalid``, with what is wrong. Conflict: ``merchant_conflict``, the code is another merchant's.
        NotFound: ``bearer_not_found``, ``discount_not_found``, ``lot_not_found``.
        NotAllowed: ``person_unknown``, ``person_may_not``.
    """
    people.maker(tx, person_code=by, at=at)
    _check(merchant)
    if merchant.bearer is not None:
        bearers.by_code(tx, code=merchant.bearer)
    known = {one.code: one for one in offers.listed(tx, lane=lane)}
    places = lots.lots_by_code(tx, codes=merchant.lots)
    for code in merchant.lots:
        if code not in places:
            raise NotFound(f"there is no lot {code[:LETTERS_MAX]!r}", code="lot_not_found")
    for code in merchant.offers:
        _check_offer(merchant, known.get(code), code)
    kept = Merchant(
        merchant_id=ids.new(at, f"merchant {merchant.code}"), lane=lane, code=merchant.code, name=merchant.name.strip(),
        name_en=merchant.name_en.strip(), bearer=merchant.bearer,
        offer_ids=[known[code].offer_id for code in dict.fromkeys(merchant.offers)],
        lot_ids=sorted({place.lot_id for place in places.values()}),
        validation_fen_max=merchant.validation_fen_max, plate_day_max=merchant.plate_day_max, day_max=merchant.day_max,
        month_max=merchant.month_max, day_fen_max=merchant.day_fen_max, month_fen_max=merchant.month_fen_max,
        document=merchant.document.strip(), valid_from=checked(merchant.valid_from), valid_until=checked(merchant.valid_until),
        entered_by=by, entered_at=at,
    )  # fmt: skip
    if tx.execute(_INSERT, msgspec.structs.asdict(kept)).first() is not None:
        documents.record(tx, lane=lane, documents=[as_document(kept)], at=at)
        return kept
    before = by_code(tx, lane=lane, code=kept.code)
    same = msgspec.structs.replace(
        before, merchant_id=kept.merchant_id, entered_by=by, entered_at=at, ended_at=None
    )  # fmt: skip
    if same != kept:
        raise Conflict(
            f"{kept.code} is another merchant; a merchant is never changed: end it and enter one of another code",
            code="merchant_conflict",
        )
    return before


def end(tx: Connection, *, lane: int, code: str, document: str, by: str, at: datetime) -> Merchant:
    """End a merchant: from now on nothing is given by it. What was given stands. May be repeated.

    Raises:
        NotFound: ``merchant_not_found``. Refused: ``merchant_invalid``. NotAllowed: ``person_unknown``, ``person_may_not``.
    """
    people.maker(tx, person_code=by, at=at)
    found = by_code(tx, lane=lane, code=code)
    if not 0 < len(document.strip()) <= DOCUMENT_LETTERS_MAX:
        raise Refused(f"name the document in 1 to {DOCUMENT_LETTERS_MAX} characters", code="merchant_invalid")
    tx.execute(
        text("""
        insert into payments.merchant_end (merchant_id, lane, document, ended_by, ended_at)
        values (:id, :lane, :document, :by, :at) on conflict (merchant_id, lane) do nothing
        """),
        {"id": found.merchant_id, "lane": lane, "document": document.strip(), "by": by, "at": at},
    )
    return by_code(tx, lane=lane, code=code)


def by_code(tx: Connection, *, lane: int, code: str) -> Merchant:
    """Return a merchant. Raises NotFound (``merchant_not_found``)."""
    row = tx.execute(text(f"{_MERCHANT} where m.lane = :lane and m.code = :code"), {"lane": lane, "code": code}).first()
    if row is None:
        raise NotFound(f"there is no merchant {code[:LETTERS_MAX]!r}", code="merchant_not_found")
    return Merchant(**row._mapping)


def giving(tx: Connection, *, lane: int, merchant_id: UUID, at: datetime) -> Merchant:
    """Return a merchant that may give now. Raises NotAllowed (``merchant_ended``)."""
    row = tx.execute(text(f"{_MERCHANT} where m.lane = :lane and m.merchant_id = :id"), {"lane": lane, "id": merchant_id}).first()
    found = None if row is None else Merchant(**row._mapping)
    if found is None or not found.gives(at):
        raise NotAllowed("the merchant's agreement has ended, or has not begun", code="merchant_ended")
    return found


def listed(tx: Connection, *, lane: int) -> list[Merchant]:
    """Return all merchants in the order in which they were entered."""
    rows = tx.execute(text(f"{_MERCHANT} where m.lane = :lane order by m.merchant_id"), {"lane": lane})
    return [Merchant(**row._mapping) for row in rows]


def offers_of(tx: Connection, *, lane: int, merchant: Merchant, at: datetime) -> list[Offer]:
    """Return what a merchant may give now, in the order in which its file names it."""
    found = offers.by_ids(tx, lane=lane, offer_ids=merchant.offer_ids)
    return [found[one] for one in merchant.offer_ids if one in found and found[one].valid_from <= at < found[one].valid_until]


def lots_of(tx: Connection, *, merchant: Merchant) -> list[Lot]:
    """Return the lots at which a merchant may give."""
    return lots.lots_by_id(tx, lot_ids=merchant.lot_ids)


def check_may(merchant: Merchant, offer: Offer, lot: Lot) -> None:
    """Raise Rejected for an offer or a lot that is not the merchant's; what is not its own looks like what is not there."""
    if lot.lot_id not in merchant.lot_ids:
        raise Rejected("lot", "discount_elsewhere", "the merchant has no such lot")
    if offer.offer_id not in merchant.offer_ids:
        raise Rejected("offer", "discount_not_found", "the merchant has no such offer")


def hold(tx: Connection, merchant: Merchant) -> None:
    """Order those who give for a merchant with limits until their transactions end."""
    if merchant.has_limits:
        tx.execute(text("select pg_advisory_xact_lock(hashtextextended(:id, 36))"), {"id": str(merchant.merchant_id)})


def within(tx: Connection, *, lane: int, merchant: Merchant, wanted: Sequence[Given], at: datetime) -> list[Rejected | None]:
    """Return for each of those a merchant wants to give whether its limits refuse it, in order; the earlier ones count first.

    The caller holds the merchant (``hold``).
    """
    if not wanted or not merchant.has_limits:
        return [None] * len(wanted)
    tally = _tally(tx, lane, merchant, {one.number for one in wanted}, business_date(at), at)
    return [tally.take(one) for one in wanted]


def as_document(merchant: Merchant) -> Document:
    """Return a merchant as it is sealed: everything but its id, when it was entered and whether it has ended."""
    content = msgspec.structs.asdict(merchant)
    del content["merchant_id"], content["lane"], content["entered_at"], content["ended_at"]
    return documents.of(
        kind=DocumentKind.RULE_VERSION, document_id=merchant.merchant_id, content={"merchant": content},
        happened_at=merchant.entered_at,
    )  # fmt: skip


def check(tx: Connection) -> list[Violation]:
    """Check that every merchant is the one that was sealed."""
    found: list[Violation] = []
    every = [Merchant(**row._mapping) for row in tx.execute(text(f"{_MERCHANT} order by m.lane, m.merchant_id"))]
    for lane, of_lane in groupby(every, key=attrgetter("lane")):
        wanted = [as_document(merchant) for merchant in of_lane]
        sealed = {one.document_id: one for one in documents.find(tx, lane=lane, document_ids=[one.document_id for one in wanted])}
        found += [
            Violation("discounts", f"merchant {one.document_id} is not the one that was sealed")
            for one in wanted
            if sealed.get(one.document_id) != one
        ]
    return found


class _Tally:
    """What a merchant has given on a day and in its month, and what it may give still."""

    def __init__(self, merchant: Merchant, day: int, month: int, day_fen: int, month_fen: int, plates: dict[str, int]) -> None:
        self._merchant = merchant
        self._count, self._fen = Counter(day=day, month=month), Counter(day=day_fen, month=month_fen)
        self._plates = Counter(plates)

    def take(self, one: Given) -> Rejected | None:
        """Count one more, unless a limit says no; a limit in fen needs to know the most that it can take."""
        merchant, fen = self._merchant, one.most_fen or 0
        asked = (
            ("of this plate a day", merchant.plate_day_max, self._plates[one.number] + 1),
            ("a day", merchant.day_max, self._count["day"] + 1),
            ("a month", merchant.month_max, self._count["month"] + 1),
            ("fen a day", merchant.day_fen_max, self._fen["day"] + fen),
            ("fen a month", merchant.month_fen_max, self._fen["month"] + fen),
        )
        for words, most, count in asked:
            if most is not None and count > most:
                which = "merchant_plate_limit" if "plate" in words else "merchant_limit"
                return Rejected("offer", which, f"the merchant's agreement says {most} {words} at most, and that is reached")
        self._plates[one.number] += 1
        for span in ("day", "month"):
            self._count[span] += 1
            self._fen[span] += fen
        return None


def _tally(tx: Connection, lane: int, merchant: Merchant, numbers: Iterable[str], on: date, at: datetime) -> _Tally:
    given = {"lane": lane, "id": merchant.merchant_id, "on": on, "first": on.replace(day=1), "at": at, "numbers": sorted(numbers)}
    row = tx.execute(_SUMS, given).one()
    plates = {plate.number: int(plate.given) for plate in tx.execute(_OF_PLATES, given)}
    return _Tally(merchant, int(row.day), int(row.month), int(row.day_fen), int(row.month_fen), plates)


def _check_offer(merchant: NewMerchant, offer: Offer | None, code: str) -> None:
    """Raise for an offer that a merchant may not be given."""
    if offer is None:
        raise NotFound(f"there is no offer {code[:LETTERS_MAX]!r}", code="discount_not_found")
    most = offer.most_fen
    by_fen = any(limit is not None for limit in (merchant.validation_fen_max, merchant.day_fen_max, merchant.month_fen_max))
    _need(offer.kind == "validation", f"{code} is of coupons; a merchant gives offers by which cars are validated")
    _need(offer.bearer == merchant.bearer, f"{code} is borne by {offer.bearer or 'the operator'}, not by the merchant's bearer")
    _need(not by_fen or most is not None, f"{code} says no most (cap_fen), so limits in fen cannot be kept")
    over = merchant.validation_fen_max is not None and most is not None and most > merchant.validation_fen_max
    _need(not over, f"{code} may take off {most} fen, more than one validation may")


def _check(merchant: NewMerchant) -> None:
    """Raise Refused for a merchant that cannot stand."""
    _need(CODE.fullmatch(merchant.code) is not None, "its code has 1 to 40 small letters, digits, _ and -")
    for field, said in (("name", merchant.name), ("name_en", merchant.name_en)):
        _need(0 < len(said.strip()) <= LETTERS_MAX and said.isprintable(), f"{field}: 1 to {LETTERS_MAX} printable characters")
    _need(0 < len(merchant.document.strip()) <= DOCUMENT_LETTERS_MAX, f"document: 1 to {DOCUMENT_LETTERS_MAX} characters")
    for field, moment in (("valid_from", merchant.valid_from), ("valid_until", merchant.valid_until)):
        _need(moment.tzinfo is not None, f"{field} needs its offset, such as 2026-04-01T00:00:00+08:00")
    _need(merchant.valid_from < merchant.valid_until, "it ends before it begins")
    _need(0 < len(merchant.offers) <= OFFERS_MAX, f"it gives 1 to {OFFERS_MAX} offers")
    _need(0 < len(merchant.lots) <= LOTS_MAX, f"it gives at 1 to {LOTS_MAX} lots")
    for name in _LIMITS:
        most = getattr(merchant, name)
        _need(most is None or 0 < most < 2**31, f"{name} is 1 at least")


def _need(holds: bool, say: str) -> None:
    if not holds:
        raise Refused(f"the merchant cannot stand: {say}", code="merchant_invalid")


_LIMITS: Final = ("validation_fen_max", "plate_day_max", "day_max", "month_max", "day_fen_max", "month_fen_max")
_MERCHANT: Final = """
select m.merchant_id, m.lane, m.code, m.name, m.name_en, b.code as bearer, m.offer_ids, m.lot_ids, m.validation_fen_max,
       m.plate_day_max, m.day_max, m.month_max, m.day_fen_max, m.month_fen_max, m.document, m.valid_from, m.valid_until,
       m.entered_by, m.entered_at, e.ended_at
from payments.merchant m
left join payments.bearer b on b.bearer_id = m.bearer_id
left join payments.merchant_end e on e.lane = m.lane and e.merchant_id = m.merchant_id
"""
_INSERT: Final = text("""
    insert into payments.merchant (merchant_id, lane, code, name, name_en, bearer_id, offer_ids, lot_ids, validation_fen_max,
                                   plate_day_max, day_max, month_max, day_fen_max, month_fen_max, document, valid_from, valid_until,
                                   entered_by, entered_at)
    values (:merchant_id, :lane, :code, :name, :name_en, (select bearer_id from payments.bearer where code = :bearer),
            cast(:offer_ids as uuid[]), cast(:lot_ids as integer[]), :validation_fen_max, :plate_day_max, :day_max, :month_max,
            :day_fen_max, :month_fen_max, :document, :valid_from, :valid_until, :entered_by, :entered_at)
    on conflict (code, lane) do nothing returning 1
    """)
_SUMS: Final = text("""
    select count(*) filter (where given_on = :on) as day, count(*) as month,
           coalesce(sum(fen) filter (where given_on = :on), 0) as day_fen, coalesce(sum(fen), 0) as month_fen
    from (
        select g.given_on, case when g.valid_until > :at then coalesce(g.most_fen, 0) else coalesce((
                   select sum(e.amount_fen) from payments.discount_effect e
                   where e.lane = g.lane and e.grant_id = g.grant_id and e.taken_off_at is null), 0) end as fen
        from payments.discount_grant g
        where g.lane = :lane and g.merchant_id = :id and g.given_on between :first and :on
    ) given
    """)
_OF_PLATES: Final = text("""
    select p.number, count(*) as given
    from payments.plate p
    join payments.discount_grant g on g.plate_id = p.plate_id and g.lane = :lane and g.merchant_id = :id and g.given_on = :on
    where p.number = any(cast(:numbers as text[])) group by p.number
    """)
