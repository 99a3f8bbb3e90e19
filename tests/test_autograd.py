"""The tape: what is recorded, how gradients come back, what is freed."""

import gc
import weakref
from typing import NamedTuple

import numpy as np
import pytest

from gpunet import (
    Parameter,
    Tensor,
    differentiable,
    functions,
    grad,
    no_grad,
    value_and_grad,
)
from gpunet.autograd import Array
from gpunet.primitives import as_activation
from gpunet.symbolic import Symbol

LEAKY = as_activation("leaky_relu", negative_slope=0.1)


def test_a_tensor_used_twice_gets_both_gradients():
    x = Tensor(np.array([1.0, -2.0]), requires_grad=True)
    (x * x + x).sum().backward()
    np.testing.assert_allclose(x.grad, [3.0, -3.0])


def test_gradients_of_several_backward_calls_add_up():
    x = Tensor(np.ones(2), requires_grad=True)
    (2 * x).sum().backward()
    (3 * x).sum().backward()
    np.testing.assert_allclose(x.grad, [5.0, 5.0])


def test_paths_that_meet_are_gone_through_once_each():
    """A diamond of 60 additions has 2**60 paths: only an order by calls gets through it."""
    x = Tensor(np.array(1.0), requires_grad=True)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert float(x.grad) == 2.0**60


def test_a_long_chain_needs_no_recursion():
    x = Tensor(np.array(1.0), requires_grad=True)
    y = x
    for _ in range(5000):
        y = y + 1.0
    y.backward()
    assert float(x.grad) == 1.0


def test_no_grad_records_nothing():
    x = Tensor(np.ones(3), requires_grad=True)
    with no_grad():
        y = x * 2
    assert y.node is None
    with pytest.raises(RuntimeError, match="no_grad"):
        y.sum().backward()


def test_a_second_backward_through_the_same_tape_says_so():
    x = Tensor(np.ones(3), requires_grad=True)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="anew"):
        y.backward()


def test_backward_from_several_numbers_wants_a_gradient_of_their_shape():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"received \(3,\)"):
        (x * 2).backward(np.ones(3))
    (x * 2).backward(np.full((2, 3), 5.0))
    np.testing.assert_array_equal(x.grad, np.full((2, 3), 10.0))


def test_integers_have_no_gradient():
    with pytest.raises(TypeError, match="float32 or float64"):
        Tensor(np.arange(3), requires_grad=True)


def test_what_a_closure_held_is_freed_as_it_is_consumed():
    """During the backward call of the first layer, what the second kept must be gone."""
    alive: list[int] = []
    kept: list[weakref.ref[Array]] = []

    @differentiable
    def keeps(x):
        y = x + 1
        saved = np.array(y)
        kept.append(weakref.ref(saved))

        def backward(output_grad):
            alive.append(sum(reference() is not None for reference in kept))
            return output_grad * (saved == saved)

        return y, backward

    x = Tensor(np.ones(4), requires_grad=True)
    keeps(keeps(keeps(x))).sum().backward()
    assert alive == [3, 2, 1]


def test_intermediate_values_that_no_closure_needs_are_freed_at_once():
    x = Tensor(np.ones(4), requires_grad=True)
    y = x + 1
    reference = weakref.ref(y.value)
    z = (y + 1).sum()
    del y
    gc.collect()
    assert reference() is None
    z.backward()
    np.testing.assert_array_equal(x.grad, np.ones(4))


def test_gradients_nobody_wants_are_not_computed():
    wanted = []

    @differentiable
    def product(x, y):
        def for_x():
            wanted.append("x")
            return y

        def for_y():
            wanted.append("y")
            return x

        return x * y, lambda output_grad: (for_x, for_y)

    y = Tensor(np.array(3.0), requires_grad=True)
    product(np.array(2.0), y).backward()
    assert wanted == ["y"]
    assert float(y.grad) == 2.0


def test_a_tensor_given_by_keyword_is_differentiated_too():
    x = Tensor(np.ones((4, 3)))
    kernel = Tensor(np.ones((3, 2)), requires_grad=True)
    functions.dense(x, kernel=kernel).sum().backward()
    np.testing.assert_array_equal(kernel.grad, np.full((3, 2), 4.0))


def test_a_closure_that_returns_the_wrong_shape_is_named():
    @differentiable
    def wrong(x):
        return x * 2, lambda output_grad: output_grad.sum()

    x = Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(ValueError, match=r"'wrong' must return a gradient of shape \(3,\)"):
        wrong(x).sum().backward()


def test_a_closure_that_forgets_an_argument_is_named():
    @differentiable
    def forgets(x, y):
        return x * y, lambda output_grad: output_grad * y

    y = Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(ValueError, match="argument 1, received none"):
        forgets(np.ones(3), y).sum().backward()


def test_what_backward_leaves_in_grad_is_not_shared():
    seed = np.ones(3)
    x, y = (Tensor(np.ones(3), requires_grad=True) for _ in range(2))
    (x + y).backward(seed)
    x.grad += 1
    np.testing.assert_array_equal(y.grad, np.ones(3))
    np.testing.assert_array_equal(seed, np.ones(3))


def test_grad_by_several_arguments_and_in_structures():
    def loss(x, weights, *, factor):
        return factor * (x * weights["scale"] + weights["shifts"][0]).sum()

    weights = {"scale": np.array([2.0, 3.0]), "shifts": [np.array(1.0)]}
    value, (x_grad, weight_grads) = value_and_grad(loss, argnums=(0, 1))(
        np.array([1.0, 2.0]), weights, factor=2.0
    )
    assert float(value) == 20.0
    np.testing.assert_array_equal(x_grad, [4.0, 6.0])
    np.testing.assert_array_equal(weight_grads["scale"], [2.0, 4.0])
    np.testing.assert_array_equal(weight_grads["shifts"][0], 4.0)


def test_grad_of_a_named_tuple_is_one():
    class Weights(NamedTuple):
        scale: np.ndarray
        shift: np.ndarray

    weights = Weights(np.array(2.0), np.array(1.0))
    found = grad(lambda w, x: (w.scale * x + w.shift).sum())(weights, np.array([1.0, 2.0]))
    assert isinstance(found, Weights)
    assert (float(found.scale), float(found.shift)) == (3.0, 2.0)


def test_grad_of_what_does_not_depend_on_the_argument_is_zero():
    np.testing.assert_array_equal(grad(lambda x: Tensor(3.0))(np.ones(2)), np.zeros(2))


def test_grad_of_what_is_no_tensor_says_so():
    with pytest.raises(TypeError, match="must return a Tensor, received float"):
        grad(lambda x: 3.0)(np.ones(2))


def test_a_parameter_adds_to_the_gradient_it_was_given_in_place():
    parameter = Parameter(np.ones(2), name="scale")
    buffer = parameter.grad = np.zeros(2)
    (parameter * 3).sum().backward()
    assert parameter.grad is buffer
    np.testing.assert_array_equal(buffer, [3.0, 3.0])


def test_a_parameter_is_assigned_in_place():
    parameter = Parameter(np.arange(6, dtype="float32").reshape(2, 3), name="kernel")
    array = parameter.value
    for value in (np.full((2, 3), 0.5), [[0.5] * 3] * 2, Tensor(np.full((2, 3), 0.5))):
        parameter.assign(2 * np.ones((2, 3)))
        parameter.assign(value)
        np.testing.assert_array_equal(array, np.full((2, 3), 0.5))
    parameter.assign_add([1, 2, 3])
    parameter.assign_sub(Parameter(np.array([[1.0], [2.0]])))
    np.testing.assert_array_equal(array, [[0.5, 1.5, 2.5], [-0.5, 0.5, 1.5]])
    assert parameter.value is array
    assert array.dtype == np.float32
    parameter.assign(parameter.value[:, ::-1])
    np.testing.assert_array_equal(array, [[2.5, 1.5, 0.5], [1.5, 0.5, -0.5]])
    single = Parameter(np.array(1.0))
    single.assign(3)
    single.assign_add(np.float64(0.5))
    assert float(single) == 3.5


@pytest.mark.parametrize("method", ["assign", "assign_add", "assign_sub"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.ones((3, 2)), ValueError, r"shape \(2, 3\), received shape \(3, 2\)"),
        (np.ones((1, 2, 3)), ValueError, r"received shape \(1, 2, 3\)"),
        ("one", TypeError, "received str"),
        ([[1.0], [1.0, 2.0]], TypeError, "received list"),
        (None, TypeError, "received NoneType"),
    ],
)
def test_what_does_not_fit_is_not_assigned(method, value, error, message):
    parameter = Parameter(np.ones((2, 3)), name="kernel")
    with pytest.raises(error, match=f"{method} of weight 'kernel' expects .*{message}"):
        getattr(parameter, method)(value)
    np.testing.assert_array_equal(parameter.value, np.ones((2, 3)))


def test_a_number_is_added_to_a_weight_and_not_assigned():
    parameter = Parameter(np.ones(2), name="bias")
    with pytest.raises(ValueError, match=r"assign of weight 'bias' expects an array of shape"):
        parameter.assign(2.0)  # as in Keras
    parameter.assign_sub(2)
    np.testing.assert_array_equal(parameter.value, [-1.0, -1.0])


def test_float32_stays_float32():
    x = Tensor(np.ones(3, "float32"), requires_grad=True)
    y = (2 * x + 1.5) ** 2 / 3 - np.float32(1)
    y.mean().backward()
    assert y.dtype == x.grad.dtype == np.float32


def test_grad_works_inside_no_grad():
    with no_grad():
        np.testing.assert_array_equal(grad(lambda x: (x**2).sum())(np.array([3.0])), [6.0])


def test_gradients_of_gradients_are_refused():
    cube = grad(lambda x: (x**3).sum())
    with pytest.raises(TypeError, match="gradients of gradients"):
        grad(lambda x: (x * cube(x)).sum())(np.array([2.0]))


def test_a_gradient_has_the_dtype_of_what_it_is_for():
    x = Tensor(np.ones(3, "float32"), requires_grad=True)
    functions.relu((x * np.ones(3)).astype("float32")).sum().backward()
    assert x.grad.dtype == np.float32


def test_no_array_of_a_tensor_is_made_silently():
    x = Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(TypeError, match="lose its gradient"):
        np.array([x[0], x[1]])
    with pytest.raises(TypeError, match="lose its gradient"):
        Tensor([x[0], x[1]])
    assert np.asarray(x.detach()).shape == (3,)


def test_calls_on_symbols_are_recorded_as_they_were_made():
    symbol = Symbol((None, 3), name="x")
    kernel = np.ones((3, 2), "float32")
    for function, args, kwargs in (
        (functions.relu, (symbol, 0.1), {}),
        (functions.relu, (), {"x": symbol}),
        (functions.softmax, (symbol,), {"axis": 0}),
        (functions.sigmoid, (symbol,), {}),
        (functions.add, (np.float64(1), symbol), {}),
        (functions.dense, (symbol,), {"kernel": kernel, "activation": LEAKY}),
        (functions.dense, (np.ones((2, 3), "float32"),), {"kernel": Symbol((3, 2))}),
        (functions.var, (symbol,), {}),
    ):
        node = function(*args, **kwargs).node
        assert (node.operation, node.args, node.kwargs) == (function, args, kwargs)


def test_a_recorded_call_computes_what_the_function_does():
    symbol = Symbol((None, 3), "float64")
    kernel, bias = Tensor(np.ones((3, 2))), Tensor(np.arange(2.0))
    y = functions.dense(symbol, kernel, bias=bias, activation=LEAKY)
    assert y.shape == (None, 2)
    x = Tensor(-np.ones((4, 3)), requires_grad=True)
    found = y.node.call(iter([x]))
    np.testing.assert_allclose(found.value, [[-0.3, -0.2]] * 4)
    found.sum().backward()
    np.testing.assert_allclose(x.grad, np.full((4, 3), 0.2))
