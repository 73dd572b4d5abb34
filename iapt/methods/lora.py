"""LoRA: low-rank adaptation of frozen projections (Hu et al. 2021).

    y = x W + (alpha / rank) * dropout(x) A B       A in R^{in x r} Kaiming-uniform, B in R^{r x out} zero

on all seven projections of every block, which gives the 10.0M parameters on LLaMA-2 7B
(4 * 32 * 78,080 = 9,994,240).  Where q, k and v are one module (GPT-2, GPT-NeoX) they share one A,
as in the peft library.  Names and shapes of `lora_A` (r x in) and `lora_B` (out x r) follow peft.
"""

import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.configuration.checking import Positive, Probability, short
from iapt.errors import AdapterError, ConfigError, closest
from iapt.methods import peft_format as peft
from iapt.methods.arguments import Rank, rank_within
from iapt.methods.merge import Mergeable
from iapt.methods.per_site import PerSite
from iapt.methods.stacked import Stackable, add_linear, linear

PEFT_A, PEFT_B = "lora_A.weight", "lora_B.weight"
# Untrusted regular expressions: few repeats and groups, and no repeated group, so that none takes long.
PATTERN = re.compile(r"(?!.*\)[*+?])[\w.^$\\|*+?()\[\]-]{1,300}")
MOST_CHOICES = 3
# Initialisations of A and B that leave the backbone unchanged.
PLAIN_STARTS = ("gaussian", "orthogonal", "eva")


class LowRank(nn.Module):
    """Delta(x) = (alpha / r) * dropout(x) A^T B^T."""

    def __init__(self, in_dim: int, out_dim: int, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.lora_A = nn.Parameter(torch.empty(rank, in_dim))
        self.lora_B = nn.Parameter(torch.zeros(out_dim, rank))
        self.scaling, self.dropout = alpha / rank, dropout
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return y + Delta(x) for x (B,T,in) and y (B,T,out)."""
        return add_linear(y, self.low(x), self.lora_B.to(x.dtype), self.scaling)

    def delta(self, x: Tensor) -> Tensor:
        """Return Delta(x), (B,T,in) -> (B,T,out)."""
        return linear(self.low(x), self.lora_B.to(x.dtype)) * self.scaling

    def low(self, x: Tensor) -> Tensor:
        """Return dropout(x) A^T, (B,T,in) -> (B,T,r)."""
        x = F.dropout(x, self.dropout, self.training)
        return linear(x, self.lora_A.to(x.dtype))

    def change_of_weight(self) -> Tensor:
        """Return the change of the frozen weight, (in, out)."""
        return (self.lora_B @ self.lora_A).T * self.scaling


class LoRA(Mergeable, peft.PeftCompatible, Stackable):
    """Low-rank adaptation.

    Args:
        dims: sizes of the backbone.
        rank: r.
        alpha: numerator of the scaling alpha / r.
        dropout: on the input of A, in training.
        sites: the projections it acts on; None means all of them.
    """

    neutral = True
    peft_types = ("LORA",)

    def __init__(
        self,
        dims: Dims,
        rank: Rank = 4,
        alpha: Positive = 8.0,
        dropout: Probability = 0.0,
        sites: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        rank_within(dims, "rank", rank)
        for site in sites or ():
            if site not in dims.linears:
                raise ConfigError(
                    f"method.sites={list(sites or ())}: {site!r} is not one of {', '.join(dims.linears)}."
                    f"{closest(str(site), dims.linears)}"
                )
        self.rank, self.alpha = rank, alpha
        self.sites = dims.linears if sites is None else tuple(sites)
        self.blocks = PerSite(
            dims.num_layers,
            self.sites,
            lambda site: LowRank(*dims.in_out(site), rank, alpha, dropout),
        )

    def attach(self, backbone: Backbone) -> None:
        for layer, site, delta in self.blocks.each():
            backbone.on_linear(layer, site, delta)

    def fold(self, layer: int, site: str, weight: Tensor, bias: Tensor) -> tuple[Tensor, None]:
        return weight + self.blocks.at(layer, site).change_of_weight().to(weight), None

    def merge_sites(self, backbone: Backbone) -> Sequence[str]:
        return self.sites

    def to_peft(self, backbone: Backbone) -> tuple[peft.Config, peft.Tensors]:
        names, tensors = peft.module_names(backbone), {}
        for layer, site, delta in self.blocks.each():
            tensors[f"{names[layer, site]}.{PEFT_A}"] = delta.lora_A
            tensors[f"{names[layer, site]}.{PEFT_B}"] = delta.lora_B
        return {
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": peft.targets(tensors, depth=2),
            "fan_in_fan_out": peft.stored_transposed(backbone, "o"),
        }, tensors

    @classmethod
    def from_peft(
        cls, config: peft.Config, tensors: peft.Tensors, backbone: Backbone
    ) -> tuple[peft.Config, peft.Tensors]:
        """Represent any LoRA on the blocks' projections, with A and B padded to the largest rank.

        A module's rank and alpha give its scale; where scales differ, B absorbs the difference.
        """
        peft.refuse_options(
            config,
            ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "init_lora_weights"),
        )
        start = config.get("init_lora_weights")
        if isinstance(start, str) and start not in PLAIN_STARTS:
            raise AdapterError(
                f"LORA: init_lora_weights={short(start)} changes the backbone's own weights; convert the adapter "
                "with peft (path_initial_model_for_weight_conversion)."
            )
        found = peft.by_place(tensors, (PEFT_A, PEFT_B), backbone)
        names = peft.module_names(backbone)
        ranks = {place: len(parts[PEFT_A]) for place, parts in found.items()}
        most = backbone.dims.hidden_size
        scales = {place: _scale(config, names[place], ranks[place], most) for place in found}
        rank, scale = max(ranks.values()), max(scales.values())
        sites = [s for s in backbone.dims.linears if any(site == s for _, site in found)]
        ours: peft.Tensors = {}
        for layer in range(backbone.dims.num_layers):
            for site in sites:
                wide, high = backbone.dims.in_out(site)
                A, B = torch.zeros(rank, wide), torch.zeros(high, rank)
                if (layer, site) in found:
                    r, name, parts = ranks[layer, site], names[layer, site], found[layer, site]
                    A[:r] = peft.expect_shape(f"{name}.{PEFT_A}", parts[PEFT_A], (r, wide))
                    B[:, :r] = peft.expect_shape(f"{name}.{PEFT_B}", parts[PEFT_B], (high, r))
                    B *= scales[layer, site] / scale
                ours[f"blocks.{layer}.{site}.lora_A"], ours[f"blocks.{layer}.{site}.lora_B"] = A, B
        numbers = {"rank": rank, "alpha": scale * rank, "dropout": 0.0}
        every = len(sites) == len(backbone.dims.linears)
        return numbers if every else numbers | {"sites": sites}, ours


def _scale(config: peft.Config, name: str, rank: int, most: int) -> float:
    """Return the factor by which peft multiplies a module's B A x; patterns may override it by module.

    Raises:
        AdapterError: the rank differs from the configuration's, or is above `most`.
    """
    said = peft.number(_of_module(config, "rank_pattern", "r", name), "r", 1, most)
    alpha = peft.number(_of_module(config, "alpha_pattern", "lora_alpha", name), "lora_alpha", 1e-9)
    if said != rank:
        raise AdapterError(
            f"tensor {name}.{PEFT_A} has rank {rank}, adapter_config.json says {said}."
        )
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _of_module(config: peft.Config, pattern: str, key: str, name: str) -> peft.Config:
    """Return the configuration with the pattern's value for a module, matched as in peft."""
    own = config.get(pattern) or {}
    if not isinstance(own, dict):
        raise AdapterError(f"LORA: {pattern}={short(own)}: must be a mapping.")
    module = name.removeprefix(peft.WRAPPED)
    for words, value in own.items():
        if _matches(pattern, words, module):
            return config | {key: value}
    return config


def _matches(pattern: str, words: str, module: str) -> bool:
    """Say whether an expression of a pattern means a module, as in peft.

    Raises:
        AdapterError: it is not a regular expression, or could take long.
    """
    where = f"LORA: {pattern}: the pattern {short(words)}"
    if not PATTERN.fullmatch(words) or len(re.findall(r"[*+?(]", words)) > MOST_CHOICES:
        raise AdapterError(
            f"{where} is too complex; allowed are names, sets, and at most {MOST_CHOICES} repeats and groups, none a "
            "repeated group. Write the modules' names instead."
        )
    try:
        return re.match(rf"(.*\.)?({words})$", module) is not None
    except re.error as error:
        raise AdapterError(f"{where} is not a regular expression ({error.msg}).") from error
