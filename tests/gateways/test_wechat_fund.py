"""The fund-flow bill: read whole or not at all, in the clear and as it comes encrypted for us."""

import gzip
import hashlib
from datetime import UTC, date, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateways.contract import Answer, BillAbsent, BillLink, BillRefused, FundBillRequest, FundLine
from gateways.keys import FileKey
from gateways.sandbox.wechat.signing import Pair, answer_headers
from gateways.wechat import fund, sensitive, wire
from gateways.wechat.channel import WeChat
from gateways.wechat.keys import WeChatKeys
from tests.gateways.conftest import MERCHANT_NO, NOW

HEADER = (
    "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号"
)
ROWS = (
    "`2026-03-01 10:35:02,`42000029,`16200000072026030111,`交易,`交易,`收入,`12.00,`812.00,`system,`停车费,`PK42",
    "`2026-03-01 10:35:02,`42000029,`16200000072026030112,`交易,`扣除交易手续费,`支出,`0.07,`811.93,`system,`,`PK42",
    "`2026-03-01 18:02:44,`50300000,`16200000072026030113,`退款,`退款,`支出,`4.00,`807.93,`system,`a\\ b,`",
)
SUMMARY = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额"
TOTALS = "`3,`1,`12.00,`2,`4.07"
OWN = FundBillRequest(bill_on=date(2026, 3, 1), account="BASIC")
THEIRS = FundBillRequest(bill_on=date(2026, 3, 1), account="BASIC", merchant_no=MERCHANT_NO)


def joined(*lines: str, end: str = "\r\n") -> bytes:
    return end.join([*lines, ""]).encode()


FILE = joined(HEADER, *ROWS, SUMMARY, TOTALS)


@pytest.fixture
def keys(pair: Pair) -> WeChatKeys:
    return WeChatKeys(
        merchant_key=pair.merchant_key,
        merchant_serial=pair.merchant_serial,
        api_key=pair.api_key,
        channel_keys=pair.ring.known(),
        preferred_serial=pair.public_key.serial,
    )


def sealed(
    pair: Pair, content: bytes = FILE, *, nonce: str = "0123456789abcdef", key: bytes = b"k" * 32
) -> tuple[bytes, fund.SealedLink]:
    """An encrypted file as it is downloaded, and its link as the channel announces it."""
    part = wire.SealedPart(
        bill_sequence=1,
        download_url="https://api.mch.weixin.qq.com/v3/billdownload/file?token=t",
        encrypt_key=sensitive.sealed(key, key=pair.merchant_key.public_key()),
        nonce=nonce,
        hash_type="SHA1",
        hash_value=hashlib.sha1(content, usedforsecurity=False).hexdigest().upper(),
    )
    return AESGCM(key).encrypt(nonce.encode(), gzip.compress(content), None), fund.sealed_link(part)


def downloaded(wechat: WeChat, box: bytes, link: BillLink) -> bytes:
    return wechat.open_bill(Answer(status=200, headers={}, body=box), link=link)


def refusal(content: bytes) -> str:
    with pytest.raises(BillRefused) as refused:
        fund.parse(content)
    return refused.value.code


def test_our_own_account_is_asked_for_in_the_clear_and_an_operators_encrypted(wechat: WeChat, keys: WeChatKeys) -> None:
    asked = [wechat.build_fund_bill(bill, keys=keys, now=NOW, nonce="n").url for bill in (OWN, THEIRS)]
    assert asked == [
        "https://api.mch.weixin.qq.com/v3/bill/fundflowbill?bill_date=2026-03-01&account_type=BASIC&tar_type=GZIP",
        (
            "https://api.mch.weixin.qq.com/v3/bill/sub-merchant-fundflowbill?bill_date=2026-03-01&account_type=BASIC"
            "&sub_mchid=1620000007&algorithm=AEAD_AES_256_GCM&tar_type=GZIP"
        ),
    ]


@pytest.mark.parametrize("content", [FILE, b"\xef\xbb\xbf" + FILE, joined(HEADER, *ROWS, SUMMARY, TOTALS, end="\n"), FILE.rstrip()])
def test_every_row_is_read_with_its_side_and_what_is_left(wechat: WeChat, keys: WeChatKeys, content: bytes) -> None:
    bill = wechat.parse_fund_bill(content, bill=OWN, keys=keys)
    assert (bill.income_fen, bill.expense_fen, len(bill.lines)) == (1200, 407, 3)
    assert bill.lines[0] == FundLine(
        line=1, happened_at=datetime(2026, 3, 1, 2, 35, 2, tzinfo=UTC), kind="交易", trade_no="42000029", income_fen=1200,
        expense_fen=0, balance_fen=81200, order_no="PK42", note="停车费",
    )  # fmt: skip
    assert [(line.kind, line.expense_fen, line.order_no) for line in bill.lines[1:]] == [
        ("扣除交易手续费", 7, "PK42"),
        ("退款", 400, None),
    ]


def test_a_count_may_be_printed_with_a_decimal(keys: WeChatKeys) -> None:
    assert fund.parse(joined(HEADER, *ROWS, SUMMARY, "`3.0,`1.0,`12.00,`2.0,`4.07")).expense_fen == 407


def test_every_cut_of_the_file_is_refused() -> None:
    whole = fund.parse(FILE)
    for length in range(len(FILE.rstrip())):
        try:
            assert fund.parse(FILE[:length]) == whole
        except BillRefused:
            continue


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (joined(HEADER, *ROWS), "bill_cut"),
        (joined(HEADER, *ROWS[:2], SUMMARY, TOTALS), "bill_cut"),
        (joined(HEADER, *ROWS, SUMMARY), "bill_cut"),
        (joined(HEADER, *ROWS, SUMMARY, "`3,`1,`12.00,`2,`4.08"), "bill_cut"),
        (joined(HEADER, *ROWS, SUMMARY, "`3,`2,`12.00,`1,`4.07"), "bill_cut"),
        (joined(HEADER, *ROWS, SUMMARY, "`3,`1,`x,`2,`4.07"), "bill_cut"),
        (joined(HEADER, *ROWS, "资金流水总笔数,收入笔数", "`3,`1"), "bill_cut"),
        (joined(HEADER, *ROWS, SUMMARY, TOTALS, "more"), "bill_form"),
        (joined(HEADER, ROWS[0].replace("收入", "转账"), SUMMARY, TOTALS), "bill_form"),
        (joined(HEADER, ROWS[0].replace("`12.00", "`-12.00"), SUMMARY, TOTALS), "bill_form"),
        (joined(HEADER, ROWS[0].replace("`12.00", "`0.00"), SUMMARY, TOTALS), "bill_form"),
        (joined(HEADER, ROWS[0].replace("2026-03-01", "yesterday"), SUMMARY, TOTALS), "bill_form"),
        (joined(HEADER, ROWS[0] + ",`x", SUMMARY, TOTALS), "bill_form"),
        (joined(HEADER.replace("账户结余", "结余"), *ROWS, SUMMARY, TOTALS), "bill_form"),
        (b"", "bill_form"),
        ("记账时间".encode("gbk"), "bill_form"),
    ],
)
def test_a_file_that_does_not_agree_with_itself_is_refused(content: bytes, code: str) -> None:
    assert refusal(content) == code


def test_an_operators_file_is_kept_encrypted_and_read_with_our_key(pair: Pair, wechat: WeChat, keys: WeChatKeys) -> None:
    box, link = sealed(pair)
    kept = downloaded(wechat, box, link)
    assert box in kept
    assert wechat.parse_fund_bill(kept, bill=THEIRS, keys=keys) == fund.parse(FILE)
    assert wechat.parse_fund_bill(kept, bill=THEIRS, keys=keys.beside(())) == fund.parse(FILE)


def test_every_altered_byte_of_an_operators_file_is_refused(pair: Pair, wechat: WeChat, keys: WeChatKeys) -> None:
    box, link = sealed(pair)
    kept = downloaded(wechat, box, link)
    for place in range(0, len(kept), 5):
        altered = kept[:place] + bytes([kept[place] ^ 1]) + kept[place + 1 :]
        with pytest.raises(BillRefused):
            wechat.parse_fund_bill(altered, bill=THEIRS, keys=keys)


def test_a_file_that_is_not_the_announced_one_is_refused(pair: Pair, wechat: WeChat, keys: WeChatKeys) -> None:
    box, _ = sealed(pair)
    _, link = sealed(pair, FILE + b"x")
    kept = downloaded(wechat, box, fund.SealedLink(**_fields(link) | {"encrypt_key": sealed(pair)[1].encrypt_key}))
    with pytest.raises(BillRefused) as refused:
        wechat.parse_fund_bill(kept, bill=THEIRS, keys=keys)
    assert refused.value.code == "bill_digest"


def test_a_file_encrypted_for_another_key_is_refused(pair: Pair, wechat: WeChat, keys: WeChatKeys) -> None:
    box, link = sealed(pair)
    other = sensitive.sealed(b"k" * 32, key=pair.public_key.key.public_key())
    kept = downloaded(wechat, box, fund.SealedLink(**_fields(link) | {"encrypt_key": other}))
    with pytest.raises(BillRefused) as refused:
        wechat.parse_fund_bill(kept, bill=THEIRS, keys=keys)
    assert refused.value.code == "bill_digest"


def _fields(link: fund.SealedLink) -> dict[str, Any]:
    return {name: getattr(link, name) for name in link.__struct_fields__}


def test_a_key_that_can_only_sign_opens_no_file(pair: Pair, wechat: WeChat) -> None:
    class Token:
        def sign(self, message: bytes) -> bytes:
            return FileKey(pair.merchant_key).sign(message)

    held = WeChatKeys(merchant_key=Token(), merchant_serial="AB", api_key=pair.api_key, channel_keys=())
    for ring in (held, pair.ring):
        with pytest.raises(BillRefused):
            wechat.parse_fund_bill(downloaded(wechat, *sealed(pair)), bill=THEIRS, keys=ring)


def test_a_file_in_the_clear_is_not_taken_for_an_operators(pair: Pair, wechat: WeChat, keys: WeChatKeys) -> None:
    for content in (FILE, b"", b'{"sealed":{}}\n', b'{"sealed":' + b"\xff\n"):
        with pytest.raises(BillRefused):
            wechat.parse_fund_bill(content, bill=THEIRS, keys=keys)


def answered(pair: Pair, wechat: WeChat, body: bytes, *, status: int = 200) -> BillLink | BillAbsent:
    answer = Answer(status=status, headers=answer_headers(pair.public_key, body=body, at=NOW, nonce="n" * 32), body=body)
    return wechat.parse_fund_bill_link(answer, bill=THEIRS, keys=pair.ring, now=NOW)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b'{"code":"NO_STATEMENT_EXIST"}', 400, "empty"),
        (b'{"code":"STATEMENT_CREATING"}', 400, "not_ready"),
        (b'{"code":"NO_AUTH"}', 403, "not_allowed"),
        (b"{}", 200, "field_missing"),
        (b'{"download_bill_count":0,"download_bill_list":[]}', 200, "bill_too_large"),
        (b'{"download_bill_count":1,"download_bill_list":[{"bill_sequence":1}]}', 200, "field_missing"),
    ],
)
def test_without_a_file_the_reason_is_said(pair: Pair, wechat: WeChat, body: bytes, status: int, reason: str) -> None:
    assert answered(pair, wechat, body, status=status) == BillAbsent(reason=reason)
