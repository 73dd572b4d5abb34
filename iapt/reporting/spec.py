"""The paper's tables as data: what each entry is, what the paper prints there, which rows fill it.

The files lie in ``iapt/reporting/paper/``. Every number there is the paper's own unless its file
says otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from iapt.results.cells import Cell, canonical
from iapt.results.statistics import attainable

MAIN_BACKBONE = "llama2_7b"  # section 4.3
SCORE_TABLES = ("table1", "table2", "table3", "table5", "table7", "table8")
FIGURES = ("figure2", "figure3")


@dataclass(frozen=True)
class Column:
    """One task of a table.

    Attributes:
        metric: The score that is shown: the row's main one or one of its details.
        sizes: Sizes of the test split as described, for accuracies that can be checked against it.
        digits: Decimals that the paper prints.
    """

    task: str
    label: str
    metric: str
    sizes: tuple[int, ...] = ()
    digits: int = 1

    @property
    def head(self) -> str:
        """Column head, e.g. ``BoolQ (acc)``."""
        same = canonical(self.metric) == canonical(self.label)
        return self.label if same else f"{self.label} ({self.metric})"

    def possible(self, value: float) -> bool:
        """Say whether a value can be an accuracy on one of the sizes (True if none is known)."""
        return not self.sizes or any(attainable(value, n, self.digits) for n in self.sizes)


@dataclass(frozen=True)
class Line:
    """One method of a table.

    Attributes:
        variants: Names of the variant that the line takes, any of them; none for the plain method.
        where: The method's numbers that its rows must have, where their config states them.
        params: The paper's tunable parameters, in millions.
        values: The paper's scores, one per column.
        repeats: Another line already shows these values of the paper (this is a second reading).
        varied: What a figure varies, for one of its points. The point is found by its numbers,
            which the row must state, whatever the variant is called.
    """

    label: str
    method: str
    values: tuple[float | None, ...] = ()
    variants: tuple[str, ...] = ()
    where: Mapping[str, object] | None = None
    params: float | None = None
    repeats: bool = False
    varied: str = ""

    def names(self, cell: Cell) -> bool:
        """Say whether a cell is of this method and variant, however the variant is spelled."""
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
        """List the method's numbers in which a cell is not what the line asks for."""
        found = []
        for key, wanted in (self.where or {}).items():
            value = cell.rows[0].setting("method", key)
            if value != wanted and (value is not None or self.varied):
                found.append(f"method.{key}={value}, not {wanted}")
        return found

    @property
    def words(self) -> str:
        """What selects the method on the command line."""
        if self.varied:
            return f"method={self.method} method.{self.varied}={(self.where or {})[self.varied]}"
        return f"method={self.method}" + (f" variant={self.variants[0]}" if self.variants else "")


@dataclass(frozen=True)
class Block:
    """Lines under one heading, all on one backbone; `printed` unless the paper does not have them."""

    label: str
    backbone: str
    lines: tuple[Line, ...]
    printed: bool = True


@dataclass(frozen=True)
class Table:
    """A table of scores."""

    name: str
    title: str
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]

    @property
    def backbones(self) -> list[str]:
        """Backbones of its blocks, each once."""
        return list(dict.fromkeys(block.backbone for block in self.blocks))


@cache
def load(name: str) -> dict[str, Any]:
    """Return the content of ``iapt/reporting/paper/<name>.yaml`` (shared: not to be changed)."""
    text = (resources.files("iapt.reporting") / "paper" / f"{name}.yaml").read_text("utf-8")
    return dict(yaml.safe_load(text))


def line(raw: Mapping[str, Any]) -> Line:
    """Build one line of a loaded file; without a label it goes by its variant or method."""
    label = raw.get("variants", [raw["method"]])[0]
    return Line(**{"label": label, **_tuples(raw, "values", "variants")})


def baseline() -> Line:
    """Return the method that every other is compared with."""
    return line(load("setting")["baseline"])


@cache
def load_table(name: str) -> Table:
    """Load one of `SCORE_TABLES`, or one of `FIGURES` as a table with a block per series.

    Raises:
        ValueError: A line has not one value per column (a mistake in the data file).
    """
    raw = load(name)
    columns = tuple(Column(**_tuples(column, "sizes")) for column in raw["columns"])
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
    return Table(name, raw["title"], columns, tuple(blocks), tuple(raw.get("notes", ())))


@cache
def paper_lines() -> tuple[Line, ...]:
    """Return the lines of all score tables, those of Table 1 first."""
    tables = map(load_table, SCORE_TABLES)
    return tuple(item for table in tables for block in table.blocks for item in block.lines)


def unattainable_notes(table: Table) -> list[str]:
    """Name the printed accuracies of each column that its test split as described cannot give."""
    notes = []
    for k, column in enumerate(table.columns):
        printed = [
            value
            for block in table.blocks
            for item in block.lines
            if not item.repeats and (value := item.values[k]) is not None
        ]
        wrong = [value for value in printed if not column.possible(value)]
        if wrong:
            sizes = " or ".join(f"{size:,}" for size in column.sizes)
            notes.append(
                f"† {column.label}: {len(wrong)} of the paper's {len(printed)} values cannot be an "
                f"accuracy on a test split of {sizes}, as a median over five seeds would be: "
                f"{', '.join(f'{value:.{column.digits}f}' for value in wrong)}."
                + _one_size(column, printed)
            )
    return notes


def _one_size(column: Column, printed: Sequence[float]) -> str:
    """Where the split's size is uncertain: how many values fit one size, as all would have to."""
    if len(column.sizes) < 2:
        return ""
    fits = [sum(attainable(v, size, column.digits) for v in printed) for size in column.sizes]
    counts = (f"{fit} fit {size:,}" for fit, size in zip(fits, column.sizes, strict=True))
    return f" All come from one split, yet {' and '.join(counts)}."


def _tuples(raw: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: tuple(value) if key in keys else value for key, value in raw.items()}
