"""One run, from a configuration to its row: what it leaves, and that nothing can stop it for good."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel
from safetensors.torch import load_file

from iapt import evaluation
from iapt import run as run_module
from iapt.backbone.load import load_backbone
from iapt.errors import DataError, TrainingError
from iapt.methods.saved import read_config
from iapt.planning import make_plan
from iapt.results.row import Row, Search
from iapt.results.row_files import read_row, write_row
from iapt.run import run
from iapt.run_row import row_of
from iapt.tasks.base import Scores
from iapt.training.state import History
from tests.composed import composed
from tests.tiny_runs import SIX_STEPS

ROOT = Path(__file__).parents[1]
TIMES = {"seconds", "tokens_per_second", "peak_memory_mib", "created"}


def settings(*overrides: str) -> dict[str, Any]:
    return composed(*SIX_STEPS, *overrides)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and rows go below the working folder, as they do for a user."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Row]]:
    """One run that the tests below look at: the folder it ran in, and its row."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder, finished_run("method=iapt")


def row_in(folder: Path) -> Row:
    (file,) = (folder / "results" / "rows").glob("*.json")
    return read_row(file)


def finished_run(*overrides: str) -> Row:
    row = run(settings(*overrides))
    assert row is not None
    return row


def lasting(row: Row) -> dict[str, Any]:
    """A row without what differs between two runs of the same thing."""
    return row.model_dump(exclude=TIMES)


def adapter_bytes(folder: Path) -> bytes:
    (file,) = folder.glob("runs/*/adapter/adapter.safetensors")
    return file.read_bytes()


def test_the_row_is_whole_and_says_what_ran(finished: tuple[Path, Row]):
    folder, row = finished
    assert lasting(row_in(folder)) == lasting(row)
    assert row.steps == 6
    assert [point.step for point in row.dev.curve] == [0, 3, 6]
    assert row.data.sizes == {"train": 24, "dev": 6, "test": 6}
    assert row.scores.n == 6
    assert row.params.trained == make_plan(settings("method=iapt")).trainable
    assert row.params.trained_at_first == row.params.trained
    assert (row.search, row.structure) == (Search(steps=0, seconds=0.0), {})
    assert row.params.active_at_decode == 0
    assert row.decoding.num_beams == 3
    assert row.backbone.revision == "random"
    assert row.versions["torch"] == torch.__version__
    assert not {"out", "rows", "device"} & set(row.config), "where it went is not what it was"


def test_a_run_fills_every_field_of_its_row(finished: tuple[Path, Row]):
    _, row = finished
    empty = [name for name, value in fields(row) if value in (None, "", {}, ())]
    assert set(empty) <= {
        *("cell.variant", "structure", "judge"),  # no variant, no search, no judge
        "backbone.checkpoint",  # a tiny backbone has random weights
        "backbone.quantization",  # stored as computed
        "scores.clusters",  # its examples are independent
        *("git.commit", "git.dirty"),  # None outside a checkout
    }
    assert not row.model_extra


def fields(block: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(block).model_fields:
        value = getattr(block, name)
        if isinstance(value, BaseModel):
            yield from fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def test_every_joint_leaves_its_file(finished: tuple[Path, Row]):
    folder, row = finished
    kept = folder / "runs" / row.run_id
    assert {p.name for p in kept.iterdir()} == {
        ".lock",
        "adapter",
        "config.json",
        "metrics.jsonl",
        "predictions.jsonl",
        "scores.json",
        "inspection.json",
        "splits.json",
        "status.json",
    }
    lines = [json.loads(line) for line in (kept / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    assert all({"id", "output", "parsed", "references"} <= set(line) for line in lines)
    assert json.loads((kept / "scores.json").read_text()) == row.scores.model_dump(mode="json")
    logged = [json.loads(line) for line in (kept / "metrics.jsonl").read_text().splitlines()]
    assert all(line["method/largest_input/0"] > 0 for line in logged if "dev/loss" in line), (
        "what a method measures is logged at evaluations"
    )


def test_a_row_has_the_search_and_what_it_found():
    row = finished_run("method=ssp")
    assert row.search.steps == 2
    assert row.search.seconds is not None
    assert row.search.seconds > 0
    assert row.params.trained == row.structure["parameters"] <= row.structure["budget"]
    assert row.params.trained < row.params.trained_at_first


def test_the_saved_adapter_describes_itself(finished: tuple[Path, Row]):
    folder, row = finished
    saved = folder / "runs" / row.run_id / "adapter"
    stored = load_file(saved / "adapter.safetensors")
    assert sum(t.numel() for t in stored.values()) == row.params.stored
    config = read_config(saved)
    assert config.method == row.config["method"]
    assert config.backbone == row.config["backbone"] | {"dtype": row.backbone.dtype}
    assert config.backbone_fingerprint == row.backbone.fingerprint
    assert config.revision == row.backbone.revision
    assert config.decoding.model_dump() == row.decoding.model_dump() | {"max_length": 1020}
    assert config.trained["run"] == row.run_id
    assert config.trained["template"] == row.config["task"]["template"]


def test_a_finished_run_is_shown_not_repeated_unless_forced(
    finished: tuple[Path, Row],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    folder, row = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(run_module, "_run", lambda *_: pytest.fail("ran again"))
    assert run(settings("method=iapt")) == row
    assert "Already finished" in capsys.readouterr().out
    assert run(settings("method=iapt", "force=true"), since=row.created) == row
    assert "Already finished" in capsys.readouterr().out
    with pytest.raises(pytest.fail.Exception, match="ran again"):
        run(settings("method=iapt", "force=true"))
    assert row_in(tmp_path).run_id == row.run_id, "a forced run that fails leaves the old row"
    assert not list(tmp_path.glob("runs/*/adapter")), "and nothing else of the old run"


def test_the_same_seed_gives_the_same_row_and_another_does_not(
    finished: tuple[Path, Row], tmp_path: Path
):
    folder, row = finished
    again = finished_run("method=iapt")
    assert lasting(again) == lasting(row)
    assert adapter_bytes(tmp_path) == adapter_bytes(folder)
    other = tmp_path / "other"
    other.mkdir()
    os.chdir(other)
    run(settings("method=iapt", "seed=1"))
    assert adapter_bytes(other) != adapter_bytes(folder)


KILLED = """
import json, os, signal, sys
from pathlib import Path
from iapt import files
replace, written = os.replace, []

def dies_at_the_second_checkpoint(source, target):
    if Path(target).name == "checkpoint.safetensors":
        written.append(target)
        if len(written) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

files.os.replace = dies_at_the_second_checkpoint
from iapt.run import row_of, run
run(json.load(sys.stdin))
"""


def test_a_killed_run_started_again_ends_with_the_same_bits_and_row(
    finished: tuple[Path, Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder, row = finished
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED],
        input=json.dumps(settings("method=iapt")),
        text=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not list((tmp_path / "results").rglob("*.json")), "a killed run leaves no row"
    again = finished_run("method=iapt")
    assert "Resuming at step 2 of 6" in capsys.readouterr().out
    assert lasting(again) == lasting(row)
    assert adapter_bytes(tmp_path) == adapter_bytes(folder)
    assert not list(tmp_path.glob("runs/*/checkpoint*"))
    assert not list(tmp_path.glob("runs/*/failed.txt"))


def test_a_loss_that_is_not_finite_ends_the_run_without_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def broken(*arguments: Any) -> Any:
        loaded = load_backbone(*arguments)
        with torch.no_grad():
            loaded.backbone.model.lm_head.weight[0, 0] = float("nan")
        return loaded

    monkeypatch.setattr(run_module, "load_backbone", broken)
    with pytest.raises(TrainingError, match=r"the loss is nan.*hparams\.lr"):
        run(settings("method=lora"))
    assert not list(tmp_path.glob("results/rows/*"))
    (failed,) = tmp_path.glob("runs/*/failed.txt")
    assert "TrainingError" in failed.read_text()


def test_a_dry_run_shows_the_plan_and_loads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(run_module, "load_backbone", lambda *_: pytest.fail("loaded a model"))
    assert run(settings("method=lora", "dry_run=true")) is None
    shown = capsys.readouterr().out
    for part in ("24 train / 6 dev / 6 test", "tiny_llama", "lora", "trained parameters"):
        assert part in shown
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize("dry_run", ["true", "false"])
@pytest.mark.parametrize("data", [("data=sample",), ("data=hub", "data.root=fetched")], ids=str)
def test_a_task_that_cannot_be_trained_on_is_refused_before_a_folder_is_made(
    data: tuple[str, ...], dry_run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("iapt.data.hub.Hub.fetch", lambda *_: pytest.fail("fetched"))
    tested_only = ("task=mt_bench", "task.max_new_tokens=4", f"dry_run={dry_run}", *data)
    with pytest.raises(DataError, match=r"mt_bench has no train split.*task=alpaca"):
        run(settings(*tested_only))
    assert list(tmp_path.iterdir()) == []


def test_truncation_is_counted_and_cuts_no_response(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: dict[str, Any] = {}

    def stop(training: Any, *_: Any) -> None:
        seen["train"], seen["dev"] = training.full_train.examples, training.dev.examples
        raise InterruptedError

    monkeypatch.setattr(run_module, "train", stop)
    config = settings("method=lora", "hparams.max_length=133")
    with pytest.raises(InterruptedError):
        run(config)
    plan = make_plan(config)
    responses = [e.response for e in plan.examples()["train"]]
    assert len(seen["train"]) == len(responses)
    cut = [e for e in seen["train"] if e.truncated]
    assert 0 < len(cut) < len(responses), "choose a length that cuts some"
    for example, response in zip(seen["train"], responses, strict=True):
        assert len(example.response) == len(response.encode()) + 1  # one token a byte, and the end
        assert len(example) <= 133


def test_the_row_counts_every_truncated_example_of_each_split(monkeypatch: pytest.MonkeyPatch):
    encoded: dict[str, Any] = {}
    monkeypatch.setattr(
        run_module,
        "row_of",
        lambda *arguments, **named: (
            encoded.update(arguments[1].encoded) or row_of(*arguments, **named)
        ),
    )
    row = finished_run("method=lora", "hparams.max_length=133", "hparams.max_steps=1")
    cut = {split: sum(e.truncated > 0 for e in some) for split, some in encoded.items()}
    assert row.data.truncated == cut
    assert set(cut) == {"train", "dev", "test"}
    assert 0 < cut["train"] < 24
    by_few = [e for some in encoded.values() for e in some if 0 < e.truncated < 10]
    assert by_few, "choose a length that cuts a few tokens off some example"
    assert row.setting("hparams", "max_length") == 133


def test_a_score_that_no_row_can_hold_ends_the_run_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = settings("method=lora", "hparams.max_steps=1")
    task = type(make_plan(config).task)
    monkeypatch.setattr(task, "score", lambda *_: Scores("acc", 101.0, 6, 0))
    with pytest.raises(
        DataError, match=r"TestScores.value=101.0: must be less than or equal to 100"
    ):
        run(config)
    (kept,) = tmp_path.glob("runs/*/predictions.jsonl")
    kept.unlink()
    monkeypatch.setattr(task, "score", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(config)
    assert len(kept.read_text().splitlines()) == 6, "what was decoded is not lost"
    assert not list(tmp_path.glob("results/rows/*"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "not readable as JSON"),
        ("null", "must be a mapping"),
        ('{"schema": 2}', "schema=2: must be 1"),
        ('{"schema": 1, "status": "failed"}', "status='failed'"),
    ],
)
def test_a_damaged_row_is_named_with_what_to_do(tmp_path: Path, text: str, fault: str):
    config = settings("method=lora")
    path = tmp_path / config["rows"] / f"{make_plan(config).run_id}.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        run(config)
    said = str(caught.value)
    assert said.startswith(str(path.relative_to(tmp_path)))
    assert fault in said
    assert said.endswith("force=true runs it again and replaces the file.")


def test_a_finished_run_whose_loss_diverged_is_shown_with_dashes(
    finished: tuple[Path, Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    _, row = finished
    dev = row.dev.model_copy(update={"best_loss": None, "curve": ()})
    write_row(Path("results/rows"), row.model_copy(update={"dev": dev, "peak_memory_mib": None}))
    run(settings("method=iapt"))
    shown = capsys.readouterr().out
    assert "dev  loss –, accuracy" in shown
    assert "peak memory – MiB" in shown


def test_test_prompts_are_cut_for_the_longest_answer_whatever_the_gold_one_is(
    monkeypatch: pytest.MonkeyPatch,
):
    given: list[Any] = []

    def stop(backbone: Any, prompts: Any, *_: Any, **__: Any) -> None:
        given.extend(prompts)
        raise InterruptedError

    monkeypatch.setattr(run_module, "train", lambda *_: History())
    monkeypatch.setattr(evaluation, "decode", stop)
    monkeypatch.setattr(run_module, "save_adapter", lambda *_: None)
    config = settings("method=lora", "hparams.max_length=133")
    with pytest.raises(InterruptedError):
        run(config)
    plan = make_plan(config)
    room = plan.max_length - plan.task.max_new_tokens
    assert max(len(prompt) for prompt in given) == room
    gold = min(len(e.response.encode()) for e in plan.examples()["test"])  # a token a byte
    assert gold > plan.task.max_new_tokens, "choose a task whose gold responses need other room"
