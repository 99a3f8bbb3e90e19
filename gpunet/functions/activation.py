"""Activations, element by element, under Keras' names."""

from __future__ import annotations

import math
from typing import Any

from gpunet import primitives
from gpunet.autograd import Array, Result, Tensor, differentiable, on_symbols
from gpunet.primitives import Activation, as_activation

__all__ = [
    "activate", "elu", "gelu", "hard_sigmoid", "hard_silu", "leaky_relu", "relu", "relu6", "selu",
    "sigmoid", "silu", "softplus", "softsign", "tanh",
]  # fmt: skip


@differentiable
def activate(x: Array, activation: str | Activation) -> Result:
    """Return the activation of `x`, of the same shape.

    Arguments:
        x: any shape.
        activation: a name, with its default options, or what `primitives.as_activation` returns.

    Raises:
        ValueError: the activation is unknown.

    >>> activate([-1.0, 2.0], "relu").numpy()
    array([0., 2.])
    """
    chosen = as_activation(activation)
    y = primitives.activate(x, chosen)
    saved = y if primitives.saves_output(chosen) else x
    return y, lambda output_grad: (primitives.activate_backward(output_grad, saved, chosen),)


def choose_relu(
    negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Activation:
    """Return the activation of the table that computes `relu` with these options."""
    if max_value is None and not threshold:
        if not negative_slope:
            return primitives.RELU
        return as_activation("leaky_relu", negative_slope=negative_slope)
    return as_activation(
        "clipped_relu",
        negative_slope=negative_slope,
        max_value=math.inf if max_value is None else max_value,
        threshold=threshold,
    )


@on_symbols
def relu(
    x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Tensor:
    """Return ``max(x, 0)``, by default.

    Arguments:
        x: any shape.
        negative_slope: factor of ``x - threshold`` where `x` is at most `threshold`.
        max_value: upper limit of the result; None for no limit.
        threshold: the result is `x` above it.

    Raises:
        ValueError: an option is negative.

    >>> relu([-10.0, 2.0, 9.0], max_value=6.0).numpy()
    array([0., 2., 6.])
    """
    return activate(x, choose_relu(negative_slope, max_value, threshold))


@on_symbols
def relu6(x: Any) -> Tensor:
    """Return ``min(max(x, 0), 6)``."""
    return activate(x, choose_relu(max_value=6.0))


@on_symbols
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Tensor:
    """Return `x` where it is positive, else ``negative_slope * x``.

    Raises:
        ValueError: `negative_slope` is negative.
    """
    return activate(x, as_activation("leaky_relu", negative_slope=negative_slope))


@on_symbols
def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """Return `x` where it is positive, else ``alpha * (exp(x) - 1)`` (Clevert et al., 2015).

    Raises:
        ValueError: `alpha` is negative.
    """
    return activate(x, as_activation("elu", alpha=alpha))


@on_symbols
def selu(x: Any) -> Tensor:
    """Return ``1.0507 * elu(x, alpha=1.6733)``, self-normalizing (Klambauer et al., 2017)."""
    return activate(x, "selu")


@on_symbols
def gelu(x: Any, approximate: bool = False) -> Tensor:
    """Return x * P(X <= x) for X of the standard normal distribution (Hendrycks et al., 2016).

    Arguments:
        x: any shape.
        approximate: use the formula in tanh instead of the error function.
    """
    return activate(x, "gelu_tanh" if approximate else "gelu")


@on_symbols
def sigmoid(x: Any) -> Tensor:
    """Return ``1 / (1 + exp(-x))``; the result's `logits` is `x`, from which losses compute."""
    return with_logits("sigmoid", activate(x, "sigmoid"), x)


def with_logits(activation: str, y: Tensor, x: Any) -> Tensor:
    """Return `y`, an activation of `x`, after noting that on it for a loss to use."""
    y.activation, y.logits = activation, x if isinstance(x, Tensor) else Tensor(x)
    return y


@on_symbols
def hard_sigmoid(x: Any) -> Tensor:
    """Return ``(x + 3) / 6`` limited to [0, 1]."""
    return activate(x, "hard_sigmoid")


@on_symbols
def tanh(x: Any) -> Tensor:
    """Return the hyperbolic tangent of `x`."""
    return activate(x, "tanh")


@on_symbols
def softplus(x: Any) -> Tensor:
    """Return ``log(1 + exp(x))``."""
    return activate(x, "softplus")


@on_symbols
def softsign(x: Any) -> Tensor:
    """Return ``x / (1 + |x|)``."""
    return activate(x, "softsign")


@on_symbols
def silu(x: Any) -> Tensor:
    """Return ``x * sigmoid(x)``, also called swish."""
    return activate(x, "silu")


@on_symbols
def hard_silu(x: Any) -> Tensor:
    """Return ``x * hard_sigmoid(x)``, also called hard swish."""
    return activate(x, "hard_silu")
