"""Batch normalization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpunet import functions, initializers, primitives
from gpunet.arguments import boolean, check_number, integer
from gpunet.autograd import Parameter, Tensor
from gpunet.backend import asarray, get_array_module
from gpunet.layers.layer import Shape, is_frozen, is_training
from gpunet.layers.normalization import NormalizationLayer, broadcast_shape, known_sizes_along
from gpunet.layers.roles import Normalize, Role, Scale
from gpunet.primitives.network_operations import Affine

__all__ = ["BatchNormalization"]

Pair = tuple[Any, Any]

_ADDED_TO_COUNTS = 1e-7  # so that a mask may leave nothing


class BatchNormalization(NormalizationLayer):
    """Normalize each channel: in training by the batch's mean and variance, else by moving ones.

    The result is ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``. In training the moving
    averages become ``momentum * average + (1 - momentum) * value``, with the variance of the batch
    divided by the number of elements. With ``trainable=False``, its own or that of a layer or model
    around it, the layer normalizes by the moving averages in training too, and leaves them.

    Ioffe and Szegedy, "Batch normalization", 2015; and for `renorm` Ioffe, "Batch
    renormalization", 2017.

    Arguments:
        axis: of the channels, the batch counted.
        momentum: of the moving averages, from 0 to 1.
        epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer,
            gamma_regularizer, beta_constraint, gamma_constraint: as in `NormalizationLayer`.
        moving_mean_initializer, moving_variance_initializer: names or instances of
            `gpunet.initializers`.
        renorm: True to correct the batch's statistics in training towards the moving ones.
        renorm_clipping: 'rmin' and 'rmax', between which the corrected scale stays, and 'dmax', the
            most that it is shifted by; a dictionary with some of them, or None.
        renorm_momentum: of the averages that `renorm` corrects by.
        synchronized: False: each process has averages of its own.
        options: those of every `Layer`.

    A call takes ``mask=``, of the shape of the input without its last axis: statistics are those of
    the elements where it is true.

    >>> layer = BatchNormalization(momentum=0.5)
    >>> layer([[1.0], [3.0]], training=True).numpy().round(3)
    array([[-1.],
           [ 1.]], dtype=float32)
    >>> layer.moving_mean.numpy(), layer.moving_variance.numpy()
    (array([1.], dtype=float32), array([1.], dtype=float32))
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: None = None,
        gamma_constraint: None = None,
        renorm: bool = False,
        renorm_clipping: Mapping[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer,
            gamma_regularizer, beta_constraint, gamma_constraint, **options,
        )  # fmt: skip
        kind = "BatchNormalization"
        self.axis = integer(axis, "axis", kind)
        self.momentum = check_number(kind, "momentum", momentum, 1, or_equal=True)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.renorm = boolean(renorm, "renorm", kind)
        self.renorm_clipping = _checked_clipping(renorm_clipping)
        self.renorm_momentum = check_number(
            kind, "renorm_momentum", renorm_momentum, 1, or_equal=True
        )
        self.synchronized = boolean(synchronized, "synchronized", kind)
        if self.synchronized:
            raise ValueError(
                f"{kind}: synchronized must be False, received True: each process normalizes by "
                "the statistics of its own part of a batch."
            )

    def build(self, input_shape: Shape) -> None:
        shape = known_sizes_along(self, input_shape)
        self.add_gamma_and_beta(shape)
        mean, variance = self.moving_mean_initializer, self.moving_variance_initializer
        self.moving_mean = self._add_average(shape, mean, "moving_mean")
        self.moving_variance = self._add_average(shape, variance, "moving_variance")
        if self.renorm:
            self.moving_stddev = self._add_average(shape, _root_of(variance), "moving_stddev")
            self.renorm_mean = self._add_average(shape, mean, "renorm_mean")
            self.renorm_stddev = self._add_average(shape, _root_of(variance), "renorm_stddev")

    def _add_average(self, shape: Shape, initializer: Any, name: str) -> Parameter:
        return self.add_weight(shape, initializer, name=name, trainable=False)

    def call(self, x: Any, training: bool = False, mask: Any = None) -> Any:
        return self.normalize(x, training, mask)

    def normalize(
        self, x: Any, training: bool, mask: Any = None, added: Any = None, activation: Any = None
    ) -> Any:
        """Return the output, with what fusion puts after it.

        Arguments:
            x, training, mask: as in a call.
            added: a tensor of the shape of `x`, or None.
            activation: an `Activation` that primitives can fuse, or None.
        """
        if training and not is_frozen() and mask is None and not self.renorm:
            y, mean, variance = functions.normalize_batch(
                x, self.gamma, self.beta, self.axis, self.epsilon, added=added,
                activation=activation,
            )  # fmt: skip
            self._count_batch(mean, variance)
            return y
        y = self._normalized_otherwise(x, training, mask)
        y = y if added is None else y + added
        return y if activation is None else functions.activate(y, activation)

    def _normalized_otherwise(self, x: Any, training: bool, mask: Any) -> Any:
        """Return the output by given statistics, of elements under a mask, or renormalized."""
        if mask is not None:
            mask = _as_mask(mask, x)
        if not training or is_frozen():
            return functions.batch_normalization(
                x, self.moving_mean, self.moving_variance, self.axis, self.beta, self.gamma,
                self.epsilon,
            )  # fmt: skip
        beta, gamma = (None, None) if self.renorm else (self.beta, self.gamma)
        if mask is None:
            y, mean, variance = functions.normalize_batch(x, gamma, beta, self.axis, self.epsilon)
        else:
            mean, variance = self._moments_where(mask, x)
            y = functions.batch_normalization(
                x, mean, variance, self.axis, beta, gamma, self.epsilon
            )
        if self.renorm:
            return self._renormalized(y, mean.value, variance.value)
        self._count_batch(mean, variance)
        return y

    def _count_batch(self, mean: Any, variance: Any) -> None:
        self.add_update(self.moving_mean, mean, self.momentum)
        self.add_update(self.moving_variance, variance, self.momentum)

    def affine(self) -> Affine:
        """Return what the layer does to the last axis at inference."""
        gamma, beta = (None if p is None else p.value for p in (self.gamma, self.beta))
        mean, variance = self.moving_mean.value, self.moving_variance.value
        return Affine(gamma, beta, mean, variance, self.epsilon)

    def fusion_role(self) -> Role | None:
        if self.axis not in (-1, len(self.input_shape or ()) - 1):
            return None
        return Normalize() if is_training() else Scale()

    def _moments_where(self, mask: Any, x: Any) -> tuple[Any, Any]:
        """Return the means and variances of the elements where a mask is true."""
        axis = self.axis % x.ndim
        others = tuple(a for a in range(x.ndim) if a != axis)
        chosen = functions.broadcast_to(functions.expand_dims(mask, -1), x.shape)
        count = functions.sum(functions.astype(chosen, x.dtype), others) + _ADDED_TO_COUNTS
        mean = functions.sum(functions.where(chosen, x, 0.0), others) / count
        difference = x - functions.reshape(mean, broadcast_shape(x.shape, (axis,)))
        squares = functions.square(functions.where(chosen, difference, 0.0))
        return mean, functions.sum(squares, others) / count

    def _move(self, averages: Pair, values: Pair, momentum: float) -> Pair:
        """Return two averages after new values, and set them where the step succeeds."""
        before = [average.value for average in averages]
        moved = primitives.moving_averages(*values, *before, momentum=momentum)
        for average, value in zip(averages, moved, strict=True):
            self.add_update(average, value)
        return moved

    def _renormalized(self, y: Any, mean: Any, variance: Any) -> Any:
        """Return a normalized batch, corrected towards moving statistics, scaled and shifted."""
        xp = get_array_module(mean)
        deviation = (variance + self.epsilon) ** 0.5
        moving = xp.maximum(self.renorm_stddev.value, self.epsilon**0.5)
        limits = self.renorm_clipping
        factor = xp.clip(deviation / moving, limits.get("rmin"), limits.get("rmax"))
        shift = (mean - self.renorm_mean.value) / moving
        if "dmax" in limits:
            shift = xp.clip(shift, -limits["dmax"], limits["dmax"])
        moments = (mean, deviation)
        self._move((self.renorm_mean, self.renorm_stddev), moments, self.renorm_momentum)
        _, found = self._move((self.moving_mean, self.moving_stddev), moments, self.momentum)
        self.add_update(self.moving_variance, xp.maximum(found * found - self.epsilon, 0))
        shape = broadcast_shape(y.shape, (self.axis,))
        y = y * factor.reshape(shape) + shift.reshape(shape)
        if self.gamma is not None:
            y = y * functions.reshape(self.gamma, shape)
        return y if self.beta is None else y + functions.reshape(self.beta, shape)


def _as_mask(mask: Any, x: Any) -> Tensor:
    """Return a mask as a tensor of bools where the input is.

    Raises:
        ValueError: its shape is not that of the input without the last axis, sizes of 1 apart.
    """
    values = mask.value if isinstance(mask, Tensor) else asarray(mask, like=x.value)
    wanted = x.shape[:-1]
    fits = len(values.shape) == len(wanted) and all(
        size in (1, other) for size, other in zip(values.shape, wanted, strict=True)
    )
    if not fits:
        raise ValueError(
            "BatchNormalization: mask must have the shape of the input without its last axis, "
            f"{wanted}, received {values.shape} for an input of shape {x.shape}."
        )
    return Tensor(values.astype(bool, copy=False))


def _checked_clipping(given: Mapping[str, float] | None) -> dict[str, float]:
    """Return the limits of `renorm_clipping`, those that are given."""
    limits = {
        name: check_number("BatchNormalization", f"renorm_clipping[{name!r}]", value)
        for name, value in (given or {}).items()
        if value is not None
    }
    unknown = sorted(set(given or {}) - {"rmin", "rmax", "dmax"})
    if unknown:
        raise ValueError(
            "BatchNormalization: renorm_clipping must have no keys but 'rmin', 'rmax' and 'dmax', "
            f"received {unknown[0]!r}."
        )
    if limits.get("rmin", 0.0) > limits.get("rmax", float("inf")):
        raise ValueError(
            "BatchNormalization: 'rmin' of renorm_clipping must not be more than 'rmax', received "
            f"{given!r}."
        )
    return limits


def _root_of(initializer: Any) -> Any:
    """Return an initializer that makes the square roots of another's numbers."""
    return lambda shape, dtype="float32": initializer(shape, dtype=dtype) ** 0.5
