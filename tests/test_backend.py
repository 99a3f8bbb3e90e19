"""Where new arrays are made and why: with no CuPy, CuPy and no driver, and a fake CuPy here."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpunet import backend
from gpunet.backend import GpuUnavailableError

ROOT = Path(backend.__file__).parents[1]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing probed, nothing chosen, no variable set; what was there comes back afterwards."""
    monkeypatch.setattr(backend, "_probed", None)
    monkeypatch.setattr(backend, "_choice", None)
    monkeypatch.delenv("GPUNET_BACKEND", raising=False)


class FakeArray:
    """Stands in for cupy.ndarray: holds its numbers where NumPy cannot take them by itself."""

    def __init__(self, value: Any) -> None:
        self._value = np.array(value)
        self.dtype, self.shape = self._value.dtype, self._value.shape

    def get(self) -> np.ndarray:
        return self._value

    def __array__(self, *arguments: Any, **keywords: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")


FakeArray.__name__, FakeArray.__module__ = "ndarray", "cupy"


def run_as_probe(grid: tuple[int], block: tuple[int], arguments: tuple[Any, ...]) -> None:
    count, values = arguments
    i = np.arange(min(grid[0] * block[0], count), dtype=np.float32)
    values.get()[: len(i)] = i * i + 1


def fake_cupy(
    is_available: Callable[[], bool] = lambda: True,
    kernel: Callable[..., None] = run_as_probe,
) -> Any:
    """Return a module with as much of CuPy as the backend uses, over NumPy arrays."""
    cupy: Any = ModuleType("cupy")
    cupy.__version__ = "99.0"
    cupy.ndarray, cupy.float32 = FakeArray, np.float32
    cupy.cuda = SimpleNamespace(is_available=is_available)
    cupy.zeros = lambda shape, dtype: FakeArray(np.zeros(shape, dtype))
    cupy.asnumpy = lambda array: array.get()

    def asarray(x: Any, dtype: Any = None) -> FakeArray:
        return FakeArray(np.asarray(backend.to_numpy(x), dtype=dtype))

    def raw_module(code: str) -> Any:
        assert 'extern "C" __global__ void probe(' in code
        return SimpleNamespace(get_function=lambda name: {"probe": kernel}[name])

    cupy.asarray, cupy.RawModule = asarray, raw_module
    return cupy


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that makes `import cupy` find a fake CuPy."""

    def do(**parts: Any) -> Any:
        cupy = fake_cupy(**parts)
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        return cupy

    return do


@pytest.fixture
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)  # makes `import cupy` fail


class NoDriverError(Exception):
    """As cupy.cuda.runtime.CUDARuntimeError: of a type that only CuPy knows."""


def raise_no_driver() -> bool:
    raise NoDriverError("cudaErrorInsufficientDriver:\n  too old")


def do_nothing(*arguments: Any) -> None:
    pass


def write_past_the_end(grid: tuple[int], block: tuple[int], arguments: tuple[Any, ...]) -> None:
    run_as_probe(grid, block, (grid[0] * block[0], arguments[1]))


def fail_to_compile(*arguments: Any) -> None:
    raise RuntimeError("NVRTC_ERROR_INVALID_OPTION")


# What is wrong, what makes it so, a part of the reason, a part of the fix.
BROKEN = {
    "raises without a driver": (
        {"is_available": raise_no_driver},
        "CuPy 99.0 finds no device: NoDriverError: cudaErrorInsufficientDriver: too old.",
        "nvidia-smi",
    ),
    "no device": ({"is_available": lambda: False}, "no NVIDIA driver or no device", "nvidia-smi"),
    "does not compile": (
        {"kernel": fail_to_compile},
        "a small kernel fails on it: RuntimeError: NVRTC_ERROR_INVALID_OPTION.",
        "cupy-cuda12x",
    ),
    "writes nothing": ({"kernel": do_nothing}, "the numbers it wrote are wrong", "cupy-cuda12x"),
    "writes past the end": ({"kernel": write_past_the_end}, "are wrong", "cupy-cuda12x"),
}


def assert_on_numpy(reason: str, fix: str) -> None:
    """Check that `auto` stays on NumPy and says why, and that asking for the GPU raises that."""
    assert backend.active_backend() == "numpy"
    assert backend.array_module() is np
    assert reason in backend.backend_reason()
    assert fix in backend.backend_fix()
    assert not backend.probe_gpu().usable
    for ask in (backend.require_gpu, lambda: backend.use_backend("cupy")):
        with pytest.raises(GpuUnavailableError) as caught:
            ask()
        assert reason in str(caught.value)
        assert fix in str(caught.value)
    assert backend.active_backend() == "numpy"


@pytest.mark.parametrize("case", BROKEN)
def test_auto_stays_on_numpy_where_a_step_fails(case: str, install: Any) -> None:
    parts, reason, fix = BROKEN[case]
    install(**parts)
    assert_on_numpy(reason, fix)


@pytest.mark.usefixtures("no_cupy")
def test_auto_without_cupy() -> None:
    assert_on_numpy("CuPy is not installed.", "pip install")


@pytest.mark.parametrize(
    "failure",
    ["ImportError('libcublas.so.12: cannot open')", "ModuleNotFoundError('x', name='fastrlock')"],
)
def test_auto_with_a_cupy_that_cannot_be_imported(
    failure: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cupy.py").write_text(f"raise {failure}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    assert_on_numpy(f"cannot be imported: {failure.partition('(')[0]}", "Install it again")


def test_long_errors_are_cut(install: Any) -> None:
    def talk(*arguments: Any) -> None:
        raise RuntimeError("error\n" * 1000)

    install(kernel=talk)
    assert "\n" not in backend.backend_reason()
    assert len(backend.backend_reason()) < 450


def test_auto_takes_a_gpu_that_works(install: Any) -> None:
    cupy = install()
    assert backend.active_backend() == "cupy"
    assert backend.array_module() is cupy
    assert "compiled and ran" in backend.backend_reason()
    assert backend.backend_fix() == ""
    assert backend.require_gpu() is None
    made = backend.asarray([1, 2], dtype="float32")
    assert type(made) is FakeArray
    assert made.dtype == np.float32
    np.testing.assert_array_equal(backend.to_numpy(made), [1, 2])


def test_the_gpu_is_tried_once_and_only_when_needed(install: Any) -> None:
    tries: list[int] = []
    install(is_available=lambda: not tries.append(1))
    backend.use_backend("numpy")
    backend.asarray([1.0])
    backend.get_array_module(np.zeros(2))
    assert len(tries) == 0, "NumPy was asked for; there was nothing to try"
    backend.use_backend("auto")
    backend.use_backend("cupy")
    backend.require_gpu()
    assert len(tries) == 1


def test_threads_see_one_probe(install: Any) -> None:
    tries: list[int] = []

    def slow() -> bool:
        tries.append(1)
        time.sleep(0.05)
        return True

    install(is_available=slow)
    seen: list[str] = []
    threads = [
        threading.Thread(target=lambda: seen.append(backend.active_backend())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["cupy"] * 8
    assert len(tries) == 1


def test_the_variable_chooses(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install()
    monkeypatch.setenv("GPUNET_BACKEND", "NumPy ")
    assert backend.active_backend() == "numpy"
    assert backend.backend_reason() == "GPUNET_BACKEND=numpy selects NumPy."
    with pytest.raises(GpuUnavailableError, match="GPUNET_BACKEND=numpy selects NumPy"):
        backend.require_gpu()


@pytest.mark.parametrize(("value", "name"), [("", "cupy"), ("auto", "cupy"), ("cupy", "cupy")])
def test_the_variable_can_ask_for_the_gpu(
    value: str, name: str, install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    monkeypatch.setenv("GPUNET_BACKEND", value)
    assert backend.active_backend() == name


@pytest.mark.usefixtures("no_cupy")
def test_the_variable_asks_for_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUNET_BACKEND", "cupy")
    for ask in (backend.active_backend, backend.require_gpu, lambda: backend.asarray([1.0])):
        with pytest.raises(GpuUnavailableError, match=r"GPUNET_BACKEND=cupy.*not installed.*Fix"):
            ask()
    backend.use_backend("auto")  # a call goes before the variable
    assert backend.active_backend() == "numpy"


def test_an_unknown_name_suggests(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"Unknown backend 'cuppy': did you mean 'cupy'\?"):
        backend.use_backend("cuppy")
    with pytest.raises(TypeError, match="'numpy' or 'cupy', received <module"):
        backend.use_backend(np)  # type: ignore[arg-type]
    monkeypatch.setenv("GPUNET_BACKEND", "nunpy")
    with pytest.raises(ValueError, match=r"GPUNET_BACKEND: 'nunpy': did you mean 'numpy'\?"):
        backend.active_backend()


def test_use_backend_as_call_and_as_context(install: Any) -> None:
    install()
    backend.use_backend("numpy")
    with backend.use_backend("cupy"):
        assert backend.active_backend() == "cupy"
        with backend.use_backend("numpy"):
            assert backend.active_backend() == "numpy"
        assert backend.active_backend() == "cupy"
    assert backend.active_backend() == "numpy"
    with pytest.raises(KeyError), backend.use_backend("cupy"):
        raise KeyError
    assert backend.active_backend() == "numpy"


def test_leaving_a_context_leaves_the_variable_in_force(
    install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    with backend.use_backend("cupy"):
        monkeypatch.setenv("GPUNET_BACKEND", "numpy")
    assert backend.active_backend() == "numpy"


def test_get_array_module_goes_by_the_arrays(install: Any) -> None:
    cupy = install()
    on_gpu, on_cpu = FakeArray([1.0]), np.ones(1)
    assert backend.get_array_module(on_gpu) is cupy
    assert backend.get_array_module(None, 2.0, np.float32(3), "same", on_gpu, on_gpu) is cupy
    assert backend.get_array_module(on_cpu, None, on_cpu) is np
    assert backend.get_array_module(np.ones(1).view(np.recarray)) is np
    assert backend.get_array_module() is np
    assert backend.get_array_module(1, None, True) is np
    backend.use_backend("cupy")
    assert backend.get_array_module(on_cpu) is np, "the array decides, not the backend"


def test_mixed_arrays_are_an_error_that_names_both() -> None:
    arrays = (FakeArray(np.ones((2, 3), np.float32)), None, np.ones(4))
    expected = r"NumPy and CuPy.*array 0 is CuPy float32\(2, 3\), array 2 is NumPy float64\(4,\)"
    with pytest.raises(TypeError, match=expected):
        backend.get_array_module(*arrays)
    with pytest.raises(TypeError, match="array 0 is NumPy"):
        backend.get_array_module(*arrays[::-1])


def test_asarray_and_to_numpy_copy_only_across() -> None:
    with backend.use_backend("numpy"):
        x = np.ones((2, 3))
        assert backend.asarray(x) is x
        assert backend.asarray(x, "float32").dtype == np.float32
        made = backend.asarray(FakeArray([1, 2]), "float64")
        assert type(made) is np.ndarray
        assert made.dtype == np.float64
    assert backend.to_numpy(x) is x
    assert backend.to_numpy(3.5).shape == ()
    np.testing.assert_array_equal(backend.to_numpy(FakeArray([1, 2])), [1, 2])


def test_kernel_sources() -> None:
    assert backend.kernel_folder() == ROOT / "kernels"
    assert backend.kernel_source("probe.cu") == (ROOT / "kernels" / "probe.cu").read_text("utf-8")
    with pytest.raises(ValueError, match=r"did you mean 'probe\.cu'"):
        backend.kernel_source("prob.cu")
    with pytest.raises(ValueError, match="Unknown kernel source"):
        backend.kernel_source("../pyproject.toml")


def test_kernel_folder_prefers_its_own_and_takes_no_stranger(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(backend, "__file__", str(tmp_path / "gpunet" / "backend.py"))
    stranger = tmp_path / "kernels"
    stranger.mkdir()
    with pytest.raises(FileNotFoundError, match="Install gpunet again"):
        backend.kernel_folder()
    (stranger / "probe.cu").touch()
    assert backend.kernel_folder() == stranger
    own = tmp_path / "gpunet" / "kernels"
    own.mkdir(parents=True)
    (own / "probe.cu").touch()
    assert backend.kernel_folder() == own


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ to run the kernel on the CPU")
def test_probe_kernel_writes_what_the_backend_expects(tmp_path: Path) -> None:
    """Run every thread of kernels/probe.cu in a loop: its threads do not speak to each other."""
    (tmp_path / "probe.cpp").write_text(
        "#define __global__\nstruct Index { int x; };\n"
        "static Index blockIdx, blockDim, threadIdx;\n"
        + backend.kernel_source("probe.cu")
        + 'extern "C" void launch(int grid, int block, int count, float* values) {\n'
        "  blockDim.x = block;\n"
        "  for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x)\n"
        "    for (threadIdx.x = 0; threadIdx.x < block; ++threadIdx.x) probe(count, values);\n}\n"
    )
    library = tmp_path / "probe.so"
    source = str(tmp_path / "probe.cpp")
    subprocess.run(["g++", "-shared", "-fPIC", "-Wall", "-o", str(library), source], check=True)
    launch = ctypes.CDLL(str(library)).launch

    def kernel(grid: tuple[int], block: tuple[int], arguments: tuple[Any, ...]) -> None:
        count, values = arguments
        launch(*grid, *block, int(count), ctypes.c_void_p(values.get().ctypes.data))

    assert backend._run_probe_kernel(fake_cupy(kernel=kernel))


def gpu_present() -> bool:
    try:
        import cupy

        return bool(cupy.cuda.is_available())
    except Exception:  # no CuPy, a broken one, or CuPy 13 without a driver
        return False


def run_python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_import_works_whatever_the_variable_says() -> None:
    for value in ("cupy", "nonsense"):
        child = run_python(
            "import gpunet, sys; sys.exit('cupy' in sys.modules)", GPUNET_BACKEND=value
        )
        assert (child.returncode, child.stdout, child.stderr) == (0, "", "")


def test_installed_cupy_without_a_driver() -> None:
    pytest.importorskip("cupy", exc_type=ImportError)
    if gpu_present():
        pytest.skip("there is a GPU here")
    assert_on_numpy("CuPy", "nvidia-smi")
    child = run_python("from gpunet import backend; backend.asarray([1])", GPUNET_BACKEND="cupy")
    assert child.returncode == 1
    last = child.stderr.strip().splitlines()[-1]
    assert "GpuUnavailableError: GPUNET_BACKEND=cupy needs the GPU" in last
    assert "nvidia-smi" in last


def test_arrays_of_the_installed_cupy_are_known() -> None:
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    assert backend._find_library(cupy.ndarray) == "cupy"


@pytest.mark.skipif(not gpu_present(), reason="needs CuPy and a GPU")
def test_on_a_real_gpu() -> None:
    import cupy

    assert backend._run_probe_kernel(cupy)
    assert backend.get_array_module(cupy.zeros(3)) is cupy
    with pytest.raises(TypeError, match="array 1 is CuPy"):
        backend.get_array_module(np.zeros(3), cupy.zeros(3))
    np.testing.assert_array_equal(backend.to_numpy(cupy.arange(3)), np.arange(3))
