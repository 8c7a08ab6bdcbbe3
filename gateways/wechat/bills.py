"""Getting bill files: the day's trade bill of all operators, the fund-flow bills of an account.

Knows where files are asked for and what proves them; must not know their rows, see bill and fund. Part of the adapter.
Source: docs/CHANNELS.md, WeChat Pay, bills.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import BinaryIO
from urllib.parse import urlencode

from gateways.contract import (
    Answer,
    BillAbsent,
    BillLine,
    BillLink,
    BillRefused,
    BillRequest,
    FundBill,
    FundBillRequest,
    Request,
    Unanswered,
)
from gateways.keys import KeyRing
from gateways.wechat import bill as bill_file
from gateways.wechat import fund, wire
from gateways.wechat.files import proven, unpacked_parts
from gateways.wechat.speaker import Speaker, decoded


class Bills(Speaker):
    """Asking for bills, fetching and opening them."""

    def build_bill(self, bill: BillRequest, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Ask where a day's trade bill is; it is there from 10:00 (China) on the next day."""
        query = {"bill_date": bill.bill_on.isoformat(), "bill_type": bill.form.upper()}
        if bill.merchant_no is not None:
            query["sub_mchid"] = bill.merchant_no
        if bill.compressed:
            query["tar_type"] = "GZIP"
        return self.request("GET", f"{wire.TRADE_BILL_PATH}?{urlencode(query)}", keys=keys, now=now, nonce=nonce)

    def parse_bill_link(
        self, answer: Answer | Unanswered, *, bill: BillRequest, keys: KeyRing, now: datetime
    ) -> BillLink | BillAbsent:
        """Read where the trade bill is."""
        return self._link(answer, compressed=bill.compressed, keys=keys, now=now)

    def _link(self, answer: Answer | Unanswered, *, compressed: bool, keys: KeyRing, now: datetime) -> BillLink | BillAbsent:
        opened = self.opened(answer, keys=keys, now=now)
        if opened.reason is not None:
            return BillAbsent(reason=opened.reason)
        location = decoded(wire.decode_bill_location, opened)
        if location is None:
            return BillAbsent(reason="field_missing")
        return BillLink(
            url=location.download_url, digest_kind=location.hash_type, digest=location.hash_value, compressed=compressed
        )

    def build_bill_download(self, link: BillLink, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Fetch the file at the address given, verbatim; the answer is not signed, its digest is checked instead."""
        return self.request_to(link.url, method="GET", keys=keys, now=now, nonce=nonce)

    def open_bill_parts(self, status: int, parts: Iterable[bytes], *, link: BillLink) -> Iterator[bytes]:
        """Yield the file, uncompressed; its end is reached when its SHA-1 is the announced one.

        An encrypted file comes as it is, after a line with what opens and proves it: ``parse_fund_bill`` does both.
        """
        if status != 200:
            raise BillRefused(f"the bill file was answered with status {status}; ask for a new link", code="bill_digest")
        if isinstance(link, fund.SealedLink):
            yield fund.sealed_label(link)
            yield from parts
            return
        if link.digest_kind.upper() != "SHA1":
            raise BillRefused(f"the digest of the bill is {link.digest_kind}, not SHA1", code="bill_digest")
        yield from proven(unpacked_parts(parts), link.digest)

    def read_bill(self, file: BinaryIO, *, bill: BillRequest) -> Iterator[BillLine]:
        """Read the trade bill; a file asked for one operator must hold no other's rows."""
        return bill_file.read(file, provider_no=self.provider_no, merchant_no=bill.merchant_no)

    def build_fund_bill(self, bill: FundBillRequest, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Ask where a day's fund-flow bill is: of our own account, or of an operator's, which comes encrypted for us."""
        query = {"bill_date": bill.bill_on.isoformat(), "account_type": bill.account}
        path = wire.FUND_BILL_PATH
        if bill.merchant_no is not None:
            path = wire.SUB_FUND_BILL_PATH
            query |= {"sub_mchid": bill.merchant_no, "algorithm": wire.BOX}
        query["tar_type"] = "GZIP"
        return self.request("GET", f"{path}?{urlencode(query)}", keys=keys, now=now, nonce=nonce)

    def parse_fund_bill_link(
        self, answer: Answer | Unanswered, *, bill: FundBillRequest, keys: KeyRing, now: datetime
    ) -> BillLink | BillAbsent:
        """Read where the fund-flow bill is. One that comes in several parts is beyond the size that is taken here."""
        if bill.merchant_no is None:
            return self._link(answer, compressed=True, keys=keys, now=now)
        opened = self.opened(answer, keys=keys, now=now)
        if opened.reason is not None:
            return BillAbsent(reason=opened.reason)
        location = decoded(wire.decode_sealed_location, opened)
        if location is None:
            return BillAbsent(reason="field_missing")
        if len(location.download_bill_list) != 1 or location.download_bill_count != 1:
            return BillAbsent(reason="bill_too_large")
        return fund.sealed_link(location.download_bill_list[0])

    def parse_fund_bill(self, content: bytes, *, bill: FundBillRequest, keys: KeyRing) -> FundBill:
        """Read the whole fund-flow bill, decrypting it first where it is an operator's."""
        return fund.parse(content if bill.merchant_no is None else fund.unsealed(content, keys=keys))
