"""The stand-in's file outlives its program: what an older one wrote is taken up."""

import sqlite3
from pathlib import Path

from gateways.sandbox.wechat.state import Handle, State

OLD = """
create table pay_order (
    order_no text primary key, merchant_no text not null, app_id text not null, sub_app_id text, description text not null,
    attach text, amount_fen integer not null check (amount_fen > 0), openid text not null, notify_url text not null,
    content blob not null, expires_at integer not null, created_at integer not null, state text not null default 'NOTPAY',
    trade_no text unique, paid_at integer, fee_fen integer) without rowid;
create table prepay (prepay_id text primary key, order_no text not null) without rowid;
create table notice (
    notice_id text primary key, order_no text not null, due_at integer not null, attempts integer not null default 0,
    state text not null default 'waiting', faults blob not null) without rowid;
insert into pay_order
    values ('P00001', '1620000007', 'wx1', null, 'd', null, 1200, 'o', 'https://n', x'7b7d', 9, 1, 'SUCCESS', '42', 5, 7);
insert into prepay values ('wx1', 'P00001');
insert into notice values ('EV-1', 'P00001', 5, 0, 'waiting', x'5b5d');
"""


def test_a_file_from_before_combined_orders_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.db"
    with sqlite3.connect(path) as old:
        old.executescript(OLD)
    old.close()
    for _ in range(2):
        state = State(path)
        order = state.order("P00001")
        assert order is not None
        assert (order.trade_type, order.combined_no, order.fee_fen) == ("JSAPI", None, 7)
        assert state.handle("wx1") == Handle(prepay_id="wx1", order_no="P00001", made_at=0, combined_no=None)
        assert [(notice.notice_id, notice.combined_no, notice.event) for notice in state.due_notices(5, 9)] == [
            ("EV-1", None, None)
        ]
        assert state.legs("C00001") == []
        state.close()
