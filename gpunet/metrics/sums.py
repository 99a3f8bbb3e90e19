"""The base of metrics that are computed from sums over all samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.autograd import Array
from gpunet.backend import asarray, get_array_module, to_numpy
from gpunet.metrics.metric import Metric

__all__ = ["SumsMetric", "binned_sums", "divide"]

_MOST_AT_ONCE = 1 << 24  # elements of a temporary array on a GPU


class SumsMetric(Metric):
    """Base class of metrics whose state is sums over samples, of float64.

    On a GPU the sums stay there until `result` reads them.
    """

    def reset_state(self) -> None:
        """Forget all samples."""
        self._sums: dict[str, Any] = {}

    def _add(self, **sums: Array) -> None:
        """Add to the sums of these names."""
        for name, more in sums.items():
            before = self._sums.get(name)
            self._sums[name] = more if before is None else asarray(before, like=more) + more

    def _total(self, name: str, shape: tuple[int, ...] = ()) -> np.ndarray:
        """Return a sum as a NumPy array; zeros of a shape before the first sample."""
        return to_numpy(self._sums[name]) if name in self._sums else np.zeros(shape)


def binned_sums(index: Array, weights: Array | None, bins: int) -> Array:
    """Return how many elements, or how much weight, each bin has: (bins,) of float64.

    A GPU adds them in a fixed order, by comparisons, and the host does not wait for it:
    ``cupy.bincount`` reads its input back, and adds by atomics in any order.

    Arguments:
        index: the number of each element's bin, of one axis.
        weights: of the elements, of the same shape; None for 1.
        bins: the number of bins.

    >>> binned_sums(np.array([0, 2, 2]), np.array([1.0, 0.5, 0.25]), 3)
    array([1.  , 0.  , 0.75])
    """
    xp = get_array_module(index)
    if xp is np:
        return np.bincount(index, weights, minlength=bins).astype(np.float64)
    weights = xp.ones(index.shape, np.float64) if weights is None else weights.astype(np.float64)
    number, step = xp.arange(bins)[:, None], max(1, _MOST_AT_ONCE // bins)
    sums = xp.zeros(bins, np.float64)
    for start in range(0, index.size, step):
        part = slice(start, start + step)
        sums += xp.where(index[part] == number, weights[part], 0.0).sum(axis=1)
    return sums


def divide(a: np.ndarray, b: Any) -> np.ndarray:
    """Return a / b, and 0 where b is 0."""
    b = np.broadcast_to(b, a.shape)
    return np.divide(a, b, out=np.zeros(a.shape), where=b > 0)
