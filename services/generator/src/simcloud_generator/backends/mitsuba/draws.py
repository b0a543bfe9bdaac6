"""Random numbers of paths: hashed, so that they hang on nothing but pixel, sample and bounce.

The samples of a pixel are points of a (0, 2)-sequence for each decision, scrambled by the pixel:
less noise than independent ones, for nothing.
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

Jit = Any

_TO_UNIT = 2.0**-32
_BELOW_ONE = 1.0 - 2.0**-24


def mix(value: Jit) -> Jit:
    """PCG's output function as a 32-bit hash (Jarzynski and Olano, 2020)."""
    state = value * mi.UInt32(747796405) + mi.UInt32(2891336453)
    word = ((state >> ((state >> 28) + 4)) ^ state) * mi.UInt32(277803737)
    return (word >> 22) ^ word


class Draws:
    """Numbers for one decision after the other.

    Args:
        seed: hash of frame and pixel; equal for the samples of a pixel.
        sample: number of the sample in its pixel.
        samples: how many a pixel has at most; known when the kernel is made.
    """

    def __init__(self, seed: Jit, sample: Jit, samples: int) -> None:
        self._seed = seed
        self._sample = sample
        self._own = mix(seed ^ mix(sample + mi.UInt32(0x9E3779B9)))
        self._bits = max(samples - 1, 0).bit_length()

    def pair(self, decision: Jit) -> Any:
        """Two numbers in [0, 1), well spread over the samples of the pixel.

        Args:
            decision: which one of the path; another for every use.
        """
        first = mix(self._seed + decision)
        second = mix(first)
        number = shuffled(self._sample, self._bits, first, second)
        x, y = first, second ^ mi.UInt32(0x68BC21EB)
        direction = 1 << 31
        for bit in range(self._bits):
            # bit of the sample's number -> a column of the sequence's two matrices
            chosen = mi.UInt32(0) - ((number >> bit) & 1)
            x ^= chosen & mi.UInt32(1 << (31 - bit))
            y ^= chosen & mi.UInt32(direction)
            direction ^= direction >> 1
        low = mi.UInt32(0xFFFFFFFF >> self._bits)
        jitter = mix(self._own + decision)
        x = (x & ~low) | (jitter & low)
        y = (y & ~low) | (mix(jitter) & low)
        return mi.Point2f(_unit(x), _unit(y))

    def one(self, decision: Jit) -> Jit:
        """A number in [0, 1), independent of all others."""
        return _unit(mix(self._own + decision))


def shuffled(number: Jit, bits: int, first: Jit, second: Jit) -> Jit:
    """A permutation of the numbers below ``2**bits``, chosen by two words of hash.

    Every decision of a path goes through its points in an order of its own. If the orders differed
    by an exclusive or only, the leading bits of any two decisions would hang together, and noise
    would not fall with the number of samples.

    Args:
        number: below ``2**bits``.
        bits: how many.
        first: one word; its lower bits are used.
        second: another one.
    """
    if bits == 0:
        return number
    mask, shift = mi.UInt32((1 << bits) - 1), (bits + 1) // 2
    keys = (first, second, (first >> (2 * bits % 32)) ^ second)
    for key in keys if bits > 2 else keys[:2]:  # two reach most orders of four
        # an odd factor is one to one, and so is the shift
        number = (number * (key | 1) + (key >> bits)) & mask
        if bits > 1:
            number ^= number >> shift
    return number


def _unit(word: Jit) -> Jit:
    return dr.minimum(mi.Float(word) * _TO_UNIT, _BELOW_ONE)
