"""Mistakes put into the real kernels, each of which the cases of a primitive must find."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["MUTANTS", "Mutant"]


class Mutant(NamedTuple):
    """A mistake: `new` in the place of `old`, which stands once in a file of kernels/."""

    label: str
    file: str
    primitive: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.file}, {self.label}"

    def apply(self, text: str) -> str:
        """Return the text of a source, headers included, with the mistake in it."""
        assert text.count(self.old) == 1, f"out of date: kernels/{self.file} has changed: {self}"
        return text.replace(self.old, self.new)


MUTANTS = [
    Mutant(
        "the gradient at the bend",
        "activation.cuh",
        "activate_backward",
        "case RELU: return saved <= 0 ? A(0) : output_grad;",
        "case RELU: return saved < 0 ? A(0) : output_grad;",
    ),
    Mutant(
        "no gradient at NaN",
        "activation.cuh",
        "activate_backward",
        "case RELU: return saved <= 0 ? A(0) : output_grad;",
        "case RELU: return saved > 0 ? output_grad : A(0);",
    ),
    Mutant(
        "a limit that is left out",
        "activation.cuh",
        "activate",
        "return x > largest() ? largest() : x;",
        "return x;",
    ),
    Mutant(
        "the slope from the threshold on",
        "activation.cuh",
        "activate",
        "A(FUSED.first) * (x - A(FUSED.third))",
        "A(FUSED.first) * x",
    ),
    Mutant(
        "one element too many in the tail",
        "activation.cu",
        "activate",
        "if (last < count) y[last]",
        "if (last <= count) y[last]",
    ),
    Mutant(
        "one element too few in the tail",
        "activation.cu",
        "activate_backward",
        "if (last < count) {",
        "if (last < count - 1) {",
    ),
    Mutant(
        "a wrong stride of the grid",
        "activation.cu",
        "activate",
        "i += thread_count()) {\n        Vector<T, VECTOR> part",
        "i += 2 * thread_count()) {\n        Vector<T, VECTOR> part",
    ),
    Mutant(
        "a misaligned vector load",
        "activation.cu",
        "activate_backward",
        "load_vector<VECTOR>(saved + i * VECTOR)",
        "load_vector<VECTOR>(saved + i * VECTOR + 1)",
    ),
    Mutant(
        "an array read where its gradient is",
        "activation.cu",
        "activate_backward",
        "activate_backward(widen(grad.values[j]), widen(from.values[j]), option)",
        "activate_backward(widen(grad.values[j]), widen(grad.values[j]), option)",
    ),
    Mutant(
        "the last step of a warp's sum left out",
        "lanes.cuh",
        "softmax_forward",
        "(LANES < WARP ? LANES : WARP) / 2; distance > 0;",
        "(LANES < WARP ? LANES : WARP) / 2; distance > 1;",
    ),
    Mutant(
        "no barrier before the parts are written again",
        "lanes.cuh",
        "softmax_cross_entropy_forward",
        "__syncthreads();  // what is in it has been read",
        "",
    ),
    Mutant(
        "no barrier before the parts are read",
        "lanes.cuh",
        "softmax_forward",
        "parts[threadIdx.x / WARP] = value;\n        __syncthreads();",
        "parts[threadIdx.x / WARP] = value;",
    ),
    Mutant(
        "lanes that return before the sum over them",
        "softmax.cu",
        "softmax_forward",
        "A largest = -infinity();",
        "A largest = -infinity(); if (share.first >= share.end) return largest;",
    ),
    Mutant(
        "a sum that does not begin at 0",
        "softmax.cu",
        "log_softmax_backward",
        "A sum = 0;\n    for (int64 i = share.first; i < share.end; i += share.step) sum += widen(",
        "A sum;\n    for (int64 i = share.first; i < share.end; i += share.step) sum += widen(",
    ),
    Mutant(
        "a row past the last",
        "softmax.cu",
        "softmax_forward",
        "end = row < rows ?",
        "end = row <= rows ?",
    ),
    Mutant(
        "no barrier before the sums are read",
        "reduction.cu",
        "bias_backward",
        "    __syncthreads();\n",
        "",
    ),
    Mutant(
        "a sum that does not begin at 0",
        "reduction.cu",
        "bias_backward",
        "A sum = 0;",
        "A sum;",
    ),
    Mutant(
        "a column past the last",
        "reduction.cu",
        "bias_backward",
        "if (threadIdx.y > 0 || column >= columns) return;",
        "if (threadIdx.y > 0 || column > columns) return;",
    ),
    Mutant(
        "a wrong stride over the rows",
        "reduction.cu",
        "bias_backward",
        "row += WARPS) {",
        "row += WARPS - 1) {",
    ),
    Mutant(
        "a sum in the order in which threads come",
        "reduction.cu",
        "bias_backward",
        """    sums[threadIdx.y * WARP + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || column >= columns) return;
    for (int warp = 1; warp < WARPS; ++warp) sum += sums[warp * WARP + threadIdx.x];
""",
        """    if (threadIdx.y == 0) sums[threadIdx.x] = 0;
    __syncthreads();
    sums[threadIdx.x] += sum;
    __syncthreads();
    if (threadIdx.y > 0 || column >= columns) return;
    sum = sums[threadIdx.x];
""",
    ),
    Mutant(
        "no barrier before the first tile is read",
        "gemm.cuh",
        "matmul",
        "    from_b.store(tiles_b);\n    __syncthreads();\n",
        "    from_b.store(tiles_b);\n",
    ),
    Mutant(
        "no barrier between a tile and the next",
        "gemm.cuh",
        "matmul",
        "        __syncthreads();\n    }\n",
        "    }\n",
    ),
    Mutant(
        "one tile in the place of two",
        "gemm.cuh",
        "matmul",
        "from_a.store(tiles_a + (now ^ 1) * SIZE_A);",
        "from_a.store(tiles_a + now * SIZE_A);",
    ),
    Mutant(
        "sums that do not begin at 0",
        "thread_sums.cuh",
        "matmul",
        "A sums[THREAD_M][THREAD_N] = {};",
        "A sums[THREAD_M][THREAD_N];",
    ),
    Mutant(
        "a slice left out",
        "tile_sums.cuh",
        "matmul",
        "for (int from = 1; from < SLICES; ++from)",
        "for (int from = 2; from < SLICES; ++from)",
    ),
    Mutant(
        "a slice that takes the k of another",
        "thread_sums.cuh",
        "matmul",
        "tile_b + slice * SLICE_K * line_of(BLOCK_N)",
        "tile_b",
    ),
    Mutant(
        "no barrier before the parts of slices are read",
        "thread_sums.cuh",
        "matmul",
        "store_own(0, 0, parts);\n            __syncthreads();\n",
        "store_own(0, 0, parts);\n",
    ),
    Mutant(
        "some sums of a sliced tile stored by no thread",
        "tile_sums.cuh",
        "matmul",
        "i < COUNT; i += THREADS)",
        "i < COUNT - 1; i += THREADS)",
    ),
    Mutant(
        "a row past the matrix",
        "gemm.cuh",
        "matmul",
        "if (row >= rows || place >= length) return",
        "if (row > rows || place >= length) return",
    ),
    Mutant(
        "a number past the end of the sum",
        "gemm.cuh",
        "matmul",
        "if (row >= rows || place >= length) return",
        "if (row >= rows || place > length) return",
    ),
    Mutant(
        "a row past the result",
        "gemm.cuh",
        "matmul",
        "if (m >= rows) return;",
        "if (m > rows) return;",
    ),
    Mutant(
        "a column past the result",
        "gemm.cuh",
        "matmul",
        "if (n + i < columns)",
        "if (n + i <= columns)",
    ),
    Mutant(
        "a digit that does not carry",
        "gemm.cuh",
        "conv2d_forward",
        "digits.middle += step.middle + (carry ? SIDE : 0);",
        "digits.middle += step.middle;",
    ),
    Mutant(
        "a part of a split sum in another's place",
        "matmul.cu",
        "matmul",
        "partial + (blockIdx.y * matrices + matrix) * size",
        "partial + (blockIdx.y * matrices + matrix) * columns",
    ),
    Mutant(
        "a matrix of a stack in another's place",
        "matmul.cu",
        "matmul",
        "{y + matrix * size, own",
        "{y + matrix * columns, own",
    ),
    Mutant(
        "the same matrix for all of a stack",
        "matmul.cu",
        "matmul",
        "b + matrix * inner * columns",
        "b",
    ),
    Mutant(
        "the border one pixel further out",
        "convolution.cuh",
        "conv2d_forward",
        "static_cast<unsigned int>(y) < static_cast<unsigned int>(height)",
        "static_cast<unsigned int>(y) <= static_cast<unsigned int>(height)",
    ),
    Mutant(
        "the padding of the other axis",
        "convolution.cuh",
        "conv2d_forward",
        "position.low * g.stride_x - g.left\n",
        "position.low * g.stride_x - g.top\n",
    ),
    Mutant(
        "windows between the strides",
        "convolution.cuh",
        "conv2d_backward_input",
        "index < count && index * stride == start;",
        "index < count;",
    ),
    Mutant(
        "a window past the last",
        "convolution.cuh",
        "conv2d_backward_input",
        "index < count && index * stride == start;",
        "index <= count && index * stride == start;",
    ),
    Mutant(
        "a stride left out",
        "convolution.cuh",
        "conv2d_backward_weight",
        "position.middle * g.stride_y + row.y",
        "position.middle + row.y",
    ),
    Mutant(
        "a dilation left out",
        "convolution.cuh",
        "conv2d_backward_weight",
        "y * g.dilation_y - g.top, x * g.dilation_x - g.left",
        "y * g.dilation_y - g.top, x - g.left",
    ),
    Mutant(
        "the group left out",
        "convolution.cuh",
        "conv2d_backward_weight",
        "x * g.dilation_x - g.left, g.first_channel() + r % channels",
        "x * g.dilation_x - g.left, r % channels",
    ),
    Mutant(
        "the tail one element too short",
        "optimizer.cu",
        "adam_update",
        "if (last < count) {\n        parameters[last] =\n",
        "if (last < count - 1) {\n        parameters[last] =\n",
    ),
    Mutant(
        "a wrong stride of the grid",
        "optimizer.cu",
        "sgd_update",
        "parameters + i * VECTOR), speed;",
        "parameters + i * VECTOR), speed; if (i >= thread_count()) continue;",
    ),
    Mutant(
        "an average that is not stored",
        "optimizer.cu",
        "adam_update",
        "store_vector(mean + i * VECTOR, m);",
        "",
    ),
    Mutant(
        "one element too many at the end",
        "dropout.cu",
        "dropout_forward",
        "if (!is_whole && first + i < count) y[first + i] = value;",
        "if (!is_whole && first + i <= count) y[first + i] = value;",
    ),
    Mutant(
        "a wrong stride of the grid",
        "dropout.cu",
        "dropout_forward",
        "block += thread_count()) {",
        "block += 2 * thread_count()) {",
    ),
    Mutant(
        "a sine for a cosine",
        "normal.cu",
        "normal_like",
        "radius * cos_pi(2 * v)",
        "radius * sin_pi(2 * v)",
    ),
    Mutant(
        "an odd last element left out",
        "normal.cu",
        "normal_like",
        "if (place < count) y[place]",
        "if (place + 1 < count) y[place]",
    ),
    Mutant(
        "nine rounds",
        "philox.cuh",
        "dropout_forward",
        "round < 10;",
        "round < 9;",
    ),
    Mutant(
        "a sample past the last",
        "batch.cu",
        "gather_batch",
        "data + row * size + i",
        "data + (row + 1) * size + i",
    ),
    Mutant(
        "a sample more than there are rows",
        "batch.cu",
        "gather_batch",
        "if (sample >= count) return;",
        "if (sample > count) return;",
    ),
    Mutant(
        "the tail one element too short",
        "batch.cu",
        "rescale_forward",
        "if (last < count) y[last] = rescaled(",
        "if (last < count - 1) y[last] = rescaled(",
    ),
    Mutant(
        "a wrong stride of the grid",
        "batch.cu",
        "rescale_forward",
        "i += thread_count()) {\n        const Vector<D, VECTOR> part = load_vector<VECTOR>(x",
        "i += 2 * thread_count()) {\n        const Vector<D, VECTOR> part = load_vector<VECTOR>(x",
    ),
    Mutant(
        "a misaligned vector load",
        "batch.cu",
        "rescale_forward",
        "load_vector<VECTOR>(x + i * VECTOR)",
        "load_vector<VECTOR>(x + i * VECTOR + 1)",
    ),
]
