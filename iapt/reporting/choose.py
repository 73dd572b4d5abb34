"""Which cells may share a table: one setting per backbone and one basis per task.

Nothing is averaged over settings, and nothing is dropped silently: of several settings the one with the
most rows fills a table, and a note names each cell of the others and how it differs.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from iapt.reporting.spec import MAIN_BACKBONE, load
from iapt.results.cells import Cell, count_of, differences
from iapt.results.row import Row


@dataclass(frozen=True)
class Scope:
    """Which rows count; the default is the paper's own setting.

    Attributes:
        data: Empty for any.
        setting: Start of its hash; empty for any.
        main_backbone: Takes the place of the paper's main backbone.
        name: `small` for the scope of that name, which ``paper/setting.yaml`` describes; empty for any other.
        words: The scale of its rows, for a title; see `scale.settle`.
        left_out: A line on the settings that are not shown.
    """

    hparams: str = "paper"
    data: str = "hub"
    setting: str = ""
    main_backbone: str = MAIN_BACKBONE
    name: str = ""
    words: str = ""
    left_out: str = ""

    @classmethod
    def called(cls, name: str, **changes: str) -> "Scope":
        """Return the scope `paper` or `small`, or a variant of it with some names changed."""
        if name == "paper":
            return cls(**changes)
        small = load("setting")[name]
        names = {"hparams": small["hparams"], "data": "", "main_backbone": small["backbone"]}
        return cls(name="" if changes else name, **{**names, **changes})

    def stem(self, name: str) -> str:
        """Return the stem of a table's file names: its name, and the scope's name unless that is the paper's."""
        return name if self.is_paper else f"{name}-{self.name or 'other'}"

    @property
    def is_paper(self) -> bool:
        """Whether this is the paper's setting (section 4.3, Appendix F)."""
        return (self.hparams, self.data, self.main_backbone) == ("paper", "hub", MAIN_BACKBONE)

    def names(self, cell: Cell) -> bool:
        """Return whether a cell has the scope's names; `takes` also checks how it was run."""
        called = cell.hparams == self.hparams and self.data in ("", cell.data)
        return called and cell.setting.startswith(self.setting)

    def takes(self, cell: Cell) -> bool:
        """Return whether a cell belongs to the scope."""
        return self.names(cell) and not (self.is_paper and strays(cell))


def strays(cell: Cell) -> list[str]:
    """List how a cell departs from the paper's setting despite its names: limited splits, Appendix F's numbers."""
    found = ["a split is limited"] if cell.limited else []
    stated = cell.rows[0].setting("hparams")
    for key, wanted in load("setting")["hparams"].items():
        if isinstance(stated, Mapping) and key in stated and stated[key] != wanted:
            found.append(f"hparams.{key}={stated[key]}, not {wanted}")
    return found


def is_paper(cell: Cell) -> bool:
    """Return whether a cell was run in the paper's setting, on any backbone."""
    return Scope().takes(cell)


def comparable(cells: Iterable[Cell], *, per_numbers: bool = False) -> tuple[list[Cell], list[str]]:
    """Keep the cells that are comparable: one setting overall, one basis per task.

    Args:
        cells: Cells of one backbone.
        per_numbers: Keep cells of one method with different values (for a figure that varies them);
            otherwise keep one cell per task, method and variant.

    Returns:
        The cells kept, and a note for each of the others.
    """
    kept, others = _majority(list(cells), lambda cell: cell.setting)
    notes = [_left_out(cell, kept) for cell in others]
    chosen = []
    for task in sorted({cell.task for cell in kept}):
        here = [cell for cell in kept if cell.task == task]
        same_basis, others = _majority(here, lambda cell: cell.basis)
        notes += [_left_out(cell, same_basis) for cell in others]
        if per_numbers:
            chosen += same_basis
            continue
        for name in sorted({cell.name for cell in same_basis}):
            alike = [cell for cell in same_basis if cell.name == name]
            one, others = _majority(alike, lambda cell: cell.run_ids)
            notes += [_left_out(cell, one) for cell in others]
            chosen += one
    return chosen, notes


def _majority(
    cells: Sequence[Cell], key: Callable[[Cell], Hashable]
) -> tuple[list[Cell], list[Cell]]:
    """Split cells into those of the key with the most rows (the newest on a tie) and the others."""
    if not cells:
        return [], []
    groups: dict[Hashable, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[key(cell)].append(cell)
    rows = {name: [row for cell in group for row in cell.rows] for name, group in groups.items()}
    best = max(rows, key=lambda name: (len(rows[name]), max(row.created for row in rows[name])))
    return groups[best], [cell for cell in cells if key(cell) != best]


def _left_out(cell: Cell, kept: Sequence[Cell]) -> str:
    """Describe a cell that is left out, and how it differs from the nearest one shown."""
    nearest = min(kept, key=lambda other: (other.task != cell.task, other.name != cell.name))
    rows = [nearest.rows[0], cell.rows[0]]
    if nearest.name != cell.name:  # differences between two methods explain nothing
        rows = [_without_method(row) for row in rows]
    what = differences(rows)[1]
    if cell.setting != nearest.setting:
        what += f"; the table shows setting {nearest.setting}"
    return f"Left out: {cell.label}, setting {cell.setting}, {count_of(cell.rows)} ({what})"


def _without_method(row: Row) -> Row:
    config = {key: value for key, value in row.config.items() if key != "method"}
    return row.model_copy(update={"config": config})
