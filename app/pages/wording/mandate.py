"""What stands on the pages of mandates: leave first, pay by itself. In Chinese and in English.

Knows sentences only. Called by ``app.pages.words``, which puts the rooms' sentences together.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class MandateWords:
    """One language."""

    mandate_title: str
    mandate_link: str
    mandate_intro: str
    mandate_choose: str
    mandate_choose_text: str
    mandate_not_here: str
    mandate_open_in: str
    mandate_open_how: str
    mandate_back: str
    mandate_etc_title: str
    mandate_etc_head: str
    mandate_etc_points: tuple[str, ...]
    mandate_color: str
    mandate_color_auto: str
    mandate_plate_wrong: str
    mandate_next: str
    mandate_mine: str
    mandate_words_title: str
    mandate_all_words: str
    mandate_version: str
    mandate_tick: str
    mandate_sign: str
    mandate_tick_first: str
    mandate_words_changed: str
    mandate_go_title: str
    mandate_go_text: str
    mandate_go_button: str
    mandate_go_end_title: str
    mandate_go_end_text: str
    mandate_go_end_button: str
    mandate_look: str
    mandate_find_wechat: str
    mandate_find_alipay: str
    mandate_open_title: str
    mandate_open_text: str
    mandate_none_title: str
    mandate_none_text: str
    mandate_unknown_title: str
    mandate_unknown_text: str
    mandate_ended_title: str
    mandate_ended_text: str
    mandate_passed_on: str
    mandate_end_there: str
    mandate_last_word: str
    mandate_keep: str
    mandate_agreed_at: str
    mandate_ended_at: str
    mandate_again: str
    mandate_end: str
    mandate_end_text: str
    mandate_end_go: str
    mandate_mine_text: str
    mandate_mine_none: str
    mandate_own: str
    mandate_own_text: str
    mandate_own_none: str
    mandate_own_taken: str
    mandate_own_waiting: str
    mandate_own_refused: str
    mandate_own_again: str
    mandate_own_otherwise: str
    mandate_own_receipt: str
    mandate_own_pay: str
    mandate_own_see: str
    mandate_away: str


ZH: Final = MandateWords(
    mandate_title="先离场后付费",
    mandate_link="不想每次扫码？开通离场自动付费",
    mandate_intro="为车牌开通一次，离场自动扣停车费，不用停下来付款。",
    mandate_choose="请选择扣款方式",
    mandate_choose_text="在哪个应用里开通，以后就从哪里扣停车费。",
    mandate_not_here="目前没有可以开通的扣款方式，请稍后再来，或扫停车场的码付款。",
    mandate_open_in="请在{app}中打开",
    mandate_open_how="用{app}扫下面的码；或者复制网址，发到{app}里再打开。由{app}确认是您本人后才能开通。",
    mandate_back="返回",
    mandate_etc_title="ETC 车辆",
    mandate_etc_head="无需在这里开通",
    mandate_etc_points=(
        "您与 ETC 发卡方签订的合同就是扣款授权，这里不另行签约，也不查询您的车牌。",
        "离场时，我们向 ETC 清分方核对该车牌是否已签约停车业务，并核对它是否在状态名单（停用、欠费等）上。",
        "已签约且不在名单上的，停车费由发卡方从您的 ETC 账户支付；没有成功的，仍可扫码付款。",
        "开通、查询或结束，请联系您的 ETC 发卡方。",
    ),
    mandate_color="车牌颜色",
    mandate_color_auto="按号码判断（7 位蓝牌，8 位绿牌）",
    mandate_plate_wrong="车牌号不完整，或与所选颜色不符，请核对后重新输入。",
    mandate_next="下一步：用{channel}扣款",
    mandate_mine="我的授权",
    mandate_words_title="请阅读并确认",
    mandate_all_words="授权书全文",
    mandate_version="本版本自 {day} 起使用",
    mandate_tick="我已阅读，同意为这块车牌自动扣停车费",
    mandate_sign="同意，去{channel}开通",
    mandate_tick_first="还没有勾选同意，没有开通。请阅读后勾选，再点下面的按钮。",
    mandate_words_changed="授权内容刚刚更新，还没有开通。请阅读下面的新内容，再决定是否同意。",
    mandate_go_title="去{app}开通",
    mandate_go_text="还差一步：请在{app}的页面里确认开通，完成后回到本页查看结果。",
    mandate_go_button="打开{app}的开通页面",
    mandate_go_end_title="去{app}解除",
    mandate_go_end_text="这里的授权已经结束，不再扣款。请在{app}里也解除。",
    mandate_go_end_button="去{app}解除",
    mandate_look="查看开通结果",
    mandate_find_wechat="请在微信里搜索“微信支付分停车服务”小程序，为这块车牌开通或解除，然后回到本页。",
    mandate_find_alipay="请在支付宝里搜索“车牌无感支付”，为这块车牌开通或解除，然后回到本页。",
    mandate_open_title="已开通",
    mandate_open_text="{channel}已确认。离场时自动扣停车费，不用停下来付款。",
    mandate_none_title="还没有开通",
    mandate_none_text="{channel}没有确认开通，不会扣款。请在{channel}的页面里完成开通后再查看。",
    mandate_unknown_title="暂时查不到结果",
    mandate_unknown_text="{channel}没有回应，还不能确认是否开通。请稍后再查看，不用重新填写。",
    mandate_ended_title="已结束",
    mandate_ended_text="从现在起不再为这块车牌发起新的扣款。已经发起的一笔会照常完成；之后停车请扫码付款。",
    mandate_passed_on="这块车牌已过户，原来的授权不再有效。",
    mandate_end_there="请在{app}里也解除，以免其他商户继续使用。",
    mandate_last_word="这是上次查询的结果。在{app}中打开本页，可以查看最新结果。",
    mandate_keep="请收藏本页，以便随时查看或结束。也可以在同一应用里从“我的授权”进入。",
    mandate_agreed_at="同意时间",
    mandate_ended_at="结束时间",
    mandate_again="为车牌开通",
    mandate_end="结束授权",
    mandate_end_text="结束后立即停止发起新的扣款，随时可以重新开通。",
    mandate_end_go="确认结束",
    mandate_mine_text="点一项查看或结束。",
    mandate_mine_none="还没有授权。",
    mandate_own="最近的自动扣款",
    mandate_own_text="只有授权的本人在{app}里看得到。",
    mandate_own_none="还没有扣款。离场扣款后，凭证、退款和发票都在这里。",
    mandate_own_taken="已扣款",
    mandate_own_waiting="正在扣款，还没有结果，请勿重复支付。",
    mandate_own_refused="没有扣成，钱没有动。常见原因：余额不足，或{app}里的授权暂停、结束了。",
    mandate_own_again="{time} 会自动再试，也可以现在就缴。",
    mandate_own_otherwise="没有自动扣款，已用其他方式结清。",
    mandate_own_receipt="凭证、退款、发票",
    mandate_own_pay="现在去缴费",
    mandate_own_see="查看扣款和凭证",
    mandate_away="{app}暂时没有回应，什么都没有开通。请稍后在{app}中重新打开本页。",
)

EN: Final = MandateWords(
    mandate_title="Leave first, pay by itself",
    mandate_link="Tired of scanning? Let parking be paid by itself",
    mandate_intro="Set it up once for your plate: parking is paid when you leave, without stopping.",
    mandate_choose="How shall it be paid?",
    mandate_choose_text="Parking is then paid from the app in which you set it up.",
    mandate_not_here="Nothing can be set up here at present. Please come back later, or pay by scanning the code of the car park.",
    mandate_open_in="Please open it in {app}",
    mandate_open_how="Scan this code with {app}, or copy the address and open it there. {app} confirms that it is you.",
    mandate_back="Back",
    mandate_etc_title="Cars with ETC",
    mandate_etc_head="Nothing to set up here",
    mandate_etc_points=(
        "Your contract with the issuer of your ETC card is the mandate. Nothing is signed here, and your plate is not looked up.",
        "When you leave, we ask the ETC clearing party whether the plate is signed up, and look at its status lists.",
        "If it is, and is on no list, the issuer pays from your ETC account. If that fails you can still pay by scanning the code.",
        "To begin, look at or end it, please ask the issuer of your card.",
    ),
    mandate_color="Colour of the plate",
    mandate_color_auto="By its number (7: blue, 8: green)",
    mandate_plate_wrong="The plate is incomplete or does not go with this colour. Please check and enter it again.",
    mandate_next="Next: pay with {channel}",
    mandate_mine="My mandates",
    mandate_words_title="Please read and confirm",
    mandate_all_words="The whole text",
    mandate_version="This version counts from {day} on",
    mandate_tick="I have read this and agree that parking is paid by itself for this plate",
    mandate_sign="Agree and go to {channel}",
    mandate_tick_first="The box is not ticked, so nothing is set up. Please read, tick it, and press the button.",
    mandate_words_changed="The text has just changed; nothing is set up. Please read the new one below before you agree.",
    mandate_go_title="Set it up in {app}",
    mandate_go_text="One more step: confirm it on the page of {app}, then come back here to see the result.",
    mandate_go_button="Open the page of {app}",
    mandate_go_end_title="End it in {app}",
    mandate_go_end_text="It has ended here, nothing more is taken. Please end it in {app} as well.",
    mandate_go_end_button="End it in {app}",
    mandate_look="See the result",
    mandate_find_wechat=(
        "Please search WeChat for the mini program 微信支付分停车服务, begin or end it for this plate there, and come back."
    ),
    mandate_find_alipay="Please search Alipay for 车牌无感支付, begin or end it for this plate there, and come back.",
    mandate_open_title="It is set up",
    mandate_open_text="{channel} has confirmed it. Parking is paid by itself when you leave.",
    mandate_none_title="Not set up yet",
    mandate_none_text=(
        "{channel} has not confirmed it, so nothing will be taken. Please finish it on the page of {channel} and look again."
    ),
    mandate_unknown_title="We cannot tell right now",
    mandate_unknown_text=(
        "{channel} does not answer, so we do not know whether it is set up. Please look again "
        "later; nothing has to be filled in anew."
    ),
    mandate_ended_title="It has ended",
    mandate_ended_text=(
        "From now on no new payment is begun for this plate. One that is under way is finished. Please pay by scanning the code."
    ),
    mandate_passed_on="The plate has come to another owner; this mandate does not count any more.",
    mandate_end_there="Please end it in {app} too, so that nobody else uses it.",
    mandate_last_word="This is what we heard last. Open this page in {app} to see how it stands now.",
    mandate_keep="Keep this page to look at it or end it at any time, or find it under My mandates in the same app.",
    mandate_agreed_at="Agreed",
    mandate_ended_at="Ended",
    mandate_again="Set up a plate",
    mandate_end="End this mandate",
    mandate_end_text="No new payment is begun from then on. You can set it up again at any time.",
    mandate_end_go="Yes, end it",
    mandate_mine_text="Tap one to see or end it.",
    mandate_mine_none="There is none yet.",
    mandate_own="Last payments by mandate",
    mandate_own_text="Only who signed sees them, inside {app}.",
    mandate_own_none="None yet. After a payment its receipt, refund request and invoice are found here.",
    mandate_own_taken="Paid",
    mandate_own_waiting="Being paid, not decided yet. Please do not pay it twice.",
    mandate_own_refused="Not paid, nothing was taken. Usual reasons: too little money, or the mandate in {app} is paused or ended.",
    mandate_own_again="It is tried again on {time}; you can also pay now.",
    mandate_own_otherwise="Not paid by mandate; it was settled in another way.",
    mandate_own_receipt="Receipt, refund, invoice",
    mandate_own_pay="Pay now",
    mandate_own_see="See payments and receipts",
    mandate_away="{app} does not answer; nothing was set up. Please open this page in {app} again later.",
)
