"""The plan of a grid as text: how many cells are left, and what each task and method needs."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from tabulate import tabulate

from iapt.errors import DataError
from iapt.grid.cells import Cell
from iapt.grid.estimate import Estimate, estimate
from iapt.grid.workload import Workload, Workloads
from iapt.plan import Plan
from iapt.progress import progress
from iapt.results.row import Row

DONE, FAILED = "finished", "failed"
HEAD = (
    *("task", "method", "done", "train", "dev", "test", "steps", "trained", "cut"),
    *("time", "memory", "disk"),
)
MARKS = {"rows": "", "rows of another task": "*", "formula": "~", "measured": "^"}
LEGEND = {
    "rows": "no mark: from finished runs of the same device, backbone, method and task",
    "rows of another task": "*: from finished runs of another task",
    "formula": "~: by a formula with the speed of this machine, which may be several times off "
    "(estimate=measure times a few steps instead)",
    "measured": "^: time from a few steps measured now, memory by a formula",
}


@dataclass(frozen=True)
class Line:
    """The cells that differ only in their seed.

    Attributes:
        name: the method, and whatever else distinguishes these cells from other lines.
        cells: one per seed.
        done: how many of them are finished.
        work: the work of one run; None if the sizes of the data are unknown.
        needs: the estimate for one run; None for the same reason.
        unknown: this reason.
    """

    name: str
    cells: Sequence[Cell]
    done: int
    work: Workload | None
    needs: Estimate | None
    unknown: str = ""


def counted(states: Sequence[str]) -> str:
    """Return "490 cells: 12 done, 478 left (3 of them failed before)."."""
    numbers = Counter(states)
    left = len(states) - numbers[DONE]
    failed = f" ({numbers[FAILED]} of them failed before)" if numbers[FAILED] else ""
    cells = "1 cell" if len(states) == 1 else f"{len(states)} cells"
    return f"{cells}: {numbers[DONE]} done, {left} left{failed}."


def plan_text(
    cells: Sequence[Cell],
    states: Sequence[str],
    rows: Sequence[Row] = (),
    workload: Callable[..., Workload] | None = None,
    measure: Callable[[Plan, Workload], float] | None = None,
) -> str:
    """Return the whole plan: the count, a table of tasks and methods, and the total of what is left.

    Args:
        cells: the cells of the grid.
        states: the state of each; "finished" and "failed" are counted separately from the others.
        rows: finished runs, from which to estimate.
        workload: plan -> the work of its run; by default `Workloads`, which read prompts.
        measure: times a run that is left to do; without it, rows or a formula give the time.

    Raises:
        DataError: data that are at hand cannot be used, so that every run with them would fail.
    """
    lines = list(_lines(cells, states, rows, workload or Workloads(), measure))
    head = [counted(states), ""]
    table = tabulate(
        [HEAD, *(_columns(line) for line in lines)],
        tablefmt="plain",  # the narrowest: 80 columns for a small grid
        disable_numparse=True,
        colalign=["left", "left", *["right"] * (len(HEAD) - 2)],
    )
    return "\n".join([*head, table, "", *_remarks(lines)])


def _lines(
    cells: Sequence[Cell],
    states: Sequence[str],
    rows: Sequence[Row],
    workload: Callable[..., Workload],
    measure: Callable[[Plan, Workload], float] | None,
) -> Iterator[Line]:
    def group(pair: tuple[Cell, str]) -> str:
        return pair[0].plan.cell_hash

    pairs = sorted(zip(cells, states, strict=True), key=group)
    first = {cell.plan.cell_hash: k for k, cell in reversed(list(enumerate(cells)))}
    groups = [(key, list(members)) for key, members in groupby(pairs, group)]
    bar = progress("measuring", "kind", len(groups), hidden=not measure)
    for _, members in sorted(groups, key=lambda found: first[found[0]]):
        alike = [cell for cell, _ in members]
        plan = alike[0].plan
        work, unknown = None, ""
        try:
            work = workload(plan)
        except DataError as error:
            if plan.at_hand():
                raise
            unknown = str(error)
        done = sum(state == DONE for _, state in members)
        needs = estimate(plan, work, rows) if work else None
        if measure and work and needs and done < len(members):
            needs = replace(needs, seconds=measure(plan, work), source="measured")
        bar.update()
        yield Line(_name(alike[0]), alike, done, work, needs, unknown)


def _name(cell: Cell) -> str:
    """Return the method of a cell, with the words that distinguish it besides task, method, variant and seed."""
    names = cell.plan.cell
    method = f"{names['method']}/{names['variant']}" if names["variant"] else names["method"]
    shown = ("task=", "method=", "variant=", "seed=")
    return " ".join([method, *(w for w in cell.name.split() if not w.startswith(shown))])


def _columns(line: Line) -> list[str]:
    plan, work, needs = line.cells[0].plan, line.work, line.needs
    said = [plan.cell["task"], line.name, f"{line.done}/{len(line.cells)}"]
    if not work or not needs:
        return [*said, "?", "?", "?", "?", f"{plan.trainable:,}", "?", "?", "?", "?"]
    cut = f"{100 * work.prompts.cut:.0f} %" if work.prompts else "-"
    mark = MARKS[needs.source]
    return [
        *said,
        *(f"{work.sizes[split]:,}" for split in ("train", "dev", "test")),
        f"{work.steps:,}",
        f"{plan.trainable:,}",
        cut,
        mark + duration(needs.seconds),
        mark + mebibytes(needs.memory_mib),
        mebibytes(needs.disk_mib + needs.checkpoint_mib),
    ]


def _remarks(lines: Sequence[Line]) -> Iterator[str]:
    known = [(len(line.cells) - line.done, line.needs) for line in lines if line.needs]
    left = [(count, needs) for count, needs in known if count]
    hours = sum(count * needs.seconds for count, needs in left)
    stays = sum(count * needs.disk_mib for count, needs in left)
    device = lines[0].cells[0].plan.device
    unknown = dict.fromkeys(line.unknown for line in lines if line.unknown)
    if left or not unknown:
        yield (
            f"Left{', besides what is unknown' if unknown else ''}: about {duration(hours)} if one run follows "
            f"another on {device}, {mebibytes(stays)} on disk, "
            f"{mebibytes(max((needs.memory_mib for _, needs in left), default=0))} of memory at most."
        )
    yield from (f"?: unknown. {reason}" for reason in unknown)
    yield "trained: parameters. time, memory, disk: of one run, if nothing stops it early; disk includes a checkpoint."
    used = {needs.source for _, needs in known}
    if used:
        yield "; ".join(words for source, words in LEGEND.items() if source in used) + "."
    reasons = dict.fromkeys(line.work.unread for line in lines if line.work and line.work.unread)
    if any(line.work and line.work.prompts for line in lines):
        yield "cut: share of the prompts in a sample that lose tokens so that the longest answer fits."
    for reason in reasons:
        yield f"cut: a dash means not counted: {reason}."


def duration(seconds: float) -> str:
    """Return "40 s", "12 min", "3.5 h" or "12 d"."""
    for size, unit, most in ((1, "s", 100), (60, "min", 100), (3600, "h", 48)):
        if seconds < most * size:
            digits = 1 if unit == "h" and seconds < 10 * size else 0
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds / 86400:,.0f} d"


def mebibytes(size: float) -> str:
    """Return "12 MiB" or "3.5 GiB"."""
    return f"{size:,.0f} MiB" if size < 1000 else f"{size / 1024:,.1f} GiB"
