"""LLaMA and the models that share its block: Mistral, Qwen2, Qwen3, SmolLM.

a = Attn(RMS1(h));  u = h + a;  y = u + down(silu(gate x) * up x) with x = RMS2(u)
"""

from typing import Any

from torch import Tensor, nn
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from iapt.backbone.dims import Dims
from iapt.backbone.family import Family, Rotary, Site
from iapt.errors import BackboneError


class Llama(Family):
    """Family "llama"."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        if getattr(model.config, "sliding_window", None) and getattr(
            model.config, "use_sliding_window", True
        ):
            raise BackboneError(
                f"{model.config.model_type} with sliding_window={model.config.sliding_window}: "
                "sliding-window attention is not supported; set it to null in the checkpoint's config."
            )
        self.body = model.model
        self.layers = self.body.layers

    def dims(self) -> Dims:
        c = self.model.config
        return Dims(
            family="llama",
            num_layers=c.num_hidden_layers,
            hidden_size=c.hidden_size,
            ffn_size=c.intermediate_size,
            num_heads=c.num_attention_heads,
            num_kv_heads=c.num_key_value_heads,
            head_dim=self.layers[0].self_attn.head_dim,
            vocab_size=c.vocab_size,
            max_positions=c.max_position_embeddings,
        )

    def embed(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        return self.body.embed_tokens(input_ids)

    def final_norm(self, h: Tensor) -> Tensor:
        return self.body.norm(h)

    def head(self, h: Tensor) -> Tensor:
        return self.model.lm_head(h)

    def ln1(self, layer: int) -> nn.Module:
        return self.layers[layer].input_layernorm

    def sublayer(self, layer: int, part: str) -> nn.Module:
        return self.layers[layer].self_attn if part == "attn" else self.layers[layer].mlp

    def site(self, layer: int, name: str) -> Site:
        block = self.layers[layer]
        owner = block.self_attn if name in "qkvo" else block.mlp
        return Site(getattr(owner, f"{name}_proj"))

    def rotary(self, h: Tensor, positions: Tensor) -> Rotary:
        return self.body.rotary_emb(h, positions)

    def keys_values(self, layer: int, x: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        attn = self.layers[layer].self_attn
        keys = self.split_heads(attn.k_proj(x), attn.head_dim)
        if hasattr(attn, "k_norm"):  # Qwen3 normalises each head's key
            keys = attn.k_norm(keys)
        keys, _ = apply_rotary_pos_emb(keys, keys, *rotary)
        return keys, self.split_heads(attn.v_proj(x), attn.head_dim)

    def run(self, layer: int, h: Tensor, mask: Tensor, rotary: Rotary, cache: Any) -> Tensor:
        return self.layers[layer](
            h, attention_mask=mask, past_key_values=cache, position_embeddings=rotary
        )
