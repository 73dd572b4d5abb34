"""Checks of training and of saved adapters."""

import tempfile
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from iapt.methods.counts import sizes
from iapt.methods.searched import serving_state
from iapt.training.hparams import HParams
from iapt.training.state import Run
from iapt.training.step import Optimizer, arch_step, response, weight_parameters, weight_step
from tests.backbone.literal import Literal
from tests.contract.subject import ATOL, Subject, gap, whole
from tests.saved import load_adapter, save_adapter
from tests.tiny import EOS, data, new_backbone

# A long schedule: methods that plan their training over it are at its beginning.
LONG = HParams(name="contract", lr=1e-2, arch_lr=1e-2, batch_size=4, max_epochs=100)
ALL = [0, 1, 2, 3]


def trains_only_itself(subject: Subject) -> None:
    """Steps change no tensor of the backbone, and three reach every tensor of the method.

    One step is enough for most; a tensor behind a zero-initialised one needs that to move first.
    """
    backbone = subject.backbone
    method = subject.attach(noise=0)
    run = Run(backbone, method, data(), data(1), LONG, seed=0)
    optimizers = [run.weights] + ([run.arch] if run.arch else [])
    held = [id(p) for o in optimizers for g in o.adamw.param_groups for p in g["params"]]
    assert sorted(held) == sorted(id(p) for p in method.parameters()), (
        "the optimizers do not hold exactly the method's parameters"
    )
    frozen = {k: v.clone() for k, v in backbone.model.state_dict().items()}
    before = {k: v.clone() for k, v in method.named_parameters()}
    reached: set[str] = set()

    def watched(optimizer: Optimizer) -> None:
        apply = optimizer.apply

        def note_and_apply() -> float:
            own = {id(p) for p in optimizer.parameters}
            for name, p in method.named_parameters():
                if id(p) in own and p.grad is not None and bool(p.grad.any()):
                    reached.add(name)
            return apply()

        optimizer.apply = note_and_apply  # type: ignore[method-assign]

    for optimizer in optimizers:
        watched(optimizer)
    for _ in range(3):
        run.one_step()
    for name, tensor in backbone.model.state_dict().items():
        assert torch.equal(tensor, frozen[name]), f"{name} of the backbone was trained"
    assert not any(p.requires_grad or p.grad is not None for p in backbone.model.parameters())
    assert reached == set(before), f"no gradient for {sorted(set(before) - reached)}"
    assert any(not torch.equal(p, before[name]) for name, p in method.named_parameters())
    backbone.train(False)


def gradients(subject: Subject, seed: int, budget: int = 10**6) -> dict[str, Tensor]:
    """All gradients of one batch, weights and architecture parameters alike."""
    method = subject.attach()
    weight_step(subject.backbone, method, data(seed), ALL, budget)
    if method.arch_parameters():
        arch_step(subject.backbone, method, data(seed), ALL, budget)
    return {k: p.grad for k, p in method.named_parameters() if p.grad is not None}


def gradients_are_literal(subject: Subject) -> None:
    """They are what Hugging Face's own modules give under autograd."""
    method = subject.attach()
    parameters = list(method.parameters())
    batch = data(1).batch(ALL)
    found = torch.autograd.grad(
        response(subject.backbone, batch, EOS).loss, parameters, allow_unused=True
    )
    logits = Literal(subject.backbone).forward(
        batch.input_ids, batch.attention_mask, batch.instruction_mask
    )
    loss = F.cross_entropy(logits[:, :-1].transpose(1, 2), batch.labels[:, 1:], reduction="sum")
    expected = torch.autograd.grad(loss, parameters, allow_unused=True)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        assert a is None or b is None or _relative(a, b) < ATOL


def two_forwards_then_two_backwards(subject: Subject) -> None:
    """Forward A, forward B, backward A, backward B gives the gradients of separate passes."""
    method = subject.attach()
    parameters = list(method.parameters())

    def loss(seed: int) -> Tensor:
        batch = data(seed).batch(ALL)
        return response(subject.backbone, batch, EOS).loss

    separate = [torch.autograd.grad(loss(seed), parameters, allow_unused=True) for seed in (1, 2)]
    first, second = loss(1), loss(2)
    for result, expected in ((first, separate[0]), (second, separate[1])):
        found = torch.autograd.grad(result, parameters, allow_unused=True)
        for a, b in zip(found, expected, strict=True):
            assert (a is None) == (b is None)
            assert a is None or torch.equal(a, b)


def checkpointing_changes_no_gradient(subject: Subject) -> None:
    """Gradient checkpointing gives the same gradients."""
    plain = gradients(subject, 1)
    method = subject.attach()
    subject.backbone.checkpointing = True
    try:
        weight_step(subject.backbone, method, data(1), ALL, 10**6)
        if method.arch_parameters():
            arch_step(subject.backbone, method, data(1), ALL, 10**6)
    finally:
        subject.backbone.checkpointing = False
    again = {k: p.grad for k, p in method.named_parameters() if p.grad is not None}
    assert again.keys() == plain.keys()
    for name, grad in plain.items():
        assert _relative(again[name], grad) < ATOL, f"{name} has another gradient"


def micro_batches_change_no_gradient(subject: Subject) -> None:
    """An optimizer batch in one piece or in four gives one gradient, weighted by tokens."""
    one, four = gradients(subject, 1), gradients(subject, 1, budget=1)
    assert one.keys() == four.keys()
    for name, grad in one.items():
        assert _relative(four[name], grad) < ATOL, f"{name} has another gradient"


def saves_and_loads(subject: Subject) -> None:
    """In fresh objects the same logits; the file holds the method's tensors and no others."""
    rows = whole(subject.texts)
    method = subject.attach()
    expected = rows.logits(subject.backbone)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_adapter(folder, method, {"backbone_fingerprint": "f"})
        with safe_open(folder / "adapter.safetensors", "pt") as file:
            stored = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
        backbone = new_backbone(subject.family)
        other = subject.attach(seed=1, backbone=backbone)
        assert gap(rows.logits(backbone), expected) > ATOL  # the seed decided, so loading will
        load_adapter(folder, other, {"backbone_fingerprint": "f"})
    assert gap(rows.logits(backbone), expected) < ATOL
    own = {k: list(v.shape) for k, v in serving_state(method).items()}
    assert stored == own
    assert not set(own) & set(backbone.model.state_dict())


def counts_its_parameters(subject: Subject) -> None:
    """What is active at every decoding step is a part of what is trained."""
    method = subject.attach()
    trained = sum(p.numel() for p in method.parameters())
    assert trained > 0
    assert 0 <= sizes(method).active_at_decode <= trained
    split = [*weight_parameters(method), *method.arch_parameters()]
    assert sorted(map(id, split)) == sorted(id(p) for p in method.parameters())


def _relative(a: Tensor, b: Tensor) -> float:
    return gap(a, b) / max(1.0, float(b.abs().max()))


CHECKS = (
    trains_only_itself,
    gradients_are_literal,
    two_forwards_then_two_backwards,
    checkpointing_changes_no_gradient,
    micro_batches_change_no_gradient,
    saves_and_loads,
    counts_its_parameters,
)
