"""The questions that charges by card ask of PostgreSQL. Private to this room. Everything is set by set."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from gateways.contract import MerchantAccount
from gateways.etc.clearing import MerchantShare, Totals
from payments.cards.records import CHANNEL, CardRow, LetterRow, PackageRow

_CARD: Final = """
select r.record_id, r.number, r.operator_id, r.lot_id, r.charge_id, r.provider_no, r.merchant_no, r.service_no, r.issuer_no,
       r.fee_fen, r.happened_at, r.body, r.evidence_id, r.state, r.package_id, r.place, r.reason, r.file_no
from payments.card_record r
"""
_PACKAGE: Final = """
select package_id, number, service_no, issuer_no, clear_on, count, amount_fen, state, created_at, tries, booked_count, booked_fen,
       cleared_on
from payments.card_package
"""


def _columns(rows: Sequence[Any], *names: str) -> dict[str, list[Any]]:
    return {name: [getattr(row, name) for row in rows] for name in names}


# Intake


def insert_cards(tx: Connection, *, lane: int, rows: Sequence[CardRow], at: datetime) -> set[str]:
    """Insert records in the order given; returns the numbers that were new."""
    query = text("""
        insert into payments.card_record
            (record_id, lane, channel, number, operator_id, lot_id, charge_id, provider_no, merchant_no, service_no, issuer_no,
             fee_fen, happened_at, body, evidence_id, state, created_at)
        select record_id, :lane, :channel, number, operator_id, lot_id, charge_id, provider_no, merchant_no, service_no, issuer_no,
               fee_fen, happened_at, body, evidence_id, 'new', :at
        from unnest(cast(:record_id as uuid[]), cast(:number as text[]), cast(:operator_id as integer[]),
                    cast(:lot_id as integer[]), cast(:charge_id as uuid[]), cast(:provider_no as text[]),
                    cast(:merchant_no as text[]), cast(:service_no as text[]), cast(:issuer_no as text[]),
                    cast(:fee_fen as bigint[]), cast(:happened_at as timestamptz[]), cast(:body as bytea[]),
                    cast(:evidence_id as uuid[]))
             as n (record_id, number, operator_id, lot_id, charge_id, provider_no, merchant_no, service_no, issuer_no, fee_fen,
                   happened_at, body, evidence_id)
        on conflict (number, channel, lane) do nothing
        returning number
        """)
    given = _columns(
        rows, "record_id", "number", "operator_id", "lot_id", "charge_id", "provider_no", "merchant_no", "service_no", "issuer_no",
        "fee_fen", "happened_at", "body", "evidence_id",
    )  # fmt: skip
    return set(tx.execute(query, {"lane": lane, "channel": CHANNEL, "at": at} | given).scalars())


def cards_by_number(tx: Connection, *, lane: int, numbers: Sequence[str]) -> dict[str, CardRow]:
    query = text(_CARD + "where r.lane = :lane and r.channel = :channel and r.number = any(:numbers)")
    found = tx.execute(query, {"lane": lane, "channel": CHANNEL, "numbers": list(numbers)})
    return {row.number: CardRow(**row._mapping) for row in found}


def insert_payments(
    tx: Connection, *, lane: int, rows: Sequence[CardRow], orders: Sequence[UUID], digests: Sequence[tuple[bytes, bytes]],
    route: MerchantAccount, at: datetime, expires_at: datetime,
) -> None:  # fmt: skip
    """Insert for each record its order and its payment, which waits for the issuer; the digests are of link token and payer.

    Nobody is asked about such a payment: what the clearing party says of its package decides it.
    """
    given = {
        "lane": lane, "at": at, "expires_at": expires_at, "channel": CHANNEL, "route_id": route.route_id,
        "operator_id": route.operator_id, "merchant_no": route.merchant_no, "key_ref": route.key_ref,
        "orders": list(orders), "tokens": [token for token, _ in digests], "payers": [payer for _, payer in digests],
    } | _columns(rows, "record_id", "charge_id", "lot_id", "fee_fen", "provider_no")  # fmt: skip
    tx.execute(
        text("""
        insert into payments.pay_order (order_id, lane, charge_id, lot_id, amount_fen, token_digest, expires_at, created_at)
        select order_id, :lane, charge_id, lot_id, fee_fen, token, :expires_at, :at
        from unnest(cast(:orders as uuid[]), cast(:charge_id as uuid[]), cast(:lot_id as integer[]), cast(:fee_fen as bigint[]),
                    cast(:tokens as bytea[])) as n (order_id, charge_id, lot_id, fee_fen, token)
        """),
        given,
    )
    tx.execute(
        text("""
        insert into payments.payment (payment_id, order_id, charge_id, lane, operator_id, book_id, route_id, channel, provider_no,
                                      merchant_no, way, key_ref, amount_fen, state, payer_digest, created_at, expires_at)
        select record_id, order_id, charge_id, :lane, o.operator_id, o.book_id, :route_id, :channel, provider_no, :merchant_no,
               'card', :key_ref, fee_fen, 'pending', payer, :at, :expires_at
        from unnest(cast(:record_id as uuid[]), cast(:orders as uuid[]), cast(:charge_id as uuid[]), cast(:fee_fen as bigint[]),
                    cast(:payers as bytea[]), cast(:provider_no as text[]))
             as n (record_id, order_id, charge_id, fee_fen, payer, provider_no)
        join payments.operator o on o.operator_id = :operator_id
        """),
        given,
    )


# Packages


def lock_new(tx: Connection, *, lane: int, limit: int) -> list[tuple[CardRow, datetime]]:
    """Lock records that are in no package, oldest first, with when they were taken; those that another packer holds are left."""
    query = text(
        _CARD.replace("r.file_no\n", "r.file_no, r.created_at\n")
        + "where r.lane = :lane and r.state = 'new' order by r.created_at, r.record_id limit :limit for update skip locked"
    )
    rows = [dict(row._mapping) for row in tx.execute(query, {"lane": lane, "limit": limit})]
    return [(CardRow(**{name: row[name] for name in CardRow.__struct_fields__}), row["created_at"]) for row in rows]


def insert_packages(tx: Connection, *, lane: int, rows: Sequence[PackageRow], at: datetime) -> None:
    """Insert packages, due at once."""
    query = text("""
        insert into payments.card_package
            (package_id, lane, channel, number, service_no, issuer_no, clear_on, count, amount_fen, state, created_at, due_at)
        values (:package_id, :lane, :channel, :number, :service_no, :issuer_no, :clear_on, :count, :amount_fen, 'packed', :at,
                :at)
        """)
    names = ("package_id", "number", "service_no", "issuer_no", "clear_on", "count", "amount_fen")
    given = {"lane": lane, "channel": CHANNEL, "at": at}
    tx.execute(query, [given | {name: getattr(row, name) for name in names} for row in rows])


def put_into(tx: Connection, *, lane: int, places: Sequence[tuple[UUID, UUID, int]]) -> None:
    """Put records (id, package, place) into packages."""
    tx.execute(
        text("""
        update payments.card_record r set state = 'packed', package_id = n.package_id, place = n.place
        from unnest(cast(:records as uuid[]), cast(:packages as uuid[]), cast(:places as integer[]))
             as n (record_id, package_id, place)
        where r.lane = :lane and r.record_id = n.record_id
        """),
        {
            "lane": lane, "records": [one for one, _, _ in places], "packages": [one for _, one, _ in places],
            "places": [one for _, _, one in places],
        },
    )  # fmt: skip


def claim_packages(tx: Connection, *, lane: int, at: datetime, until: datetime, limit: int) -> list[PackageRow]:
    """Claim packages that are due, the oldest first, and count the try; from now on each is one that may have arrived."""
    query = text("""
        with due as materialized (
            select package_id from payments.card_package
            where lane = :lane and due_at <= :at and (claimed_until is null or claimed_until <= :at)
            order by due_at, package_id limit :limit for update skip locked
        )
        update payments.card_package k
        set claimed_until = :until, tries = tries + 1, state = 'sent', sent_at = coalesce(sent_at, :at)
        from due where k.lane = :lane and k.package_id = due.package_id
        returning k.package_id, k.number, k.service_no, k.issuer_no, k.clear_on, k.count, k.amount_fen, k.state, k.created_at,
                  k.tries, k.booked_count, k.booked_fen, k.cleared_on
        """)
    rows = tx.execute(query, {"lane": lane, "at": at, "until": until, "limit": limit})
    return sorted((PackageRow(**row._mapping) for row in rows), key=lambda row: row.package_id)


def answer_package(
    tx: Connection, *, lane: int, package_id: UUID, state: str, reason: str | None, due_at: datetime | None,
    clear_on: date | None, acked_at: datetime | None,
) -> bool:  # fmt: skip
    """Write what an answer led to, and give the package back; says whether it moved: one decided meanwhile keeps its state."""
    moved = tx.execute(
        text("""
        update payments.card_package
        set state = :state, reason = :reason, due_at = :due_at, claimed_until = null, clear_on = coalesce(:clear_on, clear_on),
            acked_at = coalesce(acked_at, :acked_at)
        where lane = :lane and package_id = :id and state = 'sent'
        """),
        {
            "lane": lane, "id": package_id, "state": state, "reason": reason, "due_at": due_at, "clear_on": clear_on,
            "acked_at": acked_at,
        },
    ).rowcount  # fmt: skip
    if not moved:
        release = text(
            "update payments.card_package set due_at = null, claimed_until = null where lane = :lane and package_id = :id"
        )
        tx.execute(release, {"lane": lane, "id": package_id})
    return moved == 1


def set_cards(tx: Connection, *, lane: int, package_id: UUID, state: str) -> None:
    """Give all records of a package a state."""
    query = text("update payments.card_record set state = :state where lane = :lane and package_id = :id")
    tx.execute(query, {"lane": lane, "id": package_id, "state": state})


def take_out(tx: Connection, *, lane: int, number: str) -> int:
    """Take the records of a rejected package out of it, so that they are packed anew; returns how many."""
    query = text("""
        update payments.card_record r set state = 'new', package_id = null, place = null
        from payments.card_package k
        where k.lane = :lane and k.channel = :channel and k.number = :number and k.state = 'rejected'
          and r.lane = k.lane and r.package_id = k.package_id and r.state = 'rejected'
        """)
    return tx.execute(query, {"lane": lane, "channel": CHANNEL, "number": number}).rowcount


def unbooked(tx: Connection, *, lane: int, before: datetime) -> list[PackageRow]:
    """Return packages without a booking result that were acknowledged before an instant.

    Also those that were sent before it and wait for a person: the clearing party may have had them all the same.
    """
    query = text(
        _PACKAGE
        + """
        where lane = :lane
          and ((state = 'acked' and acked_at <= :before) or (state = 'sent' and due_at is null and sent_at <= :before))
        order by package_id
        """
    )
    return [PackageRow(**row._mapping) for row in tx.execute(query, {"lane": lane, "before": before})]


def latest(tx: Connection, *, lane: int, state: str | None, limit: int) -> list[PackageRow]:
    """Return the newest packages, the newest first; with ``state`` those in it alone."""
    query = text(
        _PACKAGE + "where lane = :lane and (cast(:state as text) is null or state = :state) order by package_id desc limit :limit"
    )
    return [PackageRow(**row._mapping) for row in tx.execute(query, {"lane": lane, "state": state, "limit": limit})]


def cards_of(tx: Connection, *, lane: int, package_id: UUID) -> list[CardRow]:
    """Return the records of a package in their places."""
    query = text(_CARD + "where r.lane = :lane and r.package_id = :id order by r.place")
    return [CardRow(**row._mapping) for row in tx.execute(query, {"lane": lane, "id": package_id})]


# What the clearing party says


def lock_packages(tx: Connection, *, lane: int, numbers: Sequence[str]) -> dict[str, PackageRow]:
    """Lock packages in the order of their ids."""
    query = text(_PACKAGE + "where lane = :lane and channel = :channel and number = any(:numbers) order by package_id for update")
    found = tx.execute(query, {"lane": lane, "channel": CHANNEL, "numbers": list(numbers)})
    return {row.number: PackageRow(**row._mapping) for row in found}


def book_package(
    tx: Connection, *, lane: int, package_id: UUID, booked: Totals, reasons: Mapping[int, int], evidence: UUID
) -> None:
    """Write an issuer's decision: the places with their reasons are disputed, all others booked."""
    given = {"lane": lane, "id": package_id, "places": list(reasons), "reasons": list(reasons.values())}
    tx.execute(
        text("""
        update payments.card_record r
        set state = case when d.place is null then 'booked' else 'disputed' end, reason = d.reason
        from payments.card_record o
        left join unnest(cast(:places as integer[]), cast(:reasons as smallint[])) as d (place, reason) on d.place = o.place
        where o.lane = :lane and o.package_id = :id and r.lane = o.lane and r.record_id = o.record_id
        """),
        given,
    )
    tx.execute(
        text("""
        update payments.card_package
        set state = 'booked', booked_count = :count, booked_fen = :fen, booked_evidence_id = :evidence, due_at = null
        where lane = :lane and package_id = :id
        """),
        {"lane": lane, "id": package_id, "count": booked.count, "fen": booked.amount_fen, "evidence": evidence},
    )


def disputed(tx: Connection, *, lane: int, numbers: Sequence[str]) -> dict[tuple[str, int], CardRow]:
    """Return the records still in dispute of packages, by number and place. The packages are held by the caller."""
    query = text(
        _CARD.replace("r.file_no\n", "r.file_no, k.number as package_no\n")
        + """
        join payments.card_package k on k.lane = r.lane and k.package_id = r.package_id
        where k.lane = :lane and k.channel = :channel and k.number = any(:numbers) and r.state = 'disputed'
        """
    )
    found: dict[tuple[str, int], CardRow] = {}
    for row in tx.execute(query, {"lane": lane, "channel": CHANNEL, "numbers": list(numbers)}):
        card = CardRow(**{name: getattr(row, name) for name in CardRow.__struct_fields__})
        assert card.place is not None, "what is in dispute is in a package"
        found[row.package_no, card.place] = card
    return found


def settle_disputes(tx: Connection, *, lane: int, states: Mapping[UUID, str], file_no: str) -> None:
    """Write how disputes ended."""
    tx.execute(
        text("""
        update payments.card_record r set state = n.state, file_no = :file_no
        from unnest(cast(:ids as uuid[]), cast(:states as text[])) as n (record_id, state)
        where r.lane = :lane and r.record_id = n.record_id
        """),
        {"lane": lane, "file_no": file_no, "ids": list(states), "states": list(states.values())},
    )


def file_digest(tx: Connection, *, lane: int, file_no: str) -> bytes | None:
    """Return the digest of a dispute file that came before, or None."""
    query = text("select digest from payments.card_dispute_file where lane = :lane and channel = :channel and file_no = :no")
    return tx.execute(query, {"lane": lane, "channel": CHANNEL, "no": file_no}).scalar_one_or_none()


def insert_file(
    tx: Connection, *, lane: int, file_no: str, digest: bytes, released: Totals, bad: Totals, evidence: UUID, at: datetime
) -> None:  # fmt: skip
    tx.execute(
        text("""
        insert into payments.card_dispute_file (file_no, lane, channel, digest, released_count, released_fen, bad_count, bad_fen,
                                                evidence_id, told_at)
        values (:no, :lane, :channel, :digest, :released, :released_fen, :bad, :bad_fen, :evidence, :at)
        """),
        {
            "no": file_no, "lane": lane, "channel": CHANNEL, "digest": digest, "released": released.count,
            "released_fen": released.amount_fen, "bad": bad.count, "bad_fen": bad.amount_fen, "evidence": evidence, "at": at,
        },
    )  # fmt: skip


def released_files(tx: Connection, *, lane: int, file_nos: Sequence[str]) -> dict[str, Totals]:
    """Return what dispute files released that no statistics have listed, locking them."""
    query = text("""
        select file_no, released_count, released_fen from payments.card_dispute_file
        where lane = :lane and channel = :channel and file_no = any(:nos) and cleared_on is null order by file_no for update
        """)
    found = tx.execute(query, {"lane": lane, "channel": CHANNEL, "nos": list(file_nos)})
    return {row.file_no: Totals(row.released_count, row.released_fen) for row in found}


def clearing_digest(tx: Connection, *, lane: int, clear_on: date) -> bytes | None:
    """Return the digest of a date's statistics that came before, or None. Holds the date for the transaction."""
    tx.execute(
        text("select pg_advisory_xact_lock(hashtext('card clearing ' || :lane || :day))"), {"lane": str(lane), "day": f"{clear_on}"}
    )
    query = text("select digest from payments.card_clearing where lane = :lane and channel = :channel and clear_on = :day")
    return tx.execute(query, {"lane": lane, "channel": CHANNEL, "day": clear_on}).scalar_one_or_none()


def merchants_of(tx: Connection, *, lane: int, numbers: Sequence[str], file_nos: Sequence[str]) -> dict[str, Totals]:
    """Return what is paid to each merchant by what was booked in packages and released in files."""
    query = text("""
        select r.merchant_no, count(*) as times, sum(r.fee_fen)::bigint as fen
        from payments.card_record r join payments.card_package k on k.lane = r.lane and k.package_id = r.package_id
        where r.lane = :lane and r.channel = :channel
          and ((r.state = 'booked' and k.number = any(:numbers)) or (r.state = 'released' and r.file_no = any(:files)))
        group by r.merchant_no order by r.merchant_no
        """)
    found = tx.execute(query, {"lane": lane, "channel": CHANNEL, "numbers": list(numbers), "files": list(file_nos)})
    return {row.merchant_no: Totals(row.times, row.fen) for row in found}


def clear(
    tx: Connection, *, lane: int, clear_on: date, digest: bytes, totals: Totals, fee_fen: int | None, numbers: Sequence[str],
    file_nos: Sequence[str], shares: Sequence[MerchantShare], evidence: UUID, at: datetime,
) -> None:  # fmt: skip
    """Write statistics that agree: the date, what each merchant is paid, and which packages and files they cover."""
    given = {"lane": lane, "channel": CHANNEL, "day": clear_on}
    tx.execute(
        text("""
        insert into payments.card_clearing (clear_on, lane, channel, digest, count, amount_fen, fee_fen, evidence_id, told_at)
        values (:day, :lane, :channel, :digest, :count, :fen, :fee, :evidence, :at)
        """),
        given | {
            "digest": digest, "count": totals.count, "fen": totals.amount_fen, "fee": fee_fen, "evidence": evidence, "at": at
        },
    )  # fmt: skip
    if shares:
        tx.execute(
            text("""
            insert into payments.card_clearing_share
                (clear_on, lane, channel, merchant_no, count, amount_fen, fee_fen, net_fen, pay_on, bank_ref)
            values (:day, :lane, :channel, :merchant_no, :count, :amount_fen, :fee_fen, :net_fen, :pay_on, :bank_ref)
            """),
            [given | {name: getattr(share, name) for name in MerchantShare.__struct_fields__} for share in shares],
        )
    for table, column, names in (("card_package", "number", numbers), ("card_dispute_file", "file_no", file_nos)):
        listed = f"lane = :lane and channel = :channel and {column} = any(:names)"
        tx.execute(text(f"update payments.{table} set cleared_on = :day where {listed}"), given | {"names": list(names)})


# Letters


def insert_letter(tx: Connection, *, lane: int, row: LetterRow, at: datetime) -> bool:
    """Insert a letter, due at once; says whether it is new: a request of the same day is there already."""
    query = text("""
        insert into payments.card_letter
            (letter_id, lane, channel, number, kind, answers_no, evidence_id, asked_on, content, created_at, due_at)
        values (:letter_id, :lane, :channel, :number, :kind, :answers_no, :evidence_id, :asked_on, :content, :at, :at)
        on conflict (asked_on, channel, lane) where kind = 'resend' do nothing
        """)
    names = ("letter_id", "number", "kind", "answers_no", "evidence_id", "asked_on", "content")
    given = {"lane": lane, "channel": CHANNEL, "at": at} | {name: getattr(row, name) for name in names}
    return tx.execute(query, given).rowcount == 1


def claim_letter(tx: Connection, *, lane: int, at: datetime, until: datetime) -> LetterRow | None:
    """Claim the letter that has been due longest, and count the try; None when nothing is due."""
    query = text("""
        with due as materialized (
            select letter_id from payments.card_letter
            where lane = :lane and due_at <= :at and (claimed_until is null or claimed_until <= :at)
            order by due_at, letter_id limit 1 for update skip locked
        )
        update payments.card_letter l set claimed_until = :until, tries = tries + 1
        from due where l.lane = :lane and l.letter_id = due.letter_id
        returning l.letter_id, l.number, l.kind, l.content, l.answers_no, l.evidence_id, l.asked_on, l.tries
        """)
    row = tx.execute(query, {"lane": lane, "at": at, "until": until}).one_or_none()
    return None if row is None else LetterRow(**row._mapping)


def letter_tried(
    tx: Connection, *, lane: int, letter_id: UUID, due_at: datetime | None, reason: str | None, at: datetime
) -> None:  # fmt: skip
    """Write what came of a try: it arrived, or it is due again. One that arrived meanwhile stays so."""
    query = text("""
        update payments.card_letter
        set due_at = :due_at, reason = :reason, claimed_until = null,
            done_at = case when cast(:due_at as timestamptz) is null then cast(:at as timestamptz) end
        where lane = :lane and letter_id = :id and done_at is null
        """)
    tx.execute(query, {"lane": lane, "id": letter_id, "due_at": due_at, "reason": reason, "at": at})
