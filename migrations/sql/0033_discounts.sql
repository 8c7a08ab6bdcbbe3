-- Discounts 优惠: what shops and others take off stays, by validating a car or by coupons, and who bears it. Source: docs/DISCOUNTS.md.

create table payments.discount_offer ( -- A rule by which something is taken off a stay; never changed: another one has another code
    offer_id        uuid not null, -- Time-ordered id, and that of its sealed document
    lane            smallint not null, -- Lane
    code            text not null check (code <> ''), -- Code that merchants and coupons name it by
    kind            text not null check (kind in ('validation', 'coupon')), -- validation: a merchant names a car; coupon: the driver has a code
    words           text not null check (words <> ''), -- What it is, as the payer reads it
    words_en        text not null check (words_en <> ''), -- The same in English
    bearer_id       integer references payments.bearer, -- Who pays it in place of the driver; null: the operator itself, a plain discount
    document        text not null check (document <> ''), -- Agreement or approval
    valid_from      timestamptz not null, -- Uses count from then on
    valid_until     timestamptz not null, -- Nothing is put on from then on
    minutes         integer check (minutes > 0), -- Free minutes that the fen stand for; null: it is not said in minutes
    off_fen         bigint check (off_fen > 0), -- Takes so many fen off
    off_bps         integer check (off_bps between 1 and 10000), -- Or a share of what is left, in hundredths of a percent
    cap_fen         bigint check (cap_fen > 0), -- So many fen at most, where it is a share
    stack_group     text check (stack_group <> ''), -- Of offers of one group one counts, the best for the driver; null: it is in none
    is_alone        boolean not null, -- It counts beside no other offer
    lot_ids         integer[], -- Lots it counts at; null: all
    operator_ids    integer[], -- Operators it counts at; null: all
    scenes          text[], -- Scenes it counts for; null: all
    uses_max        integer check (uses_max > 0), -- So many stays at most in all; null: no limit
    plate_uses_max  integer check (plate_uses_max > 0), -- So many stays of one plate at most; null: no limit
    entered_at      timestamptz not null, -- When it was entered
    primary key (offer_id, lane),
    unique (code, lane),
    check (valid_from < valid_until),
    check ((off_fen is null) <> (off_bps is null)),
    check (cap_fen is null or off_bps is not null),
    check (minutes is null or off_fen is not null)
);

create table payments.discount_grant ( -- The right to one offer: a validated car, or a coupon
    grant_id        uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane
    offer_id        uuid not null, -- Offer
    lot_id          integer, -- Lot of a validated car; null: a coupon
    plate_id        bigint, -- Plate of a validated car
    entered_at      timestamptz, -- When the stay began that was named; null: the plate was
    client_id       text, -- Client that validated
    serial          text check (serial <> ''), -- The merchant's own number of the validation: the idempotency key
    content_digest  bytea check (length(content_digest) = 32), -- SHA-256 of the validation, to tell a repeat from a change
    code_digest     bytea check (length(code_digest) = 32), -- SHA-256 of a coupon's code, which is kept nowhere
    valid_until     timestamptz not null, -- Nothing is put on from then on
    uses_max        integer not null check (uses_max > 0), -- So many stays it counts for
    used            integer not null default 0 check (used >= 0), -- For so many it counts now
    cancelled_at    timestamptz, -- When it was cancelled; null: it was not
    created_at      timestamptz not null, -- When it was given
    primary key (grant_id, lane),
    unique (lot_id, client_id, serial, lane),
    unique (code_digest, lane),
    check (used <= uses_max),
    check ((code_digest is null) = (lot_id is not null and plate_id is not null and client_id is not null and serial is not null
                                    and content_digest is not null)),
    check (code_digest is null or (lot_id is null and plate_id is null and entered_at is null)),
    check (cancelled_at is null or used = 0)
) with (fillfactor = 80);
create index discount_grant_waiting on payments.discount_grant (lot_id, plate_id) where lot_id is not null and used = 0 and cancelled_at is null;
create index discount_grant_offer on payments.discount_grant (offer_id);

create table payments.discount_effect ( -- What a grant takes off a charge: put on, and perhaps taken off again before anybody paid
    effect_id       uuid not null, -- Time-ordered id: source of the borne part
    lane            smallint not null, -- Lane
    use_id          uuid not null, -- The use it belongs to: one stay, which may owe several charges
    grant_id        uuid not null, -- Grant
    charge_id       uuid not null, -- Charge
    amount_fen      bigint not null check (amount_fen > 0), -- What it takes off, in fen
    is_final        boolean not null, -- Nothing was left to pay: it stands for good
    put_on_at       timestamptz not null, -- When it was put on
    hold_until      timestamptz, -- If nobody has paid by then it is taken off again; null: it waits for the driver
    taken_off_at    timestamptz, -- When it was taken off; null: it is in effect
    taken_off_why   text check (taken_off_why in ('cancelled', 'not_paid', 'superseded', 'reckoned_anew')), -- Why
    primary key (effect_id, lane),
    check ((taken_off_at is null) = (taken_off_why is null)),
    check (not is_final or taken_off_at is null)
) with (fillfactor = 80);
create unique index discount_effect_once on payments.discount_effect (grant_id, charge_id, lane) where taken_off_at is null;
create index discount_effect_grant on payments.discount_effect (grant_id) where taken_off_at is null;
create index discount_effect_charge on payments.discount_effect (charge_id) where taken_off_at is null;
create index discount_effect_held on payments.discount_effect (hold_until) where taken_off_at is null and hold_until is not null and not is_final;

create table payments.borne_part_fallen ( -- Borne parts that fell before they were earned: they are never claimed
    part_id         uuid not null, -- Part
    lane            smallint not null, -- Lane
    fallen_at       timestamptz not null, -- When
    primary key (part_id, lane)
);

do $$
declare t text;
begin
    foreach t in array array['discount_offer', 'borne_part_fallen'] loop
        execute format('create trigger append_only_rows before update or delete on payments.%I for each row execute function ledger.refuse_change_v1()', t);
        execute format('create trigger append_only_table before truncate on payments.%I for each statement execute function ledger.refuse_change_v1()', t);
    end loop;
end $$;

create view payments.v_discount as
select e.lane, e.effect_id, e.charge_id, e.amount_fen, e.put_on_at, e.is_final, g.grant_id, o.code, o.kind, o.words, o.words_en,
       o.bearer_id
from payments.discount_effect e
join payments.discount_grant g on g.lane = e.lane and g.grant_id = e.grant_id
join payments.discount_offer o on o.lane = g.lane and o.offer_id = g.offer_id
where e.taken_off_at is null;
comment on view payments.v_discount is 'What is taken off charges by discounts that are in effect, without plates and codes';

grant select, insert on payments.discount_offer, payments.discount_grant, payments.discount_effect, payments.borne_part_fallen to tongting_app;
grant update (used, cancelled_at) on payments.discount_grant to tongting_app;
grant update (hold_until, taken_off_at, taken_off_why) on payments.discount_effect to tongting_app;
grant select on payments.v_discount to tongting_app;
