"""Sizes of a backbone and the logical names of the linear maps in one of its blocks.

Everything a method needs to create its parameters, so that parameter counts and configuration
checks need no weights.  Logical sites (methods.md 1.2 of our specification; Vaswani et al. 2017)::

    q k v o        attention projections          gate up down   feed-forward projections
    qkv            the fused projection of GPT-2 and GPT-NeoX (q, k, v are slices of its output)
    act            the feed-forward activation's output (not a linear map; used to rescale it)
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from iapt.errors import ConfigError, closest

FAMILIES = ("llama", "gpt2", "gpt_neox")


@dataclass(frozen=True)
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

    family: str
    num_layers: int
    hidden_size: int
    ffn_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    max_positions: int

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ConfigError(
                f"backbone.dims.family={self.family!r}: allowed are {', '.join(FAMILIES)}."
                f"{closest(self.family, FAMILIES)}"
            )
        for size in fields(self)[1:]:
            value = getattr(self, size.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(
                    f"backbone.dims.{size.name}={value!r}: must be a whole number >= 1."
                )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Dims":
        """Build from a configuration mapping; unknown and missing keys are refused by name."""
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise ConfigError(
                    f"backbone.dims.{key}: unknown; allowed are {', '.join(known)}.{closest(key, known)}"
                )
        missing = [f"backbone.dims.{key}" for key in known if key not in values]
        if missing:
            raise ConfigError(f"{', '.join(missing)}: missing; a backbone needs all its sizes.")
        return cls(**values)

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
    def sites(self) -> tuple[str, ...]:
        """The logical linear maps of a block, in forward order."""
        return (
            ("q", "k", "v", "o", "gate", "up", "down")
            if self.gated
            else ("q", "k", "v", "o", "up", "down")
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
