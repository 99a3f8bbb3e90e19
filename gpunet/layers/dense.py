"""The fully connected layer, and activations as layers."""

from __future__ import annotations

import math
from typing import Any

from gpunet import activations, functions
from gpunet.arguments import positive_integer, refuse_unsupported
from gpunet.layers.layer import Layer, Shape
from gpunet.layers.product import ProductLayer
from gpunet.layers.roles import Apply, Product, Role

__all__ = ["Activation", "Dense"]


class Dense(ProductLayer):
    """A fully connected layer: ``activation(x @ kernel + bias)`` over the last axis.

    Arguments:
        units: size of the output's last axis.
        activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
        bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint: as in
            `ProductLayer`.
        lora_rank, lora_alpha, quantization_config: None; they are not supported.
        options: those of every `Layer`.

    >>> Dense(4, activation="relu", input_shape=(8,))
    <Dense 'dense'>
    """

    supports_masking = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: None = None,
        bias_constraint: None = None,
        lora_rank: None = None,
        lora_alpha: None = None,
        quantization_config: None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **options,
        )  # fmt: skip
        refuse_unsupported(
            "Dense",
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
            quantization_config=quantization_config,
        )
        self.units = positive_integer(units, "units", "Dense")

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) < 2 or not isinstance(input_shape[-1], int):
            hint = ": for samples of one number pass x[:, None]" if len(input_shape) == 1 else ""
            raise ValueError(
                "Dense expects one input of shape (batch, ..., features) with a known number of "
                f"features, received {input_shape}{hint}."
            )
        self.add_kernel((input_shape[-1], self.units))

    def check_input(self, shape: Any) -> None:
        features = self.input_shape[-1]
        if len(shape) < 2 or shape[-1] != features:
            flat = None not in shape and not any(isinstance(size, tuple | list) for size in shape)
            hint = (
                "put Flatten() before it"
                if flat and math.prod(shape[1:]) == features
                else f"it was built for {features} features"
            )
            raise ValueError(
                f"Dense expected inputs of shape (batch, ..., {features}), "
                f"received {tuple(shape)}: {hint}."
            )

    def call(self, x: Any) -> Any:
        fused = activations.fusible(self.activation)
        y = functions.dense(x, self.kernel, self.bias, activation=fused)
        return self.activation(y) if fused is None else y

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def fusion_role(self) -> Role | None:
        return Product(self.activation)


class Activation(Layer):
    """An activation as a layer.

    Arguments:
        activation: a name of `gpunet.activations`, or a function.
        options: those of every `Layer`.
    """

    supports_masking = True

    def __init__(self, activation: Any, **options: Any) -> None:
        super().__init__(**options)
        self.activation = activations.get(activation)

    def call(self, x: Any) -> Any:
        return self.activation(x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def fusion_role(self) -> Role | None:
        return Apply(self.activation)
