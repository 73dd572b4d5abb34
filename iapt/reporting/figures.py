"""Figures 2 and 3 of the paper: scores over the parameter budget and over the prompt length.

The paper prints them as plots without numbers, so nothing stands beside ours. A point is found by
the method's own numbers in the row's config (``bottleneck_dim: 64``), not by a name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from iapt.reporting.choose import Scope, comparable
from iapt.reporting.entries import count_text, median_text, statistics
from iapt.reporting.render import DASH, Document, Entry, Grid
from iapt.reporting.spec import Column, columns, figure_lines, load
from iapt.reporting.charts import Series, line_chart
from iapt.reporting.tables import other_rows
from iapt.results.cells import Cell
from iapt.results.row import Row, field, number
from iapt.results.statistics import median

FIGURES = ("figure2", "figure3")


def figure(
    name: str, rows: Sequence[Row], cells: Sequence[Cell], scope: Scope | None = None
) -> tuple[Document, dict[str, str]]:
    """Build a figure's numbers and drawings.

    Args:
        name: One of `FIGURES`.
        rows: All rows read.
        cells: The same rows as `collect` grouped them.
        scope: Defaults to the paper's setting.

    Returns:
        The numbers as a document, and file name -> SVG for each task that has a point.
    """
    raw = load(name)
    heads = columns(raw)
    chosen, points, notes = _points(raw, heads, cells, scope or Scope())
    document = Document(
        name,
        raw["title"],
        notes=notes,
        intro=[
            f"Median over seeds 0-4; (k/5) marks fewer than five seeds, {DASH} a missing point. "
            "The paper prints no numbers for this figure."
        ],
    )
    lines: list[Sequence[Entry | str] | str] = []
    for series in raw["series"]:
        lacking: dict[tuple[str, ...], list[str]] = {}
        for value in series["values"]:
            found = [points.get((series["label"], value, column.task)) for column in heads]
            trained = next((cell.trained for cell in found if cell is not None), None)
            entries: list[Entry | str] = [
                f"{series['label']} {series['key']}={value}",
                count_text(trained),
            ]
            for column, cell in zip(heads, found, strict=True):
                values = list(cell.scores(column.metric).values()) if cell else []
                entries.append(median_text(values, len(cell.seeds) if cell else 0))
                document.records.append(_record(name, series, value, column, cell, chosen))
            lines.append(entries)
            missing = tuple(
                column.task
                for column, cell in zip(heads, found, strict=True)
                if cell is None or cell.missing
            )
            if missing:
                lacking.setdefault(missing, []).append(str(value))
        document.commands += [
            f"iapt-sweep +experiment=paper task={','.join(tasks)} method={series['method']} "
            f"method.{series['key']}={','.join(values)}"
            for tasks, values in lacking.items()
        ]
    document.grids.append(Grid(("Method", "Params", *(column.head for column in heads)), lines))
    paths = {row.path for cell in points.values() for row in cell.rows}
    document.notes.append(other_rows(len(paths), len(rows)))
    return document, _drawings(name, raw, heads, points)


def _points(
    raw: Mapping[str, Any], heads: Sequence[Column], cells: Sequence[Cell], scope: Scope
) -> tuple[list[Cell], dict[tuple[str, object, str], Cell], list[str]]:
    """Find the cell of every point: (series, value, task) -> cell."""
    tasks = {column.task for column in heads}
    here = [
        cell
        for cell in cells
        if cell.backbone == raw["backbone"] and cell.task in tasks and scope.takes(cell)
    ]
    wanted: dict[tuple[str, object], list[Cell]] = {}
    for (label, lines), series in zip(figure_lines(raw).items(), raw["series"], strict=True):
        for line, value in zip(lines, series["values"], strict=True):
            wanted[label, value] = [
                cell for cell in here if line.names(cell) and not line.strays(cell)
            ]
    every = [cell for found in wanted.values() for cell in found]
    kept, notes = comparable(every, per_numbers=True)
    points = {
        (label, value, cell.task): cell
        for (label, value), found in wanted.items()
        for cell in found
        if cell in kept
    }
    return kept, points, notes


def _record(
    name: str,
    series: Mapping[str, Any],
    value: object,
    column: Column,
    cell: Cell | None,
    cells: Sequence[Cell],
) -> Mapping[str, object]:
    numbers: Mapping[str, object] = statistics(cell, cells, column.metric) if cell else {}
    return {
        "figure": name,
        "method": series["method"],
        series_key(name): value,
        "task": column.task,
        "metric": column.metric,
        "median": numbers.get("median"),
        "n_seeds": len(cell.rows) if cell else 0,
        "iqm": numbers.get("iqm"),
        "ci_low": numbers.get("ci_low"),
        "ci_high": numbers.get("ci_high"),
        "trained_params": cell.trained if cell else None,
        "setting": cell.setting if cell else "",
        "run_ids": " ".join(cell.run_ids) if cell else "",
    }


def series_key(name: str) -> str:
    """Name the CSV column that holds what a figure varies."""
    return "size" if name == "figure2" else "prompt_len"


def _drawings(
    name: str,
    raw: Mapping[str, Any],
    heads: Sequence[Column],
    points: Mapping[tuple[str, object, str], Cell],
) -> dict[str, str]:
    drawings = {}
    x_of = field(raw["x"]["key"])
    for column in heads:
        series = []
        for item in raw["series"]:
            line = []
            for value in item["values"]:
                cell = points.get((item["label"], value, column.task))
                x = number(x_of(cell.rows[0])) if cell else None
                scores = list(cell.scores(column.metric).values()) if cell else []
                if x is not None and scores:
                    line.append((x, median(scores)))
            series.append(Series(item["label"], line))
        svg = line_chart(
            series,
            title=f"{column.label}",
            x_label=raw["x"]["label"],
            y_label=column.metric,
            log_x=raw["x"]["log"],
        )
        if svg:
            drawings[f"{name}-{column.task}.svg"] = svg + "\n"
    return drawings
