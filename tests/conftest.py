"""What all tests share: options, skips that say why, seeds, and the whole suite on all cores."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from gpunet import backend, random

# Threads of a BLAS wait by spinning; with a worker on each core they would take turns doing so.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")
    parser.addoption("--thorough", action="store_true", help="with --slow: every build of a kernel")
    parser.addoption("--explore", action="store_true", help="draw other cases than the fixed ones")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads its options
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the suite as a whole on all cores; chosen files, and `-n`, run as the command says."""
    is_suite = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    has_xdist = config.pluginmanager.hasplugin("xdist") and not hasattr(config, "workerinput")
    if is_suite and has_xdist and config.option.numprocesses is None:
        config.option.numprocesses = "auto"
        config.option.dist = "worksteal"
        os.environ.update({name: os.environ.get(name, "1") for name in ONE_THREAD})


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background job is started with interrupts ignored; tests of interrupts need them.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    explore = config.getoption("--explore")
    # How long an example takes depends on the machine; a time limit would fail at random.
    settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
    settings.register_profile("explore", deadline=None, database=None, print_blob=True)
    settings.load_profile("explore" if explore else "fixed")


def pytest_make_parametrize_id(config: pytest.Config, val: Any, argname: str) -> str | None:
    """Return a name without addresses for what pytest would number, or print with one."""
    if isinstance(val, dict):
        return "-".join(f"{key}={_short(value)}" for key, value in val.items()) or "none"
    if isinstance(val, np.ndarray):
        return _short(val)
    return None


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_short, value))})"
    if isinstance(value, str | int | float | None):
        return str(value)
    name = getattr(value, "__name__", type(value).__name__)
    return "function" if name == "<lambda>" else name


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skip_slow = pytest.mark.skip(reason="needs --slow")
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(skip_slow)
        if item.get_closest_marker("gpu") and not backend.probe_gpu().usable:
            reason = f"needs a usable GPU: {backend.probe_gpu().reason}"
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start each test from the same seed, so that none depends on those before it."""
    random.seed(0)


@pytest.fixture(scope="session")
def explored_seed(request: pytest.FixtureRequest) -> int:
    """Return what tests add to their own seeds: 0, or with --explore a number drawn anew."""
    if not request.config.getoption("--explore"):
        return 0
    seed = int(np.random.default_rng().integers(1, 1 << 30)) * 1000
    print(f"--explore: seeds from {seed} on")
    return seed


@pytest.fixture
def cupy() -> Iterator[Any]:
    """Return a fake CuPy that runs on the CPU, in use as the backend; skip without a compiler."""
    from tests.support.cuda_on_cpu.cpu_executor import compiler
    from tests.support.fake_cupy.module import install

    if compiler() is None:
        pytest.skip("needs g++ to run kernels on the CPU")
    with install() as module, backend.use_backend("cupy"):
        yield module


@pytest.fixture
def mnist_home() -> Path:
    """Return GPUNET_HOME where it holds mnist.npz; skip the test elsewhere."""
    home = os.environ.get("GPUNET_HOME")
    if not home:
        pytest.skip("needs mnist.npz: GPUNET_HOME is not set")
    if not (Path(home) / "mnist.npz").is_file():
        pytest.skip(f"needs mnist.npz: there is none in GPUNET_HOME={home}")
    return Path(home)
