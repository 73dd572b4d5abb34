"""Adapters in the peft library's folder format: adapter_config.json and adapter_model.safetensors.

A method that peft also has says in `PeftCompatible.to_peft` what its tensors are called there; the
others are refused by name.  peft itself is not needed to write the folder.

Names of tensors are "base_model.model." and the module's path in the Hugging Face model.  Paths are
found by asking which module of the model is the one the backbone acts on, so no family is named.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.errors import AdapterError
from iapt.methods.base import Method

WRAPPED = "base_model.model."


class PeftCompatible(Method):
    """A method that the peft library has too."""

    def to_peft(self, backbone: Backbone) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The method as peft stores it: (its configuration, its tensors).

        Raises:
            AdapterError: peft cannot do the same on this backbone.
        """
        raise NotImplementedError(f"{type(self).__name__} must define to_peft(backbone).")


def save_peft(folder: Path, method: Method, backbone: Backbone, checkpoint: str) -> None:
    """Write a folder that ``peft.PeftModel.from_pretrained(model, folder)`` loads.

    Args:
        folder: made if missing; two files are written, each complete or not at all.
        method: trained.
        backbone: it was trained on.
        checkpoint: what peft should name as the base model.

    Raises:
        AdapterError: peft has no such method.
    """
    if not isinstance(method, PeftCompatible):
        raise AdapterError(
            f"{type(method).__name__} has no counterpart in peft; save it as an adapter of ours."
        )
    config, tensors = method.to_peft(backbone)
    config |= {"task_type": "CAUSAL_LM", "inference_mode": True}
    config |= {"base_model_name_or_path": checkpoint}
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "adapter_model.safetensors.partial"
    save_file(
        {name: t.detach().cpu().contiguous() for name, t in tensors.items()},
        partial,
        {"format": "pt"},
    )
    os.replace(partial, folder / "adapter_model.safetensors")
    partial = folder / "adapter_config.json.partial"
    partial.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, folder / "adapter_config.json")


def module_name(backbone: Backbone, layer: int, site: str) -> str:
    """What peft calls the module of a site, e.g. "base_model.model.model.layers.0.self_attn.q_proj"."""
    wanted = backbone.family.site(layer, site).module
    names = (name for name, module in backbone.model.named_modules() if module is wanted)
    return f"{WRAPPED}{next(names)}"


def targets(tensor_names: Iterable[str], depth: int) -> list[str]:
    """The modules that hold these tensors, each by parent and own name ("self_attn.q_proj").

    Args:
        tensor_names: of a peft adapter.
        depth: how many parts of a name are the tensor's rather than the module's.
    """
    return sorted({".".join(name.split(".")[-depth - 2 : -depth]) for name in tensor_names})


def stored_transposed(backbone: Backbone, site: str) -> bool:
    """Whether the model keeps a site's weight as (in, out); peft calls it fan_in_fan_out."""
    return not isinstance(backbone.family.site(0, site).module, nn.Linear)


def lora_config(
    backbone: Backbone, tensor_names: Iterable[str], rank: int, alpha: float
) -> dict[str, Any]:
    """The part of a LoRA adapter's configuration that follows from the method."""
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": targets(tensor_names, depth=2),
        "fan_in_fan_out": stored_transposed(backbone, "o"),
    }
