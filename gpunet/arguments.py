"""Argument checks of layers, losses, metrics, optimizers and models.

Each returns the argument as a plain Python value, or raises an error that names it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunet.naming import suggest

__all__ = [
    "as_list", "boolean", "check_choice", "check_data_format", "check_function", "check_number",
    "floating", "integer", "is_number", "lowered", "number", "plain", "positive_integer",
    "refuse_unsupported",
]  # fmt: skip


def plain(value: Any) -> Any:
    """Return a NumPy scalar, or an array of no axes, as a Python number; else `value` itself.

    >>> plain(np.float32(0.5)), plain(np.array(3)), plain("same")
    (0.5, 3, 'same')
    """
    is_scalar = hasattr(value, "dtype") and getattr(value, "shape", None) == ()
    return value.item() if is_scalar and hasattr(value, "item") else value


def as_list(given: Any) -> list[Any]:
    """Return None, one thing or several as a list.

    >>> as_list(None), as_list("mse"), as_list(("mse", "mae"))
    ([], ['mse'], ['mse', 'mae'])
    """
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


def lowered(value: Any) -> Any:
    """Return a string in lower case, anything else as it is.

    >>> lowered("SAME"), lowered((1, 2))
    ('same', (1, 2))
    """
    return value.lower() if isinstance(value, str) else value


def is_number(value: Any) -> bool:
    """Return whether a value is one real number, of Python or of NumPy, and no bool."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def number(value: Any, argument: str, where: str) -> float:
    """Return one finite number as a float.

    Raises:
        TypeError: if `value` is no number.
        ValueError: if it is NaN or infinite.

    >>> number(np.float32(0.5), "gain", "Identity")
    0.5
    """
    found = plain(value)
    if not is_number(found):
        raise TypeError(f"{where} expects a number for {argument}, received {value!r}.")
    if not math.isfinite(found):
        raise ValueError(f"{where} expects a finite {argument}, received {found!r}.")
    return float(found)


def check_number(
    where: str, argument: str, value: Any, below: float = math.inf, *, or_equal: bool = False
) -> float:
    """Return a number, or the one in an array, from 0 to below `below` (or equal) as a float.

    Raises:
        TypeError: if `value` is no number.
        ValueError: if it is out of range, or NaN.
    """
    found = value.item() if getattr(value, "size", 0) == 1 and hasattr(value, "item") else value
    if not is_number(found):
        raise TypeError(f"{where} expects a number for {argument}, received {value!r}.")
    if not (0 <= found < below or (or_equal and found == below)):
        bound = f"at least 0 and finite, as {argument}=0.01"
        if below < math.inf:
            bound = f"from 0 to {'' if or_equal else 'below '}{below:g}"
        raise ValueError(f"{where} expects {argument} {bound}, received {found!r}.")
    return float(found)


def integer(value: Any, argument: str, where: str) -> int:
    """Return an integer as Python's `int`; raise `TypeError` if `value` is none.

    >>> integer(np.int64(-1), "axis", "softmax")
    -1
    """
    found = plain(value)
    if isinstance(found, bool) or not isinstance(found, int):
        raise TypeError(f"{where} expects an integer for {argument}, received {value!r}.")
    return found


def positive_integer(value: Any, argument: str, where: str, *, or_zero: bool = False) -> int:
    """Return a positive integer as Python's `int`; raise `ValueError` if `value` is none.

    >>> positive_integer(np.int64(32), "units", "Dense")
    32
    """
    found = plain(value)
    if isinstance(found, bool) or not isinstance(found, int) or found < (0 if or_zero else 1):
        kind = "an integer of at least 0" if or_zero else "a positive integer"
        raise ValueError(f"{where}: {argument} must be {kind}, received {value!r}.")
    return found


def boolean(value: Any, argument: str, where: str) -> bool:
    """Return True or False, also given as 1 or 0; raise `TypeError` if `value` is neither.

    >>> boolean(np.True_, "nesterov", "SGD")
    True
    """
    found = plain(value)
    if not isinstance(found, int) or found not in (0, 1):
        raise TypeError(f"{where} expects {argument} as True or False, received {value!r}.")
    return bool(found)


def floating(dtype: Any, where: str) -> np.dtype[Any] | None:
    """Return a floating-point dtype, None for the default; raise for any other.

    >>> floating("float32", "MeanSquaredError")
    dtype('float32')
    """
    if dtype is None:
        return None
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = np.dtype(object)
    if found.kind != "f":
        raise ValueError(
            f"{where}: dtype must be a floating-point type such as 'float32' or 'float64', "
            f"received {dtype!r}."
        )
    return found


def check_function(
    function: Callable[..., Any], arguments: Sequence[str], where: str, **options: Any
) -> None:
    """Raise `TypeError` if a function cannot be called with these arguments and options.

    >>> check_function(lambda y: y, ("y_true", "y_pred"), "A loss")
    Traceback (most recent call last):
    TypeError: A loss must be a function of (y_true, y_pred), received one of (y).
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # functions written in C may not tell
        return
    try:
        signature.bind(*arguments, **options)
    except TypeError:
        takes = ", ".join([*arguments, *options])
        raise TypeError(
            f"{where} must be a function of ({takes}), received one of {signature}."
        ) from None


def check_choice(value: Any, choices: Sequence[Any], argument: str, where: str) -> Any:
    """Return `value` if it is one of the `choices`; else raise `ValueError`.

    >>> check_choice("valid", ("valid", "same"), "padding", "Conv2D")
    'valid'
    """
    if any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        return value
    names = [choice for choice in choices if isinstance(choice, str)]
    hint = suggest(value, names).strip() if isinstance(value, str) else ""
    raise ValueError(
        f"{where}: {argument} must be one of {', '.join(map(repr, choices))}, received {value!r}"
        f"{': ' if hint else '.'}{hint}"
    )


def check_data_format(data_format: Any, where: str) -> str:
    """Return ``'channels_last'``, also for None, or ``'channels_first'``, in any case.

    Raises:
        ValueError: it is something else.
    """
    formats = ("channels_last", "channels_first")
    chosen = formats[0] if data_format is None else lowered(data_format)
    return check_choice(chosen, formats, "data_format", where)


def refuse_unsupported(where: str, **given: Any) -> None:
    """Raise `NotImplementedError` for the first argument of Keras' that is given, yet unsupported.

    The values are good ones in Keras, so this is no `ValueError`; None and False, which leave a
    feature out, are accepted.

    >>> refuse_unsupported("Dense", lora_rank=4)
    Traceback (most recent call last):
    NotImplementedError: Dense: lora_rank=4 is not supported: leave it out, or give None.
    """
    for argument, value in given.items():
        if value is not None and value is not False:
            raise NotImplementedError(
                f"{where}: {argument}={value!r} is not supported: leave it out, or give None."
            )
