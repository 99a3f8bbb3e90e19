"""Normalization: of the batch, of a sample's groups of channels, or along axes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from gpunet import primitives
from gpunet.autograd import Array, Tensor, differentiable, on_symbols
from gpunet.primitives import Activation

__all__ = [
    "batch_normalization",
    "group_normalization",
    "layer_normalization",
    "normalize_batch",
    "rms_normalization",
]

Axis = int | Sequence[int]
Result = tuple[Array, Callable[[Array], Any]]

_EPSILON = 1e-7  # keras.config.epsilon()


@on_symbols
def normalize_batch(
    x: Any, gamma: Any = None, beta: Any = None, axis: int = -1, epsilon: float = 1e-3, *,
    added: Any = None, activation: str | Activation | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return ``activation(normalized + added)``, the batch's own means and its variances.

    Each element along `axis` has a mean and a variance over all other axes (Ioffe and Szegedy,
    "Batch normalization", 2015). The gradient of the result goes through both; the means and
    variances that are returned have none.

    Arguments:
        x: any shape.
        gamma, beta: factors and what is added, (channels,), or None.
        axis: of the channels.
        epsilon: added to the variances.
        added: of the shape of `x`, such as a residual; or None.
        activation: a name of `primitives.OUTPUT_ACTIVATIONS`, an `Activation` of such a name, or
            None.

    Raises:
        TypeError, ValueError: shapes or types do not fit.

    >>> import numpy as np
    >>> y, mean, variance = normalize_batch(np.array([[1.0], [3.0]]), epsilon=0.0)
    >>> y.numpy().tolist(), mean.numpy(), variance.numpy()
    ([[-1.0], [1.0]], array([2.]), array([1.]))
    """
    moments: list[Array] = []
    options = {"axis": axis, "epsilon": epsilon, "activation": activation, "moments": moments}
    y = _normalize_batch(x, gamma, beta, added, **options)
    mean, variance = moments
    return y, Tensor(mean), Tensor(variance)


@differentiable
def _normalize_batch(
    x: Array, gamma: Array | None, beta: Array | None, added: Array | None, *,
    axis: int, epsilon: float, activation: str | Activation | None, moments: list[Array],
) -> Result:  # fmt: skip
    view = _view(x.shape, (axis,), 0, "normalize_batch")
    rows = view.of(x)[0]
    options: dict[str, Any] = {"epsilon": epsilon, "activation": activation}
    residual = None if added is None else view.of(added)[0]
    y, mean, variance = primitives.normalize_channels(rows, gamma, beta, residual, **options)
    moments += [mean, variance]

    def backward(output_grad: Array) -> Any:
        input_grad, gamma_grad, beta_grad, added_grad = primitives.normalize_channels_backward(
            view.of(output_grad)[0], rows, gamma, mean, variance, **options, output=y,
            with_added=added is not None,
        )  # fmt: skip
        return (
            view.back(input_grad),
            None if gamma is None else gamma_grad,
            None if beta is None else beta_grad,
            None if added_grad is None else view.back(added_grad),
        )

    return view.back(y), backward


@differentiable
def batch_normalization(
    x: Array,
    mean: Array,
    variance: Array,
    axis: int,
    offset: Array | None = None,
    scale: Array | None = None,
    epsilon: float = 0.001,
) -> Result:
    """Return ``(x - mean) / sqrt(variance + epsilon) * scale + offset`` of given statistics.

    Arguments:
        x: any shape.
        mean, variance: (channels,).
        axis: of the channels.
        offset, scale: (channels,), or None.
        epsilon: added to the variances.

    Raises:
        TypeError, ValueError: shapes or types do not fit.

    >>> import numpy as np
    >>> batch_normalization([[5.0]], np.ones(1), np.full(1, 4.0), -1, epsilon=0.0).numpy()
    array([[2.]])
    """
    view = _view(x.shape, (axis,), 0, "batch_normalization")
    inputs = view.of(x)

    def normalize(x: Array, mean: Array | None, gamma: Array | None, beta: Array | None) -> Array:
        return primitives.normalize_inference(x, mean, variance, gamma, beta, epsilon=epsilon)

    def backward(output_grad: Array) -> Any:
        grad = view.of(output_grad)
        root = (variance + epsilon) ** -0.5
        slope = root if scale is None else scale * root

        def product_sum() -> Array:
            return primitives.bias_backward(grad * normalize(inputs, mean, None, None))

        return (
            lambda: view.back(normalize(grad, None, scale, None)),
            lambda: -slope * primitives.bias_backward(grad),
            lambda: -0.5 * slope * root * product_sum(),
            None,
            lambda: primitives.bias_backward(grad),
            product_sum,
        )

    return view.back(normalize(inputs, mean, scale, offset)), backward


@differentiable
def layer_normalization(
    x: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    axis: Axis = -1,
    epsilon: float | None = None,
) -> Result:
    """Return `x` normalized along axes: of mean 0 and variance 1, times `gamma`, plus `beta`.

    Ba, Kiros and Hinton, "Layer normalization", 2016.

    Arguments:
        x: any shape.
        gamma, beta: arrays of the sizes along the axes, or None.
        axis: one axis, or several.
        epsilon: added to the variances; 1e-7 by default.

    Raises:
        TypeError, ValueError: shapes or types do not fit.

    >>> layer_normalization([[1.0, 3.0], [5.0, 9.0]], epsilon=0.0).numpy()
    array([[-1.,  1.],
           [-1.,  1.]])
    """
    view = _view(x.shape, axis, None, "layer_normalization")
    return _normalized(x, gamma, beta, view, 1, _epsilon(epsilon))


@differentiable
def rms_normalization(
    x: Array, scale: Array | None = None, axis: Axis = -1, epsilon: float | None = None
) -> Result:
    """Return `x` divided by the root of the mean of its squares along axes, times `scale`.

    Zhang and Sennrich, "Root mean square layer normalization", 2019.

    Arguments:
        x: any shape.
        scale: array of the sizes along the axes, or None.
        axis: one axis, or several.
        epsilon: added to the means of squares; 1e-7 by default.

    Raises:
        TypeError, ValueError: shapes or types do not fit.

    >>> rms_normalization([[1.0, 1.0], [2.0, -2.0]], epsilon=0.0).numpy()
    array([[ 1.,  1.],
           [ 1., -1.]])
    """
    view = _view(x.shape, axis, None, "rms_normalization")
    return _normalized(x, scale, None, view, 1, _epsilon(epsilon), centered=False)


@differentiable
def group_normalization(
    x: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    *,
    groups: int,
    axis: int = -1,
    epsilon: float = 1e-3,
) -> Result:
    """Return `x` with each group of channels of each sample normalized.

    Wu and He, "Group normalization", 2018.

    Arguments:
        x: (batch, ...).
        gamma, beta: (channels,), or None.
        groups: into how many groups of neighbours the channels are divided.
        axis: of the channels, not the first.
        epsilon: added to the variances.

    Raises:
        TypeError, ValueError: shapes or types do not fit, or `groups` does not divide the channels.

    >>> group_normalization([[1.0, 3.0, 5.0, 9.0]], groups=2, epsilon=0.0).numpy()
    array([[-1.,  1., -1.,  1.]])
    """
    view = _view(x.shape, (axis,), 1, "group_normalization")
    return _normalized(x, gamma, beta, view, groups, epsilon)


def _normalized(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    view: _View,
    groups: int,
    epsilon: float,
    centered: bool = True,
) -> Result:
    """Return the value and the closure of a normalization."""
    options: dict[str, Any] = {"groups": groups, "epsilon": epsilon}
    inputs, weight = view.of(x), None if gamma is None else gamma.reshape(-1)
    shift = None if beta is None else beta.reshape(-1)
    y, mean, variance = primitives.normalize_forward(
        inputs, weight, shift, **options, centered=centered
    )

    def backward(output_grad: Array) -> Any:
        input_grad, gamma_grad, beta_grad = primitives.normalize_backward(
            view.of(output_grad), inputs, weight, mean, variance, **options
        )
        return (
            view.back(input_grad),
            None if gamma is None else gamma_grad.reshape(gamma.shape),
            None if beta is None else beta_grad.reshape(beta.shape),
        )

    return view.back(y), backward


def _view(shape: tuple[int, ...], axis: Axis, samples: int | None, where: str) -> _View:
    """Return a view, made once for equal arguments."""
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    return _cached_view(shape, axes, samples, where)


class _View:
    """An array of any rank as (batch, positions, channels), and the way back.

    Arguments:
        shape: of the array.
        axes: those of the channels, which are put last, in order.
        samples: how many of the first axes count samples. The others, channels apart, count
            positions; None if all count samples, of one position.
        where: the function that takes the axes, for messages.

    Raises:
        ValueError: an axis is not there, or twice.
    """

    def __init__(
        self, shape: tuple[int, ...], axes: tuple[int, ...], samples: int | None, where: str
    ) -> None:
        last = sorted({axis % len(shape) for axis in axes if -len(shape) <= axis < len(shape)})
        others = [axis for axis in range(len(shape)) if axis not in last]
        if not last or len(last) < len(axes) or (samples and 0 in last):
            raise ValueError(
                f"{where}: expected different axes of an array of shape {shape}"
                f"{', not the first' if samples else ''}, received "
                f"axis={axes[0] if len(axes) == 1 else axes!r}."
            )
        self.order = (*others, *last)
        self.places = sorted(range(len(self.order)), key=self.order.__getitem__)
        self.sizes = tuple(shape[axis] for axis in self.order)
        self.channels = math.prod(shape[axis] for axis in last)
        first = [shape[axis] for axis in others]
        batch = math.prod(first if samples is None else first[:samples])
        positions = 1 if samples is None else math.prod(first[samples:])
        self.shape = (batch, positions, self.channels)

    def of(self, x: Array) -> Array:
        """Return the array, or one of its shape, as (batch, positions, channels)."""
        return x.transpose(self.order).reshape(self.shape)

    def back(self, x: Array) -> Array:
        """Return an array of (batch, positions, channels) in the shape that it came from."""
        return x.reshape(self.sizes).transpose(self.places)


_cached_view = functools.lru_cache(maxsize=256)(_View)


def _epsilon(epsilon: float | None) -> float:
    return _EPSILON if epsilon is None else epsilon
