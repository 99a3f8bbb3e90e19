"""Cases of products on tensor cores: those of full precision, with their factors rounded."""

from __future__ import annotations

from dataclasses import replace

from . import cases_conv_pool, cases_product

# Positions of the arguments that are multiplied.
FACTORS = {
    "matmul": (0, 1),
    "conv2d_forward": (0, 1),
    "conv2d_backward_input": (0, 1),
    "conv2d_backward_weight": (0, 1),
    "conv2d_max_pool_forward": (0, 1),
    "conv2d_max_pool_backward_input": (0, 2),
    "conv2d_max_pool_backward_weight": (0, 2),
}
# How the labels of the cases begin.
CHOSEN = (
    "37x10x65",
    "33x36x500",
    "20x12x4000",
    "3x5x0",
    "1024x512x20",
    "1024x200x20",
    "300x290x40",
    "stack-(2, 13, 16)",
    "off-boundary",
    "second layer",
    "third layer",
    "split",
    "large tiles",
    "largest tiles",
    "same, strides",
    "groups",
    "all together",
    "ties",
)

CASES = [
    replace(
        case,
        label=f"{case.label}, {precision}",
        dtypes=("float32",),
        precision=precision,
        factors=FACTORS[case.primitive],
    )
    for case in (*cases_product.CASES, *cases_conv_pool.CASES)
    if case.primitive in FACTORS and case.label.startswith(CHOSEN) and "tanh" not in case.label
    for precision in ("tf32", "bf16")
]
assert {case.primitive for case in CASES} == FACTORS.keys()
