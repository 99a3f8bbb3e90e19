"""One training step of the program, gpunet beside PyTorch.

pytest benchmarks/test_train_step.py

`python -m benchmarks.train_step` takes the same steps in turns, and writes the results.
"""

import os

import pytest

from benchmarks.programs import BATCH_SIZES, CONTENDERS
from benchmarks.workers import Worker


@pytest.mark.parametrize("size", BATCH_SIZES)
@pytest.mark.parametrize("contender", CONTENDERS)
def test_train_step(benchmark, contender, size):
    if contender.startswith("PyTorch"):
        pytest.importorskip("torch")
    benchmark.group = f"training step, batch {size}"
    with Worker(contender, size, threads=os.cpu_count() or 1) as worker:
        worker.run(3)
        done = benchmark.pedantic(worker.run, args=(1,), rounds=max(5, 4096 // size))
    benchmark.extra_info["us_per_sample"] = benchmark.stats.stats.median / size * 1e6
    benchmark.extra_info["peak_MiB"] = done["peak_memory"] / 2**20
    assert len(done["times"]) == 1
