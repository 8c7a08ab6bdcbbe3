-- What the citizen pays.

create schema payments;

create table payments.operator ( -- A lot operator: the payee, and the owner of one book
    operator_id     integer primary key, -- Number of the operator
    lane            smallint not null, -- Lane of its book
    book_id         integer not null unique references ledger.book, -- Its book
    code            text not null unique, -- Public code in addresses and files
    legal_name      text not null, -- Legal name; every payee name must equal it
    credit_code     text not null unique, -- Unified social credit code (18 characters)
    district        text not null, -- District of the city
    regime          text not null check (regime in ('government', 'soe', 'institution', 'social')), -- Fee regime of the operator's lots
    created_at      timestamptz not null -- When it was registered
);

create table payments.lot ( -- A car park
    lot_id          integer primary key, -- Number of the lot
    operator_id     integer not null references payments.operator, -- Operator
    code            text not null unique, -- Public code, printed on the pay code sheet
    name            text not null, -- Name as drivers know it
    district        text not null, -- District
    address         text not null, -- Address
    berths          integer not null check (berths > 0), -- Number of berths
    scene           text not null check (scene in ('gate', 'on_street', 'hospital', 'shared', 'charging')), -- Kind of lot
    tariff_text     text not null, -- Tariff in one plain Chinese sentence, shown on the page
    created_at      timestamptz not null -- When it was registered
);
create index lot_operator on payments.lot (operator_id);

create table payments.plate ( -- The only place that holds number plates
    plate_id        bigint generated always as identity primary key, -- Key used everywhere else
    number          text not null, -- Number, upper case, without separators
    color           text not null check (color in ('blue', 'green', 'yellow', 'black', 'white', 'limegreen', 'unknown')), -- Colour of the plate
    salt            bytea not null, -- Salt of the plate's digest; erasing it unlinks every digest
    unique (number, color)
);

create table payments.charge ( -- What one stay owes to one operator
    charge_id       uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane of the operator's book
    operator_id     integer not null, -- Payee
    lot_id          integer not null, -- Lot of the stay
    lot_serial      text not null, -- The lot's own serial of the charge: the idempotency key
    content_digest  bytea not null, -- SHA-256 of the content, to tell a repeat from a change
    plate_id        bigint not null, -- Plate
    scene           text not null, -- Scene of the charge
    entered_at      timestamptz not null, -- When the car came in
    left_at         timestamptz, -- When it left; null while it stands at the gate
    minutes         integer not null check (minutes >= 0), -- Minutes charged for
    amount_fen      bigint not null check (amount_fen > 0), -- Amount due in fen
    tariff_text     text not null, -- Explanation of the amount by the lot
    state           text not null check (state in ('open', 'settled')), -- open: due; settled: paid once
    settled_by      uuid, -- Payment that settled it
    settled_at      timestamptz, -- When the payer paid
    created_at      timestamptz not null, -- When it was posted to us
    primary key (charge_id, lane),
    unique (lot_id, lot_serial, lane),
    check ((state = 'settled') = (settled_by is not null))
) with (fillfactor = 80);
create index charge_open on payments.charge (lot_id, plate_id) where state = 'open';

create table payments.pay_order ( -- A payer's intent: one quoted price, one or several attempts
    order_id        uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane
    charge_id       uuid not null, -- Charge to be paid
    lot_id          integer not null, -- Lot whose code was scanned
    amount_fen      bigint not null check (amount_fen > 0), -- Price locked for the payer, in fen
    token_digest    bytea not null, -- SHA-256 of the link token of the result page (the token has at least 128 random bits)
    expires_at      timestamptz not null, -- End of the price lock
    created_at      timestamptz not null, -- When it was made
    primary key (order_id, lane),
    unique (token_digest, lane)
);
create index pay_order_charge on payments.pay_order (charge_id);

create table payments.payment ( -- One attempt over one channel; its id is the channel's order number
    payment_id      uuid not null, -- Time-ordered id; written as 28 characters it is out_trade_no
    order_id        uuid not null, -- Order
    charge_id       uuid not null, -- Charge
    lane            smallint not null, -- Lane of the operator's book
    operator_id     integer not null, -- Payee
    book_id         integer not null, -- Payee's book
    route_id        integer not null, -- Version of the route (merchant account) used
    channel         text not null, -- Channel
    provider_no     text not null, -- Service provider's number at the channel under which it is ordered
    merchant_no     text not null, -- Merchant number the money goes to
    amount_fen      bigint not null check (amount_fen > 0), -- Amount ordered in fen
    state           text not null check (state in ('created', 'pending', 'unknown', 'closed', 'failed', 'succeeded')), -- See docs; moves forward only
    payer_digest    bytea not null, -- SHA-256 of the order id and the payer's id at the channel: tells the same payer's second tap from another payer
    hand_off        bytea, -- What the payer's page needs to call up the wallet, as JSON
    trade_no        text, -- Channel's trade number, once paid
    taken_fen       bigint check (taken_fen > 0), -- Amount the channel took in fen, once paid
    succeeded_at    timestamptz, -- When the channel says the money was taken
    created_at      timestamptz not null, -- When the attempt was made
    expires_at      timestamptz not null, -- Last moment the payer can pay
    next_query_at   timestamptz, -- When the channel is asked next; null when nothing is open
    queries         smallint not null default 0, -- Queries made so far
    claimed_until   timestamptz, -- A worker holds the payment until then
    primary key (payment_id, lane),
    check ((state = 'succeeded') = (trade_no is not null and taken_fen is not null and succeeded_at is not null))
) with (fillfactor = 80);
create index payment_charge on payments.payment (charge_id);
create index payment_order on payments.payment (order_id);
create index payment_due on payments.payment (next_query_at) where next_query_at is not null;

create table payments.payment_fact ( -- Money taken by a channel: booked exactly once
    happened_at     timestamptz not null, -- When the money was taken
    amount_fen      bigint not null check (amount_fen > 0), -- Amount taken in fen
    payment_id      uuid not null, -- Attempt it belongs to
    evidence_id     uuid not null, -- Stored message that proves it
    lane            smallint not null, -- Lane
    treatment       text not null check (treatment in ('settled', 'second_payment', 'amount_differs')), -- How it was booked
    channel         text not null, -- Channel
    merchant_no     text not null, -- Merchant number that received it
    trade_no        text not null, -- Channel's trade number
    primary key (trade_no, merchant_no, channel, lane)
);
create index payment_fact_payment on payments.payment_fact (payment_id);

create table payments.payment_case ( -- Something a person or a later rule must finish: a refund due, a message that does not fit
    case_id         uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane
    kind            text not null check (kind in ('refund_second_payment', 'amount_differs', 'notice_amount_differs', 'merchant_differs', 'currency_differs', 'trade_differs', 'order_unknown')), -- What it is
    channel         text not null, -- Channel
    order_no        text not null, -- Order number as the channel names it
    payment_id      uuid, -- Payment, when known
    operator_id     integer, -- Operator, when known
    amount_fen      bigint, -- Amount in question in fen
    evidence_id     uuid not null, -- Message that opened it
    state           text not null default 'open' check (state in ('open', 'closed')), -- open until finished
    opened_at       timestamptz not null, -- When it was opened
    detail          text not null, -- What was expected and what came, in words
    primary key (case_id, lane)
);
create unique index payment_case_once on payments.payment_case (order_no, kind, channel, lane);

create table payments.outbox ( -- Events for the lots and operators, written with the fact they tell of
    event_id        uuid not null, -- Time-ordered id; with the transaction the reader's cursor
    transaction_id  xid8 not null default pg_current_xact_id(), -- Transaction that wrote it: readers stop below the oldest open one, so nothing is skipped
    lane            smallint not null, -- Lane
    operator_id     integer not null, -- Operator that may read it
    lot_id          integer not null, -- Lot concerned
    subject         uuid not null, -- Charge or payment the event is about
    kind            text not null, -- payment.succeeded, payment.suspended, ...
    body            bytea not null, -- Event as JSON, as the reader gets it
    primary key (event_id, lane)
);
create index outbox_lot on payments.outbox (lot_id, transaction_id, event_id);

create view payments.v_payment as
select p.lane, p.payment_id, p.charge_id, p.operator_id, p.book_id, p.route_id, p.channel, p.merchant_no, p.amount_fen,
       p.state, p.trade_no, p.succeeded_at, p.created_at, c.lot_id, c.lot_serial, l.code as lot_code, l.name as lot_name
from payments.payment p
join payments.charge c on c.lane = p.lane and c.charge_id = p.charge_id
join payments.lot l on l.lot_id = c.lot_id;
comment on view payments.v_payment is 'Payments with the stay they pay for, without plates';

create view payments.v_payment_fact as
select f.lane, f.channel, f.merchant_no, f.trade_no, f.payment_id, f.amount_fen, f.happened_at, f.treatment, f.evidence_id,
       p.operator_id, p.book_id, p.charge_id, p.provider_no
from payments.payment_fact f
join payments.payment p on p.lane = f.lane and p.payment_id = f.payment_id;
comment on view payments.v_payment_fact is 'Money facts with their operator and book';

create view payments.v_operator as
select operator_id, lane, book_id, code, legal_name, credit_code, district, regime from payments.operator;
comment on view payments.v_operator is 'Operators and their books';

create view payments.v_case as
select lane, case_id, kind, channel, order_no, payment_id, operator_id, amount_fen, evidence_id, state, opened_at, detail
from payments.payment_case;
comment on view payments.v_case is 'What a person or a later rule must finish';

grant usage on schema payments to tongting_app;
grant select, insert on all tables in schema payments to tongting_app;
grant update on payments.charge, payments.payment, payments.plate, payments.lot, payments.operator to tongting_app;
grant update (expires_at) on payments.pay_order to tongting_app; -- so that an order's row can be held while an attempt is made
grant update (state) on payments.payment_case to tongting_app;
create trigger append_only_rows before update or delete on payments.payment_fact for each row execute function ledger.refuse_change_v1();
create trigger append_only_table before truncate on payments.payment_fact for each statement execute function ledger.refuse_change_v1();
