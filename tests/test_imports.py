"""The floors of the house, what `import gpunet` may load, and the public names."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gpunet

PACKAGE = Path(gpunet.__file__).parent

# A module imports from floors below its own, and from its own floor where that makes no circle.
FLOORS = [
    ["naming"],
    ["backend", "random"],
    ["primitives"],
    ["autograd"],
    ["functions"],
    [
        "activations",
        "callbacks",
        "gradients",
        "initializers",
        "layers",
        "losses",
        "metrics",
        "optimizers",
        "progress",
        "utils",
    ],
    ["models"],
    ["datasets", "cli", "__main__"],
]
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}

# Heavy or optional packages: each is imported by what needs it, when it needs it.
NOT_AT_IMPORT = {"cupy", "keras", "matplotlib", "numba", "pooch", "sklearn", "torch", "tqdm"}


def imported_parts(source: str, module: str, is_package: bool) -> Iterator[str]:
    """Yield the parts of gpunet, such as "layers", that a module imports anywhere in its source.

    `import gpunet` and `from gpunet import name` with a name that is no part yield "".
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                parents = parents[: len(parents) - node.level + is_package]
                base = ".".join([*parents, *filter(None, [node.module])])
            targets = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            path = target.split(".")
            if path[0] == "gpunet":
                yield path[1] if len(path) > 1 and path[1] in FLOOR_OF else ""


def part_imports() -> Iterator[tuple[str, str, str]]:
    """Yield (file, part it belongs to, part it imports) over the whole of gpunet."""
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        names = list(relative.with_suffix("").parts)
        if names[0] not in FLOOR_OF:
            continue  # gpunet/__init__.py, the front door, re-exports from all floors
        is_package = names[-1] == "__init__"
        module = ".".join(["gpunet", *names[: len(names) - is_package]])
        for target in imported_parts(path.read_text(encoding="utf-8"), module, is_package):
            yield str(relative), names[0], target


def test_imported_parts_sees_every_form_of_import() -> None:
    source = """
import gpunet.losses
from gpunet import metrics, __version__
from gpunet.models import Sequential
from . import dense
from .. import optimizers
from ..backend import asarray
import numpy
def lazy():
    from gpunet.datasets import mnist
if TYPE_CHECKING:
    from gpunet.autograd import Tensor
"""
    found = imported_parts(source, "gpunet.layers.core", False)
    parts = ["losses", "metrics", "", "models", "layers", "optimizers", "backend"]
    assert sorted(found) == sorted([*parts, "datasets", "autograd"])
    assert list(imported_parts("from .core import x", "gpunet.layers", True)) == ["layers"]


def test_each_part_has_a_floor() -> None:
    parts = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    parts |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert parts - FLOOR_OF.keys() == set(), "give each of these a floor in FLOORS"


def test_no_module_imports_from_a_floor_above() -> None:
    wrong = [
        f"gpunet/{file} (floor {FLOOR_OF[part]}) imports {target or 'gpunet itself'}"
        for file, part, target in part_imports()
        if FLOOR_OF.get(target, len(FLOORS) - 1) > FLOOR_OF[part]
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circle_within_a_floor() -> None:
    above: dict[str, set[str]] = {}
    for _, part, target in part_imports():
        if target != part and FLOOR_OF.get(target) == FLOOR_OF[part]:
            above.setdefault(target, set()).add(part)
    for start in above:
        reached, edge = set(), {start}
        while edge:
            edge = {part for name in edge for part in above.get(name, ())} - reached
            reached |= edge
        assert start not in reached, f"gpunet.{start} imports itself by way of {sorted(reached)}"


def test_import_is_silent_and_light() -> None:
    code = (
        f"import sys, gpunet; found = {NOT_AT_IMPORT} & sys.modules.keys(); assert not found, found"
    )
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (child.stdout, child.stderr.strip()) == ("", ""), "printed, or loaded a heavy package"
    assert child.returncode == 0


def test_nothing_in_gpunet_draws_from_numpy_random() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name == "random.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            drawn = isinstance(node, ast.Attribute) and ast.unparse(node).startswith("np.random")
            assert not drawn, f"{path}:{node.lineno} uses numpy.random: use gpunet.random"


MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(PACKAGE)], "gpunet.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", ["gpunet", *MODULES])
def test_public_names_exist(name: str) -> None:
    module = importlib.import_module(name)
    names = module.__all__
    assert len(names) == len(set(names))
    for public in names:
        assert getattr(module, public) is not None
