"""Turn a template and words into an answer, with the headers every page has.

Knows templates, assets and HTTP headers; must not know payments. Called by the page views.

Nothing of a page comes from another host, no script stands inside a page, no page is kept by a shared cache or shown in a frame.

Pages go out compressed. Whose length may be measured (BREACH) must not hold a secret that is the same at every request beside words
of the asker: what a cookie says stands in no page, and the tokens of forms are made anew for every answer.
"""

import gzip
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response
from litestar.config.compression import CompressionConfig
from litestar.enums import MediaType

from app.pages.words import Words, words
from config.settings import Settings

_HERE: Final = Path(__file__).parent
_KINDS: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
RETURN_BYTES_MAX: Final = 65_536
"""Largest form with which a wallet leads a payer back: UnionPay's carries a certificate. Nothing of it is used."""
_YEAR_SECONDS: Final = 31_536_000
COMPRESSION: Final = CompressionConfig(backend="gzip", gzip_compress_level=6, minimum_size=800, exclude=["^/assets/", r"\.png$"])
"""Of the pages; files beside them are compressed once, when they are read."""


class Asset:
    """A file served beside the pages. Its address carries its digest, so that a browser may keep it for ever."""

    def __init__(self, path: Path) -> None:
        self.body = path.read_bytes()
        self.kind = _KINDS[path.suffix]
        self.gzipped = gzip.compress(self.body, mtime=0)
        self.address = f"/assets/{path.name}?{hashlib.sha256(self.body).hexdigest()[:12]}"

    def answer(self, *, gzipped: bool) -> Response[bytes]:
        headers = {
            "cache-control": f"public, max-age={_YEAR_SECONDS}, immutable", "x-content-type-options": "nosniff",
            "vary": "accept-encoding",
        }  # fmt: skip
        if gzipped:
            return Response(self.gzipped, media_type=self.kind, headers=headers | {"content-encoding": "gzip"})
        return Response(self.body, media_type=self.kind, headers=headers)


@cache
def assets() -> Mapping[str, Asset]:
    """Return every asset by its name."""
    return {path.name: Asset(path) for path in sorted((_HERE / "assets").iterdir()) if path.suffix in _KINDS}


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = lambda name: assets()[name].address
    return environment


class Page:
    """What one request's pages share: the language, the settings that show, and where the page itself stands."""

    def __init__(self, settings: Settings, *, path: str, lang: str | None) -> None:
        self.settings = settings
        self.w: Words = words(lang)
        self.is_english = lang == "en"
        self._path = path

    @property
    def query(self) -> str:
        """What our own links carry on, so that the language stays."""
        return "?lang=en" if self.is_english else ""

    def link(self, path: str, **more: str | None) -> str:
        """Return an address of ours in this language; what is None is left out of its query."""
        query = urlencode(({"lang": "en"} if self.is_english else {}) | {name: value for name, value in more.items() if value})
        return f"{path}?{query}" if query else path

    def answer(
        self, template: str, *, status: int = 200, switch: str | None = None, keep: bool = False, leads_to: str | None = None,
        **values: object,
    ) -> Response[bytes]:  # fmt: skip
        """Return a page. ``switch`` is the path of the same page for the other language; None stands for the path asked for.

        ``leads_to`` is an address of another host that this page leads to, by a link or a form; it is told our origin, no more.
        ``keep`` lets this browser keep the page for its back button: an answer to a form could not be shown again otherwise.
        """
        here = switch or self._path
        other = here if self.is_english else f"{here}{'&' if '?' in here else '?'}lang=en"
        context = {
            "w": self.w,
            "template": template.removesuffix(".html"),
            "query": self.query,
            "help_line": self.settings.help_line,
            "switch": other,
            "lot": None,
            "plate": None,
            "objections": (),
        }
        body = _templates().get_template(template).render(context | values).encode()
        return Response(
            body, status_code=status, media_type=MediaType.HTML, headers=headers(self.settings, keep=keep, leads_to=leads_to)
        )


@cache
def _policy(forms: str) -> str:
    return (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {forms}"
    ).rstrip()


def headers(settings: Settings, *, keep: bool = False, leads_to: str | None = None) -> dict[str, str]:
    """Return the headers of every page. A page that leads to a channel's own says where it comes from: WeChat wants to know."""
    return {
        "cache-control": "private, no-cache" if keep else "no-store",
        "content-security-policy": _policy(_forms(settings.wechat_authorize_url, settings.alipay_login_url, leads_to)),
        "referrer-policy": "no-referrer" if leads_to is None else "origin",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "x-robots-tag": "noindex",
    }


def _forms(*addresses: str | None) -> str:
    """Return the sources to which a form of ours may lead, also by redirects: browsers check these too.

    A channel's gateway leads on to a cashier beside it, another host of the same domain.
    """
    return " ".join(sorted({source for address in filter(None, addresses) for source in _sources(urlsplit(address))}))


def _sources(parts: SplitResult) -> list[str]:
    origin, (_, _, domain) = f"{parts.scheme}://{parts.netloc}", (parts.hostname or "").partition(".")
    has_siblings = parts.scheme == "https" and "." in domain and not domain.rpartition(".")[2].isdigit()
    return [origin, f"https://*.{domain}"] if has_siblings else [origin]
