"""(IA)^3: queries, keys and inner feed-forward states, rescaled."""

import pytest
import torch

from iapt.backbone.dims import FAMILIES
from iapt.methods.ia3 import IA3
from tests.methods import by_hand
from tests.methods.other_backbones import trained_on
from tests.methods.paper_sizes import active, counted, preset, served, trained
from tests.methods.refused import assert_refused
from tests.tiny import shared_backbone, tiny_dims


def scales(method, layer, site):
    vector = method.blocks[layer][site]
    return 1 + (vector.latent @ vector.projection)[0].detach()


@pytest.mark.parametrize("family", FAMILIES)
def test_q_k_and_the_inner_state_are_rescaled(family):
    backbone = shared_backbone(family)
    method = by_hand.disturbed(IA3(backbone.dims, latent_dim=3))
    hooks = []

    def times(layer, site, factors):
        hooks.append((by_hand.module(backbone, layer, site), lambda x, y: y * factors))

    for layer in range(backbone.dims.num_layers):
        q, k = scales(method, layer, "q"), scales(method, layer, "k")
        if family == "llama":
            times(layer, "q", q)
            times(layer, "k", k)
            times(layer, "up", scales(method, layer, "up"))
        else:
            fused = torch.ones(3 * 32)
            fused[by_hand.columns(family, "q")] = q
            fused[by_hand.columns(family, "k")] = k
            times(layer, "qkv", fused)
            times(layer, "act", scales(method, layer, "act"))
    expected = by_hand.logits(backbone, hooks)
    torch.testing.assert_close(by_hand.own_logits(backbone, method), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])
def test_rescaling_q_leaves_k_and_v_bit_identical(family):
    backbone = shared_backbone(family)
    backbone.detach()
    method = IA3(backbone.dims)
    with torch.no_grad():
        method.blocks[0]["q"].projection.fill_(1.0)
    x, fused = torch.randn(2, 3, 32), by_hand.module(backbone, 0, "qkv")
    bare = fused(x)
    method.attach(backbone)
    changed = backbone._act(fused, x, bare)
    for site in "kv":
        columns = by_hand.columns(family, site)
        assert torch.equal(changed[..., columns], bare[..., columns])
    assert not torch.equal(changed, bare)


def test_a_fresh_method_is_exactly_neutral():
    backbone = shared_backbone("gpt2")
    backbone.detach()
    bare = by_hand.own_logits(backbone)
    assert IA3(backbone.dims).neutral
    assert torch.equal(by_hand.own_logits(backbone, IA3(backbone.dims)), bare)


def test_counts_are_the_papers():
    method = preset("ia3")
    assert trained(method) == served(method) == active(method)
    assert trained(method) == 9_830_400 + 1_536
    assert counted("ia3") == 16 * 32 * (4096 + 4096 + 11008) == 9_830_400
    assert trained_on("gpt2_large", "ia3") == 16 * 36 * (2 * 1280 + 5120) + 36 * 3 * 16
    assert trained_on("pythia_1b4", "ia3") == 16 * 24 * (2 * 2048 + 8192) + 24 * 3 * 16


def test_a_factor_too_small_for_bf16_still_scales_a_bf16_activation():
    method = IA3(tiny_dims("llama"), latent_dim=1)
    offset = method.blocks.at(0, "q")
    with torch.no_grad():
        offset.latent.fill_(1.0)
        offset.projection.fill_(3e-3)  # 1.003 is 1 in bf16, whose next number is 1.0078
    y = torch.linspace(-2, 2, 5 * 32).reshape(1, 5, 32).bfloat16()
    scaled = method.rescale(offset, y, y)
    assert scaled.dtype == torch.bfloat16
    assert torch.equal(scaled, (y.float() * 1.003).bfloat16())
    assert not torch.equal(scaled, y)


def test_bad_numbers_are_named():
    assert_refused("ia3", r"method\.latent_dim=0", latent_dim=0)
