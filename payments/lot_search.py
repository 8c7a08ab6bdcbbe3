"""Find lots by what people know of them: name, code, district or address.

Knows the registry's tables; must not know pages or payments. Called by the notice board.

Every word that was typed must occur in one of the four, whatever the case. The registry of a whole city is some thousand rows, of
which no more than a page is returned: it is walked through, and no index of an extension has to be there.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, text

from payments import lots
from payments.lots import Lot

WORDS_MAX: Final = 4
LETTERS_MAX: Final = 40
"""So much of what was typed is looked at."""
_ESCAPED: Final = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})
_FOUND: Final = text("""
    select l.code from payments.lot l
    where l.code || ' ' || l.name || ' ' || l.district || ' ' || l.address ilike all (cast(:patterns as text[]))
    order by lower(l.code) = lower(:typed) desc, l.name ilike :begin desc, l.lot_id
    offset :skip limit :limit
    """)


def found(tx: Connection, *, typed: str, skip: int, limit: int) -> list[Lot]:
    """Return lots that fit what was typed: the one with this very code first, then names that begin so, then as registered.

    Nothing typed fits every lot.
    """
    words = typed[:LETTERS_MAX].split()[:WORDS_MAX]
    given = {
        "patterns": _patterns(words), "typed": " ".join(words), "begin": f"{' '.join(words).translate(_ESCAPED)}%",
        "skip": skip, "limit": limit,
    }  # fmt: skip
    codes: list[str] = list(tx.execute(_FOUND, given).scalars())
    known = lots.lots_by_code(tx, codes=codes)
    return [known[code] for code in codes]


def _patterns(words: Sequence[str]) -> list[str]:
    return [f"%{word.translate(_ESCAPED)}%" for word in words] or ["%"]
