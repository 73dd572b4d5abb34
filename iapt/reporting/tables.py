"""The paper's score tables (1, 2, 3, 5, 7 and 8): our medians beside the printed values."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from iapt.reporting.attainability import possible, unattainable_notes
from iapt.reporting.choose import Scope, comparable, strays
from iapt.reporting.entries import (
    DETAIL_HEAD,
    TEST_NOTE,
    count_text,
    marks,
    median_text,
    statistics,
    statistics_entries,
)
from iapt.reporting.render import DASH, Document, Entry, Grid, Mark
from iapt.reporting.spec import MAIN_BACKBONE, Block, Column, Line, Table, load_table
from iapt.results.cells import Cell, count_of
from iapt.results.row import Row
from iapt.results.statistics import median

SCORE_TABLES = ("table1", "table2", "table3", "table5", "table7", "table8")
RULES = (
    "Ours [the paper's]. Ours is the median over seeds 0-4 of the test score; (k/5) marks fewer "
    f"than five seeds, {DASH} a missing value. Bold and underline: best and second best, ours only "
    "among entries with all seeds."
)


@dataclass
class _Filled:
    """A table with its cells: (block, line, column) -> cell.

    `pool` holds every cell of the scope: LoRA, which all are compared with, may be in no line.
    """

    cells: dict[tuple[int, int, int], Cell] = field(default_factory=dict)
    pool: list[Cell] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def score_table(
    name: str, rows: Sequence[Row], cells: Sequence[Cell], scope: Scope | None = None
) -> Document:
    """Build one of the paper's score tables from whatever rows exist.

    Args:
        name: One of `SCORE_TABLES`.
        rows: All rows read, for the count of those that do not belong here.
        cells: The same rows as `collect` grouped them.
        scope: Defaults to the paper's setting.
    """
    table = load_table(name)
    filled = _fill(table, cells, scope or Scope())
    document = Document(name, table.title, intro=[RULES])
    document.grids.append(_main_grid(table, filled))
    if filled.cells:
        document.grids.append(_detail_grid(table, filled))
        document.notes.append(TEST_NOTE)
    document.notes += [*filled.notes, *unattainable_notes(table), *table.notes]
    used = {row.path for cell in filled.cells.values() for row in cell.rows}
    document.notes.append(other_rows(len(used), len(rows)))
    document.commands = _commands(table, filled)
    document.records = _records(table, filled)
    return document


def other_rows(used: int, total: int) -> str:
    """Say how many rows a paper table does not show, and where to see them."""
    if used == total:
        return f"{used} rows read, all of them in this table."
    return (
        f"{used} of {total} rows read are in this table; the other {total - used} are of another "
        "setting, backbone, task or method: iapt-table summary shows every row."
    )


def _fill(table: Table, cells: Sequence[Cell], scope: Scope) -> _Filled:
    filled = _Filled(pool=[cell for cell in cells if scope.takes(cell)])
    tasks = {column.task for column in table.columns}
    for backbone in dict.fromkeys(block.backbone for block in table.blocks):
        lines = [
            (i, j, line)
            for i, block in enumerate(table.blocks)
            if block.backbone == backbone
            for j, line in enumerate(block.lines)
        ]
        asked = []
        for cell in cells:
            named = [line for _, _, line in lines if line.names(cell)]
            if not named or cell.backbone != backbone or cell.task not in tasks:
                continue
            if not scope.names(cell):
                continue
            departures = ([] if scope.takes(cell) else strays(cell)) + named[0].strays(cell)
            if departures:
                filled.notes.append(
                    f"Left out: {cell.label}, {count_of(cell.rows)} ({', '.join(departures)})"
                )
            else:
                asked.append(cell)
        pool, notes = comparable(asked)
        filled.notes += notes
        for i, j, line in lines:
            for k, column in enumerate(table.columns):
                for cell in pool:
                    if cell.task == column.task and line.names(cell) and cell.scores(column.metric):
                        filled.cells[i, j, k] = cell
    return filled


def _main_grid(table: Table, filled: _Filled) -> Grid:
    ours, papers = _column_marks(table, filled)
    lines: list[Sequence[Entry | str] | str] = []
    for i, block in enumerate(table.blocks):
        if block.label:
            lines.append(block.label)
        for j, line in enumerate(block.lines):
            entries: list[Entry | str] = [line.label, _params(line, i, j, table, filled)]
            for k, column in enumerate(table.columns):
                cell = filled.cells.get((i, j, k))
                values = list(cell.scores(column.metric).values()) if cell else []
                entries.append(
                    Entry(
                        median_text(values, len(cell.seeds) if cell else 0, column.digits),
                        ours.get((i, j, k), ""),
                        _paper_text(line, k, column),
                        papers.get((i, j, k), ""),
                    )
                )
            lines.append(entries)
    return Grid(("Method", "Params", *(column.head for column in table.columns)), lines)


def _params(line: Line, i: int, j: int, table: Table, filled: _Filled) -> Entry:
    counts = {
        count
        for k in range(len(table.columns))
        if (cell := filled.cells.get((i, j, k)))
        if (count := cell.trained) is not None
    }
    text = " / ".join(map(count_text, sorted(counts))) or DASH
    return Entry(text, paper="" if line.params is None else f"{line.params:.1f}M")


def _paper_text(line: Line, k: int, column: Column) -> str:
    value = line.values[k]
    if value is None:
        return ""
    return f"{value:.{column.digits}f}" + ("" if possible(value, column) else "†")


def _column_marks(
    table: Table, filled: _Filled
) -> tuple[dict[tuple[int, int, int], Mark], dict[tuple[int, int, int], Mark]]:
    """Rank each column within each backbone; ours as printed and with all seeds only."""
    ours: dict[tuple[int, int, int], Mark] = {}
    papers: dict[tuple[int, int, int], Mark] = {}
    for backbone in {block.backbone for block in table.blocks}:
        for k, column in enumerate(table.columns):
            printed, complete = {}, {}
            for i, block in enumerate(table.blocks):
                for j, line in enumerate(block.lines if block.backbone == backbone else ()):
                    value = line.values[k]
                    if value is not None:
                        printed[i, j] = value
                    cell = filled.cells.get((i, j, k))
                    values = list(cell.scores(column.metric).values()) if cell else []
                    if cell and len(values) == len(cell.seeds):
                        complete[i, j] = round(median(values), column.digits)
            ours.update({(*place, k): mark for place, mark in marks(complete).items()})
            papers.update({(*place, k): mark for place, mark in marks(printed).items()})
    return ours, papers


def _detail_grid(table: Table, filled: _Filled) -> Grid:
    lines = []
    for k, column in enumerate(table.columns):
        for i, block in enumerate(table.blocks):
            for j, line in enumerate(block.lines):
                cell = filled.cells.get((i, j, k))
                if cell:
                    method = f"{line.label}, {block.label}" if _several(table) else line.label
                    lines.append(
                        [
                            column.head,
                            method,
                            *statistics_entries(cell, filled.pool, column.metric, column.digits),
                        ]
                    )
    return Grid(("Task", "Method", *DETAIL_HEAD), lines, "Beside the medians")


def _several(table: Table) -> bool:
    return len({block.backbone for block in table.blocks}) > 1


def _commands(table: Table, filled: _Filled) -> list[str]:
    """One sweep per backbone and set of tasks that some methods lack; finished runs are skipped."""
    commands = []
    for backbone in dict.fromkeys(block.backbone for block in table.blocks):
        lacking: dict[tuple[tuple[str, ...], str], list[str]] = defaultdict(list)
        for i, block in enumerate(table.blocks):
            for j, line in enumerate(block.lines if block.backbone == backbone else ()):
                tasks = tuple(
                    dict.fromkeys(
                        column.task
                        for k, column in enumerate(table.columns)
                        if not (cell := filled.cells.get((i, j, k))) or cell.missing
                    )
                )
                fixed, _, last = line.words.rpartition("=")
                if tasks:
                    lacking[tasks, fixed].append(last)
        for (tasks, fixed), names in lacking.items():
            commands.append(
                "iapt-sweep +experiment=paper "
                + ("" if backbone == MAIN_BACKBONE else f"backbone={backbone} ")
                + f"task={','.join(tasks)} {fixed}={','.join(names)}"
            )
    return commands


def _records(table: Table, filled: _Filled) -> list[Mapping[str, object]]:
    records: list[Mapping[str, object]] = []
    for i, block in enumerate(table.blocks):
        for j, line in enumerate(block.lines):
            for k, column in enumerate(table.columns):
                cell = filled.cells.get((i, j, k))
                records.append(_record(table, block, line, column, line.values[k], cell, filled))
    return records


def _record(
    table: Table,
    block: Block,
    line: Line,
    column: Column,
    paper: float | None,
    cell: Cell | None,
    filled: _Filled,
) -> Mapping[str, object]:
    numbers: Mapping[str, object] = statistics(cell, filled.pool, column.metric) if cell else {}
    return {
        "table": table.name,
        "backbone": block.backbone,
        "label": line.label,
        "method": line.method,
        "variant": line.variants[0] if line.variants else "",
        "task": column.task,
        "metric": column.metric,
        "median": numbers.get("median"),
        "n_seeds": len(cell.rows) if cell else 0,
        "missing_seeds": " ".join(map(str, cell.missing)) if cell else "0 1 2 3 4",
        "iqm": numbers.get("iqm"),
        "ci_low": numbers.get("ci_low"),
        "ci_high": numbers.get("ci_high"),
        "minus_lora": numbers.get("minus_lora"),
        "p_vs_lora": numbers.get("p_vs_lora"),
        "p_floor": numbers.get("p_floor"),
        "paper": paper,
        "paper_attainable": "" if paper is None or not column.sizes else possible(paper, column),
        "trained_params": cell.trained if cell else None,
        "paper_params_millions": line.params,
        "setting": cell.setting if cell else "",
        "run_ids": " ".join(cell.run_ids) if cell else "",
    }
