"""(IA)^3: activations rescaled by learned vectors (Liu et al. 2022; paper, Appendix F).

    q <- l_q * q_proj(x)      k <- l_k * k_proj(x)  (before rotation)
    LLaMA:              FFN(x) = down(silu(gate x) * (l_u * up x))
    GPT-2, GPT-NeoX:    FFN(x) = c_proj(l_u * gelu(c_fc x))

    l_j = 1 + z_j V_j         z_j in R^r, V_j in R^{r x out_j},   z ~ N(0, 1), V = 0, so l = 1

The original rescales keys, values and the inner feed-forward state; the paper rescales query, key
and "Up".  Where the feed-forward part has no gate, the inner state itself is rescaled, which is the
original's definition and equals scaling `up` where there is a gate (the product commutes).
16 * 32 * (4096 + 4096 + 11008) = 9,830,400 on LLaMA-2 7B, latents apart.  T-Few's losses are not used.

Symbols: r -> latent_dim.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.errors import AdapterError, ConfigError, closest
from iapt.methods import peft_format as peft
from iapt.methods.arguments import Size
from iapt.methods.merge import Mergeable
from iapt.methods.per_site import PerSite
from iapt.methods.reparam import Reparameterised
from iapt.methods.stacked import Stackable

PEFT_L = "ia3_l"


class IA3(Mergeable, peft.PeftCompatible, Stackable):
    """Rescaled queries, keys and inner feed-forward states.

    Args:
        dims: sizes of the backbone.
        latent_dim: r.
        sites: which of q, k, v and the inner state (up, or act without a gate) to rescale; None means all
            but v.
    """

    neutral = True
    peft_types = ("IA3",)

    def __init__(
        self, dims: Dims, latent_dim: Size = 16, sites: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        widths = {site: dims.in_out(site)[1] for site in ("q", "k", "v")}
        widths[inner_site(dims)] = dims.ffn_size
        self.sites = (
            tuple(site for site in widths if site != "v") if sites is None else tuple(sites)
        )
        for site in self.sites:
            if site not in widths:
                raise ConfigError(
                    f"method.sites={list(self.sites)}: {site!r} is not one of {', '.join(widths)}."
                    f"{closest(str(site), widths)}"
                )
        self.blocks = PerSite(
            dims.num_layers, self.sites, lambda site: Reparameterised(1, latent_dim, widths[site])
        )

    def attach(self, backbone: Backbone) -> None:
        for layer, site, offset in self.blocks.each():
            backbone.on_linear(layer, site, partial(self.rescale, offset))

    def rescale(self, offset: Reparameterised, x: Tensor, y: Tensor) -> Tensor:
        """Return y (B,T,out) times l = 1 + z V."""
        return (y * (1 + offset())).to(y.dtype)  # a factor near 1 would be 1 exactly in bf16

    def factors(self, layer: int, site: str) -> Tensor:
        """Return l of one site, (out,)."""
        offset: Reparameterised = self.blocks.at(layer, site)
        return 1 + offset()[0]

    def merge_sites(self, backbone: Backbone) -> Sequence[str]:
        return ["down" if site == "act" else site for site in self.sites]

    def fold(
        self, layer: int, site: str, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        if site == "down":  # the inner state is this map's input
            return self.factors(layer, "act").to(weight)[:, None] * weight, None
        factors = self.factors(layer, site).to(weight)
        return weight * factors, bias * factors

    @torch.no_grad()
    def to_peft(self, backbone: Backbone) -> tuple[peft.Config, peft.Tensors]:
        names, tensors, inner = peft.module_names(backbone), {}, []
        for layer, site, _ in self.blocks.each():
            owner = owner_of(site, backbone.dims)
            name = f"{names[layer, owner]}.{PEFT_L}"
            factors = self.factors(layer, site)
            if site == "act":  # peft scales the input of the next map
                inner.append(name)
                tensors[name] = factors[None]
            else:  # q, k and v may be slices of one module, whose other outputs keep a factor of 1
                ones = factors.new_ones(backbone.dims.in_out(owner)[1])
                whole = tensors[name][:, 0] if name in tensors else ones
                tensors[name] = backbone.family.site(layer, site).put(whole, factors)[:, None]
        return {
            "target_modules": peft.targets(tensors, depth=1),
            "feedforward_modules": peft.targets(inner, depth=1),
            "fan_in_fan_out": peft.stored_transposed(backbone, "down"),
        }, tensors

    @classmethod
    def from_peft(
        cls, config: peft.Config, tensors: peft.Tensors, backbone: Backbone
    ) -> tuple[peft.Config, peft.Tensors]:
        """Represent each vector as a latent 1 of width 1, times l - 1."""
        peft.refuse_options(config, ("feedforward_modules", "init_ia3_weights"))
        dims, names = backbone.dims, peft.module_names(backbone)
        inner = inner_site(dims)
        scaled: dict[tuple[int, str], torch.Tensor] = {}

        def scale(layer: int, site: str, factors: torch.Tensor) -> None:
            # The inner state may be scaled twice: as the output of up, and as the input of down.
            scaled[layer, site] = scaled.get((layer, site), 1.0) * factors

        for (layer, module), parts in peft.by_place(tensors, (PEFT_L,), backbone).items():
            name, saved = f"{names[layer, module]}.{PEFT_L}", parts[PEFT_L]
            wide, high = dims.in_out(module)
            if module == "down" and saved.shape == (1, wide):  # its input, the inner state
                scale(layer, inner, peft.expect_shape(name, saved, (1, wide))[0])
                continue
            factors = peft.expect_shape(name, saved, (high, 1))[:, 0]
            mine = [s for s in ("q", "k", "v", "up") if owner_of(s, dims) == module]
            if not mine or (mine == ["up"] and not dims.gated):
                raise AdapterError(
                    f"tensor {name}: in block {layer}, our IA3 rescales only q, k, v and the inner state."
                )
            for site in mine:
                scale(layer, site, backbone.family.site(layer, site).take(factors))
        sites = [site for site in ("q", "k", "v", inner) if any(s == site for _, s in scaled)]
        ours: peft.Tensors = {}
        for layer in range(dims.num_layers):
            for site in sites:
                width = dims.ffn_size if site == inner else dims.in_out(site)[1]
                factors = scaled.get((layer, site), torch.ones(width))
                ours[f"blocks.{layer}.{site}.latent"] = torch.ones(1, 1)
                ours[f"blocks.{layer}.{site}.projection"] = (factors - 1)[None].contiguous()
        return {"latent_dim": 1, "sites": sites}, ours


def inner_site(dims: Dims) -> str:
    """Return the site at which the inner feed-forward state is rescaled."""
    return "up" if dims.gated else "act"


def owner_of(site: str, dims: Dims) -> str:
    """Return the linear module at which peft rescales a site."""
    if site == "act":
        return "down"
    return "qkv" if dims.fused_qkv and site in ("q", "k", "v") else site
