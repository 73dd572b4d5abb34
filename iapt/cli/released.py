"""What the split rules make of the released data, from configs/task/ alone (Table 6)."""

from collections.abc import Iterable

from iapt.cli.overrides import composed
from iapt.tasks.base import Split


def released_splits(names: Iterable[str]) -> dict[str, tuple[dict[Split, int], str]]:
    """Return for each task the rows of its splits and how they are made; reads no data.

    Args:
        names: tasks of configs/task/.
    """
    from iapt.plan import build_row_task

    found = {}
    for name in names:
        task = build_row_task(composed([], f"task/{name}")["task"])
        found[name] = task.released_sizes(), task.split_rule.sentence()
    return found
