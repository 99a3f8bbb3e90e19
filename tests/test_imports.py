"""The floors of the house, no import circle, what `import gpunet` loads, and the public names."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import gpunet

PACKAGE = Path(gpunet.__file__).parent

# A module belongs to the longest prefix of its name. It imports from floors below its own, and from
# its own floor where that makes no circle. "" is gpunet itself, the front door.
FLOORS = [
    ["arguments", "background", "folders", "fork", "naming", "random", "structure"],
    ["backend", "callbacks", "configurable", "progress", "symbolic", "variable"],
    ["primitives"],
    ["autograd", "tape"],
    ["functions"],
    [
        "activations",
        "constraints",
        "custom_kernel",
        "custom_source",
        "initializers",
        "losses",
        "metrics",
        "optimizers",
        "parity_check",
        "preprocessing",
        "regularizers",
        "utils",
    ],
    ["layers"],
    ["fusion"],
    ["training"],
    ["models"],
    ["profiling"],
    ["datasets", "distribution", "interop", "interpret"],
    ["", "cli", "__main__"],
]
FLOOR_OF = {
    ".".join(filter(None, ["gpunet", prefix])): floor
    for floor, prefixes in enumerate(FLOORS)
    for prefix in prefixes
}

# Of the standard library: each takes long to import, or starts something.
HEAVY = {"asyncio", "email", "http", "multiprocessing", "sqlite3", "ssl", "unittest", "xml"}

Graph = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """Return the file of each module of gpunet."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(source: str, module: str, is_package: bool, known: set[str]) -> set[str]:
    """Return the modules in `known` that a source imports, wherever in it.

    An import counts within a function, and for types alone. Of `from package import name` the
    module is package.name if there is one, else the package. That importing a module runs the
    packages around it is left out: these only gather names.
    """
    targets: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:
                parents = module.split(".")
                base = parents[: len(parents) - node.level + is_package] + base
            targets += [".".join([*base, alias.name]) for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            targets += [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
    return {found for target in targets if (found := _known_part(target, known))} - {module}


def _known_part(target: str, known: set[str]) -> str:
    """Return the longest beginning of a dotted name that is a known module, or ""."""
    while target and target not in known:
        target = target.rpartition(".")[0]
    return target


def import_graph() -> Graph:
    files = modules()
    return {
        name: imported(
            path.read_text(encoding="utf-8"), name, path.name == "__init__.py", set(files)
        )
        for name, path in files.items()
    }


def reached(graph: Graph, start: str) -> set[str]:
    """Return the modules that `start` imports, directly or through others."""
    found: set[str] = set()
    edge = graph[start]
    while edge:
        found |= edge
        edge = set().union(*(graph[name] for name in edge)) - found
    return found


def circles(graph: Graph) -> list[set[str]]:
    """Return the groups of modules of which each imports each, directly or through others."""
    reach = {name: reached(graph, name) for name in graph}
    found: list[set[str]] = []
    for name in graph:
        group = {other for other in reach[name] if name in reach[other]}
        if group and group not in found:
            found.append(group)
    return found


def described(graph: Graph, group: set[str]) -> str:
    """Return the imports within a circle, one a line."""
    lines = [f"  {name} imports {', '.join(sorted(graph[name] & group))}" for name in sorted(group)]
    return "\n".join(["an import circle:", *lines])


def floor_of(module: str) -> int:
    return FLOOR_OF[_known_part(module, set(FLOOR_OF))]


def test_imported_sees_every_form_of_import() -> None:
    source = """
import gpunet.losses
from gpunet import metrics, __version__
from gpunet.models.model import Model
from . import dense, Layer
from .. import optimizers
from ..backend import asarray
import numpy
def lazy():
    from gpunet.datasets import mnist
    importlib.import_module("gpunet.primitives.cuda")
if TYPE_CHECKING:
    from gpunet.autograd import Tensor
"""
    known = {
        "gpunet", "gpunet.autograd", "gpunet.backend", "gpunet.datasets", "gpunet.datasets.mnist",
        "gpunet.layers", "gpunet.layers.core", "gpunet.layers.dense", "gpunet.losses",
        "gpunet.metrics", "gpunet.models", "gpunet.models.model", "gpunet.optimizers",
        "gpunet.primitives.cuda",
    }  # fmt: skip
    found = imported(source, "gpunet.layers.core", False, known)
    assert found == known - {"gpunet.layers.core", "gpunet.models", "gpunet.datasets"}
    assert imported("from .core import x", "gpunet.layers", True, known) == {"gpunet.layers.core"}


def test_circles_are_found() -> None:
    graph = {"a": {"b", "x"}, "b": {"c"}, "c": {"a"}, "x": {"y"}, "y": set(), "z": {"a"}}
    assert circles(graph) == [{"a", "b", "c"}]
    assert described(graph, {"a", "b", "c"}).splitlines()[1:] == [
        "  a imports b",
        "  b imports c",
        "  c imports a",
    ]


def test_each_module_has_a_floor() -> None:
    others = set(FLOOR_OF) - {"gpunet"}
    without = [name for name in modules() if name != "gpunet" and not _known_part(name, others)]
    assert not without, f"give each of these a floor in FLOORS: {without}"


def test_no_module_imports_from_a_floor_above() -> None:
    graph = import_graph()
    found = {
        (name, target)
        for name, targets in graph.items()
        for target in targets
        if floor_of(target) > floor_of(name)
    }
    wrong = [
        f"{name} (floor {floor_of(name)}) imports {target} (floor {floor_of(target)})"
        for name, target in sorted(found)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_import_circle() -> None:
    graph = import_graph()
    found = circles(graph)
    wrong = [described(graph, group) for group in found]
    assert not wrong, "\n".join(wrong)


def test_import_is_silent_and_light() -> None:
    """Beside the standard library, `import gpunet` loads NumPy alone."""
    code = """
import sys, numpy
before = set(sys.modules)
import gpunet
print(*sorted({name.partition(".")[0] for name in sys.modules.keys() - before}))
"""
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (child.returncode, child.stderr) == (0, "")
    (line,) = child.stdout.splitlines()  # gpunet prints nothing of its own
    loaded = set(line.split())
    assert loaded - sys.stdlib_module_names <= {"gpunet", "numpy"}, (
        "load these when they are needed"
    )
    assert not loaded & HEAVY, "load these when they are needed"


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
