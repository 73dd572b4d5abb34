"""How many seeds or items an experiment needs to find a difference, judging by one that has been run."""

from bisect import bisect_left
from collections.abc import Callable

from iapt.results.crossed import Estimate, Terms, combined, critical

MOST = 1_000_000  # seeds or items


def detectable(estimate: Estimate, seeds: int, items: int) -> float:
    """Return the smallest difference that 80 % of experiments of another size would find.

    Args:
        estimate: The experiment that was run; its variance components are taken as the true ones, and
            its clusters as typical.
        seeds: Seeds of the other experiment.
        items: Items of the other experiment.
    """
    seed, item, rest = estimate.terms
    both = rest * estimate.seeds * estimate.items / (seeds * items)
    terms = Terms(
        max(seed - rest, 0.0) * estimate.seeds / seeds + both,
        max(item - rest, 0.0) * estimate.items / items + both,
        both,
    )
    clusters = max(round(items * estimate.clusters / estimate.items), 1)
    squared, df = combined(terms, seeds, clusters)
    return critical(df) * float(squared**0.5)


def needed_seeds(estimate: Estimate, difference: float) -> int | None:
    """Return how many seeds find a difference (in points) on the same items.

    Returns:
        None if no number does because there are too few items, or if nothing shows how seeds vary: there is
        one seed, or no spread.
    """
    if estimate.seeds < 2 or estimate.error is None:
        return None
    return _first(lambda n: detectable(estimate, n, estimate.items), difference)


def needed_items(estimate: Estimate, difference: float) -> int | None:
    """Return how many items like these find a difference (in points) with the same seeds.

    Returns:
        None if no number does because there are too few seeds, or if there are no scores per item or no spread.
    """
    if estimate.clusters < 2 or estimate.error is None:
        return None
    return _first(lambda n: detectable(estimate, estimate.seeds, n), difference)


def _first(found: Callable[[int], float], difference: float) -> int | None:
    """Return the first size from 2 to `MOST` at which the decreasing function `found` is at most `difference`."""
    sizes = range(2, MOST + 1)
    place = bisect_left(sizes, True, key=lambda size: found(size) <= difference)
    return sizes[place] if place < len(sizes) else None
