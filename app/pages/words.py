"""Every word the citizen reads, in Chinese and in English.

Knows sentences only; must not know what leads to them. Called by the page views and templates.
"""

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

Language = Literal["zh", "en"]


class Words(Struct, frozen=True, kw_only=True):
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

    html_lang: str
    colon: str
    other_language: Language
    other_language_name: str
    brand: str
    city: str
    motto: str
    help: str
    payee: str
    lot: str
    compare: str
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
    entered: str
    left: str
    still_here: str
    stay: str
    tariff: str
    due: str
    pay_wechat: str
    pay_alipay: str
    pay_unionpay: str
    app_wechat: str
    app_alipay: str
    app_unionpay: str
    app_comma: str
    app_or: str
    pay_hint: str
    pay_none: str
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
    nothing_title: str
    nothing_text: str
    nothing_next: str
    nothing_here: str
    elsewhere_text: str
    elsewhere_go: str
    elsewhere_note: str
    which_car: str
    which_text: str
    plate_colors: tuple[str, ...]
    """In the order of ``payments.quoting.quotes.COLORS``."""
    objections: tuple[str, ...]
    """Of debts that are paid, in the order of ``payments.owed.disputes.PAID_STANDINGS``."""
    objection_open: str
    opening_title: str
    opening_text: str
    opening_go: str
    opening_button: str
    opening_cancelled: str
    opening_scripts: str
    opening_cashier: str
    continue_paying: str
    back_to_lot: str
    paid_title: str
    paid_text: str
    paid_at: str
    receipt: str
    receipt_open: str
    channel: str
    channel_wechat: str
    channel_alipay: str
    channel_unionpay: str
    channel_etc: str
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
    amount: str
    board_title: str
    board_text: str
    board_lots: str
    board_how: str
    board_with: str
    board_search: str
    board_search_hint: str
    board_search_go: str
    board_search_all: str
    board_missing: str
    board_forward: str
    board_backward: str
    board_wall: str
    board_leave_first: str
    board_report: str
    board_open: str
    board_code: str
    board_facts: str
    board_documents: str
    sheet_scan: str
    sheet_wallet: str
    sheet_compare: str
    sheet_steps: tuple[str, str, str]
    sheet_print: str
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
    shown_done_title: str
    shown_done: str
    shown_others: str
    shown_note: str
    place_lane: str
    place_berth: str
    sorry_plate: str
    sorry_gone: str
    sorry_busy: str
    sorry_often: str
    sorry_lot_away: str
    sorry_price: str
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
    try_again: str
    sorry_deducting: str
    sorry_card: str
    sorry_reserved: str
    debt_due: str
    debt_paid: str
    part: str
    part_amount: str
    part_go: str
    sorry_part: str
    dispute: str
    dispute_reason: str
    dispute_reasons: tuple[str, ...]
    """In the order of ``payments.owed.dispute_store.Reason``."""
    dispute_say: str
    dispute_go: str
    dispute_title: str
    dispute_text: str
    dispute_next: str
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
    scan_again: str
    day: str
    hour: str
    minute: str


ZH: Final = Words(
    html_lang="zh-CN",
    colon="：",
    other_language="en",
    other_language_name="English",
    brand="通停通付",
    city="无锡停车",
    motto="一码通停，费用直达停车场账户",
    help="遇到问题请拨打",
    payee="收款单位",
    lot="停车场",
    compare="支付前请核对停车场和收款单位。",
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
    entered="入场时间",
    left="离场时间",
    still_here="尚未离场",
    stay="停车时长",
    tariff="计费说明",
    due="应付金额",
    pay_wechat="微信支付",
    pay_alipay="支付宝",
    pay_unionpay="云闪付",
    app_wechat="微信",
    app_alipay="支付宝",
    app_unionpay="云闪付",
    app_comma="、",
    app_or="或",
    pay_hint="款项由支付渠道直接付给收款单位，本平台不经手。",
    pay_none="本停车场暂时不能在线支付，请联系现场工作人员。",
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
    basket_title="合并缴费",
    basket_open="待支付",
    basket_done="全部付清",
    basket_partly="已支付 ¥{paid}，还有 ¥{open} 待支付。已付的不会重复扣款，可继续支付其余部分。",
    basket_charges="{n} 笔合并",
    basket_acts="该方式需分 {n} 次支付。",
    basket_over="本页的支付时间已过，请重新查询后支付。",
    basket_price="本停车场的停车费价格已更新，标出的这笔没有扣款。请查询新价格，核对后再支付。",
    basket_price_elsewhere="另一停车场的停车费价格已更新，标出的这笔没有扣款。请扫该停车场的支付码重新查询。",
    basket_price_go="查询新价格",
    basket_other="没有付款，换一种方式支付",
    basket_other_note="请确认没有付款，再换一种方式。如果重复支付，多付的款项会原路退回。",
    basket_left="另有 {n} 笔不支持该方式，付完后请换一种方式支付。",
    leg_unpaid="待支付",
    leg_waiting="确认中",
    leg_price="价格已更新，未扣款",
    leg_paid="已支付",
    leg_elsewhere="已由其他方式付清",
    leg_refund_due="重复支付，将退款",
    leg_refunded="已退款",
    nothing_title="没有待缴费用",
    nothing_text="该车在本停车场没有待缴的停车费。",
    nothing_next="如刚刚入场或刚刚结算，请稍候片刻再查；也请核对车牌号是否正确。",
    nothing_here="本停车场没有待缴费用",
    elsewhere_text="该车在其他停车场有 {n} 笔待缴停车费，可以在这里支付。",
    elsewhere_go="支付",
    elsewhere_note="为保护隐私，其他停车场的费用只显示收款单位和金额，不显示名称和停车时间。",
    which_car="请选择您的车牌颜色",
    which_text="有不止一辆车使用这个号码，车牌颜色不同。",
    plate_colors=("蓝牌", "绿牌", "黄牌", "黑牌", "白牌", "黄绿牌"),
    objections=(
        "这笔费用已付清，您的异议仍在核实；异议成立的，所付款项将退回。",
        "异议成立，所付款项将由收款单位退回。",
        "异议成立，款项已安排退回，到账时间以支付机构为准。",
        "经核实，异议不成立，这笔费用无误。",
    ),
    objection_open="您对这笔欠费的异议正在核实。现在付款不等于放弃异议：异议成立的，所付款项将退回。",
    opening_title="正在打开支付",
    opening_text="请在弹出的窗口中确认支付。没有反应时，请点下面的按钮。",
    opening_go="没有自动打开时，请点下面的按钮。付完后请回到本页查看结果。",
    opening_button="立即支付",
    opening_cancelled="您取消了支付，可以重新点按支付。",
    opening_scripts="这个网页的脚本被关闭，打不开支付。没有扣款。请允许脚本后刷新本页，或用手机浏览器重新扫码支付。",
    opening_cashier="打开演示收银台",
    continue_paying="继续支付",
    back_to_lot="返回停车场页面",
    paid_title="支付成功",
    paid_text="费用已付给收款单位，请尽快离场。",
    paid_at="支付时间",
    receipt="凭证号",
    receipt_open="查看、打印凭证",
    channel="支付方式",
    channel_wechat="微信支付",
    channel_alipay="支付宝",
    channel_unionpay="银联云闪付",
    channel_etc="ETC",
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
    amount="金额",
    board_title="扫一个码，全城停车都能付",
    board_text="停车费由支付渠道直接付到停车场经营单位自己的账户，平台不经手资金。",
    board_lots="停车场",
    board_how="三步缴费",
    board_with="支持{wallets}。",
    board_search="查找停车场",
    board_search_hint="名称、编号、区或地址",
    board_search_go="查找",
    board_search_all="显示全部",
    board_missing="没有找到“{typed}”，请换个说法试试。",
    board_forward="下一页",
    board_backward="上一页",
    board_wall="示范支付码墙（可直接扫描）",
    board_leave_first="登记“先离场、后付费”",
    board_report="举报可疑的支付码",
    board_open="打开缴费页",
    board_code="支付码",
    board_facts="{n} 个泊位",
    board_documents="接口文档",
    sheet_scan="扫码缴停车费",
    sheet_wallet="请用{wallets}“扫一扫”",
    sheet_compare="支付前请核对页面显示的停车场名称",
    sheet_steps=("扫描二维码", "输入车牌号", "核对后支付"),
    sheet_print="打印",
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
    shown_done_title="已缴清",
    shown_done="这个支付码对应的停车费已经缴清，无需再付。",
    shown_others="不是这辆车？输入车牌",
    shown_note="此页面只显示这个码对应的停车费。",
    place_lane="{name} 车道",
    place_berth="{name} 号泊位",
    sorry_plate="车牌号似乎不完整，请核对后重新输入。",
    sorry_gone="这笔费用已经结清或发生变化，请重新查询。",
    sorry_busy="支付渠道暂时没有回应，没有扣款，请稍后再试。",
    sorry_often="查询过于频繁，请一分钟后再试。",
    sorry_lot_away="停车场系统暂时没有回应，没有扣费，请稍候重试。",
    sorry_price="价格已更新，请重新查询。",
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
    try_again="重试",
    sorry_deducting="这笔停车费正在自动扣费，请稍候再查看结果，不要重复支付。",
    sorry_card="这笔停车费已在出口刷 ETC 卡支付，正等发卡方确认，无需再付。若发卡方拒付，欠费会重新出现。",
    sorry_reserved="这笔欠费正在另一部手机上支付，请勿重复支付。如果那边没有付完，两分钟后可以在这里支付。",
    debt_due="已离场欠费，请在 {day} 前付清",
    debt_paid="已付",
    part="先付一部分",
    part_amount="支付金额（元）",
    part_go="按此金额支付",
    sorry_part="金额应大于 0 且小于欠费金额，例如 5.00。请返回重新填写。",
    dispute="对这笔欠费有异议",
    dispute_reason="原因",
    dispute_reasons=("不是我的车", "没有在这里停车", "进出时间不对", "已经付过", "计费不对", "应当免费", "其他"),
    dispute_say="说明（选填）",
    dispute_go="提交异议",
    dispute_title="异议已收到",
    dispute_text="我们会请停车场提供记录并尽快核实。核实期间不催缴、不自动扣费。",
    dispute_next="核实结果请在七天后再扫本码、输入车牌查看。",
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
    scan_again="重新查询",
    day="{n} 天",
    hour="{n} 小时",
    minute="{n} 分钟",
)

EN: Final = Words(
    html_lang="en",
    colon=": ",
    other_language="zh",
    other_language_name="中文",
    brand="Tongting",
    city="Wuxi Parking",
    motto="One code for every car park",
    help="Questions? Call",
    payee="Payee",
    lot="Car park",
    compare="Compare car park and payee before you pay.",
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
    entered="Entered",
    left="Left",
    still_here="not yet left",
    stay="Stay",
    tariff="Tariff",
    due="Amount due",
    pay_wechat="WeChat Pay",
    pay_alipay="Alipay",
    pay_unionpay="UnionPay",
    app_wechat="WeChat",
    app_alipay="Alipay",
    app_unionpay="UnionPay",
    app_comma=", ",
    app_or=" or ",
    pay_hint="The channel pays the operator directly; this platform never holds your money.",
    pay_none="This car park takes no payments online at the moment. Please ask the staff.",
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
    basket_title="Pay together",
    basket_open="To be paid",
    basket_done="All paid",
    basket_partly="¥{paid} is paid, ¥{open} is still open. What is paid is not charged again; you can go on with the rest.",
    basket_charges="{n} fees",
    basket_acts="This wallet needs {n} payments.",
    basket_over="The time of this page is over. Please look up the fees again to pay.",
    basket_price="The price here has changed. Nothing was taken for what is marked. Please look up the new price and check it.",
    basket_price_elsewhere="The price at another car park has changed. Nothing was taken for it. Please scan the code there.",
    basket_price_go="Look up the new price",
    basket_other="Not paid? Pay another way",
    basket_other_note="Please be sure that you have not paid. What is paid twice goes back the way it came.",
    basket_left="{n} of them cannot be paid this way; please use another wallet for them afterwards.",
    leg_unpaid="to be paid",
    leg_waiting="being confirmed",
    leg_price="New price, nothing taken",
    leg_paid="paid",
    leg_elsewhere="paid another way",
    leg_refund_due="paid twice, goes back",
    leg_refunded="refunded",
    nothing_title="Nothing to pay",
    nothing_text="There is no parking fee due for this car at this car park.",
    nothing_next="If you have only just arrived or settled, try again in a moment, and check the number plate.",
    nothing_here="Nothing to pay at this car park",
    elsewhere_text="This car owes {n} fee(s) at other car parks. You can pay them here.",
    elsewhere_go="Pay",
    elsewhere_note="To keep it private, of other car parks only payee and amount are shown, no names and times.",
    which_car="What colour is your number plate?",
    which_text="More than one car has this number, on plates of different colours.",
    plate_colors=("Blue plate", "Green plate", "Yellow plate", "Black plate", "White plate", "Yellow-green plate"),
    objections=(
        "This fee is paid. Your objection is still being looked into; if it is accepted, what you paid goes back.",
        "Your objection was accepted. The payee will give back what you paid.",
        "Your objection was accepted. The money is on its way back; your bank or wallet says when it arrives.",
        "We looked into your objection: the fee was right.",
    ),
    objection_open="Your objection is being looked into. Paying now does not withdraw it: if it is accepted, the money goes back.",
    opening_title="Opening the wallet",
    opening_text="Please confirm in the window that opens. If nothing happens, tap the button below.",
    opening_go="If it does not open by itself, tap the button below. Come back to this page afterwards for the result.",
    opening_button="Pay now",
    opening_cancelled="You cancelled the payment. You can tap to pay again.",
    opening_scripts="The wallet needs scripts, which are off. Nothing was taken. Allow them and reload, or scan with a browser.",
    opening_cashier="Open the demo cashier",
    continue_paying="Go on paying",
    back_to_lot="Back to the car park",
    paid_title="Paid",
    paid_text="The fee has been paid to the operator. Please leave soon.",
    paid_at="Paid at",
    receipt="Receipt number",
    receipt_open="Show or print the receipts",
    channel="Paid with",
    channel_wechat="WeChat Pay",
    channel_alipay="Alipay",
    channel_unionpay="UnionPay",
    channel_etc="ETC",
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
    amount="Amount",
    board_title="One code pays for parking all over the city",
    board_text="Fees go from the payment channel straight into each operator's own account. The platform never holds them.",
    board_lots="Car parks",
    board_how="Three steps",
    board_with="With {wallets}.",
    board_search="Find a car park",
    board_search_hint="Name, code, district or address",
    board_search_go="Search",
    board_search_all="Show all",
    board_missing="Nothing found for “{typed}”. Please try other words.",
    board_forward="Next page",
    board_backward="Previous page",
    board_wall="A wall of demo codes to scan",
    board_leave_first="Register to leave first and pay later",
    board_report="Report a suspicious code",
    board_open="Open the payment page",
    board_code="Pay code",
    board_facts="{n} berths",
    board_documents="API documents",
    sheet_scan="Scan to pay for parking",
    sheet_wallet="Use “Scan” in {wallets}",
    sheet_compare="Before you pay, compare the car park's name on the page",
    sheet_steps=("Scan the code", "Enter the plate", "Compare and pay"),
    sheet_print="Print",
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
    shown_done_title="All paid",
    shown_done="The parking fee of this code is paid. There is nothing more to pay.",
    shown_others="Another car? Enter its plate",
    shown_note="This page shows the fee of this code only.",
    place_lane="lane {name}",
    place_berth="berth {name}",
    sorry_plate="The number plate looks incomplete. Please check and enter it again.",
    sorry_gone="This fee has been settled or has changed. Please look it up again.",
    sorry_busy="The payment channel does not answer at the moment. Nothing was charged; please try again later.",
    sorry_often="Too many look-ups. Please try again in a minute.",
    sorry_lot_away="The car park's system does not answer at the moment. Nothing was charged; please try again shortly.",
    sorry_price="The price has changed. Please look it up again.",
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
    try_again="Try again",
    sorry_deducting="This fee is being deducted automatically. Please look again in a moment and do not pay twice.",
    sorry_card="An ETC card has paid this fee at the exit and its issuer is confirming it. If it refuses, the fee is due again.",
    sorry_reserved="This debt is being paid on another phone. If it is not finished there, pay it here in two minutes.",
    debt_due="The car left unpaid; please pay by {day}",
    debt_paid="Paid so far",
    part="Pay a part of it",
    part_amount="Amount (yuan)",
    part_go="Pay this amount",
    sorry_part="The amount must be above 0 and below what is due, such as 5.00. Please go back and change it.",
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
    scan_again="Look up again",
    day="{n} d",
    hour="{n} h",
    minute="{n} min",
)

ALL: Final[dict[Language, Words]] = {"zh": ZH, "en": EN}


def words(asked: str | None) -> Words:
    """Return the language asked for by ``?lang=``; Chinese unless it is ``en``."""
    return EN if asked == "en" else ZH
