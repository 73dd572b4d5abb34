"""Drawings of the paper's Figures 2 and 3: scores against the parameter budget and the prompt length."""

from collections.abc import Sequence

from iapt.reporting.charts.lines import Series, line_chart
from iapt.reporting.choose import Scope
from iapt.reporting.places import fill
from iapt.reporting.spec import load
from iapt.results.cells import Cell
from iapt.results.row import number


def drawings(name: str, cells: Sequence[Cell], scope: Scope | None = None) -> dict[str, str]:
    """Draw a figure.

    Args:
        name: One of `spec.FIGURES`.
        cells: As `collect` returns them.
        scope: Defaults to the paper's setting; any other must come from `scale.settle`.

    Returns:
        File name -> SVG for each task that has a point. A ring marks a point with missing seeds.
    """
    x = load(name)["x"]
    scope = scope or Scope()
    table, lines, _ = fill(name, cells, scope)
    found = {}
    for k, column in enumerate(table.columns):
        points: dict[str, list[tuple[float, float]]] = {block.label: [] for block in table.blocks}
        partial: dict[str, list[float]] = {block.label: [] for block in table.blocks}
        for place in (line[k] for line in lines):
            standing = place.standing
            if standing is None:
                continue
            row, key = standing.cell.rows[0], x.get("of_method")
            along = number(row.setting("method", key)) if key else row.params.trained
            if standing.median is not None and along is not None:
                points[place.block.label].append((along, standing.median))
                if standing.cell.missing:
                    partial[place.block.label].append(along)
        note = "ring: seeds missing" if any(partial.values()) else ""
        svg = line_chart(
            [Series(label, each, partial=partial[label]) for label, each in points.items()],
            title=", ".join(filter(None, (column.label, scope.words, note))),
            x_label=x["label"],
            y_label=column.metric,
            log_x=x["log"],
        )
        if svg:
            found[f"{scope.stem(name)}-{column.task}.svg"] = svg + "\n"
    return found
