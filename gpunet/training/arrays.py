"""Convert lists, tensors and frames to arrays, and check the numbers in them."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from gpunet.autograd import Array, Tensor
from gpunet.backend import get_array_module

__all__ = ["as_array", "check_lengths", "check_numbers", "class_weights"]

_CHECKED_AT_ONCE = 1 << 20  # elements


def as_array(data: Any, argument: str) -> Array:
    """Return numbers as an array that is not empty.

    Arguments:
        data: an array, a list, a tensor of this or another library, or a DataFrame.
        argument: the name for messages, such as "x".

    Raises:
        TypeError: for masked and sparse arrays, and for other items than numbers.
        ValueError: for one number, no sample, or rows of several shapes.
    """
    if data is None:
        raise TypeError(f"{argument} is None, expected an array with one row for each sample.")
    if isinstance(data, Tensor):
        data = data.value
    if isinstance(data, np.ma.MaskedArray):
        raise TypeError(
            f"{argument} is a masked array, whose masked values would be used: fill them, such as "
            f"by {argument}.filled(0), or take those samples out."
        )
    if type(data) is not np.ndarray:
        data = _converted(data, argument)
    if data.dtype.kind not in "fiub":
        raise TypeError(
            f"{argument} must be an array of numbers, received dtype {data.dtype}: convert it, "
            f"such as by {argument}.astype('float32')"
            + (", and give all its rows the same shape." if data.dtype.kind == "O" else ".")
        )
    if data.ndim == 0:
        raise ValueError(f"{argument} must have one row for each sample, received one number.")
    if data.size == 0:
        raise ValueError(f"{argument} is empty: it has shape {data.shape}, with no sample in it.")
    return data


def _converted(data: Any, argument: str) -> Array:
    """Return data that are no array of NumPy as an array."""
    if hasattr(data, "toarray") and not hasattr(data, "__array__"):
        raise TypeError(
            f"{argument} is a sparse matrix ({type(data).__name__}), expected a dense array: pass "
            f"{argument}.toarray(), in batches from a generator if that is too large."
        )
    if hasattr(data, "detach") and hasattr(data, "cpu"):  # a tensor of PyTorch
        data = data.detach().cpu()
    first = data[0] if isinstance(data, list | tuple) and data else data
    try:  # of several arrays of CuPy makes one; those on another device come to the current one
        array = get_array_module(first).asarray(data)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(
            f"{argument} cannot be made an array of numbers ({error}): all its rows must have the "
            "same shape, and hold numbers alone."
        ) from None
    is_frame = hasattr(data, "to_numpy") and array.dtype.kind == "O"
    if is_frame and all(isinstance(item, Real | np.bool_) for item in array.flat):
        return array.astype(np.float64)  # its columns have several types
    return array


def check_numbers(
    data: Array, argument: str, dtype: Any, *, finite: bool = True, batch_size: int | None = None
) -> None:
    """Raise `ValueError` for NaN, infinity, and numbers that are too large for the model.

    Arguments:
        data: with one row a sample.
        argument: its name, for the message.
        dtype: of the model's weights.
        finite: False to accept NaN and infinity.
        batch_size: for the message, where samples come in order.
    """
    if data.dtype.kind != "f":
        return
    dtype, xp = np.dtype(dtype), get_array_module(data)
    narrows = data.dtype.itemsize > dtype.itemsize
    if not (finite or narrows):
        return
    rows = max(1, _CHECKED_AT_ONCE // max(1, data[0].size))
    for start in range(0, len(data), rows):
        part = data[start : start + rows]
        with np.errstate(over="ignore"):
            good = xp.isfinite(part.astype(dtype) if narrows else part)
        if good.all():
            continue
        too_large = ~good & xp.isfinite(part)
        wrong = ~good if finite else too_large
        if not wrong.any():
            continue
        row = int(wrong.reshape(len(wrong), -1).any(axis=1).argmax())
        number = start + row
        place = f"sample {number}"
        if batch_size is not None:
            place += f" (batch {number // batch_size + 1} in order)"
        raise ValueError(_bad_number(argument, place, dtype, bool(too_large[row].any())))


def _bad_number(argument: str, place: str, dtype: np.dtype, too_large: bool) -> str:
    if too_large:
        return (
            f"{argument} holds numbers beyond {np.finfo(dtype).max:.3g}, the largest of the "
            f"model's {dtype}, first in {place}: scale {argument}, or give the layers "
            "dtype='float64'."
        )
    return (
        f"{argument} holds NaN or infinity, first in {place}: remove or "
        f"replace such values, for example by numpy.nan_to_num({argument})."
    )


def check_lengths(arrays: dict[str, Array]) -> None:
    """Raise `ValueError` unless arrays, by their names, have one row for each sample."""
    if len({len(array) for array in arrays.values()}) > 1:
        names = list(arrays)
        rows = " and ".join(
            f"{len(array)} {'rows ' if i == 0 else ''}of {name} (shape {array.shape})"
            for i, (name, array) in enumerate(arrays.items())
        )
        listed = ", ".join(names[:-1]) + f" and {names[-1]}"
        raise ValueError(f"{listed} must have one row for each sample, received {rows}.")


def class_weights(y: Any, class_weight: Any) -> Array:
    """Return the weight of each sample by its class; 1 for classes that are not named.

    Arguments:
        y: class numbers, (n,) or (n, 1), or one-hot labels (n, classes).
        class_weight: a dictionary of class numbers and weights.

    >>> class_weights(np.array([0, 2, 1]), {2: 5.0})
    array([1., 5., 1.])
    """
    if not isinstance(class_weight, dict):
        raise TypeError(
            f"class_weight must be a dictionary of class numbers and weights, such as "
            f"{{0: 1.0, 1: 5.0}}, received {class_weight!r}."
        )
    xp = get_array_module(y)
    labels = y.argmax(-1) if y.ndim > 1 and y.shape[-1] > 1 else y.reshape(len(y), -1)[:, 0]
    weights = xp.ones(len(labels))
    for label, weight in class_weight.items():
        weights[labels == label] = weight
    return weights
