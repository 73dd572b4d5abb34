"""Tables 4 and 6 of the paper: not made of scores, so each has its own shape."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from iapt.reporting.render import DASH, Document, Entry, Grid
from iapt.reporting.spec import load
from iapt.results.cells import Cell
from iapt.tasks.base import SPLITS, Split


def efficiency_table(measured: Path) -> Document:
    """Build Table 4: the paper's speed and memory, and ours where iapt-bench has measured them alike.

    Args:
        measured: what `iapt-bench` wrote for the table's backbone; it need not be there. A measurement
            on a CPU or of other lengths is left out, and a note says so.
    """
    raw = load("table4")
    ours, note = _measured(measured, raw["tokens"])
    lines: list[Sequence[Entry | str] | str] = []
    records: list[Mapping[str, object]] = []
    for line in raw["lines"]:
        found = ours.get((line["method"], line["beams"]), (None, None))
        entries = [
            Entry(DASH if number is None else f"{number:{form}}", paper=f"{value:g}")
            for number, form, value in zip(found, (".1f", ".0f"), line["values"], strict=True)
        ]
        lines.append([line["label"], str(line["beams"]), *entries])
        records.append(
            {
                "table": "table4",
                "method": line["method"],
                "beams": line["beams"],
                "tokens_per_second": found[0],
                "memory_mib": found[1],
                "paper_tokens_per_second": line["values"][0],
                "paper_memory_mib": line["values"][1],
            }
        )
    return Document(
        "table4",
        raw["title"],
        intro=[f"Ours [the paper's]; {DASH} is a missing value."],
        grids=[Grid(raw["head"], lines)],
        notes=[*raw["notes"], *note],
        records=records,
        commands=[] if ours else [raw["command"]],
    )


def _measured(
    path: Path, tokens: Mapping[str, int]
) -> tuple[dict[tuple[str, int], tuple[float | None, float | None]], list[str]]:
    """(method, beams) -> (tokens per second, MiB), and what is to be said about it."""
    if not path.is_file():
        return {}, []
    try:
        decode = json.loads(path.read_text(encoding="utf-8"))["decode"]
        device = str(decode["device"])
        lengths = {name: decode.get(name) for name in tokens}
        if lengths != tokens or not device.startswith("cuda"):
            return {}, [f"{path} was measured on {device} with {lengths}, so it is not shown."]
        rows = {
            (str(row["what"]), int(row["num_beams"])): (row["tokens_per_second"], row["peak_mib"])
            for row in decode["rows"]
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return {}, [f"{path} is not a file of iapt-bench ({error!r})."]
    return rows, [f"Ours: {path}, commit {decode.get('git', {}).get('commit', 'unknown')}."]


def sizes_table(
    cells: Sequence[Cell], released: Mapping[str, tuple[Mapping[Split, int], str]]
) -> Document:
    """Build Table 6: what our split rules make of the released data, the paper's sizes beside.

    Args:
        cells: runs; those on hub data must agree with the rules, those on other data are listed.
        released: for each task the rows of its splits, and how they are made.
    """
    raw = load("table6")
    lines, others, notes = [], [], list(raw["notes"])
    records: list[Mapping[str, object]] = []
    for line in raw["lines"]:
        task = line["task"]
        sizes, how = released.get(task, ({}, ""))
        ours = tuple(sizes.get(split) for split in SPLITS)
        printed = tuple(map(str, line["sizes"]))
        entries = [Entry(_size(n), paper=text) for n, text in zip(ours, printed, strict=True)]
        lines.append([line["label"], *entries, how, line["metric"]])
        for data, seen in _seen_sizes(task, cells):
            if data != "hub":
                others.append([line["label"], data, *map(_size, seen)])
            elif seen != ours:
                notes.append(
                    f"{line['label']}: a run on hub data had {' / '.join(map(_size, seen))} rows, "
                    f"the rules make {' / '.join(map(_size, ours))}"
                )
        papers = {f"paper_{split}": text for split, text in zip(SPLITS, printed, strict=True)}
        counts: dict[str, object] = dict(zip(SPLITS, ours, strict=True))
        records.append({"table": "table6", "task": task, **counts, **papers})
    document = Document(
        "table6",
        raw["title"],
        intro=[
            "Rows per split, ours [the paper's]. Ours are what the split rules make of the released "
            "data, whose sizes are pinned in configs/task/ and checked after every download."
        ],
        grids=[Grid(("Data set", "Train", "Dev", "Test", "How", "Metric"), lines)],
        notes=notes,
        records=records,
    )
    if others:
        head = ("Data set", "Data", "Train", "Dev", "Test")
        document.grids.append(Grid(head, others, "Runs on other data"))
    return document


def _seen_sizes(task: str, cells: Sequence[Cell]) -> list[tuple[str, tuple[float | None, ...]]]:
    """Return the data and the sizes of the runs without a limit, each once."""
    found: dict[tuple[str, tuple[float | None, ...]], None] = {}
    for cell in cells:
        if cell.task == task and not cell.limited:
            for row in cell.rows:
                sizes = tuple(row.data.sizes.get(split) for split in SPLITS)
                if any(size is not None for size in sizes):
                    found[cell.data, sizes] = None
    return list(found)


def _size(size: float | None) -> str:
    return DASH if size is None else f"{size:,.0f}"
