"""IAPT against its own text: soft tokens concatenated, run through the block, thrown away."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.backbone.dims import FAMILIES, Dims
from iapt.entries import build_method
from iapt.errors import ConfigError
from iapt.methods.iapt import IAPT, AttentionPooler, MeanPooler
from iapt.methods.size_formula import SizeFormula
from tests.composed import composed
from tests.methods.refused import assert_refused
from tests.tiny import encoded, padded, shared_backbone, tiny_dims

TEXTS = encoded()
BLOCK_SIZES = {  # numbers of Section 4.3 on LLaMA-2 7B; methods other than `iapt` by their variant
    "iapt": 16_810_080,
    "iapt_8m": 8_405_088,
    "lora": 9_994_240,
    "iapt variant=iapt_1": 16_777_216 + 96,
    "iapt variant=iapt_2": 16_908_312,
    "iapt variant=iapt_3": 16_785_792,
    "iapt variant=iapt_4": 16_810_080 - 96,
    "iapt variant=iapt_6": 16_810_080 - 96,
    "iapt variant=iapt_tied": 8_421_472,
}


def right_padded() -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and instruction mask of whole sequences."""
    ids, mask = padded([t.instruction + t.response for t in TEXTS])
    sizes = torch.tensor([len(t.instruction) for t in TEXTS])
    return ids, mask, torch.arange(ids.shape[1])[None] < sizes[:, None]


def literal_prompt(method: IAPT, layer: int, h: Tensor, instruction: Tensor) -> Tensor:
    """Eq. 1 and 2 as printed: every token is projected down, then pooled."""
    nth = layer - method.first_block
    generator = method.generators[nth // method.share_every]
    rows = []
    for states, inside in zip(h, instruction, strict=True):
        z = states[inside] @ generator.down  # (n, m)
        if isinstance(method.poolers[nth], AttentionPooler):
            A = torch.softmax(z @ method.poolers[nth].queries, dim=0)  # (n, l_sp)
        else:
            segments = nn.functional.adaptive_avg_pool1d
            A = segments(torch.eye(len(z))[None], method.soft_tokens)[0]
        s = A.T @ z  # (l_sp, m)
        learned = len(method.activations) == len(method.generators)
        activation = method.activations[nth // method.share_every if learned else nth]
        if learned:
            a, b = activation.coefficients.split([7, 5])
            s = sum(c * s**j for j, c in enumerate(a)) / (
                1 + sum(c * s ** (i + 1) for i, c in enumerate(b)).abs()
            )
        else:
            s = activation(s)
        up = generator.down.T if generator.up is None else generator.up
        bias = 0.0 if generator.up_bias is None else generator.up_bias
        rows.append(s @ up + bias)
    return torch.stack(rows)


def literal_logits(
    backbone: Backbone, method: IAPT, ids: Tensor, mask: Tensor, instruction: Tensor
) -> Tensor:
    """Concatenate p_l, run Hugging Face's block l over all of it, drop the soft outputs (footnote 2)."""
    model, family, size = backbone.model, backbone.dims.family, method.soft_tokens
    text = torch.arange(ids.shape[1])[None]
    if family == "gpt2":
        body, blocks = model.transformer, model.transformer.h
        h = body.wte(ids) + body.wpe(text)  # text keeps its positions, soft tokens have none
    elif family == "llama":
        body, blocks = model.model, model.model.layers
        h = body.embed_tokens(ids)
    else:
        body, blocks = model.gpt_neox, model.gpt_neox.layers
        h = body.embed_in(ids)
    total = size + ids.shape[1]
    allowed = torch.ones(total, total).tril().bool()[None].repeat(len(ids), 1, 1)
    allowed[:, :, size:] &= mask[:, None, :]
    if method.hide_from_first:
        allowed[:, size, :size] = False
    additive = torch.zeros(allowed.shape).masked_fill(~allowed, -1e30)[:, None]
    options: dict[str, Any] = {"attention_mask": additive}
    if family != "gpt2":
        options["position_embeddings"] = body.rotary_emb(h, torch.arange(total)[None])
    for layer, block in enumerate(blocks):
        norm = block.ln_1 if family == "gpt2" else block.input_layernorm
        if layer < method.first_block:  # the block alone, on text in its own place
            plain = {"attention_mask": additive[:, :, size:, size:]}
            if family != "gpt2":
                plain["position_embeddings"] = body.rotary_emb(h, torch.arange(size, total)[None])
            out = block(h, **plain)
            h = out[0] if isinstance(out, tuple) else out
            continue
        seen = norm(h) if method.generator_norm == "block" else h
        p = literal_prompt(method, layer, seen, instruction)
        out = block(torch.cat([p, h], 1), **options)
        h = (out[0] if isinstance(out, tuple) else out)[:, size:]
    final = {"gpt2": "ln_f", "llama": "norm", "gpt_neox": "final_layer_norm"}[family]
    return model.lm_head(getattr(body, final)(h))


SETTINGS: dict[str, dict[str, Any]] = {
    "letter": {},
    "shipped": {"generator_norm": "block", "hide_from_first": True, "up_init": "transpose"},
    "iapt_1": {"pooler": "segment_mean", "generator_norm": "block"},
    "iapt_6": {"activation": ["relu", "gelu"], "hide_from_first": True},
    "later": {"first_block": 2, "generator_norm": "block", "share_every": 1},
    "tied": {"tie_projections": True, "share_every": 2},
    "base": {"extension_base_text": "a b", "first_block": 1, "share_every": 2},
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_gradients_are_those_of_concatenate_run_and_drop(family: str, setting: str):
    backbone = shared_backbone(family, "eager")
    backbone.detach()
    torch.manual_seed(5)
    numbers = {"prompt_len": 3, "bottleneck_dim": 16, "init_std": 0.3} | SETTINGS[setting]
    method = IAPT(backbone.dims, **numbers)
    method.start(backbone, lambda text: [3, 4, 5])
    ids, mask, instruction = right_padded()
    expected = literal_logits(backbone, method, ids, mask, instruction)
    method.attach(backbone)
    logits = backbone(ids, mask, instruction)
    backbone.detach()
    assert float((logits - expected).detach()[mask].abs().max()) < 2e-5
    parameters = list(method.parameters())
    found, wanted = (
        torch.autograd.grad(out[mask].logsumexp(-1).sum(), parameters) for out in (logits, expected)
    )
    for a, b in zip(found, wanted, strict=True):
        assert float((a - b).abs().max()) < 1e-4 * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize(("name", "count"), BLOCK_SIZES.items())
def test_trained_parameters_on_llama2_7b(name: str, count: int):
    config = composed(f"method={name.split()[0]}", "backbone=llama2_7b", *name.split()[1:])
    with torch.device("meta"):
        method = build_method(config["method"], Dims(**config["backbone"]["dims"]))
    assert sum(p.numel() for p in method.parameters()) == count


@pytest.mark.parametrize("first_block", [0, 1, 7, 8, 31])
def test_blocks_before_the_first_have_no_parameters(first_block: int):
    config = composed("method=iapt", "backbone=llama2_7b", f"method.first_block={first_block}")
    dims = Dims(**config["backbone"]["dims"])
    with torch.device("meta"):
        method = build_method(config["method"], dims)
    blocks = dims.num_layers - first_block
    groups = -(-blocks // 4)
    assert (len(method.poolers), len(method.generators)) == (blocks, groups)
    count = groups * (2 * 4096 * 256 + 12) + blocks * 256 * 4
    assert sum(p.numel() for p in method.parameters()) == count
    formula = SizeFormula(config["method"]["size"], dims, config["method"])
    assert formula.value() == count


def test_pooling_weights_lie_on_the_instruction_alone():
    torch.manual_seed(0)
    h, down = torch.randn(3, 6, 8), torch.randn(8, 4)
    mask = torch.tensor([[1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1]]).bool()
    for pooler in (AttentionPooler(4, 3, 1.0), MeanPooler(3, True), MeanPooler(3, False)):
        A = pooler(h, mask, down)
        assert A.shape == (3, 6, 3)
        assert bool((A[~mask] == 0).all())
        assert torch.allclose(A.sum(1), torch.ones(3, 3))


def test_pooling_weights_are_computed_in_float32_whatever_the_stream():
    h, mask = torch.randn(2, 50, 8, dtype=torch.bfloat16), torch.ones(2, 50, dtype=torch.bool)
    A = AttentionPooler(4, 3, 1.0)(h, mask, torch.randn(8, 4))
    assert A.dtype == torch.float32
    assert torch.allclose(A.sum(1), torch.ones(2, 3))


def test_what_is_shown_is_named_by_the_blocks_that_it_belongs_to():
    backbone = shared_backbone("llama")  # of five blocks
    backbone.detach()
    method = IAPT(backbone.dims, bottleneck_dim=8, first_block=2, share_every=2).eval()
    (functions,) = method.functions()
    assert [curve.name for curve in functions.curves] == ["blocks 2-3", "blocks 4-4"]
    method.attach(backbone)
    with torch.no_grad():
        views = method.attention(lambda: backbone.prefill(torch.arange(5, 11)[None]))
    backbone.detach()
    assert list(views) == ["all blocks, mean", "block 2", "block 3", "block 4"]
    assert all(abs(float(weights.sum()) - 1) < 1e-5 for weights in views.values())


def test_the_attention_shown_is_the_mean_over_the_soft_tokens():
    backbone = shared_backbone("llama")
    backbone.detach()
    torch.manual_seed(0)
    method = IAPT(backbone.dims, bottleneck_dim=8, init_std=1.0).eval()
    weights: list[Tensor] = []  # (T, P) of each block
    for pooler in method.poolers:
        pooler.register_forward_hook(lambda *args: weights.append(args[-1][0]))
    method.attach(backbone)
    with torch.no_grad():
        views = method.attention(lambda: backbone.prefill(torch.arange(5, 11)[None]))
    backbone.detach()
    assert float((weights[1][:, 0] - weights[1][:, 1]).abs().max()) > 0.1
    torch.testing.assert_close(views["block 1"], weights[1].mean(1))
    torch.testing.assert_close(views["all blocks, mean"], torch.stack(weights).mean((0, 2)))


@pytest.mark.parametrize("pooler", ["mean", "segment_mean"])
def test_mean_pooling_weighs_every_token_alike_and_by_segments_only_its_own(pooler: Any):
    method = IAPT(tiny_dims("llama"), prompt_len=2, pooler=pooler)
    A = method.poolers[0](torch.zeros(1, 4, 32), torch.ones(1, 4, dtype=torch.bool), torch.empty(0))
    segments = [[0.5, 0.0]] * 2 + [[0.0, 0.5]] * 2
    assert A[0].tolist() == (segments if pooler == "segment_mean" else [[0.25, 0.25]] * 4)


def test_segment_means_are_torchs_adaptive_average():
    h = torch.randn(1, 7, 4)
    A = MeanPooler(3, True)(h, torch.ones(1, 7, dtype=torch.bool), torch.empty(0))
    expected = nn.functional.adaptive_avg_pool1d(h.mT, 3).mT
    assert torch.allclose(A.mT @ h, expected, atol=1e-6)


def test_generators_and_activations_are_shared_by_groups_and_poolers_are_not():
    method = IAPT(tiny_dims("llama"), share_every=2)  # five blocks: 0 1 | 2 3 | 4
    assert len(method.generators) == len(method.activations) == 3
    assert len(method.poolers) == 5
    assert len(method.arch_parameters()) == 3


@pytest.mark.parametrize(
    ("activation", "kinds"),
    [
        ("relu", [nn.ReLU] * 5),
        (["relu", "gelu"], [nn.ReLU] * 3 + [nn.GELU] * 2),
        (["gelu", "relu"], [nn.GELU] * 3 + [nn.ReLU] * 2),
    ],
)
def test_fixed_activations_by_half_and_no_bilevel_training(activation: Any, kinds: list[type]):
    method = IAPT(tiny_dims("llama"), activation=activation)
    assert [type(a) for a in method.activations] == kinds
    assert method.arch_parameters() == []
    four = IAPT(replace(tiny_dims("llama"), num_layers=4), activation=activation)
    assert [type(a) for a in four.activations] == [kinds[0]] * 2 + [kinds[-1]] * 2
    later = IAPT(tiny_dims("llama"), activation=activation, first_block=2)
    assert [type(a) for a in later.activations] == kinds[2:], "halves of the backbone"


@pytest.mark.parametrize(("query_std", "std"), [(None, 0.02), (0.5, 0.5)])
def test_projections_start_at_one_scale_and_queries_may_at_their_own(
    query_std: float | None, std: float
):
    torch.manual_seed(0)
    method = IAPT(tiny_dims("llama"), init_std=0.02, query_std=query_std)
    for pooler in method.poolers:
        assert float(pooler.queries.detach().std()) == pytest.approx(std, rel=0.1)
    for generator in method.generators:
        for matrix in (generator.down, generator.up):
            assert float(matrix.detach().std()) == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize("norm", ["block", "none"])
def test_the_bias_starts_as_the_mean_state_of_the_base_text_in_the_blocks_of_a_group(norm: Any):
    backbone = shared_backbone("llama")
    backbone.detach()
    method = IAPT(
        backbone.dims,
        share_every=2,
        first_block=1,
        generator_norm=norm,
        extension_base_text="good or bad",
    )
    assert all(not generator.up_bias.any() for generator in method.generators)
    asked: list[str] = []
    method.start(backbone, lambda text: asked.append(text) or [0, 9, 8, 7])  # type: ignore[func-returns-value]
    assert asked == ["good or bad"]
    model = backbone.model
    states = model(torch.tensor([[0, 9, 8, 7]]), output_hidden_states=True).hidden_states
    for generator, layers in zip(method.generators, ((1, 2), (3, 4)), strict=True):
        seen = [
            model.model.layers[n].input_layernorm(states[n]) if norm == "block" else states[n]
            for n in layers
        ]
        expected = torch.stack([h[0, 1:].mean(0) for h in seen]).mean(0)
        assert torch.allclose(generator.up_bias, expected, atol=1e-5)
    bare = model(torch.tensor([[0, 9, 8]])).logits
    assert torch.allclose(backbone(torch.tensor([[0, 9, 8]])), bare, atol=1e-5), (
        "nothing is attached"
    )


def test_without_a_base_text_there_is_no_bias_and_nothing_to_start():
    backbone = shared_backbone("llama")
    method = IAPT(backbone.dims)
    before = {name: p.clone() for name, p in method.named_parameters()}
    assert not any("bias" in name for name in before)
    method.start(backbone, lambda text: pytest.fail("nothing to read"))
    assert all(torch.equal(p, before[name]) for name, p in method.named_parameters())


def test_a_base_text_of_one_token_is_refused_by_name():
    method = IAPT(tiny_dims("llama"), extension_base_text="x")
    with pytest.raises(
        ConfigError, match=r"method\.extension_base_text='x': needs at least two tokens"
    ):
        method.start(shared_backbone("llama"), lambda text: [3])


def test_transposed_start_makes_projections_equal_but_apart():
    generator = IAPT(tiny_dims("llama"), up_init="transpose").generators[0]
    assert torch.equal(generator.up, generator.down.T)
    with torch.no_grad():
        generator.down.add_(1)
    assert not torch.equal(generator.up, generator.down.T)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("prompt_len", 0, r"method\.prompt_len=0: must be a whole number >= 1"),
        ("bottleneck_dim", -1, r"method\.bottleneck_dim=-1"),
        ("first_block", 5, r"method\.first_block=5: must be less than 5"),
        ("first_block", 99, r"method\.first_block=99: must be less than"),
        ("first_block", -1, r"method\.first_block=-1"),
        ("share_every", 0, r"method\.share_every=0"),
        ("activation", "gleu", r"method\.activation='gleu'.*rational, gelu, relu.*'gelu'"),
        ("activation", ["relu"] * 3, r"method\.activation=.*one name, or two"),
        ("pooler", "attn", r"method\.pooler='attn'.*attention, segment_mean, mean"),
        ("generator_norm", "rms", r"method\.generator_norm='rms'.*none, block"),
        ("up_init", "transposed", r"method\.up_init='transposed'.*Did you mean 'transpose'"),
    ],
)
def test_a_wrong_number_is_named(field: str, value: object, message: str):
    assert_refused("iapt", message, **{field: value})


@pytest.mark.parametrize("field", ["activation", "pooler", "generator_norm", "up_init"])
def test_a_wrong_name_is_refused_without_a_configuration_too(field: str):
    with pytest.raises(ConfigError, match=rf"method\.{field}='x': allowed are "):
        IAPT(tiny_dims("llama"), **{field: "x"})  # type: ignore[arg-type]


def test_the_largest_input_of_each_activation_is_measured():
    backbone = shared_backbone("llama")
    method = IAPT(backbone.dims, bottleneck_dim=8, share_every=1)
    seen: dict[int, float] = {}
    for layer, activation in enumerate(method.activations):
        activation.register_forward_pre_hook(
            lambda _, args, layer=layer: seen.update({layer: float(args[0].detach().abs().max())})
        )
    method.attach(backbone)
    assert method.measurements() == {}
    for _ in range(2):  # the largest is negative in one of the two
        backbone(*right_padded())
        assert method.measurements() == {f"largest_input/{n}": seen[n] for n in seen}
        for generator in method.generators:
            generator.down.data.neg_()
    assert len(seen) == backbone.dims.num_layers
