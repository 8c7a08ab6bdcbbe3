"""The questions that agreements ask of PostgreSQL. Private to this room."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, Row, text

from ledger.clock import checked
from payments.plates import PlateColor

Kind = Literal["open", "none", "ended", "withdrawn"]
State = Literal["begun", "open", "none", "ended", "withdrawn", "passed_on"]
"""``begun``: agreed to, and the channel has said nothing yet. ``open`` and ``none``: the channel's last word. ``ended``: by its
driver, after it had been open; ``withdrawn``: before that. ``passed_on``: the plate came to another owner, or was forgotten."""


class NewText(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A version of the words as a file gives it. Each line of a short part is a point, each line of a long one a paragraph."""

    valid_from: datetime
    document: str
    short_zh: str
    long_zh: str
    short_en: str
    long_en: str


class Text(NewText, frozen=True, kw_only=True):
    """A version as it is kept; without an id it is the product's own, which nobody has agreed to yet."""

    text_id: UUID | None
    lane: int
    digest: bytes
    """SHA-256 of date, document and words: what the page shows and what is agreed to carry the same."""
    entered_at: datetime


class Agreement(Struct, frozen=True, kw_only=True):
    """An agreement as it stands. ``plate`` is the full number: mask it before it is shown or logged."""

    agreement_id: UUID
    lane: int
    text_id: UUID
    plate: str
    plate_color: PlateColor
    channel: str
    merchant_no: str
    key_ref: str | None
    payer_digest: bytes | None
    """None: it is forgotten who signed."""
    confirmed_at: datetime
    told_open_at: datetime | None
    """Open: when the channel last said so."""
    state: State
    state_at: datetime
    was_open: bool
    events: int


class Count(Struct, frozen=True):
    """How many agreements to a version of the words stand where."""

    channel: str
    state: State
    text_id: UUID
    agreements: int


class Event(Struct, frozen=True, kw_only=True):
    """What became of an agreement."""

    kind: Kind
    said_by: Literal["channel", "driver"]
    message_id: UUID | None = None
    word: str | None = None


# Words


_TEXT: Final = """
select text_id, lane, valid_from, document, short_zh, long_zh, short_en, long_en, digest, entered_at from payments.agreement_text
"""


def insert_text(tx: Connection, *, text: Text) -> bool:
    """Insert a version unless one begins at that time; returns whether it is new."""
    values = {name: getattr(text, name) for name in Text.__struct_fields__}
    return tx.execute(_INSERT_TEXT, values).rowcount == 1


_INSERT_TEXT: Final = text("""
    insert into payments.agreement_text
        (text_id, lane, valid_from, document, short_zh, long_zh, short_en, long_en, digest, entered_at)
    values (:text_id, :lane, :valid_from, :document, :short_zh, :long_zh, :short_en, :long_en, :digest, :entered_at)
    on conflict (lane, valid_from) do nothing
    """)


def text_at(tx: Connection, *, lane: int, at: datetime) -> Text | None:
    query = text(_TEXT + "where lane = :lane and valid_from <= :at order by valid_from desc limit 1")
    row = tx.execute(query, {"lane": lane, "at": at}).first()
    return None if row is None else _text(row)


def text_from(tx: Connection, *, lane: int, valid_from: datetime) -> Text | None:
    row = tx.execute(text(_TEXT + "where lane = :lane and valid_from = :from"), {"lane": lane, "from": valid_from}).first()
    return None if row is None else _text(row)


def texts(tx: Connection, *, lane: int) -> list[Text]:
    return [_text(row) for row in tx.execute(text(_TEXT + "where lane = :lane order by valid_from"), {"lane": lane})]


def text_lanes(tx: Connection) -> list[int]:
    return list(tx.execute(text("select distinct lane from payments.agreement_text order by lane")).scalars())


def _text(row: Row[tuple[object, ...]]) -> Text:
    values = dict(row._mapping)
    times = {name: checked(values[name]) for name in ("valid_from", "entered_at")}
    return Text(**(values | times | {"digest": bytes(values["digest"])}))


# Payers


def payer_salt(tx: Connection, *, channel: str, new: bytes) -> bytes:
    """Return the salt of a channel's payers; ``new`` becomes it where there is none."""
    query, given = text("select salt from payments.payer_salt where channel = :channel"), {"channel": channel}
    kept = tx.execute(query, given).scalar()
    if kept is None:
        insert = text("insert into payments.payer_salt (channel, salt) values (:channel, :salt) on conflict (channel) do nothing")
        tx.execute(insert, given | {"salt": new})
        kept = tx.execute(query, given).scalar_one()
    return bytes(kept)


# Agreements


_AGREEMENT: Final = """
select a.agreement_id, a.lane, a.text_id, p.number as plate, p.color as plate_color, a.channel, a.merchant_no, a.key_ref,
       a.payer_digest, a.confirmed_at, w.confirmed_at as told_open_at, coalesce(e.number, 0) as events,
       case when (p.held_since > a.confirmed_at or p.erased_at is not null)
                 and coalesce(e.kind, 'begun') not in ('ended', 'withdrawn') then 'passed_on'
            else coalesce(e.kind, 'begun') end as state,
       coalesce(e.happened_at, a.confirmed_at) as state_at,
       exists (select from payments.agreement_event o
               where o.lane = a.lane and o.agreement_id = a.agreement_id and o.kind = 'open') as was_open
from payments.agreement a
join payments.plate p on p.plate_id = a.plate_id
left join payments.agreement_watch w on w.lane = a.lane and w.agreement_id = a.agreement_id
left join lateral (
    select n.number, n.kind, n.happened_at from payments.agreement_event n
    where n.lane = a.lane and n.agreement_id = a.agreement_id order by n.number desc limit 1
) e on true
"""


def insert_link(tx: Connection, *, lane: int, agreement_id: UUID, digest: bytes, at: datetime) -> bool:
    """Insert a link; False when its token is in use. Waits for a transaction that is inserting the same."""
    query = text("""
        insert into payments.agreement_link (token_digest, lane, agreement_id, made_at) values (:digest, :lane, :id, :at)
        on conflict (token_digest, lane) do nothing
        """)
    return tx.execute(query, {"digest": digest, "lane": lane, "id": agreement_id, "at": at}).rowcount == 1


def insert_agreement(
    tx: Connection, *, agreement_id: UUID, lane: int, text_id: UUID, plate_id: int, channel: str, merchant_no: str,
    key_ref: str | None, payer_digest: bytes, page: str, language: str, at: datetime,
) -> None:  # fmt: skip
    tx.execute(
        text("""
        insert into payments.agreement (agreement_id, lane, text_id, plate_id, channel, merchant_no, key_ref, payer_digest, page,
                                        language, confirmed_at)
        values (:id, :lane, :text, :plate, :channel, :merchant_no, :key_ref, :payer, :page, :language, :at)
        """),
        {
            "id": agreement_id, "lane": lane, "text": text_id, "plate": plate_id, "channel": channel, "merchant_no": merchant_no,
            "key_ref": key_ref, "payer": payer_digest, "page": page, "language": language, "at": at,
        },
    )  # fmt: skip


def by_link(tx: Connection, *, lane: int, digest: bytes) -> Agreement | None:
    query = text(
        _AGREEMENT
        + "join payments.agreement_link l on l.lane = a.lane and l.agreement_id = a.agreement_id "
        + "where l.lane = :lane and l.token_digest = :digest and p.erased_at is null"
    )
    row = tx.execute(query, {"lane": lane, "digest": digest}).first()
    return None if row is None else _agreement(row)


def by_id(tx: Connection, *, lane: int, agreement_id: UUID) -> Agreement | None:
    row = tx.execute(text(_AGREEMENT + "where a.lane = :lane and a.agreement_id = :id"), {"lane": lane, "id": agreement_id}).first()
    return None if row is None else _agreement(row)


def of_payer(tx: Connection, *, lane: int, channel: str, payer_digest: bytes, limit: int) -> list[Agreement]:
    """Return a payer's agreements at a channel, the newest first."""
    query = text(
        _AGREEMENT
        + "where a.lane = :lane and a.channel = :channel and a.payer_digest = :payer and p.erased_at is null "
        + "order by a.confirmed_at desc, a.agreement_id "
        + "limit :limit"
    )
    given = {"lane": lane, "channel": channel, "payer": payer_digest, "limit": limit}
    return [_agreement(row) for row in tx.execute(query, given)]


def _agreement(row: Row[tuple[object, ...]]) -> Agreement:
    values = dict(row._mapping)
    payer = values["payer_digest"]
    return Agreement(**(values | {"payer_digest": None if payer is None else bytes(payer)}))


def by_ids(tx: Connection, *, lane: int, agreement_ids: Sequence[UUID]) -> list[Agreement]:
    """Return agreements in the order of their ids."""
    query = text(_AGREEMENT + "where a.lane = :lane and a.agreement_id = any(cast(:ids as uuid[])) order by a.agreement_id")
    return [_agreement(row) for row in tx.execute(query, {"lane": lane, "ids": list(agreement_ids)})]


def counts(tx: Connection, *, lane: int) -> list[Count]:
    query = text("""
        select channel, state, text_id, count(*) from payments.v_agreement where lane = :lane
        group by channel, state, text_id order by channel, state, text_id
        """)
    return [Count(*row) for row in tx.execute(query, {"lane": lane})]


def hold(tx: Connection, *, plate: str, channel: str) -> None:
    """Wait for whoever writes about the consent for a number at a channel, or acts upon it (``payments.hold_consent_v1``).

    Held until the transaction ends: what reads the consent before it makes a payment, and what ends it, cannot cross.
    """
    query = text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")
    tx.execute(query, {"name": f"consent {channel} {plate}"})


def insert_event(tx: Connection, *, agreement: Agreement, event: Event, at: datetime) -> None:
    """Write what became of an agreement. The consent is held."""
    tx.execute(
        text("""
        insert into payments.agreement_event (agreement_id, lane, number, kind, happened_at, said_by, message_id, word)
        values (:id, :lane, :number, :kind, :at, :said_by, :message, :word)
        """),
        {
            "id": agreement.agreement_id, "lane": agreement.lane, "number": agreement.events + 1, "kind": event.kind, "at": at,
            "said_by": event.said_by, "message": event.message_id, "word": event.word,
        },
    )  # fmt: skip


def still_open(tx: Connection, *, agreement: Agreement, at: datetime) -> None:
    """Write that the channel has said again of plate and payer that an agreement is open."""
    query = text("""
        update payments.agreement_watch set confirmed_at = greatest(confirmed_at, :at), due_at = null, tries = 0
        where lane = :lane and agreement_id = :id
        """)
    tx.execute(query, {"lane": agreement.lane, "id": agreement.agreement_id, "at": at})


def end_all(tx: Connection, *, lane: int, plate: str, color: str, channel: str, at: datetime) -> None:
    """End every agreement for a plate at a channel that has been open, and forget that its mandate is. The consent is held."""
    given = {"lane": lane, "plate": plate, "color": color, "channel": channel, "at": at}
    tx.execute(
        text("""
        insert into payments.agreement_event (agreement_id, lane, number, kind, happened_at, said_by)
        select a.agreement_id, a.lane, max(e.number) + 1, 'ended', :at, 'driver'
        from payments.plate p
        join payments.agreement a on a.plate_id = p.plate_id and a.lane = :lane and a.channel = :channel
        join payments.agreement_event e on e.lane = a.lane and e.agreement_id = a.agreement_id
        where p.number = :plate and p.color = :color
        group by a.agreement_id, a.lane
        having bool_or(e.kind = 'open') and not bool_or(e.kind in ('ended', 'withdrawn'))
        """),
        given,
    )
    tx.execute(
        text("""
        update payments.mandate m set state = 'none', told_at = greatest(m.told_at, cast(:at as timestamptz))
        from payments.plate p
        where m.plate_id = p.plate_id and p.number = :plate and (p.color = :color or p.color = 'unknown') and m.channel = :channel
          and m.state = 'open'
        """),
        given,
    )


def remember(tx: Connection, *, plate: str, color: str, channel: str, state: Literal["open", "none"], at: datetime) -> None:
    """Keep what a channel says of a plate's mandate; a word that is older than the one kept changes nothing."""
    tx.execute(
        text("""
        insert into payments.mandate as m (plate_id, channel, state, told_at)
        select plate_id, :channel, :state, :at from payments.plate where number = :plate and color = :color
        on conflict (plate_id, channel) do update set state = excluded.state, told_at = excluded.told_at
        where m.told_at <= excluded.told_at
        """),
        {"plate": plate, "color": color, "channel": channel, "state": state, "at": at},
    )


def held_consent_ended(tx: Connection, *, plate: str, color: str, channel: str) -> bool:
    """Tell whether a driver has ended deductions from a plate over a channel, and nobody has agreed to them since.

    Waits for whoever is ending them, and holds the consent with those that act upon it until the transaction ends.
    """
    query = text("select payments.hold_consent_v1(:plate, :color, :channel)")
    return bool(tx.execute(query, {"plate": plate, "color": color, "channel": channel}).scalar_one())
