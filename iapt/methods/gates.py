"""Gates over candidate modules that spend an exact budget in expectation (Hu et al. 2022, S3Delta).

    p_i = sigmoid(alpha_i - zeta)        zeta solves  sum_i p_i c_i = C (1 - 1e-7)       c_i sizes, C budget
    p_i <- p_i / sum p * stop_grad(sum p)        same value; a gradient cannot change the total
    s_i = sigmoid(log(u_i p_i / ((1 - u_i) (1 - p_i))))      u_i ~ U(0, 1), binary concrete, temperature 1

Gates are s in training and p otherwise.  The sum falls as zeta rises, so bisection finds zeta, and no
gradient goes through it.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

EDGE = 1e-7  # p is kept this far from 0 and 1
HALVINGS = 80
FAR = 20.0  # sigmoid(20) is 1 to fp32's precision


def solve_shift(alpha: Tensor, sizes: Tensor, budget: float) -> float:
    """Return zeta for alpha and sizes (N,). If all candidates fit the budget, p = 1."""
    alpha, sizes = alpha.detach().double().cpu(), sizes.double().cpu()
    target = budget * (1 - EDGE)
    low, high = float(alpha.min()) - FAR, float(alpha.max()) + FAR
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if float((torch.sigmoid(alpha - middle) * sizes).sum()) > target:
            low = middle
        else:
            high = middle
    return low


def cut(p: Tensor, sizes: Sequence[int], budget: int) -> Tensor:
    """Take every candidate that still fits, in order of decreasing p; returns (N,) bool."""
    kept = torch.zeros(len(sizes), dtype=torch.bool)
    left = budget
    for i in p.detach().cpu().argsort(descending=True, stable=True).tolist():
        if sizes[i] <= left:
            kept[i], left = True, left - sizes[i]
    return kept


class BudgetedGates(nn.Module):
    """One gate per candidate.

    Call `redraw` before the forward passes of a step: it solves for zeta after alpha has changed and
    draws u, which every forward pass uses until the next call.

    Args:
        sizes: c, parameters of each candidate.
        budget: C.
    """

    shift: Tensor
    noise: Tensor

    def __init__(self, sizes: Sequence[int], budget: int) -> None:
        super().__init__()
        self.sizes, self.budget = tuple(sizes), budget
        self.alpha = nn.Parameter(torch.zeros(len(sizes)))
        share = min(budget / sum(sizes), 1 - 1e-9)
        start = -math.log(share / (1 - share))  # zeta where all alpha are 0
        self.register_buffer("shift", torch.full((), start))
        self.register_buffer("noise", torch.full((len(sizes),), 0.5), persistent=False)

    def redraw(self) -> None:
        """Solve for zeta, draw u from the global generator."""
        self.shift.fill_(solve_shift(self.alpha, torch.tensor(self.sizes), self.budget))
        self.noise.copy_(torch.rand(len(self.sizes)).clamp(EDGE, 1 - EDGE))

    def probabilities(self) -> Tensor:
        """p, (N,)."""
        p = torch.sigmoid(self.alpha - self.shift).clamp(EDGE, 1 - EDGE)
        return p / p.sum() * p.sum().detach()

    def forward(self) -> Tensor:
        """Gates (N,)."""
        p = self.probabilities()
        return torch.sigmoid(torch.logit(self.noise) + torch.logit(p)) if self.training else p
