"""Appendix F's numbers and the rules around them; every wrong one named."""

from typing import Any

import pytest

from iapt.configuration.checking import checked
from iapt.errors import ConfigError
from iapt.training.hparams import HParams
from tests.composed import composed


def hparams(values: dict[str, Any]) -> HParams:
    return checked(HParams, values, "hparams")


PAPER = hparams(composed("hparams=paper")["hparams"])


def test_the_paper_preset_is_appendix_f():
    assert (PAPER.lr, PAPER.arch_lr, PAPER.warmup) == (1e-4, 1e-6, 0.06)
    assert (PAPER.max_epochs, PAPER.max_steps) == (10, None)
    assert (PAPER.eval_every, PAPER.patience) == (200, 10)
    assert (PAPER.weight_decay, PAPER.clip, PAPER.arch_every) == (0.0, 1.0, 1)
    assert PAPER.arch_data == "dev"


@pytest.mark.parametrize("name", ["quick", "tuned"])
def test_other_presets_take_their_rates_from_the_method(name: str):
    config = composed(f"hparams={name}", "method=lora")
    assert config["hparams"]["lr"] == config["method"]["tuned"]["lr"]
    assert hparams(config["hparams"]).name == name


@pytest.mark.parametrize(("examples", "batch"), [(1, 16), (9_999, 16), (10_000, 128)])
def test_the_batch_follows_the_size_of_the_training_set(examples: int, batch: int):
    assert PAPER.batch_size_for(examples) == batch


def test_a_set_batch_size_wins():
    assert HParams("x", batch_size=7).batch_size_for(50_000) == 7


def test_steps_are_ten_epochs_or_fewer():
    assert PAPER.steps_for(2490) == 10 * 156  # RTE
    assert PAPER.steps_for(66_349) == 10 * 519  # SST-2, batch 128
    assert HParams("x", max_steps=40).steps_for(2490) == 40
    assert HParams("x", max_steps=10**6).steps_for(2490) == 1560


def test_length_is_2048_or_what_the_backbone_leaves():
    assert PAPER.max_length_for(4092) == 2048
    assert PAPER.max_length_for(1020) == 1020
    assert HParams("x", max_length=300).max_length_for(1020) == 300
    assert HParams("x", max_length=1020).max_length_for(1020) == 1020


def test_more_length_than_positions_says_how_much_there_is():
    with pytest.raises(ConfigError, match=r"hparams\.max_length=1025: .*at most 1020"):
        HParams("x", max_length=1025).max_length_for(1020)


WRONG: list[tuple[str, Any, str]] = [
    ("lr", 0, "must be a positive number"),
    ("lr", float("nan"), "must be a positive number"),
    ("lr", "fast", "must be a positive number"),
    ("lr", float("inf"), "must be a positive number, and finite"),
    ("lr", True, "must be a positive number"),
    ("lr", 10**400, "must be a positive number"),
    ("clip", float("inf"), "must be a positive number, and finite"),
    ("arch_lr", float("inf"), "must be a number >= 0, and finite"),
    ("weight_decay", float("nan"), "must be a number >= 0, and finite"),
    ("weight_decay", float("inf"), "must be a number >= 0, and finite"),
    ("clip", -1, "must be a positive number"),
    ("arch_lr", -1e-6, "must be a number >= 0"),
    ("max_steps", 0, "must be a whole number >= 1 or null"),
    ("max_steps", 2.5, "must be a whole number >= 1 or null"),
    ("batch_size", 16.0, "must be a whole number >= 1 or null"),
    ("batch_size", 10**18, "must be at most 2147483648"),
    ("batch_tokens", 10**18, "must be at most 2147483648"),
    ("max_steps", 2**31 + 1, "must be at most 2147483648"),
    ("max_epochs", None, "must be a whole number >= 1"),
    ("eval_every", float("inf"), "must be a whole number >= 1"),
    ("patience", True, "must be a whole number >= 1"),
    ("warmup", 1, "must be a number >= 0 and < 1"),
    ("weight_decay", -0.1, "must be a number >= 0"),
    ("arch_data", "tarin_split", "dev, train_split.*Did you mean 'train_split'"),
    ("arch_data", 1, "dev, train_split"),
    ("arch_data", None, "dev, train_split"),
    ("gradient_checkpointing", "yes", "must be true or false"),
    ("lr_by_name", 3, "must be a mapping"),
    ("lr_by_name", {"queries": 0}, r"\.queries=0: must be a positive number"),
    ("lr_by_name", {"queries": float("inf")}, r"\.queries=inf: must be a positive number"),
    ("learning_rate", 1, "unknown; allowed are name, lr"),
    ("max_step", 1, "unknown.*Did you mean 'max_steps'"),
]


@pytest.mark.parametrize(("field", "value", "message"), WRONG)
def test_a_wrong_value_is_named(field: str, value: Any, message: str):
    with pytest.raises(ConfigError, match=rf"hparams\.{field}.*{message}"):
        hparams({"name": "x", field: value})


def test_all_wrong_values_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        hparams({"name": "x", "lr": -1, "warmup": 2, "patience": 0})
    assert [w in str(caught.value) for w in ("lr=-1", "warmup=2", "patience=0")] == [True] * 3


@pytest.mark.parametrize(
    "name", ["a/b", "../x", "", ".", "..", "a\nb", "a\n", "x" * 300, "-x", "a\0", None, 5, True]
)
def test_a_name_that_files_cannot_have_is_refused(name: object):
    with pytest.raises(ConfigError, match=r"hparams\.name=.* must be a name for files: letters"):
        hparams({"name": name})


@pytest.mark.parametrize("name", ["paper", "lr-1e-4", "v1.2+b", "größer", "速い", "8m"])
def test_a_name_may_have_the_letters_of_any_language(name: str):
    assert hparams({"name": name}).name == name


def test_a_missing_name_is_said_with_what_it_must_be():
    with pytest.raises(ConfigError, match=r"hparams\.name: missing; it must be a name"):
        hparams({})


def test_theta_may_stand_still():
    assert hparams({"name": "x", "arch_lr": 0}).arch_lr == 0
