"""The words of an amount: Chinese for the payer, English beside it. Pure.

Knows lines and names; must not know how an amount came about. Called by ``pricing``.
"""

from collections.abc import Sequence
from typing import Final

from ledger.money import yuan
from payments.tariffs.blocks import Block
from payments.tariffs.checking import DAY
from payments.tariffs.courses import Course, day_of, minute
from payments.tariffs.priced import Line
from payments.tariffs.tariff import Names

LETTERS_MAX: Final = 500
"""Most characters of an explanation: a charge's ``tariff_text`` takes no more."""
_PARTS_MAX: Final = 40
"""Not one more could fit, so no more are tried."""
EXEMPT_VEHICLE: Final = Names(zh="免费车辆", en="exempt vehicle")
_CAPS: Final = {
    "cap_stay": Names(zh="单次封顶", en="at most, per stay,"),
    "cap_24h": Names(zh="24小时封顶", en="at most, in 24 hours,"),
    "cap_day": Names(zh="当日封顶", en="at most, in a day,"),
}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS: Final = {30: ("个半小时", "half hour"), 60: ("小时", "hour")}


def cap(why: str, fen: int) -> Names:
    """Return the words of a cap that was reached."""
    return Names(zh=f"{_CAPS[why].zh}{yuan(fen)}元", en=f"{_CAPS[why].en} {yuan(fen)} yuan")


def free(why: str, name: Names, minutes: int) -> Names:
    """Return the words of free time."""
    if why == "free_minutes":
        return Names(zh=f"免费{minutes}分钟", en=f"{minutes} free minutes")
    return Names(zh=name.zh if name.zh.endswith("免费") else f"{name.zh}免费", en=f"{name.en}, free")


def units(block: Block, count: int) -> Names:
    """Return the words of begun units, or of a flat price."""
    step = block.step.words if block.step is not None else None
    zh, en = block.words.zh + ("" if step is None else step.zh), block.words.en + ("" if step is None else f", {step.en}")
    if block.step is not None and block.step.flat_fen is not None:
        if block.fen == 0:
            return Names(zh=f"{zh}已计", en=f"{en}: counted already")
        return Names(zh=f"{zh}{yuan(block.fen)}元", en=f"{en}: {yuan(block.fen)} yuan")
    unit_zh, unit_en = _UNITS.get(block.unit, (f"个{block.unit}分钟", f"{block.unit} minutes"))
    plural = "s" if count != 1 and not unit_en.endswith("s") else ""
    return Names(zh=f"{zh}{count}{unit_zh}×{yuan(block.fen)}元", en=f"{en}: {count} {unit_en}{plural} at {yuan(block.fen)} yuan")


def told(course: Course, start: int, end: int, lines: Sequence[Line], amount_fen: int) -> Names:
    """Return the whole explanation, at most 500 characters each; middle parts of long ones are summed up, to the fen."""
    chinese, english = _Chinese(course, start, end, amount_fen), _English(course, start, end, amount_fen)
    return Names(zh=_shortened(chinese, lines), en=_shortened(english, lines))


def _shortened(language: "_Chinese", lines: Sequence[Line]) -> str:
    kept = min(len(lines), _PARTS_MAX)
    while True:
        first, last = (kept + 1) // 2, len(lines) - kept // 2
        parts = [language.part(line) for line in lines[:first]]
        if first < last:
            parts.append(language.rest(lines[first:last]))
        text = language.whole([*parts, *(language.part(line) for line in lines[last:])])
        if len(text) <= LETTERS_MAX or kept == 0:
            return text[:LETTERS_MAX]
        kept -= 1


class _Chinese:
    def __init__(self, course: Course, start: int, end: int, amount_fen: int) -> None:
        self._course, self._start, self._end, self._amount = course, start, end, amount_fen
        self._has_days = start // DAY != end // DAY

    def part(self, line: Line) -> str:
        if line.amount_fen < 0:
            return f"{line.words.zh}，减{yuan(-line.amount_fen)}元"
        return f"{self._span(line)}{line.words.zh}" + (f"＝{yuan(line.amount_fen)}元" if line.units > 1 else "")

    def rest(self, lines: Sequence[Line]) -> str:
        return f"另{len(lines)}段共{yuan(sum(line.amount_fen for line in lines))}元"

    def whole(self, parts: Sequence[str]) -> str:
        tariff = self._course.applied.tariff
        assert tariff is not None
        large = "（大中型车加倍）" if self._course.is_large and self._course.times > 1 else ""
        stayed = _duration_zh(self._end - self._start)
        told = "；".join(parts) or "未计时"
        return f"{tariff.words.zh}·{self._course.label.zh}{large}：停{stayed}。{told}。应收{yuan(self._amount)}元"

    def _span(self, line: Line) -> str:
        begin, end = minute(line.from_at), minute(line.to_at)
        first = self._day(begin) if self._has_days else ""
        second = self._day(end) if begin // DAY != end // DAY else ""
        return f"{first}{_clock(begin)}–{second}{_clock(end)}"

    def _day(self, wall_minute: int) -> str:
        day = day_of(wall_minute)
        return f"{day.month}月{day.day}日"


class _English(_Chinese):
    def part(self, line: Line) -> str:
        if line.amount_fen < 0:
            return f"{line.words.en}: {yuan(line.amount_fen)} yuan"
        return f"{self._span(line)} {line.words.en}" + (f" = {yuan(line.amount_fen)} yuan" if line.units > 1 else "")

    def rest(self, lines: Sequence[Line]) -> str:
        return f"{len(lines)} more parts, {yuan(sum(line.amount_fen for line in lines))} yuan"

    def whole(self, parts: Sequence[str]) -> str:
        tariff = self._course.applied.tariff
        assert tariff is not None
        large = " (medium or large vehicle)" if self._course.is_large and self._course.times > 1 else ""
        hours, minutes = divmod(self._end - self._start, 60)
        return (
            f"{tariff.words.en}, {self._course.label.en}{large}: {hours} h {minutes} min. "
            + "; ".join(parts)
            + f". Due: {yuan(self._amount)} yuan"
        )

    def _day(self, wall_minute: int) -> str:
        day = day_of(wall_minute)
        return f"{day.day} {_MONTHS[day.month - 1]} "


def _clock(wall_minute: int) -> str:
    return f"{wall_minute % DAY // 60:02d}:{wall_minute % 60:02d}"


def _duration_zh(minutes: int) -> str:
    days, rest = divmod(minutes, 1440)
    hours, left = divmod(rest, 60)
    shown = [f"{number}{word}" for number, word in ((days, "天"), (hours, "小时"), (left, "分钟")) if number]
    return "".join(shown) or "0分钟"
