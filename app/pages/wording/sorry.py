"""What is said when something cannot be done, and when somebody reports a code. In Chinese and in English.

Knows sentences only. Called by ``app.pages.words``, which puts the rooms' sentences together.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class SorryWords:
    """One language."""

    sorry_code: str
    sorry_code_next: str
    sorry_code_retired: str
    sorry_code_replaced: str
    sorry_code_moved: str
    sorry_code_look: str
    sorry_code_reported: str
    sorry_code_reported_next: str
    sorry_code_over: str
    sorry_code_over_next: str
    sorry_code_lots: str
    sorry_plate: str
    sorry_gone: str
    sorry_busy: str
    sorry_often: str
    sorry_lot_away: str
    sorry_price: str
    try_again: str
    sorry_deducting: str
    sorry_card: str
    sorry_reserved: str
    sorry_part: str
    report_link: str
    report_hint: str
    report_kind: str
    report_pick: str
    report_kinds: tuple[str, ...]
    """In the order of ``payments.rollout.code_reports.KINDS``."""
    report_words: str
    report_go: str
    report_private: str
    report_choose: str
    report_too_long: str
    report_thanks: str
    report_number: str
    report_next: str
    report_caution: str
    sorry_wallet: str
    sorry_wallet_title: str
    sorry_missing: str
    sorry_broken: str
    sorry_title: str


ZH: Final = SorryWords(
    sorry_code="这个二维码不是有效的无锡停车支付码。",
    sorry_code_next="请不要付款。请向停车场工作人员索取正确的支付码，或重新扫描。",
    sorry_code_retired="这个支付码已停用，没有扣款。",
    sorry_code_replaced="这个支付码已换新，没有扣款。",
    sorry_code_moved="这个支付码不属于这里，没有扣款。",
    sorry_code_look="请扫描现场的新支付码，或从停车场列表选择您所在的停车场后输入车牌。",
    sorry_code_reported="这个支付码已被报失或可能被他人挪用，不能付款。",
    sorry_code_reported_next="请不要付款，并告诉停车场工作人员或拨打下方电话。",
    sorry_code_over="这个支付码只在几分钟内有效，现在已过期，没有扣款。",
    sorry_code_over_next="请重新扫描屏幕上的码，或输入车牌查询。",
    sorry_code_lots="选择停车场",
    sorry_plate="车牌号似乎不完整，请核对后重新输入。",
    sorry_gone="这笔费用已经结清或发生变化，请重新查询。",
    sorry_busy="支付渠道暂时没有回应，没有扣款，请稍后再试。",
    sorry_often="查询过于频繁，请一分钟后再试。",
    sorry_lot_away="停车场系统暂时没有回应，没有扣费，请稍候重试。",
    sorry_price="价格已更新，请重新查询。",
    try_again="重试",
    sorry_deducting="这笔停车费正在自动扣费，请稍候再查看结果，不要重复支付。",
    sorry_card="这笔停车费已在出口刷 ETC 卡支付，正等发卡方确认，无需再付。若发卡方拒付，欠费会重新出现。",
    sorry_reserved="这笔欠费正在另一部手机上支付，请勿重复支付。如果那边没有付完，两分钟后可以在这里支付。",
    sorry_part="金额应大于 0 且小于欠费金额，例如 5.00。请返回重新填写。",
    report_link="这个二维码不对劲",
    report_hint="请先不要付款，也不要输入密码。告诉我们哪里不对，我们派人到现场核查。",
    report_kind="哪里不对",
    report_pick="请选择",
    report_kinds=("显示的是别的停车场", "码上面又贴了一张码", "扫码后跳到别的网站", "要求输入密码", "其他"),
    report_words="补充说明（选填，如停车场名称、贴码位置）",
    report_go="提交",
    report_private="不需要姓名、电话和车牌，请不要填写。",
    report_choose="请选择哪里不对。",
    report_too_long="补充说明最多300个字，请删减后再提交。",
    report_thanks="谢谢，已收到",
    report_number="受理编号",
    report_next="我们会尽快核查。核查前请不要用这个码付款，可请现场工作人员协助。",
    report_caution="有人反映此处的码可能有问题，正在核查。付款前请核对：本页的停车场名称与您所在的停车场一致。",
    sorry_wallet="这里打不开本停车场的支付方式，请用手机浏览器或其他支付应用重新扫码。",
    sorry_wallet_title="请换一种方式打开",
    sorry_missing="没有找到这个页面。",
    sorry_broken="系统暂时出了点问题，没有扣款，请稍后再试。",
    sorry_title="无法继续",
)

EN: Final = SorryWords(
    sorry_code="This is not a valid Wuxi Parking pay code.",
    sorry_code_next="Please do not pay. Ask the staff for the right code, or scan again.",
    sorry_code_retired="This pay code is no longer in use. Nothing was charged.",
    sorry_code_replaced="This pay code was replaced by a new one. Nothing was charged.",
    sorry_code_moved="This pay code does not belong here. Nothing was charged.",
    sorry_code_look="Please scan the new code at this place, or choose the car park you are in from the list and enter your plate.",
    sorry_code_reported="This pay code was reported as lost or misused and cannot be paid with.",
    sorry_code_reported_next="Please do not pay. Tell the staff of the car park, or call the number below.",
    sorry_code_over="This pay code was good for a few minutes only, which are over. Nothing was charged.",
    sorry_code_over_next="Please scan the code on the screen again, or enter your plate.",
    sorry_code_lots="Choose a car park",
    sorry_plate="The number plate looks incomplete. Please check and enter it again.",
    sorry_gone="This fee has been settled or has changed. Please look it up again.",
    sorry_busy="The payment channel does not answer at the moment. Nothing was charged; please try again later.",
    sorry_often="Too many look-ups. Please try again in a minute.",
    sorry_lot_away="The car park's system does not answer at the moment. Nothing was charged; please try again shortly.",
    sorry_price="The price has changed. Please look it up again.",
    try_again="Try again",
    sorry_deducting="This fee is being deducted automatically. Please look again in a moment and do not pay twice.",
    sorry_card="An ETC card has paid this fee at the exit and its issuer is confirming it. If it refuses, the fee is due again.",
    sorry_reserved="This debt is being paid on another phone. If it is not finished there, pay it here in two minutes.",
    sorry_part="The amount must be above 0 and below what is due, such as 5.00. Please go back and change it.",
    report_link="This code looks wrong",
    report_hint="Please do not pay yet, and enter no password. Tell us what is wrong; somebody will look at the place.",
    report_kind="What is wrong",
    report_pick="Please choose",
    report_kinds=(
        "Another car park's name is shown",
        "A sticker is stuck over the code",
        "It led to another site",
        "It asked for a password",
        "Something else",
    ),
    report_words="More (optional: the car park, where the code is)",
    report_go="Send",
    report_private="We need no name, phone or plate; please write none.",
    report_choose="Please choose what is wrong.",
    report_too_long="At most 300 letters, please; shorten it and send it again.",
    report_thanks="Thank you, we have it",
    report_number="Case number",
    report_next="Somebody will look at it soon. Until then please do not pay with this code; ask the staff on the spot.",
    report_caution="Somebody said that the code here may be wrong; we are looking into it. Before you pay, check that this page "
    "shows the car park you are at.",
    sorry_wallet="It cannot be paid here. Please scan the code again with your browser or another wallet.",
    sorry_wallet_title="Please open it another way",
    sorry_missing="There is no such page.",
    sorry_broken="Something went wrong on our side. Nothing was charged; please try again later.",
    sorry_title="We cannot go on",
)
