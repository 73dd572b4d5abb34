"""Tables 4 and 6 of the paper: not made of scores, so each has its own shape."""

from collections.abc import Mapping, Sequence

from iapt.reporting.aggregate import Cell
from iapt.reporting.render import DASH, Document, Entry, Grid
from iapt.reporting.spec import load


def efficiency_table() -> Document:
    """Build Table 4: the paper's speed and memory; ours are dashes until iapt-bench fills them."""
    raw = load("table4")
    lines = [
        [
            line["label"],
            str(line["beams"]),
            *(Entry(DASH, paper=f"{value:g}") for value in line["values"]),
        ]
        for line in raw["lines"]
    ]
    records: list[Mapping[str, object]] = [
        {
            "table": "table4",
            "method": line["method"],
            "beams": line["beams"],
            "tokens_per_second": None,
            "memory_mib": None,
            "paper_tokens_per_second": line["values"][0],
            "paper_memory_mib": line["values"][1],
        }
        for line in raw["lines"]
    ]
    return Document(
        "table4",
        raw["title"],
        intro=[f"Ours [the paper's]; {DASH} is a missing value."],
        grids=[Grid(raw["head"], lines)],
        notes=list(raw["notes"]),
        records=records,
        commands=["iapt-bench +experiment=paper method=lora,iapt"],
    )


def sizes_table(cells: Sequence[Cell]) -> Document:
    """Build Table 6: split sizes of any run on the whole released data, the paper's beside."""
    raw = load("table6")
    lines, notes = [], list(raw["notes"])
    records: list[Mapping[str, object]] = []
    for line in raw["lines"]:
        seen = _seen_sizes(line["task"], cells)
        if len(seen) > 1:
            notes.append(
                f"{line['label']}: rows disagree about the sizes: "
                + "; ".join(" / ".join(map(_size, sizes)) for sizes in seen)
            )
        ours = seen[0] if len(seen) == 1 else (None, None, None)
        entries = [
            Entry(_size(size), paper=printed)
            for size, printed in zip(ours, map(str, line["sizes"]), strict=True)
        ]
        lines.append([line["label"], *entries, line["metric"]])
        records.append(
            {
                "table": "table6",
                "task": line["task"],
                **{split: size for split, size in zip(("train", "dev", "test"), ours, strict=True)},
                **{
                    f"paper_{split}": printed
                    for split, printed in zip(("train", "dev", "test"), line["sizes"], strict=True)
                },
            }
        )
    return Document(
        "table6",
        raw["title"],
        intro=[f"Rows per split, ours [the paper's]; {DASH} before any run on all hub data."],
        grids=[Grid(("Data set", "Train", "Dev", "Test", "Metric"), lines)],
        notes=notes,
        records=records,
    )


def _seen_sizes(task: str, cells: Sequence[Cell]) -> list[tuple[float | None, ...]]:
    found: dict[tuple[float | None, ...], None] = {}
    for cell in cells:
        if cell.task == task and cell.data == "hub" and not cell.limited:
            for row in cell.rows:
                sizes = tuple(row.number(f"data.sizes.{part}") for part in ("train", "dev", "test"))
                if any(size is not None for size in sizes):
                    found[sizes] = None
    return list(found)


def _size(size: float | None) -> str:
    return DASH if size is None else f"{size:,.0f}"
