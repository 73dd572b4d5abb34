"""What the split rules make of the released data, from configs/task/ alone (Table 6)."""

from collections.abc import Iterable

from iapt.configuration.catalog import entry
from iapt.tasks.base import Split


def released_splits(names: Iterable[str]) -> dict[str, tuple[dict[Split, int], str]]:
    """Return the sizes of each task's splits, and a sentence on how they are made; reads no data.

    Args:
        names: tasks of configs/task/.
    """
    from iapt.entries import build_row_task

    found = {}
    for name in names:
        task = build_row_task(entry("task", name))
        found[name] = task.released_sizes(), task.split_rule.sentence()
    return found
