"""The loop: when it evaluates, what it keeps, when it stops, and that a seed decides every bit."""

import itertools
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from iapt.backbone.base import Backbone
from iapt.errors import TrainingError
from iapt.methods.base import Progress
from iapt.methods.iapt import IAPT
from iapt.methods.learned_adapter import LearnedAdapterReimpl
from iapt.methods.lora import LoRA
from iapt.methods.searched import Structured
from iapt.methods.ssp import SSP
from iapt.training import hparams, loop, state, step
from iapt.training.loop import train
from iapt.training.state import History, Run
from iapt.training.step import weight_parameters
from tests.training.short_run import Quiet, bits, checkpoint, new_run

NAN = float("nan")


def trained(run: Run, folder: Path, logger: Quiet | None = None) -> History:
    return train(run, checkpoint(folder), "id", logger or Quiet())


def scripted(run: Run, losses: list[float], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Give the dev set these losses in turn; returns the weights as they were at each."""
    seen: list[Any] = []

    def evaluate(*_: Any) -> tuple[float, float]:
        seen.append(bits(run.method))
        return losses[len(seen) - 1], 10.0 * len(seen)

    monkeypatch.setattr(state, "evaluate", evaluate)
    return seen


def test_dev_is_measured_before_training_at_intervals_and_at_the_end(tmp_path: Path):
    run = new_run(max_steps=5)
    history = trained(run, tmp_path)
    assert [point["step"] for point in history.curve] == [0, 2, 4, 5]
    assert history.step == run.total_steps == 5
    assert history.finished


def test_an_epoch_shorter_than_the_interval_is_the_interval():
    assert new_run(eval_every=200).eval_every == 4  # 14 examples, 4 a step


def test_the_weights_of_the_lowest_dev_loss_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = new_run()
    seen = scripted(run, [0.1, 3.0, 2.0, 2.0, 2.5], monkeypatch)
    history = trained(run, tmp_path)
    # Step 0 is no candidate, and an equal loss is no gain.
    assert (history.best_step, history.best_loss, history.best_accuracy) == (4, 2.0, 30.0)
    assert bits(run.method) == seen[2] != seen[4]


def test_an_evaluation_says_whether_it_is_the_best_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run = new_run()
    scripted(run, [0.1, 3.0, 2.0, 2.0, 2.5], monkeypatch)
    trained(run, tmp_path)
    lines = [line for line in capsys.readouterr().out.splitlines() if "dev loss" in line]
    assert [line.split("dev loss")[0].split() for line in lines] == [
        ["step", str(k)] for k in (0, 2, 4, 6, 8)
    ]
    assert [line.endswith("(best so far)") for line in lines] == [False, True, True, False, False]
    assert lines[2] == "  step     4   dev loss 2.0000   dev accuracy  30.0 %  (best so far)"


def test_training_stops_after_patience_evaluations_without_gain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = new_run(max_steps=100, max_epochs=100, patience=3)
    scripted(run, [5, 4, 3, 3.5, 2, 2.1, 2.0, NAN, 1], monkeypatch)
    history = trained(run, tmp_path)
    assert history.step == 14
    assert history.best_step == 8
    assert history.without_gain == 3


def test_no_finite_dev_loss_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = new_run()
    scripted(run, [1.0, NAN, NAN, NAN, NAN], monkeypatch)
    with pytest.raises(TrainingError, match=r"no evaluation gave a finite dev loss.*hparams\.lr"):
        trained(run, tmp_path)


def test_what_is_not_ready_is_not_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Late(IAPT, Structured):
        def ready(self, progress: Progress) -> bool:
            return progress.step >= 6

        def structure(self) -> dict[str, Any]:
            return {}

    run = new_run(lambda backbone: Late(backbone.dims, bottleneck_dim=8))
    scripted(run, [9, 1, 2, 4, 3], monkeypatch)
    assert trained(run, tmp_path).best_step == 8


def test_a_logger_hears_every_step_and_every_evaluation(tmp_path: Path):
    logger = Quiet()
    run = new_run(max_steps=3)
    history = trained(run, tmp_path, logger)
    steps = [step for step, values in logger.lines if "train/loss" in values]
    assert steps == [1, 2, 3]
    rates = [values["train/lr"] for _, values in logger.lines if "train/lr" in values]
    assert rates == pytest.approx([1e-2, 1e-2, 0.5e-2]), "those of the steps themselves"
    heard = [(s, v["dev/loss"], v["dev/accuracy"]) for s, v in logger.lines if "dev/loss" in v]
    assert heard == [(p["step"], p["loss"], p["accuracy"]) for p in history.curve]


def test_the_seconds_of_steps_and_of_evaluations_are_counted_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr(loop, "time", clock)  # a second for each thing that is timed
    history = trained(new_run(max_steps=5), tmp_path)
    assert (history.train_seconds, history.eval_seconds) == (5.0, 4.0)


def test_a_bar_does_not_say_evaluating_once_that_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    trained(new_run(max_steps=2), tmp_path)
    bars = [bar for bar in capsys.readouterr().err.split("\r") if bar.startswith("training")]
    assert any("evaluating on dev ..." in bar for bar in bars)
    assert "dev loss" in bars[-1]


def test_the_tokens_of_every_batch_are_counted():
    run = new_run()
    for count, batch in enumerate(([0, 1], [5], [2, 3, 4]), start=1):
        run.step_weights(batch)
        assert run.history.step == count
    first = run.full_train.examples[:6]
    assert run.history.trained_tokens == sum(len(e.instruction) + len(e.response) for e in first)


def test_training_lowers_the_loss(tmp_path: Path):
    logger = Quiet()
    trained(new_run(lambda b: LoRA(b.dims), max_steps=12, lr=2e-2, max_epochs=9), tmp_path, logger)
    losses = [values["train/loss"] for _, values in logger.lines if "train/loss" in values]
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])


def test_hooks_are_called_around_every_step(tmp_path: Path):
    run = new_run(max_steps=3)
    calls: list[Any] = []
    before: list[Any] = []

    def started(progress: Any) -> None:
        before.append(bits(run.method))
        calls.append(("start", progress.step))

    def ended(progress: Any) -> None:
        graded = all(p.grad is not None for p in weight_parameters(run.method))
        stepped = bits(run.method) != before[-1]
        calls.append(("end", progress.step, progress.total_steps, graded and stepped))

    run.method.on_step_start = started  # type: ignore[method-assign]
    run.method.on_step_end = ended  # type: ignore[method-assign]
    trained(run, tmp_path)
    expected = [[("start", k), ("end", k, 3, True)] for k in (1, 2, 3)]
    assert calls == [call for pair in expected for call in pair]


@pytest.mark.parametrize("numbers", [{}, {"gradient_checkpointing": True}, {"batch_tokens": 1}])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(
    tmp_path: Path, numbers: dict[str, Any]
):
    found = []
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        run = new_run(seed=seed, **numbers)
        history = trained(run, tmp_path / name)
        found.append((bits(run.method), history.curve))
    assert found[0] == found[1]
    assert found[0] != found[2]
    assert found[0][1] != found[2][1]


def test_evaluating_draws_nothing_from_the_random_state(tmp_path: Path):
    """More evaluations, the same weights: dropout and order do not depend on them."""
    found = []
    for name, every in (("often", 1), ("seldom", 4)):
        run = new_run(lambda b: LoRA(b.dims, dropout=0.5), eval_every=every)
        logger = Quiet()
        trained(run, tmp_path / name, logger)
        found.append([v["train/loss"] for _, v in logger.lines if "train/loss" in v])
    assert found[0] == found[1]
    torch.manual_seed(0)


def test_dropout_acts_in_steps_and_in_no_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = new_run(max_steps=3, eval_every=1)
    modes: list[tuple[bool, ...]] = []
    response = step.response

    def watched(*arguments: Any) -> Any:
        learns = torch.is_grad_enabled()
        modes.append((learns, run.method.training, run.backbone.model.training))
        return response(*arguments)

    monkeypatch.setattr(step, "response", watched)
    trained(run, tmp_path)
    assert set(modes) == {(True, True, True), (False, False, False)}


def test_an_evaluation_that_is_stopped_makes_no_further_pass_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
):
    run = new_run(eval_batch_tokens=1)
    passes: list[Any] = []
    response = step.response
    monkeypatch.setattr(step, "response", lambda *a: (passes.append(a), response(*a))[1])
    assert run.is_due
    assert run.evaluate(lambda: len(passes) == 2) is None
    assert len(passes) == 2
    assert run.is_due
    assert run.history.curve == []
    assert run.evaluate() is not None
    assert not run.is_due


def second_order(backbone: Backbone) -> SSP:
    return SSP(backbone.dims, rank=2, budget=0.5, order=2)


def first_order(backbone: Backbone) -> LearnedAdapterReimpl:
    return LearnedAdapterReimpl(backbone.dims, bottleneck_dim=3)


@pytest.mark.parametrize(
    ("build", "clip", "order"),
    [(second_order, 2.0, 2), (first_order, 0.7, 1)],  # the second has no clip of its own
)
def test_a_search_steps_theta_each_time_on_its_half_of_train_with_its_runs_batch_and_no_patience(
    build: Any, clip: float, order: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # The batch follows the size of the training set, of which a search has a part only.
    monkeypatch.setattr(hparams, "SMALL_TRAINING_SET", 10)
    run = new_run(build, batch_size=None, patience=1, max_steps=4, arch_every=3, clip=0.7)
    seen: list[Run] = []
    heard: list[Progress] = []  # before each step of Θ
    run.method.on_arch_step_start = heard.append  # type: ignore[operator]
    part = loop._train

    def seen_train(run: Run, *rest: Any) -> History:
        seen.append(run)
        return part(run, *rest)

    monkeypatch.setattr(loop, "_train", seen_train)
    of_theta: list[Run] = []
    step_arch = Run.step_arch
    monkeypatch.setattr(
        Run, "step_arch", lambda self, batch: of_theta.append(self) or step_arch(self, batch)
    )
    trained(run, tmp_path)
    search, training = seen
    assert training is run
    assert search.sampler.batch_size == run.sampler.batch_size
    assert search.hparams.patience > search.total_steps
    assert search.order == order
    steps = run.history.search_steps
    assert of_theta == [search] * steps
    assert heard == [Progress(step, steps) for step in range(1, steps + 1)]
    assert (search.weights.clip, run.weights.clip) == (clip, 0.7)
    assert (len(search.train.examples), len(search.outer.examples)) == (7, 7)
    both = [str(e) for e in search.train.examples + search.outer.examples]
    assert sorted(both) == sorted(str(e) for e in run.full_train.examples), "never the dev set"


class Measuring(LoRA):
    value: object = 1

    def measurements(self):
        return {"x": self.value}


@pytest.mark.parametrize("value", ["wide", None, [1, 2]])
def test_a_measurement_that_is_no_number_is_told(value: object, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Measuring, "value", value)
    with pytest.raises(
        TrainingError, match=r"^Measuring: measurements must return numbers by name; "
    ):
        trained(new_run(lambda backbone: Measuring(backbone.dims), max_steps=2), tmp_path)


def test_a_measurement_may_be_a_tensor_of_one_number(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Measuring, "value", torch.tensor(3.0))
    logger = Quiet()
    trained(new_run(lambda backbone: Measuring(backbone.dims), max_steps=2), tmp_path, logger)
    assert {values["method/x"] for _, values in logger.lines if "method/x" in values} == {3.0}
