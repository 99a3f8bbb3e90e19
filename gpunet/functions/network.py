"""What networks are made of: activations, convolution, pooling, dense layers, dropout, loss."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from gpunet import primitives
from gpunet.autograd import Array, Tensor, differentiable
from gpunet.backend import asarray

__all__ = [
    "average_pool2d",
    "chain",
    "conv2d",
    "conv2d_max_pool",
    "dense",
    "dropout",
    "elu",
    "gelu",
    "hard_sigmoid",
    "leaky_relu",
    "log_softmax",
    "max_pool2d",
    "relu",
    "rescale",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "tanh",
]

Result = tuple[Array, Callable[[Array], Any]]


@differentiable
def relu(x: Array) -> Result:
    """Return ``max(x, 0)``."""
    y = primitives.relu_forward(x)
    return y, lambda output_grad: primitives.relu_backward(output_grad, y)


@differentiable
def rescale(x: Array, *, scale: float, offset: float = 0.0, dtype: Any = None) -> Result:
    """Return ``x * scale + offset`` in `dtype`, of numbers of any type; None for that of `x`."""
    y = primitives.rescale_forward(x, scale=scale, offset=offset, dtype=dtype)
    return y, lambda output_grad: output_grad * float(scale)


@differentiable
def leaky_relu(x: Array, *, negative_slope: float = 0.2) -> Result:
    """Return `x` where it is positive, else ``negative_slope * x``."""
    y = primitives.leaky_relu_forward(x, negative_slope=negative_slope)
    return y, lambda output_grad: primitives.leaky_relu_backward(
        output_grad, y, negative_slope=negative_slope
    )


@differentiable
def elu(x: Array, *, alpha: float = 1.0) -> Result:
    """Return `x` where it is positive, else ``alpha * (exp(x) - 1)`` (Clevert et al., 2015)."""
    y = primitives.elu_forward(x, alpha=alpha)
    return y, lambda output_grad: primitives.elu_backward(output_grad, y, alpha=alpha)


@differentiable
def selu(x: Array) -> Result:
    """Return the self-normalizing scaled elu (Klambauer et al., 2017)."""
    y = primitives.selu_forward(x)
    return y, lambda output_grad: primitives.selu_backward(output_grad, y)


@differentiable
def gelu(x: Array, *, approximate: bool = False) -> Result:
    """Return x times the normal distribution's share below x (Hendrycks and Gimpel, 2016).

    With `approximate`, by a formula in tanh instead of the error function.
    """
    y = primitives.gelu_forward(x, approximate=approximate)
    return y, lambda output_grad: primitives.gelu_backward(output_grad, x, approximate=approximate)


@differentiable
def silu(x: Array) -> Result:
    """Return ``x * sigmoid(x)``, also called swish."""
    return primitives.silu_forward(x), lambda output_grad: primitives.silu_backward(output_grad, x)


@differentiable
def hard_sigmoid(x: Array) -> Result:
    """Return ``(x + 3) / 6`` limited to [0, 1]."""
    y = primitives.hard_sigmoid_forward(x)
    return y, lambda output_grad: primitives.hard_sigmoid_backward(output_grad, y)


@differentiable
def tanh(x: Array) -> Result:
    """Return the hyperbolic tangent of `x`."""
    y = primitives.tanh_forward(x)
    return y, lambda output_grad: primitives.tanh_backward(output_grad, y)


@differentiable
def softplus(x: Array) -> Result:
    """Return ``log(1 + exp(x))``."""
    y = primitives.softplus_forward(x)
    return y, lambda output_grad: primitives.softplus_backward(output_grad, y)


@differentiable
def log_softmax(x: Array, *, axis: int = -1) -> Result:
    """Return the logarithm of the softmax over `axis`."""
    y = primitives.log_softmax_forward(x, axis=axis)
    return y, lambda output_grad: primitives.log_softmax_backward(output_grad, y, axis=axis)


@differentiable
def _sigmoid(x: Array) -> Result:
    y = primitives.sigmoid_forward(x)
    return y, lambda output_grad: primitives.sigmoid_backward(output_grad, y)


@differentiable
def _softmax(x: Array, *, axis: int) -> Result:
    y = primitives.softmax_forward(x, axis=axis)
    return y, lambda output_grad: primitives.softmax_backward(output_grad, y, axis=axis)


def sigmoid(x: Any) -> Tensor:
    """Return ``1 / (1 + exp(-x))``; the result's `logits` is `x`, for a loss that wants it."""
    y: Tensor = _sigmoid(x)
    if isinstance(y, Tensor):
        y.activation, y.logits = "sigmoid", x if isinstance(x, Tensor) else Tensor(x)
    return y


def softmax(x: Any, *, axis: int = -1) -> Tensor:
    """Return exp(x) divided by its sum over `axis`, so that the result sums to 1.

    The result's `logits` is `x` if `axis` is the last one, for a loss that wants it.
    """
    y: Tensor = _softmax(x, axis=axis)
    if isinstance(y, Tensor) and axis in (-1, y.ndim - 1):
        y.activation, y.logits = "softmax", x if isinstance(x, Tensor) else Tensor(x)
    return y


@differentiable
def softmax_cross_entropy(logits: Array, labels: Array) -> Result:
    """Return each sample's cross-entropy of softmax(logits) with its labels, stably.

    Arguments:
        logits: (batch, classes).
        labels: integers (batch,), or probabilities (batch, classes), which have no gradient.
    """
    losses, probabilities = primitives.softmax_cross_entropy_forward(logits, labels)
    return losses, lambda output_grad: (
        primitives.softmax_cross_entropy_backward(output_grad, probabilities, labels),
    )


@differentiable
def dense(
    x: Array, kernel: Array, bias: Array | None = None, *, activation: str | None = None
) -> Result:
    """Return ``activation(x @ kernel + bias)`` over the last axis of `x`.

    Arguments:
        x: (..., inputs), of any rank from 2.
        kernel: (inputs, units).
        bias: (units,), or None.
        activation: one of `primitives.OUTPUT_ACTIVATIONS`, or None.
    """
    rows = x.reshape(-1, x.shape[-1])
    y = primitives.matmul(rows, kernel, bias, activation=activation)

    def backward(output_grad: Array) -> Any:
        row_grad = primitives.activation_backward(output_grad.reshape(y.shape), y, activation)
        return (
            lambda: primitives.matmul(row_grad, kernel, transpose_b=True).reshape(x.shape),
            lambda: primitives.matmul(rows, row_grad, transpose_a=True),
            lambda: primitives.bias_backward(row_grad),
        )

    return y.reshape(*x.shape[:-1], kernel.shape[-1]), backward


@differentiable
def conv2d(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    strides: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    activation: str | None = None,
) -> Result:
    """Return the cross-correlation of images with a kernel, as every framework's convolution.

    Arguments:
        x: (batch, height, width, channels).
        kernel: (height, width, channels / groups, filters).
        bias: (filters,), or None.
        strides, dilation: in pixels; an integer, or one each for height and width.
        padding: 'valid', 'same', or pixels of zeros: an integer, (vertical, horizontal) or
            ((top, bottom), (left, right)).
        groups: the channels are split into this many groups with filters of their own.
        activation: one of `primitives.OUTPUT_ACTIVATIONS`, or None.
    """
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    y = primitives.conv2d_forward(x, kernel, bias, activation=activation, **options)

    fused: dict[str, Any] = {"activation": activation, "output": y if activation else None}

    def backward(output_grad: Array) -> Any:
        @functools.cache
        def weight_grads() -> tuple[Array, Array]:  # of kernel and bias, in one pass
            return primitives.conv2d_backward_weight(
                output_grad, x, kernel.shape, **options, **fused, with_bias=bias is not None
            )

        return (
            lambda: primitives.conv2d_backward_input(
                output_grad, kernel, x.shape, **options, **fused
            ),
            lambda: weight_grads()[0],
            lambda: weight_grads()[1],
        )

    return y, backward


@differentiable
def conv2d_max_pool(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    strides: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    activation: str | None = None,
    pool_size: Any = 2,
) -> Result:
    """Return ``max_pool2d(conv2d(...))`` with windows side by side, as one primitive.

    What goes into the pool is never in memory as a whole, and not kept for the way back.

    Arguments:
        x, kernel, bias, strides, padding, dilation, groups, activation: as in `conv2d`.
        pool_size: of the window; an integer, or one each for height and width.
    """
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    options |= {"activation": activation, "pool_size": pool_size}
    y, indices = primitives.conv2d_max_pool_forward(x, kernel, bias, **options)
    options["output"] = y if activation else None

    def backward(output_grad: Array) -> Any:
        @functools.cache
        def weight_grads() -> tuple[Array, Array]:  # of kernel and bias, in one pass
            return primitives.conv2d_max_pool_backward_weight(
                output_grad, indices, x, kernel.shape, **options, with_bias=bias is not None
            )

        return (
            lambda: primitives.conv2d_max_pool_backward_input(
                output_grad, indices, kernel, x.shape, **options
            ),
            lambda: weight_grads()[0],
            lambda: weight_grads()[1],
        )

    return y, backward


@differentiable
def chain(x: Array, *parameters: Array, stages: Sequence[primitives.Stage]) -> Result:
    """Return what convolutions and dense layers make of `x`, one after another.

    Arguments:
        x: (batch, height, width, channels), or (batch, inputs).
        parameters: the kernel and the bias of each stage in turn, the bias only if there is one.
        stages: what else there is to say of them; their own kernels and biases are not used.
    """
    given = iter(parameters)
    stages = [
        stage._replace(kernel=next(given), bias=None if stage.bias is None else next(given))
        for stage in stages
    ]
    y, kept = primitives.chain_forward_kept(x, stages)
    grads: dict[str, Any] = {}

    def backward(output_grad: Array) -> Any:
        def all_grads(with_input_grad: bool) -> list[Array]:
            if not grads or (with_input_grad and grads["all"][0] is None):
                of_input, of_stages = primitives.chain_backward(
                    output_grad, x, stages, kept, with_input_grad=with_input_grad
                )
                of_weights = itertools.chain.from_iterable(of_stages)
                grads["all"] = [of_input, *(grad for grad in of_weights if grad is not None)]
            return grads["all"]

        def of_parameter(position: int) -> Callable[[], Array]:
            return lambda: all_grads(False)[position]

        return (lambda: all_grads(True)[0], *map(of_parameter, range(1, 1 + len(parameters))))

    return y, backward


@differentiable
def max_pool2d(x: Array, *, pool_size: Any = 2, strides: Any = None, padding: Any = 0) -> Result:
    """Return the largest value of each window; of equal ones the first has the gradient.

    Arguments:
        x: (batch, height, width, channels).
        pool_size, strides: in pixels; an integer, or one each for height and width; `strides`
            is `pool_size` by default.
        padding: as in `conv2d`; padding is never the largest.
    """
    options = {
        "pool_size": pool_size,
        "strides": pool_size if strides is None else strides,
        "padding": padding,
    }
    y, indices = primitives.max_pool2d_forward(x, **options)
    shape = x.shape  # of x itself nothing is kept
    return y, lambda output_grad: primitives.max_pool2d_backward(
        output_grad, indices, shape, **options
    )


@differentiable
def average_pool2d(
    x: Array, *, pool_size: Any = 2, strides: Any = None, padding: Any = 0
) -> Result:
    """Return the mean of each window, padding not counted; arguments as in `max_pool2d`."""
    options = {
        "pool_size": pool_size,
        "strides": pool_size if strides is None else strides,
        "padding": padding,
    }
    shape = x.shape
    return primitives.average_pool2d_forward(
        x, **options
    ), lambda output_grad: primitives.average_pool2d_backward(output_grad, shape, **options)


@differentiable
def dropout(x: Array, key: Array, *, rate: float) -> Result:
    """Return `x` with a share `rate` of its elements set to 0, the others scaled to make up.

    Arguments:
        x: any shape.
        key: which random numbers to take, from `gpunet.random.next_key()`.
        rate: from 0 to below 1.
    """
    # Keys are made on the host; on a GPU the kernel reads its key there, so that a step that was
    # captured can be run again with another.
    key = asarray(key, like=x)
    return primitives.dropout_forward(x, key, rate=rate), lambda output_grad: (
        primitives.dropout_backward(output_grad, key, rate=rate),
    )
