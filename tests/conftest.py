"""What all tests share: the --slow option, skips that say why, a seed for each test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from gpunet import backend, random

# How long an example takes depends on the machine; a time limit would fail at random.
settings.register_profile("gpunet", deadline=None)
settings.load_profile("gpunet")


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background job is started with interrupts ignored; tests of interrupts need them.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")
    parser.addoption("--thorough", action="store_true", help="with --slow: every build of a kernel")


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
