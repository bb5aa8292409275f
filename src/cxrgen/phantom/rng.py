"""Random numbers that are the same on every platform and under every numpy.

numpy promises a fixed stream for its bit generators only, not for what `Generator` makes of them, and functions such as
exp or a matrix product may differ in the last bit between processors. So everything here is made of 53-bit uniforms,
raw words and whole numbers. The trade-off: noise is a sum of four bytes, not a true normal variate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
NOISE_SD = 147.8  # of one value of `noise`


def make_rng(*seed: int) -> np.random.Generator:
    """A generator of its own for each tuple of whole numbers; draws of one never move those of another."""
    return np.random.Generator(np.random.PCG64(list(seed)))


def uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * generator.random()


def bernoulli(generator: np.random.Generator, share: float) -> bool:
    return generator.random() < share


def pick(generator: np.random.Generator, words: Sequence[T]) -> T:
    """One of `words`, all alike."""
    return words[int(len(words) * generator.random())]


def shuffled(generator: np.random.Generator, words: Sequence[T]) -> list[T]:
    keys = generator.random(len(words))
    return [words[index] for index in np.argsort(keys, kind="stable")]


def noise(generator: np.random.Generator, count: int) -> NDArray[np.int32]:
    """`count` whole numbers (a multiple of 2) of mean 0 and standard deviation `NOISE_SD`, each a sum of four bytes."""
    words = np.asarray(generator.bit_generator.random_raw(count // 2), dtype="<u8")
    planes = words.view(np.uint8).reshape(4, count)
    total: NDArray[np.int32] = planes.sum(axis=0, dtype=np.int32) - 510
    return total
