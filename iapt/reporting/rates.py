"""Learning rates: the score of each method at each rate tried, and its best rate.

The lowest dev loss chooses the rate, never the test score.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from iapt.reporting import measures
from iapt.reporting.choose import comparable
from iapt.reporting.measures import Standing
from iapt.reporting.render import DASH, Document, Entry, Grid, Line
from iapt.reporting.spec import load
from iapt.reporting.summary import Section, sections
from iapt.results.cells import Cell
from iapt.results.row import number

PAPER_RATE: float = load("setting")["hparams"]["lr"]  # Appendix F
INTRO = (
    "Dev loss: the lowest of the run, in nats per response token. The best rate is the one with the "
    "lowest dev loss; the test scores had no part in it."
)
RUNNING = ("seconds_per_step", "peak_memory_mib")
MEASURED = ("dev_loss", "dev_accuracy", *measures.SCORES, "test_n", *measures.COSTS)


@dataclass(frozen=True)
class Tried:
    """One method at one rate."""

    cell: Cell
    rate: float
    loss: float

    @property
    def test(self) -> str:
        """Its median test score."""
        return measures.number(Standing(self.cell, ()).median, 1)

    def texts(self, *names: str) -> list[str]:
        """Format some measures of its cell."""
        return measures.texts(names, Standing(self.cell, ()))


def rates_document(cells: Sequence[Cell]) -> Document:
    """Lay out every setting and task in which a method has rows at two or more rates."""
    document = Document("rates", "Learning rates tried", [INTRO])
    for section in sections(cells):
        for task in section.tasks:
            here = [cell for cell in section.cells if cell.task == task]
            shown, left_out = comparable(here, per_numbers=True)
            kept = _alike(shown)
            tried = _tried(kept)
            if any(len(rates) > 1 for rates in tried.values()):
                document.grids.append(_best_grid(section, task, tried))
                document.details.append(_every_grid(section, task, tried))
                document.records += _records(section, task, tried)
                document.notes += [*_notes(section, task, tried), *left_out]
                document.notes += _other_values(cell for cell in shown if cell not in kept)
    if not document.grids:
        document.intro.append("No method has rows at two rates of one setting yet.")
        document.commands.append(
            "iapt-sweep +experiment=lr_grid method=all hparams.lr=1e-4,5e-4,2e-3 seed=0 data=<folder>"
        )
    return document


def _tried(cells: Sequence[Cell]) -> dict[str, list[Tried]]:
    found: dict[str, list[Tried]] = {}
    for cell in cells:
        rate = number(cell.rows[0].setting("hparams", "lr"))
        loss = cell.typical(lambda row: row.dev.best_loss)
        if rate is not None and loss is not None:
            found.setdefault(cell.name, []).append(Tried(cell, rate, loss))
    return {name: sorted(each, key=lambda t: t.rate) for name, each in found.items()}


def _alike(cells: Sequence[Cell]) -> list[Cell]:
    """Keep the cells of each method that differ only in the rate; of several such groups, the largest."""
    groups: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        row = cell.rows[0]
        rates = row.setting("hparams")
        others = {k: v for k, v in rates.items() if k != "lr"} if isinstance(rates, dict) else rates
        rest = json.dumps([row.setting("method"), others], sort_keys=True)
        groups.setdefault(cell.name, {}).setdefault(rest, []).append(cell)
    return [cell for found in groups.values() for cell in max(found.values(), key=len)]


def _other_values(cells: Iterable[Cell]) -> Iterator[str]:
    for name, count in Counter(cell.name for cell in cells).items():
        yield (
            f"Left out: {count} rates of {name}, whose method's values or other hyperparameters are not those of most."
        )


def _best(each: Sequence[Tried]) -> Tried:
    return min(each, key=lambda t: t.loss)


def _best_grid(section: Section, task: str, tried: Mapping[str, Sequence[Tried]]) -> Grid:
    lines = []
    for name, each in tried.items():
        best = _best(each)
        paper = next((t.test for t in each if t.rate == PAPER_RATE), DASH)
        found = [*best.texts("trained_params"), paper, f"{best.rate:g}", best.test]
        lines.append([name, *found, *best.texts(*RUNNING)])
    heads = ("Method", "Trained", f"Test, rate {PAPER_RATE:g}", "Best rate", "Test there")
    return Grid([*heads, *measures.heads(RUNNING)], lines, f"{task}: {section.title}")


def _every_grid(section: Section, task: str, tried: Mapping[str, Sequence[Tried]]) -> Grid:
    lines: list[Line] = []
    for name, each in tried.items():
        for t in each:
            loss = Entry(f"{t.loss:.3f}", "best" if t is _best(each) else "")
            found = [*t.texts("dev_accuracy"), t.test, *t.texts(*RUNNING)]
            lines.append([name, f"{t.rate:g}", loss, *found])
    heads = ("Method", "Rate", "Dev loss", "Dev accuracy", "Test", *measures.heads(RUNNING))
    return Grid(heads, lines, f"{task}: every rate, setting {section.setting}")


def _notes(section: Section, task: str, tried: Mapping[str, Sequence[Tried]]) -> Iterator[str]:
    """Note the rows behind the numbers, and the methods whose best rate is the smallest or largest tried."""
    rows = [row for each in tried.values() for t in each for row in t.cell.rows]
    seeds = ", ".join(map(str, sorted({row.cell.seed for row in rows})))
    counts = {"steps": [row.steps for row in rows if row.steps is not None],
              "test rows": [row.scores.n for row in rows]}  # fmt: skip
    spans = ", ".join(
        f"{what} {' to '.join(map(str, dict.fromkeys((min(found), max(found)))))}"
        for what, found in counts.items()
        if found
    )
    yield f"{task}, setting {section.setting}: seeds {seeds}; {spans}."
    for end, more, place in (("smallest", "smaller", 0), ("largest", "larger", -1)):
        edge = [n for n, each in tried.items() if len(each) > 1 and _best(each) is each[place]]
        if edge:
            yield f"{task}: the {end} rate tried is the best of {', '.join(edge)}; a {more} one might do better."


def _records(
    section: Section, task: str, tried: Mapping[str, Sequence[Tried]]
) -> Iterator[Mapping[str, object]]:
    for name, each in tried.items():
        for t in each:
            yield {
                "task": task,
                "backbone": section.backbone,
                "data": section.data,
                "setting": section.setting,
                "method": name,
                "rate": t.rate,
                "best": t is _best(each),
                **measures.record([*MEASURED, "run_ids"], Standing(t.cell, ())),
            }
