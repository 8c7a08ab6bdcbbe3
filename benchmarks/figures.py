"""Figures of a measurement: medians over alternating rounds, and their ratio to TPC-B of the same round.

Knows numbers and the report's form only. Called by the benchmark's parts.
"""

from collections import defaultdict
from pathlib import Path
from statistics import median

import msgspec
from msgspec import Struct


class Figure(Struct, frozen=True):
    """One measured figure. ``ratio`` is the median of value / TPC-B within the same round; None where that has no meaning."""

    name: str
    value: float
    unit: str
    ratio: float | None
    min: float
    max: float
    rounds: int


class Notebook:
    """Collects values by name and round."""

    def __init__(self) -> None:
        self._values: dict[str, list[tuple[float, str, float | None]]] = defaultdict(list)

    def write(self, name: str, value: float, *, unit: str, baseline: float | None = None) -> None:
        """Note one round's value, with the TPC-B rate of the round when a ratio is wanted."""
        self._values[name].append((value, unit, value / baseline if baseline else None))

    def figures(self) -> list[Figure]:
        """Return the medians, in the order in which the names first came up."""
        return [_figure(name, rows) for name, rows in self._values.items()]


def _figure(name: str, rows: list[tuple[float, str, float | None]]) -> Figure:
    values = [value for value, _, _ in rows]
    ratios = [ratio for _, _, ratio in rows if ratio is not None]
    return Figure(
        name=name, value=round(median(values), 3), unit=rows[0][1], ratio=round(median(ratios), 2) if ratios else None,
        min=round(min(values), 3), max=round(max(values), 3), rounds=len(rows),
    )  # fmt: skip


def save(figures: list[Figure], path: Path) -> None:
    """Write the figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")


def table(figures: list[Figure]) -> str:
    """Return the figures as a table to read."""
    lines = [f"{'figure':<26} {'median':>12} {'unit':<10} {'x TPC-B':>8} {'min':>12} {'max':>12} {'rounds':>6}"]
    for figure in figures:
        ratio = f"{figure.ratio:.2f}" if figure.ratio is not None else ""
        lines.append(
            f"{figure.name:<26} {figure.value:>12,.1f} {figure.unit:<10} {ratio:>8} {figure.min:>12,.1f} "
            f"{figure.max:>12,.1f} {figure.rounds:>6}"
        )
    return "\n".join(lines)
