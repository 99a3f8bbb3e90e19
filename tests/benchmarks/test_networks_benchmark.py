"""`python -m benchmarks.networks` on a batch of one, with stand-ins for most libraries."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import networks
from benchmarks.contenders import CONTENDERS, KERAS_TENSORFLOW, NUMBA, NUMPY, Contender
from benchmarks.cpu_measure import Settings, measure_case
from benchmarks.networks import TARGETS, TORCH

FIRST, SECOND = "LSTM", "DS-CNN"
MISSING = "not installed: tensorflow"


def find(pythons: Any) -> dict[str, Contender | str]:
    """Return gpunet without compiled kernels, and stand-ins: two run, one is not installed."""
    ours = networks.contenders([sys.executable])[NUMBA]
    if isinstance(ours, str):  # Numba is not installed
        ours = Contender("benchmarks.networks_keras", options={"library": "gpunet"})
    fake = Contender("tests.support.fake_library")
    return {
        NUMBA: replace(ours, environment=CONTENDERS[NUMPY].environment, compiles=False),
        **dict.fromkeys(TORCH, fake),
        KERAS_TENSORFLOW: MISSING,
        networks.ONNX: fake,
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, str]]:
    """Return the contents of both files after each of two networks."""
    folder, contents, save = tmp_path_factory.mktemp("networks"), [], networks.save

    def and_read(records: Any, into: Path) -> Path:
        report = save(records, into)
        contents.append((json.loads((into / "networks.json").read_text()), report.read_text()))
        return report

    chosen = ["--only", FIRST, "--only", SECOND, "--threads", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "save", and_read)
        assert networks.main(["--quick", *chosen, "--output", str(folder)], find) == 0
    return contents


def test_results_are_saved_after_each_network(saved: list[tuple[Any, str]]) -> None:
    (first, first_text), (both, text) = saved
    assert list(first) == [f"{FIRST}, training"]
    assert list(both) == [f"{FIRST}, training", f"{SECOND}, prediction"]
    assert first[f"{FIRST}, training"] == both[f"{FIRST}, training"]
    assert SECOND not in first_text
    assert first_text.strip() in text


def test_each_library_has_times_and_memory_or_a_reason(saved: list[tuple[Any, str]]) -> None:
    record = saved[-1][0][f"{SECOND}, prediction"]
    assert record["case"]["batch"] == record["case"]["loading_batch"] == 1
    assert record["target"] == 1.0
    assert record["peers"] == [networks.ONNX]
    assert record["threads"] == 1
    assert set(record["results"]) == {NUMBA, *TORCH, KERAS_TENSORFLOW, networks.ONNX}
    ours = record["results"][NUMBA]
    assert ours["median"] > 0
    assert ours["count"] == ours["repeats"] == 1
    assert ours["variant"] == "predict_on_batch"
    if Path("/proc/self/clear_refs").exists():
        assert 0 <= ours["peak"] < ours["process_peak"]
    assert record["results"][KERAS_TENSORFLOW] == {"why": MISSING}
    assert networks.ONNX not in saved[-1][0][f"{FIRST}, training"]["results"]


def test_the_report_has_a_row_for_each_library(saved: list[tuple[Any, str]]) -> None:
    text = saved[-1][1]
    assert f"**{SECOND}, prediction, batch 1**: " in text
    assert f"| {KERAS_TENSORFLOW} | {MISSING} | | | |" in text
    rows = [line for line in text.splitlines() if line.startswith("| PyTorch |")]
    assert len(rows) == 2
    assert all(row.count("|") == 6 and row.split("|")[4] == " 1 " for row in rows)


def test_a_library_takes_no_more_turns_once_its_time_is_up() -> None:
    case = TARGETS[0].case
    fake = Contender("tests.support.fake_library", options={"seconds": 0.01})
    settings = Settings(1, limit=1.5 * case.calls * 0.01)
    result = measure_case(case, {NUMBA: fake}, 10, settings)["results"][NUMBA]
    assert case.calls <= result["count"] <= 2 * case.calls


def test_a_dry_run_writes_no_results() -> None:
    with pytest.raises(SystemExit):
        networks.main(["--quick"], find)
