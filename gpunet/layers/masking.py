"""The layer that finds steps of padding."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.arguments import is_number, plain
from gpunet.layers.layer import Layer, Shape

__all__ = ["Masking"]


class Masking(Layer):
    """Mask the steps of which all features are `mask_value`, and set them to 0.

    The mask goes along with the output: recurrent layers skip the steps, and losses and metrics do
    not count them.

    Arguments:
        mask_value: the number that padding consists of.
        options: those of every `Layer`.

    >>> Masking()([[[1.0, 2.0], [0.0, 0.0]]]).mask
    array([[ True, False]])
    """

    def __init__(self, mask_value: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        value = plain(mask_value)
        if not is_number(value):
            raise ValueError(f"Masking: mask_value must be a number, received {mask_value!r}.")
        self.mask_value = value

    def check_input(self, shape: Shape) -> None:
        if len(shape) < 2:
            raise ValueError(
                "Masking expects inputs of shape (batch, ..., features), received shape "
                f"{tuple(shape)}."
            )

    def call(self, x: Any) -> Any:
        counts = (x.value != self.mask_value).any(axis=-1, keepdims=True)
        y = functions.where(counts, x, 0)
        y.mask = counts[..., 0]
        return y

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return (inputs.value != self.mask_value).any(axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape
