"""The tiny twins are what tests need: the same each time, and with every part mattering."""

import torch

from iapt.backbone.tiny import random_model, tiny_model, tiny_tokenizer
from tests.tiny import tiny_dims


def test_the_seed_decides_the_weights():
    one, same, other = (tiny_model(tiny_dims("llama"), seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)


def test_pythia_twin_rotates_a_quarter_of_each_head():
    model = tiny_model(tiny_dims("gpt_neox"))
    cos, _ = model.gpt_neox.rotary_emb(torch.zeros(1, 2, 32), torch.arange(2)[None])
    assert cos.shape[-1] == 2  # of 8


def test_special_tokens_are_never_text():
    tokenizer = tiny_tokenizer()
    assert [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id] == [0, 1, 2]
    ids = tokenizer("plain text", add_special_tokens=False).input_ids
    assert len(ids) == len("plain text")
    assert min(ids) > 2


def test_a_random_model_is_made_in_its_dtype_and_leaves_the_default_alone():
    model = random_model(tiny_dims("llama"), torch.bfloat16, torch.device("cpu"))
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32
    assert torch.nn.Linear(2, 2).weight.abs().sum() > 0, "torch initialises again"
    with torch.no_grad():
        logits = model(torch.tensor([[5, 6, 7]])).logits
    assert bool(torch.isfinite(logits).all())
    assert float(logits.float().std()) > 0
