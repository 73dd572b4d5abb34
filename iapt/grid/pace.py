"""One line of progress over a whole grid, wherever its cells run."""

import time
from collections.abc import Sequence
from pathlib import Path

from iapt.grid.show import duration


def progress_line(number: int, rows: Sequence[Path], started: float, now: float = 0.0) -> str:
    """Return "cell 13 of 490 (12 done, 478 left, 3 min each, about 24 h left)".

    Args:
        number: the cell that begins, counted from 0.
        rows: the path of each cell's row, which may not exist yet.
        started: when the sweep began, in seconds since the epoch; the time per cell counts from then, over
            all workers together.
        now: the current time in seconds since the epoch; read from the clock by default.
    """
    written = [row.stat().st_mtime for row in rows if row.is_file()]
    left = len(rows) - len(written)
    new = sum(moment >= started for moment in written)
    line = f"cell {number + 1} of {len(rows)} ({len(written)} done, {left} left"
    if new and left:
        each = ((now or time.time()) - started) / new
        line += f", {duration(each)} each, about {duration(each * left)} left"
    return line + ")"
