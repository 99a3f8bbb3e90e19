"""What attributes objects have, to see what is set anew: a captured step would not know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["Settings"]

_PASSING = ("history", "stop_training")  # of a model; no step reads them


class Settings:
    """The attributes of some objects as they are now, those within lists and dictionaries too.

    Numbers and strings are compared by their values. Of all else, such as arrays and functions, it
    matters which they are; they are kept, so that another is not taken for one that is gone.

    Arguments:
        owners: whose attributes.
        others: further values.
    """

    def __init__(self, owners: Iterable[Any], *others: Any) -> None:
        self._values = [
            (getattr(owner, "name", type(owner).__name__), name, leaf)
            for owner in owners
            for name, value in vars(owner).items()
            if name not in _PASSING
            for leaf in _leaves(value)
        ]
        self._values += [("", "", leaf) for leaf in _leaves(others)]

    def changed_in(self, later: Settings) -> str | None:
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
