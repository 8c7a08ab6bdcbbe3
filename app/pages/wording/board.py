"""What stands on the notice board and on the sheet to print. In Chinese and in English.

Knows sentences only. Called by ``app.pages.words``, which puts the rooms' sentences together.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class BoardWords:
    """One language."""

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


ZH: Final = BoardWords(
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
)

EN: Final = BoardWords(
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
)
