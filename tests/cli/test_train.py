"""`iapt-train`: words that are wrong are answered in a moment, right ones run."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from iapt import __version__
from iapt import run as run_module
from iapt.cli.composing import check_keys, composed
from iapt.cli.launchers import needs
from iapt.cli.overrides import CHOOSING, CONFIG_DIR, groups, prepare, summary
from iapt.cli.train import main
from iapt.data.source import Sample
from iapt.planning import make_plan

ROOT = Path(__file__).parents[2]
TINY = ["task=sst2", "backbone=tiny_llama", "method=lora", "device=cpu"]


@pytest.fixture(autouse=True)
def elsewhere_without_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["iapt-train"])
    monkeypatch.setattr(run_module, "load_backbone", lambda *_: pytest.fail("loaded a model"))


def with_tiny(*words: str) -> list[str]:
    """The words, and those of TINY whose keys they do not give."""
    keys = {word.split("=")[0].lstrip("+") for word in words}
    return [*(w for w in TINY if w.split("=")[0] not in keys), *words]


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(words)
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.err


WRONG: list[tuple[list[str], list[str]]] = [
    (["task=bool"], ["task=bool", "no such task", "boolq", "Did you mean 'boolq'"]),
    (["method=iatp"], ["method=iatp", "no such method", "Did you mean 'iapt'"]),
    (["task=null"], ["task=null", "no such task"]),
    (["boolq"], ["'boolq'", "key=value"]),
    (["hparams.learning_rate=1"], ["'learning_rate' in hparams", "lr"]),
    (["hparam.lr=1"], ["'hparam'", "Did you mean 'hparams'"]),
    (["method.prompt_len=0", "method=iapt"], ["method.prompt_len=0", ">= 1"]),
    (["method.rank=four"], ["method.rank='four'", "a whole number"]),
    (["hparams.max_steps=ten"], ["hparams.max_steps='ten'", "must be a whole number >= 1 or null"]),
    (["limit.train=none"], ["limit.train='none'", "null for all"]),
    (["seed=0,1"], ["seed=0,1", "iapt-sweep"]),
    (["launcher=slurm"], ["launcher=slurm", "iapt-sweep"]),
    (["task=sst2,rte"], ["task=sst2,rte", "iapt-sweep"]),
    (["method.rank={"], ["method.rank={"]),
    (
        ["backbone=gpt2_large", "method=iapt", "hparams.max_length=1025"],
        ["hparams.max_length=1025", "1020"],
    ),
    (["device=tpu"], ["device='tpu'", "auto, cpu, cuda"]),
    (["hydra.verbose=7"], ["hydra.*: one of Hydra's own settings"]),
    (["experiment=papers"], ["experiment=papers", "Did you mean 'paper'"]),
]


@pytest.mark.parametrize(("words", "parts"), WRONG, ids=lambda w: " ".join(w)[:40])
def test_a_wrong_word_is_answered_before_any_model(
    words: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
):
    code, said = answer(capsys, *with_tiny(*words))
    assert code == 2
    assert said.startswith("error: ")
    for part in parts:
        assert part in said


def test_a_folder_without_the_split_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "rows" / "sst2"
    folder.mkdir(parents=True)
    whole = (Sample().path / "sst2" / "train.jsonl").read_text()
    (folder / "train.jsonl").write_text(whole)
    code, said = answer(capsys, *TINY, f"data={folder.parent}")
    assert code == 1
    for part in (str(folder), "validation.jsonl", "it has train"):
        assert part in said
    code, said = answer(capsys, *TINY, "data=./nothing")
    assert code == 1
    assert "nothing does not exist" in said


def test_a_path_as_data_is_a_folder():
    assert prepare(["data=./rows"]) == ["data=folder", "data.path=./rows"]
    assert prepare(["data=/a/b"]) == ["data=folder", "data.path=/a/b"]
    assert prepare(["data=sample"]) == ["data=sample"]
    Path("here").mkdir()
    assert prepare(["data=here"]) == ["data=folder", "data.path=here"]


def test_an_experiment_needs_no_plus():
    assert prepare(["experiment=paper"]) == prepare(["+experiment=paper"]) == ["+experiment=paper"]
    check_keys(["+experiment=paper", "hparams.lr=1e-4"])


def test_a_right_command_reaches_the_plan(capsys: pytest.CaptureFixture[str]):
    words = [*TINY, "dry_run=true", "limit.train=20", "method.rank=2", "hparams.lr=1e-3"]
    for _ in range(2):  # Hydra keeps no state between two commands of one process
        assert main(words) == 0
        shown = capsys.readouterr().out
        assert "20 train" in shown
        assert "lr 0.001" in shown


def test_a_full_output_is_one_line_without_one_of_hydras(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def full(config: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_module, "run", full)
    assert answer(capsys, *TINY, "dry_run=true") == (
        1,
        "error: standard output: No space left on device.\n",
    )


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_without_words_nothing_starts_but_the_help(
    words: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith("Usage: iapt-train")
    assert list(Path.cwd().iterdir()) == []


def test_the_help_page_has_launchers_numbers_and_whole_descriptions(
    capsys: pytest.CaptureFixture[str],
):
    main(["--help"])
    said = capsys.readouterr().out
    for launcher in ("local", "joblib", "ray", "slurm", "slurm_local"):
        assert f"    {launcher} " in said
    for number in ("lr=1.0e-4", "batch_size=null", "gradient_checkpointing=false"):
        assert f"  {number} " in said
    assert "gradient_checkpointing=false   recompute blocks in the backward pass." in said
    flat = " ".join(said.split())
    for group, entries in groups().items():
        for entry in entries:
            assert " ".join(summary(group, entry).split()) in flat, entry
    assert max(map(len, said.splitlines())) <= 120


def test_the_version_is_ours(capsys: pytest.CaptureFixture[str]):
    assert main(["task=boolq", "--version"]) == 0
    assert capsys.readouterr().out == f"iapt-train {__version__}\n"


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--cfg", "job"], "  _target_: iapt.methods.lora.LoRA"),
        (["--cfg=job", "--package", "method"], "_target_: iapt.methods.lora.LoRA"),
        (["-c", "job", "-p", "hparams", "--resolve"], "lr: 0.0005"),
    ],
)
def test_hydras_own_flags_show_and_run_nothing(
    flags: list[str], line: str, capsys: pytest.CaptureFixture[str]
):
    assert main([*TINY, *flags]) == 0
    assert line in capsys.readouterr().out
    assert list(Path.cwd().iterdir()) == []


def test_hydra_tells_how_a_configuration_was_put_together():
    """In a process of its own, since Hydra leaves its loggers behind."""
    words = [sys.executable, "-m", "iapt.cli.train", *TINY, "--info", "searchpath"]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert f"| main     | file://{CONFIG_DIR}" in done.stdout


@pytest.mark.parametrize("key", ["out", "rows", "hydra.run.dir"])
def test_a_folder_that_cannot_be_made_is_named_before_any_model(
    key: str, capsys: pytest.CaptureFixture[str]
):
    Path("file").write_text("")
    code, said = answer(capsys, *TINY, f"{key}=file/below")
    assert code == 2
    assert said.startswith(f"error: {key}=file/below: the folder cannot be")
    assert main([*TINY, "dry_run=true", "out=file/below"]) == 0  # which writes nothing


def test_the_closing_hint_is_the_whole_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(run_module, "run", lambda config: {"run_id": "x"})
    words = [*TINY, "hparams.max_steps=2", "limit.test=4", "seed=3", "out=my runs"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert (
        "All seeds: iapt-sweep task=sst2 backbone=tiny_llama method=lora device=cpu "
        "hparams.max_steps=2 limit.test=4 'out=my runs'\n"
    ) in said
    assert "iapt-train task=sst2 method=lora seed=3 experiment=paper\n" in said


def test_the_closing_hint_keeps_what_makes_the_method_and_forces_no_other_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(run_module, "run", lambda config: {"run_id": "x"})
    (tmp_path / "mine" / "task").mkdir(parents=True)
    words = [
        "--config-dir",
        "mine",
        "plugins=json",
        "method=iapt",
        "variant=iapt_4",
        "method.prompt_len=8",
    ]
    assert main([*words, "task=sst2", "device=cpu", "force=true", "hparams.max_steps=2"]) == 0
    said = capsys.readouterr().out
    start = f"--config-dir {tmp_path / 'mine'} plugins=json method=iapt variant=iapt_4 method.prompt_len=8 task=sst2"
    assert f"All seeds: iapt-sweep {start} device=cpu hparams.max_steps=2\n" in said
    assert f"iapt-train {start} experiment=paper\n" in said


def test_help_answers_without_torch_or_hydra():
    """As a user starts it; the time depends on the machine, what is imported does not."""
    program = (
        "import sys; from iapt.cli.train import main; code = main(['--help']); "
        "heavy = ('torch', 'transformers', 'hydra', 'omegaconf', 'pydantic', 'yaml'); "
        "print([m for m in heavy if m in sys.modules], code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    *page, last = done.stdout.splitlines()
    assert last == "[] 0"
    for group, entries in groups().items():
        assert f"  {group}" in page
        for entry in entries:
            if (group, entry) != ("variant", "none"):
                assert any(line.startswith(f"    {entry} ") for line in page), entry


def test_every_entry_has_a_line_for_the_help_page():
    for group, entries in groups().items():
        for entry in entries:
            if (group, entry) != ("variant", "none"):
                assert summary(group, entry), f"{group}/{entry} has no comment line"


def test_groups_are_those_of_the_folder():
    found = groups()
    assert set(found) == {
        *("backbone", "data", "experiment", "hparams"),
        *("launcher", "logger", "method", "scale", "task", "variant"),
    }
    assert {len(list((CONFIG_DIR / g).glob("*.yaml"))) - len(e) for g, e in found.items()} == {0}
    assert len(found["task"]) >= 13
    assert len(found["method"]) >= 15
    assert len(found["backbone"]) >= 7
    assert len(found["variant"]) >= 14
    assert sum(map(len, found.values())) >= 55


ENTRIES = [
    (group, entry)
    for group, entries in groups().items()
    for entry in entries
    if group != "launcher" or not needs(entry)
]


@pytest.mark.parametrize(("group", "entry"), ENTRIES, ids=["/".join(e) for e in ENTRIES])
def test_every_entry_composes_resolves_and_makes_a_plan(
    group: str, entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)  # llama2_7b asks for it
    plus = "+" if group in CHOOSING else ""
    words = [f"{plus}{group}={entry}"]
    if group == "variant" and entry != "none":
        words.append(f"method={entry.split('_')[0]}")
    if (group, entry) == ("data", "folder"):
        words.append(f"data.path={Sample().path}")
    plan = make_plan(composed(words))
    assert plan.trainable > 0
    if group in plan.cell and group not in ("variant", "data"):
        assert plan.cell[group] == entry
