"""One run, from a configuration to its row: what it leaves, and that nothing can stop it for good."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from iapt import run as run_module
from iapt.backbone.load import BackboneConfig, load_backbone
from iapt.errors import AdapterError, TrainingError
from iapt.plan import build_method, make_plan
from iapt.reporting.row import problems
from iapt.run import run
from iapt.training.checkpoint import load_adapter
from tests.composed import composed

ROOT = Path(__file__).parents[1]
TIMES = ("seconds", "tokens_per_second", "peak_memory_mib", "created")


def settings(*overrides: str) -> dict[str, Any]:
    return composed(
        "task=sst2",
        "backbone=tiny_llama",
        "device=cpu",
        "hparams.batch_size=4",
        "hparams.max_steps=6",
        "hparams.eval_every=3",
        "hparams.checkpoint_every=2",
        "limit.train=24",
        "limit.dev=6",
        "limit.test=6",
        *overrides,
    )


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and rows go below the working folder, as they do for a user."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """One run that the tests below look at: the folder it ran in, and its row."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder, run(settings("method=iapt"))


def row_of(folder: Path) -> dict[str, Any]:
    (file,) = (folder / "results" / "rows").glob("*.json")
    row: dict[str, Any] = json.loads(file.read_text())
    return row


def lasting(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what differs between two runs of the same thing."""
    return {k: v for k, v in row.items() if k not in TIMES}


def adapter_bytes(folder: Path) -> bytes:
    (file,) = folder.glob("runs/*/adapter/adapter.safetensors")
    return file.read_bytes()


def test_the_row_is_whole_and_says_what_ran(finished: tuple[Path, dict[str, Any]]):
    folder, row = finished
    assert row_of(folder) == json.loads(json.dumps(row))
    assert problems(row, writing=True) == []
    assert row["steps"] == 6
    assert [point["step"] for point in row["dev"]["curve"]] == [0, 3, 6]
    assert row["data"]["sizes"] == {"train": 24, "dev": 6, "test": 6}
    assert row["scores"]["n"] == 6
    assert row["params"]["trained"] == make_plan(settings("method=iapt")).trainable
    assert row["params"]["trained_at_first"] == row["params"]["trained"]
    assert (row["search"], row["structure"]) == ({"steps": 0, "seconds": 0.0}, {})
    assert row["params"]["active_at_decode"] == 0
    assert row["decoding"]["num_beams"] == 3
    assert row["backbone"]["revision"] == "random"
    assert row["versions"]["torch"] == torch.__version__
    assert not {"out", "rows", "device"} & set(row["config"]), "where it went is not what it was"


def test_every_joint_leaves_its_file(finished: tuple[Path, dict[str, Any]]):
    folder, row = finished
    kept = folder / "runs" / row["run_id"]
    assert {p.name for p in kept.iterdir()} == {
        "adapter",
        "config.json",
        "metrics.jsonl",
        "predictions.jsonl",
        "scores.json",
        "splits.json",
    }
    lines = [json.loads(line) for line in (kept / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    assert all({"id", "output", "parsed", "references"} <= set(line) for line in lines)
    assert json.loads((kept / "scores.json").read_text()) == row["scores"]
    logged = [json.loads(line) for line in (kept / "metrics.jsonl").read_text().splitlines()]
    assert all(line["method/largest_input/0"] > 0 for line in logged if "dev/loss" in line), (
        "what a method measures is logged at evaluations"
    )


def test_a_row_tells_of_the_search_and_of_what_it_left():
    row = run(settings("method=ssp"))
    assert row["search"]["steps"] == 2
    assert row["search"]["seconds"] > 0
    assert row["params"]["trained"] == row["structure"]["parameters"] <= row["structure"]["budget"]
    assert row["params"]["trained"] < row["params"]["trained_at_first"]


def test_the_saved_adapter_fits_its_backbone_and_no_other(finished: tuple[Path, dict[str, Any]]):
    folder, row = finished
    saved = folder / "runs" / row["run_id"] / "adapter"
    stored = load_file(saved / "adapter.safetensors")
    assert sum(t.numel() for t in stored.values()) == row["params"]["stored"]
    entry = BackboneConfig.from_mapping(row["config"]["backbone"])
    loaded = load_backbone(entry, torch.device("cpu"))
    method = build_method(row["config"]["method"], entry.dims)
    load_adapter(saved, method, {"backbone_fingerprint": loaded.fingerprint})
    other = load_backbone(replace(entry, dtype="bfloat16"), torch.device("cpu"))
    with pytest.raises(AdapterError, match="backbone_fingerprint: saved with"):
        load_adapter(saved, method, {"backbone_fingerprint": other.fingerprint})


def test_a_finished_run_is_shown_not_repeated_unless_forced(
    finished: tuple[Path, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    folder, row = finished
    monkeypatch.chdir(folder)
    monkeypatch.setattr(run_module, "_run", lambda *_: pytest.fail("ran again"))
    assert run(settings("method=iapt")) == row_of(folder)
    assert "Already finished" in capsys.readouterr().out
    with pytest.raises(pytest.fail.Exception, match="ran again"):
        run(settings("method=iapt", "force=true"))
    assert row_of(folder)["run_id"] == row["run_id"], "a forced run that fails leaves the old row"
    (folder / "runs" / row["run_id"] / "failed.txt").unlink()


def test_the_same_seed_gives_the_same_row_and_another_does_not(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
):
    folder, row = finished
    again = run(settings("method=iapt"))
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
from iapt.training import checkpoint
replace, written = os.replace, []

def dies_at_the_second_checkpoint(source, target):
    if Path(target).name == "checkpoint.safetensors":
        written.append(target)
        if len(written) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

checkpoint.os.replace = dies_at_the_second_checkpoint
from iapt.run import run
run(json.load(sys.stdin))
"""


def test_a_killed_run_started_again_ends_with_the_same_bits_and_row(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    assert not (tmp_path / "results").exists(), "a killed run leaves no row"
    again = run(settings("method=iapt"))
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
    assert run(settings("method=lora", "dry_run=true")) == {}
    shown = capsys.readouterr().out
    for part in ("24 train / 6 dev / 6 test", "tiny_llama", "lora", "trained parameters"):
        assert part in shown
    assert not list(tmp_path.glob("runs/*"))


def test_truncation_is_counted_and_cuts_no_response(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: dict[str, Any] = {}

    def stop(training: Any, *_: Any) -> None:
        seen["train"], seen["dev"] = training.full_train.examples, training.dev.examples
        raise InterruptedError

    monkeypatch.setattr(run_module, "train", stop)
    config = settings("method=lora", "hparams.max_length=125")
    with pytest.raises(InterruptedError):
        run(config)
    plan = make_plan(config)
    responses = [e.response for e in plan.examples()["train"]]
    assert len(seen["train"]) == len(responses)
    cut = [e for e in seen["train"] if e.truncated]
    assert 0 < len(cut) < len(responses), "choose a length that cuts some"
    for example, response in zip(seen["train"], responses, strict=True):
        assert len(example.response) == len(response.encode()) + 1  # one token a byte, and the end
        assert len(example) <= 125


def test_the_row_counts_truncated_examples_of_each_split(tmp_path: Path):
    row = run(settings("method=lora", "hparams.max_length=125", "hparams.max_steps=1"))
    truncated = row["data"]["truncated"]
    assert set(truncated) == {"train", "dev", "test"}
    assert 0 < truncated["train"] < 24
    assert row["config"]["hparams"]["max_length"] == 125
