"""`iapt-sweep`: the grid, its gaps and its failures."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iapt import run as run_module
from iapt.cli.overrides import groups
from iapt.cli.sweep import SEEDS, main
from iapt.errors import TrainingError

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
    """The configurations of the runs, which do nothing but leave a row; rank 3 fails."""
    seen: list[dict[str, Any]] = []

    def run(config: dict[str, Any]) -> SimpleNamespace:
        seen.append(config)
        if config["method"].get("rank") == 3:
            raise TrainingError("the loss is nan")
        if config["method"].get("rank") == 5:
            raise ZeroDivisionError("not one of ours")
        return SimpleNamespace(run_id=f"{config['task']['name']}-{config['seed']}")

    monkeypatch.setattr(run_module, "run", run)
    return seen


def test_a_grid_is_run_over_five_seeds(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main(TINY) == 0
    assert [c["seed"] for c in jobs] == [0, 1, 2, 3, 4]
    assert "5 runs: 5 finished, 0 failed." in capsys.readouterr().out
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


def test_a_second_sweep_reports_its_own_runs(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert main([*TINY, "seed=0,1", "method.rank=3"]) == 1
    assert main([*TINY, "seed=0", "method.rank=2"]) == 0
    assert "1 runs: 1 finished, 0 failed." in capsys.readouterr().out


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
    assert "2 runs: 2 finished, 0 failed." in said
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


def test_a_dry_sweep_lists_what_is_finished_and_what_is_left(
    jobs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    words = [*TINY, "seed=0,1", "method.rank=2,4", "dry_run=true"]
    assert main(words) == 0
    cells = [line for line in capsys.readouterr().out.splitlines() if "--lora--" in line]
    assert [line.split()[0] for line in cells] == ["left"] * 4
    rows = Path("results/rows")
    rows.mkdir(parents=True)
    (rows / f"{cells[2].split()[1]}.json").write_text("{}")
    assert main(words) == 0
    said = capsys.readouterr().out
    states = [line.split()[0] for line in said.splitlines() if "--lora--" in line]
    assert states == ["left", "left", "finished", "left"]
    assert "4 runs: 1 finished, 3 left. Nothing was started." in said
    assert jobs == []
    assert not Path("runs").exists()


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


def test_help_names_the_seeds_and_examples(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    assert "seeds 0-4" in capsys.readouterr().out
