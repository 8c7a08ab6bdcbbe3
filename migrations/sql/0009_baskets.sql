-- Baskets: several charges of several operators, paid in as few acts as the channels allow. Each leg stays a payment of its own.

create table payments.basket ( -- A payer's intent to pay several charges
    basket_id       uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane
    lot_id          integer not null, -- Lot whose code was scanned: where the payer came from
    token_digest    bytea not null, -- SHA-256 of the link token of the basket's page (the token has at least 128 random bits)
    expires_at      timestamptz not null, -- Until then its charges can be paid over this page
    created_at      timestamptz not null, -- When it was made
    primary key (basket_id, lane),
    unique (token_digest, lane)
);
create table payments.basket_charge ( -- A charge in a basket, in the order in which the payer sees them
    basket_id       uuid not null, -- Basket
    lane            smallint not null, -- Lane of the basket
    number          smallint not null, -- Place, from 1
    charge_id       uuid not null, -- Charge
    primary key (basket_id, number, lane),
    unique (basket_id, charge_id, lane)
);
create table payments.basket_order ( -- An order made for a charge of a basket; another one follows when its price lock is over
    order_id        uuid not null, -- Order
    lane            smallint not null, -- Lane of the basket
    basket_id       uuid not null, -- Basket
    primary key (order_id, lane)
);
create index basket_order_basket on payments.basket_order (basket_id);

alter table payments.payment add column act_id uuid; -- The combined order that this payment is a leg of: paid in one act with its others
comment on column payments.payment.act_id is 'The combined order that this payment is a leg of: paid in one act with its others';
create index payment_act on payments.payment (act_id) where act_id is not null;

grant select, insert on payments.basket, payments.basket_charge, payments.basket_order to tongting_app;
grant update (expires_at) on payments.basket to tongting_app; -- so that a basket's row can be held while an act is made
grant update (body) on payments.hand_off to tongting_app; -- a link to a wallet may live shorter than its order
