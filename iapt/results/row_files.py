"""Rows on disk: one JSON file per finished run, written atomically and read strictly.

A crashed run writes no row.  Keys that this version does not know stay in a row when it is rewritten,
and `read_rows` lists them.
"""

import os
import re
from pathlib import Path

from pydantic import BaseModel, ValidationError

from iapt.configuration.checking import faults
from iapt.errors import DataError
from iapt.files import LARGEST, read_bytes, write_text
from iapt.progress import progress
from iapt.results.row import Row

# A list of numbers goes on one line.  JSON strings contain no line breaks, so only lists match.
_NUMBERS = re.compile(r"\[\n[\s\d.,]+\]")
MOST_FAULTS = 6  # listed in one warning
LONGEST_KEY = 60  # letters of a foreign key that are shown


def row_path(folder: Path, run_id: str) -> Path:
    """Return the path of a run's row: ``<folder>/<run_id>.json``."""
    return folder / f"{run_id}.json"


def write_row(folder: Path, row: Row) -> Row:
    """Write a row to ``<folder>/<run_id>.json`` atomically.

    Returns:
        The row as it will be read, with its path.

    Raises:
        DataError: the row could not be read back; the message lists every wrong field.
        StorageError: the file cannot be written.
    """
    path = row_path(folder, row.run_id)
    text = row.model_dump_json(indent=1, by_alias=True) + "\n"
    text = _NUMBERS.sub(lambda found: " ".join(found[0].split()), text)
    written = _parse(text.encode(), path)
    write_text(path, text)
    return written


def read_row(path: Path) -> Row:
    """Read one row.

    Raises:
        DataError: the file cannot be read or is not a row; the message lists every wrong field.
    """
    return _parse(read_bytes(path, LARGEST), path)


def read_rows(folder: Path) -> tuple[list[Row], list[str]]:
    """Read every row under a folder, sorted by path.

    Args:
        folder: Searched for ``*.json`` with its subfolders; hidden files and folders are skipped.

    Returns:
        The rows, and warnings: one for each file that is not a row (which is skipped), and one for the
        keys that this version does not know (which are kept).
    """
    rows, warnings = [], []
    unknown: dict[str, int] = {}
    paths = _json_files(folder)
    with progress(f"reading {folder}", "file", len(paths), delay=2.0) as bar:
        for path in paths:
            bar.update()
            try:
                rows.append(read_row(path))
            except DataError as error:
                warnings.append(f"{error} (skipped)")
                continue
            for key in _unknown(rows[-1]):
                unknown[key] = unknown.get(key, 0) + 1
    if unknown:
        keys = ", ".join(
            f"{' '.join(key.split())[:LONGEST_KEY]} ({count})"
            for key, count in sorted(unknown.items())
        )
        warnings.append(f"{folder}: keys that this version does not know, kept as they are: {keys}")
    return rows, warnings


def _json_files(folder: Path) -> list[Path]:
    """Return the sorted paths named ``*.json`` in a folder, without looking into hidden folders."""
    found = []
    with progress(f"searching {folder}", "folder", delay=2.0) as bar:
        for place, folders, files in os.walk(folder):
            bar.update()
            folders[:] = [name for name in folders if not name.startswith(".")]
            names = [name for name in (*folders, *files) if name.endswith(".json")]
            found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(found)


def _parse(text: bytes, path: Path) -> Row:
    try:
        row = Row.model_validate_json(text)
    except ValidationError as error:
        found = faults(error, model=Row)
        # If the schema is wrong, faults in other fields mean nothing.
        found = [line for line in found if line.startswith("schema=")] or found
        more = [f"And {len(found) - MOST_FAULTS} more."] if len(found) > MOST_FAULTS else []
        said = " ".join([*found[:MOST_FAULTS], *more])
        raise DataError(f"{path}: not a result row: {said}") from error
    return row.model_copy(update={"path": path})


def _unknown(block: BaseModel, prefix: str = "") -> list[str]:
    """List the dotted keys of a row that are not fields."""
    found = [f"{prefix}{key}" for key in block.model_extra or {}]
    for name in type(block).model_fields:
        value = getattr(block, name)
        if isinstance(value, BaseModel):
            found += _unknown(value, f"{prefix}{name}.")
    return found
