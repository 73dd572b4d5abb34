"""Matrix products of a training step: how many there are, and how fast this machine computes them.

The count covers the products of linear maps, the backbone's and a method's, in the forward and the backward
pass. It leaves out attention's own products and everything elementwise.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from iapt.backbone.base import Backbone
from iapt.backbone.packed import has_onednn, product
from iapt.inference.efficiency import seconds_of
from iapt.training.step import Data

ATEN = torch.ops.aten
PRODUCTS = (ATEN.mm, ATEN.addmm, ATEN.bmm, ATEN.baddbmm)
ONEDNN = "mkldnn::_linear_pointwise"
TOKENS = (256, 512, 1024, 2048)  # of a pass


class _Counter(TorchDispatchMode):
    """Adds up the operations of products; `FlopCounterMode` follows modules too, which `autograd.grad` forbids."""

    total: int = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in PRODUCTS:
            self.total += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=out)
        elif func.name().startswith(ONEDNN):  # its arguments start with x (..., in)
            self.total += 2 * out.numel() * args[0].shape[-1]
        return out


def products_of(run: Callable[[], object]) -> int:
    """Return the floating-point operations of the matrix products in a call: 2 per multiplication."""
    counter = _Counter()  # type: ignore[no-untyped-call]
    with counter:
        run()
    return int(counter.total)


def products_of_rows(data: Data, run: Callable[[Sequence[int]], object]) -> int:
    """Return the operations that all rows of a data set need, each without padding.

    For linear maps they are a constant, plus a multiple of the tokens, plus one of the response tokens (for
    the language-model head).  So a few short rows determine exactly what every row needs.

    Args:
        data: the rows.
        run: a forward and backward pass over the rows with these indices.
    """
    rows = [[1.0, len(e), len(e.response)] for e in data.examples]
    every = torch.tensor(rows, dtype=torch.float64)
    rank = int(torch.linalg.matrix_rank(every))
    chosen: list[int] = []
    for i in sorted(range(len(rows)), key=data.sizes.__getitem__):
        if int(torch.linalg.matrix_rank(every[[*chosen, i]])) > len(chosen):
            chosen.append(i)
        if len(chosen) == rank:
            break
    counted = [float(products_of(lambda i=i: run([i]))) for i in chosen]  # type: ignore[misc]
    # Each row is a combination of the chosen ones.
    shares = torch.linalg.lstsq(every[chosen].T, every.T, driver="gelsd").solution
    return round(float(torch.tensor(counted, dtype=torch.float64) @ shares.sum(1)))


@torch.no_grad()
def peak_rate(backbone: Backbone, repeats: int = 3) -> float:
    """Return the operations per second of the products of a block's frozen maps, at their best size.

    Each map is applied as in a forward pass (x W^T), and transposed as in a backward pass (g W), by torch's product and
    by oneDNN's; the faster one counts.

    Args:
        backbone: its shapes, dtype and device count.
        repeats: of each product; the best counts.
    """
    like = backbone.family.embedding_table()
    best = 0.0
    for tokens in TOKENS:
        seconds, operations = 0.0, 0
        for site in backbone.dims.linears:
            inner, outer = backbone.dims.in_out(site)
            x, g = like.new_ones(tokens, inner), like.new_ones(tokens, outer)
            weight = like.new_ones(outer, inner)
            for rows, frozen in ((x, weight), (g, weight.T)):
                ways = [partial(F.linear, rows, frozen)]
                if like.device.type == "cpu" and has_onednn():
                    ways.append(partial(product, rows, frozen))
                seconds += min(seconds_of(way, like.device) for way in ways for _ in range(repeats))
            operations += 4 * tokens * inner * outer
        best = max(best, operations / seconds)
    return best
