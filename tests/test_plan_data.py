"""A run's identity has its data by content and not by place, and no later setting that it does not use."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from iapt.configuration.identity import distinctive
from iapt.data.source import Sample
from iapt.errors import DataError
from iapt.planning import make_plan
from tests.composed import composed


def config(*words: str) -> dict[str, Any]:
    return composed("task=sst2", "backbone=tiny_llama", "device=cpu", *words)


def test_a_folder_is_its_rows_wherever_it_lies(tmp_path: Path):
    plans = []
    for where in ("a", "b"):
        folder = tmp_path / where / "mine"
        shutil.copytree(Sample().path / "sst2", folder / "sst2")
        plans.append(make_plan(config("data=folder", f"data.path={folder}")))
    assert plans[0].run_id == plans[1].run_id
    assert plans[0].cell["data"] == "folder:mine"
    fingerprint = plans[0].task.fingerprint(plans[0].source)
    assert plans[0].config["data"] == {"name": "folder:mine"}
    assert plans[0].config["data_fingerprint"] == fingerprint
    assert str(tmp_path) not in str(plans[0].config["data"])
    with (tmp_path / "b" / "mine" / "sst2" / "train.jsonl").open("a") as file:
        file.write('{"sentence": "one more", "label": 1, "idx": 0}\n')
    changed = make_plan(config("data=folder", f"data.path={tmp_path / 'b' / 'mine'}"))
    assert changed.run_id != plans[0].run_id
    other_task = make_plan(config("data=folder", f"data.path={Sample().path}", "task=boolq"))
    assert (
        other_task.setting_hash
        == make_plan(config("data=folder", f"data.path={Sample().path}")).setting_hash
    )


def test_the_rows_of_a_tasks_own_folder_are_part_of_the_run_and_its_path_is_not(tmp_path: Path):
    plans = []
    for where, text in (("a", "same"), ("b", "same"), ("c", "other")):
        folder = tmp_path / where / "rows"
        folder.mkdir(parents=True)
        for split in ("train", "test"):
            lines = [{"text": f"{text} {i}", "department": "billing"} for i in range(200)]
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
        for data in ("sample", "hub"):
            words = (f"task.folder={folder}", f"data={data}")
            plans.append(make_plan(config("task=custom_example", *words)))
    by_sample, by_hub = plans[::2], plans[1::2]
    for same, moved, changed in (by_sample, by_hub):
        assert same.run_id == moved.run_id != changed.run_id
        assert same.cell_hash == moved.cell_hash
        assert same.config["task"]["folder"] != moved.config["task"]["folder"]
        assert same.cell["data"] == "folder:rows", "neither sample nor hub is where they come from"


def test_a_folder_that_the_user_gives_takes_the_place_of_a_tasks_own(tmp_path: Path):
    task = ("task=custom_example", f"task.folder={tmp_path / 'nowhere'}", "data=folder")
    plan = make_plan(config(*task, f"data.path={Sample().path}"))
    assert plan.cell["data"] == "folder:sample"
    assert len(plan.examples()["test"]) == len(Sample().rows("tickets", "test"))
    with pytest.raises(DataError, match=r"data folder .*missing does not exist"):
        make_plan(config(*task, f"data.path={tmp_path / 'missing'}"))


def test_where_fetched_data_is_kept_is_no_part_of_a_run(tmp_path: Path):
    plan = make_plan(config("data=hub"))
    assert plan.run_id == make_plan(config("data=hub", f"data.root={tmp_path}")).run_id
    assert "data_fingerprint" not in plan.config, "the task pins its release"
    assert make_plan(config("data=sample")).config["data_fingerprint"]


LATER = {"first_block", "extension_base_text"}


def test_a_setting_that_came_later_renames_no_run_that_does_not_use_it():
    settings = config("method=iapt")
    older = settings | {"method": {k: v for k, v in settings["method"].items() if k not in LATER}}
    plan = make_plan(settings)
    assert plan.config["method"]["first_block"] == 0, "the row states it nevertheless"
    for one, other in (
        (plan, make_plan(older)),
        (make_plan(config("method=iapt", "seed=0")), plan),
    ):
        assert (one.config_hash, one.cell_hash) == (other.config_hash, other.cell_hash)
    for word in ("method.first_block=1", "method.extension_base_text=good or bad"):
        assert make_plan(config("method=iapt", word)).config_hash != plan.config_hash
    assert make_plan(config("method=iapt", "method.prompt_len=1")).cell_hash != plan.cell_hash


def test_zero_is_neutral_for_its_own_setting_alone():
    identity = {
        "method": {"first_block": 0, "dropout": 0},
        "seed": 0,
        "hparams": {"first_block": 0},
    }
    assert distinctive(identity) == {
        "method": {"dropout": 0},
        "seed": 0,
        "hparams": {"first_block": 0},
    }
    assert distinctive({"method": {"first_block": 1}}) == {"method": {"first_block": 1}}
