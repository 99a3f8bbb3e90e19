"""Inputs of models."""

from __future__ import annotations

from typing import Any

from gpunet import symbolic
from gpunet.arguments import refuse_unsupported
from gpunet.layers.building import STRINGS, as_sample_shape
from gpunet.layers.layer import Layer
from gpunet.symbolic import Symbol

__all__ = ["Input", "InputLayer"]

_DTYPES = ("float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")


class InputLayer(Layer):
    """The place of an input in a graph of layers; `Input` makes one.

    Arguments:
        shape: of one sample, without the batch; sizes that are not known are None.
        batch_size: None where it is not known, or may vary.
        dtype: of the data: 'float32', 'float64', an integer type or 'bool'.
        sparse, ragged, input_tensor, optional: None or False; they are not supported.
        batch_shape: the batch size and the shape, in place of both.
        name: for messages, and to give data by name.
        input_shape: an older name of `shape`.
    """

    def __init__(
        self,
        shape: Any = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: None = None,
        ragged: None = None,
        batch_shape: Any = None,
        input_tensor: None = None,
        optional: bool = False,
        name: str | None = None,
        *,
        input_shape: Any = None,
    ) -> None:
        super().__init__(name=name)
        refuse_unsupported(
            "Input", sparse=sparse, ragged=ragged, input_tensor=input_tensor, optional=optional
        )
        shape = input_shape if shape is None else shape
        if (shape is None) == (batch_shape is None):
            raise ValueError(
                "Input expects either shape, of one sample without the batch, or batch_shape, "
                f"received shape={shape!r} and batch_shape={batch_shape!r}."
            )
        if batch_shape is not None:
            if not isinstance(batch_shape, list | tuple) or not batch_shape:
                raise ValueError(
                    f"Input: batch_shape must be (batch size or None, *shape of one sample), "
                    f"received {batch_shape!r}."
                )
            batch_size, shape = batch_shape[0], tuple(batch_shape[1:])
        sizes = as_sample_shape(shape, "shape")
        batch = as_sample_shape(batch_size, "batch_size")
        if str(dtype or "float32") not in _DTYPES:
            hint = f" {STRINGS[0].upper()}{STRINGS[1:]}" if "str" in str(dtype) else ""
            raise ValueError(f"Input: dtype must be one of {_DTYPES}, received {dtype!r}.{hint}")
        self.symbol_dtype = str(dtype or "float32")
        self.batch_shape = (*batch, *sizes)
        self.input_shape, self.given_input_shape, self.built = self.batch_shape, sizes, True

    def call(self, x: Any) -> Any:
        return x

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


def Input(
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: None = None,
    ragged: None = None,
    batch_shape: Any = None,
    name: str | None = None,
    tensor: None = None,
    optional: bool = False,
) -> Symbol:
    """Return the symbol of a model's input, to call layers on, or to stand first in a `Sequential`.

    Arguments:
        shape, batch_size, dtype, batch_shape, name: as in `InputLayer`.
        sparse, ragged, tensor, optional: None or False; they are not supported.

    >>> Input((28, 28, 1)).shape
    (None, 28, 28, 1)
    """
    layer = InputLayer(
        shape, batch_size, dtype, sparse, ragged, batch_shape, tensor, optional, name
    )
    like = Symbol(layer.batch_shape, layer.symbol_dtype)
    symbol = symbolic.record(layer, (), {}, like)
    symbol.name = layer.name
    layer.remember_symbols(symbol, symbol)
    return symbol
