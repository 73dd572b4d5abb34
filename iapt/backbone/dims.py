"""Sizes of a backbone and the logical names of the linear maps in one of its blocks.

A method needs nothing else to create its parameters, so parameter counts and configuration checks
need no weights.  Logical sites (Vaswani et al. 2017)::

    q k v o        attention projections          gate up down   feed-forward projections
    qkv            the fused projection of GPT-2 and GPT-NeoX (q, k, v are slices of its output)
    act            the feed-forward activation's output (not a linear map; used to rescale it)
"""

from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from iapt.configuration.checking import STRICT
from iapt.errors import BackboneError, ConfigError, closest

FamilyName = Literal["llama", "gpt2", "gpt_neox"]
# Far above any model's, yet small enough for tensors on the meta device.
Size = Annotated[int, Field(ge=1, le=2**24)]
FAMILIES: tuple[FamilyName, ...] = get_args(FamilyName)
PARTS = ("attn", "ffn")  # what a block adds to the residual stream


@dataclass(frozen=True, config=STRICT)
class Dims:
    """Sizes of one decoder backbone.

    Attributes:
        family: "llama", "gpt2" or "gpt_neox": which block structure it has.
        num_layers: number of blocks, L.
        hidden_size: width of the residual stream, d.
        ffn_size: inner width of the feed-forward part, f.
        num_heads: attention heads.
        num_kv_heads: key/value heads (fewer than `num_heads` under grouped-query attention).
        head_dim: width of one head.
        vocab_size: rows of the embedding table.
        max_positions: longest sequence the backbone can take, soft tokens included.
    """

    family: FamilyName
    num_layers: Annotated[int, Field(ge=1, le=1024)]
    hidden_size: Size
    ffn_size: Size
    num_heads: Size
    num_kv_heads: Size
    head_dim: Size
    vocab_size: Size
    max_positions: Size

    @model_validator(mode="after")
    def _fit_together(self) -> "Dims":
        """Refuse sizes that no model of the family can have."""
        heads, kv = self.num_heads, self.num_kv_heads
        if self.fused_qkv and kv != heads:
            raise ValueError(f"num_kv_heads={kv}: must be num_heads={heads} in {self.family}.")
        if heads % kv:
            raise ValueError(f"num_kv_heads={kv}: must divide num_heads={heads}.")
        if self.fused_qkv and heads * self.head_dim != self.hidden_size:
            raise ValueError(
                f"head_dim={self.head_dim}: times num_heads={heads}, it must equal hidden_size="
                f"{self.hidden_size} in {self.family}."
            )
        if self.family != "gpt2" and self.head_dim % 2:
            raise ValueError(f"head_dim={self.head_dim}: must be even, for rotary positions.")
        return self

    @property
    def fused_qkv(self) -> bool:
        """Whether q, k and v come out of one linear module."""
        return self.family != "llama"

    @property
    def gated(self) -> bool:
        """Whether the feed-forward part has a gate projection."""
        return self.family == "llama"

    @property
    def linears(self) -> tuple[str, ...]:
        """The linear modules of a block as they are stored, in forward order."""
        return ("qkv", "o", "up", "down") if self.fused_qkv else self.sites

    @property
    def num_weights(self) -> int:
        """Parameters of the blocks' linear maps and of the embedding table, without biases."""
        maps = sum(a * b for a, b in map(self.in_out, self.linears))
        return self.num_layers * maps + self.vocab_size * self.hidden_size

    @property
    def sites(self) -> tuple[str, ...]:
        """The logical linear maps of a block, in forward order."""
        return ("q", "k", "v", "o", *(("gate",) if self.gated else ()), "up", "down")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of a block that a method can change: its sites and, where a module has them, `qkv` and `act`."""
        return (*self.sites, *(("qkv", "act") if self.fused_qkv else ()))

    def check_place(self, layer: int, what: str = "", known: Sequence[str] = ("",)) -> None:
        """Refuse a block that there is not, or something that a block does not have.

        Args:
            layer: 0-based block.
            what: one of `known`: `outputs` or `PARTS`.
            known: the names that are allowed.

        Raises:
            BackboneError: naming what is allowed.
        """
        if layer not in range(self.num_layers):
            raise BackboneError(f"block {layer}: must be 0 to {self.num_layers - 1}.")
        if what not in known:
            raise BackboneError(
                f"block {layer}, {what!r}: a {self.family} block has {', '.join(known)} here."
                f"{closest(str(what), known)}"
            )

    def in_out(self, site: str) -> tuple[int, int]:
        """Return (input width, output width) of a linear site.

        Raises:
            ConfigError: if this family has no such site.
        """
        q, kv = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        widths = {
            "q": (self.hidden_size, q),
            "k": (self.hidden_size, kv),
            "v": (self.hidden_size, kv),
            "o": (q, self.hidden_size),
            "up": (self.hidden_size, self.ffn_size),
            "down": (self.ffn_size, self.hidden_size),
        }
        if self.gated:
            widths["gate"] = widths["up"]
        else:
            widths["qkv"] = (self.hidden_size, q + 2 * kv)
        if site not in widths:
            raise ConfigError(
                f"site {site!r}: a {self.family} block has {', '.join(widths)}.{closest(site, widths)}"
            )
        return widths[site]
