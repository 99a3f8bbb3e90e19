"""Snapshots of attributes: a captured step does not read them again when they change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["Snapshot"]

# Of a model; no step reads them, and its captured steps would refer to themselves.
_NOT_READ = (
    "history", "stop_training", "stop_evaluating", "stop_predicting", "_captured_steps",
    "_dry_inputs", "_dry_outputs", "_output_template",
)  # fmt: skip


class Snapshot:
    """The attributes of some objects as they are now, those within lists and dictionaries too.

    Numbers and strings are compared by value, all else, such as arrays and functions, by identity.
    They are kept, so that none is mistaken for another that had its address. So are `others`, which
    are further values.
    """

    def __init__(self, owners: Iterable[Any], *others: Any) -> None:
        self._values = [
            (getattr(owner, "name", type(owner).__name__), name, leaf)
            for owner in owners
            for name, value in vars(owner).items()
            if name not in _NOT_READ
            for leaf in _leaves(value)
        ]
        self._values += [("", "", leaf) for leaf in _leaves(others)]

    def changed_in(self, later: Snapshot) -> str | None:
        """Return which attribute has another value later, or None if all are the same."""
        for (_, _, before), (owner, name, now) in zip(self._values, later._values, strict=False):
            if not _same(before, now):
                return f"{owner}.{name}"
        longer = max(self._values, later._values, key=len)
        shorter = min(len(self._values), len(later._values))
        return ".".join(longer[shorter][:2]) if len(longer) > shorter else None


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        yield len(value)
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    return isinstance(one, bool | int | float | str) and type(one) is type(other) and one == other
