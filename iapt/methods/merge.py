"""Folding a method into the weights of the linear maps it acts on, and back.

    x W + b  becomes  x W' + b'        (W', b') = fold(W, b), W stored or seen as in x out

A method says what it makes of one map; where the map is a slice of a fused module (q, k, v of
GPT-2 and GPT-NeoX) or stored transposed, this file sees to it.  The original tensors are kept on
the side, so that undoing restores every bit, in any dtype.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.errors import AdapterError
from iapt.methods.base import Method


@dataclass(frozen=True)
class Original:
    """A module and the weight and bias it had."""

    module: Any
    weight: nn.Parameter
    bias: nn.Parameter | None


class Mergeable(Method):
    """A method whose effect is a change of weights and biases."""

    mergeable = True

    def __init__(self) -> None:
        super().__init__()
        self._originals: list[Original] = []
        self._merged_into: Backbone | None = None

    def merge_sites(self, backbone: Backbone) -> Sequence[str]:
        """The linear maps of a block that `fold` changes."""
        return backbone.dims.linears

    def fold(
        self, layer: int, site: str, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return what the map's weight (in, out) and bias (out) become; None leaves the bias as it is."""
        raise NotImplementedError(f"{type(self).__name__} must define fold.")

    def merge(self, backbone: Backbone) -> None:
        if self._merged_into is backbone:
            return
        if self._merged_into is not None:
            raise AdapterError(
                f"{type(self).__name__} is merged into another backbone; call unmerge there first."
            )
        self._originals, self._merged_into = [], backbone
        backbone.detach()
        try:
            for layer in range(backbone.dims.num_layers):
                for site in self.merge_sites(backbone):
                    self._fold_one(backbone, layer, site)
        except BaseException:
            self.unmerge(backbone)
            raise

    def unmerge(self, backbone: Backbone) -> None:
        if self._merged_into is None:
            return
        if self._merged_into is not backbone:
            raise AdapterError(f"{type(self).__name__} is not merged into this backbone.")
        for original in reversed(self._originals):
            original.module.weight, original.module.bias = original.weight, original.bias
        self._originals, self._merged_into = [], None
        self.attach(backbone)

    @torch.no_grad()
    def _fold_one(self, backbone: Backbone, layer: int, site: str) -> None:
        place = backbone.family.site(layer, site)
        module: Any = place.module
        weight: nn.Parameter = module.weight
        bias: nn.Parameter | None = module.bias
        transposed = isinstance(module, nn.Linear)  # stored (out, in); GPT-2's maps are (in, out)
        exact = torch.promote_types(weight.dtype, torch.float32)
        full = (weight.T if transposed else weight).to(exact)
        full_bias = full.new_zeros(full.shape[1]) if bias is None else bias.to(exact)
        part, part_bias = self.fold(layer, site, place.take(full), place.take(full_bias))
        full = place.put(full, part)
        new_bias = bias
        if part_bias is not None:
            folded = place.put(full_bias, part_bias).to(weight.dtype)
            new_bias = nn.Parameter(folded, requires_grad=False)
        for tensor in (full, part_bias):
            if tensor is not None and not bool(torch.isfinite(tensor).all()):
                raise AdapterError(
                    f"{type(self).__name__}: merging block {layer}, {site!r} gives values that are not finite; "
                    "the adapter is broken."
                )
        self._originals.append(Original(module, weight, bias))
        stored = (full.T if transposed else full).contiguous().to(weight.dtype)
        module.weight, module.bias = nn.Parameter(stored, requires_grad=False), new_bias
