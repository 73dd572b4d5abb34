"""Where the tests of this folder run: on a GPU (`make gpu-test`), and without one on a stand-in for it."""

from collections.abc import Sequence
from functools import cache

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from iapt.backbone.base import Backbone
from iapt.backbone.dims import FAMILIES
from iapt.cli.overrides import CONFIG_DIR, groups
from iapt.entries import build_method
from iapt.inference.generate import decode_batch
from iapt.methods.base import Method
from tests.tiny import EOS, PAD, encoded, new_backbone, padded

METHODS = groups()["method"]
CUDA = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason=f"torch {torch.__version__} sees no CUDA device"
    ),
]
STAND_IN = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
DEVICES = [pytest.param("stand-in", marks=STAND_IN), pytest.param("cuda", marks=CUDA)]
# Every method on every family; without a GPU, the families in turn, and all of them among the slow tests.
CASES = [
    pytest.param(
        device,
        family,
        name,
        marks=[STAND_IN, *([] if turn % 3 == i else [pytest.mark.slow])]
        if device == "stand-in"
        else CUDA,
    )
    for device in ("stand-in", "cuda")
    for i, family in enumerate(FAMILIES)
    for turn, name in enumerate(METHODS)
]


@cache
def _entry(name: str) -> dict:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = compose("config", overrides=[f"method={name}"])
    return OmegaConf.to_container(config.method, resolve=True)


def backbone_on(device: str, family: str = "llama", dtype: torch.dtype = torch.float32) -> Backbone:
    """The same weights on any device."""
    backbone = new_backbone(family, dtype=dtype)
    backbone.model.to(device)
    return backbone


def method_on(backbone: Backbone, name: str, seed: int = 0) -> Method:
    """The same parameters on any device, large enough to show; not attached."""
    torch.manual_seed(seed)
    method = build_method(_entry(name), backbone.dims).eval()
    with torch.no_grad():
        for p in method.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return method.to(backbone.device)


def decoded(
    backbone: Backbone,
    beams: int,
    repeat: int = 1,
    recorded: bool = False,
    most: int = 6,
    least: int | None = None,
) -> Sequence[Sequence[int]]:
    """The tokens that follow some instructions, each of which is repeated so often."""
    ids, mask = padded([t.instruction for t in encoded()] * repeat, "left")
    out = decode_batch(
        backbone,
        ids.to(backbone.device),
        mask.to(backbone.device),
        num_beams=beams,
        max_new_tokens=most,
        min_new_tokens=least,
        eos_token_id=EOS,
        pad_token_id=PAD,
        recorded=recorded,
    )
    return out.tolist()
