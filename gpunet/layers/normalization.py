"""Layers that give their input another mean and size, sample by sample."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from gpunet import functions, initializers, regularizers
from gpunet.arguments import boolean, check_number, integer
from gpunet.layers.layer import Layer, Shape

__all__ = [
    "GroupNormalization",
    "LayerNormalization",
    "RMSNormalization",
    "UnitNormalization",
]


class NormalizationLayer(Layer):
    """A layer that keeps the shape of its input, normalizes it, and perhaps scales and shifts it.

    Arguments:
        epsilon: added to variances, at least 0.
        center, scale: whether `beta` is added, and whether `gamma` is multiplied by.
        beta_initializer, gamma_initializer: names or instances of `gpunet.initializers`.
        beta_regularizer, gamma_regularizer: names or instances of `gpunet.regularizers`,
            functions, or None.
        beta_constraint, gamma_constraint: None.
        options: those of every `Layer`.
    """

    supports_masking = True

    def __init__(
        self,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: Any,
        gamma_initializer: Any,
        beta_regularizer: Any,
        gamma_regularizer: Any,
        beta_constraint: None,
        gamma_constraint: None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        kind = type(self).__name__
        self.epsilon = check_number(kind, "epsilon", epsilon)
        self.center = boolean(center, "center", kind)
        self.scale = boolean(scale, "scale", kind)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        for name, given in (
            ("beta_constraint", beta_constraint),
            ("gamma_constraint", gamma_constraint),
        ):
            if given is not None:
                raise ValueError(
                    f"{kind}: {name} must be None, received {given!r}: weights have no constraints "
                    "here; a regularizer may do."
                )
        self.beta_constraint, self.gamma_constraint = beta_constraint, gamma_constraint
        self.gamma: Any = None
        self.beta: Any = None

    def add_gamma_and_beta(self, shape: Shape) -> None:
        """Make the weights that the layer is to have."""
        if self.scale:
            self.gamma = self.add_weight(
                shape, self.gamma_initializer, name="gamma", regularizer=self.gamma_regularizer
            )
        if self.center:
            self.beta = self.add_weight(
                shape, self.beta_initializer, name="beta", regularizer=self.beta_regularizer
            )

    def check_input(self, shape: Any) -> None:
        check_known_sizes(self, shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes_along(self, input_shape)
        return input_shape


class LayerNormalization(NormalizationLayer):
    """Normalize each sample along axes to mean 0 and variance 1: ``gamma * normalized + beta``.

    Ba, Kiros and Hinton, "Layer normalization", 2016.

    Arguments:
        axis: one axis, or several, the batch counted but not among them; `gamma` and `beta` have
            the sizes along these.
        epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer,
            gamma_regularizer, beta_constraint, gamma_constraint: as in `NormalizationLayer`.
        rms_scaling: deprecated; True to divide by the root of the variance alone, without
            subtracting the mean and without `beta`. `RMSNormalization` is what is meant, mostly.
        options: those of every `Layer`.

    >>> LayerNormalization(epsilon=0.0)([[1.0, 3.0], [5.0, 9.0]]).numpy()
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: None = None,
        gamma_constraint: None = None,
        *,
        rms_scaling: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer,
            gamma_regularizer, beta_constraint, gamma_constraint, **options,
        )  # fmt: skip
        self.axis = as_axes(axis, "LayerNormalization")
        self.rms_scaling = boolean(rms_scaling, "rms_scaling", "LayerNormalization")
        if self.rms_scaling:
            self.scale, self.center = True, False
            warnings.warn(
                "LayerNormalization(rms_scaling=True) is deprecated, and divides by the root of "
                "the variance: use RMSNormalization to divide by the root of the mean square.",
                stacklevel=2,
            )

    def build(self, input_shape: Shape) -> None:
        self.add_gamma_and_beta(known_sizes_along(self, input_shape))

    def call(self, x: Any) -> Any:
        if not self.rms_scaling:
            return functions.layer_normalization(x, self.gamma, self.beta, self.axis, self.epsilon)
        shape = broadcast_shape(x.shape, self.axis)
        variance = functions.var(x, tuple(axis % x.ndim for axis in self.axis), True)
        return x / functions.sqrt(variance + self.epsilon) * functions.reshape(self.gamma, shape)


class RMSNormalization(Layer):
    """Divide each sample by the root of the mean of its squares along axes, and scale it.

    Zhang and Sennrich, "Root mean square layer normalization", 2019.

    Arguments:
        axis: one axis, or several, the batch counted but not among them; the weight `scale` has
            the sizes along these.
        epsilon: added to the means of squares, at least 0.
        options: those of every `Layer`.

    >>> RMSNormalization(epsilon=0.0)([[2.0, -2.0]]).numpy()
    array([[ 1., -1.]], dtype=float32)
    """

    def __init__(self, axis: Any = -1, epsilon: float = 1e-6, **options: Any) -> None:
        super().__init__(**options)
        self.axis = as_axes(axis, "RMSNormalization")
        self.epsilon = check_number("RMSNormalization", "epsilon", epsilon)

    def build(self, input_shape: Shape) -> None:
        self.scale = self.add_weight(known_sizes_along(self, input_shape), "ones", name="scale")

    def check_input(self, shape: Any) -> None:
        check_known_sizes(self, shape)

    def call(self, x: Any) -> Any:
        return functions.rms_normalization(x, self.scale, self.axis, self.epsilon)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes_along(self, input_shape)
        return input_shape


class GroupNormalization(NormalizationLayer):
    """Normalize each group of a sample's channels, over all positions: ``gamma * ... + beta``.

    Wu and He, "Group normalization", 2018.

    Arguments:
        groups: into how many groups of neighbours the channels are divided; -1 for each channel by
            itself, which is instance normalization.
        axis: of the channels, the batch counted.
        epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer,
            gamma_regularizer, beta_constraint, gamma_constraint: as in `NormalizationLayer`.
        options: those of every `Layer`.

    >>> GroupNormalization(groups=2, epsilon=0.0)([[1.0, 3.0, 5.0, 9.0]]).numpy()
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: None = None,
        gamma_constraint: None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer,
            gamma_regularizer, beta_constraint, gamma_constraint, **options,
        )  # fmt: skip
        self.groups = integer(groups, "groups", "GroupNormalization")
        if self.groups < 1 and self.groups != -1:
            raise ValueError(
                "GroupNormalization: groups must be a positive integer, or -1 for a group of each "
                f"channel, received {groups!r}."
            )
        self.axis = integer(axis, "axis", "GroupNormalization")

    def build(self, input_shape: Shape) -> None:
        (channels,) = known_sizes_along(self, input_shape)
        if self.groups == -1:
            self.groups = channels
        if channels % self.groups:
            problem = (
                "must not be more than the number of channels"
                if self.groups > channels
                else "must divide the number of channels"
            )
            raise ValueError(
                f"GroupNormalization: groups={self.groups} {problem}, {channels} in inputs of "
                f"shape {input_shape}: choose one of its divisors, or -1 for a group of each."
            )
        self.add_gamma_and_beta((channels,))

    def call(self, x: Any) -> Any:
        return functions.group_normalization(
            x, self.gamma, self.beta, groups=self.groups, axis=self.axis, epsilon=self.epsilon
        )


class UnitNormalization(Layer):
    """Divide each sample by its length, the root of its sum of squares along axes.

    Lengths below 1e-12 count as 1e-12.

    Arguments:
        axis: one axis, or several.
        options: those of every `Layer`.

    >>> UnitNormalization()([[3.0, 4.0]]).numpy().round(6)
    array([[0.6, 0.8]], dtype=float32)
    """

    supports_masking = True

    def __init__(self, axis: Any = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = as_axes(axis, "UnitNormalization")

    def build(self, input_shape: Shape) -> None:
        sizes_along(self, input_shape)

    def call(self, x: Any) -> Any:
        axes = tuple(axis % x.ndim for axis in self.axis)
        total = functions.sum(functions.square(x), axis=axes, keepdims=True)
        return x / functions.sqrt(functions.maximum(total, 1e-24))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes_along(self, input_shape)
        return input_shape


# Axes


def as_axes(axis: Any, where: str) -> tuple[int, ...]:
    """Return one axis or several as a sorted tuple; raise `TypeError` for anything else."""
    given = axis if isinstance(axis, list | tuple) else (axis,)
    return tuple(sorted(integer(each, "axis", where) for each in given))


def _axes_of(layer: Any) -> tuple[int, ...]:
    return layer.axis if isinstance(layer.axis, tuple) else (layer.axis,)


def sizes_along(layer: Any, shape: Shape) -> Shape:
    """Return the sizes of a shape along the layer's axes.

    Raises:
        ValueError: the shape has no such axes, or one is named twice.
    """
    axes, rank = _axes_of(layer), len(shape)
    is_there = all(-rank <= axis < rank for axis in axes)
    if not is_there or not axes or len({axis % rank for axis in axes}) < len(axes):
        raise ValueError(
            f"{type(layer).__name__}: axis must name different axes of the input, from {-rank} to "
            f"{rank - 1}, received axis={layer.axis} for inputs of shape {tuple(shape)}."
        )
    return tuple(shape[axis] for axis in axes)


def known_sizes_along(layer: Any, shape: Shape) -> tuple[int, ...]:
    """Return the sizes of weights along the layer's axes; raise where one is not known."""
    sizes = sizes_along(layer, shape)
    known = tuple(size for size in sizes if size is not None)
    if len(known) < len(sizes):
        raise ValueError(
            f"{type(layer).__name__}: the sizes along axis={layer.axis} must be known, received "
            f"inputs of shape {tuple(shape)}: the batch cannot be normalized over there."
        )
    return known


def check_known_sizes(layer: Any, shape: Any) -> None:
    """Raise `ValueError` unless a shape has the rank and the sizes that the layer was built for."""
    built = layer.input_shape
    if built is None:
        return
    fits = len(shape) == len(built) and sizes_along(layer, shape) == sizes_along(layer, built)
    if not fits:
        raise ValueError(
            f"{type(layer).__name__} was built for inputs of shape {tuple(built)}, received "
            f"{tuple(shape)}: rank and the sizes along axis={layer.axis} must be the same."
        )


def broadcast_shape(shape: Shape, axes: Sequence[int]) -> Shape:
    """Return the shape with 1 in place of all sizes but those along the axes."""
    kept = {axis % len(shape) for axis in axes}
    return tuple(size if axis in kept else 1 for axis, size in enumerate(shape))
