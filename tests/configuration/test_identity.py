"""The name of a run, which must suit every file system, and what is part of its hash."""

from typing import Any

import pytest

from iapt.configuration.identity import LONGEST_NAME, distinctive, run_name
from iapt.errors import ConfigError

CELL = {
    "task": "sst2",
    "backbone": "tiny_llama",
    "method": "lora",
    "hparams": "quick",
    "data": "folder:mine",
    "seed": 3,
    "variant": "",
}


def name(**changes: Any) -> str:
    return run_name({**CELL, **changes}, "0123456789abcdef")


def test_a_name_has_all_that_names_the_cell_and_no_colon():
    assert name() == "sst2--tiny_llama--lora--quick--folder_mine--seed3--01234567"
    assert name(variant="wide") == name(method="lora--wide")


@pytest.mark.parametrize("letter", ["x", "ä", "指"])
def test_the_length_of_a_name_is_counted_in_bytes(letter: str):
    size = len(letter.encode())
    most = (LONGEST_NAME - len(name(data=""))) // size
    assert len(name(data=letter * most).encode()) <= LONGEST_NAME
    with pytest.raises(
        ConfigError, match=f"at most {LONGEST_NAME} are allowed; give shorter names"
    ):
        name(data=letter * (most + 1))


@pytest.mark.parametrize("data", ["folder:a/b", "folder:a\\b", "folder:a\nb"])
def test_a_data_folder_whose_name_is_none_for_a_file_is_refused(data: str):
    with pytest.raises(ConfigError, match=r"data\.path: the folder's name, .* rename it"):
        name(data=data)


@pytest.mark.parametrize(
    ("group", "key", "neutral", "other"),
    [
        ("method", "first_block", 0, 1),
        ("method", "extension_base_text", None, "good or bad"),
        ("hparams", "on_long", "error", "skip"),
        ("backbone", "quantization", None, "nf4"),
    ],
)
def test_a_setting_that_came_later_counts_only_where_it_changes_something(
    group: str, key: str, neutral: object, other: object
):
    assert distinctive({group: {"name": "x", key: neutral}}) == {group: {"name": "x"}}
    assert distinctive({group: {key: other}}) == {group: {key: other}}
