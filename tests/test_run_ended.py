"""Runs that are killed, interrupted or run twice at once: the state shown, then the same bits."""

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch

from iapt import files
from iapt import run as run_module
from iapt.interruption import Interrupted
from iapt.results.row import Row
from iapt.results.row_files import read_row
from iapt.results.status import Standing, standing
from iapt.run import run
from iapt.training import step as training_step
from iapt.training.state import Run
from tests.composed import composed
from tests.tiny_runs import SIX_STEPS

TIMES = {"seconds", "tokens_per_second", "peak_memory_mib", "created"}
LEFT = {
    *(".lock", "status.json", "config.json", "splits.json", "metrics.jsonl"),
    *("adapter", "inspection.json", "predictions.jsonl", "scores.json"),
}


def settings(*overrides: str) -> dict[str, Any]:
    return composed(*SIX_STEPS, "method=iapt", *overrides)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Row, bytes]]:
    """The row and the adapter of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        row = run(settings())
        assert row is not None
        yield row, adapter(folder)


def adapter(folder: Path) -> bytes:
    (file,) = folder.glob("runs/*/adapter/adapter.safetensors")
    return file.read_bytes()


def forked(work: Callable[[], object]) -> int:
    """Start a process that does some work; returns its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of tqdm's thread
        pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except Interrupted as error:
        code = error.exit_code
    finally:
        sys.stdout.flush()
        os._exit(code)


def ended(pid: int) -> int:
    """Wait for a process; returns its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.01)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(name: str, act: Callable[[], object]) -> None:
    """Let something happen before a function that `run` calls."""
    function = getattr(run_module, name)
    setattr(run_module, name, lambda *a, **k: (act(), function(*a, **k))[1])


def in_step(number: int, act: Callable[[], object]) -> None:
    one_step = Run.one_step

    def step(self: Run) -> float:
        if self.history.step + 1 == number:
            act()
        return one_step(self)

    Run.one_step = step  # type: ignore[method-assign]


def while_writing(name: str, act: Callable[[], object]) -> None:
    replace = os.replace

    def stops(source: Path, target: Path) -> None:
        if fnmatch(target.name, name):
            act()
        replace(source, target)

    files.os.replace = stops  # type: ignore[assignment]


def after_the_row() -> None:
    write_row = run_module.write_row
    run_module.write_row = lambda *a: (write_row(*a), die())[0]


PHASES: dict[str, tuple[Callable[[], None], str, str]] = {
    "before training": (lambda: before("load_backbone", die), "killed", "while preparing"),
    "in a step": (lambda: in_step(4, die), "killed", "while training"),
    "in a write": (lambda: while_writing("checkpoint.safetensors", die), "killed", "training"),
    "in decoding": (lambda: before("evaluate", die), "killed", "while decoding"),
    "writing the row": (lambda: before("write_row", die), "killed", "while decoding"),
    "in the row's write": (lambda: while_writing("sst2--*.json", die), "killed", "decoding"),
    "after the row": (after_the_row, "finished", ""),
}


def where(row: Row) -> tuple[Path, Path]:
    return Path("runs") / row.run_id, Path("results/rows") / f"{row.run_id}.json"


def shown(row: Row) -> Standing:
    return standing(*where(row))


def check_finished(tmp_path: Path, undisturbed: tuple[Row, bytes]) -> None:
    """The same command finishes with the same bits, and leaves nothing that it does not need."""
    whole, tensors = undisturbed
    run(settings())
    folder, row_file = where(whole)
    assert read_row(row_file).model_dump(exclude=TIMES) == whole.model_dump(exclude=TIMES)
    assert adapter(tmp_path) == tensors
    assert {path.name for path in folder.iterdir()} == LEFT
    assert not list(tmp_path.rglob("*.tmp"))
    assert shown(whole).state == "finished"


@pytest.mark.parametrize("phase", PHASES)
def test_a_killed_run_is_shown_as_killed_and_the_same_command_finishes_it(
    tmp_path: Path, undisturbed: tuple[Row, bytes], phase: str
):
    arrange, state, doing = PHASES[phase]
    assert ended(forked(lambda: (arrange(), run(settings())))) == -signal.SIGKILL
    now = shown(undisturbed[0])
    assert now.state == state
    assert doing in now.reason
    check_finished(tmp_path, undisturbed)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT", "SIGUSR2"])
def test_a_signal_in_training_writes_a_checkpoint_of_that_step(
    tmp_path: Path, undisturbed: tuple[Row, bytes], name: str, capsys: pytest.CaptureFixture[str]
):
    number = getattr(signal, name)
    stop = lambda: os.kill(os.getpid(), number)  # noqa: E731
    assert ended(forked(lambda: (in_step(5, stop), run(settings())))) == 128 + number
    now = shown(undisturbed[0])
    assert (now.state, now.reason) == ("interrupted", name)
    assert not list(tmp_path.rglob("failed.txt"))
    capsys.readouterr()
    check_finished(tmp_path, undisturbed)
    assert "Resuming at step 5 of 6" in capsys.readouterr().out


@pytest.mark.parametrize("evaluation", [0, 1, 2])
def test_a_signal_in_an_evaluation_ends_it_with_a_checkpoint_of_its_step(
    tmp_path: Path,
    undisturbed: tuple[Row, bytes],
    evaluation: int,
    capsys: pytest.CaptureFixture[str],
):
    point = undisturbed[0].dev.curve[evaluation]
    one_pass = training_step.response

    def stopped() -> None:
        def signalled(*arguments: Any) -> training_step.Response:
            if not torch.is_grad_enabled() and steps_in(tmp_path) == point.step:
                os.kill(os.getpid(), signal.SIGTERM)
            return one_pass(*arguments)

        training_step.response = signalled
        run(settings())

    assert ended(forked(stopped)) == 143
    said = capsys.readouterr().out
    assert f"step {point.step:>5}   dev loss" not in said
    check_finished(tmp_path, undisturbed)
    assert f"Resuming at step {point.step} of 6" in capsys.readouterr().out


def steps_in(folder: Path) -> int:
    """How many training steps the run has logged."""
    return sum(f.read_text().count("train/loss") for f in folder.glob("runs/*/metrics.jsonl"))


def test_a_signal_in_a_search_keeps_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    config = settings("method=ssp", "hparams.max_steps=12")
    stop = lambda: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    assert ended(forked(lambda: (in_step(2, stop), run(config)))) == 143
    assert list(tmp_path.glob("runs/*/search.safetensors"))
    capsys.readouterr()
    again = run(config)
    assert "Resuming at step 2 of" in capsys.readouterr().out
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    whole = run(config)
    assert again is not None
    assert whole is not None
    assert again.search.steps is not None
    assert again.search.steps > 2, "choose a number of steps that the search goes on after"
    times = {**dict.fromkeys(TIMES, True), "search": {"seconds"}}
    assert again.model_dump(exclude=times) == whole.model_dump(exclude=times)
    assert adapter(tmp_path) == adapter(elsewhere)


def test_a_signal_in_decoding_ends_the_run_at_once(
    tmp_path: Path, undisturbed: tuple[Row, bytes], capsys: pytest.CaptureFixture[str]
):
    stop = lambda: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    assert ended(forked(lambda: (before("evaluate", stop), run(settings())))) == 143
    assert shown(undisturbed[0]).state == "interrupted"
    capsys.readouterr()
    check_finished(tmp_path, undisturbed)
    assert "Resuming at step 6 of 6" in capsys.readouterr().out


@pytest.mark.parametrize("force", ["false", "true"])
def test_of_many_identical_processes_one_computes_and_the_others_show_its_row(
    tmp_path: Path, undisturbed: tuple[Row, bytes], force: str
):
    def work() -> None:
        before("train", lambda: (tmp_path / f"trained-{os.getpid()}").touch())
        run(settings(f"force={force}"))

    pids = [forked(work) for _ in range(4)]
    assert [ended(pid) for pid in pids] == [0] * 4
    assert len(list(tmp_path.glob("trained-*"))) == 1
    check_finished(tmp_path, undisturbed)


def test_a_process_that_waits_takes_over_from_one_that_is_killed(
    tmp_path: Path, undisturbed: tuple[Row, bytes]
):
    def first() -> None:
        def wait_for_the_second() -> None:
            (tmp_path / "ready").touch()
            wait_for(tmp_path / "second")
            die()

        before("load_backbone", wait_for_the_second)
        run(settings())

    pid = forked(first)
    wait_for(tmp_path / "ready")
    assert shown(undisturbed[0]).state == "running"
    other = forked(lambda: ((tmp_path / "second").touch(), run(settings())))
    assert ended(pid) == -signal.SIGKILL
    assert ended(other) == 0
    check_finished(tmp_path, undisturbed)


def test_force_goes_on_from_nothing_old(undisturbed: tuple[Row, bytes], tmp_path: Path):
    method = "method=ssp"
    assert ended(forked(lambda: (in_step(2, die), run(settings(method))))) == -signal.SIGKILL
    (folder,) = tmp_path.glob("runs/*")
    (folder / "search.safetensors").write_text("of an older version, which would be refused")
    row = run(settings(method, "force=true"))
    assert row is not None
    assert row.search.steps == 2
    assert not (folder / "search.safetensors").exists()
