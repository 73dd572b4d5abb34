"""The whole path from a hub to a row: released data and the paper's checkpoint, fetched over HTTP."""

import os
from pathlib import Path
from typing import Any

import pytest

from iapt.data.hub import Hub
from iapt.errors import BackboneError, DataError
from iapt.planning import make_plan
from iapt.results.row import Row
from iapt.run import run
from tests.composed import composed
from tests.hub_content import FIELDS, HELD_OUT, ROWS, entry, publish, publish_checkpoint
from tests.hub_server import HubServer

LLAMA = "meta-llama/Llama-2-7b-hf"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def values(row: Row | None) -> dict[str, Any]:
    """A row as plain values."""
    assert row is not None
    return row.model_dump()


def settings(hub: HubServer, task: str, *overrides: str) -> dict[str, Any]:
    """`iapt-train task=<task> +experiment=paper` with everything small."""
    return composed(
        *(f"task={task}", "+experiment=paper", "method=lora", "device=cpu", *publish(hub, task)),
        *publish_checkpoint(hub),
        *(
            "hparams.batch_size=4",
            "hparams.max_steps=1",
            "hparams.eval_every=1",
            "hparams.num_beams=1",
        ),
        *("hparams.max_length=400", "task.max_new_tokens=3"),
        *("limit.train=8", "limit.dev=2", "limit.test=2", *overrides),
    )


def test_the_papers_setting_reaches_a_row_and_a_second_run_asks_nobody(hub: HubServer):
    row = values(run(settings(hub, "boolq")))
    assert row["status"] == "finished"
    assert row["data"]["source"] == "hub"
    assert row["data"]["sizes"] == {"train": 8, "dev": 2, "test": 2}
    assert row["backbone"]["revision"] == entry("backbone", "llama2_7b")["revision"]
    assert row["backbone"]["fingerprint"].startswith("sha256:")
    assert not hub.asked_for("pytorch_model.bin"), "a pickle was fetched"

    hub.requests.clear()
    again = values(run(settings(hub, "boolq", "force=true")))
    assert hub.requests == [], "the second run asks nobody"
    assert again["scores"] == row["scores"]
    assert again["backbone"] == row["backbone"]


@pytest.mark.parametrize("task", FIELDS)
def test_every_hub_data_set_reaches_a_row(task: str, hub: HubServer):
    row = values(run(settings(hub, task)))
    assert row["scores"]["n"] == (4 if task == "alpaca" else 2), (
        "MT-Bench asks two questions in a row"
    )
    assert row["data"]["truncated"]["train"] == 0
    release = entry("task", task)["release"]
    assert hub.asked_for(f"datasets/{release['id']}/resolve/{release['revision']}")
    assert not hub.asked_for("resolve/main"), "another revision than the pinned one was asked for"
    assert not hub.asked_for("other/train"), "files of another configuration were fetched"


@pytest.mark.parametrize("task", ["sst2", "mt_bench", "e2e", "wikisql"])
def test_a_release_has_the_promised_splits_and_is_fetched_once(task: str, hub: HubServer):
    words = (f"task={task}", "backbone=tiny_llama", "data=hub", "task.max_new_tokens=3")
    plan = make_plan(composed(*words, *publish(hub, task)))
    found = {s: len(plan.task.examples(s, plan.source)) for s in plan.task.released_sizes()}
    assert found == plan.task.released_sizes()
    if task == "sst2":
        train = ROWS["train"] - HELD_OUT
        assert found == {"train": train, "dev": HELD_OUT, "test": ROWS["validation"]}
    hub.requests.clear()
    assert plan.task.examples("test", Hub()) == plan.task.examples("test", plan.source)
    assert hub.requests == []


def test_a_dry_run_asks_nobody_and_knows_the_sizes(
    hub: HubServer, capsys: pytest.CaptureFixture[str]
):
    overrides = ("task=alpaca", "+experiment=paper", "dry_run=true", "limit.test=50")
    assert run(composed(*overrides)) is None
    assert "50,760 train / 1,000 dev / 50 test examples" in capsys.readouterr().out
    assert hub.requests == []
    assert os.listdir() == []
    with pytest.raises(DataError, match="mt_bench has no train split"):
        run(composed("task=mt_bench", "data=hub", "dry_run=true"))
    with pytest.raises(DataError, match=r"task\.sizes of boolq does not give.* train "):
        run(composed("task=boolq", "data=hub", "dry_run=true", "~task.sizes.train"))
    assert hub.requests == []


def test_a_dry_run_counts_the_rows_that_are_there(
    hub: HubServer, capsys: pytest.CaptureFixture[str]
):
    config = settings(hub, "sst2", "limit.train=null")
    plan = make_plan(config)
    expected = {split: len(rows) for split, rows in plan.examples().items()}
    assert plan.sizes() == expected == {"train": ROWS["train"] - HELD_OUT, "dev": 2, "test": 2}


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (None, r"no valid token was sent \(HTTP 401\)\. Ask for access at {link}, then log in"),
        ("wrong", r"has no access \(HTTP 403\)\. Ask for access at {link}"),
    ],
)
def test_a_gated_checkpoint_is_asked_for_before_the_data(
    token: str | None, reason: str, hub: HubServer, monkeypatch: pytest.MonkeyPatch
):
    config = settings(hub, "boolq")
    hub.tokens[LLAMA] = "right"
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(BackboneError, match=reason.format(link=f"{hub.url}/{LLAMA}")) as caught:
        run(config)
    assert "\n" not in str(caught.value)
    assert not hub.asked_for("super_glue"), "the data set was fetched in vain"
    monkeypatch.setenv("HF_TOKEN", "right")
    assert run(config)


def test_a_damaged_shard_is_fetched_again_or_told(hub: HubServer, tmp_path: Path):
    config = settings(hub, "boolq")
    first = values(run(config))
    shard = next(tmp_path.glob("hf/models--*/snapshots/*/model-00001-of-*.safetensors"))
    whole = shard.read_bytes()
    damaged = bytearray(whole)
    damaged[-1000] ^= 1
    shard.resolve().write_bytes(damaged)
    again = values(run(config | {"force": True}))
    assert shard.read_bytes() == whole
    assert again["backbone"] == first["backbone"]
    assert again["scores"] == first["scores"]
    hub.fail("safetensors", "flip")
    shard.resolve().write_bytes(damaged)
    with pytest.raises(BackboneError, match=r"model-00001.* has sha256 \w+, but the revision has"):
        run(config | {"force": True})
