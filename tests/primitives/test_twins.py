"""Doors and twins: a primitive has one documented door, and twins of one lean signature."""

from __future__ import annotations

import importlib.util
import inspect
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpunet import primitives
from gpunet.primitives import cuda, reference, selection, twins_for, use_twins

_with_numba = importlib.util.find_spec("numba") is not None
fast = importlib.import_module("gpunet.primitives.fast") if _with_numba else reference

DOORS = [name for name in primitives.__all__ if inspect.isfunction(getattr(primitives, name))]
NO_DOORS = {"leaving_parts", "twins_for", "use_twins"}


def signature(module: ModuleType, name: str) -> list[tuple[str, object, object]]:
    """Return the names, kinds and defaults of a function's parameters."""
    parameters = inspect.signature(getattr(module, name)).parameters.values()
    return [(each.name, each.kind, each.default) for each in parameters]


def test_every_door_has_its_twins() -> None:
    doors = set(DOORS) - NO_DOORS
    assert doors == set(reference.__all__) == set(fast.__all__) == set(cuda.__all__)


@pytest.mark.parametrize("name", reference.__all__)
def test_twins_have_one_signature(name: str) -> None:
    assert signature(cuda, name) == signature(reference, name)
    assert signature(fast, name) == signature(reference, name)


@pytest.mark.parametrize("module", [reference, cuda, fast])
def test_names_of_twins_are_sorted_and_there(module: ModuleType) -> None:
    assert list(module.__all__) == sorted(module.__all__)
    assert all(callable(getattr(module, name)) for name in module.__all__)


@pytest.mark.parametrize("name", sorted(set(DOORS) - NO_DOORS))
def test_doors_are_documented(name: str) -> None:
    assert inspect.getdoc(getattr(primitives, name))


def test_twins_are_those_of_the_arrays_or_the_chosen_ones() -> None:
    x = np.zeros(3)
    usual = selection.numpy_twins().module
    assert twins_for(x, None, 2.0) is usual
    with use_twins(cuda):
        assert twins_for(x) is cuda
        with use_twins(reference):
            assert twins_for(x) is reference
        assert twins_for(x) is cuda
    assert twins_for(x) is usual


def test_twins_are_chosen_for_one_thread_and_given_back_after_an_error() -> None:
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(twins_for(np.zeros(1))))

    def interrupted() -> None:
        with use_twins(cuda):
            thread.start()
            thread.join()
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert seen == [selection.numpy_twins().module] == [twins_for(np.zeros(1))]


def test_a_door_checks_before_any_twin_runs() -> None:
    """What twins are given fits, so that they check nothing."""
    x, kernel = np.zeros((1, 4, 4, 3)), np.zeros((3, 3, 3, 2))
    nothing = SimpleNamespace(FLOATS=("float64",))
    with use_twins(nothing):
        with pytest.raises(ValueError, match="conv2d: expected bias of shape"):
            primitives.conv2d_forward(x, kernel, np.zeros(3))
        with pytest.raises(TypeError, match="conv2d_forward: expected an array of float64"):
            primitives.conv2d_forward(x.astype(np.float16), kernel)
        with pytest.raises(AttributeError):
            primitives.conv2d_forward(x, kernel)
