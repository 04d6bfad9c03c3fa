"""Random numbers by address: each depends on the seed, the stream's name and a key, never on how many came before.

So a table may be made in chunks of any size, in any order, and stays the same to the last byte.
"""

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.int64]
Reals = NDArray[np.float64]

GOLDEN = 0x9E3779B97F4A7C15


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit values one to one.

    Source: the finaliser of SplitMix64, Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
    OOPSLA 2014.
    """
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def uniform(keys: Keys, *, seed: int, stream: str) -> Reals:
    """float64 in [0, 1), of the shape of `keys`; equal keys give equal numbers."""
    start = np.array([seed & 0xFFFFFFFFFFFFFFFF, crc32(stream.encode())], dtype=np.uint64)
    base = mix(mix(start[:1] + np.uint64(GOLDEN)) ^ (start[1:] * np.uint64(GOLDEN)))
    scrambled = mix(mix(np.asarray(keys).astype(np.uint64) * np.uint64(GOLDEN) + base))
    return (scrambled >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(keys: Keys, *, seed: int, stream: str) -> Reals:
    """About standard normal, within -3.5 to 3.5: the scaled sum of four uniforms, the same on every machine."""
    total = sum(uniform(keys, seed=seed, stream=f"{stream}/{part}") for part in range(4))
    return np.asarray((total - 2.0) * np.sqrt(3.0))


def whole(keys: Keys, *, below: int | Keys, seed: int, stream: str) -> Keys:
    """int64 in [0, below), of the shape of `keys`; `below` is one bound or one for each key."""
    return np.asarray(np.floor(uniform(keys, seed=seed, stream=stream) * below), dtype=np.int64)


def pick(weights: Reals, keys: Keys, *, seed: int, stream: str) -> Keys:
    """Draw one column for each row of `weights`, in proportion to them.

    Args:
        weights: float64 [rows, columns], not negative, each row with a positive sum.
        keys: int64 [rows].
        seed: the world's seed.
        stream: what the numbers are for.
    """
    edges = np.cumsum(weights, axis=1)
    target = uniform(keys, seed=seed, stream=stream) * edges[:, -1]
    return np.asarray(np.minimum((edges <= target[:, None]).sum(axis=1), weights.shape[1] - 1), dtype=np.int64)


def chance(odds: Reals | float, keys: Keys, *, seed: int, stream: str) -> NDArray[np.bool_]:
    """True with the probability `odds`, of the shape of `keys`."""
    return np.asarray(uniform(keys, seed=seed, stream=stream) < odds)
