"""`iapt-report`: one self-contained HTML file of all result rows."""

import sys
from collections.abc import Sequence
from pathlib import Path

from iapt.cli.command import Command, Key, Words
from iapt.cli.readers import whole
from iapt.cli.table import ROWS, load_rows
from iapt.errors import ConfigError, say
from iapt.files import expanded

COMMAND = Command(
    "iapt-report",
    "[key=value ...]",
    "Write one HTML file (no script, no external file) with every cell of all result rows, the scores and "
    "costs of methods, the dev curves, the test examples across methods and seeds and, with runs=FOLDER, their texts, "
    "sample predictions and the failed runs.",
    names={},
    at_most=0,
    keys=(
        Key("rows", f"the folder of result rows, with its subfolders (default {ROWS})", None, expanded, "FOLDER"),
        Key("runs", "the folder of run folders, for predictions and failures", None, expanded, "FOLDER"),
        Key("samples", "predictions to show per cell, wrong ones first", 5, whole()),
        Key("out", "the file to write", Path("results/report.html"), expanded),
    ),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `Command.main`."""
    return COMMAND.main(_run, argv)


def _run(words: Words) -> None:
    runs = words["runs"]
    if runs is not None and not runs.is_dir():
        raise ConfigError(
            f"runs={runs}: no such folder; name the folder that holds the run folders."
        )

    from iapt.files import write_text
    from iapt.reporting.report import Material, html_report
    from iapt.results.cells import collect

    rows, warnings = load_rows(words["rows"])
    cells, messages = collect(rows)
    said = [*warnings, *messages]
    text = html_report(Material(rows, cells, said, runs, words["samples"], _made()))
    write_text(words["out"], text)
    for warning in warnings:
        say("warning", warning)
    size = len(text) // 1024 + 1
    print(f"Written: {words['out']} ({len(rows)} rows, {len(cells)} cells, {size} KiB)")


def _made() -> str:
    from iapt.provenance import git_state, utc_now

    state = git_state()
    dirty = " with changes" if state["dirty"] else ""
    commit = f" from commit {state['commit'][:12]}{dirty}" if state["commit"] else ""
    return f"on {utc_now()}{commit}"


if __name__ == "__main__":
    sys.exit(main())
