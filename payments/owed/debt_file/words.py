"""The Chinese words of debt files for codes. Pure; read by the PDF alone: JSON and CSV keep the codes."""

from typing import Final

BASES: Final = {
    "mandate": "授权代扣，先离场后付费",
    "policy": "先离场后付费",
    "escaped": "未缴费驶离",
    "card": "ETC卡扣款未成",
    "taken_back": "渠道退回",
}
STATES: Final = {
    "open": "未清", "settled": "已缴清", "waived": "已减免", "written_off": "已核销", "credited": "已更正",
    "planned": "待发", "sending": "发送中", "sent": "已发送", "failed": "未发出", "bounced": "退回", "dropped": "撤销",
    "running": "履行中", "kept": "已履行", "missed": "已违约",
}  # fmt: skip
DISPUTES: Final = {
    "open": "核查中", "deciding": "待复核", "upheld": "成立", "partly": "部分成立", "rejected": "不成立", "withdrawn": "已撤回",
}  # fmt: skip
ACTS: Final = {
    "demand": "催缴送达", "part_paid": "部分履行", "instalments": "同意分期", "acknowledged": "承认欠费",
}  # fmt: skip
DECISIONS: Final = {"waiver": "减免", "write_off": "核销", "write_back": "核销转回"}
KINDS: Final = {
    "PAYMENT": "收款", "LEFT_UNPAID": "离场欠费", "REFUND_ACCEPTED": "退款受理", "REFUND_DONE": "退款到账", "BAD_DEBT": "渠道退回",
    "CREDITED": "更正", "WAIVED": "减免", "WRITTEN_OFF": "核销",
}  # fmt: skip
TREATMENTS: Final = {
    "settled": "缴清",
    "part": "部分缴纳",
    "second_payment": "重复缴费（挂账）",
    "amount_differs": "金额不符（挂账）",
}
REASONS: Final = {
    "not_my_car": "非本人车辆", "not_there": "未在此停放", "times_wrong": "时间有误", "already_paid": "已缴费",
    "tariff_wrong": "计费有误", "exempt": "应予免费", "other": "其他",
}  # fmt: skip
COLORS: Final = {
    "blue": "蓝", "green": "绿", "yellow": "黄", "black": "黑", "white": "白", "limegreen": "黄绿", "unknown": "颜色不详",
}  # fmt: skip
PARTIES: Final = {"driver": "车主", "lot": "停车场", "staff": "平台"}


def word(words: dict[str, str], code: str) -> str:
    """Return the word of a code, or the code itself."""
    return words.get(code, code)


def kind(name: str) -> str:
    """Return the word of an entry's kind; a reversal is named so."""
    plain, _, reversed_ = name.partition(" ")
    return word(KINDS, plain) + ("（冲正）" if reversed_ else "")
