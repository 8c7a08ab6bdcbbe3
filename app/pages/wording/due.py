"""What is said of a plate's debts and prices, and of what takes something off. In Chinese and in English.

Knows sentences only. Called by ``app.pages.words``, which puts the rooms' sentences together.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class DueWords:
    """One language."""

    entered: str
    left: str
    still_here: str
    stay: str
    tariff: str
    due: str
    change_plate: str
    together: str
    together_text: str
    choose_all: str
    choose_sum: str
    choose_go: str
    choose_none: str
    choose_elsewhere: str
    by_mandate: str
    price_changed: str
    nothing_title: str
    nothing_text: str
    nothing_next: str
    nothing_here: str
    elsewhere_text: str
    elsewhere_go: str
    elsewhere_note: str
    objections: tuple[str, ...]
    """Of debts that are paid, in the order of ``payments.owed.disputes.PAID_STANDINGS``."""
    objection_open: str
    shown_done_title: str
    shown_done: str
    shown_others: str
    shown_note: str
    coupon: str
    discount: str
    discount_line: str
    coupon_code: str
    coupon_go: str
    coupon_free_title: str
    coupon_free: str
    covered_text: str
    covered_by: str
    covered_at: str
    covered_number: str
    covered_note: str
    coupon_sorry: tuple[str, ...]
    """Why a coupon takes nothing off, in the order of ``coupon._SORRY``."""
    debt_due: str
    debt_paid: str
    part: str
    part_amount: str
    part_go: str
    dispute: str
    dispute_reason: str
    dispute_reasons: tuple[str, ...]
    """In the order of ``payments.owed.dispute_store.Reason``."""
    dispute_say: str
    dispute_go: str
    dispute_title: str
    dispute_text: str
    dispute_next: str
    scan_again: str


ZH: Final = DueWords(
    entered="入场时间",
    left="离场时间",
    still_here="尚未离场",
    stay="停车时长",
    tariff="计费说明",
    due="应付金额",
    change_plate="更换车牌",
    together="一并支付",
    together_text="该车辆共有 {n} 笔待缴停车费，可以一并支付。",
    choose_all="全选",
    choose_sum="已选合计",
    choose_go="支付所选",
    choose_none="没有选择任何费用，请返回并至少选择一笔。",
    choose_elsewhere="其他停车场",
    by_mandate="由 {channels} 代扣，无需操作。如现在自行支付，不会重复扣款。",
    price_changed="价格已由 ¥{old} 变为 ¥{new}，请核对后重新确认支付。",
    nothing_title="没有待缴费用",
    nothing_text="该车在本停车场没有待缴的停车费。",
    nothing_next="如刚刚入场或刚刚结算，请稍候片刻再查；也请核对车牌号是否正确。",
    nothing_here="本停车场没有待缴费用",
    elsewhere_text="该车在其他停车场有 {n} 笔待缴停车费，可以在这里支付。",
    elsewhere_go="支付",
    elsewhere_note="为保护隐私，其他停车场的费用只显示收款单位和金额，不显示名称和停车时间。",
    objections=(
        "这笔费用已付清，您的异议仍在核实；异议成立的，所付款项将退回。",
        "异议成立，所付款项将由收款单位退回。",
        "异议成立，款项已安排退回，到账时间以支付机构为准。",
        "经核实，异议不成立，这笔费用无误。",
    ),
    objection_open="您对这笔欠费的异议正在核实。现在付款不等于放弃异议：异议成立的，所付款项将退回。",
    shown_done_title="已缴清",
    shown_done="这个支付码对应的停车费已经缴清，无需再付。",
    shown_others="不是这辆车？输入车牌",
    shown_note="此页面只显示这个码对应的停车费。",
    coupon="使用优惠券",
    discount="{words} −{yuan} 元",
    discount_line="优惠",
    coupon_code="优惠券码",
    coupon_go="使用",
    coupon_free_title="无需付款",
    coupon_free="优惠券抵扣 ¥{yuan} 后，本次停车无需付款，可以离场。",
    covered_text="本次停车费 ¥{yuan} 已由优惠全部抵扣，可以离场。",
    covered_by="优惠抵扣",
    covered_at="抵扣时间",
    covered_number="抵扣编号",
    covered_note="没有付款，所以没有付款凭证和发票。",
    coupon_sorry=(
        "没有这张优惠券，请核对券码。",
        "这张优惠券不在有效期内。",
        "这张优惠券已经用完。",
        "这张优惠券不能在本停车场使用。",
        "已有的优惠更划算，这张优惠券不能同时使用。",
        "有人正在支付这笔停车费，请稍后再用券。",
        "这笔停车费现在不能用券，请重新查询。",
    ),
    debt_due="已离场欠费，请在 {day} 前付清",
    debt_paid="已付",
    part="先付一部分",
    part_amount="支付金额（元）",
    part_go="按此金额支付",
    dispute="对这笔欠费有异议",
    dispute_reason="原因",
    dispute_reasons=("不是我的车", "没有在这里停车", "进出时间不对", "已经付过", "计费不对", "应当免费", "其他"),
    dispute_say="说明（选填）",
    dispute_go="提交异议",
    dispute_title="异议已收到",
    dispute_text="我们会请停车场提供记录并尽快核实。核实期间不催缴、不自动扣费。",
    dispute_next="核实结果请在七天后再扫本码、输入车牌查看。",
    scan_again="重新查询",
)

EN: Final = DueWords(
    entered="Entered",
    left="Left",
    still_here="not yet left",
    stay="Stay",
    tariff="Tariff",
    due="Amount due",
    change_plate="Other plate",
    together="Pay all together",
    together_text="This car owes {n} parking fees. You can pay them together.",
    choose_all="Choose all",
    choose_sum="Chosen",
    choose_go="Pay what is chosen",
    choose_none="Nothing is chosen. Please go back and choose at least one fee.",
    choose_elsewhere="Another car park",
    by_mandate="It will be deducted by {channels}; you need not do anything. If you pay now, nothing is deducted.",
    price_changed="The amount has changed from ¥{old} to ¥{new}. Please check it and confirm again.",
    nothing_title="Nothing to pay",
    nothing_text="There is no parking fee due for this car at this car park.",
    nothing_next="If you have only just arrived or settled, try again in a moment, and check the number plate.",
    nothing_here="Nothing to pay at this car park",
    elsewhere_text="This car owes {n} fee(s) at other car parks. You can pay them here.",
    elsewhere_go="Pay",
    elsewhere_note="To keep it private, of other car parks only payee and amount are shown, no names and times.",
    objections=(
        "This fee is paid. Your objection is still being looked into; if it is accepted, what you paid goes back.",
        "Your objection was accepted. The payee will give back what you paid.",
        "Your objection was accepted. The money is on its way back; your bank or wallet says when it arrives.",
        "We looked into your objection: the fee was right.",
    ),
    objection_open="Your objection is being looked into. Paying now does not withdraw it: if it is accepted, the money goes back.",
    shown_done_title="All paid",
    shown_done="The parking fee of this code is paid. There is nothing more to pay.",
    shown_others="Another car? Enter its plate",
    shown_note="This page shows the fee of this code only.",
    coupon="Use a coupon",
    discount="{words} −¥{yuan}",
    discount_line="Discount",
    coupon_code="Code of the coupon",
    coupon_go="Use it",
    coupon_free_title="Nothing to pay",
    coupon_free="The coupon takes off ¥{yuan}. Nothing is left to pay; you may leave.",
    covered_text="Discounts cover all of ¥{yuan} for this stay. You may leave.",
    covered_by="Covered by",
    covered_at="Covered at",
    covered_number="Number",
    covered_note="Nothing was paid, so there is no receipt of a payment and no invoice.",
    coupon_sorry=(
        "There is no such coupon. Please check the code.",
        "This coupon is not valid now.",
        "This coupon has been used up.",
        "This coupon does not count at this car park.",
        "What counts already takes off as much, and this coupon does not count beside it.",
        "Somebody is paying this charge. Please use the coupon in a moment.",
        "No coupon can be used for this charge now. Please look it up again.",
    ),
    debt_due="The car left unpaid; please pay by {day}",
    debt_paid="Paid so far",
    part="Pay a part of it",
    part_amount="Amount (yuan)",
    part_go="Pay this amount",
    dispute="This debt is wrong",
    dispute_reason="Why",
    dispute_reasons=(
        "Not my car",
        "I did not park here",
        "Times are wrong",
        "I have paid",
        "The amount is wrong",
        "It should be free",
        "Other",
    ),
    dispute_say="In your words (optional)",
    dispute_go="Send",
    dispute_title="We have your objection",
    dispute_text="The car park will be asked for its records. Until this is decided you are not reminded and nothing is deducted.",
    dispute_next="Scan this code and enter the plate again in seven days to see the result.",
    scan_again="Look up again",
)
