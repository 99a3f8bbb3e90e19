"""Calls of gpunet's kernels to measure, with their bytes and FLOP.

The bytes of a call are the minimum: each input read once, each output written once, arrays changed
in place both. FLOP are counted for matrix products and convolutions only, two for a multiply-add;
all other kernels are memory-bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from gpunet import primitives
from gpunet.primitives.geometry import (
    conv2d_geometry,
    conv2d_max_pool_geometry,
    pool2d_geometry,
)

__all__ = [
    "RESNET_SHAPES",
    "Workload",
    "bytes_of",
    "program_workloads",
    "resnet_workloads",
    "updates",
]

Shape = tuple[int, ...]

# The parameters of the program (examples/mnist_cnn.py).
PARAMETERS = 60_554

# ResNet-50's 3x3 convolutions: size of the input, channels, filters, stride; padding is 1.
RESNET_SHAPES = (
    (56, 64, 64, 1),
    (56, 128, 128, 2),
    (28, 128, 128, 1),
    (28, 256, 256, 2),
    (14, 256, 256, 1),
    (14, 512, 512, 2),
    (7, 512, 512, 1),
)


@dataclass(frozen=True)
class Workload:
    """A call of a primitive to measure.

    Attributes:
        primitive: name of the primitive.
        label: unique among the calls of the primitive.
        batch: number of images.
        shapes: inputs in order: the shape of a floating-point array, or any other array itself.
        call: calls the primitive with the arrays.
        flop: floating-point operations.
        changed: positions of arrays that are changed in place.
        read: bytes read of an array, by position, if not all of it.
        sizes: sizes that a peer needs for the same computation.
    """

    primitive: str
    label: str
    batch: int
    shapes: tuple[Shape | np.ndarray[Any, Any], ...]
    call: Callable[..., Any]
    flop: int = 0
    changed: tuple[int, ...] = ()
    read: dict[int, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.primitive}, {self.label}, batch {self.batch}"

    def arrays(self, rng: np.random.Generator) -> list[np.ndarray[Any, Any]]:
        """Return the inputs: random numbers around 0; positive if changed in place."""
        return [
            shape
            if isinstance(shape, np.ndarray)
            else rng.random(shape, np.float32) - np.float32(0 if position in self.changed else 0.5)
            for position, shape in enumerate(self.shapes)
        ]


def bytes_of(work: Workload, inputs: list[Any], results: Any) -> int:
    """Return the minimum bytes that a call moves, given its inputs and results."""
    given = results if isinstance(results, tuple) else (results,)
    read = sum(work.read.get(i, array.nbytes) for i, array in enumerate(inputs))
    written = [*(inputs[i] for i in work.changed), *(array for array in given if array is not None)]
    return read + sum(array.nbytes for array in written)


def convolutions(
    label: str,
    batch: int,
    size: int,
    channels: int,
    filters: int,
    *,
    stride: int = 1,
    padding: int = 0,
    fused: bool = False,
    with_input_grad: bool = True,
) -> Iterator[Workload]:
    """Yield a 3x3 convolution and its gradients; if `fused`, with bias and relu as in a layer.

    Arguments:
        label: names the shape.
        batch, size, channels, filters, stride, padding: the shape; images are square.
        fused: whether to fuse bias and relu.
        with_input_grad: whether to include the input gradient; a model's first layer needs none.
    """
    x, kernel = (batch, size, size, channels), (3, 3, channels, filters)
    y = conv2d_geometry(x, kernel, stride, padding, 1, 1).output_shape
    options: dict[str, Any] = {"strides": stride, "padding": padding}
    flop = 2 * int(np.prod(y)) * 9 * channels
    sizes = {"size": size, "channels": channels, "filters": filters, "stride": stride}
    saved: tuple[Shape, ...] = (y,) if fused else ()
    if fused:
        options["activation"] = "relu"

    def backward_weight(grad: Any, x: Any, output: Any = None) -> Any:
        return primitives.conv2d_backward_weight(
            grad, x, kernel, output=output, with_bias=fused, **options
        )

    def backward_input(grad: Any, weight: Any, output: Any = None) -> Any:
        return primitives.conv2d_backward_input(grad, weight, x, output=output, **options)

    yield Workload(
        "conv2d_forward",
        label,
        batch,
        (x, kernel, (filters,)) if fused else (x, kernel),
        lambda *arrays: primitives.conv2d_forward(*arrays, **options),
        flop,
        sizes=sizes,
    )
    yield Workload(
        "conv2d_backward_weight", label, batch, (y, x, *saved), backward_weight, flop, sizes=sizes
    )
    if with_input_grad:
        yield Workload(
            "conv2d_backward_input",
            label,
            batch,
            (y, kernel, *saved),
            backward_input,
            flop,
            sizes=sizes,
        )


def pooled_convolutions(
    batch: int, size: int, channels: int, filters: int, *, with_input_grad: bool = True
) -> Iterator[Workload]:
    """Yield a 3x3 convolution fused with bias, relu and 2x2 max pooling, and its gradients.

    Arguments:
        batch, size, channels, filters: the shape; images are square.
        with_input_grad: whether to include the input gradient.
    """
    x, kernel = (batch, size, size, channels), (3, 3, channels, filters)
    conv, pool = conv2d_max_pool_geometry(x, kernel)
    y, label = pool.output_shape, f"{size}x{size}x{channels} to {filters}"
    flop = 2 * int(np.prod(conv.output_shape)) * 9 * channels  # outputs that fill windows
    index = np.random.default_rng(1).integers(0, 4, y).astype(pool.index_dtype)

    def backward_weight(grad: Any, where: Any, x: Any, output: Any) -> Any:
        return primitives.conv2d_max_pool_backward_weight(
            grad, where, x, kernel, activation="relu", output=output, with_bias=True
        )

    def backward_input(grad: Any, where: Any, weight: Any, output: Any) -> Any:
        return primitives.conv2d_max_pool_backward_input(
            grad, where, weight, x, activation="relu", output=output
        )

    yield Workload(
        "conv2d_max_pool_forward",
        label,
        batch,
        (x, kernel, (filters,)),
        lambda *arrays: primitives.conv2d_max_pool_forward(*arrays, activation="relu"),
        flop,
    )
    yield Workload(
        "conv2d_max_pool_backward_weight", label, batch, (y, index, x, y), backward_weight, flop
    )
    if with_input_grad:
        yield Workload(
            "conv2d_max_pool_backward_input",
            label,
            batch,
            (y, index, kernel, y),
            backward_input,
            flop,
        )


def poolings(batch: int, size: int, channels: int) -> Iterator[Workload]:
    """Yield 2x2 max pooling and its gradient."""
    x = (batch, size, size, channels)
    geometry = pool2d_geometry(x, 2, None, "valid", "max_pool2d")
    y, label = geometry.output_shape, f"{size}x{size}x{channels}"
    index = np.random.default_rng(1).integers(0, 4, y).astype(geometry.index_dtype)
    yield Workload(
        "max_pool2d_forward",
        label,
        batch,
        (x,),
        lambda a: primitives.max_pool2d_forward(a, pool_size=2),
    )
    yield Workload(
        "max_pool2d_backward",
        label,
        batch,
        (y, index),
        lambda grad, where: primitives.max_pool2d_backward(grad, where, x, pool_size=2),
    )


def products(batch: int, inputs: int, outputs: int, activation: str | None) -> Iterator[Workload]:
    """Yield the three products of a dense layer: output, weight gradient, input gradient."""
    label, flop = f"{inputs} to {outputs}", 2 * batch * inputs * outputs
    x, weight, y = (batch, inputs), (inputs, outputs), (batch, outputs)
    yield Workload(
        "matmul",
        f"{label}, output",
        batch,
        (x, weight, (outputs,)),
        lambda a, b, c: primitives.matmul(a, b, c, activation=activation),
        flop,
    )
    yield Workload(
        "matmul",
        f"{label}, weight gradient",
        batch,
        (x, y),
        lambda a, b: primitives.matmul(a, b, transpose_a=True),
        flop,
    )
    yield Workload(
        "matmul",
        f"{label}, input gradient",
        batch,
        (y, weight),
        lambda a, b: primitives.matmul(a, b, transpose_b=True),
        flop,
    )


def elementwise(batch: int) -> Iterator[Workload]:
    """Yield elementwise operations, at the size of the first convolution's output."""
    shape, label = (batch, 26, 26, 32), "26x26x32"
    key = np.array([1, 2], np.uint64)
    yield Workload(
        "activate", label, batch, (shape,), partial(primitives.activate, activation="relu")
    )
    yield Workload(
        "activate_backward",
        label,
        batch,
        (shape, shape),
        partial(primitives.activate_backward, activation="relu"),
    )
    yield Workload("bias_backward", label, batch, (shape,), primitives.bias_backward)
    for name, dropout in (
        ("dropout_forward", primitives.dropout_forward),
        ("dropout_backward", primitives.dropout_backward),
    ):
        yield Workload(name, label, batch, (shape, key), partial(dropout, rate=0.5))


def losses(batch: int) -> Iterator[Workload]:
    """Yield softmax with cross-entropy over 10 classes, with one-hot labels as in the program."""
    shape, label = (batch, 10), "10 classes"
    yield Workload(
        "softmax_cross_entropy_forward",
        label,
        batch,
        (shape, shape),
        primitives.softmax_cross_entropy_forward,
    )
    yield Workload(
        "softmax_cross_entropy_backward",
        label,
        batch,
        ((batch,), shape, shape),
        primitives.softmax_cross_entropy_backward,
    )


def updates() -> Iterator[Workload]:
    """Yield an update of the program's parameters by each optimizer."""
    count, rate = (PARAMETERS,), np.array([1e-3], np.float32)
    label = f"{PARAMETERS:,} parameters"
    yield Workload(
        "adam_update",
        label,
        0,
        (count, count, count, count, np.array([1], np.int64), rate),
        lambda *arrays: primitives.adam_update(*arrays, epsilon=1e-7),
        changed=(0, 2, 3),
    )
    yield Workload(
        "sgd_update",
        f"{label}, momentum",
        0,
        (count, count, count, rate),
        lambda *arrays: primitives.sgd_update(*arrays, momentum=0.9),
        changed=(0, 2),
    )


def gathers(batch: int) -> Iterator[Workload]:
    """Yield the gather of a shuffled batch of images from uint8."""
    data = np.random.default_rng(2).integers(0, 256, (60_000, 28, 28, 1), np.uint8)
    rows = np.random.default_rng(3).permutation(len(data))[:batch].astype(np.int64)

    def gather(images: Any, picked: Any) -> Any:
        return primitives.gather_batch(images, picked, dtype="float32", scale=1 / 255)

    read = {0: batch * 28 * 28}
    yield Workload("gather_batch", "28x28x1 of bytes", batch, (data, rows), gather, read=read)


def program_workloads(batch: int) -> Iterator[Workload]:
    """Yield all kinds of calls in the program's training step at a batch size.

    Convolutions and poolings appear both fused and separate.
    """
    yield from pooled_convolutions(batch, 28, 1, 32, with_input_grad=False)
    yield from pooled_convolutions(batch, 13, 32, 64)
    yield from pooled_convolutions(batch, 5, 64, 64)
    yield from convolutions("28x28x1 to 32", batch, 28, 1, 32, fused=True, with_input_grad=False)
    yield from convolutions("13x13x32 to 64", batch, 13, 32, 64, fused=True)
    yield from convolutions("5x5x64 to 64", batch, 5, 64, 64, fused=True)
    for size, channels in ((26, 32), (11, 64), (3, 64)):
        yield from poolings(batch, size, channels)
    yield from products(batch, 64, 64, "relu")
    yield from products(batch, 64, 10, None)
    yield from losses(batch)
    yield from elementwise(batch)
    yield from gathers(batch)


def resnet_workloads(batch: int = 32) -> Iterator[Workload]:
    """Yield ResNet-50's 3x3 convolutions and their gradients, without bias or activation."""
    for size, channels, filters, stride in RESNET_SHAPES:
        label = f"{size}x{size}x{channels} to {filters}" + (", stride 2" if stride == 2 else "")
        yield from convolutions(label, batch, size, channels, filters, stride=stride, padding=1)
