"""A method with nothing but `attach` and a task with nothing but rows, in a folder outside the checkout."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from iapt.cli import report, sweep, table, train
from iapt.configuration.plugins import Plugins
from iapt.trained.adapters import read_saved
from tests.composed import composed

EXAMPLE = Path(__file__).parent / "plugins_example"
SHORT = [
    *("backbone=tiny_llama", "device=cpu", "hparams.max_steps=2", "hparams.batch_size=2"),
    *("limit.train=8", "limit.dev=2", "limit.test=2"),
]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example, and an empty working folder beside it."""
    folder = tmp_path / "mine"
    shutil.copytree(EXAMPLE, folder)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(sys, "argv", ["iapt-train"])
    return folder


def rows() -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(Path("results/rows").glob("*.json"))]


def test_they_are_trained_from_a_config_dir(outside: Path, capsys: pytest.CaptureFixture[str]):
    words = ["--config-dir", str(outside), "plugins=my_methods", "method=head_gain", "task=colours"]
    assert train.main([*words, f"data={outside / 'rows'}", *SHORT]) == 0
    (row,) = rows()
    assert row["cell"]["method"] == "head_gain"
    assert row["cell"]["task"] == "colours"
    assert row["config"]["hparams"]["lr"] == 1e-4  # the paper's, since the YAML has no rates
    assert row["params"]["trained"] == 4 * 32
    assert len(row["config"]["plugins"]["my_methods"]) == 64
    assert str(outside) not in json.dumps(row)
    assert not list(outside.rglob("__pycache__"))


def test_they_are_trained_by_the_paths_of_their_files(outside: Path):
    by_name = ["--config-dir", str(outside), "plugins=my_methods", "method=head_gain"]
    by_path = [f"plugins={outside}/my_methods.py", f"method={outside}/method/head_gain.yaml"]
    task = [f"task={outside}/task/colours.yaml", f"data={outside / 'rows'}"]
    for words in (by_name, by_path):
        assert train.main([*words, *task, *SHORT]) == 0
    assert len(rows()) == 1, "the same run, however it is named"


def test_the_module_may_lie_in_the_working_folder(outside: Path):
    shutil.move(outside / "my_methods.py", Path.cwd() / "my_methods.py")
    words = [f"--config-dir={outside}", "plugins=my_methods", "method=head_gain", "dry_run=true"]
    assert train.main([*words, "task=sst2", *SHORT]) == 0


def test_without_plugins_nothing_of_it_is_imported(
    outside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (outside / "my_methods.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(outside)
    assert train.main([f"--config-dir={outside}", "method=head_gain", "task=sst2", *SHORT]) == 2
    said = capsys.readouterr().err
    assert "method._target_='my_methods.HeadGain': must be in iapt or in a module that" in said


def test_a_sweep_takes_them_beside_ours(outside: Path, capsys: pytest.CaptureFixture[str]):
    words = [f"--config-dir={outside}", "plugins=my_methods", "task=colours", "seed=0"]
    words += [f"data={outside / 'rows'}", *SHORT]
    assert sweep.main([*words, "method=all", "dry_run=true"]) == 0
    listed = capsys.readouterr().out
    for method in ("head_gain", "lora"):
        assert re.search(rf"^colours +{method} +0/1 ", listed, re.M)
    assert sweep.main([*words, "method=head_gain,bitfit"]) == 0
    assert "2 runs: 2 finished." in capsys.readouterr().out
    assert sorted(row["cell"]["method"] for row in rows()) == ["bitfit", "head_gain"]
    assert len({row["setting_hash"] for row in rows()}) == 1


def test_they_stand_in_the_help(outside: Path, capsys: pytest.CaptureFixture[str]):
    assert train.main(["--help", "--config-dir", str(outside)]) == 0
    said = capsys.readouterr().out
    assert "    head_gain          A gain on attention: nothing but where the class is." in said
    assert "    colours            Is it warm or cold? One YAML and rows, no Python." in said


def test_tables_and_the_report_show_them_beside_ours(
    outside: Path, capsys: pytest.CaptureFixture[str]
):
    words = [f"--config-dir={outside}", "plugins=my_methods", "task=colours", "seed=0"]
    assert sweep.main([*words, f"data={outside / 'rows'}", *SHORT, "method=head_gain,bitfit"]) == 0
    capsys.readouterr()
    assert table.main(["summary", "rates"]) == 0
    said = capsys.readouterr().out
    for name in ("colours", "head_gain", "bitfit"):
        assert name in said
    assert report.main(["runs=runs"]) == 0
    page = Path("results/report.html").read_text()
    assert page.count("head_gain") > 2
    assert "colours" in page


def test_a_paper_table_marks_the_method_as_not_the_papers(
    outside: Path, capsys: pytest.CaptureFixture[str]
):
    words = [f"--config-dir={outside}", "plugins=my_methods", "method=head_gain", "task=sst2"]
    assert train.main([*words, *SHORT, "seed=0"]) == 0
    (file,) = Path("results/rows").glob("*.json")
    row = json.loads(file.read_text())
    row["cell"] |= {"backbone": "llama2_7b", "hparams": "paper", "data": "hub"}
    row["config"]["limit"] = {"train": None, "dev": None, "test": None}
    paper = composed("method=lora", "+experiment=paper")
    row["config"]["hparams"] = paper["hparams"]
    row["config"]["backbone"] = paper["backbone"]
    file.write_text(json.dumps(row))
    capsys.readouterr()
    assert table.main(["table1", "out=none"]) == 0
    said = capsys.readouterr().out
    assert "Not in the paper" in said
    assert "head_gain" in said.split("Not in the paper")[1]


MORE = """

class Masked(HeadGain):
    def __init__(self, dims) -> None:
        super().__init__(dims)
        self.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))
        self.fixed = nn.Parameter(torch.randn(3), requires_grad=False)

class Ahead(HeadGain):
    def scale(self, layer, x, y):
        return super().scale(layer, x, y.mean(1, keepdim=True))
"""


def own_method(outside: Path, name: str) -> list[str]:
    """Add a method to the example; returns the arguments of a run with it."""
    with (outside / "my_methods.py").open("a") as file:
        file.write(MORE)
    (outside / "method" / "own.yaml").write_text(f"_target_: my_methods.{name}\n")
    return [f"--config-dir={outside}", "plugins=my_methods", "method=own", "task=sst2", *SHORT]


def test_what_a_run_saves_can_be_loaded(outside: Path):
    assert train.main(own_method(outside, "Masked")) == 0
    (row,) = rows()
    assert row["params"]["trained"] == 4 * 32
    plugins = Plugins.find("my_methods", [outside])
    saved = read_saved(Path("runs") / row["run_id"], plugins)
    assert saved.method.get_buffer("mask").isinf().sum() == 3


def test_a_method_that_looks_ahead_is_refused_by_the_run(
    outside: Path, capsys: pytest.CaptureFixture[str]
):
    assert train.main(own_method(outside, "Ahead")) == 1
    assert "error: method=own: it looks ahead: " in capsys.readouterr().err
    assert not rows()
