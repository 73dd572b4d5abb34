"""LoRA against the peft library: the same tensors give the same logits and gradients."""

import math
import warnings

import pytest
import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.dims import FAMILIES
from iapt.errors import ConfigError
from iapt.methods.lora import LoRA
from tests.methods.refused import assert_refused
from tests.peft_twin import peft_twin
from tests.tiny import data, encoded, new_backbone, padded, shared_backbone, tiny_dims

ROWS = [e.instruction + e.response for e in encoded()]


def trained_lora(backbone: Backbone, **numbers: float) -> LoRA:
    torch.manual_seed(2)
    method = LoRA(backbone.dims, **numbers)  # type: ignore[arg-type]
    with torch.no_grad():
        for p in method.parameters():
            p.copy_(0.2 * torch.randn_like(p))
    return method


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_gradients_are_pefts(family: str):
    backbone = shared_backbone(family)
    backbone.detach()
    method = trained_lora(backbone)
    model, pairs = peft_twin(new_backbone(family).model, method)
    ids, mask = padded(ROWS)
    method.attach(backbone)
    logits = backbone(ids, mask)
    backbone.detach()
    expected = model(input_ids=ids, attention_mask=mask.long()).logits
    assert float((logits - expected).detach()[mask].abs().max()) < 1e-5
    for out in (logits, expected):
        out[mask].logsumexp(-1).sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert len(pairs) == len(trained) == len(list(method.parameters()))
    for own, theirs in pairs:
        assert _relative(own.grad, theirs.grad) < 1e-5


def _relative(a: Tensor | None, b: Tensor | None) -> float:
    assert a is not None
    assert b is not None
    return float((a - b).abs().max()) / max(1.0, float(b.abs().max()))


def test_dropout_acts_in_training_only():
    backbone = new_backbone("llama")
    method = trained_lora(backbone, dropout=0.5)
    method.attach(backbone)
    batch = data().batch([0, 1])
    with torch.no_grad():
        method.eval()
        still = [backbone(batch.input_ids, batch.attention_mask) for _ in range(2)]
        method.train()
        moving = [backbone(batch.input_ids, batch.attention_mask) for _ in range(2)]
    assert torch.equal(*still)
    assert not torch.equal(*moving)


def test_the_start_is_pefts():
    """A is Kaiming-uniform with a = sqrt(5), which is U(-1/sqrt(in), 1/sqrt(in)); B is zero."""
    torch.manual_seed(0)
    method = LoRA(tiny_dims("llama"), rank=8)
    for _, site, delta in method.blocks.each():
        bound = tiny_dims("llama").in_out(site)[0] ** -0.5
        assert 0.8 * bound < float(delta.lora_A.detach().abs().max()) <= bound
        assert not delta.lora_B.any()
        assert delta.scaling == 1.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("rank", rank) for rank in (0, 33, 100_000)],
        *[("dropout", dropout) for dropout in (1.0, -0.1)],
        *[("alpha", alpha) for alpha in (0, -8.0, math.nan, math.inf)],
    ],
)
def test_a_wrong_number_is_named(field: str, value: float):
    assert_refused("lora", rf"(?i)method\.{field}={value}", **{field: value})


@pytest.mark.parametrize("rank", [0, 33])
def test_a_rank_that_no_map_can_have_is_refused_without_a_configuration_too(rank: int):
    with pytest.raises(ConfigError, match=rf"method\.rank={rank}: must be from 1 to 32"):
        LoRA(tiny_dims("llama"), rank=rank)
    LoRA(tiny_dims("llama"), rank=32)


def test_no_warning_is_raised_by_building_and_attaching():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained_lora(shared_backbone("gpt2")).attach(shared_backbone("gpt2"))
    shared_backbone("gpt2").detach()
