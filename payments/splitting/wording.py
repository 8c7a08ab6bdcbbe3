"""What the payer reads about a charge that was cut: who gets what, who bears what, and what is still to be done. Pure.

Knows groups and their parts; must not know wallets or HTTP. Called by the pages.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from ledger.money import yuan
from payments.splitting.split_store import Group, Part


class Words(Struct, frozen=True):
    """What the payer reads about a group."""

    zh: str
    en: str


def words(group: Group, *, acts: int) -> Words:
    """Return who gets what and what is still to be done. ``acts``: how many payments the payer's wallet needs for what is open."""
    mine = [part for part in group.parts if part.charge_id is not None]
    borne = [part for part in group.parts if part.charge_id is None]
    zh = [f"本次共 {yuan(group.amount_fen)} 元，分别付给：{_joined('；', mine, '{payee} {yuan} 元（{words}）')}。"]
    en = [f"{yuan(group.amount_fen)} yuan in all, paid to: {_joined('; ', mine, '{payee} {yuan} yuan ({words_en})')}."]
    if borne:
        zh.append(f"由他方承担：{_joined('；', borne, '{bearer} {yuan} 元（{words}）')}。")
        en.append(f"Borne by others: {_joined('; ', borne, '{bearer} {yuan} yuan ({words_en})')}.")
    return Words("".join([*zh, *_to_do_zh(group, mine, acts)]), " ".join([*en, *_to_do_en(group, mine, acts)]))


def _joined(between: str, parts: Sequence[Part], form: str) -> str:
    return between.join([form.format_map(msgspec.structs.asdict(part) | {"yuan": yuan(part.amount_fen)}) for part in parts])


def _to_do_zh(group: Group, mine: Sequence[Part], acts: int) -> list[str]:
    if not group.owed_fen:
        return ["已全部付清。"]
    paid = sum(part.amount_fen - part.owed_fen for part in mine)
    said = [f"已付清 {yuan(paid)} 元，还差 {yuan(group.owed_fen)} 元，全部付清才算缴清。"] if paid else []
    if acts > 1:
        said.append(f"此钱包不能合并支付，需要付款 {acts} 次，每次付给一家。")
    elif len([part for part in mine if part.owed_fen]) > 1:
        said.append("一次付款，分别到账。")
    return said


def _to_do_en(group: Group, mine: Sequence[Part], acts: int) -> list[str]:
    if not group.owed_fen:
        return ["All of it is paid."]
    paid = sum(part.amount_fen - part.owed_fen for part in mine)
    said = [f"{yuan(paid)} yuan is paid, {yuan(group.owed_fen)} yuan is still due; it is settled when all is paid."] if paid else []
    if acts > 1:
        said.append(f"This wallet cannot combine payments: {acts} payments are needed, one for each payee.")
    elif len([part for part in mine if part.owed_fen]) > 1:
        said.append("You pay once; each payee gets its part.")
    return said
