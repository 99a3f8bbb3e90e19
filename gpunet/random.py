"""Random numbers from one seed, the same on every backend: Philox4x64-10, addressed by counter.

Number `i` of draw `d` of seed `s` is a pure function of `(s, d, i)`, so that a CUDA kernel can
compute any of them with no state. One block of Philox4x64-10 makes four words of 64 bits:

    key      two 64-bit words: (s, d)
    counter  four 64-bit words: (b + 1, 0, 0, 0) for block b = 0, 1, 2, ...
    words    w[4 b], w[4 b + 1], w[4 b + 2], w[4 b + 3]: the four results of block b, in order

64-bit number `i` is `w[i]`. 32-bit number `i` is half of `w[i // 2]`: the low half for an even `i`,
the high half for an odd one; it is thus made by block `i // 8`. These are the numbers of
`numpy.random.Philox(key=[s, d])`, which counts its counter up before the first block.

A *key* is the array `[s, d]` of two uint64. Each call that draws takes the next one: the seed
stays, the draw counts up from 0. All functions here run on the host and return NumPy arrays.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import math
import operator
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpunet.fork import reset_on_fork

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = [
    "Generator", "State", "bits", "check_key", "get_state", "global_generator", "keys_from",
    "next_key", "normal", "permutation", "rewinding", "seed", "set_state", "truncated_normal",
    "uniform",
]  # fmt: skip

_WORD = 2**64

# Two standard deviations either side of the mean hold this part of a normal distribution.
_WITHIN_TWO_STDDEV = math.erf(math.sqrt(2.0))

# Coefficients of Wichura's AS241 (PPND16), highest power first: numerator and denominator for the
# middle of the distribution, for its tails, and for the far tails.
# fmt: off
_MIDDLE = (
    (2509.0809287301227, 33430.57558358813, 67265.7709270087, 45921.95393154987,
     13731.69376550946, 1971.5909503065513, 133.14166789178438, 3.3871328727963665),
    (5226.495278852854, 28729.085735721943, 39307.89580009271, 21213.794301586597,
     5394.196021424751, 687.1870074920579, 42.31333070160091, 1.0),
)
_TAIL = (
    (0.0007745450142783414, 0.022723844989269184, 0.2417807251774506, 1.2704582524523684,
     3.6478483247632045, 5.769497221460691, 4.630337846156546, 1.4234371107496835),
    (1.0507500716444169e-09, 0.0005475938084995345, 0.015198666563616457, 0.14810397642748008,
     0.6897673349851, 1.6763848301838038, 2.053191626637759, 1.0),
)
_FAR_TAIL = (
    (2.0103343992922881e-07, 2.7115555687434876e-05, 0.0012426609473880784, 0.026532189526576124,
     0.29656057182850487, 1.7848265399172913, 5.463784911164114, 6.657904643501103),
    (2.0442631033899397e-15, 1.421511758316446e-07, 1.8463183175100548e-05, 0.0007868691311456133,
     0.014875361290850615, 0.1369298809227358, 0.599832206555888, 1.0),
)
# fmt: on


# One lock for all generators; a signal handler may draw while its own thread holds it.
_lock = reset_on_fork(threading.RLock())

_key_source: ContextVar[Callable[[Any], Any] | None] = ContextVar("key_source", default=None)


class State(NamedTuple):
    """The position of a generator.

    Attributes:
        seed: the seed, in [0, 2**64).
        draw: the number of the next draw.
    """

    seed: int
    draw: int


class Generator:
    """A seed and a count of draws; every method that draws takes one key.

    Arguments:
        seed: an integer in [0, 2**64); None takes one from the operating system when it is needed.

    Raises:
        TypeError: if `seed` is no integer.
        ValueError: if `seed` is out of range.

    >>> generator = Generator(7)
    >>> generator.uniform((2,)).dtype, generator.get_state()
    (dtype('float32'), State(seed=7, draw=1))
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed = None if seed is None else _check_word(seed, "seed")
        self._draw = 0

    def seed(self, seed: int) -> None:
        """Start again at draw 0 of `seed`, an integer in [0, 2**64)."""
        self.set_state(State(seed, 0))

    def get_state(self) -> State:
        """Return the seed and the number of the next draw; `set_state` takes it back."""
        with _lock:
            return State(self._known_seed(), self._draw)

    def set_state(self, state: Sequence[int]) -> None:
        """Go to `state`: a `State`, or any pair of integers (seed, draw).

        Raises:
            TypeError, ValueError: if it is no pair of integers in [0, 2**64); nothing is changed.
        """
        if not hasattr(state, "__len__") or len(state) != 2:
            raise TypeError(
                f"A random state is a pair (seed, draw), received {state!r}. "
                "Pass what get_state() returned."
            )
        new_seed, new_draw = _check_word(state[0], "seed"), _check_word(state[1], "draw")
        with _lock:
            self._seed, self._draw = new_seed, new_draw

    def next_key(self) -> NDArray[np.uint64]:
        """Return the key of the next draw, uint64 of shape (2,), and count the draw.

        >>> Generator(5).next_key()
        array([5, 0], dtype=uint64)
        """
        source = _key_source.get()
        if source is not None and (key := source(self)) is not None:
            return key
        with _lock:
            seed, draw = self._known_seed(), self._draw
            self._draw += 1
        return np.array([seed, draw], dtype=np.uint64)

    def uniform(
        self,
        shape: int | Sequence[int],
        low: float = 0.0,
        high: float = 1.0,
        dtype: DTypeLike = np.float32,
    ) -> NDArray[Any]:
        """Return numbers spread evenly over [low, high).

        float32 takes the high 24 bits of a 32-bit number, float64 the high 53 of a 64-bit number.

        Arguments:
            shape: the shape of the result.
            low: the lower bound, included.
            high: the upper bound, excluded unless it equals `low`.
            dtype: float32 or float64.

        Raises:
            TypeError, ValueError: if an argument is out of its range; no draw is counted then.
        """
        shape, dtype = _check_shape(shape), _check_float(dtype)
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ValueError(
                f"Expected finite bounds low <= high, received low={low}, high={high}."
            )
        values = _unit_interval(self.next_key(), math.prod(shape), dtype)
        values *= dtype.type(high - low)
        values += dtype.type(low)
        largest = np.nextafter(dtype.type(high), dtype.type(low))  # the sum may round up to `high`
        return np.minimum(values, largest, out=values).reshape(shape)

    def normal(
        self,
        shape: int | Sequence[int],
        mean: float = 0.0,
        stddev: float = 1.0,
        dtype: DTypeLike = np.float32,
    ) -> NDArray[Any]:
        """Return numbers of the normal distribution.

        Number i comes from 64-bit number i alone, by the inverse distribution function in float64.

        Arguments:
            shape: the shape of the result.
            mean: the mean.
            stddev: the standard deviation, not negative.
            dtype: float32 or float64.

        Raises:
            TypeError, ValueError: if an argument is out of its range; no draw is counted then.
        """
        return self._scaled_normal(shape, mean, stddev, dtype, within=1.0)

    def truncated_normal(
        self,
        shape: int | Sequence[int],
        mean: float = 0.0,
        stddev: float = 1.0,
        dtype: DTypeLike = np.float32,
    ) -> NDArray[Any]:
        """Return numbers of the normal distribution cut off at two `stddev` from the mean.

        `stddev` is that of the distribution before the cut; after it, it is 0.8796 times as large.
        Arguments and errors are those of `normal`.
        """
        return self._scaled_normal(shape, mean, stddev, dtype, within=_WITHIN_TWO_STDDEV)

    def permutation(self, n: int) -> NDArray[np.int64]:
        """Return 0, 1, ..., n - 1 in random order: the stable argsort of n 64-bit numbers.

        >>> sorted(Generator(0).permutation(4).tolist())
        [0, 1, 2, 3]
        """
        count = _check_count(n, "n")
        order = np.argsort(bits(self.next_key(), count, np.uint64), kind="stable")
        return order.astype(np.int64, copy=False)

    def _scaled_normal(
        self, shape: Any, mean: float, stddev: float, dtype: DTypeLike, within: float
    ) -> NDArray[Any]:
        """Return normal numbers from the middle part of the distribution that holds `within`."""
        shape, dtype = _check_shape(shape), _check_float(dtype)
        if not (math.isfinite(mean) and math.isfinite(stddev) and stddev >= 0):
            raise ValueError(
                f"Expected a finite mean and a finite stddev >= 0, received {mean=}, {stddev=}."
            )
        # 52 bits and half a step: never 0 or 1, and the offset from 1/2 is exact.
        words = bits(self.next_key(), math.prod(shape), np.uint64)
        offset = ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52 - 0.5
        values = mean + stddev * _normal_quantile(offset * within)
        return values.astype(dtype, copy=False).reshape(shape)

    def _known_seed(self) -> int:
        """Return the seed, taken from the operating system if none was given; holds the lock."""
        if self._seed is None:
            self._seed = int.from_bytes(os.urandom(8), "little")
        return self._seed

    def __getstate__(self) -> State:
        return self.get_state()  # with a seed: a copy draws what the original will

    def __setstate__(self, state: State) -> None:
        self.set_state(state)


def rewinding(generators: Iterable[Generator] = ()) -> Callable[[], None]:
    """Return a function that restores the state that all random numbers have now.

    Arguments:
        generators: those to restore beside that of the process.
    """
    states = [(each, each.get_state()) for each in (global_generator, *generators)]

    def rewind() -> None:
        for generator, state in states:
            generator.set_state(state)

    return rewind


def bits(
    key: NDArray[np.uint64], count: int, dtype: DTypeLike = np.uint32
) -> NDArray[np.uint32 | np.uint64]:
    """Return numbers 0 to count - 1 of a key: the raw bits behind all other numbers.

    Arguments:
        key: uint64 of shape (2,), from `next_key`.
        count: how many numbers.
        dtype: uint32 or uint64; see the head of this module for how the two share the words.

    Raises:
        TypeError, ValueError: if an argument is not as above.

    >>> bits(np.array([0, 0], dtype=np.uint64), 2)
    array([149215387,  49592932], dtype=uint32)
    """
    check_key(key)
    dtype = np.dtype(dtype)
    if dtype not in (np.uint32, np.uint64):
        raise TypeError(f"Random bits are uint32 or uint64, received dtype {dtype.name}.")
    count = _check_count(count, "count")
    words = (count * dtype.itemsize + 7) // 8
    # Integers from the whole range are the words themselves, six times faster than random_raw.
    philox = np.random.Generator(np.random.Philox(key=key))
    numbers = philox.integers(0, _WORD - 1, words, dtype=np.uint64, endpoint=True)
    low_half_first = numbers.astype("<u8", copy=False).view(dtype.newbyteorder("<"))
    return low_half_first[:count].astype(dtype, copy=False)


def check_key(key: Any) -> None:
    """Raise `TypeError` unless `key` is a key: a uint64 array of shape (2,), of any library."""
    if getattr(key, "dtype", None) != np.uint64 or key.shape != (2,):
        raise TypeError(
            f"Expected a key, a uint64 array of shape (2,), received {key!r}. "
            "Take one from gpunet.random.next_key()."
        )


def _unit_interval(key: NDArray[np.uint64], count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return `count` multiples of 2**-24 (float32) or 2**-53 (float64) in [0, 1)."""
    if dtype == np.float32:
        return (bits(key, count) >> np.uint32(8)).astype(dtype) * dtype.type(2.0**-24)
    return (bits(key, count, np.uint64) >> np.uint64(11)).astype(dtype) * dtype.type(2.0**-53)


def _normal_quantile(offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the z below which a standard normal variable lies with probability 1/2 + `offset`.

    Source: Wichura, "Algorithm AS241: the percentage points of the normal distribution",
    Applied Statistics 37 (1988); relative error about 1e-16.
    """
    values = np.empty_like(offset)
    middle = np.abs(offset) <= 0.425
    inner = offset[middle]
    values[middle] = inner * _ratio(_MIDDLE, 0.180625 - inner * inner)
    outer = offset[~middle]
    depth = np.sqrt(-np.log(0.5 - np.abs(outer)))
    tail = np.where(depth <= 5.0, _ratio(_TAIL, depth - 1.6), _ratio(_FAR_TAIL, depth - 5.0))
    values[~middle] = np.copysign(tail, outer)
    return values


def _ratio(coefficients: Sequence[Any], x: NDArray[np.float64]) -> NDArray[np.float64]:
    numerator, denominator = coefficients
    return np.polyval(numerator, x) / np.polyval(denominator, x)


def _index(value: Any) -> int | None:
    try:
        return operator.index(value)
    except TypeError:
        return None


def _check_word(value: Any, name: str) -> int:
    number = None if isinstance(value, (bool, np.bool_)) else _index(value)
    if number is None:
        raise TypeError(
            f"A random {name} is an integer in [0, 2**64), received {value!r} "
            f"of type {type(value).__name__}."
        )
    if not 0 <= number < _WORD:
        raise ValueError(f"A random {name} is an integer in [0, 2**64), received {number}.")
    return number


def _check_count(value: Any, name: str) -> int:
    number = _index(value)
    if number is None or number < 0:
        kind = TypeError if number is None else ValueError
        raise kind(f"Expected an integer {name} >= 0, received {value!r}.")
    return number


def _check_shape(shape: Any) -> tuple[int, ...]:
    sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
    checked = [number for number in map(_index, sizes) if number is not None]
    if len(checked) < len(sizes):
        raise TypeError(f"Expected a shape, an integer or a tuple of integers, received {shape!r}.")
    if any(size < 0 for size in checked):
        raise ValueError(f"Expected a shape of sizes >= 0, received {shape!r}.")
    return tuple(checked)


def _check_float(dtype: DTypeLike) -> np.dtype[Any]:
    checked = np.dtype(dtype)
    if checked not in (np.float32, np.float64):
        raise TypeError(f"Random numbers are float32 or float64, received dtype {checked.name}.")
    return checked


@contextmanager
def keys_from(source: Callable[[Generator], Any]) -> Iterator[None]:
    """Take keys from ``source(generator)`` inside the block, and count no draws.

    Where it returns None, `next_key` works as usual. A step captured on a GPU reads its keys from
    device memory, which changes before each replay.
    """
    token = _key_source.set(source)
    try:
        yield
    finally:
        _key_source.reset(token)


# The process' generator, always the same object: the functions of this module are its methods.
global_generator = Generator()

seed = global_generator.seed
get_state = global_generator.get_state
set_state = global_generator.set_state
next_key = global_generator.next_key
uniform = global_generator.uniform
normal = global_generator.normal
truncated_normal = global_generator.truncated_normal
permutation = global_generator.permutation
