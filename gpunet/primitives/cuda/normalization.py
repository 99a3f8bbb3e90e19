"""Normalization as CUDA kernels: kernels/normalization.cu, for rows row_normalization.cu.

Normalization of channels over a whole batch is in `cuda.channels`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gpunet.primitives import launch
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.cuda.channels import channels_backward, channels_forward, is_of_channels
from gpunet.primitives.cuda.columns import COLUMNS, column_moments, table_of
from gpunet.primitives.cuda.reduction import sum_rows
from gpunet.primitives.cuda.step import add_up
from gpunet.primitives.groups import Groups
from gpunet.primitives.launch import Kernel
from gpunet.primitives.partial_sums import Parts, parts_are_left

__all__ = [
    "moving_averages", "normalize_backward", "normalize_channels", "normalize_channels_backward",
    "normalize_forward", "normalize_inference",
]  # fmt: skip

Array = Any

_FINISH_MOMENTS = Kernel("normalization.cu", "finish_moments")
_FORWARD = Kernel("normalization.cu", "columns_forward")
_GRADS = Kernel("normalization.cu", "column_grads")
_FINISH_GROUPS = Kernel("normalization.cu", "finish_group_grads")
_BACKWARD = Kernel("normalization.cu", "columns_backward")
_MOVE = Kernel("normalization.cu", "move_averages")
_ROWS_FORWARD = Kernel("row_normalization.cu", "rows_forward")
_ROWS_BACKWARD = Kernel("row_normalization.cu", "rows_backward")
_ROWS_BACKWARD_WEIGHTS = Kernel("row_normalization.cu", "rows_backward_weights")

_WARP = 32
_SMALL_BLOCK, _BLOCK = 128, 256
_MOST_MEMBERS = 512  # of a row whose gradients of weights are added up in shared memory
_SMALL_SIZE = 1 << 20  # elements: larger inputs need more blocks, which would leave more parts
_MOST_PARTS = 64  # of a gradient, which one thread adds up after the backward pass


def normalize_forward(
    x: Array, gamma: Array | None, beta: Array | None, g: Groups, centered: bool
) -> tuple[Array, Array | None, Array]:
    """Return the normalized input, the means and the variances."""
    x, gamma, beta = _contiguous(x, gamma, beta)
    if centered and is_of_channels(g):
        return channels_forward(x, gamma, beta, g.epsilon)
    y = launch.empty(x.shape, x.dtype)
    kind = launch.accumulator(x.dtype)
    mean = launch.empty((g.batch, g.groups), kind) if centered else None
    variance = launch.empty((g.batch, g.groups), kind)
    if g.positions == 1:
        _launch_rows(_ROWS_FORWARD, g, x.dtype, x, gamma, beta, y, mean, variance)
        return y, mean, variance
    table = table_of(g.batch, g.positions, g.channels)
    types = {"T": x.dtype, "S": kind}
    parts = column_moments(x, table, centered)
    sizes = (*table.sizes, g.channels, g.groups)
    _FINISH_MOMENTS(_warps(g), _SMALL_BLOCK, *sizes, parts, mean, variance, types=types)
    _FORWARD(table.grid, COLUMNS, *sizes, g.epsilon, x, mean, variance, gamma, beta, y, types=types)
    return y, mean, variance


def normalize_backward(
    output_grad: Array,
    x: Array,
    gamma: Array | None,
    mean: Array | None,
    variance: Array,
    g: Groups,
) -> tuple[Array, Array, Array]:
    """Return the gradients of the input, of gamma and of beta."""
    output_grad, x, gamma, mean, variance = _contiguous(output_grad, x, gamma, mean, variance)
    if mean is not None and is_of_channels(g):
        return channels_backward(output_grad, x, gamma, mean, variance, g.epsilon)[:3]
    own_rows = g.positions == 1
    if own_rows and _is_small(g):
        return _small_rows_backward(output_grad, x, gamma, mean, variance, g)
    input_grad = launch.empty(x.shape, x.dtype)
    table = (
        table_of(1, g.batch, g.channels, fold=False)
        if own_rows
        else table_of(g.batch, g.positions, g.channels)
    )
    parts = launch.empty((2, table.parts, table.line), launch.accumulator(x.dtype))
    types = {"T": x.dtype, "S": variance.dtype}
    weight_grads = launch.empty((2, g.channels), x.dtype)
    comes_along = not own_rows and g.batch == g.members == 1
    sizes, given = (*table.sizes, g.channels, g.groups), (output_grad, x, mean, variance)
    _GRADS(table.grid, COLUMNS, *sizes, int(own_rows), g.epsilon, *given, parts, types=types)
    if own_rows:
        arrays = (output_grad, x, gamma, mean, variance, input_grad)
        _launch_rows(_ROWS_BACKWARD, g, x.dtype, *arrays)
    else:
        sums = launch.empty((2, g.batch, g.groups), parts.dtype)
        batch, rows, line, _, chunks = table.sizes
        _FINISH_GROUPS(
            _warps(g), _SMALL_BLOCK, batch, rows, line, chunks, g.channels, g.groups, gamma, parts,
            sums, weight_grads if comes_along else None, types=types,
        )  # fmt: skip
        _BACKWARD(
            table.grid, COLUMNS, *sizes, g.epsilon, *given, gamma, sums, input_grad, types=types
        )
    if own_rows and (left := _left(parts)):
        return input_grad, *left
    if not comes_along:
        sum_rows(parts.reshape(-1, g.channels), weight_grads)
    return input_grad, weight_grads[1], weight_grads[0]


def normalize_channels(
    x: Array, gamma: Array | None, beta: Array | None, added: Array | None, epsilon: float,
    activation: Activation | None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return ``activation(normalized + added)``, the means and the variances of the channels."""
    x, gamma, beta, added = _contiguous(x, gamma, beta, added)
    y, mean, variance = channels_forward(x[None], gamma, beta, epsilon, added, activation)
    return y[0], mean[0], variance[0]


def normalize_channels_backward(
    output_grad: Array, x: Array, gamma: Array | None, mean: Array, variance: Array,
    epsilon: float, activation: Activation | None, output: Array | None, with_added: bool,
) -> tuple[Array, Array, Array, Array | None]:  # fmt: skip
    """Return the gradients of the input, of gamma, of beta and of what was added, or None."""
    output_grad, x, gamma, output = _contiguous(output_grad, x, gamma, output)
    input_grad, *others = channels_backward(
        output_grad, x[None], gamma, mean, variance, epsilon, output, activation, with_added
    )
    added_grad = others[2]
    shaped = None if added_grad is None else added_grad.reshape(x.shape)
    return input_grad.reshape(x.shape), others[0], others[1], shaped


def normalize_inference(
    x: Array,
    mean: Array | None,
    variance: Array,
    gamma: Array | None,
    beta: Array | None,
    epsilon: float,
) -> Array:
    """Return the input normalized by given means and variances."""
    x, mean, variance, gamma, beta = _contiguous(x, mean, variance, gamma, beta)
    y, channels = launch.empty(x.shape, x.dtype), x.shape[-1]
    table = table_of(1, x.size // channels if channels else 0, channels)
    _FORWARD(
        table.grid, COLUMNS, *table.sizes, channels, channels, epsilon, x, mean, variance, gamma,
        beta, y, types={"T": x.dtype, "S": variance.dtype},
    )  # fmt: skip
    return y


def moving_averages(
    mean: Array, variance: Array, moving_mean: Array, moving_variance: Array, momentum: float
) -> tuple[Array, Array]:
    """Return the moving averages after the mean and the variance of another batch."""
    given = _contiguous(mean, variance, moving_mean, moving_variance)
    found = [launch.empty(array.shape, array.dtype) for array in given[2:]]
    size, types = mean.size, {"T": moving_mean.dtype, "S": mean.dtype}
    grid = launch.blocks_for(size, _BLOCK)
    _MOVE(grid, _BLOCK, size, momentum, 1 - momentum, *given, *found, types=types)
    return found[0], found[1]


def _is_small(g: Groups) -> bool:
    """Return whether one kernel makes all gradients of rows: those of weights in few parts."""
    few = g.members <= _MOST_MEMBERS and g.batch * g.members <= _SMALL_SIZE
    return g.groups == 1 and few and g.batch * g.members > 0


def _small_rows_backward(
    output_grad: Array,
    x: Array,
    gamma: Array | None,
    mean: Array | None,
    variance: Array,
    g: Groups,
) -> tuple[Array, Array, Array]:
    input_grad, lanes = launch.empty(x.shape, x.dtype), _lanes(g)
    kind = launch.accumulator(x.dtype)
    blocks = min(_MOST_PARTS, launch.ceil_div(g.batch * lanes, _SMALL_BLOCK))
    parts = launch.empty((2, blocks, g.members), kind)
    _ROWS_BACKWARD_WEIGHTS(
        blocks, _SMALL_BLOCK, g.batch, g.members, g.epsilon, output_grad, x, gamma, mean, variance,
        input_grad, parts, types={"T": x.dtype, "S": kind}, LANES=lanes,
    )  # fmt: skip
    if left := _left(parts):
        return input_grad, *left
    weight_grads = launch.empty((2, g.members), x.dtype)
    sum_rows(parts.reshape(-1, g.members), weight_grads)
    return input_grad, weight_grads[1], weight_grads[0]


def _left(parts: Array) -> tuple[Parts, Parts] | None:
    """Return partial sums (2, parts, channels) as the gradients of gamma and beta, if they may."""
    _, count, channels = parts.shape
    if not parts_are_left() or count > _MOST_PARTS:
        return None
    beta_grad = Parts(parts.reshape(-1), 0, channels, count, (channels,), add_up)
    return replace(beta_grad, first=count * channels), beta_grad


def _warps(g: Groups) -> int:
    """Return how many blocks have a warp for each group of each sample."""
    return launch.ceil_div(g.batch * g.groups * _WARP, _SMALL_BLOCK)


def _lanes(g: Groups) -> int:
    """Return how many threads share a row."""
    lanes = 1 if g.members <= 4 else 8 if g.members <= 32 else _WARP
    return lanes if g.members <= 1024 else _BLOCK


def _launch_rows(kernel: Kernel, g: Groups, dtype: Any, *arrays: Array | None) -> None:
    rows = g.batch * g.groups
    many = launch.multiprocessors() * _SMALL_BLOCK
    lanes = _lanes(g)
    block = lanes if lanes == _BLOCK else _SMALL_BLOCK if rows * lanes >= many else _WARP
    grid = launch.ceil_div(rows * lanes, block)
    types = {"T": dtype, "S": launch.accumulator(dtype)}
    kernel(grid, block, rows, g.groups, g.members, g.epsilon, *arrays, types=types, LANES=lanes)


def _contiguous(*arrays: Array | None) -> Any:
    return [None if array is None else launch.contiguous(array) for array in arrays]
