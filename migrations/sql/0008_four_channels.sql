-- What several channels need: how a payment is ordered, whose keys sign it, bills of single merchants with their own day.

alter table gateways.merchant_account
    add column mode text not null default 'provider' check (mode in ('provider', 'direct')), -- Under the platform's number at the channel, or the operator's own
    add column key_ref text, -- Names the operator's own keys in the channel's ring; null: the platform's
    add check (mode = 'provider' or key_ref is not null);
comment on column gateways.merchant_account.mode is 'Under the platform''s number at the channel (provider), or under the operator''s own keys (direct)';
comment on column gateways.merchant_account.key_ref is 'Names the operator''s own keys in the channel''s ring; null: the platform''s';

alter table payments.payment
    add column way text not null default 'in_wallet', -- How payer and order come together, see gateways.contract.Way
    add column key_ref text; -- Of the route: whose keys ask for this payment
comment on column payments.payment.way is 'How payer and order come together: in_wallet, browser, code, scanned, deduction';
comment on column payments.payment.key_ref is 'Of the route: whose keys ask for this payment';

alter table reconciliation.bill
    add column merchant_no text not null default '', -- Merchant whose bill it is; empty: all merchants of the provider
    add column begins_at timestamptz, -- First moment of the bill's day
    add column ends_at timestamptz; -- First moment after it
comment on column reconciliation.bill.merchant_no is 'Merchant whose bill it is; empty: all merchants of the provider';
comment on column reconciliation.bill.begins_at is 'First moment of the bill''s day, where it is not midnight in China';
comment on column reconciliation.bill.ends_at is 'First moment after it';
alter table reconciliation.bill
    drop constraint bill_channel_kind_provider_no_bill_on_version_key,
    drop constraint bill_channel_kind_provider_no_bill_on_digest_key,
    add unique (channel, kind, provider_no, merchant_no, bill_on, version),
    add unique (channel, kind, provider_no, merchant_no, bill_on, digest);
alter table reconciliation.refused_bill add column merchant_no text not null default ''; -- Merchant whose bill was asked for
comment on column reconciliation.refused_bill.merchant_no is 'Merchant whose bill was asked for; empty: all merchants of the provider';

create view gateways.v_merchant as
select route_id, operator_id, channel, merchant_no, mode, key_ref, lower(valid) as valid_from, upper(valid) as valid_until
from gateways.merchant_account;
comment on view gateways.v_merchant is 'Merchant accounts, past and future';
create view payments.v_order as
select lane, payment_id, channel, merchant_no, way, key_ref, created_at, expires_at, succeeded_at, trade_no from payments.payment;
comment on view payments.v_order is 'How payments are known at their channels';
grant select on gateways.v_merchant, payments.v_order to tongting_app;

-- The route that a payment's money took is part of what is sealed: the second form of an entry's record holds it.
alter table ledger.posting add column route_id integer not null default 0; -- Version of the route (merchant account) that the money took; 0: none
comment on column ledger.posting.route_id is 'Version of the route (merchant account) that the money took; 0: none, as in the first form of the record';
create or replace view ledger.v_posting as
select p.lane, p.entry_id, p.line, get_byte(uuid_send(p.entry_id), 15) as kind, p.book_id, p.debit_account, p.credit_account,
       p.amount_fen, p.happened_at, p.booked_on, p.evidence_id, b.booked_at, p.batch_id, p.position,
       s.seal_id, s.first_index + p.position as leaf_index, p.route_id
from ledger.posting p
join ledger.batch b on b.lane = p.lane and b.batch_id = p.batch_id
left join ledger.sealed_batch s on s.lane = p.lane and s.batch_id = p.batch_id;
