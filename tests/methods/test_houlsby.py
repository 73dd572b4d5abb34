"""Houlsby-Adapter: its two places in a block, its start, its size."""

import pytest
import torch
from torch.nn import functional as F

from iapt.backbone.dims import FAMILIES
from iapt.methods.adapter_drop import AdapterDrop
from iapt.methods.houlsby import Houlsby
from tests.methods import by_hand
from tests.methods.other_backbones import trained_on
from tests.methods.paper_sizes import active, counted, preset, served, trained
from tests.methods.refused import assert_refused
from tests.tiny import new_backbone, shared_backbone, tiny_dims


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_sit_behind_o_and_down_before_the_residual(family, bias):
    backbone = shared_backbone(family)
    method = by_hand.disturbed(Houlsby(backbone.dims, bottleneck_dim=3, bias=bias))

    def adapter(layer, part):
        a = method.blocks[str(layer)][part]
        biases = (a.down_bias, a.up_bias) if bias else (0, 0)
        return lambda x, y: y + F.gelu(y @ a.down.T + biases[0]) @ a.up.T + biases[1]

    hooks = [
        (by_hand.module(backbone, layer, site), adapter(layer, part))
        for layer in range(backbone.dims.num_layers)
        for site, part in (("o", "attn"), ("down", "ffn"))
    ]
    expected = by_hand.logits(backbone, hooks)
    torch.testing.assert_close(by_hand.own_logits(backbone, method), expected, atol=1e-5, rtol=0)


def test_a_fresh_method_is_near_the_bare_model_and_equals_it_where_the_upper_matrix_is_zero():
    backbone = new_backbone("llama")
    bare = by_hand.own_logits(backbone)
    torch.manual_seed(0)
    method = Houlsby(backbone.dims, bottleneck_dim=18)
    assert not method.neutral
    near = (by_hand.own_logits(backbone, method) - bare).abs().max()
    assert 0 < near < 0.05
    with torch.no_grad():
        for name, p in method.named_parameters():
            if name.endswith("up"):
                p.zero_()
    assert torch.equal(by_hand.own_logits(backbone, method), bare)


@pytest.mark.parametrize("build", [Houlsby, AdapterDrop])
@pytest.mark.parametrize(("numbers", "std"), [({}, 0.01), ({"init_std": 0.1}, 0.1)])
def test_both_matrices_start_truncated_normal_and_the_biases_at_zero(build, numbers, std):
    torch.manual_seed(0)
    method = build(tiny_dims("llama"), bottleneck_dim=200, bias=True, **numbers)
    for adapter in method.blocks["4"].values():
        for matrix in (adapter.down, adapter.up):
            assert 0.8 * std < matrix.std() < std  # cutting at two deviations takes 12 % off
            assert matrix.abs().max() <= 2 * std
        assert not adapter.down_bias.any()
        assert not adapter.up_bias.any()


def test_counts_are_the_papers():
    method = preset("houlsby")
    assert trained(method) == served(method) == active(method) == 9_437_184
    assert counted("houlsby") == 2 * 32 * 2 * 4096 * 18
    with_biases = preset("houlsby", bias=True)
    assert trained(with_biases) == 9_437_184 + 2 * 32 * (18 + 4096)  # 9.70M, not Table 1's
    assert counted("houlsby", bias=True) == 9_437_184
    assert trained_on("gpt2_large", "houlsby") == 2 * 36 * 2 * 1280 * 18 == 3_317_760
    assert trained_on("pythia_1b4", "houlsby") == 2 * 24 * 2 * 2048 * 18 == 3_538_944


def test_bad_numbers_are_named():
    assert_refused("houlsby", r"method\.bottleneck_dim=0", bottleneck_dim=0)
    assert_refused("houlsby", r"method\.bottleneck_dim=1000000000", bottleneck_dim=10**9)
    assert_refused("houlsby", r"method\.init_std=0", init_std=0)
