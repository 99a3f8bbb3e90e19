"""Ids of tests: the same in each process, or pytest-xdist could not share them out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.conftest import pytest_make_parametrize_id


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"make": lambda: 1, "loss": "mse", "by": (2,)}, "make=function-loss=mse-by=(2)"),
        ({"x": np.zeros((3, 4), np.int8), "by": [len, object()]}, "x=int8[3, 4]-by=(len, object)"),
        ({}, "none"),
        (np.ones(2), "float64[2]"),
        (3, None),  # pytest's own: 3
    ],
    ids=["dict", "arrays", "empty", "array", "number"],
)  # fmt: skip
def test_ids_hold_no_address(value: Any, expected: str | None, pytestconfig: pytest.Config) -> None:
    assert pytest_make_parametrize_id(pytestconfig, value, "argument") == expected


def test_no_collected_id_holds_an_address(request: pytest.FixtureRequest) -> None:
    ids = [item.nodeid for item in request.session.items]
    assert not [name for name in ids if re.search(r"0x[0-9a-f]{6}", name)]
