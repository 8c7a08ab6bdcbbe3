"""Rooms read each other through functions and published views; a table is its own room's alone."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCHEMA = {"ledger": "ledger", "gateways": "gateways", "payments": "payments", "reconciliation": "reconciliation", "app": "access"}
NAMED = re.compile(r"\b(?:from|join|into|update|copy) (ledger|gateways|payments|reconciliation|access)\.(\w+)\b(?!\()")


@pytest.mark.parametrize("room", SCHEMA)
def test_no_room_touches_another_rooms_tables(room: str) -> None:
    foreign = [
        f"{path.relative_to(ROOT)}: {schema}.{name}"
        for path in (ROOT / room).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if " import " not in line
        for schema, name in NAMED.findall(line)
        if schema != SCHEMA[room] and not name.startswith("v_")
    ]
    assert foreign == []
