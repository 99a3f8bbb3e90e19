"""The command line: help, and the doctor's report in each state of the backend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import backend, cli, datasets
from gpunet.primitives import reference
from gpunet.primitives.selection import NumpyTwins, numpy_twins


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset the backend, and make `import cupy` fail."""
    monkeypatch.setattr(backend, "_probed", None)
    monkeypatch.setattr(backend, "_choice", None)
    monkeypatch.delenv("GPUNET_BACKEND", raising=False)
    monkeypatch.setitem(sys.modules, "cupy", None)


def rows(text: str) -> dict[str, str]:
    """Return the doctor's tables as label -> text, with wrapped lines joined.

    A repeated label is prefixed with its table's title.
    """
    found: dict[str, str] = {}
    title = label = ""
    for line in text.splitlines():
        if line.startswith("  ") and line[2] != " ":
            label = line[2:18].strip()
            label = f"{title}: {label}" if label in found else label
            found[label] = line[18:]
        elif line.startswith("  "):
            found[label] += " " + line.strip()
        else:
            title = line
    return found


def test_doctor_reports_versions_backend_and_folders(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    report = rows(capsys.readouterr().out)
    assert report["gpunet"] == gpunet.__version__
    assert report["NumPy"].startswith(np.__version__ + ", BLAS: ")
    assert report["GPUNET_BACKEND"] == "not set"
    assert report["backend"] == "numpy"
    assert report["reason"] == "CuPy is not installed."
    assert "pip install" in report["fix"]
    assert report["kernels"] == str(backend.kernel_folder())
    assert report["data cache"] == str(datasets.cache_folder())


def test_doctor_lists_each_optional_package(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"cupy-cuda12x": "14.2.0", "tqdm": "4.70.1"}

    def version(name: str) -> str:
        if name in installed:
            return installed[name]
        raise cli.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(cli.metadata, "version", version)
    report = rows(cli.doctor())
    assert report["CuPy"] == "14.2.0 (cupy-cuda12x)"
    assert report["tqdm"] == "4.70.1"
    assert report["pooch"] == report["Numba"] == "not installed"


@pytest.mark.parametrize(
    ("value", "name", "reason", "fix"),
    [
        ("numpy", "numpy", "GPUNET_BACKEND=numpy selects NumPy.", "Choose 'auto' or 'cupy'"),
        ("cupy", "none", "CuPy is not installed.", "choose 'auto' or 'numpy'"),
        ("nunpy", "none", "did you mean 'numpy'?", "Set GPUNET_BACKEND to one of these"),
    ],
)
def test_doctor_never_fails(
    value: str,
    name: str,
    reason: str,
    fix: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GPUNET_BACKEND", value)
    assert cli.main(["doctor"]) == 0
    report = rows(capsys.readouterr().out)
    assert (report["GPUNET_BACKEND"], report["backend"]) == (value, name)
    assert reason in report["reason"]
    assert fix in report["fix"]


def test_doctor_reports_the_kernels_for_numpy_arrays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GPUNET_FAST", raising=False)
    fast = NumpyTwins(cli, "Numba 0.99, 8 threads.")
    monkeypatch.setattr(cli.selection, "numpy_twins", lambda: fast)
    report = rows(cli.doctor())
    assert report["GPUNET_FAST"] == "not set"
    assert report["kernels by"] == "Numba"
    assert report["CPU kernels: reason"] == "Numba 0.99, 8 threads."
    assert report["CPU kernels: fix"] == "nothing to fix"
    slow = NumpyTwins(reference, "Numba is not installed.", "pip install 'gpunet[fast]'.")
    monkeypatch.setattr(cli.selection, "numpy_twins", lambda: slow)
    report = rows(cli.doctor())
    assert report["kernels by"] == "NumPy"
    assert report["CPU kernels: reason"] == "Numba is not installed."
    assert report["CPU kernels: fix"] == "pip install 'gpunet[fast]'."


@pytest.mark.parametrize(
    ("value", "name", "fix"),
    [("0", "NumPy", "Unset GPUNET_FAST."), ("fats", "none", "Set GPUNET_FAST to one of these")],
)
def test_doctor_reports_gpunet_fast(
    value: str, name: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUNET_FAST", value)
    numpy_twins.cache_clear()
    try:
        report = rows(cli.doctor())
    finally:
        numpy_twins.cache_clear()
    assert (report["GPUNET_FAST"], report["kernels by"]) == (value, name)
    assert "GPUNET_FAST" in report["CPU kernels: reason"]
    assert fix in report["CPU kernels: fix"]


def test_doctor_reports_missing_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(backend, "__file__", str(tmp_path / "gpunet" / "backend.py"))
    assert "Install gpunet again" in rows(cli.doctor())["kernels"]


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "doctor" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"gpunet {gpunet.__version__}\n"
    with pytest.raises(SystemExit, match="2"):
        cli.main(["doktor"])


def test_python_m_gpunet() -> None:
    root = Path(gpunet.__file__).parents[1]
    child = subprocess.run(
        [sys.executable, "-m", "gpunet", "doctor"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (child.returncode, child.stderr) == (0, "")
    assert rows(child.stdout)["gpunet"] == gpunet.__version__
