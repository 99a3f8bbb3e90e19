"""The activations: the options of each, and what its gradient needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from gpunet import naming

__all__ = [
    "ACTIVATIONS",
    "OUTPUT_ACTIVATIONS",
    "RELU",
    "Activation",
    "as_activation",
    "as_fused",
    "saves_output",
]


class Activation(NamedTuple):
    """An activation with its options, as primitives take it.

    Attributes:
        name: a key of `ACTIVATIONS`.
        options: a (name, value) pair for each option, in the order of the table, none left out.
    """

    name: str
    options: tuple[tuple[str, float], ...] = ()

    @property
    def values(self) -> tuple[float, ...]:
        """The options without their names."""
        return tuple(value for _, value in self.options)

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value:g}" for name, value in self.options)
        return f"{self.name}({options})" if options else self.name


class _Row(NamedTuple):
    saves: str  # the gradient is computed from this: 'output' or 'input'
    options: Mapping[str, float] = {}  # with their defaults


ACTIVATIONS: dict[str, _Row] = {
    "relu": _Row("output"),
    "clipped_relu": _Row(
        "output", {"negative_slope": 0.0, "max_value": math.inf, "threshold": 0.0}
    ),
    "leaky_relu": _Row("output", {"negative_slope": 0.2}),
    "elu": _Row("output", {"alpha": 1.0}),
    "selu": _Row("output"),
    "sigmoid": _Row("output"),
    "hard_sigmoid": _Row("output"),
    "tanh": _Row("output"),
    "softplus": _Row("output"),
    "softsign": _Row("output"),
    "silu": _Row("input"),
    "hard_silu": _Row("input"),
    "gelu": _Row("input"),
    "gelu_tanh": _Row("input"),
}
"""Formulas are in reference/, fast/ and kernels/activation.cuh, under the same names.

An activation that saves its output must not fall anywhere: max pooling is fused behind it.
"""

OUTPUT_ACTIVATIONS = tuple(name for name, row in ACTIVATIONS.items() if row.saves == "output")
"""Activations whose gradient needs their output alone: products and convolutions fuse them."""

RELU = Activation("relu")


def saves_output(activation: Activation) -> bool:
    """Return whether the gradient is computed from the output, else it is from the input."""
    return ACTIVATIONS[activation.name].saves == "output"


def as_activation(activation: str | Activation, /, **options: Any) -> Activation:
    """Return the activation of a name, with its defaults for options that are not given.

    Arguments:
        activation: a key of `ACTIVATIONS`, or an `Activation`, which is returned as it is.
        options: numbers of at least 0; finite, except for `max_value`.

    Raises:
        TypeError: an option is unknown, or no number.
        ValueError: the name is unknown, or an option is out of range.

    >>> as_activation("leaky_relu", negative_slope=0.1)
    Activation(name='leaky_relu', options=(('negative_slope', 0.1),))
    """
    if isinstance(activation, Activation):
        return activation
    row = naming.find("activation", activation, ACTIVATIONS)
    for name in options.keys() - row.options.keys():
        raise TypeError(
            f"{activation} takes no option {name!r}, its options are: "
            f"{', '.join(row.options) or 'none'}."
        )
    given = {**row.options, **options}
    return Activation(
        activation, tuple((name, _number(activation, name, given[name])) for name in row.options)
    )


def as_fused(activation: str | Activation | None) -> Activation | None:
    """Return the activation that a product or a convolution applies to its output.

    Arguments:
        activation: a name of `OUTPUT_ACTIVATIONS`, an `Activation` of such a name, or None.

    Raises:
        ValueError: it cannot be fused.

    >>> as_fused("relu")
    Activation(name='relu', options=())
    """
    if activation is None or activation is RELU:  # most often
        return activation
    name = activation.name if isinstance(activation, Activation) else activation
    if name not in OUTPUT_ACTIVATIONS:
        naming.find("fused activation", name, dict.fromkeys(OUTPUT_ACTIVATIONS))
    return as_activation(activation)


def _number(where: str, name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{where}: expected {name} as one number, received {value!r}.") from None
    if not number >= 0 or (number == math.inf and name != "max_value"):
        raise ValueError(f"{where}: expected {name} of at least 0, and finite, received {value!r}.")
    return number
