"""(IA)^3: activations rescaled by learned vectors (Liu et al. 2022; paper, Appendix F).

    q <- l_q * q_proj(x)      k <- l_k * k_proj(x)  (before rotation)
    LLaMA:              FFN(x) = down(silu(gate x) * (l_u * up x))
    GPT-2, GPT-NeoX:    FFN(x) = c_proj(l_u * gelu(c_fc x))

    l_j = 1 + z_j V_j         z_j in R^r, V_j in R^{r x out_j},   z ~ N(0, 1), V = 0, so l = 1

The original rescales keys, values and the inner feed-forward state; the paper rescales query, key
and "Up".  Where the feed-forward part has no gate, the inner state itself is rescaled, which is the
original's definition and equals scaling `up` where there is a gate (the product commutes).
16 * 32 * (4096 + 4096 + 11008) = 9,830,400 on LLaMA-2 7B, latents apart.  None of T-Few's losses.

Symbols: r -> latent_dim.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.methods.arguments import Count
from iapt.methods.merge import Mergeable
from iapt.methods.peft_format import PeftCompatible, module_name, stored_transposed, targets
from iapt.methods.per_site import PerSite
from iapt.methods.reparam import Reparameterised


class IA3(Mergeable, PeftCompatible):
    """Rescaled queries, keys and inner feed-forward states.

    Args:
        dims: sizes of the backbone.
        latent_dim: r.
    """

    neutral = True

    def __init__(self, dims: Dims, latent_dim: Count = 16) -> None:
        super().__init__()
        widths = {
            "q": dims.in_out("q")[1],
            "k": dims.in_out("k")[1],
            "up" if dims.gated else "act": dims.ffn_size,
        }
        self.blocks = PerSite(
            dims.num_layers, widths, lambda site: Reparameterised(1, latent_dim, widths[site])
        )

    def attach(self, backbone: Backbone) -> None:
        for layer, site, offset in self.blocks.each():
            backbone.on_linear(layer, site, partial(self.rescale, offset))

    def rescale(self, offset: Reparameterised, x: Tensor, y: Tensor) -> Tensor:
        """Return y (B,T,out) times l = 1 + z V."""
        return (y * (1 + offset()[0])).to(y.dtype)  # a factor near 1 would be 1 exactly in bf16

    def factors(self, layer: int, site: str) -> Tensor:
        """Return l of one site, (out,)."""
        offset: Reparameterised = self.blocks.at(layer, site)
        return 1 + offset()[0]

    def merge_sites(self, backbone: Backbone) -> Sequence[str]:
        return ("q", "k", "up") if backbone.dims.gated else ("q", "k", "down")

    def fold(
        self, layer: int, site: str, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        if site == "down":  # the inner state is this map's input
            return self.factors(layer, "act").to(weight)[:, None] * weight, None
        factors = self.factors(layer, site).to(weight)
        return weight * factors, bias * factors

    @torch.no_grad()
    def to_peft(self, backbone: Backbone) -> tuple[dict[str, Any], dict[str, Tensor]]:
        tensors, inner = {}, []
        fused = {"q": "qkv", "k": "qkv"} if backbone.dims.fused_qkv else {}
        for layer, site, _ in self.blocks.each():
            name = module_name(backbone, layer, "down" if site == "act" else site) + ".ia3_l"
            factors = self.factors(layer, site)
            if site == "act":  # peft scales the input of the next map
                inner.append(name)
                tensors[name] = factors[None]
            else:  # q and k may be slices of one module, whose other outputs keep a factor of 1
                ones = factors.new_ones(backbone.dims.in_out(fused.get(site, site))[1])
                whole = tensors[name][:, 0] if name in tensors else ones
                tensors[name] = backbone.family.site(layer, site).put(whole, factors)[:, None]
        return {
            "peft_type": "IA3",
            "target_modules": targets(tensors, depth=1),
            "feedforward_modules": targets(inner, depth=1),
            "fan_in_fan_out": stored_transposed(backbone, "down"),
        }, tensors
