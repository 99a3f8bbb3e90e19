"""Optimizers: closed forms, PyTorch and Keras as oracles, one's own subclass, bad input."""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpunet import optimizers
from gpunet.optimizers import SGD, Adam, Optimizer

STEPS, SIZE = 7, 23

# float32: a step rounds parameter and slots a few times, by 6e-8 of their size each; the sizes
# here are around 1, and 7 steps add up. float64 has 1e-16 in the place of 6e-8.
TOLERANCE = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-14}


def draw(dtype: Any, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return parameters (SIZE,) and gradients (STEPS, SIZE)."""
    generator = np.random.default_rng(seed)
    parameters = generator.normal(size=SIZE).astype(dtype)
    return parameters, generator.normal(size=(STEPS, SIZE)).astype(dtype)


def run(optimizer: Optimizer, parameters: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return the parameters after one step for each row of `gradients`."""
    parameters = parameters.copy()
    optimizer.build_buffer(parameters)
    for step in gradients:
        kept = step.copy()
        optimizer.step(parameters, step)
        assert np.array_equal(step, kept), "an optimizer must not write into the gradients"
    return parameters


def sgd_by_hand(
    p: np.ndarray, gradients: np.ndarray, rate: float, momentum: float, nesterov: bool
) -> np.ndarray:
    p, v = p.astype(np.float64), np.zeros(p.shape)
    for g in gradients.astype(np.float64):
        v = momentum * v - rate * g
        p = p + (momentum * v - rate * g if nesterov else v)
    return p


def adam_by_hand(
    p: np.ndarray, gradients: np.ndarray, rate: float, b1: float, b2: float, epsilon: float
) -> np.ndarray:
    p, m, v = p.astype(np.float64), np.zeros(p.shape), np.zeros(p.shape)
    for t, g in enumerate(gradients.astype(np.float64), start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        p = p - rate * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + epsilon)
    return p


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    rate=st.floats(0.0, 0.5),
    momentum=st.one_of(st.just(0.0), st.floats(0.01, 1.0)),
    nesterov=st.booleans(),
    seed=st.integers(0, 99),
)
def test_sgd_by_hand(dtype: Any, rate: float, momentum: float, nesterov: bool, seed: int) -> None:
    parameters, gradients = draw(dtype, seed)
    rate = float(dtype(rate))
    found = run(SGD(rate, momentum, nesterov), parameters, gradients)
    expected = sgd_by_hand(parameters, gradients, rate, momentum, nesterov)
    assert found.dtype == dtype
    # Momentum 1 lets the velocity grow to some 10 times the gradients.
    assert np.abs(found - expected).max() <= 20 * TOLERANCE[found.dtype]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    rate=st.floats(0.0, 0.5),
    beta_1=st.floats(0.0, 0.99),
    beta_2=st.floats(0.5, 0.999),
    epsilon=st.floats(1e-8, 1e-2),
    seed=st.integers(0, 99),
)
def test_adam_by_hand(
    dtype: Any, rate: float, beta_1: float, beta_2: float, epsilon: float, seed: int
) -> None:
    parameters, gradients = draw(dtype, seed)
    rate = float(dtype(rate))
    optimizer = Adam(rate, beta_1, beta_2, epsilon)
    found = run(optimizer, parameters, gradients)
    expected = adam_by_hand(parameters, gradients, rate, beta_1, beta_2, epsilon)
    assert found.dtype == dtype
    # The moments are divided by 1 - beta, at least 0.001: their rounding grows by as much.
    assert np.abs(found - expected).max() <= 20 * TOLERANCE[found.dtype]
    assert int(optimizer.iterations) == STEPS


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.8, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"learning_rate": 0.05, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3}),
]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_keras_gives_the_same(name: str, settings: dict[str, Any]) -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    parameters, gradients = draw(np.float32)
    found = run(getattr(optimizers, name)(**settings), parameters, gradients)
    theirs, variable = getattr(keras.optimizers, name)(**settings), keras.Variable(parameters)
    for step in gradients:
        theirs.apply([keras.ops.convert_to_tensor(step)], [variable])
    expected = keras.ops.convert_to_numpy(variable.value)
    assert np.abs(found - expected).max() <= TOLERANCE[found.dtype]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_pytorch_gives_the_same(name: str, settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    parameters, gradients = draw(np.float64)
    ours = getattr(optimizers, name)(**settings)
    # PyTorch adds epsilon after, Keras before the moments are corrected for their start at 0:
    # without it they are the same.
    if name == "Adam":
        ours.epsilon = 0.0
        options = {"betas": (ours.beta_1, ours.beta_2), "eps": 0.0}
    else:
        options = {"momentum": ours.momentum, "nesterov": ours.nesterov}
    found = run(ours, parameters, gradients)
    variable = torch.tensor(parameters, requires_grad=True)
    theirs = getattr(torch.optim, name)([variable], lr=float(ours.learning_rate), **options)
    for step in gradients:
        variable.grad = torch.tensor(step)
        theirs.step()
    assert np.abs(found - variable.detach().numpy()).max() <= TOLERANCE[found.dtype]


def test_defaults_are_those_of_keras() -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    for name in ("SGD", "Adam"):
        theirs = getattr(keras.optimizers, name)().get_config()
        ours = getattr(optimizers, name)().get_config()
        for argument in ours.keys() - {"name", "learning_rate"}:
            assert ours[argument] == theirs[argument]
        assert ours["learning_rate"] == pytest.approx(theirs["learning_rate"])


# A subclass of one's own


class AdaGrad(Optimizer):
    """Nothing but slots and a rule."""

    slots = ("sum_of_squares",)

    def update(self, parameters: Any, gradients: Any, slots: Any) -> None:
        slots["sum_of_squares"] += gradients**2
        parameters -= self.learning_rate * gradients / np.sqrt(slots["sum_of_squares"])


def test_a_subclass_writes_its_slots_and_its_rule() -> None:
    parameters, gradients = draw(np.float32)
    optimizer = AdaGrad(0.5)
    found = run(optimizer, parameters, gradients)
    squares = np.cumsum(gradients.astype(np.float64) ** 2, axis=0)
    expected = parameters - 0.5 * (gradients / np.sqrt(squares)).sum(axis=0)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= TOLERANCE[found.dtype]
    assert optimizer.get_config() == {
        "learning_rate": 0.5,
        "weight_decay": None,
        "name": "ada_grad",
    }
    assert optimizers.get(optimizer) is optimizer


def test_an_update_sees_its_own_number() -> None:
    class Counts(Optimizer):
        seen: tuple[int, ...] = ()

        def update(self, parameters: Any, gradients: Any, slots: Any, segments: Any) -> None:
            self.seen += (int(self.iterations[0]),)

    optimizer = Counts()
    run(optimizer, *draw(np.float32))
    assert optimizer.seen == tuple(range(1, STEPS + 1))


def test_a_subclass_without_a_rule_is_told_so() -> None:
    class Empty(Optimizer):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no update rule: define update"):
        run(Empty(), *draw(np.float32))


# State


def test_the_learning_rate_can_be_set_at_any_time() -> None:
    parameters, gradients = draw(np.float64)
    optimizer = SGD(1.0)
    optimizer.learning_rate = 0.5
    optimizer.build_buffer(parameters)
    before, array = parameters.copy(), optimizer._learning_rate
    optimizer.step(parameters, gradients[0])
    optimizer.learning_rate = np.float32(0.25)
    optimizer.step(parameters, gradients[1])
    optimizer.learning_rate *= 2
    assert optimizer.learning_rate == 0.5
    assert optimizer._learning_rate is array, "a captured step reads this array"
    assert np.allclose(parameters, before - 0.5 * gradients[0] - 0.25 * gradients[1], rtol=1e-14)


def test_the_learning_rate_has_the_parameters_dtype() -> None:
    optimizer = Adam(0.001)
    assert optimizer.learning_rate == 0.001
    optimizer.build_buffer(np.zeros(3, np.float32))
    assert optimizer.learning_rate == np.float32(0.001)
    assert optimizer._learning_rate.dtype == np.float32
    assert optimizer._learning_rate.shape == (1,)
    assert optimizer.count.dtype == np.int64
    assert optimizer.count.shape == (1,)


def test_build_begins_anew() -> None:
    parameters, gradients = draw(np.float32)
    optimizer = Adam(0.1)
    assert not optimizer.built
    first = run(optimizer, parameters, gradients)
    assert optimizer.built
    assert np.array_equal(run(optimizer, parameters, gradients), first)
    assert set(optimizer.state) == {"mean", "variance"}


def test_slots_are_made_only_where_they_are_used() -> None:
    for optimizer, slots in ((SGD(), set()), (SGD(momentum=0.5), {"velocity"})):
        optimizer.build_buffer(np.zeros(3, np.float32))
        assert set(optimizer.state) == slots


def test_a_config_makes_the_same_optimizer() -> None:
    for optimizer in (SGD(0.125, 0.5, True, name="mine"), Adam(0.25, 0.5, 0.75, 1e-3)):
        config = optimizer.get_config()
        assert type(optimizer)(**config).get_config() == config
    assert SGD(0.125, 0.5, True, name="mine").get_config() == {
        "learning_rate": 0.125,
        "momentum": 0.5,
        "nesterov": True,
        "name": "mine",
    }


def test_a_config_needs_no_attributes() -> None:
    class Rho(Optimizer):
        def __init__(self, rho: float = 0.9, **options: Any) -> None:
            super().__init__(0.5, **options)

    assert Rho(0.8, name="mine").get_config() == {"rho": 0.8, "name": "mine"}


def test_a_copy_is_independent() -> None:
    parameters, gradients = draw(np.float32)
    optimizer = Adam(0.1)
    run(optimizer, parameters, gradients)
    twin = copy.deepcopy(optimizer)
    one, other = parameters.copy(), parameters.copy()
    optimizer.step(one, gradients[0])
    twin.step(other, gradients[0])
    assert np.array_equal(one, other)


# Bad input


def test_get() -> None:
    assert type(optimizers.get("adam")) is Adam
    assert type(optimizers.get("SGD")) is SGD
    with pytest.raises(ValueError, match="Unknown optimizer 'adm': did you mean 'adam'"):
        optimizers.get("adm")
    assert type(optimizers.get(Adam)) is Adam
    again = optimizers.get(optimizers.serialize(SGD(0.25, momentum=0.5)))
    assert again.get_config() == SGD(0.25, momentum=0.5).get_config()
    with pytest.raises(TypeError, match=r"Expected an optimizer: a name.*received 3 of type int"):
        optimizers.get(3)


def test_unknown_arguments() -> None:
    with pytest.raises(TypeError, match="Adam takes no argument 'beta1': did you mean 'beta_1'"):
        Adam(beta1=0.5)
    with pytest.raises(TypeError, match=r"SGD takes no argument 'lr'.*learning_rate"):
        SGD(lr=0.5)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_learning_rate_out_of_range(value: float) -> None:
    for kind in (SGD, Adam, AdaGrad):
        with pytest.raises(ValueError, match=f"{kind.__name__} expects learning_rate at least 0"):
            kind(value)
    optimizer = SGD(0.5)
    with pytest.raises(ValueError, match="learning_rate"):
        optimizer.learning_rate = value
    assert optimizer.learning_rate == 0.5


@pytest.mark.parametrize("value", ["0.1", None, True, [0.1], np.ones(2)])
def test_a_learning_rate_that_is_no_number(value: Any) -> None:
    with pytest.raises(TypeError, match="SGD expects a number for learning_rate, received"):
        SGD(value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(momentum=1.5), "momentum from 0 to 1, received 1.5"),
        (lambda: SGD(momentum=-0.5), "momentum from 0 to 1, received -0.5"),
        (lambda: SGD(momentum=float("nan")), "momentum from 0 to 1, received nan"),
        (lambda: Adam(beta_1=1.0), "beta_1 from 0 to below 1, received 1.0"),
        (lambda: Adam(beta_2=-1e-3), "beta_2 from 0 to below 1"),
        (lambda: Adam(epsilon=-1e-3), "epsilon at least 0"),
    ],
)
def test_settings_out_of_range(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_step_before_build() -> None:
    with pytest.raises(
        RuntimeError, match=r"adam\.step needs .*call build_buffer\(parameters\) first"
    ):
        Adam().step(np.zeros(3), np.zeros(3))


@pytest.mark.parametrize(
    ("parameters", "gradients", "named"),
    [
        (np.zeros(4), np.zeros(4), r"parameters .*float64\(3,\), received float64\(4,\)"),
        (np.zeros(3), np.zeros(1), r"gradients .*float64\(3,\), received float64\(1,\)"),
        (np.zeros(3), np.zeros(3, np.float32), r"gradients .*received float32\(3,\)"),
    ],
)
def test_step_with_other_buffers_changes_nothing(
    parameters: np.ndarray, gradients: np.ndarray, named: str
) -> None:
    optimizer = Adam()
    optimizer.build_buffer(np.zeros(3))
    with pytest.raises(ValueError, match=named):
        optimizer.step(parameters, gradients + 1)
    assert not parameters.any()
    assert int(optimizer.iterations) == 0


def test_build_needs_a_flat_buffer_of_floats() -> None:
    with pytest.raises(ValueError, match=r"one flat buffer.*received shape \(2, 2\)"):
        Adam().build_buffer(np.zeros((2, 2)))
    with pytest.raises(TypeError, match="float32 or float64, received int64"):
        Adam().build_buffer(np.zeros(3, np.int64))
