"""The cases find mistakes: each of many, put into the real kernels, fails one of them."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from gpunet import backend
from gpunet.primitives import cuda
from gpunet.primitives.launch import use_executor
from tests.support.cuda_on_cpu.cases import all_cases, arguments_of, assert_close, call, expected_of
from tests.support.cuda_on_cpu.cpu_executor import ORDERS, CpuExecutor, KernelError, compiler
from tests.support.cuda_on_cpu.mutants import Mutant

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

MUTANTS: list[Mutant] = [
    mutant
    for file in sorted((Path(__file__).parents[2] / "support" / "cuda_on_cpu").glob("mutants*.py"))
    for mutant in importlib.import_module(f"tests.support.cuda_on_cpu.{file.stem}").MUTANTS
]


def how_it_is_caught(mutant: Mutant) -> str:
    """Return what the cases of the mutant's primitive make of it; "" if all of them pass."""
    for case in all_cases():
        if case.primitive != mutant.primitive:
            continue
        args, options = arguments_of(case, case.dtypes[0])
        runs = []
        for order in ORDERS:
            executor = CpuExecutor(order, patches={mutant.file: mutant.apply})
            try:
                with use_executor(executor):
                    runs.append(call(cuda, case, args, options))
            except KernelError as error:
                return f"{case}, {order}: {error}"
        try:
            assert_close(case, runs[0], expected_of(case, args, options), case.dtypes[0])
        except AssertionError as error:
            return f"{case}: {' '.join(str(error).split())[:100]}"
        for other in runs[1:]:
            if [array.tobytes() for array in other] != [array.tobytes() for array in runs[0]]:
                return f"{case}: another order of threads gives other bits"
    return ""


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_changes_a_kernel_as_it_stands(mutant: Mutant) -> None:
    source = backend.kernel_source(mutant.file)
    assert mutant.apply(source) != source
    assert any(case.primitive == mutant.primitive for case in all_cases())


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_is_caught(mutant: Mutant, request: pytest.FixtureRequest) -> None:
    """Each compiles the cases of a kernel: without ``--thorough`` every fourth mutant of a file."""
    of_its_file = [other for other in MUTANTS if other.file == mutant.file]
    if of_its_file.index(mutant) % 4 and not request.config.getoption("--thorough"):
        pytest.skip("needs --thorough")
    caught = how_it_is_caught(mutant)
    assert caught, f"no case of {mutant.primitive} finds it"
    print(caught)
