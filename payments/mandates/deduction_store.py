"""The questions that entrances and deductions ask of PostgreSQL. Private to this room."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from psycopg.errors import UniqueViolation
from sqlalchemy import Connection, text

from gateways import messages
from gateways.contract import RawMessage
from payments.plates import PlateColor
from payments.records import Attempt
from payments.store import attempt as attempt_of

SAME_STAY: Final = timedelta(minutes=5)
"""How far the begin of a charge may be from the entrance of the same stay: two clocks of one lot."""

MandateState = Literal["open", "none", "unknown"]


class Entry(Struct, frozen=True, kw_only=True):
    """An entrance as it is kept. ``plate`` is the full number: mask it before it is shown or logged."""

    entrance_id: UUID
    lane: int
    operator_id: int
    lot_id: int
    lot_serial: str
    plate: str
    plate_color: PlateColor
    entered_at: datetime
    free_minutes: int
    lot_name: str


class Word(Struct, frozen=True, kw_only=True):
    """What a channel said when it was told of a car, or by itself since."""

    channel: str
    merchant_no: str
    entry_no: str | None
    state: MandateState
    word: str | None


class HeldWord(Struct, kw_only=True):
    """A channel's word while its row is held."""

    channel: str
    merchant_no: str
    entry_no: str | None
    state: MandateState
    word: str | None
    told_at: datetime
    """When it was told, or when the channel says that it came to be so."""


class Terms(Struct, frozen=True, kw_only=True):
    """What a deduction says beside its payment and charge."""

    plate_color: PlateColor
    entered_at: datetime
    left_at: datetime
    lot_no: str
    lot_name: str
    entry_no: str | None
    mandate_no: str | None


class Asked(Terms, frozen=True, kw_only=True):
    """The terms as they are kept, with what became of the calls."""

    calls: int
    taken_on: bool


def keep_message(tx: Connection, *, lane: int, message: RawMessage) -> None:
    """Keep an answer that moves no money. The same answer at the same instant is kept once."""
    with suppress(UniqueViolation), tx.begin_nested():
        messages.keep(tx, lane=lane, messages=[message])


# Lots.


def put_lot_number(tx: Connection, *, lot_id: int, channel: str, number: str, at: datetime) -> None:
    tx.execute(
        text("""
        insert into payments.lot_number (lot_id, channel, number, entered_at) values (:lot, :channel, :number, :at)
        on conflict (lot_id, channel) do update set number = excluded.number, entered_at = excluded.entered_at
        """),
        {"lot": lot_id, "channel": channel, "number": number, "at": at},
    )


def lot_number(tx: Connection, *, lot_id: int, channel: str) -> str:
    """Return a lot's number at a channel, or its code where the channel has none."""
    query = text("""
        select coalesce(n.number, l.code) from payments.lot l
        left join payments.lot_number n on n.lot_id = l.lot_id and n.channel = :channel
        where l.lot_id = :lot
        """)
    return str(tx.execute(query, {"lot": lot_id, "channel": channel}).scalar_one())


# Entrances.

_ENTRY: Final = """
select e.entrance_id, e.lane, e.operator_id, e.lot_id, e.lot_serial, p.number as plate, p.color as plate_color, e.entered_at,
       e.free_minutes, e.lot_name
from payments.entrance e join payments.plate p on p.plate_id = e.plate_id
"""


def insert_entrance(
    tx: Connection, *, entrance_id: UUID, lane: int, operator_id: int, lot_id: int, lot_serial: str, plate_id: int,
    entered_at: datetime, free_minutes: int, lot_name: str, at: datetime,
) -> bool:  # fmt: skip
    """Insert an entrance unless its serial is there; returns whether it is new."""
    made = tx.execute(
        text("""
        insert into payments.entrance (entrance_id, lane, operator_id, lot_id, lot_serial, plate_id, entered_at, free_minutes,
                                       lot_name, created_at)
        values (:entrance_id, :lane, :operator_id, :lot_id, :lot_serial, :plate_id, :entered_at, :free_minutes, :lot_name, :at)
        on conflict (lot_id, lot_serial, lane) do nothing
        """),
        {
            "entrance_id": entrance_id, "lane": lane, "operator_id": operator_id, "lot_id": lot_id, "lot_serial": lot_serial,
            "plate_id": plate_id, "entered_at": entered_at, "free_minutes": free_minutes, "lot_name": lot_name, "at": at,
        },
    )  # fmt: skip
    return made.rowcount == 1


def entrance(tx: Connection, *, lane: int, lot_id: int, lot_serial: str) -> Entry | None:
    query = text(_ENTRY + "where e.lane = :lane and e.lot_id = :lot and e.lot_serial = :serial")
    row = tx.execute(query, {"lane": lane, "lot": lot_id, "serial": lot_serial}).first()
    return None if row is None else Entry(**row._mapping)


def entrance_of(
    tx: Connection, *, lane: int, lot_id: int, lot_serial: str, plate: str, plate_color: str, entered_at: datetime
) -> Entry | None:
    """Return the entrance of a charge's stay: the same plate at the same lot, by the serial or by the time of coming; newest first.

    A colour that one side does not know fits every colour.
    """
    query = text(
        _ENTRY
        + """
        where e.lane = :lane and e.lot_id = :lot and p.number = :plate
          and (p.color = :color or p.color = 'unknown' or :color = 'unknown')
          and (e.lot_serial = :serial or e.entered_at between :earliest and :latest)
        order by e.lot_serial = :serial desc, e.entrance_id desc limit 1
        """
    )
    row = tx.execute(
        query,
        {
            "lane": lane, "lot": lot_id, "plate": plate, "color": plate_color, "serial": lot_serial,
            "earliest": entered_at - SAME_STAY, "latest": entered_at + SAME_STAY,
        },
    ).first()  # fmt: skip
    return None if row is None else Entry(**row._mapping)


def words(tx: Connection, *, lane: int, entrance_id: UUID) -> list[Word]:
    """Return what channels said of an entrance."""
    query = text("""
        select channel, merchant_no, entry_no, state, word from payments.entrance_word
        where lane = :lane and entrance_id = :id order by channel, merchant_no
        """)
    return [Word(**row._mapping) for row in tx.execute(query, {"lane": lane, "id": entrance_id})]


def keep_word(tx: Connection, *, lane: int, entrance_id: UUID, word: Word, at: datetime) -> None:
    """Keep what a channel answered when it was told of a car at ``at``.

    What is known is overwritten neither by an answer that says nothing nor by one to an earlier second: meanwhile the channel may
    have said otherwise by itself.
    """
    tx.execute(
        text("""
        insert into payments.entrance_word as w (entrance_id, lane, channel, merchant_no, entry_no, state, word, told_at)
        values (:id, :lane, :channel, :merchant_no, :entry_no, :state, :word, :at)
        on conflict (entrance_id, channel, merchant_no, lane) do update
        set entry_no = coalesce(excluded.entry_no, w.entry_no),
            (state, word, told_at) = (
                select case when newer then excluded.state else w.state end, case when newer then excluded.word else w.word end,
                       case when newer then excluded.told_at else w.told_at end
                from (select w.state = 'unknown' or (excluded.state <> 'unknown'
                             and date_trunc('second', w.told_at) < date_trunc('second', excluded.told_at)) as newer) as n)
        """),
        _word_of(lane, entrance_id, word, at),
    )
    tx.execute(_REMEMBER, _word_of(lane, entrance_id, word, at))


_REMEMBER: Final = text("""
    insert into payments.mandate as m (plate_id, channel, state, told_at)
    select plate_id, :channel, :state, :at from payments.entrance where lane = :lane and entrance_id = :id and :state <> 'unknown'
    on conflict (plate_id, channel) do update set state = excluded.state, told_at = excluded.told_at
    where m.told_at <= excluded.told_at
    """)
"""What a channel says of a car it says of its plate's mandate."""


def put_word(tx: Connection, *, lane: int, entrance_id: UUID, word: Word, at: datetime) -> None:
    """Write down what a channel said by itself, in place of what it said before. The caller holds the row."""
    tx.execute(
        text("""
        update payments.entrance_word set entry_no = :entry_no, state = :state, word = :word, told_at = :at
        where entrance_id = :id and lane = :lane and channel = :channel and merchant_no = :merchant_no
        """),
        _word_of(lane, entrance_id, word, at),
    )
    tx.execute(_REMEMBER, _word_of(lane, entrance_id, word, at))


def hold_words(tx: Connection, *, lane: int, entrance_ids: Sequence[UUID]) -> dict[UUID, list[HeldWord]]:
    """Lock and return what channels said of entrances, by entrance; in one order, so that nobody waits in a circle."""
    query = text("""
        select entrance_id, channel, merchant_no, entry_no, state, word, told_at from payments.entrance_word
        where lane = :lane and entrance_id = any(:ids) order by entrance_id, channel, merchant_no for update
        """)
    held: dict[UUID, list[HeldWord]] = {}
    for row in tx.execute(query, {"lane": lane, "ids": list(entrance_ids)}):
        values = dict(row._mapping)
        held.setdefault(values.pop("entrance_id"), []).append(HeldWord(**values))
    return held


def known_entrances(tx: Connection, *, lane: int, entrance_ids: Sequence[UUID]) -> set[UUID]:
    """Return those of the ids that are entrances."""
    query = text("select entrance_id from payments.entrance where lane = :lane and entrance_id = any(:ids)")
    return set(tx.execute(query, {"lane": lane, "ids": list(entrance_ids)}).scalars())


def _word_of(lane: int, entrance_id: UUID, word: Word, at: datetime) -> dict[str, object]:
    return {
        "id": entrance_id, "lane": lane, "channel": word.channel, "merchant_no": word.merchant_no, "entry_no": word.entry_no,
        "state": word.state, "word": word.word, "at": at,
    }  # fmt: skip


# Deductions.


def attempts_at(tx: Connection, *, lane: int, charge_id: UUID) -> list[Attempt]:
    """Return all attempts to pay a charge, the newest first."""
    query = text("select payment_id from payments.payment where lane = :lane and charge_id = :id order by payment_id desc")
    found = [attempt_of(tx, lane=lane, payment_id=one) for one in tx.execute(query, {"lane": lane, "id": charge_id}).scalars()]
    return [one for one in found if one is not None]


def insert_terms(tx: Connection, *, lane: int, payment_id: UUID, terms: Terms) -> None:
    tx.execute(
        text("""
        insert into payments.deduction (payment_id, lane, plate_color, entered_at, left_at, lot_no, lot_name, entry_no, mandate_no)
        values (:id, :lane, :plate_color, :entered_at, :left_at, :lot_no, :lot_name, :entry_no, :mandate_no)
        """),
        {"id": payment_id, "lane": lane} | {name: getattr(terms, name) for name in Terms.__struct_fields__},
    )


def asked(tx: Connection, *, lane: int, payment_id: UUID) -> Asked:
    """Return what a deduction asks for, and what became of the calls."""
    query = text("""
        select plate_color, entered_at, left_at, lot_no, lot_name, entry_no, mandate_no, calls, taken_on
        from payments.deduction where lane = :lane and payment_id = :id
        """)
    return Asked(**tx.execute(query, {"lane": lane, "id": payment_id}).one()._mapping)


def claim_call(tx: Connection, *, lane: int, payment_id: UUID, at: datetime, until: datetime) -> bool:
    """Claim a deduction for one more call until ``until``; False when somebody has it.

    Does not count as a query: the schedule of queries stands.
    """
    mine = tx.execute(
        text("""
        update payments.payment set claimed_until = :until
        where lane = :lane and payment_id = :id and (claimed_until is null or claimed_until <= :at)
        """),
        {"lane": lane, "id": payment_id, "at": at, "until": until},
    ).rowcount  # fmt: skip
    if mine:
        query = text("update payments.deduction set calls = calls + 1 where lane = :lane and payment_id = :id")
        tx.execute(query, {"lane": lane, "id": payment_id})
    return mine == 1


def take_on(tx: Connection, *, lane: int, payment_id: UUID) -> None:
    """Note that the channel took a deduction on."""
    query = text("update payments.deduction set taken_on = true where lane = :lane and payment_id = :id")
    tx.execute(query, {"lane": lane, "id": payment_id})
