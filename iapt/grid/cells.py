"""The cells of a grid: every combination of its values, each with the plan of its run."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from iapt.errors import ConfigError, IaptError
from iapt.plan import Plan, make_plan


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        words: Hydra's overrides, one per key of the grid, that compose the run's configuration.
        name: those of them that differ between cells, separated by spaces; empty if there is one cell.
        plan: its plan.
    """

    words: tuple[str, ...]
    name: str
    plan: Plan


def plan_cells(
    grid: Mapping[str, Sequence[str]], compose: Callable[[Sequence[str]], dict[str, Any]]
) -> list[Cell]:
    """Plan every cell of a grid, in the order in which Hydra's own sweeper runs them.

    Args:
        grid: key -> its overrides, one per value: {"seed": ["seed=0", "seed=1"]}.
        compose: turns one override per key into a resolved configuration.

    Raises:
        ConfigError: some cells cannot run; each mistake is listed once.
    """
    combinations = list(itertools.product(*grid.values()))
    cells, faults = list[Cell](), dict[str, list[str]]()
    for words in tqdm(combinations, desc="planning", unit="cell", delay=2, dynamic_ncols=True):
        several = (w for w, values in zip(words, grid.values(), strict=True) if len(values) > 1)
        name = " ".join(several)
        try:
            cells.append(Cell(words, name, make_plan(compose(words))))
        except IaptError as error:
            faults.setdefault(str(error), []).append(name)
    if faults:
        lines = []
        for message, where in faults.items():
            some = f"\n  in {len(where)} of {len(combinations)} cells, such as {where[0]}"
            lines.append(message + (some if len(where) < len(combinations) else ""))
        raise ConfigError("\n".join(lines))
    return cells
