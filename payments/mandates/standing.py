"""Which stays will be deducted without their driver doing anything: what a page may say before it offers wallets.

Knows entrances and what channels said last of plates; must not call a channel or decide a deduction. Called by the pages.
"""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from ledger.arrays import instants, integers, interval, smallint, texts, uuids
from ledger.volley import Question, Rows, Statement, ask
from payments.mandates.deduction_store import SAME_STAY
from payments.records import Charge

_STANDING: Final = Statement("""
    select distinct g.charge_id, m.channel
    from unnest(%(ids)s::uuid[], %(lots)s::integer[], %(serials)s::text[], %(plates)s::text[], %(colors)s::text[],
                %(entered)s::timestamptz[])
      as g (charge_id, lot_id, serial, number, color, entered_at)
    join payments.plate p on p.number = g.number and (g.color in (p.color, 'unknown') or p.color = 'unknown')
    join payments.entrance e on e.plate_id = p.plate_id and e.lane = %(lane)s::smallint and e.lot_id = g.lot_id
     and (e.lot_serial = g.serial or e.entered_at between g.entered_at - %(near)s::interval and g.entered_at + %(near)s::interval)
    join payments.mandate m on m.plate_id = p.plate_id and m.state = 'open' and m.channel = any(%(channels)s::text[])
    """)


def by_charge(tx: Connection, *, lane: int, charges: Sequence[Charge], channels: Collection[str]) -> dict[UUID, list[str]]:
    """Return, of charges whose car still stands at the gate, the channels that will be asked to deduct them.

    That is so where the lot reported the car's entrance and a channel that takes money there (``channels``) said last that the
    plate may be deducted. It is no promise: a deduction can be refused, and then the charge is open as before.
    """
    return ask(tx, who_will_deduct(lane=lane, charges=charges, channels=channels))


def who_will_deduct(
    *, lane: int, charges: Sequence[Charge], channels: Collection[str]
) -> Question[dict[UUID, list[str]]]:  # fmt: skip
    """As ``by_charge``."""
    at_gate = [charge for charge in charges if not charge.is_receivable]
    shot = _STANDING.shot(
        ids=uuids([one.charge_id for one in at_gate]), lots=integers([one.lot_id for one in at_gate]),
        serials=texts([one.lot_serial for one in at_gate]), plates=texts([one.plate for one in at_gate]),
        colors=texts([one.plate_color for one in at_gate]), entered=instants([one.entered_at for one in at_gate]),
        lane=smallint(lane), near=interval(SAME_STAY), channels=texts(sorted(channels)),
    )  # fmt: skip
    return Question(shot, _by_charge)


def _by_charge(rows: Rows) -> dict[UUID, list[str]]:
    found: dict[UUID, list[str]] = {}
    for charge_id, channel in sorted(rows):
        found.setdefault(charge_id, []).append(channel)
    return found
