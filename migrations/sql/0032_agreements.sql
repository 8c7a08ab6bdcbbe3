-- Mandates that drivers sign, with the words they agreed to.

create table payments.agreement_text ( -- A version of the words that drivers agree to; never changed, the next one replaces it from its date on
    text_id         uuid not null, -- Version, time-ordered; sealed in the tree under this id
    lane            smallint not null, -- Lane whose tree seals it
    valid_from      timestamptz not null, -- From when on it is shown
    document        text not null check (document <> ''), -- Approving document
    short_zh        text not null check (short_zh <> ''), -- The main points, one to a line, in Chinese
    long_zh         text not null check (long_zh <> ''), -- The whole, one paragraph to a line, in Chinese
    short_en        text not null check (short_en <> ''), -- The main points in English
    long_en         text not null check (long_en <> ''), -- The whole in English
    digest          bytea not null check (length(digest) = 32), -- SHA-256 of date, document and words, as it is sealed
    entered_at      timestamptz not null, -- When it was entered
    primary key (text_id, lane),
    unique (lane, valid_from)
);
create table payments.agreement ( -- A driver agreed that a channel takes the parking charges of a plate; what counts for deductions is the channel's own word
    agreement_id    uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane
    text_id         uuid not null, -- Words that were agreed to
    plate_id        bigint not null, -- Plate, with its colour
    channel         text not null, -- Channel that is to deduct
    merchant_no     text not null, -- Merchant number in whose name the channel is asked
    key_ref         text, -- The merchant's own keys, where it has such
    payer_digest    bytea not null check (length(payer_digest) = 32), -- SHA-256 of the channel's salt and the payer's id there
    page            text not null, -- Page on which it was agreed: leave-first, behind a slash the lot whose page led there
    language        text not null check (language in ('zh', 'en')), -- Language of the words that were read
    confirmed_at    timestamptz not null, -- When it was confirmed
    primary key (agreement_id, lane)
);
create index agreement_plate on payments.agreement (plate_id, channel);
create index agreement_payer on payments.agreement (payer_digest);
create table payments.agreement_event ( -- What became of an agreement; none: it was begun, and the channel has said nothing yet
    agreement_id    uuid not null, -- Agreement
    lane            smallint not null, -- Lane
    number          smallint not null check (number > 0), -- Place, from 1
    kind            text not null check (kind in ('open', 'none', 'ended', 'withdrawn')), -- open, none: the channel's word about plate and payer; ended: it had been open and nothing more is deducted; withdrawn: ended before it was ever open
    happened_at     timestamptz not null, -- When
    said_by         text not null check (said_by in ('channel', 'driver')), -- Who
    message_id      uuid, -- The channel's message, as evidence
    word            text, -- The channel's own word for why not
    primary key (agreement_id, number, lane)
);
create table payments.agreement_link ( -- Links to an agreement, which only its signer was given
    token_digest    bytea not null check (length(token_digest) = 32), -- SHA-256 of the token in the link
    lane            smallint not null, -- Lane
    agreement_id    uuid not null, -- Agreement
    made_at         timestamptz not null, -- When
    primary key (token_digest, lane)
);
create table payments.payer_salt ( -- Salt of the digests of payers, one per channel
    channel         text primary key, -- Channel
    salt            bytea not null check (length(salt) >= 16) -- Salt
);

do $$
declare t text;
begin
    foreach t in array array['agreement_text', 'agreement', 'agreement_event', 'agreement_link', 'payer_salt'] loop
        execute format('create trigger append_only_rows before update or delete on payments.%I for each row execute function ledger.refuse_change_v1()', t);
        execute format('create trigger append_only_table before truncate on payments.%I for each statement execute function ledger.refuse_change_v1()', t);
    end loop;
end $$;

create function payments.consent_ended_v1(plate_number text, plate_color text, over text) returns boolean language sql stable as $$
    select coalesce((
        select e.kind = 'ended'
        from payments.plate p
        join payments.agreement a on a.plate_id = p.plate_id and a.channel = over
        join payments.agreement_event e on e.lane = a.lane and e.agreement_id = a.agreement_id
        where p.number = plate_number and (p.color = plate_color or 'unknown' in (p.color, plate_color))
          and e.kind in ('open', 'ended') and e.happened_at >= coalesce(p.held_since, '-infinity')
        order by e.happened_at desc, e.kind limit 1
    ), false)
$$;
comment on function payments.consent_ended_v1 is 'Whether the last word of drivers about deducting from a plate over a channel is that it has ended; a colour that one side does not know fits every colour';

create function payments.keep_consent_v1() returns trigger language plpgsql as $$
begin
    if (select payments.consent_ended_v1(p.number, p.color, new.channel) from payments.plate p where p.plate_id = new.plate_id) then
        new.state := 'none';
    end if;
    return new;
end $$;
comment on function payments.keep_consent_v1 is 'What a driver has ended here, no channel''s word opens again: only a new agreement does';
create trigger consent_counts before insert or update of state on payments.mandate
for each row when (new.state = 'open') execute function payments.keep_consent_v1();

create view payments.v_agreement as
select a.agreement_id, a.lane, a.text_id, a.plate_id, a.channel, a.page, a.language, a.confirmed_at,
       coalesce((select e.kind from payments.agreement_event e where e.lane = a.lane and e.agreement_id = a.agreement_id
                 order by e.number desc limit 1), 'begun') as state
from payments.agreement a;
comment on view payments.v_agreement is 'Agreements of drivers and where each stands, without numbers of plates and without payers';

grant select, insert on payments.agreement_text, payments.agreement, payments.agreement_event, payments.agreement_link, payments.payer_salt to tongting_app;
grant select on payments.v_agreement to tongting_app;
