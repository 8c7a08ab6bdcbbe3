"""The questions that invoices ask of PostgreSQL. Private to this room."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from payments.invoices.rules import IN_FORCE, RuleKind
from payments.invoices.titles import BuyerKind, Title

State = Literal["requested", "handed_over", "issued", "refused"]
RedState = Literal["requested", "handed_over", "issued", "retry", "stuck"]
"""``retry``: refused, and asked for again by itself; ``stuck``: refused so often that a person has to look at it."""
ListedState = Literal["requested", "handed_over", "issued", "replaced", "refused", "retry", "stuck"]
"""``replaced``: made out anew to another buyer."""


class Payable(Struct, frozen=True, kw_only=True):
    """A payment as an invoice needs it. ``left_fen`` is neither gone back nor promised; ``rule_id`` None: no rule counts."""

    payment_id: UUID
    operator_id: int
    lot_id: int
    counts: bool
    left_fen: int
    rule_id: int | None
    kind: RuleKind | None


class Red(Struct, frozen=True, kw_only=True):
    """A red invoice, in its latest try. ``cause``: that much was refunded, or all of it is made out anew."""

    red_id: UUID
    invoice_id: UUID
    amount_fen: int
    cause: Literal["refund", "correction"]
    state: RedState
    number: str | None
    has_file: bool


class Invoice(Struct, frozen=True, kw_only=True):
    """An invoice or fiscal receipt of a payment."""

    invoice_id: UUID
    payment_id: UUID
    kind: RuleKind
    buyer_kind: BuyerKind
    title: str
    tax_no: str | None
    asked_at: datetime
    state: State
    amount_fen: int | None
    red_fen: int
    number: str | None
    issued_at: datetime | None
    refused_words: str | None
    corrects: UUID | None
    """The invoice in whose place it comes."""
    replaced_at: datetime | None
    """When it was made out anew to another buyer."""
    correct_until: datetime | None
    """Issued: until then its buyer may have it made out anew."""
    has_file: bool
    reds: tuple[Red, ...] = ()

    @property
    def is_living(self) -> bool:
        """It stands for its payment: neither refused nor made out anew."""
        return self.state != "refused" and self.replaced_at is None


class File(Struct, frozen=True, kw_only=True):
    """A structured original."""

    subject_id: UUID
    name: str
    media_type: str
    digest: bytes
    body: bytes


class Held(Struct, kw_only=True):
    """A request as its answer finds it, held; ``state``, ``number`` and ``refused_words`` follow what is taken."""

    request: UUID
    is_red: bool
    payment_id: UUID
    kind: str
    amount_fen: int | None
    state: State
    number: str | None
    refused_words: str | None


_RULE: Final = IN_FORCE.format(at="p.succeeded_at", operator="p.operator_id", lot="c.lot_id")
_BACK: Final = """(select coalesce(sum(r.amount_fen), 0)::bigint from payments.refund r
    where r.lane = p.lane and r.payment_id = p.payment_id and r.state {states})"""


def payable(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> dict[UUID, Payable]:
    """Return the payments among these that took money, with the rule in force when they did."""
    rows = tx.execute(
        text(f"""
        select p.payment_id, p.operator_id, c.lot_id, f.treatment in ('settled', 'part') as counts,
               case when p.taken_back_at is not null then 0 else p.taken_fen - {_BACK.format(states="<> 'closed'")} end as left_fen,
               x.rule_id, x.kind
        from payments.payment p
        join payments.charge c on c.lane = p.lane and c.charge_id = p.charge_id
        join payments.payment_fact f
          on f.lane = p.lane and f.channel = p.channel and f.merchant_no = p.merchant_no and f.trade_no = p.trade_no
        left join lateral ({_RULE}) x on true
        where p.lane = :lane and p.payment_id = any(cast(:ids as uuid[])) and p.state = 'succeeded'
        """),
        {"lane": lane, "ids": list(payment_ids)},
    )
    return {row.payment_id: Payable(**row._mapping) for row in rows}


def hold_payments(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> None:
    """Lock payments in the order of their ids: whoever asks for invoices or refunds of them does so one after another."""
    query = text("""
        select 1 from payments.payment where lane = :lane and payment_id = any(cast(:ids as uuid[])) order by payment_id for update
        """)
    tx.execute(query, {"lane": lane, "ids": list(payment_ids)}).all()


def insert(
    tx: Connection, *, lane: int, invoice_ids: Sequence[UUID], of: Sequence[Payable], title: Title, at: datetime,
    corrects: UUID | None = None,
) -> None:  # fmt: skip
    """Insert a request for each payment, made out to the same; the payments are held and have none that stands."""
    tx.execute(
        text("""
        insert into payments.invoice (invoice_id, lane, payment_id, operator_id, lot_id, rule_id, kind, buyer_kind, title, tax_no,
                                      email, asked_at, state, corrects)
        select invoice_id, :lane, payment_id, operator_id, lot_id, rule_id, kind, :buyer_kind, :title, :tax_no, :email, :at,
               'requested', :corrects
        from unnest(cast(:invoice_ids as uuid[]), cast(:payment_id as uuid[]), cast(:operator_id as integer[]),
                    cast(:lot_id as integer[]), cast(:rule_id as integer[]), cast(:kind as text[]))
            as u (invoice_id, payment_id, operator_id, lot_id, rule_id, kind)
        """),
        {
            "invoice_ids": list(invoice_ids), "lane": lane, "buyer_kind": title.buyer_kind, "title": title.title,
            "tax_no": title.tax_no, "email": title.email, "at": at, "corrects": corrects,
        } | {name: [getattr(one, name) for one in of] for name in ("payment_id", "operator_id", "lot_id", "rule_id", "kind")},
    )  # fmt: skip


def replace(tx: Connection, *, lane: int, invoice_id: UUID, red_id: UUID, at: datetime) -> None:
    """Let red ones take off all that is left of an issued invoice, for another one comes in its place. Its payment is held."""
    tx.execute(
        text("""
        with old as (
            select invoice_id, lane, amount_fen - red_fen as left_fen from payments.invoice
            where lane = :lane and invoice_id = :id and state = 'issued' and replaced_at is null for update
        ), replaced as (
            update payments.invoice i set replaced_at = :at, red_fen = i.amount_fen from old o
            where i.lane = o.lane and i.invoice_id = o.invoice_id
        )
        insert into payments.invoice_red (red_id, lane, invoice_id, amount_fen, asked_at, state, cause)
        select :red_id, lane, invoice_id, left_fen, :at, 'requested', 'correction' from old where left_fen > 0
        """),
        {"lane": lane, "id": invoice_id, "red_id": red_id, "at": at},
    )


def of_payments(tx: Connection, *, lane: int, payment_ids: Sequence[UUID]) -> list[Invoice]:
    """Return all invoices of payments with their red ones, in two questions, in the order in which they were asked for."""
    given = {"lane": lane, "ids": list(payment_ids)}
    reds: dict[UUID, list[Red]] = {}
    for row in tx.execute(
        text("""
        select r.red_id, r.invoice_id, r.amount_fen, r.cause, r.state, r.number,
               exists (select from payments.invoice_file f where f.subject_id = r.red_id and f.lane = r.lane) as has_file
        from payments.v_invoice_red r join payments.invoice i on i.lane = r.lane and i.invoice_id = r.invoice_id
        where i.lane = :lane and i.payment_id = any(cast(:ids as uuid[])) and r.state <> 'replaced'
        order by r.asked_at, r.red_id
        """),
        given,
    ):
        reds.setdefault(row.invoice_id, []).append(Red(**row._mapping))
    rows = tx.execute(
        text("""
        select i.invoice_id, i.payment_id, i.kind, i.buyer_kind, i.title, i.tax_no, i.asked_at, i.state, i.amount_fen, i.red_fen,
               i.number, i.issued_at, i.refused_words, i.corrects, i.replaced_at,
               case when i.state = 'issued' then i.issued_at + x.correct_days * interval '24 hours' end as correct_until,
               exists (select from payments.invoice_file f where f.subject_id = i.invoice_id and f.lane = i.lane) as has_file
        from payments.invoice i join payments.invoice_rule x on x.rule_id = i.rule_id
        where i.lane = :lane and i.payment_id = any(cast(:ids as uuid[]))
        order by i.asked_at, i.invoice_id
        """),
        given,
    )
    return [Invoice(**row._mapping, reds=tuple(reds.get(row.invoice_id, ()))) for row in rows]


def file_of(tx: Connection, *, lane: int, payment_ids: Sequence[UUID], subject_id: UUID) -> File | None:
    """Return a structured original, if it belongs to an invoice of one of these payments."""
    row = tx.execute(
        text("""
        select f.subject_id, f.name, f.media_type, f.digest, f.body
        from payments.invoice_file f
        left join payments.invoice_red r on r.lane = f.lane and r.red_id = f.subject_id
        join payments.invoice i on i.lane = f.lane and i.invoice_id = coalesce(r.invoice_id, f.subject_id)
        where f.lane = :lane and f.subject_id = :subject and i.payment_id = any(cast(:ids as uuid[]))
        """),
        {"lane": lane, "subject": subject_id, "ids": list(payment_ids)},
    ).first()
    return None if row is None else File(**row._mapping)


def forget_emails(tx: Connection, *, lane: int, before: datetime) -> int:
    """Erase the addresses of invoices that were answered before a moment. Returns how many."""
    done = tx.execute(
        text("""
        update payments.invoice set email = null
        where lane = :lane and email is not null and state in ('issued', 'refused') and answered_at < :before
        """),
        {"lane": lane, "before": before},
    )
    return done.rowcount


# Handing over


def claim_blue(tx: Connection, *, lane: int, limit: int) -> list[Any]:
    """Hold the oldest requests of payments without a refund under way, and return them with what is left of their payments.

    One that comes in another's place waits until the red ones of that are issued.
    """
    return list(
        tx.execute(
            text(f"""
            select i.invoice_id as request, i.kind, i.buyer_kind, i.title, i.tax_no, i.email, p.payment_id,
                   p.succeeded_at as paid_at, o.legal_name, o.credit_code, l.name as lot, b.number as replaces,
                   case when p.taken_back_at is not null then 0 else p.taken_fen - {_BACK.format(states="= 'done'")} end as left_fen
            from payments.invoice i
            join payments.payment p on p.lane = i.lane and p.payment_id = i.payment_id
            join payments.operator o on o.operator_id = i.operator_id
            join payments.lot l on l.lot_id = i.lot_id
            left join payments.invoice b on b.lane = i.lane and b.invoice_id = i.corrects
            where i.lane = :lane and i.state = 'requested'
              and (b.invoice_id is null or b.amount_fen = (
                  select sum(r.amount_fen) from payments.invoice_red r
                  where r.lane = b.lane and r.invoice_id = b.invoice_id and r.state = 'issued'))
              and not exists (select from payments.refund r where r.lane = i.lane and r.payment_id = i.payment_id
                              and r.state in ('promised', 'pending', 'stuck'))
            order by i.invoice_id limit :limit for update of i skip locked
            """),
            {"lane": lane, "limit": limit},
        )
    )


def claim_red(tx: Connection, *, lane: int, limit: int) -> list[Any]:
    """Hold the oldest requests of red invoices, and return them."""
    return list(
        tx.execute(
            text("""
            select r.red_id as request, r.amount_fen, r.cause, i.number as red_of, i.kind, i.buyer_kind, i.title, i.tax_no, i.email,
                   p.payment_id, p.succeeded_at as paid_at, o.legal_name, o.credit_code, l.name as lot
            from payments.invoice_red r
            join payments.invoice i on i.lane = r.lane and i.invoice_id = r.invoice_id
            join payments.payment p on p.lane = i.lane and p.payment_id = i.payment_id
            join payments.operator o on o.operator_id = i.operator_id
            join payments.lot l on l.lot_id = i.lot_id
            where r.lane = :lane and r.state = 'requested'
            order by r.red_id limit :limit for update of r skip locked
            """),
            {"lane": lane, "limit": limit},
        )
    )


def put_into_batch(
    tx: Connection, *, lane: int, batch_id: UUID, lines: int, digest: bytes, body: bytes, at: datetime,
    blue: Mapping[UUID, int], red: Sequence[UUID],
) -> None:  # fmt: skip
    """Write a batch and mark its requests, with the amounts of the blue ones."""
    given = {
        "lane": lane, "batch": batch_id, "lines": lines, "digest": digest, "body": body, "at": at, "blue": list(blue),
        "amounts": list(blue.values()), "red": list(red),
    }  # fmt: skip
    tx.execute(
        text("""
        with batch as (
            insert into payments.invoice_batch (batch_id, lane, lines, digest, body, made_at)
            values (:batch, :lane, :lines, :digest, :body, :at)
        ), reds as (
            update payments.invoice_red set state = 'handed_over', batch_id = :batch
            where lane = :lane and red_id = any(cast(:red as uuid[]))
        )
        update payments.invoice i set state = 'handed_over', batch_id = :batch, amount_fen = u.fen
        from unnest(cast(:blue as uuid[]), cast(:amounts as bigint[])) as u (invoice_id, fen)
        where i.lane = :lane and i.invoice_id = u.invoice_id
        """),
        given,
    )


def refuse(tx: Connection, *, lane: int, invoice_ids: Sequence[UUID], words: str, at: datetime) -> None:
    """End requests that nobody need be asked about. They are held by the caller."""
    tx.execute(
        text("""
        update payments.invoice set state = 'refused', refused_words = :words, answered_at = :at
        where lane = :lane and invoice_id = any(cast(:ids as uuid[]))
        """),
        {"lane": lane, "ids": list(invoice_ids), "words": words, "at": at},
    )


def undelivered(tx: Connection, *, lane: int, limit: int) -> list[tuple[UUID, bytes]]:
    """Return batches that the issuer has not got, the oldest first."""
    query = text("""
        select batch_id, body from payments.invoice_batch where lane = :lane and handed_over_at is null
        order by batch_id limit :limit
        """)
    return [(row.batch_id, bytes(row.body)) for row in tx.execute(query, {"lane": lane, "limit": limit})]


def delivered(tx: Connection, *, lane: int, batch_ids: Sequence[UUID], at: datetime) -> None:
    """Write down that the issuer has batches; what they said is forgotten, their digests stay."""
    tx.execute(
        text("""
        update payments.invoice_batch set handed_over_at = :at, body = null
        where lane = :lane and batch_id = any(cast(:ids as uuid[])) and handed_over_at is null
        """),
        {"lane": lane, "ids": list(batch_ids), "at": at},
    )


# Answers


def was_taken(tx: Connection, *, lane: int, digest: bytes) -> bool:
    """Say whether a file of answers was taken before, and nothing of it refused."""
    query = text("select 1 from payments.invoice_answer_file where lane = :lane and digest = :digest and refused = 0")
    return tx.execute(query, {"lane": lane, "digest": digest}).first() is not None


def keep_answer_file(
    tx: Connection, *, lane: int, digest: bytes, name: str, evidence_id: UUID, taken: int, refused: int, at: datetime
) -> None:  # fmt: skip
    tx.execute(
        text("""
        insert into payments.invoice_answer_file (digest, lane, name, evidence_id, taken, refused, taken_at)
        values (:digest, :lane, :name, :evidence, :taken, :refused, :at) on conflict (digest, lane) do nothing
        """),
        {
            "digest": digest, "lane": lane, "name": name[:200], "evidence": evidence_id, "taken": taken,
            "refused": refused, "at": at,
        },
    )  # fmt: skip


def hold(tx: Connection, *, lane: int, requests: Sequence[UUID]) -> dict[UUID, Held]:
    """Hold the requests that answers name, blue then red, each in the order of their ids."""
    given = {"lane": lane, "ids": sorted(set(requests))}
    blue = tx.execute(
        text("""
        select invoice_id as request, false as is_red, payment_id, kind, amount_fen, state, number, refused_words
        from payments.invoice where lane = :lane and invoice_id = any(cast(:ids as uuid[])) order by invoice_id for update
        """),
        given,
    )
    held = {row.request: Held(**row._mapping) for row in blue}
    red = tx.execute(
        text("""
        select r.red_id as request, true as is_red, i.payment_id, i.kind, r.amount_fen, r.state, r.number, r.refused_words
        from payments.invoice_red r join payments.invoice i on i.lane = r.lane and i.invoice_id = r.invoice_id
        where r.lane = :lane and r.red_id = any(cast(:ids as uuid[])) order by r.red_id for update of r
        """),
        given,
    )
    return held | {row.request: Held(**row._mapping) for row in red}


def numbers_in_use(tx: Connection, *, lane: int, numbers: Sequence[str]) -> dict[tuple[str, str], UUID]:
    """Return which invoices bear these numbers, by kind and number."""
    query = text(
        "select kind, number, invoice_id from payments.invoice where lane = :lane and number = any(cast(:numbers as text[]))"
    )
    rows = tx.execute(query, {"lane": lane, "numbers": sorted(set(numbers))})
    return {(row.kind, row.number): row.invoice_id for row in rows}


class Outcome(Struct, frozen=True, kw_only=True):
    """What an answer changes of a request."""

    request: UUID
    state: State
    number: str | None
    issued_at: datetime | None
    words: str | None


def answer(
    tx: Connection, *, lane: int, outcomes: Sequence[Outcome], evidence_id: UUID, tries_max: int, at: datetime
) -> None:  # fmt: skip
    """Write answers of blue and red requests. They are held by the caller.

    A red one that was refused is tried again after one hour, two, four, up to a day; the ``tries_max``-th try is the last.
    """
    given = {name: [getattr(one, name) for one in outcomes] for name in Outcome.__struct_fields__} | {
        "lane": lane, "evidence": evidence_id, "tries_max": tries_max, "at": at,
    }  # fmt: skip
    for statement in _ANSWER:
        tx.execute(statement, given)


_GIVEN: Final = """
    from unnest(cast(:request as uuid[]), cast(:state as text[]), cast(:number as text[]), cast(:issued_at as timestamptz[]),
                cast(:words as text[])) as u (request, state, number, issued_at, words)
"""
_SAID: Final = """
    state = u.state, number = u.number, issued_at = u.issued_at, refused_words = u.words, answered_at = :at, evidence_id = :evidence
"""
_ANSWER: Final = (
    text(f"update payments.invoice t set {_SAID} {_GIVEN} where t.lane = :lane and t.invoice_id = u.request"),
    text(f"""
    update payments.invoice_red t
    set {_SAID}, retry_at = case when u.state = 'refused' and t.try < :tries_max
                            then cast(:at as timestamptz) + least(power(2, t.try - 1) * interval '1 hour', interval '24 hours') end
    {_GIVEN} where t.lane = :lane and t.red_id = u.request
    """),
)


def keep_files(tx: Connection, *, lane: int, files: Sequence[File], at: datetime) -> None:
    """Keep structured originals as they came."""
    if files:
        tx.execute(
            text("""
            insert into payments.invoice_file (subject_id, lane, name, media_type, digest, body, kept_at)
            select subject_id, :lane, name, media_type, digest, body, :at
            from unnest(cast(:subject_id as uuid[]), cast(:name as text[]), cast(:media_type as text[]), cast(:digest as bytea[]),
                        cast(:body as bytea[])) as u (subject_id, name, media_type, digest, body)
            on conflict (subject_id, lane) do nothing
            """),
            {"lane": lane, "at": at} | {name: [getattr(one, name) for one in files] for name in File.__struct_fields__},
        )


# Red invoices


def look_back(tx: Connection) -> timedelta:
    """Return for how long after a payment any rule has refunds taken off invoices."""
    days = tx.execute(text("select coalesce(max(red_days), 1) from payments.invoice_rule")).scalar_one()
    return timedelta(days=int(days))


def reds_due(
    tx: Connection, *, lane: int, since: datetime | None, payment_ids: Sequence[UUID], at: datetime, limit: int
) -> list[tuple[UUID, int]]:  # fmt: skip
    """Return the issued invoices that say more than what is left of their payments, held, with by how much.

    Looked at are those of refunds done and payments taken back ``since`` a moment, and of these payments; each for as long after
    the payment as its rule says.
    """
    rows = tx.execute(
        text(f"""
        with moved as materialized (
            select payment_id from payments.refund where lane = :lane and state = 'done' and done_at >= cast(:since as timestamptz)
            union select payment_id from payments.payment where lane = :lane and taken_back_at >= cast(:since as timestamptz)
            union select unnest(cast(:ids as uuid[]))
        )
        select i.invoice_id, i.amount_fen - i.red_fen - x.left_fen as fen
        from moved m
        join payments.invoice i on i.lane = :lane and i.payment_id = m.payment_id
        join payments.invoice_rule u on u.rule_id = i.rule_id
        join payments.payment p on p.lane = i.lane and p.payment_id = i.payment_id
        cross join lateral (
            select case when p.taken_back_at is not null then 0 else p.taken_fen - {_BACK.format(states="= 'done'")} end as left_fen
        ) x
        where i.state = 'issued' and i.amount_fen - i.red_fen > x.left_fen
          and p.succeeded_at + u.red_days * interval '24 hours' >= :at
        order by i.invoice_id limit :limit for update of i skip locked
        """),
        {"lane": lane, "since": since, "ids": list(payment_ids), "at": at, "limit": limit},
    )
    return [(row.invoice_id, row.fen) for row in rows]


def insert_reds(
    tx: Connection, *, lane: int, red_ids: Sequence[UUID], invoice_ids: Sequence[UUID], fen: Sequence[int], at: datetime
) -> None:  # fmt: skip
    """Insert requests of red invoices. The invoices are held by the caller."""
    tx.execute(
        text("""
        with given as (
            select * from unnest(cast(:reds as uuid[]), cast(:invoices as uuid[]), cast(:fen as bigint[]))
                as u (red_id, invoice_id, fen)
        ), counted as (
            update payments.invoice i set red_fen = i.red_fen + g.fen from given g
            where i.lane = :lane and i.invoice_id = g.invoice_id
        )
        insert into payments.invoice_red (red_id, lane, invoice_id, amount_fen, asked_at, state)
        select red_id, :lane, invoice_id, fen, :at, 'requested' from given
        """),
        {"lane": lane, "reds": list(red_ids), "invoices": list(invoice_ids), "fen": list(fen), "at": at},
    )


class Again(Struct, frozen=True, kw_only=True):
    """A red invoice that was refused and is asked for anew."""

    red_id: UUID
    tries: int


def refused_reds(tx: Connection, *, lane: int, at: datetime, limit: int) -> list[Again]:
    """Hold the refused red invoices that are to be tried again now."""
    query = text("""
        select red_id, try as tries from payments.invoice_red where lane = :lane and retry_at <= :at
        order by retry_at, red_id limit :limit for update skip locked
        """)
    return [Again(**row._mapping) for row in tx.execute(query, {"lane": lane, "at": at, "limit": limit})]


def waiting_reds(
    tx: Connection, *, lane: int, requests: Sequence[UUID], lot_id: int | None, asked_on: date | None, limit: int
) -> list[Again]:
    """Hold refused red invoices that were not asked for anew: these, or all of a lot and a day. They begin from the first try."""
    query = text(f"""
        select r.red_id, 0 as tries
        from payments.invoice_red r join payments.invoice i on i.lane = r.lane and i.invoice_id = r.invoice_id
        where r.lane = :lane and r.state = 'refused' and r.again_id is null and {_NAMED.format(key="r.red_id", row="r")}
        order by r.red_id limit :limit for update of r skip locked
        """)
    given = {"lane": lane, "requests": list(requests), "lot": lot_id, "day": asked_on, "limit": limit}
    return [Again(**row._mapping) for row in tx.execute(query, given)]


_NAMED: Final = """
    (cast(:lot as integer) is null or i.lot_id = :lot)
    and (cast(:day as date) is null or ({row}.asked_at >= cast(:day as date)::timestamp at time zone 'Asia/Shanghai'
                                        and {row}.asked_at < (cast(:day as date) + 1)::timestamp at time zone 'Asia/Shanghai'))
    and (cardinality(cast(:requests as uuid[])) = 0 or {key} = any(cast(:requests as uuid[])))
"""


def ask_again(
    tx: Connection, *, lane: int, red_ids: Sequence[UUID], new_ids: Sequence[UUID], tries: Sequence[int], at: datetime
) -> None:  # fmt: skip
    """Ask anew for refused red invoices, under new ids, so that a late answer to the one before is not taken for theirs.

    ``tries`` were made so far. The refused ones are held by the caller.
    """
    tx.execute(
        text("""
        with given as (
            select * from unnest(cast(:reds as uuid[]), cast(:news as uuid[]), cast(:tries as integer[]))
                as u (red_id, new_id, tries)
        ), marked as (
            update payments.invoice_red r set retry_at = null, again_id = g.new_id from given g
            where r.lane = :lane and r.red_id = g.red_id
        )
        insert into payments.invoice_red (red_id, lane, invoice_id, amount_fen, asked_at, state, cause, try)
        select g.new_id, r.lane, r.invoice_id, r.amount_fen, :at, 'requested', r.cause, g.tries + 1
        from given g join payments.invoice_red r on r.lane = :lane and r.red_id = g.red_id
        """),
        {"lane": lane, "reds": list(red_ids), "news": list(new_ids), "tries": list(tries), "at": at},
    )


def stuck(tx: Connection, *, lane: int) -> int:
    """Return how many red invoices wait for a person."""
    query = text("""
        select count(*) from payments.invoice_red
        where lane = :lane and state = 'refused' and retry_at is null and again_id is null
        """)
    return int(tx.execute(query, {"lane": lane}).scalar_one())


# The list


class Listed(Struct, frozen=True, kw_only=True):
    """An invoice or red invoice as the staff lists it: without whom it is made out to."""

    request: UUID
    color: Literal["blue", "red"]
    kind: RuleKind
    state: ListedState
    payment_id: UUID
    lot_code: str
    amount_fen: int | None
    number: str | None
    tries: int
    asked_at: datetime
    retry_at: datetime | None
    words: str | None


def listed(
    tx: Connection, *, lane: int, state: ListedState | None, lot_id: int | None, asked_on: date | None, limit: int
) -> list[Listed]:
    """Return invoices and red invoices, the newest first; ``asked_on`` is a day in China. What was asked for anew is left out."""
    rows = tx.execute(
        text(f"""
        select * from (
            select i.invoice_id as request, 'blue' as color, i.kind,
                   case when i.replaced_at is null then i.state else 'replaced' end as state, i.payment_id, l.code as lot_code,
                   i.amount_fen, i.number, 1 as tries, i.asked_at, cast(null as timestamptz) as retry_at, i.refused_words as words
            from payments.invoice i join payments.lot l on l.lot_id = i.lot_id
            where i.lane = :lane and {_NAMED.format(key="i.invoice_id", row="i")}
            union all
            select r.red_id, 'red', i.kind, v.state, i.payment_id, l.code, r.amount_fen, r.number, r.try, r.asked_at, r.retry_at,
                   r.refused_words
            from payments.invoice_red r
            join payments.v_invoice_red v on v.lane = r.lane and v.red_id = r.red_id and v.state <> 'replaced'
            join payments.invoice i on i.lane = r.lane and i.invoice_id = r.invoice_id
            join payments.lot l on l.lot_id = i.lot_id
            where r.lane = :lane and {_NAMED.format(key="r.red_id", row="r")}
        ) found where cast(:state as text) is null or state = :state
        order by asked_at desc, request desc limit :limit
        """),
        {"lane": lane, "state": state, "lot": lot_id, "day": asked_on, "requests": [], "limit": limit},
    )
    return [Listed(**row._mapping) for row in rows]
