"""Progress on the terminal: a bar that moves, or plain lines now and then where the output is a file."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

SECONDS = 30.0  # between two lines in a file


def progress(
    doing: str,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    *,
    delay: float = 0.0,
    hidden: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Any:
    """Return a progress bar with tqdm's `update`, `set_postfix_str`, `write` and `with`.

    Args:
        doing: what is being done, such as "training".
        unit: what is counted, such as "step".
        total: how many of them there are, if that is known.
        initial: how many are done already.
        delay: seconds before it first shows.
        hidden: show nothing, as in all processes of a run but the first.
        clock: tells the seconds.
    """
    if sys.stderr.isatty() or hidden:
        return tqdm(
            total=total,
            initial=initial,
            desc=doing,
            unit=unit,
            delay=delay,
            disable=hidden,
            dynamic_ncols=True,
        )
    return _Lines(doing, unit, total, initial, max(delay, SECONDS), clock)


@dataclass
class _Lines:
    """Writes a line to stderr every half minute, without carriage returns."""

    doing: str
    unit: str
    total: int | None
    done: int
    seconds: float
    clock: Callable[[], float]
    note: str = ""

    def __post_init__(self) -> None:
        self.initial, self.started = self.done, self.clock()
        self.said = self.started

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, n: int = 1) -> None:
        """Count n more."""
        self.done += n
        now = self.clock()
        if now - self.said < self.seconds or (self.total is not None and self.done >= self.total):
            return
        self.said = now
        said = f"{self.doing}: {self.done:,}"
        if self.total is None:
            said += f" {self.unit}s"
        else:
            pace = (now - self.started) / max(self.done - self.initial, 1)
            left = tqdm.format_interval(pace * (self.total - self.done))
            said += f" of {self.total:,} {self.unit}s, {pace:.2f} s each, {left} left"
        print(f"{said}, {self.note}" if self.note else said, file=sys.stderr, flush=True)

    def set_postfix_str(self, note: str) -> None:
        """Set a remark for the next line."""
        self.note = note

    def write(self, line: str) -> None:
        """Print a separate line."""
        print(line, flush=True)
