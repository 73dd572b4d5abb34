"""`iapt-doctor`: what it finds on machines of several kinds, and that it leaves them as they are."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from iapt.cli import checkup, launchers
from iapt.cli.doctor import main

TINY = ["task=sst2", "backbone=tiny_llama", "method=lora", "device=cpu"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("IAPT_CACHE", str(home / "cache"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


def found(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    assert main([*words, "--json"]) == code
    return {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}


def test_a_machine_on_which_the_run_can_start_is_all_right_and_stays_as_it_is(
    capsys: pytest.CaptureFixture[str],
):
    assert main(TINY) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "✗" in line] == []
    assert any(line.startswith("  ✓ torch ") and torch.__version__ in line for line in lines)
    assert list(Path.cwd().iterdir()) == []


def test_a_backbone_that_is_not_here_is_named_and_not_fetched(capsys: pytest.CaptureFixture[str]):
    backbone = found(capsys, *TINY[:1], "backbone=gpt2_large", "device=cpu")["backbone"]
    assert backbone["state"] == "absent"
    assert "openai-community/gpt2-large is not in the hub's cache" in backbone["text"]


def test_only_on_request_is_the_hub_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []
    monkeypatch.setattr(
        "iapt.backbone.load.check_access", lambda backbone: asked.append(backbone.name)
    )
    assert "hub" not in found(capsys, *TINY)
    assert not asked
    assert found(capsys, *TINY, "--network")["hub"]["state"] == "good"
    assert asked == ["tiny_llama"]


def test_weights_that_do_not_fit_are_in_the_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**20}
    monkeypatch.setattr(checkup.os, "sysconf", pages.__getitem__)  # 4 GiB
    memory = found(capsys, "backbone=llama2_7b", "device=cpu", code=1)["memory"]
    assert memory["state"] == "bad"
    assert "of this machine's 4" in memory["text"]


def test_data_that_is_not_fetched_is_said_with_what_to_do(capsys: pytest.CaptureFixture[str]):
    data = found(capsys, *TINY, "data=hub")["data"]
    assert data["state"] == "absent"
    assert data["todo"] == "iapt-data fetch task=sst2, or the first run does"


def test_a_gpu_that_is_not_there_is_in_the_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    finding = found(capsys, *TINY[:-1], "device=cuda:1", code=1)["device"]
    assert finding["state"] == "bad"
    assert "device=cuda:1" in finding["text"]


@pytest.mark.parametrize(
    ("major", "has", "todo"),
    [(7, "no", "backbone.dtype=float16 or float32"), (8, "yes", ""), (9, "yes", "")],
)
def test_cards_since_the_papers_have_bfloat16(
    major: int,
    has: str,
    todo: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    card = SimpleNamespace(name="A card", total_memory=48 * 2**30, major=major)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda i: card)
    gpu = found(capsys, *TINY)["gpu 0"]
    assert (gpu["text"], gpu["todo"]) == (f"A card, 48 GiB, bfloat16 {has}", todo)


@pytest.mark.parametrize(("free", "todo"), [(4.9, "make room"), (5.1, "")])
def test_a_disk_that_is_almost_full_is_said(
    free: float,
    todo: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    usage = SimpleNamespace(free=free * 2**30)
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda place: usage)
    now = found(capsys, *TINY)
    assert {now[name]["todo"] for name in ("out", "rows", "cache")} == {todo}


def test_fetched_data_that_have_changed_are_in_the_way(capsys: pytest.CaptureFixture[str]):
    folder = Path("rows/sst2")
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text("{}\n")
    (folder / "manifest.json").write_text('{"files": {}}')
    data = found(capsys, *TINY, "data=hub", "data.root=rows", code=1)["data"]
    assert (data["state"], data["todo"]) == ("bad", "delete it and fetch again")
    assert data["text"].startswith("rows/sst2: ")


def test_a_task_without_released_files_has_no_data_on_the_hub(capsys: pytest.CaptureFixture[str]):
    data = found(capsys, *TINY[1:], "task=custom_example", "data=hub", code=1)["data"]
    assert data["state"] == "bad"
    assert "no released files to fetch" in data["text"]


def test_data_is_looked_for_and_fetched_where_the_run_looks(capsys: pytest.CaptureFixture[str]):
    found_now = found(capsys, *TINY, "data=hub", "data.root=rows")
    assert found_now["data"]["todo"] == "iapt-data fetch task=sst2 out=rows, or the first run does"
    assert found_now["hub data"]["text"].endswith("in rows")
    assert found_now["hub data"]["todo"] == "iapt-data fetch task=all out=rows"


def test_a_folder_that_cannot_be_written_is_in_the_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    locked = Path.cwd() / "locked"
    locked.mkdir()
    monkeypatch.setattr(checkup.os, "access", lambda path, _: path != locked)
    out = found(capsys, *TINY, f"out={locked}/runs", code=1)["out"]
    assert "cannot be written" in out["text"]


def test_a_login_at_wandb_is_seen_and_never_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert found(capsys, *TINY)["wandb"]["state"] == "absent"
    secret = "0123456789abcdef" * 2
    (Path.cwd() / ".netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {secret}\n")
    (Path.cwd() / ".netrc").chmod(0o600)
    assert main([*TINY]) == 0
    said = capsys.readouterr()
    assert "✓ wandb" in said.out
    monkeypatch.setenv("WANDB_API_KEY", secret)
    assert main([*TINY, "--json"]) == 0
    assert secret not in said.out + said.err + capsys.readouterr().out


def test_a_launcher_that_is_not_installed_says_how_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(launchers, "installed", lambda plugin: False)
    assert main(TINY) == 0
    assert "launcher=slurm → pip install 'iapt[slurm]'" in capsys.readouterr().out


def test_a_wrong_word_is_an_error_with_the_nearest_right_one(capsys: pytest.CaptureFixture[str]):
    assert main(["task=bolq"]) == 2
    assert "Did you mean 'boolq'" in capsys.readouterr().err
    assert main(["--jsn"]) == 2


@pytest.mark.parametrize(
    "word", ["out=5", "rows=[a]", "seed=-1", "hparams.batch_size=1000000000000000000"]
)
def test_a_value_that_no_run_takes_is_an_error(word: str, capsys: pytest.CaptureFixture[str]):
    assert main([*TINY, word]) == 2
    assert capsys.readouterr().err.startswith(f"error: {word.partition('=')[0]}=")


def test_a_file_in_place_of_a_folder_is_in_the_way(capsys: pytest.CaptureFixture[str]):
    (Path.cwd() / "file").touch()
    for out in ("file", "file/runs"):
        assert "cannot be written" in found(capsys, *TINY, f"out={out}", code=1)["out"]["text"]
