"""How the stand-in's pages look: one style, one frame, for a phone first and without scripts.

Knows HTML; must not know orders. Used by the cashier and the merchant's console.
"""

import base64
import hashlib
from typing import Final

from gateways.contract import Answer
from gateways.sandbox.http import Reply

_STYLE: Final = """
*{box-sizing:border-box}
body{margin:0;background:#ededed;color:#191919;
font:16px/1.5 -apple-system,"PingFang SC","Noto Sans CJK SC","Microsoft YaHei",sans-serif}
main{max-width:28rem;margin:0 auto;min-height:100vh;display:flex;flex-direction:column;background:#fff}
header{background:#067a3e;color:#fff;padding:.85rem 1.25rem;font-size:.9rem}
section{padding:2.25rem 1.25rem 1rem;text-align:center;flex:1}
.payee{margin:0;font-size:1.05rem}
.amount{margin:.5rem 0 1.5rem;font-size:3rem;font-weight:600;line-height:1.1}
.amount small{font-size:1.6rem;margin-right:.15rem}
dl{margin:0;text-align:left;border-top:1px solid #eee;font-size:.95rem}
dl div{display:flex;justify-content:space-between;gap:1rem;padding:.7rem 0;border-bottom:1px solid #eee}
dt{color:#666;flex:none}
dd{margin:0;text-align:right;overflow-wrap:anywhere}
.act{padding:0 1.25rem .8rem;margin:0}
button,.button{display:block;width:100%;padding:.9rem;border:0;border-radius:.6rem;font:inherit;font-size:1.1rem;text-align:center;
text-decoration:none;cursor:pointer}
.pay{background:#067a3e;color:#fff}
.cancel{background:#f2f2f2;color:#3d5375}
.said{font-size:1.3rem;margin:2rem 0 .5rem}
.list{padding:1rem 1.25rem;text-align:left;flex:1}
.list h2{margin:1.25rem 0 .25rem;font-size:1rem}
.list dl{margin:0 0 .75rem}
.list dl div{padding:.35rem 0}
.entry{border-top:.4rem solid #ededed;margin:0 -1.25rem;padding:.6rem 1.25rem}
.entry form{display:flex;gap:.6rem;align-items:center;margin:.25rem 0 .4rem}
.entry label{flex:none;color:#666;font-size:.95rem}
.entry input{flex:1;min-width:0;padding:.6rem;border:1px solid #8a8a8a;border-radius:.4rem;font:inherit}
.entry button{flex:none;width:auto;padding:.6rem 1.1rem;font-size:1rem}
.warning{margin:0 0 .75rem;padding:.7rem 1rem;background:#fdecea;color:#8a1c12;border-radius:.4rem}
footer{padding:1rem 1.25rem 2rem;color:#666;font-size:.8rem;text-align:center}
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": (
        f"default-src 'none'; img-src data:; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def page(status: int, *, title: str, heading: str, content: str, buttons: str = "", kind: str = "") -> Reply:
    """Return a page; ``content`` and ``buttons`` are HTML, ``kind`` is the class of its middle part."""
    section = f'<section class="{kind}">' if kind else "<section>"
    body = (
        '<!doctype html><html lang="zh-CN"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{title}</title>"
        f"<style>{_STYLE}</style></head><body><main><header>{heading}</header>{section}{content}</section>"
        f"{buttons}<footer>模拟环境，不产生真实资金</footer></main></body></html>"
    )
    return Reply(answer=Answer(status=status, headers=_HEADERS, body=body.encode()))


def redirect(status: int, url: str) -> Reply:
    """Lead the browser on."""
    return Reply(answer=Answer(status=status, headers={"location": url, "cache-control": "no-store"}, body=b""))
