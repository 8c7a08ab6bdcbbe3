"""What a scanned code stands for, and whether it still counts: the one function that the pages ask.

Knows tokens, the registry and lots; must not know pages. One statement a scan, whatever the code.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection

from ledger.arrays import bigint, integer
from ledger.errors import NotFound
from ledger.volley import Question, Rows, Statement, ask
from payments import lots, paycode
from payments.codes.errors import CodeMoved, CodeOver, CodeReplaced, CodeReported, CodeRetired, CodeUnknown
from payments.codes.records import GOOD, WHOLE_LOT, Place, Scanned
from payments.paycode import LotCode, PayCodeRefused, WallCode

BEGUN_MINUTES: Final = timedelta(minutes=30)
"""So much longer than it is shown may a code of minutes be gone on with by whoever opened it in time."""
_REFUSALS: Final[Mapping[str, type[PayCodeRefused]]] = {
    "moved": CodeMoved, "retired": CodeRetired, "replaced": CodeReplaced, "reported": CodeReported,
}  # fmt: skip
_LOT: Final = """
    l.lot_id, l.operator_id, l.code, o.code as operator_code, o.legal_name as operator_name, l.name, l.district, l.address,
    l.berths, l.scene, l.tariff_text
"""
_WALL: Final = Statement(f"""
    select c.place, c.place_name, c.state, c.successor_no,
           exists (select from payments.v_code_report r where r.code_no = c.code_no and r.closed_at is null) as is_reported, {_LOT}
    from payments.pay_code c
    join payments.lot l on l.lot_id = c.lot_id
    join payments.operator o on o.operator_id = l.operator_id
    where c.code_no = %(code)s::bigint
    """)
_OWN: Final = Statement(f"""
    select exists (select from payments.v_code_report r
                   where r.lot_id = l.lot_id and r.code_no is null and r.closed_at is null) as is_reported, {_LOT}
    from payments.lot l join payments.operator o on o.operator_id = l.operator_id
    where l.lot_id = %(lot)s::integer
    """)


def scanned(
    tx: Connection, *, token: str, public_keys: Mapping[int, Ed25519PublicKey], at: datetime, begun: bool = False,
    and_commit: bool = False,
) -> Scanned:  # fmt: skip
    """Return what a scanned token stands for. ``begun``: its page was opened before, so a code of minutes has some longer.

    ``and_commit``: the transaction is over with it, which saves a message.

    A lot's own code of version 1 is not in the registry and counts as posted for the whole lot, as long as its key is in the ring.

    Raises:
        PayCodeRefused: not a code of ours, see ``paycode.read``; CodeUnknown, CodeRetired, CodeReplaced, CodeReported, CodeMoved,
            CodeOver: ours, but not to be paid with.
        NotFound: ``lot_not_found``, the lot is gone.
    """
    content = paycode.read(token, public_keys=public_keys)
    if isinstance(content, WallCode):
        return _on_wall(tx, content, and_commit=and_commit)
    if isinstance(content, LotCode):
        return _of_lot(tx, content, and_commit=and_commit)
    if at >= content.good_until + (BEGUN_MINUTES if begun else timedelta()):
        raise CodeOver(f"this code was good until {content.good_until.isoformat()}", lot_id=content.lot_id)
    return Scanned(lots.lot_by_id(tx, lot_id=content.lot_id), WHOLE_LOT, "posted", content)


def _of_lot(tx: Connection, content: LotCode, *, and_commit: bool) -> Scanned:
    row = ask(tx, Question(_OWN.shot(lot=integer(content.lot_id)), _first), and_commit=and_commit)
    if row is None:
        raise NotFound(f"there is no lot {content.lot_id}", code="lot_not_found")
    is_reported, *of_lot = row
    return Scanned(lots.lot_of(of_lot), WHOLE_LOT, "posted", content, is_reported)


def _on_wall(tx: Connection, content: WallCode, *, and_commit: bool) -> Scanned:
    row = ask(tx, Question(_WALL.shot(code=bigint(content.code_no)), _first), and_commit=and_commit)
    if row is None:
        raise CodeUnknown(f"there is no code {content.code_no}")
    place, place_name, state, successor_no, is_reported, *of_lot = row
    if state not in GOOD:
        successor = f", see {successor_no}" if successor_no else ""
        raise _REFUSALS[state](f"code {content.code_no} is {state}{successor}")
    return Scanned(lots.lot_of(of_lot), Place(place, place_name), state, content, is_reported)


def _first(rows: Rows) -> tuple[Any, ...] | None:
    return rows[0] if rows else None
