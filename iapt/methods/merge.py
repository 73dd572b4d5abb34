"""Folding a method into the weights of the linear maps it acts on, and back.

    x W + b  becomes  x W' + b'        (W', b') = fold(W, b), W stored or seen as in x out

A method says how it changes one map; this file handles maps that are a slice of a fused module (q, k, v of
GPT-2 and GPT-NeoX) or stored transposed.  The original tensors are kept, so undoing a merge restores every
bit, in any dtype.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.errors import AdapterError
from iapt.methods.base import Method
from iapt.methods.searched import pending_search
from iapt.tensors import dtype_name


@dataclass(frozen=True)
class Original:
    """A module with the weight and bias it had before a merge."""

    module: Any
    weight: nn.Parameter
    bias: nn.Parameter | None


@dataclass
class Merged:
    """Where a method is merged, and the tensors it replaced."""

    backbone: Backbone
    originals: list[Original] = field(default_factory=list)


class Mergeable(Method):
    """A method whose effect is a change of weights and biases."""

    merged: Merged | None = None

    def merge_sites(self, backbone: Backbone) -> Sequence[str]:
        """The linear maps of a block that `fold` changes."""
        return backbone.dims.linears

    def fold(
        self, layer: int, site: str, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return what the map's weight (in, out) and bias (out) become; None leaves the bias as it is."""
        raise NotImplementedError(f"{type(self).__name__} must define fold.")


def merge(method: Method, backbone: Backbone) -> None:
    """Fold a method into the backbone's weights; merging twice changes nothing.

    Raises:
        AdapterError: it cannot be folded, the backbone is quantised, or the folded weights are not finite.
    """
    able = mergeable(method, backbone.quantized)
    if able.merged:
        if able.merged.backbone is not backbone:
            raise AdapterError(
                f"{type(method).__name__} is merged into another backbone; call unmerge there first."
            )
        return
    able.merged = Merged(backbone)
    backbone.detach()
    try:
        for layer in range(backbone.dims.num_layers):
            for site in able.merge_sites(backbone):
                able.merged.originals.append(_fold_one(able, backbone, layer, site))
    except BaseException:
        unmerge(method, backbone)
        raise


def unmerge(method: Method, backbone: Backbone) -> None:
    """Restore the backbone's own weights, bit for bit, and attach the method again.

    Raises:
        AdapterError: it cannot be folded in the first place, or is merged elsewhere.
    """
    able = mergeable(method, backbone.quantized)
    if able.merged is None:
        return
    if able.merged.backbone is not backbone:
        raise AdapterError(f"{type(method).__name__} is not merged into this backbone.")
    for original in reversed(able.merged.originals):
        original.module.weight, original.module.bias = original.weight, original.bias
    able.merged = None
    able.attach(backbone)


def mergeable(method: Method, quantized: bool) -> Mergeable:
    """Return the method as one that can be merged; needs no backbone.

    Args:
        method: a trained method.
        quantized: whether the backbone's weights are.

    Raises:
        AdapterError: it cannot; the message gives the reason.
    """
    name = type(method).__name__
    if not isinstance(method, Mergeable):
        raise AdapterError(
            f"{name} cannot be merged: its class does not define how it changes the backbone's weights (no fold). "
            "Keep it attached."
        )
    if quantized:
        raise AdapterError(
            f"{name} cannot be merged: the backbone's weights are quantised (backbone.quantization), and the "
            "result would have to be rounded again. Keep it attached."
        )
    if pending_search(method):
        raise AdapterError(f"{name} cannot be merged before its search has ended; train it first.")
    return method


@torch.no_grad()
def _fold_one(method: Mergeable, backbone: Backbone, layer: int, site: str) -> Original:
    place = backbone.family.site(layer, site)
    module: Any = place.module
    original = Original(module, module.weight, module.bias)
    weight, bias = original.weight, original.bias
    transposed = isinstance(module, nn.Linear)  # stored (out, in); GPT-2's maps are (in, out)
    exact = torch.promote_types(weight.dtype, torch.float32)
    full = (weight.T if transposed else weight).to(exact)
    full_bias = full.new_zeros(full.shape[1]) if bias is None else bias.to(exact)
    part, part_bias = method.fold(layer, site, place.take(full), place.take(full_bias))
    full = place.put(full, part)
    stored = (full.T if transposed else full).contiguous().to(weight.dtype)
    # A module without a bias gets none that is zero: not every checkpoint has a place for it.
    if part_bias is None or (bias is None and not bool(part_bias.any())):
        folded = None
    else:
        folded = place.put(full_bias, part_bias).to(weight.dtype)
    for tensor in (stored, folded):
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            raise AdapterError(
                f"{type(method).__name__}: merging block {layer}, {site!r} gives values that are not finite in "
                f"{dtype_name(weight.dtype)}; the adapter is broken, or too large for this dtype."
            )
    module.weight = nn.Parameter(stored, requires_grad=False)
    if folded is not None:
        module.bias = nn.Parameter(folded, requires_grad=False)
    return original
