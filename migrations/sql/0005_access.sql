-- Clients of the API.

create schema access;

create table access.client ( -- A machine that may ask for tokens
    client_id       text primary key, -- Public id
    secret_digest   bytea not null, -- scrypt of the secret with the salt
    salt            bytea not null, -- Salt of the digest
    scope           text not null check (scope in ('lot', 'operator', 'district', 'city')), -- What the client may see
    lot_id          integer, -- Lot, for scope lot
    operator_id     integer, -- Operator, for scope lot and operator
    district        text, -- District, for scope district
    created_at      timestamptz not null, -- When it was made
    ended_at        timestamptz, -- When it was switched off
    check ((lot_id is not null) = (scope = 'lot')),
    check ((operator_id is not null) = (scope in ('lot', 'operator'))),
    check ((district is not null) = (scope = 'district'))
);

grant usage on schema access to tongting_app;
grant select, insert on access.client to tongting_app;
grant update (ended_at) on access.client to tongting_app;
