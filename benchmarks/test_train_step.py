"""One training step of the program, gpunet beside PyTorch.

pytest benchmarks/test_train_step.py --benchmark-group-by=group
"""

import os

import pytest

from benchmarks.programs import BATCH_SIZES, STEPS, set_threads


@pytest.mark.parametrize("size", BATCH_SIZES)
@pytest.mark.parametrize("library", STEPS)
def test_train_step(benchmark, library, size):
    if library == "PyTorch":
        pytest.importorskip("torch")
    set_threads(os.cpu_count() or 1)
    benchmark.group = f"training step, batch {size}"
    step = STEPS[library](size)
    loss = benchmark.pedantic(step, rounds=max(5, 4096 // size), warmup_rounds=3)
    assert loss < 3  # an untrained classifier of 10 classes has log(10) = 2.3
    benchmark.extra_info["us_per_sample"] = benchmark.stats.stats.median / size * 1e6
