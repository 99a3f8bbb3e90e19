"""Nested lists, tuples and dictionaries of items, and their leaves as flat lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["flatten", "flatten_like", "map_structure", "pack"]


def flatten(structure: Any) -> list[Any]:
    """Return the leaves of nested lists, tuples and dictionaries; dictionaries by sorted keys.

    >>> flatten({"b": [1, 2], "a": 3})
    [3, 1, 2]
    """
    if isinstance(structure, dict):
        return [leaf for key in sorted(structure, key=str) for leaf in flatten(structure[key])]
    if isinstance(structure, list | tuple):
        return [leaf for item in structure for leaf in flatten(item)]
    return [structure]


def flatten_like(structure: Any, values: Any) -> list[Any]:
    """Return the items of `values` in place of the leaves of a structure, in flat order.

    Items may be lists themselves, and dictionaries may have further keys.

    Raises:
        ValueError: the structures differ.

    >>> flatten_like({"a": 0, "b": [0, 0]}, {"b": [[1, 2], 3], "a": 4, "c": 5})
    [4, [1, 2], 3]
    """
    if isinstance(structure, dict) and isinstance(values, dict):
        missing = [key for key in structure if key not in values]
        if missing:
            raise ValueError(f"expected the keys {list(structure)}, received {list(values)}.")
        keys = sorted(structure, key=str)
        return [leaf for key in keys for leaf in flatten_like(structure[key], values[key])]
    if isinstance(structure, list | tuple) and isinstance(values, list | tuple):
        if len(structure) != len(values):
            raise ValueError(f"expected {len(structure)} items, received {len(values)}.")
        pairs = zip(structure, values, strict=True)
        return [leaf for part, items in pairs for leaf in flatten_like(part, items)]
    if isinstance(structure, dict | list | tuple):
        kind = type(structure).__name__
        raise ValueError(f"expected a {kind} of arrays, received {type(values).__name__}.")
    return [values]


def pack(structure: Any, leaves: Iterable[Any]) -> Any:
    """Return a structure with other leaves, given in the order of `flatten`.

    >>> pack({"b": [1, 2], "a": 3}, "xyz")
    {'b': ['y', 'z'], 'a': 'x'}
    """
    return _pack(structure, iter(leaves))


def _pack(structure: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(structure, dict):
        packed = {key: _pack(structure[key], leaves) for key in sorted(structure, key=str)}
        return {key: packed[key] for key in structure}
    if isinstance(structure, list | tuple):
        items = [_pack(item, leaves) for item in structure]
        if hasattr(structure, "_fields"):  # a named tuple
            return type(structure)(*items)
        return tuple(items) if isinstance(structure, tuple) else items
    return next(leaves)


def map_structure(function: Callable[[Any], Any], structure: Any) -> Any:
    """Return a structure with ``function(leaf)`` in place of each leaf."""
    return pack(structure, map(function, flatten(structure)))
