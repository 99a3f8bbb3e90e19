"""gpunet.random: the numbers themselves, their distributions, and the state behind them."""

from __future__ import annotations

import copy
import math
import pickle
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpunet import random

WORD = 2**64
words = st.integers(0, WORD - 1)


def philox4x64(counter: list[int], key: list[int]) -> list[int]:
    """One block of Philox4x64-10, from the paper: Salmon et al., SC 2011, section 4."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(c0 * 0xD2E7470EE14C6C93, WORD)
        high1, low1 = divmod(c2 * 0xCA5A826395121157, WORD)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 = (k0 + 0x9E3779B97F4A7C15) % WORD  # the golden ratio
        k1 = (k1 + 0xBB67AE8584CAA73B) % WORD  # the square root of 3, less 1
    return [c0, c1, c2, c3]


def number(seed: int, draw: int, index: int, width: int) -> int:
    """Number `index` of `width` bits, by the mapping in the head of gpunet/random.py."""
    word = index * width // 64
    block = philox4x64([word // 4 + 1, 0, 0, 0], [seed, draw])
    return block[word % 4] >> (index * width % 64) & (2**width - 1)


def make_key(seed: int, draw: int) -> np.ndarray:
    return np.array([seed, draw], dtype=np.uint64)


# The published known answers of Random123 1.14 for ten rounds of philox4x64.
ALL_ONES = WORD - 1
PI = [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89]
KNOWN_ANSWERS = [
    ([0] * 4, [0] * 2, "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
    (
        [ALL_ONES] * 4,
        [ALL_ONES] * 2,
        "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
    ),
    (
        PI,
        [0x452821E638D01377, 0xBE5466CF34E90C6C],
        "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_the_oracle_gives_the_published_answers(
    counter: list[int], key: list[int], answer: str
) -> None:
    assert " ".join(f"{word:016x}" for word in philox4x64(counter, key)) == answer


@given(seed=words, draw=words, count=st.integers(0, 40))
def test_bits_follow_the_stated_mapping(seed: int, draw: int, count: int) -> None:
    key = make_key(seed, draw)
    for dtype, width in ((np.uint32, 32), (np.uint64, 64)):
        drawn = random.bits(key, count, dtype)
        assert drawn.dtype == dtype
        assert drawn.tolist() == [number(seed, draw, index, width) for index in range(count)]


def test_bits_are_those_of_numpys_philox() -> None:
    key = make_key(2024, 7)
    raw = np.random.Philox(key=key).random_raw(1000)
    np.testing.assert_array_equal(random.bits(key, 1000, np.uint64), raw)


def test_bits_of_a_key_never_change() -> None:
    first = [3042142985, 1328497427, 564130602, 1533115363]
    assert random.bits(make_key(1, 2), 4).tolist() == first


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    key = make_key(3, 4)
    np.testing.assert_array_equal(random.bits(key, 1000)[:77], random.bits(key, 77))


def test_keys_count_the_draws_up() -> None:
    random.seed(11)
    assert [random.next_key().tolist() for _ in range(3)] == [[11, 0], [11, 1], [11, 2]]
    assert random.next_key().dtype == np.uint64


@pytest.mark.parametrize("seed", [0, 1, WORD - 1, np.int64(5), np.uint64(WORD - 1)])
def test_equal_seeds_give_equal_numbers(seed: int) -> None:
    def draw_all() -> list[np.ndarray]:
        random.seed(seed)
        return [
            random.uniform((3, 4)),
            random.normal(7, dtype=np.float64),
            random.truncated_normal([2, 3]),
            random.permutation(9),
        ]

    for first, again in zip(draw_all(), draw_all(), strict=True):
        np.testing.assert_array_equal(first, again, strict=True)
    generator = random.Generator(seed)
    np.testing.assert_array_equal(generator.uniform((3, 4)), draw_all()[0])


def test_no_draw_repeats() -> None:
    # 64-bit words of 200 keys: by chance alone, two of 20000 agree once in 1e11 runs.
    draws = [random.bits(random.next_key(), 50, np.uint64) for _ in range(100)]
    random.seed(1)
    draws += [random.bits(random.next_key(), 50, np.uint64) for _ in range(100)]
    assert np.unique(np.concatenate(draws)).size == 200 * 50


def test_an_unseeded_process_draws_its_own_numbers() -> None:
    code = "from gpunet import random; print(random.get_state().seed)"
    seeds = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(seeds) == 2
    assert random.Generator().get_state() != random.Generator().get_state()


def test_state_goes_back_to_a_draw() -> None:
    random.seed(5)
    random.uniform(3)
    state = random.get_state()
    assert state == (5, 1)
    expected = random.normal(4)
    random.set_state(list(state))
    np.testing.assert_array_equal(random.normal(4), expected)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))]
)
def test_generators_can_be_copied(copied: object) -> None:
    generator = random.Generator(3)
    generator.next_key()
    twin = copied(generator)  # type: ignore[operator]
    np.testing.assert_array_equal(twin.uniform(5), generator.uniform(5))
    twin.next_key()
    assert (generator.get_state().draw, twin.get_state().draw) == (2, 3)


def test_threads_share_no_key() -> None:
    generator = random.Generator(0)
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: int(generator.next_key()[1]), range(2000)))
    assert sorted(keys) == list(range(2000))


def test_uniform_takes_the_high_bits() -> None:
    key = make_key(6, 0)
    single = (random.bits(key, 100) >> 8) / 2**24
    double = (random.bits(key, 100, np.uint64) >> np.uint64(11)) / 2.0**53
    np.testing.assert_array_equal(random.Generator(6).uniform(100), single.astype(np.float32))
    np.testing.assert_array_equal(random.Generator(6).uniform(100, dtype="float64"), double)


def test_uniform_is_uniform() -> None:
    # Chi-square with 99 degrees of freedom lies below 148.2 in 99.9 % of all cases.
    for dtype in (np.float32, np.float64):
        counts, _ = np.histogram(random.uniform(100_000, dtype=dtype), bins=100, range=(0, 1))
        assert ((counts - 1000) ** 2 / 1000).sum() < 148.2


@given(
    low=st.floats(-1e6, 1e6, width=32),
    width=st.floats(0, 1e6, width=32),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_uniform_keeps_its_bounds(low: float, width: float, dtype: str) -> None:
    values = random.Generator(0).uniform(500, low, low + width, dtype)
    high = np.dtype(dtype).type(low + width)
    assert values.dtype == dtype
    assert (values >= low).all()
    assert (values < high).all() or high == low


def test_uniform_never_rounds_up_to_the_bound() -> None:
    # Between 1 and the next float32 there is nothing, so all but the lower bound would round up.
    high = float(np.nextafter(np.float32(1), np.float32(2)))
    assert (random.uniform(1000, 1.0, high) == 1.0).all()


def test_normal_quantile_is_exact() -> None:
    # Against the scalar function of the standard library: both claim 1e-16 relative.
    chances = np.concatenate([np.linspace(0.001, 0.999, 999), 2.0 ** -np.arange(4, 53)])
    expected = [statistics.NormalDist().inv_cdf(chance) for chance in chances]
    # Below 1e-10 the offset chance - 1/2 has lost digits: compare where it has not.
    kept = chances - 0.5 + 0.5 == chances
    found = random._normal_quantile(chances - 0.5)
    assert kept.sum() > 500
    np.testing.assert_allclose(found[kept], np.array(expected)[kept], rtol=1e-14, atol=1e-15)


def test_normal_has_its_moments() -> None:
    # 200000 numbers: the bounds are 4 standard errors wide.
    count = 200_000
    values = random.normal((count // 2, 2), mean=3.0, stddev=2.0, dtype=np.float64)
    unit = (values.ravel() - 3.0) / 2.0
    error = 4 / math.sqrt(count)
    assert abs(unit.mean()) < error
    assert abs((unit**2).mean() - 1) < error * math.sqrt(2)
    assert abs((unit**3).mean()) < error * math.sqrt(15)
    assert abs((unit**4).mean() - 3) < error * math.sqrt(96)
    assert np.isfinite(values).all()
    assert 4 < np.abs(unit).max() < 6.5


def test_normal_float32_is_the_float64_number_rounded() -> None:
    double = random.Generator(1).normal(1000, 0.5, 3.0, np.float64)
    np.testing.assert_array_equal(
        random.Generator(1).normal(1000, 0.5, 3.0), double.astype(np.float32), strict=True
    )


def test_normal_of_the_extreme_bits_is_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    extreme = np.array([0, WORD - 1], dtype=np.uint64)
    monkeypatch.setattr(random, "bits", lambda key, count, dtype: extreme)
    low, high = random.normal(2, dtype=np.float64)
    assert low == -high
    assert 8 < high < 8.3  # half a step of 2**-52 from the end
    assert random.truncated_normal(2).tolist() == [-2.0, 2.0]


def test_truncated_normal_has_its_moments() -> None:
    values = random.truncated_normal(200_000, mean=1.0, stddev=0.5, dtype=np.float64)
    unit = (values - 1.0) / 0.5
    assert np.abs(unit).max() <= 2.0
    assert (np.abs(unit) > 1.99).any()
    # The standard deviation after the cut, by integration; 4 standard errors.
    assert abs(unit.mean()) < 4 * 0.88 / math.sqrt(200_000)
    assert abs(unit.std() - 0.87962566103423978) < 4 / math.sqrt(2 * 200_000)


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_permutation_holds_each_number_once(n: int) -> None:
    order = random.permutation(n)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))


def test_permutations_are_all_alike_likely() -> None:
    # 24 orders of 4, 2400 draws: chi-square with 23 degrees lies below 49.7 in 99.9 % of cases.
    orders = np.array([random.permutation(4) for _ in range(2400)]) @ [64, 16, 4, 1]
    _, counts = np.unique(orders, return_counts=True)
    assert counts.size == 24
    assert ((counts - 100) ** 2 / 100).sum() < 49.7


@pytest.mark.parametrize("shape", [(), (0,), 3, [2, 3], (2, 0, 3), (np.int64(2), 1)])
@pytest.mark.parametrize("name", ["uniform", "normal", "truncated_normal"])
def test_shapes(name: str, shape: object) -> None:
    expected = np.empty(shape).shape  # type: ignore[call-overload]
    for dtype in (np.float32, np.float64):
        drawn = getattr(random, name)(shape, dtype=dtype)
        assert (drawn.shape, drawn.dtype) == (expected, dtype)


@pytest.mark.parametrize(
    ("seed", "error"),
    [
        (-1, ValueError),
        (WORD, ValueError),
        *[(seed, TypeError) for seed in (1.0, "1", None, True, np.float32(1))],
    ],
)
def test_a_bad_seed_changes_nothing(seed: object, error: type[Exception]) -> None:
    random.seed(4)
    with pytest.raises(error, match=r"seed is an integer in \[0, 2\*\*64\), received"):
        random.seed(seed)  # type: ignore[arg-type]
    assert random.get_state() == (4, 0)
    if seed is not None:
        with pytest.raises(error, match="seed is an integer"):
            random.Generator(seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", [3, "12", (1,), (1, 2, 3), (1, -1), (1, 2.0), (-1, 0)])
def test_a_bad_state_changes_nothing(state: object) -> None:
    random.seed(4)
    with pytest.raises((TypeError, ValueError), match=r"random (state|seed|draw) is"):
        random.set_state(state)  # type: ignore[arg-type]
    assert random.get_state() == (4, 0)


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("uniform", {"shape": (2, -1)}, ValueError, r"sizes >= 0, received \(2, -1\)"),
        ("normal", {"shape": 2.0}, TypeError, "integer or a tuple of integers, received 2.0"),
        ("normal", {"shape": (2, None)}, TypeError, "integer or a tuple of integers"),
        ("uniform", {"shape": 2, "dtype": "int32"}, TypeError, "float32 or float64, received"),
        ("normal", {"shape": 2, "dtype": np.float16}, TypeError, "float32 or float64, received"),
        ("uniform", {"shape": 2, "low": 1, "high": 0}, ValueError, "low <= high, received low=1"),
        ("uniform", {"shape": 2, "high": math.inf}, ValueError, "finite bounds"),
        ("normal", {"shape": 2, "stddev": -1.0}, ValueError, "stddev >= 0, received .*-1.0"),
        ("truncated_normal", {"shape": 2, "mean": math.nan}, ValueError, "finite mean"),
        ("permutation", {"n": -3}, ValueError, "integer n >= 0, received -3"),
        ("permutation", {"n": 3.5}, TypeError, "integer n >= 0, received 3.5"),
    ],
)
def test_bad_arguments_count_no_draw(
    name: str, arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        getattr(random, name)(**arguments)
    assert random.get_state().draw == 0


@pytest.mark.parametrize(
    ("key", "count", "dtype", "error", "message"),
    [
        ([1, 2], 3, np.uint32, TypeError, "uint64 array of shape"),
        (np.array([1, 2]), 3, np.uint32, TypeError, "uint64 array of shape"),
        (np.zeros(3, np.uint64), 3, np.uint32, TypeError, "uint64 array of shape"),
        (make_key(0, 0), -1, np.uint32, ValueError, "count >= 0, received -1"),
        (make_key(0, 0), 1.5, np.uint32, TypeError, "count >= 0, received 1.5"),
        (make_key(0, 0), 3, np.float32, TypeError, "uint32 or uint64, received dtype float32"),
    ],
)
def test_bad_arguments_of_bits(
    key: object, count: int, dtype: type, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        random.bits(key, count, dtype)  # type: ignore[arg-type]
