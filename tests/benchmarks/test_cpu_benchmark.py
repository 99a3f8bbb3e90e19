"""`python -m benchmarks.cpu` with fake libraries, and its reports from made-up numbers.

Nothing here is a measurement, and nothing is written to benchmarks/results.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import contenders as known
from benchmarks import cpu, cpu_measure, cpu_plot, cpu_report, cpu_tables
from benchmarks.cases import PARTS, SGEMM, START, Case, flop, inference_flop, step_flop
from benchmarks.contenders import (
    CONTENDERS,
    KERAS_TENSORFLOW,
    NUMBA,
    NUMPY,
    TORCH,
    TORCH_LAYOUTS,
    TORCH_PAGES_KEPT,
    Contender,
)
from benchmarks.cpu_floors import Floor, floors, table
from benchmarks.cpu_measure import CACHED, NOT_CACHED, Settings
from benchmarks.workers import Worker, WorkerError

TESTS = str(Path(__file__).parents[2])
MACHINE = {"processor": "Fake 1", "cores": 2}


def fake(**options: Any) -> Contender:
    return Contender(
        "tests.support.fake_library", options=options, environment={"PYTHONPATH": TESTS}
    )


def find(pythons: Any) -> dict[str, Contender | str]:
    """Return what stands for the contenders: two that run, one that fails, and one not there."""
    return {
        NUMPY: fake(seconds=0.002),
        NUMBA: replace(fake(), compiles=True),
        TORCH: fake(fails="pool", dies="activation"),
        KERAS_TENSORFLOW: "not installed: keras",
    }


@pytest.fixture(scope="module", autouse=True)
def on_a_fake_machine() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu_measure, "SGEMM_BY", fake())
        patch.setattr(cpu_measure, "_PAUSE", 0.0)
        patch.setattr(cpu.gpu_machine, "host", lambda: MACHINE)
        yield


# The arithmetic, by hand


def test_the_arithmetic_of_each_part() -> None:
    resnet, first, *_ = PARTS["conv"].cases
    assert flop(resnet) == 3 * 2 * 8 * 56 * 56 * 64 * 9 * 64
    assert flop(first) == 2 * 2 * 128 * 26 * 26 * 32 * 9
    assert inference_flop() == 2 * (
        26 * 26 * 32 * 9 + 11 * 11 * 64 * 288 + 3 * 3 * 64 * 576 + 64 * 64 + 64 * 10
    )
    assert step_flop() == 16_179_456
    assert flop(PARTS["train"].cases[2]) == 1024 * 16_179_456
    assert flop(PARTS["epoch"].cases[0]) == 60_000 * 16_179_456
    (mnist,) = PARTS["mnist"].cases
    assert flop(mnist) == 600_000 * 16_179_456 + 10_000 * inference_flop()
    assert flop(PARTS["pool"].cases[0]) == 0
    assert flop(SGEMM) == 2**31


def test_cases_have_names_of_their_own_and_travel_whole() -> None:
    cases = [case for part in PARTS.values() for case in part.cases]
    assert len({str(case) for case in cases}) == len(cases)
    assert all(Case(**json.loads(json.dumps(case.options()))) == case for case in cases)
    assert PARTS["mnist"].cases[0].images == 600_000
    assert PARTS["mnist"].cases[0].quick().images == 640


# Contenders


def test_a_contender_is_found_where_its_packages_are(tmp_path: Path) -> None:
    here = replace(fake(), needs=("json",))
    assert known.locate(here, []) == (here, "")
    assert known.locate(replace(here, needs=("no_such_package",)), []) == (
        None,
        "not installed: no_such_package",
    )
    elsewhere = replace(here, needs=("no_such_package",), elsewhere=True)
    missing = str(tmp_path / "python")
    found, why = known.locate(elsewhere, [sys.executable, missing])
    assert found is None
    assert f"{missing} (FileNotFoundError); name an interpreter" in why
    other = tmp_path / "other"
    other.symlink_to(sys.executable)
    found, _ = known.locate(replace(here, elsewhere=True), [missing, str(other)])
    assert found is not None
    assert found.python == str(other)


def test_interpreters_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUNET_KERAS_PYTHON", os.pathsep.join(["/b/python", ""]))
    assert known.keras_pythons(["a/python"]) == [
        sys.executable,
        os.path.abspath("a/python"),
        "/b/python",
    ]


def test_all_contenders_are_found_or_say_why() -> None:
    found = cpu.contenders_here([sys.executable])
    assert list(found) == list(CONTENDERS)
    assert isinstance(found[NUMPY], Contender)
    assert all(isinstance(value, Contender) or value for value in found.values())


def test_what_keras_workers_import_needs_no_gpunet() -> None:
    """An interpreter with Keras has NumPy and perhaps nothing else that is used here."""
    code = (
        "import sys; import benchmarks.workers, benchmarks.programs, benchmarks.cases; "
        "print(sorted({'gpunet', 'torch', 'keras', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Workers


def test_a_worker_takes_the_fastest_way_and_tells_what_it_took() -> None:
    with Worker(fake(), START, threads=3) as worker:
        assert worker.way == "quick"
        worker.warm_up(1)
        done = worker.run(2)
    assert len(done["times"]) == 2
    assert min(done["times"]) >= 0.001
    assert done["result"] == 0.5
    assert done["versions"] == {"Fake": "3.0"}
    if Path("/proc/self/clear_refs").exists():
        assert 0 <= done["peak"] < done["process_peak"]


def test_what_goes_wrong_in_a_worker_is_told() -> None:
    case = PARTS["pool"].cases[0]
    with Worker(fake(fails="pool"), case, 1) as worker:
        with pytest.raises(WorkerError, match=r"^ValueError: made up \| here$"):
            worker.run(1)
        with pytest.raises(WorkerError, match="its process ended"):
            worker.run(1)
    with (
        Worker(fake(dies="pool"), case, 1) as worker,
        pytest.raises(WorkerError, match="its process ended: it is gone"),
    ):
        worker.run(1)
    with pytest.raises(WorkerError, match="no_such_module"):
        Worker(Contender("no_such_module"), case, 1)


def test_variables_of_none_are_not_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "only_there.py").write_text("from tests.support.fake_library import Library\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    Worker(Contender("only_there"), START, 1).close()
    with pytest.raises(WorkerError, match="only_there"):
        Worker(Contender("only_there", environment={"PYTHONPATH": None}), START, 1)


# Whole dry runs


def dry(folder: Path, *arguments: str) -> dict[str, Any]:
    assert cpu.main(["--quick", "--threads", "1", "--output", str(folder), *arguments], find) == 0
    return json.loads((folder / "cpu.json").read_text())


def test_parts_are_measured_again_and_others_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_plot, "draw", lambda report, file: False)
    inference = PARTS["inference"]
    monkeypatch.setitem(PARTS, "inference", inference._replace(cases=inference.cases[1:2]))
    report = dry(tmp_path, "--only", "activation", "--only", "start")
    assert set(report["parts"]) == {"activation", "start"}
    (record,) = report["parts"]["activation"]["records"]
    assert set(record["results"]) == {NUMPY, NUMBA, TORCH, KERAS_TENSORFLOW}
    assert record["results"][TORCH]["why"] == "its process ended: it is gone"
    assert record["results"][NUMPY]["count"] == 1
    assert "sgemm_gflops" not in record
    starts = report["parts"]["start"]["records"][0]["results"]
    assert set(starts) == {NUMPY, NOT_CACHED, CACHED}
    assert starts[CACHED]["median"] > starts[CACHED]["first_step"]

    again = dry(tmp_path, "--only", "inference", "--only", "activation")
    assert again["parts"]["start"] == report["parts"]["start"]
    assert again["parts"]["activation"] != report["parts"]["activation"]
    (record,) = again["parts"]["inference"]["records"]
    assert record["case"]["batch"] == 32
    assert record["sgemm_gflops"] > 0

    text = (tmp_path / "cpu.md").read_text()
    assert cpu_report._DRY in text
    assert text in capsys.readouterr().out
    assert "| Keras + TensorFlow | not installed: keras |" in text
    assert not list(tmp_path.glob("*.part"))


def test_a_case_goes_on_without_those_that_fail() -> None:
    told: list[str] = []
    settings = Settings(1, quick=True, tell=told.append)
    records = list(cpu_measure.measure_part("pool", find([]), settings))
    assert [r["results"][TORCH] for r in records] == 2 * [{"why": "ValueError: made up | here"}]
    assert all("median" in r["results"][NUMBA] for r in records)
    assert f"  {TORCH}: ValueError: made up | here" in told
    assert "made up / here" in "\n".join(cpu_tables.operations(records))


def test_without_mnist_its_parts_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPUNET_HOME", raising=False)
    (record,) = cpu_measure.measure_part("mnist", find([]), Settings(1, quick=True))
    assert set(record["results"]) == {NUMPY, NUMBA, TORCH, KERAS_TENSORFLOW}
    assert all("GPUNET_HOME is not set" in r["why"] for r in record["results"].values())
    assert "GPUNET_HOME" in "\n".join(cpu_tables.accuracies([record]))


def test_results_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = {"machine": MACHINE | {"cores": 64}, "quick": True, "parts": {}}
    cpu_report.write(report, tmp_path)
    assert cpu.main(["--quick", "--output", str(tmp_path)], find) == 2
    assert "name another folder" in capsys.readouterr().err
    with pytest.raises(cpu_report.MachineError, match="quick True"):
        cpu_report.load(tmp_path, report["machine"], quick=False)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--quick"],
        ["--quick", "--output", str(cpu.RESULTS)],
        ["--rounds", "0"],
        ["--threads", "0"],
        ["--only", "train_step"],
    ],
)
def test_wrong_options(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cpu.main(wrong, find)
    assert ended.value.code == 2


# Reports of made-up numbers


def result(seconds: float, **more: Any) -> dict[str, Any]:
    made_up = {"median": seconds, "quartiles": [seconds, seconds], "count": 3, "way": ""}
    return made_up | {"peak": 2**20, "process_peak": 2**21, "result": 0.5, "versions": {}} | more


def record(case: Case, **results: dict[str, Any]) -> dict[str, Any]:
    return {"case": case.options(), "flop": flop(case), "sgemm_gflops": 100.0, "results": results}


def report() -> dict[str, Any]:
    """Return a report in which gpunet (Numba) takes 1, and the others multiples of it."""
    channels_last = TORCH_LAYOUTS[1]
    parts: dict[str, Any] = {}
    for name, part in PARTS.items():
        parts[name] = {"date": "2000-01-01", "commit": None, "threads": 2, "seconds": 1}
        parts[name]["records"] = [
            record(case, **{
                NUMPY: result(2 * case.images * 1e-4, peak=2**22),
                NUMBA: result(case.images * 1e-4, result=0.99),
                TORCH: result(3 * case.images * 1e-4, peak=3 * 2**20),
                channels_last: result(2.5 * case.images * 1e-4, peak=4 * 2**20),
                TORCH_PAGES_KEPT: result(1.5 * case.images * 1e-4),
                KERAS_TENSORFLOW: result(1.1 * case.images * 1e-4, way="fit", versions={"K": "3"})
                if case.batch == 1024 else {"why": "not installed: keras"},
            })
            for case in part.cases
        ]  # fmt: skip
    started = {NUMPY: result(1.0), NOT_CACHED: result(16.0), CACHED: result(1.5)}
    starts = {name: found | {"first_step": 0.5} for name, found in started.items()}
    parts["start"] = parts["train"] | {"records": [record(START, **starts)]}
    return {"machine": MACHINE, "quick": False, "parts": parts}


def test_floors_are_computed_from_the_run() -> None:
    found = floors({name: part["records"] for name, part in report()["parts"].items()})
    reached = {floor.what.split(",")[0] + str(floor.must): floor for floor in found}
    steps = [floor for floor in found if floor.must == 2.0]
    assert [floor.reached for floor in steps] == pytest.approx([2.5] * 3)
    assert all(floor.met and floor.beside == "1.50x with pages kept" for floor in steps)
    keras = next(floor for floor in found if "Keras" in floor.what)
    assert keras.reached == pytest.approx(1.1)
    assert (keras.met, keras.beside) == (False, "batch 1024")
    assert reached["training step100"].reached == pytest.approx(100)
    assert reached["inference3.0"].met is False
    assert reached["inference1.5"].met
    numpy = next(floor for floor in found if NUMPY in floor.what)
    assert numpy.reached == pytest.approx(1.25)
    assert reached["ResNet-like convolution0.8"].met
    memory = next(floor for floor in found if "memory" in floor.what)
    assert memory.reached == pytest.approx(1 / 3)
    assert memory.met
    first, later = (floor for floor in found if "first step done" in floor.what)
    assert (first.reached, first.met) == (16.0, False)
    assert (later.reached, later.met) == (0.5, True)
    assert reached["test accuracy after 10 epochs of MNIST0.985"].met


def test_floors_that_were_not_measured_are_not_met() -> None:
    found = floors({})
    assert len(found) == 14
    assert all(floor.met is None for floor in found)
    assert sum("not measured" in line for line in table(found)) == 14
    (line,) = table([Floor("a", 0.985, 0.98, "")])[2:]
    assert line == "| a | at least 0.985 | 0.9800 | **no** |"


def test_without_numba_the_floors_are_those_of_numpy() -> None:
    made_up = report()
    for part in made_up["parts"].values():
        for entry in part["records"]:
            entry["results"][NUMBA] = {"why": "not installed: numba"}
    found = floors({name: part["records"] for name, part in made_up["parts"].items()})
    assert found[0].reached == pytest.approx(1.25)
    assert found[0].met is False


def test_tables_show_ratios_and_rates() -> None:
    lines = cpu_tables.operations(report()["parts"]["train"]["records"])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    assert rows[0] == [
        "", "ms (quartiles)", "us a sample", f"to {NUMBA}", f"to {NUMPY}", "GFLOP/s", "of sgemm",
        "peak MiB", "process MiB",
    ]  # fmt: skip
    assert {len(row) for row in rows} == {9}
    torch = next(row for row in rows if row[0] == TORCH)
    assert torch[2:] == ["300.0", "3.00", "1.50", "54", "54%", "3", "2"]
    assert any(row[0] == f"{KERAS_TENSORFLOW}: fit" for row in rows)
    assert cpu_tables.ratio({"why": "x"}, result(1)) is None


def test_the_report_is_whole(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    made_up = report()
    files = cpu.save(made_up, tmp_path)
    assert sorted(file.name for file in files) == ["cpu.json", "cpu.md", "cpu.png"]
    assert all(file.stat().st_size > 1000 for file in files)
    text = (tmp_path / "cpu.md").read_text()
    assert "![Times of each library](cpu.png)" in text
    assert all(f"## {part.title}" in text for part in PARTS.values())
    assert "Fake 1, 2 cores; K 3." in text
    for block in text.split("\n\n"):  # all rows of a table are as wide
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1
    assert cpu_report.load(tmp_path, MACHINE, quick=False) == made_up


def test_nothing_measured_is_nothing_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert not cpu_plot.draw({"machine": MACHINE, "quick": True, "parts": {}}, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_there_is_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert [file.name for file in cpu.save(report(), tmp_path)] == ["cpu.json", "cpu.md"]
    assert "gpunet[plot]" in capsys.readouterr().err
