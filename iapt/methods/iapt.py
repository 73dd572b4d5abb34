"""IAPT: instruction-aware prompt tuning (the paper's Section 3).

Before block l, with h the instruction's hidden states (n x d), group g = l // share_every::

    z = h D_g                 MLP_down, d x m, shared by the blocks of a group
    U = z Q_l                 W_sa,     m x l_sp, the block's own queries           (Eq. 2)
    A = softmax(U)            over the instruction's tokens
    s = A^T z                 l_sp x m
    p = R_g(s) E_g            rational activation, MLP_up m x d, shared             (Eq. 1, 3)

p is prepended to the block's input; its outputs are discarded (footnote 2).

There is no non-linearity between MLP_down and the pooler, so A^T(h D) = (A^T h) D and
(h D) Q = h (D Q): tokens are scored with the small matrix D Q (d x l_sp), and l_sp pooled vectors
are projected down instead of n.  Exact, and about m / (2 l_sp) times cheaper.

Symbols: l_sp -> prompt_len, m -> bottleneck_dim, L_s -> share_every, Theta -> `arch_parameters`.
Unstated in the paper: no biases, D, E, Q ~ N(0, init_std^2).  DEVIATIONS.md discusses what
decides whether it learns in few steps (`generator_norm`, `hide_from_first`, scales).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.configuration.checking import Positive
from iapt.errors import ConfigError
from iapt.methods.arguments import Size, one_of
from iapt.methods.pooling import MeanPooler
from iapt.methods.rational import Rational
from iapt.methods.stacked import Stackable
from iapt.results.inspection import Curve, Functions

Activation = Literal["rational", "gelu", "relu"]
Pooler = Literal["attention", "segment_mean", "mean"]
Norm = Literal["none", "block"]
UpInit = Literal["normal", "transpose"]
LONGEST_TEXT = 1_000  # characters
SHOWN, MOST_GROUPS = 3.0, 64  # learned functions are shown where they were fitted to GELU
ACTIVATIONS = {"rational": Rational, "gelu": nn.GELU, "relu": nn.ReLU}


class AttentionPooler(nn.Module):
    """s = softmax(h D Q)^T h D: one query per soft token, weights over the instruction (Eq. 2)."""

    def __init__(self, bottleneck_dim: int, prompt_len: int, init_std: float) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(bottleneck_dim, prompt_len) * init_std)

    def forward(self, h: Tensor, mask: Tensor, down: Tensor, keys: Tensor | None = None) -> Tensor:
        """Return weights (B,T,P), whose columns sum to 1, from h (B,T,D), mask (B,T) and down (D,M).

        `keys` is (D Q)^T, (P,D), if it is known already.
        """
        # (D Q)^T first: MKL is 3 to 5 times as slow at products with few columns as at those with few rows.
        keys = self.queries.mT @ down.mT if keys is None else keys
        scores = h @ keys.to(h.dtype).mT  # (B, T, P)
        return torch.softmax(scores.float().masked_fill(~mask[..., None], -torch.inf), dim=1)


class PromptGenerator(nn.Module):
    """The projections D and E that a group of blocks shares."""

    def __init__(
        self, hidden_size: int, bottleneck_dim: int, init_std: float, up_init: str, tied: bool
    ) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(hidden_size, bottleneck_dim) * init_std)
        # With E = D^T, R(s) E starts as a rough copy of the pooled states, which the block can read.
        up = (
            self.down.detach().T.clone()
            if up_init == "transpose"
            else torch.randn(bottleneck_dim, hidden_size) * init_std
        )
        self.up = None if tied else nn.Parameter(up)
        self.up_bias: nn.Parameter | None = None  # an extension; see `IAPT.start`

    def forward(
        self,
        h: Tensor,
        mask: Tensor,
        pooler: nn.Module,
        activation: nn.Module,
        keys: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return soft tokens p (B,P,D) and s (B,P,M) from h (B,T,D) and the instruction mask (B,T)."""
        known = () if keys is None else (keys,)
        A = pooler(h, mask, self.down, *known)  # (B, T, P)
        pooled = A.to(h.dtype).transpose(1, 2) @ h  # A^T h, (B, P, D)
        s = pooled @ self.down.to(h.dtype)  # (B, P, M)
        up = self.down.mT if self.up is None else self.up
        soft = activation(s) @ up.to(h.dtype)
        return soft if self.up_bias is None else soft + self.up_bias.to(h.dtype)[..., None, :], s


class IAPT(Stackable):
    """Instruction-aware prompt tuning.

    Args:
        dims: sizes of the backbone.
        prompt_len: soft tokens per block, l_sp.
        bottleneck_dim: m.
        first_block: the first block with soft tokens, counted from 0; an extension, the paper has 0.
        share_every: L_s consecutive blocks share D, E and the activation; poolers are never shared.
        activation: "rational" (learned), "gelu" or "relu"; or two of them for the lower and upper
            half of the blocks (variants IAPT-6 and -7).
        pooler: "attention", "segment_mean" or "mean".
        generator_norm: "none" feeds the raw residual stream (as the paper literally says), "block" the
            stream normalised by the block's own frozen input norm.
        hide_from_first: the instruction's first token does not attend to the soft tokens.
        tie_projections: E = D^T throughout (the reading that halves the parameter count).
        up_init: "normal" draws E like D; "transpose" starts E at D^T, so that soft tokens begin as
            rough copies of the pooled states instead of noise.
        init_std: standard deviation of D, E and Q.
        query_std: standard deviation of Q alone; default `init_std`.
        extension_base_text: gives MLP_up a bias per group, p = R_g(s) E_g + b_g, which starts as what the
            frozen backbone makes of this text (`start`); an extension, the paper has no bias.
    """

    instruction_aware = True
    decodes = False

    def __init__(
        self,
        dims: Dims,
        prompt_len: Size = 4,
        bottleneck_dim: Size = 256,
        share_every: Size = 4,
        activation: str | Sequence[str] = "rational",
        pooler: Pooler = "attention",
        generator_norm: Norm = "none",
        hide_from_first: bool = False,
        tie_projections: bool = False,
        up_init: UpInit = "normal",
        init_std: Positive = 0.02,
        query_std: Positive | None = None,
        first_block: Annotated[int, Field(ge=0)] = 0,
        extension_base_text: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = None,
    ) -> None:
        super().__init__()
        if first_block >= dims.num_layers:
            raise ConfigError(
                f"method.first_block={first_block}: must be less than {dims.num_layers}, the number of blocks."
            )
        lower, upper = _halves(activation)
        one_of("pooler", pooler, Pooler)
        one_of("generator_norm", generator_norm, Norm)
        one_of("up_init", up_init, UpInit)
        self.soft_tokens, self.share_every = prompt_len, share_every
        self.first_block = first_block
        self.generator_norm, self.hide_from_first = generator_norm, hide_from_first
        layers = range(first_block, dims.num_layers)
        groups = math.ceil(len(layers) / share_every)
        self.generators = nn.ModuleList(
            PromptGenerator(dims.hidden_size, bottleneck_dim, init_std, up_init, tie_projections)
            for _ in range(groups)
        )
        self.base_text = extension_base_text
        for generator in self.generators if self.base_text is not None else ():
            generator.up_bias = nn.Parameter(torch.zeros(dims.hidden_size))
        self.activations = (
            nn.ModuleList(Rational() for _ in range(groups))
            if lower == upper == "rational"
            else nn.ModuleList(
                ACTIVATIONS[upper if 2 * layer >= dims.num_layers else lower]() for layer in layers
            )
        )
        self.poolers = nn.ModuleList(
            AttentionPooler(bottleneck_dim, prompt_len, query_std or init_std)
            if pooler == "attention"
            else MeanPooler(prompt_len, segments=pooler == "segment_mean")
            for _ in layers
        )
        self.largest: dict[int, Tensor] = {}  # max |s| of each block's last forward pass
        self._keys: Sequence[Tensor] = ()  # of a stack's group that is being computed

    def start(self, backbone: Backbone, encode: Callable[[str], Sequence[int]]) -> None:
        """Start each b_g as the mean of what its blocks' generators would see of the base text.

        The mean is over the text's tokens without the first, which is the attention sink, and over the blocks
        of the group.

        Raises:
            ConfigError: the text has a single token.
        """
        if self.base_text is None:
            return
        ids = encode(self.base_text)
        if len(ids) < 2:
            raise ConfigError(
                f"method.extension_base_text={self.base_text!r}: needs at least two tokens; write a sentence."
            )
        means: list[list[Tensor]] = [[] for _ in self.generators]

        def see(layer: int, h: Tensor, out: Tensor) -> Tensor:
            seen = self._norm(backbone, layer)(h)[0, 1:]
            means[(layer - self.first_block) // self.share_every].append(seen.float().mean(0))
            return out

        for layer in range(self.first_block, backbone.dims.num_layers):
            backbone.on_block(layer, partial(see, layer))
        with torch.no_grad():
            backbone(torch.tensor([list(ids)], device=backbone.device))
            for generator, found in zip(self.generators, means, strict=True):
                generator.get_parameter("up_bias").copy_(torch.stack(found).mean(0))
        backbone.detach()

    def generate(self, layer: int, norm: nn.Module, h: Tensor, mask: Tensor) -> Tensor:
        """Return the soft tokens (B,P,D) of one block from the stream h (B,T,D) that enters it."""
        nth = layer - self.first_block
        group = nth // self.share_every
        activation = self.activations[
            group if len(self.activations) == len(self.generators) else nth
        ]
        soft: Tensor
        # Not with gradients: a checkpointed block is computed again without the first of its group.
        keys = None if torch.is_grad_enabled() else self._keys_of(nth)
        soft, s = self.generators[group](norm(h), mask, self.poolers[nth], activation, keys)
        self.largest[layer] = s.detach().abs().amax()
        return soft

    def _keys_of(self, nth: int) -> Tensor | None:
        """Return the keys (B,P,D) of a block of a stack, made for all blocks of its group at the first.

        They read each row's D once for the group, which for many tenants is most of what their keys cost.  None if
        this is no stack, or its poolers have no keys.
        """
        place = nth % self.share_every
        if place == 0:
            generator = cast(PromptGenerator, self.generators[nth // self.share_every])
            group = self.poolers[nth : nth + self.share_every]
            queries: list[Tensor] = [p.queries for p in group if isinstance(p, AttentionPooler)]
            if generator.down.dim() == 2 or not queries:
                self._keys = ()
            else:
                keys = torch.cat(queries, dim=-1).mT @ generator.down.mT
                self._keys = keys.split(self.soft_tokens, dim=1)
        return self._keys[place] if self._keys else None

    def attach(self, backbone: Backbone) -> None:
        for layer in range(self.first_block, backbone.dims.num_layers):
            norm = self._norm(backbone, layer)
            backbone.soft_prompt(
                layer, partial(self.generate, layer, norm), hide_from_first=self.hide_from_first
            )

    def _norm(self, backbone: Backbone, layer: int) -> nn.Module:
        return backbone.family.ln1(layer) if self.generator_norm == "block" else nn.Identity()

    def arch_parameters(self) -> list[nn.Parameter]:
        return [p for activation in self.activations for p in activation.parameters()]

    def functions(self) -> list[Functions]:
        """Return the learned activation of each group, beside GELU, from which it started."""
        x = torch.linspace(-SHOWN, SHOWN, 101)

        def curve(name: str, function: nn.Module) -> Curve:
            y = function(x.to(next(function.parameters(), x).device)).detach().tolist()
            return Curve(name=name, points=tuple(zip(x.tolist(), y, strict=True)))

        if len(self.activations) != len(self.generators) or not self.arch_parameters():
            return []
        starts = range(self.first_block, self.first_block + len(self.poolers), self.share_every)
        last = self.first_block + len(self.poolers) - 1
        return [
            Functions(
                title="learned activation of each group of blocks",
                x_label="s",
                y_label="R(s)",
                curves=tuple(
                    curve(f"blocks {start}-{min(start + self.share_every - 1, last)}", activation)
                    for start, activation in zip(starts, self.activations, strict=True)
                )[:MOST_GROUPS],
                reference=curve("GELU", nn.GELU()),
            )
        ]

    def attention(self, read: Callable[[], object]) -> dict[str, Tensor]:
        """Return the poolers' weights over a prompt, averaged over soft tokens: for all blocks, and for some."""
        seen: dict[int, Tensor] = {}
        hooks = [
            pooler.register_forward_hook(
                lambda _, args, A, layer=layer: seen.update({layer: A[0].float().mean(1)})
            )
            for layer, pooler in enumerate(self.poolers, start=self.first_block)
        ]
        try:
            read()
        finally:
            for hook in hooks:
                hook.remove()
        every = sorted(seen)
        some = every[:: math.ceil(len(every) / 7)]
        mean = torch.stack(list(seen.values())).mean(0)
        return {"all blocks, mean": mean} | {f"block {layer}": seen[layer] for layer in some}

    def measurements(self) -> dict[str, float]:
        """Return the largest |s| per block; far outside its fitted range, the activation is arbitrary."""
        return {f"largest_input/{layer}": float(value) for layer, value in self.largest.items()}


def _halves(activation: str | Sequence[str]) -> tuple[str, str]:
    """Return the activations of the lower and the upper half of the blocks."""
    names = (activation, activation) if isinstance(activation, str) else tuple(activation)
    for name in names:
        one_of("activation", name, Activation)
    if len(names) != 2:
        raise ConfigError(
            f"method.activation={activation!r}: give one name, or two (lower and upper half of the blocks)."
        )
    return names[0], names[1]
