"""Fill the tables of the pages that have any, and draw the README's picture, from the committed rows.

    make pages

A page marks the place of a block: ``<!-- block NAME -->`` before it, ``<!-- end -->`` behind it.
"""

import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from iapt.errors import DataError
from iapt.files import read_json, write_text
from iapt.reporting import measures
from iapt.reporting.benchmarks import DOCUMENTS
from iapt.reporting.charts.comparison import Spot, tradeoff_chart
from iapt.reporting.choices import choices_document
from iapt.reporting.choose import Scope
from iapt.reporting.ledger import ledger
from iapt.reporting.measures import UNEQUAL, Standing
from iapt.reporting.places import fill
from iapt.reporting.rates import rates_document
from iapt.reporting.render import DASH, MISSING, Document, Entry, Grid, markdown_table
from iapt.reporting.scale import settle
from iapt.reporting.spec import baseline, load_table, unattainable_notes
from iapt.reporting.tables import score_table
from iapt.reporting.verdicts import claims_document
from iapt.results.cells import Cell, collect
from iapt.results.row_files import read_rows

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "DEVIATIONS.md", "docs/evidence.md", "docs/speed.md")
PICTURE = "docs/small_scale.svg"
BENCH = ("smollm2_135m", "llama2_7b")
TASK = "sst2"
BLOCK = re.compile(r"(<!-- block (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
NOT_SHOWN = (
    "This compares methods on a small model after a short training. It says nothing about their order at the "
    "paper's scale, and none of the paper's numbers is reproduced or contradicted by it."
)
Block = Callable[[Sequence[Cell]], str]


def main(root: Path = ROOT) -> int:
    """Rewrite the pages and the picture under a checkout."""
    rows, faults = read_rows(root / "results" / "rows")
    if faults:
        raise DataError("; ".join(faults))
    cells, _ = collect(rows)
    for page in PAGES:
        text = (root / page).read_text(encoding="utf-8")
        write_text(root / page, filled(text, cells))
        print(f"Written: {page}")
    for name, drawing in _benchmarks(root)[1].items():
        write_text(root / "docs" / name, drawing + "\n")
        print(f"Written: docs/{name}")
    write_text(root / PICTURE, _picture(cells) + "\n")
    print(f"Written: {PICTURE}")
    return 0


def filled(text: str, cells: Sequence[Cell]) -> str:
    """Return a page with the content of its blocks made anew.

    Raises:
        DataError: A block has an unknown name.
    """

    def block(found: re.Match[str]) -> str:
        if found[2] not in BLOCKS:
            raise DataError(f"block {found[2]}: unknown; allowed are {', '.join(BLOCKS)}.")
        return f"{found[1]}\n{BLOCKS[found[2]](cells)}\n\n{found[3]}"

    return BLOCK.sub(block, text)


def _small(cells: Sequence[Cell]) -> Scope:
    return settle(Scope.called("small"), cells)


def _small_scale(cells: Sequence[Cell]) -> str:
    """Table 1 at the small scale; the learning-rate grid as long as there is no row of it."""
    scope = _small(cells)
    _, lines, _ = fill("table1", cells, scope)
    tasks = [k for k in range(len(lines[0])) if any(line[k].standing for line in lines)]
    if not tasks:
        return _rates(cells)
    body: list[list[Entry | str]] = []
    for line in lines:
        standings = [line[k].standing for k in tasks]
        one = next((s for s in standings if s), None)
        body.append(
            [
                line[0].line.label,
                _millions(one.cell.trained if one else None),
                *(s.text if s else DASH for s in standings),
                *_compared(standings[0]),
            ]
        )
    heads = [lines[0][k].column.head for k in tasks]
    first = lines[0][tasks[0]].column.label
    compared = [f"{first}: seeds", f"minus {baseline().label} (95 %)"]
    grid = Grid(["Method", "Trained", *heads, *compared], body)
    few = min(s.cell.rows[0].scores.n for line in lines for place in line if (s := place.standing))
    said = (
        f"{scope.words}, rates from a grid on other rows (`hparams=tuned`), median over seeds 0-4; (k/5) marks "
        f"missing seeds, {DASH} a missing cell. The difference is a mean over seeds and test items "
        "with its 95 % interval, not adjusted for the number of comparisons; with one seed it describes that run "
        f"only; {UNEQUAL}: trained parameters more than 10 % from {baseline().label}'s. {_error(few)} {NOT_SHOWN}"
    )
    return f"{said}\n\n{markdown_table(grid)}"


def _compared(standing: Standing | None) -> tuple[str, str]:
    """Return the number of seeds, and the difference from the baseline with its interval."""
    if standing is None:
        return DASH, DASH
    difference, around = measures.texts(("minus_baseline", "minus_interval"), standing)
    both = difference if DASH in (difference, around) else f"{difference} ({around})"
    return str(len(standing.values)), both


def _rates(cells: Sequence[Cell]) -> str:
    """The best rate of every method in the learning-rate grid, chosen by dev loss."""
    records = _best(cells)
    labels = _labels()
    body = [
        [
            labels.get(str(r["method"]), str(r["method"])),
            _millions(r["trained_params"]),
            f"{r['median']:.1f}",
            f"{r['rate']:g}",
            f"{r['peak_memory_mib']:.0f}",
        ]
        for r in records
    ]
    grid = Grid(["Method", "Trained", "Test accuracy", "Rate", "Peak MiB"], body)
    said = (
        "Real SST-2 rows, SmolLM2-135M, 40 steps of 8, **one seed, 120 test rows**, each method at its rate with the "
        f"lowest dev loss. {_error(120)} {NOT_SHOWN}"
    )
    return f"{said}\n\n{markdown_table(grid)}"


def _best(cells: Sequence[Cell]) -> list[Mapping[str, object]]:
    records = rates_document(cells).records
    first = [r for r in records if r["setting"] == records[0]["setting"]]
    return [r for r in first if r["best"]]


def _picture(cells: Sequence[Cell]) -> str:
    """Draw score against trained parameters, of the same cells as the README's table."""
    scope = _small(cells)
    _, lines, _ = fill("table1", cells, scope)
    shown = [
        (place.line.label, place.standing)
        for line in lines
        for place in line
        if place.column.task == TASK and place.standing
    ]
    spots = [Spot(label, s.cell.trained or 0, s.median or 0) for label, s in shown]
    words = scope.words
    if not spots:
        labels, words = _labels(), "SmolLM2-135M-Instruct, 40 steps of 8, 120 test rows, one seed"
        spots = [
            Spot(labels[str(r["method"])], float(r["trained_params"]), float(r["median"]))  # type: ignore[arg-type]
            for r in _best(cells)
        ]
    return tradeoff_chart(
        spots, title=f"SST-2: {words}", x_label="trained parameters", y_label="test accuracy"
    )


def _claims(cells: Sequence[Cell]) -> str:
    """How many claims have which verdict, at the paper's scale and at the small one."""
    lines = []
    for where, scope in (("the paper's", Scope()), ("small", _small(cells))):
        records = claims_document(cells, scope).records
        counts = Counter(str(record["verdict"]) for record in records)
        lines.append([where, str(len(records)), *(str(counts[name]) for name in VERDICTS)])
    return markdown_table(Grid(["Scale", "Claims", *VERDICTS], lines))


def _benchmarks(root: Path = ROOT) -> tuple[list[Document], dict[str, str]]:
    """Return the tables and pictures of `make bench`, as far as it has been run in today's form."""
    documents, drawings = list[Document](), dict[str, str]()
    for backbone in BENCH:
        path = root / "results" / "bench" / f"{backbone}.json"
        report = read_json(path) if path.is_file() else {}
        for what, lay_out in DOCUMENTS.items():
            if report.get(what, {}).get("machine"):  # older measurements lack it
                document, more = lay_out(backbone, report[what])
                documents.append(document)
                drawings |= more
    return documents, drawings


def _bench(_: Sequence[Cell]) -> str:
    documents, drawings = _benchmarks()
    if not documents:
        return "`make bench` has not been run since it measures all of this; its table and pictures will stand here."
    parts = []
    for document in documents:
        grids = "\n\n".join(markdown_table(grid) for grid in document.grids)
        parts += [f"**{document.title}**", grids, "\n".join(f"- {note}" for note in document.notes)]
    pictures = [f"![{name.removesuffix('.svg')}]({name})" for name in drawings]
    return "\n\n".join([*parts, *pictures])


VERDICTS = ("reproduced", "contradicted", "undecided", "not run")


def _open_choices(cells: Sequence[Cell]) -> str:
    document = choices_document(cells)
    tables = [f"*{grid.title}*\n\n{markdown_table(grid)}" for grid in document.grids]
    missing = "\n".join(f"    {command}" for command in document.commands)
    said = [*document.intro, *tables, *([f"{MISSING}\n\n{missing}"] if missing else [])]
    return "\n\n".join(said)


def _details(name: str, cells: Sequence[Cell]) -> str:
    """A table or figure at the small scale, with the difference of every line from its baseline."""
    scope = _small(cells)
    # A page must not count rows of other settings, such as one that a user's first run has just added.
    rows = [row for cell in cells if scope.takes(cell) for row in cell.rows]
    document = score_table(name, rows, cells, scope)
    tables = [markdown_table(grid) for grid in document.details]
    missing = [f"Missing: `{command}`" for command in document.commands]
    return "\n\n".join([f"*{document.title}*", *tables, *document.notes, *missing])


def _ledger(_: Sequence[Cell]) -> str:
    return "\n\n".join(f"*{grid.title}*\n\n{markdown_table(grid)}" for grid in ledger().grids)


def _unattainable(_: Sequence[Cell]) -> str:
    notes = {
        note.removeprefix("† ")
        for name in ("table1", "table2", "table5", "table8")
        for note in unattainable_notes(load_table(name))
    }
    return "\n".join(f"- {note}" for note in sorted(notes))


def _labels() -> dict[str, str]:
    """Return the labels of Table 1 by method."""
    lines = [line for block in load_table("table1").blocks for line in block.lines]
    return {line.method: line.label.partition(" (")[0] for line in lines}


def _millions(count: object) -> str:
    if not isinstance(count, int | float):
        return DASH
    return f"{count / 1e6:.2f}M"


def _error(rows: int) -> str:
    """State the standard error of one accuracy of 80 % on this many rows."""
    return f"One standard error of a single accuracy is about {100 * (0.8 * 0.2 / rows) ** 0.5:.1f} points."


BLOCKS: Mapping[str, Block] = {
    "small_scale": _small_scale,
    "claims": _claims,
    "open_choices": _open_choices,
    "ablations": partial(_details, "table5"),
    "lengths": partial(_details, "figure3"),
    "budgets": partial(_details, "figure2"),
    "ledger": _ledger,
    "unattainable": _unattainable,
    "bench": _bench,
}

if __name__ == "__main__":
    sys.exit(main())
