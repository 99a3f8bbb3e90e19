"""Hashes of bytes that are the same everywhere: FarmHash's Fingerprint64 and SipHash-2-4.

Sources: Pike and Alakuijala, FarmHash, 2014 (Fingerprint64 of farmhashna); Aumasson and Bernstein,
"SipHash: a fast short-input PRF", 2012. TensorFlow, and so Keras, hashes strings by them.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["combined", "farmhash64", "siphash64"]

_MASK = (1 << 64) - 1
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
Pair = tuple[int, int]


def _rotated(x: int, bits: int) -> int:
    """Return 64 bits rotated to the right."""
    x &= _MASK
    return ((x >> bits) | (x << (64 - bits))) & _MASK


def _mixed(x: int, bits: int = 47) -> int:
    x &= _MASK
    return x ^ (x >> bits)


def _word(data: bytes, start: int, size: int = 8) -> int:
    """Return an integer of some bytes, the lowest first; negative starts count from the end."""
    start += len(data) if start < 0 else 0
    return int.from_bytes(data[start : start + size], "little")


def _of_two(one: int, other: int, factor: int) -> int:
    first = _mixed((one ^ other) * factor)
    second = _mixed((other ^ first) * factor)
    return second * factor & _MASK


def farmhash64(data: bytes) -> int:
    """Return the 64-bit FarmHash fingerprint of some bytes.

    >>> farmhash64(b"") == 0x9AE16A3B2F90404F
    True
    """
    size = len(data)
    if size <= 16:
        return _up_to_16(data)
    if size <= 32:
        factor = _K2 + size * 2
        a, b = _word(data, 0) * _K1, _word(data, 8)
        c, d = _word(data, -8) * factor, _word(data, -16) * _K2
        mixed = _rotated(a + b, 43) + _rotated(c, 30) + d
        return _of_two(mixed & _MASK, (a + _rotated(b + _K2, 18) + c) & _MASK, factor)
    return _up_to_64(data) if size <= 64 else _beyond_64(data)


def _up_to_16(data: bytes) -> int:
    size = len(data)
    factor = _K2 + size * 2
    if size >= 8:
        a, b = (_word(data, 0) + _K2) & _MASK, _word(data, -8)
        c = _rotated(b, 37) * factor + a
        d = (_rotated(a, 25) + b) * factor
        return _of_two(c & _MASK, d & _MASK, factor)
    if size >= 4:
        return _of_two(size + (_word(data, 0, 4) << 3), _word(data, -4, 4), factor)
    if size == 0:
        return _K2
    y = data[0] + (data[size >> 1] << 8)
    z = size + (data[-1] << 2)
    return _mixed((y * _K2) ^ (z * _K0)) * _K2 & _MASK


def _up_to_64(data: bytes) -> int:
    factor = _K2 + len(data) * 2
    a, b = _word(data, 0) * _K2, _word(data, 8)
    c, d = _word(data, -8) * factor, _word(data, -16) * _K2
    y = (_rotated(a + b, 43) + _rotated(c, 30) + d) & _MASK
    z = _of_two(y, (a + _rotated(b + _K2, 18) + c) & _MASK, factor)
    e, f = _word(data, 16) * factor, _word(data, 24)
    g, h = (y + _word(data, -32)) * factor, (z + _word(data, -24)) * factor
    mixed = _rotated(e + f, 43) + _rotated(g, 30) + h
    return _of_two(mixed & _MASK, (e + _rotated(f + a, 18) + g) & _MASK, factor)


def _of_32(data: bytes, start: int, a: int, b: int) -> Pair:
    """Return two numbers mixed with the 32 bytes from `start` on."""
    w, x, y, z = (_word(data, start + 8 * i) for i in range(4))
    a += w
    b = _rotated(b + a + z, 21)
    total = a + x + y
    return (total + z) & _MASK, (b + _rotated(total, 44) + a) & _MASK


def _beyond_64(data: bytes) -> int:
    seed = 81
    x, y = seed, (seed * _K1 + 113) & _MASK
    z = _mixed(y * _K2 + 113) * _K2 & _MASK
    v: Pair = (0, 0)
    w: Pair = (0, 0)
    x = (x * _K2 + _word(data, 0)) & _MASK
    for start in range(0, (len(data) - 1) // 64 * 64, 64):
        x = _rotated(x + y + v[0] + _word(data, start + 8), 37) * _K1 ^ w[1]
        y = _rotated(y + v[1] + _word(data, start + 48), 42) * _K1 + v[0] + _word(data, start + 40)
        z = _rotated(z + w[0], 33) * _K1
        v = _of_32(data, start, v[1] * _K1, x + w[0])
        w = _of_32(data, start + 32, z + w[1], y + _word(data, start + 16))
        z, x = x & _MASK, z & _MASK
    factor, start = _K1 + ((z & 0xFF) << 1), len(data) - 64
    w = (w[0] + ((len(data) - 1) & 63), w[1])
    v = (v[0] + w[0], v[1])
    w = (w[0] + v[0], w[1])
    x = _rotated(x + y + v[0] + _word(data, start + 8), 37) * factor ^ (w[1] * 9)
    y = _rotated(y + v[1] + _word(data, start + 48), 42) * factor
    y += v[0] * 9 + _word(data, start + 40)
    z = _rotated(z + w[0], 33) * factor
    v = _of_32(data, start, v[1] * factor, x + w[0])
    w = _of_32(data, start + 32, z + w[1], y + _word(data, start + 16))
    z, x = x & _MASK, z & _MASK
    one = _of_two(v[0], w[0], factor) + _mixed(y) * _K0 + z
    return _of_two(one & _MASK, (_of_two(v[1], w[1], factor) + x) & _MASK, factor)


def combined(one: int, other: int) -> int:
    """Return one fingerprint of two, as TensorFlow's crosses of features do."""
    factor = 0xC6A4A7935BD1E995
    result = (one ^ factor ^ (_mixed(other * factor) * factor)) & _MASK
    return _mixed(_mixed(result * factor) * factor)


def _sip_round(v: list[int]) -> None:
    for a, b, turn in ((0, 1, 13), (2, 3, 16)):
        v[a] = (v[a] + v[b]) & _MASK
        v[b] = _rotated(v[b], 64 - turn) ^ v[a]
    v[0] = _rotated(v[0], 32)
    for a, b, turn in ((0, 3, 21), (2, 1, 17)):
        v[a] = (v[a] + v[b]) & _MASK
        v[b] = _rotated(v[b], 64 - turn) ^ v[a]
    v[2] = _rotated(v[2], 32)


def siphash64(data: bytes, key: Sequence[int]) -> int:
    """Return the SipHash-2-4 of some bytes.

    Arguments:
        data: the bytes.
        key: two integers of 64 bits.

    >>> hex(siphash64(bytes(range(15)), (0x0706050403020100, 0x0F0E0D0C0B0A0908)))
    '0xa129ca6149be45e5'
    """
    one, other = (part & _MASK for part in key)
    start = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    v = [start[0] ^ one, start[1] ^ other, start[2] ^ one, start[3] ^ other]
    whole = len(data) // 8 * 8
    words = [_word(data, i) for i in range(0, whole, 8)]
    words.append(int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56)
    for word in words:
        v[3] ^= word
        _sip_round(v)
        _sip_round(v)
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(4):
        _sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]
