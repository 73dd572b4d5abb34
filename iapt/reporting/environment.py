"""What the rows were run on: versions, commits, machines, dates."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from iapt.reporting.render import Grid
from iapt.results.cells import count_of
from iapt.results.row import Row

MOST = 8  # values listed on one line


def environment(rows: Sequence[Row]) -> Grid:
    """Lay out the values in the rows, each with its number of rows where they differ."""
    names = sorted({name for row in rows for name in row.versions})
    readers: dict[str, Callable[[Row], str]] = {
        "commit": _commit,
        "device": lambda row: row.device,
        "backbone": lambda row: row.backbone.checkpoint or "",
        "dtype": lambda row: row.backbone.dtype or "",
        "quantization": lambda row: row.backbone.quantization or "",
        **{name: _version(name) for name in names},
    }
    lines = [[name, ", ".join(_values(rows, read))] for name, read in readers.items()]
    days = sorted(row.created.date().isoformat() for row in rows)
    lines += [["date", " to ".join(dict.fromkeys((days[0], days[-1])))]] if days else []
    return Grid(("What", "Value"), [line for line in lines if line[1]])


def _values(rows: Sequence[Row], read: Callable[[Row], str]) -> Iterator[str]:
    counts = Counter(value for row in rows if (value := read(row)))
    for value, count in counts.most_common(MOST):
        rows_with = [row for row in rows if read(row) == value]
        yield value if count == len(rows) else f"{value} ({count_of(rows_with)})"
    if len(counts) > MOST:
        yield f"and {len(counts) - MOST} more"


def _commit(row: Row) -> str:
    commit = (row.git.commit or "")[:12]
    return f"{commit} with changes" if commit and row.git.dirty else commit


def _version(name: str) -> Callable[[Row], str]:
    return lambda row: row.versions.get(name, "")
