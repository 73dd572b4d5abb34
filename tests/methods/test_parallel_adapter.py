"""Parallel-Adapter: beside the whole block, once, on the normalised or the raw input."""

import pytest
import torch
from torch.nn import functional as F

from iapt.backbone.dims import FAMILIES
from iapt.errors import ConfigError
from iapt.methods.parallel_adapter import ParallelAdapter
from tests.methods import by_hand
from tests.methods.other_backbones import trained_on
from tests.methods.paper_sizes import active, counted, preset, served, trained
from tests.methods.refused import assert_refused
from tests.tiny import shared_backbone, tiny_dims


@pytest.mark.parametrize("source", ["ln1", "raw"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_scaled_relu_bottleneck_of_the_blocks_input_is_added_to_its_output(family, source):
    backbone = shared_backbone(family)
    method = ParallelAdapter(backbone.dims, bottleneck_dim=3, scale=2.5, input=source)
    by_hand.disturbed(method)

    def beside(layer):
        a = method.blocks[layer]
        norm = by_hand.module(backbone, layer, "ln1") if source == "ln1" else lambda h: h
        return lambda h, y: y + 2.5 * torch.relu(norm(h) @ a.down.T) @ a.up.T

    layers = range(backbone.dims.num_layers)
    hooks = [(by_hand.module(backbone, layer, ""), beside(layer)) for layer in layers]
    expected = by_hand.logits(backbone, hooks)
    torch.testing.assert_close(by_hand.own_logits(backbone, method), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("bias", [False, True])
def test_a_fresh_method_is_exactly_neutral_although_its_lower_matrix_is_not_zero(bias):
    backbone = shared_backbone("gpt_neox")
    backbone.detach()
    bare = by_hand.own_logits(backbone)
    method = ParallelAdapter(backbone.dims, bias=bias)
    assert method.neutral
    assert method.blocks[0].down.abs().min() > 0
    assert torch.equal(by_hand.own_logits(backbone, method), bare)


def test_dropout_acts_on_the_bottleneck_in_training_only(monkeypatch):
    torch.manual_seed(0)
    method = by_hand.disturbed(ParallelAdapter(tiny_dims("llama"), dropout=0.5))
    adapter, x = method.blocks[0], torch.randn(1, 4, 32)
    assert torch.equal(adapter(x), adapter(x))
    adapter.train()
    assert not torch.equal(adapter(x), adapter(x))
    dropped = []
    monkeypatch.setattr(F, "dropout", lambda z, p, training: dropped.append((z, p)) or z)
    adapter(x)
    ((z, p),) = dropped
    assert p == 0.5
    torch.testing.assert_close(z, torch.relu(x @ adapter.down.T))


def test_the_lower_matrix_starts_uniform_within_the_root_of_its_width():
    torch.manual_seed(0)
    for block in ParallelAdapter(tiny_dims("llama"), bottleneck_dim=200).blocks:
        bound = 32**-0.5
        assert 0.99 * bound < block.down.abs().max() <= bound
        assert block.down.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)


def test_counts_are_the_papers():
    method = preset("parallel_adapter")
    assert trained(method) == served(method) == active(method) == 9_437_184
    assert counted("parallel_adapter") == 32 * 2 * 4096 * 36
    assert trained(preset("parallel_adapter", bias=True)) == 9_437_184 + 32 * (36 + 4096)
    assert trained_on("gpt2_large", "parallel_adapter") == 36 * 2 * 1280 * 36
    assert trained_on("pythia_1b4", "parallel_adapter") == 24 * 2 * 2048 * 36


def test_bad_numbers_are_named():
    with pytest.raises(ConfigError, match=r"method\.input='ln2': allowed are ln1, raw"):
        ParallelAdapter(tiny_dims("llama"), input="ln2")
    assert_refused("parallel_adapter", r"method\.dropout=1", dropout=1)
    assert_refused("parallel_adapter", r"method\.input='ln2': allowed are ln1, raw", input="ln2")
