"""The benchmark of augmentation runs, on images that are soon done."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import augmentation
from gpunet import layers


def test_a_dry_run_prints_a_ratio(capsys: Any) -> None:
    pytest.importorskip("keras")
    pytest.importorskip("torch")
    augmentation.main(["--rounds", "1", "--images", "2", "--size", "8", "--only", "pipeline"])
    line = capsys.readouterr().out.splitlines()[-1].split()
    assert line[0] == "pipeline"
    assert float(line[3]) > 0


def test_all_that_is_measured_is_there() -> None:
    for named in augmentation.LAYERS.values():
        for name, options in named:
            getattr(layers, name)(**options)
