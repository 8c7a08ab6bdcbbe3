"""The PDF of a debt file: what a judge reads. Same case, same font: same bytes.

Knows a case and how it is laid out; must not know the database. Called by ``files``.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

from fpdf import FPDF, FontFace
from fpdf.enums import Align, TableCellFillMode, WrapMode

from ledger.clock import CHINA
from ledger.money import yuan
from payments import fonts
from payments.fonts import Font
from payments.owed.debt_file import words
from payments.owed.debt_file.case import Case, Owed, Reminded

FAMILY: Final = "file"
_INK: Final = (28, 39, 49)
_GREY: Final = (105, 115, 125)
_HEAD: Final = (232, 237, 242)
_WIDTH: Final = 180


class _Page(FPDF):
    """A4 with the file's number below."""

    def __init__(self, case: Case, font: Font) -> None:
        super().__init__(format="A4")
        self._case = case
        self.set_margins(15, 15, 15)
        self.set_auto_page_break(True, margin=20)
        self.add_font(FAMILY, fname=font.path, collection_font_number=font.number)
        self.set_creation_date(case.made_at)
        self.set_title(f"停车欠费案卷 {case.plate}")
        self.set_author(case.operator_name)
        self.set_lang("zh-CN")
        self.alias_nb_pages()

    def footer(self) -> None:
        self.set_y(-14)
        self.set_font(FAMILY, size=8)
        self.set_text_color(*_GREY)
        self.cell(_WIDTH / 2, 6, f"案卷编号 {number(self._case.file_id)}")
        self.cell(_WIDTH / 2, 6, f"第 {self.page_no()} 页 / 共 {{nb}} 页", align=Align.R)


def pdf(case: Case, font: Font) -> bytes:
    """Return the file as PDF with its font embedded."""
    with fonts.quiet():
        page = _Page(case, font)
        page.add_page()
        _front(page, case)
        for part in (_debts, _tariffs, _limitation, _reminders, _disputes, _payments, _decisions, _entries, _evidence, _verifying):
            part(page, case)
        return bytes(page.output())


def number(file_id: UUID) -> str:
    """Return the number of a file, as it is printed."""
    return file_id.hex[:-2].upper()


def _front(page: FPDF, case: Case) -> None:
    page.set_text_color(*_INK)
    page.set_font(FAMILY, size=20)
    page.cell(_WIDTH, 14, "停车欠费案卷", align=Align.C, new_x="LMARGIN", new_y="NEXT")
    page.ln(2)
    rows = [
        ("债权人", f"{case.operator_name}（统一社会信用代码 {case.operator_credit_code}）"),
        ("车辆号牌", f"{case.plate}（{words.word(words.COLORS, case.plate_color)}）"),
        ("欠费笔数", f"{sum(debt.owed_fen > 0 for debt in case.debts)} 笔未清，本案卷共载 {len(case.debts)} 笔"),
        ("欠费合计", f"人民币 {yuan(case.owed_fen)} 元"),
        ("诉讼时效最早届满日", _first_end(case)),
        ("制作时间", _moment(case.made_at)),
        ("制作人及用途", f"{case.made_by}；{case.purpose}"),
    ]
    _table(page, ("项目", "内容"), rows, (40, 140))


def _first_end(case: Case) -> str:
    ends = [debt.limitation_on for debt in case.debts if debt.owed_fen]
    return _day(min(ends)) if ends else "—"


def _debts(page: FPDF, case: Case) -> None:
    _heading(page, "一、欠费明细")
    rows = [
        (
            str(n), debt.lot_name, f"{_moment(debt.entered_at)}\n{_moment(debt.left_at)}", str(debt.minutes), yuan(debt.amount_fen),
            yuan(debt.paid_fen), yuan(debt.reduced_fen), yuan(debt.owed_fen), _day(debt.due_on),
            words.word(words.STATES, debt.state),
        )
        for n, debt in enumerate(case.debts, 1)
    ]  # fmt: skip
    total = ("", "合计", "", "", *(yuan(sum(getattr(x, f) for x in case.debts)) for f in _SUMS), "", "")
    heads = ("序号", "停车场", "入场 / 离场", "分钟", "应缴", "已缴", "减免", "尚欠", "应缴日", "状态")
    _table(page, heads, [*rows, total], (10, 30, 34, 12, 17, 15, 15, 17, 18, 14), right=(3, 4, 5, 6, 7))


_SUMS: Final = ("amount_fen", "paid_fen", "reduced_fen", "owed_fen")


def _tariffs(page: FPDF, case: Case) -> None:
    _heading(page, "二、计费依据")
    rows = [
        (str(n), debt.lot_serial, debt.lot_address, words.word(words.BASES, debt.basis), debt.tariff_text)
        for n, debt in enumerate(case.debts, 1)
    ]
    _table(page, ("序号", "停车场流水号", "地址", "欠费成因", "计费说明"), rows, (10, 35, 40, 30, 65))


def _limitation(page: FPDF, case: Case) -> None:
    _heading(page, "三、诉讼时效计算")
    _text(
        page,
        "依据《民法典》第一百八十八条，诉讼时效期间为三年，自应缴日届满起计算；第一百九十五条规定的事由发生时，期间重新计算；"
        "期间届满后发生的催告不计，债务人同意履行的除外（第一百九十二条）。",
    )
    rows = [row for n, debt in enumerate(case.debts, 1) for row in _limitation_rows(n, debt)]
    _table(page, ("序号", "日期", "事由", "凭据编号", "届满日"), rows, (10, 26, 50, 68, 26))


def _limitation_rows(n: int, debt: Owed) -> Iterator[tuple[str, ...]]:
    yield str(n), _day(debt.due_on), "应缴日", str(debt.charge_id), _day(debt.limitation_from)
    for act in debt.acts:
        what = words.word(words.ACTS, act.kind) + ("" if act.counts else "（已届满，不计）")
        yield str(n), _day(act.act_on), what, str(act.source_id), _day(act.ends_on)


def _reminders(page: FPDF, case: Case) -> None:
    _heading(page, "四、催缴记录")
    if not case.reminders:
        _text(page, "无。")
        return
    rows = [
        (
            one.number, str(one.step), one.channel, one.to_masked or "—", yuan(one.owed_fen), _moment(one.sent_at),
            words.word(words.STATES, one.state), _proof(one),
        )
        for one in case.reminders
    ]  # fmt: skip
    heads = ("通知编号", "步骤", "渠道", "送达地址", "金额", "发送时间", "状态", "送达凭据")
    _table(page, heads, rows, (38, 10, 14, 26, 16, 26, 15, 35), right=(4,))
    for one in case.reminders:
        _text(page, f"通知 {one.number}：{one.subject}\n{one.body}\n全文摘要（SHA-256） {one.body_digest}")


def _proof(one: Reminded) -> str:
    if one.proven_at is not None:
        return f"{_moment(one.proven_at)} {one.proof}"
    return one.reason or f"回执：{one.receipt or '—'}（未证明送达）"


def _disputes(page: FPDF, case: Case) -> None:
    _heading(page, "五、争议与处理")
    if not case.disputes:
        _text(page, "无。")
    numbers = _numbers(case)
    for one in case.disputes:
        shown = "；".join(f"{words.word(words.PARTIES, by)}提交 {name}（SHA-256 {digest}）" for by, name, digest in one.exhibits)
        rows = [
            ("欠费序号", numbers[one.charge_id]),
            ("提出", f"{_moment(one.opened_at)} {words.word(words.REASONS, one.reason)}：{one.statement}"),
            ("停车场答复", f"{_moment(one.answered_at)} {one.answer}" if one.answer else "未答复"),
            ("材料", shown or "无"),
            ("结论", f"{words.word(words.DISPUTES, one.state)} {_moment(one.decided_at)} {one.decided_note or ''}"),
        ]
        _table(page, ("项目", "内容"), rows, (30, 150))


def _payments(page: FPDF, case: Case) -> None:
    _heading(page, "六、缴款与分期")
    numbers = _numbers(case)
    if case.payments:
        rows = [
            (
                numbers[one.charge_id], one.channel, one.trade_no, yuan(one.amount_fen), _moment(one.happened_at),
                words.word(words.TREATMENTS, one.treatment) + ("（渠道已退回）" if one.taken_back_at else ""),
            )
            for one in case.payments
        ]  # fmt: skip
        _table(page, ("欠费序号", "渠道", "渠道交易号", "金额", "时间", "入账"), rows, (18, 20, 60, 22, 32, 28), right=(3,))
    for plan in case.plans:
        parts = "；".join(f"第{n}期 {_day(day)} {yuan(fen)} 元" for n, day, fen in plan.parts)
        _text(
            page,
            f"分期：{_moment(plan.agreed_at)} 约定 {yuan(plan.owed_fen)} 元，{parts}。{words.word(words.STATES, plan.state)}。",
        )
    if not case.payments and not case.plans:
        _text(page, "无。")


def _decisions(page: FPDF, case: Case) -> None:
    _heading(page, "七、减免、核销")
    if not case.decisions:
        _text(page, "无。")
        return
    numbers = _numbers(case)
    rows = [
        (
            numbers[one.charge_id], words.word(words.DECISIONS, one.kind), yuan(one.amount_fen), one.reason,
            f"{one.document_name}\nSHA-256 {one.document_digest}", f"{one.proposed_by}\n{one.decided_by}", _moment(one.decided_at),
        )
        for one in case.decisions
    ]  # fmt: skip
    heads = ("欠费序号", "事项", "金额", "理由", "文件", "经办 / 复核", "时间")
    _table(page, heads, rows, (16, 18, 18, 34, 44, 26, 24), right=(2,))


def _entries(page: FPDF, case: Case) -> None:
    _heading(page, "八、记账凭证")
    rows = [
        (
            "未封账" if one.number is None else f"{one.number}", "—" if one.leaf_index is None else str(one.leaf_index),
            words.kind(one.kind_name), str(one.debit), str(one.credit), yuan(one.amount_fen),
            _day(one.booked_on), str(one.entry_id),
        )
        for one in case.entries
    ]  # fmt: skip
    heads = ("账套凭证号", "序道号", "事项", "借", "贷", "金额", "会计日", "凭证标识")
    _table(page, heads, rows, (18, 16, 26, 16, 16, 18, 20, 50), right=(0, 1, 5))


def _evidence(page: FPDF, case: Case) -> None:
    _heading(page, "九、原始凭据")
    _text(page, "下列报文由平台在收到时逐字保存。摘要为报文正文的 SHA-256。载有他人信息的报文仅列摘要，原件由平台保管备查。")
    rows = [
        (
            str(one.message_id), f"{one.channel} {one.operation}", _moment(one.received_at), one.body_digest,
            "随附" if one.file else "备查",
        )
        for one in case.evidence
    ]  # fmt: skip
    _table(page, ("凭据编号", "来源", "收到时间", "正文摘要（SHA-256）", "原件"), rows, (48, 30, 26, 62, 14))


def _verifying(page: FPDF, case: Case) -> None:
    _heading(page, "十、核验方法")
    if case.checkpoint is None:
        _text(page, "账套尚未封账：本案卷没有封账证明。")
        return
    _text(
        page,
        f"随附 proofs.json 载有 {len(case.proofs)} 份凭证的包含证明（RFC 6962）：对 0x00 与 record 的字节求 SHA-256 得 leaf，"
        "再沿 path 逐级求得根，应与下列检查点第三行一致；检查点由平台以 Ed25519 签名（C2SP），公钥由平台公开。"
        "随附各文件的 SHA-256 载于 manifest.sha256，可用 sha256sum -c manifest.sha256 核对，无需本平台软件。",
    )
    _text(page, case.checkpoint)


def _numbers(case: Case) -> dict[UUID, str]:
    return {debt.charge_id: str(n) for n, debt in enumerate(case.debts, 1)}


def _heading(page: FPDF, words_: str) -> None:
    if page.will_page_break(28):
        page.add_page()
    page.ln(5)
    page.set_text_color(*_INK)
    page.set_font(FAMILY, size=13)
    page.cell(_WIDTH, 9, words_, new_x="LMARGIN", new_y="NEXT")


def _text(page: FPDF, words_: str) -> None:
    page.set_text_color(*_INK)
    page.set_font(FAMILY, size=9)
    page.multi_cell(_WIDTH, 5.2, words_, align=Align.L, wrapmode=WrapMode.CHAR, new_x="LMARGIN", new_y="NEXT")
    page.ln(1.5)


def _table(
    page: FPDF, heads: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int], *, right: Sequence[int] = ()
) -> None:  # fmt: skip
    """Draw a table over the whole width whose head is repeated on each page; ``widths`` are shares of it."""
    page.set_font(FAMILY, size=8)
    page.set_text_color(*_INK)
    page.set_draw_color(190, 198, 206)
    page.set_line_width(0.15)
    aligns = tuple(Align.R if n in right else Align.L for n in range(len(heads)))
    with page.table(
        width=_WIDTH, col_widths=tuple(widths), text_align=aligns, line_height=4.4, padding=0.8, wrapmode=WrapMode.CHAR,
        headings_style=FontFace(color=_INK, fill_color=_HEAD), cell_fill_mode=TableCellFillMode.NONE, align=Align.L,
    ) as table:  # fmt: skip
        table.row(heads)
        for row in rows:
            table.row([cell or " " for cell in row])
    page.ln(1.5)


def _moment(at: datetime | None) -> str:
    return "—" if at is None else f"{at.astimezone(CHINA):%Y-%m-%d %H:%M}"


def _day(day: date) -> str:
    return day.isoformat()
