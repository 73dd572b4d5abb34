"""Checks of whole-sequence logits. Plain functions, so they can be broken."""

import torch

from tests.backbone.literal import Literal
from tests.contract.subject import ATOL, EFFECT, Subject, gap, whole
from tests.tiny import BOS, VOCAB, encoded, shared_backbone


def starts_neutral_or_says_not(subject: Subject) -> None:
    """A method that calls itself neutral leaves every logit as it was; another does not."""
    rows = whole(subject.texts)
    method = subject.attach(noise=0)
    with_method = rows.logits(subject.backbone)
    subject.backbone.detach()
    bare = rows.logits(subject.backbone)
    real = rows.mask
    if method.neutral:
        # Not to the bit: adding zeros to a projection's output changes where it lies in memory, and so its rounding.
        assert gap(with_method[real], bare[real]) < 1e-5, (
            f"neutral=True, but the fresh method moves logits by {gap(with_method, bare):.2g}"
        )
    else:
        assert gap(with_method[real], bare[real]) > 0, (
            "neutral=False, but the fresh method changes nothing"
        )


def forward_is_literal(subject: Subject) -> None:
    """Our blocks and attention without a mask compute what Hugging Face's modules do under one."""
    rows = whole(subject.texts)
    subject.attach()
    with torch.no_grad():
        expected = Literal(subject.backbone).forward(rows.ids, rows.mask, rows.instruction)
    assert gap(rows.logits(subject.backbone)[rows.mask], expected[rows.mask]) < ATOL


def has_effect(subject: Subject) -> None:
    """Trained parameters move the logits of every row."""
    rows = whole(subject.texts)
    subject.attach()
    moved = rows.logits(subject.backbone)
    subject.backbone.detach()
    moved = (moved - rows.logits(subject.backbone)).abs().amax(-1)  # (B, T)
    assert bool((moved * rows.mask).amax(1).gt(EFFECT).all()), "no effect on some row"


def disabled_is_bare(subject: Subject) -> None:
    """Inside `disabled()` the bare model runs; nested, and after an exception."""
    rows, backbone = whole(subject.texts), subject.backbone
    backbone.detach()
    bare = rows.logits(backbone)
    subject.attach()
    before = rows.logits(backbone)
    with backbone.disabled():
        with backbone.disabled():
            assert torch.equal(rows.logits(backbone), bare)
        assert torch.equal(rows.logits(backbone), bare)
    try:
        with backbone.disabled():
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(rows.logits(backbone), before)


def detach_restores(subject: Subject) -> None:
    """Logits, hooks, state_dict, requires_grad and modules of the bare model, to the bit."""
    rows, backbone = whole(subject.texts), subject.backbone
    backbone.detach()
    bare, shape = rows.logits(backbone), _shape(backbone.model)
    weights = {k: v.clone() for k, v in backbone.model.state_dict().items()}
    subject.attach()
    rows.logits(backbone)
    assert set(backbone.model.state_dict()) == set(weights), "attach put tensors into the model"
    backbone.detach()
    assert torch.equal(rows.logits(backbone), bare)
    assert _shape(backbone.model) == shape
    for name, tensor in backbone.model.state_dict().items():
        assert torch.equal(tensor, weights[name]), f"{name} changed"


def _shape(model: torch.nn.Module) -> list[tuple[str, ...]]:
    """Everything attach could leave on a model, beside the values of its tensors."""
    found = []
    for name, module in model.named_modules():
        hooks = sum(
            len(getattr(module, kind))
            for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
        )
        own_forward = "forward" in vars(module)
        found.append((name, type(module).__name__, str(hooks), str(own_forward)))
    found += [(n, str(tuple(p.shape)), str(p.requires_grad)) for n, p in model.named_parameters()]
    return found


def keeps_length(subject: Subject) -> None:
    """One logit row per input token, in whatever part of the sequence is asked for."""
    rows = whole(subject.texts)
    subject.attach()
    logits = rows.logits(subject.backbone)
    assert logits.shape == (*rows.ids.shape, VOCAB)
    select = rows.mask & ~rows.instruction
    with torch.no_grad():
        some = subject.backbone(rows.ids, rows.mask, rows.instruction, select=select)
    assert gap(some, logits[select]) < ATOL


def is_causal(subject: Subject) -> None:
    """A changed response token leaves all logits before it as they were."""
    rows, backbone = whole(subject.texts), subject.backbone
    subject.attach()
    before = rows.logits(backbone)
    sizes = [len(t.instruction) for t in subject.texts]
    for offset in (0, 1):
        ids = rows.ids.clone()
        for row, n in enumerate(sizes):
            ids[row, n + offset] = 3 + (ids[row, n + offset] - 2) % (VOCAB - 3)
        with torch.no_grad():
            after = backbone(ids, rows.mask, rows.instruction)
        for row, n in enumerate(sizes):
            assert gap(after[row, : n + offset], before[row, : n + offset]) < ATOL, (
                f"response token {offset} leaks into earlier logits"
            )
            assert gap(after[row, n + offset], before[row, n + offset]) > EFFECT


def says_whether_it_reads_the_instruction(subject: Subject) -> None:
    """With `instruction_aware` a later instruction token moves earlier logits; else it does not."""
    rows, backbone = whole(subject.texts), subject.backbone
    method = subject.attach()
    before = rows.logits(backbone)
    ids = rows.ids.clone()
    last = [len(t.instruction) - 1 for t in subject.texts]
    for row, n in enumerate(last):
        ids[row, n] = 3 + (ids[row, n] - 2) % (VOCAB - 3)
    with torch.no_grad():
        after = backbone(ids, rows.mask, rows.instruction)
    moved = [gap(after[row, 1:n], before[row, 1:n]) for row, n in enumerate(last)]
    if method.instruction_aware:
        assert min(moved) > ATOL, "instruction_aware=True, but the instruction changes nothing"
    else:
        assert max(moved) < ATOL, "instruction_aware=False, but later tokens move earlier logits"


def ignores_padding(subject: Subject) -> None:
    """Padded left, right, with other pads, or alone: the same logits at real tokens."""
    backbone = subject.backbone
    subject.attach()
    right, left = whole(subject.texts), whole(subject.texts, "left")
    expected = right.logits(backbone)
    assert bool(expected.isfinite().all())
    assert gap(left.logits(backbone)[left.mask], expected[right.mask]) < ATOL
    right.ids[~right.mask] = BOS  # what lies in the pads means nothing
    assert gap(right.logits(backbone)[right.mask], expected[right.mask]) < ATOL
    for row, text in enumerate(subject.texts):
        alone = whole([text]).logits(backbone)[0]
        assert gap(alone, expected[row, : len(text)]) < ATOL, f"row {row} alone differs"


def rows_are_independent(subject: Subject) -> None:
    """Permuting the rows permutes the logits, whoever the neighbours are."""
    subject.attach()
    texts, order = subject.texts, [2, 0, 3, 1]
    expected = whole(texts).logits(subject.backbone)
    permuted = whole([texts[i] for i in order])
    other = permuted.logits(subject.backbone)
    assert gap(other[permuted.mask], expected[order][permuted.mask]) < ATOL
    neighbours = [texts[0], *encoded(seed=7)]
    n = len(texts[0])
    assert gap(whole(neighbours).logits(subject.backbone)[0, :n], expected[0, :n]) < ATOL


def runs_in_bfloat16(subject: Subject) -> None:
    """A bf16 backbone under an fp32 method: bf16 logits, fp32 gradients, all finite."""
    backbone = shared_backbone(subject.family, dtype=torch.bfloat16)
    method = subject.attach(backbone=backbone)
    rows = whole(subject.texts)
    logits = backbone(rows.ids, rows.mask, rows.instruction)
    assert logits.dtype == torch.bfloat16
    assert bool(logits.isfinite().all())
    logits.float().logsumexp(-1).sum().backward()
    for name, p in method.named_parameters():
        assert p.dtype == torch.float32, f"{name} is {p.dtype}"
        assert p.grad is not None, f"{name} has no gradient"
        assert bool(p.grad.isfinite().all()), f"the gradient of {name} is not finite"
    backbone.detach()


def eager_equals_sdpa(subject: Subject) -> None:
    """Both attention implementations, right- and left-padded."""
    eager = shared_backbone(subject.family, attn="eager")
    for side in ("right", "left"):
        rows = whole(subject.texts, side)
        subject.attach()
        expected = rows.logits(subject.backbone)
        subject.attach(backbone=eager)
        assert gap(rows.logits(eager)[rows.mask], expected[rows.mask]) < ATOL
    eager.detach()


CHECKS = (
    starts_neutral_or_says_not,
    forward_is_literal,
    has_effect,
    disabled_is_bare,
    detach_restores,
    keeps_length,
    is_causal,
    says_whether_it_reads_the_instruction,
    ignores_padding,
    rows_are_independent,
    runs_in_bfloat16,
    eager_equals_sdpa,
)
