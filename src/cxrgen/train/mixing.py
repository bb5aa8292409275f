"""Which samples an epoch shows where several sets are mixed: a function of sizes, shares, seed and epoch alone.

An epoch shows as many samples as all sets hold together, in the given shares. Each set is an endless row of its own
permutations, and an epoch takes the next piece of it: a set with a large share for its size comes several times in an
epoch, one with a small share in part, and the rest of it in the epochs after. So nothing is left out for good, and
neither the number of processes nor where a run was interrupted changes what is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrgen.core.errors import UsageError


def parsed_mix(text: str, sets: int) -> tuple[float, ...]:
    """`2,1` as shares of the sets; () where none are given. Raises UsageError for anything else."""
    if not text:
        return ()
    try:
        shares = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f"--mix {text}: write a number for each set, such as 2,1") from None
    if len(shares) != sets:
        raise UsageError(f"--mix {text}: {len(shares)} numbers for {sets} sets of --data_path; give one for each")
    if not all(0 < share < float("inf") for share in shares):
        raise UsageError(f"--mix {text}: every number is above 0; leave a set that should not count out of --data_path")
    return shares


def quotas(sizes: Sequence[int], mix: Sequence[float]) -> list[int]:
    """How many samples of each set an epoch shows: all together as many as there are, in the shares of `mix`."""
    total = sum(sizes)
    wanted = [total * share / sum(mix) for share in mix]
    counts = [int(number) for number in wanted]
    by_rest = sorted(range(len(mix)), key=lambda place: counts[place] - wanted[place])
    for place in by_rest[: total - sum(counts)]:
        counts[place] += 1
    return counts


def mixed(sizes: Sequence[int], mix: Sequence[float], seed: int, epoch: int) -> list[int]:
    """The places of an epoch's samples, where those of set k stand behind those of the sets before it."""
    places: list[int] = []
    before = 0
    for number, (size, count) in enumerate(zip(sizes, quotas(sizes, mix))):
        first, last = epoch * count, (epoch + 1) * count
        for turn in range(first // size, -(-last // size)):
            order = np.random.default_rng([seed, turn, number, 3]).permutation(size)
            piece = order[max(0, first - turn * size) : last - turn * size]
            places += (before + piece).tolist()
        before += size
    return places
