"""Sequences of different lengths as one array."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.arguments import check_choice, positive_integer

__all__ = ["pad_sequences"]

_SIDES = ("pre", "post")


def pad_sequences(
    sequences: Any,
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Return sequences as one array (sequences, maxlen, ...), padded and cut to equal lengths.

    Arguments:
        sequences: a list of sequences, each a list or an array (length, ...).
        maxlen: the length of all; None for the longest.
        dtype: of the array; `object` for strings.
        padding: ``"pre"`` to pad at the beginning, ``"post"`` to pad at the end.
        truncating: ``"pre"`` to cut longer sequences at the beginning, ``"post"`` at the end.
        value: the number that fills up.

    Raises:
        ValueError: an argument is none of the above, an item is no sequence, or items have
            different shapes; the message gives its position.

    >>> pad_sequences([[1], [2, 3, 4]])
    array([[0, 0, 1],
           [2, 3, 4]], dtype=int32)
    >>> pad_sequences([[1], [2, 3, 4]], maxlen=2, padding="post", value=-1)
    array([[ 1, -1],
           [ 3,  4]], dtype=int32)
    """
    check_choice(padding, _SIDES, "padding", "pad_sequences")
    check_choice(truncating, _SIDES, "truncating", "pad_sequences")
    if not hasattr(sequences, "__len__"):
        raise ValueError(
            f"pad_sequences expects a list of sequences, received {type(sequences).__name__}."
        )
    lengths = [_length(sequence, position) for position, sequence in enumerate(sequences)]
    if maxlen is None:
        length = max(lengths, default=0)
    else:
        length = positive_integer(maxlen, "maxlen", "pad_sequences")
    if isinstance(value, str) and np.dtype(dtype).kind not in "OUS":
        raise ValueError(f"pad_sequences: value={value!r} needs dtype=object, received {dtype!r}.")
    first = next((i for i, count in enumerate(lengths) if count), None)
    shape = () if first is None else _items(sequences[first], dtype, first).shape[1:]
    padded = np.full((len(lengths), length, *shape), value, dtype=dtype)
    for position, (row, sequence, count) in enumerate(zip(padded, sequences, lengths, strict=True)):
        if count == 0:
            continue
        kept = sequence[max(0, count - length) :] if truncating == "pre" else sequence[:length]
        items = _items(kept, dtype, position)
        if items.shape[1:] != shape:
            raise ValueError(
                f"pad_sequences: items of sequence {position} have shape {items.shape[1:]}, "
                f"expected {shape} as of sequence {first}."
            )
        place = slice(length - len(items), length) if padding == "pre" else slice(len(items))
        row[place] = items
    return padded


def _items(sequence: Any, dtype: Any, position: int) -> np.ndarray:
    try:
        return np.asarray(sequence, dtype=dtype)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"pad_sequences: sequence {position} cannot be an array of dtype {np.dtype(dtype)}: "
            f"{error}. Pass another dtype, such as dtype=object for strings."
        ) from error


def _length(sequence: Any, position: int) -> int:
    try:
        return len(sequence)
    except TypeError:
        raise ValueError(
            f"pad_sequences expects a list of sequences, received {sequence!r} at position "
            f"{position}."
        ) from None
