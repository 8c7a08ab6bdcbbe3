"""What stands on every page, and the names of wallets and channels. In Chinese and in English.

Knows sentences only. Called by ``app.pages.words``, which puts the rooms' sentences together.
"""

from dataclasses import dataclass
from typing import Final, Literal

Language = Literal["zh", "en"]


@dataclass(frozen=True, kw_only=True)
class CommonWords:
    """One language."""

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
    back_to_lot: str
    channel: str
    channel_wechat: str
    channel_alipay: str
    channel_unionpay: str
    channel_etc: str
    amount: str
    day: str
    hour: str
    minute: str


ZH: Final = CommonWords(
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
    back_to_lot="返回停车场页面",
    channel="支付方式",
    channel_wechat="微信支付",
    channel_alipay="支付宝",
    channel_unionpay="银联云闪付",
    channel_etc="ETC",
    amount="金额",
    day="{n} 天",
    hour="{n} 小时",
    minute="{n} 分钟",
)

EN: Final = CommonWords(
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
    back_to_lot="Back to the car park",
    channel="Paid with",
    channel_wechat="WeChat Pay",
    channel_alipay="Alipay",
    channel_unionpay="UnionPay",
    channel_etc="ETC",
    amount="Amount",
    day="{n} d",
    hour="{n} h",
    minute="{n} min",
)
