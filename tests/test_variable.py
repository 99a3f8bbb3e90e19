"""gpunet.variable: Keras' methods of a variable, and arithmetic on either library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet.variable import Variable


@pytest.fixture(params=["numpy", "cupy"])
def xp(request: pytest.FixtureRequest) -> Any:
    return np if request.param == "numpy" else request.getfixturevalue("cupy")


def test_arithmetic_gives_arrays(xp: Any) -> None:
    value = xp.full((), 0.5, np.float32)
    variable, array = Variable(value, "rate"), xp.ones(3, np.float32)
    for found in (variable * array, array * variable, variable + array, array - variable):
        assert type(found) is type(array)
        assert found.dtype == np.float32
    assert (array - variable).tolist() == [0.5] * 3
    assert (2**variable).item() == pytest.approx(2**0.5)
    assert [bool(x) for x in (variable < 1, variable == 0.5, variable != 0.5)] == [
        True,
        True,
        False,
    ]
    if xp is np:
        array *= variable
        assert array.tolist() == [0.5] * 3
    assert (float(variable), int(variable), bool(variable), -float(-variable)) == (
        0.5,
        0,
        True,
        0.5,
    )
    assert variable[0].item() == 0.5


def test_assignments_write_into_the_array(xp: Any) -> None:
    value = xp.zeros(2)
    variable = other = Variable(value)
    variable.assign([1.0, 2.0])
    variable.assign_add(np.ones(2))
    variable.assign_sub(Variable(xp.full((), 0.5)))
    variable *= 2
    assert variable is other
    assert value.tolist() == variable.numpy().tolist() == [3.0, 5.0]
    assert (variable.shape, variable.size, variable.dtype) == ((2,), 2, np.float64)
    assert np.asarray(variable).tolist() == [3.0, 5.0]
    with pytest.raises(ValueError, match="broadcast"):
        variable.assign(np.ones(3))
    assert value.tolist() == [3.0, 5.0]
    assert repr(variable) == "<Variable 'variable': [3. 5.]>"
    copied = variable.numpy()
    copied[0] = 7
    assert value[0].item() == 3.0
