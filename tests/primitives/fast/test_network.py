"""The Numba twin of networks, against the reference and against its own twins one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpunet.primitives import Network, as_activation
from gpunet.primitives.network_operations import (
    Activate,
    Affine,
    Flatten,
    Operation,
    Pooling,
    Product,
    Sum,
)
from tests.support.cuda_on_cpu.cases import each_array
from tests.support.doors import Doors, reference
from tests.support.fast_arrays import Array, lay_out, layouts, numbers, seeds

fast = Doors(pytest.importorskip("gpunet.primitives.fast"))
from gpunet.primitives.fast import network as planner  # noqa: E402
from gpunet.primitives.fast import packed_network  # noqa: E402

CHECKED = ("network_forward",)

RELU, RELU6 = as_activation("relu"), as_activation("clipped_relu", max_value=6.0)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
channel_counts = st.sampled_from([1, 3, 8, 17, 36])


@st.composite
def networks(draw: st.DrawFn, *, whole: bool) -> tuple[Array, Network]:
    """Draw inputs and a network whose operations read any of the values before them.

    With whole numbers all sums are exact: kernels of -1, 0 and 1, in a chain of few.
    """
    seed = draw(seeds)
    images = draw(st.sampled_from([1, 2, 3, 9, 40]))
    shape = images, draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(channel_counts)
    operations: list[Operation] = []
    shapes: list[tuple[int, ...]] = [shape]
    for number in range(draw(st.integers(1, 5))):
        source = draw(st.sampled_from([len(operations), draw(st.integers(0, len(operations)))]))
        operation = draw_operation(draw, shapes, source, seed + 10 * number, whole)
        try:
            inputs = [shapes[s] for s in operation.sources]
            shapes.append(operation.output_shape(operation.geometry(*inputs), *inputs))
        except ValueError:  # the images have become too small
            assume(False)
        operations.append(operation)
    return lay_out(numbers(seed, shape, whole=whole), draw(layouts)), Network(operations)


def draw_operation(
    draw: st.DrawFn, shapes: list[tuple[int, ...]], source: int, seed: int, whole: bool
) -> Operation:
    shape = shapes[source]
    kinds = ["dense", "activate", "flatten", "sum", "convolution", "depthwise", "pool", "all"]
    kind = draw(st.sampled_from(kinds[: 8 if len(shape) == 4 else 4]))
    if kind == "activate":
        return Activate((source,), draw(st.sampled_from([RELU, RELU6])))
    if kind == "flatten":
        return Flatten((source,))
    if kind == "sum":
        alike = [number for number, other in enumerate(shapes) if other == shape]
        return Sum((source, draw(st.sampled_from(alike))))
    if kind == "all":
        return Pooling((source,), True if whole else draw(st.booleans()), None)
    if kind == "pool":
        options = draw(pairs), draw(pairs), draw(st.sampled_from(["valid", "same"]))
        return Pooling((source,), True if whole else draw(st.booleans()), *options)
    filters = shape[-1] if kind == "depthwise" else draw(channel_counts)
    size = {
        "dense": (shape[-1],), "convolution": (*draw(pairs), shape[-1]),
        "depthwise": (*draw(pairs), 1),
    }[kind]  # fmt: skip
    if kind == "depthwise":
        filters *= draw(st.sampled_from([1, 2]))
    layout = draw(layouts)
    kernel = numbers(seed, (*size, filters), whole=whole)
    kernel = np.sign(kernel) if whole else kernel / np.float32(np.prod(size) ** 0.5)
    options: dict[str, Any] = {"activation": draw(st.sampled_from([None, RELU, RELU6]))}
    if kind != "dense":
        options |= {"strides": draw(pairs), "dilation": draw(pairs)}
        options["padding"] = draw(st.sampled_from(["valid", "same", 1]))
        options["is_depthwise"] = kind == "depthwise"
    if kind == "convolution":
        options["pool_size"] = draw(st.sampled_from([(1, 1), (2, 1), (2, 3)]))
    bias = lay_out(numbers(seed + 1, (filters,), whole=whole), layout)
    if not whole and draw(st.booleans()):
        found = [numbers(seed + k, (filters,)) for k in range(2, 5)]
        options["affine"] = Affine(*found, np.abs(numbers(seed + 5, (filters,))) + 0.5, 1e-3)
    return Product(
        (source,), lay_out(kernel, layout),
        draw(st.sampled_from([None, bias])), **options,
    )  # fmt: skip


def in_float64(network: Network) -> Network:
    return each_array(lambda array: array.astype(np.float64), network)


@settings(max_examples=150)
@given(case=networks(whole=True))
def test_whole_numbers_are_exact(case: tuple[Array, Network]) -> None:
    x, network = case
    expected = reference.network_forward(x.astype(np.float64), in_float64(network))
    assume(np.abs(expected).max(initial=0) < 2**20)  # so are the values before it
    found = fast.network_forward(x, network)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=100)
@given(case=networks(whole=False), least=st.sampled_from([0, 1 << 60]))
def test_bits_are_those_of_each_image_alone(case: tuple[Array, Network], least: int) -> None:
    """Whether threads share operations, or each has its own images, or there is but one."""
    x, network = case
    expected = np.concatenate([fast.network_forward(x[i : i + 1], network) for i in range(len(x))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "_LEAST_SHARED", least)
        found = fast.network_forward(x, Network(network.operations))
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=100)
@given(case=networks(whole=False))
def test_numbers_are_those_of_the_operations_one_by_one(case: tuple[Array, Network]) -> None:
    """All values are of the size of 1: each of at most 5 operations rounds some 300 sums."""
    x, network = case
    expected = planner._PRIMITIVES.network_forward(x, network, network.geometries(x.shape))
    found = fast.network_forward(x, network)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def small_network() -> Network:
    kernels = numbers(0, (3, 3, 2, 8)), numbers(1, (3, 3, 1, 8)), numbers(2, (8, 3))
    affine = Affine(None, numbers(3, (8,)), numbers(4, (8,)), np.ones(8, np.float32), 1e-3)
    return Network([
        Product((0,), kernels[0], None, affine, RELU),
        Product((1,), kernels[1], numbers(5, (8,)), is_depthwise=True),
        Pooling((2,), False, None),
        Product((3,), kernels[2], None),
    ])  # fmt: skip


@pytest.mark.parametrize("most_kept", [0, 1 << 24])
def test_weights_that_change_in_place_are_seen(
    most_kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_network, "_MOST_KEPT", most_kept)
    network, x = small_network(), numbers(9, (2, 7, 6, 2))
    before = fast.network_forward(x, network)
    for array in network.arrays:
        array.reshape(-1)[-1] += 1  # one number is enough
        found = fast.network_forward(x, network)
        np.testing.assert_array_equal(found, fast.network_forward(x, Network(network.operations)))
        assert not np.array_equal(found, before)
        before = found


def test_packed_weights_are_kept_while_the_weights_stay_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, x = small_network(), numbers(9, (2, 7, 6, 2))
    expected = fast.network_forward(x, network)
    monkeypatch.setattr(packed_network, "_pack", lambda *given: pytest.fail("packed again"))
    np.testing.assert_array_equal(fast.network_forward(x, network), expected)
    np.testing.assert_array_equal(fast.network_forward(x[:1], network), expected[:1])
    network.arrays[0][...] = np.nan
    with pytest.raises(pytest.fail.Exception, match="packed again"):
        fast.network_forward(x, network)


def test_nan_and_infinity_pass() -> None:
    network = Network([
        Product((0,), np.ones((1, 1, 1, 8), np.float32), None, is_depthwise=True),
        Activate((1,), RELU6),
        Product((2,), np.eye(8, dtype=np.float32), None),
    ])  # fmt: skip
    x = np.zeros((1, 1, 1, 8), np.float32)
    x[..., :4] = np.nan, np.inf, -np.inf, 7
    with np.errstate(invalid="ignore"):
        expected = reference.network_forward(x, Network(network.operations[:2]))
    found = fast.network_forward(x, Network(network.operations[:2]))
    np.testing.assert_array_equal(found, expected)


def test_what_the_kernel_does_not_know_is_done_by_other_twins() -> None:
    x = numbers(0, (3, 4))
    kernel = numbers(1, (4, 4))
    for operations in (
        [Product((0,), kernel, None, activation=as_activation("tanh"))],
        [Flatten((0,))],
        [Product((0,), kernel, None), Activate((1,), RELU), Flatten((1,))],  # reads its output
    ):
        network = Network(operations)
        np.testing.assert_allclose(
            fast.network_forward(x, network), reference.network_forward(x, network), rtol=1e-5
        )
    doubles = Network([Product((0,), kernel.astype(np.float64), None)])
    assert fast.network_forward(x.astype(np.float64), doubles).dtype == np.float64


def test_many_shapes_do_not_fill_the_memory() -> None:
    network = Network(small_network().operations[:1])
    for images in range(1, 200):
        fast.network_forward(numbers(0, (images, 3, 3, 2)), network)
    lowered = planner._lowered(network)
    assert lowered is not None
    assert len(lowered.memo["plans"]) <= 64 and len(network._geometries) <= 64


def test_errors() -> None:
    kernel = numbers(0, (4, 4))
    with pytest.raises(ValueError, match="at least one operation"):
        Network([])
    with pytest.raises(ValueError, match="operation 1 reads value 3; only values 0 to 1"):
        Network([Product((0,), kernel, None), Sum((1, 3))])
    with pytest.raises(TypeError, match=r"one type, received \['float32', 'float64'\]"):
        Network([Product((0,), kernel, kernel[0].astype(np.float64))])
    network = Network([Product((0,), kernel, None), Sum((0, 1))])
    with pytest.raises(TypeError, match=r"expected an input of float32.*received float64"):
        fast.network_forward(np.ones((2, 4)), network)
    with pytest.raises(ValueError, match="network_forward: "):
        fast.network_forward(np.ones((2, 5), np.float32), network)
    wide = Network([Product((0,), numbers(0, (4, 5)), None), Sum((0, 1))])
    with pytest.raises(ValueError, match=r"a sum expects values of one shape.*\(2, 4\), \(2, 5\)"):
        fast.network_forward(np.ones((2, 4), np.float32), wide)
