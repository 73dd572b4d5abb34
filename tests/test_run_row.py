"""The row that a run writes: every number in its own place."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from iapt import run_row
from iapt.backbone.load import load_backbone
from iapt.data.encode import Encoded
from iapt.evaluation import Evaluation, Prompts
from iapt.plan import OUTSIDE
from iapt.planning import make_plan
from iapt.provenance import device_name
from iapt.results.row import Row
from iapt.run_row import row_of
from iapt.tasks.base import Example, Scores
from iapt.training.state import History
from tests.test_run import settings


def row_by_hand(history: History, **backbone: Any) -> Row:
    """The row of a run that never ran, with numbers that differ from each other."""
    plan = make_plan(settings("method=lora"))
    loaded = load_backbone(plan.backbone, plan.device)
    plan = replace(plan, trainable=1234, backbone=replace(plan.backbone, dtype="auto", **backbone))
    cut = {"train": [0, 1, 9], "dev": [0, 0], "test": [5]}
    encoded = {split: [Encoded((1,), (2,), n) for n in some] for split, some in cut.items()}
    examples = plan.examples()
    examples["dev"] = [Example(str(i), {}, answer, ()) for i, answer in enumerate("abbb")]
    prompts = Prompts(examples, encoded, {"train": examples["train"][:2], "dev": []})  # type: ignore[arg-type]
    further = [Encoded((1,), (2,), n) for n in (3, 0, 4)]
    evaluation = Evaluation(
        [], [], [], [], Scores("acc", 62.5, 2, 1, {"f1": 70.0}), (25.0, 100.0), (0, 0), further
    )
    return row_of(
        plan,
        prompts,
        loaded,
        plan.method(),
        history,
        evaluation,
        num_beams=7,
        seconds_test=2.0,
        seconds_total=20.0,
    )


def test_every_number_of_a_run_stands_in_its_own_place_in_the_row():
    point = {"step": 2, "loss": 0.5, "accuracy": 75.0}
    row = row_by_hand(
        History(
            step=4,
            best_step=2,
            best_loss=0.25,
            best_accuracy=80.0,
            curve=[point],
            train_seconds=8.0,
            eval_seconds=3.0,
            trained_tokens=160,
            search_steps=5,
            search_seconds=1.5,
        )
    )
    assert row.status == "finished"
    assert row.scores.model_dump() == {
        "metric": "acc",
        "value": 62.5,
        "n": 2,
        "n_unparsed": 1,
        "details": {"f1": 70.0},
        "items": (25.0, 100.0),
        "clusters": (0, 0),
    }
    assert (row.dev.best_step, row.dev.best_loss, row.dev.best_accuracy) == (2, 0.25, 80.0)
    assert [p.model_dump() for p in row.dev.curve] == [point]
    assert row.data.truncated == {"train": 2, "dev": 0, "test": 1, "follow_ups": 2}
    assert row.data.skipped == {"train": 2, "dev": 0}
    assert (row.data.source, row.data.task_version) == ("sample", 2)
    assert row.decoding.model_dump() == {"num_beams": 7, "max_new_tokens": 4, "batch_tokens": 4096}
    assert row.seconds.model_dump() == {
        "train": 8.0,
        "per_step": 2.0,
        "eval": 3.0,
        "test": 2.0,
        "total": 20.0,
    }
    assert (row.steps, row.tokens_per_second) == (4, 20.0)
    assert (row.search.steps, row.search.seconds) == (5, 1.5)
    assert row.created.utcoffset() is not None, "a time that says its zone"
    assert (row.backbone.name, row.backbone.attn) == ("tiny_llama", "sdpa")
    assert row.backbone.dtype == "float32", "not the configuration's auto"
    assert row.params.trained_at_first == 1234 != row.params.trained
    assert row.dev.majority_accuracy == 75.0
    assert row.device == f"cpu ({torch.get_num_threads()} threads)"


def test_the_row_keeps_what_a_run_is_called_and_the_hashes_apart():
    plan, row = make_plan(settings("method=lora")), row_by_hand(History())
    assert (row.run_id, row.cell.model_dump()) == (plan.run_id, plan.cell)
    hashes = (plan.config_hash, plan.cell_hash, plan.setting_hash)
    assert (row.config_hash, row.cell_hash, row.setting_hash) == hashes
    assert row.data.fingerprint == plan.task.fingerprint(plan.source)
    assert plan.config.keys() - row.config.keys() == {*OUTSIDE}
    assert row.seconds.per_step == row.tokens_per_second == 0, "nothing was divided by no step"


def test_the_library_that_quantises_is_among_the_versions(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_row, "versions", lambda *more: dict.fromkeys(more, "1.0"))
    assert row_by_hand(History(), quantization="nf4").versions == {"bitsandbytes": "1.0"}


def test_the_majority_is_the_share_of_the_commonest_response():
    some = [Example(str(i), {}, response, ()) for i, response in enumerate("abbc")]
    assert run_row._majority(some) == 50.0


def test_a_structure_is_kept_in_the_row_without_its_long_parts():
    found = {"rank": 3, "kept": [1], "at": {"q": 1}, "pair": (1, 2), "name": "x", "share": 0.5}
    assert run_row._in_short(found) == {"rank": 3, "name": "x", "share": 0.5}


def test_a_gpu_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"NVIDIA {device.index}")
    assert device_name(torch.device("cuda", 1)) == "NVIDIA 1"
