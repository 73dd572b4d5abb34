"""What a hub can do wrong while a data set is fetched: one line each, nothing left behind, the next fetch works."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from iapt.data.hub import Hub
from iapt.errors import DataError
from tests.hub_content import entry, publish, publish_raw
from tests.hub_server import HubServer

AGAIN = r"Run the same command again"


def copa(hub: HubServer) -> dict[str, Any]:
    publish(hub, "copa")
    release: dict[str, Any] = entry("task", "copa")["release"]
    return release


@pytest.mark.parametrize(
    ("match", "fault", "more", "message"),
    [
        (
            "tree",
            401,
            {"code": "GatedRepo"},
            r"HTTP 401.*Ask for access at http\S+/datasets/aps/super_glue",
        ),
        ("tree", 403, {}, r"HTTP 403.*Ask for access at http\S+/datasets/aps/super_glue"),
        ("tree", 404, {"code": "RepoNotFound"}, r"no such repository.*HTTP 404"),
        ("tree", 404, {"code": "RevisionNotFound"}, r"no such revision \(HTTP 404\)"),
        ("tree", 429, {}, rf"slow down \(HTTP 429\)\. {AGAIN}"),
        ("tree", 500, {}, rf"the server failed \(HTTP 500\) at every try\. {AGAIN}"),
        ("tree", "reset", {}, r"the connection failed"),
        ("tree", "login page", {}, r"a web page came instead.*Check the network"),
        ("parquet", 404, {"method": "HEAD", "code": "EntryNotFound"}, r"no such file \(HTTP 404\)"),
        ("parquet", 403, {}, r"HTTP 403.*Ask for access at"),
        ("parquet", 429, {}, rf"slow down \(HTTP 429\)\. {AGAIN}"),
        ("parquet", 500, {}, rf"HTTP 500.*{AGAIN}"),
        ("parquet", 503, {"method": "HEAD"}, rf"HTTP 503.*{AGAIN}"),
        ("parquet", "reset", {}, r"the connection failed"),
        ("parquet", "cut", {}, r"the connection failed"),
        ("parquet", "flip", {}, r"parquet has sha256 \w+, but the revision has"),
        ("parquet", "short", {}, r"the connection failed"),
        ("parquet", "login page", {}, r"the connection failed|web page"),
        ("README", "flip", {}, r"README.md has git \w+, but the revision has"),
    ],
)
def test_a_fault_that_stays_is_one_line_and_leaves_nothing(
    match: str, fault: str | int, more: dict[str, str], message: str, hub: HubServer, tmp_path: Path
):
    release = copa(hub)
    hub.fail(match, fault, **more)
    with pytest.raises(
        DataError, match=rf"cannot fetch aps/super_glue \(copa\) .*{message}"
    ) as caught:
        Hub(tmp_path / "data").fetch("copa", release)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path / "data") == []
    hub.faults.clear()
    Hub(tmp_path / "data").fetch("copa", release)


@pytest.mark.parametrize(
    ("match", "fault", "more"),
    [
        ("tree", 500, {}),
        ("tree", 429, {}),
        ("parquet", 429, {}),
        ("parquet", 500, {}),
        ("parquet", 502, {"method": "HEAD"}),
        ("parquet", "cut", {}),
        ("parquet", "reset", {}),
        ("parquet", "flip", {}),
        ("parquet", "short", {}),
        ("README", "flip", {}),
    ],
)
def test_a_fault_that_passes_is_waited_for_with_few_words(
    match: str,
    fault: str | int,
    more: dict[str, str],
    hub: HubServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
):
    release = copa(hub)
    Hub(tmp_path / "expected").fetch("copa", release)
    hub.fail(match, fault, times=1, **more)
    caplog.clear()
    capsys.readouterr()
    Hub(tmp_path / "data").fetch("copa", release)
    assert hub.faults[0].times == 0
    assert [r for r in caplog.records if r.name.startswith("huggingface_hub")] == []
    assert len(capsys.readouterr().err.splitlines()) <= 1
    for name in os.listdir(tmp_path / "expected" / "copa"):
        expected = (tmp_path / "expected" / "copa" / name).read_bytes()
        assert (tmp_path / "data" / "copa" / name).read_bytes() == expected


def test_a_damaged_file_in_the_hubs_own_cache_does_not_stick(hub: HubServer, tmp_path: Path):
    from huggingface_hub import hf_hub_download

    release = copa(hub)
    path = "copa/train-00000-of-00001.parquet"
    where = {"repo_type": "dataset", "revision": release["revision"]}
    kept = Path(hf_hub_download(release["id"], path, **where))
    kept.resolve().write_bytes(kept.read_bytes()[:-1] + b"?")
    Hub(tmp_path / "data").fetch("copa", release)
    assert len(Hub(tmp_path / "data").rows("copa", "train")) == 32


def test_nobody_at_home_is_told_at_once(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import constants

    release = copa(hub)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        DataError, match=r"Connection refused\)\. Check the network and HF_ENDPOINT"
    ):
        Hub(tmp_path / "data").fetch("copa", release)


@pytest.mark.parametrize("path", ["../outside.parquet", "/tmp/outside.parquet", "a/../../b"])
def test_a_hub_cannot_write_outside(path: str, hub: HubServer, tmp_path: Path):
    release = copa(hub)
    files = hub.repositories["datasets", release["id"]]
    files[release["revision"]] = {**files[release["revision"]], path: b"x"}
    with pytest.raises(DataError, match="is not a path inside a repository"):
        Hub(tmp_path / "data").fetch("copa", release)


def test_a_repository_that_datasets_cannot_read_is_one_line(hub: HubServer, tmp_path: Path):
    release = copa(hub)
    hub.add("datasets", release["id"], release["revision"], {"copa/train-0.parquet": b"no parquet"})
    with pytest.raises(DataError, match=r"cannot fetch aps/super_glue") as caught:
        Hub(tmp_path / "data").fetch("copa", release)
    assert "\n" not in str(caught.value)


def test_no_token_and_no_password_is_shown(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnop")
    monkeypatch.setattr(constants, "ENDPOINT", "http://me:secret@127.0.0.1:9")
    with pytest.raises(DataError) as caught:
        Hub(tmp_path / "data").fetch("copa", entry("task", "copa")["release"])
    assert "secret" not in str(caught.value)
    assert "hf_abc" not in str(caught.value)


RAW = [
    (404, r"no such file \(HTTP 404\)", False),
    (403, r"HTTP 403", False),
    (429, rf"slow down \(HTTP 429\)\. {AGAIN}", True),
    (500, rf"HTTP 500.*{AGAIN}", True),
    ("reset", "connection", True),
    ("cut", r"bytes before the end", True),
    ("flip", r"is not the pinned file", True),
    ("short", r"is not the pinned file", True),
    ("login page", r"is not the pinned file.*a login page", True),
]


@pytest.mark.parametrize(("fault", "message", "passes"), RAW)
def test_raw_files_fare_alike(
    fault: str | int, message: str, passes: bool, hub: HubServer, tmp_path: Path
):
    release = publish_raw(hub, "mt_bench")
    hub.fail("raw/model_answer", fault)
    with pytest.raises(
        DataError, match=rf"cannot fetch http\S+/raw/model_answer_gpt4: .*{message}"
    ) as caught:
        Hub(tmp_path / "data").fetch("mt_bench", release)
    assert "\n" not in str(caught.value)
    asked = len(hub.asked_for("model_answer"))
    assert asked == (3 if passes else 1), "what does not pass is not tried again"
    hub.faults.clear()
    if passes:
        hub.fail("raw/model_answer", fault, times=1)
    Hub(tmp_path / "data").fetch("mt_bench", release)


KILLED = """
import os, signal, sys
from iapt.data import hub
hub._read = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
hub.fetch({"kind": "jsonl"}, "toy", __import__("pathlib").Path(sys.argv[1]) / "toy")
"""


def test_what_a_killed_fetch_left_goes_with_the_next(hub: HubServer, tmp_path: Path):
    release = publish_raw(hub, "mt_bench")
    words = [sys.executable, "-c", KILLED, str(tmp_path / "data")]
    assert subprocess.run(words, check=False).returncode == -9
    (left,) = os.listdir(tmp_path / "data")
    assert re.match(r"\.toy-", left)
    Hub(tmp_path / "data").fetch("toy", release)
    assert os.listdir(tmp_path / "data") == ["toy"]


def test_two_fetches_of_one_data_set_at_once_download_it_once(hub: HubServer, tmp_path: Path):
    release = publish_raw(hub, "mt_bench")
    with ThreadPoolExecutor(4) as threads:
        sources = [Hub(tmp_path / "data") for _ in range(4)]
        list(threads.map(lambda source: source.fetch("toy", release), sources))
    assert len(hub.requests) == len(release["files"])
    assert os.listdir(tmp_path / "data") == ["toy"]
