"""The paper's tables in another setting: the same layout, filled from the rows of one setting; titles state its scale.

The paper's values are left out, because no number of another model, length or data can be compared with them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from iapt.reporting.choose import Scope
from iapt.reporting.spec import MAIN_BACKBONE, Block, Table
from iapt.results.cells import Cell, count_of

MOST = 3  # left-out settings that are named


def settle(scope: Scope, cells: Sequence[Cell]) -> Scope:
    """Choose the one setting whose rows fill the tables of a scope other than the paper's.

    Returns:
        The scope, narrowed to the setting with the most cells (on real data, if there are any), with its
        scale in words and a line on what was left out. The paper's scope is returned as it is.
    """
    if scope.is_paper:
        return scope
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        if scope.names(cell) and cell.backbone == scope.main_backbone:
            groups.setdefault(cell.setting, []).append(cell)
    if not groups:
        return replace(scope, words=f"{scope.main_backbone}, hparams {scope.hparams}")
    best = max(groups, key=lambda name: _weight(groups[name]))
    others = {name: group for name, group in groups.items() if name != best}
    return replace(
        scope,
        setting=best,
        data=groups[best][0].data,
        words=scale_of(groups[best]),
        left_out=_left_out(best, others),
    )


def scale_of(cells: Sequence[Cell]) -> str:
    """Describe the scale of some cells: model, steps, batch, test rows.

    Example:
        ``SmolLM2-135M-Instruct, 100 steps of 8, 250 test rows``.
    """
    rows = [row for cell in cells for row in cell.rows]
    checkpoint = rows[0].backbone.checkpoint or rows[0].cell.backbone
    steps = _span(row.steps for row in rows)
    sample = rows[0].cell.data == "sample"
    batch = rows[0].setting("hparams", "batch_size")
    parts = [
        checkpoint.rpartition("/")[2],
        f"{steps} steps{f' of {batch}' if batch else ''}" if steps else "",
        f"{_span(row.scores.n for row in rows)} test rows{' of the sample' if sample else ''}",
    ]
    return ", ".join(filter(None, parts))


def at_scale(table: Table, scope: Scope, cells: Sequence[Cell]) -> Table:
    """Return a table as the scope shows it: complete in the paper's setting, its layout alone in any other.

    At a named scale, a task that is not in `table.small` has a column only if `cells` has rows of it.
    """
    if scope.is_paper:
        model = f", {table.model}" if table.model else ""
        return replace(table, title=table.title + model)
    columns = table.columns
    if scope.name and table.small:
        known = [c for c in cells if scope.takes(c) and any(x.names(c) for x in table.lines)]
        tasks = {c.task for c in known}
        more = (c for c in table.columns if c not in table.small and c.task in tasks)
        columns = (*table.small, *more)
    return replace(
        table,
        columns=columns,
        title=f"{table.title}, {scope.words} (not the paper's setting)",
        blocks=tuple(_emptied(block, scope, len(columns)) for block in table.blocks),
        compared=False,
    )


def _emptied(block: Block, scope: Scope, columns: int) -> Block:
    lines = tuple(
        replace(line, values=(None,) * columns, params=None)
        for line in block.lines
        if line.small or not scope.name
    )
    backbone = scope.main_backbone if block.backbone == MAIN_BACKBONE else block.backbone
    return replace(block, backbone=backbone, lines=lines)


def _weight(cells: Sequence[Cell]) -> tuple[bool, int, int, str]:
    rows = [row for cell in cells for row in cell.rows]
    real = cells[0].data != "sample"  # the sample is for trying things out
    return real, len(cells), len(rows), str(max(row.created for row in rows))


def _left_out(shown: str, groups: dict[str, list[Cell]]) -> str:
    """List in one line the settings of the same names that are not shown, the largest first."""
    if not groups:
        return ""
    order = sorted(groups.items(), key=lambda item: _weight(item[1]), reverse=True)
    named = [
        f"{name} ({count_of([row for cell in cells for row in cell.rows])}: {scale_of(cells)})"
        for name, cells in order[:MOST]
    ]
    more = [f"and {len(order) - MOST} more"] if len(order) > MOST else []
    listed = ", ".join([*named, *more])
    return f"This is setting {shown}. Left out: {listed}; setting=HASH shows one of these."


def _span(numbers: Iterable[int | None]) -> str:
    known = sorted({n for n in numbers if n is not None})
    return " to ".join(f"{n:,}" for n in dict.fromkeys((*known[:1], *known[-1:])))
