"""What the staff of a shop's counter read where they give discounts; in Chinese and in English.

Knows sentences only; must not know what leads to them. Called by the clerk's page and its templates.
"""

from typing import Final

from msgspec import Struct


class ClerkWords(Struct, frozen=True, kw_only=True):
    """One language. A sentence missing in one of them fails when the module is loaded, not before a clerk."""

    title: str
    counter: str
    begin: str
    begin_text: str
    begin_note: str
    what: str
    where: str
    plate: str
    minutes: str
    fen: str
    share: str
    free: str
    free_up_to: str
    give: str
    given_title: str
    given: str
    given_until: str
    given_next: str
    private: str
    last: str
    none: str
    state_given: str
    state_withdrawn: str
    state_over: str
    withdraw: str
    withdraw_one: str
    withdrawn_title: str
    withdrawn: str
    back: str
    leave: str
    left_title: str
    left: str
    again_title: str
    again: str
    ended: str
    nothing: str
    sorry_plate: str
    sorry_choose: str
    sorry_often: str
    sorry_form: str
    sorry_plate_limit: str
    sorry_limit: str
    sorry_over: str


ZH: Final = ClerkWords(
    title="赠送停车优惠",
    counter="柜台",
    begin="开始使用",
    begin_text="这是商户店员赠送停车优惠的页面，仅供本店使用。",
    begin_note="请勿把这个链接转发给他人。用完公用手机请点“退出”。",
    what="赠送什么",
    where="哪个停车场",
    plate="顾客的车牌号",
    minutes="免 {time}",
    fen="减 ¥{yuan}",
    share="减免 {percent}%，最多 ¥{yuan}",
    free="全免，最多 ¥{yuan}",
    free_up_to="{what}，最多 ¥{yuan}",
    give="赠送",
    given_title="已赠送",
    given="{what}，用于 {lot}。",
    given_until="{until} 前有效，车主缴费时自动抵扣，无需其他操作。",
    given_next="车牌输错了？返回后在“最近赠送”里撤回，再送一次。",
    private="本页不显示车辆是否在场。",
    last="最近赠送",
    none="还没有赠送记录。",
    state_given="已赠送",
    state_withdrawn="已撤回",
    state_over="已过有效期",
    withdraw="撤回",
    withdraw_one="撤回送给 {plate} 的优惠",
    withdrawn_title="已撤回",
    withdrawn="这次赠送不再有效。撤回前车主已经用掉的不退回，以账单为准。",
    back="返回",
    leave="退出",
    left_title="已退出",
    left="再次使用请打开店里的链接或扫店里的二维码。",
    again_title="请打开店里的链接",
    again="这里没有登录，或登录已过期。请重新打开店里的链接，或扫店里的二维码。",
    ended="这个链接不能用，或已停用。请向店里负责人要新的链接。",
    nothing="现在没有可以赠送的优惠，请联系店里负责人。",
    sorry_plate="这不是一个完整的车牌号，请检查后再送。",
    sorry_choose="请选择要赠送的优惠和停车场。",
    sorry_often="操作太频繁了，请一分钟后再试。",
    sorry_form="这一页已经用过或已过期，请再填一次。",
    sorry_plate_limit="今天给这个车牌的次数已经用完，明天可以再送。",
    sorry_limit="本店的赠送额度已经用完，请联系店里负责人。",
    sorry_over="这个优惠现在不能赠送，请选择别的。",
)
EN: Final = ClerkWords(
    title="Give parking discounts",
    counter="Counter",
    begin="Begin",
    begin_text="Here the staff of this shop give parking discounts to its visitors.",
    begin_note="Pass this link on to nobody. On a shared phone tap “Leave” when you are done.",
    what="What to give",
    where="Which car park",
    plate="The visitor's number plate",
    minutes="{time} free",
    fen="¥{yuan} off",
    share="{percent}% off, at most ¥{yuan}",
    free="All of it, at most ¥{yuan}",
    free_up_to="{what}, at most ¥{yuan}",
    give="Give",
    given_title="Given",
    given="{what}, at {lot}.",
    given_until="Good until {until}. It comes off by itself when the driver pays; nothing else is to be done.",
    given_next="A wrong plate? Go back, withdraw it under “Given last” and give it again.",
    private="This page does not say whether the car is there.",
    last="Given last",
    none="Nothing has been given yet.",
    state_given="given",
    state_withdrawn="withdrawn",
    state_over="its time is over",
    withdraw="Withdraw",
    withdraw_one="Withdraw what was given to {plate}",
    withdrawn_title="Withdrawn",
    withdrawn="It counts no more. What the driver had used before stays used; the bill says so.",
    back="Back",
    leave="Leave",
    left_title="You have left",
    left="Open the shop's link or scan its code to begin again.",
    again_title="Open the shop's link",
    again="You are not signed in here, or no longer. Open the shop's link again, or scan the shop's code.",
    ended="This link does not work, or no longer. Ask whoever runs the shop for a new one.",
    nothing="There is nothing to give now. Ask whoever runs the shop.",
    sorry_plate="This is not a whole number plate. Please check it and give again.",
    sorry_choose="Please choose what to give, and the car park.",
    sorry_often="That was too often. Please try again in a minute.",
    sorry_form="This page was used already, or is too old. Please fill it in again.",
    sorry_plate_limit="This plate has had all that it may have today. It may have more tomorrow.",
    sorry_limit="The shop has given all that it may. Ask whoever runs the shop.",
    sorry_over="This cannot be given now. Please choose something else.",
)


def words(*, is_english: bool) -> ClerkWords:
    """Return the sentences of a language."""
    return EN if is_english else ZH
