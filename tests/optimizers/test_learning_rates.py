"""Learning rates: as they are read and set in callbacks, and schedules with Keras as oracle."""

from __future__ import annotations

import copy
import json
import os
import pickle
from typing import Any

import numpy as np
import pytest

from gpunet import optimizers
from gpunet.optimizers import SGD, Adam, Optimizer, schedules


def stepped(optimizer: Optimizer, steps: int = 1) -> list[float]:
    """Return how far plain gradient descent goes in each step for a gradient of 1."""
    parameters, taken = np.zeros(1), []
    optimizer.build_buffer(parameters)
    for _ in range(steps):
        before = parameters[0]
        optimizer.step(parameters, np.ones(1))
        taken.append(float(before - parameters[0]))
    return taken


@pytest.mark.parametrize("built", [False, True])
def test_it_reads_as_a_variable(built: bool) -> None:
    optimizer = SGD(0.25)
    if built:
        optimizer.build_buffer(np.zeros(3, np.float32))
    rate = optimizer.learning_rate
    assert float(rate) == float(rate.numpy()) == float(np.asarray(rate)) == rate.item() == 0.25
    assert rate.shape == np.asarray(rate).shape == ()
    assert 2 * rate == 0.5
    assert rate / 2 == rate - 0.125 == 0.125
    assert (rate**2, 1 - rate, -rate) == (0.0625, 0.75, -0.25)
    assert (np.ones(2) * rate).tolist() == [0.25, 0.25]
    assert rate < 0.5
    assert f"{rate:.3f}" == "0.250"
    assert repr(rate) == "<Rate 'learning_rate': 0.25>"
    assert json.dumps(optimizer.get_config()["learning_rate"]) == "0.25"


def test_it_can_be_assigned() -> None:
    optimizer = SGD(1.0)
    rate = optimizer.learning_rate
    rate.assign(0.5)
    assert stepped(optimizer) == [0.5]
    assert rate == 0.5, "a rate that was read before build is that of the optimizer still"
    rate.assign_add(0.25)
    rate.assign_sub(np.float32(0.5))
    optimizer.learning_rate *= 2
    assert optimizer.learning_rate == 0.5
    optimizer.learning_rate = SGD(0.125).learning_rate
    assert float(rate) == 0.125
    with pytest.raises(ValueError, match="learning_rate at least 0"):
        rate.assign(-1)
    assert float(rate) == 0.125


def test_lr_is_refused() -> None:
    optimizer = SGD(0.5)
    with pytest.raises(AttributeError, match=r"use learning_rate, as optimizer\.learning_rate"):
        optimizer.lr = 0.1  # type: ignore[misc]
    with pytest.raises(AttributeError, match="use learning_rate"):
        optimizer.lr  # noqa: B018
    assert optimizer.learning_rate == 0.5
    assert not hasattr(optimizer, "momentun")


SCHEDULES = [
    ("ExponentialDecay", (0.5, 4, 0.9), {}),
    ("ExponentialDecay", (0.5, 4, 0.9), {"staircase": True}),
    ("InverseTimeDecay", (0.5, 4, 0.9), {}),
    ("InverseTimeDecay", (0.5, 4, 0.9), {"staircase": True}),
    ("PiecewiseConstantDecay", ([2, 4], [1.0, 0.5, 0.1]), {}),
    ("PolynomialDecay", (1.0, 4, 0.1), {}),
    ("PolynomialDecay", (1.0, 4, 0.1), {"power": 2.0, "cycle": True}),
    ("CosineDecay", (1.0, 10), {"alpha": 0.1}),
    ("CosineDecay", (0.1, 10), {"warmup_target": 1.0, "warmup_steps": 5}),
]


@pytest.mark.parametrize(("name", "arguments", "options"), SCHEDULES)
def test_schedules_are_those_of_keras(name: str, arguments: Any, options: Any) -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    ours = getattr(schedules, name)(*arguments, **options)
    theirs = getattr(keras.optimizers.schedules, name)(*arguments, **options)
    for step in range(20):
        # Keras computes in float32, whose powers and cosines err by some 6e-8.
        assert float(ours(step)) == pytest.approx(float(theirs(step)), abs=1e-6)
    config = theirs.get_config()
    assert {key: ours.get_config()[key] for key in config} == config
    assert type(ours).from_config(config).get_config() == ours.get_config()


def test_the_values_of_the_facts() -> None:
    cycle = schedules.PolynomialDecay(1.0, 4, 0.1, cycle=True)
    assert [round(float(cycle(step)), 4) for step in (0, 4, 5, 8)] == [1.0, 0.1, 0.4375, 0.1]
    piecewise = schedules.PiecewiseConstantDecay([2, 4], [1.0, 0.5, 0.1])
    assert [float(piecewise(step)) for step in (2, 4, 5)] == [1.0, 0.5, 0.1]


@pytest.mark.parametrize("make", [SGD, lambda rate: SGD(rate, momentum=0.0, name="named")])
def test_steps_follow_a_schedule(make: Any) -> None:
    schedule = schedules.InverseTimeDecay(1.0, 1, 1.0)
    optimizer = make(schedule)
    assert stepped(optimizer, 3) == pytest.approx([1, 1 / 2, 1 / 3], rel=1e-14)
    assert optimizer.learning_rate == 1 / 4, "the rate of the next step"
    assert make(lambda step: 1 / (1 + step)).learning_rate == 1.0
    assert stepped(make(lambda step: 1 / (1 + step)), 3) == stepped(make(schedule), 3)


def test_within_a_step_the_rate_is_that_of_the_step() -> None:
    class Reads(Optimizer):
        def update(self, parameters: Any, gradients: Any, slots: Any) -> None:
            parameters -= self.learning_rate * gradients

    assert stepped(Reads(lambda step: 1.0 + step), 3) == [1.0, 2.0, 3.0]


def test_a_schedule_can_take_the_place_of_another_and_of_a_number() -> None:
    optimizer = SGD(0.5)
    optimizer.learning_rate = lambda step: 0.25
    assert stepped(optimizer) == [0.25]
    with pytest.raises(TypeError, match=r"follows the schedule .* cannot be set to 0.1"):
        optimizer.learning_rate = 0.1
    with pytest.raises(TypeError, match="follows the schedule"):
        optimizer.learning_rate.assign(0.1)
    optimizer.learning_rate = schedules.ExponentialDecay(0.125, 10, 0.5)
    assert stepped(optimizer) == [0.125]


def test_an_optimizer_with_a_schedule_is_written_down() -> None:
    optimizer = Adam(schedules.ExponentialDecay(0.5, 10, 0.9))
    written = json.loads(json.dumps(optimizers.serialize(optimizer)))
    again = optimizers.deserialize(written)
    assert optimizers.serialize(again) == written
    assert again.learning_rate == 0.5


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_has_its_own_rate(twin: Any) -> None:
    optimizer = SGD(0.5, momentum=0.5)
    stepped(optimizer)
    other = twin(optimizer)
    other.learning_rate.assign(0.25)
    assert (float(optimizer.learning_rate), float(other.learning_rate)) == (0.5, 0.25)
    assert other.get_config() == optimizer.get_config() | {"learning_rate": 0.25}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.ExponentialDecay(0.5, 0, 0.5), "decay_steps above 0, received 0"),
        (lambda: schedules.CosineDecay(-1, 5), "initial_learning_rate at least 0"),
        (lambda: schedules.PiecewiseConstantDecay([2], [1.0]), "1 values and 1 boundaries"),
        (lambda: schedules.PiecewiseConstantDecay([4, 2], [1, 1, 1]), "increasing boundaries"),
        (lambda: schedules.deserialize("exponential"), "did you mean 'exponential_decay'"),
    ],
)
def test_schedules_that_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(TypeError, match="takes no argument 'steps'"):
        schedules.CosineDecay(0.5, steps=5)  # type: ignore[call-arg]
    with pytest.raises(NotImplementedError, match="must define __call__"):
        schedules.LearningRateSchedule()(0)
    for make_function in (SGD, lambda rate: setattr(SGD(0.5), "learning_rate", rate)):
        with pytest.raises(TypeError, match=r"schedule must be a function of \(step\), received"):
            make_function(lambda: 0.5)
