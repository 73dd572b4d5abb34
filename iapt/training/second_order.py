"""The architecture step of DARTS with its second-order term (Liu et al. 2019, Equations 7 and 8).

    w' = w - AdamW's step on the training batch
    grad Θ = d L_outer(w') / dΘ - xi * (d L_train(w+) / dΘ - d L_train(w-) / dΘ) / (2 eps)
    w+- = w +- eps * d L_outer(w') / dw',        eps = 0.01 / (||d L_outer(w') / dw'|| + 1e-6)

xi is the current learning rate of each weight.  The weights and their optimizer are restored at the end.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.data.batches import Budget
from iapt.methods.base import Method
from iapt.training.step import Data, Optimizer, arch_step, weight_parameters, weight_step


def unrolled_arch_step(
    backbone: Backbone,
    method: Method,
    outer: tuple[Data, Sequence[int]],
    inner: tuple[Data, Sequence[int]],
    optimizer: Optimizer,
    budget: int | Budget,
) -> float:
    """Leave the second-order gradient of Θ in `.grad`.

    Args:
        backbone: with the method attached.
        method: has architecture parameters.
        outer: data and batch whose loss Θ should lower.
        inner: data and batch of the weights' next step.
        optimizer: the weights' optimizer.
        budget: most padded tokens in one forward pass.

    Returns:
        The loss of the outer batch at w'.
    """
    weights, arch = weight_parameters(method), method.arch_parameters()
    before = [w.detach().clone() for w in weights]
    state = copy.deepcopy(optimizer.adamw.state_dict())
    rates = {id(w): group["lr"] for group in optimizer.adamw.param_groups for w in group["params"]}
    xi = optimizer.schedule.get_last_lr()[0]

    def arch_gradient(data: Data, batch: Sequence[int]) -> tuple[float, list[Tensor]]:
        loss = arch_step(backbone, method, data, batch, budget)
        return loss, [torch.zeros_like(a) if a.grad is None else a.grad.clone() for a in arch]

    try:
        weight_step(backbone, method, inner[0], inner[1], budget)
        torch.nn.utils.clip_grad_norm_(weights, optimizer.clip)
        optimizer.adamw.step()
        loss, gradient = arch_gradient(*outer)
        weight_step(backbone, method, outer[0], outer[1], budget)
        slopes = [
            torch.zeros_like(w) if w.grad is None else w.grad * (rates[id(w)] / xi) for w in weights
        ]
        eps = 0.01 / (float(torch.stack([s.norm() for s in slopes]).norm()) + 1e-6)
        moved = []
        for sign in (1, -1):
            with torch.no_grad():
                for w, start, slope in zip(weights, before, slopes, strict=True):
                    w.copy_(start + sign * eps * slope)
            moved.append(arch_gradient(*inner)[1])
    finally:
        with torch.no_grad():
            for w, start in zip(weights, before, strict=True):
                w.copy_(start)
                w.grad = None
        optimizer.adamw.load_state_dict(state)
    share = xi / (2 * eps)
    for a, g, there, back in zip(arch, gradient, *moved, strict=True):
        a.grad = g - share * there + share * back
    return loss
