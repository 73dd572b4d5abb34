"""The paper's tables as data: the meaning of each entry, the paper's value, and the rows that fill it.

The files are in ``iapt/reporting/paper/``. Every number there is the paper's own unless its file says
otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from iapt.results.cells import Cell, canonical
from iapt.results.comparison import MOST
from iapt.results.statistics import attainable

MAIN_BACKBONE = "llama2_7b"  # section 4.3
SCORE_TABLES = ("table1", "table2", "table3", "table5", "table7", "table8")
FIGURES = ("figure2", "figure3")


@dataclass(frozen=True)
class Column:
    """One task of a table.

    Attributes:
        metric: The score to show: the row's main score or one of its details.
        sizes: Sizes of the test split as described, against which printed accuracies are checked.
        digits: Decimals that the paper prints.
        most: The highest score that the metric can give.
    """

    task: str
    label: str
    metric: str
    sizes: tuple[int, ...] = ()
    digits: int = 1
    most: float = MOST

    @property
    def head(self) -> str:
        """Column head, e.g. ``BoolQ (acc)``."""
        same = canonical(self.metric) == canonical(self.label)
        return self.label if same else f"{self.label} ({self.metric})"

    def possible(self, value: float) -> bool:
        """Return whether a value can be an accuracy on one of the sizes (True if no size is known)."""
        return not self.sizes or any(attainable(value, n, self.digits) for n in self.sizes)


@dataclass(frozen=True)
class Line:
    """One method of a table.

    Attributes:
        variants: Accepted names of its variant; empty for the plain method.
        where: Values of the method that its rows must have, if their config states them.
        params: The paper's tunable parameters, in millions.
        values: The paper's scores, one per column.
        repeats: Another line already shows the paper's values; this one is a second reading of them.
        varied: For a point of a figure, the key that the figure varies. Rows must state the point's
            values, whatever their variant is called.
        small: Whether a table at the small scale has the line even without rows.
    """

    label: str
    method: str
    values: tuple[float | None, ...] = ()
    variants: tuple[str, ...] = ()
    where: Mapping[str, object] | None = None
    params: float | None = None
    repeats: bool = False
    varied: str = ""
    small: bool = True

    def names(self, cell: Cell) -> bool:
        """Return whether a cell has this method and variant, in any spelling of the variant."""
        if self.varied:
            return cell.method == self.method and not self.strays(cell)
        if not self.variants:
            return cell.method == self.method and not cell.variant
        wanted = {canonical(variant) for variant in self.variants}
        spelled = {canonical(cell.method + cell.variant)}
        if cell.variant and cell.method == self.method:
            spelled.add(canonical(cell.variant))
        return bool(wanted & spelled)

    def strays(self, cell: Cell) -> list[str]:
        """List the method's values in which a cell departs from the line."""
        found = []
        for key, wanted in (self.where or {}).items():
            value = cell.rows[0].setting("method", key)
            if value != wanted and (value is not None or self.varied):
                found.append(f"method.{key}={value}, not {wanted}")
        return found

    @property
    def words(self) -> str:
        """The words that select the method on the command line."""
        if self.varied:
            return f"method={self.method} method.{self.varied}={(self.where or {})[self.varied]}"
        return f"method={self.method}" + (f" variant={self.variants[0]}" if self.variants else "")


@dataclass(frozen=True)
class Block:
    """Lines under one heading, all on one backbone; not `printed` if the paper lacks them."""

    label: str
    backbone: str
    lines: tuple[Line, ...]
    printed: bool = True


@dataclass(frozen=True)
class Table:
    """A table of scores.

    Attributes:
        title: Without the model; see `model`.
        baseline: The method with which its lines are compared.
        model: The label of the paper's main backbone if the whole table is about it, otherwise empty. Only
            such a table can be filled at another scale.
        notes: Remarks on the methods and the metrics.
        paper_notes: Remarks on the paper's values, shown only together with them.
        compared: Whether the paper's values are shown beside ours.
        small: The columns at the small scale, even without rows; empty for all. The others appear once
            they have rows.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    baseline: Line
    model: str = ""
    notes: tuple[str, ...] = ()
    paper_notes: tuple[str, ...] = ()
    compared: bool = True
    small: tuple[Column, ...] = ()

    @property
    def lines(self) -> list[Line]:
        """The lines of all its blocks."""
        return [item for block in self.blocks for item in block.lines]

    @property
    def backbones(self) -> list[str]:
        """The distinct backbones of its blocks."""
        return list(dict.fromkeys(block.backbone for block in self.blocks))


@cache
def load(name: str) -> dict[str, Any]:
    """Return the content of ``iapt/reporting/paper/<name>.yaml``; it is cached, so do not change it."""
    text = (resources.files("iapt.reporting") / "paper" / f"{name}.yaml").read_text("utf-8")
    return dict(yaml.safe_load(text))


def line(raw: Mapping[str, Any]) -> Line:
    """Build one line of a loaded file; its label defaults to its variant or method."""
    label = raw.get("variants", [raw["method"]])[0]
    return Line(**{"label": label, **_tuples(raw, "values", "variants")})


def baseline() -> Line:
    """Return the method with which every other is compared, unless a table names its own."""
    return line(load("setting")["baseline"])


@cache
def load_table(name: str) -> Table:
    """Load one of `SCORE_TABLES`, or one of `FIGURES` as a table with a block per series.

    Raises:
        ValueError: A line does not have one value per column (a mistake in the data file).
    """
    raw = load(name)
    columns = _columns(raw)
    blocks = [
        Block(block["label"], block["backbone"], tuple(map(line, block["lines"])))
        for block in raw.get("blocks", ())
    ]
    for series in raw.get("series", ()):
        key = series["key"]
        points = tuple(
            Line(
                f"{series['label']} {key}={value}",
                series["method"],
                (None,) * len(columns),
                where={**series.get("where", {}), key: value},
                varied=key,
                small=value in series.get("small", series["values"]),
            )
            for value in series["values"]
        )
        blocks.append(Block(series["label"], raw["backbone"], points))
    for item in (item for block in blocks for item in block.lines):
        if len(item.values) != len(columns):
            raise ValueError(
                f"{name}.yaml: line {item.label!r} has {len(item.values)} values for "
                f"{len(columns)} columns"
            )
    notes, paper_notes = (tuple(raw.get(key, ())) for key in ("notes", "paper_notes"))
    known = {column.task: column for column in (*_columns(load("table1")), *columns)}
    return Table(
        name,
        raw["title"],
        columns,
        tuple(blocks),
        line(raw["baseline"]) if "baseline" in raw else baseline(),
        raw.get("model", ""),
        notes,
        paper_notes,
        small=tuple(known[task] for task in raw.get("small_tasks", ())),
    )


def _columns(raw: Mapping[str, Any]) -> tuple[Column, ...]:
    return tuple(Column(**_tuples(column, "sizes")) for column in raw["columns"])


@cache
def paper_lines() -> tuple[Line, ...]:
    """Return the lines of all score tables, those of Table 1 first."""
    return tuple(item for name in SCORE_TABLES for item in load_table(name).lines)


def unattainable_notes(table: Table) -> list[str]:
    """List the printed accuracies of each column that are impossible on its test split as described."""
    notes = []
    for k, column in enumerate(table.columns):
        values = [item.values[k] for item in table.lines if not item.repeats]
        printed = [value for value in values if value is not None]
        wrong = [value for value in printed if not column.possible(value)]
        if wrong:
            sizes = " or ".join(f"{size:,}" for size in column.sizes)
            notes.append(
                f"† {column.label}: {len(wrong)} of the paper's {len(printed)} values cannot be an "
                f"accuracy on a test split of {sizes}, which a median over five seeds must be: "
                f"{', '.join(f'{value:.{column.digits}f}' for value in wrong)}."
                + _one_size(column, printed)
            )
    return notes


def _one_size(column: Column, printed: Sequence[float]) -> str:
    """State how many values fit each possible size of the split, since all must fit the same one."""
    if len(column.sizes) < 2:
        return ""
    fits = [sum(attainable(v, size, column.digits) for v in printed) for size in column.sizes]
    counts = (f"{fit} fit {size:,}" for fit, size in zip(fits, column.sizes, strict=True))
    return f" All come from one split, yet {' and '.join(counts)}."


def _tuples(raw: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: tuple(value) if key in keys else value for key, value in raw.items()}
