"""Layers that change their input in training alone."""

from __future__ import annotations

from typing import Any

from gpunet import functions, random
from gpunet.arguments import is_number, plain
from gpunet.layers.layer import Layer, Shape, is_training
from gpunet.layers.roles import Pass, Role

__all__ = ["Dropout"]


class Dropout(Layer):
    """In training, set a share of the inputs to 0 and scale the others to make up for it.

    Arguments:
        rate: the share, from 0 to below 1.
        seed: None to draw from `gpunet.random`'s numbers, an integer for numbers of its own.
        options: those of every `Layer`.
    """

    supports_masking = True

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        share = plain(rate)
        if not is_number(share) or not 0 <= share < 1:
            raise ValueError(
                f"Dropout: rate must be a number from 0 to below 1, received {rate!r}: "
                "it is the share of the inputs that is set to 0."
            )
        self.rate = float(share)
        self.seed = seed
        self.generator: random.Generator | None = None if seed is None else random.Generator(seed)

    def call(self, x: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return x
        key = random.next_key() if self.generator is None else self.generator.next_key()
        return functions.dropout(x, key, rate=self.rate)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def fusion_role(self) -> Role | None:
        return None if is_training() else Pass()
