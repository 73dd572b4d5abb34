import json
import os
from pathlib import Path

import pytest

from iapt.errors import DataError
from iapt.results import run_folder
from iapt.results.run_folder import Prediction, failures, predictions, read_predictions


def write(folder: Path, *lines: object) -> Path:
    text = "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)
    (folder / "predictions.jsonl").write_text(text)
    return folder


def test_a_sample_has_wrong_ones_first_then_file_order(tmp_path: Path) -> None:
    right = [{"id": i, "output": "x", "parsed": "x", "score": 100} for i in range(3)]
    wrong = [{"id": i, "output": "x", "parsed": "x", "score": 0} for i in range(3, 5)]
    found, remark = read_predictions(write(tmp_path, *right, *wrong), 3)
    assert [p.id for p in found] == ["3", "4", "0"]
    assert remark == ""


def test_without_right_or_wrong_only_what_was_not_parsed_is_wrong(tmp_path: Path) -> None:
    lines = [{"output": "x", "parsed": "x"}, {"output": "x", "parsed": None}, {"output": "x"}]
    found = list(predictions(write(tmp_path, *lines)))
    assert [p.correct for p in found] == [None, False, False]
    assert [p.parsed for p in found] == ["x", None, None]


def test_a_score_between_right_and_wrong_is_neither(tmp_path: Path) -> None:
    scores = [100.0, 66.7, 0.0, None, True, "high"]
    found = list(
        predictions(write(tmp_path, *[{"output": "x", "parsed": "x", "score": s} for s in scores]))
    )
    assert [p.correct for p in found] == [True, None, False, None, None, None]
    assert [p.score for p in found] == [100.0, 66.7, 0.0, None, None, None]


def test_a_prediction_needs_an_output_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, {"output": "x"}, {"id": "no output"})
    (found,), remark = read_predictions(tmp_path, 9)
    assert found == Prediction(
        id="", output="x", parsed=None, references=(), score=None, correct=False
    )
    assert remark.endswith("predictions.jsonl, line 2: a prediction needs an output.")


def test_lines_that_are_no_predictions_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    lines = ["no json", {"output": "fine", "references": "alone"}, "[1]", {"id": "no output"}]
    lines += ['{"output": "\\ud800"}', '{"output": NaN}', "[" * 50_000]
    found, remark = read_predictions(write(tmp_path, *lines), 9)
    assert [(p.output, p.references) for p in found] == [("fine", ("alone",))]
    assert remark.startswith(f"6 lines of {tmp_path / 'predictions.jsonl'} are not predictions")
    assert "line 1: not JSON" in remark


def test_values_of_other_kinds_become_text(tmp_path: Path) -> None:
    (found,), _ = read_predictions(
        write(tmp_path, {"id": [1], "output": {"a": 1}, "parsed": 7, "references": [None, 2]}), 1
    )
    assert (found.id, found.output, found.parsed) == ("[1]", "{'a': 1}", "7")
    assert found.references == ("None", "2")


def test_a_long_file_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "MOST_LINES", 2)
    found, _ = read_predictions(write(tmp_path, *[{"output": str(i)} for i in range(5)]), 9)
    assert [p.output for p in found] == ["0", "1"]


def test_no_file_and_no_regular_file_are_remarks(tmp_path: Path) -> None:
    assert read_predictions(tmp_path, 5) == (
        [],
        f"{tmp_path / 'predictions.jsonl'} cannot be read: no such file.",
    )
    os.mkfifo(tmp_path / "predictions.jsonl")
    assert "not a regular file" in read_predictions(tmp_path, 5)[1]
    with pytest.raises(DataError):
        list(predictions(tmp_path))


def test_failed_runs_are_found_with_their_traceback(tmp_path: Path) -> None:
    for name in ("b", "a", "pipe"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "failed.txt").write_bytes(b"Traceback \xff")
    os.mkfifo(tmp_path / "pipe" / "failed.txt")
    assert failures(tmp_path) == {"a": "Traceback \ufffd"}


def test_a_traceback_without_end_is_read_in_part(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with (tmp_path / "a" / "failed.txt").open("wb") as file:
        file.truncate(2**40)
    assert len(failures(tmp_path)["a"]) == run_folder.LONGEST_TRACEBACK


def test_a_traceback_that_cannot_be_read_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "failed.txt"
    path.write_text("Traceback")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert failures(tmp_path) == {"a": f"{path}: Permission denied"}
