-- Webhooks 事件推送: events of the outbox are pushed to the systems of lots and operators.

-- The fan-out reads all lots' events in the order in which they became final.
create index outbox_told on payments.outbox (transaction_id, event_id);

create table payments.webhook ( -- An address of a lot's or an operator's system that events are pushed to
    webhook_id      uuid primary key, -- Time-ordered id
    lane            smallint not null, -- Lane of the operator's book
    operator_id     integer not null references payments.operator, -- Operator
    lot_id          integer references payments.lot, -- Lot; null: all lots of the operator
    url             text not null, -- Address that is called
    kinds           text[] not null check (cardinality(kinds) > 0), -- Kinds of events: names, families such as payment.*, or * for all
    state           text not null check (state in ('active', 'paused', 'disabled', 'ended')), -- active; paused: events wait; disabled: by us, see reason; ended: by its owner, for good
    reason          text, -- Why it is disabled, for its owner
    secret          bytea not null, -- Secret that messages are signed with, encrypted (AES-SIV) with the installation's key
    old_secret      bytea, -- Secret before the last rotation, encrypted; signs as well until old_until
    old_until       timestamptz, -- End of the overlap
    from_transaction xid8 not null default pg_snapshot_xmin(pg_current_snapshot()), -- Events of earlier transactions are not pushed by themselves, only replayed
    checked_from    xid8 not null default pg_snapshot_xmin(pg_current_snapshot()), -- Since that transaction its kinds are as they are: the standing checks look at later events
    failing_since   timestamptz, -- First failure after the last success; null: the last call succeeded
    created_at      timestamptz not null, -- When it was entered
    created_by      text not null, -- API client, or the person at the command line
    changed_at      timestamptz not null, -- When its owner or we changed it last
    ended_at        timestamptz, -- When it ended
    check ((state = 'disabled') <= (reason is not null)),
    check ((state = 'ended') = (ended_at is not null)),
    check ((old_secret is null) = (old_until is null))
);
create unique index webhook_once on payments.webhook (operator_id, lot_id, url) nulls not distinct where state <> 'ended';

create table payments.webhook_cursor ( -- How far the events of a lane have been given to webhooks
    lane            smallint primary key, -- Lane
    transaction_id  xid8 not null, -- Transaction of the last event
    event_id        uuid not null -- The last event
);

create table payments.webhook_delivery ( -- An event that a webhook is to get, and what became of it
    delivery_id     bigint generated always as identity primary key, -- Number, in the order of the events
    webhook_id      uuid not null, -- Webhook
    lane            smallint not null, -- Lane of the event
    lot_id          integer not null, -- Lot of the event
    transaction_id  xid8 not null, -- Transaction of the event: with lot and id its key in the outbox
    event_id        uuid not null, -- Event
    order_key       uuid not null, -- Charge that the event is about: one after the other; other charges go beside it
    kind            text not null, -- Kind of the event
    is_replay       boolean not null, -- Asked for again by a person or the owner's system
    created_at      timestamptz not null, -- When it was put in line
    attempts        smallint not null default 0, -- Calls made
    last_status     smallint, -- Status of the last answer; null: there was none
    last_ms         integer, -- How long the last call took, in milliseconds
    last_error      text, -- Why the last call did not succeed
    delivered_at    timestamptz, -- When it was accepted
    parked_at       timestamptz, -- When it was given up; a replay sends it again
    check (delivered_at is null or parked_at is null)
) with (fillfactor = 85);
create index webhook_delivery_of on payments.webhook_delivery (webhook_id, delivery_id);
create index webhook_delivery_parked on payments.webhook_delivery (webhook_id, delivery_id) where parked_at is not null;

create table payments.webhook_due ( -- Deliveries that are still to be made; small, so that the looking is cheap
    delivery_id     bigint primary key, -- Delivery
    webhook_id      uuid not null, -- Webhook
    order_key       uuid not null, -- Charge: of several, only the first is sent
    next_at         timestamptz not null, -- When it is tried next
    claimed_until   timestamptz -- A worker is sending it until then
) with (fillfactor = 70);
create index webhook_due_next on payments.webhook_due (webhook_id, next_at, delivery_id);
create index webhook_due_order on payments.webhook_due (webhook_id, order_key, delivery_id);

create table payments.webhook_try ( -- One call
    delivery_id     bigint not null, -- Delivery
    number          smallint not null, -- First, second ... call
    tried_at        timestamptz not null, -- When it was made
    status          smallint, -- Status of the answer; null: there was none
    failure         text, -- Why there was none: timeout, address_refused, dns, connect, tls, broken
    excerpt         text not null, -- Beginning of the answer, or what went wrong
    ms              integer not null, -- How long it took, in milliseconds
    primary key (delivery_id, number)
);

create view payments.v_webhook as
select w.webhook_id, w.lane, w.operator_id, w.lot_id, l.code as lot_code, o.code as operator_code, w.url, w.kinds, w.state, w.reason,
       w.old_until, w.failing_since, w.created_at, w.created_by, w.changed_at, w.ended_at
from payments.webhook w
join payments.operator o on o.operator_id = w.operator_id
left join payments.lot l on l.lot_id = w.lot_id;
comment on view payments.v_webhook is 'Webhooks without their secrets';

grant select, insert on payments.webhook, payments.webhook_cursor, payments.webhook_delivery, payments.webhook_due, payments.webhook_try
    to tongting_app;
grant update (url, kinds, state, reason, secret, old_secret, old_until, from_transaction, checked_from, failing_since, changed_at, ended_at)
    on payments.webhook to tongting_app;
grant update (transaction_id, event_id) on payments.webhook_cursor to tongting_app;
grant update (attempts, last_status, last_ms, last_error, delivered_at, parked_at) on payments.webhook_delivery to tongting_app;
grant update (next_at, claimed_until), delete on payments.webhook_due to tongting_app;
grant select on payments.v_webhook to tongting_app;
