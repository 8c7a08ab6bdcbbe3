"""Every word the citizen reads, in Chinese and in English, put together from the rooms of ``app.pages.wording``.

Knows sentences only; must not know what leads to them. Called by the page views and templates. A new sentence goes into its room.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from app.pages.wording import board, common, due, mandate, paying, plate, sorry
from app.pages.wording.common import Language


@dataclass(frozen=True, kw_only=True)
class Words(
    common.CommonWords, plate.PlateWords, due.DueWords, paying.PayingWords, board.BoardWords, sorry.SorryWords, mandate.MandateWords
):
    """One language. A sentence missing in one of them fails when the module is loaded, not before a driver."""

    def wallet(self, channel: str) -> str:
        """Return what the button of a wallet says."""
        return str(getattr(self, f"pay_{channel}", channel))

    def apps(self, channels: Iterable[str]) -> str:
        """Return the names of channels' apps as a list in a sentence."""
        names = [str(getattr(self, f"app_{channel}", channel)) for channel in channels]
        return self.app_or.join(part for part in (self.app_comma.join(names[:-1]), *names[-1:]) if part)

    def channel_name(self, channel: str | None) -> str:
        """Return the name of a channel on a receipt."""
        return "" if channel is None else str(getattr(self, f"channel_{channel}", channel))


_ROOMS: Final = (common, plate, due, paying, board, sorry, mandate)
ZH: Final = Words(**{name: said for room in _ROOMS for name, said in vars(room.ZH).items()})
EN: Final = Words(**{name: said for room in _ROOMS for name, said in vars(room.EN).items()})

ALL: Final[dict[Language, Words]] = {"zh": ZH, "en": EN}


def words(asked: str | None) -> Words:
    """Return the language asked for by ``?lang=``; Chinese unless it is ``en``."""
    return EN if asked == "en" else ZH
