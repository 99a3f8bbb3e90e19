"""Cases of the optimizers' updates."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tests.support.doors import cuda, reference

from .cases import Arguments, Case


def sgd(rng: np.random.Generator, count: int, options: dict[str, Any]) -> Arguments:
    parameters, gradients, velocity = rng.normal(size=(3, count))
    velocity = velocity if options else None
    return [parameters, gradients, velocity, np.array([0.03])], options


def adam(
    rng: np.random.Generator, count: int, step: int = 3, options: dict[str, Any] | None = None
) -> Arguments:
    parameters, gradients, mean, variance = rng.normal(size=(4, count))
    if options and options.get("beta_2") == 0:
        # variance + (gradient^2 - variance) is then off by a rounding of the variance before, which
        # shows where a much smaller gradient is divided by the root of its own square.
        gradients = np.copysign(rng.uniform(0.5, 2.0, count), gradients)
    arrays = [parameters, gradients, mean, variance**2]
    return [*arrays, np.array([step]), np.array([0.002])], options or {}


def off_boundary(rng: np.random.Generator, make: Any) -> Arguments:
    """Flat buffers, the parameters of which begin beside a boundary."""
    arrays, options = make(rng, count=130)
    arrays[0] = np.concatenate([[0.0], arrays[0]])[1:]
    return arrays, options


def strided_gradients(rng: np.random.Generator, make: Any) -> Arguments:
    arrays, options = make(rng, count=67)
    arrays[1] = rng.normal(size=2 * 67)[::2]
    return arrays, options


def skipped(rng: np.random.Generator, make: Any, skip: tuple[int, ...]) -> Arguments:
    """An update that is to be left out, unless the first two numbers are 0."""
    arrays, options = make(rng, count=300)
    return arrays, options | {"skip": np.array(skip)}


def counted(update: Any) -> Any:
    """Return an update that gives back its `skip`, which it may change."""

    def call(*arrays: Any, **options: Any) -> Any:
        update(*arrays, **options)
        return options["skip"]

    return call


SGD_OPTIONS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.0},  # a velocity all the same
]
ADAM_OPTIONS: list[dict[str, Any]] = [
    {"beta_1": 0.0},
    {"beta_2": 0.0},
    {"beta_1": 0.5, "beta_2": 0.99999, "epsilon": 1e-3},
]
COUNTS = (
    1,
    7,
    1024,
    1031,
    70_003,
)  # of which some leave a rest of a vector, or go round a grid again

sgd_momentum = partial(sgd, options=SGD_OPTIONS[2])

CASES = [
    *(
        Case("sgd_update", f"{count}-{options}", partial(sgd, count=count, options=options),
             in_place=(0, 2) if options else (0,))
        for options in SGD_OPTIONS
        for count in COUNTS
    ),
    *(
        Case("adam_update", f"{count}", partial(adam, count=count), in_place=(0, 2, 3))
        for count in COUNTS
    ),
    *(
        Case("adam_update", f"{options}", partial(adam, count=77, options=options),
             in_place=(0, 2, 3))
        for options in ADAM_OPTIONS
    ),
    *(
        Case("adam_update", f"step={step}", partial(adam, count=77, step=step),
             in_place=(0, 2, 3))
        for step in (1, 2, 1000, 100_000, 2**40)
    ),
    *(
        Case(f"{name}_update", f"{label}", partial(make, make=update), in_place=in_place)
        for name, update, in_place in (("sgd", sgd_momentum, (0, 2)), ("adam", adam, (0, 2, 3)))
        for label, make in (
            ("off-boundary", off_boundary), ("strided-gradients", strided_gradients),
        )
    ),
    *(
        Case(f"{name}_update", f"skip={skip}", partial(skipped, make=update, skip=skip),
             in_place=(0, 2, 3)[: 3 if name == "adam" else 2],
             function=counted(getattr(cuda, f"{name}_update")),
             oracle=counted(getattr(reference, f"{name}_update")))
        for name, update in (("sgd", sgd_momentum), ("adam", adam))
        for skip in ((0, 0, 0), (0, 1, 4), (1, 0, 0))
    ),
    Case("sgd_update", "empty", partial(sgd_momentum, count=0), in_place=(0, 2)),
    Case("adam_update", "empty", partial(adam, count=0), in_place=(0, 2, 3)),
]  # fmt: skip
