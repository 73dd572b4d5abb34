"""Rows and predictions as plain data frames, for analysis in Python."""

import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from iapt.errors import DataError
from iapt.results import run_folder
from iapt.results.row_files import read_rows

if TYPE_CHECKING:
    import pandas as pd


def rows(folder: str | Path = "results/rows") -> "pd.DataFrame":
    """Return all result rows under a folder, one line per run, sorted by path.

    Columns have the dotted names of the row's fields (``cell.method``, ``scores.value``,
    ``config.hparams.lr``); ``created`` is a timestamp, and ``path`` is the row's file.  A file that is
    not a row is skipped with a warning.

    Raises:
        DataError: there is no such folder.
    """
    import pandas as pd

    found, faults = read_rows(_folder(folder))
    for fault in faults:
        warnings.warn(fault, stacklevel=2)
    plain = [json.loads(row.model_dump_json(by_alias=True)) for row in found]
    frame = pd.json_normalize(plain)
    if found:
        frame["created"] = pd.to_datetime(frame["created"], utc=True, format="ISO8601")
        frame["path"] = [row.path for row in found]
    return frame


def pairs(folder: str | Path = "results/rows") -> "pd.DataFrame":
    """Return the comparison of every pair of methods of one setting and task, one line per pair.

    Columns: backbone, hparams, data, setting, task, left, right, difference (left minus right, in
    points), low, high (95 % interval), p, p_holm and p_bh (adjusted for all pairs of one setting and task),
    detectable (the smallest difference that 80 % of such experiments would find), seeds, seeds_left_out,
    items and clusters, how many seeds and items the left won, lost and tied, budget (trained parameters of
    the left over the right's), left_runs and right_runs (run ids).  Without scores per item, `items` is 0
    and the interval is over seeds alone.  If several cells of a method differ in its values or learning
    rate, the one with the most rows counts, or among equals the one with the lowest dev loss.

    Raises:
        DataError: there is no such folder.
    """
    import pandas as pd

    from iapt.results.cells import Cell, collect
    from iapt.results.comparison import compare_all, one_per_method

    found, faults = read_rows(_folder(folder))
    cells, messages = collect(found)
    for message in [*faults, *messages]:
        warnings.warn(message, stacklevel=2)
    families: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        key = (cell.backbone, cell.hparams, cell.data, cell.setting, cell.task)
        families.setdefault(key, []).append(cell)
    names = ("backbone", "hparams", "data", "setting")
    return pd.DataFrame(
        [
            dict(zip(names, key, strict=False)) | pair.facts()
            for key, family in families.items()
            for pair in compare_all(one_per_method(family))
        ]
    )


def predictions(run: str | Path) -> "pd.DataFrame":
    """Return a run's predictions: columns id, output, parsed, references, score, correct and instruction.

    Args:
        run: the run's folder, such as ``runs/<run_id>``.

    Raises:
        DataError: the folder has no ``predictions.jsonl``, or a line of it is not a prediction.
    """
    import pandas as pd

    names = list(run_folder.Prediction.__dataclass_fields__)
    lines = [asdict(prediction) for prediction in run_folder.predictions(Path(run))]
    return pd.DataFrame(lines, columns=names)


def _folder(folder: str | Path) -> Path:
    if not Path(folder).is_dir():
        raise DataError(f"{folder}: no such folder of result rows.")
    return Path(folder)
