"""Rows with invented scores per item, so that the truth about two methods is known."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from iapt.results.cells import Cell, collect
from iapt.results.row import Row
from tests.results.example_rows import a_row


def item_row(task: str, method: str, seed: int, items: Sequence[float], **changes: Any) -> Row:
    """A row whose score is the mean of its items' scores; `clusters` is one number per item."""
    clusters = changes.pop("clusters", ())
    scores = {
        "metric": "acc",
        "value": float(np.mean(items)),
        "n": len(items),
        "n_unparsed": 0,
        "items": [float(item) for item in items],
        "clusters": list(clusters),
    }
    return a_row(task, method, seed, scores=scores, **changes)


def answered(
    method: str,
    accuracy: float,
    *,
    task: str = "boolq",
    seeds: Sequence[int] = range(5),
    items: int = 200,
    number: int = 0,
    **changes: Any,
) -> list[Row]:
    """Rows of a method that answers each item right with a chance around `accuracy` (0-1).

    `number` makes the draws of two methods of equal accuracy differ.
    """
    hard = np.random.default_rng(1).normal(0, 0.15, items)  # the same items for every method
    rows = []
    for seed in seeds:
        draw = np.random.default_rng([number, seed])
        chance = accuracy + hard + draw.normal(0, 0.01)
        rows.append(item_row(task, method, seed, 100.0 * (draw.random(items) < chance), **changes))
    return rows


def cell_of(rows: Sequence[Row]) -> Cell:
    (cell,), _ = collect(rows)
    return cell
