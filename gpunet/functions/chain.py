"""Convolutions and dense layers, one after another, as one primitive."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from gpunet import primitives
from gpunet.autograd import Array, Result, differentiable

__all__ = ["chain"]


@differentiable
def chain(x: Array, *parameters: Array, stages: Sequence[primitives.Stage]) -> Result:
    """Return the output of several convolutions and dense layers, one after another.

    Arguments:
        x: (batch, height, width, channels), or (batch, inputs).
        parameters: the kernel and the bias of each stage in turn, the bias only if there is one.
        stages: their options. The kernels in them are not used, nor are the biases, but for
            whether they are None.

    Raises:
        TypeError, ValueError: the stages do not fit each other or `x`.
    """
    given = iter(parameters)
    stages = [
        stage._replace(kernel=next(given), bias=None if stage.bias is None else next(given))
        for stage in stages
    ]
    y, kept = primitives.chain_forward(x, stages)
    grads: dict[str, Any] = {}

    def backward(output_grad: Array) -> Any:
        def all_grads(with_input_grad: bool) -> list[Array]:
            if not grads or (with_input_grad and grads["all"][0] is None):
                of_input, of_stages = primitives.chain_backward(
                    output_grad, x, stages, kept, with_input_grad=with_input_grad
                )
                of_weights = itertools.chain.from_iterable(of_stages)
                grads["all"] = [of_input, *(grad for grad in of_weights if grad is not None)]
            return grads["all"]

        def of_parameter(position: int) -> Callable[[], Array]:
            return lambda: all_grads(False)[position]

        return (lambda: all_grads(True)[0], *map(of_parameter, range(1, 1 + len(parameters))))

    return y, backward
