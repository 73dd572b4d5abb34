"""One HTML page of all rows: no script, no external file, nothing trusted.

The page is a list of sections, each with a title and blocks; the functions in `SECTIONS` build them, and
`report.html.j2` displays each kind of block.  The template escapes every text and strips control and
direction characters; a content security policy keeps the page from loading or running anything, in case
an escape is missing.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from statistics import median

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from iapt.errors import DataError
from iapt.reporting.charts.canvas import INK, PAPER
from iapt.reporting.charts.lines import MOST, Series, line_chart, panel_chart
from iapt.reporting.environment import environment
from iapt.reporting.inside import distances, drawn, shaded
from iapt.reporting.items import item_view
from iapt.reporting.summary import Section as Setting
from iapt.reporting.summary import cells_grid, labelled, medians_grid, notes_of, sections
from iapt.reporting.tradeoff import AGAINST_SIZE, AXES, against_size, ranges, tradeoffs
from iapt.results.cells import Cell
from iapt.results.inspection import MOST_VIEWS, read_inspection
from iapt.results.row import Row
from iapt.results.run_folder import failures, read_predictions

LONGEST = 2_000  # characters shown of one text
# Characters that reverse the reading direction and so can disguise a text.
_TURNING = set(map(chr, (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))))


@dataclass(frozen=True)
class Block:
    """A piece of a section.

    Attributes:
        kind: A macro of the template: `note`, `text`, `list`, `table` (a `Grid`), `charts`,
            `choice` (name -> block, one shown at a time), `items` (an `ItemView`), `predictions`,
            `tokens` (text, shade in percent and weight of each), `traceback`, `details` (blocks under a title, folded).
        content: The content for that macro.
        title: The title of a folded block.
    """

    kind: str
    content: object
    title: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Material:
    """The input of the sections.

    Attributes:
        rows: All rows read.
        cells: The same rows as `collect` grouped them.
        messages: Warnings from reading and grouping.
        runs: Folder of run folders, for sample predictions and failed runs; None for neither.
        samples: Predictions shown per cell (from its lowest seed).
        made: When and from which commit the page was made.
    """

    rows: Sequence[Row]
    cells: Sequence[Cell]
    messages: Sequence[str] = ()
    runs: Path | None = None
    samples: int = 5
    made: str = ""


def html_report(material: Material) -> str:
    """Build the page."""
    found = [section for build in SECTIONS for section in build(material)]
    beside = Counter(
        (cell.backbone, cell.hparams, cell.data, cell.setting, cell.task) for cell in material.cells
    )
    page = _environment().get_template("report.html.j2")
    return page.render(
        material=material,
        sections=found,
        most_methods=max(beside.values(), default=0),
        most_options=max(comb(len(AXES), 2), MOST_VIEWS),
    )


def _settings(material: Material) -> Iterator[Section]:
    for setting in sections(material.cells):
        blocks = [
            *_headline(setting),
            Block("table", medians_grid(setting)),
            *([Block("list", notes)] if (notes := notes_of(setting)) else []),
            Block("details", [Block("table", cells_grid(setting))], "Every number of these cells"),
            *_costs(setting),
            Block("charts", list(_curves(setting))),
            *_items(setting, material.runs),
        ]
        if not setting.is_paper:
            warning = (
                "Not the paper's setting: do not compare these numbers with the paper's tables."
            )
            blocks.insert(0, Block("note", warning))
        if material.runs is not None:
            blocks += _inside(setting, material.runs)
            blocks += _predictions(setting, material.runs, material.samples)
        yield Section(setting.title, blocks)


def _failed(material: Material) -> Iterator[Section]:
    found = failures(material.runs) if material.runs else {}
    if found:
        blocks = [Block("text", "Failed runs have no row, so no table counts them.")]
        for name, traceback in found.items():
            last = traceback.strip().rsplit("\n", 1)[-1]
            shown = Block("traceback", traceback[-LONGEST:])
            blocks.append(Block("details", [shown], f"{name}: {last[:200]}"))
        yield Section(f"Failed runs: {len(found)}", blocks)


def _remarks(material: Material) -> Iterator[Section]:
    if material.messages:
        yield Section("Remarks", [Block("list", material.messages)])


def _ran_on(material: Material) -> Iterator[Section]:
    grid = environment(material.rows)
    if grid.lines:
        yield Section("Environment of the runs", [Block("table", grid)])


SECTIONS: Sequence[Callable[[Material], Iterator[Section]]] = (
    _settings,
    _failed,
    _remarks,
    _ran_on,
)


def _headline(setting: Setting) -> Iterator[Block]:
    """Draw the methods of each task side by side: scores with their intervals, and what they cost."""
    for task in setting.tasks:
        cells = labelled(setting, task)
        if len(cells) > 1:
            drawn = (ranges(task, cells), against_size(task, cells))
            yield Block("charts", [_picture(svg) for svg in drawn if svg])


def _costs(setting: Setting) -> Iterator[Block]:
    """Draw any two measures of the methods of each task against each other."""
    for task in setting.tasks:
        cells = labelled(setting, task)
        drawn = {
            name: Block("charts", [_picture(svg)])
            for name, svg in tradeoffs(task, cells)
            if name != AGAINST_SIZE  # it is in the headline
        }
        if drawn:
            yield Block("choice", drawn, f"{task}, two measures of every method:")


def _curves(setting: Setting) -> Iterator[Markup]:
    """Draw dev accuracy and loss against steps: the median over seeds, and their range."""
    for task in setting.tasks:
        cells = labelled(setting, task)
        draw = line_chart if len(cells) <= MOST else panel_chart
        for key in ("accuracy", "loss"):
            lines = [_curve(label, cell, key) for label, cell in cells]
            svg = draw(lines, title=f"{task}: dev {key}", x_label="step", y_label=key)
            if svg:
                yield _picture(svg)


def _curve(label: str, cell: Cell, key: str) -> Series:
    at: dict[int, list[float]] = {}
    for row in cell.rows:
        for point in row.dev.curve:
            value: float | None = getattr(point, key)
            if value is not None:
                at.setdefault(point.step, []).append(value)
    points = sorted(at.items())
    return Series(
        label,
        [(step, median(values)) for step, values in points],
        [(step, min(values), max(values)) for step, values in points if len(values) > 1],
    )


def _picture(svg: str) -> Markup:
    """Mark a picture as safe, because its labels are escaped, and let its colours follow the page."""
    return Markup(svg.replace(INK, "currentColor").replace(PAPER, "none"))


def _items(setting: Setting, runs: Path | None) -> Iterator[Block]:
    for task in setting.tasks:
        view = item_view(labelled(setting, task), runs)
        if view:
            title = (
                f"{task}: {len(view.items)} examples over methods and seeds, most disputed first"
            )
            yield Block("details", [Block("items", view)], title)


def _predictions(setting: Setting, runs: Path, samples: int) -> Iterator[Block]:
    for cell in setting.cells:
        row = cell.rows[0]
        if not (runs / row.run_id).is_dir():
            continue
        found, remark = read_predictions(runs / row.run_id, samples)
        blocks = [Block("predictions", found)] if found else []
        if remark or not found:
            blocks.append(Block("text", remark or "The run saved no predictions."))
        title = f"Predictions: {cell.task}, {cell.name}, seed {row.cell.seed} (wrong ones first)"
        yield Block("details", blocks, title)


def _inside(setting: Setting, runs: Path) -> Iterator[Block]:
    """Show each method's inspection, from the run with the lowest seed that has one."""
    for task in setting.tasks:
        for label, cell in labelled(setting, task):
            for row in cell.rows:
                blocks = list(_inspected(runs / row.run_id))
                if blocks:
                    title = f"Inside: {task}, {label}, seed {row.cell.seed}"
                    yield Block("details", blocks, title)
                    break


def _inspected(folder: Path) -> Iterator[Block]:
    try:
        found = read_inspection(folder)
    except DataError as error:
        yield Block("text", str(error))
        return
    for shown in found.functions if found else ():
        svg = drawn(shown)
        if shown.reference:
            yield Block("text", distances(shown))
        yield Block("charts", [_picture(svg)] if svg else [])
    for number, prompt in enumerate(found.prompts if found else (), start=1):
        views = {
            name: Block("tokens", shaded(prompt.tokens, weights))
            for name, weights in prompt.weights.items()
        }
        yield Block("choice", views, f"Prompt {number} (a stronger shade means more weight):")


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("iapt.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_displayable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["shortened"] = _shortened
    return made


def _displayable(value: object) -> object:
    """Replace undisplayable characters in everything that the template prints."""
    if isinstance(value, Markup):  # made by a macro, or a chart
        return value
    return "".join(
        "\ufffd"
        if letter in _TURNING
        or (letter not in "\n\t" and unicodedata.category(letter) in {"Cc", "Cs", "Cn"})
        else letter
        for letter in str(value)
    )


def _shortened(text: str) -> str:
    rest = len(text) - LONGEST
    return text if rest <= 0 else f"{text[:LONGEST]} … ({rest} more characters)"
