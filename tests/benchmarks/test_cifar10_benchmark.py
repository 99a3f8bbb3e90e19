"""`python -m benchmarks.cifar10`: both libraries compute the same; reports of made-up numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cifar10


def test_both_libraries_start_and_learn_alike() -> None:
    """Losses agree to float32's rounding in sums of some thousand terms; Adam's step widens it."""
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    y = rng.integers(0, 10, 64)
    ours, theirs = cifar10.Gpunet(3, steps=40), cifar10.torch_network(3, steps=40)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-4, atol=1e-6)
    for tolerance in (1e-5, 1e-3):
        assert ours.step(x, y) == pytest.approx(theirs.step(x, y), rel=tolerance)


def test_a_dry_run_needs_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cifar10.main(["--quick"])
    assert "name a folder with --output" in capsys.readouterr().err


def test_results_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def made_up(library: str, seed: int, options: Any) -> dict[str, Any]:
        seconds = {"gpunet": 10.0, "torch": 15.0}[library]
        return {
            "library": library, "seed": seed, "accuracy": 0.5 + seed / 100, "seconds": seconds,
            "steps": 100, "first_loss": 2.3, "last_loss": 1.0, "version": "1",
        }  # fmt: skip

    monkeypatch.setattr(cifar10, "run_worker", made_up)
    monkeypatch.setattr(cifar10.cifar10, "load_data", lambda: None)
    assert cifar10.main(["--epochs", "2", "--output", str(tmp_path)]) == 0
    report = (tmp_path / "cifar10.md").read_text()
    assert "| PyTorch, channels_last 1 | 2 | 52.00 % | 1.000 | 15.0 |" in report
    assert "Mean of gpunet: 51.00 %, 10.0 s." in report
    assert "PyTorch's time is 1.50 times gpunet's." in report
    assert len(json.loads((tmp_path / "cifar10.json").read_text())["records"]) == 6
    assert report in capsys.readouterr().out
