"""Random models of the three families, most of them small enough for tests, and a byte tokenizer for them."""

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.initialization import no_init_weights

from iapt.backbone.dims import Dims

SPECIAL = ("<s>", "</s>", "<pad>")


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token per byte, and <s>, </s>, <pad>: 259 tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate((*SPECIAL, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def tiny_model(dims: Dims, seed: int = 0) -> Any:
    """Return a random causal LM of these sizes, with weights large enough for every part to matter.

    Args:
        dims: sizes and family.
        seed: the seed of the weights; the caller's random state is not changed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = untrained(dims)
        # At this width, the default of 0.02 is too small for differences to show.
        for p in model.parameters():
            if p.dim() > 1:
                torch.nn.init.normal_(p, 0, 2 / dims.hidden_size**0.5 / 2)
            else:
                p.data.add_(0.1 * torch.randn_like(p))
    return model


def random_model(dims: Dims, dtype: torch.dtype, device: torch.device) -> Any:
    """Return a random causal LM of any size, made on its device: for measuring speed and memory.

    Args:
        dims: sizes and family.
        dtype: the dtype of the weights, which are never copied.
        device: the device of the weights.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device), no_init_weights():
            model = untrained(dims)
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1:
                p.uniform_(-1 / dims.hidden_size**0.5, 1 / dims.hidden_size**0.5)
            else:
                p.fill_(1.0)
    return model.eval()


def untrained(dims: Dims) -> Any:
    """Return a causal LM of these sizes, as transformers initialises it."""
    shared: dict[str, Any] = {
        "vocab_size": dims.vocab_size,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        "hidden_size": dims.hidden_size,
        "num_hidden_layers": dims.num_layers,
        "num_attention_heads": dims.num_heads,
        "max_position_embeddings": dims.max_positions,
    }
    if dims.family == "gpt2":
        dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        return GPT2LMHeadModel(GPT2Config(n_inner=dims.ffn_size, **dropout, **shared))
    shared["intermediate_size"] = dims.ffn_size
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 10000.0}
    if dims.family == "llama":
        heads = {"num_key_value_heads": dims.num_kv_heads, "head_dim": dims.head_dim}
        return LlamaForCausalLM(LlamaConfig(rope_parameters=rope, **heads, **shared))
    rope["partial_rotary_factor"] = 0.25  # as in Pythia
    return GPTNeoXForCausalLM(GPTNeoXConfig(rope_parameters=rope, **shared))
