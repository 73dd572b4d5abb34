"""A run whose rows do not fit: what it says, what it leaves out, what its row counts, what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from iapt import run as run_module
from iapt.data.source import Sample
from iapt.errors import ConfigError, DataError
from iapt.planning import make_plan
from iapt.run import run
from tests.composed import composed


def settings(*overrides: str) -> dict[str, Any]:
    return composed(
        "task=sst2",
        "backbone=tiny_llama",
        "method=lora",
        "device=cpu",
        "hparams.max_steps=1",
        "limit={train: 24, dev: 6, test: 6}",
        *overrides,
    )


def custom(folder: Path, *overrides: str) -> dict[str, Any]:
    """Rows of the user's own, of which two training responses and a dev response are too long."""
    folder.mkdir()
    for split, long in (("train", (3, 7)), ("validation", (1,)), ("test", ())):
        with (folder / f"{split}.jsonl").open("w") as file:
            for i in range(12):
                answer = "word " * 250 if i in long else f"word {i % 2}"
                file.write(json.dumps({"text": f"Text {i}.", "department": answer}) + "\n\n")
    return composed(
        "task=custom_example",
        f"task.folder={folder}",
        "task.split={rule: official, test: test}",
        "task.metric=rouge-l",
        "backbone=tiny_llama",
        "method=lora",
        "device=cpu",
        "hparams.max_steps=1",
        *overrides,
    )


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_is_cut_is_told_before_training_and_counted_in_the_row(
    capsys: pytest.CaptureFixture[str],
):
    row = run(settings("hparams.max_length=133"))
    assert row is not None
    shown = capsys.readouterr().out
    assert "train: 6 of 24 prompts with responses cut to 133 tokens, in the middle" in shown
    assert "dev: 3 of 6 prompts with responses cut to 133 tokens" in shown
    assert (
        "test: 1 of 6 prompts cut to 129 tokens, in the middle of the longest field; at most 6 tokens"
        in shown
    )
    assert shown.index("test: 1 of") < shown.index("first training example")
    assert row.data.truncated == {"train": 6, "dev": 3, "test": 1}
    assert row.data.skipped == {"train": 0, "dev": 0}


def test_nothing_is_said_where_everything_fits(capsys: pytest.CaptureFixture[str]):
    row = run(settings())
    assert row is not None
    assert row.data.truncated == {"train": 0, "dev": 0, "test": 0}
    assert " cut " not in capsys.readouterr().out


def test_a_length_that_cuts_most_prompts_is_refused_before_weights_are_loaded(
    monkeypatch: pytest.MonkeyPatch,
):
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "load_backbone", lambda *_: pytest.fail("loaded a model"))
        with pytest.raises(ConfigError, match=r"would cut 4 of 6 dev .*give at least") as caught:
            run(settings("hparams.max_length=125"))
    advised = str(caught.value).rpartition("give at least ")[2].removesuffix(".")
    assert run(settings(advised, "out=again", "rows=again")) is not None


def test_a_length_without_room_for_the_templates_is_refused_in_the_same_way():
    with pytest.raises(ConfigError, match=r"24 of 24 train.*6 of 6 test.*max_length=141\.$"):
        run(settings("hparams.max_length=20", "hparams.on_long=skip"))


def test_a_response_that_does_not_fit_stops_the_run_by_file_and_line(tmp_path: Path):
    config = custom(tmp_path / "mine")
    with pytest.raises(
        DataError, match=r"mine/train\.jsonl, line 7: a response of 1,250 tokens.*2 of 12"
    ):
        run(config)


def test_skipped_rows_are_told_and_counted_and_the_others_are_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    row = run(custom(tmp_path / "mine", "hparams.on_long=skip"))
    assert row is not None
    shown = capsys.readouterr().out
    assert (
        "train: 2 of 12 rows left out, because their responses do not fit in 1,024 tokens" in shown
    )
    assert f"(first: {tmp_path}/mine/train.jsonl, line 7)" in shown
    assert row.data.skipped == {"train": 2, "dev": 1}
    assert row.data.sizes == {"train": 10, "dev": 11, "test": 12}
    assert row.dev.majority_accuracy == pytest.approx(100 * 6 / 11)


def test_skipping_makes_another_run_and_the_default_none():
    default, skip = make_plan(settings()), make_plan(settings("hparams.on_long=skip"))
    assert default.run_id != skip.run_id
    assert default.setting_hash != skip.setting_hash
    assert skip.config["hparams"]["on_long"] == "skip"
    without = settings()
    del without["hparams"]["on_long"]
    assert make_plan(without).config_hash == default.config_hash


def test_an_example_is_placed_in_its_file():
    plan = make_plan(settings())
    example = plan.task.examples("dev", plan.source)[0]
    file = Sample().file("sst2", "train")
    number = int(example.id.rpartition("/")[2])
    assert plan.place(example) == f"{file}, line {number + 1}"
