"""The operations that networks are made of: arrays in, arrays out, no gradients recorded.

The type of the arrays decides what runs: NumPy arrays, the functions of `reference`, or where Numba
is installed those of `fast`; CuPy arrays, a CUDA kernel. Images are (batch, height, width,
channels), kernels (height, width, channels / groups, filters), of float32 or float64, on the GPU
also float16 or bfloat16 with sums in float32; results have the type of their inputs.

>>> import numpy as np
>>> relu_forward(np.array([-1.0, 2.0]))
array([0., 2.])
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import numpy as np

from gpunet.backend import get_array_module
from gpunet.primitives import cuda, reference, selection, shapes
from gpunet.primitives.checks import (
    OUTPUT_ACTIVATIONS,
)
from gpunet.primitives.partial_sums import Parts, leaving_parts
from gpunet.primitives.stages import LARGE_STAGE, LossAndGrads, Stage

__all__ = [
    "LARGE_STAGE",
    "OUTPUT_ACTIVATIONS",
    "LossAndGrads",
    "Parts",
    "Stage",
    "activation_backward",
    "adam_update",
    "average_pool2d_backward",
    "average_pool2d_forward",
    "bias_backward",
    "chain_backward",
    "chain_cross_entropy",
    "chain_forward",
    "chain_forward_kept",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_forward",
    "conv2d_max_pool_backward_input",
    "conv2d_max_pool_backward_weight",
    "conv2d_max_pool_forward",
    "dropout_backward",
    "dropout_forward",
    "elu_backward",
    "elu_forward",
    "gather_batch",
    "gelu_backward",
    "gelu_forward",
    "hard_sigmoid_backward",
    "hard_sigmoid_forward",
    "leaky_relu_backward",
    "leaky_relu_forward",
    "leaving_parts",
    "log_softmax_backward",
    "log_softmax_forward",
    "matmul",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "reference",
    "relu_backward",
    "relu_forward",
    "rescale_forward",
    "selu_backward",
    "selu_forward",
    "sgd_update",
    "shapes",
    "sigmoid_backward",
    "sigmoid_forward",
    "silu_backward",
    "silu_forward",
    "softmax_backward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "softmax_forward",
    "softplus_backward",
    "softplus_forward",
    "tanh_backward",
    "tanh_forward",
]

_FLOATS = ("float32", "float64")
_NUMPY_FLOATS = frozenset(map(np.dtype, _FLOATS))
_DEVICE_FLOATS = (*_FLOATS, "float16", "bfloat16")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


# The twins that run where arrays of a library live; those of NumPy are chosen when first needed.
_TWINS: dict[str, ModuleType] = {"cupy": cuda}


def _twins(library: str) -> ModuleType:
    if library not in _TWINS:
        _TWINS[library] = selection.numpy_twins().module
    return _TWINS[library]


def _by_array(
    oracle: Callable[Arguments, Result], *, any_numbers: bool = False
) -> Callable[Arguments, Result]:
    """Return the primitive of which `oracle` is the twin in `reference`.

    Its first argument is an array of floating-point numbers, or with `any_numbers` of integers or
    bools too.
    """
    signature = inspect.signature(oracle)
    name = oracle.__name__

    @functools.wraps(oracle)
    def primitive(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if not args:
            bound = signature.bind(**kwargs)
            args, kwargs = bound.args, bound.kwargs  # type: ignore[assignment]
        module = get_array_module(*args, *kwargs.values())
        _check_first(name, args[0], module, any_numbers)
        twins = _twins("numpy" if module is np else "cupy")
        return getattr(twins, name)(*args, **kwargs)

    return primitive


def _check_first(where: str, array: Any, module: ModuleType, any_numbers: bool) -> None:
    """Raise `TypeError` unless the first argument is an array that the primitives know."""
    if not isinstance(array, (module.ndarray, np.generic)):
        raise TypeError(
            f"{where}: expected an array as its first argument, received {type(array).__name__}: "
            "make one with gpunet.backend.asarray(x, dtype='float32')."
        )
    if array.dtype in _NUMPY_FLOATS:  # most often; a type's name takes longer to find
        return
    known = _FLOATS if module is np else _DEVICE_FLOATS
    if array.dtype.name not in known and not (any_numbers and array.dtype.kind in "biuf"):
        raise TypeError(
            f"{where}: expected an array of {' or '.join(known)} as its first argument, received "
            f"{array.dtype}: convert it with x.astype('float32')."
        )


activation_backward = _by_array(reference.activation_backward)
adam_update = _by_array(reference.adam_update)
average_pool2d_backward = _by_array(reference.average_pool2d_backward)
average_pool2d_forward = _by_array(reference.average_pool2d_forward)
bias_backward = _by_array(reference.bias_backward)
chain_backward = _by_array(reference.chain_backward)
chain_cross_entropy = _by_array(reference.chain_cross_entropy)
chain_forward = _by_array(reference.chain_forward)
chain_forward_kept = _by_array(reference.chain_forward_kept)
conv2d_backward_input = _by_array(reference.conv2d_backward_input)
conv2d_backward_weight = _by_array(reference.conv2d_backward_weight)
conv2d_forward = _by_array(reference.conv2d_forward)
conv2d_max_pool_backward_input = _by_array(reference.conv2d_max_pool_backward_input)
conv2d_max_pool_backward_weight = _by_array(reference.conv2d_max_pool_backward_weight)
conv2d_max_pool_forward = _by_array(reference.conv2d_max_pool_forward)
dropout_backward = _by_array(reference.dropout_backward)
dropout_forward = _by_array(reference.dropout_forward)
elu_backward = _by_array(reference.elu_backward)
elu_forward = _by_array(reference.elu_forward)
gather_batch = _by_array(reference.gather_batch, any_numbers=True)
gelu_backward = _by_array(reference.gelu_backward)
gelu_forward = _by_array(reference.gelu_forward)
hard_sigmoid_backward = _by_array(reference.hard_sigmoid_backward)
hard_sigmoid_forward = _by_array(reference.hard_sigmoid_forward)
leaky_relu_backward = _by_array(reference.leaky_relu_backward)
leaky_relu_forward = _by_array(reference.leaky_relu_forward)
log_softmax_backward = _by_array(reference.log_softmax_backward)
log_softmax_forward = _by_array(reference.log_softmax_forward)
matmul = _by_array(reference.matmul)
max_pool2d_backward = _by_array(reference.max_pool2d_backward)
max_pool2d_forward = _by_array(reference.max_pool2d_forward)
relu_backward = _by_array(reference.relu_backward)
relu_forward = _by_array(reference.relu_forward)
rescale_forward = _by_array(reference.rescale_forward, any_numbers=True)
selu_backward = _by_array(reference.selu_backward)
selu_forward = _by_array(reference.selu_forward)
sgd_update = _by_array(reference.sgd_update)
sigmoid_backward = _by_array(reference.sigmoid_backward)
sigmoid_forward = _by_array(reference.sigmoid_forward)
silu_backward = _by_array(reference.silu_backward)
silu_forward = _by_array(reference.silu_forward)
softmax_backward = _by_array(reference.softmax_backward)
softmax_cross_entropy_backward = _by_array(reference.softmax_cross_entropy_backward)
softmax_cross_entropy_forward = _by_array(reference.softmax_cross_entropy_forward)
softmax_forward = _by_array(reference.softmax_forward)
softplus_backward = _by_array(reference.softplus_backward)
softplus_forward = _by_array(reference.softplus_forward)
tanh_backward = _by_array(reference.tanh_backward)
tanh_forward = _by_array(reference.tanh_forward)
