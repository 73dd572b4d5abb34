"""What a run's settings reach: the backbone, the method's start, decoding."""

import platform
from pathlib import Path
from typing import Any

import pytest
import torch

from iapt import run as run_module
from iapt.backbone import processes
from iapt.backbone.device import keep_freed_memory
from iapt.errors import BusyError, ConfigError, TrainingError
from iapt.methods.iapt import IAPT
from iapt.planning import make_plan
from iapt.provenance import peak_memory_mib
from iapt.results.attempt import attempt
from iapt.run import run
from tests.composed import composed
from tests.tiny_runs import SIX_STEPS


class Stopped(Exception):
    """Ends a run at the place that a test looks at."""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings(*overrides: str) -> dict[str, Any]:
    return composed(*SIX_STEPS, *overrides)


@pytest.mark.parametrize("asked", [True, False])
def test_gradient_checkpointing_reaches_the_backbone(asked: bool, monkeypatch: pytest.MonkeyPatch):
    seen: list[bool] = []

    def stop(training: Any, *_: Any) -> None:
        seen.append(training.backbone.checkpointing)
        raise Stopped

    monkeypatch.setattr(run_module, "train", stop)
    with pytest.raises(Stopped):
        run(settings("method=lora", f"hparams.gradient_checkpointing={asked}"))
    assert seen == [asked]


def test_the_peak_of_memory_is_the_runs_own_and_a_checkpoint_that_of_its_configuration(
    monkeypatch: pytest.MonkeyPatch,
):
    events: list[str] = []
    load = run_module.load_backbone

    def loaded(*arguments: Any) -> Any:
        events.append("load")
        return load(*arguments)

    def stop(training: Any, checkpoint: Path, belongs_to: str, logger: Any) -> None:
        events.append(belongs_to)
        raise Stopped

    monkeypatch.setattr(run_module, "reset_peak_memory", lambda *_, **__: events.append("reset"))
    monkeypatch.setattr(run_module, "load_backbone", loaded)
    monkeypatch.setattr(run_module, "train", stop)
    with pytest.raises(Stopped):
        run(settings("method=lora"))
    assert events == ["reset", "load", make_plan(settings("method=lora")).config_hash]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_peak_memory_leaves_out_what_the_process_keeps_of_an_earlier_run():
    keep_freed_memory()
    blocks = [torch.ones(4 * 2**20) for _ in range(32)]  # 16 MiB each, too small to be returned
    with_blocks = peak_memory_mib(torch.device("cpu"))
    del blocks
    row = run(settings("method=bitfit"))
    assert row is not None
    assert row.peak_memory_mib is not None
    assert row.peak_memory_mib < with_blocks - 256


@pytest.mark.parametrize("key", ["out", "rows"])
def test_a_folder_that_cannot_be_written_is_named_before_anything_is_loaded(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_module, "load_backbone", lambda *_: pytest.fail("loaded"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"{key}="):
        run(settings("method=lora", f"{key}={tmp_path / 'file' / 'folder'}"))


def test_a_run_at_which_someone_works_is_not_waited_for_unless_asked():
    folder = Path("runs") / make_plan(settings("method=lora")).run_id
    with attempt(folder, wait=True), pytest.raises(BusyError):
        run(settings("method=lora"), wait=False)


@pytest.mark.parametrize("other", ["run", "resumes"])
def test_processes_of_one_run_that_see_different_things_stop(
    other: str, monkeypatch: pytest.MonkeyPatch
):
    plan = make_plan(settings("method=lora"))
    folder = Path("runs") / plan.run_id
    folder.mkdir(parents=True)
    (folder / "checkpoint.safetensors").touch()
    said: dict[str, Any] = {"run": plan.run_id, "resumes": ["checkpoint.safetensors"]}
    ran: list[Path] = []
    monkeypatch.setattr(run_module, "_run", lambda *given: ran.append(given[2].folder))
    monkeypatch.setattr(processes, "first", lambda: False)
    monkeypatch.setattr(processes, "order", lambda: said)
    run(settings("method=lora"))
    assert ran == [folder]
    said[other] = said[other][:-1]
    with pytest.raises(TrainingError, match="all need the same command"):
        run(settings("method=lora"))
    assert len(ran) == 1


def test_a_method_that_starts_from_the_backbone_does_so_before_it_is_attached(
    monkeypatch: pytest.MonkeyPatch,
):
    events: list[Any] = []

    def started(self: IAPT, backbone: Any, encode: Any) -> None:
        events.append(("start", any(backbone._prompts), encode("a")))

    def attached(self: IAPT, backbone: Any) -> None:
        events.append("attach")
        raise Stopped

    monkeypatch.setattr(IAPT, "start", started)
    monkeypatch.setattr(IAPT, "attach", attached)
    with pytest.raises(Stopped):
        run(settings("method=iapt"))
    (_, occupied, tokens), attach = events
    assert not occupied
    assert len(tokens) == 2, "BOS and one byte"
    assert attach == "attach"


def test_a_run_that_goes_on_after_its_training_decodes_without_dropout(
    monkeypatch: pytest.MonkeyPatch,
):
    methods: list[Any] = []
    modes: list[bool] = []
    evaluate, save = run_module.evaluate, run_module.save_adapter

    def saved(folder: Path, method: Any, config: Any) -> None:
        methods.append(method)
        save(folder, method, config)

    def fails_once(*arguments: Any, **named: Any) -> Any:
        modes.append(methods[-1].training)
        if len(modes) == 1:
            raise Stopped
        return evaluate(*arguments, **named)

    monkeypatch.setattr(run_module, "save_adapter", saved)
    monkeypatch.setattr(run_module, "evaluate", fails_once)
    with pytest.raises(Stopped):
        run(settings("method=lora"))
    first, trained = methods[0], run(settings("method=lora"))
    assert trained is not None
    assert trained.steps == 6
    for a, b in zip(first.parameters(), methods[1].parameters(), strict=True):
        assert torch.equal(a, b), "it was not trained again"
    assert modes == [False, False]


def test_beams_and_the_budget_of_decoding_are_the_settings(monkeypatch: pytest.MonkeyPatch):
    seen: list[dict[str, Any]] = []

    def stop(*_: Any, **named: Any) -> None:
        seen.append(named)
        raise Stopped

    monkeypatch.setattr(run_module, "evaluate", stop)
    monkeypatch.setattr(run_module, "train", lambda *_: None)
    decoding = ("hparams.num_beams=2", "hparams.eval_batch_tokens=777", "hparams.batch_tokens=555")
    with pytest.raises(Stopped):
        run(settings("method=lora", *decoding))
    (given,) = seen
    assert (given["num_beams"], given["batch_tokens"]) == (2, 777)
