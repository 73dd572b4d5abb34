"""One optimizer step: plain, and bilevel (the paper's Appendix B).

Bilevel optimisation is the alternation of DARTS without its second-order term: a step of the
architecture parameters Θ on a batch of other data, then a step of the weights Ω on a training batch.
Each touches its own parameters only.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iapt.backbone import processes
from iapt.backbone.base import Backbone
from iapt.data.batches import Budget
from iapt.data.encode import IGNORE, Batch, Encoded, collate
from iapt.errors import TrainingError
from iapt.methods.base import Method, trained
from iapt.training.hparams import HParams


@dataclass(frozen=True)
class Response:
    """Sums over the response tokens of a batch: loss (nats), token count, and rows answered exactly."""

    loss: Tensor
    tokens: int
    exact: int


def response(backbone: Backbone, batch: Batch, eos_token_id: int) -> Response:
    """Cross-entropy of the response tokens; logits exist at response positions only.

    `exact` counts rows whose every response token but the end token is the arg max, which is what
    greedy decoding would write.
    """
    select = torch.zeros_like(batch.attention_mask)
    select[:, :-1] = batch.labels[:, 1:] != IGNORE
    target = batch.labels[:, 1:][select[:, :-1]]  # (N,)
    logits = backbone(batch.input_ids, batch.attention_mask, batch.instruction_mask, select=select)
    loss = F.cross_entropy(logits.float(), target, reduction="sum")
    wrong = (logits.detach().argmax(-1) != target) & (target != eos_token_id)
    rows = select.nonzero()[:, 0]
    bad = torch.zeros(len(select), dtype=torch.bool, device=rows.device)
    bad[rows[wrong]] = True
    return Response(loss, len(target), int((~bad).sum()))


class Data:
    """Encoded examples with what is needed to make padded batches of them."""

    def __init__(self, examples: Sequence[Encoded], pad_token_id: int, eos_token_id: int) -> None:
        self.pad_token_id, self.eos_token_id = pad_token_id, eos_token_id
        self.examples, self.sizes = list(examples), [len(e) for e in examples]

    def batch(self, indices: Sequence[int]) -> Batch:
        """A right-padded batch of these examples."""
        return collate([self.examples[i] for i in indices], self.pad_token_id)


class Optimizer:
    """AdamW with linear warm-up and decay over one set of parameters (Appendix F).

    Warm-up reaches the peak at its last step; the first step is not spent at rate zero, as Hugging
    Face's schedule spends it (DEVIATIONS.md, section 2).
    """

    def __init__(
        self,
        named: Sequence[tuple[str, nn.Parameter]],
        lr: float,
        hparams: HParams,
        total_steps: int,
    ) -> None:
        self.parameters = [p for _, p in named]
        self.clip = hparams.clip
        rates: dict[float, list[nn.Parameter]] = {}
        for name, p in named:
            special = [rate for key, rate in hparams.lr_by_name.items() if key in name]
            rates.setdefault(special[-1] if special else lr, []).append(p)
        groups = [{"params": params, "lr": rate} for rate, params in rates.items()]
        self.adamw = torch.optim.AdamW(groups, lr=lr, weight_decay=hparams.weight_decay)
        warmup = max(1, round(hparams.warmup * total_steps))

        def share(step: int) -> float:
            return min((step + 1) / warmup, (total_steps - step) / max(1, total_steps - warmup))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.adamw, share)

    def apply(self) -> float:
        """Clip, step, advance the schedule; gradients stay. Returns the gradient norm before clipping."""
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.clip))
        if not torch.isfinite(torch.tensor(norm)):
            raise TrainingError(
                "the gradient is not finite; nothing was updated. Lower hparams.lr, or use float32 (backbone.dtype)."
            )
        self.adamw.step()
        self.schedule.step()
        return norm

    def zero(self) -> None:
        """Forget gradients."""
        self.adamw.zero_grad(set_to_none=True)


def weight_parameters(method: Method) -> list[nn.Parameter]:
    """All trained parameters of a method but the architecture ones (the paper's Ω)."""
    arch = {id(p) for p in method.arch_parameters()}
    return [p for p in trained(method).values() if id(p) not in arch]


def weight_step(
    backbone: Backbone, method: Method, data: Data, indices: Sequence[int], budget: int | Budget
) -> float:
    """Gradients of Ω for one optimizer batch, token-weighted over the whole batch; returns its loss."""
    weights = weight_parameters(method)
    total, tokens = _accumulate(backbone, data, indices, budget, weights)
    penalty = method.penalty()
    if penalty is not None and processes.first():  # it is summed with the rest, so it counts once
        slopes = _slopes(penalty, weights)
        for p, g in zip(weights, slopes, strict=True):
            if g is not None:
                p.grad = g if p.grad is None else p.grad + g
        total += float(penalty.detach()) * tokens
    return _of_all(weights, total) / tokens


def arch_step(
    backbone: Backbone, method: Method, data: Data, indices: Sequence[int], budget: int | Budget
) -> float:
    """Gradients of Θ for one batch of the outer data set; Ω is not touched; returns the batch's loss."""
    arch = method.arch_parameters()
    total, tokens = _accumulate(backbone, data, indices, budget, arch)
    return _of_all(arch, total) / tokens


def _accumulate(
    backbone: Backbone,
    data: Data,
    indices: Sequence[int],
    budget: int | Budget,
    parameters: list[nn.Parameter],
) -> tuple[float, int]:
    """Set `.grad` of these parameters only, over the micro-batches of this process's share of a batch.

    Returns (summed loss of the share, tokens of the whole batch).
    """
    tokens = sum(len(data.examples[i].response) for i in indices)
    total = 0.0
    for p in parameters:
        p.grad = None

    def run(group: list[int]) -> None:
        nonlocal total
        out = response(backbone, data.batch(group).to(backbone.device), data.eos_token_id)
        grads = _slopes(out.loss / tokens, parameters)
        # All sums before the first assignment: memory may run out among them.
        sums = [
            p.grad if g is None else g if p.grad is None else p.grad + g
            for p, g in zip(parameters, grads, strict=True)
        ]
        total += float(out.loss.detach())
        for p, g in zip(parameters, sums, strict=True):
            p.grad = g

    own = processes.share(sorted(indices, key=lambda i: data.sizes[i]))
    with processes.own_draws(backbone.device):
        Budget.of(budget).each(own, data.sizes, run)
    return total, tokens


def _slopes(loss: Tensor, parameters: list[nn.Parameter]) -> list[Tensor | None]:
    """Return the gradient of each parameter; None for one that the loss does not use.

    A sum's gradient is one number seen many times over (stride 0), which clipping could not scale in place.
    """
    grads = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [g if g is None or 0 not in g.stride() else g.contiguous() for g in grads]


def _of_all(parameters: list[nn.Parameter], total: float) -> float:
    """Sum gradients and loss over the processes."""
    total = processes.sum_gradients(parameters, total)
    if not math.isfinite(total):
        raise TrainingError(
            f"the loss is {total}; nothing was updated. Lower hparams.lr, or use float32 (backbone.dtype)."
        )
    return total


def evaluate(
    backbone: Backbone,
    method: Method,
    data: Data,
    budget: int | Budget,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[float, float] | None:
    """Dev loss (nats per response token) and the percentage of rows answered exactly (greedy).

    Returns None if `stopped` says so between two passes, in any of the processes.
    """
    backbone.train(False)
    method.eval()
    loss, tokens, exact = 0.0, 0.0, 0.0

    def run(group: list[int]) -> None:
        nonlocal loss, tokens, exact
        if stopped():
            return
        out = response(backbone, data.batch(group).to(backbone.device), data.eos_token_id)
        loss, tokens, exact = loss + float(out.loss), tokens + out.tokens, exact + out.exact

    own = processes.share(sorted(range(len(data.examples)), key=data.sizes.__getitem__))
    with torch.no_grad():
        Budget.of(budget).each(own, data.sizes, run)
    loss, tokens, exact, stops = processes.summed(loss, tokens, exact, stopped())
    return None if stops else (loss / tokens, 100 * exact / len(data.examples))
