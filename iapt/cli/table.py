"""``iapt-table``: print and write the paper's tables, the summary of all rows and the claims."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from iapt.cli.configuration import guarded
from iapt.errors import ConfigError, closest

if TYPE_CHECKING:
    from iapt.reporting.choose import Scope
    from iapt.reporting.render import Document
    from iapt.results.cells import Cell
    from iapt.results.row import Row

TABLES = tuple(f"table{number}" for number in range(1, 9))
FIGURES = ("figure2", "figure3")
NAMES = (*TABLES, *FIGURES, "params", "rates", "summary", "claims")
WORDS = ("rows", "out", "setting", "backbone", "hparams", "data")
ROWS, OUT, BENCH = "results/rows", "results/tables", "results/bench"

HELP = f"""\
Usage: iapt-table NAME [NAME ...] [key=value ...]

Print tables made from result rows and write them as Markdown, LaTeX and CSV.

Names:
  table1 ... table8   the paper's tables: our median beside the paper's value, what is missing and
                      the command that makes it. Rows of the paper's own setting only
                      (hparams=paper, data=hub, no limit, the table's backbone).
  figure2, figure3    the same for the two figures, with drawings (SVG)
  params              parameters of every method on every backbone: the paper's column, ours under
                      its rule, trained, stored, active at decode, and what explains them. Needs
                      no rows: the methods are built without weights
  rates               learning rates tried: what each method reaches at each, and the best by dev loss
  summary             every cell of whatever rows there are, one section per setting
  claims              each claim of the paper: reproduced, not reproduced or not run
  all                 all of these

Keys:
  rows=FOLDER         result rows, read with subfolders (default {ROWS})
  out=FOLDER          where files go (default {OUT}); out=none writes nothing
  setting=HASH        show this setting (start of its hash) where rows of several exist
  backbone= hparams= data=
                      claims only: hold the claims against another setting, e.g.
                      iapt-table claims backbone=smollm2_135m hparams=quick data=sample
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Words of the command line, without the program's name.

    Returns:
        Exit status: 0, or 2 for a wrong word (the message is on stderr).
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or {"-h", "--help", "help"} & set(arguments):
        print(HELP, end="")
        return 0
    if hasattr(sys.stdout, "reconfigure"):  # a terminal that has no dash shows a question mark
        sys.stdout.reconfigure(errors="replace")
    try:
        status = guarded(lambda: _run(arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # piped into head; keep Python from writing again when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _run(arguments: Sequence[str]) -> None:
    names, words = parse_words(arguments, NAMES, WORDS)
    if not names:
        raise ConfigError(f"no table named; one or more of {', '.join(NAMES)}, or all")
    if names != ["claims"] and {"backbone", "hparams", "data"} & words.keys():
        raise ConfigError(
            "backbone=, hparams= and data= go with claims alone; the paper's tables take only rows "
            "of the paper's setting, and summary shows every setting"
        )

    from iapt.reporting.choose import Scope
    from iapt.reporting.spec import MAIN_BACKBONE
    from iapt.results.cells import collect

    rows, warnings = ([], []) if names == ["params"] else load_rows(words.get("rows"))
    cells, messages = collect(rows)
    scope = Scope(
        words.get("hparams", "paper"),
        words.get("data", "hub"),
        words.get("setting", ""),
        words.get("backbone", MAIN_BACKBONE),
    )
    if scope.setting and not any(cell.setting.startswith(scope.setting) for cell in cells):
        known = sorted({cell.setting for cell in cells})
        raise ConfigError(
            f"setting={scope.setting}: no row has it; the rows have {', '.join(known) or 'none'}"
        )
    out = None if words.get("out") == "none" else Path(words.get("out", OUT))
    for number, name in enumerate(names):
        document, drawings = _build(name, rows, cells, messages, scope)
        if number:
            print()
        _show(document, drawings, out)
    shown_apart = {"summary", "rates"} & set(names)  # these show several settings side by side
    for warning in warnings if shown_apart else [*warnings, *messages]:
        print(f"warning: {warning}", file=sys.stderr)


def _build(
    name: str,
    rows: "Sequence[Row]",
    cells: "Sequence[Cell]",
    messages: Sequence[str],
    scope: "Scope",
) -> "tuple[Document, dict[str, str]]":
    from iapt.reporting.claims import claims_document
    from iapt.reporting.figures import figure
    from iapt.reporting.other_tables import efficiency_table, sizes_table
    from iapt.reporting.rates import rates_document
    from iapt.reporting.spec import MAIN_BACKBONE, load
    from iapt.reporting.summary import summary
    from iapt.reporting.tables import score_table

    if name in FIGURES:
        return figure(name, rows, cells, scope)
    if name == "summary":
        return summary(rows, cells, messages), {}
    if name == "claims":
        return claims_document(cells, scope), {}
    if name == "rates":
        return rates_document(cells), {}
    if name == "params":
        from iapt.cli.counting import count_entries  # builds methods: torch and Hydra
        from iapt.reporting.params_table import params_table

        return params_table(count_entries()), {}
    if name == "table4":
        return efficiency_table(Path(BENCH) / f"{MAIN_BACKBONE}.json"), {}
    if name == "table6":
        from iapt.cli.released import released_splits

        tasks = [line["task"] for line in load("table6")["lines"]]
        return sizes_table(cells, released_splits(tasks)), {}
    return score_table(name, rows, cells, scope), {}


def _show(document: "Document", drawings: dict[str, str], out: Path | None) -> None:
    from iapt.files import write_text
    from iapt.reporting.render import csv_text, latex, markdown

    text = markdown(document)
    print(text, end="")
    if out is None:
        return
    files = {
        f"{document.name}.md": text,
        f"{document.name}.tex": latex(document),
        f"{document.name}.csv": csv_text(document),
        **drawings,
    }
    try:
        for file, content in files.items():
            write_text(out / file, content)
    except OSError as error:
        raise ConfigError(f"out={out}: cannot write there ({error.strerror or error})") from error
    print(f"\nWritten: {', '.join(str(out / file) for file in files)}")


def parse_words(
    arguments: Sequence[str], names: Sequence[str], keys: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """Split a command line into names and ``key=value`` words.

    Args:
        arguments: The words given.
        names: Names allowed; ``all`` stands for all of them.
        keys: Keys allowed.

    Raises:
        ConfigError: A name or key is unknown, a value is empty, or a key is given twice.
    """
    found: list[str] = []
    words: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            if argument != "all" and argument not in names:
                allowed = ", ".join([*names, "all"]) if names else "none, only key=value words"
                raise ConfigError(
                    f"unknown name {argument!r}; allowed: {allowed}."
                    f"{closest(argument, [*names, *(f'{key}=' for key in keys)])}"
                )
            found += names if argument == "all" else [argument]
            continue
        if key not in keys:
            raise ConfigError(
                f"unknown key {key!r} in {argument!r}; allowed: {', '.join(keys)}."
                f"{closest(key, keys)}"
            )
        if not value or key in words:
            what = "no value given" if not value else f"given twice ({words[key]!r}, {value!r})"
            raise ConfigError(f"{key}: {what}; write {key}=VALUE once")
        words[key] = value
    return list(dict.fromkeys(found)), words


def load_rows(folder: str | None) -> "tuple[list[Row], list[str]]":
    """Read the rows under a folder; the default folder may be absent, a named one may not.

    Raises:
        ConfigError: The named folder does not exist.
    """
    from iapt.results.row import read_rows

    path = Path(folder or ROWS)
    if folder is not None and not path.is_dir():
        raise ConfigError(f"rows={folder}: no such folder; the default is {ROWS}")
    if not path.is_dir():
        return [], [f"{path}: no such folder yet, so there are no rows (iapt-train writes them)"]
    return read_rows(path)


if __name__ == "__main__":
    sys.exit(main())
