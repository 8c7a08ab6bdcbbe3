"""docs/ERRORS.md explains exactly the codes that the product can answer with."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("ledger", "gateways", "payments", "reconciliation", "app")
PAGE = (ROOT / "docs" / "ERRORS.md").read_text(encoding="utf-8")
ERRORS = {"Refused", "NotFound", "Conflict", "NotAllowed", "Unavailable", "BillRefused"}


def codes_in(tree: ast.AST) -> Iterator[str]:
    """Codes set on a class named like an error, and codes given when one is raised."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                target = (
                    line.target if isinstance(line, ast.AnnAssign) else line.targets[0] if isinstance(line, ast.Assign) else None
                )
                value = line.value if isinstance(line, ast.AnnAssign | ast.Assign) else None
                if isinstance(target, ast.Name) and target.id == "code" and isinstance(value, ast.Constant) and value.value:
                    yield str(value.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
            yield from (str(k.value.value) for k in node.keywords if k.arg == "code" and isinstance(k.value, ast.Constant))


def test_every_code_is_explained() -> None:
    found = {
        code
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if "sandbox" not in path.parts
        for code in codes_in(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert len(found) > 40
    assert sorted(code for code in found if f"`{code}`" not in PAGE) == []


def test_every_explained_code_exists() -> None:
    listed = set(
        re.findall(r"`([a-z][a-z_]+)`", "\n".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")))
    )
    source = "\n".join(path.read_text(encoding="utf-8") for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    assert sorted(code for code in listed if f'"{code}"' not in source) == []
