"""Rows and predictions as plain data frames, for analysis in Python."""

import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from iapt.errors import DataError
from iapt.results import run_folder
from iapt.results.row import read_rows

if TYPE_CHECKING:
    import pandas as pd


def rows(folder: str | Path = "results/rows") -> "pd.DataFrame":
    """Return all result rows under a folder, one line per run, sorted by path.

    Columns have the dotted names of the row's fields (``cell.method``, ``scores.value``,
    ``config.hparams.lr``), and ``path``; times are time stamps.  A file that is not a row is skipped with
    a warning.

    Raises:
        DataError: there is no such folder.
    """
    import pandas as pd

    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of result rows.")
    found, faults = read_rows(folder)
    for fault in faults:
        warnings.warn(fault, stacklevel=2)
    plain = [json.loads(row.model_dump_json(by_alias=True)) for row in found]
    frame = pd.json_normalize(plain)
    if found:
        frame["created"] = pd.to_datetime(frame["created"], utc=True, format="ISO8601")
        frame["path"] = [row.path for row in found]
    return frame


def predictions(run: str | Path) -> "pd.DataFrame":
    """Return a run's predictions: columns id, output, parsed, references, score, correct and instruction.

    Args:
        run: the run's folder, such as ``runs/<run_id>``.

    Raises:
        DataError: it has no ``predictions.jsonl``, or a line of it is not a prediction.
    """
    import pandas as pd

    names = list(run_folder.Prediction.__dataclass_fields__)
    lines = [asdict(prediction) for prediction in run_folder.predictions(Path(run))]
    return pd.DataFrame(lines, columns=names)
