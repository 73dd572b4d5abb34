"""Random models of the three families, small enough for tests, and a byte tokenizer for them."""

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
    """Return a random causal LM of these sizes, its weights large enough that every part matters.

    Args:
        dims: sizes and family.
        seed: the seed of the weights; the caller's random state is not changed.
    """
    shared: dict[str, Any] = {
        "vocab_size": dims.vocab_size,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if dims.family == "llama":
            model: Any = LlamaForCausalLM(
                LlamaConfig(
                    hidden_size=dims.hidden_size,
                    intermediate_size=dims.ffn_size,
                    num_hidden_layers=dims.num_layers,
                    num_attention_heads=dims.num_heads,
                    num_key_value_heads=dims.num_kv_heads,
                    head_dim=dims.head_dim,
                    max_position_embeddings=dims.max_positions,
                    **rope,
                    **shared,
                )
            )
        elif dims.family == "gpt2":
            model = GPT2LMHeadModel(
                GPT2Config(
                    n_embd=dims.hidden_size,
                    n_inner=dims.ffn_size,
                    n_layer=dims.num_layers,
                    n_head=dims.num_heads,
                    n_positions=dims.max_positions,
                    resid_pdrop=0.0,
                    embd_pdrop=0.0,
                    attn_pdrop=0.0,
                    **shared,
                )
            )
        else:
            rope["rope_parameters"]["partial_rotary_factor"] = 0.25  # as in Pythia
            model = GPTNeoXForCausalLM(
                GPTNeoXConfig(
                    hidden_size=dims.hidden_size,
                    intermediate_size=dims.ffn_size,
                    num_hidden_layers=dims.num_layers,
                    num_attention_heads=dims.num_heads,
                    max_position_embeddings=dims.max_positions,
                    **rope,
                    **shared,
                )
            )
        for p in (
            model.parameters()
        ):  # the default 0.02 is too small for differences to show at this width
            if p.dim() > 1:
                torch.nn.init.normal_(p, 0, 2 / dims.hidden_size**0.5 / 2)
            else:
                p.data.add_(0.1 * torch.randn_like(p))
    return model
