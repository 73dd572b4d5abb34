"""Every cell of whatever rows exist, one section per setting; nothing of the paper beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iapt.reporting.choose import is_paper
from iapt.reporting.entries import (
    DETAIL_HEAD,
    TEST_NOTE,
    count_text,
    median_text,
    statistics,
    statistics_entries,
)
from iapt.reporting.render import DASH, Document, Entry, Grid
from iapt.reporting.spec import load_table
from iapt.results.cells import Cell
from iapt.results.row import Row
from iapt.results.statistics import bootstrap_interval, iqm

NOT_PAPER = "NOT the paper's setting: not comparable with the paper's tables"


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
        """What was run, and whether it is the paper's setting."""
        parts = [self.backbone, f"hparams {self.hparams}", f"data {self.data}"]
        if self.cells[0].limited:
            cut = ", ".join(f"{split} {size}" for split, size in self.cells[0].limits.items())
            parts.append(f"limited to {cut}")
        where = "the paper's setting" if self.is_paper else NOT_PAPER
        return f"{', '.join(parts)}, setting {self.setting} ({where})"


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
        messages: What `collect` had to say (duplicates, several settings); they become notes.
    """
    document = Document(
        "summary",
        f"Summary of {len(rows)} rows in {len(cells)} cells",
        intro=[
            f"Median test score over seeds 0-4; (k/5) marks fewer than five seeds, {DASH} a "
            "missing cell. One section per setting; settings are never mixed."
        ],
    )
    if not rows:
        document.intro.append("No rows yet: iapt-train writes one per finished run.")
    for section in sections(cells):
        document.grids.append(medians_grid(section))
        document.grids.append(cells_grid(section))
        overall = _overall_grid(section)
        if overall:
            document.grids.append(overall)
        document.records += [_record(section, cell) for cell in section.cells]
    document.notes = ([TEST_NOTE] if cells else []) + list(messages)
    return document


def medians_grid(section: Section) -> Grid:
    """Lay out a section's medians, methods by tasks."""
    by_place: dict[tuple[str, str], list[Cell]] = {}
    for cell in section.cells:
        by_place.setdefault((cell.name, cell.task), []).append(cell)
    tasks = list(dict.fromkeys(cell.task for cell in sorted(section.cells, key=_task_order)))
    metrics = {cell.task: cell.metric for cell in section.cells}
    lines: list[Sequence[Entry | str] | str] = []
    for name in dict.fromkeys(cell.name for cell in section.cells):
        texts = []
        for task in tasks:
            found = by_place.get((name, task), [])
            # Several cells here differ in the method's numbers or the data: shown side by side.
            texts.append(
                " ; ".join(
                    median_text(list(cell.scores().values()), len(cell.seeds)) for cell in found
                )
                or DASH
            )
        lines.append([name, *texts])
    return Grid(("Method", *(f"{task} ({metrics[task]})" for task in tasks)), lines, section.title)


def cells_grid(section: Section) -> Grid:
    """Lay out everything measured about a section's cells."""
    head = ("Task", "Method", *DETAIL_HEAD, "Majority", "Unparsed", "Trained", "s/step", "Peak MiB")
    lines = []
    for cell in sorted(section.cells, key=lambda cell: (_task_order(cell), _order(cell))):
        unparsed = cell.typical(lambda row: row.scores.n_unparsed)
        n = cell.typical(lambda row: row.scores.n)
        lines.append(
            [
                cell.task,
                cell.name,
                *statistics_entries(cell, section.cells),
                _text(cell.typical(lambda row: row.dev.majority_accuracy), 1),
                DASH if unparsed is None else f"{unparsed:g}" + ("" if n is None else f" of {n:g}"),
                count_text(cell.trained),
                _text(cell.typical(lambda row: row.seconds.per_step), 2),
                _text(cell.typical(lambda row: row.peak_memory_mib), 0),
            ]
        )
    return Grid(head, lines, f"Cells of setting {section.setting}")


def _overall_grid(section: Section) -> Grid | None:
    """IQM over all runs of all tasks (rliable's aggregate), for methods that have each task."""
    by_name: dict[str, list[Cell]] = {}
    for cell in section.cells:
        by_name.setdefault(cell.name, []).append(cell)
    tasks = sorted({cell.task for cell in section.cells})
    full = {  # a method with two cells on one task (other numbers, other data) has no one aggregate
        name: cells
        for name, cells in by_name.items()
        if sorted(cell.task for cell in cells) == tasks
    }
    if len(tasks) < 2 or len(full) < 2:
        return None
    lines = []
    for name, cells in full.items():
        strata = [list(cell.scores().values()) for cell in cells]
        interval = bootstrap_interval(strata)
        lines.append(
            [
                name,
                str(sum(map(len, strata))),
                f"{iqm([v for s in strata for v in s]):.2f}",
                f"{interval.low:.2f} to {interval.high:.2f}" if interval else DASH,
            ]
        )
    return Grid(
        ("Method", "Runs", "IQM", "95 % interval, resampled within tasks"),
        lines,
        f"Over {', '.join(tasks)}, setting {section.setting}",
    )


def _record(section: Section, cell: Cell) -> Mapping[str, object]:
    return {
        "backbone": cell.backbone,
        "hparams": cell.hparams,
        "data": cell.data,
        "setting": cell.setting,
        "paper_setting": section.is_paper,
        "task": cell.task,
        "method": cell.method,
        "variant": cell.variant,
        "metric": cell.metric,
        **statistics(cell, section.cells),
        "missing_seeds": " ".join(map(str, cell.missing)),
        "trained_params": cell.trained,
        "seconds_per_step": cell.typical(lambda row: row.seconds.per_step),
        "peak_memory_mib": cell.typical(lambda row: row.peak_memory_mib),
        "run_ids": " ".join(cell.run_ids),
    }


_METHODS = [line.method for block in load_table("table1").blocks for line in block.lines]
_TASKS = [column.task for name in ("table1", "table2") for column in load_table(name).columns]


def _rank(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def _order(cell: Cell) -> tuple[int, str, int, str]:
    """Order cells as the paper does: its methods first, in the order of Table 1."""
    return _rank(_METHODS, cell.method), cell.name, _rank(_TASKS, cell.task), cell.task


def _task_order(cell: Cell) -> tuple[int, str]:
    return _rank(_TASKS, cell.task), cell.task


def _text(number: float | None, digits: int) -> str:
    return DASH if number is None else f"{number:.{digits}f}"
