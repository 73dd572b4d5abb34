"""Keys that exist, compositions that a grid shares, and cells that are what Hydra alone would compose."""

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from iapt.cli import composing
from iapt.cli.composing import Composer, composed, from_words, grid_of
from iapt.cli.overrides import prepare
from iapt.errors import ConfigError


@pytest.fixture
def compositions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The words of every composition by Hydra."""
    seen: list[tuple[str, ...]] = []
    compose = composing._composed

    def counted(words: tuple[str, ...], name: str | None = "config") -> Any:
        seen.append(words)
        return compose(words, name)

    monkeypatch.setattr(composing, "_composed", counted)
    return seen


def cells(*words: str) -> list[tuple[str, ...]]:
    return list(product(*grid_of(prepare(words)).values()))


def test_tasks_methods_and_seeds_share_compositions(compositions: list[tuple[str, ...]]):
    words = cells("task=rte,alpaca,copa", "method=lora,iapt_8m,ssp", "seed=0,1,2", "hparams=tuned")
    compose = Composer()
    made = [compose(cell) for cell in words]
    assert len(made) == 27
    assert len(compositions) == 5  # 3 tasks + 3 methods, the first pair in common
    assert made == [composed(cell) for cell in words]


@pytest.mark.parametrize(
    "words",
    [
        ("variant=none,iapt_1", "task=rte,copa", "method=iapt,iapt_8m"),
        ("hparams=quick,tuned", "method=lora,iapt", "hparams.lr=1e-3,2e-3", "seed=0,1"),
        ("+experiment=lr_grid", "task=rte,copa", "method=lora,iapt", "seed=7"),
        ("method=lora,ssp", "task=rte,copa", "task.num_beams=1,2", "method.tuned.lr=0.5"),
        ("seed=0.5,true,1_0", "task=rte"),
    ],
)
def test_a_shared_composition_is_hydras_own(words: tuple[str, ...]):
    compose = Composer()
    for cell in cells(*words):
        assert compose(cell) == composed(cell), cell


def test_whole_numbers_share_a_composition_and_leave_no_trace_in_it(
    compositions: list[tuple[str, ...]],
):
    words = [*cells("method=lora", "method.rank=2,8", "seed=0,1"), *cells("method=lora", "seed=0")]
    compose = Composer()
    assert [compose(cell)["method"]["rank"] for cell in words] == [2, 2, 8, 8, 4]
    assert len(compositions) == 1
    assert [compose(cell) for cell in words] == [composed(cell) for cell in words]


@pytest.mark.parametrize("word", ["seed=007", "seed=0", "method.rank=010", "method.rank=1_0"])
def test_what_only_looks_like_a_number_is_what_it_is_to_hydra(word: str):
    words = ("method=lora", word)
    assert Composer()(words) == composed(words)


def test_a_number_for_a_key_that_does_not_exist_is_hydras_to_explain():
    with pytest.raises(ConfigError, match=r"method\.rnk"):
        Composer()(("method=lora", "method.rnk=2"))


def test_an_entry_that_reaches_outside_its_group_is_composed_by_hydra(tmp_path: Path):
    """Its effect on other groups would be lost if only the group were taken from its composition."""
    method = tmp_path / "reaching.yaml"
    method.write_text(
        "# @package _global_\nmethod: {_target_: iapt.methods.lora.LoRA, rank: 2}\ntask: {num_beams: 9}\n"
    )
    compose = Composer()
    made = {cell: compose(cell) for cell in cells("task=rte,copa", f"method=lora,{method}")}
    assert [config["task"]["num_beams"] for config in made.values()] == [3, 9, 3, 9]
    assert all(config == composed(cell) for cell, config in made.items())


def test_an_entry_without_a_name_takes_its_files_in_every_cell(tmp_path: Path):
    nameless = tmp_path / "nameless.yaml"
    nameless.write_text("_target_: iapt.methods.lora.LoRA\nrank: 2\n")
    compose = Composer()
    words = cells("task=rte,copa", f"method=lora,{nameless}")
    assert [compose(cell)["method"]["name"] for cell in words] == ["lora", "nameless"] * 2


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("seed=range(0,1000000000)", "at most 10,000 cells"),
        ("seed=shuffle(range(0,1000000000))", "at most 10,000 cells"),
        ("hparams.lr=range(0,1,1e-9)", "at most 10,000 cells"),
        ("seed=range(5,1)", "nothing to run"),
    ],
)
def test_a_range_of_too_many_values_is_refused_before_it_is_expanded(word: str, part: str):
    with pytest.raises(ConfigError, match=rf"^{re.escape(word)}: .*{part}"):
        grid_of([word])


def test_a_range_is_a_grid_of_its_values():
    assert grid_of(["seed=range(0,3)"]) == {"seed": ["seed=0", "seed=1", "seed=2"]}


@pytest.fixture
def own(tmp_path: Path) -> list[str]:
    """Words that choose a method and a task whose files leave most arguments out."""
    for name, text in {
        "my_methods.py": "from iapt.methods.lora import LoRA\n\nclass Mine(LoRA):\n    pass\n",
        "method/mine.yaml": "_target_: my_methods.Mine\nrank: 3\n",
        "task/mine.yaml": "_target_: iapt.tasks.custom.Custom\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return ["--config-dir", str(tmp_path), "plugins=my_methods", "method=mine", "task=mine"]


@pytest.mark.parametrize(
    ("words", "group", "expected"),
    [
        (["method.dropout=0.5"], "method", {"rank": 3, "dropout": 0.5}),
        (["method.dropout=0.5", "method.rank=2"], "method", {"rank": 2, "dropout": 0.5}),
        (["task.num_beams=1", "task.split.rule=official"], "task", {"num_beams": 1, "split": {"rule": "official"}}),
    ],
)  # fmt: skip
def test_an_argument_that_the_file_of_an_entry_leaves_out_may_be_given(
    words: list[str], group: str, expected: dict[str, Any], own: list[str]
):
    assert expected.items() <= from_words([*own, *words])[group].items()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("method.drop_out=1", "'drop_out' in method; allowed are .*rank.* Did you mean 'dropout'"),
        (
            "method.dims=1",
            r"unknown key 'dims' in method; allowed are _target_, rank, tuned, alpha",
        ),
        ("task.splt.rule=official", "unknown key 'splt' in task; .*Did you mean 'split'"),
        ("seed.x=1", "unknown key 'x' in seed; allowed are none below this"),
    ],
)
def test_a_key_that_neither_the_file_nor_the_class_has_is_refused(
    word: str, message: str, own: list[str]
):
    with pytest.raises(ConfigError, match=message):
        from_words([*own, word])
