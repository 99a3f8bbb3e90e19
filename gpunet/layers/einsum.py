"""The layer whose product with its kernel is an equation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet import activations, functions, initializers, regularizers
from gpunet.arguments import positive_integer, refuse_unsupported
from gpunet.layers.layer import Layer, Shape

__all__ = ["EinsumDense"]


class EinsumDense(Layer):
    """A product with a kernel: ``activation(einsum(equation, x, kernel) + bias)``.

    Arguments:
        equation: ``"ab,bc->ac"``, ``"...ab,bc->...ac"`` or ``"ab...,bc->ac..."``, of any letters;
            the first operand is the input, the second the kernel.
        output_shape: sizes of the output without the batch and without the axes of an ellipsis;
            None for one that follows from the input. One integer stands for one axis.
        activation: a name of `gpunet.activations`, a function, or None.
        bias_axes: letters of the output that the bias has, such as ``"c"``; None for no bias.
        kernel_initializer, bias_initializer: names or instances of `gpunet.initializers`. The fans
            of the kernel are its axes that the input has, and those that the output has.
        kernel_regularizer, bias_regularizer: names or instances of `gpunet.regularizers`,
            functions, or None.
        kernel_constraint, bias_constraint, lora_rank, lora_alpha, gptq_unpacked_column_size,
        quantization_config: None; they are not supported.
        options: those of every `Layer`.

    >>> import numpy as np
    >>> layer = EinsumDense("abc,cde->abde", output_shape=(None, 2, 4), bias_axes="de")
    >>> layer(np.ones((1, 3, 8), "float32")).shape
    (1, 3, 2, 4)
    >>> layer.bias.shape
    (2, 4)
    """

    def __init__(
        self,
        equation: str,
        output_shape: Any,
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: None = None,
        bias_constraint: None = None,
        lora_rank: None = None,
        lora_alpha: None = None,
        gptq_unpacked_column_size: None = None,
        quantization_config: None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.equation, self._spec = equation, _split(equation)
        sizes = output_shape if isinstance(output_shape, list | tuple) else (output_shape,)
        self.partial_output_shape = tuple(
            None if size is None else positive_integer(size, "output_shape", "EinsumDense")
            for size in sizes
        )
        self.activation = activations.get(activation)
        self.bias_axes = bias_axes
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        refuse_unsupported(
            "EinsumDense",
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
            gptq_unpacked_column_size=gptq_unpacked_column_size,
            quantization_config=quantization_config,
        )
        self._check_letters()

    def _check_letters(self) -> None:
        x, kernel, output, _ = self._spec
        unknown = [a for a in kernel if a not in x + output]
        unknown += [a for a in output if a not in x + kernel]
        unknown += [a for a in self.bias_axes or "" if a not in output]
        if unknown:
            raise ValueError(
                f"EinsumDense: each axis of the kernel must be one of the input or the output, "
                f"each of the output one of the input or the kernel, and bias_axes of the output: "
                f"received {unknown[0]!r} in equation={self.equation!r}, "
                f"bias_axes={self.bias_axes!r}."
            )

    def build(self, input_shape: Shape) -> None:
        _, kernel, output, _ = self._spec
        named, hidden = self._sizes(input_shape)
        unknown = [a for a in kernel if named[a] is None]
        if unknown:
            raise ValueError(
                f"EinsumDense: axis {unknown[0]!r} of the kernel in {self.equation!r} has no known "
                f"size: give it in output_shape={self.partial_output_shape}, or in the input's "
                f"shape {input_shape}."
            )
        axes = [i for i, a in enumerate(kernel) if a not in output]
        self.kernel = self.add_weight(
            [named[a] for a in kernel],
            _of_fans(self.kernel_initializer, axes),
            name="kernel",
            regularizer=self.kernel_regularizer,
        )
        self.bias = None
        if self.bias_axes:
            self.bias = self.add_weight(
                self._bias_shape(named, len(hidden)),
                self.bias_initializer,
                name="bias",
                regularizer=self.bias_regularizer,
            )

    def _bias_shape(self, named: dict[str, int | None], hidden: int) -> list[int | None]:
        """Return a shape that broadcasts to the output, from its first axis with a bias on."""
        assert self.bias_axes is not None
        output, ellipsis = self._spec[2:]
        first = min(output.index(a) for a in self.bias_axes)
        sizes = [named[a] if a in self.bias_axes else 1 for a in output[first:]]
        return sizes + [1] * hidden if ellipsis == "right" else sizes

    def _sizes(self, shape: Shape) -> tuple[dict[str, int | None], Shape]:
        """Return the size of each letter, and of the axes under the ellipsis."""
        x, _, output, ellipsis = self._spec
        count = len(shape) - len(x)
        if count < 0 or (count and not ellipsis):
            raise ValueError(
                f"EinsumDense: {self.equation!r} takes inputs of {len(x)} axes"
                f"{' or more' if ellipsis else ''}, received shape {tuple(shape)}."
            )
        start = count if ellipsis == "left" else 0
        hidden = shape[:count] if ellipsis == "left" else shape[len(x) :]
        named = dict(zip(x, shape[start : start + len(x)], strict=True))
        given: Shape = (None,) * (len(output) - len(self.partial_output_shape))
        given = (*given, *self.partial_output_shape)
        if len(given) != len(output) or (ellipsis != "left" and len(given) == 0):
            raise ValueError(
                f"EinsumDense: expected output_shape of {len(output)} sizes or, without the "
                f"batch, one less, for the output {output!r} of {self.equation!r}, received "
                f"{self.partial_output_shape}."
            )
        for axis, size in zip(output, given, strict=True):
            known = named.get(axis)
            if None not in (size, known) and size != known:
                raise ValueError(
                    f"EinsumDense: axis {axis!r} of {self.equation!r} has {known} elements in the "
                    f"input of shape {tuple(shape)}, and {size} in output_shape."
                )
            named[axis] = size if known is None else known
        return named, tuple(hidden)

    def check_input(self, shape: Shape) -> None:
        x, kernel, *_ = self._spec
        named, _ = self._sizes(shape)
        wrong = [
            a
            for a, size in zip(kernel, self.kernel.shape, strict=True)
            if a in x and named[a] not in (None, size)
        ]
        if wrong:
            raise ValueError(
                f"EinsumDense was built for inputs of shape {self.input_shape}, received "
                f"{tuple(shape)}: axis {wrong[0]!r} of {self.equation!r} differs."
            )

    def call(self, x: Any) -> Any:
        if axes := self._dense_axes():
            fused = activations.fusible(self.activation)
            y = functions.dense(x, self.kernel, self.bias, activation=fused, axes=axes)
            return self.activation(y) if fused is None else y
        y = functions.einsum(self.equation, x, self.kernel)
        return self.activation(y if self.bias is None else y + self.bias)

    def _dense_axes(self) -> int:
        """Return over how many of the input's last axes this is a dense layer, 0 if it is none."""
        x, kernel, output, ellipsis = self._spec
        count = sum(letter in x for letter in kernel)
        inputs, units = kernel[:count], kernel[count:]
        fits = x.endswith(inputs) and output == x[: len(x) - count] + units
        known = not self.bias_axes or set(self.bias_axes) == set(units)
        return count if fits and known and ellipsis != "right" and units else 0

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        named, hidden = self._sizes(input_shape)
        sizes = tuple(named[a] for a in self._spec[2])
        return (*hidden, *sizes) if self._spec[3] == "left" else (*sizes, *hidden)


def _split(equation: str) -> tuple[str, str, str, str]:
    """Return the letters of input, kernel and output, and where the ellipsis is: at the left ..."""
    form = (
        f"EinsumDense expects an equation such as 'ab,bc->ac', '...ab,bc->...ac' or "
        f"'ab...,bc->ac...', received {equation!r}."
    )
    if not isinstance(equation, str) or equation.count("->") != 1 or equation.count(",") != 1:
        raise ValueError(form)
    operands, output = equation.replace(" ", "").split("->")
    x, kernel = operands.split(",")
    ellipsis = ""
    if "..." in x:
        ellipsis = "left" if x.startswith("...") else "right"
        sides = (x, output)
        fits = all(s.startswith("...") if ellipsis == "left" else s.endswith("...") for s in sides)
        if not fits:
            raise ValueError(form)
        x, output = x.replace("...", "", 1), output.replace("...", "", 1)
    for letters in (x, kernel, output):
        if not letters.isalpha() or len(set(letters)) < len(letters):
            raise ValueError(form)
    return x, kernel, output, ellipsis


def _of_fans(initializer: Any, input_axes: list[int]) -> Any:
    """Return an initializer whose fans are the kernel's input axes and all others."""
    found = initializers.get(initializer or "glorot_uniform")
    if not isinstance(found, initializers.VarianceScaling):
        return found

    def initialize(shape: tuple[int, ...], dtype: Any = "float32") -> Any:
        order = [*input_axes, *(i for i in range(len(shape)) if i not in input_axes)]
        inputs = math.prod(shape[i] for i in input_axes)
        matrix = found((inputs, math.prod(shape) // inputs), dtype=dtype)
        back = np.argsort(order)
        return np.ascontiguousarray(matrix.reshape([shape[i] for i in order]).transpose(back))

    return initialize
