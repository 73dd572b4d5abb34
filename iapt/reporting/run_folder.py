"""What a run left in its folder: samples of its predictions, and the traceback of a failed one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

MOST_LINES = 20_000


@dataclass(frozen=True)
class Prediction:
    """One decoded test example; any text in it may be hostile."""

    id: str
    output: str
    parsed: str | None
    references: tuple[str, ...]
    correct: bool | None


def read_predictions(folder: Path, most: int) -> tuple[list[Prediction], str]:
    """Read a sample of a run's predictions: wrong ones first, then the rest, in file order.

    Args:
        folder: The run's folder; ``predictions.jsonl`` in it.
        most: How many to return.

    Returns:
        The sample, and a remark about lines that could not be read (empty for none).
    """
    path = folder / "predictions.jsonl"
    found, bad = [], 0
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for text in islice(file, MOST_LINES):
                try:
                    found.append(_prediction(json.loads(text)))
                except (ValueError, RecursionError):
                    bad += 1
    except OSError as error:
        return [], f"{path}: {error.strerror or error}"
    found.sort(key=lambda prediction: prediction.correct is not False)
    return found[:most], f"{bad} lines of {path} are not predictions" if bad else ""


def failures(folder: Path) -> dict[str, str]:
    """Return run folder name -> traceback for every run under a folder that left ``failed.txt``."""
    found = {}
    for path in sorted(folder.glob("*/failed.txt")):
        try:
            found[path.parent.name] = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            found[path.parent.name] = f"{path}: {error.strerror or error}"
    return found


def _prediction(raw: Any) -> Prediction:
    if not isinstance(raw, Mapping) or "output" not in raw:
        raise ValueError("a prediction is an object with an output")
    references = raw.get("references", ())
    many = references if isinstance(references, (list, tuple)) else [references]
    correct, parsed = raw.get("correct"), raw.get("parsed")
    if not isinstance(correct, bool):  # some tasks have no right or wrong, but unparsed is wrong
        correct = False if parsed is None else None
    return Prediction(
        id=str(raw.get("id", "")),
        output=str(raw["output"]),
        parsed=None if parsed is None else str(parsed),
        references=tuple(map(str, many)),
        correct=correct,
    )
