"""What is said between the tapped wallet and the result, of one charge and of several. In Chinese and in English.

Knows sentences only. Called by ``app.pages.words``, which puts the rooms' sentences together.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class PayingWords:
    """One language."""

    basket_title: str
    basket_open: str
    basket_done: str
    basket_partly: str
    basket_charges: str
    basket_acts: str
    basket_left: str
    basket_over: str
    basket_price: str
    basket_price_elsewhere: str
    basket_price_go: str
    basket_other: str
    basket_other_note: str
    leg_unpaid: str
    leg_waiting: str
    leg_price: str
    leg_paid: str
    leg_elsewhere: str
    leg_refund_due: str
    leg_refunded: str
    opening_title: str
    opening_text: str
    opening_go: str
    opening_button: str
    opening_cancelled: str
    opening_scripts: str
    opening_cashier: str
    continue_paying: str
    paid_title: str
    paid_text: str
    paid_at: str
    receipt: str
    receipt_open: str
    waiting_title: str
    waiting_text: str
    unpaid_title: str
    unpaid_text: str
    closed_title: str
    closed_text: str
    twice_title: str
    twice_text: str
    refunded_title: str
    refunded_text: str
    refunded: str
    taken_back_title: str
    taken_back_text: str
    taken_back_settled: str
    check_title: str
    check_text: str
    refresh: str
    offline: str


ZH: Final = PayingWords(
    basket_title="合并缴费",
    basket_open="待支付",
    basket_done="全部付清",
    basket_partly="已支付 ¥{paid}，还有 ¥{open} 待支付。已付的不会重复扣款，可继续支付其余部分。",
    basket_charges="{n} 笔合并",
    basket_acts="该方式需分 {n} 次支付。",
    basket_left="另有 {n} 笔不支持该方式，付完后请换一种方式支付。",
    basket_over="本页的支付时间已过，请重新查询后支付。",
    basket_price="本停车场的停车费价格已更新，标出的这笔没有扣款。请查询新价格，核对后再支付。",
    basket_price_elsewhere="另一停车场的停车费价格已更新，标出的这笔没有扣款。请扫该停车场的支付码重新查询。",
    basket_price_go="查询新价格",
    basket_other="没有付款，换一种方式支付",
    basket_other_note="请确认没有付款，再换一种方式。如果重复支付，多付的款项会原路退回。",
    leg_unpaid="待支付",
    leg_waiting="确认中",
    leg_price="价格已更新，未扣款",
    leg_paid="已支付",
    leg_elsewhere="已由其他方式付清",
    leg_refund_due="重复支付，将退款",
    leg_refunded="已退款",
    opening_title="正在打开支付",
    opening_text="请在弹出的窗口中确认支付。没有反应时，请点下面的按钮。",
    opening_go="没有自动打开时，请点下面的按钮。付完后请回到本页查看结果。",
    opening_button="立即支付",
    opening_cancelled="您取消了支付，可以重新点按支付。",
    opening_scripts="这个网页的脚本被关闭，打不开支付。没有扣款。请允许脚本后刷新本页，或用手机浏览器重新扫码支付。",
    opening_cashier="打开演示收银台",
    continue_paying="继续支付",
    paid_title="支付成功",
    paid_text="费用已付给收款单位，请尽快离场。",
    paid_at="支付时间",
    receipt="凭证号",
    receipt_open="查看、打印凭证",
    waiting_title="正在确认支付结果",
    waiting_text="正在向支付渠道核实，通常只需几秒，本页会自动刷新。还没付款，请点“继续支付”；已经付款，请勿重复支付。",
    unpaid_title="等待支付",
    unpaid_text="尚未收到付款。若已付款，请稍候，本页会自动刷新。",
    closed_title="订单已关闭",
    closed_text="本次订单未付款，已经关闭，没有扣款。需要缴费请重新查询。",
    twice_title="重复支付，正在安排退款",
    twice_text="这笔停车费此前已经付清。您本次支付的金额将按原支付方式退回，无需申请。",
    refunded_title="已全额退款",
    refunded_text="款项已按原支付方式退回，到账时间以支付机构为准。",
    refunded="已退款",
    taken_back_title="付款已被收回",
    taken_back_text="支付渠道收回了这笔付款，收款单位没有收到，停车费需要重新缴纳。请重新查询并支付。",
    taken_back_settled="支付渠道收回了这笔付款；这笔停车费已另行付清，无需再付。",
    check_title="付款正在人工核对",
    check_text="已收到您的付款，但与订单不一致，工作人员正在核对，请保留凭证号。",
    refresh="刷新结果",
    offline="网络已断开，连上后本页会自动刷新。已付的款不会丢，请勿重复支付。",
)

EN: Final = PayingWords(
    basket_title="Pay together",
    basket_open="To be paid",
    basket_done="All paid",
    basket_partly="¥{paid} is paid, ¥{open} is still open. What is paid is not charged again; you can go on with the rest.",
    basket_charges="{n} fees",
    basket_acts="This wallet needs {n} payments.",
    basket_left="{n} of them cannot be paid this way; please use another wallet for them afterwards.",
    basket_over="The time of this page is over. Please look up the fees again to pay.",
    basket_price="The price here has changed. Nothing was taken for what is marked. Please look up the new price and check it.",
    basket_price_elsewhere="The price at another car park has changed. Nothing was taken for it. Please scan the code there.",
    basket_price_go="Look up the new price",
    basket_other="Not paid? Pay another way",
    basket_other_note="Please be sure that you have not paid. What is paid twice goes back the way it came.",
    leg_unpaid="to be paid",
    leg_waiting="being confirmed",
    leg_price="New price, nothing taken",
    leg_paid="paid",
    leg_elsewhere="paid another way",
    leg_refund_due="paid twice, goes back",
    leg_refunded="refunded",
    opening_title="Opening the wallet",
    opening_text="Please confirm in the window that opens. If nothing happens, tap the button below.",
    opening_go="If it does not open by itself, tap the button below. Come back to this page afterwards for the result.",
    opening_button="Pay now",
    opening_cancelled="You cancelled the payment. You can tap to pay again.",
    opening_scripts="The wallet needs scripts, which are off. Nothing was taken. Allow them and reload, or scan with a browser.",
    opening_cashier="Open the demo cashier",
    continue_paying="Go on paying",
    paid_title="Paid",
    paid_text="The fee has been paid to the operator. Please leave soon.",
    paid_at="Paid at",
    receipt="Receipt number",
    receipt_open="Show or print the receipts",
    waiting_title="Confirming your payment",
    waiting_text="We are asking the channel; the page reloads by itself. Not paid yet? Tap “Go on paying”. Paid? Do not pay twice.",
    unpaid_title="Waiting for payment",
    unpaid_text="No payment has arrived yet. If you have paid, wait a moment: this page reloads by itself.",
    closed_title="Order closed",
    closed_text="This order was not paid and is closed. Nothing was charged. Please look up the fee again.",
    twice_title="Paid twice: a refund is being arranged",
    twice_text="This fee had been paid before. What you paid now goes back the way it came; you need not apply.",
    refunded_title="Refunded in full",
    refunded_text="The money has gone back the way it came; your bank or wallet says when it arrives.",
    refunded="Refunded",
    taken_back_title="Your payment was taken back",
    taken_back_text="The channel took this payment back, so the operator did not get it. The fee is due again; please look it up.",
    taken_back_settled="The channel took this payment back. The fee has been paid another way; nothing is due.",
    check_title="Your payment is being checked",
    check_text="Your payment arrived but does not fit the order. Our staff are checking it; please keep the receipt number.",
    refresh="Reload",
    offline="There is no network. This page looks again when there is. What you paid is not lost; do not pay twice.",
)
