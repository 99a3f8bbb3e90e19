"""The primitives of one module of twins, whose arrays are NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from gpunet import primitives
from gpunet.primitives import use_twins

__all__ = ["Doors", "cuda", "reference"]


class Doors:
    """The doors of `gpunet.primitives`, which run these twins on NumPy arrays.

    >>> import numpy as np
    >>> reference.relu_forward(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def __init__(self, twins: Any) -> None:
        self.twins = twins

    def __getattr__(self, name: str) -> Callable[..., Any]:
        door = getattr(primitives, name)

        @wraps(door)
        def call(*args: Any, **options: Any) -> Any:
            with use_twins(self.twins):
                return door(*args, **options)

        return call


cuda, reference = Doors(primitives.cuda), Doors(primitives.reference)
