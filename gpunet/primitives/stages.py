"""Stages of a chain: convolutions with their pooling, and dense layers, one after another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from gpunet.primitives.geometry import (
    NO_PADDING,
    Conv2DGeometry,
    Pool2DGeometry,
    conv2d_max_pool_geometry,
)
from gpunet.primitives.shapes import frozen

__all__ = [
    "LARGE_STAGE",
    "ChainGeometry",
    "Kept",
    "LossAndGrads",
    "Operations",
    "Stage",
    "StageGeometry",
    "chain_geometry",
    "rows_of",
]

LARGE_STAGE = 1 << 18
"""Weights beyond which a stage runs alone: it needs more images at a time than a chain has."""

Array = Any
Shape = tuple[int, ...]
Kept = list[tuple[Array, Array | None]]  # each stage's output, and the indices of its maxima
Grads = list[tuple[Any, Any]]  # of each stage's kernel and bias


class Stage(NamedTuple):
    """A convolution and the pooling of its output, or a dense layer.

    Attributes:
        kernel: (height, width, channels, filters), or (inputs, units) of a dense layer, which
            takes each image as a row.
        bias: (filters,) or (units,), or None.
        activation: a name of `OUTPUT_ACTIVATIONS`, an `Activation` of such a name, or None.
        strides, padding, dilation: of the convolution.
        pool_size: outputs in a window of max pooling, side by side; (1, 1) for none.
    """

    kernel: Array
    bias: Array | None
    activation: Any  # for twins an Activation or None
    strides: tuple[int, int] = (1, 1)
    padding: Any = "valid"
    dilation: tuple[int, int] = (1, 1)
    pool_size: tuple[int, int] = (1, 1)


class LossAndGrads(NamedTuple):
    """Results of `chain_cross_entropy`.

    Attributes:
        losses: (batch,), of each sample.
        probabilities: (batch, classes), the softmax of the last stage's outputs.
        hits: uint8 (batch,), 1 where the first largest probability is that of the label.
        input_grad: gradient of the input, or None; like `grads`, of the mean of the losses.
        grads: for each stage the gradients of its kernel and its bias. On a GPU they may be
            `Parts`, within `leaving_parts`.
    """

    losses: Array
    probabilities: Array
    hits: Array
    input_grad: Array | None
    grads: Grads


class StageGeometry(NamedTuple):
    """Sizes of a stage; a dense layer is a convolution of 1 x 1 on images of one pixel."""

    conv: Conv2DGeometry
    pool: Pool2DGeometry
    is_dense: bool

    @property
    def output_shape(self) -> Shape:
        """(batch, height, width, filters), or (batch, units)."""
        shape = self.pool.output_shape
        return (shape[0], shape[3]) if self.is_dense else shape

    @property
    def has_pool(self) -> bool:
        """True if the stage has max pooling."""
        return self.pool.pool_size != (1, 1)

    def for_images(self, count: int) -> StageGeometry:
        """Return the geometry for another batch size."""
        return StageGeometry(
            self.conv.for_images(count), self.pool.for_images(count), self.is_dense
        )


@dataclass(frozen=True, eq=False, slots=True)
class ChainGeometry:
    """Sizes of all stages. Equal to itself alone, so that it is a cheap cache key for plans."""

    stages: tuple[StageGeometry, ...]

    @property
    def output_shape(self) -> Shape:
        """The last stage's."""
        return self.stages[-1].output_shape

    def for_images(self, count: int) -> ChainGeometry:
        """Return the geometry for another batch size."""
        return ChainGeometry(tuple([stage.for_images(count) for stage in self.stages]))


def chain_geometry(input_shape: Shape, stages: Sequence[Stage]) -> ChainGeometry:
    """Return the geometry of a chain: the same object for equal sizes.

    Raises:
        TypeError, ValueError: a stage does not fit the one before it.

    >>> import numpy as np
    >>> kernels = np.zeros((3, 3, 1, 8)), np.zeros((8 * 13 * 13, 10))
    >>> stages = [Stage(kernels[0], None, None, pool_size=(2, 2)), Stage(kernels[1], None, None)]
    >>> [stage.output_shape for stage in chain_geometry((5, 28, 28, 1), stages).stages]
    [(5, 13, 13, 8), (5, 10)]
    """
    key = [
        (stage.kernel.shape, stage.strides, frozen(stage.padding), stage.dilation, stage.pool_size)
        for stage in stages
    ]
    return _chain_geometry(input_shape, tuple(key))


@lru_cache(maxsize=1024)
def _chain_geometry(shape: Shape, stages: tuple[Any, ...]) -> ChainGeometry:
    geometries: list[StageGeometry] = []
    for kernel_shape, strides, padding, dilation, pool_size in stages:
        if len(kernel_shape) == 2:
            geometry = _dense_geometry(shape, kernel_shape)
        else:
            conv, pool = conv2d_max_pool_geometry(
                shape, kernel_shape, strides, padding, dilation, 1, pool_size, "chain_forward"
            )
            geometry = StageGeometry(conv, pool, False)
        geometries.append(geometry)
        shape = geometry.output_shape
    return ChainGeometry(tuple(geometries))


def _dense_geometry(shape: Shape, kernel_shape: Shape) -> StageGeometry:
    batch, *sample = shape
    inputs, units = kernel_shape
    if math.prod(sample) != inputs:
        raise ValueError(
            f"chain_forward: expected samples of {inputs} numbers for a kernel of shape "
            f"{kernel_shape}, received samples of shape {tuple(sample)}."
        )
    images, output = (batch, 1, 1, inputs), (batch, 1, 1, units)
    conv = Conv2DGeometry(images, (1, 1, inputs, units), output, (1, 1), NO_PADDING, (1, 1), 1)
    return StageGeometry(conv, Pool2DGeometry(output, output, (1, 1), (1, 1), NO_PADDING), True)


class Operations(NamedTuple):
    """The twins that stages are made of, of one kind of arrays."""

    conv2d_forward: Callable[..., Array]
    conv2d_backward_input: Callable[..., Array]
    conv2d_backward_weight: Callable[..., tuple[Array, Array | None]]
    conv2d_max_pool_forward: Callable[..., tuple[Array, Array]]
    conv2d_max_pool_backward_input: Callable[..., Array]
    conv2d_max_pool_backward_weight: Callable[..., tuple[Array, Array | None]]
    matmul: Callable[..., Array]
    activate_backward: Callable[..., Array]
    bias_backward: Callable[..., Array]
    softmax_cross_entropy_forward: Callable[..., tuple[Array, Array]]
    softmax_cross_entropy_backward: Callable[..., Array]

    @classmethod
    def of(cls, *modules: Any) -> Operations:
        """Return the twins that stand in these modules."""
        found = {name: twin for module in modules for name, twin in vars(module).items()}
        return cls(*[found[name] for name in cls._fields])

    def forward(self, x: Array, stage: Stage, g: StageGeometry) -> tuple[Array, Array | None]:
        """Return the outputs of one stage, and the indices of its maxima if it pools."""
        weights = stage.kernel, stage.bias
        if g.is_dense:
            return self.matmul(rows_of(x), *weights, False, False, stage.activation), None
        if g.has_pool:
            return self.conv2d_max_pool_forward(x, *weights, g.conv, g.pool, stage.activation)
        return self.conv2d_forward(x, *weights, g.conv, stage.activation), None

    def backward(
        self, output_grad: Array, x: Array, stage: Stage, g: StageGeometry,
        kept: tuple[Array, Array | None], with_input_grad: bool,
    ) -> tuple[Array | None, tuple[Array, Array | None]]:  # fmt: skip
        """Return the gradient of the input or None, and those of the kernel and the bias."""
        if g.is_dense:
            return self._dense_backward(output_grad, x, stage, kept[0], with_input_grad)
        (output, indices), with_bias = kept, stage.bias is not None
        if indices is None:
            grads = self.conv2d_backward_weight(
                output_grad, x, g.conv, stage.activation, output, with_bias
            )
        else:
            grads = self.conv2d_max_pool_backward_weight(
                output_grad, indices, x, g.conv, g.pool, stage.activation, output, with_bias
            )
        return self.input_grad(output_grad, stage, g, kept) if with_input_grad else None, grads

    def input_grad(
        self, output_grad: Array, stage: Stage, g: StageGeometry, kept: tuple[Array, Array | None]
    ) -> Array:
        """Return the gradient of the input of a convolution."""
        output, indices = kept
        if indices is None:
            return self.conv2d_backward_input(
                output_grad, stage.kernel, g.conv, stage.activation, output
            )
        return self.conv2d_max_pool_backward_input(
            output_grad, indices, stage.kernel, g.conv, g.pool, stage.activation, output
        )

    def _dense_backward(
        self, output_grad: Array, x: Array, stage: Stage, output: Array, with_input_grad: bool
    ) -> tuple[Array | None, tuple[Array, Array | None]]:
        grad = self.activate_backward(output_grad, output, stage.activation)
        kernel_grad = self.matmul(rows_of(x), grad, None, True, False, None)
        bias_grad = None if stage.bias is None else self.bias_backward(grad)
        if not with_input_grad:
            return None, (kernel_grad, bias_grad)
        input_grad = self.matmul(grad, stage.kernel, None, False, True, None).reshape(x.shape)
        return input_grad, (kernel_grad, bias_grad)

    def forward_all(
        self, x: Array, stages: Sequence[Stage], g: ChainGeometry
    ) -> tuple[Array, Kept]:
        """Return the last stage's outputs, or `x` without any stage, and the outputs of all."""
        kept: Kept = []
        for stage, geometry in zip(stages, g.stages, strict=True):
            kept.append(self.forward(x, stage, geometry))
            x = kept[-1][0]
        return x, kept

    def backward_all(
        self, output_grad: Array, x: Array, stages: Sequence[Stage], g: ChainGeometry, kept: Kept,
        with_input_grad: bool,
    ) -> tuple[Array | None, Grads]:  # fmt: skip
        """Return the gradient of `x` or None, and those of each stage's kernel and bias."""
        inputs = [x, *(output for output, _ in kept[:-1])]
        grads: Grads = []
        grad: Any = output_grad
        for position in reversed(range(len(stages))):
            grad, found = self.backward(
                grad.reshape(kept[position][0].shape), inputs[position], stages[position],
                g.stages[position], kept[position], with_input_grad or position > 0,
            )  # fmt: skip
            grads.append(found)
        return grad, grads[::-1]

    def cross_entropy(
        self, x: Array, stages: Sequence[Stage], g: ChainGeometry, labels: Array, share: Array,
        with_input_grad: bool, chain_forward: Callable[..., tuple[Array, Kept]],
        chain_backward: Callable[..., tuple[Array | None, Grads]],
    ) -> LossAndGrads:  # fmt: skip
        """Return the results of `chain_cross_entropy`, by other twins.

        Arguments:
            x, stages, g, labels, with_input_grad: those of the twin.
            share: (batch,), the weight of each sample's loss in the mean.
            chain_forward, chain_backward: twins.
        """
        logits, kept = chain_forward(x, stages, g)
        losses, probabilities = self.softmax_cross_entropy_forward(logits, labels)
        grad = self.softmax_cross_entropy_backward(share, probabilities, labels)
        input_grad, grads = chain_backward(grad, x, stages, g, kept, with_input_grad)
        numbers = labels if labels.ndim == 1 else labels.argmax(-1)
        hits = (probabilities.argmax(-1) == numbers).view("u1")
        return LossAndGrads(losses, probabilities, hits, input_grad, grads)


def rows_of(x: Array) -> Array:
    """Return each image as a row."""
    return x.reshape(len(x), math.prod(x.shape[1:]))
