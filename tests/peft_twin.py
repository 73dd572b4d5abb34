"""The peft library's LoRA with the tensors of ours."""

import warnings
from typing import Any

import torch
from torch import nn

from iapt.methods.lora import LoRA

PATHS = {
    "llama": "model.layers.{}.",
    "gpt2": "transformer.h.{}.",
    "gpt_neox": "gpt_neox.layers.{}.",
}
SITES = {
    "llama": {
        **{s: f"self_attn.{s}_proj" for s in "qkvo"},
        **{s: f"mlp.{s}_proj" for s in ("gate", "up", "down")},
    },
    "gpt2": {"qkv": "attn.c_attn", "o": "attn.c_proj", "up": "mlp.c_fc", "down": "mlp.c_proj"},
    "gpt_neox": {
        "qkv": "attention.query_key_value",
        "o": "attention.dense",
        "up": "mlp.dense_h_to_4h",
        "down": "mlp.dense_4h_to_h",
    },
}


def peft_twin(
    model: Any, method: LoRA, rank: int = 4, alpha: int = 8
) -> tuple[nn.Module, list[tuple[nn.Parameter, nn.Parameter]]]:
    """Wrap a Hugging Face model by peft and copy the method's tensors into it.

    Returns:
        The peft model in eval mode, and (our parameter, peft's) for every trained tensor.
    """
    from peft import LoraConfig, get_peft_model

    family = model.config.model_type
    names = {site: name.rsplit(".", 1)[-1] for site, name in SITES[family].items()}
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=sorted(set(names.values())),
        fan_in_fan_out=family == "gpt2",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():  # it asks transformers for a name that is on its way out
        warnings.simplefilter("ignore", FutureWarning)
        wrapped = get_peft_model(model, config).eval()
    pairs = []
    for layer, site, delta in method.blocks.each():
        path = "base_model.model." + PATHS[family].format(layer) + SITES[family][site]
        theirs = wrapped.get_submodule(path)
        for ours, name in ((delta.lora_A, "lora_A"), (delta.lora_B, "lora_B")):
            weight = getattr(theirs, name)["default"].weight
            with torch.no_grad():
                weight.copy_(ours)
            pairs.append((ours, weight))
    return wrapped, pairs
