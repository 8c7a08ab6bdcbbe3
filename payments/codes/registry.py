"""The registry of pay codes: issue, post, move, retire, replace, report. Source: docs/PAY_CODES.md.

Knows what may follow what in the life of a code; must not know tokens, keys, printing or HTTP. Called by the command line and the
API. Every act takes many codes at once: all of them or none, and each leaves a row in its code's history.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from ledger.errors import Conflict, NotFound, Refused
from payments.codes import store
from payments.codes.records import GOOD, Act, Code, CodeState, Place
from payments.lots import Lot

CODES_MAX: Final = 20_000
"""Most codes in one batch or act."""
NAME_LETTERS_MAX: Final = 24
"""Most letters of a lane's name or a berth's number: they are printed large."""
WORDS_MAX: Final = 200
"""Most letters of a reason, a batch's name or whoever did it."""
PAGE: Final = 1_000
_MAY: Final[Mapping[CodeState, frozenset[CodeState]]] = {
    "posted": frozenset({"issued", "posted"}),
    "moved": GOOD,
    "retired": GOOD | {"moved", "reported", "retired"},
    "replaced": GOOD | {"moved", "reported"},
    "reported": GOOD | {"moved", "reported"},
}
"""By act: the states that it may follow. Done again, posting, retiring and reporting are harmless."""


def issue(
    tx: Connection, *, lot: Lot, batch: str, places: Sequence[Place], by: str, at: datetime, reason: str = "issued"
) -> list[Code]:  # fmt: skip
    """Make a code for each of these places of a lot, in one statement; returns them in the order given.

    May be repeated: the same batch with the same places gives the same codes. An advisory lock orders those who issue.

    Raises:
        Refused: ``code_place_invalid``, a place without a proper name or twice; ``code_words_invalid``; ``code_batch_size``.
        Conflict: ``code_batch_conflict``, the lot has a batch of this name with other places.
    """
    if not 0 < len(places) <= CODES_MAX:
        raise Refused(f"a batch has 1 to {CODES_MAX} codes, not {len(places)}", code="code_batch_size")
    for words in (batch, by, reason):
        _check_words(words)
    for place, times in Counter(places).items():
        _check_place(place)
        if times > 1:
            raise Refused(f"{place.place} {place.name!r} comes {times} times", code="code_place_invalid")
    store.lock_registry(tx)
    known = store.batch(tx, lot_id=lot.lot_id, name=batch)
    if known and [place for _, place in known] != list(places):
        raise Conflict(f"lot {lot.code} has a batch {batch!r} with other places; choose another name", code="code_batch_conflict")
    if not known:
        store.insert_batch(tx, lot_id=lot.lot_id, name=batch, places=places, reason=reason, by=by, at=at)
        known = store.batch(tx, lot_id=lot.lot_id, name=batch)
    return store.codes(tx, code_nos=[code_no for code_no, _ in known])


def post(tx: Connection, *, code_nos: Sequence[int], by: str, at: datetime, reason: str = "posted") -> list[Code]:
    """Note that codes hang on their walls. Raises NotFound (``code_not_found``), Conflict (``code_state``)."""
    return _act(tx, "posted", code_nos, reason=reason, by=by, at=at)


def retire(tx: Connection, *, code_nos: Sequence[int], reason: str, by: str, at: datetime) -> list[Code]:
    """Take codes out of use for ever: whoever scans one is told so. Raises NotFound (``code_not_found``), Conflict."""
    return _act(tx, "retired", code_nos, reason=reason, by=by, at=at)


def report(tx: Connection, *, code_nos: Sequence[int], reason: str, by: str, at: datetime) -> list[Code]:
    """Note that codes were stolen, pasted over or found where they do not belong: nobody can pay with them from now on.

    Tells nobody: ``telling.report`` does so as well. Raises NotFound (``code_not_found``), Conflict (``code_state``).
    """
    return _act(tx, "reported", code_nos, reason=reason, by=by, at=at)


def move(
    tx: Connection, *, code_no: int, to: Place, reason: str, by: str, at: datetime, other_lot: Lot | None = None
) -> Code:  # fmt: skip
    """Let a code stand for another place of its lot, as which it goes on; or note that it was carried to another lot.

    Another lot's name is printed on it then, so it is refused there and everywhere until it is retired or replaced.

    Raises:
        NotFound: ``code_not_found``. Conflict: ``code_state``. Refused: ``code_place_invalid``.
    """
    _check_place(to)
    _check_words(reason, by)
    [code] = _held(tx, [code_no], "moved")
    leaves = other_lot is not None and other_lot.lot_id != code.lot_id
    state: CodeState = "moved" if leaves else code.state
    lot_id = other_lot.lot_id if other_lot is not None else code.lot_id
    store.change(
        tx, act="moved", states=[state], code_nos=[code_no], lot_ids=[lot_id], places=[to], successors=[None], reason=reason,
        by=by, at=at,
    )  # fmt: skip
    return store.codes(tx, code_nos=[code_no])[0]


def replace(
    tx: Connection, *, lot: Lot, code_nos: Sequence[int], batch: str, reason: str, by: str, at: datetime
) -> list[tuple[Code, Code]]:
    """Issue a new code for the place of each of these of a lot, and let the old ones name them; returns old and new.

    May be repeated: under the same batch the same codes come back.

    Raises:
        NotFound: ``code_not_found``, none of the registry or of another lot. Conflict: ``code_state``, ``code_batch_conflict``.
    """
    _check_words(batch, reason, by)
    wanted = sorted(set(code_nos))
    store.lock_registry(tx)
    olds = _known(tx, wanted)
    if strangers := [code.code_no for code in olds if code.lot_id != lot.lot_id]:
        raise NotFound(f"lot {lot.code} has no code {_listed(strangers)}", code="code_not_found")
    if store.batch(tx, lot_id=lot.lot_id, name=batch):
        return _replaced_before(tx, olds, batch)
    _check_state(olds, "replaced")
    news = issue(
        tx, lot=lot, batch=batch, places=[Place(code.place, code.place_name) for code in olds], by=by, at=at, reason=reason
    )
    store.change(
        tx, act="replaced", states=["replaced"] * len(olds), code_nos=wanted, lot_ids=[lot.lot_id] * len(olds),
        places=[Place(code.place, code.place_name) for code in olds], successors=[code.code_no for code in news], reason=reason,
        by=by, at=at,
    )  # fmt: skip
    return list(zip(_known(tx, wanted), news, strict=True))


def code(tx: Connection, *, code_no: int) -> Code:
    """Return a code. Raises NotFound (``code_not_found``)."""
    return _known(tx, [code_no])[0]


def codes(tx: Connection, *, code_nos: Sequence[int]) -> list[Code]:
    """Return codes in the order of their numbers. Raises NotFound (``code_not_found``), Refused (``code_batch_size``)."""
    return _known(tx, code_nos)


def listed(
    tx: Connection, *, lot: Lot, after: int = 0, limit: int = PAGE, states: Sequence[CodeState] | None = None,
    batch: str | None = None,
) -> list[Code]:  # fmt: skip
    """Return a lot's codes in the order of their numbers, those after ``after``, at most ``limit``."""
    return store.codes_of_lot(tx, lot_id=lot.lot_id, after=after, limit=limit, states=states, batch_name=batch)


def every(
    tx: Connection, *, lot: Lot, states: Sequence[CodeState] | None = None, batch: str | None = None
) -> Iterator[Code]:  # fmt: skip
    """Yield a lot's codes, read in pages: as many as there are, in memory of one page."""
    after = 0
    while page := listed(tx, lot=lot, after=after, states=states, batch=batch):
        yield from page
        after = page[-1].code_no


def history(tx: Connection, *, code_no: int) -> list[Act]:
    """Return what became of a code, the first act first. Raises NotFound (``code_not_found``)."""
    code(tx, code_no=code_no)
    return store.history(tx, code_no=code_no)


def note_printing(
    tx: Connection, *, printing_id: UUID, lot: Lot, key_id: int, code_nos: Sequence[int], form: str, by: str, at: datetime
) -> None:  # fmt: skip
    """Note with which key codes were signed for print, so that it is known when no wall needs that key any more."""
    _check_words(by)
    store.insert_printing(tx, printing_id=printing_id, lot_id=lot.lot_id, key_id=key_id, code_nos=code_nos, form=form, by=by, at=at)


def keys_in_use(tx: Connection) -> list[tuple[int, int]]:
    """Return by key id how many codes that still count were printed with it, in the order of the ids."""
    return store.key_ids(tx)


def _act(
    tx: Connection, act: CodeState, code_nos: Sequence[int], *, reason: str, by: str, at: datetime
) -> list[Code]:  # fmt: skip
    """Put codes into a state of the same name, but those that are in it."""
    _check_words(reason, by)
    wanted = sorted(set(code_nos))
    changing = [code for code in _held(tx, wanted, act) if code.state != act]
    if changing:
        store.change(
            tx, act=act, states=[act] * len(changing), code_nos=[code.code_no for code in changing],
            lot_ids=[code.lot_id for code in changing], places=[Place(code.place, code.place_name) for code in changing],
            successors=[None] * len(changing), reason=reason, by=by, at=at,
        )  # fmt: skip
    return _known(tx, wanted)


def _held(tx: Connection, wanted: Sequence[int], act: CodeState) -> list[Code]:
    """Return these codes with their rows held, in the order of their numbers, so that two crews cannot wait for each other."""
    found = _known(tx, wanted, lock=True)
    _check_state(found, act)
    return found


def _known(tx: Connection, wanted: Sequence[int], *, lock: bool = False) -> list[Code]:
    if not 0 < len(wanted) <= CODES_MAX:
        raise Refused(f"name 1 to {CODES_MAX} codes", code="code_batch_size")
    found = store.codes(tx, code_nos=[number for number in wanted if 0 < number < 2**31], lock=lock)
    if missing := sorted(set(wanted) - {code.code_no for code in found}):
        raise NotFound(f"there is no code {_listed(missing)}", code="code_not_found")
    return found


def _check_state(found: Sequence[Code], act: CodeState) -> None:
    wrong = [code for code in found if code.state not in _MAY[act]]
    if wrong:
        said = ", ".join(f"{code.code_no} is {code.state}" for code in wrong[:10])
        raise Conflict(f"a code cannot be {act} as it stands: {said}", code="code_state")


def _replaced_before(tx: Connection, olds: Sequence[Code], batch: str) -> list[tuple[Code, Code]]:
    news = {one.code_no: one for one in store.codes(tx, code_nos=[code.successor_no or 0 for code in olds])}
    pairs = [(code, news[code.successor_no]) for code in olds if code.successor_no in news]
    if len(pairs) != len(olds) or any(new.batch != batch for _, new in pairs):
        raise Conflict(f"the batch {batch!r} is of other codes; choose another name", code="code_batch_conflict")
    return pairs


def _check_place(place: Place) -> None:
    name = place.name
    proper = 0 < len(name) <= NAME_LETTERS_MAX and name.isprintable() and name == name.strip()
    if (place.place == "lot" and name) or (place.place != "lot" and not proper):
        raise Refused(
            f"{place.place} {name[:NAME_LETTERS_MAX]!r}: lanes and berths have 1 to {NAME_LETTERS_MAX} letters, the lot none",
            code="code_place_invalid",
        )


def _check_words(*said: str) -> None:
    for words in said:
        if not words.strip() or len(words) > WORDS_MAX or not words.isprintable():
            raise Refused(f"a name or reason of 1 to {WORDS_MAX} letters is needed, not {words[:40]!r}", code="code_words_invalid")


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:10])) + (" …" if len(numbers) > 10 else "")
