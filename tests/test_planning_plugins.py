"""Plans with the user's own modules: what is imported, and what belongs to a run."""

from pathlib import Path
from typing import Any

import pytest

from iapt.configuration.plugins import Plugins
from iapt.data.source import Sample
from iapt.entries import build_row_task, build_task
from iapt.errors import ConfigError
from iapt.planning import make_plan
from tests.test_planning import config

PLUGIN = """
from torch import nn
import torch
from iapt.methods.base import Method

class Bare(Method):
    def attach(self, backbone):
        backbone.on_block(0, lambda h, out: out)

class Scale(Bare):
    def __init__(self, dims, factor: float = 1.0):
        super().__init__()
        self.scale = nn.Parameter(torch.full((dims.hidden_size,), factor))
"""


FROZEN = """
class Part(Scale):
    def __init__(self, dims):
        super().__init__(dims)
        self.fixed = nn.Parameter(torch.zeros(7), requires_grad=False)

class Whole(Scale):
    def __init__(self, dims):
        super().__init__(dims)
        self.requires_grad_(False)
"""


def with_plugin(folder: Path, text: str = PLUGIN, **method: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    (folder / "toys.py").write_text(text)
    entry = {"name": "scale", "_target_": "toys.Scale", **method}
    return config(method=entry, plugins=[str(folder / "toys.py")])


def test_the_code_of_a_plugin_belongs_to_what_a_run_is(tmp_path: Path):
    plan, moved = (make_plan(with_plugin(tmp_path / where)) for where in "ab")
    edited = make_plan(with_plugin(tmp_path / "b", PLUGIN + "# another\n"))
    assert plan.trainable == 32
    assert plan.run_id == moved.run_id != edited.run_id
    assert plan.setting_hash == edited.setting_hash == make_plan(config("method=lora")).setting_hash
    assert list(plan.config["plugins"]) == ["toys"]
    assert len(plan.config["plugins"]["toys"]) == 64
    assert plan.method().scale.shape == (32,)


def test_a_plugin_that_a_run_does_not_use_is_no_part_of_it(tmp_path: Path):
    values = with_plugin(tmp_path)
    plan = make_plan({**values, "method": config("method=lora")["method"]})
    assert plan.run_id == make_plan(config("method=lora")).run_id
    assert "plugins" not in plan.config


DUCK = """
class Duck:
    def examples(self, split, source): ...
    def parse(self, output, example): ...
    def score(self, parsed, examples): ...
    def follow_ups(self, examples, outputs): ...
    def fingerprint(self, source): ...
    def split_report(self, source): ...
"""


def test_a_task_needs_the_verbs_and_for_fetching_a_data_set(tmp_path: Path):
    (tmp_path / "toys.py").write_text(DUCK)
    plugins = Plugins.find(str(tmp_path / "toys.py"))
    entry = {"_target_": "toys.Duck", "name": "duck"}
    assert callable(build_task(entry, plugins).parse)
    with pytest.raises(
        ConfigError, match=r"task\._target_='toys\.Duck': has no data set .*RowTask\.$"
    ):
        build_row_task(entry, plugins)
    assert build_row_task(config()["task"]).released_sizes()["dev"] == 1000


OTHERS = """
from iapt.data.source import Folder
from iapt.tasks.classification import Classification
from iapt.training.loggers import Files

class Mine(Classification): ...
class Rows(Folder): ...
class Told(Files): ...
"""


def test_a_task_a_source_and_a_logger_may_be_plugins_too(tmp_path: Path):
    (tmp_path / "others.py").write_text(OTHERS)
    task = config()["task"] | {"_target_": "others.Mine", "name": "mine"}
    data = {"_target_": "others.Rows", "path": str(Sample().path)}
    logger = {"_target_": "others.Told"}
    plugin = str(tmp_path / "others.py")
    plan = make_plan(config(task=task, data=data, logger=logger, plugins=plugin))
    found = [type(part).__name__ for part in (plan.task, plan.source, plan.logger)]
    assert found == ["Mine", "Rows", "Told"]


@pytest.mark.parametrize(
    ("group", "name", "target"),
    [
        ("method", "lora", "toys.Scale"),
        ("method", "LoRA", "toys.Scale"),
        ("method", "iapt_8m", "toys.Scale"),
        ("method", "bitfit", "iapt.methods.lora.LoRA"),
        ("task", "BoolQ", "iapt.tasks.custom.Custom"),
    ],
)
def test_a_name_of_the_packages_is_refused_for_another_class(
    group: str, name: str, target: str, tmp_path: Path
):
    values = with_plugin(tmp_path) | {"task": config("task=custom_example")["task"]}
    values[group] = values[group] | {"name": name, "_target_": target}
    with pytest.raises(
        ConfigError, match=rf"{group}\.name='{name}': is the name of the .* is '{target}'; give"
    ):
        make_plan(values)


def test_a_name_of_the_packages_may_be_that_of_its_class_with_other_numbers():
    entry = config("method=iapt")["method"] | {"name": "iapt_8m", "prompt_len": 3}
    assert make_plan(config(method=entry)).cell["method"] == "iapt_8m"


def test_a_method_without_parameters_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"method: has no parameters to train; make them in"):
        make_plan(with_plugin(tmp_path, _target_="toys.Bare"))


def test_a_frozen_parameter_is_not_counted_as_trained(tmp_path: Path):
    assert make_plan(with_plugin(tmp_path, PLUGIN + FROZEN, _target_="toys.Part")).trainable == 32
    with pytest.raises(ConfigError, match="method: has no parameters to train"):
        make_plan(with_plugin(tmp_path, PLUGIN + FROZEN, _target_="toys.Whole"))


IDLE = """
class Idle(Scale):
    def attach(self, backbone):
        pass
"""


def test_a_method_that_attaches_nowhere_is_refused_with_its_name(tmp_path: Path):
    with pytest.raises(ConfigError, match="method=scale: attach calls none of the backbone's"):
        make_plan(with_plugin(tmp_path, PLUGIN + IDLE, _target_="toys.Idle"))
