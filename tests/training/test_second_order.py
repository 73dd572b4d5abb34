"""The second-order architecture step, against finite differences of what it approximates."""

import pytest
import torch

from iapt.methods.learned_adapter import LearnedAdapterReimpl
from iapt.training import second_order
from iapt.training.hparams import HParams
from iapt.training.second_order import unrolled_arch_step
from iapt.training.step import Optimizer, arch_step, weight_parameters, weight_step
from tests.tiny import data, new_backbone

ALL = [0, 1, 2, 3]
RATE = 0.3
HPARAMS = HParams(name="test", lr=RATE, warmup=0.0, clip=1e9)


def subject(kind=LearnedAdapterReimpl):
    """Smooth everywhere, no dropout or noise: a method with six shares per block."""
    torch.manual_seed(0)
    backbone = new_backbone("llama")
    method = kind(backbone.dims, bottleneck_dim=3, scale=1.0)
    with torch.no_grad():
        for p in method.parameters():
            p.add_(0.3 * torch.randn_like(p))
    method.attach(backbone)
    named = [(n, p) for n, p in method.named_parameters() if "logits" not in n]
    optimizer = Optimizer(named, RATE, HPARAMS, 10)
    return backbone, method, optimizer


def gradient(method):
    return torch.cat([p.grad.flatten() for p in method.arch_parameters()])


@pytest.mark.parametrize("second", [RATE, 3 * RATE])
def test_with_plain_descent_it_is_the_gradient_through_one_step(second):
    """Also if half of the weights have a rate of their own."""
    backbone, method, optimizer = subject()
    half = len(optimizer.parameters) // 2
    rates = [RATE] * half + [second] * (len(optimizer.parameters) - half)
    parts = optimizer.parameters[:half], optimizer.parameters[half:]
    optimizer.adamw = torch.optim.SGD(
        [{"params": parts[0], "lr": RATE}, {"params": parts[1], "lr": second}]
    )
    optimizer.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer.adamw, lambda step: 1.0)
    arch = method.arch_parameters()

    def loss_after_a_step() -> float:
        weights = weight_parameters(method)
        before = [w.detach().clone() for w in weights]
        weight_step(backbone, method, data(0), ALL, 10**6)
        with torch.no_grad():
            for w, rate in zip(weights, rates, strict=True):
                w.sub_(rate * w.grad)
        loss = arch_step(backbone, method, data(1), ALL, 10**6)
        with torch.no_grad():
            for w, start in zip(weights, before, strict=True):
                w.copy_(start)
        return loss

    unrolled_arch_step(backbone, method, (data(1), ALL), (data(0), ALL), optimizer, 10**6)
    found = gradient(method)
    arch_step(backbone, method, data(1), ALL, 10**6)
    first_order = gradient(method)
    for direction in (found / found.norm(), torch.randn_like(found)):
        parts = direction.split([a.numel() for a in arch])
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                for a, part in zip(arch, parts, strict=True):
                    a.add_(sign * 0.02 * part)
            losses.append(loss_after_a_step())
            with torch.no_grad():
                for a, part in zip(arch, parts, strict=True):
                    a.sub_(sign * 0.02 * part)
        slope = (losses[0] - losses[1]) / 0.04
        off = abs(float(found @ direction) - slope)
        assert off < 0.02 * float(found.norm() * direction.norm())
        assert off < 0.5 * abs(float(first_order @ direction) - slope)


def test_weights_and_their_optimizer_come_back_as_they_were():
    backbone, method, optimizer = subject()
    weight_step(backbone, method, data(0), ALL, 10**6)
    optimizer.apply()
    optimizer.zero()
    weights = [p.detach().clone() for p in weight_parameters(method)]
    moments = [
        {k: v.clone() for k, v in entry.items()}
        for entry in optimizer.adamw.state_dict()["state"].values()
    ]
    unrolled_arch_step(backbone, method, (data(1), ALL), (data(0), ALL), optimizer, 10**6)
    for p, before in zip(weight_parameters(method), weights, strict=True):
        assert torch.equal(p, before)
        assert p.grad is None
    after = optimizer.adamw.state_dict()["state"].values()
    for entry, before in zip(after, moments, strict=True):
        assert entry.keys() == before.keys()
        assert all(torch.equal(entry[k], v) for k, v in before.items())
    assert all(p.grad is not None for p in method.arch_parameters())


def noted_moves(method, monkeypatch):
    """A list that gets, at each architecture step, how far the weights are from where they are now."""
    weights = weight_parameters(method)
    before = torch.cat([w.detach().flatten() for w in weights])
    moves = []

    def noted(*arguments):
        moves.append(torch.cat([w.detach().flatten() for w in weights]) - before)
        return arch_step(*arguments)

    monkeypatch.setattr(second_order, "arch_step", noted)
    return moves


def test_the_weights_are_moved_by_a_hundredth_both_ways_for_the_difference(monkeypatch):
    """eps is 0.01 over the norm of the slopes, so that the moves have the norm 0.01."""
    backbone, method, optimizer = subject()
    moves = noted_moves(method, monkeypatch)
    unrolled_arch_step(backbone, method, (data(1), ALL), (data(0), ALL), optimizer, 10**6)
    _, there, back = moves  # the first is at the weights one step ahead
    assert float(there.norm()) == pytest.approx(0.01, rel=1e-3)
    assert torch.allclose(there, -back, atol=1e-6)


def test_the_step_ahead_is_as_long_as_the_weights_own_clipped_step(monkeypatch):
    backbone, method, optimizer = subject()
    moves = noted_moves(method, monkeypatch)
    optimizer.adamw = torch.optim.SGD(optimizer.parameters, lr=RATE)
    optimizer.clip = 0.01  # the gradient's norm is far above
    unrolled_arch_step(backbone, method, (data(1), ALL), (data(0), ALL), optimizer, 10**6)
    assert float(moves[0].norm()) == pytest.approx(RATE * 0.01, rel=1e-3)


def test_a_slope_that_vanishes_moves_the_weights_by_less(monkeypatch):
    """A norm of 1e-6 is doubled by the 1e-6 that keeps eps finite."""
    backbone, method, optimizer = subject()
    weights = weight_parameters(method)
    moves = noted_moves(method, monkeypatch)

    def faint(backbone, method, *batch):
        loss = weight_step(backbone, method, *batch)
        norm = torch.cat([w.grad.flatten() for w in weights if w.grad is not None]).norm()
        for w in weights:
            w.grad = None if w.grad is None else w.grad * (1e-6 / norm)
        return loss

    monkeypatch.setattr(second_order, "weight_step", faint)
    unrolled_arch_step(backbone, method, (data(1), ALL), (data(0), ALL), optimizer, 10**6)
    assert float(moves[1].norm()) == pytest.approx(0.005, rel=1e-3)


class Spare(LearnedAdapterReimpl):
    """With a weight and an architecture parameter that the loss does not use."""

    def __init__(self, dims, **options):
        super().__init__(dims, **options)
        self.spare = torch.nn.Parameter(torch.ones(3))
        self.spare_logits = torch.nn.Parameter(torch.ones(2))

    def arch_parameters(self):
        return [*super().arch_parameters(), self.spare_logits]


def test_what_the_loss_does_not_use_has_no_slope_and_changes_no_others():
    (_, plain, _), (_, spare, _) = subjects = subject(), subject(Spare)
    spare.load_state_dict(plain.state_dict(), strict=False)
    before = spare.spare.tolist()
    for backbone, method, optimizer in subjects:
        unrolled_arch_step(backbone, method, (data(1), ALL), (data(0), ALL), optimizer, 10**6)
    assert torch.allclose(gradient(spare)[:-2], gradient(plain), atol=1e-6)
    assert spare.spare_logits.grad.tolist() == [0.0, 0.0]
    assert spare.spare.tolist() == before
