"""The Numba twins as a whole: threads, forks, the choice of twins, other processors."""

from __future__ import annotations

import _thread
import importlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet.primitives import Network, as_activation, reference
from gpunet.primitives.network_operations import Pooling, Product, Sum
from gpunet.primitives.stages import Stage
from tests.support.doors import Doors
from tests.support.fast_arrays import Array, numbers
from tests.support.processes import forks, needs_fork, python, succeeds_in_fork

fast = Doors(pytest.importorskip("gpunet.primitives.fast"))
threads = importlib.import_module("gpunet.primitives.fast.threads")
compiling = importlib.import_module("gpunet.primitives.fast.compile")
sharing = importlib.import_module("gpunet.primitives.fast.sharing")
kernel, Ints = compiling.kernel, compiling.Ints
next_task, pause = sharing.next_task, sharing.pause


def test_each_kernel_is_checked_by_value() -> None:
    here, above = Path(__file__).parent, Path(__file__).parents[1]
    files = [f"{__package__}.{path.stem}" for path in here.glob("test_*.py")]
    files += [f"tests.primitives.{path.stem}" for path in above.glob("test_*.py")]
    checked = {
        name for file in files for name in getattr(importlib.import_module(file), "CHECKED", ())
    }
    twins = fast.twins
    made = {name for name in twins.__all__ if getattr(twins, name) is not getattr(reference, name)}
    assert made - checked == set()


def conv(x: Array, kernel: Array) -> Array:
    return fast.conv2d_forward(x, kernel, padding=1, activation="relu")


def calls() -> dict[str, Callable[[], Any]]:
    """Return calls of every kernel, each with work for several tasks."""
    x, kernel, bias = numbers(0, (64, 13, 13, 16)), numbers(1, (3, 3, 16, 33)), numbers(2, (33,))
    pooled, places = fast.conv2d_max_pool_forward(x, kernel, bias)
    grad, pooled_grad = numbers(3, (64, 13, 13, 33)), numbers(4, pooled.shape)
    a, b = numbers(5, (2000, 130)), numbers(6, (130, 70))
    logits, labels = numbers(7, (9000, 10)), np.arange(9000) % 10
    maxima, indices = fast.max_pool2d_forward(x, pool_size=3, strides=2)
    flat = numbers(8, (300_000,))

    def adam() -> list[Array]:
        buffers = [flat.copy(), flat, np.abs(flat), flat * flat]
        fast.adam_update(*buffers, np.array([3]), np.array([0.1], np.float32))
        return buffers

    def sgd() -> list[Array]:
        buffers = [flat.copy(), flat, np.abs(flat)]
        fast.sgd_update(*buffers, np.array([0.1], np.float32), momentum=0.9)
        return buffers

    def normalize_backward(shape: tuple[int, ...], groups: int) -> Any:
        x, ones = flat.reshape(shape), np.ones((shape[0], groups), np.float32)
        return fast.normalize_backward(x, x, None, ones, ones, groups=groups, epsilon=1e-3)

    def network() -> Network:
        """Return one with so much work that threads share three images."""
        same = {"padding": "same"}
        return Network([
            Product((0,), kernel, bias, activation=as_activation("relu"), **same),
            Product((1,), numbers(12, (5, 5, 33, 33)), None, **same),
            Product((2,), numbers(13, (3, 3, 1, 33)), None, is_depthwise=True),
            Sum((1, 2)),
            Pooling((4,), False, None),
        ])  # fmt: skip

    options = {"pool_size": 3, "strides": 2}
    heads, table = numbers(11, (3, 150, 4, 20)), flat.reshape(-1, 10)
    attended, log_sums = fast.attention_forward(heads, heads, heads, causal=True)
    stages = [
        Stage(kernel, bias, "relu", pool_size=(2, 2)),
        Stage(numbers(10, (5 * 5 * 33, 10)), None, None),
    ]
    return {
        "chain_forward": lambda: fast.chain_forward(x, stages)[0],
        "network_forward": lambda: fast.network_forward(x[:11], network()),
        "network_forward, shared": lambda: fast.network_forward(x[:3], network()),
        "conv2d_forward": lambda: conv(x, kernel),
        "conv2d_backward_weight": lambda: fast.conv2d_backward_weight(
            grad, x, kernel.shape, padding=1, with_bias=True
        ),
        "conv2d_backward_input": lambda: fast.conv2d_backward_input(
            grad, kernel, x.shape, padding=1
        ),
        "conv2d_max_pool_forward": lambda: fast.conv2d_max_pool_forward(x, kernel, bias),
        "conv2d_max_pool_backward_weight": lambda: fast.conv2d_max_pool_backward_weight(
            pooled_grad, places, x, kernel.shape, with_bias=True
        ),
        "conv2d_max_pool_backward_input": lambda: fast.conv2d_max_pool_backward_input(
            pooled_grad, places, kernel, x.shape
        ),
        "matmul": lambda: fast.matmul(a, b, activation="relu"),
        "matmul, transposed": lambda: fast.matmul(a, numbers(9, (2000, 40)), transpose_a=True),
        "matmul, stacks": lambda: fast.matmul(
            x.reshape(64, 169, 16), x.reshape(64, 169, 16), transpose_b=True
        ),
        "bias_backward": lambda: fast.bias_backward(a),
        "attention_forward": lambda: fast.attention_forward(heads, heads, heads),
        "attention_backward": lambda: fast.attention_backward(
            heads, heads, heads, heads, attended, log_sums, causal=True
        ),
        "embedding_backward": lambda: fast.embedding_backward(a, np.arange(2000) % 7, rows=9),
        "max_pool2d_forward": lambda: fast.max_pool2d_forward(x, **options),
        "max_pool2d_backward": lambda: fast.max_pool2d_backward(
            maxima, indices, x.shape, **options
        ),
        "average_pool2d_forward": lambda: fast.average_pool2d_forward(x, **options),
        "average_pool2d_backward": lambda: fast.average_pool2d_backward(maxima, x.shape, **options),
        "relu_forward": lambda: fast.activate(flat, "relu"),
        "gelu_forward": lambda: fast.activate(flat, "gelu"),
        "silu_backward": lambda: fast.activate_backward(flat, flat, "silu"),
        "normalize_forward": lambda: fast.normalize_forward(
            flat.reshape(1, -1, 10), None, None, groups=10, epsilon=1e-3
        ),
        "normalize_forward, of rows": lambda: fast.normalize_forward(
            flat.reshape(-1, 1, 50), None, None, groups=1, epsilon=1e-3
        ),
        "normalize_backward": lambda: normalize_backward((1, 30_000, 10), 10),
        "normalize_backward, of rows": lambda: normalize_backward((6000, 1, 50), 1),
        "normalize_channels": lambda: fast.normalize_channels(
            table, None, None, table, epsilon=1e-3, activation="relu"
        ),
        "normalize_channels_backward": lambda: fast.normalize_channels_backward(
            table,
            table,
            None,
            table[0],
            table[1] ** 2,
            epsilon=1e-3,
            activation="relu",
            output=table,
            with_added=True,
        ),
        "normalize_inference": lambda: fast.normalize_inference(
            flat.reshape(-1, 10), None, np.ones(10, np.float32), None, None, epsilon=1e-3
        ),
        "softmax_forward": lambda: fast.softmax_forward(logits),
        "log_softmax_backward": lambda: fast.log_softmax_backward(logits, logits),
        "softmax_cross_entropy_forward": lambda: fast.softmax_cross_entropy_forward(logits, labels),
        "softmax_cross_entropy_backward": lambda: fast.softmax_cross_entropy_backward(
            logits[:, 0], logits, labels
        ),
        "adam_update": adam,
        "sgd_update": sgd,
        "gather_batch": lambda: fast.gather_batch(a, np.arange(1999, 0, -1), scale=0.3),
        "rescale_forward": lambda: fast.rescale_forward(flat, scale=0.3, offset=1),
    }


def bits(result: Any) -> list[bytes]:
    """Return the bytes of one array, or of several."""
    return [each.tobytes() for each in (result if isinstance(result, (tuple, list)) else [result])]


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[dict[str, list[bytes]]] = []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "_made", threads._Workers(count))
        assert threads.thread_count() == count
        found.append({name: bits(call()) for name, call in calls().items()})
    for name, expected in found[0].items():
        assert found[1][name] == found[2][name] == expected, name


@kernel
def _count(counters: Ints, tasks: int, worker: int, looks: int, seen: Ints) -> None:
    """Add 1 at the number of each task, after a while."""
    task = next_task(counters, tasks, worker)
    while task < tasks:
        for _ in range(looks):
            pause()
        seen[16 * task] += 1
        seen[16 * tasks + 16 * worker] += 1
        task = next_task(counters, tasks, worker)


def counted(tasks: int, looks: int = 0) -> tuple[list[int], list[int]]:
    """Return how often each task was done, and how many each of four threads did."""
    seen = np.zeros(16 * (tasks + 4), np.int64)
    threads.run(_count, tasks, looks, seen)
    return seen[: 16 * tasks : 16].tolist(), seen[16 * tasks :: 16].tolist()


def test_each_task_is_done_once_by_helpers_awake_asleep_or_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "_made", threads._Workers(3))
    helped = 0
    for pause_before in (0.0, 0.0, 1e-4, 3e-4, 0.02):
        for tasks in (1, 2, 3, 50):
            for _ in range(20):
                time.sleep(pause_before)
                done, by = counted(tasks, looks=500)
                assert done == [1] * tasks
                assert sum(by) == tasks
                helped += sum(by[1:])
    assert helped, "in 400 kernels no helper came"


def test_a_helper_that_sleeps_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_made", threads._Workers(2))
    end = time.monotonic() + 600  # at once, but on a machine with no core to spare
    while True:
        time.sleep(0.05)  # long enough to fall asleep
        if counted(8, looks=100_000)[1][1]:
            return
        assert time.monotonic() < end, "the helper never came"


def run_for_ever(seen: Array) -> None:
    while True:
        threads.run(_count, 64, 20_000, seen)


def test_an_interrupt_waits_for_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_made", threads._Workers(2))
    seen = np.zeros(16 * 68, np.int64)
    threads.run(_count, 64, 0, seen)  # compiled before
    seen[:] = 0
    threading.Timer(0.01, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        run_for_ever(seen)
    rounds = seen[: 16 * 64 : 16]
    assert (rounds == rounds[0]).all(), "each kernel was run to its end, or not at all"
    assert counted(64)[0] == [1] * 64  # the workers still work


def test_wrong_arguments_leave_the_workers_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_made", threads._Workers(2))
    with pytest.raises(TypeError):
        threads.run(_count, 4, 0, np.zeros(128, np.float32))
    assert counted(4)[0] == [1] * 4


def test_several_tasks_are_shared_among_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test before compares would be little if a call had only one task."""
    tasks: list[int] = []
    run = threads._Workers.run

    def noted(workers: Any, kernel: Any, count: int, arguments: Any) -> None:
        tasks.append(count)
        run(workers, kernel, count, arguments)

    monkeypatch.setattr(threads._Workers, "run", noted)
    for name, call in calls().items():
        tasks.clear()
        call()
        assert tasks or name == "bias_backward", name
    tasks.clear()
    fast.activate(np.zeros((32, 128), np.float32), "relu")
    fast.softmax_cross_entropy_forward(np.zeros((32, 10), np.float32), np.zeros(32, np.int64))
    assert tasks == [], "too little work to wake a thread for"


def test_two_threads_of_a_program_may_call_at_once() -> None:
    x, kernel = numbers(0, (32, 14, 14, 8)), numbers(1, (3, 3, 8, 20))
    flat = numbers(2, (300_000,))
    expected = bits(conv(x, kernel)), bits(fast.activate(flat, "tanh"))
    wrong: list[int] = []

    def work() -> None:
        for k in range(40):
            if (
                bits(conv(x, kernel)),
                bits(fast.activate(flat, "tanh")),
            ) != expected:
                wrong.append(k)

    callers = [threading.Thread(target=work) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


@needs_fork
@forks
def test_a_forked_process_makes_threads_of_its_own() -> None:
    x, kernel = numbers(0, (32, 14, 14, 8)), numbers(1, (3, 3, 8, 20))
    expected = bits(conv(x, kernel))
    assert succeeds_in_fork(lambda: bits(conv(x, kernel)) == expected)


@needs_fork
@forks
def test_a_fork_while_another_thread_runs_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_made", threads._Workers(2))
    begun, leave = threading.Event(), threading.Event()

    def kernel(counters: Array, tasks: int, worker: int) -> None:
        counters[0] += tasks + 1
        begun.set()
        leave.wait(60)

    other = threading.Thread(target=threads.run, args=(kernel, 4))
    other.start()
    begun.wait()
    x = numbers(0, (300_000,))
    expected = bits(fast.activate(x, "relu"))
    try:
        assert succeeds_in_fork(
            lambda: bits(fast.activate(x, "relu")) == expected and not threads._busy
        )
    finally:
        leave.set()
        other.join()


def test_one_thread_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    x = numbers(0, (300_000,))
    expected = bits(fast.activate(x, "relu"))
    monkeypatch.setattr(threads, "_made", None)
    monkeypatch.setattr(threads, "_allowed", lambda: 3)
    monkeypatch.setattr(threading.Thread, "start", no_start)
    with pytest.warns(RuntimeWarning, match="started 0 of 2 worker threads"):
        assert bits(fast.activate(x, "relu")) == expected
    assert threads.thread_count() == 1


TELL = """
from gpunet.primitives.selection import numpy_twins
twins = numpy_twins()
print(twins.module.__name__, twins.reason, twins.fix, sep="|")
"""


@pytest.mark.parametrize(
    ("setting", "module", "reason", "fix"),
    [
        ("", "fast", "Numba ", ""),
        ("1", "fast", " threads.", ""),
        (" Auto ", "fast", "Numba ", ""),
        ("0", "reference", "GPUNET_FAST=0 selects plain NumPy.", "Unset GPUNET_FAST."),
    ],
)
def test_the_environment_chooses(setting: str, module: str, reason: str, fix: str) -> None:
    done = python(TELL, GPUNET_FAST=setting)
    assert (done.returncode, done.stderr) == (0, "")
    name, told, to_do = done.stdout.strip("\n").split("|")
    assert name == f"gpunet.primitives.{module}"
    assert reason in told
    assert to_do == fix


def test_an_unknown_choice_is_an_error() -> None:
    done = python(TELL, GPUNET_FAST="wrong")
    assert done.returncode == 1
    assert "value of the environment variable GPUNET_FAST" in done.stderr
    use = "import gpunet, numpy as np; gpunet.primitives.activate(np.zeros(3, 'f4'), 'relu')"
    assert "ValueError" in python(use, GPUNET_FAST="wrong").stderr


def test_without_numba_numpy_computes() -> None:
    hidden = "import sys; sys.modules['numba'] = None\n"
    done = python(hidden + TELL)
    assert done.stdout.startswith("gpunet.primitives.reference|Numba is not installed.|")
    assert "pip install 'gpunet[fast]'" in done.stdout
    use = "import gpunet, numpy as np; print(gpunet.primitives.activate(np.ones(1, 'f4'), 'relu'))"
    done = python(hidden + use)
    assert (done.stdout, done.stderr) == ("[1.]\n", "")


def test_a_broken_numba_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 1.0 or less')\n")
    done = python(TELL, PYTHONPATH=str(tmp_path))
    name, reason, fix = done.stdout.strip("\n").split("|")
    assert name == "gpunet.primitives.reference"
    assert "cannot be used: ImportError: Numba needs NumPy 1.0 or less." in reason
    assert fix == "Install it again: pip install -U numba."


INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)


class Interrupts:  # a finder of modules that finds none
    def find_spec(self, name, path=None, target=None):
        if name == "numba.core.compiler":
            os.kill(os.getpid(), signal.SIGINT)


sys.meta_path.insert(0, Interrupts())
from gpunet.primitives.selection import numpy_twins
try:
    numpy_twins()
except KeyboardInterrupt:
    print("interrupted")
sys.meta_path.pop(0)
print(numpy_twins().module.__name__)
"""


def test_an_interrupt_while_numba_is_imported_leaves_it_whole() -> None:
    done = python(INTERRUPTED)
    assert (done.stdout, done.stderr) == ("interrupted\ngpunet.primitives.fast\n", "")


ON_ANOTHER_PROCESSOR = """
import numpy as np
from gpunet.primitives import fast, reference
from gpunet.primitives.fast.simd import LANES
from tests.support.doors import Doors

fast, reference = Doors(fast), Doors(reference)
x = np.random.default_rng(0).integers(-2, 3, (9, 11, 10, 8)).astype(np.float32)
kernel = np.random.default_rng(1).integers(-2, 3, (3, 3, 8, 21)).astype(np.float32)
for twins in (fast, reference):
    y = twins.conv2d_forward(x, kernel, padding=1)
    pooled, places = twins.conv2d_max_pool_forward(x, kernel)
    found = [
        y,
        *twins.conv2d_backward_weight(y, x, kernel.shape, padding=1, with_bias=True),
        twins.conv2d_backward_input(y, kernel, x.shape, padding=1),
        pooled,
        places,
        twins.conv2d_max_pool_backward_weight(pooled, places, x, kernel.shape)[0],
        twins.conv2d_max_pool_backward_input(pooled, places, kernel, x.shape),
        *twins.max_pool2d_forward(x, pool_size=3, strides=2),
        twins.activate(x, "relu"),
    ]
    if twins is fast:
        expected = found
        smooth = fast.activate(x, "tanh")
print(LANES, all(map(np.array_equal, found, expected)), np.abs(np.tanh(x) - smooth).max() < 3e-7)
"""


@pytest.mark.slow
def test_a_processor_of_narrow_vectors_and_no_fused_sums(tmp_path: Path) -> None:
    done = python(
        ON_ANOTHER_PROCESSOR,
        NUMBA_CPU_NAME="generic",
        NUMBA_CPU_FEATURES="",
        NUMBA_CACHE_DIR=str(tmp_path),
    )
    assert done.stdout == "4 True True\n", done.stderr


COMPILE_ONLY = """
import numba
from gpunet.primitives.fast import compile as compiling

codes = []


def compiled(function, signature, counted):
    options = {"nogil": True, "error_model": "numpy", "_nrt": counted}
    kernel = numba.njit(signature, **options)(function)
    codes.extend(kernel.inspect_asm().values())
    return lambda *arguments: None  # this processor could not run it


compiling._compile = compiled
import numpy as np
from gpunet import primitives as fast
from gpunet.primitives.fast.simd import LANES

x, kernel = np.zeros((1, 6, 6, 16), np.float32), np.zeros((3, 3, 16, 32), np.float32)
fast.conv2d_forward(x, kernel)
fast.max_pool2d_forward(x, pool_size=2)
fast.activate(x, "sigmoid")
print(LANES, len(codes) >= 4, sum("zmm" in code for code in codes) >= 2)
"""


@pytest.mark.slow
def test_kernels_compile_for_a_processor_of_wide_vectors(tmp_path: Path) -> None:
    wide = ["avx", "avx2", "fma", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]
    done = python(
        COMPILE_ONLY,
        NUMBA_CPU_NAME="skylake-avx512",
        NUMBA_CPU_FEATURES=",".join(f"+{feature}" for feature in wide),
        GPUNET_NUM_THREADS="1",
        NUMBA_CACHE_DIR=str(tmp_path),
    )
    assert done.stdout == "16 True True\n", done.stderr
