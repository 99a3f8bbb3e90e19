"""Look names up, and suggest the nearest one where a name is unknown."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

__all__ = [
    "check_arguments", "find", "numbered", "public_names", "snake_case", "suggest",
    "unknown_argument",
]  # fmt: skip

T = TypeVar("T")


def numbered(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return names with a number added to each that is taken, or came before.

    >>> numbered(["dense", "relu", "dense"])
    ['dense', 'relu', 'dense_1']
    """
    used, numbers, found = set(taken), dict[str, int](), list[str]()
    for name in names:
        unique, number = name, numbers.get(name, 1)
        while unique in used:
            unique, number = f"{name}_{number}", number + 1
        numbers[name] = number
        used.add(unique)
        found.append(unique)
    return found


def suggest(name: str, choices: Iterable[str]) -> str:
    """Return ``"did you mean 'adam'? "`` for the choice nearest to `name`, or an empty string."""
    nearest = difflib.get_close_matches(name.lower(), list(choices), n=1, cutoff=0.5)
    return f"did you mean {nearest[0]!r}? " if nearest else ""


def find(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return ``table[name]``; `kind` is what messages call it, such as ``"optimizer"``.

    Raises:
        TypeError: if `name` is no string.
        ValueError: if `name` is unknown; the message suggests the nearest one.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    known = ", ".join(sorted(table))
    if not isinstance(name, str):
        raise TypeError(
            f"Expected the name of a {kind}, received {name!r}; the names are: {known}."
        )
    raise ValueError(
        f"Unknown {kind} {name!r}: {suggest(name, table)}The known names are: {known}."
    )


def public_names(namespace: Mapping[str, Any]) -> list[str]:
    """Return the names in a package of what its own modules define, for its `__all__`.

    Arguments:
        namespace: the package's ``globals()``, after ``from package.module import *``.

    >>> from gpunet import layers
    >>> "Dense" in public_names(vars(layers))
    True
    """
    within = f"{namespace['__name__']}."
    return sorted(
        name
        for name, item in namespace.items()
        if not name.startswith("_") and str(getattr(item, "__module__", "")).startswith(within)
    )


def check_arguments(function: Callable[..., Any], where: str, keywords: Iterable[str]) -> None:
    """Raise `TypeError` if `function` takes no argument of one of these `keywords`.

    Python's own message does not suggest the argument that was meant; this one does.
    """
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    allowed = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL and p.name != "self"]
    for keyword in keywords:
        if keyword not in allowed:
            raise unknown_argument(where, keyword, allowed)


def unknown_argument(where: str, keyword: str, allowed: Iterable[str]) -> TypeError:
    """Return the error for a keyword that `where` does not take."""
    allowed = list(allowed)
    return TypeError(
        f"{where} takes no argument {keyword!r}: {suggest(keyword, allowed)}"
        f"Its arguments are: {', '.join(allowed)}."
    )


def snake_case(name: str) -> str:
    """Return the default name of a class, as Keras has it.

    >>> snake_case("MaxPooling2D"), snake_case("SGD"), snake_case("ConvLSTM2D")
    ('max_pooling2d', 'sgd', 'conv_lstm2d')
    """
    name = re.sub(r"(.)([A-Z][a-z]+|(?<=\d)[A-Z]\d+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
