"""Activations and their gradients, element by element."""

from __future__ import annotations

from typing import Any

from gpunet.primitives.activation_table import Activation, as_activation
from gpunet.primitives.checks import check_has_output, check_same_dtype, check_same_shape
from gpunet.primitives.twins import twins_of

__all__ = ["activate", "activate_backward"]

Array = Any


def activate(x: Array, activation: str | Activation | None) -> Array:
    """Return the activation of `x`, of the same shape and element type.

    Arguments:
        x: any shape.
        activation: a name, with its default options; what `as_activation` returns; or None, which
            returns `x` itself.

    Raises:
        TypeError: `x` is no array of floating-point numbers.
        ValueError: the activation is unknown.

    >>> import numpy as np
    >>> activate(np.array([-1.0, 2.0]), "relu")
    array([0., 2.])
    >>> activate(np.array([-1.0, 2.0]), as_activation("leaky_relu", negative_slope=0.5))
    array([-0.5,  2. ])
    """
    if activation is None:
        return x
    twins = twins_of("activate", x)
    return twins.activate(x, as_activation(activation))


def activate_backward(
    output_grad: Array, saved: Array, activation: str | Activation | None
) -> Array:
    """Return the gradient of the input of an activation.

    Arguments:
        output_grad: gradient of the output, of any shape.
        saved: the output where `saves_output(activation)`, else the input; of the same shape.
        activation: as in `activate`; None returns `output_grad` itself.

    Raises:
        TypeError: `output_grad` is no array of floating-point numbers, or `saved` of another type.
        ValueError: the activation is unknown, or `saved` is missing or of another shape.

    >>> import numpy as np
    >>> activate_backward(np.ones(2), np.array([0.0, 3.0]), "relu")
    array([0., 1.])
    """
    if activation is None:
        return output_grad
    chosen = as_activation(activation)
    twins = twins_of("activate_backward", output_grad, saved)
    check_has_output(saved, chosen)
    check_same_shape(f"{chosen.name}_grad", output_grad, saved)
    check_same_dtype(f"{chosen.name}_grad", output_grad, saved=saved)
    return twins.activate_backward(output_grad, saved, chosen)
