"""What the literature says about IAPT and its baselines: printed figures of several papers, and where they disagree.

The figures are in ``paper/ledger.yaml``, and the paper's own in its tables. Nothing here is computed from rows,
and no figure of one paper can be subtracted from another's: sizes, splits and decoding differ.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from iapt.reporting.render import DASH, Document, Grid
from iapt.reporting.spec import MAIN_BACKBONE, load, load_table, paper_lines
from iapt.results.statistics import attainable

TITLE = "What papers print for the same methods on LLaMA-2 7B"
INTRO = (
    "Figures as printed, with the tunable parameters of the method. They are not comparable across papers, "
    "which differ in sizes, splits and decoding; what can be compared is the order of two methods within "
    "each paper."
)
AVERAGE = "average"


@dataclass(frozen=True)
class Printed:
    """One printed figure.

    Attributes:
        paper: Label of the paper that prints it.
        task: The task, or `AVERAGE` over the tasks of the paper's table.
        params: Tunable parameters of the method, in millions.
        possible: Whether it can be an accuracy on the test split; None if the split is not known.
    """

    paper: str
    method: str
    task: str
    value: float
    params: float | None
    possible: bool | None

    @property
    def text(self) -> str:
        """The figure for a table: value, dagger if it is impossible, size of the method."""
        size = "" if self.params is None else f" ({self.params:.1f}M)"
        return f"{self.value:.1f}{'†' if self.possible is False else ''}{size}"


@cache
def printed() -> tuple[Printed, ...]:
    """Return all figures, those of IAPT's own paper first."""
    return (*_own(), *_others())


def ledger() -> Document:
    """Lay out where papers disagree, all figures that several papers have, and the sources."""
    lines = [[raw["label"], raw["source"], raw["setting"]] for raw in _sources_of()]
    sources = Grid(["Paper", "Source", "Setting"], lines, "Sources")
    document = Document("ledger", TITLE, [INTRO], [disagreements(), in_several(), sources])
    document.notes += [f"{raw['label']}: {note}" for raw in _sources_of() for note in raw["notes"]]
    document.notes += list(_unattainable())
    origin = {raw["label"]: raw for raw in _sources_of()}
    document.records = [
        {
            "paper": each.paper,
            "source": origin[each.paper]["source"],
            "setting": origin[each.paper]["setting"],
            "backbone": MAIN_BACKBONE,
            "method": each.method,
            "params_millions": each.params,
            "task": each.task,
            "value": each.value,
            "attainable": each.possible,
        }
        for each in printed()
    ]
    return document


def disagreements() -> Grid:
    """Lay out the lead of one method over another in each paper, and whether the papers agree on the order."""
    left, right = map(_method, load("ledger")["compared"])
    leads = {paper: found for paper in _papers() if (found := _leads(paper))}
    lines = []
    for task in _tasks():
        here = [leads[paper].get(task) for paper in leads]
        if any(lead is not None for lead in here):
            texts = [DASH if lead is None else f"{lead:+.1f}" for lead in here]
            lines.append([_label(task), *texts, _agreement(here)])
    counts = []
    for found in leads.values():
        tasks = [lead for task, lead in found.items() if task != AVERAGE]
        counts.append(f"{sum(lead > 0 for lead in tasks)} of {len(tasks)}")
    lines.append([f"Tasks on which {left} is ahead", *counts, ""])
    head = f"{left} minus {right} in each paper that has both"
    return Grid(["Task", *leads, "Papers"], lines, head)


def in_several() -> Grid:
    """Lay out the figures of every method and task that more than one paper has."""
    lines = []
    for task, method in product(_tasks(), dict.fromkeys(each.method for each in printed())):
        found = {p.paper: p for p in printed() if (p.task, p.method) == (task, method)}
        if len(found) < 2:
            continue
        values = [each.value for each in found.values()]
        texts = [found[paper].text if paper in found else DASH for paper in _papers()]
        apart = f"{max(values) - min(values):.1f}"
        lines.append([_label(task), _method(method), *texts, apart])
    head = "The same method, task and model in several papers"
    return Grid(["Task", "Method", *_papers(), "Apart"], lines, head)


def _unattainable() -> Iterator[str]:
    for paper, task in product(_papers()[1:], _tasks()):
        here = [p for p in printed() if (p.paper, p.task) == (paper, task)]
        wrong = [p for p in here if p.possible is False]
        if wrong:
            sizes = " or ".join(map(str, load("ledger")["tasks"][task]["sizes"]))
            values = ", ".join(f"{p.value:.1f} ({_method(p.method)})" for p in wrong)
            yield (
                f"† {paper}, {_label(task)}: {len(wrong)} of the {len(here)} values here cannot be an "
                f"accuracy on {sizes} test rows: {values}."
            )


def _own() -> Iterator[Printed]:
    paper = load("ledger")["own"]["label"]
    for name in ("table1", "table2"):
        table = load_table(name)
        for line in (line for line in table.lines if not line.repeats):
            for column, value in zip(table.columns, line.values, strict=True):
                if value is not None:
                    possible = column.possible(value) if column.sizes else None
                    yield Printed(paper, line.method, column.task, value, line.params, possible)


def _others() -> Iterator[Printed]:
    for raw in load("ledger")["papers"]:
        for line in raw["lines"]:
            found = dict(zip(raw["tasks"], line["values"], strict=True)) if "values" in line else {}
            for task, value in {**found, AVERAGE: line.get(AVERAGE)}.items():
                if value is not None:
                    sizes = load("ledger")["tasks"].get(task, {}).get("sizes", ())
                    possible = any(attainable(value, n) for n in sizes) if sizes else None
                    yield Printed(
                        raw["label"], line["method"], task, value, line.get("params"), possible
                    )


def _leads(paper: str) -> dict[str, float]:
    """Return task -> left minus right, for the tasks on which a paper prints both of the compared methods."""
    left, right = load("ledger")["compared"]
    found = {(p.method, p.task): p.value for p in printed() if p.paper == paper}
    tasks = [task for method, task in found if method == left and (right, task) in found]
    return {task: found[left, task] - found[right, task] for task in tasks}


def _agreement(leads: Sequence[float | None]) -> str:
    known = [(lead > 0) - (lead < 0) for lead in leads if lead is not None]
    if len(known) < 2:
        return "one paper"
    return "disagree" if len(set(known)) > 1 else "agree"


def _sources_of() -> list[dict[str, Any]]:
    raw = load("ledger")
    return [raw["own"], *raw["papers"]]


def _papers() -> list[str]:
    return [raw["label"] for raw in _sources_of()]


def _tasks() -> Sequence[str]:
    return sorted(dict.fromkeys(p.task for p in printed()), key=lambda task: task == AVERAGE)


def _label(task: str) -> str:
    if task == AVERAGE:
        return "Average of its tasks"
    columns = (column for name in ("table1", "table2") for column in load_table(name).columns)
    known = {column.task: column.label for column in columns}
    return str(load("ledger")["tasks"].get(task, {}).get("label") or known[task])


def _method(name: str) -> str:
    label = next(line.label for line in paper_lines() if line.method == name)
    return label.partition(" (")[0]
