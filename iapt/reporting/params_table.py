"""The paper's "Tunable Params" beside what our methods count, on every backbone.

The counts come from whoever may build the methods; here they are laid out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from iapt.reporting.render import DASH, Document, Entry, Grid
from iapt.reporting.spec import MAIN_BACKBONE, Line, load_table

FIELDS = ("trained", "stored", "active_at_decode")
HEAD = ("Method", "Paper", "Counted", "Trained", "Stored", "Active at decode", "Reading of Counted")
INTRO = (
    'Scalars, counted on the modules themselves, without weights. Paper: its column "Tunable Params" '
    "(Table 1, LLaMA-2 7B). Counted: ours under the rule which that column follows, that is weight "
    "matrices without latents and biases, and pruned methods by their target. Trained: all that the "
    "optimizer has. Stored: what a saved adapter holds, with the choices of a search. Active at decode: "
    "what takes part in every decoding step; soft tokens lie in the cache by then.",
    'A line "at the end" stands below a method whose size training settles: fewest to most.',
)

Counts = Mapping[str, Any]


def params_table(counts: Mapping[str, Mapping[str, Counts]]) -> Document:
    """Lay out the counts, one grid per backbone, the methods in the order of Table 1.

    Args:
        counts: Backbone -> method entry -> `counted`, `reading` and, for each of `FIELDS`, [at the
            start, fewest at the end, most at the end]; or `refused`, why it cannot be built there.
    """
    table = load_table("table1")
    printed = {line.method: line for block in table.blocks for line in block.lines}
    document = Document(
        "params",
        "Parameters of every method on every backbone",
        intro=list(INTRO),
        notes=list(table.notes),
    )
    for backbone in sorted(counts, key=lambda name: (name != MAIN_BACKBONE, name)):
        found = counts[backbone]
        names = [name for name in printed if name in found]
        names += sorted(name for name in found if name not in printed)
        lines: list[Sequence[Entry | str] | str] = []
        for name in names:
            line = printed.get(name)
            paper = line.params if line and backbone == MAIN_BACKBONE else None
            lines += _lines(line, name, paper, found[name])
            document.records.append(_record(backbone, name, paper, found[name]))
        document.grids.append(Grid(HEAD, lines, backbone))
    return document


def _lines(
    line: Line | None, name: str, paper: float | None, counts: Counts
) -> list[Sequence[Entry | str]]:
    label = line.label if line else name
    printed = DASH if paper is None else f"{paper:.1f}M"
    if "refused" in counts:
        return [[label, printed, *[DASH] * (1 + len(FIELDS)), counts["refused"]]]
    start = [f"{counts[field][0]:,}" for field in FIELDS]
    end = [_span(*counts[field][1:]) for field in FIELDS]
    lines = [[label, printed, f"{counts['counted']:,}", *start, counts["reading"] or DASH]]
    if end != start:
        lines.append([f"{label}, at the end", "", "", *end, ""])
    return list(lines)


def _span(fewest: int, most: int) -> str:
    return f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"


def _record(backbone: str, name: str, paper: float | None, counts: Counts) -> Mapping[str, object]:
    sizes = {
        f"{field}_{when}": counts[field][i] if field in counts else None
        for field in FIELDS
        for i, when in enumerate(("initial", "final_fewest", "final_most"))
    }
    return {
        "table": "params",
        "backbone": backbone,
        "method": name,
        "paper_millions": paper,
        "counted": counts.get("counted"),
        **sizes,
        "reading": counts.get("reading", counts.get("refused")),
    }
