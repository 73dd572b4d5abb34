import itertools
import json
import math
import os
from functools import partial
from pathlib import Path

import pytest

from iapt import files
from iapt.errors import DataError
from iapt.progress import progress
from iapt.results import row_files
from iapt.results.row_files import read_row, read_rows, row_path, write_row
from tests.results.example_rows import a_row, raw_row, store

COMMITTED = Path(__file__).parents[2] / "results" / "rows"


def test_every_committed_row_is_read_and_written_again_as_it_is(tmp_path: Path) -> None:
    paths = sorted(COMMITTED.rglob("*.json"))
    rows, warnings = read_rows(COMMITTED)
    assert warnings == []
    assert [row.path for row in rows] == paths
    assert len(paths) >= 67
    for row, path in zip(rows, paths, strict=True):
        before = json.loads(path.read_text())
        written = write_row(tmp_path, row)
        after = json.loads((tmp_path / path.name).read_text())
        scores = after["scores"]
        if "items" not in before["scores"]:  # of before rows kept the score of each example
            assert (scores.pop("items"), scores.pop("clusters")) == ([], [])
        if "skipped" not in before["data"]:  # before rows that do not fit could be left out
            assert after["data"].pop("skipped") == {}
        if "quantization" not in before["backbone"]:  # before a backbone could be quantised
            assert after["backbone"].pop("quantization") is None
        assert {key: value for key, value in after.items() if key in before} == before
        assert {key for key in after if key not in before} <= {"judge"}
        assert written.path == tmp_path / path.name


def test_a_written_row_is_read_back_whole(tmp_path: Path) -> None:
    row = a_row()
    assert write_row(tmp_path, row) == read_row(row_path(tmp_path, row.run_id))
    rows, warnings = read_rows(tmp_path)
    assert warnings == []
    assert rows == [row.model_copy(update={"path": row_path(tmp_path, row.run_id)})]
    (row,) = rows
    assert (row.cell.task, row.cell.seed, row.scores.value) == ("boolq", 0, 87.5)


def test_a_row_is_written_with_one_field_a_line(tmp_path: Path) -> None:
    row = write_row(tmp_path, a_row())
    lines = row_path(tmp_path, row.run_id).read_text().splitlines(keepends=True)
    assert lines[:3] == ["{\n", ' "schema": 1,\n', ' "status": "finished",\n']
    assert lines[-1] == "}\n"


def test_reading_needs_only_what_names_scores_and_places_a_run(tmp_path: Path) -> None:
    names = ("schema", "status", "run_id", "cell", "config", "config_hash", "setting_hash")
    raw = {key: raw_row()[key] for key in (*names, "created")}
    raw["scores"] = {"metric": "acc", "value": 50, "n": 10, "n_unparsed": 0}
    (tmp_path / "old.json").write_text(json.dumps(raw))
    rows, warnings = read_rows(tmp_path)
    assert warnings == []
    assert (rows[0].seconds.per_step, rows[0].params.trained, rows[0].dev.curve) == (None, None, ())
    for key in raw:
        if key != "schema":
            less = {name: value for name, value in raw.items() if name != key}
            (tmp_path / "old.json").write_text(json.dumps(less))
            with pytest.raises(DataError, match=f"{key}: missing"):
                read_row(tmp_path / "old.json")


def scored(value: object) -> dict[str, object]:
    return {"metric": "acc", "value": value, "n": 1, "n_unparsed": 0}


def seeded(seed: str) -> str:
    return json.dumps(raw_row()).replace('"seed": 0', f'"seed": {seed}')


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{half", "not readable as JSON"),
        ("[]", "[]: must be a mapping"),
        ("[" * 100_000, "not readable as JSON"),
        ('{"schema": 1, "config": ' + '{"a": ' * 100_000, "not readable as JSON"),
        (json.dumps(raw_row(schema=2)), "schema=2: must be 1, the schema that this version"),
        (json.dumps(raw_row(schema=True)), "schema=True: must be a whole number"),
        (json.dumps(raw_row(schema=1.0)), "schema=1.0: must be a whole number"),
        (json.dumps(raw_row(status="failed")), "status='failed': must be finished"),
        (json.dumps(raw_row(scores=scored(math.nan))), "scores.value=nan"),
        (json.dumps(raw_row(scores=scored(187))), "scores.value=187"),
        (json.dumps(raw_row(scores=scored(-0.1))), "scores.value=-0.1"),
        (json.dumps(raw_row(scores=scored("80"))), "scores.value='80': must be a number"),
        (json.dumps(raw_row(scores=scored(True))), "scores.value=True: must be a number"),
        (json.dumps(raw_row(cell={"task": "boolq"})), "cell.seed: missing"),
        (json.dumps(raw_row(seed=-1, run_id="r")), "cell.seed=-1"),
        (seeded("1.0"), "cell.seed=1.0: must be a whole number"),
        (seeded("true"), "cell.seed=True: must be a whole number"),
        (seeded("1" * 400), "cell.seed=1"),
        (seeded("1" * 5_000), "not readable as JSON"),
        (json.dumps(raw_row(task=" ", run_id="r")), "cell.task=' '"),
        (json.dumps(raw_row(params={"trained": "many"})), "params.trained='many': must be a whole"),
        (json.dumps(raw_row(dev={"curve": [None, {"step": "x"}]})), "dev.curve.1.step='x'"),
        (json.dumps(raw_row(created="yesterday")), "created='yesterday': must be a time"),
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
    assert len(warnings[0]) < 1_000


def test_what_is_no_regular_file_is_named_and_skipped(tmp_path: Path) -> None:
    store(tmp_path, [raw_row()])
    os.mkfifo(tmp_path / "x.json")
    (tmp_path / "y.json").mkdir()
    (tmp_path / "z.json").symlink_to(tmp_path / "nowhere")
    rows, warnings = read_rows(tmp_path)
    assert len(rows) == 1
    assert [warning.removeprefix(f"{tmp_path}/") for warning in warnings] == [
        "x.json cannot be read: not a regular file. (skipped)",
        "y.json cannot be read: Is a directory. (skipped)",
        "z.json cannot be read: No such file or directory. (skipped)",
    ]


def test_a_file_of_absurd_size_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path, [raw_row()])
    monkeypatch.setattr(row_files, "LARGEST", 10)
    rows, (warning,) = read_rows(tmp_path)
    assert rows == []
    assert "bytes of at most 10." in warning
    size = next(tmp_path.iterdir()).stat().st_size
    monkeypatch.setattr(row_files, "LARGEST", size)
    assert len(read_rows(tmp_path)[0]) == 1


def test_a_row_that_the_disk_refuses_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, [raw_row()])

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    _, (warning,) = read_rows(tmp_path)
    assert warning.endswith(".json cannot be read: Permission denied. (skipped)")


def test_of_a_row_of_another_schema_nothing_else_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(raw_row(schema=2, status="over", seed=-1)))
    _, (warning,) = read_rows(tmp_path)
    assert "schema=2" in warning
    assert "status" not in warning


@pytest.mark.parametrize(("faults", "rest"), [(6, ""), (7, " And 1 more.")])
def test_six_faults_are_spelled_out(tmp_path: Path, faults: int, rest: str) -> None:
    points = [{"step": "x"}] * faults
    (tmp_path / "x.json").write_text(json.dumps(raw_row(dev={"curve": points})))
    _, (warning,) = read_rows(tmp_path)
    said = warning.split(": not a result row: ")[1]
    assert said.count("must be a whole number") == 6
    assert ". dev.curve.5.step='x': must be" in said
    assert ("And 1 more." in said) == (faults == 7)
    assert said.endswith(f"9223372036854775808.{rest} (skipped)")


def test_a_row_with_a_thousand_faults_is_one_short_warning(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(raw_row(dev={"curve": [{"step": "x"}] * 1000})))
    _, (warning,) = read_rows(tmp_path)
    assert "And 994 more." in warning
    assert "\n" not in warning


def test_each_example_has_one_score_on_one_line_of_the_file(tmp_path: Path) -> None:
    raw = raw_row()
    n = raw["scores"]["n"]
    raw["scores"] |= {"value": 12.5, "items": [12.5] * n, "clusters": [3] * n}
    store(tmp_path, [raw])
    (path,) = tmp_path.glob("*.json")
    row = read_row(path)
    assert (row.scores.items, row.scores.clusters) == ((12.5,) * n, (3,) * n)
    write_row(tmp_path, row)
    assert f'"items": [ {"12.5, " * (n - 1)}12.5 ],' in path.read_text()


@pytest.mark.parametrize("name", ["items", "clusters"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_list_that_has_not_one_number_for_each_example_is_named(
    tmp_path: Path, name: str, count: int
) -> None:
    raw = raw_row()
    raw["scores"] |= {"n": 2, "items": [50, 50], "clusters": [0, 1], name: [0] * count}
    (tmp_path / "x.json").write_text(json.dumps(raw))
    with pytest.raises(DataError, match=rf"{name} has {count} numbers for n=2 examples"):
        read_row(tmp_path / "x.json")


def test_keys_of_a_later_version_are_named_kept_and_written_again(tmp_path: Path) -> None:
    raw = raw_row(energy={"joule": 7})
    raw["scores"]["medal"] = [1, 0]
    store(tmp_path, [raw, raw_row(seed=1, energy=None)])
    rows, warnings = read_rows(tmp_path)
    assert len(warnings) == 1
    assert warnings[0].endswith("kept as they are: energy (2), scores.medal (1)")
    write_row(tmp_path / "copy", rows[0])
    again = json.loads(row_path(tmp_path / "copy", rows[0].run_id).read_text())
    assert (again["energy"], again["scores"]["medal"]) == ({"joule": 7}, [1, 0])


def test_bytes_that_are_no_text_are_named_and_skipped(tmp_path: Path) -> None:
    (tmp_path / "zz.json").write_bytes(b"\xff\xfe\x00")
    rows, warnings = read_rows(tmp_path)
    assert rows == []
    assert "zz.json" in warnings[0]


def test_rows_in_subfolders_count_and_hidden_ones_do_not(tmp_path: Path) -> None:
    store(tmp_path / "sweep", [raw_row()])
    store(tmp_path / ".trash", [raw_row(seed=1)])
    (tmp_path / "._row.json").write_bytes(b"\0\5\x16\7")  # macOS leaves these beside files
    (tmp_path / ".#row.json").write_text(json.dumps(raw_row(seed=2)))
    rows, warnings = read_rows(tmp_path)
    assert [row.cell.seed for row in rows] == [0]
    assert warnings == []


def test_reading_many_files_shows_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path, [raw_row(seed=seed) for seed in range(3)])
    clock = itertools.count(0, 20)  # seconds
    monkeypatch.setattr(row_files, "progress", partial(progress, clock=lambda: next(clock)))
    read_rows(tmp_path)
    assert f"reading {tmp_path}: 2 of 3 files" in capsys.readouterr().err


def test_searching_many_folders_shows_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":
        (tmp_path / name / ".hidden").mkdir(parents=True)
    clock = itertools.count(0, 20)  # seconds
    monkeypatch.setattr(row_files, "progress", partial(progress, clock=lambda: next(clock)))
    read_rows(tmp_path)
    assert capsys.readouterr().err == (
        f"searching {tmp_path}: 2 folders\nsearching {tmp_path}: 4 folders\n"
    )


def test_writing_lists_every_wrong_field_at_once(tmp_path: Path) -> None:
    row = a_row()
    scores = row.scores.model_copy(update={"metric": "", "value": 101.0})
    wrong = row.model_copy(update={"scores": scores, "setting_hash": ""})
    with pytest.raises(DataError) as caught:
        write_row(tmp_path, wrong)
    for fault in ("scores.metric", "scores.value=101", "setting_hash"):
        assert fault in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "run_id", ["../up", "a\\b", "", " ", "a\0b", ".", "..", "a\nb", "a\u202eb", "x" * 241]
)
def test_a_run_id_that_is_no_plain_file_name_is_refused(tmp_path: Path, run_id: str) -> None:
    (tmp_path / "x.json").write_text(json.dumps(raw_row(run_id=run_id)))
    with pytest.raises(DataError, match=r"run_id=.*: must be a (plain )?file name"):
        read_row(tmp_path / "x.json")
    with pytest.raises(DataError, match="run_id"):
        write_row(tmp_path / "rows", a_row().model_copy(update={"run_id": run_id}))
    assert not (tmp_path / "rows").exists()


def test_a_run_id_may_have_capitals_and_240_bytes(tmp_path: Path) -> None:
    row = a_row().model_copy(update={"run_id": "X" * 240})
    assert write_row(tmp_path, row).run_id == "X" * 240


def test_a_diverged_loss_does_not_lose_the_row(tmp_path: Path) -> None:
    raw = raw_row(dev={"best_loss": math.inf, "curve": [{"step": 0, "loss": math.nan}]})
    raw["config"]["method"]["scale"] = math.nan
    store(tmp_path, [raw])
    rows, warnings = read_rows(tmp_path)
    assert warnings == []
    assert rows[0].dev.best_loss is None
    assert [(point.step, point.loss) for point in rows[0].dev.curve] == [(0, None)]
    assert rows[0].setting("method", "scale") is None
    text = row_path(tmp_path, rows[0].run_id).read_text()
    assert "NaN" not in text
    assert "Infinity" not in text


def test_a_crash_while_writing_leaves_the_old_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = a_row()
    write_row(tmp_path, row)
    path = row_path(tmp_path, row.run_id)
    before = path.read_bytes()

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        write_row(tmp_path, a_row(value=1.0))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_a_reader_sees_the_old_row_or_the_new_one_never_half(tmp_path: Path) -> None:
    row = a_row(value=1.0)
    write_row(tmp_path, row)
    path = row_path(tmp_path, row.run_id)
    with path.open() as reader:  # opened before, read after
        write_row(tmp_path, a_row(value=2.0))
        assert json.load(reader)["scores"]["value"] == 1.0
    assert json.loads(path.read_text())["scores"]["value"] == 2.0
