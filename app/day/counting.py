"""Counts of simulated days: one more of a name, and the sum of several days' records. Pure.

Knows the form of records; must not know what they count. Called by all of ``app.day``.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec import Struct

T = TypeVar("T", bound=Struct)


def count(counts: dict[str, int], name: str) -> None:
    """Count one more of a name."""
    counts[name] = counts.get(name, 0) + 1


def added(records: Sequence[T]) -> T:
    """Return the sum of records of one form, field by field: of numbers, of counts by name, of records within."""
    form = type(records[0])
    return form(**{name: _added([getattr(one, name) for one in records]) for name in form.__struct_fields__})


def _added(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Struct):
        return added(values)
    if isinstance(values[0], dict):
        names = dict.fromkeys(name for value in values for name in value)
        return {name: sum(value.get(name, 0) for value in values) for name in names}
    return sum(values)
