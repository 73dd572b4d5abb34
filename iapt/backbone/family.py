"""The interface of a model family, which `llama.py`, `gpt2.py` and `gpt_neox.py` implement.

Only those three files know the names of modules in Hugging Face models.  Each writes its block as
equations over the model's own weights, with two arguments: how attention looks back (`attend`), which
differs between training and decoding, and what the methods do to a module's output (`act`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from iapt.backbone.dims import Dims, FamilyName
from iapt.backbone.packed import Linears

Rotary = Any  # (cos, sin), or None where positions are learned

# (q (B,H,S,K), k (B,G,S,K), v (B,G,S,K), scale, dropout) -> (B,S,H*K)
Attend = Callable[[Tensor, Tensor, Tensor, float, float], Tensor]
# (module, x, y) -> y as the methods change it, where y is the output of `module` for x
Act = Callable[[nn.Module, Tensor, Tensor], Tensor]


class Site:
    """One logical linear map: a module and, where the module is fused, the slice of its output.

    `take` reads the slice from the module's output (B, T, out) and `put` writes it back.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def take(self, y: Tensor) -> Tensor:
        """Return this site's part of the module output `y` (B, T, out)."""
        return y

    def put(self, y: Tensor, part: Tensor) -> Tensor:
        """Return `y` with this site's part replaced by `part`."""
        return part


class Family(ABC):
    """A decoder as a list of blocks with named parts; wraps one Hugging Face causal LM."""

    name: FamilyName
    layers: Any

    def __init__(self, model: Any) -> None:
        self.model = model
        self.linear = Linears(model)

    def dims(self) -> Dims:
        """Read the sizes from the model's configuration, by the names that transformers uses for all families."""
        c = self.model.config
        heads = c.num_attention_heads
        return Dims(
            family=self.name,
            num_layers=c.num_hidden_layers,
            hidden_size=c.hidden_size,
            ffn_size=self.ffn_size(),
            num_heads=heads,
            num_kv_heads=getattr(c, "num_key_value_heads", heads),
            head_dim=getattr(c, "head_dim", None) or c.hidden_size // heads,
            vocab_size=c.vocab_size,
            max_positions=c.max_position_embeddings,
        )

    def ffn_size(self) -> int:
        """Inner width of the feed-forward part."""
        return int(self.model.config.intermediate_size)

    @abstractmethod
    def embed(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        """Token ids (B, T) at absolute positions (B, T) -> residual stream (B, T, D)."""

    def embedding_table(self) -> Tensor:
        """The frozen token embeddings (V, D)."""
        table = self.model.get_input_embeddings().weight
        assert isinstance(table, Tensor)
        return table

    @abstractmethod
    def final_norm(self, h: Tensor) -> Tensor:
        """The norm before the language-model head, (..., D) -> (..., D)."""

    def head(self, h: Tensor) -> Tensor:
        """The language-model head, (..., D) -> (..., V)."""
        return self.linear(h, self.model.lm_head)[0]

    @abstractmethod
    def ln1(self, layer: int) -> nn.Module:
        """The norm before the block's attention."""

    @abstractmethod
    def sublayer(self, layer: int, part: str) -> nn.Module:
        """The module of the block's "attn" or "ffn" part, whose output is added to the stream."""

    @abstractmethod
    def site(self, layer: int, name: str) -> Site:
        """The linear map called `name` in block `layer` (names: see `dims.py`)."""

    @abstractmethod
    def keys_values(self, layer: int, x: Tensor, rotary: Rotary, act: Act) -> tuple[Tensor, Tensor]:
        """Keys and values (B, G, P, K) of normalised inputs `x` (B, P, D)."""

    @abstractmethod
    def block(self, layer: int, h: Tensor, rotary: Rotary, attend: Attend, act: Act) -> Tensor:
        """Run block `layer`, (B, S, D) -> (B, S, D)."""

    def rotary(self, h: Tensor, positions: Tensor) -> Rotary:
        """Rotary tables (cos, sin) for positions (B or 1, T); None where positions are learned."""
        return None

    def split_heads(self, x: Tensor, head_dim: int) -> Tensor:
        """(B, P, H*K) -> (B, H, P, K)."""
        return x.view(*x.shape[:-1], -1, head_dim).transpose(1, 2)


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Rotate the first R columns of x (B, H, S, K) by the tables (cos, sin), each (B or 1, S, R <= K).

    The halves (a, b) of these columns become (a cos - b sin, b cos + a sin); the tables hold each
    angle twice, once per half.
    """
    half = rotary[0].shape[-1] // 2
    cos, sin = (t[:, None, :, :half] for t in rotary)
    a, b, rest = x.split([half, half, x.shape[-1] - 2 * half], dim=-1)
    turned = torch.addcmul(a * cos, b, sin, value=-1), torch.addcmul(b * cos, a, sin)
    return torch.cat([*turned, rest], dim=-1)
