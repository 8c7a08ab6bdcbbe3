"""Codes on screens: one stay, or one set of debts, that whoever reads the code pays without typing a plate.

Knows charges of one lot and the tokens that name them; must not know pages or HTTP. Called by the API, the command line and the
pages. A code names charges of the lot that asked for it and proves nothing else: no plate's other stays are shown with it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection

from ledger.errors import Refused
from ledger.ids import Ids
from payments import store as charge_rows
from payments.codes import store
from payments.codes.registry import WORDS_MAX
from payments.errors import AlreadyPaid, ChargeUnknown
from payments.lots import Lot
from payments.paycode import BasketCode, StayCode
from payments.records import Charge
from payments.splitting import splits

MINUTES_MAX: Final = 60
MINUTES: Final = 10
"""How long a code is good when nothing is said: from the screen to the phone."""
CHARGES_MAX: Final = 50


class Shown(Struct, frozen=True):
    """What a screen's code stands for now: its charges, the oldest stay first, whatever their state."""

    charges: tuple[Charge, ...]

    @property
    def due(self) -> list[Charge]:
        """Those of which something is due."""
        return [charge for charge in self.charges if charge.state == "open"]


def stay(tx: Connection, *, lane: int, lot: Lot, serial: str, minutes: int, at: datetime) -> StayCode:
    """Return the code of one charge of a lot, by the lot's own serial. Writes nothing.

    A stay that was cut for several payees is named by its first part and paid whole.

    Raises:
        ChargeUnknown: the lot has no such charge, whatever another lot has.
        AlreadyPaid: nothing is due of it. Refused: ``code_minutes_invalid``.
    """
    good_until = _until(at, minutes)
    found = _open(tx, lane, lot, [serial])
    return StayCode(lot.lot_id, found[0].charge_id, good_until)


def basket(
    tx: Connection, *, lane: int, lot: Lot, serials: Sequence[str], minutes: int, by: str, at: datetime, ids: Ids
) -> BasketCode:
    """Return the code of several charges of a lot, by the lot's own serials, and keep which they are.

    Raises:
        ChargeUnknown: the lot has not all of these. AlreadyPaid: nothing is due of any.
        Refused: ``code_minutes_invalid``; ``basket_size``, none or too many; ``code_words_invalid``.
    """
    good_until = _until(at, minutes)
    wanted = list(dict.fromkeys(serials))
    if not 0 < len(wanted) <= CHARGES_MAX:
        raise Refused(f"a code stands for 1 to {CHARGES_MAX} charges, not {len(wanted)}", code="basket_size")
    if not by.strip() or len(by) > WORDS_MAX:
        raise Refused("say who asks for the code", code="code_words_invalid")
    found = _open(tx, lane, lot, wanted)
    if len(found) > CHARGES_MAX:
        raise Refused(f"a code stands for 1 to {CHARGES_MAX} charges, and these are cut into {len(found)}", code="basket_size")
    charge_ids = [charge.charge_id for charge in sorted(found, key=lambda one: (one.entered_at, one.charge_id))]
    set_id = ids.new(at, f"code set {lot.lot_id} {' '.join(map(str, charge_ids))}")
    store.insert_set(tx, set_id=set_id, lane=lane, lot_id=lot.lot_id, charge_ids=charge_ids, by=by, at=at)
    return BasketCode(lot.lot_id, set_id, good_until)


def opened(tx: Connection, *, lane: int, code: StayCode | BasketCode) -> Shown:
    """Return what a scanned code of minutes stands for now.

    Raises:
        ChargeUnknown: the lot of the code has no such charge: a charge of another lot is never shown or paid with it.
    """
    if isinstance(code, BasketCode):
        ids = store.set_of(tx, set_id=code.set_id, lane=lane, lot_id=code.lot_id)
    else:
        group = splits.group_of(tx, lane=lane, charge_id=code.charge_id)
        ids = [code.charge_id] if group is None else group.charge_ids
    found = {charge.charge_id: charge for charge in charge_rows.charges_by_ids(tx, lane=lane, charge_ids=ids)} if ids else {}
    if not ids or any(one not in found or found[one].lot_id != code.lot_id for one in ids):
        raise ChargeUnknown("the lot of this code has no such charge")
    return Shown(tuple(found[one] for one in ids))


def _open(tx: Connection, lane: int, lot: Lot, serials: Sequence[str]) -> list[Charge]:
    """Return what the lot's charges of these serials are, parts of split stays by themselves; all of them, if some of it is due."""
    found = splits.charges_of(tx, lane=lane, lot_id=lot.lot_id, serials=serials)
    if missing := [serial for serial in serials if not found.get(serial)]:
        raise ChargeUnknown(f"lot {lot.code} has no charge {missing[0][:64]!r}")
    charges = [charge for serial in serials for charge in found[serial]]
    if all(charge.state != "open" for charge in charges):
        raise AlreadyPaid("nothing is due of this any more")
    return charges


def _until(at: datetime, minutes: int) -> datetime:
    if not 1 <= minutes <= MINUTES_MAX:
        raise Refused(f"a code is good for 1 to {MINUTES_MAX} minutes", code="code_minutes_invalid")
    return (at + timedelta(minutes=minutes)).replace(second=0, microsecond=0)
