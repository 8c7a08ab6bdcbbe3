"""Who is paid and where cars stand: operators 停车场经营主体 with their books, and lots 停车场.

Knows the registry tables of payments and opens books in the ledger; must not know channels, pages or charges.
Called by the command line, the API, the pages and the demo city.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, TextClause, text

from ledger.arrays import integer, integers, texts
from ledger.books import NewBook, open_books
from ledger.errors import Conflict, NotFound, Refused
from ledger.volley import Question, Rows, Statement, ask, fire

Regime = Literal["government", "soe", "institution", "social"]
Scene = Literal["gate", "on_street", "hospital", "shared", "charging"]

CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{1,31}")
"""Codes stand in addresses, file names and on stickers: ASCII only, 2 to 32 characters."""
CREDIT_CODE: Final = re.compile(r"[0-9A-Z]{18}")


class NewOperator(Struct, frozen=True):
    """An operator to be registered."""

    code: str
    legal_name: str
    credit_code: str
    """Unified social credit code 统一社会信用代码, 18 characters."""
    district: str
    regime: Regime
    lane: int = 0


class Operator(NewOperator, frozen=True, kw_only=True):
    """A registered operator with its book."""

    operator_id: int
    book_id: int


class NewLot(Struct, frozen=True):
    """A lot to be registered."""

    code: str
    operator_code: str
    name: str
    district: str
    address: str
    berths: int
    scene: Scene
    tariff_text: str
    """The tariff in one plain Chinese sentence, as the page shows it."""


class Lot(NewLot, frozen=True, kw_only=True):
    """A registered lot with its operator."""

    lot_id: int
    operator_id: int
    operator_name: str
    """Legal name of the operator: the payee."""


def register_operators(tx: Connection, *, operators: Sequence[NewOperator], at: datetime) -> list[Operator]:
    """Register operators and open a book for each new one, all in one statement each. May be repeated: the same is the same.

    Returns them in the order given. An advisory lock orders those who register, so that numbers stay dense.

    Raises:
        Conflict: ``operator_conflict``, a code is taken by other content; ``credit_code_taken``.
        Refused: ``operator_invalid``, a code or credit code has a wrong form, or a code comes twice.
    """
    _check_codes([operator.code for operator in operators], "operator_invalid")
    for operator in operators:
        if not CREDIT_CODE.fullmatch(operator.credit_code) or not operator.legal_name.strip():
            raise Refused(f"operator {operator.code} needs a legal name and an 18 character credit code", code="operator_invalid")
    _lock(tx)
    known = {operator.code: operator for operator in _operators(tx, [operator.code for operator in operators])}
    new = [operator for operator in operators if operator.code not in known]
    _check_credit_codes_free(tx, new)
    books = open_books(tx, books=[NewBook(item.lane, "operator", item.legal_name) for item in new], at=at)
    _insert(tx, _INSERT_OPERATORS, new, at=at, book_id=books)
    known |= {operator.code: operator for operator in _operators(tx, [operator.code for operator in new])}
    for operator in operators:
        _check_same(operator, known[operator.code], "operator_conflict")
    return [known[operator.code] for operator in operators]


def register_lots(tx: Connection, *, lots: Sequence[NewLot], at: datetime) -> list[Lot]:
    """Register lots of known operators, in one statement. May be repeated: the same is the same. Returns them in the order given.

    Raises:
        Conflict: ``lot_conflict``, a code is taken by other content.
        NotFound: ``operator_not_found``.
        Refused: ``lot_invalid``, a code has a wrong form or comes twice, or a lot has no name or berth.
    """
    _check_codes([lot.code for lot in lots], "lot_invalid")
    for lot in lots:
        if lot.berths <= 0 or not lot.name.strip():
            raise Refused(f"lot {lot.code} needs a name and at least one berth", code="lot_invalid")
    _lock(tx)
    operators = {item.code: item.operator_id for item in _operators(tx, sorted({lot.operator_code for lot in lots}))}
    for lot in lots:
        if lot.operator_code not in operators:
            raise NotFound(f"there is no operator {lot.operator_code} for lot {lot.code}", code="operator_not_found")
    known = {lot.code: lot for lot in _lots(tx, [lot.code for lot in lots])}
    new = [lot for lot in lots if lot.code not in known]
    _insert(tx, _INSERT_LOTS, new, at=at, operator_id=[operators[lot.operator_code] for lot in new])
    known |= {lot.code: lot for lot in _lots(tx, [lot.code for lot in new])}
    for lot in lots:
        _check_same(lot, known[lot.code], "lot_conflict")
    return [known[lot.code] for lot in lots]


def operator_by_code(tx: Connection, *, code: str) -> Operator:
    """Return an operator. Raises NotFound (``operator_not_found``)."""
    found = _operators(tx, [code])
    if not found:
        raise NotFound(f"there is no operator {code}", code="operator_not_found")
    return found[0]


def lot_by_code(tx: Connection, *, code: str) -> Lot:
    """Return a lot by its public code. Raises NotFound (``lot_not_found``)."""
    found = _lots(tx, [code])
    if not found:
        raise NotFound(f"there is no lot {code}", code="lot_not_found")
    return found[0]


def lots_by_code(tx: Connection, *, codes: Sequence[str]) -> dict[str, Lot]:
    """Return lots by their public codes, those that there are; for questions that come often (see ``ledger.volley``)."""
    [rows] = fire(tx, [_LOTS_BY_CODE.shot(codes=texts(codes))])
    return {lot.code: lot for lot in _read_lots(rows)}


def lot_by_id(tx: Connection, *, lot_id: int) -> Lot:
    """Return the lot a pay code stands for. Raises NotFound (``lot_not_found``)."""
    found = ask(tx, which_lot(lot_id=lot_id))
    if found is None:
        raise NotFound(f"there is no lot {lot_id}", code="lot_not_found")
    return found


def lots_by_id(tx: Connection, *, lot_ids: Sequence[int]) -> list[Lot]:
    """Return lots by their numbers, in their order; those that are not there are left out."""
    return ask(tx, Question(_LOTS_BY_ID.shot(lots=integers(lot_ids)), _read_lots))


def which_lot(*, lot_id: int) -> Question[Lot | None]:
    """The lot of this number, where there is one."""
    return Question(_LOT_BY_ID.shot(lot=integer(lot_id)), lambda rows: next(iter(_read_lots(rows)), None))


def which_names(*, operator_ids: Collection[int]) -> Question[dict[int, str]]:
    """Legal names of operators, by their numbers."""
    return Question(_OPERATOR_NAMES.shot(ids=integers(sorted(set(operator_ids)))), dict)


def lot_of(row: Sequence[Any]) -> Lot:
    """Return the lot of a row whose columns are ``LOT_COLUMNS``."""
    return Lot(**dict(zip(LOT_COLUMNS, row, strict=True)))


def _read_lots(rows: Rows) -> list[Lot]:
    return [lot_of(row) for row in rows]


def operators(tx: Connection) -> list[Operator]:
    """Return all operators in the order they were registered."""
    return [Operator(**row) for row in tx.execute(text(_SELECT_OPERATORS + "order by operator_id")).mappings()]


def lots(tx: Connection, *, limit: int, operator_id: int | None = None) -> list[Lot]:
    """Return the first ``limit`` lots in the order they were registered, of one operator or of all."""
    chosen = "where cast(:operator_id as integer) is null or l.operator_id = :operator_id order by l.lot_id limit :limit"
    query = text(_SELECT_LOTS + chosen)
    return [Lot(**row) for row in tx.execute(query, {"operator_id": operator_id, "limit": limit}).mappings()]


_SELECT_OPERATORS: Final = """
select operator_id, lane, book_id, code, legal_name, credit_code, district, regime from payments.operator
"""
_SELECT_LOTS: Final = """
select l.lot_id, l.operator_id, l.code, o.code as operator_code, o.legal_name as operator_name, l.name, l.district, l.address,
       l.berths, l.scene, l.tariff_text
from payments.lot l join payments.operator o on o.operator_id = l.operator_id
"""
LOT_COLUMNS: Final = (
    "lot_id", "operator_id", "code", "operator_code", "operator_name", "name", "district", "address", "berths", "scene",
    "tariff_text",
)  # fmt: skip
_LOT_BY_ID: Final = Statement(_SELECT_LOTS + "where l.lot_id = %(lot)s::integer")
_LOTS_BY_ID: Final = Statement(_SELECT_LOTS + "where l.lot_id = any(%(lots)s::integer[]) order by l.lot_id")
_OPERATOR_NAMES: Final = Statement("""
    select operator_id, legal_name from payments.operator where operator_id = any(%(ids)s::integer[])
    """)
_LOTS_BY_CODE: Final = Statement(_SELECT_LOTS + "where l.code = any(%(codes)s::text[])")
_INSERT_OPERATORS: Final = text(
    """
    insert into payments.operator (operator_id, lane, book_id, code, legal_name, credit_code, district, regime, created_at)
    select (select coalesce(max(operator_id), 0) from payments.operator) + n,
           lane, book_id, code, legal_name, credit_code, district, regime, :at
    from unnest(cast(:lane as smallint[]), cast(:book_id as integer[]), cast(:code as text[]), cast(:legal_name as text[]),
                cast(:credit_code as text[]), cast(:district as text[]), cast(:regime as text[]))
         with ordinality as given (lane, book_id, code, legal_name, credit_code, district, regime, n)
    """
)
_INSERT_LOTS: Final = text(
    """
    insert into payments.lot (lot_id, operator_id, code, name, district, address, berths, scene, tariff_text, created_at)
    select (select coalesce(max(lot_id), 0) from payments.lot) + n,
           operator_id, code, name, district, address, berths, scene, tariff_text, :at
    from unnest(cast(:operator_id as integer[]), cast(:code as text[]), cast(:name as text[]), cast(:district as text[]),
                cast(:address as text[]), cast(:berths as integer[]), cast(:scene as text[]), cast(:tariff_text as text[]))
         with ordinality as given (operator_id, code, name, district, address, berths, scene, tariff_text, n)
    """
)


def _insert(tx: Connection, statement: TextClause, rows: Sequence[Struct], *, at: datetime, **columns: list[int]) -> None:
    if rows:
        fields = [field.name for field in msgspec.structs.fields(rows[0])]
        arrays: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in fields}
        tx.execute(statement, {"at": at, **arrays, **columns})


def _lock(tx: Connection) -> None:
    tx.execute(text("select pg_advisory_xact_lock(hashtext('payments.registry'))"))


def _operators(tx: Connection, codes: list[str]) -> list[Operator]:
    query = text(_SELECT_OPERATORS + "where code = any(cast(:codes as text[]))")
    return [Operator(**row) for row in tx.execute(query, {"codes": codes}).mappings()]


def _lots(tx: Connection, codes: list[str]) -> list[Lot]:
    query = text(_SELECT_LOTS + "where l.code = any(cast(:codes as text[]))")
    return [Lot(**row) for row in tx.execute(query, {"codes": codes}).mappings()]


def _check_codes(codes: Sequence[str], error_code: str) -> None:
    for code, times in Counter(codes).items():
        if times > 1 or not CODE.fullmatch(code):
            raise Refused(f"code {code!r} comes twice or is not 2 to 32 letters, digits and hyphens", code=error_code)


def _check_credit_codes_free(tx: Connection, new: Sequence[NewOperator]) -> None:
    credit_codes = [operator.credit_code for operator in new]
    query = text("select code from payments.operator where credit_code = any(cast(:codes as text[]))")
    if len(set(credit_codes)) < len(new) or tx.execute(query, {"codes": credit_codes}).first() is not None:
        raise Conflict("a credit code belongs to one operator only", code="credit_code_taken")


def _check_same(given: Struct, kept: Struct, error_code: str) -> None:
    for field in msgspec.structs.fields(given):
        if getattr(given, field.name) != getattr(kept, field.name):
            raise Conflict(f"{getattr(given, 'code', '')} is registered with another {field.name}", code=error_code)
