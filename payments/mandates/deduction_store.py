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
from ledger.volley import ask
from payments.plates import PlateColor
from payments.records import Attempt, Charge
from payments.store import which_attempts_at

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


class Stay(Struct, frozen=True):
    """A charge's stay at a channel: its entrance, what the channel said of it, and whether its driver has ended deductions."""

    entry: Entry | None
    word: Word | None
    has_ended: bool


class Held(Struct, frozen=True):
    """The consent that a deduction is made under."""

    plate: str
    color: str
    channel: str


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


def stay_of(tx: Connection, *, charge: Charge, channel: str, merchant_no: str) -> Stay:
    """Return what is known of a charge's stay at a channel, in one statement.

    The entrance is that of the same plate at the same lot, by the serial or by the time of coming; the newest. A colour that one
    side does not know fits every colour.
    """
    query = text(
        f"""
        select e.*, w.merchant_no is not null as was_told, w.entry_no, w.state, w.word,
               payments.consent_ended_v1(
                   :plate, case when coalesce(e.plate_color, 'unknown') <> 'unknown' then e.plate_color else :color end, :channel
               ) as has_ended
        from (select 1) as charge
        left join lateral (
            {_ENTRY}
            where e.lane = :lane and e.lot_id = :lot and p.number = :plate
              and (p.color = :color or p.color = 'unknown' or :color = 'unknown')
              and (e.lot_serial = :serial or e.entered_at between :earliest and :latest)
            order by e.lot_serial = :serial desc, e.entrance_id desc limit 1
        ) e on true
        left join payments.entrance_word w
          on w.lane = e.lane and w.entrance_id = e.entrance_id and w.channel = :channel and w.merchant_no = :merchant_no
        """
    )
    row = tx.execute(
        query,
        {
            "lane": charge.lane, "lot": charge.lot_id, "plate": charge.plate, "color": charge.plate_color,
            "serial": charge.lot_serial, "earliest": charge.entered_at - SAME_STAY, "latest": charge.entered_at + SAME_STAY,
            "channel": channel, "merchant_no": merchant_no,
        },
    ).one()  # fmt: skip
    if row.entrance_id is None:
        return Stay(None, None, row.has_ended)
    entry = Entry(**{name: getattr(row, name) for name in Entry.__struct_fields__})
    word = Word(channel=channel, merchant_no=merchant_no, entry_no=row.entry_no, state=row.state, word=row.word)
    return Stay(entry, word if row.was_told else None, row.has_ended)


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
    return ask(tx, which_attempts_at(lane=lane, charge_id=charge_id))


def begin(tx: Connection, *, lane: int, payment_id: UUID, terms: Terms, held: Held, until: datetime) -> bool:
    """Keep what a new payment's deduction says and claim its first call, in one statement; False: the driver has ended it.

    Waits for a driver who is just ending it, and holds the consent: until ``tx`` ends nobody ends it. After False the caller rolls
    the payment back.
    """
    query = text("""
        with consent as materialized (
            select payments.hold_consent_v1(:plate, :color, :channel) as has_ended
        ), kept as (
            insert into payments.deduction (payment_id, lane, plate_color, entered_at, left_at, lot_no, lot_name, entry_no,
                                            mandate_no, calls)
            select :id, :lane, :plate_color, :entered_at, :left_at, :lot_no, :lot_name, :entry_no, :mandate_no, 1
            from consent where not has_ended
            returning payment_id, lane
        )
        update payments.payment p set claimed_until = :until from kept k
        where p.lane = k.lane and p.payment_id = k.payment_id
        """)
    given = {"id": payment_id, "lane": lane, "plate": held.plate, "color": held.color, "channel": held.channel, "until": until}
    return tx.execute(query, given | {name: getattr(terms, name) for name in Terms.__struct_fields__}).rowcount == 1


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
    query = text("""
        with mine as (
            update payments.payment set claimed_until = :until
            where lane = :lane and payment_id = :id and (claimed_until is null or claimed_until <= :at)
            returning payment_id, lane
        )
        update payments.deduction d set calls = d.calls + 1 from mine m where d.lane = m.lane and d.payment_id = m.payment_id
        """)
    return tx.execute(query, {"lane": lane, "id": payment_id, "at": at, "until": until}).rowcount == 1


def take_on(tx: Connection, *, lane: int, payment_id: UUID) -> None:
    """Note that the channel took a deduction on."""
    query = text("update payments.deduction set taken_on = true where lane = :lane and payment_id = :id")
    tx.execute(query, {"lane": lane, "id": payment_id})
