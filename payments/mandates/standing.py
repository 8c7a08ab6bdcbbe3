"""Which stays will be deducted without their driver doing anything: what a page may say before it offers wallets.

Knows entrances and what channels said last of plates; must not call a channel or decide a deduction. Called by the pages.
"""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from payments.mandates.deduction_store import SAME_STAY
from payments.records import Charge

_STANDING: Final = text("""
    select distinct g.charge_id, m.channel
    from unnest(cast(:ids as uuid[]), cast(:lots as integer[]), cast(:serials as text[]), cast(:plates as text[]),
                cast(:colors as text[]), cast(:entered as timestamptz[]))
      as g (charge_id, lot_id, serial, number, color, entered_at)
    join payments.plate p on p.number = g.number and (g.color in (p.color, 'unknown') or p.color = 'unknown')
    join payments.entrance e on e.plate_id = p.plate_id and e.lane = :lane and e.lot_id = g.lot_id
     and (e.lot_serial = g.serial or e.entered_at between g.entered_at - :near and g.entered_at + :near)
    join payments.mandate m on m.plate_id = p.plate_id and m.state = 'open' and m.channel = any(cast(:channels as text[]))
    """)


def by_charge(tx: Connection, *, lane: int, charges: Sequence[Charge], channels: Collection[str]) -> dict[UUID, list[str]]:
    """Return, of charges whose car still stands at the gate, the channels that will be asked to deduct them.

    That is so where the lot reported the car's entrance and a channel that takes money there (``channels``) said last that the
    plate may be deducted. It is no promise: a deduction can be refused, and then the charge is open as before.
    """
    standing = [charge for charge in charges if not charge.is_receivable]
    if not standing or not channels:
        return {}
    given = {
        "ids": [one.charge_id for one in standing], "lots": [one.lot_id for one in standing],
        "serials": [one.lot_serial for one in standing], "plates": [one.plate for one in standing],
        "colors": [one.plate_color for one in standing], "entered": [one.entered_at for one in standing],
        "lane": lane, "near": SAME_STAY, "channels": sorted(channels),
    }  # fmt: skip
    found: dict[UUID, list[str]] = {}
    for row in tx.execute(_STANDING, given):
        found.setdefault(row.charge_id, []).append(row.channel)
    return {charge_id: sorted(names) for charge_id, names in found.items()}
