"""Every differentiable function: values against NumPy, gradients against differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from gpunet import (
    Parameter,
    Tensor,
    check_gradients,
    functions,
    grad,
    layers,
    models,
    no_grad,
    random,
)
from gpunet.autograd import recording
from gpunet.primitives import Stage

rng = np.random.default_rng(0)

KEY = random.Generator(3).next_key()


def draw(*shape, low=-2.0, high=2.0):
    return rng.uniform(low, high, shape)


def softmax_of_two_axes(x):
    return np.exp(x) / np.exp(x).sum((0, 2), keepdims=True)


# name of the function -> calls: (arguments to differentiate by, keyword settings, NumPy's value)
CASES = {
    "absolute": [((draw(3, 4),), {}, np.abs)],
    "activate": [((draw(9), "softplus"), {}, None)],
    "add": [((draw(3, 1), draw(4)), {}, np.add)],
    "alpha_dropout": [((draw(8, 5), KEY), {"rate": 0.4}, None)],
    "astype": [((draw(3, 4), "float64"), {}, np.ndarray.astype)],
    "average_pool2d": [((draw(2, 5, 6, 3),), {"pool_size": (2, 3), "padding": "same"}, None)],
    "batch_normalization": [
        ((draw(2, 3, 4), draw(4), draw(4, low=0.5, high=2), -1, draw(4), draw(4)), {},
         lambda x, mean, variance, _, offset, scale: (
             (x - mean) / np.sqrt(variance + 1e-3) * scale + offset)),
        ((draw(2, 3, 4), draw(3), draw(3, low=0.5, high=2), 1), {"epsilon": 0.1}, None),
    ],
    "broadcast_to": [((draw(3, 1), (2, 3, 4)), {}, np.broadcast_to)],
    "celu": [((draw(9),), {"alpha": 0.7}, None)],
    "clip": [((draw(5, 4), -1.0, 0.5), {}, np.clip)],
    "concatenate": [],  # below: takes a list
    "conv2d": [
        ((draw(2, 6, 5, 4), draw(3, 2, 2, 6), draw(6)), {"groups": 2, "padding": "same"}, None),
        ((draw(1, 7, 7, 2), draw(3, 3, 2, 3)), {"strides": 2, "activation": "tanh"}, None),
    ],
    "cos": [((draw(5),), {}, np.cos)],
    "ctc_loss": [((draw(3, 5, 4), np.array([[1, 1], [2, 3], [3, 0]])), {}, None)],
    "dense": [
        ((draw(4, 3), draw(3, 5), draw(5)), {}, lambda x, kernel, bias: x @ kernel + bias),
        ((draw(2, 4, 3), draw(3, 5), draw(5)), {"activation": "softplus"}, None),
        ((draw(4, 3), draw(3, 2)), {}, np.matmul),
    ],
    "divide": [((draw(3, 1), draw(4, low=0.5)), {}, np.divide)],
    "dot_product_attention": [
        ((draw(2, 3, 4, 5), draw(2, 6, 2, 5), draw(2, 6, 2, 3)), {}, None),
        (
            (draw(1, 5, 2, 3), draw(1, 7, 2, 3), draw(1, 7, 2, 3), rng.random((1, 1, 5, 7)) < 0.3),
            {"is_causal": True, "scale": 0.7},
            None,
        ),
    ],
    "dropout": [
        ((draw(8, 5), KEY), {"rate": 0.4}, None),
        ((draw(8, 5), KEY), {"rate": 0.4, "noise_shape": (8, 1)}, None),
    ],
    "einsum": [
        (("abc,cde->abde", draw(2, 3, 4), draw(4, 2, 3)), {}, np.einsum),
        (("bqhd,bkhd->bhqk", draw(2, 3, 2, 4), draw(2, 5, 2, 4)), {}, np.einsum),
        (("...i,ij", draw(2, 3, 4), draw(4, 2)), {}, np.einsum),
        (("a...b,b->...a", draw(2, 3, 4, 5), draw(5)), {}, np.einsum),
        (("...ab,...bc->...ca", draw(2, 1, 3, 4), draw(5, 4, 3)), {}, np.einsum),
        (("ab,cd->da", draw(2, 3), draw(4, 5)), {}, np.einsum),
        (("ab,ab->", draw(2, 3), draw(2, 3)), {}, np.einsum),
    ],
    "elu": [((draw(9),), {"alpha": 0.7}, None)],
    "embedding": [
        ((draw(5, 3), np.array([[0, 4, 4], [1, 0, 4]])), {}, lambda table, i: table[i]),
        ((draw(5, 3), np.array(2)), {}, lambda table, i: table[i]),
    ],
    "exp": [((draw(5),), {}, np.exp)],
    "expand_dims": [((draw(3, 4), (0, 2)), {}, np.expand_dims)],
    "gaussian_dropout": [((draw(8, 5), KEY), {"rate": 0.4}, None)],
    "gaussian_noise": [((draw(8, 5), KEY), {"stddev": 0.4}, None)],
    "gelu": [((draw(9),), {}, None), ((draw(9),), {"approximate": True}, None)],
    "getitem": [
        ((draw(5, 4), (slice(1, 4), 2)), {}, lambda x, index: x[index]),
        ((draw(5, 4), np.array([0, 3, 3])), {}, lambda x, index: x[index]),
        ((draw(3, 2), np.array([[True, False]] * 3)), {}, lambda x, index: x[index]),
        ((draw(5, 4), (..., None, -1)), {}, lambda x, index: x[index]),
    ],
    "group_normalization": [
        ((draw(2, 3, 5, 6), draw(6), draw(6)), {"groups": 3}, None),
        ((draw(2, 6, 5),), {"groups": 2, "axis": 1, "epsilon": 0.1}, None),
    ],
    "glu": [
        ((draw(3, 4),), {}, lambda x: x[:, :2] / (1 + np.exp(-x[:, 2:]))),
        ((draw(4, 3), 0), {}, None),
    ],
    "hard_shrink": [((draw(9),), {}, lambda x: np.where(abs(x) > 0.5, x, 0))],
    "hard_tanh": [((draw(9),), {}, lambda x: np.clip(x, -1, 1))],
    "hard_sigmoid": [((draw(9, low=-5, high=5),), {}, None)],
    "hard_silu": [((draw(9, low=-5, high=5),), {}, None)],
    "layer_normalization": [
        ((draw(3, 4),), {}, lambda x: (
            (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-7))),
        ((draw(2, 3, 4), draw(2, 4), draw(2, 4), (0, 2), 0.1), {}, None),
    ],
    "leaky_relu": [((draw(9),), {"negative_slope": 0.3}, None)],
    "log": [((draw(5, low=0.1),), {}, np.log)],
    "log_sigmoid": [((draw(9),), {}, lambda x: -np.log1p(np.exp(-x)))],
    "log_softmax": [
        ((draw(3, 4),), {}, None),
        ((draw(3, 4),), {"axis": 0}, None),
        ((draw(3, 4, 2),), {"axis": (0, 2)}, None),
    ],
    "matmul": [
        ((draw(3, 4), draw(4, 2)), {}, np.matmul),
        ((draw(5, 1, 3, 4), draw(2, 4, 2)), {}, np.matmul),
    ],
    "max": [((draw(3, 4, 2), (0, -1)), {}, lambda x, axis: x.max(axis)), ((draw(6),), {}, np.max)],
    "conv2d_max_pool": [
        (
            (draw(2, 7, 6, 3), draw(3, 3, 3, 4), draw(4)),
            {"padding": 1, "activation": "tanh", "pool_size": (2, 3)},
            None,
        ),
        ((draw(2, 5, 5, 2), draw(2, 2, 2, 3)), {}, None),
    ],
    "chain": [
        (
            (draw(2, 6, 6, 1), draw(3, 3, 1, 2), draw(2), draw(8, 3), draw(3, 2), draw(2)),
            {
                "stages": [
                    Stage(None, True, "relu", pool_size=(2, 2)),
                    Stage(None, None, "tanh"),
                    Stage(None, True, None),
                ]
            },
            None,
        )
    ],
    "average_pool": [((draw(2, 7, 3),), {"pool_size": 3, "strides": 2, "padding": "same"}, None)],
    "conv": [
        ((draw(2, 6, 4), draw(3, 2, 4), draw(4)), {"groups": 2, "padding": "causal"}, None),
        ((draw(1, 4, 5, 4, 2), draw(2, 2, 2, 2, 3)), {"strides": (2, 1, 1)}, None),
    ],
    "conv_transpose": [((draw(2, 4, 3), draw(3, 2, 3)), {"strides": 2, "padding": "same"}, None)],
    "max_pool": [((draw(1, 4, 4, 4, 2),), {"padding": "same", "pool_size": 3}, None)],
    "max_pool2d": [((draw(2, 5, 6, 3),), {"pool_size": 3, "strides": 2, "padding": 1}, None)],
    "maximum": [((draw(3, 4), draw(4)), {}, np.maximum)],
    "mean": [((draw(3, 4), 1), {}, np.mean), ((draw(3, 4), 0, True), {}, None)],
    "min": [((draw(3, 4), 1, True), {}, lambda x, axis, keep: x.min(axis, keepdims=keep))],
    "minimum": [((draw(3, 4), draw(3, 1)), {}, np.minimum)],
    "mish": [((draw(9),), {}, lambda x: x * np.tanh(np.log1p(np.exp(x))))],
    "multiply": [((draw(3, 1), draw(2, 1, 4)), {}, np.multiply)],
    "negative": [((draw(3),), {}, np.negative)],
    "normalize_batch": [],  # below: returns several
    "pad": [((draw(3, 2), ((1, 2), (0, 1))), {}, np.pad)],
    "power": [
        ((draw(5, low=0.2), draw(5)), {}, np.power),
        ((draw(5), 3), {}, np.power),
        ((2.0, draw(5)), {}, np.power),
        ((draw(5), 0), {}, np.power),
    ],
    "relu": [
        ((draw(9),), {}, lambda x: np.maximum(x, 0)),
        ((draw(9, low=-3, high=9), 0.5, 6.0, 1.0), {},
         lambda x, *_: np.where(x > 1, np.minimum(x, 6), 0.5 * (x - 1))),
    ],
    "relu6": [((draw(9, high=9),), {}, lambda x: np.clip(x, 0, 6))],
    "rescale": [((draw(2, 3),), {"scale": 0.3, "offset": -1}, lambda x: x * 0.3 - 1)],
    "resample": [
        ((draw(2, 3), 1, 5), {}, None),
        ((draw(5, 2), 0, 2, "nearest"), {}, lambda x, *_: x[[1, 3]]),
        ((draw(7, 2), 0, 4, "bicubic"), {"antialias": True}, None),
    ],
    "reshape": [((draw(3, 4), (2, -1)), {}, np.reshape)],
    "resize": [
        ((draw(2, 4, 5, 1), (2, 5)), {}, lambda x, _: (x[:, ::2] + x[:, 1::2]) / 2),
        ((draw(4, 5, 1), (3, 2), "area"), {"pad_to_aspect_ratio": True}, None),
    ],
    "rms_normalization": [
        ((draw(3, 4), draw(4)), {},
         lambda x, scale: scale * x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-7)),
        ((draw(2, 3, 4), draw(3, 4), (-1, 1)), {"epsilon": 0.1}, None),
    ],
    "self_attention": [
        ((draw(2, 4, 3), draw(3, 2, 2), draw(3, 2, 2), draw(3, 2, 3)), {}, None),
        (
            (draw(1, 5, 3), draw(3, 4, 2), draw(3, 2, 2), draw(3, 2, 3), draw(4, 2), draw(2, 2),
             draw(2, 3), rng.random((1, 1, 5, 5)) < 0.8),
            {"is_causal": True},
            None,
        ),
    ],
    "selu": [((draw(9),), {}, None)],
    "sigmoid": [((draw(9),), {}, lambda x: 1 / (1 + np.exp(-x)))],
    "silu": [((draw(9),), {}, lambda x: x / (1 + np.exp(-x)))],
    "sin": [((draw(5),), {}, np.sin)],
    "soft_shrink": [
        ((draw(9),), {}, lambda x: np.sign(x) * np.maximum(abs(x) - 0.5, 0)),
        ((draw(9),), {"threshold": 0.2}, None),
    ],
    "softmax": [
        ((draw(3, 4),), {}, None),
        ((draw(3, 4),), {"axis": 0}, None),
        ((draw(3, 4, 2),), {"axis": (-1, 0)}, softmax_of_two_axes),
    ],
    "softmax_cross_entropy": [
        ((draw(4, 3), np.array([0, 2, 1, 1])), {}, None),
    ],
    "softplus": [((draw(9),), {}, lambda x: np.log1p(np.exp(x)))],
    "softsign": [((draw(9),), {}, lambda x: x / (1 + np.abs(x)))],
    "sparse_plus": [
        ((draw(9),), {}, lambda x: np.where(x >= 1, x, np.clip(x + 1, 0, None) ** 2 / 4))
    ],
    "sparse_sigmoid": [((draw(9),), {}, lambda x: np.clip((x + 1) / 2, 0, 1))],
    "sparsemax": [((draw(3, 4),), {}, None), ((draw(3, 4, 2),), {"axis": 1}, None)],
    "sqrt": [((draw(5, low=0.1),), {}, np.sqrt)],
    "square": [((draw(5),), {}, np.square)],
    "squareplus": [((draw(9),), {"b": 0.3}, None)],
    "squeeze": [((draw(3, 1, 2),), {}, np.squeeze), ((draw(3, 1, 1), 1), {}, np.squeeze)],
    "stack": [],  # below: takes a list
    "subtract": [((draw(3, 1), draw(4)), {}, np.subtract)],
    "sum": [((draw(3, 4), (0, 1)), {}, np.sum), ((draw(3, 4), -1), {}, np.sum)],
    "tanh": [((draw(9),), {}, np.tanh)],
    "tanh_shrink": [((draw(9),), {}, lambda x: x - np.tanh(x))],
    "threshold": [((draw(9), 0.5, -3.0), {}, lambda x, *_: np.where(x > 0.5, x, -3.0))],
    "transpose": [
        ((draw(2, 3, 4), (1, 2, 0)), {}, np.transpose),
        ((draw(2, 3),), {}, np.transpose),
    ],
    "upsample": [
        ((draw(2, 3), (1, 3)), {}, lambda x, _: np.repeat(x, 3, 1)),
        ((draw(2, 3, 4), (1, 3, 2)), {"interpolation": "bicubic"}, None),
    ],
    "var": [((draw(3, 4), 1), {}, np.var)],
    "where": [((np.array([True, False, True]), draw(3), draw(2, 1)), {}, np.where)],
}  # fmt: skip

CALLS = [(name, *call) for name, calls in CASES.items() for call in calls]


SEQUENCES = {"gru", "lstm", "simple_rnn"}  # of test_recurrent.py


def test_every_public_function_has_a_case():
    assert set(CASES) | SEQUENCES | {"unstack"} == set(functions.__all__)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_unstack_is_the_inverse_of_stack(axis):
    x = draw(3, 5, 2)
    parts = functions.unstack(x, axis=axis)
    assert len(parts) == x.shape[axis]
    np.testing.assert_array_equal(functions.stack(parts, axis=axis).value, x)
    check_gradients(lambda x: functions.stack(functions.unstack(x, axis)[::-1], axis), x)


@pytest.mark.parametrize(("name", "arguments", "options", "numpy_function"), CALLS)
def test_value_and_gradients(name, arguments, options, numpy_function):
    function = getattr(functions, name)
    if numpy_function is not None:
        expected = numpy_function(*arguments)
        np.testing.assert_allclose(function(*arguments, **options).value, expected, rtol=1e-12)
    arrays = [i for i, x in enumerate(arguments) if getattr(x, "dtype", None) == np.float64]

    def of_arrays(*values):
        mixed = list(arguments)
        for i, value in zip(arrays, values, strict=True):
            mixed[i] = value
        return function(*mixed, **options)

    check_gradients(of_arrays, *[arguments[i] for i in arrays])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: functions.celu([1.0], alpha=0), ValueError, "positive alpha"),
        (lambda: functions.celu([1.0], alpha=-1), ValueError, "celu expects alpha at least 0"),
        (lambda: functions.hard_shrink([1.0], -1.0), ValueError, "threshold at least 0"),
        (lambda: functions.soft_shrink([1.0], "x"), TypeError, "number for threshold"),
        (lambda: functions.threshold([1.0], 0.0, None), TypeError, "number for default_value"),
        (lambda: functions.squareplus([1.0], b=-4), ValueError, "squareplus expects b at least 0"),
        (lambda: functions.sparsemax(draw(2, 3), axis=2), ValueError, r"\(2, 3\), received 2"),
        (lambda: functions.glu(draw(2, 3)), ValueError, r"even size along axis 1.*\(2, 3\)"),
        (lambda: functions.glu(draw(2, 4), axis="x"), TypeError, "an integer for axis"),
    ],
)
def test_options_of_activations_are_checked(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_sparsemax_gives_the_nearest_probabilities():
    x = draw(50, 6)
    y = functions.sparsemax(x).value
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-12)
    assert (y >= 0).all()
    assert (y == 0).any()
    others = rng.dirichlet(np.full(6, 0.3), 2000)  # none of them is nearer
    distances = np.linalg.norm(x[:, None] - others, axis=2)
    assert (distances >= np.linalg.norm(x - y, axis=1)[:, None]).all()


def test_joining_arrays():
    parts = [draw(2, 3), draw(2, 1), draw(2, 2)]
    joined = functions.concatenate(parts, axis=1)
    np.testing.assert_array_equal(joined.value, np.concatenate(parts, axis=1))
    check_gradients(lambda *arrays: functions.concatenate(arrays, axis=1), *parts)
    parts = [draw(2, 3), draw(2, 3)]
    np.testing.assert_array_equal(functions.stack(parts, 1).value, np.stack(parts, 1))
    check_gradients(lambda *arrays: functions.stack(arrays, axis=1), *parts)


@settings(deadline=None, max_examples=40)
@given(
    mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=1, max_side=4),
    st.sampled_from(["add", "subtract", "multiply", "divide", "maximum"]),
)
def test_broadcasting_sums_the_gradient_back(drawn, name):
    x, y = (rng.uniform(0.5, 2.0, shape) for shape in drawn.input_shapes)
    check_gradients(getattr(functions, name), x, y)


def test_operators_and_methods_are_the_functions():
    a, b = draw(3, 3), draw(3, 3, low=0.5)
    x, y = Tensor(a), Tensor(b)
    pairs = [
        (x + y, a + b), (x - b, a - b), (a * y, a * b), (x / y, a / b), (1 / y, 1 / b),
        (2 - x, 2 - a), (y**2, b**2), (2.0**x, 2.0**a), (x @ y, a @ b), (a @ y, a @ b),
        (-x, -a), (abs(x), abs(a)), (x[1:, 0], a[1:, 0]), (x.T, a.T), (x.sum(0), a.sum(0)),
        (x.mean(), a.mean()), (x.max(1), a.max(1)), (x.min(), a.min()),
        (x.reshape(9), a.reshape(9)), (x.reshape((1, -1)), a.reshape(1, -1)),
        (x.transpose(1, 0), a.T), (x.transpose(), a.T), (np.exp(x), np.exp(a)),
        (np.add(a, y), a + b),
    ]  # fmt: skip
    for ours, expected in pairs:
        assert isinstance(ours, Tensor)
        np.testing.assert_allclose(ours.value, expected)
    for ours, expected in [(x < y, a < b), (x == x, a == a), (a >= y, a >= b), (x != b, a != b)]:
        assert not isinstance(ours, Tensor)
        np.testing.assert_array_equal(ours, expected)
    assert len(x) == 3
    assert [row.shape for row in x] == [(3,)] * 3
    np.testing.assert_array_equal(np.asarray(x), a)


def test_numpys_functions_are_differentiated_where_there_is_one():
    check_gradients(lambda x, y: np.concatenate([x, y], axis=1), draw(2, 3), draw(2, 1))
    check_gradients(lambda x, y: np.stack([x, y]), draw(2, 3), draw(2, 3))
    check_gradients(lambda x: np.sum(np.exp(x), axis=0), draw(2, 3))
    condition = np.array([True, False, True])
    check_gradients(lambda x, y: np.where(condition, x, y), draw(3), draw(3))


WITHOUT_GRADIENT = {
    "argmax": lambda x: np.argmax(x, axis=1),
    "asarray": np.asarray,
    "cumsum": np.cumsum,
    "float": lambda x: np.array([float(x[0, 0])]),
    "histogram": lambda x: np.histogram(x, bins=3)[0],
    "isnan": np.isnan,
    "maximum.reduce": np.maximum.reduce,
    "round": lambda x: np.round(x, 1),
    "sign": np.sign,
    "sort": np.sort,
    "stack": lambda x: np.array([x[0], x[1]]),
    "std": lambda x: np.std(x, axis=0, ddof=1),
    "sum, an option that ours lacks": lambda x: np.sum(x, axis=0, dtype="float32"),
    "unique": np.unique,
}


@pytest.mark.parametrize("name", WITHOUT_GRADIENT)
def test_numpys_other_functions_take_values_unless_a_gradient_would_be_lost(name):
    function, value = WITHOUT_GRADIENT[name], draw(2, 3)
    expected = function(value)
    tensors = {
        "a constant": Tensor(value),
        "a weight": Parameter(value),
        "the output of a model": Parameter(value) * 1.0,
    }
    for tensor in tensors.values():
        found = function(tensor)
        assert not isinstance(found, Tensor)
        np.testing.assert_array_equal(found, expected)
    if name == "float":  # it always gives the value
        return
    variable = Tensor(value, requires_grad=True)
    for tensor in (variable, variable * 1.0, variable + 0.0 * tensors["a weight"]):
        with pytest.raises(TypeError, match=r"gradient.*tensor.numpy\(\)"):
            function(tensor)
        with no_grad():
            np.testing.assert_array_equal(function(tensor), expected)
    with recording(True):
        np.testing.assert_array_equal(function(tensors["a constant"]), expected)
        for tensor in (tensors["a weight"], tensors["the output of a model"]):
            with pytest.raises(TypeError, match=r"gradient.*tensor.numpy\(\)"):
                function(tensor)


def test_values_inside_grad_and_a_training_step_are_refused():
    with pytest.raises(TypeError, match=r"numpy\.argmax"):
        grad(lambda x: np.argmax(x) * x.sum())(draw(3))
    model = models.Sequential([layers.Dense(2, input_shape=(3,))])
    model.compile("sgd", lambda y, p: functions.mean(np.asarray(p) - y))
    with pytest.raises(TypeError, match=r"tensor.numpy\(\)"):
        model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)


def test_comparisons_and_assertions_take_tensors():
    value = draw(2, 3)
    tensor = Tensor(value, requires_grad=True)
    np.testing.assert_array_equal(np.greater(tensor, 0), value > 0)
    np.testing.assert_allclose(tensor.detach(), value)
    assert np.allclose(Parameter(value), value)


SCALARS = [
    np.float64(0.5),
    np.float32(0.5),
    np.float16(0.5),
    np.array(0.5),
    np.array(0.5, "float32"),
    Tensor(np.array(0.5)),
]
OF_A_SCALAR = {
    "add": lambda x, s: x + s,
    "subtract": lambda x, s: s - x,
    "multiply": lambda x, s: np.multiply(s, x),
    "divide": lambda x, s: x / s,
    "power": lambda x, s: abs(x) ** s,
    "base": lambda x, s: s**x,
    "maximum": functions.maximum,
    "minimum": functions.minimum,
    "where": lambda x, s: functions.where(np.array([True, False]), x, s),
    "where, both": lambda x, s: functions.where(x > 0, s, x),
    "clip": lambda x, s: functions.clip(x, -s, s),
    "clip by name": lambda x, s: functions.clip(x, high=s, low=-s),
    "elu": lambda x, s: functions.elu(x, alpha=s),
}


def is_for_tensors(name, shape):
    """Limits and options are numbers; two tensors without axes are promoted."""
    return name not in ("clip", "clip by name", "elu") and shape != ()


@pytest.mark.parametrize(
    ("name", "scalar", "shape"),
    [
        (name, scalar, shape)
        for name in OF_A_SCALAR
        for scalar in SCALARS
        for shape in ((2,), ())
        if not isinstance(scalar, Tensor) or is_for_tensors(name, shape)
    ],
    ids=repr,
)
def test_a_scalar_does_not_change_the_type_of_a_tensor(name, scalar, shape):
    function, value = OF_A_SCALAR[name], draw(*shape).astype("float32")
    tensors = [Tensor(value, requires_grad=True) for _ in range(2)]
    found, expected = function(tensors[0], scalar), function(tensors[1], 0.5)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.value, expected.value)
    for tensor, result in zip(tensors, (found, expected), strict=True):
        result.backward(np.ones(result.shape))
        assert tensor.grad.dtype == np.float32
    np.testing.assert_array_equal(tensors[0].grad, tensors[1].grad)


def test_two_arrays_are_promoted_as_numpy_does():
    assert (Tensor(np.ones(2, "float32")) * np.ones(2)).dtype == np.float64
    assert (Tensor(np.ones(2, "float32")) * np.arange(2)).dtype == np.float64
    assert (Tensor(np.arange(2)) * np.float32(0.5)).dtype == np.float64


def test_lists_and_numbers_are_taken():
    assert float(functions.relu(-1.0)) == 0
    assert functions.exp([0.0, 0.0]).numpy().tolist() == [1, 1]
    assert float(functions.add(1, 2.0)) == 3
    np.testing.assert_array_equal(functions.multiply(2.0, np.ones(2)).value, [2, 2])


def test_softmax_over_axes_that_are_not_there():
    for axis in ((0, 5), (0, 0), (), (0, -2)):
        with pytest.raises(ValueError, match="expected different axes"):
            functions.softmax(draw(2, 3), axis=axis)


def test_softmax_and_sigmoid_remember_their_logits():
    x = Tensor(draw(2, 3))
    assert functions.softmax(x).logits is x
    assert functions.sigmoid(x).logits is x
    assert functions.softmax(x, axis=0).logits is None
    assert (functions.softmax(x) * 1).logits is None


def test_matmul_of_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(3, 2\)"):
        functions.matmul(draw(3, 4), draw(3, 2))


def test_soft_labels_have_the_gradients_of_cross_entropy():
    labels = rng.dirichlet(np.ones(3), 4)
    check_gradients(lambda x: functions.softmax_cross_entropy(x, labels), draw(4, 3))


def test_numpys_questions_about_shapes_are_answered():
    x = Tensor(draw(2, 3), requires_grad=True)
    assert np.shape(x) == (2, 3)
    assert np.ndim(x) == 2
    check_gradients(lambda x: np.clip(np.tanh(x), -0.5, 0.5), draw(5))


@pytest.mark.parametrize(
    ("x_shape", "y_shape"),
    [
        ((2, 3, 4), (4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (6, 4, 5)),
        ((1, 3, 4), (2, 4, 1)),
        ((0, 3, 4), (4, 2)),
        ((3, 0), (0, 5)),
        ((2, 3, 0), (0, 5)),
        ((2, 0, 4), (2, 4, 5)),
        ((2, 3, 0), (2, 0, 5)),
    ],
)
def test_matmul_of_stacks_of_matrices(x_shape, y_shape):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=x_shape), rng.normal(size=y_shape)
    found = functions.matmul(x, y)
    np.testing.assert_allclose(found.numpy(), x @ y, rtol=1e-13, atol=1e-13)
    if x.size:
        check_gradients(functions.matmul, x, y)


def test_matmul_of_stacks_that_do_not_broadcast():
    with pytest.raises(ValueError, match=r"broadcast before the last two, received \(2, 3, 4\)"):
        functions.matmul(np.ones((2, 3, 4)), np.ones((3, 4, 5)))
