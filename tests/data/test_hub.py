"""Fetching and verifying, with files on this machine in place of the network."""

import json
import os
import time

import pytest

from iapt.checksums import git_blob_id
from iapt.data import hub
from iapt.data.hub import Hub, fetch, verify
from iapt.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def online(monkeypatch):
    for name in hub.OFFLINE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture
def release(tmp_path):
    file = tmp_path / "site" / "q.jsonl"
    file.parent.mkdir()
    file.write_text('{"a": "ä"}\n{"a": "b"}\n', "utf-8")
    return {
        "kind": "jsonl",
        "base": file.parent.as_uri(),
        "files": {"test": {"name": "q.jsonl", "blob": git_blob_id(file)}},
    }


def test_a_release_lands_in_the_layout_with_a_manifest_and_is_read_like_a_folder(tmp_path, release):
    source = Hub(tmp_path / "hub")
    source.fetch("toy", release)
    assert source.rows("toy", "test") == [{"a": "ä"}, {"a": "b"}]
    manifest = json.loads((tmp_path / "hub" / "toy" / "manifest.json").read_text("utf-8"))
    assert manifest["release"] == release
    assert manifest["files"]["test.jsonl"]["rows"] == 2
    assert sorted(os.listdir(tmp_path / "hub")) == ["toy"]
    assert verify(tmp_path / "hub" / "toy", release) == []


def test_data_are_kept_in_the_folder_hub_of_the_cache_unless_a_root_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("IAPT_CACHE", str(tmp_path / "cache"))
    assert Hub().path == tmp_path / "cache" / "hub"
    assert Hub(tmp_path / "mine").path == tmp_path / "mine"


def test_what_is_there_and_whole_is_never_fetched_again(tmp_path, release, monkeypatch):
    Hub(tmp_path / "hub").fetch("toy", release)
    monkeypatch.setattr(hub, "fetch", lambda *a: pytest.fail("fetched again"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    Hub(tmp_path / "hub").fetch("toy", release)


def test_changed_missing_and_added_files_are_told_apart(tmp_path, release):
    folder = tmp_path / "hub" / "toy"
    fetch(release, "toy", folder)
    (folder / "extra.jsonl").write_text("{}\n", "utf-8")
    assert verify(folder) == ["extra.jsonl is not in the manifest"]
    (folder / "extra.jsonl").unlink()
    (folder / "test.jsonl").write_text("{}\n", "utf-8")
    assert verify(folder) == ["test.jsonl has changed since it was fetched"]
    with pytest.raises(
        DataError, match=r"has changed since it was fetched. Delete it and fetch again"
    ):
        Hub(tmp_path / "hub").fetch("toy", release)
    (folder / "test.jsonl").unlink()
    assert verify(folder) == ["test.jsonl is missing"]
    (folder / "manifest.json").write_text("[]", "utf-8")
    assert "is damaged" in verify(folder)[0]
    (folder / "manifest.json").unlink()
    assert verify(folder) == ["no manifest.json, so iapt-data has not fetched it"]


def test_another_pinned_release_than_the_fetched_one_is_noticed(tmp_path, release):
    Hub(tmp_path / "hub").fetch("toy", release)
    with pytest.raises(DataError, match="fetched from another release"):
        Hub(tmp_path / "hub").fetch("toy", {**release, "base": "file:///elsewhere"})


def test_another_file_than_the_pinned_one_leaves_nothing_behind(tmp_path, release):
    release["files"]["test"]["blob"] = "0" * 40
    with pytest.raises(DataError, match="is not the pinned file: git blob"):
        fetch(release, "toy", tmp_path / "hub" / "toy")
    assert os.listdir(tmp_path / "hub") == []


def test_an_unreachable_file_is_named_with_what_to_do(tmp_path, release):
    release["files"]["test"]["name"] = "missing.jsonl"
    with pytest.raises(DataError, match=r"cannot fetch file:.*missing.jsonl.*use data=<folder>"):
        fetch(release, "toy", tmp_path / "hub" / "toy")


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"])
@pytest.mark.parametrize("value", ["1", "yes", "True", "on"])
def test_offline_is_offline(name, value, tmp_path, release, monkeypatch):
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(hub, "download", lambda *a: pytest.fail("downloaded"))
    with pytest.raises(DataError, match=f"{name} forbids fetching it"):
        Hub(tmp_path / "hub").fetch("toy", release)


def test_a_folder_with_files_of_ones_own_is_not_overwritten(tmp_path, release):
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "train.jsonl").write_text("{}\n", "utf-8")
    with pytest.raises(DataError, match=r"has files but no manifest.json"):
        fetch(release, "toy", folder)
    assert (folder / "train.jsonl").read_text("utf-8") == "{}\n"


def test_releases_that_cannot_be_fetched_are_named(tmp_path, release):
    with pytest.raises(DataError, match="toy has no released files"):
        fetch(None, "toy", tmp_path / "toy")
    with pytest.raises(ConfigError, match=r"task.release.kind='hubb'.*Did you mean 'hub'"):
        fetch({**release, "kind": "hubb"}, "toy", tmp_path / "toy")


def test_a_data_set_that_was_never_fetched_says_how_to_fetch_it(tmp_path):
    with pytest.raises(DataError, match=r"toy is not in .*hub. Fetch it with iapt-data fetch"):
        Hub(tmp_path / "hub").file("toy", "test")
