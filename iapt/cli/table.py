"""`iapt-table`: print and write the paper's tables, the summary of all rows and the claims."""

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from iapt.cli.command import OWN_ENTRIES, Command, Key, Words
from iapt.cli.readers import number, one_of, or_null
from iapt.errors import ConfigError, closest, say
from iapt.files import expanded

if TYPE_CHECKING:
    from iapt.reporting.choose import Scope
    from iapt.reporting.render import Document
    from iapt.results.cells import Cell
    from iapt.results.row import Row

ROWS, BENCH = "results/rows", "results/bench"
NAMES = {
    "table1": "GLUE and question answering, all methods of the paper",
    "table2": "E2E, GSM8K and WikiSQL",
    "table3": "instruction tuning, judged on MT-Bench",
    "table4": "speed and memory of decoding, as iapt-bench measured them",
    "table5": "variants of IAPT",
    "table6": "sizes of the data sets, from configs/task/",
    "table7": "activation functions",
    "table8": "two smaller backbones",
    "figure2": "scores against the parameter budget, with drawings (SVG)",
    "figure3": "scores against the prompt length, with a drawing (SVG)",
    "params": "parameters of every method on every backbone: the paper's column, ours under its rule, trained, "
    "stored, active at decode. Needs no rows, because it builds the methods without weights",
    "rates": "learning rates tried: each method's score at each rate, and its best rate by dev loss",
    "open_choices": "what makes IAPT learn: its choices and extensions one by one, dev loss and accuracy over seeds",
    "summary": "every cell of all rows, one section per setting",
    "paired": "every pair of methods in a setting: difference, wins and losses over seeds and items, "
    "p, and the smallest detectable difference",
    "ledger": "what other papers print for the same methods, and where they disagree. Needs no rows",
    "claims": "each claim of the paper: reproduced, contradicted, undecided or not run",
}
SCOPE = ("scale", "backbone", "hparams", "data")  # keys for LAYOUT only
LAYOUT = ("table1", "table2", "table3", "table5", "table7", "figure2", "figure3", "claims")
APART = {"summary", "rates", "paired", "open_choices"}  # show several settings, one by one
COMMAND = Command(
    "iapt-table",
    "NAME [NAME ...] [key=value ...]",
    "Print tables made from result rows and write them as Markdown, LaTeX and CSV.",
    names={**NAMES, "all": "all of these"},
    at_least=1,
    keys=(
        Key("rows", f"the folder of result rows, with its subfolders (default {ROWS})", None, expanded, "FOLDER"),
        Key("out", "the folder for the files; out=none writes nothing", Path("results/tables"), or_null(expanded)),
        Key("scale", "the rows to show: paper (the default), or small: the same tables and claims from rows of "
            "the small model, without the paper's values", "paper", one_of("paper", "small")),
        Key("setting", "the setting to show (start of its hash) if the rows have several", "", shown="HASH"),
        Key("backbone", "rows of a backbone other than the scale's"),
        Key("hparams", "rows of another preset"),
        Key("data", "rows of other data"),
        Key("detect", "paired only: a difference in points; the list says how many seeds or items would find it",
            1.0, number(0.01)),
        *(replace(key, about=f"params only: {key.about}") for key in OWN_ENTRIES),
    ),
    notes="Tables 1 to 8 and the figures show our median beside the paper's value, what is missing and the\n"
    "command that runs it. They use only rows of the paper's own setting: hparams=paper, data=hub, no\n"
    "limit, the table's backbone. Methods that are not in the paper come last.\n\n"
    "At another scale they keep the layout without the paper's values, for the one setting with the most\n"
    "cells, and a line says what that leaves out. For example:\n\n"
    "  iapt-table table1 claims scale=small\n"
    "  iapt-table claims scale=small hparams=quick data=sample",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `Command.main`."""
    return COMMAND.main(_run, argv)


def _run(words: Words) -> None:
    scoped = sorted(words.given.intersection(SCOPE))
    every = LAYOUT if scoped else NAMES
    names = list(every) if "all" in words.names else list(words.names)
    if scoped and not set(names) <= set(LAYOUT):
        others = ", ".join(name for name in names if name not in LAYOUT)
        raise ConfigError(
            f"{scoped[0]}={words[scoped[0]]} does not work with {others}; it works with "
            f"{', '.join(LAYOUT)}, and summary shows every setting"
        )
    if "params" not in names and words.given.intersection(key.name for key in OWN_ENTRIES):
        raise ConfigError("--config-dir and plugins= work only with params; rows need neither.")

    from iapt.results.cells import collect

    no_rows = set(names) <= {"params", "ledger"}
    rows, warnings = ([], []) if no_rows else load_rows(words["rows"])
    cells, messages = collect(rows)
    scope = _scope(words, cells)
    for place, name in enumerate(names):
        document, drawings = _build(name, rows, cells, messages, scope, words)
        if place:
            print()
        _show(document, drawings, words["out"])
    if APART & set(names):
        messages = []
    else:  # nothing about rows that these tables do not show; summary has all messages
        shown = {cell.label for cell in cells if scope.takes(cell)}
        hidden = tuple(f"{cell.label}:" for cell in cells if cell.label not in shown)
        messages = [message for message in messages if not message.startswith(hidden)]
    for warning in [*warnings, *messages]:
        say("warning", warning)


def _scope(words: Words, cells: "Sequence[Cell]") -> "Scope":
    """Return the rows to show, by the names on the command line.

    Raises:
        ConfigError: No row has the setting that is asked for, or its backbone, preset or data.
    """
    from iapt.configuration.catalog import names
    from iapt.reporting.choose import Scope
    from iapt.reporting.scale import settle

    fields = {"backbone": "main_backbone", "hparams": "hparams", "data": "data"}
    changes = {field: words[key] for key, field in fields.items() if words[key]}
    for key in words.given.intersection(fields):
        there = sorted({*names(key), *(getattr(cell, key) for cell in cells)})
        if words[key] not in there:
            raise ConfigError(
                f"{key}={words[key]}: no row has it, and it is no entry of configs/{key}/; allowed are "
                f"{', '.join(there)}.{closest(words[key], there)}"
            )
    scope = Scope.called(words["scale"], **changes)
    setting = words["setting"]
    if setting:
        apart = set(words.names) <= APART
        known = sorted({cell.setting for cell in cells if apart or scope.names(cell)})
        if not any(name.startswith(setting) for name in known):
            raise ConfigError(
                f"setting={setting}: no row has it; the rows have {', '.join(known) or 'none'}"
            )
    return settle(replace(scope, setting=setting), cells)


def _build(
    name: str,
    rows: "Sequence[Row]",
    cells: "Sequence[Cell]",
    messages: Sequence[str],
    scope: "Scope",
    words: Words,
) -> "tuple[Document, dict[str, str]]":
    from iapt.reporting import (
        benchmarks,
        choices,
        figures,
        ledger,
        paired,
        quantities,
        rates,
        spec,
        summary,
        tables,
        verdicts,
    )

    shown = [cell for cell in cells if cell.setting.startswith(words["setting"])]
    simple: dict[str, Callable[[], Document]] = {
        "summary": lambda: summary.summary(rows, shown, messages),
        "claims": lambda: verdicts.claims_document(cells, scope),
        "paired": lambda: paired.paired_document(shown, words["detect"]),
        "ledger": ledger.ledger,
        "open_choices": lambda: choices.choices_document(shown),
        "rates": lambda: rates.rates_document(shown),
    }
    if name in simple:
        return simple[name](), {}
    if name == "params":
        from iapt.cli.counting import count_entries  # builds methods: torch and Hydra

        return quantities.params_table(count_entries(words.folders, words["plugins"])), {}
    if name == "table4":
        return benchmarks.efficiency_table(Path(BENCH))
    if name == "table6":
        from iapt.cli.released import released_splits

        tasks = [line["task"] for line in spec.load("table6")["lines"]]
        return quantities.sizes_table(cells, released_splits(tasks)), {}
    drawn = figures.drawings(name, cells, scope) if name in spec.FIGURES else {}
    return tables.score_table(name, rows, cells, scope), drawn


def _show(document: "Document", drawings: dict[str, str], out: Path | None) -> None:
    from iapt.files import write_text
    from iapt.reporting.latex import latex, latex_details
    from iapt.reporting.render import csv_text, markdown, terminal

    text = markdown(document)
    wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    print(terminal(document, wide) if wide else text, end="")
    if out is None:
        return
    files = {
        f"{document.name}.md": text,
        f"{document.name}.tex": latex(document),
        f"{document.name}-details.tex": latex_details(document),
        f"{document.name}.csv": csv_text(document),
        **drawings,
    }
    written = {out / file: content for file, content in files.items() if content}
    for path, content in written.items():
        write_text(path, content)
    print(f"\nWritten: {', '.join(map(str, written))}")


def load_rows(folder: str | None) -> "tuple[list[Row], list[str]]":
    """Read the rows under a folder; only the default folder may be absent.

    Raises:
        ConfigError: The named folder does not exist.
    """
    from iapt.results.row_files import read_rows

    path = Path(folder or ROWS)
    if path.is_dir():
        return read_rows(path)
    if folder is not None:
        raise ConfigError(f"rows={folder}: no such folder; the default is {ROWS}")
    return [], [f"{path}: no such folder yet, so there are no rows (iapt-train writes them)"]


if __name__ == "__main__":
    sys.exit(main())
