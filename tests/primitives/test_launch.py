"""What the launcher checks before a launch: a mistake there would be a silent wrong answer."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet import backend
from gpunet.primitives import launch as launcher
from gpunet.primitives.launch import Build, Kernel, Parameter, use_executor
from gpunet.primitives.launch import cupy as cupy_executor
from tests.support.cuda_on_cpu.builds import RecordingExecutor
from tests.support.doors import cuda

FORWARD = Kernel("activation.cu", "activation_forward")
MACROS = {"ACTIVATION": "RELU", "VECTOR": 1}


def launch(*arguments: Any, grid: Any = 1, block: Any = 32) -> RecordingExecutor:
    """Launch activation_forward(count, option, x, y) with what it should be given, or not."""
    executor = RecordingExecutor()
    with use_executor(executor):
        FORWARD(grid, block, *arguments, types={"T": "float32"}, **MACROS)
    return executor


def arrays() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((4, 6), np.float32), np.zeros((4, 6), np.float32)


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that stands in for kernels/; the sources in it have names of their own."""
    for path in backend.kernel_folder().glob("*.cuh"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(backend, "kernel_folder", lambda: tmp_path)
    return tmp_path


def test_a_signature_is_read_from_the_source() -> None:
    assert FORWARD.parameters == (
        Parameter("count", "int64", is_array=False, is_written=False),
        Parameter("option", "A", is_array=False, is_written=False),
        Parameter("x", "T", is_array=True, is_written=False),
        Parameter("y", "T", is_array=True, is_written=True),
    )
    assert repr(FORWARD) == "Kernel('activation.cu', 'activation_forward')"


def test_all_that_a_signature_may_hold(kernels: Path) -> None:
    (kernels / "signature.cu").write_text(
        'extern "C" __global__ void __launch_bounds__(256, 2) all(\n'
        "    const int rows, int64 count, bool is_last,\n"
        "    const float* __restrict__ x, T *y, uint8* mask\n"
        ") {}\n"
        "__device__ inline void not_a_kernel(const int x) {}\n"
        'extern "C" __global__ void other(double scale) {}\n'
    )
    assert launcher.kernel_names("signature.cu") == ("all", "other")
    assert Kernel("signature.cu", "all").parameters == (
        Parameter("rows", "int", is_array=False, is_written=False),
        Parameter("count", "int64", is_array=False, is_written=False),
        Parameter("is_last", "bool", is_array=False, is_written=False),
        Parameter("x", "float", is_array=True, is_written=False),
        Parameter("y", "T", is_array=True, is_written=True),
        Parameter("mask", "uint8", is_array=True, is_written=True),
    )


def test_every_signature_can_be_read() -> None:
    for path in backend.kernel_folder().glob("*.cu"):
        for name in launcher.kernel_names(path.name):
            assert Kernel(path.name, name).parameters


def test_an_unknown_kernel_names_those_there_are() -> None:
    known = "it has: activation_forward, activation_backward"
    with pytest.raises(ValueError, match=rf"activation\.cu has no kernel 'forward'; {known}"):
        Kernel("activation.cu", "forward")(1, 32, types={})
    with pytest.raises(ValueError, match=r"'activations\.cu': did you mean 'activation\.cu'"):
        Kernel("activations.cu", "activation_forward")(1, 32, types={})


def test_arguments_get_the_types_of_the_source() -> None:
    x, y = arrays()
    executor = launch(24, 2, x, y, grid=(1, 2), block=64)
    ((kernel, build, grid, block, arguments),) = executor.launches
    assert [type(value) for value in arguments[:2]] == [np.int64, np.float32]
    assert arguments[2] is x
    assert arguments[3] is y
    assert kernel is FORWARD
    assert (grid, block) == ((1, 2), (64,))
    macros = (("T", "float32"), ("A", "float32"), ("ACTIVATION", "RELU"), ("VECTOR", "1"))
    assert build == Build("activation.cu", macros)
    assert build.options == ("-DT=float32", "-DA=float32", "-DACTIVATION=RELU", "-DVECTOR=1")


def test_numbers_of_numpy_and_missing_arrays_are_taken() -> None:
    x, _ = arrays()
    (launched,) = launch(np.int32(24), np.float64(0.5), x, None).launches
    arguments = launched.arguments
    assert arguments[:2] == (24, 0.5)
    assert arguments[3] is None


@pytest.mark.parametrize(("dtype", "a"), [("float64", "float64"), ("float16", "float32")])
def test_what_is_accumulated_in_follows_from_the_elements(dtype: str, a: str) -> None:
    executor, x = RecordingExecutor(), np.zeros(4, dtype)
    with use_executor(executor):
        FORWARD(1, 32, 4, 0.1, x, x.copy(), types={"T": x.dtype}, **MACROS)
    (launched,) = executor.launches
    assert dict(launched.build.macros)["A"] == a
    assert type(launched.arguments[1]) is np.dtype(a).type


def test_a_wrong_number_of_arguments() -> None:
    x, y = arrays()
    for arguments in ((24, 0.0, x), (24, 0.0, x, y, y), ()):
        expected = f"activation_forward takes 4 arguments, received {len(arguments)}"
        with pytest.raises(TypeError, match=expected):
            launch(*arguments)


def test_a_wrong_element_type() -> None:
    x, y = arrays()
    where = "kernel activation_forward, argument 'y'"
    expected = f"{where}: expected an array of float32, received float64: convert it with astype"
    with pytest.raises(TypeError, match=expected):
        launch(24, 0.0, x, y.astype(np.float64))


@pytest.mark.parametrize("view", [np.s_[:, ::2], np.s_[::-1], np.s_[:, 1:4]])
def test_a_view_is_refused(view: Any) -> None:
    x, y = arrays()
    expected = r"argument 'x': expected a contiguous array, received a view of shape \(4, \d\)"
    with pytest.raises(ValueError, match=expected):
        launch(12, 0.0, x[view], y)
    with pytest.raises(ValueError, match=r"argument 'y': expected a contiguous array"):
        launch(12, 0.0, x, y.T)


def test_an_argument_that_is_no_array() -> None:
    x, _ = arrays()
    for wrong in ([1.0, 2.0], 3.0, "y"):
        with pytest.raises(TypeError, match="argument 'y': expected a NumPy array, received"):
            launch(24, 0.0, x, wrong)


@pytest.mark.parametrize("wrong", [True, np.True_, "24", None, [24], np.zeros(2), 1j])
def test_a_scalar_that_is_no_number(wrong: Any) -> None:
    x, y = arrays()
    with pytest.raises(TypeError, match="argument 'count': expected a number, received"):
        launch(wrong, 0.0, x, y)
    with pytest.raises(TypeError, match="argument 'option': expected a number, received"):
        launch(24, wrong, x, y)


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 0.5, float("nan"), float("inf"), 2**70])
def test_a_number_that_its_c_type_cannot_hold(value: float) -> None:
    values = np.zeros(8, np.float32)
    with use_executor(RecordingExecutor()), pytest.raises(OverflowError, match="whole number of"):
        Kernel("probe.cu", "probe")(1, 32, value, values, types={})


def test_numbers_at_the_ends_of_their_c_type() -> None:
    executor, values = RecordingExecutor(), np.zeros(8, np.float32)
    with use_executor(executor):
        for value in (2**31 - 1, -(2**31), 3.0):
            Kernel("probe.cu", "probe")(1, 32, value, values, types={})
    assert [launched.arguments[0] for launched in executor.launches] == [2**31 - 1, -(2**31), 3]
    x, y = arrays()
    (launched,) = launch(2**31, 0.0, x, y).launches
    assert launched.arguments[0] == 2**31, "an int64 holds it"


@pytest.mark.parametrize("grid", [0, (0,), (3, 0), (0, 2, 2)])
def test_an_empty_grid_is_checked_and_not_launched(grid: Any) -> None:
    x, y = arrays()
    assert launch(0, 0.0, x, y, grid=grid).launches == []
    with pytest.raises(TypeError, match="takes 4 arguments"):
        launch(0, 0.0, x, grid=grid)
    with use_executor(RecordingExecutor()):
        assert cuda.relu_forward(np.zeros((0, 3), np.float32)).shape == (0, 3)


def test_the_executor_before_comes_back_after_an_error() -> None:
    before, outer, inner = launcher.current_executor(), RecordingExecutor(), RecordingExecutor()
    with use_executor(outer):
        with pytest.raises(TypeError), use_executor(inner):
            FORWARD(1, 32, types={"T": "float32"}, **MACROS)
        assert launcher.current_executor() is outer
    assert launcher.current_executor() is before


def test_views_are_copied_only_where_they_are_read() -> None:
    x, _ = arrays()
    with use_executor(RecordingExecutor()):
        assert launcher.contiguous(x) is x
        copied = launcher.contiguous(x.T)
    assert copied.flags.c_contiguous
    assert copied.shape == (6, 4)


def test_vectors_need_their_boundary() -> None:
    memory = np.zeros(64, np.float32)
    first = next(i for i in range(4) if memory[i:].ctypes.data % 16 == 0)
    aligned, odd = memory[first : first + 8], memory[first + 1 : first + 9]
    with use_executor(RecordingExecutor()):
        assert launcher.vector_width(aligned) == 4
        assert launcher.vector_width(aligned.view(np.float64)) == 2
        assert launcher.vector_width(aligned, aligned.view(np.float16)) == 4
        assert launcher.vector_width(aligned, odd) == 1


def test_a_grid_is_as_large_as_can_run_at_once() -> None:
    with use_executor(RecordingExecutor(multiprocessors=10)):
        counts = [launcher.blocks_for(count) for count in (0, 1, 256, 257, 2049, 10**9)]
    assert counts == [0, 1, 1, 2, 9, 160]


def test_headers_are_put_in_once_and_keep_their_lines(kernels: Path) -> None:
    (kernels / "a_base.cuh").write_text("#pragma once\nint base;\n")
    (kernels / "a_left.cuh").write_text('#pragma once\n#include "a_base.cuh"\nint left;\n')
    (kernels / "a_both.cu").write_text(
        '// Two headers.\n#include "a_left.cuh"\n#include "a_base.cuh"\nint both;\n'
    )
    text = launcher.full_source("a_both.cu")
    assert [text.count(f"int {name};") for name in ("base", "left", "both")] == [1, 1, 1]
    assert "#include" not in text
    assert "#pragma once" not in text
    where: dict[str, tuple[str, int]] = {}
    name, number = "", 0
    for line in text.splitlines():
        if line.startswith("#line"):  # says what the next line is
            name, number = line.split()[2].strip('"'), int(line.split()[1])
        else:
            where[line] = (name, number)
            number += 1
    assert where["int base;"] == ("a_base.cuh", 2)
    assert where["int left;"] == ("a_left.cuh", 3)
    assert where["int both;"] == ("a_both.cu", 4)


def test_a_header_that_is_not_there(kernels: Path) -> None:
    (kernels / "b_missing.cu").write_text('#include "comon.cuh"\n')
    with pytest.raises(ValueError, match=r"'comon\.cuh': did you mean 'common\.cuh'"):
        launcher.full_source("b_missing.cu")


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_compiler_names_the_line_of_the_header_that_is_wrong(kernels: Path) -> None:
    (kernels / "c_wrong.cuh").write_text("#pragma once\n\nint fine;\nint wrong = nonsense;\n")
    (kernels / "c_source.cu").write_text('// A source.\n#include "c_wrong.cuh"\nint also = no;\n')
    child = subprocess.run(
        ["g++", "-fsyntax-only", "-x", "c++", "-"],
        input=launcher.full_source("c_source.cu"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "c_wrong.cuh:4:" in child.stderr
    assert "c_source.cu:3:" in child.stderr


def test_every_source_is_found_with_its_headers() -> None:
    for path in backend.kernel_folder().glob("*.cu"):
        text = launcher.full_source(path.name)
        assert text.startswith(f'#line 1 "{path.name}"')
        assert "#include" not in text


def test_the_lock_is_fastrlock_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastrlock.rlock", None)
    lock = cupy_executor._new_lock()
    assert isinstance(lock, type(threading.RLock()))
    with lock, lock:
        pass
    monkeypatch.undo()
    fastrlock = pytest.importorskip("fastrlock.rlock")
    assert isinstance(cupy_executor._new_lock(), fastrlock.FastRLock)


@pytest.mark.parametrize("grid", [2**31, (1, 65_536), (1, 1, 70_000)])
def test_grids_that_cuda_does_not_take(grid: int | tuple[int, ...]) -> None:
    x, y = arrays()
    executor = RecordingExecutor()
    with use_executor(executor), pytest.raises(OverflowError, match=r"expected at most .* blocks"):
        FORWARD(grid, 32, 24, 0.0, x, y, types={"T": "float32"}, **MACROS)
    assert not executor.launches


def test_a_threads_executor_is_its_own() -> None:
    """While one thread records, what another launches still runs; and each leaves its own."""
    here, there = RecordingExecutor(), RecordingExecutor()
    seen: list[object] = []
    inside, leave = threading.Event(), threading.Event()

    def elsewhere() -> None:
        seen.append(launcher.current_executor())
        with use_executor(there):
            inside.set()
            leave.wait(600)
            seen.append(launcher.current_executor())

    before = launcher.current_executor()
    thread = threading.Thread(target=elsewhere)
    with use_executor(here):
        thread.start()
        inside.wait(600)
        assert launcher.current_executor() is here
    assert launcher.current_executor() is before
    leave.set()
    thread.join()
    assert seen == [before, there]
