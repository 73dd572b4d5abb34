"""IDPG: prompts from a prompt-free first pass over the instruction, put behind BOS."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from iapt.backbone.dims import FAMILIES
from iapt.methods.idpg import IDPG
from iapt.methods.phm import HypercomplexLinear
from tests.methods.blocks_by_hand import run_blocks
from tests.methods.other_backbones import trained_on
from tests.methods.paper_sizes import active, counted, preset, trained
from tests.methods.refused import assert_refused
from tests.tiny import encoded, padded, shared_backbone, tiny_dims

P = 3
FORMS = ({}, {"generator": "phm"}, {"generator": "phm", "multi_layer": True})


def attached(family="llama", **numbers):
    torch.manual_seed(1)
    backbone = shared_backbone(family)
    backbone.detach()
    method = IDPG(backbone.dims, prompt_len=P, bottleneck_dim=8, phm_order=4, **numbers).eval()
    with torch.no_grad():
        for p in method.parameters():
            p.mul_(5)
    method.attach(backbone)
    return backbone, method


def by_hand(method, states, layer=0):
    """The soft tokens (1,P,D) from the states (1,n,D) of an instruction alone."""
    g = method.generator
    if hasattr(g, "up_bias") and g.up_bias is not None:
        z = F.gelu(states[:, -1] @ dense(g.down) + g.down_bias)
        return (z @ dense(g.up) + g.up_bias[layer]).view(1, P, -1)
    pooled = F.adaptive_avg_pool1d((states @ g.down.T).transpose(1, 2), P).transpose(1, 2)
    return F.gelu(pooled) @ g.up.T


def dense(map_):
    return sum(torch.kron(A, S) for A, S in zip(map_.A, map_.S, strict=True))


def last_states(backbone, ids):
    """Final-norm states of the bare Hugging Face model."""
    with torch.no_grad(), backbone.disabled():
        return backbone.model(ids, output_hidden_states=True).hidden_states[-1]


def test_counts_are_the_papers():
    method = preset("idpg")
    assert trained(method) == counted("idpg") == 2 * 4096 * 1024 == 8_388_608
    assert active(method) == 0
    assert method.soft_tokens == 4


@pytest.mark.parametrize(
    ("backbone", "size"), [("gpt2_large", 2_621_440), ("pythia_1b4", 4_194_304)]
)
def test_counts_on_the_other_backbones(backbone, size):
    assert trained_on(backbone, "idpg") == size


def test_the_matched_generator_starts_small():
    generator = IDPG(tiny_dims("llama"), bottleneck_dim=1024).generator
    for matrix in (generator.down, generator.up):
        assert matrix.std().item() == pytest.approx(0.02, rel=0.03)
        assert matrix.mean().item() == pytest.approx(0, abs=0.0005)


def test_the_original_generator_starts_as_in_its_code():
    torch.manual_seed(0)
    dims = replace(tiny_dims("llama"), hidden_size=256)
    numbers = {"generator": "phm", "multi_layer": True, "phm_order": 8, "bottleneck_dim": 4096}
    generator = IDPG(dims, **numbers).generator
    for normal in (*generator.down.parameters(), *generator.up.parameters(), generator.down_bias):
        assert normal.std().item() == pytest.approx(0.05, rel=0.15)
        assert normal.mean().item() == pytest.approx(0, abs=0.01)
    assert generator.up_bias.shape == (5, 4 * 256)
    assert generator.up_bias.std().item() == pytest.approx(12**-0.5, rel=0.03)  # U(-0.5, 0.5)
    assert generator.up_bias.abs().max() <= 0.5
    assert generator.up_bias.mean().item() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("order", "size"), [(2, 10_485_776), (4, 5_243_008), (16, 1_318_912)])
def test_counts_of_the_original_generator(order, size):
    method = preset("idpg", generator="phm", phm_order=order)
    assert trained(method) == size + 1024 + 4 * 4096
    layers = preset("idpg", generator="phm", phm_order=order, multi_layer=True)
    assert trained(layers) == size + 1024 + 32 * 4 * 4096


@pytest.mark.parametrize("order", [1, 2, 4])
def test_a_hypercomplex_map_is_a_sum_of_kronecker_products(order):
    map_ = HypercomplexLinear(8, 12, order)
    x = torch.randn(2, 3, 8)
    torch.testing.assert_close(map_(x), x @ dense(map_))


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_a_prompt_put_behind_bos_by_hand(family, form):
    backbone, method = attached(family, **form)
    for text in encoded():
        n, ids = len(text.instruction), torch.tensor([text.instruction + text.response])
        instruction = torch.arange(ids.shape[1])[None] < n
        with torch.no_grad():
            ours = backbone(ids, None, instruction)
            soft = by_hand(method, last_states(backbone, ids[:, :n]))
            h = backbone.family.embed(ids, torch.arange(ids.shape[1])[None])
            h = torch.cat([h[:, :1], soft, h[:, 1:]], 1)
            for layer in range(5):
                if layer and "multi_layer" in form:
                    h[:, 1 : 1 + P] += by_hand(method, h[:, P : P + n], layer)
                h = run_blocks(backbone, h, [layer])
            h = torch.cat([h[:, :1], h[:, 1 + P :]], 1)
            literal = backbone.model.lm_head(backbone.family.final_norm(h))
        torch.testing.assert_close(ours, literal, atol=2e-5, rtol=0)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_prompt_depends_on_the_instruction_only(form):
    _, method = attached(**form)
    seen = []
    method.generator.register_forward_hook(lambda module, args, out: seen.append(out.detach()))

    def prompts(texts):
        seen.clear()
        ids, mask = padded([t.instruction + t.response for t in texts])
        sizes = torch.tensor([len(t.instruction) for t in texts])
        with torch.no_grad():
            shared_backbone("llama")(ids, mask, torch.arange(ids.shape[1]) < sizes[:, None])
        return torch.stack(seen)

    texts, others = encoded(0), encoded(1)
    first = prompts(texts)
    mixed = [type(a)(a.instruction, b.response * 2) for a, b in zip(texts, others, strict=True)]
    torch.testing.assert_close(prompts(mixed), first, atol=1e-5, rtol=0)
    mixed = [type(a)(b.instruction, a.response) for a, b in zip(texts, others, strict=True)]
    assert (prompts(mixed)[0] - first[0]).abs().amax((1, 2)).min() > 1e-3


def test_the_first_pass_sees_the_bare_model_and_gets_no_gradient():
    backbone, method = attached()
    states = []
    method.generator.register_forward_pre_hook(lambda module, args: states.append(args[0]))
    text = encoded()[0]
    ids = torch.tensor([text.instruction])
    backbone(ids).sum().backward()
    assert not states[0].requires_grad
    torch.testing.assert_close(states[0], last_states(backbone, ids), atol=1e-5, rtol=0)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_dropout_acts_while_training_only():
    _, method = attached(generator="phm", dropout=0.5)
    x, mask = torch.randn(1, 4, 32), torch.ones(1, 4, dtype=torch.bool)
    assert torch.equal(method.generator(x, mask, 0), method.generator(x, mask, 0))
    method.train()
    assert not torch.equal(method.generator(x, mask, 0), method.generator(x, mask, 0))


def test_dropout_acts_on_what_enters_each_of_the_two_maps_and_only_on_the_first_sentence_vector(
    monkeypatch,
):
    _, method = attached(generator="phm", multi_layer=True, dropout=0.5)
    method.train()
    dropped = []

    def noted(x, p, training):
        dropped.append((tuple(x.shape), p, training))
        return x

    monkeypatch.setattr(F, "dropout", noted)
    x, mask = torch.randn(2, 4, 32), torch.ones(2, 4, dtype=torch.bool)
    method.generator(x, mask, 0)
    assert dropped == [((2, 32), 0.5, True), ((2, 8), 0.5, True)]
    dropped.clear()
    method.generator(x, mask, 1)
    assert dropped == [((2, 8), 0.5, True)]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"prompt_len": 0}, "method.prompt_len=0"),
        ({"bottleneck_dim": 0}, "method.bottleneck_dim=0"),
        ({"generator": "pmh"}, r"allowed are matched, phm. Did you mean 'phm'\?"),
        ({"generator": "phm", "phm_order": 5}, "method.phm_order=5.*divides 32"),
        ({"multi_layer": True}, "needs method.generator=phm"),
        ({"dropout": 1.0}, "method.dropout=1.0"),
    ],
)
def test_impossible_numbers_are_named(numbers, message):
    assert_refused("idpg", message, **numbers)
