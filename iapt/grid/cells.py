"""The cells of a grid, each with the plan of its run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from iapt.entries import Once
from iapt.errors import ConfigError, IaptError
from iapt.plan import Plan
from iapt.planning import make_plan
from iapt.progress import progress


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        words: Hydra's overrides, one per key of the grid, that compose the run's configuration.
        name: those overrides that differ between cells, separated by spaces; empty if there is one cell.
        plan: the plan of its run.
    """

    words: tuple[str, ...]
    name: str
    plan: Plan


def plan_cells(
    combinations: Sequence[tuple[str, ...]], compose: Callable[[Sequence[str]], dict[str, Any]]
) -> list[Cell]:
    """Plan every cell of a grid.

    Args:
        combinations: the overrides of each cell; see `blocks.combinations`.
        compose: turns them into a resolved configuration.

    Raises:
        ConfigError: some cells cannot run; each mistake is listed once.
    """
    shared = set(combinations[0]).intersection(*combinations)
    cells, faults, once = list[Cell](), dict[str, list[str]](), Once()
    with progress("planning", "cell", len(combinations), delay=2) as bar:
        for words in combinations:
            name = " ".join(w for w in words if w not in shared)
            try:
                cells.append(Cell(words, name, make_plan(compose(words), once)))
            except IaptError as error:
                faults.setdefault(str(error), []).append(name)
            bar.update()
    if faults:
        lines = []
        for message, where in faults.items():
            some = f"\n  in {len(where)} of {len(combinations)} cells, such as {where[0]}"
            lines.append(message + (some if len(where) < len(combinations) else ""))
        raise ConfigError("\n".join(lines))
    return cells
