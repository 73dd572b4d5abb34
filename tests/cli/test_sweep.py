"""`iapt-sweep`: the grid, its gaps and its failures."""

import json
import os
import re
import signal
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from iapt import run as run_module
from iapt.cli import sweep as sweep_module
from iapt.cli.composing import composed
from iapt.cli.overrides import groups, prepare
from iapt.cli.sweep import SEEDS, main, words_of_cells
from iapt.errors import ConfigError, TrainingError
from iapt.grid.cells import plan_cells
from iapt.grid.manifest import read_manifest, sweeps
from iapt.plan import Plan
from iapt.results.attempt import attempt
from iapt.results.row import Row
from iapt.results.row_files import write_row
from iapt.results.status import new_status, write_status
from tests.results.example_rows import a_row

TINY = ["task=sst2", "backbone=tiny_llama", "method=lora", "device=cpu"]


def with_tiny(*words: str) -> list[str]:
    """The words, and those of TINY whose keys they do not give."""
    keys = {word.split("=")[0].lstrip("+") for word in words}
    return [*(w for w in TINY if w.split("=")[0] not in keys), *words]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["iapt-sweep"])


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The configurations of the runs, which do nothing but give a row; ranks 3 and 5 fail."""
    seen: list[dict[str, Any]] = []

    def outcome(plan: Plan, *_: Any) -> Row:
        seen.append(plan.config)
        if plan.config["method"].get("rank") == 3:
            raise TrainingError("the loss is nan")
        if plan.config["method"].get("rank") == 5:
            raise ZeroDivisionError("not one of ours")
        names = {"run_id": plan.run_id, "cell": plan.cell, "config_hash": plan.config_hash}
        return a_row(created=datetime.now(timezone.utc).isoformat(), **names)

    monkeypatch.setattr(run_module, "_run", outcome)
    return seen


def test_a_grid_is_run_over_five_seeds(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main(TINY) == 0
    assert [c["seed"] for c in jobs] == [0, 1, 2, 3, 4]
    assert "5 runs: 5 finished." in capsys.readouterr().out
    assert SEEDS == "seed=0,1,2,3,4"


def test_lists_are_one_value_and_commas_outside_them_several(jobs: list[dict[str, Any]]):
    words = ["task=sst2,rte", *TINY[1:2], "method=iapt", "seed=0"]
    assert main([*words, "method.activation=[relu,gelu]"]) == 0
    assert [c["task"]["name"] for c in jobs] == ["sst2", "rte"]
    assert [c["method"]["activation"] for c in jobs] == [["relu", "gelu"]] * 2


def test_all_is_every_entry_of_the_group(jobs: list[dict[str, Any]]):
    assert main([*TINY, "hparams=all", "seed=0"]) == 0
    assert [c["hparams"]["name"] for c in jobs] == groups()["hparams"]


def test_a_failing_run_is_named_and_the_others_go_on(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main([*TINY, "seed=0", "method.rank=2,3,5,4"]) == 1
    assert [c["method"]["rank"] for c in jobs] == [2, 3, 5, 4]
    said = capsys.readouterr()
    assert "4 runs: 2 finished, 2 failed." in said.out
    failed = [line for line in said.out.splitlines() if line.startswith("  failed: ")]
    assert ["method.rank=3" in line for line in failed] == [True, False]
    assert ["method.rank=5" in line for line in failed] == [False, True]
    assert "TrainingError: the loss is nan" in said.out
    assert "ZeroDivisionError: not one of ours" in said.out
    assert "repeat the command to run only those" in said.err


def run_folder(number: int) -> Path:
    """The folder of a run by its place in the latest sweep."""
    manifest = read_manifest(next(sweeps(Path("runs"))))
    return manifest.folder(manifest.cells[number])


def test_a_failure_before_a_run_begins_is_recorded_like_any_other(
    jobs: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def no_card(config: dict[str, Any]) -> None:
        raise ConfigError("device=cuda: this machine has no card")

    monkeypatch.setattr(run_module, "make_plan", no_card)
    assert main([*TINY, "seed=0"]) == 1
    assert "1 run: 1 failed." in capsys.readouterr().out
    assert "no card" in (run_folder(0) / "failed.txt").read_text()


def test_a_cell_at_which_another_process_works_is_skipped(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main([*TINY, "seed=0,1", "method.rank=3"]) == 1
    with attempt(run_folder(0), wait=False) as other:
        other.begin(clear=False)
        capsys.readouterr()
        assert main([*TINY, "seed=0,1", "method.rank=3"]) == 1
        said = capsys.readouterr().out
    assert [c["seed"] for c in jobs] == [0, 1, 1]
    assert "2 runs: 1 skipped, 1 failed." in said
    assert f"preparing: process {os.getpid()} on" in said


def test_a_grid_without_failures_that_is_not_finished_has_an_exit_code_of_its_own(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main([*TINY, "seed=0"]) == 0
    row = next(Path("results/rows").glob("*.json"))
    row.unlink()
    with attempt(run_folder(0), wait=False) as other:
        other.begin(clear=False)
        assert main([*TINY, "seed=0"]) == 3
    assert "not finished: 1 of " in capsys.readouterr().err


def test_a_signal_ends_the_sweep_with_the_states_of_its_runs_and_its_own_exit_code(
    jobs: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    fake = run_module._run

    def stopped(plan: Plan, *more: Any) -> Row:
        if plan.config["seed"] == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return fake(plan, *more)

    monkeypatch.setattr(run_module, "_run", stopped)
    assert main([*TINY, "seed=0,1,2"]) == 128 + signal.SIGTERM
    said = capsys.readouterr()
    assert "3 runs: 1 finished, 1 interrupted, 1 planned." in said.out
    assert "interrupted by SIGTERM; repeat the command to go on." in said.err
    assert [c["seed"] for c in jobs] == [0]


def test_a_launcher_that_breaks_is_no_traceback_and_its_cells_are_named(
    jobs: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    class UncompletedJobError(RuntimeError):
        pass

    def launcher(*_: object) -> None:
        status = new_status().model_copy(update={"pid": 2**22 + 1, "doing": "training"})
        write_status(run_folder(1), status)
        raise UncompletedJobError("Job 7 (task: 0) with path\nwas not finished")

    monkeypatch.setattr(sweep_module, "run_hydra", launcher)
    assert main([*TINY, "seed=0,1"]) == 3
    said = capsys.readouterr()
    assert "the launcher stopped: UncompletedJobError: Job 7 (task: 0) with path was" in said.err
    assert "Traceback" not in said.err
    assert "2 runs: 1 killed, 1 planned." in said.out
    assert "while training: process 4194305" in said.out


def test_a_forced_sweep_repeats_rows_of_earlier_ones_only(
    jobs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    """The second cell is another sweep's by the time that this one comes to it."""
    assert main([*TINY, "seed=0,1"]) == 0
    fake = run_module._run

    def slow(plan: Plan, *more: Any) -> Row:
        monkeypatch.setattr(run_module, "_run", fake)
        config = {k: v for k, v in plan.config.items() if k != "data_fingerprint"}
        assert run_module.run(config | {"seed": 1}) is not None
        return fake(plan, *more)

    monkeypatch.setattr(run_module, "_run", slow)
    assert main([*TINY, "seed=0,1", "force=true"]) == 0
    assert [c["seed"] for c in jobs] == [0, 1, 1, 0]


def test_a_grid_under_new_hashes_is_told_before_it_runs_again(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main([*TINY, "seed=0,1"]) == 0
    assert "another hash" not in capsys.readouterr().err
    for path in Path("results/rows").glob("*.json"):
        row = json.loads(path.read_text())
        row["run_id"] = path.stem[:-8] + "01234567"
        row["config"] = {"seed": row["cell"]["seed"]}
        path.with_stem(row["run_id"]).write_text(json.dumps(row))
        path.unlink()
    assert main([*TINY, "seed=0,1", "dry_run=true"]) == 0
    said = capsys.readouterr().err
    assert "warning: 2 of 2 runs left to do were begun or finished before under" in said


def test_a_second_sweep_reports_its_own_runs(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main([*TINY, "seed=0,1", "method.rank=3"]) == 1
    assert main([*TINY, "seed=0", "method.rank=2"]) == 0
    assert "1 run: 1 finished." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("task=sst2,bool", "Did you mean 'boolq'"),
        ("method=iapt,lroa", "Did you mean 'lora'"),
        ("hparams.lrr=1,2", "unknown key 'lrr' in hparams"),
    ],
)
def test_a_wrong_word_stops_the_sweep_before_its_first_run(
    word: str, part: str, jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main(with_tiny(word)) == 2
    assert part in capsys.readouterr().err
    assert jobs == []


def test_finished_cells_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Real runs of one step; then the gap that a lost row leaves is all that is filled."""
    words = [
        *TINY,
        "seed=0,1",
        "hparams.max_steps=1",
        "hparams.batch_size=2",
        "limit.train=4",
        "limit.dev=2",
        "limit.test=2",
    ]
    assert main(words) == 0
    rows = sorted((tmp_path / "results" / "rows").glob("*.json"))
    assert [json.loads(r.read_text())["cell"]["seed"] for r in rows] == [0, 1]
    kept = rows[0].read_bytes()
    rows[1].unlink()
    capsys.readouterr()
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.count("Already finished") == 1
    assert "2 runs: 2 finished (1 before)." in said
    assert rows[0].read_bytes() == kept
    assert rows[1].exists()


def test_a_mistake_that_all_cells_share_is_told_once_before_the_first(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main(with_tiny("method=lora,bitfit", "task=sst2,rte", "hparams.batch_size=0")) == 2
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == (
        "error: hparams.batch_size=0: must be a whole number >= 1 or null."
    )
    assert said.err.count("batch_size") == 1
    assert jobs == []


def test_cells_that_cannot_run_are_named_before_the_first(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main([*TINY, "method.rank=2,0", "seed=0,1"]) == 2
    said = capsys.readouterr().err
    assert "method.rank=0: must be" in said
    assert "in 2 of 4 cells, such as method.rank=0 seed=0" in said
    assert jobs == []


def test_a_dry_sweep_plans_what_is_finished_and_what_is_left(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    words = [*TINY, "seed=0,1", "method.rank=2,4", "dry_run=true"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith("4 cells: 0 done, 4 left.")
    assert said.endswith("Nothing was started.\n")
    plans = plan_cells(words_of_cells(prepare(words)), composed)
    rows, failed = Path("results/rows"), Path("runs") / plans[1].plan.run_id
    write_row(rows, a_row().model_copy(update={"run_id": plans[2].plan.run_id}))
    write_status(failed, new_status().model_copy(update={"state": "failed"}))
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith("4 cells: 1 done, 3 left (1 of them failed before).")
    lines = [line.split() for line in said.splitlines() if line.startswith("sst2")]
    assert [line[1:4] for line in lines] == [
        ["lora", "method.rank=2", "1/2"],
        ["lora", "method.rank=4", "0/2"],
    ]
    assert jobs == []


def test_a_real_sweep_begins_with_the_plan_and_counts_its_cells(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main([*TINY, "seed=0,1"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("2 cells: 0 done, 2 left.")
    heads = [line for line in said.out.splitlines() if line.startswith("=== ")]
    counts = [re.sub(r"\d+ s", "3 s", line.split(":")[0]) for line in heads]
    assert counts == [
        "=== cell 1 of 2 (0 done, 2 left)",
        "=== cell 2 of 2 (1 done, 1 left, 3 s each, about 3 s left)",
    ]
    assert "\r" not in said.out + said.err


def test_an_experiments_cells_run_in_its_order(jobs: list[dict[str, Any]]):
    words = ["experiment=figure3", "scale=small", "backbone=tiny_llama", "seed=0,1"]
    assert main([*words, "method.prompt_len=1,4", "hparams.max_length=512"]) == 0
    assert [(c["method"]["name"], c["method"]["prompt_len"], c["seed"]) for c in jobs] == [
        (method, length, seed) for method in ("iapt", "lpt") for length in (1, 4) for seed in (0, 1)
    ]
    assert "grid" not in jobs[0]


def test_a_sweep_has_the_grid_of_one_experiment(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main(["experiment=table2,table8", "backbone=tiny_llama"]) == 2
    assert "error: experiment=table2,table8: one experiment has one" in capsys.readouterr().err
    assert jobs == []


def test_a_sweeps_folder_is_in_the_composed_output_folder(jobs: list[dict[str, Any]]):
    assert main([*TINY, "out='a,b'"]) == 0
    assert [path.name for path in Path("a,b/sweeps").iterdir()]


def test_a_folder_without_a_split_is_named_before_the_first_run(
    tmp_path: Path, jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    data = tmp_path / "data" / "sst2"
    data.mkdir(parents=True)
    (data / "train.jsonl").write_text('{"sentence": "good", "label": 1}\n' * 20)
    assert main([*TINY, f"data={data.parent}"]) == 1
    assert "validation" in capsys.readouterr().err
    assert jobs == []


def test_more_beams_than_tokens_is_one_error_before_the_first_cell(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    words = ["task=sst2,rte", "backbone=tiny_llama", "method=lora,bitfit", "device=cpu"]
    assert main([*words, "hparams.num_beams=300"]) == 2
    said = capsys.readouterr().err
    assert said.count("hparams.num_beams=300: must be at most 259") == 1
    assert jobs == []


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_without_words_nothing_starts_but_the_help(
    words: list[str], jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("Usage: iapt-sweep")
    assert jobs == []


def test_a_sweep_shows_the_configuration_of_its_first_cell(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main([*TINY, "method.rank=3,4", "--cfg", "job"]) == 0
    said = capsys.readouterr().out
    assert "  rank: 3\n" in said
    assert said.startswith("seed: 0\n")
    assert jobs == []


@pytest.mark.parametrize("key", ["out", "rows", "hydra.sweep.dir"])
def test_a_folder_that_cannot_be_made_is_named_before_the_first_run(
    key: str, jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    Path("file").write_text("")
    assert main([*TINY, f"{key}=file/below"]) == 2
    assert f"error: {key}=file/below: the folder cannot be" in capsys.readouterr().err
    assert jobs == []
