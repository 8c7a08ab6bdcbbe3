"""Make debt files: a person of the staff says why, the look-up is written down, and then the file is made.

Knows people, plates and the steps of the making; must not know layout or SQL of what is gathered. Called by the command line.
"""

from datetime import datetime
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Engine

from ledger.errors import NotFound, Refused
from ledger.ids import Ids
from payments import lots, people, plates
from payments.fonts import Font
from payments.owed.debt_file import store
from payments.owed.debt_file.bundle import zipped
from payments.owed.debt_file.case import Case
from payments.owed.debt_file.gather import Raw, Request, gather
from payments.owed.debt_file.pdf import number, pdf


class DebtFile(Struct, frozen=True):
    """A file as PDF and as ZIP with everything beside it. ``number`` is printed on each page and names no plate."""

    number: str
    case: Case
    pdf: bytes
    zip: bytes


def make(
    db: Engine, *, lane: int, plate: str, plate_color: plates.PlateColor, operator_code: str, by: str, purpose: str, font: Font,
    at: datetime, ids: Ids,
) -> DebtFile:  # fmt: skip
    """Make the file of a plate's debts to an operator, the plate in full. The look-up is committed before anything is read.

    What is gathered is of one moment (repeatable read), and nothing is locked.

    Raises:
        NotAllowed: ``person_unknown``, ``person_may_not``.
        NotFound: ``operator_not_found``, ``plate_not_found``, ``debt_not_found``.
        Refused: ``purpose_missing``, ``plate_invalid``, ``file_too_large``.
    """
    if not 3 <= len(purpose.strip()) <= 500:
        raise Refused(
            "say what the file is for, such as the number of a court case, in 3 to 500 characters", code="purpose_missing"
        )
    checked = plates.checked(plate, plate_color)
    with db.begin() as tx:
        people.maker(tx, person_code=by, at=at)
        operator = lots.operator_by_code(tx, code=operator_code)
        plate_id = store.plate(tx, number=checked, color=plate_color)
        if plate_id is None:
            raise NotFound("no car with this plate has been here", code="plate_not_found")
        file_id: UUID = ids.new(at, f"look-up {plate_id} {operator.operator_id} {by} {purpose}")
        store.write_look_up(tx, lookup_id=file_id, plate_id=plate_id, by=by, purpose=purpose.strip(), at=at)
    asked = Request(
        file_id=file_id, plate_id=plate_id, plate=checked, plate_color=plate_color, operator=operator, by=by,
        purpose=purpose.strip(),
    )  # fmt: skip
    case, raw = _gathered(db, lane=lane, asked=asked, at=at)
    made = pdf(case, font)
    return DebtFile(number(file_id), case, made, zipped(case, made, raw))


def _gathered(db: Engine, *, lane: int, asked: Request, at: datetime) -> tuple[Case, list[Raw]]:
    with db.connect().execution_options(isolation_level="REPEATABLE READ") as tx, tx.begin():
        return gather(tx, lane=lane, asked=asked, at=at)
