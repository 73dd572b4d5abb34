"""The cells that decide a claim."""

from collections.abc import Sequence

from iapt.reporting.choose import Scope, comparable
from iapt.reporting.claims import Claim
from iapt.reporting.spec import MAIN_BACKBONE, Line, load_table
from iapt.results.cells import Cell


class Evidence:
    """The cells of one scope, reduced to comparable ones once per backbone, and looked up by line."""

    def __init__(self, cells: Sequence[Cell], scope: Scope) -> None:
        """Keep the cells that the scope takes."""
        self.scope = scope
        self.cells = [cell for cell in cells if scope.takes(cell)]
        self.notes: list[str] = []
        self._pools: dict[tuple[str, bool], list[Cell]] = {}

    def find(self, wanted: Line, claim: Claim, task: str) -> Cell | None:
        """Return the cell of a line on a task; of several, the one with the most rows."""
        main = claim.backbone == MAIN_BACKBONE
        pool = self._pool(self.scope.main_backbone if main else claim.backbone, bool(wanted.varied))
        found = [cell for cell in pool if cell.task == task and wanted.names(cell)]
        return max(found, key=lambda cell: len(cell.rows), default=None)

    def trained(self, wanted: Line, claim: Claim) -> tuple[float, Cell] | None:
        """Return the trained parameters of a line, on any task, and the cell that states them."""
        for task in dict.fromkeys(cell.task for cell in self.cells):
            cell = self.find(wanted, claim, task)
            if cell and cell.trained is not None:
                return cell.trained, cell
        return None

    def _pool(self, backbone: str, varied: bool) -> list[Cell]:
        key = (backbone, varied)
        if key not in self._pools:
            here = [
                c for c in self.cells if c.backbone == backbone and (varied or not self._stray(c))
            ]
            self._pools[key], notes = comparable(here, per_numbers=varied)
            self.notes += [note for note in notes if note not in self.notes]
        return self._pools[key]

    def _stray(self, cell: Cell) -> bool:
        """Return whether a cell departs from Table 1's values, as a point of a figure does."""
        return any(x.names(cell) and x.strays(cell) for x in load_table("table1").lines)


def lack_of(wanted: Line, cell: Cell | None, claim: Claim) -> str:
    """Describe what a line lacks to decide a claim: all rows, or some seeds; empty if nothing."""
    if cell is None:
        return f"{wanted.label} has no row"
    scored = cell.scores(claim.metric)
    missing = [str(seed) for seed in cell.seeds if seed not in scored]
    return f"{wanted.label} lacks seed {', '.join(missing)}" if missing else ""
