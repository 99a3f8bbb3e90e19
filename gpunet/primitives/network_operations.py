"""The operations that a network is made of, for `network_forward`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gpunet.primitives.activation_table import Activation
from gpunet.primitives.geometry import (
    Conv2DGeometry,
    Pool2DGeometry,
    conv2d_geometry,
    conv2d_max_pool_geometry,
    pool2d_geometry,
)

__all__ = [
    "Activate",
    "Affine",
    "Flatten",
    "Network",
    "Operation",
    "Pooling",
    "Primitives",
    "Product",
    "Sum",
]

Array = Any
Shape = tuple[int, ...]

_WHERE = "network_forward"
_KEPT = 64  # shapes of inputs whose geometries a network keeps


class Primitives(NamedTuple):
    """The twins that operations are made of, of one kind of arrays."""

    activate: Callable[..., Array]
    average_pool2d_forward: Callable[..., Array]
    conv2d_forward: Callable[..., Array]
    conv2d_max_pool_forward: Callable[..., tuple[Array, Array]]
    matmul: Callable[..., Array]
    max_pool2d_forward: Callable[..., tuple[Array, Array]]

    @classmethod
    def of(cls, *modules: Any) -> Primitives:
        """Return the twins that stand in these modules."""
        found = {name: twin for module in modules for name, twin in vars(module).items()}
        return cls(*[found[name] for name in cls._fields])

    def network_forward(self, x: Array, network: Network, geometries: list[Any]) -> Array:
        """Return the output of a network: a primitive or two for each operation."""
        operations = network.operations
        last_use = {s: k for k, operation in enumerate(operations) for s in operation.sources}
        values = {0: x}
        for number, (operation, g) in enumerate(zip(operations, geometries, strict=True)):
            values[number + 1] = operation.run(self, g, *[values[s] for s in operation.sources])
            for source in set(operation.sources):
                if last_use[source] == number:
                    del values[source]
        return values[len(operations)]


class Affine(NamedTuple):
    """Batch normalization at inference: ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``.

    Attributes:
        gamma, beta: (channels,), or None for 1 and 0.
        mean, variance: (channels,), moving averages.
        epsilon: added to the variance.
    """

    gamma: Array | None
    beta: Array | None
    mean: Array
    variance: Array
    epsilon: float

    def factor_and_offset(self) -> tuple[Array, Array]:
        """Return what each channel is multiplied by, and what is added to it then."""
        factor = (self.variance + self.epsilon) ** -0.5
        if self.gamma is not None:
            factor = factor * self.gamma
        offset = -self.mean * factor
        return factor, offset if self.beta is None else offset + self.beta


@dataclass(frozen=True, slots=True)
class Operation:
    """What a network does with some of its values.

    Attributes:
        sources: the numbers of the values that it reads: 0 is the network's input, k the output of
            operation k - 1.
    """

    sources: tuple[int, ...]

    @property
    def arrays(self) -> Sequence[Array]:
        """The weights."""
        return ()

    def geometry(self, *shapes: Shape) -> Any:
        """Return what it needs to know of inputs of these shapes.

        Raises:
            TypeError, ValueError: the shapes do not fit the operation.
        """
        return self.output_shape(None, *shapes)

    def output_shape(self, geometry: Any, *shapes: Shape) -> Shape:
        """Return the shape of the output for inputs of these shapes, of that geometry."""
        return shapes[0]

    def run(self, twins: Primitives, geometry: Any, *inputs: Array) -> Array:
        """Return the output, by primitives of `twins`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Product(Operation):
    """A dense layer or a convolution, with what follows it.

    Attributes:
        kernel: (inputs, units), of a product with the last axis; (height, width, channels,
            filters); or (height, width, 1, filters), of a depthwise convolution.
        bias: (filters,) or None.
        affine: applied to the sums, or None.
        activation: applied then, one that `OUTPUT_ACTIVATIONS` names, or None.
        strides, padding, dilation: of the convolution.
        is_depthwise: whether each channel has filters of its own.
        pool_size: outputs in a window of max pooling, side by side; (1, 1) for none.
    """

    kernel: Array
    bias: Array | None
    affine: Affine | None = None
    activation: Activation | None = None
    strides: tuple[int, int] = (1, 1)
    padding: Any = "valid"
    dilation: tuple[int, int] = (1, 1)
    is_depthwise: bool = False
    pool_size: tuple[int, int] = (1, 1)

    @property
    def has_pool(self) -> bool:
        """True if its output is pooled."""
        return self.pool_size != (1, 1)

    @property
    def arrays(self) -> Sequence[Array]:
        found = [self.kernel, self.bias, *(self.affine[:4] if self.affine else ())]
        return [array for array in found if array is not None]

    def folded(self) -> tuple[Array, Array | None]:
        """Return a kernel and a bias that do what `affine` does too."""
        if self.affine is None:
            return self.kernel, self.bias
        factor, offset = self.affine.factor_and_offset()
        bias = offset if self.bias is None else offset + self.bias * factor
        return self.kernel * factor, bias

    def geometry(self, *shapes: Shape) -> tuple[Conv2DGeometry, Pool2DGeometry]:
        """Return the geometry; a dense layer is a convolution of 1 x 1 on a row of pixels."""
        shape, kernel_shape = shapes[0], self.kernel.shape
        if len(kernel_shape) == 2:
            shape = shape[0], 1, math.prod(shape[1:-1]), shape[-1]
            kernel_shape = 1, 1, *kernel_shape
        groups = shape[-1] if self.is_depthwise else 1
        options = self.strides, self.padding, self.dilation, groups
        if self.has_pool:
            return conv2d_max_pool_geometry(shape, kernel_shape, *options, self.pool_size, _WHERE)
        conv = conv2d_geometry(shape, kernel_shape, *options, _WHERE)
        return conv, pool2d_geometry(conv.output_shape, (1, 1), where=_WHERE)

    def output_shape(self, geometry: Any, *shapes: Shape) -> Shape:
        if self.kernel.ndim == 2:
            return *shapes[0][:-1], self.kernel.shape[1]
        return geometry[1].output_shape

    def run(self, twins: Primitives, geometry: Any, *inputs: Array) -> Array:
        (x,), (kernel, bias) = inputs, self.folded()
        if kernel.ndim == 2:
            rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
            y = twins.matmul(rows, kernel, bias, False, False, self.activation)
            return y.reshape(*x.shape[:-1], y.shape[-1])
        if self.has_pool:
            return twins.conv2d_max_pool_forward(x, kernel, bias, *geometry, self.activation)[0]
        return twins.conv2d_forward(x, kernel, bias, geometry[0], self.activation)


@dataclass(frozen=True, slots=True)
class Pooling(Operation):
    """The largest number or the mean of each window.

    Attributes:
        largest: whether the largest is taken, else the mean.
        pool_size: of a window; None for all pixels, whose axes then are gone.
        strides, padding: as in `geometry.pool2d_geometry`.
    """

    largest: bool
    pool_size: tuple[int, int] | None
    strides: tuple[int, int] | None = None
    padding: Any = "valid"

    def geometry(self, *shapes: Shape) -> Pool2DGeometry:
        size: Any = self.pool_size or shapes[0][1:3]
        return pool2d_geometry(shapes[0], size, self.strides, self.padding, _WHERE)

    def output_shape(self, geometry: Any, *shapes: Shape) -> Shape:
        shape = geometry.output_shape
        return (shape[0], shape[3]) if self.pool_size is None else shape

    def run(self, twins: Primitives, geometry: Any, *inputs: Array) -> Array:
        if self.largest:
            y = twins.max_pool2d_forward(*inputs, geometry)[0]
        else:
            y = twins.average_pool2d_forward(*inputs, geometry)
        return y.reshape(self.output_shape(geometry))


@dataclass(frozen=True, slots=True)
class Sum(Operation):
    """The sum of two values of one shape."""

    def output_shape(self, geometry: Any, *shapes: Shape) -> Shape:
        if shapes[0] != shapes[1]:
            raise ValueError(f"{_WHERE}: a sum expects values of one shape, received {shapes}.")
        return shapes[0]

    def run(self, twins: Primitives, geometry: Any, *inputs: Array) -> Array:
        return inputs[0] + inputs[1]


@dataclass(frozen=True, slots=True)
class Activate(Operation):
    """An activation of a value."""

    activation: Activation

    def run(self, twins: Primitives, geometry: Any, *inputs: Array) -> Array:
        return twins.activate(*inputs, self.activation)


@dataclass(frozen=True, slots=True)
class Flatten(Operation):
    """Each sample as a row; no number moves."""

    def output_shape(self, geometry: Any, *shapes: Shape) -> Shape:
        return shapes[0][0], math.prod(shapes[0][1:])

    def run(self, twins: Primitives, geometry: Any, *inputs: Array) -> Array:
        return inputs[0].reshape(geometry)


class Network:
    """Operations, each of which reads the network's input or outputs of operations before it.

    Arguments:
        operations: in order; the output of the last is that of the network.

    Attributes:
        arrays: the weights of all.
        dtype: their type; None if there are none.
        memo: what twins keep for the next call.

    Raises:
        TypeError: the types of weights differ.
        ValueError: there is no operation, or one reads what comes later.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        if not operations:
            raise ValueError("Network expects at least one operation, received none.")
        for number, operation in enumerate(operations):
            if max(operation.sources) > number:
                raise ValueError(
                    f"Network: operation {number} reads value {max(operation.sources)}; only "
                    f"values 0 to {number} are there before it."
                )
        self.operations = tuple(operations)
        self.arrays = [array for operation in operations for array in operation.arrays]
        dtypes = {array.dtype for array in self.arrays}
        if len(dtypes) > 1:
            names = sorted(map(str, dtypes))
            raise TypeError(f"Network expects weights of one type, received {names}.")
        self.dtype = dtypes.pop() if dtypes else None
        self.memo: dict[Any, Any] = {}
        self._geometries: dict[Shape, list[Any]] = {}

    def geometries(self, shape: Shape) -> list[Any]:
        """Return the geometry of each operation for inputs of a shape: the same list each time.

        Raises:
            TypeError, ValueError: an operation does not fit what it reads.
        """
        found = self._geometries.get(shape)
        if found is None:
            if len(self._geometries) >= _KEPT:
                self._geometries.clear()
            found = self._geometries[shape] = [geometry for geometry, _ in self.shapes(shape)]
        return found

    def shapes(self, shape: Shape) -> list[tuple[Any, Shape]]:
        """Return for each operation its geometry and the shape of its output."""
        shapes, found = [shape], []
        for operation in self.operations:
            inputs = [shapes[source] for source in operation.sources]
            geometry = operation.geometry(*inputs)
            shapes.append(operation.output_shape(geometry, *inputs))
            found.append((geometry, shapes[-1]))
        return found
