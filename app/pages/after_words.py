"""What a driver reads after paying: receipt, refund request, invoice; in Chinese and in English.

Knows sentences only; must not know what leads to them. Called by the pages of results and receipts and their templates.
"""

from typing import Final

from msgspec import Struct


class AfterWords(Struct, frozen=True, kw_only=True):
    """One language. A sentence missing in one of them fails when the module is loaded, not before a driver."""

    title: str
    open: str
    back: str
    print: str
    number: str
    credit_code: str
    charge: str
    reduced: str
    amount: str
    together: str
    trade_no: str
    back_done: str
    back_way: str
    taken_back: str
    seal: str
    sealing: str
    sealed: str
    proof: str
    proof_text: str
    proof_how: str
    proof_steps: tuple[str, ...]
    elsewhere: str
    keep: str
    keep_text: str
    keep_share: str
    keep_done: str
    a_channel: str
    waiting_later: str
    waiting_long: str
    unpaid_later: str
    changed: str
    refund: str
    refund_text: str
    refund_reason: str
    refund_pick: str
    refund_reasons: tuple[str, ...]
    """In the order of ``payments.refunding.requests.REASONS``."""
    refund_words: str
    refund_go: str
    refund_open: str
    refund_accepted: str
    refund_declined: str
    refund_says: str
    refund_again: str
    refund_itself: str
    refund_wrong: str
    invoice: str
    fiscal: str
    invoice_none: str
    invoice_text: str
    invoice_person: str
    invoice_company: str
    invoice_buyer: str
    invoice_title: str
    invoice_tax_no: str
    invoice_email: str
    invoice_go: str
    invoice_waiting: str
    invoice_issued: str
    invoice_number: str
    invoice_file: str
    invoice_refused: str
    invoice_red: str
    invoice_red_waiting: str
    invoice_red_correct: str
    invoice_red_correct_waiting: str
    invoice_replaced: str
    invoice_correct_waiting: str
    invoice_correct: str
    invoice_correct_text: str
    invoice_all: str
    invoice_wrong: tuple[str, str, str]
    """Title, tax number, e-mail."""
    gone: str


ZH: Final = AfterWords(
    title="停车缴费凭证",
    open="查看、打印凭证",
    back="返回支付结果",
    print="打印",
    number="凭证号",
    credit_code="统一社会信用代码",
    charge="停车费",
    reduced="减免",
    amount="实付金额",
    together="合计",
    trade_no="渠道交易号",
    back_done="¥{amount} 已于 {day} 退回",
    back_way="¥{amount} 正在退回",
    taken_back="支付渠道已收回这笔付款",
    seal="封账",
    sealing="正在封账，通常几秒钟，稍后刷新可见。",
    sealed="收款单位账簿第 {number} 号，检查点 {size}，根 {root}…",
    proof="查看公开证明",
    proof_text="任何人都可以用公开证明和 SHA-256 自行验算，确认这笔付款已记入账簿且未被改动；证明里没有个人信息。",
    proof_how="怎样自己验算",
    proof_steps=(
        "打开公开证明，里面有这笔记录（record）、它的叶子（leaf）、路径（path）和检查点（checkpoint），不含姓名、车牌和账号。",
        "对字节 00 加 record 算 SHA-256，得到 leaf。",
        "从 leaf 开始，依次与 path 里的值拼接（前面加字节 01）再算 SHA-256，得到检查点的根，开头与本凭证上的相同（RFC 9162）。",
        "用 verifier_key 验证检查点的 Ed25519 签名：账簿由平台签过名，此后改动任何一笔都会被发现。",
    ),
    elsewhere="其他停车场（不显示地点和时间）",
    keep="保存本页，以后再看",
    keep_text="凭这个地址随时可以回到本页，请不要发给别人：",
    keep_share="分享或复制地址",
    keep_done="已复制",
    a_channel="支付渠道",
    waiting_later="还在向{channel}核实。钱不会丢：要么付给停车场，要么原路退回。您可以关闭本页，稍后再打开看结果，请勿重复支付。",
    waiting_long="{channel}还没有给出结果，我们会一直查询，直到查清。钱不会丢：没有付成的会原路退回。您可以放心关闭本页。",
    unpaid_later="一直没有收到付款，也没有扣款。需要缴费请点“继续支付”或重新查询；如果已经扣款，钱不会丢，本页会显示结果。",
    changed="这笔停车费的应付金额已变为 ¥{amount}，请重新查询后支付。",
    refund="申请退款",
    refund_text="申请由收款单位处理，{days} 天内答复，结果显示在本页。",
    refund_reason="原因",
    refund_pick="请选择",
    refund_reasons=("重复支付", "车牌输错了", "付款后没有抬杆", "金额不对", "其他"),
    refund_words="说明（选填，不超过 300 字）",
    refund_go="提交退款申请",
    refund_open="退款申请已收到，收款单位会在 {day} 前答复，请再打开本页查看。",
    refund_accepted="退款申请已同意，将退回 ¥{amount}，到账时间以支付机构为准。",
    refund_declined="退款申请未获同意。",
    refund_says="收款单位答复：",
    refund_again="再次申请退款",
    refund_itself="这是重复的付款，将自动原路退回，无需申请。",
    refund_wrong="请选择原因；说明不超过 300 字。",
    invoice="申请电子发票",
    fiscal="申请财政电子票据",
    invoice_none="本停车场不在这里开具发票，需要的请联系收款单位。",
    invoice_text="由收款单位开具，金额为实付减去退款。",
    invoice_person="个人",
    invoice_company="单位",
    invoice_buyer="抬头类型",
    invoice_title="抬头名称",
    invoice_tax_no="税号（单位必填）",
    invoice_email="接收邮箱（选填，送达后删除）",
    invoice_go="提交",
    invoice_waiting="开票申请已收到，正在开具，稍后打开本页下载。",
    invoice_issued="已开具 ¥{amount}",
    invoice_number="票据号码",
    invoice_file="下载",
    invoice_refused="没有开成：{words}。可以改正后重新申请。",
    invoice_red="已红冲 ¥{amount}",
    invoice_red_waiting="因退款正在红冲 ¥{amount}",
    invoice_red_correct="因换抬头已红冲 ¥{amount}",
    invoice_red_correct_waiting="因换抬头正在红冲 ¥{amount}",
    invoice_replaced="原票 ¥{amount}，已申请换抬头重开",
    invoice_correct_waiting="换抬头的申请已收到：先红冲原票，再开新票，稍后打开本页下载。",
    invoice_correct="抬头开错了，换抬头重开",
    invoice_correct_text="{day} 前可以换。原票会红冲作废，请勿用于报销或抵扣；新票按正确的抬头和税号开具，金额为实付减去退款。",
    invoice_all="本次缴费的其他 {count} 笔也用这个抬头（每笔一张，由各自的收款单位开具）",
    invoice_wrong=(
        "请填写抬头名称，不超过 100 字。",
        "税号不对，请核对每一位（15、18 或 20 位）。",
        "邮箱地址不对，请核对或留空。",
    ),
    gone="情况有变，这项申请现在不能受理，请看本页的最新状态。",
)

EN: Final = AfterWords(
    title="Parking receipt",
    open="Show or print the receipt",
    back="Back to the result",
    print="Print",
    number="Receipt number",
    credit_code="Payee's credit code",
    charge="Parking fee",
    reduced="Reduced by",
    amount="Paid",
    together="Sum",
    trade_no="Channel's number",
    back_done="¥{amount} went back on {day}",
    back_way="¥{amount} is on its way back",
    taken_back="The channel took this payment back",
    seal="Seal",
    sealing="Being sealed; this takes seconds. Reload to see it.",
    sealed="No. {number} in the payee's book, checkpoint {size}, root {root}…",
    proof="Public proof",
    proof_text="Anybody can check with it and SHA-256 that this payment is in the book, unchanged. It holds no personal data.",
    proof_how="How to check it yourself",
    proof_steps=(
        "Open the public proof: it has the record, its leaf, a path and a checkpoint, and no name, plate or account.",
        "SHA-256 of the byte 00 and the record is the leaf.",
        "From the leaf on, SHA-256 of the byte 01 and each pair along the path gives the root that this receipt begins (RFC 9162).",
        "Check the checkpoint's Ed25519 signature with verifier_key: the book was signed, and any later change of it shows.",
    ),
    elsewhere="Another car park (place and time are not shown)",
    keep="Keep this page",
    keep_text="This address leads back here at any time. Do not pass it on:",
    keep_share="Share or copy the address",
    keep_done="Copied",
    a_channel="the channel",
    waiting_later="We are asking {channel}. Your money is not lost: it pays the fee or comes back. You may close this page. "
    "Do not pay twice.",
    waiting_long="{channel} has not decided yet; we keep asking until it has. Your money is not lost. You may close this page.",
    unpaid_later="No payment has come, nothing was charged. Tap “Go on paying” or look up the fee again. If you were charged, "
    "your money is not lost: this page will say so.",
    changed="The fee has changed to ¥{amount}. Please look it up again before you pay.",
    refund="Ask for a refund",
    refund_text="The payee decides within {days} days; the answer appears on this page.",
    refund_reason="Why",
    refund_pick="Please choose",
    refund_reasons=("Paid twice", "Wrong number plate", "The barrier did not open", "The price is wrong", "Other"),
    refund_words="In your words (optional, 300 characters)",
    refund_go="Send the request",
    refund_open="We have your request. The payee answers by {day}; please open this page again.",
    refund_accepted="Your request was accepted: ¥{amount} goes back. Your bank or wallet says when it arrives.",
    refund_declined="Your request was declined.",
    refund_says="The payee says: ",
    refund_again="Ask once more",
    refund_itself="You paid this twice: it goes back the way it came, you need not ask.",
    refund_wrong="Please choose why; at most 300 characters of words.",
    invoice="Ask for an invoice",
    fiscal="Ask for a fiscal receipt",
    invoice_none="No invoices of this car park are to be had here. Please ask the payee.",
    invoice_text="The payee issues it over what you paid less what was refunded.",
    invoice_person="Person",
    invoice_company="Company",
    invoice_buyer="Made out to a",
    invoice_title="Name",
    invoice_tax_no="Tax number (companies)",
    invoice_email="E-mail (optional, erased after delivery)",
    invoice_go="Send",
    invoice_waiting="We have your request; it is being issued. Open this page later to download it.",
    invoice_issued="Issued over ¥{amount}",
    invoice_number="Invoice number",
    invoice_file="Download",
    invoice_refused="It was not issued: {words}. You may correct it and ask again.",
    invoice_red="¥{amount} was taken off by a red invoice",
    invoice_red_waiting="¥{amount} is being taken off, for it was refunded",
    invoice_red_correct="¥{amount} was taken off by a red invoice, to be made out anew",
    invoice_red_correct_waiting="¥{amount} is being taken off, to be made out anew",
    invoice_replaced="First invoice, ¥{amount}; you asked for a new one",
    invoice_correct_waiting="We have your correction: the first invoice is cancelled by a red one, then the new one comes. "
    "Open this page later to download it.",
    invoice_correct="The name is wrong: make it out anew",
    invoice_correct_text="Possible until {day}. The first invoice is cancelled by a red one: do not claim or deduct it. "
    "The new one bears the right name and tax number, over what you paid less what was refunded.",
    invoice_all="The other {count} of this payment too (one each, by its own payee)",
    invoice_wrong=(
        "Please give a name of at most 100 characters.",
        "The tax number is wrong: please check each character (15, 18 or 20).",
        "The e-mail address is wrong; correct it or leave it empty.",
    ),
    gone="Things have changed: this cannot be taken now. Please see what this page says.",
)


def words(*, is_english: bool) -> AfterWords:
    """Return the sentences of a language."""
    return EN if is_english else ZH
