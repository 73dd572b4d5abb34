"""The result row: one JSON file per finished run, the only thing that tables read.

A row says what was run (`cell`, `config`, hashes), on what (`data`, `backbone`, `versions`, `git`,
`device`) and what came out (`scores`, `dev`, `params`, `seconds`, `peak_memory_mib`). A crashed run
writes none. Which keys a row must have is in `_FIELDS`; everything else is optional and shows as a
dash where a table wants it.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from iapt.errors import DataError
from iapt.files import write_text

SCHEMA = 1


@dataclass(frozen=True)
class Row:
    """One finished run, read from its file.

    Attributes:
        metric: Name of the main score, e.g. ``acc``.
        value: The main score, 0-100.
        setting_hash: Hash of the config without seed, task and method; empty if the row has none.
        created: When the run ended; the epoch's start if the row does not say.
        raw: The whole row as read.
        path: Where it was read from.
    """

    run_id: str
    task: str
    backbone: str
    method: str
    variant: str
    hparams: str
    data: str
    seed: int
    metric: str
    value: float
    setting_hash: str
    created: datetime
    raw: Mapping[str, Any]
    path: Path

    def get(self, dotted: str) -> Any:
        """Return the value under a dotted key, e.g. ``seconds.per_step``, or None."""
        found: Any = self.raw
        for part in dotted.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return None
            found = found[part]
        return found

    def number(self, dotted: str) -> float | None:
        """Return a finite number under a dotted key, or None for anything else."""
        found = self.get(dotted)
        return float(found) if _is_number(found) else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_file_name(value: object) -> bool:
    return _is_text(value) and not set(str(value)) & set("/\\\0")


_TEXT = "a text that is not empty"
_ANY = "any"
# key, required when (reading and writing, or writing only), test, what is allowed
_FIELDS: tuple[tuple[str, str, Callable[[Any], bool], str], ...] = (
    ("status", _ANY, lambda value: value == "finished", "'finished' (failed runs write no row)"),
    ("run_id", _ANY, _is_file_name, "a file name"),
    *(
        (f"cell.{key}", _ANY, _is_text, _TEXT)
        for key in ("task", "backbone", "method", "hparams", "data")
    ),
    ("cell.seed", _ANY, _is_count, "an integer from 0"),
    ("cell.variant", "", lambda value: isinstance(value, str), "a text, '' for none"),
    ("scores.metric", _ANY, _is_text, _TEXT),
    (
        "scores.value",
        _ANY,
        lambda value: _is_number(value) and 0 <= value <= 100,
        "a number from 0 to 100",
    ),
    ("scores.n", "write", _is_count, "an integer from 0"),
    ("scores.n_unparsed", "write", _is_count, "an integer from 0"),
    ("config", "write", lambda value: isinstance(value, Mapping), "the resolved config"),
    ("config_hash", "write", _is_text, _TEXT),
    ("setting_hash", "write", _is_text, _TEXT),
    ("created", "write", lambda value: _moment(value) is not None, "an ISO 8601 time"),
)


def problems(raw: object, *, writing: bool = False) -> list[str]:
    """List everything that keeps an object from being a row, one sentence each.

    Args:
        raw: What was read, or is to be written.
        writing: Ask also for the keys that every new row must have; a reader does without them.
    """
    if not isinstance(raw, Mapping):
        return [f"a row is a JSON object, got {type(raw).__name__}"]
    if raw.get("schema") != SCHEMA:  # another kind of file; its other fields mean nothing here
        return [f"schema={_short(raw.get('schema'))} is not allowed; expected {SCHEMA}"]
    found = []
    for key, required, allows, allowed in _FIELDS:
        value: Any = raw
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None and not (required == _ANY or (writing and required == "write")):
            continue
        if value is None:
            found.append(f"{key} is missing; expected {allowed}")
        elif not allows(value):
            found.append(f"{key}={_short(value)} is not allowed; expected {allowed}")
    return found


def parse_row(raw: object, path: Path) -> Row:
    """Turn a JSON object into a `Row`.

    Raises:
        DataError: It is not a row; the message lists every field that is wrong.
    """
    wrong = problems(raw)
    if wrong or not isinstance(raw, Mapping):
        raise DataError(f"{path}: not a result row: {'; '.join(wrong)}")
    cell, scores = raw["cell"], raw["scores"]
    return Row(
        run_id=raw["run_id"],
        task=cell["task"],
        backbone=cell["backbone"],
        method=cell["method"],
        variant=cell.get("variant") or "",
        hparams=cell["hparams"],
        data=cell["data"],
        seed=cell["seed"],
        metric=scores["metric"],
        value=float(scores["value"]),
        setting_hash=str(raw.get("setting_hash") or ""),
        created=_moment(raw.get("created")) or datetime.fromtimestamp(0, timezone.utc),
        raw=raw,
        path=path,
    )


def row_path(folder: Path, run_id: str) -> Path:
    """Return where a run's row lies: ``<folder>/<run_id>.json``."""
    return folder / f"{run_id}.json"


def write_row(path: Path, row: Mapping[str, Any]) -> None:
    """Check a row and write it whole or not at all.

    A number that JSON cannot hold (NaN, infinity) is written as null: a run of many hours is not
    lost for a loss that diverged. Only the fields of `_FIELDS` are refused when they are wrong.

    Args:
        path: ``<folder>/<run_id>.json``; see `row_path`.
        row: The row as plain values (paths and numpy scalars are converted).

    Raises:
        DataError: A field is missing or wrong, or the file's name is not the run's.
    """
    plain = _plain(row, "row")
    wrong = problems(plain, writing=True)
    if not wrong and path.name != f"{plain['run_id']}.json":
        wrong = [f"the file of run_id={plain['run_id']!r} is named {plain['run_id']}.json"]
    if wrong:
        raise DataError(f"{path}: refused to write this row: {'; '.join(wrong)}")
    write_text(path, json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_rows(folder: Path) -> tuple[list[Row], list[str]]:
    """Read every row under a folder, in the order of their paths.

    Args:
        folder: Searched with its subfolders for ``*.json``; hidden files are passed over.

    Returns:
        The rows, and one warning for each file that is not a row (which is skipped).
    """
    rows, warnings = [], []
    for path in sorted(folder.rglob("*.json")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        try:
            rows.append(parse_row(json.loads(path.read_text(encoding="utf-8")), path))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            warnings.append(f"{path}: skipped, not readable as JSON ({error})")
        except DataError as error:
            warnings.append(f"{error} (skipped)")
    return rows, warnings


def _plain(value: Any, where: str) -> Any:
    """Copy a value into what JSON can hold; ``where`` names the place in an error."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if callable(getattr(value, "item", None)) and getattr(value, "ndim", 1) == 0:
        return _plain(value.item(), where)  # numpy and torch scalars
    raise DataError(f"{where} is a {type(value).__name__}; a row holds plain JSON values only")


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        # Python 3.10 does not read the "Z" that ISO 8601 writes for UTC.
        moment = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
