-- Channels: every outside message verbatim, and the dated merchant accounts (routes).

create schema gateways;

create table gateways.raw_message ( -- Every message from and to a channel, verbatim, kept before it is acted on
    received_at     timestamptz not null, -- When it arrived (or was sent)
    message_id      uuid not null, -- Time-ordered id; this is the evidence id that entries carry
    lane            smallint not null, -- Lane whose transaction keeps it
    channel         text not null, -- Channel: wechat, alipay, unionpay, etc
    operation       text not null, -- callback, prepay, query, close, bill, ...
    direction       text not null check (direction in ('in', 'out')), -- in: they called us; out: our request and their answer
    verdict         text not null, -- verified, refused, unreadable, unverified, unanswered
    reason          text, -- Why it was refused, in a stable word
    subject         uuid, -- Payment the message speaks of, when known
    headers         text not null, -- Header lines that matter for verifying it again, as JSON
    body            bytea not null, -- Body bytes exactly as received
    request         bytea, -- For direction out: the request we sent
    primary key (message_id, lane)
) partition by range (message_id);
create index raw_message_subject on gateways.raw_message (subject) where subject is not null;
alter table gateways.raw_message alter column body set storage external; -- ciphertext does not compress

create table gateways.raw_message_other partition of gateways.raw_message default;

create table gateways.merchant_account ( -- Dated route: where an operator's money of one channel goes
    route_id        integer generated always as identity primary key, -- Version of the route; stored with each payment
    operator_id     integer not null, -- Operator that is the payee
    channel         text not null, -- Channel
    merchant_no     text not null, -- The operator's own merchant number at the channel (WeChat: sub_mchid)
    sub_app_id      text, -- The operator's own AppID, where it has one
    payee_name      text not null, -- Legal payee name registered at the channel; equals the operator's legal name
    evidence        text not null, -- Document that proves the account
    valid           tstzrange not null, -- Period in which payments take this route
    created_at      timestamptz not null, -- When it was entered
    constraint one_route_at_a_time exclude using gist (operator_id with =, channel with =, valid with &&),
    constraint one_operator_per_merchant exclude using gist (channel with =, merchant_no with =, operator_id with <>, valid with &&)
);
create index merchant_account_number on gateways.merchant_account (channel, merchant_no);

create view gateways.v_message as
select lane, message_id, channel, operation, direction, verdict, reason, subject, received_at from gateways.raw_message;
comment on view gateways.v_message is 'Stored messages without their bytes';

grant usage on schema gateways to tongting_app;
grant select on gateways.v_message to tongting_app;
grant select, insert on gateways.raw_message, gateways.merchant_account to tongting_app;
grant update (valid) on gateways.merchant_account to tongting_app;
create trigger append_only_rows before update or delete on gateways.raw_message for each row execute function ledger.refuse_change_v1();
create trigger append_only_table before truncate on gateways.raw_message for each statement execute function ledger.refuse_change_v1();
