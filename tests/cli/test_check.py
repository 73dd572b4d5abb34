"""`iapt-sweep check`: the states of a sweep's cells, for people and for scripts."""

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from iapt.cli.composing import composed, grid_of
from iapt.cli.sweep import main
from iapt.errors import DataError
from iapt.grid.blocks import combinations
from iapt.grid.cells import Cell, plan_cells
from iapt.grid.manifest import write_manifest
from iapt.results.attempt import attempt, record_failure
from iapt.results.row_files import write_row
from iapt.results.status import new_status, write_status
from tests.results.example_rows import a_row

GRID = grid_of(
    ["task=sst2", "backbone=tiny_llama", "method=lora", "device=cpu", "seed=0,1,2,3,4,5,6"]
)
SWEEP = Path("runs/sweeps/20260101-000000-000000-7")


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return plan_cells(combinations(GRID), composed)


@pytest.fixture(autouse=True)
def sweep(cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep of seven cells: one of each state, and one that was finished before."""
    monkeypatch.chdir(tmp_path)
    folders = [Path("runs") / cell.plan.run_id for cell in cells]
    write_finished(cells[0])
    write_manifest(SWEEP, ["task=sst2", "seed=0,1,2,3,4,5,6"], cells, complete=True)
    write_finished(cells[1])
    status = new_status().model_copy(update={"pid": 2**22 + 1, "doing": "decoding"})
    write_status(folders[2], status)
    write_status(folders[3], status.model_copy(update={"state": "interrupted", "reason": "SIGHUP"}))
    record_failure(folders[4], DataError("no split"))


def write_finished(cell: Cell) -> None:
    created = datetime.now(timezone.utc).isoformat()
    write_row(Path("results/rows"), a_row(run_id=cell.plan.run_id, created=created))


def test_it_shows_what_is_not_finished_and_why(
    cells: list[Cell], capsys: pytest.CaptureFixture[str]
):
    with attempt(Path("runs") / cells[5].plan.run_id, wait=False) as current:
        current.begin(clear=False)
        assert main(["check"]) == 3
    said = capsys.readouterr()
    assert said.out.startswith(f"{SWEEP}, begun 20")
    assert "iapt-sweep task=sst2 seed=0,1,2,3,4,5,6\n" in said.out
    assert said.out.endswith(
        "7 runs: 2 finished (1 before), 1 running, 1 interrupted, 1 failed, 1 killed, 1 planned.\n"
    )
    assert f"  killed: {cells[2].plan.run_id}  (seed=2)\n    while decoding: process" in said.out
    assert "    DataError: no split\n    runs/" in said.out
    assert "error: not finished: 5 of 7 runs." in said.err


def test_json_has_every_cell(cells: list[Cell], capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(SWEEP), "--json"]) == 3
    said = json.loads(capsys.readouterr().out)
    assert said["complete"] is False
    assert said["states"]["finished"] == 2
    assert [c["state"] for c in said["cells"]] == [
        *("finished", "finished", "killed", "interrupted", "failed", "planned", "planned"),
    ]
    assert [c["before"] for c in said["cells"][:2]] == [True, False]
    failed = said["cells"][4]
    assert failed["traceback"] == f"{failed['folder']}/failed.txt"
    assert failed["run_id"] == cells[4].plan.run_id
    assert Path(said["cells"][0]["row"]).is_file()


def test_a_complete_sweep_ends_with_0(cells: list[Cell], capsys: pytest.CaptureFixture[str]):
    for cell in cells[1:]:
        write_finished(cell)
    assert main(["check", "latest", "out=runs"]) == 0
    assert "7 runs: 7 finished (1 before)." in capsys.readouterr().out


def test_a_sweep_whose_sweeper_has_chosen_no_cell_is_not_finished(
    capsys: pytest.CaptureFixture[str],
):
    write_manifest(Path("runs/sweeps/chosen"), [], [], complete=False)
    assert main(["check", "runs/sweeps/chosen"]) == 3
    assert "0 runs: none chosen yet." in capsys.readouterr().out
    assert main(["check", "runs/sweeps/chosen", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["complete"] is False


def test_it_changes_nothing(capsys: pytest.CaptureFixture[str]):
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    assert main(["check"]) == 3
    after = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    assert before == after


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["elsewhere"], 1, "elsewhere: not the folder of a sweep"),
        (["out=elsewhere"], 2, "out=elsewhere: no sweep with a manifest in it"),
        (["--jsno"], 2, "no such flag"),
        (["a", "b"], 2, "a b: iapt-sweep check takes [FOLDER]"),
    ],
)
def test_a_wrong_word_is_named(
    words: list[str], code: int, part: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["check", *words]) == code
    assert part in capsys.readouterr().err


def test_its_help_has_the_exit_codes(capsys: pytest.CaptureFixture[str]):
    assert main(["check", "--help"]) == 0
    said = capsys.readouterr().out
    assert "--json" in said
    assert "3 if some are not" in said


def test_nothing_of_a_manifest_reaches_a_terminal_as_an_order(
    cells: list[Cell], capsys: pytest.CaptureFixture[str]
):
    path = SWEEP / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["command"] = ["\x1b[2Jseed=0"]
    manifest["cells"][4]["name"] = "\x9b2Jname"
    path.write_text(json.dumps(manifest))
    assert main(["check"]) == 3
    said = capsys.readouterr().out
    assert "iapt-sweep \ufffd[2Jseed=0\n" in said
    assert "(\ufffd2Jname)" in said
    assert not {"\x1b", "\x9b"} & set(said)
