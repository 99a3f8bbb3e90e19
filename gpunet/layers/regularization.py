"""Layers that change their input in training alone."""

from __future__ import annotations

from typing import Any, ClassVar

from gpunet import functions, random, regularizers
from gpunet.arguments import check_data_format, is_number, plain
from gpunet.layers.layer import Layer, Shape, is_training
from gpunet.layers.roles import Pass, Role

__all__ = [
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
]


class ActivityRegularization(Layer):
    """The input itself, whose size adds to the loss that is trained.

    The loss is ``(l1 * sum(|x|) + l2 * sum(x**2)) / batch``.

    Arguments:
        l1, l2: numbers of at least 0.
        options: those of every `Layer`.

    >>> with regularizers.collect_losses() as losses:
    ...     y = ActivityRegularization(l2=0.5)([[1.0, 2.0], [3.0, 4.0]])
    >>> float(losses[0])
    7.5
    """

    supports_masking = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **options: Any) -> None:
        super().__init__(activity_regularizer=regularizers.L1L2(l1, l2), **options)
        self.l1, self.l2 = l1, l2

    def call(self, x: Any) -> Any:
        return x

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


class _Noise(Layer):
    """A layer that changes its input by random numbers in training.

    Arguments:
        amount: how much, from 0, which changes nothing, to 1.
        seed: None to draw from `gpunet.random`'s numbers, an integer for numbers of its own.
        argument: what the layer calls the amount.
        below: whether the amount must be less than 1.
        options: those of every `Layer`.
    """

    supports_masking = True

    def __init__(
        self,
        amount: float,
        seed: int | None,
        *,
        argument: str = "rate",
        below: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        given = plain(amount)
        if not is_number(given) or not 0 <= given <= 1 or (below and given == 1):
            raise ValueError(
                f"{type(self).__name__}: {argument} must be a number from 0 to "
                f"{'below ' if below else ''}1, received {amount!r}."
            )
        self.amount = float(given)
        self.seed = seed
        self.generator: random.Generator | None = None if seed is None else random.Generator(seed)

    def call(self, x: Any, training: bool = False) -> Any:
        if not training or self.amount == 0:
            return x
        key = random.next_key() if self.generator is None else self.generator.next_key()
        return self.changed(x, key)

    def changed(self, x: Any, key: Any) -> Any:
        """Return the output in training, by the random numbers of a key."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def fusion_role(self) -> Role | None:
        return None if is_training() else Pass()


class Dropout(_Noise):
    """In training, set a share of the inputs to 0 and scale the others to make up for it.

    Arguments:
        rate: the share, from 0 to 1, which leaves nothing.
        noise_shape: of the random numbers: 1 for axes along which all elements share their fate,
            None for the size of the input.
        seed: None to draw from `gpunet.random`'s numbers, an integer for numbers of its own.
        options: those of every `Layer`.

    >>> Dropout(0.5, noise_shape=(None, 1), seed=1)([[1.0, 2.0]] * 3, training=True).numpy()
    array([[0., 0.],
           [0., 0.],
           [2., 4.]], dtype=float32)
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Any = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(rate, seed, **options)
        self.rate = self.amount
        self.noise_shape = _checked(noise_shape, type(self).__name__)

    def changed(self, x: Any, key: Any) -> Any:
        return functions.dropout(x, key, rate=self.rate, noise_shape=_known(self.noise_shape, x))

    fusion_role = _Noise.fusion_role


class AlphaDropout(_Noise):
    """In training, set a share of the inputs to the least value of selu, then rescale all.

    Mean 0 and variance 1 are kept: for use between layers with selu (Klambauer et al., 2017).

    Arguments:
        rate: the share, from 0 to below 1. (Keras 3.15 accepts 1, and divides by zero.)
        noise_shape, seed, options: as in `Dropout`.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Any = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(rate, seed, below=True, **options)
        self.rate = self.amount
        self.noise_shape = _checked(noise_shape, type(self).__name__)

    def changed(self, x: Any, key: Any) -> Any:
        shape = _known(self.noise_shape, x)
        return functions.alpha_dropout(x, key, rate=self.rate, noise_shape=shape)

    fusion_role = _Noise.fusion_role


class GaussianNoise(_Noise):
    """In training, add normally distributed numbers of mean 0.

    Arguments:
        stddev: their standard deviation, from 0 to 1.
        seed, options: as in `Dropout`.
    """

    def __init__(self, stddev: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(stddev, seed, argument="stddev", **options)
        self.stddev = self.amount

    def changed(self, x: Any, key: Any) -> Any:
        return functions.gaussian_noise(x, key, stddev=self.stddev)

    fusion_role = _Noise.fusion_role


class GaussianDropout(_Noise):
    """In training, multiply by normally distributed numbers of mean 1 (Srivastava et al., 2014).

    Arguments:
        rate: from 0 to below 1; the standard deviation is ``sqrt(rate / (1 - rate))``. (Keras 3.15
            accepts 1, and divides by zero.)
        seed, options: as in `Dropout`.
    """

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(rate, seed, below=True, **options)
        self.rate = self.amount

    def changed(self, x: Any, key: Any) -> Any:
        return functions.gaussian_dropout(x, key, rate=self.rate)

    fusion_role = _Noise.fusion_role


class _SpatialDropout(_Noise):
    rank: ClassVar[int]

    def __init__(
        self,
        rate: float,
        data_format: Any = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(rate, seed, name=name, dtype=dtype, **options)
        self.rate = self.amount
        self.data_format = check_data_format(data_format, type(self).__name__)

    def check_input(self, shape: Shape) -> None:
        if len(shape) != self.rank + 2:
            raise ValueError(
                f"{type(self).__name__} expects inputs of {self.rank + 2} dimensions, the batch "
                f"counted, received {len(shape)}: {tuple(shape)}."
            )

    def changed(self, x: Any, key: Any) -> Any:
        ones = (1,) * self.rank
        first = self.data_format == "channels_first"
        shape = (*x.shape[:2], *ones) if first else (x.shape[0], *ones, x.shape[-1])
        return functions.dropout(x, key, rate=self.rate, noise_shape=shape)


class SpatialDropout1D(_SpatialDropout):
    """In training, set a share of the channels of each sequence to 0 at all steps.

    Arguments:
        rate, seed, options: as in `Dropout`.
    """

    rank = 1

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(rate, None, seed, name, dtype, **options)

    fusion_role = _Noise.fusion_role


class SpatialDropout2D(_SpatialDropout):
    """In training, set a share of the channels of each image to 0 at all pixels.

    Arguments:
        rate, seed, options: as in `Dropout`.
        data_format: 'channels_last' or 'channels_first'.
    """

    rank = 2
    fusion_role = _Noise.fusion_role


class SpatialDropout3D(_SpatialDropout):
    """In training, set a share of the channels of each volume to 0 at all voxels.

    Arguments:
        rate, seed, options: as in `Dropout`.
        data_format: 'channels_last' or 'channels_first'.
    """

    rank = 3
    fusion_role = _Noise.fusion_role


def _checked(noise_shape: Any, where: str) -> tuple[int | None, ...] | None:
    if noise_shape is None:
        return None
    sizes = [plain(size) for size in noise_shape] if isinstance(noise_shape, list | tuple) else None
    if sizes is None or any(
        size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1)
        for size in sizes
    ):
        raise ValueError(
            f"{where}: noise_shape must hold positive integers, or None for the input's size, "
            f"received {noise_shape!r}: for example (None, 1, None)."
        )
    return tuple(sizes)


def _known(noise_shape: tuple[int | None, ...] | None, x: Any) -> tuple[int, ...] | None:
    """Return a shape with the sizes of the input for those that are None."""
    if noise_shape is None:
        return None
    of_input = (*x.shape, *(1 for _ in noise_shape))  # a shape too long is refused later
    return tuple(
        given if size is None else size for size, given in zip(noise_shape, of_input, strict=False)
    )
