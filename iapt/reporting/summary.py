"""Every cell of all rows, one section per setting, without the paper's values."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from iapt.reporting import measures
from iapt.reporting.choose import is_paper
from iapt.reporting.footnotes import footnotes
from iapt.reporting.measures import Standing
from iapt.reporting.render import DASH, Document, Grid
from iapt.reporting.spec import baseline, load_table, paper_lines
from iapt.results.cells import Cell, count_of, differences
from iapt.results.row import Row
from iapt.results.statistics import bootstrap_interval, iqm, sign_flip

NOT_PAPER = "NOT the paper's setting: not comparable with the paper's tables"
MEASURED = (*measures.STATISTICS, *measures.COMPARED, "majority", "unparsed", *measures.COSTS)


@dataclass(frozen=True)
class Section:
    """The cells of one setting: same backbone, hparams, data and config."""

    backbone: str
    hparams: str
    data: str
    setting: str
    cells: tuple[Cell, ...]

    @property
    def is_paper(self) -> bool:
        """Whether the paper's tables may show these cells."""
        return all(is_paper(cell) for cell in self.cells)

    @property
    def title(self) -> str:
        """The setting, and whether it is the paper's."""
        parts = [self.backbone, f"hparams {self.hparams}", f"data {self.data}"]
        limits = ", ".join(f"{split} {size}" for split, size in self.cells[0].limits.items())
        parts += [f"limited to {limits}"] if limits else []
        where = "the paper's setting" if self.is_paper else NOT_PAPER
        return f"{', '.join(parts)}, setting {self.setting} ({where})"

    @property
    def tasks(self) -> list[str]:
        """Its tasks, in the paper's order."""
        return list(dict.fromkeys(cell.task for cell in sorted(self.cells, key=_task_order)))

    @cached_property
    def standings(self) -> list[Standing]:
        """Its cells with their comparisons, which are one family of tests."""
        return measures.family(Standing(cell, self.cells) for cell in self.cells)

    @property
    def by_name(self) -> dict[str, list[Cell]]:
        """Its cells by method and variant."""
        found: dict[str, list[Cell]] = {}
        for cell in self.cells:
            found.setdefault(cell.name, []).append(cell)
        return found


def sections(cells: Sequence[Cell]) -> list[Section]:
    """Group cells by setting, the setting with the most rows first."""
    groups: dict[tuple[str, str, str, str], list[Cell]] = {}
    for cell in sorted(cells, key=_order):
        key = (cell.backbone, cell.hparams, cell.data, cell.setting)
        groups.setdefault(key, []).append(cell)
    found = [Section(*key, tuple(members)) for key, members in groups.items()]
    return sorted(found, key=lambda section: -sum(len(cell.rows) for cell in section.cells))


def summary(rows: Sequence[Row], cells: Sequence[Cell], messages: Sequence[str] = ()) -> Document:
    """Build the summary of all rows.

    Args:
        rows: All rows read.
        cells: The same rows as `collect` grouped them.
        messages: Messages of `collect` (duplicates, several settings), shown as notes.
    """
    document = Document(
        "summary",
        f"Summary of {count_of(rows)} in {len(cells)} cell{'' if len(cells) == 1 else 's'}",
        [
            f"Median test score over seeds 0-4; (k/5) marks fewer than five seeds, {DASH} a "
            "missing cell. One section per setting; settings are never mixed."
        ],
        notes=[*([measures.test_note(baseline().label)] if cells else []), *messages],
    )
    if not rows:
        document.intro.append("No rows yet: iapt-train writes one per finished run.")
    found = sections(cells)
    compared = [standing.comparison for section in found for standing in section.standings]
    document.notes[1:1] = [
        *measures.detectable_note(compared),
        *measures.budget_note(compared, baseline().label),
    ]
    for section in found:
        document.notes += notes_of(section)
        document.grids += [medians_grid(section), *_overall(section)]
        document.details.append(cells_grid(section))
        document.records += [_record(section, standing) for standing in section.standings]
    return document


def labelled(section: Section, task: str) -> list[tuple[str, Cell]]:
    """Return a section's cells of a task with their labels, in the order of Table 1.

    Several cells of one method are told apart by the first value in which they differ.
    """
    found: list[tuple[str, Cell]] = []
    for name, members in section.by_name.items():
        cells = [cell for cell in members if cell.task == task]
        labels = [name]
        if len(cells) > 1:
            apart = differences([cell.rows[0] for cell in cells], most=1)
            facts = [what.partition(", and")[0].partition("=") for what in apart]
            labels = [f"{name}, {key.rpartition('.')[2]}={value}" for key, _, value in facts]
        found += sorted(zip(labels, cells, strict=False), key=lambda each: each[0])
    return found


def medians_grid(section: Section) -> Grid:
    """Lay out a section's medians, methods by tasks."""
    metrics = {cell.task: cell.metric for cell in section.cells}
    lines = []
    for name, cells in section.by_name.items():
        line = [name]
        for task in section.tasks:
            # Cells that differ in the method's values or the data are shown side by side.
            found = [Standing(cell, ()).text for cell in cells if cell.task == task]
            line.append(" ; ".join(found) or DASH)
        lines.append(line)
    heads = [f"{task} ({metrics[task]})" for task in section.tasks]
    return Grid(["Method", *heads], lines, section.title)


def notes_of(section: Section) -> list[str]:
    """Explain the marks on a section's medians."""
    return footnotes(
        (f"{cell.task}, setting {cell.setting}", cell.name, cell) for cell in section.cells
    )


def cells_grid(section: Section) -> Grid:
    """Lay out all measures of a section's cells."""
    lines = [
        [standing.cell.task, standing.cell.name, *measures.texts(MEASURED, standing)]
        for standing in sorted(
            section.standings, key=lambda s: (_task_order(s.cell), _order(s.cell))
        )
    ]
    heads = ["Task", "Method", *measures.heads(MEASURED, baseline().label)]
    return Grid(heads, lines, f"Cells of setting {section.setting}")


def _overall(section: Section) -> list[Grid]:
    """Lay out the IQM over all runs of all tasks (rliable's aggregate), for methods with every task."""
    tasks = sorted(section.tasks)
    # A method with two cells on one task (other values, other data) has no single aggregate.
    full = {
        name: [list(cell.scores().values()) for cell in cells]
        for name, cells in section.by_name.items()
        if sorted(cell.task for cell in cells) == tasks
    }
    if len(tasks) < 2 or len(full) < 2:
        return []
    lines = []
    for name, strata in full.items():
        found = bootstrap_interval(strata)
        around = f"{found.low:.2f} to {found.high:.2f}" if found else DASH
        scores = [score for stratum in strata for score in stratum]
        lines.append(
            [name, str(len(scores)), f"{iqm(scores):.2f}", around, *_over_tasks(section, name)]
        )
    heads = (
        *("Method", "Runs", "IQM", "95 % interval, resampled within tasks"),
        *(f"Minus {baseline().label}", "p (sign flip)"),
    )
    return [Grid(heads, lines, f"Over {', '.join(section.tasks)}, setting {section.setting}")]


def _over_tasks(section: Section, name: str) -> list[str]:
    """Format a method's mean difference over all runs of all tasks, and the test of its sign."""
    compared = [s.comparison for s in section.standings if s.cell.name == name]
    runs = [difference for c in compared if c for difference in c.per_seed]
    p = None if None in compared else sign_flip(runs)
    return [DASH, DASH] if p is None else [f"{fmean(runs):+.2f}", measures.p_text(p)]


def _record(section: Section, standing: Standing) -> dict[str, object]:
    names = ("backbone", "hparams", "data", "task", "method", "variant", "metric")
    measured = (*measures.CSV, *measures.COSTS, *measures.ORIGIN)
    return {
        **{name: getattr(standing.cell, name) for name in names},
        "paper_setting": section.is_paper,
        **measures.record(measured, standing),
    }


_METHODS = [line.method for line in paper_lines()]
_TASKS = [column.task for name in ("table1", "table2") for column in load_table(name).columns]


def _rank(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def _order(cell: Cell) -> tuple[int, str, int, str]:
    """Order cells as the paper does: its methods first, in the order of Table 1."""
    return _rank(_METHODS, cell.method), cell.name, *_task_order(cell)


def _task_order(cell: Cell) -> tuple[int, str]:
    return _rank(_TASKS, cell.task), cell.task
