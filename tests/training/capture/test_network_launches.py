"""Captured steps of three networks: the bits of eager steps, and how many kernels they launch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet
from tests.support.cuda_on_cpu.cpu_executor import compiler
from tests.training.capture.networks import lstm, resnet8, transformer

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

rng = np.random.default_rng(0)
BATCH, STEPS = 2, 4

NETWORKS = {
    "resnet8": (
        resnet8,
        rng.normal(size=(BATCH * STEPS, 32, 32, 3)).astype("float32"),
        rng.integers(0, 10, BATCH * STEPS),
    ),
    "lstm": (
        lstm,
        rng.normal(size=(BATCH * STEPS, 6, 4)).astype("float32"),
        rng.integers(0, 3, BATCH * STEPS),
    ),
    "transformer": (
        transformer,
        rng.integers(0, 12, (BATCH * STEPS, 8)),
        rng.integers(0, 12, (BATCH * STEPS, 8)),
    ),
}


def trained(name: str, capture: bool) -> tuple[list[bytes], list[str]]:
    """Return the weights after training, and the launches of the captured step."""
    make, x, y = NETWORKS[name]
    gpunet.random.seed(1)
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"], capture=capture)
    model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)
    graphs = model._device_steps()._graphs.values()
    launches = [node for graph in graphs for node in graph.graph.nodes]
    return [weight.tobytes() for weight in model.get_weights()], launches


# The kernels that a step launches at most, CuPy's own counted in.
@pytest.mark.parametrize(("name", "most"), [("resnet8", 60), ("lstm", 40), ("transformer", 60)])
def test_a_captured_step_is_the_eager_one_in_few_launches(name: str, most: int, cupy: Any) -> None:
    eager, _ = trained(name, False)
    captured, launches = trained(name, True)
    assert captured == eager
    assert len(launches) <= most, launches
