"""What a page weighs and where it comes from, as the browser itself counts it."""

from typing import Any

from playwright.sync_api import Page

from tests.browser.city import City

WEIGHT_MAX: int = 60 * 1024
"""Bytes on the wire, headers included, of a page with all files beside it, for a browser that was never here."""


class Wire:
    """Listens to one page. Nothing comes from the browser's cache, so that each page is weighed whole."""

    def __init__(self, page: Page) -> None:
        self.bytes = 0
        self.addresses: list[str] = []
        self._page, self._open = page, set[str]()
        self._mine: set[str] = set()
        self._loader = ""
        self.headers: dict[str, str] = {}
        self.session = page.context.new_cdp_session(page)
        self.session.on("Network.requestWillBeSent", self._asked)
        self.session.on("Network.responseReceived", self._answered)
        self.session.on("Network.loadingFinished", self._finished)
        self.session.on("Network.loadingFailed", self._failed)
        self.session.send("Network.enable")
        self.session.send("Network.setCacheDisabled", {"cacheDisabled": True})

    def slow(self) -> None:
        """A phone at the end of an underground car park."""
        slow = {"offline": False, "latency": 200, "downloadThroughput": 30_000, "uploadThroughput": 10_000}
        self.session.send("Network.emulateNetworkConditions", slow)

    def fast(self) -> None:
        """Above ground again."""
        full = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.session.send("Network.emulateNetworkConditions", full)

    def settle(self) -> None:
        """Wait until everything that the page asked for is there."""
        self._page.wait_for_load_state("load")
        for _ in range(400):
            if not self._open:
                return
            self._page.wait_for_timeout(10)
        raise AssertionError(f"still open: {self._open}")

    def _asked(self, event: dict[str, Any]) -> None:
        if event.get("type") == "Document":
            self.bytes, self.addresses, self._loader = 0, [], event["loaderId"]
            self._open.clear()
            self._mine.clear()
        elif event["loaderId"] != self._loader:
            return  # of a page that was left: the browser may never tell what became of it
        self._mine.add(event["requestId"])
        if not event["request"]["url"].startswith("data:"):
            self._open.add(event["requestId"])
        self.addresses.append(event["request"]["url"])

    def _answered(self, event: dict[str, Any]) -> None:
        if event.get("type") == "Document":
            self.headers = {name.lower(): value for name, value in event["response"]["headers"].items()}

    def _failed(self, event: dict[str, Any]) -> None:
        self._open.discard(event["requestId"])

    def _finished(self, event: dict[str, Any]) -> None:
        self._open.discard(event["requestId"])
        if event["requestId"] in self._mine:
            self.bytes += int(event["encodedDataLength"])

    def check(self, city: City) -> None:
        """Say whether the page that stands there is light, compressed, ours alone and closed to foreign scripts."""
        assert 0 < self.bytes <= WEIGHT_MAX, (self.bytes, self.addresses)
        assert len(self.addresses) > 1, "a page comes with its style"
        assert all(address.startswith((f"{city.url}/", "data:")) for address in self.addresses), self.addresses
        assert self.headers["content-encoding"] == "gzip"
        policy = {part.split()[0]: part.split()[1:] for part in self.headers["content-security-policy"].split(";")}
        assert policy["default-src"] == ["'none'"]
        assert policy["script-src"] == policy["style-src"] == ["'self'"]
        assert policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
        assert self.headers["x-content-type-options"] == "nosniff"
