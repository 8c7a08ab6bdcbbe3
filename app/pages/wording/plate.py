"""What stands where a plate is typed and a car is chosen. In Chinese and in English.

Knows sentences only. Called by ``app.pages.words``, which puts the rooms' sentences together.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class PlateWords:
    """One language."""

    plate: str
    plate_enter: str
    plate_province: str
    plate_rest: str
    plate_hint: str
    plate_other: str
    plate_clear: str
    plate_delete: str
    plate_energy: str
    plate_place: str
    plate_plain: str
    plate_recent: str
    plate_recent_note: str
    plate_forget: str
    plate_forget_all: str
    look_up: str
    which_car: str
    which_text: str
    plate_colors: tuple[str, ...]
    """In the order of ``payments.quoting.quotes.COLORS``."""
    place_lane: str
    place_berth: str


ZH: Final = PlateWords(
    plate="车牌号",
    plate_enter="请输入车牌号",
    plate_province="省份简称",
    plate_rest="号码",
    plate_hint="例：B12345，新能源车为 7 位",
    plate_other="其他",
    plate_clear="清空",
    plate_delete="退格",
    plate_energy="新能源",
    plate_place="第 {n} 位",
    plate_plain="改用普通输入框",
    plate_recent="这部手机查过的车牌",
    plate_recent_note="只保存在这部手机上，不会上传。",
    plate_forget="删除 {plate}",
    plate_forget_all="全部清除",
    look_up="查询停车费",
    which_car="请选择您的车牌颜色",
    which_text="有不止一辆车使用这个号码，车牌颜色不同。",
    plate_colors=("蓝牌", "绿牌", "黄牌", "黑牌", "白牌", "黄绿牌"),
    place_lane="{name} 车道",
    place_berth="{name} 号泊位",
)

EN: Final = PlateWords(
    plate="Number plate",
    plate_enter="Enter your number plate",
    plate_province="Province",
    plate_rest="Number",
    plate_hint="e.g. B12345; new energy plates have 7 characters here",
    plate_other="Other",
    plate_clear="Clear",
    plate_delete="Delete",
    plate_energy="EV",
    plate_place="Character {n}",
    plate_plain="Type in a plain field",
    plate_recent="Plates looked up on this phone",
    plate_recent_note="They are kept on this phone only.",
    plate_forget="Forget {plate}",
    plate_forget_all="Forget all",
    look_up="Show the fee",
    which_car="What colour is your number plate?",
    which_text="More than one car has this number, on plates of different colours.",
    plate_colors=("Blue plate", "Green plate", "Yellow plate", "Black plate", "White plate", "Yellow-green plate"),
    place_lane="lane {name}",
    place_berth="berth {name}",
)
