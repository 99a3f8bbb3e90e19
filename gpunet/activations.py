"""Activations under Keras' names."""

# ruff: noqa: F403
from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from gpunet.functions import activation as _activation
from gpunet.functions import composed_activation as _composed
from gpunet.functions.activation import *
from gpunet.functions.activation import choose_relu, hard_silu, relu, relu6, sigmoid, silu
from gpunet.functions.composed_activation import *
from gpunet.functions.elementwise import exp as exponential
from gpunet.functions.softmax import log_softmax, softmax
from gpunet.naming import find
from gpunet.primitives import OUTPUT_ACTIVATIONS, Activation, as_activation


def linear(x: Any) -> Any:
    """Return `x`."""
    return x


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(_activation, name) for name in _activation.__all__ if name != "activate"},
    **{name: getattr(_composed, name) for name in _composed.__all__},
    "exponential": exponential,
    "linear": linear,
    "log_softmax": log_softmax,
    "softmax": softmax,
}
_NAME_OF = {function: name for name, function in _FUNCTIONS.items()}

hard_swish, swish = hard_silu, silu
_NAMES = {**_FUNCTIONS, "hard_swish": hard_silu, "swish": silu}

__all__ = [*sorted(_NAMES), "deserialize", "fusible", "get", "serialize"]

# A function that products can fuse -> what chooses the activation of the table by its options.
_FUSIBLE: dict[Callable[..., Any], Callable[..., Activation]] = {
    **{
        _FUNCTIONS[name]: functools.partial(as_activation, name)
        for name in OUTPUT_ACTIVATIONS
        if name in _FUNCTIONS
    },
    relu: choose_relu,
    relu6: functools.partial(choose_relu, max_value=6.0),
}


def get(identifier: Any) -> Callable[..., Any]:
    """Return the activation of a name or a configuration; None is `linear`.

    Arguments:
        identifier: a name in any case, a function, the result of `serialize`, or None.

    Raises:
        TypeError: it is none of these.
        ValueError: the name is unknown.

    >>> get("relu") is relu
    True
    """
    if identifier is None:
        return linear
    if isinstance(identifier, str):
        return find("activation", identifier.lower(), _NAMES)
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if callable(identifier):
        return identifier
    raise TypeError(
        f"activation must be a name, a function or None, received {identifier!r}: "
        "for example activation='relu'."
    )


def serialize(activation: Callable[..., Any]) -> str | dict[str, Any]:
    """Return the name of an activation, with its options where they are not the defaults.

    Arguments:
        activation: a function of this module, or a `functools.partial` of one with keywords.

    Raises:
        ValueError: it is a custom function, which no configuration describes.

    >>> serialize(relu)
    'relu'
    >>> serialize(functools.partial(leaky_relu, negative_slope=0.1))
    {'class_name': 'leaky_relu', 'config': {'negative_slope': 0.1}}
    """
    function, options = _with_options(activation)
    name = _NAME_OF.get(function)
    if name is None:
        raise ValueError(
            f"activations.serialize() expected a function of gpunet.activations, received "
            f"{activation!r}: custom functions have no configuration."
        )
    return {"class_name": name, "config": options} if options else name


def deserialize(config: str | dict[str, Any]) -> Callable[..., Any]:
    """Return the activation that `serialize` described.

    Raises:
        ValueError: the name is unknown.

    >>> deserialize("relu") is relu
    True
    """
    if isinstance(config, str):
        return get(config)
    function = get(config["class_name"])
    return functools.partial(function, **config["config"]) if config.get("config") else function


def fusible(
    activation: Callable[..., Any] | str | None, *, keeps_logits: bool = True
) -> Activation | None:
    """Return an activation as products and convolutions fuse it, or None if they cannot.

    Arguments:
        activation: a function, a `functools.partial` of one with its options, a name, or None.
        keeps_logits: whether a loss may need the input of a sigmoid, which is then not fused.

    >>> fusible("gelu") is None
    True
    >>> fusible(functools.partial(leaky_relu, negative_slope=0.1))
    Activation(name='leaky_relu', options=(('negative_slope', 0.1),))
    """
    function, options = _with_options(get(activation))
    choose = _FUSIBLE.get(function)
    if choose is None or (function is sigmoid and keeps_logits):
        return None
    return choose(**options)


def _with_options(activation: Callable[..., Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return a function and its options, where they are given by a partial with keywords alone."""
    if isinstance(activation, functools.partial) and not activation.args:
        return activation.func, activation.keywords
    return activation, {}
