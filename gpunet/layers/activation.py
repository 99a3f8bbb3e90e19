"""Activations with options as layers."""

from __future__ import annotations

import functools
from typing import Any

from gpunet import activations, functions, regularizers
from gpunet.arguments import check_number, integer, refuse_unsupported
from gpunet.autograd import Tensor
from gpunet.layers.layer import Layer, Shape
from gpunet.layers.roles import Apply, Role

__all__ = ["ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax"]


class _ShapeKept(Layer):
    """A layer whose output has its input's shape, and the mask of its input."""

    supports_masking = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class _Chosen(_ShapeKept):
    """An activation with options, in `activation`."""

    activation: Any

    def call(self, x: Any) -> Any:
        return self.activation(x)

    def fusion_role(self) -> Role | None:
        return Apply(self.activation)


class ReLU(_Chosen):
    """The positive part of the input, perhaps bounded or leaking.

    Arguments:
        max_value: upper limit of the output; None for no limit.
        negative_slope: factor of ``x - threshold`` where the input is at most `threshold`.
        threshold: the output is the input above it.
        options: those of every `Layer`.

    >>> ReLU(max_value=6.0)([[-1.0, 2.0, 9.0]]).numpy()
    array([[0., 2., 6.]], dtype=float32)
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.max_value = None if max_value is None else check_number("ReLU", "max_value", max_value)
        self.negative_slope = check_number("ReLU", "negative_slope", negative_slope)
        self.threshold = check_number("ReLU", "threshold", threshold)
        self.activation = functools.partial(
            activations.relu,
            negative_slope=self.negative_slope,
            max_value=self.max_value,
            threshold=self.threshold,
        )

    fusion_role = _Chosen.fusion_role


class LeakyReLU(_Chosen):
    """The input where it is positive, else ``negative_slope * x``.

    The default is 0.3 as in Keras, whose activation of this name has 0.2.

    Arguments:
        negative_slope: at least 0.
        options: those of every `Layer`.

    >>> LeakyReLU()([[-1.0, 2.0]]).numpy()
    array([[-0.3,  2. ]], dtype=float32)
    """

    def __init__(self, negative_slope: float = 0.3, **options: Any) -> None:
        super().__init__(**options)
        self.negative_slope = check_number("LeakyReLU", "negative_slope", negative_slope)
        self.activation = functools.partial(
            activations.leaky_relu, negative_slope=self.negative_slope
        )

    fusion_role = _Chosen.fusion_role


class ELU(_Chosen):
    """The input where it is positive, else ``alpha * (exp(x) - 1)``.

    Arguments:
        alpha: at least 0.
        options: those of every `Layer`.

    >>> ELU()([[-1.0, 2.0]]).numpy().round(4)
    array([[-0.6321,  2.    ]], dtype=float32)
    """

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = check_number("ELU", "alpha", alpha)
        self.activation = functools.partial(activations.elu, alpha=self.alpha)

    fusion_role = _Chosen.fusion_role


class Softmax(_Chosen):
    """The softmax over one axis or several; elements that a mask leaves out get 0.

    Arguments:
        axis: an integer, or several.
        options: those of every `Layer`.

    Called with ``mask``, True for the elements to use, which broadcasts against the input; a row
    without any becomes zeros.

    >>> import numpy as np
    >>> Softmax()([[0.0, 0.0, 5.0]], mask=np.array([True, True, False])).numpy()
    array([[0.5, 0.5, 0. ]], dtype=float32)
    """

    def __init__(self, axis: Any = -1, **options: Any) -> None:
        super().__init__(**options)
        several = isinstance(axis, list | tuple)
        axes = [integer(a, "axis", "Softmax") for a in (axis if several else [axis])]
        self.axis = axes if several else axes[0]
        self.activation: Any = activations.softmax
        if self.axis != -1:
            chosen = tuple(axes) if len(axes) > 1 else axes[0]
            self.activation = functools.partial(activations.softmax, axis=chosen)

    def call(self, x: Any, mask: Any = None) -> Any:
        if mask is None:
            return self.activation(x)
        used = mask.value if isinstance(mask, Tensor) else mask
        used = used if used.dtype == bool else used > 0.5
        _check_mask(used.shape, x.shape)
        return functions.where(used, self.activation(functions.where(used, x, -1e9)), 0.0)

    fusion_role = _Chosen.fusion_role


def _check_mask(mask: Shape, shape: Shape) -> None:
    """Raise `ValueError` unless a mask broadcasts to a shape."""
    pairs = zip(mask[::-1], shape[::-1], strict=False)
    if len(mask) > len(shape) or any(size not in (1, of_input) for size, of_input in pairs):
        raise ValueError(
            f"Softmax expects a mask that broadcasts to the input of shape {shape}, received one "
            f"of shape {mask}: each of its sizes must be 1 or the input's."
        )


class PReLU(_ShapeKept):
    """The input where it is positive, else ``alpha * x`` with a weight `alpha` (He et al., 2015).

    Arguments:
        alpha_initializer, alpha_regularizer: of the slopes, names or instances.
        alpha_constraint: None; constraints are not there yet.
        shared_axes: axes along which all elements have one slope, counted from 1 after the batch;
            ``[1, 2]`` leaves one for each channel of an image.
        options: those of every `Layer`.

    >>> PReLU(alpha_initializer="ones")([[-1.0, 2.0]]).numpy()
    array([[-1.,  2.]], dtype=float32)
    """

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: None = None,
        shared_axes: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        refuse_unsupported("PReLU", alpha_constraint=alpha_constraint)
        self.alpha_initializer = alpha_initializer
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        axes = [] if shared_axes is None else shared_axes
        axes = list(axes) if isinstance(axes, list | tuple) else [axes]
        self.shared_axes = [integer(axis, "shared_axes", "PReLU") for axis in axes]
        if any(axis < 1 for axis in self.shared_axes):
            raise ValueError(
                f"PReLU: shared_axes are counted from 1 after the batch, received {shared_axes}."
            )

    def build(self, input_shape: Shape) -> None:
        rank = len(input_shape)
        if any(axis >= rank for axis in self.shared_axes):
            raise ValueError(
                f"PReLU: shared_axes must be axes of inputs of shape {input_shape}, from 1 to "
                f"{rank - 1}, received {self.shared_axes}."
            )
        shape = [1 if axis in self.shared_axes else input_shape[axis] for axis in range(1, rank)]
        if None in shape:
            raise ValueError(
                f"PReLU needs known sizes along axes that are not shared, received inputs of shape "
                f"{input_shape}: name the unknown ones in shared_axes."
            )
        self.alpha = self.add_weight(
            shape, self.alpha_initializer, name="alpha", regularizer=self.alpha_regularizer
        )

    def check_input(self, shape: Shape) -> None:
        expected = self.alpha.shape
        if len(shape) != len(expected) + 1 or any(
            size not in (slopes, None) and axis not in self.shared_axes
            for axis, (size, slopes) in enumerate(zip(shape[1:], expected, strict=True), 1)
        ):
            raise ValueError(
                f"PReLU was built for samples of shape {self.input_shape[1:]}, received inputs of "
                f"shape {tuple(shape)}."
            )

    def call(self, x: Any) -> Any:
        return functions.relu(x) + self.alpha * functions.minimum(x, 0)
