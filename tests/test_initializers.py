"""gpunet.initializers: shapes, distributions against Keras' rules, names, errors."""

from __future__ import annotations

import importlib
import json
import math
import os
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpunet import initializers, random
from gpunet.initializers import Initializer

NAMES = [
    "zeros",
    "ones",
    "constant",
    "identity",
    "random_normal",
    "random_uniform",
    "truncated_normal",
    "variance_scaling",
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    "orthogonal",
]
RANDOM_NAMES = NAMES[4:]


@pytest.fixture(scope="module")
def keras() -> ModuleType:
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_returns_a_numpy_array(name: str, dtype: str) -> None:
    for shape in [(6, 4), (3, 5)] if name == "identity" else [(6, 4), (3, 3, 2, 5)]:
        values = initializers.get(name)(shape, dtype=dtype)
        assert type(values) is np.ndarray
        assert (values.shape, values.dtype) == (shape, dtype)
        assert values.flags.c_contiguous
        assert values.flags.writeable
    assert initializers.get(name)((2, 2)).dtype == np.float32


def test_the_plain_ones() -> None:
    assert (initializers.Zeros()((2, 3)) == 0).all()
    assert (initializers.Ones()((2, 3)) == 1).all()
    assert (initializers.Constant(2.5)((2, 3)) == 2.5).all()
    assert initializers.Constant([1, 2])((2, 2)).tolist() == [[1, 2], [1, 2]]
    np.testing.assert_array_equal(initializers.Identity(3.0)((2, 3)), 3 * np.eye(2, 3))


def fan(shape: tuple[int, ...], mode: str) -> float:
    """The units that a weight connects, counted on a small example of it."""
    window = math.prod(shape[:-2])
    fan_in, fan_out = window * shape[-2], window * shape[-1]
    return {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(8, 40), st.integers(8, 40)),
    scale=st.floats(0.1, 10),
    mode=st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
    distribution=st.sampled_from(["uniform", "truncated_normal", "untruncated_normal"]),
)
def test_variance_scaling_has_its_variance(
    shape: tuple[int, ...], scale: float, mode: str, distribution: str
) -> None:
    values = initializers.VarianceScaling(scale, mode, distribution, seed=1)(shape, "float64")
    stddev = math.sqrt(scale / fan(shape, mode))
    # The variance of a sample of n errs by sqrt(2 / n) at most here; five times that is allowed.
    assert abs(values.var() / stddev**2 - 1) < 5 * math.sqrt(2 / values.size)
    assert abs(values.mean()) < 5 * stddev / math.sqrt(values.size)
    largest = {"uniform": math.sqrt(3), "truncated_normal": 2 / 0.8796256610342398}
    if distribution in largest:
        assert np.abs(values).max() <= stddev * largest[distribution]


@pytest.mark.parametrize("name", RANDOM_NAMES)
@pytest.mark.parametrize("shape", [(120, 80), (3, 5, 24, 40), (5000,)])
def test_spread_and_bounds_are_those_of_keras(
    keras: ModuleType, name: str, shape: tuple[int, ...]
) -> None:
    if name == "orthogonal" and len(shape) < 2:
        pytest.skip("an orthogonal matrix has two axes")
    expected = np.asarray(type(keras.initializers.get(name))(seed=0)(shape))
    values = initializers.get(name)(shape)
    # Two samples of n numbers: their deviations differ by at most 1 / sqrt(n), one standard error;
    # the largest of a uniform one comes within 1 % of the bound at these sizes. (Keras' truncated
    # normal numbers go a little beyond two standard deviations with PyTorch; ours do not.)
    assert values.std() == pytest.approx(expected.std(), rel=5 / math.sqrt(values.size))
    assert abs(values.mean() - expected.mean()) < 10 * expected.std() / math.sqrt(values.size)
    if "uniform" in name:
        assert np.abs(values).max() == pytest.approx(np.abs(expected).max(), rel=0.02)


@pytest.mark.parametrize("name", RANDOM_NAMES)
def test_defaults_are_those_of_keras(keras: ModuleType, name: str) -> None:
    ours, theirs = initializers.get(name), keras.initializers.get(name)
    config = theirs.get_config()
    assert type(ours).__name__ == type(theirs).__name__
    for argument, value in ours.get_config().items():
        assert config[argument] == value


@pytest.mark.parametrize("shape", [(5, 5), (8, 3), (3, 8), (3, 3, 2, 7), (2, 1, 2, 30)])
def test_orthogonal_is_orthogonal(shape: tuple[int, ...]) -> None:
    values = initializers.Orthogonal(gain=2.0)(shape, "float64")
    matrix = values.reshape(-1, shape[-1]) / 2.0
    product = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-14)


def test_orthogonal_is_spread_evenly() -> None:
    # The plain QR decomposition of LAPACK has a diagonal of one sign; the mean would be far from 0.
    corners = [initializers.Orthogonal()((2, 2), "float64")[0, 0] for _ in range(400)]
    assert abs(np.mean(corners)) < 4 * math.sqrt(0.5 / 400)


@pytest.mark.parametrize("name", RANDOM_NAMES)
def test_seeds(name: str) -> None:
    kind = type(initializers.get(name))
    seeded = kind(seed=3)  # type: ignore[call-arg]
    before = random.get_state()
    first = seeded((4, 5))
    np.testing.assert_array_equal(seeded((4, 5)), first)
    assert random.get_state() == before  # the global generator is left alone

    unseeded = kind()
    draws = [unseeded((4, 5)) for _ in range(2)]
    assert not np.array_equal(*draws)
    random.set_state(before)
    np.testing.assert_array_equal(unseeded((4, 5)), draws[0])


def test_get_takes_names_instances_classes_and_functions() -> None:
    assert isinstance(initializers.get("he_normal"), initializers.HeNormal)
    assert isinstance(initializers.get("HeNormal"), initializers.HeNormal)
    assert isinstance(initializers.get(initializers.Ones), initializers.Ones)
    instance = initializers.Constant(3)
    assert initializers.get(instance) is instance

    def own(shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.full(shape, 7, dtype)

    assert initializers.get(own) is own
    assert initializers.get(None) is None


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.asarray])
def test_numpy_scalars_are_numbers(kind: type) -> None:
    for name, options in (
        ("VarianceScaling", {"scale": 0.5}),
        ("RandomNormal", {"mean": 0.25, "stddev": 0.5}),
        ("RandomUniform", {"minval": -0.5, "maxval": 0.5}),
        ("Orthogonal", {"gain": 0.5}),
        ("Identity", {"gain": 0.5}),
    ):
        plain = getattr(initializers, name)(**options)
        other = getattr(initializers, name)(**{key: kind(value) for key, value in options.items()})
        for initializer in (plain, other):
            if hasattr(initializer, "seed"):
                initializer.seed = 3
        np.testing.assert_array_equal(plain((4, 3)), other((4, 3)))
        assert other((4, 3)).dtype == np.float32
        assert repr(other) == repr(plain)
        assert json.loads(json.dumps(other.get_config())) == plain.get_config()


@pytest.mark.parametrize("name", NAMES)
def test_config_makes_the_initializer_again(name: str) -> None:
    kind = type(initializers.get(name))
    made = kind(seed=5) if name in RANDOM_NAMES else kind()  # type: ignore[call-arg]
    again = kind.from_config(made.get_config())
    np.testing.assert_array_equal(again((4, 4)), made((4, 4)))
    assert repr(again) == repr(made)
    assert eval(repr(made), vars(importlib.import_module("gpunet.initializers")))


def test_an_own_class() -> None:
    class Halves(Initializer):
        def __call__(self, shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
            return np.full(shape, 0.5, dtype)

    assert initializers.get(Halves)((2,)).tolist() == [0.5, 0.5]
    assert repr(Halves()) == "Halves()"
    with pytest.raises(NotImplementedError, match=r"Initializer has no method __call__"):
        Initializer()((2,))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: initializers.get("glorot"), ValueError, "initializer 'glorot': did you mean"),
        (lambda: initializers.get(3), TypeError, "received 3 of type int"),
        (lambda: initializers.HeNormal(seed=-1), ValueError, "random seed is an integer in"),
        (lambda: initializers.HeNormal(seed=1.5), TypeError, "random seed is an integer in"),
        (lambda: initializers.VarianceScaling(0), ValueError, "expects a scale > 0, received 0"),
        (
            lambda: initializers.VarianceScaling(None),
            TypeError,
            "a number for scale, received None",
        ),
        (
            lambda: initializers.VarianceScaling(mode=None),
            TypeError,
            "the name of a mode of VarianceScaling, received None; the names are: fan_avg",
        ),
        (lambda: initializers.Constant(None), TypeError, "Constant expects .* for value.*None"),
        (lambda: initializers.Constant("1"), TypeError, "Constant expects .* for value"),
        (
            lambda: initializers.Identity(np.ones(2)),
            TypeError,
            "Identity expects a number for gain",
        ),
        (
            lambda: initializers.RandomNormal(np.nan),
            ValueError,
            "RandomNormal expects a finite mean",
        ),
        (lambda: initializers.RandomUniform("0"), TypeError, "a number for minval, received '0'"),
        (
            lambda: initializers.VarianceScaling(mode="fan_im"),
            ValueError,
            "mode of VarianceScaling 'fan_im': did you mean 'fan_in'",
        ),
        (
            lambda: initializers.VarianceScaling(distribution="unifrom"),
            ValueError,
            "distribution of VarianceScaling 'unifrom': did you mean 'uniform'",
        ),
        (lambda: initializers.Identity()((2, 2, 2)), ValueError, r"received \(2, 2, 2\)"),
        (lambda: initializers.Orthogonal()((4,)), ValueError, r"two axes or more, received \(4,\)"),
        (lambda: initializers.RandomNormal(stddev=-1)((4,)), ValueError, "stddev >= 0"),
        (lambda: initializers.HeNormal()((4, 4), "int32"), TypeError, "float32 or float64"),
    ],
)
def test_errors(make: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()  # type: ignore[operator]
