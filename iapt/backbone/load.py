"""A backbone's configuration, tokenizer and weights; loaded frozen, at a pinned revision."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import dataclasses as checked_dataclasses
from pydantic import model_validator

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.backbone.embedded import embedded_folder
from iapt.backbone.family import Family
from iapt.checking import STRICT, Name, Text, checked
from iapt.errors import BackboneError, ConfigError, closest

TINY_VOCAB = 259  # the byte tokenizer of `iapt.backbone.tiny`


@checked_dataclasses.dataclass(frozen=True, config=STRICT)
class BackboneConfig:
    """One entry of configs/backbone/.

    Attributes:
        name: the entry's name.
        kind: "embedded" (the wheel), "hub" (a hub id or a local folder) or "tiny" (random weights).
        checkpoint: hub id or folder, for kind "hub".
        revision: pinned commit, for hub ids.
        dims: sizes, so that everything can be checked before weights are touched; asserted on loading.
        template: system template with one `{query}` (Appendix D).
        bos: start every instruction with the tokenizer's BOS token.
        dtype: "auto" is bfloat16 on CUDA and float32 elsewhere.
        attn: attention implementation.
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

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "BackboneConfig":
        """Refuse a hub backbone without a checkpoint, and a tiny one without a row for every byte."""
        if self.kind == "hub" and self.checkpoint is None:
            raise ValueError("checkpoint=None: kind=hub needs a hub id or a folder.")
        if self.kind == "tiny" and self.dims.vocab_size < TINY_VOCAB:
            raise ValueError(
                f"dims.vocab_size={self.dims.vocab_size}: must be at least {TINY_VOCAB}, the tokens of "
                "kind=tiny."
            )
        return self

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "BackboneConfig":
        """Build from a configuration mapping.

        Raises:
            ConfigError: with every fault found.
        """
        return checked(cls, values, "backbone")

    def torch_dtype(self, device: torch.device) -> torch.dtype:
        """The dtype of the frozen weights on a device."""
        name = (
            self.dtype
            if self.dtype != "auto"
            else ("bfloat16" if device.type == "cuda" else "float32")
        )
        dtype = getattr(torch, name)
        assert isinstance(dtype, torch.dtype)
        return dtype


@dataclass(frozen=True)
class Loaded:
    """A backbone ready for a method, and what its row records."""

    backbone: Backbone
    revision: str
    fingerprint: str

    @property
    def dtype(self) -> str:
        """Name of the frozen weights' dtype, such as "float32"."""
        return str(self.backbone.model.dtype).removeprefix("torch.")


def family_of(model: Any) -> Family:
    """Wrap a Hugging Face causal LM in the family that knows its parts.

    Raises:
        BackboneError: an architecture we do not know.
    """
    from iapt.backbone.gpt2 import GPT2
    from iapt.backbone.gpt_neox import GPTNeoX
    from iapt.backbone.llama import Llama

    kind = model.config.model_type
    families = {
        "llama": Llama,
        "mistral": Llama,
        "qwen2": Llama,
        "qwen3": Llama,
        "gpt2": GPT2,
        "gpt_neox": GPTNeoX,
    }
    if kind not in families:
        raise BackboneError(
            f"backbone of type {kind!r} is not supported; supported are {', '.join(families)}.{closest(kind, families)}"
        )
    return families[kind](model)  # type: ignore[abstract]  # mypy loses the class union


def load_tokenizer(config: BackboneConfig) -> Any:
    """The backbone's tokenizer, with a pad token."""
    if config.kind == "tiny":
        from iapt.backbone.tiny import tiny_tokenizer

        return tiny_tokenizer()
    tokenizer = _from_pretrained("AutoTokenizer", config)
    if (
        tokenizer.pad_token_id is None
    ):  # LLaMA-2, GPT-2 and Pythia have none; pads are masked everywhere
        tokenizer.pad_token = tokenizer.eos_token
    if config.bos and tokenizer.bos_token_id is None:
        raise ConfigError(
            f"backbone.bos=true, but the tokenizer of {config.name} has no BOS token; set backbone.bos=false."
        )
    return tokenizer


def load_backbone(config: BackboneConfig, device: torch.device) -> Loaded:
    """Load and freeze a backbone.

    Raises:
        BackboneError: the checkpoint cannot be had, or its sizes are not the configured ones.
    """
    dtype = config.torch_dtype(device)
    if config.kind == "tiny":
        from iapt.backbone.tiny import tiny_model

        model = tiny_model(config.dims).to(dtype)
        model.config._attn_implementation = config.attn
        revision = "random"
    else:
        model = _from_pretrained(
            "AutoModelForCausalLM", config, dtype=dtype, attn_implementation=config.attn
        )
        revision = (
            embedded_folder()[1] if config.kind == "embedded" else (config.revision or "local")
        )
    backbone = Backbone(family_of(model.to(device)))
    if backbone.dims != config.dims:
        raise BackboneError(
            f"backbone.dims of {config.name} is {config.dims}, but the checkpoint has "
            f"{backbone.dims}; correct the YAML."
        )
    return Loaded(backbone, revision, fingerprint(model))


def fingerprint(model: torch.nn.Module) -> str:
    """16 hex digits over names, shapes, dtypes and the first 64 values of every tensor of a model."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.flatten()[:64].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _from_pretrained(auto: str, config: BackboneConfig, **options: Any) -> Any:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    where: dict[str, Any] = {
        "pretrained_model_name_or_path": config.checkpoint,
        "revision": config.revision or "main",
    }
    if config.kind == "embedded":
        where = {"pretrained_model_name_or_path": str(embedded_folder()[0])}
    try:
        return getattr(transformers, auto).from_pretrained(**where, **options)
    except OSError as error:
        raise BackboneError(
            f"backbone {config.name}: {config.checkpoint!r} (revision {config.revision}) cannot be loaded: "
            f"{str(error).splitlines()[0]} Gated checkpoints need `hf auth login`; offline, point "
            "backbone.checkpoint=<folder> at a local copy, or use backbone=smollm2_135m."
        ) from error
