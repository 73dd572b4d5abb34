"""``iapt-report``: one self-contained HTML file of all result rows."""

import sys
from collections.abc import Sequence
from pathlib import Path

from iapt.cli.configuration import guarded
from iapt.cli.table import ROWS, load_rows, parse_words
from iapt.errors import ConfigError

OUT, SAMPLES = "results/report.html", 5
WORDS = ("rows", "out", "runs", "samples")

HELP = f"""\
Usage: iapt-report [key=value ...]

Write one HTML file (no script, no external file) with every cell of whatever rows there are, the
dev curves and, where run folders are given, samples of predictions and the failed runs.

Keys:
  rows=FOLDER     result rows, read with subfolders (default {ROWS})
  runs=FOLDER     folder of run folders, for predictions and failures (default: neither is shown)
  samples=N       predictions shown per cell, wrong ones first (default {SAMPLES})
  out=FILE        the file to write (default {OUT})
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Words of the command line, without the program's name.

    Returns:
        Exit status: 0, or 2 for a wrong word (the message is on stderr).
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help", "help"} & set(arguments):
        print(HELP, end="")
        return 0
    return guarded(lambda: _run(arguments))


def _run(arguments: Sequence[str]) -> None:
    _, words = parse_words(arguments, (), WORDS)
    samples = words.get("samples", str(SAMPLES))
    if not samples.isdecimal():
        raise ConfigError(f"samples={samples}: expected a whole number from 0")
    runs = Path(words["runs"]) if "runs" in words else None
    if runs is not None and not runs.is_dir():
        raise ConfigError(f"runs={runs}: no such folder; it holds one folder per run")

    from iapt.files import write_text
    from iapt.reporting.html_report import html_report
    from iapt.results.cells import collect

    rows, warnings = load_rows(words.get("rows"))
    cells, messages = collect(rows)
    out = Path(words.get("out", OUT))
    text = html_report(rows, cells, [*warnings, *messages], runs, int(samples))
    try:
        write_text(out, text)
    except OSError as error:
        raise ConfigError(f"out={out}: cannot write there ({error.strerror or error})") from error
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"Written: {out} ({len(rows)} rows, {len(cells)} cells, {len(text) // 1024 + 1} KiB)")


if __name__ == "__main__":
    sys.exit(main())
