"""Folding into the backbone's weights: the same logits, and every bit back afterwards."""

import pytest
import torch

from iapt.backbone.dims import FAMILIES
from iapt.errors import AdapterError
from iapt.methods.adalora import AdaLoRA
from iapt.methods.bitfit import BitFit
from iapt.methods.houlsby import Houlsby
from iapt.methods.ia3 import IA3
from iapt.methods.lora import LoRA
from iapt.methods.merge import Mergeable, merge, unmerge
from iapt.methods.ssp import SSP
from tests.methods import by_hand
from tests.tiny import new_backbone, tiny_dims


def searched_ssp(dims):
    method = SSP(dims, budget=0.5)
    method.end_search()
    return method


MERGEABLE = (LoRA, AdaLoRA, IA3, BitFit, searched_ssp)


@pytest.mark.parametrize("build", MERGEABLE)
@pytest.mark.parametrize("family", FAMILIES)
def test_merged_weights_give_the_attached_methods_logits_and_come_back(family, build):
    backbone = new_backbone(family)
    method = by_hand.disturbed(build(backbone.dims))
    assert isinstance(method, Mergeable)
    original = {k: v.clone() for k, v in backbone.model.state_dict().items()}
    attached = by_hand.own_logits(backbone, method)

    merge(method, backbone)
    merged = by_hand.own_logits(backbone)
    torch.testing.assert_close(merged, attached, atol=1e-4, rtol=0)
    torch.testing.assert_close(by_hand.logits(backbone), attached, atol=1e-4, rtol=0)
    merge(method, backbone)
    assert torch.equal(by_hand.own_logits(backbone), merged)
    assert not any(p.requires_grad for p in backbone.model.parameters())

    unmerge(method, backbone)
    after = backbone.model.state_dict()
    assert after.keys() == original.keys()
    assert all(torch.equal(after[k], v) for k, v in original.items())
    # Not to the bit: a product's rounding depends on where in memory its weights lie.
    torch.testing.assert_close(by_hand.own_logits(backbone), attached, atol=1e-5, rtol=0)


def test_an_update_is_added_in_fp32_and_rounded_once():
    backbone = new_backbone("llama", dtype=torch.bfloat16)
    method = by_hand.disturbed(LoRA(backbone.dims))
    expected = {
        (layer, site): by_hand.module(backbone, layer, site).weight.float()
        + delta.change_of_weight().T
        for layer, site, delta in method.blocks.each()
    }
    merge(method, backbone)
    for (layer, site), exact in expected.items():
        weight = by_hand.module(backbone, layer, site).weight
        torch.testing.assert_close(weight.float(), exact, atol=1e-6, rtol=2**-8)


@pytest.mark.parametrize("build", [LoRA, AdaLoRA, IA3])
def test_a_method_without_biases_adds_none(build):
    backbone = new_backbone("llama")
    names = backbone.model.state_dict().keys()
    merge(by_hand.disturbed(build(backbone.dims)), backbone)
    assert backbone.model.state_dict().keys() == names


def test_unmerging_a_bf16_backbone_restores_every_bit():
    backbone = new_backbone("llama", dtype=torch.bfloat16)
    original = {k: v.clone() for k, v in backbone.model.state_dict().items()}
    method = by_hand.disturbed(LoRA(backbone.dims))
    merge(method, backbone)
    assert {v.dtype for v in backbone.model.state_dict().values()} == {torch.bfloat16}
    unmerge(method, backbone)
    assert all(torch.equal(backbone.model.state_dict()[k], v) for k, v in original.items())


def test_values_that_are_not_finite_are_refused_and_nothing_stays_changed():
    backbone = new_backbone("gpt2")
    original = {k: v.clone() for k, v in backbone.model.state_dict().items()}
    method = BitFit(backbone.dims)
    with torch.no_grad():
        method.blocks[0]["q"].projection.fill_(1.0)  # merged before the broken one is found
        method.blocks[3]["down"].projection[0, 0] = torch.nan
    with pytest.raises(AdapterError, match=r"BitFit: merging block 3, 'down' gives values"):
        merge(method, backbone)
    assert all(torch.equal(backbone.model.state_dict()[k], v) for k, v in original.items())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_update_of_a_weight_that_is_not_finite_is_refused(value):
    backbone = new_backbone("llama")
    method = by_hand.disturbed(LoRA(backbone.dims))
    with torch.no_grad():
        method.blocks.at(2, "v").lora_B[0, 0] = value
    with pytest.raises(AdapterError, match=r"LoRA: merging block 2, 'v' gives values"):
        merge(method, backbone)


def test_values_that_the_weights_dtype_cannot_hold_are_refused():
    backbone = new_backbone("llama", dtype=torch.float16)
    method = BitFit(backbone.dims)
    with torch.no_grad():
        method.blocks[3]["down"].latent.fill_(1.0)
        method.blocks[3]["down"].projection.fill_(1e5)  # finite in float32
    with pytest.raises(AdapterError, match=r"block 3, 'down' gives .* not finite in float16"):
        merge(method, backbone)


def test_methods_that_cannot_be_merged_say_so_by_name():
    backbone = new_backbone("llama")
    method = Houlsby(backbone.dims)
    assert not isinstance(method, Mergeable)
    with pytest.raises(
        AdapterError, match=r"Houlsby cannot be merged: its class does not define .* \(no fold\)"
    ):
        merge(method, backbone)
    with pytest.raises(AdapterError, match="Houlsby cannot be merged"):
        unmerge(method, backbone)
    unsearched = SSP(tiny_dims("llama"))
    with pytest.raises(AdapterError, match="SSP cannot be merged before its search"):
        merge(unsearched, backbone)


def test_a_second_backbone_is_refused_while_merged():
    first, second = new_backbone("llama"), new_backbone("llama")
    method = by_hand.disturbed(LoRA(first.dims))
    merge(method, first)
    with pytest.raises(AdapterError, match="merged into another backbone"):
        merge(method, second)
    with pytest.raises(AdapterError, match="not merged into this backbone"):
        unmerge(method, second)
