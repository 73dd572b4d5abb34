"""What the engine asks of a model family; `llama.py`, `gpt2.py` and `gpt_neox.py` answer it.

Only those three files know the attribute names of Hugging Face models.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from iapt.backbone.dims import Dims

Rotary = Any  # (cos, sin), or None where positions are learned


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

    layers: Any

    def __init__(self, model: Any) -> None:
        self.model = model

    @abstractmethod
    def dims(self) -> Dims:
        """Read the sizes from the model's configuration."""

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

    @abstractmethod
    def head(self, h: Tensor) -> Tensor:
        """The language-model head, (..., D) -> (..., V)."""

    @abstractmethod
    def ln1(self, layer: int) -> nn.Module:
        """The norm in front of the block's attention."""

    @abstractmethod
    def sublayer(self, layer: int, part: str) -> nn.Module:
        """The module of the block's "attn" or "ffn" part, whose output is added to the stream."""

    @abstractmethod
    def site(self, layer: int, name: str) -> Site:
        """The linear map called `name` in block `layer` (names: see `dims.py`)."""

    @abstractmethod
    def keys_values(self, layer: int, x: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H_kv, P, K) of already normalised inputs `x` (B, P, D)."""

    @abstractmethod
    def run(self, layer: int, h: Tensor, mask: Tensor, rotary: Rotary, cache: Any) -> Tensor:
        """Run block `layer` on `h` (B, T, D) with an additive mask (B, 1, T, S)."""

    def rotary(self, h: Tensor, positions: Tensor) -> Rotary:
        """Rotary tables (cos, sin) for positions (B or 1, T); None where positions are learned."""
        return None

    def split_heads(self, x: Tensor, head_dim: int) -> Tensor:
        """(B, P, H*K) -> (B, H, P, K)."""
        return x.view(*x.shape[:-1], -1, head_dim).transpose(1, 2)


class FixedPrefix:
    """The cache of a single block call in training: prepends given keys and values, stores nothing.

    Attention modules call `update` once and use what it returns, so gradients flow into the prefix.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Return keys and values (B, H_kv, P + T, K)."""
        return torch.cat([self.keys, keys], dim=-2), torch.cat([self.values, values], dim=-2)
