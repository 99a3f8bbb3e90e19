"""Cases of a classifier's end; its kernel has no twin of its own: chain_cross_entropy's is that."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from gpunet.primitives import Stage
from gpunet.primitives import launch as launcher
from gpunet.primitives.checks import OUTPUT_ACTIVATIONS
from gpunet.primitives.cuda import head
from tests.support.doors import reference

from .cases import Arguments, Array, Case
from .cases_softmax import labels_of

GAP = 5  # elements of the array of parts before those of each layer


def stages_of(
    rng: np.random.Generator, sizes: Sequence[int], biases: str, activation: str | None
) -> list[Stage]:
    """Return layers from each size to the next.

    Arguments:
        sizes: of the input, perhaps of a hidden layer, and the classes.
        biases: for each layer "b" if it has one.
        activation: of the hidden layer.
    """
    stages = [
        Stage(
            rng.normal(size=(inputs, units)) / inputs**0.5,
            rng.normal(size=units) if bias == "b" else None,
            activation,
        )
        for (inputs, units), bias in zip(pairwise(sizes), biases, strict=True)
    ]
    return [*stages[:-1], stages[-1]._replace(activation=None)]


def make(
    rng: np.random.Generator,
    batch: int,
    sizes: Sequence[int],
    form: str = "one-hot float64",
    biases: str = "bb",
    activation: str | None = "relu",
    **options: Any,
) -> Arguments:
    stages = stages_of(rng, sizes, biases[: len(sizes) - 1], activation)
    x, labels = 2 * rng.normal(size=(batch, sizes[0])), labels_of(rng, batch, sizes[-1], form)
    return [x, stages, labels], options


def make_ties(rng: np.random.Generator) -> Arguments:
    """Return whole numbers, of which many are equally large; where logits are, so are labels."""
    x, kernel = rng.integers(-1, 2, (60, 3)), rng.integers(-1, 2, (3, 40))
    labels = x @ kernel + rng.integers(0, 2, (60, 40)) + 3
    stage = Stage(kernel.astype(float), None, None)
    return [x.astype(float), [stage], labels], {}


def room_of(stage: Stage) -> tuple[int, int]:
    """Return the rows and columns of a part of a layer's gradients."""
    inputs, units = stage.kernel.shape
    return inputs + (stage.bias is not None), units


def places_of(batch: int, stages: list[Stage]) -> tuple[int, list[int], int]:
    """Return how many parts there are, where those of each layer begin, and where all end."""
    count, end = head.parts_of(batch, stages), 0
    firsts = []
    for stage in stages:
        firsts.append(end + GAP)
        end += GAP + count * int(np.prod(room_of(stage)))
    return count, firsts, end


def launch(
    x: Array, stages: list[Stage], labels: Array, *, with_input_grad: bool = True
) -> list[Any]:
    """Return what the kernel gives, with the parts added up."""
    count, firsts, end = places_of(len(x), stages)
    parts = launcher.empty((end + GAP,), x.dtype)
    found = head.dense_cross_entropy(
        x, stages, labels, parts, firsts, with_input_grad=with_input_grad
    )
    grads = []
    for stage, first in zip(stages, firsts, strict=True):
        rows, units = room_of(stage)
        total = parts[first : first + count * rows * units].reshape(count, rows, units).sum(0)
        kernel_grad, bias_grad = total[: stage.kernel.shape[0]], total[stage.kernel.shape[0] :]
        grads.append((kernel_grad, None if stage.bias is None else bias_grad[0]))
    return [*found, grads]


def oracle(
    x: Array, stages: list[Stage], labels: Array, *, with_input_grad: bool = True
) -> list[Any]:
    return list(reference.chain_cross_entropy(x, stages, labels, with_input_grad=with_input_grad))


def _case(label: str, make: Any, terms: int, dtypes: tuple[str, ...]) -> Case:
    return Case(
        "dense_cross_entropy", label, make, terms, dtypes=dtypes, function=launch, oracle=oracle
    )


def _head(label: str, batch: int, sizes: Sequence[int], **options: Any) -> Case:
    dtypes = options.pop("dtypes", ("float32",))
    made = partial(make, batch=batch, sizes=sizes, **options)
    return _case(label, made, max(batch, *sizes), dtypes)


BOTH = ("float32", "float64")

CASES = [
    _head("program", 32, (64, 64, 10), dtypes=BOTH),
    _head("program, chunks of several tiles", 75, (64, 64, 10), dtypes=BOTH),
    _head("one layer", 32, (64, 10), dtypes=BOTH),
    _head("one layer, a tile and a sample", 5, (7, 3), form="int64", dtypes=BOTH),
    _head("one sample", 1, (33, 40, 10), form="int32"),
    _head("three samples", 3, (12, 5, 33), form="uint8"),
    _head("smallest", 1, (1, 1, 1), form="int64"),
    _head("many classes", 6, (5, 300), form="probabilities", dtypes=BOTH),
    _case("ties", make_ties, 60, ("float32",)),
    _head("no gradient of the input", 9, (20, 30, 4), with_input_grad=False),
    _head("one layer, likewise", 9, (20, 4), form="int64", with_input_grad=False),
    *(
        _head(f"biases {biases}", 10, (9, 6, 5), biases=biases, form="int64")
        for biases in ("--", "b-", "-b")
    ),
    _head("one layer, no bias", 10, (9, 5), biases="-"),
    *(
        _head(f"labels as {form}", 7, (8, 9), form=form)
        for form in ("one-hot bool", "one-hot uint8", "one-hot int64")
    ),
    *(
        _head(f"{activation}", 6, (11, 13, 4), activation=activation)
        for activation in (None, *OUTPUT_ACTIVATIONS)
    ),
    *(
        _head(f"{activation}, float64", 6, (11, 13, 4), activation=activation, dtypes=BOTH[1:])
        for activation in ("sigmoid", "tanh")
    ),
]
