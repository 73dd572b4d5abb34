"""Learning rates: what each method reaches at each rate that was tried, and the best of them by dev loss.

A rate is chosen by the lowest dev loss, never by the test score beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from iapt.reporting.entries import count_text, median_text
from iapt.reporting.render import DASH, Document, Entry, Grid
from iapt.reporting.summary import Section, sections
from iapt.results.cells import Cell
from iapt.results.row import Row, number

PAPER_RATE = 1e-4  # Appendix F
HEAD = ("Method", "Rate", "Dev loss", "Dev accuracy", "Test", "s/step", "Peak MiB")
BEST_HEAD = (
    "Method",
    "Trained",
    "Test, rate 1e-4",
    "Best rate",
    "Test there",
    "s/step",
    "Peak MiB",
)


@dataclass(frozen=True)
class Tried:
    """One method at one rate."""

    cell: Cell
    rate: float
    loss: float

    @property
    def test(self) -> str:
        """Its median test score."""
        return median_text(list(self.cell.scores().values()), len(self.cell.rows))

    def number(self, read: Callable[[Row], float | None], digits: int) -> str:
        """A median over its rows, or a dash."""
        value = self.cell.typical(read)
        return DASH if value is None else f"{value:.{digits}f}"


def rates_document(cells: Sequence[Cell]) -> Document:
    """Lay out every setting and task in which some method has rows at two rates or more."""
    document = Document(
        "rates",
        "Learning rates tried",
        intro=[
            "Dev loss: the lowest of the run, in nats per response token. The best rate is the one with the "
            "lowest dev loss; the test scores had no part in it."
        ],
    )
    for section in sections(cells):
        for task in dict.fromkeys(cell.task for cell in section.cells):
            tried = _tried([cell for cell in section.cells if cell.task == task])
            if any(len(rates) > 1 for rates in tried.values()):
                document.grids += _grids(section, task, tried)
                document.records += _records(section, task, tried)
                document.notes += _note(section, task, tried)
    if not document.grids:
        document.intro.append("No method has rows at two rates of one setting yet.")
        document.commands.append(
            "iapt-sweep +experiment=lr_grid method=all hparams.lr=1e-4,5e-4,2e-3 seed=0 data=<folder>"
        )
    return document


def _tried(cells: Sequence[Cell]) -> dict[str, list[Tried]]:
    found: dict[str, list[Tried]] = {}
    for cell in cells:
        rate, loss = (
            cell.typical(lambda row: number(row.setting("hparams", "lr"))),
            cell.typical(lambda row: row.dev.best_loss),
        )
        if rate is not None and loss is not None:
            found.setdefault(cell.name, []).append(Tried(cell, rate, loss))
    return {name: sorted(each, key=lambda t: t.rate) for name, each in found.items()}


def _best(each: Sequence[Tried]) -> Tried:
    return min(each, key=lambda t: t.loss)


def _grids(section: Section, task: str, tried: Mapping[str, Sequence[Tried]]) -> list[Grid]:
    best_lines: list[Sequence[Entry | str] | str] = []
    lines: list[Sequence[Entry | str] | str] = []
    for name, each in tried.items():
        best = _best(each)
        paper = next((t.test for t in each if t.rate == PAPER_RATE), DASH)
        best_lines.append(
            [
                name,
                count_text(best.cell.trained),
                paper,
                f"{best.rate:g}",
                best.test,
                best.number(lambda row: row.seconds.per_step, 2),
                best.number(lambda row: row.peak_memory_mib, 0),
            ]
        )
        lines += [
            [
                name,
                f"{t.rate:g}",
                Entry(f"{t.loss:.3f}", "best" if t is best else ""),
                t.number(lambda row: row.dev.best_accuracy, 1),
                t.test,
                t.number(lambda row: row.seconds.per_step, 2),
                t.number(lambda row: row.peak_memory_mib, 0),
            ]
            for t in each
        ]
    return [
        Grid(BEST_HEAD, best_lines, f"{task}: {section.title}"),
        Grid(HEAD, lines, f"{task}: every rate, setting {section.setting}"),
    ]


def _note(section: Section, task: str, tried: Mapping[str, Sequence[Tried]]) -> list[str]:
    """Say what the numbers rest on, and which methods are best at an end of what was tried."""
    every = [t for each in tried.values() for t in each]
    seeds = sorted({row.cell.seed for t in every for row in t.cell.rows})
    columns: dict[str, Callable[[Row], float | None]] = {
        "steps": lambda row: row.steps,
        "test rows": lambda row: row.scores.n,
    }
    numbers = {
        what: sorted({value for t in every if (value := t.cell.typical(read)) is not None})
        for what, read in columns.items()
    }
    said = ", ".join(
        f"{what} {' to '.join(f'{v:g}' for v in dict.fromkeys((values[0], values[-1])))}"
        for what, values in numbers.items()
        if values
    )
    notes = [f"{task}, setting {section.setting}: seeds {', '.join(map(str, seeds))}; {said}."]
    for end, more, place in (("smallest", "smaller", 0), ("largest", "larger", -1)):
        edge = [n for n, each in tried.items() if len(each) > 1 and _best(each) is each[place]]
        if edge:
            notes.append(
                f"{task}: the {end} rate tried is the best of {', '.join(edge)}; a {more} one might do better."
            )
    return notes


def _records(
    section: Section, task: str, tried: Mapping[str, Sequence[Tried]]
) -> list[Mapping[str, object]]:
    return [
        {
            "task": task,
            "backbone": section.backbone,
            "data": section.data,
            "setting": section.setting,
            "method": name,
            "rate": t.rate,
            "best": t is _best(each),
            "dev_loss": t.loss,
            "dev_accuracy": t.cell.typical(lambda row: row.dev.best_accuracy),
            "test": t.cell.typical(lambda row: row.scores.value),
            "test_n": t.cell.typical(lambda row: row.scores.n),
            "trained_params": t.cell.trained,
            "seconds_per_step": t.cell.typical(lambda row: row.seconds.per_step),
            "peak_memory_mib": t.cell.typical(lambda row: row.peak_memory_mib),
            "run_ids": " ".join(t.cell.run_ids),
        }
        for name, each in tried.items()
        for t in each
    ]
