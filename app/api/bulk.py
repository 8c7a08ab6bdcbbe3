"""Bodies with one record or thousands: an object, a list, or a line for each; and their answers in the same form.

Knows forms and status codes alone; must not know what a record is. Called by the routes that take lots' records.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from litestar import Request, Response
from msgspec import Struct

from app import problems
from ledger.errors import Refused

BYTES_MAX: Final = 8 * 1024 * 1024
"""Largest request on these routes: ten thousand records."""
LINES: Final = "application/x-ndjson"
_MISSING: Final = frozenset({"charge_unknown", "return_unknown"})
_CONFLICTS: Final = frozenset({"content_differs", "number_taken", "overlaps", "already_returned", "code_of_another"})

T = TypeVar("T")


class Malformed(Refused):
    """The request's body is not what this route takes."""

    code = "malformed"


class Wrong(Struct, frozen=True):
    """A record that has not the form of one."""

    serial: str
    field: str | None
    detail: str


class Answered(Protocol):
    """An answer to one record."""

    @property
    def outcome(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def field(self) -> str | None: ...
    @property
    def detail(self) -> str | None: ...


class Reader(Generic[T]):
    """Reads the records of one kind; ``serial`` names the field by which a record that cannot be read is told apart."""

    def __init__(self, kind: type[T], *, most: int, serial: str = "serial", words: str = "records") -> None:
        self._one = msgspec.json.Decoder(kind)
        self._list = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]  # the kind is known when it runs
        self._most, self._serial, self._words = most, serial, words

    def read(self, request: Request[Any, Any, Any], body: bytes) -> "Given[T]":
        """Return what a request brings, each record read or wrong by itself.

        Raises:
            Malformed: the body is neither JSON nor lines of it, or holds too many records.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == LINES:
            return Given(self._lines(body), many=True, lines=True)
        many = body.lstrip()[:1] == b"["
        try:
            records: list[T | Wrong] = list(self._list.decode(body)) if many else [self._one.decode(body)]
        except msgspec.ValidationError:
            records = [self._record(part) for part in _parts(body, many=many)]
        except msgspec.DecodeError as broken:
            raise Malformed(f"the body is not JSON: {broken}") from None
        self._check_count(len(records))
        return Given(records, many=many, lines=False)

    def _lines(self, body: bytes) -> list[T | Wrong]:
        lines = [line for line in body.split(b"\n") if line.strip()]
        self._check_count(len(lines))
        return [self._record(line) for line in lines]

    def _record(self, part: bytes | msgspec.Raw) -> T | Wrong:
        try:
            return self._one.decode(part)
        except msgspec.ValidationError as wrong:
            path = str(wrong).partition("`$.")[2].rstrip("`")
            return Wrong(self._named(part), path or None, str(wrong))
        except (msgspec.DecodeError, UnicodeDecodeError) as broken:
            return Wrong("", None, f"the line is not JSON: {broken}")

    def _named(self, part: bytes | msgspec.Raw) -> str:
        """Return the serial of a record that has not the form of one, as far as it has a serial."""
        found = msgspec.json.decode(part)
        serial = found.get(self._serial) if isinstance(found, dict) else None
        return serial if isinstance(serial, str) else ""

    def _check_count(self, count: int) -> None:
        if count > self._most:
            raise Malformed(f"at most {self._most} {self._words} fit into one call")


def _parts(body: bytes, *, many: bool) -> list[msgspec.Raw]:
    return msgspec.json.decode(body, type=list[msgspec.Raw]) if many else [msgspec.Raw(body)]


class Given(Generic[T]):
    """What a request brought, and the form in which it is answered."""

    def __init__(self, records: Sequence[T | Wrong], *, many: bool, lines: bool) -> None:
        self._records, self.many, self._is_lines = records, many, lines
        self.good: list[T] = [one for one in records if not isinstance(one, Wrong)]

    def answer(self, answers: Sequence[Answered], refused: Callable[[Wrong], Answered]) -> Response[bytes]:
        """Return the answer to the request: one for each record, in order.

        A single record has a status of its own, 201, 200 or a problem; several are always 207, each with its outcome.
        """
        if len(self.good) == len(self._records):
            told: list[Answered] = list(answers)
        else:
            rest: Iterator[Answered] = iter(answers)
            told = [refused(one) if isinstance(one, Wrong) else next(rest) for one in self._records]
        if self._is_lines:
            return Response(_encoder.encode_lines(told), status_code=207, media_type=LINES)
        if self.many:
            return Response(_encoder.encode(told), status_code=207, media_type="application/json")
        return _single(told[0])


_encoder: Final = msgspec.json.Encoder()


def _single(told: Answered) -> Response[bytes]:
    if told.outcome != "refused":
        status = 201 if told.outcome == "created" else 200
        return Response(_encoder.encode(told), status_code=status, media_type="application/json")
    reason = told.reason or "refused"
    status = 409 if reason in _CONFLICTS else 404 if reason in _MISSING else 400 if reason == Malformed.code else 422
    return problems.answer(problems.problem(status, reason, told.detail, field=told.field))


def whole(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return the one object of a body. Raises Malformed."""
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as wrong:
        raise Malformed(f"the body is not what this takes: {wrong}") from None
