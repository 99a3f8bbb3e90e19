"""Mistakes put into the kernels of several products; see mutants.py."""

from __future__ import annotations

from .mutants import Mutant

__all__ = ["MUTANTS"]

_PRODUCTS, _CONVOLUTION = "products.cu", "convolution.cu"
_EACH, _BACKWARD, _WEIGHTS = "dense_each", "dense_each_backward_input", "weight_products"

MUTANTS = [
    Mutant(
        "the bias of the layer left out",
        _PRODUCTS,
        _EACH,
        "bias = bias_##k; y",
        "bias = nullptr; y",
    ),
    Mutant(
        "the kernel of the first layer for all",
        _PRODUCTS,
        _EACH,
        "case k: kernel = kernel_##k;",
        "case k: kernel = kernel_0;",
    ),
    Mutant(
        "the last layer left out of the gradient",
        _PRODUCTS,
        _BACKWARD,
        "length = layers * columns;",
        "length = layers > 1 ? (layers - 1) * columns : columns;",
    ),
    Mutant(
        "the second layer for the fourth",
        _PRODUCTS,
        _BACKWARD,
        "is_later ? fourth : third",
        "is_later ? second : third",
    ),
    Mutant(
        "the first column of the next layer for the last",
        _PRODUCTS,
        _BACKWARD,
        "const bool is_later = within >= columns;",
        "const bool is_later = within > columns;",
    ),
    Mutant(
        "the product before the block's",
        _CONVOLUTION,
        _WEIGHTS,
        "table[(number + 1) * FIELDS] <= blockIdx.x",
        "table[(number + 1) * FIELDS] < blockIdx.x",
    ),
    Mutant(
        "the rows of biases left out",
        _CONVOLUTION,
        _WEIGHTS,
        "g, field(1), field(2), grads, x, nullptr",
        "g, field(1), 0, grads, x, nullptr",
    ),
    Mutant(
        "tiles counted without the rows of biases",
        _CONVOLUTION,
        _WEIGHTS,
        "g.kernel_width * g.channels + field(2);",
        "g.kernel_width * g.channels;",
    ),
    Mutant(
        "the output of another product",
        _CONVOLUTION,
        _WEIGHTS,
        "grads = {grad_##k, output_##k, nullptr};",
        "grads = {grad_##k, output_0, nullptr};",
    ),
]
