"""Parts of a graph that run as one network at inference, while no gradients are recorded.

A part reads one value and makes one; between the two its layers may be arranged in any way. Weights
are read in each call, since they change in place.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunet import activations, primitives
from gpunet.autograd import Tensor
from gpunet.fusion.flat import Call, FlatGraph, role_at
from gpunet.layers.building import name_layer
from gpunet.layers.roles import (
    Apply,
    Depthwise,
    Flat,
    Pass,
    Pool,
    Product,
    Role,
    Scale,
    Sum,
    role_of,
)
from gpunet.primitives import Activation, Network
from gpunet.primitives import network_operations as operations

__all__ = ["Frozen", "frozen_part"]


class Frozen:
    """Calls of a graph that one primitive runs; called with what the first of them reads.

    Arguments:
        calls: in order.
        source, target: the slots of what they read and of what they make.
        makers: each returns an operation of the network, with the arrays of the moment.
        parameters: that they read.
        after: an activation of the output that the primitive does not know, or None.
    """

    def __init__(
        self, calls: Sequence[Call], source: int, target: int,
        makers: Sequence[Callable[[], operations.Operation]], parameters: Sequence[Tensor],
        after: Callable[[Tensor], Tensor] | None,
    ) -> None:  # fmt: skip
        self.calls, self.source, self.target = calls, source, target
        self.makers, self.parameters, self.after = makers, parameters, after
        self._latest: tuple[list[Any], Network] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return what the last call would.

        Raises:
            TypeError, ValueError: a layer does not fit what it is given.
        """
        network = self._network()
        if x.mask is not None:  # each layer passes it on in its own way
            return self._one_by_one(x)
        x = self.calls[0].node.operation._cast(x)
        if x.dtype != network.dtype:
            return self._one_by_one(x)
        try:
            y = Tensor(primitives.network_forward(x.value, network))
        except (TypeError, ValueError):
            self._one_by_one(x)  # raises the error of the layer that is at fault
            raise
        return y if self.after is None else self._after(y)

    def takes(self, dtype: Any) -> bool:
        """Return whether inputs of a type are taken without a cast."""
        return self.parameters[0].dtype == dtype

    def forward(self, x: np.ndarray) -> np.ndarray | None:
        """Return the output for an array as it was called with before, or None on a GPU."""
        if not isinstance(self.parameters[0].value, np.ndarray):
            return None
        y = primitives.network_forward(x, self._network())
        return y if self.after is None else self._after(Tensor(y)).value

    def _after(self, y: Tensor) -> Tensor:
        assert self.after is not None
        try:
            return self.after(y)
        except (TypeError, ValueError) as error:
            name_layer(error, self.calls[-1].node.operation)
            raise

    def _network(self) -> Network:
        """Return the network of the parameters' arrays; the same for the same arrays."""
        values = [parameter.value for parameter in self.parameters]
        if self._latest is None or any(map(operator.is_not, self._latest[0], values)):
            self._latest = values, Network([make() for make in self.makers])
        return self._latest[1]

    def _one_by_one(self, x: Tensor) -> Tensor:
        values = {self.source: x}
        for call in self.calls:
            inputs = iter([values[slot] for slot in call.inputs])
            values[call.outputs[0]] = call.node.call(inputs)
        return values[self.target]


def frozen_part(flat: FlatGraph, start: int) -> Frozen | None:
    """Return the longest part that begins with a call, if there is one with a product in it."""
    end = _end(flat, start)
    return None if end is None else _Builder(flat, start, end).part()


def _end(flat: FlatGraph, start: int) -> int | None:
    """Return the end of the longest part from `start`: one value comes in, one goes out."""
    source, found, dtype = flat.calls[start].inputs[0], None, None
    unread: dict[int, int] = {}  # of values made in the part: how often they are still read
    for position in range(start, len(flat.calls)):
        call = flat.calls[position]
        role = _role(flat, call, start)
        if role is None or any(slot not in unread for slot in {*call.inputs} - {source}):
            break
        if isinstance(role, Product | Depthwise | Scale):
            weights = call.node.operation.weights
            if any(weight.dtype != (dtype or weights[0].dtype) for weight in weights):
                break  # a network has weights of one type
            dtype = weights[0].dtype
        for slot in call.inputs:
            if slot in unread:
                unread[slot] -= 1
                if not unread[slot]:
                    del unread[slot]
        unread[call.outputs[0]] = flat.uses[call.outputs[0]]
        if len(unread) == 1 and dtype is not None:
            found = position + 1
        if not _is_known(role):
            break  # it is applied to the output of the part
    return found


def _role(flat: FlatGraph, call: Call, start: int) -> Role | None:
    """Return the role of a call, if a part from `start` can run it."""
    inputs, layer = call.node.inputs, call.node.operation
    if len(inputs) > 1:
        is_list = len(call.node.args) == 1 and not call.node.kwargs
        role = role_of(layer) if is_list else None
        alike = len({(symbol.shape, symbol.dtype) for symbol in inputs}) == 1
        return role if isinstance(role, Sum) and alike else None
    role = role_at(call.node)
    if isinstance(role, Scale):
        return role if _product_before(flat, call, start) else None
    if isinstance(role, Product | Depthwise):
        return role if layer.kernel.ndim == 2 or inputs[0].ndim == 4 else None
    return role if isinstance(role, Apply | Flat | Pass | Pool) else None


def _product_before(flat: FlatGraph, call: Call, start: int) -> bool:
    """Return whether what a call reads is a product, in the part, which nothing else reads."""
    for position in range(start, len(flat.calls)):
        before = flat.calls[position]
        if before.outputs[0] == call.inputs[0]:
            role = role_at(before.node)
            if not isinstance(role, Product | Depthwise):
                return False
            return len(flat.lines[position]) > 1 and role.activation is activations.linear
    return False


def _is_known(role: Role) -> bool:
    """Return whether the operations of networks include the activation of a role."""
    activation = getattr(role, "activation", activations.linear)
    return activation is activations.linear or activations.fusible(activation) is not None


class _Builder:
    """Makes the operations of a part.

    Arguments:
        flat: the graph.
        start, end: positions of the calls.
    """

    def __init__(self, flat: FlatGraph, start: int, end: int) -> None:
        self.flat, self.start, self.end = flat, start, end
        self.values = {flat.calls[start].inputs[0]: 0}  # the number of the value in each slot
        self.makers: list[Callable[[], operations.Operation]] = []
        self.parameters: list[Tensor] = []
        self.after: Callable[[Tensor], Tensor] | None = None
        self.done: set[int] = set()

    def part(self) -> Frozen:
        """Return the part."""
        for position in range(self.start, self.end):
            if position not in self.done:
                self._add_call(position)
        calls = self.flat.calls[self.start : self.end]
        target = calls[-1].outputs[0]
        return Frozen(calls, calls[0].inputs[0], target, self.makers, self.parameters, self.after)

    def _add_call(self, position: int) -> None:
        call = self.flat.calls[position]
        role = role_at(call.node) if len(call.inputs) == 1 else Sum()
        sources = tuple(self.values[slot] for slot in call.inputs)
        if isinstance(role, Product | Depthwise):
            last = self._add_product(position, role, sources)
            self.values[self.flat.calls[last].outputs[0]] = len(self.makers)
            return
        before = len(self.makers)
        if isinstance(role, Apply):
            activation = self._chosen(role.activation)
            if activation is not None:
                self._add(operations.Activate, sources, activation)
        elif isinstance(role, Flat):
            self._add(operations.Flatten, sources)
        elif isinstance(role, Pool):
            self._add(
                operations.Pooling, sources, largest=role.largest, pool_size=role.pool_size,
                strides=role.strides, padding=role.padding,
            )  # fmt: skip
        elif isinstance(role, Sum):
            self._add(operations.Sum, sources[:2])
            for source in sources[2:]:
                self._add(operations.Sum, (len(self.makers), source))
        is_same = len(self.makers) == before
        self.values[call.outputs[0]] = sources[0] if is_same else len(self.makers)

    def _chosen(self, activation: Any) -> Activation | None:
        """Return an activation as operations take it; another that is not linear ends the part."""
        fused = activations.fusible(activation)
        if fused is None and activation is not activations.linear:
            self.after = activation
        return fused

    def _add_product(
        self, position: int, role: Product | Depthwise, sources: tuple[int, ...]
    ) -> int:
        """Add a product with what it can take of the calls after it; return the last of these."""
        layer, activation, affine = self._layer(position), role.activation, None
        following = [p for p in self.flat.lines[position][1:4] if p < self.end]
        roles = [role_at(self.flat.calls[p].node) for p in following]
        count = 0
        if activation is activations.linear and isinstance(_at(roles, count), Scale):
            affine, count = self._layer(following[count]), count + 1
        applied = _at(roles, count)
        if activation is activations.linear and isinstance(applied, Apply):
            activation, count = applied.activation, count + 1
        chosen, pool, pool_size = self._chosen(activation), _at(roles, count), (1, 1)
        is_image = isinstance(role, Product) and layer.kernel.ndim == 4
        if is_image and isinstance(pool, Pool) and pool.is_fusible:
            pool_size, count = pool.pool_size, count + 1
        self.done.update(following[:count])
        self._keep(layer, affine)
        self.makers.append(
            lambda: operations.Product(
                sources, _kernel(layer), None if layer.bias is None else layer.bias.value,
                None if affine is None else affine.affine(), chosen, role.strides, role.padding,
                role.dilation, isinstance(role, Depthwise), pool_size,
            )
        )  # fmt: skip
        return [position, *following][count]

    def _layer(self, position: int) -> Any:
        return self.flat.calls[position].node.operation

    def _keep(self, layer: Any, affine: Any) -> None:
        found = [layer.kernel, layer.bias]
        if affine is not None:
            found += [affine.gamma, affine.beta, affine.moving_mean, affine.moving_variance]
        self.parameters += [parameter for parameter in found if parameter is not None]

    def _add(
        self, kind: Callable[..., operations.Operation], *arguments: Any, **others: Any
    ) -> None:
        operation = kind(*arguments, **others)
        self.makers.append(lambda: operation)


def _at(roles: Sequence[Role | None], position: int) -> Role | None:
    return roles[position] if position < len(roles) else None


def _kernel(layer: Any) -> Any:
    """Return a kernel as products take it; that of a depthwise convolution has one channel."""
    kernel = layer.kernel.value
    if isinstance(role_of(layer), Depthwise):
        return kernel.reshape(*kernel.shape[:2], 1, -1)
    return kernel
