"""The mark on a score that needs a caveat, and the notes under a table that give it."""

from collections.abc import Iterable

from iapt.results.cells import Cell
from iapt.results.remarks import remarks

MARK = "‡"


def mark(cell: Cell) -> str:
    """Return the mark if the cell has remarks, otherwise an empty string."""
    return MARK if remarks(cell.rows) else ""


def footnotes(shown: Iterable[tuple[str, str, Cell]]) -> list[str]:
    """Explain the marks of a table; methods of one task with the same remarks share a note.

    Args:
        shown: The task, the method and the cell of each score in the table.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    for task, method, cell in shown:
        if said := "; ".join(remarks(cell.rows)):
            alike.setdefault((task, said), []).append(method)
    return [
        f"{MARK} {task}: {', '.join(dict.fromkeys(methods))}: {said}."
        for (task, said), methods in alike.items()
    ]
