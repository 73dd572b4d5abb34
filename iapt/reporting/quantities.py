"""The paper's quantities other than scores: sizes of methods and of data sets."""

from collections.abc import Mapping, Sequence
from typing import Any

from iapt.reporting.places import NOT_PRINTED
from iapt.reporting.render import DASH, Document, Entry, Grid, Line
from iapt.reporting.spec import MAIN_BACKBONE, load, load_table
from iapt.results.cells import Cell
from iapt.tasks.base import SPLITS, Split

SIZES = ("trained", "stored", "active_at_decode")
PARAMS_INTRO = (
    'Scalars, counted on modules that are built without weights. Paper: its column "Tunable Params" '
    "(Table 1, LLaMA-2 7B). Counted: ours by that column's rule, which counts weight matrices but neither "
    "latents nor biases, and pruned methods at their target. Trained: all that the optimizer "
    "updates. Stored: the content of a saved adapter, with the structure that a search found. Active at "
    "decode: used in every decoding step; soft tokens are in the cache by then.",
    'A method whose size depends on training has a second line, "at the end": its budget.',
)
TABLE6_INTRO = (
    "Rows per split, ours [the paper's]. Ours follow from the split rules and the released data, "
    "whose sizes are pinned in configs/task/ and checked after every download."
)
Counts = Mapping[str, Any]


def params_table(counts: Mapping[str, Mapping[str, Counts]]) -> Document:
    """Lay out the sizes of methods, one grid per backbone, in the order of Table 1, and those that it lacks last.

    Args:
        counts: Backbone -> method entry -> `counted`, `reading` and, for each of `SIZES`, [at the
            start, at the end]; or `refused`, the reason why it cannot be built.
    """
    table = load_table("table1")
    printed = {line.method: line for line in table.lines}
    title = "Parameters of every method on every backbone"
    document = Document(
        "params", title, list(PARAMS_INTRO), notes=[*table.paper_notes, *table.notes]
    )
    heads = ("Method", "Paper", "Counted", "Trained", "Stored", "Active at decode", "How counted")
    for backbone in sorted(counts, key=lambda name: (name != MAIN_BACKBONE, name)):
        found = counts[backbone]
        names = [name for name in printed if name in found]
        lines: list[Line] = []
        others = sorted(set(found) - set(names))
        for name in [*names, *others]:
            if others and name == others[0]:
                lines.append(NOT_PRINTED)
            line = printed.get(name)
            paper = line.params if line and backbone == MAIN_BACKBONE else None
            lines += _size_lines(line.label if line else name, paper, found[name])
            document.records.append(_size_record(backbone, name, paper, found[name]))
        document.grids.append(Grid(heads, lines, backbone))
    return document


def _size_lines(label: str, paper: float | None, counts: Counts) -> list[list[str]]:
    printed = DASH if paper is None else f"{paper:.1f}M"
    if "refused" in counts:
        return [[label, printed, *[DASH] * (1 + len(SIZES)), counts["refused"]]]
    start = [f"{counts[field][0]:,}" for field in SIZES]
    end = [f"{counts[field][1]:,}" for field in SIZES]
    lines = [[label, printed, f"{counts['counted']:,}", *start, counts["reading"] or DASH]]
    return lines if end == start else [*lines, [f"{label}, at the end", "", "", *end, ""]]


def _size_record(
    backbone: str, name: str, paper: float | None, counts: Counts
) -> Mapping[str, object]:
    return {
        "table": "params",
        "backbone": backbone,
        "method": name,
        "paper_millions": paper,
        "counted": counts.get("counted"),
        **{
            f"{field}_{when}": counts[field][i] if field in counts else None
            for field in SIZES
            for i, when in enumerate(("initial", "final"))
        },
        "reading": counts.get("reading", counts.get("refused")),
    }


def sizes_table(
    cells: Sequence[Cell], released: Mapping[str, tuple[Mapping[Split, int], str]]
) -> Document:
    """Build Table 6: what our split rules make of the released data, beside the paper's sizes.

    Args:
        cells: Runs; those on hub data that disagree with the rules get a note, those on other data are listed.
        released: For each task, the number of rows in each split, and how the splits are made.
    """
    raw = load("table6")
    document = Document("table6", raw["title"], [TABLE6_INTRO], notes=list(raw["notes"]))
    lines: list[Line] = []
    others: list[Line] = []
    for line in raw["lines"]:
        label, task = line["label"], line["task"]
        rules, how = released.get(task, ({}, ""))
        ours = tuple(rules.get(split) for split in SPLITS)
        printed = tuple(map(str, line["sizes"]))
        entries = [Entry(_size(n), paper=text) for n, text in zip(ours, printed, strict=True)]
        lines.append([label, *entries, how, line["metric"]])
        for data, seen in _seen(task, cells):
            if data != "hub":
                others.append([label, data, *map(_size, seen)])
            elif seen != ours:
                document.notes.append(
                    f"{label}: a run on hub data had {' / '.join(map(_size, seen))} rows, "
                    f"the rules make {' / '.join(map(_size, ours))}"
                )
        papers = {f"paper_{split}": text for split, text in zip(SPLITS, printed, strict=True)}
        sizes: dict[str, object] = dict(zip(SPLITS, ours, strict=True))
        document.records.append({"table": "table6", "task": task, **sizes, **papers})
    heads = ("Data set", "Train", "Dev", "Test", "How", "Metric")
    document.grids.append(Grid(heads, lines))
    if others:
        other_heads = ("Data set", "Data", "Train", "Dev", "Test")
        document.grids.append(Grid(other_heads, others, "Runs on other data"))
    return document


def _seen(task: str, cells: Sequence[Cell]) -> list[tuple[str, tuple[int | None, ...]]]:
    """Return the distinct pairs of data name and split sizes among runs without a limit."""
    found = [
        (cell.data, tuple(row.data.sizes.get(split) for split in SPLITS))
        for cell in cells
        if cell.task == task and not cell.limited
        for row in cell.rows
        if row.data.sizes
    ]
    return list(dict.fromkeys(found))


def _size(size: int | None) -> str:
    return DASH if size is None else f"{size:,}"
