"""The benchmark of augmentation runs, on images that are soon done."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import augmentation
from benchmarks.augmentation_layers import LAYERS
from benchmarks.contenders import CONTENDERS, KERAS_TENSORFLOW, NUMBA, NUMPY, Contender
from gpunet import layers

MISSING = "not installed: tensorflow"


def find(pythons: Any) -> dict[str, Contender | str]:
    """Return gpunet without compiled kernels, a stand-in, and one that is not installed."""
    module = "benchmarks.augmentation_layers"
    ours = Contender(module, options={"library": "gpunet"})
    return {
        NUMBA: replace(ours, environment=CONTENDERS[NUMPY].environment),
        augmentation.KERAS_TORCH: Contender("tests.support.fake_library"),
        KERAS_TENSORFLOW: MISSING,
    }


def test_a_dry_run_writes_a_ratio_after_each_layer(tmp_path: Path, capsys: Any) -> None:
    def run(name: str) -> Any:
        quick = ["--quick", "--threads", "1", "--output", str(tmp_path), "--only", name]
        assert augmentation.main(quick, find) == 0
        return json.loads((tmp_path / "augmentation.json").read_text())

    first, both = run("pipeline"), run("RandomFlip")
    assert list(both) == ["pipeline", "RandomFlip"]
    assert both["pipeline"] == first["pipeline"]
    results = both["pipeline"]["results"]
    ratio = results[augmentation.KERAS_TORCH]["median"] / results[NUMBA]["median"]
    text = (tmp_path / "augmentation.md").read_text()
    assert text in capsys.readouterr().out
    assert f"{KERAS_TENSORFLOW}: {MISSING}" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| pipeline |")]
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[2] == "2 of 8x8x3"
    assert cells[5] == f"{ratio:.1f}"
    assert cells[6:8] == ["", ""]


def test_every_library_is_there_or_has_a_reason() -> None:
    found = augmentation.contenders([sys.executable])
    assert list(found) == [NUMBA, augmentation.KERAS_TORCH, KERAS_TENSORFLOW]
    assert all(isinstance(value, Contender) or value for value in found.values())


def test_a_dry_run_writes_no_results() -> None:
    with pytest.raises(SystemExit):
        augmentation.main(["--quick"], find)


def test_all_that_is_measured_is_there() -> None:
    for named in LAYERS.values():
        for name, options in named:
            getattr(layers, name)(**options)
