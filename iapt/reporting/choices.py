"""What makes a method learn: its choices, changed one at a time, compared on the dev split over seeds.

``paper/open_choices.yaml`` lists them in groups, so that choices that the paper leaves open and extensions
of it stay apart. Test scores play no part.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby

from iapt.reporting.choose import comparable
from iapt.reporting.measures import marks, p_text
from iapt.reporting.render import DASH, Document, Entry, Grid, Line
from iapt.reporting.scale import scale_of
from iapt.reporting.spec import load
from iapt.results.cells import Cell, canonical
from iapt.results.comparison import adjusted
from iapt.results.crossed import UNBOUNDED, Estimate, crossed
from iapt.results.row import Row
from iapt.results.statistics import Interval

NAME = "open_choices"
HEADS = (
    *("Setting", "Seeds", "Dev loss (95 %)", "Minus the reference (95 %)", "p (Holm)"),
    *("Dev accuracy (95 %)", "Minus the reference (95 %)"),
)
INTRO = (
    "Dev loss: the lowest of a run, in nats per response token; dev accuracy: at that step. Each is a mean over "
    f"seeds with its t interval, the dev rows being the same for all. {DASH} marks what was not run."
)
RULE = (
    "A difference is from the reference, seed by seed; p is that of the loss, adjusted for its table. Bold: the "
    "lowest loss among lines with all seeds. A difference whose interval holds 0 may be chance."
)


@dataclass(frozen=True, eq=False)
class Choice:
    """One line of the table, and what the configuration of its rows must state.

    Attributes:
        group: The heading above it.
        where: Dotted name -> required value.
        reference: Whether the other lines are compared with it.
    """

    group: str
    label: str
    method: str
    where: Mapping[str, object]
    variant: str = ""
    reference: bool = False

    def names(self, cell: Cell) -> bool:
        """Return whether a cell belongs to this line."""
        if (cell.method, canonical(cell.variant)) != (self.method, canonical(self.variant)):
            return False
        row = cell.rows[0]
        return all(row.setting(*key.split(".")) == value for key, value in self.where.items())


class Measure:
    """A number of a row on the dev split, with the possible range of its mean."""

    def __init__(self, read: Callable[[Row], float | None], bounds: Interval, digits: int) -> None:
        self.read, self.bounds, self.digits = read, bounds, digits

    def by_seed(self, cell: Cell | None) -> dict[int, float]:
        """Return seed -> number."""
        rows = cell.rows if cell else ()
        return {row.cell.seed: value for row in rows if (value := self.read(row)) is not None}

    def both(
        self, cell: Cell | None, reference: Cell | None
    ) -> tuple[Estimate | None, Estimate | None]:
        """Return the mean over seeds, and the mean difference from a reference over common seeds."""
        ours, theirs = self.by_seed(cell), self.by_seed(reference)
        mean = crossed([[value] for value in ours.values()], (), self.bounds) if ours else None
        apart = [[ours[seed] - theirs[seed]] for seed in sorted(ours.keys() & theirs.keys())]
        return mean, crossed(apart) if apart and cell is not reference else None

    def text(self, found: Estimate | None, sign: str = "") -> str:
        """Format an estimate with its interval, or a dash."""
        if found is None:
            return DASH
        form = f"{{:{sign}.{self.digits}f}}"
        around = f" ({form} to {form})".format(*found.interval) if found.interval else ""
        return form.format(found.mean) + around


LOSS = Measure(lambda row: row.dev.best_loss, Interval(0.0, UNBOUNDED.high), 3)
ACCURACY = Measure(lambda row: row.dev.best_accuracy, Interval(0.0, 100.0), 1)


@dataclass(frozen=True)
class Tried:
    """A line at one length of training, with its cell if it was run."""

    choice: Choice
    cell: Cell | None
    loss: Estimate | None
    minus: Estimate | None
    accuracy: Estimate | None
    minus_accuracy: Estimate | None
    p_holm: float | None = None

    @property
    def seeds(self) -> set[int]:
        """The seeds that have a loss."""
        return set(LOSS.by_seed(self.cell))


@cache
def choices() -> tuple[Choice, ...]:
    """Return the lines in their order."""
    return tuple(
        Choice(group["label"], **line) for group in load(NAME)["groups"] for line in group["lines"]
    )


def choices_document(cells: Sequence[Cell]) -> Document:
    """Lay out every choice at each length of training, with dashes and a command for what was not run."""
    raw = load(NAME)
    document = Document(NAME, raw["title"], [INTRO, RULE])
    asked = [cell for cell in cells if cell.hparams == raw["hparams"]]
    for steps in raw["steps"]:
        here = [c for c in asked if c.rows[0].setting("hparams", "max_steps") == steps]
        shown, notes = comparable(here, per_numbers=True)
        document.notes += notes
        tried = _tried(shown)
        found = [t.cell for t in tried if t.cell]
        scale = f": {scale_of(found)}, {_dev_rows(found)} dev rows" if found else ""
        document.grids.append(_grid(f"{steps} steps{scale}", tried))
        document.records += [_record(steps, t) for t in tried]
        if any(set(raw["seeds"]) - t.seeds for t in tried):
            document.commands.append(
                f"iapt-sweep +experiment={NAME} hparams.max_steps={steps} data=FOLDER"
            )
    return document


def _tried(cells: Sequence[Cell]) -> list[Tried]:
    places = {
        choice: max(filter(choice.names, cells), key=lambda c: len(c.rows), default=None)
        for choice in choices()
    }
    reference = next(cell for choice, cell in places.items() if choice.reference)
    found = [
        Tried(choice, cell, *LOSS.both(cell, reference), *ACCURACY.both(cell, reference))
        for choice, cell in places.items()
    ]
    p_values = adjusted([t.minus.p if t.minus else None for t in found])
    return [replace(t, p_holm=p) for t, p in zip(found, p_values, strict=True)]


def _grid(title: str, tried: Sequence[Tried]) -> Grid:
    seeds = set(load(NAME)["seeds"])
    best = marks({t.choice: -t.loss.mean if t.loss and seeds <= t.seeds else None for t in tried})
    lines: list[Line] = []
    for group, members in groupby(tried, key=lambda t: t.choice.group):
        lines.append(group)
        for t in members:
            is_best = best.get(t.choice) == "best"
            fixed = "reference" if t.choice.reference else None
            lines.append(
                [
                    t.choice.label,
                    str(len(t.seeds)) if t.cell else DASH,
                    Entry(LOSS.text(t.loss), "best" if is_best else ""),
                    fixed or LOSS.text(t.minus, "+"),
                    p_text(t.p_holm),
                    ACCURACY.text(t.accuracy),
                    fixed or ACCURACY.text(t.minus_accuracy, "+"),
                ]
            )
    return Grid(HEADS, lines, title)


def _dev_rows(cells: Sequence[Cell]) -> str:
    sizes = sorted({row.data.sizes.get("dev", 0) for cell in cells for row in cell.rows})
    return " to ".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))


def _record(steps: int, t: Tried) -> dict[str, object]:
    return {
        "steps": steps,
        "group": t.choice.group,
        "setting": t.choice.label,
        "n_seeds": len(t.seeds),
        **_flat("dev_loss", t.loss),
        **_flat("minus_reference", t.minus),
        "p": t.minus and t.minus.p,
        "p_holm": t.p_holm,
        **_flat("dev_accuracy", t.accuracy),
        "run_ids": " ".join(t.cell.run_ids) if t.cell else "",
    }


def _flat(name: str, found: Estimate | None) -> dict[str, object]:
    interval = found and found.interval
    return {
        name: found and found.mean,
        f"{name}_low": interval and interval.low,
        f"{name}_high": interval and interval.high,
    }
