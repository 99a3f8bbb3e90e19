"""The twins of a primitive have one name and one signature, whichever arrays they are for."""

from __future__ import annotations

import importlib.util
import inspect
from types import ModuleType

import pytest

from gpunet import primitives
from gpunet.primitives import cuda, reference

_with_numba = importlib.util.find_spec("numba") is not None
fast = importlib.import_module("gpunet.primitives.fast") if _with_numba else reference


def signature(module: ModuleType, name: str) -> list[tuple[str, object, object]]:
    """Return the names, kinds and defaults of a function's parameters."""
    parameters = inspect.signature(getattr(module, name)).parameters.values()
    return [(each.name, each.kind, each.default) for each in parameters]


def test_every_primitive_has_its_twins() -> None:
    assert set(reference.__all__) ^ set(fast.__all__) == set(), "without a Numba or reference twin"
    assert set(reference.__all__) - set(cuda.__all__) == set(), "without a CUDA twin"
    assert set(cuda.__all__) - set(reference.__all__) == set(), "without a reference twin"
    assert set(reference.__all__) - set(primitives.__all__) == {"activation_backward"}


@pytest.mark.parametrize("name", reference.__all__)
def test_twins_have_one_signature(name: str) -> None:
    assert signature(cuda, name) == signature(reference, name)
    assert signature(fast, name) == signature(reference, name)


@pytest.mark.parametrize("module", [reference, cuda, fast])
def test_names_of_twins_are_sorted_and_there(module: ModuleType) -> None:
    assert list(module.__all__) == sorted(module.__all__)
    assert all(callable(getattr(module, name)) for name in module.__all__)


@pytest.mark.parametrize("name", reference.__all__)
def test_twins_say_what_they_do(name: str) -> None:
    for module in (reference, cuda, fast):
        assert inspect.getdoc(getattr(module, name)), f"{module.__name__}.{name}"
