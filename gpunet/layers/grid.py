"""The base of layers that change sizes along spatial axes, and how their options are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.arguments import positive_integer
from gpunet.layers.layer import Shape
from gpunet.layers.spatial import SpatialLayer

__all__ = ["GridLayer", "in_pairs"]


class GridLayer(SpatialLayer):
    """A layer that moves elements along spatial axes, or reduces them, in either layout.

    A subclass writes `call` for both layouts, and `output_size` where sizes change.
    """

    @property
    def axes(self) -> tuple[int, ...]:
        """The positions of the spatial axes."""
        first = 2 if self.channels_first else 1
        return tuple(range(first, first + self.rank))

    def output_size(self, position: int, size: int) -> int:
        """Return the size of the output along a spatial axis, the first of which is 0."""
        return size

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._check_rank(input_shape)
        sizes = list(input_shape)
        for position, axis in enumerate(self.axes):
            size = sizes[axis]
            sizes[axis] = None if size is None else self.output_size(position, size)
        return tuple(sizes)

    def check_input(self, shape: Shape) -> None:
        self.compute_output_shape(shape)


def in_pairs(value: Any, rank: int, argument: str, where: str) -> tuple[tuple[int, int], ...]:
    """Return (before, after) for each axis, from one integer, one for each axis, or pairs.

    For one axis the pair itself is given.

    >>> in_pairs((1, (0, 2)), 2, "padding", "ZeroPadding2D"), in_pairs((0, 1), 1, "cropping", "")
    (((1, 1), (0, 2)), ((0, 1),))
    """
    if isinstance(value, list | tuple) and rank > 1:
        entries: Sequence[Any] = value
    else:
        entries = [value] * rank
    pairs = [entry if isinstance(entry, list | tuple) else (entry, entry) for entry in entries]
    if len(pairs) != rank or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            f"{where}: {argument} must be an integer, or "
            + (f"{rank} integers or pairs (before, after)" if rank > 1 else "(before, after)")
            + f", received {value!r}."
        )
    before_after = [
        [positive_integer(size, argument, where, or_zero=True) for size in pair] for pair in pairs
    ]
    return tuple((before, after) for before, after in before_after)
