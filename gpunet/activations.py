"""Activations under Keras' names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunet import functions, primitives
from gpunet.functions import (
    elu,
    gelu,
    hard_sigmoid,
    leaky_relu,
    log_softmax,
    relu,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from gpunet.naming import find

__all__ = [
    "elu",
    "gelu",
    "get",
    "hard_sigmoid",
    "leaky_relu",
    "linear",
    "log_softmax",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "split",
    "swish",
    "tanh",
]

Activation = Callable[[Any], Any]


def linear(x: Any) -> Any:
    """Return `x`."""
    return x


swish = silu

_ACTIVATIONS: dict[str, Activation] = {
    name: getattr(functions, name)
    for name in __all__
    if name not in ("get", "linear", "split", "swish")
} | {"linear": linear, "swish": silu}

# Sigmoid is not among them: its result carries its logits for a loss to use, so it is called.
_OUTPUT_ACTIVATIONS = {
    _ACTIVATIONS[name]: name for name in primitives.OUTPUT_ACTIVATIONS if name != "sigmoid"
}


def get(identifier: str | Activation | None) -> Activation:
    """Return the activation of a name, or the function given; None is `linear`.

    >>> get("relu") is relu
    True
    """
    if identifier is None:
        return linear
    if isinstance(identifier, str):
        return find("activation", identifier, _ACTIVATIONS)
    if callable(identifier):
        return identifier
    raise TypeError(
        f"activation must be a name, a function or None, received {identifier!r}: "
        "for example activation='relu'."
    )


def split(activation: Activation) -> tuple[str | None, Activation]:
    """Return what a primitive can run in its own pass, and the function to call after it.

    The first is a name for ``functions.dense(..., activation=)`` and ``functions.conv2d``, or
    None; the second is then `activation` itself, else `linear`.
    """
    known = _OUTPUT_ACTIVATIONS.get(activation)
    return (None, activation) if known is None else (known, linear)
