"""Each kernel, as it is launched, compiled by NVIDIA's compiler for every architecture.

What is compiled is all that the cases and a step of training launch, for devices of several sizes.
Each architecture gets what a step launches, one build of each kernel, and by turns an eighth of the
rest; with --thorough all of it.
"""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache

import pytest

from gpunet import backend
from gpunet.primitives.cuda.tiling import Tiling
from gpunet.primitives.launch import Build, full_source
from tests.support.cuda_on_cpu.builds import RecordingExecutor, Use, record_training
from tests.support.cuda_on_cpu.builds import recorded_uses as record_uses
from tests.support.cuda_on_cpu.nvrtc import (
    NvrtcError,
    Usage,
    architectures,
    compile_report,
    find_library,
    ptx,
)

pytestmark = pytest.mark.skipif(
    find_library() is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc-cu12"
)

ARCHITECTURES = (70, 75, 80, 86, 89, 90, 100, 120)

_BUDGET = re.compile(r"^// Registers: at most (\d+) a thread(?:, (\d+) for float64)?\b", re.M)

Job = tuple[Build, int]
Report = dict[str, Usage] | str  # a text says why the build does not compile


def budget(build: Build) -> int:
    """Return how many registers a thread may take, as the source says."""
    found = _BUDGET.search(backend.kernel_source(build.source))
    assert found, f"kernels/{build.source} has no line `// Registers: at most N a thread.`"
    is_double = dict(build.macros).get("A") == "float64"
    return int(found[2] if found[2] and is_double else found[1])


def runs_on(build: Build, architecture: int) -> bool:
    """Whether devices have what the build needs: tensor cores for float32 came with sm_80."""
    return architecture >= 80 or dict(build.macros).get("PRECISION", "FP32") == "FP32"


def compile_job(job: Job) -> Report:
    build, architecture = job
    try:
        return compile_report(build.text, build.options, architecture)
    except NvrtcError as error:
        return str(error)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Return processes that compile, one a core: NVRTC takes one source at a time in each."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    count = max(1, (os.cpu_count() or 1) // workers)
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as started:
        yield started


def compile_all(pool: ProcessPoolExecutor, jobs: Iterable[Job]) -> dict[Job, Report]:
    listed = sorted(set(jobs))
    return dict(zip(listed, pool.map(compile_job, listed, chunksize=2), strict=True))


def faults(use: Use, architecture: int, report: Report) -> list[str]:
    """Return what is wrong with a kernel."""
    where = f"{use.kernel}, sm_{architecture}, {' '.join(use.build.options)}"
    if isinstance(report, str):
        return [f"{where}: does not compile: {report[:1000]}"]
    if use.kernel not in report:
        return [f"{where}: the compiler reports nothing of it"]
    usage, limit = report[use.kernel], budget(use.build)
    found = []
    if usage.spilled or usage.stack:
        found.append(f"{where}: keeps variables in memory: {usage}")
    if usage.registers > limit:
        found.append(f"{where}: takes {usage.registers} registers, its source says {limit}")
    return found


recorded_uses = cache(record_uses)


@cache
def uses_of_training() -> set[Use]:
    executor = RecordingExecutor()
    record_training(executor)
    return executor.uses


def uses_on(architecture: int, thorough: bool) -> list[Use]:
    """Return the kernels to compile for an architecture."""
    uses = recorded_uses()
    possible = [[a for a in ARCHITECTURES if runs_on(use.build, a)] for use in uses]
    first = {use.kernel: use for use in reversed(uses) if runs_on(use.build, architecture)}
    always = uses_of_training() | set(first.values())
    return [
        use
        for position, (use, those) in enumerate(zip(uses, possible, strict=True))
        if architecture in those
        and (thorough or use in always or those[position % len(those)] == architecture)
    ]


def test_each_kernel_is_compiled_for_each_architecture() -> None:
    uses = recorded_uses()
    assert len({use.kernel for use in uses}) > 20
    for number in ARCHITECTURES:
        wanted = {use.kernel for use in uses if runs_on(use.build, number)}
        assert {use.kernel for use in uses_on(number, thorough=False)} == wanted
        assert len(uses_on(number, thorough=True)) == sum(runs_on(u.build, number) for u in uses)
    tried = [use for number in ARCHITECTURES for use in uses_on(number, thorough=False)]
    assert set(tried) == set(uses)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_compile_within_their_registers(
    architecture: int, pool: ProcessPoolExecutor, request: pytest.FixtureRequest
) -> None:
    if architecture not in architectures():
        pytest.skip(f"this NVRTC does not compile for sm_{architecture}")
    uses = uses_on(architecture, request.config.getoption("--thorough"))
    reports = compile_all(pool, [(use.build, architecture) for use in uses])
    found = [
        fault
        for use in uses
        for fault in faults(use, architecture, reports[use.build, architecture])
    ]
    assert not found, "\n".join(found)


def test_kernels_of_a_training_step_compile_for_a_data_centre(pool: ProcessPoolExecutor) -> None:
    executor = RecordingExecutor()
    record_training(executor, batches=(32,))
    reports = compile_all(pool, [(use.build, 90) for use in executor.uses])
    found = [fault for use in executor.uses for fault in faults(use, 90, reports[use.build, 90])]
    assert not found, "\n".join(found)


def made_use(**macros: str) -> Use:
    named = {"T": "float32", "A": "float32", "ACTIVATION": "RELU", "VECTOR": "4"} | macros
    return Use("activation_forward", Build("activation.cu", tuple(named.items())))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_kernel_is_really_compiled_and_judged(architecture: int) -> None:
    if architecture not in architectures():
        pytest.skip(f"this NVRTC does not compile for sm_{architecture}")
    use = made_use(ACTIVATION="GELU", T="float64", A="float64")
    text = full_source("activation.cu")
    report = compile_report(text, use.build.options, architecture)
    assert set(report) == {"activation_forward", "activation_backward"}
    assert faults(use, architecture, report) == []
    cramped = compile_report(text, (*use.build.options, "-maxrregcount=16"), architecture)
    assert cramped["activation_backward"].spilled > 0
    (fault,) = faults(use._replace(kernel="activation_backward"), architecture, cramped)
    assert "keeps variables in memory" in fault


@pytest.mark.parametrize(("precision", "mma"), [("FP32", ""), ("TF32", "tf32"), ("BF16", "bf16")])
def test_tensor_cores_multiply_by_choice_alone(precision: str, mma: str) -> None:
    tiling = Tiling(64, 32, 16, 4, 4, precision=precision.lower())
    vectors = {"VECTOR_A": 4, "VECTOR_B": 4, "VECTOR_Y": 4}
    macros = {"T": "float32", "A": "float32", "ACTIVATION": "LINEAR"} | tiling.macros | vectors
    macros |= {"TRANSPOSE_A": 0, "TRANSPOSE_B": 0}
    options = tuple(f"-D{name}={value}" for name, value in macros.items())
    text = ptx(full_source("matmul.cu"), options, 80)
    found = {line.split(".f32.")[1].split(".")[0] for line in text.split() if "mma.sync" in line}
    assert found == ({mma} if mma else set())
    assert ("fma.rn" in text) == (not mma)


def test_more_registers_than_the_source_says_are_a_fault() -> None:
    use = made_use()
    assert faults(use, 90, {use.kernel: Usage(64, 0, 0)}) == []
    (fault,) = faults(use, 90, {use.kernel: Usage(65, 0, 0)})
    assert "takes 65 registers, its source says 64" in fault
    wide = made_use(T="float64", A="float64")
    assert faults(wide, 90, {use.kernel: Usage(128, 0, 0)}) == []


def test_what_does_not_compile_is_a_fault_that_names_its_line() -> None:
    use = made_use(ACTIVATION="RELUU")
    (fault,) = faults(use, 90, compile_job((use.build, 90)))
    assert 'identifier "RELUU" is undefined' in fault
    assert "activation.cuh(" in fault, "the header's own name, by #line"
    assert faults(made_use(), 90, {}) != []
