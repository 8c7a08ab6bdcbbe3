"""Number plates 车牌: their written forms, and how they are shown. Pure.

Knows the plates of the mainland; must not know the database. Called by the charge intake, the pages and the API.
Source: GA 36-2018 (forms of plates), letters I and O are not used as serial characters.
"""

import re
import unicodedata
from typing import Final, Literal

from payments.errors import PlateRefused

PlateColor = Literal["blue", "green", "yellow", "black", "white", "limegreen", "unknown"]
"""limegreen: the yellow-and-green plate of large new-energy vehicles."""

_PROVINCES: Final = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新"
_SERIAL: Final = "0-9A-HJ-NP-Z"
_SEPARATORS: Final = re.compile(r"[\s·•‧・.\-_]+")
_ENERGY: Final = "A-HJK"

_ORDINARY: Final = re.compile(
    rf"[{_PROVINCES}][A-HJ-Z][{_SERIAL}]{{5}}"  # ordinary
    rf"|[{_PROVINCES}][A-HJ-Z][{_SERIAL}]{{4}}[挂学警试超]"  # trailer, driving school, police, trial, oversize
    rf"|粤Z[{_SERIAL}]{{4}}[港澳]"  # Hong Kong and Macao vehicles with entry to the mainland
    rf"|[{_PROVINCES}][A-HJ-Z]\d{{4}}[使领]|[{_PROVINCES}]\d{{5}}领|使\d{{6}}|\d{{6}}使"  # embassies and consulates
    rf"|WJ[{_PROVINCES}]?\d{{4}}[0-9BDHJSTX]|[A-HJ-NP-VYZ][A-DK-PR-VY]\d{{5}}"  # armed police, armed forces
)
_NEW_ENERGY_SMALL: Final = re.compile(rf"[{_PROVINCES}][A-HJ-Z][{_ENERGY}][{_SERIAL}]\d{{4}}")
_NEW_ENERGY_LARGE: Final = re.compile(rf"[{_PROVINCES}][A-HJ-Z]\d{{5}}[{_ENERGY}]")


def normalised(number: str) -> str:
    """Return a plate number in the one form in which it is kept: upper case, full width made narrow, no dots or spaces."""
    narrow = unicodedata.normalize("NFKC", _SEPARATORS.sub("", unicodedata.normalize("NFKC", number)).upper())
    return narrow if narrow == number else normalised(narrow)


def checked(number: str, color: PlateColor = "unknown") -> str:
    """Return the normalised number of a plate that can exist.

    Raises:
        PlateRefused: the form is none of a mainland plate, or a new-energy plate has an ordinary colour or the reverse.
    """
    plate = normalised(number)
    small, large = bool(_NEW_ENERGY_SMALL.fullmatch(plate)), bool(_NEW_ENERGY_LARGE.fullmatch(plate))
    if not (small or large or _ORDINARY.fullmatch(plate)):
        raise PlateRefused("this is not a number plate; it looks like 苏B12345 or 苏BD12345")
    if color != "unknown" and (color in ("green", "limegreen")) != (small or large):
        raise PlateRefused(f"a plate of this form is never {color}")
    return plate


def masked(number: str) -> str:
    """Return a plate as it may be shown, logged or exported: 苏B12346 → ``苏B·1***6``."""
    return f"{number[:2]}·{number[2:3]}***{number[-1:]}" if len(number) > 3 else "***"
