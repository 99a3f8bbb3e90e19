"""Keras' calls on lists of weights, weight decay, kept slots, steps that fail or are skipped."""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np
import pytest

from gpunet import optimizers
from gpunet.autograd import Parameter, Tensor
from gpunet.optimizers import SGD, Adam, Optimizer, Segment

SHAPES = [(3, 2), (2,), (4,)]
NAMES = ["kernel", "bias", "scale"]


class Momentum(Optimizer):
    """In array expressions."""

    slots = ("velocity",)

    def update(self, parameters: Any, gradients: Any, slots: Any, segments: Any) -> None:
        slots["velocity"] *= 0.9
        slots["velocity"] -= self.learning_rate * gradients
        parameters += slots["velocity"]


OPTIMIZERS = {
    "SGD": lambda: SGD(0.1),
    "momentum": lambda: SGD(0.1, momentum=0.9),
    "Adam": lambda: Adam(0.05),
    "custom": lambda: Momentum(0.1),
    "decay": lambda: Adam(0.05, weight_decay=0.1),
}


def weights(dtype: Any = np.float32) -> list[Parameter]:
    rng = np.random.default_rng(0)
    pairs = zip(SHAPES, NAMES, strict=True)
    return [Parameter(rng.normal(size=shape).astype(dtype), name) for shape, name in pairs]


def gradients(seed: int, dtype: Any = np.float32) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape in SHAPES]


def values(variables: list[Any]) -> list[list[float]]:
    return [np.asarray(v.value).ravel().tolist() for v in variables]


def flat(arrays: Any) -> np.ndarray:
    return np.concatenate([np.ravel(getattr(a, "value", a)) for a in arrays])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_lists_are_stepped_as_a_flat_buffer_is(name: str) -> None:
    one, other, variables = OPTIMIZERS[name](), OPTIMIZERS[name](), weights()
    buffer = flat(variables)
    one.build(variables)
    other.build_buffer(buffer)
    for seed in range(4):
        grads = gradients(seed)
        if seed % 2:
            one.apply(grads, variables)
        else:
            one.apply_gradients(zip(map(Tensor, grads), variables, strict=True))
        other.step(buffer, flat(grads))
    np.testing.assert_array_equal(flat(variables), buffer)
    assert int(one.iterations) == int(other.iterations) == 4
    assert one.iterations[0] == one.iterations.numpy() == 4


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("decay", [None, 0.1])
def test_keras_gives_the_same(name: str, decay: Any) -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    ours = getattr(optimizers, name)(0.05, weight_decay=decay)
    theirs = getattr(keras.optimizers, name)(0.05, weight_decay=decay)
    variables = weights()
    their_variables = [keras.Variable(v.value, name=v.name) for v in variables]
    for optimizer in (ours, theirs):
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    for seed in range(3):
        grads = gradients(seed)
        ours.apply(grads, variables)
        theirs.apply([keras.ops.convert_to_tensor(g) for g in grads], their_variables)
    for v, w in zip(variables, their_variables, strict=True):
        # float32: three steps round values around 1 by some 6e-8 each.
        np.testing.assert_allclose(v.value, keras.ops.convert_to_numpy(w.value), atol=2e-6)
    # The count, the rate, then each weight's slots.
    for found, expected in zip(ours.variables, theirs.variables, strict=True):
        expected = keras.ops.convert_to_numpy(expected.value)
        np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)


def test_weight_decay_and_what_it_spares() -> None:
    variables = weights()
    optimizer = Adam(0.01, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[variables[2]], var_names=["bias"])
    before = [v.value.copy() for v in variables]
    optimizer.apply([np.zeros_like(v.value) for v in variables], variables)
    np.testing.assert_allclose(variables[0].value, 0.999 * before[0], rtol=1e-6)
    assert np.array_equal(variables[1].value, before[1])
    assert np.array_equal(variables[2].value, before[2])
    with pytest.raises(ValueError, match="before the optimizer is built"):
        optimizer.exclude_from_weight_decay(var_names=["kernel"])
    with pytest.raises(ValueError, match="SGD expects weight_decay at least 0"):
        SGD(weight_decay=-0.1)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_the_weights_that_are_given_change(name: str) -> None:
    optimizer, variables = OPTIMIZERS[name](), weights()
    alone, lonely = OPTIMIZERS[name](), weights()[1:2]
    optimizer.apply(gradients(0), variables)
    alone.apply(gradients(0)[1:2], lonely)
    before = values(variables)
    state = {key: slot.copy() for key, slot in optimizer.state.items()}
    optimizer.apply(gradients(1)[1:2], variables[1:2])
    alone.apply(gradients(1)[1:2], lonely)
    after = values(variables)
    assert (after[0], after[2], after[1]) == (before[0], before[2], values(lonely)[0])
    for key, slot in optimizer.state.items():
        changed = np.flatnonzero(slot != state[key])
        assert changed.tolist() == [6, 7]
    with pytest.warns(UserWarning, match="no gradient for 'kernel', 'scale', left unchanged"):
        optimizer.apply([None, gradients(2)[1], None], variables)
    assert values(variables)[0] == before[0]


def test_compiled_again_for_the_same_weights_it_goes_on() -> None:
    """Also in another layout, and with some of them frozen for a while."""
    optimizer, variables = Adam(0.1), weights()
    optimizer.apply(gradients(0), variables)
    slots = {v.name: v.numpy() for v in optimizer.variables[2:]}
    segments = [Segment("bias", 0, 2, (2,)), Segment("kernel", 32, 6, (3, 2))]
    optimizer.build_buffer(np.zeros(64, np.float32), segments, [variables[1], variables[0]])
    assert int(optimizer.iterations) == 1
    found = {v.name: v.numpy() for v in optimizer.variables[2:]}
    assert set(found) == set(slots) - {"scale_mean", "scale_variance"}
    optimizer.build(variables)
    found |= {v.name: v.numpy() for v in optimizer.variables[2:]}
    for key, slot in found.items():
        np.testing.assert_array_equal(slot, slots[key])
    twin = copy.deepcopy((optimizer, variables))
    twin[0].apply(gradients(1), twin[1])
    optimizer.apply(gradients(1), variables)
    assert values(twin[1]) == values(variables)


def test_other_weights_are_refused() -> None:
    optimizer, variables = Adam(0.1), weights()
    optimizer.apply(gradients(0), variables)
    state = {key: slot.copy() for key, slot in optimizer.state.items()}
    message = "'adam' was built for other weights: 'kernel' of shape .* own optimizer"
    with pytest.raises(ValueError, match=message):
        optimizer.apply(gradients(0), weights())
    with pytest.raises(ValueError, match=message):
        optimizer.build(weights())
    assert int(optimizer.iterations) == 1
    assert all(np.array_equal(state[key], slot) for key, slot in optimizer.state.items())
    flat_only = SGD()
    flat_only.build_buffer(np.zeros(3))
    with pytest.raises(ValueError, match="was built for other weights"):
        flat_only.apply(gradients(0), weights())


@pytest.mark.parametrize("name", ["SGD", "Adam", "custom", "decay"])
@pytest.mark.parametrize("counted", [False, True])
def test_a_step_that_is_skipped_changes_nothing(name: str, counted: bool) -> None:
    optimizer, other = OPTIMIZERS[name](), OPTIMIZERS[name]()
    buffer = flat(weights())
    start, expected = buffer.copy(), buffer.copy()
    optimizer.build_buffer(buffer)
    other.build_buffer(expected)
    flags = np.array([0, 1, 0])
    for _ in range(2):
        optimizer.step(buffer, flat(gradients(0)), skip=flags, counted=counted)
    np.testing.assert_array_equal(buffer, start)
    assert not any(slot.any() for slot in optimizer.state.values())
    assert int(optimizer.iterations) == 0
    assert flags.tolist() == [0, 1, 2]
    optimizer.count += counted
    optimizer.step(buffer, flat(gradients(0)), skip=np.zeros(3, np.int64), counted=counted)
    other.step(expected, flat(gradients(0)))
    np.testing.assert_array_equal(buffer, expected)
    assert int(optimizer.iterations) == 1


def test_a_rule_that_fails_half_way_leaves_all_as_it_was() -> None:
    class Fails(Momentum):
        def update(self, parameters: Any, gradients: Any, slots: Any, segments: Any) -> None:
            super().update(parameters, gradients, slots, segments)
            raise KeyboardInterrupt

    optimizer, variables = Fails(0.1, weight_decay=0.1), weights()
    before = values(variables)
    with pytest.raises(KeyboardInterrupt):
        optimizer.apply(gradients(0), variables)
    assert values(variables) == before
    assert not optimizer.state["velocity"].any()
    assert int(optimizer.iterations) == 0


def test_a_rule_of_a_subclass_is_not_the_fused_one() -> None:
    class Halved(SGD):
        def update(self, parameters: Any, gradients: Any, slots: Any, segments: Any) -> None:
            super().update(parameters, gradients, slots, segments)
            parameters *= 0.5

    optimizer, buffer = Halved(1.0), np.ones(2)
    optimizer.build_buffer(buffer)
    optimizer.step(buffer, np.zeros(2), skip=np.array([1, 0, 0]))
    assert buffer.tolist() == [1.0, 1.0]
    optimizer.step(buffer, np.zeros(2), skip=np.array([0, 0, 0]))
    assert buffer.tolist() == [0.5, 0.5]


def test_a_rule_gets_the_segments() -> None:
    class Scaled(Optimizer):
        """Each weight moves by the mean of its gradient."""

        def update(self, parameters: Any, gradients: Any, slots: Any, segments: Any) -> None:
            for segment in segments:
                parameters[segment.part] -= gradients[segment.part].mean()

    variables = weights(np.float64)
    before, grads = values(variables), gradients(0, np.float64)
    Scaled().apply(grads, variables)
    for v, old, g in zip(variables, before, grads, strict=True):
        np.testing.assert_allclose(v.value.ravel(), np.array(old) - g.mean(), rtol=1e-14)


def test_plain_arrays_are_weights_too() -> None:
    array = np.ones(3)
    SGD(0.5).apply([np.ones(3)], [array])
    assert array.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda o, v: o.apply(np.ones(3), v), TypeError, r"use step\(parameters, gradients\)"),
        (lambda o, v: o.build(np.ones(3)), TypeError, "use build_buffer"),
        (lambda o, v: o.build([]), ValueError, "an empty list"),
        (lambda o, v: o.build([np.ones(2), np.ones(2, "f")]), ValueError, "float32', 'float64"),
        (lambda o, v: o.apply(v, gradients(0)[:2]), ValueError, "3 gradients and 2 weights"),
        (lambda o, v: o.apply(gradients(0)), ValueError, "3 gradients and 0 weights"),
        (lambda o, v: o.apply([None] * 3, v), ValueError, r"no gradient for .*backward\(\)"),
        (lambda o, v: o.apply(gradients(0)[::-1], v), ValueError, "gradient of shape .*'kernel'"),
    ],
)
def test_bad_calls_change_nothing(call: Any, error: Any, message: str) -> None:
    optimizer, variables = Adam(), weights()
    before = values(variables)
    with pytest.raises(error, match=message):
        call(optimizer, variables)
    assert values(variables) == before
    assert int(optimizer.iterations) == 0
    assert not optimizer.built
