"""The paper's score tables (1, 2, 3, 5, 7 and 8) and the points of its figures: our medians beside its values."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import product

from iapt.reporting import measures
from iapt.reporting.choose import Scope
from iapt.reporting.footnotes import footnotes
from iapt.reporting.measures import UNEQUAL, Standing, count_text, marks
from iapt.reporting.places import Lines, Place, fill
from iapt.reporting.render import DASH, Document, Entry, Grid, Mark
from iapt.reporting.render import Line as Laid
from iapt.reporting.spec import FIGURES, Table, unattainable_notes
from iapt.results.cells import Cell
from iapt.results.row import Row

SEEDS = f"the median over seeds 0-4 of the test score; (k/5) marks fewer than five seeds, {DASH} a missing value."
TABLE_RULES = (
    f"Ours [the paper's]. Ours is {SEEDS} Bold and underline: best and second best, ours only among "
    "entries with all seeds."
)
SCALE_RULES = (
    f"An entry is {SEEDS} Bold and underline: best and second best among entries with all seeds. The "
    "paper's values belong to another setting, so they are not shown."
)
UNATTAINABLE = "†: this value cannot be an accuracy on the test split that the paper describes."
FIGURE_RULES = f"A point is {SEEDS} The paper prints no numbers for this figure."
STATISTICS = (*measures.STATISTICS, *measures.COMPARED)


def score_table(
    name: str, rows: Sequence[Row], cells: Sequence[Cell], scope: Scope | None = None
) -> Document:
    """Build one of the paper's score tables, or the points of a figure, from the available rows.

    Args:
        name: One of `spec.SCORE_TABLES` or `spec.FIGURES`.
        rows: All rows, to count those that do not belong in the table.
        cells: The same rows as `collect` grouped them.
        scope: Defaults to the paper's setting; any other must come from `scale.settle`.
    """
    scope = scope or Scope()
    table, lines, notes = fill(name, cells, scope)
    rules = TABLE_RULES if table.compared else SCALE_RULES
    document = Document(
        scope.stem(name),
        table.title,
        [FIGURE_RULES if name in FIGURES else rules],
    )
    if any(place.attainable is False for line in lines for place in line):
        document.intro.append(UNATTAINABLE)
    document.grids.append(_main_grid(table, lines))
    by_column = [line[k] for k in range(len(table.columns)) for line in lines]
    filled = [(place, place.standing) for place in by_column if place.standing]
    if filled:
        document.details.append(_detail_grid(table, filled))
        compared = [standing.comparison for _, standing in filled]
        document.notes += [
            measures.test_note(table.baseline.label),
            *measures.detectable_note(compared),
            *measures.budget_note(compared, table.baseline.label),
        ]
    document.notes += footnotes(
        (place.column.label, place.line.label, standing.cell) for place, standing in filled
    )
    document.notes += notes
    if table.compared:
        document.notes += [*unattainable_notes(table), *table.paper_notes]
    document.notes += table.notes
    if not filled and (scope.is_paper or scope.name):
        scale = f" scale={scope.name} data=FOLDER" if scope.name else ""
        document.notes.append(f"All of its runs: iapt-sweep +experiment={name}{scale}")
    used = {row.path for _, standing in filled for row in standing.cell.rows}
    document.notes.append(
        f"{len(used)} rows read, all of them in this table."
        if len(used) == len(rows)
        else f"{len(used)} of {len(rows)} rows read are in this table. iapt-table summary also shows the "
        "others: rows of another setting, backbone, task or method. Rows of seeds other than 0 to 4, or without "
        "the table's score, are in no table."
    )
    runs = {(row.cell_hash, row.cell.seed) for row in rows if row.path in used and row.cell_hash}
    older = sum((row.cell_hash, row.cell.seed) in runs for row in rows if row.path not in used)
    if older:
        document.notes.append(
            f"Left out: {older} older rows of runs of which a newer one is shown."
        )
    small = Scope.called("small")
    of_small = (small.names(cell) and cell.backbone == small.main_backbone for cell in cells)
    if scope.is_paper and not used and table.model and any(of_small):
        document.notes.append(f"iapt-table {name} scale=small shows rows of the small model.")
    document.commands = list(_commands(lines, scope))
    document.records = [_record(document.name, place) for line in lines for place in line]
    return document


def _main_grid(table: Table, lines: Lines) -> Grid:
    ours: dict[Place, Mark] = {}
    papers: dict[Place, Mark] = {}
    for k, backbone in product(range(len(table.columns)), table.backbones):
        here = [line[k] for line in lines if line[k].block.backbone == backbone]
        ours |= marks({place: place.complete for place in here})
        papers |= marks({place: place.paper for place in here})
    figure = table.name in FIGURES  # a figure has no ranks and no headings
    laid: list[Laid] = []
    for before, line in zip([None, *lines], lines, strict=False):
        block = line[0].block
        if block.label and not figure and not (before and before[0].block is block):
            laid.append(block.label)
        entries = [
            Entry(
                place.standing.text if place.standing else DASH,
                "" if figure else ours.get(place, ""),
                place.printed if table.compared else "",
                papers.get(place, ""),
            )
            for place in line
        ]
        laid.append([line[0].line.label, _params(line, table), *entries])
    return Grid(["Method", "Params", *(column.head for column in table.columns)], laid)


def _params(line: Sequence[Place], table: Table) -> Entry:
    counts = {place.standing.cell.trained for place in line if place.standing} - {None}
    text = " / ".join(map(count_text, sorted(filter(None, counts)))) or DASH
    found = [p.standing.comparison for p in line if p.standing and p.standing.comparison]
    text += f" {UNEQUAL}" if any(comparison.unequal for comparison in found) else ""
    millions = line[0].line.params
    missing = "" if line[0].block.printed or not table.compared else DASH
    return Entry(text, paper=missing if millions is None else f"{millions:.1f}M")


def _detail_grid(table: Table, filled: Sequence[tuple[Place, Standing]]) -> Grid:
    lines: list[Laid] = []
    for place, standing in filled:
        method = place.line.label
        if len(table.backbones) > 1 and place.block.printed:
            method += f", {place.block.label}"
        lines.append([place.column.head, method, *measures.texts(STATISTICS, standing)])
    heads = measures.heads(STATISTICS, table.baseline.label)
    return Grid(["Task", "Method", *heads], lines, "More about the medians")


def _commands(lines: Lines, scope: Scope) -> Iterator[str]:
    """Yield one sweep per backbone and set of missing tasks; a sweep skips finished runs."""
    if not (scope.is_paper or scope.name):
        return  # the names do not say how the rows of this setting were run
    scale, data = (f" scale={scope.name}", " data=FOLDER") if scope.name else ("", "")
    lacking: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for line in lines:
        lacked = (p.column.task for p in line if not p.standing or p.standing.cell.missing)
        tasks = ",".join(dict.fromkeys(lacked))
        if tasks and line[0].block.printed:
            fixed, _, last = line[0].line.words.rpartition("=")
            lacking[line[0].block.backbone, tasks, fixed].append(last)
    for (backbone, tasks, fixed), names in lacking.items():
        where = "" if backbone == scope.main_backbone else f"backbone={backbone} "
        yield f"iapt-sweep +experiment=paper{scale} {where}task={tasks} {fixed}={','.join(names)}{data}"


def _record(name: str, place: Place) -> dict[str, object]:
    return {
        "table": name,
        "backbone": place.block.backbone,
        "label": place.line.label,
        "method": place.line.method,
        "variant": place.line.variants[0] if place.line.variants else "",
        "in_paper": place.block.printed,
        "task": place.column.task,
        "metric": place.column.metric,
        **measures.record(measures.CSV, place.standing),
        "paper": place.paper,
        "paper_attainable": place.attainable,
        **measures.record(["trained_params"], place.standing),
        "paper_params_millions": place.line.params,
        **measures.record(measures.ORIGIN, place.standing),
    }
