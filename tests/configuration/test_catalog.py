"""Entries by name, and files of the user's in their place."""

from pathlib import Path

import pytest

from iapt.configuration.catalog import entry, names, target_of
from iapt.errors import ConfigError


@pytest.mark.parametrize("group", ["task", "method", "backbone", "hparams"])
@pytest.mark.parametrize("ending", [".yaml", ".yml"])
def test_a_file_without_a_name_is_called_as_it_is_and_one_with_a_name_keeps_it(
    group: str, ending: str, tmp_path: Path
):
    file = tmp_path / f"mine{ending}"
    file.write_text("size: 3\n")
    assert entry(group, str(file)) == {"name": "mine", "size": 3}
    file.write_text("name: yours\nsize: 3\n")
    assert entry(group, str(file)) == {"name": "yours", "size": 3}


def test_a_file_of_a_group_whose_entries_have_no_name_gets_none(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text("_target_: a.B\n")
    assert entry("logger", str(file)) == {"_target_": "a.B"}


def test_what_is_neither_an_entry_nor_a_yaml_file_is_told_with_the_nearest():
    with pytest.raises(
        ConfigError, match=r"task=stt2: there is no such task; .*Did you mean 'sst2'"
    ):
        entry("task", "stt2")


@pytest.mark.parametrize("group", ["task", "method"])
def test_the_class_of_an_entry_is_known_without_composing_it(group: str):
    for name in names(group):
        assert target_of(group, name) == entry(group, name)["_target_"]
