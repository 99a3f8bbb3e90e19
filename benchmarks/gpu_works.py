"""The calls of gpunet's kernels that are measured, with the work that each has to do.

The bytes of a call are those that it cannot do without: each array that it is given read once, each
that it makes written once, one that it changes both. Its floating-point operations are counted for
products alone, a multiplication and an addition as two; all else is bound by the bytes.
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

__all__ = ["RESNET_SHAPES", "Work", "bytes_of", "program_works", "resnet_works", "updates"]

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
class Work:
    """One call of a primitive, as it is measured.

    Attributes:
        primitive: its name.
        label: what tells it from the other calls of the primitive.
        batch: images in it.
        shapes: of the floating-point arrays that it takes, in order; other arrays are given whole.
        call: calls the primitive with the arrays.
        flop: floating-point operations of the products in it.
        changed: positions of arrays that it changes in place.
        read: bytes that are read of arrays, by position, where that is not all of them.
        sizes: what a peer needs to know to do the same work.
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
        """Return what it takes: random numbers about 0, or above 0 where it changes them."""
        return [
            shape
            if isinstance(shape, np.ndarray)
            else rng.random(shape, np.float32) - np.float32(0 if position in self.changed else 0.5)
            for position, shape in enumerate(self.shapes)
        ]


def bytes_of(work: Work, inputs: list[Any], results: Any) -> int:
    """Return the fewest bytes that a call moves, from the arrays that it took and gave back."""
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
) -> Iterator[Work]:
    """Yield a 3x3 convolution and its gradients; if `fused`, with bias and relu as the layer has.

    Arguments:
        label: names the shape.
        batch, size, channels, filters, stride, padding: the shape, square.
        fused: whether bias and relu belong to it.
        with_input_grad: whether the gradient of its input is wanted; of a model's is not.
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

    yield Work(
        "conv2d_forward",
        label,
        batch,
        (x, kernel, (filters,)) if fused else (x, kernel),
        lambda *arrays: primitives.conv2d_forward(*arrays, **options),
        flop,
        sizes=sizes,
    )
    yield Work(
        "conv2d_backward_weight", label, batch, (y, x, *saved), backward_weight, flop, sizes=sizes
    )
    if with_input_grad:
        yield Work(
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
) -> Iterator[Work]:
    """Yield a 3x3 convolution with bias, relu and 2x2 max pooling in one pass, and its gradients.

    Arguments:
        batch, size, channels, filters: the shape, square.
        with_input_grad: whether the gradient of its input is wanted.
    """
    x, kernel = (batch, size, size, channels), (3, 3, channels, filters)
    conv, pool = conv2d_max_pool_geometry(x, kernel)
    y, label = pool.output_shape, f"{size}x{size}x{channels} to {filters}"
    flop = 2 * int(np.prod(conv.output_shape)) * 9 * channels  # of what fills windows
    index = np.random.default_rng(1).integers(0, 4, y).astype(pool.index_dtype)

    def backward_weight(grad: Any, where: Any, x: Any, output: Any) -> Any:
        return primitives.conv2d_max_pool_backward_weight(
            grad, where, x, kernel, activation="relu", output=output, with_bias=True
        )

    def backward_input(grad: Any, where: Any, weight: Any, output: Any) -> Any:
        return primitives.conv2d_max_pool_backward_input(
            grad, where, weight, x, activation="relu", output=output
        )

    yield Work(
        "conv2d_max_pool_forward",
        label,
        batch,
        (x, kernel, (filters,)),
        lambda *arrays: primitives.conv2d_max_pool_forward(*arrays, activation="relu"),
        flop,
    )
    yield Work(
        "conv2d_max_pool_backward_weight", label, batch, (y, index, x, y), backward_weight, flop
    )
    if with_input_grad:
        yield Work(
            "conv2d_max_pool_backward_input",
            label,
            batch,
            (y, index, kernel, y),
            backward_input,
            flop,
        )


def poolings(batch: int, size: int, channels: int) -> Iterator[Work]:
    """Yield 2x2 max pooling and its gradient."""
    x = (batch, size, size, channels)
    geometry = pool2d_geometry(x, 2, None, "valid", "max_pool2d")
    y, label = geometry.output_shape, f"{size}x{size}x{channels}"
    index = np.random.default_rng(1).integers(0, 4, y).astype(geometry.index_dtype)
    yield Work(
        "max_pool2d_forward",
        label,
        batch,
        (x,),
        lambda a: primitives.max_pool2d_forward(a, pool_size=2),
    )
    yield Work(
        "max_pool2d_backward",
        label,
        batch,
        (y, index),
        lambda grad, where: primitives.max_pool2d_backward(grad, where, x, pool_size=2),
    )


def products(batch: int, inputs: int, outputs: int, activation: str | None) -> Iterator[Work]:
    """Yield the three products of a dense layer: its output, the gradients of weight and input."""
    label, flop = f"{inputs} to {outputs}", 2 * batch * inputs * outputs
    x, weight, y = (batch, inputs), (inputs, outputs), (batch, outputs)
    yield Work(
        "matmul",
        f"{label}, output",
        batch,
        (x, weight, (outputs,)),
        lambda a, b, c: primitives.matmul(a, b, c, activation=activation),
        flop,
    )
    yield Work(
        "matmul",
        f"{label}, weight gradient",
        batch,
        (x, y),
        lambda a, b: primitives.matmul(a, b, transpose_a=True),
        flop,
    )
    yield Work(
        "matmul",
        f"{label}, input gradient",
        batch,
        (y, weight),
        lambda a, b: primitives.matmul(a, b, transpose_b=True),
        flop,
    )


def elementwise(batch: int) -> Iterator[Work]:
    """Yield what goes element by element, at the size of the first convolution's output."""
    shape, label = (batch, 26, 26, 32), "26x26x32"
    key = np.array([1, 2], np.uint64)
    yield Work("relu_forward", label, batch, (shape,), primitives.relu_forward)
    yield Work("relu_backward", label, batch, (shape, shape), primitives.relu_backward)
    yield Work("bias_backward", label, batch, (shape,), primitives.bias_backward)
    for name, dropout in (
        ("dropout_forward", primitives.dropout_forward),
        ("dropout_backward", primitives.dropout_backward),
    ):
        yield Work(name, label, batch, (shape, key), partial(dropout, rate=0.5))


def losses(batch: int) -> Iterator[Work]:
    """Yield softmax with cross-entropy over 10 classes, labels one-hot as in the program."""
    shape, label = (batch, 10), "10 classes"
    yield Work(
        "softmax_cross_entropy_forward",
        label,
        batch,
        (shape, shape),
        primitives.softmax_cross_entropy_forward,
    )
    yield Work(
        "softmax_cross_entropy_backward",
        label,
        batch,
        ((batch,), shape, shape),
        primitives.softmax_cross_entropy_backward,
    )


def updates() -> Iterator[Work]:
    """Yield a step of each optimizer over the program's parameters."""
    count, rate = (PARAMETERS,), np.array([1e-3], np.float32)
    label = f"{PARAMETERS:,} parameters"
    yield Work(
        "adam_update",
        label,
        0,
        (count, count, count, count, np.array([1], np.int64), rate),
        lambda *arrays: primitives.adam_update(*arrays, epsilon=1e-7),
        changed=(0, 2, 3),
    )
    yield Work(
        "sgd_update",
        f"{label}, momentum",
        0,
        (count, count, count, rate),
        lambda *arrays: primitives.sgd_update(*arrays, momentum=0.9),
        changed=(0, 2),
    )


def gathers(batch: int) -> Iterator[Work]:
    """Yield the gathering of a shuffled batch of images from bytes."""
    data = np.random.default_rng(2).integers(0, 256, (60_000, 28, 28, 1), np.uint8)
    rows = np.random.default_rng(3).permutation(len(data))[:batch].astype(np.int64)

    def gather(images: Any, picked: Any) -> Any:
        return primitives.gather_batch(images, picked, dtype="float32", scale=1 / 255)

    read = {0: batch * 28 * 28}
    yield Work("gather_batch", "28x28x1 of bytes", batch, (data, rows), gather, read=read)


def program_works(batch: int) -> Iterator[Work]:
    """Yield every kind of call of the program's training step at a batch size.

    Its convolutions and poolings are there both as one pass and by themselves.
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


def resnet_works(batch: int = 32) -> Iterator[Work]:
    """Yield ResNet-50's 3x3 convolutions and their gradients, without bias or activation."""
    for size, channels, filters, stride in RESNET_SHAPES:
        label = f"{size}x{size}x{channels} to {filters}" + (", stride 2" if stride == 2 else "")
        yield from convolutions(label, batch, size, channels, filters, stride=stride, padding=1)
