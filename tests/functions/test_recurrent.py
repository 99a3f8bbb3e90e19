"""Recurrent layers as functions, against a composition of others, step by step."""

import numpy as np
import pytest

import gpunet
from gpunet import functions

rng = np.random.default_rng(0)
GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1}


def arguments(name, batch=5, steps=4, features=3, units=2, dtype="float64"):
    """Return what a function takes, and a mask."""
    columns = GATES[name] * units
    shapes = [(batch, steps, features), (features, columns), (units, columns)]
    shapes.append((2, columns) if name == "gru" else (columns,))
    shapes += [(batch, units)] * (2 if name == "lstm" else 1)
    arrays = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    return arrays, rng.integers(0, 2, (batch, steps)).astype(bool)


@pytest.mark.parametrize("options", [{}, {"go_backwards": True}])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", GATES)
def test_gradients_of_all_arguments(name, masked, options):
    arrays, mask = arguments(name)
    mask = mask if masked else None

    def results(*given):
        result = getattr(functions, name)(*given, mask=mask, **options)
        if isinstance(result, tuple):
            return functions.concatenate([result[0], result[1][None]])
        return result

    gpunet.check_gradients(results, *arrays)


@pytest.mark.parametrize("name", GATES)
def test_without_bias(name):
    (x, kernel, recurrent, bias, *states), _ = arguments(name)
    function = getattr(functions, name)
    results = [function(x, kernel, recurrent, b, *states) for b in (None, 0 * bias)]
    pairs = [result if isinstance(result, tuple) else (result,) for result in results]
    for a, b in zip(*pairs, strict=True):
        np.testing.assert_array_equal(a.value, b.value)


def test_arguments_that_do_not_fit():
    (x, kernel, recurrent, bias, h, c), mask = arguments("lstm")
    with pytest.raises(ValueError, match=r"expected h of shape \(5, 2\), received \(4, 2\)"):
        functions.lstm(x, kernel, recurrent, bias, h[:4], c)
    with pytest.raises(ValueError, match="expected the carry of shape"):
        functions.lstm(x, kernel, recurrent, bias, h, c[:, :1])
    with pytest.raises(TypeError, match="a mask of bools"):
        functions.lstm(x, kernel, recurrent, bias, h, c, mask=mask.astype("float64"))
    with pytest.raises(ValueError, match=r"expected kernel of shape"):
        functions.gru(x, kernel[:, :6], recurrent, bias[:6], h)
    with pytest.raises(ValueError, match="an LSTM, and no other cell, has a carry"):
        gpunet.primitives.recurrent_forward(
            np.zeros((1, 1, 1)), np.zeros((1, 1)), None, h[:1, :1], c[:1, :1], cell="simple_rnn"
        )
    with pytest.raises(ValueError, match="Unknown cell 'lstn': did you mean 'lstm'"):
        gpunet.primitives.recurrent_forward(x, kernel, None, h, cell="lstn")
