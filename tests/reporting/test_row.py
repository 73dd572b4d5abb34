import json
import math
import os
from pathlib import Path

import pytest

from iapt import files
from iapt.errors import DataError
from iapt.reporting.row import read_rows, row_path, write_row
from tests.reporting.example_rows import raw_row, store


def test_a_written_row_is_read_back_whole(tmp_path: Path) -> None:
    raw = raw_row()
    store(tmp_path, [raw])
    rows, warnings = read_rows(tmp_path)
    assert warnings == []
    assert [row.raw for row in rows] == [raw]
    assert (rows[0].task, rows[0].seed, rows[0].value) == ("boolq", 0, 87.5)


def test_reading_needs_only_what_names_and_scores_a_run(tmp_path: Path) -> None:
    raw = {key: raw_row()[key] for key in ("schema", "status", "run_id", "cell")}
    raw["scores"] = {"metric": "acc", "value": 50}
    (tmp_path / "old.json").write_text(json.dumps(raw))
    rows, warnings = read_rows(tmp_path)
    assert warnings == []
    assert rows[0].setting_hash == ""
    assert rows[0].number("seconds.per_step") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{half", "not readable as JSON"),
        ("[]", "JSON object, got list"),
        ("[" * 100_000, "not readable as JSON"),
        (json.dumps(raw_row(schema=2)), "schema=2"),
        (json.dumps(raw_row(status="failed")), "status='failed'"),
        (json.dumps(raw_row(scores={"metric": "acc", "value": math.nan})), "scores.value=nan"),
        (json.dumps(raw_row(scores={"metric": "acc", "value": 187})), "scores.value=187"),
        (json.dumps(raw_row(cell={"task": "boolq"})), "cell.seed is missing"),
    ],
)
def test_a_file_that_is_no_row_is_named_and_skipped(tmp_path: Path, text: str, reason: str) -> None:
    store(tmp_path, [raw_row()])
    (tmp_path / "zz.json").write_text(text)
    rows, warnings = read_rows(tmp_path)
    assert len(rows) == 1
    assert len(warnings) == 1
    assert "zz.json" in warnings[0]
    assert reason in warnings[0]


def test_bytes_that_are_no_text_are_named_and_skipped(tmp_path: Path) -> None:
    (tmp_path / "zz.json").write_bytes(b"\xff\xfe\x00")
    rows, warnings = read_rows(tmp_path)
    assert rows == []
    assert "zz.json" in warnings[0]


def test_rows_in_subfolders_count_and_hidden_ones_do_not(tmp_path: Path) -> None:
    store(tmp_path / "sweep", [raw_row()])
    store(tmp_path / ".trash", [raw_row(seed=1)])
    rows, _ = read_rows(tmp_path)
    assert [row.seed for row in rows] == [0]


def test_writing_lists_every_wrong_field_at_once(tmp_path: Path) -> None:
    raw = raw_row(scores={"metric": "", "value": 101, "n": 3, "n_unparsed": 0}, created="yesterday")
    del raw["setting_hash"]
    with pytest.raises(DataError) as caught:
        write_row(row_path(tmp_path, raw["run_id"]), raw)
    for field in ("scores.metric", "scores.value=101", "created='yesterday'", "setting_hash is"):
        assert field in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_row_cannot_be_written_under_another_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is named"):
        write_row(tmp_path / "other.json", raw_row())


@pytest.mark.parametrize("run_id", ["../up", "a\\b", "", "a\0b"])
def test_a_run_id_that_leaves_its_folder_is_refused(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(DataError, match="run_id"):
        write_row(tmp_path / "x.json", raw_row(run_id=run_id))


def test_a_diverged_loss_does_not_lose_the_row(tmp_path: Path) -> None:
    raw = raw_row(dev={"best_loss": math.inf, "curve": [{"step": 0, "loss": math.nan}]})
    store(tmp_path, [raw])
    rows, _ = read_rows(tmp_path)
    assert rows[0].get("dev.best_loss") is None
    assert rows[0].get("dev.curve") == [{"step": 0, "loss": None}]


def test_a_value_that_json_cannot_hold_is_named(tmp_path: Path) -> None:
    raw = raw_row(device={"index": {1, 2}})
    with pytest.raises(DataError, match=r"row\.device\.index is a set"):
        write_row(row_path(tmp_path, raw["run_id"]), raw)


def test_a_crash_while_writing_leaves_the_old_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = raw_row()
    path = row_path(tmp_path, raw["run_id"])
    write_row(path, raw)
    before = path.read_bytes()

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        write_row(path, raw_row(value=1.0))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_a_reader_sees_the_old_row_or_the_new_one_never_half(tmp_path: Path) -> None:
    raw = raw_row(value=1.0)
    path = row_path(tmp_path, raw["run_id"])
    write_row(path, raw)
    with path.open() as reader:  # opened before, read after
        write_row(path, raw_row(value=2.0))
        assert json.load(reader)["scores"]["value"] == 1.0
    assert json.loads(path.read_text())["scores"]["value"] == 2.0
