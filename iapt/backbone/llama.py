"""LLaMA and the models that share its block: Mistral, Qwen2, Qwen3, SmolLM.

a = Attn(RMS1(h));  u = h + a;  y = u + down(silu(gate x) * up x) with x = RMS2(u)
"""

from typing import Any

from torch import Tensor, nn

from iapt.backbone.family import Act, Attend, Family, Rotary, Site, rotate
from iapt.backbone.norm import rms_norm
from iapt.errors import BackboneError


class Llama(Family):
    """Family "llama"."""

    name = "llama"

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        window = getattr(model.config, "sliding_window", None)
        if window and getattr(model.config, "use_sliding_window", True):
            raise BackboneError(
                f"{model.config.model_type} with sliding_window={window}: sliding-window attention is "
                "not supported; set it to null in the checkpoint's config."
            )
        self.body = model.model
        self.layers = self.body.layers

    def embed(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        return self.body.embed_tokens(input_ids)

    def final_norm(self, h: Tensor) -> Tensor:
        return _rms(h, self.body.norm)

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

    def keys_values(self, layer: int, x: Tensor, rotary: Rotary, act: Act) -> tuple[Tensor, Tensor]:
        attn = self.layers[layer].self_attn
        k, v = self.linear(x, attn.k_proj, attn.v_proj)
        keys = self.split_heads(act(attn.k_proj, x, k), attn.head_dim)
        values = self.split_heads(act(attn.v_proj, x, v), attn.head_dim)
        return rotate(self._per_head(attn, "k_norm", keys), rotary), values

    def block(self, layer: int, h: Tensor, rotary: Rotary, attend: Attend, act: Act) -> Tensor:
        block = self.layers[layer]
        attn, mlp = block.self_attn, block.mlp

        x = _rms(h, block.input_layernorm)
        maps = (attn.q_proj, attn.k_proj, attn.v_proj)
        q, k, v = (
            self.split_heads(act(map_, x, y), attn.head_dim)
            for map_, y in zip(maps, self.linear(x, *maps), strict=True)
        )
        q = rotate(self._per_head(attn, "q_norm", q), rotary)
        k = rotate(self._per_head(attn, "k_norm", k), rotary)
        seen = attend(q, k, v, attn.scaling, attn.attention_dropout * attn.training)
        (o,) = self.linear(seen, attn.o_proj)
        h = h + act(attn, x, act(attn.o_proj, seen, o))

        x = _rms(h, block.post_attention_layernorm)
        gate, up = self.linear(x, mlp.gate_proj, mlp.up_proj)
        inner = mlp.act_fn(act(mlp.gate_proj, x, gate)) * act(mlp.up_proj, x, up)
        (down,) = self.linear(inner, mlp.down_proj)
        return h + act(mlp, x, act(mlp.down_proj, inner, down))

    @staticmethod
    def _per_head(attn: Any, name: str, x: Tensor) -> Tensor:
        """Apply the norm that Qwen3 has for each head's query and key; other models have none."""
        norm = getattr(attn, name, None)
        return x if norm is None else norm(x)


def _rms(x: Tensor, norm: Any) -> Tensor:
    return rms_norm(x, norm.weight, norm.variance_epsilon)
