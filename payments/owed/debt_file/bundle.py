"""The ZIP of a debt file: PDF, tables, JSON, proofs, raw evidence, and a manifest that sha256sum alone can check.

Knows a case and its parts; must not know the database. Called by ``files``. Same parts, same bytes.
"""

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from ledger.clock import CHINA
from ledger.money import yuan
from payments.owed.debt_file.case import Case
from payments.owed.debt_file.gather import Raw

MANIFEST: Final = "manifest.sha256"
README: Final = """停车欠费案卷 — 核验说明 / How to check this file
================================================

1. 文件完整性 / Integrity
   在本目录运行 / run in this directory:

       sha256sum -c manifest.sha256

   每行应显示 OK。清单以外不应有其他文件。
   Every line must say OK; no other file belongs to the case.

2. 原始凭据 / Raw evidence
   evidence/<编号>.body 为平台收到时逐字保存的报文正文；其 SHA-256 与案卷第九节及 case.json 中 evidence 的
   body_digest 相同。载有他人信息的报文仅列摘要。
   evidence/<id>.body holds each message as it was received; its SHA-256 is the body_digest in case.json. A message that speaks of
   others too is named with its digest alone.

3. 催缴文书 / Reminders
   reminders.csv 的 body_digest 为「主题 + 换行 + 正文」UTF-8 字节的 SHA-256。
   body_digest is the SHA-256 of subject, a line feed and text, in UTF-8. For reminder N of case.json:

       printf '%s\\n%s' "$SUBJECT" "$BODY" | sha256sum

4. 记账凭证 / Entries
   proofs.json 每份证明：SHA-256(0x00 || record) = leaf；沿 path 按 RFC 6962 求得的根应等于 checkpoint.txt 第三行
   （Base64）。检查点为 C2SP 签名注记（Ed25519），公钥由平台公开，亦可用任何 C2SP 工具核验。
   For each proof SHA-256(0x00 || record) = leaf, and RFC 6962 leads from leaf with path to the root in line 3 of checkpoint.txt.
   With sha256sum alone:

       (printf '\\0'; printf '%s' "$RECORD" | xxd -r -p) | sha256sum        # = leaf

本案卷载有个人信息，仅供所载用途使用。This file holds personal data: use it for the stated purpose only.
"""


class Part(Struct, frozen=True):
    """A file inside the ZIP."""

    name: str
    body: bytes


def zipped(case: Case, pdf: bytes, raw: Iterable[Raw]) -> bytes:
    """Return the ZIP. Names hold no plate."""
    parts = [
        Part("case.pdf", pdf),
        Part("case.json", msgspec.json.format(msgspec.json.encode(case), indent=1)),
        Part("proofs.json", msgspec.json.format(msgspec.json.encode(case.proofs), indent=1)),
        Part("debts.csv", _debts(case)),
        Part("entries.csv", _structs(case.entries)),
        Part("payments.csv", _structs(case.payments)),
        Part("reminders.csv", _structs(case.reminders)),
        Part("README.txt", README.encode()),
        *(Part(one.name, one.body) for one in raw),
    ]
    if case.checkpoint is not None:
        parts.append(Part("checkpoint.txt", case.checkpoint.encode()))
    parts.sort(key=lambda part: part.name)
    manifest = "".join(f"{hashlib.sha256(part.body).hexdigest()}  {part.name}\n" for part in parts)
    return _archive([*parts, Part(MANIFEST, manifest.encode())], case.made_at)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a CSV (RFC 4180, UTF-8 with a mark so that spreadsheets read Chinese) in which no cell is a formula."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(heads)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return ("\ufeff" + text.getvalue()).encode()


def _debts(case: Case) -> bytes:
    heads = (
        "charge_id", "lot_serial", "lot", "address", "entered_at", "left_at", "minutes", "amount_yuan", "paid_yuan", "reduced_yuan",
        "owed_yuan", "state", "basis", "due_on", "limitation_on", "tariff_text",
    )  # fmt: skip
    rows = [
        (
            x.charge_id, x.lot_serial, x.lot_name, x.lot_address, x.entered_at, x.left_at, x.minutes, yuan(x.amount_fen),
            yuan(x.paid_fen), yuan(x.reduced_fen), yuan(x.owed_fen), x.state, x.basis, x.due_on, x.limitation_on, x.tariff_text,
        )
        for x in case.debts
    ]  # fmt: skip
    return table(heads, rows)


def _structs(rows: Sequence[Struct]) -> bytes:
    if not rows:
        return table((), ())
    names = rows[0].__struct_fields__
    return table(names, [[getattr(row, name) for name in names] for row in rows])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(CHINA).isoformat()
    if isinstance(value, tuple):
        return " ".join(str(part) for part in value)
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _archive(parts: Sequence[Part], at: datetime) -> bytes:
    made: Any = io.BytesIO()
    moment = at.astimezone(CHINA).timetuple()[:6]
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for part in parts:
            info = zipfile.ZipInfo(part.name, date_time=moment)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system, info.external_attr = 3, 0o600 << 16
            archive.writestr(info, part.body)
    return bytes(made.getvalue())
