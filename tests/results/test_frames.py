import json
import os
import warnings
from pathlib import Path

import pandas as pd
import pytest

from iapt.errors import DataError
from iapt.results.frames import pairs, predictions, rows
from iapt.results.row_files import write_row
from tests.results.example_items import answered
from tests.results.example_rows import raw_row, store

COMMITTED = Path(__file__).parents[2] / "results" / "rows"


def test_rows_are_one_line_a_run_with_the_names_of_the_fields(tmp_path: Path) -> None:
    raws = [raw_row(seed=seed, value=80.0 + seed, numbers={"rank": 4}) for seed in (0, 1)]
    store(tmp_path / "sweep", raws)
    frame = rows(tmp_path)
    assert list(frame["cell.seed"]) == [0, 1]
    assert list(frame["scores.value"]) == [80.0, 81.0]
    assert set(frame["config.method.rank"]) == {4}
    assert set(frame["schema"]) == {1}
    assert frame["created"].max() == pd.Timestamp("2026-11-23T22:50:00Z")
    assert [path.parent.name for path in frame["path"]] == ["sweep", "sweep"]


def test_times_of_several_zones_are_one_kind_of_time_stamp(tmp_path: Path) -> None:
    times = ("2026-11-23T22:50:00Z", "2026-11-24T00:50:00+02:00")
    store(tmp_path, [raw_row(seed=seed, created=time) for seed, time in enumerate(times)])
    frame = rows(tmp_path)
    assert str(frame["created"].dt.tz) == "UTC"
    assert len(set(frame["created"])) == 1


def test_times_with_and_without_fractions_of_a_second_stand_in_one_frame(tmp_path: Path) -> None:
    times = (
        "2026-11-23T22:50:00Z",
        "2026-11-23T22:50:00.25Z",
    )  # an old row, and one of a run today
    store(tmp_path, [raw_row(seed=seed, created=time) for seed, time in enumerate(times)])
    created = rows(tmp_path)["created"]
    assert created[1] - created[0] == pd.Timedelta(milliseconds=250)


def test_without_a_folder_the_rows_of_the_checkout_are_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path / "results" / "rows", [raw_row()])
    monkeypatch.chdir(tmp_path)
    assert len(rows()) == 1


def test_committed_rows_make_a_frame_to_group_and_average() -> None:
    frame = rows(str(COMMITTED))
    # Of make sweep-sample alone: whoever uses the checkout writes rows of their own beside them.
    shape = (frame["config.hparams.max_steps"] == 16) & (frame["config.limit.test"] == 50)
    sweep = frame[shape & (frame["cell.data"] == "sample") & (frame["cell.task"] == "sst2")]
    assert dict(sweep.groupby("cell.method")["scores.value"].count()) == {"iapt": 5, "lora": 5}


def test_what_is_no_row_is_left_out_with_a_warning(tmp_path: Path) -> None:
    store(tmp_path, [raw_row()])
    (tmp_path / "x.json").write_text("{half")
    with pytest.warns(UserWarning, match=r"x\.json"):
        assert len(rows(tmp_path)) == 1


def test_a_folder_without_rows_is_empty_and_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert len(rows(tmp_path)) == 0
    with pytest.raises(DataError, match="nowhere: no such folder"):
        rows(tmp_path / "nowhere")


def test_predictions_are_one_line_an_example(tmp_path: Path) -> None:
    lines = [
        {"id": "a", "output": "yes", "parsed": "yes", "references": ["yes"], "score": 100.0},
        {"id": "b", "output": "mumble", "parsed": None, "references": ["no"]},
    ]
    (tmp_path / "predictions.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    frame = predictions(str(tmp_path))
    assert list(frame.columns) == [
        *("id", "output", "parsed", "references", "score", "correct", "instruction")
    ]
    assert list(frame["correct"]) == [True, False]
    assert list(frame["references"]) == [("yes",), ("no",)]


def test_predictions_that_are_missing_or_damaged_are_named(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    with pytest.raises(DataError, match="no such file"):
        predictions(tmp_path)
    path.write_text('{"output": "x"}\n{"id": "b"}\n')
    with pytest.raises(DataError, match="line 2: a prediction needs an output"):
        predictions(tmp_path)
    path.write_text("[1]\n")
    with pytest.raises(DataError, match="line 1"):
        predictions(tmp_path)
    path.write_text("")
    assert list(predictions(tmp_path).columns) == [
        "id",
        "output",
        "parsed",
        "references",
        "score",
        "correct",
        "instruction",
    ]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="not a regular file"):
        predictions(tmp_path)


def test_pairs_are_one_line_per_two_methods_of_a_setting(tmp_path: Path) -> None:
    written = (
        answered("iapt", 0.8) + answered("lora", 0.6, number=1) + answered("lpt", 0.7, number=2)
    )
    for row in [*written, *answered("iapt", 0.8, task="rte")]:
        write_row(tmp_path, row)
    frame = pairs(tmp_path)
    assert len(frame) == 3
    (line,) = frame[(frame.left == "iapt") & (frame.right == "lora")].to_dict("records")
    assert (line["task"], line["items"], line["seeds"]) == ("boolq", 200, 5)
    assert line["low"] < line["difference"] < line["high"]
    assert line["p"] <= line["p_bh"] <= line["p_holm"] <= 0.05
    assert line["left_runs"].split() == [row.run_id for row in written[:5]]
    assert line["setting"] == written[0].setting_hash[:8]


def test_pairs_of_an_empty_folder_are_none_and_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    assert len(pairs(tmp_path)) == 0
    with pytest.raises(DataError, match="no such folder"):
        pairs(tmp_path / "none")


def test_pairs_warn_of_rows_that_do_not_count(tmp_path: Path) -> None:
    store(tmp_path, [raw_row(), raw_row(seed=17)])
    store(tmp_path / "again", [raw_row(created="2026-11-24T22:50:00Z")])
    (tmp_path / "x.json").write_text("{half")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pairs(tmp_path)
    said = [str(warning.message) for warning in caught]
    assert len(said) == 3
    for text in ("x.json", "seed 0 has 2 rows; the newest counts", "seed 17 left out"):
        assert any(text in line for line in said)
