"""Cases of softmax, its logarithm and the cross-entropy with labels."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.support.doors import reference

from .cases import Arguments, Case

ALL = ("float32", "float64", "float16", "bfloat16")

# Shapes, axes and element types: every number of lanes to a row, with rows to spare.
AXES: list[tuple[tuple[int, ...], int, tuple[str, ...]]] = [
    ((1,), 0, ("float32", "float64")),
    ((37, 10), -1, ALL),
    ((5, 130), 1, ALL),
    ((300, 3), -1, ("float32", "float64")),  # one lane to a row
    ((9, 300), 0, ("float32", "float64")),  # likewise, neighbours side by side
    ((2, 70, 40), 1, ("float32", "float64")),
    ((3, 5, 4, 6), -3, ("float32", "float64")),
    ((2, 1501), 1, ("float32", "float64")),  # a block to a row
    ((1100, 2), 0, ("float32",)),
    ((700, 40), -1, ("float32",)),  # many rows: blocks of several warps
    ((0, 3), 1, ("float32",)),
]
CLASSES: list[tuple[int, int]] = [(1, 1), (37, 10), (5, 130), (300, 3), (3, 1501), (0, 4)]
INTEGERS = ("uint8", "int32", "int64")  # test_softmax.py has the others


def logits(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers of which some rows' differ widely."""
    return rng.normal(size=shape) * rng.choice([0.5, 3.0, 30.0], shape)


def forward(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> Arguments:
    return [logits(rng, shape)], {"axis": axis}


def backward(rng: np.random.Generator, name: str, shape: tuple[int, ...], axis: int) -> Arguments:
    y = getattr(reference, f"{name}_forward")(logits(rng, shape), axis=axis)
    return [rng.normal(size=shape), y], {"axis": axis}


def labels_of(rng: np.random.Generator, batch: int, classes: int, form: str) -> np.ndarray:
    """Return class numbers of an integer type, or probabilities that need not sum to 1."""
    if form in INTEGERS:
        return rng.integers(0, min(classes, 127), batch).astype(form)
    if form == "probabilities":
        return rng.uniform(size=(batch, classes)) * rng.integers(0, 2, (batch, classes))
    one_hot = np.eye(classes)[rng.integers(0, classes, batch)]
    return one_hot.astype(form.removeprefix("one-hot "))


def entropy_forward(rng: np.random.Generator, batch: int, classes: int, form: str) -> Arguments:
    return [logits(rng, (batch, classes)), labels_of(rng, batch, classes, form)], {}


def entropy_backward(rng: np.random.Generator, batch: int, classes: int, form: str) -> Arguments:
    (x, labels), _ = entropy_forward(rng, batch, classes, form)
    losses, probabilities = reference.softmax_cross_entropy_forward(x, labels)
    return [rng.normal(size=losses.shape), probabilities, labels], {}


def entropies(
    batch: int, classes: int, form: str, dtypes: tuple[str, ...] = ("float32", "float64")
) -> list[Case]:
    return [
        Case(
            f"softmax_cross_entropy_{way}",
            f"{(batch, classes)}-{form}",
            partial(make, batch=batch, classes=classes, form=form),
            terms=classes,
            dtypes=dtypes,
        )
        for way, make in (("forward", entropy_forward), ("backward", entropy_backward))
    ]


def strided(rng: np.random.Generator) -> Arguments:
    return [logits(rng, (6, 5, 4)).T[:, ::2]], {"axis": 1}


def strided_entropy(rng: np.random.Generator) -> Arguments:
    (losses, probabilities, labels), options = entropy_backward(rng, 12, 10, "int64")
    return [losses[::2], probabilities[::2], labels[::2]], options


CASES = [
    *(
        Case(
            f"{name}_{way}",
            f"{shape}-{axis}",
            partial(make, shape=shape, axis=axis),
            terms=shape[axis],
            dtypes=dtypes,
        )
        for shape, axis, dtypes in AXES
        for name in ("softmax", "log_softmax")
        for way, make in (("forward", forward), ("backward", partial(backward, name=name)))
    ),
    *(
        case
        for batch, classes in CLASSES
        for form in ("int64", "probabilities")
        for case in entropies(batch, classes, form)
    ),
    *(case for form in INTEGERS for case in entropies(7, 9, form, ("float32",))),
    *(case for form in ("int32", "probabilities") for case in entropies(6, 10, form, ALL)),
    *(
        case
        for form in ("one-hot bool", "one-hot uint8", "one-hot int64")
        for case in entropies(7, 9, form, ("float32", "float64"))
    ),
    Case("softmax_forward", "views", strided),
    Case("log_softmax_forward", "views", strided),
    Case("softmax_cross_entropy_backward", "views", strided_entropy),
]
