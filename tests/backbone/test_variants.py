"""Checkpoints whose configuration says more than the tiny twins' do: other blocks, and dropout."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from iapt.backbone.base import Backbone
from iapt.backbone.dims import FAMILIES
from iapt.backbone.load import family_of
from iapt.errors import BackboneError
from tests.tiny import VOCAB, encoded, new_backbone, padded

ROWS = [e.instruction for e in encoded()]
SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
GROUPED = SIZES | {"num_key_value_heads": 2}
KINDS: dict[str, PretrainedConfig] = {
    "a norm of each head": Qwen3Config(**GROUPED, head_dim=16),
    "biases on q, k and v": Qwen2Config(**GROUPED, use_sliding_window=False, sliding_window=2),
    "no window": MistralConfig(**GROUPED, sliding_window=None),
    "one part after the other": GPTNeoXConfig(**SIZES, use_parallel_residual=False),
    "a scale of each block": GPT2Config(
        vocab_size=VOCAB, n_embd=32, n_layer=3, n_head=4, scale_attn_by_inverse_layer_idx=True
    ),
}


def made(config: PretrainedConfig) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return model.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_soft_tokens_keys_are_hugging_faces(kind: str):
    model = made(KINDS[kind])
    backbone = Backbone(family_of(model))
    assert backbone.dims.ffn_size == backbone.dims.in_out("up")[1]
    ids, mask = padded(ROWS)
    place = torch.arange(ids.shape[1])[None]
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask.long(), position_ids=place).logits
        assert torch.allclose(backbone(ids, mask)[mask], expected[mask], atol=1e-5)
        for site in backbone.dims.linears:
            wide, high = backbone.dims.in_out(site)
            weight = backbone.family.site(0, site).module.weight
            assert sorted(weight.shape) == sorted((wide, high))
        _, state = backbone.prefill(ids, mask)
        h = backbone.family.embed(ids, place)
        normed = backbone.family.ln1(0)(h)
        rotary = backbone.family.rotary(h, place)
        keys, _ = backbone.family.keys_values(0, normed, rotary, backbone._act)
        assert torch.allclose(keys, state.keys[0][:, :, : ids.shape[1]], atol=1e-5)


def test_attention_within_a_window_is_refused_by_name():
    with pytest.raises(BackboneError, match=r"mistral with sliding_window=2: .* set it to null"):
        family_of(made(MistralConfig(**GROUPED, sliding_window=2)))


def dropouts(model: nn.Module) -> dict[str, list[tuple[nn.Module, str]]]:
    """Where a model drops something, block by block: module and attribute, by their name without the block."""
    found: dict[str, list[tuple[nn.Module, str]]] = {}
    for name, module in model.named_modules():
        for attribute in ("p", "attention_dropout"):
            if isinstance(getattr(module, attribute, None), float):
                place = f"{re.sub(r'[0-9]+', '*', name)}.{attribute}"
                found.setdefault(place, []).append((module, attribute))
    return found


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_dropout_of_the_model_acts_in_training_and_nowhere_else(family: str, attn: str):
    backbone = new_backbone(family, attn)
    ids, mask = padded(ROWS)

    def logits(mode: bool) -> Tensor:
        backbone.train(mode)
        with torch.no_grad():
            return backbone(ids, mask)

    places = dropouts(backbone.model)
    assert places
    still = logits(False)
    assert torch.equal(logits(True), still)
    for name, all_of_it in places.items():
        for module, attribute in all_of_it:
            setattr(module, attribute, 0.5)
        assert not torch.allclose(logits(True), still, atol=1e-3), name
        assert torch.equal(logits(False), still), name
        for module, attribute in all_of_it:
            setattr(module, attribute, 0.0)
