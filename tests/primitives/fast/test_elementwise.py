"""The Numba twins of activations, updates and batches, against the reference."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gpunet.primitives import as_activation, saves_output
from gpunet.primitives.activation_table import ACTIVATIONS
from tests.support.doors import Doors, reference
from tests.support.fast_arrays import EPSILON, Array, lay_out, layouts, numbers, seeds

fast = Doors(pytest.importorskip("gpunet.primitives.fast"))

from gpunet.primitives.fast.compile import Floats, FloatsIn, Ints, kernel  # noqa: E402
from gpunet.primitives.fast.exponential import exp_of_vector  # noqa: E402
from gpunet.primitives.fast.simd import LANES, load, store  # noqa: E402

OPTIONS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "clipped_relu": {
        "negative_slope": st.sampled_from([0.0, 0.5]),
        "max_value": st.sampled_from([1.0, 6.0, math.inf]),
        "threshold": st.sampled_from([0.0, 0.5]),
    },
    "leaky_relu": {"negative_slope": st.sampled_from([0.0, 0.1, 0.2, 1.5])},
    "elu": {"alpha": st.sampled_from([0.3, 1.0, 2.0])},
}
CHECKED = (
    "activate", "activate_backward", "adam_update", "gather_batch",
    "rescale_forward", "sgd_update", "squares_are_finite",
)  # fmt: skip

# Errors in units of EPSILON: of so many roundings is a result made. Formulas whose last step
# subtracts numbers near 1 (gelu, and the gradients that have 1 - y in them) are off by that much
# of 1 times what they multiply it with, so these are bounded by `scale`.
ROUNDINGS = 16


def scale(name: str, x: Array, y: Array, slope_bound: bool) -> Array:
    """Return what the error of an activation, or of its slope, is relative to."""
    size = np.minimum(np.abs(x), 50)
    if name.startswith("gelu"):
        return 1 + size**3 if slope_bound else np.abs(x)
    return np.abs(y) + 1 + size if slope_bound else np.abs(y)


def check(found: Array, expected: Array, sizes: Array) -> None:
    """Assert that `found` is the expected values but for rounding; NaN and infinities too."""
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    with np.errstate(over="ignore"):
        rounded = expected.astype(np.float32)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(found[~finite], rounded[~finite])
    errors = np.abs(found[finite] - expected[finite])
    bounds = ROUNDINGS * EPSILON * np.nan_to_num(sizes[finite], nan=1, posinf=1e38) + 1e-37
    np.testing.assert_array_less(errors, bounds)


any_floats = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9),
    elements=st.one_of(
        st.floats(-30, 30, width=32),
        st.floats(width=32, allow_subnormal=False),
    ),
)


@settings(max_examples=300)
@given(
    x=any_floats,
    name=st.sampled_from(sorted(ACTIVATIONS)),
    data=st.data(),
    layout=layouts,
)
def test_activations(x: Array, name: str, data: st.DataObject, layout: str) -> None:
    options = {option: data.draw(values) for option, values in OPTIONS.get(name, {}).items()}
    activation = as_activation(name, **options)
    x_wide = x.astype(np.float64)
    output_grad = numbers(x.size, x.shape)
    with np.errstate(all="ignore"):
        found = fast.activate(lay_out(x, layout), activation)
        expected = reference.activate(x_wide, activation)
        check(found, expected, scale(name, x_wide, expected, False))
        saved = found if saves_output(activation) else x
        arrays = lay_out(output_grad, layout), lay_out(saved, layout)
        grad = fast.activate_backward(*arrays, activation)
        wide = (each.astype(np.float64) for each in arrays)
        expected_grad = reference.activate_backward(*wide, activation)
        sizes = scale(name, x_wide, saved.astype(np.float64), True) * np.abs(output_grad)
        check(grad, expected_grad, sizes)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_over_many_numbers_in_order(name: str) -> None:
    x = np.linspace(-30, 30, 500_001, dtype=np.float32)  # several tasks
    activation = as_activation(name)
    expected = reference.activate(x.astype(np.float64), activation)
    check(fast.activate(x, activation), expected, scale(name, x, expected, False))


def test_exponentials_are_right_to_some_units_in_the_last_place() -> None:
    numba = pytest.importorskip("numba")
    from gpunet.primitives.fast import exponential

    generator = np.random.default_rng(0)
    unit = generator.uniform(0, 1, 100_000)
    inputs: dict[str, tuple[Callable[[float], float], Array]] = {
        "exp": (math.exp, generator.uniform(-87, 88.5, 100_000)),
        "sigmoid": (lambda x: 1 / (1 + math.exp(-x)), generator.uniform(-87, 88.5, 100_000)),
        "tanh": (math.tanh, np.concatenate([40 * unit - 20, unit**20])),
        "expm1": (math.expm1, -np.concatenate([90 * unit, unit, unit**20])),
        "log1p": (math.log1p, np.concatenate([unit, unit**20])),
        "erf": (math.erf, np.concatenate([12 * unit - 6, unit**20])),
    }
    for name, (formula, values) in inputs.items():
        function = numba.vectorize("float32(float32)")(getattr(exponential, name).py_func)
        x = values.astype(np.float32)
        found = function(x)
        expected = np.array([formula(value) for value in x.tolist()])
        last_place = np.spacing(np.abs(expected).astype(np.float32)).astype(np.float64)
        most = 5.2 if name == "erf" else 2.6  # units: a quotient of two sums has more roundings
        assert np.max(np.abs(found - expected) / last_place) < most, name


def test_errors_are_those_of_the_reference() -> None:
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(IndexError, match="expected rows from 0 to 1"):
        fast.gather_batch(x, np.array([0, 2]), dtype="float32", scale=2)
    with pytest.raises(ValueError, match="expected a velocity buffer"):
        fast.sgd_update(x[0], x[0], None, x[0, :1], momentum=0.9)


counts = st.sampled_from([0, 1, 7, 33, 1000, 70_000])
rates = st.sampled_from([0.0, 0.001, 0.1, 3.0])


def buffers(seed: int, count: int, names: int) -> list[Array]:
    """Return flat buffers; the last has no number below 0."""
    made = [numbers(seed + k, (count,)) for k in range(names)]
    return [*made[:-1], np.abs(made[-1])]


def check_update(update: str, arrays: list[Any], rest: list[Any], **options: Any) -> None:
    """Assert that both twins leave the same bits in the buffers."""
    copies = [None if each is None else each.copy() for each in arrays]
    getattr(fast, update)(*arrays, *rest, **options)
    getattr(reference, update)(*copies, *rest, **options)
    for found, expected in zip(arrays, copies, strict=True):
        if found is not None:
            np.testing.assert_array_equal(found, expected)


@given(
    seed=seeds,
    count=counts,
    rate=rates,
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    nesterov=st.booleans(),
    layout=layouts,
)
def test_sgd_makes_the_bits_of_the_reference(
    seed: int, count: int, rate: float, momentum: float, nesterov: bool, layout: str
) -> None:
    parameters, gradients, velocity = buffers(seed, count, 3)
    kept = velocity if momentum or nesterov else None
    check_update(
        "sgd_update",
        [parameters, lay_out(gradients, layout), kept],
        [np.array([rate], np.float32)],
        momentum=momentum,
        nesterov=nesterov,
    )


@given(
    seed=seeds, count=counts, rate=rates, step=st.sampled_from([1, 2, 1000, 10**9]), layout=layouts
)
def test_adam_makes_the_bits_of_the_reference(
    seed: int, count: int, rate: float, step: int, layout: str
) -> None:
    parameters, gradients, mean, variance = buffers(seed, count, 4)
    arrays = [parameters, lay_out(gradients, layout), mean, variance]
    rest = [np.array([step]), np.array([rate], np.float32)]
    check_update("adam_update", arrays, rest, beta_1=0.8, epsilon=1e-6)


@pytest.mark.parametrize("count", [1, 7, 100_003])
@pytest.mark.parametrize("value", [1.8446742e19, 1.8446744e19, -1.9e19, np.inf, -np.inf, np.nan])
def test_a_square_that_overflows_is_found_where_the_reference_finds_it(
    count: int, value: float
) -> None:
    gradients = numbers(0, (count,))
    assert fast.squares_are_finite(gradients)
    for place in {0, count // 2, count - 1}:
        changed = gradients.copy()
        changed[place] = value
        found = fast.squares_are_finite(changed)
        assert found == reference.squares_are_finite(changed) == (value == 1.8446742e19)


def test_updates_of_views_are_made_in_place() -> None:
    whole = numbers(0, (20, 2))
    before, gradients = whole.copy(), numbers(1, (20,))
    fast.sgd_update(whole[:, 0], gradients, None, np.ones(1, np.float32))
    np.testing.assert_array_equal(whole[:, 0], before[:, 0] - gradients)
    np.testing.assert_array_equal(whole[:, 1], before[:, 1])
    whole.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        fast.sgd_update(whole[:, 0], gradients, None, np.ones(1, np.float32))


data_types = st.sampled_from(["uint8", "float32", "float64", "int16", "bool"])


def data_of(seed: int, shape: tuple[int, ...], dtype: str) -> Array:
    """Return data of a type, also 0 and -0."""
    generator = np.random.default_rng(seed)
    if dtype.startswith("float"):
        return np.asarray(np.round(generator.normal(size=shape), 1), dtype)
    return np.asarray(generator.integers(0, 2 if dtype == "bool" else 256, shape), dtype)


@given(
    seed=seeds,
    samples=st.integers(1, 9),
    shape=st.sampled_from([(), (1,), (7,), (3, 5, 2), (90, 100), (0,)]),
    batch=st.sampled_from([0, 1, 5, 40]),
    dtype=data_types,
    result=st.sampled_from([None, "float32", "float64"]),
    scale=st.sampled_from([1, 1.0, 1 / 255, -3, np.float32(0.1), np.float64(0.1)]),
    layout=layouts,
)
def test_batches_are_the_bits_of_the_reference(
    seed: int,
    samples: int,
    shape: tuple[int, ...],
    batch: int,
    dtype: str,
    result: str | None,
    scale: float,
    layout: str,
) -> None:
    data = lay_out(data_of(seed, (samples, *shape), dtype), layout)
    rows = lay_out(np.random.default_rng(seed).integers(0, samples, batch), layout)
    if result is None and not dtype.startswith("float"):
        scale = 1
    found = fast.gather_batch(data, rows, dtype=result, scale=scale)
    check_bits(found, reference.gather_batch(data, rows, dtype=result, scale=scale))


def check_bits(found: Array, expected: Array) -> None:
    """Assert that two arrays are the same, the sign of 0 too."""
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    if found.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


@given(
    seed=seeds,
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9) | st.just((70_001,)),
    dtype=data_types,
    scale=st.sampled_from([1, 1 / 127.5, -2.0, np.float64(0.3)]),
    offset=st.sampled_from([0, 0.0, -1, 0.7]),
    layout=layouts,
)
def test_rescaling_makes_the_bits_of_the_reference(
    seed: int, shape: tuple[int, ...], dtype: str, scale: float, offset: float, layout: str
) -> None:
    x = lay_out(data_of(seed, shape, dtype), layout)
    options = {"scale": scale, "offset": offset, "dtype": "float32"}
    check_bits(fast.rescale_forward(x, **options), reference.rescale_forward(x, **options))


def test_exponentials_of_vectors() -> None:
    numbers_below = np.linspace(-87, 0, 16 * 4096, dtype=np.float32)
    edges = np.array([-np.inf, -1e30, -104, -88, -0.0, 0.0, np.nan, -1e-30] * 2, np.float32)
    x = np.concatenate([numbers_below, edges])
    found = np.empty_like(x)
    _exponentials(np.zeros(1, np.int64), 1, 0, x, found)
    # Of three roundings, and a fit that is right to a half of one.
    np.testing.assert_allclose(
        found[:-16], np.exp(numbers_below.astype(np.float64)), rtol=4 * EPSILON, atol=0
    )
    assert found[-8:-4].tolist() == [0] * 4
    assert found[-4:-2].tolist() == [1, 1]
    assert np.isnan(found[-2])
    assert found[-1] == 1


@kernel
def _exponentials(counters: Ints, tasks: int, worker: int, x: FloatsIn, y: Floats) -> None:
    for i in range(0, x.size, LANES):
        store(y, i, exp_of_vector(load(x, i, LANES)))
