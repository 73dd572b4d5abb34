"""Where numbers go: a file always, Weights & Biases if asked."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iapt.results.row import Row
from iapt.training import loggers
from iapt.training.loggers import Concluding, Files, Wandb
from tests.results.example_rows import a_row


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_line_for_each_record_and_a_resumed_run_goes_on(tmp_path: Path):
    for step in (1, 2):
        files = Files()
        files.start(tmp_path, "run", {})
        files.log({"loss": 0.5 * step}, step)
        assert lines(tmp_path)[-1] == {"step": step, "loss": 0.5 * step}, "written at once"
        files.finish(True)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]


def test_finishing_what_never_started_is_nothing():
    Files().finish(False)
    Wandb().finish(False)


def test_numbers_before_the_start_are_a_mistake_that_is_said():
    with pytest.raises(RuntimeError, match=r"^log came before start$"):
        Files().log({"loss": 1.0}, 1)


def test_wandbs_project_is_ours_unless_named():
    assert Wandb().project == "iapt"


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_wandb_gets_the_same_numbers_under_the_runs_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ok: bool, code: int
):
    calls: list[Any] = []

    def init(**options: Any) -> Any:
        calls.append(options)
        return SimpleNamespace(
            log=lambda values, step: calls.append((values, step)),
            finish=lambda exit_code: calls.append(exit_code),
        )

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    monkeypatch.setattr(loggers, "account", lambda: False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    logger = Wandb(project="p")
    logger.start(tmp_path, "run-1", {"seed": 0})
    logger.log({"loss": 1.0}, 4)
    logger.finish(ok)
    options, logged, finished = calls
    assert options == {
        "project": "p",
        "id": "run-1",
        "name": "run-1",
        "config": {"seed": 0},
        "dir": str(tmp_path),
        "mode": "offline",
        "group": None,
        "job_type": "train",
        "tags": [],
        "resume": "allow",  # the same id goes on where the stopped run was
        "reinit": "finish_previous",  # runs of a sweep share a process
    }
    assert logged == ({"loss": 1.0}, 4)
    assert finished == code
    assert lines(tmp_path) == [{"step": 4, "loss": 1.0}]


def started(folder: Path, run_id: str, config: dict[str, Any]) -> None:
    logger = Wandb()
    logger.start(folder, run_id, config)
    logger.finish(True)


@pytest.mark.parametrize(
    ("known", "said", "mode"),
    [(False, None, "offline"), (True, None, "online"), (True, "disabled", None)],
)
def test_wandb_is_online_only_with_an_account_unless_the_environment_says(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    known: bool,
    said: str | None,
    mode: str | None,
):
    modes: list[Any] = []
    wandb = SimpleNamespace(init=lambda **options: modes.append(options["mode"]))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setattr(loggers, "account", lambda: known)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if said:
        monkeypatch.setenv("WANDB_MODE", said)
    started(tmp_path, "run", {})
    assert modes == [mode]


def test_the_seeds_of_a_cell_are_a_group_with_its_names_as_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: dict[str, Any] = {}
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=asked.update))
    config = {"task": {"name": "rte"}, "method": {"name": "iapt"}, "variant": "iapt_1", "seed": 3}
    name = "rte--tiny--iapt--iapt_1--quick--sample--seed3--0123abcd"
    started(tmp_path, name, config)
    assert asked["group"] == "rte--tiny--iapt--iapt_1--quick--sample"
    assert asked["tags"] == ["rte", "iapt", "iapt_1"]
    started(tmp_path, "x" * 150 + name, config)
    assert len(asked["id"]) <= 128
    assert asked["id"].endswith("0123abcd")


def finished_run(folder: Path) -> Path:
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter.safetensors").write_bytes(b"weights")
    lines = (
        {"id": str(i), "output": "yes", "parsed": None, "references": ["yes"]} for i in range(5)
    )
    (folder / "predictions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def test_only_a_logger_with_a_conclusion_is_told_the_result():
    assert isinstance(Wandb(), Concluding)
    assert not isinstance(Files(), Concluding)


class Told:
    """Stands in for the module wandb and for its run: keeps what it is told."""

    def __init__(self) -> None:
        self.summary: dict[str, Any] = {}
        self.logged: list[dict[str, Any]] = []
        self.artefacts: list[Any] = []

    def Table(self, columns: list[str], data: list[Any]) -> Any:
        return columns, data

    def Artifact(self, name: str, type: str) -> Any:
        return SimpleNamespace(name=name, type=type, add_dir=lambda folder: None)

    def log(self, values: dict[str, Any]) -> None:
        self.logged.append(values)

    def log_artifact(self, artefact: Any) -> None:
        self.artefacts.append((artefact.name, artefact.type))


def concluded(folder: Path, monkeypatch: pytest.MonkeyPatch, row: Row, **options: Any) -> Told:
    told, logger = Told(), Wandb(**options)
    monkeypatch.setitem(sys.modules, "wandb", told)
    logger._run = told
    logger.conclude(row, finished_run(folder))
    return told


def test_a_result_is_told_under_the_names_of_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    scores = {"metric": "f1", "value": 71.0, "n": 9, "n_unparsed": 2, "details": {"acc": 64.0}}
    row = a_row(
        scores=scores,
        dev={"best_loss": 0.25, "best_accuracy": 81.0},
        params={"trained": 300, "stored": 400, "active_at_decode": 100},
        seconds={"train": 20.0, "total": 50.0},
        peak_memory_mib=1500.0,
        tokens_per_second=6000.0,
        device="a device",
    )
    assert concluded(tmp_path, monkeypatch, row).summary == {
        "test/f1": 71.0,
        "test/acc": 64.0,
        "test/score": 71.0,
        "test/n": 9,
        "test/unparsed": 2,
        "dev/best_loss": 0.25,
        "dev/best_accuracy": 81.0,
        "params/trained": 300,
        "params/active_at_decode": 100,
        "peak_memory_mib": 1500.0,
        "tokens_per_second": 6000.0,
        "seconds/total": 50.0,
        "setting": "5e771116aaaa",
        "device": "a device",
    }


@pytest.mark.parametrize("adapter", [True, False])
@pytest.mark.parametrize("most", [0, 3])
def test_predictions_and_the_adapter_are_kept_only_where_they_are_wanted(
    adapter: bool, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told = concluded(tmp_path, monkeypatch, a_row(), predictions=most, adapter=adapter)
    assert told.artefacts == ([("adapter-c0ffee", "adapter")] if adapter else [])
    tables = [values["predictions"] for values in told.logged]
    rows = [[str(i), "yes", None, "yes"] for i in range(most)]
    assert tables == ([(["id", "output", "parsed", "references"], rows)] if most else [])


CLOUD, OWN = (
    "machine api.wandb.ai login user password x",
    "machine wandb.example login u password x",
)


@pytest.mark.parametrize(
    ("environment", "file", "known"),
    [
        ({}, None, False),
        ({"WANDB_API_KEY": "key"}, None, True),
        ({"WANDB_API_KEY": ""}, OWN, False),
        ({}, CLOUD, True),
        ({}, OWN, False),
        ({"WANDB_BASE_URL": "https://wandb.example:8080"}, OWN, True),
        ({"WANDB_BASE_URL": "https://wandb.example:8080"}, CLOUD, False),
        ({}, "no such word", False),
        ({}, "machine api.wandb.ai login u password \xe9", False),  # in Latin-1
    ],
)
def test_an_account_is_a_key_in_the_environment_or_one_for_the_host_in_netrc(
    environment: dict[str, str],
    file: str | None,
    known: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    if file is not None:
        (tmp_path / "netrc").write_text(file + "\n", encoding="latin-1")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert loggers.account() is known


@pytest.mark.slow
def test_a_finished_run_is_kept_offline_with_result_predictions_and_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    import wandb

    logger, row = Wandb(predictions=3), a_row()
    logger.start(finished_run(tmp_path), "run-1", {"seed": 0})
    logger.log({"train/loss": 1.0}, 1)
    logger.conclude(row, tmp_path)
    run = logger._run
    assert run.summary["test/acc"] == run.summary["test/score"] == row.scores.value
    assert run.summary["test/unparsed"] == row.scores.n_unparsed
    assert run.summary["params/trained"] == row.params.trained
    logger.finish(True)
    wandb.teardown()  # its service may write the rest only when it ends, as it does with the process
    (kept,) = (tmp_path / "wandb").glob("offline-run-*")
    (table,) = kept.rglob("predictions*.table.json")
    assert len(json.loads(table.read_text())["data"]) == 3
    assert b"adapter-c0ffee" in next(kept.glob("*.wandb")).read_bytes()
