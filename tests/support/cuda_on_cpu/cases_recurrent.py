"""Cases of recurrences over whole sequences."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.support.doors import reference

from .cases import Arguments, Case

ALL = ("float32", "float64", "float16", "bfloat16")
GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1}

# Time steps, batch and units: fewer than a warp, one slice of the products or several, uneven ones,
# and more units than one launch takes for all steps.
SIZES = ((1, 1, 1), (3, 7, 5), (2, 3, 50), (4, 3, 17), (3, 2, 170), (3, 4, 260))


def forward(
    rng: np.random.Generator, sizes: tuple[int, int, int], cell: str, masked: bool
) -> Arguments:
    steps, batch, units = sizes
    columns = GATES[cell] * units
    x = rng.normal(size=(steps, batch, columns))
    kernel = rng.normal(size=(units, columns)) / units**0.5
    bias = rng.normal(size=columns) if cell == "gru" else None
    h = rng.normal(size=(batch, units))
    c = rng.normal(size=(batch, units)) if cell == "lstm" else None
    mask = rng.integers(0, 2, (steps, batch)).astype(bool) if masked else None
    return [x, kernel, bias, h, c, mask], {"cell": cell}


def backward(
    rng: np.random.Generator, sizes: tuple[int, int, int], cell: str, masked: bool
) -> Arguments:
    args, options = forward(rng, sizes, cell, masked)
    h_states, c_states, gates = reference.recurrent_forward(*args, **options)
    h_grads = rng.normal(size=h_states[1:].shape)
    c_grad = None if c_states is None else rng.normal(size=c_states[0].shape)
    return [h_grads, c_grad, args[1], h_states, c_states, gates, args[5]], options


def views(rng: np.random.Generator) -> Arguments:
    args, options = forward(rng, (4, 6, 10), "lstm", True)
    args[0], args[3], args[5] = args[0][:, ::2], args[3][::2], args[5][:, ::2]
    args[4] = args[4][::2]
    return args, options


CASES = [
    *(
        Case(
            f"recurrent_{way}",
            f"{cell}-{sizes}-{'masked' if masked else 'whole'}",
            partial(make, sizes=sizes, cell=cell, masked=masked),
            # A step's error is in the next step's products too.
            terms=sizes[0] * sizes[2] * GATES[cell],
            dtypes=("float32", "float64"),
        )
        for way, make in (("forward", forward), ("backward", backward))
        for cell in GATES
        for sizes in SIZES
        for masked in (False, True)
    ),
    Case("recurrent_forward", "views", views, terms=40),
]
