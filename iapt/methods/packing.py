"""The smallest and the largest choice that fills a budget, among all in which nothing more fits.

A greedy choice (`gates.cut`) takes whatever still fits, in an order that only a search can tell; these
are the ends of where its total can lie.  The totals that subsets can have are the bits of one whole
number, so adding a size to all of them is one shift.
"""

import math
from collections.abc import Sequence


def extreme_packings(sizes: Sequence[int], budget: int) -> tuple[list[bool], list[bool]]:
    """Return the choice with the smallest and the one with the largest total.

    Where c is the smallest size that is left out, all smaller ones are taken and the total is above
    budget - c; so every size is tried as c.

    Args:
        sizes: parameters of each candidate.
        budget: what a total may not exceed.

    Returns:
        Two lists that say of every candidate whether it is taken.
    """
    if sum(sizes) <= budget:
        return [True] * len(sizes), [True] * len(sizes)
    unit = math.gcd(*sizes)
    units, limit = [size // unit for size in sizes], budget // unit
    found: list[tuple[int, list[bool]]] = []
    for c in sorted(set(units)):
        smaller = sum(size for size in units if size < c)
        room = limit - smaller
        if room < 0:
            break
        left_out = units.index(c)  # sizes that are equal are alike, so it may be any of them
        free = [i for i, size in enumerate(units) if size >= c and i != left_out]
        totals = _totals([units[i] for i in free], room)
        lowest = max(0, room - c + 1)
        fitting = totals[-1] >> lowest
        if not fitting:
            continue
        first, last = (fitting & -fitting).bit_length() - 1, fitting.bit_length() - 1
        for total in (lowest + first, lowest + last):
            taken = [size < c for size in units]
            for i in _subset(units, free, totals, total):
                taken[i] = True
            found.append((smaller + total, taken))
    return min(found)[1], max(found)[1]


def _totals(sizes: Sequence[int], limit: int) -> list[int]:
    """Bit t of entry k: some of the first k sizes are t together (t up to `limit`)."""
    entries = [1]
    for size in sizes:
        entries.append((entries[-1] | entries[-1] << size) & ((2 << limit) - 1))
    return entries


def _subset(
    units: Sequence[int], free: Sequence[int], totals: Sequence[int], total: int
) -> list[int]:
    """Which of the free candidates are `total` together."""
    taken = []
    for i, without in zip(reversed(free), reversed(totals[:-1]), strict=True):
        if not without >> total & 1:
            taken.append(i)
            total -= units[i]
    return taken
