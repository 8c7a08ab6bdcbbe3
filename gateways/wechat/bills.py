"""Getting bill files: the day's trade bill of all operators, the fund-flow bills of an account.

Knows where files are asked for and what proves them; must not know their rows, see bill and fund. Part of the adapter.
Source: docs/CHANNELS.md, WeChat Pay, bills.
"""

from datetime import datetime
from urllib.parse import urlencode

from gateways.contract import (
    Answer,
    Bill,
    BillAbsent,
    BillLink,
    BillRefused,
    BillRequest,
    Request,
    Unanswered,
)
from gateways.keys import KeyRing
from gateways.wechat import bill as bill_file
from gateways.wechat import wire
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

    def open_bill(self, answer: Answer, *, link: BillLink) -> bytes:
        """Return the file's bytes, uncompressed, when their SHA-1 is the announced one."""
        if answer.status != 200:
            raise BillRefused(f"the bill file was answered with status {answer.status}; ask for a new link", code="bill_digest")
        content = bill_file.unpacked(answer.body)
        if link.digest_kind.upper() != "SHA1":
            raise BillRefused(f"the digest of the bill is {link.digest_kind}, not SHA1", code="bill_digest")
        bill_file.check_digest(content, link.digest)
        return content

    def parse_bill(self, content: bytes, *, bill: BillRequest) -> Bill:
        """Read the whole trade bill; a file asked for one operator must hold no other's rows."""
        return bill_file.parse(content, provider_no=self.provider_no, merchant_no=bill.merchant_no)
