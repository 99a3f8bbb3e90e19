"""Look names up, and say what was meant when a name is unknown."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

__all__ = ["check_arguments", "find", "suggest"]

T = TypeVar("T")


def suggest(name: str, choices: Iterable[str]) -> str:
    """Return ``"did you mean 'adam'? "`` for the choice nearest to `name`, or an empty string."""
    nearest = difflib.get_close_matches(name.lower(), list(choices), n=1, cutoff=0.5)
    return f"did you mean {nearest[0]!r}? " if nearest else ""


def find(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return ``table[name]``; an unknown name is a `ValueError` that suggests the nearest one.

    Arguments:
        kind: what is looked for, as the error shall call it, such as ``"optimizer"``.
        name: the name to look up.
        table: the known names and what they stand for.
    """
    if name in table:
        return table[name]
    known = ", ".join(sorted(table))
    raise ValueError(
        f"Unknown {kind} {name!r}: {suggest(name, table)}The known names are: {known}."
    )


def check_arguments(function: Callable[..., Any], where: str, keywords: Iterable[str]) -> None:
    """Raise `TypeError` if `function` takes no argument of one of these `keywords`.

    Python's own message does not say which argument was meant; this one does.
    """
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    allowed = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL and p.name != "self"]
    for keyword in keywords:
        if keyword not in allowed:
            raise TypeError(
                f"{where} takes no argument {keyword!r}: {suggest(keyword, allowed)}"
                f"Its arguments are: {', '.join(allowed)}."
            )
