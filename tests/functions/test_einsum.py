"""Sums of products by name: drawn equations against NumPy, and equations that cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet import Input, check_gradients, functions

SIZES = {"a": 2, "b": 3, "c": 1, "d": 4, "e": 2}


def letters(most: int = 3) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(sorted(SIZES)), max_size=most, unique=True).map("".join)


@settings(deadline=None, max_examples=60)
@given(
    letters(), letters(), st.randoms(use_true_random=False), st.booleans(), st.integers(0, 2**32)
)
def test_drawn_equations(x: str, y: str, random: Any, with_ellipsis: bool, seed: int) -> None:
    known = sorted(set(x + y))
    result = "".join(random.sample(known, random.randint(0, len(known))))
    rng = np.random.default_rng(seed)
    hidden: tuple[int, ...] = ()
    equation = f"{x},{y}->{result}"
    if with_ellipsis:
        equation, hidden = f"...{x},{y}->...{result}", (3, 2)[: random.randint(0, 2)]
    arrays = [
        rng.uniform(-2, 2, (*hidden, *(SIZES[i] for i in x))),
        rng.uniform(-2, 2, [SIZES[i] for i in y]),
    ]
    # NumPy adds up to 48 products of at most 4 in another order: 48 * 2**-53 * 192 at most.
    expected = np.einsum(equation, *arrays)
    np.testing.assert_allclose(
        functions.einsum(equation, *arrays).numpy(), expected, rtol=1e-12, atol=1e-12
    )
    check_gradients(lambda x, y: functions.einsum(equation, x, y), *arrays)


def test_symbols_have_the_result_s_shape() -> None:
    y = functions.einsum("bth,hdk->btdk", Input((None, 8)), np.ones((8, 2, 4), "float32"))
    assert y.shape == (None, None, 2, 4)


def test_no_blas_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 a product of stacks runs by our own kernels where Numba is installed."""
    pytest.importorskip("numba")
    from gpunet.primitives import fast, reference, use_twins

    monkeypatch.setattr(reference, "matmul", None)
    x = np.ones((2, 3, 4, 5), "float32")
    with use_twins(fast):
        assert functions.einsum("bqhd,bkhd->bhqk", x, x).shape == (2, 4, 3, 3)


@pytest.mark.parametrize(
    ("equation", "shapes", "message"),
    [
        ("ab", [(2, 3), (3, 4)], "of two operands such as 'ab,bc->ac'"),
        ("ab,bc,cd->ad", [(2, 3), (3, 4)], "of two operands"),
        ("ab,bc->ad", [(2, 3), (3, 4)], "must name axes of the operands.*check 'd'"),
        ("aa,ab->b", [(2, 2), (2, 4)], "each once in an operand.*'a'"),
        ("ab,bc->aa", [(2, 3), (3, 4)], "each once in an operand"),
        ("a1,1c->ac", [(2, 3), (3, 4)], "'a1,1c->ac'"),
        ("...ab,bc->ac", [(5, 2, 3), (3, 4)], "an ellipsis if they have axes under one"),
        ("ab,bc->...ac", [(5, 2, 3), (3, 4)], "'ab' in .* names 2 axes, received an array of 3"),
        ("ab,bc->ac", [(2, 3), (4, 5)], "axis 'b' of 'ab,bc->ac' has 3 .* and 4"),
        ("...a,...a->...", [(2, 3), (4, 3)], "has 2 elements in the first and 4"),
    ],
)
def test_equations_that_do_not_fit(
    equation: str, shapes: list[tuple[int, ...]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        functions.einsum(equation, *(np.zeros(shape) for shape in shapes))
