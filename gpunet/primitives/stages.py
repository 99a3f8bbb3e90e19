"""Layers one after another, as the primitive `chain_forward` takes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gpunet.primitives.checks import check_same_dtype
from gpunet.primitives.shapes import conv2d_max_pool_geometry

__all__ = [
    "LARGE_STAGE",
    "Kept",
    "LossAndGrads",
    "Operations",
    "Stage",
    "backward_options",
    "cross_entropy_by",
    "output_shape",
    "rows_of",
]

LARGE_STAGE = 1 << 18
"""Weights beyond which a stage is better off alone: a few images at a time would be too few."""

Array = Any
Shape = tuple[int, ...]
Kept = list[tuple[Array, Array | None]]  # the output of each stage, and where its maxima were


class Stage(NamedTuple):
    """A convolution and the pooling of its output, or a dense layer.

    Attributes:
        kernel: (height, width, channels, filters), or (inputs, units) of a dense layer, which
            takes each image as a row.
        bias: (filters,) or (units,), or None.
        activation: one of `OUTPUT_ACTIVATIONS` with its default options, or None.
        strides, padding, dilation: of the convolution.
        pool_size: outputs in a window of max pooling, side by side; (1, 1) for none.
    """

    kernel: Array
    bias: Array | None
    activation: Any
    strides: tuple[int, int] = (1, 1)
    padding: Any = "valid"
    dilation: tuple[int, int] = (1, 1)
    pool_size: tuple[int, int] = (1, 1)


class LossAndGrads(NamedTuple):
    """What `chain_cross_entropy` gives.

    Attributes:
        losses: (batch,), of each sample.
        probabilities: (batch, classes), the softmax of the last stage's outputs.
        hits: uint8 (batch,), 1 where the first largest probability is that of the label.
        input_grad: gradient of the input, or None; as the next, of the mean of the losses.
        grads: for each stage the gradients of its kernel and its bias. On a GPU they may be
            `parts.Parts`, within `parts.leaving_parts`.
    """

    losses: Array
    probabilities: Array
    hits: Array
    input_grad: Array | None
    grads: list[tuple[Any, Any]]


def output_shape(
    sample: Shape,
    kernel_shape: Shape,
    strides: tuple[int, int] = (1, 1),
    padding: Any = "valid",
    dilation: tuple[int, int] = (1, 1),
    pool_size: tuple[int, int] = (1, 1),
) -> Shape:
    """Return the shape of one sample of a stage's output, given that of its input.

    Raises:
        ValueError: the stage does not fit.
    """
    where = "chain_forward"
    if len(kernel_shape) == 2:
        inputs, units = kernel_shape
        if math.prod(sample) != inputs:
            raise ValueError(
                f"{where}: expected samples of {inputs} numbers for a kernel of shape "
                f"{kernel_shape}, received samples of shape {sample}."
            )
        return (units,)
    pool = conv2d_max_pool_geometry(
        (1, *sample), kernel_shape, strides, padding, dilation, 1, pool_size, where
    )[1]
    return pool.output_shape[1:]


class Operations(NamedTuple):
    """The primitives of one kind of arrays that stages are made of."""

    conv2d_forward: Callable[..., Array]
    conv2d_backward_input: Callable[..., Array]
    conv2d_backward_weight: Callable[..., tuple[Array, Array | None]]
    conv2d_max_pool_forward: Callable[..., tuple[Array, Array]]
    conv2d_max_pool_backward_input: Callable[..., Array]
    conv2d_max_pool_backward_weight: Callable[..., tuple[Array, Array | None]]
    matmul: Callable[..., Array]
    activation_backward: Callable[..., Array]
    bias_backward: Callable[..., Array]

    def forward(self, x: Array, stage: Stage) -> tuple[Array, Array | None]:
        """Return the outputs of one stage, and the indices of its maxima if it pools."""
        check_same_dtype("chain_forward", x, kernel=stage.kernel, bias=stage.bias)
        if stage.kernel.ndim == 2:
            y = self.matmul(rows_of(x), stage.kernel, stage.bias, activation=stage.activation)
            return y, None
        options = _options(stage)
        if stage.pool_size == (1, 1):
            return self.conv2d_forward(x, stage.kernel, stage.bias, **options), None
        return self.conv2d_max_pool_forward(
            x, stage.kernel, stage.bias, **options, pool_size=stage.pool_size
        )

    def backward(
        self,
        output_grad: Array,
        x: Array,
        stage: Stage,
        kept: tuple[Array, Array | None],
        with_input_grad: bool,
    ) -> tuple[Array | None, tuple[Array, Array | None]]:
        """Return the gradient of the input, if wanted, and those of the kernel and the bias."""
        if stage.kernel.ndim == 2:
            grad = self.activation_backward(output_grad, kept[0], stage.activation)
            kernel_grad = self.matmul(rows_of(x), grad, transpose_a=True)
            bias_grad = None if stage.bias is None else self.bias_backward(grad)
            if not with_input_grad:
                return None, (kernel_grad, bias_grad)
            input_grad = self.matmul(grad, stage.kernel, transpose_b=True).reshape(x.shape)
            return input_grad, (kernel_grad, bias_grad)
        given, options = backward_options(output_grad, stage, kept)
        of_weight = self.conv2d_backward_weight
        if kept[1] is not None:
            of_weight = self.conv2d_max_pool_backward_weight
        grads = of_weight(
            *given, x, stage.kernel.shape, **options, with_bias=stage.bias is not None
        )
        if not with_input_grad:
            return None, grads
        return self.input_grad(output_grad, x, stage, kept), grads

    def input_grad(
        self, output_grad: Array, x: Array, stage: Stage, kept: tuple[Array, Array | None]
    ) -> Array:
        """Return the gradient of the input of a convolution."""
        given, options = backward_options(output_grad, stage, kept)
        of_input = self.conv2d_backward_input
        if kept[1] is not None:
            of_input = self.conv2d_max_pool_backward_input
        return of_input(*given, stage.kernel, x.shape, **options)

    def last_output(self, x: Array, stages: Sequence[Stage]) -> Array:
        """Return what the last stage puts out; what the others do is let go on the way."""
        for stage in stages:
            x = self.forward(x, stage)[0]
        return x

    def forward_all(self, x: Array, stages: Sequence[Stage]) -> Kept:
        """Return what each stage puts out."""
        kept: Kept = []
        for stage in stages:
            kept.append(self.forward(x, stage))
            x = kept[-1][0]
        return kept

    def backward_all(
        self,
        output_grad: Array,
        x: Array,
        stages: Sequence[Stage],
        kept: Kept,
        with_input_grad: bool,
    ) -> tuple[Array | None, list[tuple[Array, Array | None]]]:
        """Return the gradient of x, if wanted, and those of each stage's kernel and bias."""
        inputs = [x, *(output for output, _ in kept[:-1])]
        grads: list[tuple[Array, Array | None]] = []
        grad: Any = output_grad
        for position in reversed(range(len(stages))):
            wanted = with_input_grad or position > 0
            grad, found = self.backward(
                grad.reshape(kept[position][0].shape), inputs[position], stages[position],
                kept[position], wanted,
            )  # fmt: skip
            grads.append(found)
        return grad, grads[::-1]


def cross_entropy_by(
    twins: Any,
    x: Array,
    stages: Sequence[Stage],
    labels: Array,
    share: Array,
    with_input_grad: bool,
) -> LossAndGrads:
    """Return what `chain_cross_entropy` does, by the other primitives of one kind of arrays.

    Arguments:
        twins: has these primitives.
        x, stages, labels, with_input_grad: those of `chain_cross_entropy`.
        share: (batch,), what each sample's loss counts in the mean.
    """
    logits, kept = twins.chain_forward_kept(x, stages)
    losses, probabilities = twins.softmax_cross_entropy_forward(logits, labels)
    grad = twins.softmax_cross_entropy_backward(share, probabilities, labels)
    input_grad, grads = twins.chain_backward(grad, x, stages, kept, with_input_grad=with_input_grad)
    numbers = labels if labels.ndim == 1 else labels.argmax(-1)
    hits = (probabilities.argmax(-1) == numbers).view("u1")
    return LossAndGrads(losses, probabilities, hits, input_grad, grads)


def rows_of(x: Array) -> Array:
    """Return each image as a row."""
    return x.reshape(len(x), math.prod(x.shape[1:]))


def backward_options(
    output_grad: Array, stage: Stage, kept: tuple[Array, Array | None]
) -> tuple[list[Array], dict[str, Any]]:
    """Return what the gradients of a convolution begin with, and their options."""
    output, indices = kept
    options = _options(stage) | {"output": output if stage.activation else None}
    if indices is None:
        return [output_grad], options
    return [output_grad, indices], options | {"pool_size": stage.pool_size}


def _options(stage: Stage) -> dict[str, Any]:
    return {
        "strides": stage.strides,
        "padding": stage.padding,
        "dilation": stage.dilation,
        "activation": stage.activation,
    }
