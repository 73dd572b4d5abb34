"""A device gives what the CPU gives, in float32: logits, decoded tokens, tenants."""

import pytest
import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.tenants import SharedBackbone
from iapt.methods.iapt import IAPT
from tests.gpu.on_devices import (
    CASES,
    CUDA,
    DEVICES,
    METHODS,
    STAND_IN,
    backbone_on,
    decoded,
    method_on,
)
from tests.tiny import encoded, padded

ATOL = 1e-4


def logits(backbone: Backbone, side: str) -> Tensor:
    texts = encoded()
    ids, mask = padded([t.instruction + t.response for t in texts], side)
    sizes = torch.tensor([len(t.instruction) for t in texts])[:, None]
    batch = (ids, mask, mask & (mask.cumsum(1) <= sizes))
    with torch.no_grad():
        return backbone(*(t.to(backbone.device) for t in batch))[mask.to(backbone.device)].cpu()


@pytest.mark.parametrize(("device", "family", "name"), CASES, indirect=["device"])
def test_a_method_gives_the_cpus_logits_and_tokens(device: str, family: str, name: str) -> None:
    here, there = backbone_on("cpu", family), backbone_on(device, family)
    for backbone in (here, there):
        method_on(backbone, name).attach(backbone)
    for side in ("left", "right"):
        torch.testing.assert_close(logits(there, side), logits(here, side), atol=ATOL, rtol=0)
    for beams in (1, 3):
        assert decoded(there, beams) == decoded(here, beams)
        assert decoded(there, beams, recorded=True) == decoded(here, beams), "replayed graphs"


@pytest.mark.parametrize("device", DEVICES, indirect=True)
def test_a_method_starts_from_the_same_text(device: str) -> None:
    found = []
    for where in ("cpu", device):
        backbone = backbone_on(where)
        torch.manual_seed(0)
        method = IAPT(backbone.dims, bottleneck_dim=8, extension_base_text="four words of text")
        method.to(backbone.device).start(backbone, lambda _: [5, 6, 7, 8])
        found.append([p.detach().cpu() for p in method.parameters()])
    torch.testing.assert_close(found[1], found[0], atol=ATOL, rtol=0)


@pytest.mark.parametrize(
    ("device", "methods"),
    [
        pytest.param("stand-in", METHODS[::4], marks=STAND_IN),
        pytest.param("stand-in", METHODS, marks=[STAND_IN, pytest.mark.slow]),
        pytest.param("cuda", METHODS, marks=CUDA),
    ],
    indirect=["device"],
    ids=["stand-in-some", "stand-in", "cuda"],
)
def test_tenants_of_every_method_give_the_cpus_tokens(device: str, methods: list[str]) -> None:
    found = []
    for where in ("cpu", device):
        backbone = backbone_on(where)
        shared = SharedBackbone(backbone)
        names = [None, *(f"{name}{seed}" for name in methods for seed in (0, 1))]
        for name in methods:
            for seed in (0, 1):
                shared.add(f"{name}{seed}", method_on(backbone, name, seed))
        rows = (names * 2)[: 4 * (2 * len(names) // 4)]
        with shared.rows(rows):
            repeat = len(rows) // 4
            found.append([decoded(shared, beams, repeat) for beams in (1, 3)])
            found.append([decoded(shared, beams, repeat, recorded=True) for beams in (1, 3)])
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize("device", DEVICES, indirect=True)
def test_a_bare_backbone_of_every_dtype_decodes(device: str) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        out = decoded(backbone_on(device, dtype=dtype), 3)
        assert len(out) == len(encoded())
