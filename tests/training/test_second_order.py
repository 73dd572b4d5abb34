"""The second-order architecture step, against finite differences of what it approximates."""

import torch

from iapt.methods.learned_adapter import LearnedAdapterReimpl
from iapt.training.hparams import HParams
from iapt.training.second_order import unrolled_arch_step
from iapt.training.step import Optimizer, arch_step, weight_parameters, weight_step
from tests.tiny import data, new_backbone

ALL = [0, 1, 2, 3]
RATE = 0.3
HPARAMS = HParams(name="test", lr=RATE, warmup=0.0, clip=1e9)


def subject():
    """Smooth everywhere, no dropout or noise: a method with six shares per block."""
    torch.manual_seed(0)
    backbone = new_backbone("llama")
    method = LearnedAdapterReimpl(backbone.dims, bottleneck_dim=3, scale=1.0)
    with torch.no_grad():
        for p in method.parameters():
            p.add_(0.3 * torch.randn_like(p))
    method.attach(backbone)
    named = [(n, p) for n, p in method.named_parameters() if "logits" not in n]
    optimizer = Optimizer(named, RATE, HPARAMS, 10)
    return backbone, method, optimizer


def gradient(method):
    return torch.cat([p.grad.flatten() for p in method.arch_parameters()])


def test_with_plain_descent_it_is_the_gradient_through_one_step():
    backbone, method, optimizer = subject()
    optimizer.adamw = torch.optim.SGD(optimizer.parameters, lr=RATE)
    optimizer.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer.adamw, lambda step: 1.0)
    arch = method.arch_parameters()

    def loss_after_a_step() -> float:
        weights = weight_parameters(method)
        before = [w.detach().clone() for w in weights]
        weight_step(backbone, method, data(0), ALL, 10**6)
        with torch.no_grad():
            for w in weights:
                w.sub_(RATE * w.grad)
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
