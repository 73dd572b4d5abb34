"""Bilevel training (Appendix B): who is trained on what, and that Θ at rate zero is ordinary training."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.data.encode import Batch
from iapt.methods.iapt import IAPT
from iapt.methods.rational import Rational
from iapt.training.loop import train
from iapt.training.state import Run
from iapt.training.step import Data
from tests.training.short_run import Quiet, bits, checkpoint, new_run, small_iapt


def watch(run: Run, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What happens in the order it happens: data drawn, and which parameters a step changed."""
    events: list[Any] = []
    batch = Data.batch

    def drawn(self: Data, indices: Any) -> Batch:
        events.append("outer" if self is run.outer else "train")
        return batch(self, indices)

    monkeypatch.setattr(Data, "batch", drawn)

    def changed(optimizer: Any) -> None:
        apply = optimizer.apply

        def apply_and_compare() -> float:
            before = bits(run.method)
            norm = apply()
            after = bits(run.method)
            events.append({k.split(".")[0] for k in after if after[k] != before[k]})
            return norm

        optimizer.apply = apply_and_compare

    changed(run.weights)
    changed(run.arch)
    return events


THETA = ["outer", {"activations"}]
OMEGA = ["train", {"generators", "poolers"}]


def test_theta_then_omega_each_on_its_own_data(monkeypatch: pytest.MonkeyPatch):
    run = new_run()
    assert run.outer is run.dev
    events = watch(run, monkeypatch)
    for _ in range(3):
        run.one_step()
    assert events == (THETA + OMEGA) * 3


def test_theta_steps_may_be_rarer(monkeypatch: pytest.MonkeyPatch):
    run = new_run(arch_every=3)
    events = watch(run, monkeypatch)
    for _ in range(5):
        run.one_step()
    assert events == THETA + OMEGA * 3 + THETA + OMEGA * 2


@pytest.mark.parametrize(("every", "steps"), [(1, 8), (3, 3), (10, 1)])
def test_thetas_schedule_is_over_its_own_steps(every: int, steps: int):
    run = new_run(arch_every=every, arch_lr=1.0, warmup=0.0)
    assert run.arch is not None
    rates, apply = [], run.arch.apply

    def noted() -> float:
        rates.append(run.arch.adamw.param_groups[0]["lr"])
        return apply()

    run.arch.apply = noted  # type: ignore[method-assign]
    for _ in range(run.total_steps):
        run.one_step()
    assert len(rates) == steps
    # One step of warm-up, at the peak; the line to zero starts behind it.
    assert rates == pytest.approx([1.0, *((steps - k) / (steps - 1) for k in range(1, steps))])


def test_a_part_of_train_can_stand_in_for_dev(monkeypatch: pytest.MonkeyPatch):
    whole = new_run().full_train.examples
    run = new_run(arch_data="train_split")
    outer, inner = run.outer.examples, run.train.examples
    assert len(outer) == 1  # a tenth of 14
    assert sorted(map(str, outer + inner)) == sorted(map(str, whole))
    assert new_run(arch_data="train_split").outer.examples == outer
    picked = {str(new_run(arch_data="train_split", seed=s).outer.examples) for s in range(6)}
    assert len(picked) > 1, "the seed decides which part"
    run.backbone.detach()
    run.method.attach(run.backbone)
    events = watch(run, monkeypatch)
    run.one_step()
    assert events == THETA + OMEGA


def test_the_share_set_apart_is_the_one_asked_for():
    run = new_run(arch_data="train_split")
    half = Run(run.backbone, run.method, run.full_train, run.dev, run.hparams, 0, held_out=0.5)
    assert (len(half.outer.examples), len(half.train.examples)) == (7, 7)
    both = [str(e) for e in half.outer.examples + half.train.examples]
    assert sorted(both) == sorted(str(e) for e in run.full_train.examples)


class Fixed(nn.Module):
    """The rational activation with its first coefficients for good."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("coefficients", Rational().coefficients.detach())

    def forward(self, x: Tensor) -> Tensor:
        return Rational.forward(self, x)  # type: ignore[arg-type]


def without_theta(backbone: Backbone) -> IAPT:
    method = small_iapt(backbone)
    method.activations = nn.ModuleList(Fixed() for _ in method.activations)
    return method


def test_rate_zero_for_theta_is_ordinary_training_to_the_bit(tmp_path: Path):
    still, ordinary = new_run(arch_lr=0.0), new_run(without_theta)
    assert ordinary.arch is None
    before = bits(still.method)
    for name, run in (("still", still), ("ordinary", ordinary)):
        run.backbone.detach()
        run.method.attach(run.backbone)
        train(run, checkpoint(tmp_path / name), "id", Quiet())
    assert bits(still.method) == bits(ordinary.method)
    for name, value in bits(still.method).items():
        assert (value == before[name]) == name.startswith("activations")


def test_theta_moves_at_its_own_rate():
    small, large = new_run(arch_lr=1e-6), new_run(arch_lr=1e-2)
    moved = []
    for run in (small, large):
        run.backbone.detach()
        run.method.attach(run.backbone)
        before = [p.detach().clone() for p in run.method.arch_parameters()]
        run.one_step()
        after = run.method.arch_parameters()
        moved.append(
            max(float((a - b).detach().abs().max()) for a, b in zip(after, before, strict=True))
        )
    assert 0 < moved[0] < 2e-6
    assert 1e-3 < moved[1] < 2e-2


def test_weight_decay_is_for_the_weights_alone():
    run = new_run(weight_decay=0.5)
    assert run.arch is not None
    decays = [o.adamw.param_groups[0]["weight_decay"] for o in (run.weights, run.arch)]
    assert decays == [0.5, 0.0]


def test_without_architecture_parameters_no_outer_batch_is_drawn(monkeypatch: pytest.MonkeyPatch):
    run = new_run(without_theta)
    drawn: list[bool] = []
    batch = Data.batch
    monkeypatch.setattr(
        Data, "batch", lambda self, i: drawn.append(self is run.train) or batch(self, i)
    )
    run.one_step()
    run.one_step()
    assert drawn == [True, True]
    assert torch.is_grad_enabled()


def test_thetas_batches_are_drawn_by_a_seed_of_their_own():
    run = new_run()
    twin = Run(run.backbone, run.method, run.full_train, run.full_train, run.hparams, run.seed)
    weights, theta = ([next(s) for _ in range(20)] for s in (twin.sampler, twin.outer_sampler))
    assert twin.outer.sizes == twin.train.sizes  # or other orders would prove nothing
    assert weights != theta
