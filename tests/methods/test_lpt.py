"""LPT: a prompt concatenated at the middle block, from segment means of the instruction."""

import pytest
import torch
from torch.nn import functional as F

from iapt.backbone.dims import FAMILIES
from iapt.methods.lpt import LPT
from iapt.methods.pooling import segment_means, segment_weights
from tests.methods.blocks_by_hand import run_blocks
from tests.methods.other_backbones import trained_on
from tests.methods.paper_sizes import active, counted, preset, trained
from tests.methods.refused import assert_refused
from tests.tiny import encoded, new_backbone, shared_backbone, tiny_dims

P = 3


def attached(family="llama", backbone=None, **numbers):
    torch.manual_seed(1)
    backbone = backbone or shared_backbone(family)
    backbone.detach()
    method = LPT(backbone.dims, prompt_len=P, bottleneck_dim=7, **numbers).eval()
    with torch.no_grad():
        for p in method.parameters():
            p.mul_(3)
    method.attach(backbone)
    return backbone, method


def test_counts_are_the_papers():
    method = preset("lpt")
    assert method.layer == 16
    assert trained(method) == counted("lpt") == 2 * 4096 * 1024 == 8_388_608
    with_biases = preset("lpt", bias=True)
    assert trained(with_biases) == 8_393_728
    assert counted("lpt", bias=True) == 8_388_608
    assert active(method) == 0
    assert method.soft_tokens == 4


@pytest.mark.parametrize(
    ("backbone", "size"), [("gpt2_large", 2_621_440), ("pythia_1b4", 4_194_304)]
)
def test_counts_on_the_other_backbones(backbone, size):
    assert trained_on(backbone, "lpt") == size


@pytest.mark.parametrize("segments", [1, 2, 3, 4])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 11])
def test_segments_are_torchs_adaptive_pooling_of_all_n_tokens(n, segments):
    h = torch.randn(2, 14, 6)
    mask = torch.zeros(2, 14, dtype=torch.bool)
    mask[0, :n] = mask[1, 2 : 2 + n] = True
    means = segment_means(h, mask, segments)
    for row in range(2):
        text = h[row][mask[row]]
        expected = F.adaptive_avg_pool1d(text.T[None], segments)[0].T
        torch.testing.assert_close(means[row], expected)
    assert torch.equal(segment_weights(mask, segments) > 0, segment_weights(mask, segments) != 0)
    assert not segment_weights(mask, segments)[~mask].any()


@pytest.mark.parametrize("bias", [False, True])
def test_the_prompt_is_the_pooled_down_projection_through_relu_and_up(bias):
    _, method = attached(bias=bias)
    down, up = torch.nn.Linear(32, 7, bias=bias), torch.nn.Linear(7, 32, bias=bias)
    down.weight, up.weight = method.generator.down, method.generator.up
    if bias:
        down.bias, up.bias = method.generator.down_bias, method.generator.up_bias
    h = torch.randn(1, 9, 32)
    literal = up(F.adaptive_avg_pool1d(down(h[:, :6]).transpose(1, 2), P).transpose(1, 2).relu())
    mask = torch.arange(9)[None] < 6
    torch.testing.assert_close(method.soft_prompt(h, mask), literal)


def test_fresh_matrices_follow_torchs_rule_for_linear_maps():
    method = LPT(tiny_dims("llama"), bottleneck_dim=1024, bias=True)
    for p, fan_in in (
        *((p, 32) for p in (method.generator.down, method.generator.down_bias)),
        *((p, 1024) for p in (method.generator.up, method.generator.up_bias)),
    ):
        bound = fan_in**-0.5
        assert 0.8 * bound < float(p.detach().abs().max()) <= bound


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layer", [None, 0, 4])
def test_logits_are_those_of_a_literal_concatenation_at_the_block(family, layer):
    backbone, method = attached(family, layer=layer)
    for text in encoded():
        n, ids = len(text.instruction), torch.tensor([text.instruction + text.response])
        instruction = torch.arange(ids.shape[1])[None] < n
        with torch.no_grad():
            ours = backbone(ids, None, instruction)
            h = run_blocks(backbone, backbone.family.embed(ids, torch.arange(ids.shape[1])[None]),
                           range(method.layer))  # fmt: skip
            h = torch.cat([method.soft_prompt(h, instruction), h], 1)
            h = run_blocks(backbone, h, range(method.layer, 5))
            literal = backbone.model.lm_head(backbone.family.final_norm(h[:, P:]))
        torch.testing.assert_close(ours, literal, atol=1e-5, rtol=0)


def test_blocks_below_the_prompt_get_no_backward_pass():
    backbone, method = attached(backbone=new_backbone("llama"))
    assert method.layer == 2
    grads = []

    def note(h: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        grads.append(out.requires_grad)
        return out

    for layer in range(backbone.dims.num_layers):
        backbone.on_block(layer, note)
    ids = torch.tensor([encoded()[0].instruction])
    backbone(ids).sum().backward()
    assert grads == [False, False, True, True, True]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"prompt_len": 0}, "method.prompt_len=0"),
        ({"bottleneck_dim": 0}, "method.bottleneck_dim=0"),
        ({"layer": 5}, "method.layer=5: the backbone's blocks are 0 to 4"),
        ({"layer": -1}, "method.layer=-1"),
    ],
)
def test_impossible_numbers_are_named(numbers, message):
    assert_refused("lpt", message, **numbers)
