"""Grants: merchants validate cars, and take that back; coupons are issued and used. Source: docs/DISCOUNTS.md.

Knows offers, merchants, plates and stays; must not know what a discount takes off, pages or HTTP. Called by the API, the pages and
the command line.

What a merchant of ours is told never says whether a car is in the lot: a validation is given or refused alike for every plate.
"""

import hashlib
from base64 import b32encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, text

from gateways import messages
from ledger.clock import business_date, checked
from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import Ids
from payments.discounts import effects, merchants, offers
from payments.discounts.effects import Standing, Wanted
from payments.discounts.merchants import Given, Giver
from payments.discounts.offers import Offer
from payments.lot_records import intake
from payments.lot_records.intake import Rejected
from payments.lots import Lot
from payments.orders import Tokens
from payments.plates import PlateColor

VALIDATIONS_MAX: Final = 1_000
"""Most validations in one call."""
VALID_FOR: Final = timedelta(hours=24)
"""How long a validation counts when the merchant says nothing."""
COUPONS_MAX: Final = 10_000
"""Most coupons issued at once."""
CODE_BYTES: Final = 10
"""80 random bits: 16 letters."""
CODE_LETTERS_MAX: Final = 40


class NewValidation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A validation as a merchant posts it. It names the plate, or the lot's serial of the stay."""

    serial: str
    """The merchant's own number: posted again it is the same validation."""
    offer: str
    """Code of the offer."""
    plate: str | None = None
    plate_color: PlateColor = "unknown"
    stay_serial: str | None = None
    valid_until: datetime | None = None
    """None: a day from now, and never longer than the offer."""


class ValidationAnswer(Struct, frozen=True, kw_only=True):
    """What became of a posted validation. ``standing`` is ``waiting`` until the stay has a charge that it can count for."""

    serial: str
    outcome: Literal["created", "already", "refused"]
    standing: Literal["waiting", "on", "cancelled"] | None = None
    taken_off_fen: int = 0
    reason: str | None = None
    field: str | None = None
    detail: str | None = None


class CouponRefused(Refused):
    """A coupon that takes nothing off; nothing was changed. ``code`` says why."""

    code = "coupon_unknown"


class Used(Struct, frozen=True):
    """A coupon that counts: what it takes off, and what is left to pay of the stay."""

    fen: int
    owed_fen: int


class Coupon(Struct, frozen=True):
    """A coupon just issued. The code is shown this once."""

    grant_id: UUID
    code: str


Seen = Literal["given", "used", "unused", "withdrawn"]
"""given: it counts, or may count yet. used: it took something off. unused: its time was over before. withdrawn: the merchant
withdrew it; what was paid with it until then stands all the same."""


class GivenOne(Struct, frozen=True, kw_only=True):
    """A validation as its merchant sees it. What it took off is told once it can count no more, for every plate alike."""

    grant_id: UUID
    serial: str
    lot_id: int
    offer_id: UUID
    plate: str
    """The full number: mask it before it is shown."""
    given_at: datetime
    valid_until: datetime
    state: Seen
    taken_off_fen: int | None = None


class _Good(Struct, frozen=True):
    """A validation that can be true."""

    given: NewValidation
    offer: Offer
    valid_until: datetime
    digest: bytes
    plate_id: int
    entered_at: datetime | None
    number: str = ""
    """The plate's, where a plate was named."""


def validate(
    tx: Connection, *, lane: int, lot: Lot, client_id: str, validations: Sequence[NewValidation], at: datetime, ids: Ids,
    body: bytes | None = None, giver: Giver | None = None,
) -> list[ValidationAnswer]:  # fmt: skip
    """Take a merchant's validations of cars at a lot, set by set; a wrong one is refused by itself and the others stand.

    One that finds an open charge counts at once, another one waits for its charge. May be called again with the same: ``already``.

    Args:
        giver: A merchant of ours, with its rights and limits; None: a client of the lot or its operator.

    Raises:
        Refused: ``too_many_records``.
    """
    if len(validations) > VALIDATIONS_MAX:
        raise Refused(f"at most {VALIDATIONS_MAX} validations fit into one call, not {len(validations)}", code="too_many_records")
    answers: list[ValidationAnswer | None] = [None] * len(validations)
    good = _good(tx, lane, lot, validations, answers, at, giver)
    if giver is not None:
        good = _within(tx, lane, giver, good, answers, at)
    first = {one.given.serial: one for one in reversed(good.values())}
    made = _insert(tx, lane, lot, client_id, list(first.values()), at, ids, giver)
    if made:
        numbers = _numbers(tx, [first[serial].plate_id for serial in made])
        effects.meet(tx, lane=lane, lot_id=lot.lot_id, numbers=numbers, at=at, ids=ids)
        if body is not None:
            kept = messages.from_lot(operation="validations", body=body, at=at, ids=ids, occasion=lot.code)
            messages.keep(tx, lane=lane, messages=[kept])
    known = _known(tx, lane, lot, client_id, list(first), giver)
    for place, one in good.items():
        row, is_new = known[one.given.serial], one.given.serial in made and first[one.given.serial] is one
        if row.digest != one.digest:
            answers[place] = _refused(one.given, "serial", "content_differs", "the serial was posted before with other content")
            continue
        outcome: Literal["created", "already"] = "created" if is_new else "already"
        answers[place] = ValidationAnswer(serial=one.given.serial, outcome=outcome, standing=row.standing, taken_off_fen=row.fen)
    return [one for one in answers if one is not None]


def cancel(
    tx: Connection, *, lane: int, lot: Lot, client_id: str, serial: str, at: datetime, ids: Ids
) -> ValidationAnswer:  # fmt: skip
    """Take a validation back, as long as nobody pays or has paid with it. May be repeated.

    Raises:
        NotFound: ``validation_unknown``. Conflict: ``validation_used``: the charge is paid, being paid, or the car has left.
    """
    query = text("""
        select grant_id from payments.discount_grant
        where lane = :lane and lot_id = :lot and client_id = :client and serial = :serial
        """)
    grant_id = tx.execute(query, {"lane": lane, "lot": lot.lot_id, "client": client_id, "serial": serial}).scalar_one_or_none()
    if grant_id is None:
        raise NotFound("there is no validation of yours with this serial", code="validation_unknown")
    if not effects.cancel(tx, lane=lane, grant_id=grant_id, at=at, ids=ids):
        raise Conflict("the validation counts for a charge that is paid, being paid, or left owing", code="validation_used")
    return ValidationAnswer(serial=serial, outcome="already", standing="cancelled")


def withdraw(tx: Connection, *, lane: int, giver: Giver, serial: str, at: datetime, ids: Ids) -> GivenOne:
    """Withdraw what a merchant gave, or what the clerks of a link gave; what was paid with it stands. May be repeated.

    The answer is the same whether it was used or not. While somebody is paying the worker tries again (``effects.end_due``).

    Raises:
        NotFound: ``validation_unknown``.
    """
    given = {"lane": lane, "merchant": giver.merchant.merchant_id, "serial": serial, "clerk": giver.clerk_id, "at": at}
    grant_id = tx.execute(text(f"select grant_id from payments.discount_grant {_OF_GIVER}"), given).scalar_one_or_none()
    if grant_id is None:
        raise NotFound("there is no validation of yours with this serial", code="validation_unknown")
    effects.cancel(tx, lane=lane, grant_id=grant_id, at=at, ids=ids)
    tx.execute(text(f"update payments.discount_grant set withdrawn_at = coalesce(withdrawn_at, :at) {_OF_GIVER}"), given)
    [found] = listed(tx, lane=lane, giver=giver, serial=serial, limit=1, at=at)
    return found


def listed(
    tx: Connection, *, lane: int, giver: Giver, limit: int, at: datetime, serial: str | None = None, before: UUID | None = None
) -> list[GivenOne]:  # fmt: skip
    """Return what a merchant has given, or the clerks of a link, the newest first.

    Args:
        before: Only those that were given before this one.
    """
    given = {
        "lane": lane, "merchant": giver.merchant.merchant_id, "clerk": giver.clerk_id, "at": at, "serial": serial, "limit": limit,
        "before": before,
    }  # fmt: skip
    return [GivenOne(**row._mapping) for row in tx.execute(_LISTED, given)]


def issue(
    tx: Connection, *, lane: int, offer: str, count: int, at: datetime, ids: Ids, tokens: Tokens, uses: int = 1,
    valid_until: datetime | None = None,
) -> list[Coupon]:  # fmt: skip
    """Issue coupons of an offer; their codes are returned this once and kept as digests alone.

    Raises:
        NotFound: ``discount_not_found``. Refused: ``discount_invalid``: no offer of coupons, or a number or date that cannot be.
    """
    found = offers.by_code(tx, lane=lane, code=offer)
    if found.kind != "coupon":
        raise Refused(f"{offer} is for merchants to validate cars; coupons need an offer of that kind", code="discount_invalid")
    if not (0 < count <= COUPONS_MAX and 0 < uses < 2**31):
        raise Refused(f"1 to {COUPONS_MAX} coupons at once, each for one use at least", code="discount_invalid")
    until = found.valid_until if valid_until is None else min(checked(valid_until), found.valid_until)
    if until <= at:
        raise Refused("it would have expired already", code="discount_invalid")
    names = [f"coupon {offer} {number} {at.isoformat()}" for number in range(count)]
    made = [Coupon(ids.new(at, name), _code(tokens.new(name))) for name in names]
    tx.execute(
        text("""
        insert into payments.discount_grant (grant_id, lane, offer_id, code_digest, valid_until, uses_max, created_at)
        select grant_id, :lane, :offer, digest, :until, :uses, :at
        from unnest(cast(:ids as uuid[]), cast(:digests as bytea[])) as n (grant_id, digest)
        """),
        {
            "lane": lane, "offer": found.offer_id, "until": until, "uses": uses, "at": at, "ids": [one.grant_id for one in made],
            "digests": [digest_of(one.code) for one in made],
        },
    )  # fmt: skip
    return made


def use_coupon(tx: Connection, *, lane: int, lot_id: int, charge_id: UUID, code: str, at: datetime, ids: Ids) -> Used:
    """Let a coupon count for the stay of a charge, for as long as a payer needs; may be repeated.

    Two phones with one coupon take turns at its row.

    Raises:
        CouponRefused: ``coupon_unknown``, ``coupon_over``, ``coupon_used``, ``coupon_elsewhere``, ``coupon_no_better``,
            ``coupon_busy`` (somebody is paying), ``coupon_closed`` (nothing is due of this charge, or its car has left).
    """
    query = text("select grant_id from payments.discount_grant where lane = :lane and code_digest = :digest")
    grant_id = tx.execute(query, {"lane": lane, "digest": digest_of(code)}).scalar_one_or_none()
    if grant_id is None:
        raise CouponRefused("there is no such coupon")
    mine = text("select true from payments.charge where lane = :lane and charge_id = :id and lot_id = :lot")
    if not tx.execute(mine, {"lane": lane, "id": charge_id, "lot": lot_id}).scalar_one_or_none():
        raise CouponRefused(_WHY["closed"][1], code=_WHY["closed"][0])
    wanted = Wanted(grant_id, charge_id, at + effects.HOLD_FOR)
    answer = effects.put_on(tx, lane=lane, wanted=[wanted], at=at, ids=ids)[grant_id]
    if answer.standing != "on":
        why, words = _WHY[answer.standing]
        raise CouponRefused(words, code=why)
    return Used(answer.fen, answer.owed_fen)


def digest_of(code: str) -> bytes:
    """Return what is kept of a coupon's code: case, blanks and dashes do not matter, nor 0 for O and 1 for I."""
    letters = code.strip()[:CODE_LETTERS_MAX].upper().replace("-", "").replace(" ", "").replace("0", "O").replace("1", "I")
    return hashlib.sha256(f"coupon {letters}".encode()).digest()


_WHY: Final[Mapping[Standing, tuple[str, str]]] = {
    "busy": ("coupon_busy", "somebody is paying this charge; look again when that is over"),
    "closed": ("coupon_closed", "nothing is due of this charge here, or its car has left"),
    "over": ("coupon_over", "the coupon has expired, or has not begun"),
    "used_up": ("coupon_used", "the coupon has been used"),
    "elsewhere": ("coupon_elsewhere", "the coupon does not count at this car park"),
    "no_better": ("coupon_no_better", "what counts already takes off as much, and the coupon does not count beside it"),
    "too_many": ("coupon_no_better", "as many offers as can be count already"),
}


def _code(token: str) -> str:
    """Return a code of letters that can be read out: four times four."""
    letters = b32encode(hashlib.sha256(token.encode()).digest()[:CODE_BYTES]).decode()
    return "-".join(letters[place : place + 4] for place in range(0, len(letters), 4))


def _good(
    tx: Connection, lane: int, lot: Lot, given: Sequence[NewValidation], answers: list[ValidationAnswer | None], at: datetime,
    giver: Giver | None,
) -> dict[int, _Good]:  # fmt: skip
    """Return the validations that can be true by their places, and put the answers to the others into theirs."""
    known = {one.code: one for one in offers.listed(tx, lane=lane) if one.kind == "validation"}
    stays = _stays(tx, lane, lot, [one.stay_serial for one in given if one.stay_serial is not None])
    plates: dict[int, tuple[str, str]] = {}
    for place, one in enumerate(given):
        try:
            _check(one, known.get(one.offer), stays, lot, at, giver)
            if one.plate is not None:
                plates[place] = (intake.plate(one.plate, one.plate_color), one.plate_color)
        except Rejected as wrong:
            answers[place] = _refused(one, wrong.field, wrong.code, str(wrong))
    keys = intake.plate_keys(tx, sorted(set(plates.values()))) if plates else {}
    found: dict[int, _Good] = {}
    for place, one in enumerate(given):
        if answers[place] is None:
            offer = known[one.offer]
            wanted = one.valid_until or at + VALID_FOR
            content: tuple[object, ...] = (one.offer, plates.get(place), one.stay_serial, one.valid_until)
            content += () if giver is None else (lot.code,)
            digest = hashlib.sha256(msgspec.json.encode(content)).digest()
            plate_id, entered_at = (keys[plates[place]][0], None) if one.stay_serial is None else stays[one.stay_serial]
            until = min(checked(wanted), offer.valid_until)
            number = plates[place][0] if place in plates else ""
            found[place] = _Good(one, offer, until, digest, plate_id, entered_at, number)
    return found


def _within(
    tx: Connection, lane: int, giver: Giver, good: Mapping[int, _Good], answers: list[ValidationAnswer | None], at: datetime
) -> dict[int, _Good]:
    """Return what a merchant's limits let it give; what it gave before is counted already."""
    merchants.hold(tx, giver.merchant)  # first: whoever taps twice at once is told the same twice
    before = _given_before(tx, lane, giver, [one.given.serial for one in good.values()])
    first: dict[str, int] = {}
    for place, one in good.items():
        if one.given.serial not in before:
            first.setdefault(one.given.serial, place)
    fresh = list(first.values())
    wanted = [Given(good[place].number, good[place].offer.most_fen) for place in fresh]
    refused: dict[str, Rejected] = {}
    for place, wrong in zip(fresh, merchants.within(tx, lane=lane, merchant=giver.merchant, wanted=wanted, at=at), strict=True):
        if wrong is not None:
            refused[good[place].given.serial] = wrong
    for place, one in good.items():
        if (why := refused.get(one.given.serial)) is not None:
            answers[place] = _refused(one.given, why.field, why.code, str(why))
    return {place: one for place, one in good.items() if one.given.serial not in refused}


def _given_before(tx: Connection, lane: int, giver: Giver, serials: Sequence[str]) -> set[str]:
    query = text("""
        select serial from payments.discount_grant
        where lane = :lane and merchant_id = :id and serial = any(cast(:serials as text[]))
        """)
    given = {"lane": lane, "id": giver.merchant.merchant_id, "serials": list(serials)}
    return set(tx.execute(query, given).scalars()) if serials else set()


def _check(
    one: NewValidation, offer: Offer | None, stays: Mapping[str, object], lot: Lot, at: datetime, giver: Giver | None
) -> None:
    """Raise Rejected for a validation that cannot be true."""
    intake.check_name(one.serial, None)
    if giver is not None and one.stay_serial is not None:
        raise Rejected("stay_serial", "plate_or_stay", "a merchant names the plate")
    if giver is not None and offer is not None:
        merchants.check_may(giver.merchant, offer, lot)
    if offer is None:
        raise Rejected("offer", "discount_not_found", "there is no offer of this code that cars are validated by")
    if not offer.valid_from <= at < offer.valid_until:
        raise Rejected("offer", "discount_over", "the offer has ended, or has not begun")
    if offer.lot_ids is not None and lot.lot_id not in offer.lot_ids:
        raise Rejected("offer", "discount_elsewhere", "the offer does not count at this lot")
    if offer.operator_ids is not None and lot.operator_id not in offer.operator_ids:
        raise Rejected("offer", "discount_elsewhere", "the offer does not count at lots of this operator")
    if (one.plate is None) == (one.stay_serial is None):
        raise Rejected("plate", "plate_or_stay", "name the plate or the stay, one of the two")
    if one.stay_serial is not None and one.stay_serial not in stays:
        raise Rejected("stay_serial", "stay_unknown", "the lot has no stay of this serial")
    if one.valid_until is not None:
        if one.valid_until.tzinfo is None:
            raise Rejected("valid_until", "time_invalid", "a time needs its offset, such as +08:00")
        if one.valid_until <= at:
            raise Rejected("valid_until", "time_invalid", "it would have expired already")


def _refused(one: NewValidation, field: str, reason: str, detail: str) -> ValidationAnswer:
    return ValidationAnswer(serial=one.serial, outcome="refused", reason=reason, field=field, detail=detail)


def _stays(tx: Connection, lane: int, lot: Lot, serials: Sequence[str]) -> dict[str, tuple[int, datetime]]:
    """Return plate and beginning of stays by the lot's serials: of the stay, or of its charge."""
    if not serials:
        return {}
    query = text("""
        select lot_serial, plate_id, entered_at from payments.charge
        where lane = :lane and lot_id = :lot and lot_serial = any(cast(:serials as text[]))
        union all
        select lot_serial, plate_id, entered_at from payments.stay
        where lane = :lane and lot_id = :lot and lot_serial = any(cast(:serials as text[]))
        """)
    rows = tx.execute(query, {"lane": lane, "lot": lot.lot_id, "serials": list(serials)})
    return {row.lot_serial: (row.plate_id, row.entered_at) for row in rows}


def _insert(
    tx: Connection, lane: int, lot: Lot, client_id: str, good: Sequence[_Good], at: datetime, ids: Ids, giver: Giver | None
) -> set[str]:
    """Insert what is new, in the order of the serials; returns the serials that were."""
    if not good:
        return set()
    rows = sorted(good, key=lambda one: one.given.serial)
    made = tx.execute(
        text("""
        insert into payments.discount_grant (grant_id, lane, offer_id, lot_id, plate_id, entered_at, client_id, serial,
                                             content_digest, valid_until, uses_max, created_at, merchant_id, clerk_id, given_on,
                                             most_fen)
        select grant_id, :lane, offer_id, :lot, plate_id, entered_at, :client, serial, digest, valid_until, 1, :at, :merchant,
               :clerk, :given_on, case when cast(:merchant as uuid) is not null then most end
        from unnest(cast(:ids as uuid[]), cast(:offers as uuid[]), cast(:plates as bigint[]), cast(:entered as timestamptz[]),
                    cast(:serials as text[]), cast(:digests as bytea[]), cast(:until as timestamptz[]), cast(:most as bigint[]))
             as n (grant_id, offer_id, plate_id, entered_at, serial, digest, valid_until, most)
        on conflict do nothing returning serial
        """),
        {
            "lane": lane, "lot": lot.lot_id, "client": client_id, "at": at,
            "ids": [ids.new(at, f"validation {lot.lot_id} {client_id} {one.given.serial}") for one in rows],
            "offers": [one.offer.offer_id for one in rows], "plates": [one.plate_id for one in rows],
            "entered": [one.entered_at for one in rows], "serials": [one.given.serial for one in rows],
            "digests": [one.digest for one in rows], "until": [one.valid_until for one in rows],
            "most": [one.offer.most_fen for one in rows], "merchant": None if giver is None else giver.merchant.merchant_id,
            "clerk": None if giver is None else giver.clerk_id, "given_on": None if giver is None else business_date(at),
        },
    )  # fmt: skip
    return set(made.scalars())


def _numbers(tx: Connection, plate_ids: Sequence[int]) -> list[str]:
    query = text("select distinct number from payments.plate where plate_id = any(cast(:ids as bigint[]))")
    return list(tx.execute(query, {"ids": list(plate_ids)}).scalars())


class _Row(Struct, frozen=True):
    """A validation as it stands."""

    serial: str
    digest: bytes
    standing: Literal["waiting", "on", "cancelled"]
    fen: int


def _known(
    tx: Connection, lane: int, lot: Lot, client_id: str, serials: Sequence[str], giver: Giver | None
) -> dict[str, _Row]:  # fmt: skip
    query = text("""
        select g.serial, g.content_digest as digest, coalesce(sum(e.amount_fen), 0)::bigint as fen,
               case when g.cancelled_at is not null then 'cancelled' when g.used > 0 then 'on' else 'waiting' end as standing
        from payments.discount_grant g
        left join payments.discount_effect e on e.lane = g.lane and e.grant_id = g.grant_id and e.taken_off_at is null
        where g.lane = :lane and g.serial = any(cast(:serials as text[]))
          and case when cast(:merchant as uuid) is null then g.lot_id = :lot and g.client_id = :client
                   else g.merchant_id = cast(:merchant as uuid) end
        group by g.serial, g.content_digest, g.cancelled_at, g.used
        """)
    given = {"lane": lane, "lot": lot.lot_id, "client": client_id, "serials": list(serials)}
    rows = tx.execute(query, given | {"merchant": None if giver is None else giver.merchant.merchant_id})
    return {row.serial: _Row(row.serial, bytes(row.digest), row.standing, int(row.fen)) for row in rows}


_OF_GIVER: Final = """
where lane = :lane and merchant_id = :merchant and serial = :serial
  and (cast(:clerk as uuid) is null or clerk_id = cast(:clerk as uuid))
"""
_LISTED: Final = text("""
    select g.grant_id, g.serial, g.lot_id, g.offer_id, p.number as plate, g.created_at as given_at, g.valid_until,
           case when g.withdrawn_at is not null then 'withdrawn' when g.valid_until > :at then 'given'
                when e.fen is not null then 'used' else 'unused' end as state,
           case when g.valid_until <= :at then coalesce(e.fen, 0) end as taken_off_fen
    from payments.discount_grant g
    join payments.plate p on p.plate_id = g.plate_id
    cross join lateral (
        select sum(x.amount_fen)::bigint as fen from payments.discount_effect x
        where x.lane = g.lane and x.grant_id = g.grant_id and x.taken_off_at is null
    ) e
    where g.lane = :lane and g.merchant_id = :merchant
      and (cast(:clerk as uuid) is null or g.clerk_id = cast(:clerk as uuid))
      and (cast(:serial as text) is null or g.serial = cast(:serial as text))
      and (cast(:before as uuid) is null or g.grant_id < cast(:before as uuid))
    order by g.grant_id desc limit :limit
    """)
