"""A checkpoint's files from a hub: whole or refused, asked for once, usable without a network."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from iapt.backbone.config import BackboneConfig
from iapt.backbone.load import load_backbone, load_tokenizer, missing
from iapt.errors import BackboneError
from iapt.remote.raw import download
from iapt.remote.repository import Entry, Repository, reach
from tests.hub_content import DIMS, checkpoint, entry, publish_checkpoint
from tests.hub_server import HubServer

CPU = torch.device("cpu")


def llama(hub: HubServer, **changes: Any) -> BackboneConfig:
    publish_checkpoint(hub)
    sizes = {"dims": {name: getattr(DIMS, name) for name in DIMS.__dataclass_fields__}}
    return BackboneConfig.from_mapping({**entry("backbone", "llama2_7b"), **sizes, **changes})


def stored(tmp_path: Path, name: str) -> Path:
    """Where the hub's cache has a file."""
    return next(tmp_path.glob(f"hf/models--*/snapshots/*/{name}")).resolve()


def test_the_tokenizer_alone_fetches_no_weights(hub: HubServer):
    config = llama(hub)
    load_tokenizer(config)
    assert hub.asked_for("tokenizer.json")
    assert not hub.asked_for("safetensors")
    assert missing(config) == "meta-llama/Llama-2-7b-hf is not in the hub's cache"
    load_backbone(config, CPU)
    assert missing(config) == ""


@pytest.mark.parametrize(
    ("match", "fault", "more", "message"),
    [
        (
            "tree",
            401,
            {"code": "GatedRepo"},
            r"HTTP 401\)\. Ask for access at http\S+Llama-2-7b-hf, then log in",
        ),
        (
            "tree",
            403,
            {"code": "GatedRepo"},
            r"HTTP 403\)\. Ask for access at http\S+Llama-2-7b-hf",
        ),
        ("tree", 404, {"code": "RepoNotFound"}, r"no such repository.*HTTP 404"),
        ("tree", 404, {"code": "RevisionNotFound"}, r"no such revision.*Correct the revision"),
        ("tree", 429, {}, r"HTTP 429\)\. Run the same command again"),
        ("tree", 500, {}, r"HTTP 500\) at every try\. Run the same command again"),
        ("tree", "login page", {}, r"a web page came instead"),
        ("tree", "reset", {}, r"the connection failed"),
        ("00001-of", 401, {"code": "GatedRepo", "method": "HEAD"}, r"HTTP 401\)\. Ask for access"),
        ("00001-of", 403, {}, r"HTTP 403\)\. Ask for access"),
        ("00001-of", 500, {}, r"HTTP 500\)"),
        ("00001-of", 429, {}, r"HTTP 429\)"),
        ("00001-of", "cut", {}, r"the connection failed"),
        ("00001-of", "flip", {}, r"model-00001\S+ has sha256 \w+, but the revision has"),
        ("00001-of", "login page", {"method": "HEAD"}, r"a web page came instead"),
        ("tokenizer.json", "flip", {}, r"tokenizer.json has git \w+, but the revision has"),
    ],
)
def test_a_fault_that_stays_is_one_line(
    match: str, fault: str | int, more: dict[str, str], message: str, hub: HubServer
):
    config = llama(hub)
    hub.fail(match, fault, **more)
    start = r"backbone llama2_7b: 'meta-llama/Llama-2-7b-hf' \(revision \w+\) cannot be loaded: "
    with pytest.raises(BackboneError, match=start + f".*{message}") as caught:
        load_backbone(config, CPU)
    assert "\n" not in str(caught.value)
    hub.faults.clear()
    load_backbone(config, CPU)


@pytest.mark.parametrize("fault", ["cut", "flip", 500, 429, "reset", "short"])
def test_a_fault_that_passes_is_waited_for(fault: str | int, hub: HubServer, tmp_path: Path):
    config = llama(hub)
    hub.fail("00001-of", fault, times=1)
    load_backbone(config, CPU)
    assert hub.faults[0].times == 0
    for name, content in checkpoint().items():
        if name.startswith("model-"):
            assert stored(tmp_path, name).read_bytes() == content


def test_after_one_load_no_network_is_needed(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import constants

    config = llama(hub)
    first = load_backbone(config, CPU)
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_backbone(config, CPU).fingerprint == first.fingerprint
    shutil.rmtree(tmp_path / "cache")  # as where only the hub's cache was copied to
    assert load_backbone(config, CPU).fingerprint == first.fingerprint
    load_tokenizer(config)
    assert hub.requests == []

    path = stored(tmp_path, "model-00002-of-*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        BackboneError, match=r"cannot be loaded: /\S+safetensors has sha256.*HF_HUB_OFFLINE forbids"
    ):
        load_backbone(config, CPU)


def test_offline_without_the_files_is_one_line(hub: HubServer, monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import constants

    config = llama(hub)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        BackboneError, match=r"offline mode.*backbone\.checkpoint=<folder>"
    ) as caught:
        load_backbone(config, CPU)
    assert "\n" not in str(caught.value)
    assert hub.requests == []


def test_a_branch_is_taken_at_its_newest_commit_and_recorded(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import constants

    config = llama(hub, revision=None)
    commit = entry("backbone", "llama2_7b")["revision"]
    assert load_backbone(config, CPU).revision == commit
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert Repository("model", str(config.checkpoint)).commit() == commit


def test_weights_that_can_only_be_unpickled_are_not_loaded(hub: HubServer):
    config = llama(hub)
    files = {n: c for n, c in checkpoint().items() if "safetensors" not in n}
    hub.add("models", str(config.checkpoint), str(config.revision), files)
    with pytest.raises(BackboneError, match=r"cannot be loaded: .*safetensors"):
        load_backbone(config, CPU)
    assert not hub.asked_for("pytorch_model.bin")


@pytest.mark.parametrize(
    ("path", "digest"),
    [
        ("../a", "git:" + "0" * 40),
        ("/a", "git:" + "0" * 40),
        ("a/../../b", "git:" + "0" * 40),
        ("a\\b", "git:" + "0" * 40),
        ("a", "git:0"),
        ("a", "sha256:" + "0" * 40),
    ],
)
def test_a_listing_is_not_trusted(path: str, digest: str):
    with pytest.raises(ValueError, match=r"is not a (path inside a repository|digest)"):
        Entry(path, 1, digest)


def test_a_listing_is_of_one_revision_of_one_repository_and_of_its_top_files(hub: HubServer):
    commits = ("1" * 40, "2" * 40)
    for name in ("a/one", "a/two"):
        for commit in commits:
            files = {"config.json": b"{}", f"{name[2:]}{commit[0]}": b"x", "onnx/model": b"x"}
            hub.add("models", name, commit, files)

    def files_of(name: str, commit: str) -> set[str]:
        return {e.path for e in Repository("model", name, commit).entries(lambda _: True)}

    for _ in range(2):  # from the hub, and as it is kept
        for name in ("a/one", "a/two"):
            for commit in commits:
                own = f"{name[2:]}{commit[0]}"
                assert files_of(name, commit) == {"config.json", own}


def test_what_is_in_the_cache_is_of_the_revision_that_was_fetched(hub: HubServer):
    fetched, other = (Repository("model", "a/one", digit * 40) for digit in "12")
    for repository in (fetched, other):
        hub.add("models", "a/one", repository.revision, {"config.json": b"{}"})
    fetched.snapshot(lambda _: True)
    assert [entry.path for entry in fetched.in_the_cache()] == ["config.json"]
    assert other.in_the_cache() == []


def test_a_branch_is_listed_as_it_is_now(hub: HubServer):
    branch = Repository("model", "a/one")
    for digit, name in (("1", "old"), ("2", "new")):
        hub.add("models", "a/one", digit * 40, {"config.json": b"{}", name: b"x"})
        listed = {entry.path for entry in branch.entries(lambda _: True)}
    assert listed == {"config.json", "new"}


def test_what_was_left_of_a_repository_without_a_network_is_not_taken_for_all_of_it(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import constants

    config = llama(hub)
    load_tokenizer(config)
    shutil.rmtree(tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        load_tokenizer(config)
    load_backbone(config, CPU)
    assert hub.asked_for("safetensors")


def test_the_clients_log_is_as_loud_afterwards_as_before(hub: HubServer):
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity

    hub.add("models", "a/one", "1" * 40, {"config.json": b"{}"})
    before = get_verbosity()
    try:
        for level in (logging.WARNING, logging.DEBUG):
            set_verbosity(level)
            Repository("model", "a/one", "1" * 40).listing()
            assert get_verbosity() == level
    finally:
        set_verbosity(before)


def test_no_server_is_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Asked(Exception):
        pass

    def ask(url: str, timeout: float | None = None) -> None:
        assert timeout == 60
        raise Asked

    for module in ("raw", "repository"):
        monkeypatch.setattr(f"iapt.remote.{module}.urlopen", ask)
    with pytest.raises(Asked):
        reach("http://127.0.0.1:9")
    with pytest.raises(Asked):
        download("http://127.0.0.1:9", "0" * 40, tmp_path / "file")


def test_a_server_is_reached_whatever_it_answers(hub: HubServer):
    hub.fail("^/$", 418)
    reach(hub.url)
    with pytest.raises(OSError, match="refused"):
        reach("http://127.0.0.1:9")


def test_a_cache_that_cannot_be_written_is_done_without(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IAPT_CACHE", str(tmp_path / "file"))
    config = llama(hub)
    assert load_backbone(config, CPU).fingerprint == load_backbone(config, CPU).fingerprint
    assert os.listdir(tmp_path / "hf")
