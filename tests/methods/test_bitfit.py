"""BitFit: a bias on every projection, from a latent."""

import pytest
import torch

from iapt.backbone.dims import FAMILIES
from iapt.methods.bitfit import BitFit
from tests.methods import by_hand
from tests.methods.other_backbones import trained_on
from tests.methods.paper_sizes import active, counted, preset, served, trained
from tests.methods.refused import assert_refused
from tests.tiny import shared_backbone


@pytest.mark.parametrize("family", FAMILIES)
def test_every_projections_output_is_shifted_by_its_own_bias(family):
    backbone = shared_backbone(family)
    method = by_hand.disturbed(BitFit(backbone.dims, latent_dim=3))
    hooks = []
    for layer, sites in enumerate(method.blocks):
        assert set(sites) == set(backbone.dims.sites)
        fused = torch.zeros(3 * 32)
        for site, vector in sites.items():
            bias = (vector.latent @ vector.projection)[0].detach()
            if site in "qkv" and family != "llama":
                fused[by_hand.columns(family, site)] = bias
            else:
                hooks.append((by_hand.module(backbone, layer, site), lambda x, y, b=bias: y + b))
        if family != "llama":
            hooks.append((by_hand.module(backbone, layer, "qkv"), lambda x, y, b=fused: y + b))
    expected = by_hand.logits(backbone, hooks)
    torch.testing.assert_close(by_hand.own_logits(backbone, method), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])
def test_a_bias_on_q_leaves_k_and_v_bit_identical(family):
    backbone = shared_backbone(family)
    backbone.detach()
    method = BitFit(backbone.dims)
    with torch.no_grad():
        method.blocks[0]["q"].projection.fill_(1.0)
    x, fused = torch.randn(2, 3, 32), by_hand.module(backbone, 0, "qkv")
    bare = fused(x)
    method.attach(backbone)
    changed = backbone._act(fused, x, bare)
    for site in "kv":
        columns = by_hand.columns(family, site)
        assert torch.equal(changed[..., columns], bare[..., columns])
    q = by_hand.columns(family, "q")
    moved = method.blocks[0]["q"].latent.sum()
    torch.testing.assert_close(changed[..., q], bare[..., q] + moved)


def test_a_fresh_method_is_neutral():
    backbone = shared_backbone("llama")
    backbone.detach()
    bare = by_hand.own_logits(backbone)
    assert BitFit(backbone.dims).neutral
    torch.testing.assert_close(
        by_hand.own_logits(backbone, BitFit(backbone.dims)), bare, atol=1e-5, rtol=0
    )


def test_counts_are_the_papers():
    method = preset("bitfit")
    assert trained(method) == served(method) == active(method)
    assert trained(method) == 10_878_976 + 1_792
    assert counted("bitfit") == 8 * 32 * 42_496 == 10_878_976
    gpt2 = 8 * 36 * (4 * 1280 + 5120 + 1280)
    assert trained_on("gpt2_large", "bitfit") == gpt2 + 36 * 6 * 8
    pythia = 8 * 24 * (4 * 2048 + 8192 + 2048)
    assert trained_on("pythia_1b4", "bitfit") == pythia + 24 * 6 * 8


def test_bad_numbers_are_named():
    assert_refused("bitfit", r"method\.latent_dim=0", latent_dim=0)
