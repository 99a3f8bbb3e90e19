"""The proving is proven: each mistake a kernel can make is caught, and what CUDA does is done.

The kernels here stand in a source of the tests' own, harness.cu, which stands in for one of
kernels/ while a test runs; each is one small mistake, or one small use of what the shim offers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gpunet import backend
from gpunet.primitives import launch as launcher
from gpunet.primitives.launch import Kernel, use_executor
from tests.support.cuda_on_cpu.cases import dtype_named, rounded
from tests.support.cuda_on_cpu.cpu_executor import ORDERS, CpuExecutor, KernelError, compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

BLOCK = 64

# What a mistake shows itself by: the end of an error's message, or WRONG: other numbers than the
# right kernel's (or numbers that differ between orders), which the comparison with a twin finds.
WRONG = "other numbers"
OUTSIDE = "an address outside the arrays was read or written"
TRAPPED = "a misaligned address, an index out of range or an overflow"

# Each is the body of a kernel (const int count, const float* x, float* y) that is run with two
# blocks of 64 threads on arrays of count = 128; `i` is the thread's place in the grid, `t` that in
# its block. All want y[i] = x[i] + 1.
RIGHT = "y[i] = x[i] + 1;"
MISTAKES = {
    "no barrier after a write": (
        "SHARED(float, part, 64); part[t] = x[i]; y[i ^ 1] = part[t ^ 1] + 1;",
        WRONG,
    ),
    "no barrier before a write": (
        """SHARED(float, part, 64);
        for (int step = 0; step < 2; ++step) {
            part[t] = step ? 1 : x[i];
            __syncthreads();
            y[i ^ 33] = part[t ^ 33] + (step ? y[i ^ 33] : 0);
        }""",
        WRONG,
    ),
    "no barrier before a warp that is ahead writes": (
        """SHARED(float, part, 2);
        for (int step = 0; step < 2; ++step) {
            __syncwarp();
            if (t % 32 == 0) part[t / 32] = 1 + 4 * step;
            if (step == 0) __syncthreads();
            if (step == 0) y[i] = x[i] + part[(t / 32) ^ 1];
        }""",
        WRONG,
    ),
    "no barrier within a warp": (
        "SHARED(float, part, 64); part[t] = x[i]; y[i ^ 1] = part[t ^ 1] + 1; __syncwarp();",
        WRONG,
    ),
    "barriers in two branches": (
        f"{RIGHT} if (t < 32) __syncthreads();\nelse __syncthreads();",
        "threads of a block wait at different barriers",
    ),
    "a return before a barrier": (
        f"if (t == 63) return; {RIGHT} __syncthreads();",
        "a thread waits at a barrier, and another of its block has ended",
    ),
    "a lane that has ended": (
        f"if (t == 5) return; {RIGHT} __syncwarp();",
        "a mask names a lane that has ended",
    ),
    "a lane at a barrier": (
        f"if (t % 32 == 7) __syncthreads(); else {{ __syncwarp(); __syncthreads(); }} {RIGHT}",
        "a mask names a lane that waits at a barrier",
    ),
    "lanes at two exchanges": (
        f"{RIGHT} if (t % 2) __syncwarp();\nelse __syncwarp();",
        "lanes of a warp meet at different exchanges",
    ),
    "lanes with different masks": (
        f"{RIGHT} __syncwarp(t % 2 ? 0xffffffffu : 0x7fffffffu);",
        "lanes of a warp meet at different exchanges",
    ),
    "a lane that its mask leaves out": (
        f"{RIGHT} __syncwarp(0x0000ffffu);",
        "a lane takes part in an exchange that leaves it out",
    ),
    "a value of a lane that is not there": (
        "if (t % 32 < 16) y[i] = __shfl_sync(0x0000ffffu, x[i], 16) + 1; else y[i] = x[i] + 1;",
        "a lane reads from one that the mask leaves out",
    ),
    "a lane that takes no part in a product": (
        f"{RIGHT} float sums[4]; if (t != 5) add_tf32_products(sums, {{1, 2, 3, 4}}, {{1, 2}});",
        "a mask names a lane that has ended",
    ),
    "a read one past the end": ("y[i] = x[i + 1] + 1;", WRONG),
    "a read one before the start": ("y[i] = x[i - 1] + 1;", WRONG),
    "a read whose value is lost in rounding": ("y[i] = x[i] + 1 + (i == 0 ? x[count] : 0);", WRONG),
    "a read far past the end": ("y[i] = x[i + 100000] + 1;", OUTSIDE),
    "a read far before the start": ("y[i] = x[i - 100000] + 1;", OUTSIDE),
    "a write one past the end": (f"{RIGHT} if (i == 0) y[count] = 1;", OUTSIDE),
    "a write one before the start": (
        f"{RIGHT} if (i == 0) y[-1] = 1;",
        "harness_1, y: bytes beside the array were written",
    ),
    "a vector that crosses the end": (
        f"{RIGHT} if (i == 0) store_vector(y + count - 2, load_vector<2>(y + count - 2)); "
        "if (i == 1) y[i] += load_vector<4>(x + count).values[0];",
        OUTSIDE,
    ),
    "a misaligned vector load": (
        f"{RIGHT} if (i == 4) y[i] = load_vector<4>(x + 3).values[1] + 1;",
        TRAPPED,
    ),
    "a misaligned vector store": (
        f"{RIGHT} __syncthreads(); if (i == 0) store_vector(y + 1, load_vector<2>(y + 2));",
        TRAPPED,
    ),
    "no array": (f"{RIGHT} if (i == 3) *static_cast<float*>(nullptr) = 1;", OUTSIDE),
    "shared memory past its end": (
        "SHARED(float, part, 63); float* all = part; all[t] = x[i]; y[i] = all[t] + 1;",
        "shared memory was written out of bounds",
    ),
    "shared memory before its start": (
        "SHARED(char, odd, 1); SHARED(float, part, 64); odd[0] = 0; char* before = (char*)part; "
        f"before[-1] = 0; {RIGHT}",
        "shared memory was written out of bounds",
    ),
    "an index past shared memory's end": (
        "SHARED(float, part, 63); part[t] = x[i]; y[i] = part[t] + 1;",
        TRAPPED,
    ),
    "an index past the end of a variable": (
        "float part[4]; part[t == 9 ? 4 : t % 4] = x[i]; y[i] = part[t % 4] + 1;",
        TRAPPED,
    ),
    "shared memory read before it is written": (
        "SHARED(float, part, 64); part[t] += x[i]; y[i] = part[t] + 1;",
        WRONG,
    ),
    "shared memory of the block before": (
        "SHARED(float, part, 64); if (blockIdx.x == 0) part[t] = 1; y[i] = x[i] + part[t];",
        WRONG,
    ),
    "a variable that is not set": ("float sum; sum += x[i]; y[i] = sum + 1;", WRONG),
    "an element that is not written": ("if (i != 77) y[i] = x[i] + 1;", WRONG),
    "an element that is added to": ("y[i] += x[i] + 1;", WRONG),
    "a const argument written": (
        f"{RIGHT} if (i == 3) const_cast<float*>(x)[i] = 5;",
        "harness_1, x: an argument declared const was written",
    ),
    "an index that overflows": (
        "const int place = (i + count) * 20000000; y[i] = x[i] + 1 + (place == 1);",
        TRAPPED,
    ),
    "a shift past the width": (f"{RIGHT} if (1 << (count - 96 + t) == 3) y[i] = 0;", TRAPPED),
    "a division by zero": (f"{RIGHT} if (100 / t == 1000) y[i] = 0;", TRAPPED),
    "too much shared memory": (
        f"SHARED(float, part, 12 << 10); SHARED(char, more, 1); part[t] = more[0] = 0; {RIGHT}",
        "the kernel declares more shared memory than the 48 KiB that it can",
    ),
    "blocks that depend on each other": (
        "y[i] = x[i] + 1; if (blockIdx.x == 1) y[i] += y[i - 64] > 0 ? 0 : 1;",
        WRONG,
    ),
    "a sum in the order of the threads": (
        "SHARED(float, sum, 1); if (t == 0) sum[0] = 0; __syncthreads(); sum[0] += x[i]; "
        "__syncthreads(); y[i] = x[i] + 1 + 0 * sum[0]; if (t == 0) y[i] += sum[0] * 1e-3f;",
        WRONG,
    ),
}

# What CUDA gives, thread by thread; `i` counts the threads of the grid.
USES = """
extern "C" __global__ void places(const int count, int* y) {
    const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    const int i = block * blockDim.x * blockDim.y * blockDim.z + thread;
    const int place = blockIdx.x + 10 * blockIdx.y + 100 * blockIdx.z;
    if (i < count) y[i] = place * 1000000 + threadIdx.x + 100 * threadIdx.y + 10000 * threadIdx.z;
}

extern "C" __global__ void exchanges(const double* x, double* y) {
    const int lane = threadIdx.x % 32;
    const double value = x[threadIdx.x];
    double* row = y + threadIdx.x * 6;
    row[0] = __shfl_sync(0xffffffffu, value, 3);
    row[1] = __shfl_sync(0xffffffffu, value, lane + 30);  // modulo 32
    row[2] = __shfl_xor_sync(0xffffffffu, value, 5);
    row[3] = __shfl_down_sync(0xffffffffu, value, 8);
    row[4] = __ballot_sync(0xffffffffu, value > 0);
    row[5] = -1;
    if (lane < 8) {
        for (int round = 0; round < 3; ++round) row[5] = __shfl_xor_sync(0x000000ffu, value, 1);
        row[5] = __ballot_sync(0x000000ffu, value > 0);
    } else if (lane % 2) {
        row[5] = __shfl_sync(0xaaaaaa00u, value, 9);
    }
    __syncwarp();
}

// y (16, 8) of each warp: twice the product of a (16, K) and b (K, 8), whose fragments are those of
// mma.m16n8k8 for tf32 and of mma.m16n8k16 for bf16.
extern "C" __global__ void products_tf32(const float* a, const float* b, float* y) {
    const int group = threadIdx.x % 32 / 4, place = threadIdx.x % 4, warp = threadIdx.x / 32;
    uint32 of_a[4], of_b[2];
    for (int i = 0; i < 4; ++i) {
        const int row = i == 0 || i == 2 ? group : group + 8, column = i < 2 ? place : place + 4;
        of_a[i] = float_bits(a[warp * 128 + row * 8 + column]);
    }
    for (int i = 0; i < 2; ++i) of_b[i] = float_bits(b[warp * 64 + (place + 4 * i) * 8 + group]);
    float sums[4] = {};
    for (int round = 0; round < 2; ++round) add_tf32_products(sums, of_a, of_b);
    for (int i = 0; i < 4; ++i) {
        y[warp * 128 + (i < 2 ? group : group + 8) * 8 + place * 2 + i % 2] = sums[i];
    }
}

extern "C" __global__ void products_bf16(const float* a, const float* b, float* y) {
    const int group = threadIdx.x % 32 / 4, place = threadIdx.x % 4, warp = threadIdx.x / 32;
    uint32 of_a[4] = {}, of_b[2] = {};
    for (int i = 0; i < 8; ++i) {
        const int row = i % 4 < 2 ? group : group + 8;
        const int column = place * 2 + i % 2 + (i < 4 ? 0 : 8);
        const uint32 bits = narrow_bfloat16(a[warp * 256 + row * 16 + column]).bits;
        of_a[i / 2] |= bits << (i % 2 * 16);
    }
    for (int i = 0; i < 4; ++i) {
        const int row = place * 2 + i % 2 + (i < 2 ? 0 : 8);
        of_b[i / 2] |= static_cast<uint32>(narrow_bfloat16(b[warp * 128 + row * 8 + group]).bits)
                       << (i % 2 * 16);
    }
    float sums[4] = {};
    for (int round = 0; round < 2; ++round) add_bfloat16_products(sums, of_a, of_b);
    for (int i = 0; i < 4; ++i) {
        y[warp * 128 + (i < 2 ? group : group + 8) * 8 + place * 2 + i % 2] = sums[i];
    }
}

extern "C" __global__ void factors(const int count, const float* x, float* tf32, float* bf16) {
    for (int64 i = thread_index(); i < count; i += thread_count()) {
        tf32[i] = round_to_tf32(x[i]);
        bf16[i] = round_to_bfloat16(x[i]);
    }
}

extern "C" __global__ void turned(const float* x, float* y) {
    SHARED(float, part, 1024);
    part[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = part[blockDim.x - 1 - threadIdx.x];
}

constexpr int WARPS = 2;
extern "C" __global__ void __launch_bounds__(32 * WARPS, 2) bounded(float* y) {
    y[threadIdx.x] = threadIdx.x;
}

extern "C" __global__ void widened(const int count, const T* x, float* y) {
    for (int64 i = thread_index(); i < count; i += thread_count()) y[i] = widen(x[i]);
}

extern "C" __global__ void narrowed(const int count, const float* x, T* y) {
    for (int64 i = thread_index(); i < count; i += thread_count()) y[i] = narrow<T>(x[i]);
}
"""


def mistakes_source() -> str:
    bodies = {"harness_0": RIGHT}
    bodies |= {f"harness_{i}": body for i, (body, _) in enumerate(MISTAKES.values(), start=1)}
    kernels = [
        f'extern "C" __global__ void {name}(const int count, const float* x, float* y) {{\n'
        f"const int t = threadIdx.x, i = static_cast<int>(thread_index());\n{body}\n}}\n"
        for name, body in bodies.items()
    ]
    return '#include "common.cuh"\n' + "\n".join(kernels)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let launches find the sources of this file in the place of kernels/."""
    folder = tmp_path_factory.mktemp("kernels")
    for header in ("common.cuh", "ptx.cuh"):
        (folder / header).write_text(backend.kernel_source(header))
    (folder / "harness.cu").write_text(mistakes_source())
    (folder / "harness_uses.cu").write_text('#include "common.cuh"\n' + USES)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(backend, "kernel_folder", lambda: folder)
        yield folder


@pytest.fixture(autouse=True)
def _in_sources(sources: Path) -> None:
    pass


def numbers() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.5, 2.0, 2 * BLOCK).astype(np.float32)


def run(name: str, order: str) -> np.ndarray:
    x = numbers()
    with use_executor(CpuExecutor(order)):
        y = launcher.empty(x.shape, x.dtype)
        Kernel("harness.cu", name)(2, BLOCK, x.size, x, y, types={})
    return y


def test_the_right_kernel_passes() -> None:
    for order in ORDERS:
        np.testing.assert_array_equal(run("harness_0", order), numbers() + 1)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_caught_and_the_next_launch_works(mistake: str) -> None:
    name = f"harness_{list(MISTAKES).index(mistake) + 1}"
    _, shown = MISTAKES[mistake]
    messages = []
    for order in ORDERS:
        try:
            found = run(name, order)
        except KernelError as error:
            messages.append(str(error))
        else:
            messages.append("" if np.array_equal(found, numbers() + 1) else WRONG)
        np.testing.assert_array_equal(run("harness_0", order), numbers() + 1)
    expected = shown.replace("harness_1", name)
    assert any(expected in message for message in messages), messages


def turned_out(name: str, order: str, grid: object, block: object, *arguments: object) -> None:
    with use_executor(CpuExecutor(order)):
        Kernel("harness_uses.cu", name)(grid, block, *arguments, types={"T": "float32"})


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("grid", "block"), [((3, 2, 4), (8, 4, 2)), ((5,), (32,)), ((2, 3), 64)])
def test_places_along_three_axes(
    order: str, grid: tuple[int, ...], block: int | tuple[int, ...]
) -> None:
    blocks = (*grid, 1, 1)[:3]
    threads = (*(block if isinstance(block, tuple) else (block,)), 1, 1)[:3]
    bz, by, bx, tz, ty, tx = np.indices((*blocks[::-1], *threads[::-1]))
    expected = (bx + 10 * by + 100 * bz) * 1_000_000 + tx + 100 * ty + 10_000 * tz
    y = np.zeros(expected.size, np.int32)
    turned_out("places", order, grid, block, y.size, y)
    np.testing.assert_array_equal(y, expected.reshape(-1))


@pytest.mark.parametrize("order", ORDERS)
def test_lanes_exchange_what_they_do_on_cuda(order: str) -> None:
    x = np.random.default_rng(1).normal(size=(3, 32))
    y = np.empty((3, 32, 6))
    turned_out("exchanges", order, 1, 96, x, y)
    lane = np.arange(32)
    bits = np.where(x > 0, 2.0**lane, 0.0)
    within = np.full((3, 32), -1.0)
    within[:, :8] = bits[:, :8].sum(axis=1, keepdims=True)
    within[:, 9::2] = x[:, 9:10]
    expected = [
        np.broadcast_to(x[:, 3:4], (3, 32)),
        x[:, (lane + 30) % 32],
        x[:, lane ^ 5],
        x[:, np.where(lane + 8 < 32, lane + 8, lane)],
        np.broadcast_to(bits.sum(axis=1, keepdims=True), (3, 32)),
        within,
    ]
    np.testing.assert_array_equal(y, np.stack(expected, axis=-1))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("precision", "length"), [("tf32", 8), ("bf16", 16)])
def test_warps_multiply_as_tensor_cores_do(order: str, precision: str, length: int) -> None:
    rng = np.random.default_rng(0)
    # sums of products of small whole numbers are exact
    a = rng.integers(-99, 100, (3, 16, length)).astype(np.float32)
    b = rng.integers(-99, 100, (3, length, 8)).astype(np.float32)
    y = np.empty((3, 16, 8), np.float32)
    turned_out(f"products_{precision}", order, 1, 96, a, b, y)
    np.testing.assert_array_equal(y, 2 * (a @ b))


def test_factors_are_rounded_to_the_nearest() -> None:
    halves = np.float32([1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8])  # ties
    near = np.nextafter(halves, np.float32([[-9], [9]])).ravel()
    edges = [0, -0.0, np.inf, np.finfo(np.float32).tiny, 3.4e38, 3.38e38]
    drawn = np.random.default_rng(0).normal(size=500) * 10.0 ** np.arange(-35, 35).repeat(8)[:500]
    x = np.concatenate([halves, near, edges, drawn, [np.nan]]).astype(np.float32)
    x = np.concatenate([x, -x])
    tf32, bf16 = np.empty_like(x), np.empty_like(x)
    turned_out("factors", "forward", 2, BLOCK, x.size, x, tf32, bf16)
    with np.errstate(over="ignore"):
        for found, name in ((tf32, "tf32"), (bf16, "bf16")):
            np.testing.assert_array_equal(found, rounded(x, name).astype(np.float32))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("threads", [32, 96, 1024])
def test_blocks_of_up_to_1024_threads(order: str, threads: int) -> None:
    x = np.arange(threads, dtype=np.float32)
    y = np.empty_like(x)
    turned_out("turned", order, 1, threads, x, y)
    np.testing.assert_array_equal(y, x[::-1])


@pytest.mark.parametrize("block", [1, 33, (16, 3), 1056, (32, 32, 2)])
def test_blocks_that_are_not_whole_warps_are_refused(block: int | tuple[int, ...]) -> None:
    x = np.zeros(2048, np.float32)
    with pytest.raises(KernelError, match="whole warps, up to 1024 threads"):
        turned_out("turned", "forward", 1, block, x, x.copy())


def test_blocks_larger_than_a_kernel_says_are_refused() -> None:
    y = np.zeros(96, np.float32)
    turned_out("bounded", "forward", 1, 64, y)
    np.testing.assert_array_equal(y[:64], np.arange(64))
    with pytest.raises(KernelError, match=r"\(96,\) threads, its __launch_bounds__ say 64"):
        turned_out("bounded", "forward", 1, 96, y)


def through(name: str, numbers: np.ndarray, dtype: str) -> np.ndarray:
    """Return the numbers, between float32 and `dtype`, as the kernels convert them."""
    target = np.dtype("float32") if name == "widened" else dtype_named(dtype)
    y = np.empty(numbers.shape, target)
    with use_executor(CpuExecutor()):
        Kernel("harness_uses.cu", name)(8, 256, y.size, numbers, y, types={"T": dtype_named(dtype)})
    return y


def assert_same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare bit by bit; where NaN is expected, any NaN will do."""
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), nan)
    unsigned = f"u{found.dtype.itemsize}"
    np.testing.assert_array_equal(found[~nan].view(unsigned), expected[~nan].view(unsigned))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_numbers_of_16_bits(dtype: str) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype_named(dtype))
    wide = every.astype(np.float32)
    assert_same_bits(through("widened", every, dtype), wide)
    # All of them, what lies in the middle between two, and the neighbours of all of these.
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.unique(wide[np.isfinite(wide)])
        middle = ((finite[1:].astype(np.float64) + finite[:-1]) / 2).astype(np.float32)
        around = np.concatenate([wide, middle, np.float32([1e-45, 65519.996, 65520, 3.4e38])])
        around = np.concatenate(
            [np.nextafter(around, np.float32(end)) for end in (-np.inf, np.inf)]
            + [
                around,
                np.random.default_rng(2).integers(0, 1 << 32, 100_000, np.uint32).view(np.float32),
            ]
        )
        expected = around.astype(dtype_named(dtype))
    assert_same_bits(through("narrowed", around, dtype), expected)
