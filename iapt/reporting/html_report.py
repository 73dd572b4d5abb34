"""One HTML file with everything that the rows say: no script, no external file, nothing trusted.

Every text is escaped and stripped of control and direction characters; a content security policy
forbids the page to load or run anything, in case an escape was forgotten.
"""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

from iapt.reporting.render import Entry, Grid
from iapt.reporting.summary import Section, cells_grid, medians_grid, sections
from iapt.results.cells import Cell
from iapt.results.row import DevPoint, Row
from iapt.results.run_folder import Prediction, failures, read_predictions
from iapt.results.statistics import median
from iapt.reporting.charts import Series, line_chart

LONGEST = 2_000  # characters of one text that are shown
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { border: 1px solid #bbb; padding: .25rem .6rem; text-align: left; vertical-align: top }
th { background: #eee } pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 }
.note { background: #fff3cd; padding: .5rem .8rem } .wrong { color: #a40000 }
svg { max-width: 100% }
.charts { display: flex; flex-wrap: wrap; gap: 1rem }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_MEASURES: dict[str, Callable[[DevPoint], float | None]] = {
    "accuracy": lambda point: point.accuracy,
    "loss": lambda point: point.loss,
}
# Characters that turn the reading direction around and so can make a text look like another.
_TURNING = set(map(chr, (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def html_report(
    rows: Sequence[Row],
    cells: Sequence[Cell],
    messages: Sequence[str] = (),
    runs: Path | None = None,
    samples: int = 5,
) -> str:
    """Build the report.

    Args:
        rows: All rows read.
        cells: The same rows as `collect` grouped them.
        messages: Warnings of reading and grouping, shown at the end.
        runs: Folder of run folders, for samples of predictions and failed runs; None for neither.
        samples: Predictions shown per cell (of its lowest seed).
    """
    parts = [
        "<h1>iapt: results</h1>",
        f"<p>{len(rows)} rows in {len(cells)} cells. Scores are medians of the test score over "
        "seeds 0-4; (k/5) marks fewer seeds. Settings are never mixed.</p>",
    ]
    for section in sections(cells):
        parts.append(f"<h2>{_text(section.title)}</h2>")
        if not section.is_paper:
            parts.append(
                "<p class='note'>Not the paper's setting: these numbers cannot be compared with "
                "those of the paper's tables.</p>"
            )
        parts.append(_table(medians_grid(section)))
        parts.append(_details("Every number of these cells", _table(cells_grid(section))))
        parts.append(f"<div class='charts'>{''.join(_curves(section))}</div>")
        if runs is not None:
            parts += _predictions(section, runs, samples)
    if runs is not None:
        parts += _failures(runs)
    if messages:
        parts.append("<h2>Remarks</h2><ul>")
        parts += [f"<li>{_text(message)}</li>" for message in messages]
        parts.append("</ul>")
    body = "\n".join(parts)
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        "<meta name='viewport' content='width=device-width'><title>iapt: results</title>"
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _text(text: object) -> str:
    """Escape a text for HTML; replace characters that are not for display."""
    kept = "".join(
        "\ufffd"
        if letter in _TURNING
        or (letter not in "\n\t" and unicodedata.category(letter) in {"Cc", "Cs", "Cn"})
        else letter
        for letter in str(text)
    )
    return escape(kept, quote=True)


def _shortened(text: str) -> str:
    rest = len(text) - LONGEST
    return _text(text) if rest <= 0 else f"{_text(text[:LONGEST])} … ({rest} more characters)"


def _details(title: str, content: str) -> str:
    return f"<details><summary>{_text(title)}</summary>{content}</details>"


def _table(grid: Grid) -> str:
    head = "".join(f"<th>{_text(text)}</th>" for text in grid.head)
    lines = []
    for line in grid.lines:
        if isinstance(line, str):
            lines.append(f"<tr><th colspan='{len(grid.head)}'>{_text(line)}</th></tr>")
        else:
            lines.append("<tr>" + "".join(f"<td>{_entry(entry)}</td>" for entry in line) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _entry(entry: Entry | str) -> str:
    if isinstance(entry, str):
        return _text(entry)
    tag = {"": "{}", "best": "<b>{}</b>", "second": "<u>{}</u>"}[entry.mark]
    paper = f" <small>[{_text(entry.paper)}]</small>" if entry.paper else ""
    return tag.replace("{}", _text(entry.text)) + paper


def _curves(section: Section) -> Iterable[str]:
    """Draw dev accuracy and dev loss over steps, one line per method (median over its seeds)."""
    by_task: dict[str, list[Cell]] = {}
    for cell in section.cells:
        by_task.setdefault(cell.task, []).append(cell)
    for task, cells in by_task.items():
        for key, measure in _MEASURES.items():
            lines = [Series(cell.name, _median_curve(cell, measure)) for cell in cells]
            yield line_chart(lines, title=f"{task}: dev {key}", x_label="step", y_label=key)


def _median_curve(
    cell: Cell, measure: Callable[[DevPoint], float | None]
) -> list[tuple[float, float]]:
    at: dict[int, list[float]] = {}
    for row in cell.rows:
        for point in row.dev.curve:
            value = measure(point)
            if value is not None:
                at.setdefault(point.step, []).append(value)
    return [(step, median(values)) for step, values in sorted(at.items())]


def _predictions(section: Section, runs: Path, samples: int) -> list[str]:
    parts = []
    for cell in section.cells:
        row = cell.rows[0]
        folder = runs / row.run_id
        if not folder.is_dir():
            continue
        found, remark = read_predictions(folder, samples)
        content = _prediction_table(found) if found else ""
        content += f"<p>{_text(remark)}</p>" if remark else ""
        title = f"Predictions: {cell.task}, {cell.name}, seed {row.cell.seed} (wrong ones first)"
        parts.append(_details(title, content or "<p>none saved</p>"))
    return parts


def _prediction_table(predictions: Sequence[Prediction]) -> str:
    verdicts = {True: "right", False: "<span class='wrong'>wrong</span>", None: ""}
    lines = []
    for prediction in predictions:
        parsed = "unparsed" if prediction.parsed is None else _shortened(prediction.parsed)
        texts = [
            _shortened(prediction.output),
            parsed,
            _shortened(" | ".join(prediction.references)),
        ]
        columns = "".join(f"<td><pre dir='auto'>{text}</pre></td>" for text in texts)
        lines.append(
            f"<tr><td>{_shortened(prediction.id)}</td>{columns}"
            f"<td>{verdicts[prediction.correct]}</td></tr>"
        )
    head = "<tr><th>Example</th><th>Output</th><th>Parsed</th><th>References</th><th></th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>"


def _failures(runs: Path) -> list[str]:
    found = failures(runs)
    if not found:
        return []
    parts = [f"<h2>{len(found)} failed runs</h2>", "<p>They have no row and count nowhere.</p>"]
    for name, traceback in found.items():
        last = traceback.strip().rsplit("\n", 1)[-1]
        shown = f"<pre>{_shortened(traceback[-LONGEST:])}</pre>"
        parts.append(_details(f"{name}: {last[:200]}", shown))
    return parts
