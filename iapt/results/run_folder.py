"""The contents of a run's folder: its predictions, and the traceback of a failed run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from iapt.errors import DataError
from iapt.files import read_lines
from iapt.results.row import number

MOST_LINES = 20_000
LONGEST_TRACEBACK = 100_000  # characters


@dataclass(frozen=True)
class Prediction:
    """One decoded test example; any text in it may be hostile.

    Attributes:
        instruction: Empty in a file of an older version.
        score: 0-100; None in a file of an older version, and for a metric that is not a mean over examples.
        correct: True if the score is 100, False if it is 0 or nothing was parsed; otherwise None.
    """

    id: str
    output: str
    parsed: str | None
    references: tuple[str, ...]
    score: float | None
    correct: bool | None
    instruction: str = ""


def predictions(folder: Path, bad: list[str] | None = None) -> Iterator[Prediction]:
    """Yield a run's predictions, in the order of the test split.

    Args:
        folder: The run's folder, with ``predictions.jsonl`` in it.
        bad: If given, a line that is not a prediction is skipped, and its fault is added here.

    Raises:
        DataError: The file cannot be read, or a line is not a prediction; the message names the line.
    """
    path = folder / "predictions.jsonl"
    if not path.is_file():  # opening a FIFO would wait for a writer
        what = "not a regular file" if path.exists() else "no such file"
        raise DataError(f"{path} cannot be read: {what}.")
    for line, raw in read_lines(path, bad):
        if "output" in raw:
            yield _prediction(raw)
            continue
        fault = f"{path}, line {line}: a prediction needs an output."
        if bad is None:
            raise DataError(fault)
        bad.append(fault)


def read_predictions(folder: Path, most: int) -> tuple[list[Prediction], str]:
    """Read at most `most` of a run's predictions: the wrong ones first, then the rest, each in file order.

    Returns:
        The sample, and a remark about lines that are not predictions (empty if there are none).
    """
    bad: list[str] = []
    try:
        found = list(islice(predictions(folder, bad), MOST_LINES))
    except DataError as error:
        return [], str(error)
    found.sort(key=lambda prediction: prediction.correct is not False)
    if not bad:
        return found[:most], ""
    lines = f"{len(bad)} lines of {folder / 'predictions.jsonl'} are not predictions"
    return found[:most], f"{lines}; the first: {bad[0]}"


def failures(folder: Path) -> dict[str, str]:
    """Return run folder name -> traceback for every run with a ``failed.txt`` under a folder."""
    found = {}
    for path in sorted(folder.glob("*/failed.txt")):
        try:
            if path.is_file():
                with path.open(encoding="utf-8", errors="replace") as file:
                    found[path.parent.name] = file.read(LONGEST_TRACEBACK)
        except OSError as error:
            found[path.parent.name] = f"{path}: {error.strerror or error}"
    return found


def _prediction(raw: Mapping[str, Any]) -> Prediction:
    references = raw.get("references", ())
    many = references if isinstance(references, list | tuple) else [references]
    score, parsed = number(raw.get("score")), raw.get("parsed")
    correct = {0.0: False, 100.0: True}.get(score) if score is not None else None
    return Prediction(
        id=str(raw.get("id", "")),
        output=str(raw["output"]),
        parsed=None if parsed is None else str(parsed),
        references=tuple(map(str, many)),
        score=score,
        correct=False if parsed is None else correct,
        instruction=str(raw.get("instruction", "")),
    )
