"""The paper's tables as data: what each entry is, what the paper prints there, which rows fill it.

The files lie in ``iapt/reporting/paper/``. Every number there is the paper's own unless its file
says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from iapt.results.cells import Cell, canonical

MAIN_BACKBONE = "llama2_7b"  # section 4.3


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
        return (
            f"{self.label} ({self.metric})"
            if canonical(self.metric) != canonical(self.label)
            else self.label
        )


@dataclass(frozen=True)
class Line:
    """One method of a table.

    Attributes:
        variants: Names of the variant that the line takes, any of them; none for the plain method.
        where: The method's numbers that its rows must have, where their config states them.
        params: The paper's tunable parameters, in millions.
        values: The paper's scores, one per column.
        repeats: The paper's values stand already beside another line (a second reading of it).
        varied: A point of a figure: found by its numbers, which the row must state, whatever the
            variant is called.
    """

    label: str
    method: str
    values: tuple[float | None, ...] = ()
    variants: tuple[str, ...] = ()
    where: Mapping[str, object] | None = None
    params: float | None = None
    repeats: bool = False
    varied: bool = False

    def names(self, cell: Cell) -> bool:
        """Say whether a cell is of this method and variant, however the variant is spelled."""
        if self.varied:
            return cell.method == self.method
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
        variant = f" variant={self.variants[0]}" if self.variants else ""
        return f"method={self.method}{variant}"


@dataclass(frozen=True)
class Block:
    """Lines under one heading, all on one backbone."""

    label: str
    backbone: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Table:
    """A table of scores."""

    name: str
    title: str
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]


@cache
def load(name: str) -> dict[str, Any]:
    """Return the content of ``iapt/reporting/paper/<name>.yaml`` (shared: not to be changed)."""
    text = (resources.files("iapt.reporting") / "paper" / f"{name}.yaml").read_text("utf-8")
    return dict(yaml.safe_load(text))


def columns(raw: Mapping[str, Any]) -> tuple[Column, ...]:
    """Build the columns of a loaded file."""
    return tuple(
        Column(**{**column, "sizes": tuple(column.get("sizes", ()))}) for column in raw["columns"]
    )


def line(raw: Mapping[str, Any]) -> Line:
    """Build one line of a loaded file."""
    return Line(
        **{
            **raw,
            "values": tuple(raw.get("values", ())),
            "variants": tuple(raw.get("variants", ())),
        }
    )


def figure_lines(raw: Mapping[str, Any]) -> dict[str, list[Line]]:
    """Build the points of a loaded figure: series label -> one line per value, in order."""
    return {
        series["label"]: [
            Line(
                f"{series['label']} {series['key']}={value}",
                series["method"],
                varied=True,
                where={**series.get("where", {}), series["key"]: value},
            )
            for value in series["values"]
        ]
        for series in raw["series"]
    }


def load_table(name: str) -> Table:
    """Load a table of scores (tables 1, 2, 3, 5, 7 and 8).

    Raises:
        ValueError: A line has not one value per column (a mistake in the data file).
    """
    raw = load(name)
    heads = columns(raw)
    blocks = tuple(
        Block(block["label"], block["backbone"], tuple(line(item) for item in block["lines"]))
        for block in raw["blocks"]
    )
    for block in blocks:
        for item in block.lines:
            if len(item.values) != len(heads):
                raise ValueError(
                    f"{name}.yaml: line {item.label!r} has {len(item.values)} values for "
                    f"{len(heads)} columns"
                )
    return Table(name, raw["title"], heads, blocks, tuple(raw.get("notes", ())))
