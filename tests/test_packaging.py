"""The package as users get it: wheel, sdist and editable install, each used from another folder."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import gpunet

ROOT = Path(gpunet.__file__).parents[1]

# What a user's script does with an installed gpunet: import it, find the kernels, train a step.
USE = """
import importlib.util, json
import numpy as np
import gpunet
from gpunet.backend import kernel_folder, kernel_source
from gpunet.layers import Dense
from gpunet.models import Sequential
from gpunet.primitives.launch import full_source, kernel_names

assert "void probe(" in kernel_source("probe.cu")
sources = sorted(path.name for path in kernel_folder().glob("*.cu"))
assert all(kernel_names(name) and "#include" not in full_source(name) for name in sources)
model = Sequential([Dense(4, activation="softmax", input_shape=(8,))])
model.compile("sgd", "categorical_crossentropy")
before = [np.array(weights) for weights in model.get_weights()]
x = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")
model.train_on_batch(x, np.eye(4, dtype="float32")[np.arange(16) % 4])
changed = [bool((a != b).any()) for a, b in zip(before, model.get_weights())]
print(json.dumps({
    "changed": changed,
    "kernels": str(kernel_folder()),
    "package": gpunet.__file__,
    "sources": sources,
    "top_level_kernels": importlib.util.find_spec("kernels") is not None,
    "version": gpunet.__version__,
}))
"""


def run(*command: object, cwd: Path) -> str:
    """Run a command that must succeed, free of this process's Python settings."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    child = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, f"{' '.join(words)}\n{child.stdout}\n{child.stderr}"
    return child.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout, so that building leaves nothing behind in the real one."""
    copy = tmp_path_factory.mktemp("source") / "gpunet-checkout"
    ignored = shutil.ignore_patterns(
        ".*", "__pycache__", "*.egg-info", "build", "dist", "tests", "benchmarks", "results"
    )
    return Path(shutil.copytree(ROOT, copy, ignore=ignored))


@pytest.fixture(scope="module")
def built(checkout: Path) -> Path:
    """Return a folder with the sdist, and the wheel built from that sdist."""
    folder = checkout.parent / "built"
    run(sys.executable, "-m", "build", "--outdir", folder, checkout, cwd=checkout.parent)
    return folder


def use_installed(folder: Path, *requirement: object) -> dict[str, object]:
    """Install into a fresh virtual environment, with what it asks for, and run USE elsewhere."""
    venv.create(folder / "venv", with_pip=False)
    scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python, elsewhere = scripts / "python", folder / "elsewhere"
    elsewhere.mkdir()
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(*pip, "install", "--quiet", *requirement, cwd=elsewhere)
    run(python, "-m", "gpunet", "doctor", cwd=elsewhere)
    used: dict[str, object] = json.loads(run(python, "-c", USE, cwd=elsewhere))
    assert used["version"] == gpunet.__version__
    assert used["changed"] == [True, True], "the training step changes kernel and bias"
    assert used["sources"] == sorted(path.name for path in (ROOT / "kernels").glob("*.cu"))
    assert not used["top_level_kernels"], "`import kernels` must not find gpunet's folder"
    return used


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["whl", "tar.gz"])
def test_built_package_works_elsewhere(suffix: str, built: Path, tmp_path: Path) -> None:
    (artefact,) = built.glob(f"gpunet-{gpunet.__version__}*.{suffix}")
    used = use_installed(tmp_path, artefact)
    package = Path(str(used["package"])).parent
    assert (tmp_path / "venv") in package.parents
    assert Path(str(used["kernels"])) == package / "kernels"


@pytest.mark.slow
def test_editable_install_works_elsewhere(checkout: Path, tmp_path: Path) -> None:
    used = use_installed(tmp_path, "--editable", checkout)
    assert Path(str(used["package"])) == checkout / "gpunet" / "__init__.py"
    assert Path(str(used["kernels"])) == checkout / "kernels"


@pytest.mark.slow
def test_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "gpunet").rglob("*.py")}
    expected |= {f"gpunet/kernels/{path.name}" for path in (ROOT / "kernels").glob("*.cu*")}
    assert names == expected | {"gpunet/py.typed"}
    (metadata,) = importlib.metadata.distributions(name="gpunet", path=[str(wheel)])
    needed = [text for text in metadata.requires or [] if "extra ==" not in text]
    assert needed == ["numpy>=2.0"]
    assert metadata.version == gpunet.__version__
    assert metadata.metadata["License-Expression"] == "MIT"


def test_every_package_is_listed() -> None:
    """setuptools packs what pyproject.toml lists; a folder it does not list would be missing."""
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "gpunet").rglob("*.py")}
    packages = {".".join(folder.parts) for folder in folders} | {"gpunet.kernels"}
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = text.partition("\npackages = [")[2].partition("]")[0]
    assert {line.strip(' ",') for line in listed.split("\n")} - {""} == packages


def test_kernels_are_data() -> None:
    assert not list((ROOT / "kernels").rglob("*.py")), "a module here would shadow PyPI's kernels"
