"""The places of a score table: each line and column of the paper with the cell of ours that fills it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from iapt.reporting import measures
from iapt.reporting.choose import Scope, comparable, strays
from iapt.reporting.measures import Standing
from iapt.reporting.render import DASH
from iapt.reporting.scale import at_scale
from iapt.reporting.spec import FIGURES, Block, Column, Line, Table, load_table, paper_lines
from iapt.results.cells import Cell, count_of

NOT_PRINTED = "Not in the paper"
DIFFERING = "the method's values, its rates, the data or the decoding"


@dataclass(frozen=True, eq=False)
class Place:
    """One score of a table: a line in a column, and the cell that fills it, if there is one."""

    block: Block
    line: Line
    column: Column
    paper: float | None
    standing: Standing | None

    @property
    def complete(self) -> float | None:
        """Our median, rounded as printed; None if seeds are missing."""
        ours = self.standing
        if ours is None or ours.median is None or len(ours.values) < len(ours.cell.seeds):
            return None
        return round(ours.median, self.column.digits)

    @property
    def attainable(self) -> bool | None:
        """Whether the test split can give the paper's value; None where this is unknown."""
        if self.paper is None or not self.column.sizes:
            return None
        return self.column.possible(self.paper)

    @property
    def printed(self) -> str:
        """The paper's value; a dash if the paper does not have the line."""
        if self.paper is None:
            return "" if self.block.printed else DASH
        return f"{self.paper:.{self.column.digits}f}{'†' if self.attainable is False else ''}"


Lines = Sequence[Sequence[Place]]  # the places of each line


def fill(name: str, cells: Sequence[Cell], scope: Scope) -> tuple[Table, Lines, list[str]]:
    """Find the cell for every place of a table.

    Returns:
        The table with a block of methods that the paper does not have, the places of its lines, and a
        note for every cell with a matching name that was run differently (for a scope other than the
        paper's, one note for all).
    """
    table = at_scale(load_table(name), scope, cells)
    pool = [cell for cell in cells if scope.takes(cell)]  # may include a baseline that no line has
    if name not in FIGURES:
        called = [cell for cell in cells if scope.names(cell)]
        table = replace(table, blocks=(*table.blocks, *_others(table, called)))
    shown: list[Cell] = []
    notes = [scope.left_out] if scope.left_out else []
    strayed: list[Cell] = []
    for backbone in table.backbones:
        known = [x for block in table.blocks if block.backbone == backbone for x in block.lines]
        asked = []
        for cell in cells:
            named = next((line for line in known if line.names(cell)), None)
            if named is None or cell.backbone != backbone or not scope.names(cell):
                continue
            if cell.task not in {column.task for column in table.columns}:
                continue
            departures = ([] if scope.takes(cell) else strays(cell)) + named.strays(cell)
            if departures and not scope.is_paper:
                strayed.append(cell)
            elif departures:
                what = f"{cell.label}, {count_of(cell.rows)} ({', '.join(departures)})"
                notes.append(f"Left out: {what}")
            else:
                asked.append(cell)
        kept, left_out = comparable(asked, per_numbers=name in FIGURES)
        shown += kept
        if scope.is_paper:
            notes += left_out
        else:
            strayed += [cell for cell in asked if cell not in kept]
    if strayed:
        rows = count_of([row for cell in strayed for row in cell.rows])
        notes.append(
            f"Left out: {rows} of this setting, which differ in {DIFFERING} from those shown."
        )
    lines = [
        [
            Place(block, line, column, paper, _standing(table, block, line, column, shown, pool))
            for column, paper in zip(table.columns, line.values, strict=True)
        ]
        for block in table.blocks
        for line in block.lines
    ]
    adjusted = iter(measures.family(p.standing for x in lines for p in x if p.standing))
    lines = [[replace(p, standing=next(adjusted)) if p.standing else p for p in x] for x in lines]
    return table, [x for x in lines if _belongs(x, table) or any(p.standing for p in x)], notes


def _belongs(line: Sequence[Place], table: Table) -> bool:
    """Return whether a line is in the table even if it is empty."""
    second_reading = line[0].line.repeats and not table.compared
    return line[0].block.printed and not second_reading


def _standing(
    table: Table,
    block: Block,
    line: Line,
    column: Column,
    shown: Sequence[Cell],
    pool: Sequence[Cell],
) -> Standing | None:
    for cell in shown:
        here = (cell.backbone, cell.task) == (block.backbone, column.task)
        if here and line.names(cell) and cell.scores(column.metric):
            return Standing(
                cell, pool, column.metric, column.digits, column.most, baseline=table.baseline
            )
    return None


def _others(table: Table, cells: Sequence[Cell]) -> Iterator[Block]:
    """Yield a block per backbone for methods and variants that no table of the paper has."""
    for backbone in table.backbones:
        found = {
            cell.name: cell
            for cell in cells
            if cell.backbone == backbone
            and any(column.task == cell.task for column in table.columns)
            and not any(line.names(cell) for line in paper_lines())
        }
        nothing = (None,) * len(table.columns)
        lines = tuple(
            Line(name, cell.method, nothing, (cell.variant,) if cell.variant else ())
            for name, cell in sorted(found.items())
        )
        if lines:
            first = next(block.label for block in table.blocks if block.backbone == backbone)
            where = f"{first}: " if len(table.backbones) > 1 else ""
            yield Block(f"{where}{NOT_PRINTED}", backbone, lines, printed=False)
