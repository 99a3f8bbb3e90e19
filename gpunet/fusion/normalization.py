"""Batch normalization in training, with its neighbours.

A residual is added and an activation applied as the batch is normalized.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpunet.autograd import Tensor
from gpunet.primitives import Activation

__all__ = ["Normalized", "one_by_one"]


def one_by_one(layers: Sequence[Any], x: Tensor) -> Tensor:
    """Return what layers make of a tensor, each by its own call."""
    for layer in layers:
        x = layer(x)
    return x


@dataclass(frozen=True, slots=True)
class Normalized:
    """Batch normalization in training, and after it an addition, an activation or both.

    Attributes:
        layers: the normalization, the addition and the activation, as far as they are there.
        activation: that the primitive applies, or None.
        adds: whether there is an addition; then it is called with a second tensor.
        is_first: whether the normalized tensor is the first of the two that are added.
    """

    layers: Sequence[Any]
    activation: Activation | None
    adds: bool
    is_first: bool

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        if x.mask is not None or (added is not None and not _fits(x, added)):
            return self._one_by_one(x, added)

        def normalize(x: Any, training: bool = False, mask: Any = None) -> Any:
            return norm.normalize(x, training, mask, added, self.activation)

        norm = self.layers[0]
        return norm.run(normalize, (x,), {}, None)

    def _one_by_one(self, x: Tensor, added: Tensor | None) -> Tensor:
        norm, *others = self.layers
        y = norm(x)
        if added is not None:
            add, *others = others
            y = add([y, added] if self.is_first else [added, y])
        return one_by_one(others, y)


def _fits(x: Tensor, added: Tensor) -> bool:
    return added.mask is None and added.shape == x.shape and added.dtype == x.dtype
