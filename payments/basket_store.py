"""SQL of the baskets. Private to ``payments``; ``tx`` first, structs out, sets instead of rows."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from payments import store
from payments.records import Charge


class Basket(Struct, frozen=True, kw_only=True):
    """A basket as it is kept."""

    basket_id: UUID
    lane: int
    lot_id: int
    expires_at: datetime
    created_at: datetime


class NewPayment(Struct, frozen=True, kw_only=True):
    """An attempt to be inserted with its order."""

    payment_id: UUID
    order_id: UUID
    charge_id: UUID
    lot_id: int
    operator_id: int
    route_id: int
    merchant_no: str
    key_ref: str | None
    amount_fen: int
    payer_digest: bytes
    token_digest: bytes


def insert(
    tx: Connection, *, basket: Basket, digest: bytes, charge_ids: Sequence[UUID], parts: Sequence[int | None]
) -> bool:  # fmt: skip
    """Insert a basket with its charges unless its token is there already; says whether it did."""
    made = tx.execute(
        text("""
        with made as (
            insert into payments.basket (basket_id, lane, lot_id, token_digest, expires_at, created_at)
            values (:basket_id, :lane, :lot_id, :digest, :expires_at, :created_at)
            on conflict (token_digest, lane) do nothing
            returning basket_id, lane
        )
        insert into payments.basket_charge (basket_id, lane, number, charge_id, part_fen)
        select basket_id, lane, c.number, c.charge_id, c.part_fen
        from made, unnest(cast(:charges as uuid[]), cast(:parts as bigint[])) with ordinality as c (charge_id, part_fen, number)
        """),
        {
            "basket_id": basket.basket_id, "lane": basket.lane, "lot_id": basket.lot_id, "digest": digest,
            "expires_at": basket.expires_at, "created_at": basket.created_at, "charges": list(charge_ids),
            "parts": list(parts),
        },
    )  # fmt: skip
    return made.rowcount > 0


def by_digest(tx: Connection, *, lane: int, digest: bytes, lock: bool) -> Basket | None:
    """Return the basket of a token's digest, holding its row when ``lock``."""
    query = """
        select basket_id, lane, lot_id, expires_at, created_at from payments.basket
        where lane = :lane and token_digest = :digest
        """
    row = tx.execute(text(query + ("for update" if lock else "")), {"lane": lane, "digest": digest}).first()
    return None if row is None else Basket(**row._mapping)


def charge_ids(tx: Connection, *, basket: Basket) -> list[UUID]:
    """Return the ids of a basket's charges in their order."""
    rows = tx.execute(
        text("select charge_id from payments.basket_charge where lane = :lane and basket_id = :id order by number"),
        {"lane": basket.lane, "id": basket.basket_id},
    )
    return list(rows.scalars())


def parts(tx: Connection, *, basket: Basket) -> dict[UUID, int]:
    """Return how much of charges is paid, where it is not all that is due."""
    rows = tx.execute(
        text("""
        select charge_id, part_fen from payments.basket_charge where lane = :lane and basket_id = :id and part_fen is not null
        """),
        {"lane": basket.lane, "id": basket.basket_id},
    )
    return {row.charge_id: row.part_fen for row in rows}


def charges(tx: Connection, *, basket: Basket) -> list[Charge]:
    """Return a basket's charges in their order."""
    order = charge_ids(tx, basket=basket)
    found = {charge.charge_id: charge for charge in store.charges_by_ids(tx, lane=basket.lane, charge_ids=order)}
    return [found[charge_id] for charge_id in order]


def order_ids(tx: Connection, *, basket: Basket) -> list[UUID]:
    """Return the orders made for a basket."""
    rows = tx.execute(
        text("select order_id from payments.basket_order where lane = :lane and basket_id = :id order by order_id"),
        {"lane": basket.lane, "id": basket.basket_id},
    )
    return list(rows.scalars())


def insert_act(
    tx: Connection, *, basket: Basket, act_id: UUID | None, channel: str, provider_no: str, way: str, at: datetime,
    expires_at: datetime, next_query_at: datetime, payments: Sequence[NewPayment],
) -> None:  # fmt: skip
    """Insert the orders and attempts of one act, each with its first query, set by set."""
    given = {
        "lane": basket.lane, "basket": basket.basket_id, "act": act_id, "channel": channel, "provider": provider_no, "way": way,
        "at": at, "expires_at": expires_at, "query_at": next_query_at,
    } | {name: [getattr(one, name) for one in payments] for name in NewPayment.__struct_fields__}  # fmt: skip
    tx.execute(text(_INSERT_ACT), given)


_INSERT_ACT = """
with new as materialized (
    select * from unnest(cast(:payment_id as uuid[]), cast(:order_id as uuid[]), cast(:charge_id as uuid[]),
        cast(:lot_id as integer[]), cast(:operator_id as integer[]), cast(:route_id as integer[]), cast(:merchant_no as text[]),
        cast(:key_ref as text[]), cast(:amount_fen as bigint[]), cast(:payer_digest as bytea[]), cast(:token_digest as bytea[]))
        as n (payment_id, order_id, charge_id, lot_id, operator_id, route_id, merchant_no, key_ref, amount_fen, payer_digest,
              token_digest)
), ordered as (
    insert into payments.pay_order (order_id, lane, charge_id, lot_id, amount_fen, token_digest, expires_at, created_at)
    select order_id, :lane, charge_id, lot_id, amount_fen, token_digest, :expires_at, :at from new
), joined as (
    insert into payments.basket_order (order_id, lane, basket_id) select order_id, :lane, :basket from new
), tried as (
    insert into payments.payment (payment_id, order_id, charge_id, lane, operator_id, book_id, route_id, channel, provider_no,
                                  merchant_no, way, key_ref, amount_fen, state, payer_digest, created_at, expires_at, act_id)
    select n.payment_id, n.order_id, n.charge_id, :lane, n.operator_id, o.book_id, n.route_id, :channel, :provider, n.merchant_no,
           :way, n.key_ref, n.amount_fen, 'created', n.payer_digest, :at, :expires_at, cast(:act as uuid)
    from new n join payments.operator o on o.operator_id = n.operator_id
)
insert into payments.next_query (payment_id, lane, due_at) select payment_id, :lane, :query_at from new
"""
