"""Test examples over methods and seeds, the most disputed first: how many seeds of each method are right."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import fmean, pvariance

from iapt.errors import DataError
from iapt.results.cells import Cell
from iapt.results.row import Row
from iapt.results.run_folder import MOST_LINES, Prediction, predictions

RIGHT, WRONG, UNPARSED = "r", "w", "u"
FULL = 100.0  # the score of a right answer
MOST_ITEMS = 400  # of one table


@dataclass(frozen=True)
class Answer:
    """What the seeds of one method answered.

    Attributes:
        text: ``4/5`` for four of five seeds right, or the mean score if answers may be partly right.
        state: `RIGHT` if `share` is above one half; otherwise `UNPARSED` if most outputs have no answer, or `WRONG`.
        share: Mean score, 0 to 1.
        output: The output of the first seed that is not right; empty if all are, or without a run folder.
    """

    text: str
    state: str
    share: float
    output: str = ""


@dataclass(frozen=True)
class Item:
    """One test example; its texts come from files and are not trusted.

    Attributes:
        answers: One per method.
    """

    id: str
    instruction: str
    references: tuple[str, ...]
    answers: tuple[Answer, ...]

    @property
    def disputed(self) -> float:
        """The variance of the methods' scores."""
        return pvariance([answer.share for answer in self.answers])

    @property
    def states(self) -> list[str]:
        """Names for the filters: each method's state and column, and the state with `x` if all methods share it."""
        found = [f"{answer.state}{k}" for k, answer in enumerate(self.answers)]
        shared = {answer.state for answer in self.answers}
        return [*found, f"{shared.pop()}x"] if len(shared) == 1 else found


@dataclass(frozen=True)
class ItemView:
    """The test examples of one task.

    Attributes:
        methods: The column heads.
        items: Most disputed first.
        seeds: Rows per method, fewest and most.
        remarks: What is not shown.
    """

    task: str
    methods: tuple[str, ...]
    items: tuple[Item, ...]
    seeds: tuple[int, int]
    remarks: list[str] = field(default_factory=list)


def item_view(cells: Sequence[tuple[str, Cell]], runs: Path | None = None) -> ItemView | None:
    """Gather the examples of some cells of one task.

    Args:
        cells: Labels and cells; a cell without item scores, or not comparable with the first one that has
            them, is left out with a remark.
        runs: Folder of run folders, for texts; without it there are scores only.

    Returns:
        The examples, or None if no cell has item scores.
    """
    scored = [
        (label, cell, rows)
        for label, cell in cells
        if (rows := [row for row in cell.rows if row.scores.items])
    ]
    shown = [found for found in scored if found[1].basis == scored[0][1].basis]
    if not shown:
        return None
    texts = [[_texts(row, runs) for row in rows] for _, _, rows in shown]
    known = next((each for method in texts for each in method if each), None)
    count = shown[0][2][0].scores.n
    items = [
        Item(
            known[k].id if known else f"{k + 1}",
            known[k].instruction if known else "",
            known[k].references if known else (),
            tuple(
                _answer(k, rows, found) for (_, _, rows), found in zip(shown, texts, strict=True)
            ),
        )
        for k in range(count)
    ]
    items.sort(key=lambda item: -item.disputed)
    hidden = [label for label, _ in cells if label not in {label for label, _, _ in shown}]
    numbers = [len(rows) for _, _, rows in shown]
    return ItemView(
        shown[0][1].task,
        tuple(label for label, _, _ in shown),
        tuple(items[:MOST_ITEMS]),
        (min(numbers), max(numbers)),
        list(_remarks(count, hidden, known is None)),
    )


def _answer(k: int, rows: Sequence[Row], texts: Sequence[Sequence[Prediction]]) -> Answer:
    scores = [row.scores.items[k] for row in rows]
    outputs = [(score, found[k]) for score, found in zip(scores, texts, strict=True) if found]
    unparsed = sum(found.parsed is None for _, found in outputs)
    share = fmean(scores) / FULL
    state = RIGHT if share > 0.5 else UNPARSED if 2 * unparsed > len(scores) else WRONG
    whole = all(score in (0.0, FULL) for score in scores)
    text = f"{sum(s == FULL for s in scores)}/{len(scores)}" if whole else f"{100 * share:.0f}"
    output = next((found.output for score, found in outputs if score < FULL), "")
    return Answer(text, state, share, output)


def _texts(row: Row, runs: Path | None) -> list[Prediction]:
    """Return a run's predictions; none if its folder is missing or holds something else."""
    if runs is None or not (runs / row.run_id).is_dir():
        return []
    try:
        found = list(islice(predictions(runs / row.run_id, []), MOST_LINES))
    except DataError:
        return []
    return found if len(found) == row.scores.n else []


def _remarks(count: int, hidden: Sequence[str], textless: bool) -> Iterator[str]:
    if count > MOST_ITEMS:
        yield f"The {MOST_ITEMS} most disputed of {count:,} examples."
    if hidden:
        yield f"Without item scores of this test split: {', '.join(hidden)}."
    if textless:
        yield "Texts are in the run folders: iapt-report runs=FOLDER shows them."
