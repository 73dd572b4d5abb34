"""Many adapters of one form as one method: the batched form of a batch whose rows have different tenants.

The equations of most methods hold as they are written if every parameter gets a row dimension in front: a map
(out, in) becomes (B, out, in), and a product over the tokens (B, T, in) of a batch becomes a batched product.
So the batched form of a method is the method itself, with stacked parameters.
"""

import copy
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from iapt.methods.base import Method

THIN = 64  # wider matrices are read as fast either way, and copied faster as they are
FEW = 16  # columns; with more, a copy gains nothing
PLAIN = (bool, int, float, str, tuple, type(None))


class Stackable(Method):
    """A method whose equations hold with a row dimension in front of every parameter.

    This is not inherited: a subclass may change the equations, so it names `Stackable` among its bases again.
    """

    def form(self) -> Hashable:
        """Return what rows must share to be stacked, or None: modules, their numbers, shapes of parameters."""
        if Stackable not in type(self).__bases__:
            return None
        modules = [(name, type(module), _numbers(module)) for name, module in self.named_modules()]
        tensors = [(name, p.shape, p.dtype, p.device) for name, p in self.named_parameters()]
        return (*modules, *tensors)

    def stacked(self, rows: Sequence[Method]) -> Method:
        """Return the method that serves row i of a batch as `rows[i]` does.

        Gradients reach the parameters of `rows`.

        Args:
            rows: methods of this one's form, one for each row of the batches to serve.
        """
        methods = {id(row): list(row.parameters()) for row in rows}
        parameters = zip(*(methods[id(row)] for row in rows), strict=True)
        # What is in the memo is taken from there instead of being copied.
        memo: dict[int, Any] = {id(buffer): buffer for buffer in self.buffers()}
        memo |= {
            id(own): _stack(every) for own, every in zip(self.parameters(), parameters, strict=True)
        }
        return copy.deepcopy(self, memo)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply `F.linear`; with a weight (B, out, in) each row of x (B, T, in) has its own map."""
    if weight.dim() == 2:
        return F.linear(x, weight, bias)
    y = x @ weight.mT
    return y if bias is None else y + bias[:, None]


def add_linear(y: Tensor, x: Tensor, weight: Tensor, scale: float) -> Tensor:
    """Return y + scale * `linear`(x, weight)."""
    if weight.dim() == 2:  # sum and scale are part of the product: one pass over y instead of three
        turned = weight.mT
        # MKL's products for the gradients are 3 times as slow with a view.
        if weight.shape[-1] < FEW and torch.is_grad_enabled():
            turned = turned.contiguous()
        return torch.addmm(y.flatten(0, -2), x.flatten(0, -2), turned, alpha=scale).view_as(y)
    return torch.baddbmm(y, x, weight.mT, alpha=scale)


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """Stack tensors; thin ones (out, r) with the long dimension contiguous, along which products read faster."""
    first = tensors[0]
    if first.dim() > 1 and first.shape[-2] > first.shape[-1] <= THIN:
        return torch.stack([t.mT for t in tensors]).mT
    return torch.stack(list(tensors))


def _numbers(module: torch.nn.Module) -> Hashable:
    """Return the plain attributes of a module: sizes, scales, choices."""
    return tuple(
        (name, value)
        for name, value in sorted(vars(module).items())
        if name != "training" and isinstance(value, PLAIN)
    )
