"""Quantised tiny backbones, and the same weights as plain numbers: the oracle of what is computed with them."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers.utils import import_utils

from iapt.backbone.base import Backbone
from iapt.backbone.load import family_of
from iapt.backbone.quantized import LIBRARY, loading_options, reloaded, settled
from tests.tiny import new_backbone

CPU = torch.device("cpu")
THERE = {
    kind: getattr(import_utils, f"is_{library}_available")()
    and import_utils.is_accelerate_available()
    for kind, library in LIBRARY.items()
}
KINDS = [
    pytest.param(
        kind,
        marks=pytest.mark.skipif(
            not THERE[kind], reason=f"{library}, which makes {kind}, is not installed"
        ),
    )
    for kind, library in LIBRARY.items()
]


def quantized(family: str, kind: Any, dtype: torch.dtype = torch.float32) -> Backbone:
    model = new_backbone(family, dtype=dtype).model
    made = reloaded(model, loading_options(kind, dtype, CPU))
    made.config._attn_implementation = "sdpa"
    return Backbone(family_of(settled(made)))


def plain(family: str, kind: Any) -> Backbone:
    """The numbers that the quantised weights stand for, in plain maps."""
    backbone = quantized(family, kind)
    for path, module in list(backbone.model.named_modules()):
        if stored_in(module):
            weight = _numbers(module.weight)
            twin = nn.Linear(weight.shape[1], weight.shape[0], bias=module.bias is not None)
            twin.weight, twin.bias = nn.Parameter(weight), module.bias
            owner, _, name = path.rpartition(".")
            setattr(backbone.model.get_submodule(owner), name, twin)
    return Backbone(backbone.family)


def stored_in(module: nn.Module) -> str:
    """What a map's weight is stored in: "int8", "nf4", or nothing special."""
    kinds = {"Int8Tensor": "int8", "Params4bit": "nf4"}
    return kinds.get(type(getattr(module, "weight", None)).__name__, "")


def _numbers(weight: Any) -> torch.Tensor:
    if hasattr(weight, "quant_state"):
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(weight.data, weight.quant_state)
    return weight.dequantize()
