"""GPT-NeoX / Pythia: parallel residual, partial rotary positions, q, k, v interleaved per head.

y = h + Attn(LN1(h)) + MLP(LN2(h))
"""

from typing import Any

import torch
from torch import Tensor, nn

from iapt.backbone.family import Act, Attend, Family, Rotary, Site, rotate


class InterleavedThird(Site):
    """q, k or v inside the fused output, where head j owns columns [3*K*j, 3*K*(j+1))."""

    def __init__(self, module: nn.Module, index: int, head_dim: int) -> None:
        super().__init__(module)
        self.index, self.head_dim = index, head_dim

    def take(self, y: Tensor) -> Tensor:
        per_head = y.unflatten(-1, (-1, 3, self.head_dim))  # (B, T, H, 3, K)
        return per_head[..., self.index, :].flatten(-2)

    def put(self, y: Tensor, part: Tensor) -> Tensor:
        thirds = list(y.unflatten(-1, (-1, 3, self.head_dim)).unbind(-2))
        thirds[self.index] = part.unflatten(-1, (-1, self.head_dim))
        return torch.stack(thirds, dim=-2).flatten(-3)


class GPTNeoX(Family):
    """Family "gpt_neox"."""

    name = "gpt_neox"

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.body = model.gpt_neox
        self.layers = self.body.layers

    def embed(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        return self.body.emb_dropout(self.body.embed_in(input_ids))

    def final_norm(self, h: Tensor) -> Tensor:
        return self.body.final_layer_norm(h)

    def ln1(self, layer: int) -> nn.Module:
        return self.layers[layer].input_layernorm

    def sublayer(self, layer: int, part: str) -> nn.Module:
        return self.layers[layer].attention if part == "attn" else self.layers[layer].mlp

    def site(self, layer: int, name: str) -> Site:
        block = self.layers[layer]
        if name in ("q", "k", "v"):
            return InterleavedThird(
                block.attention.query_key_value, "qkv".index(name), block.attention.head_size
            )
        return Site(
            {
                "qkv": block.attention.query_key_value,
                "o": block.attention.dense,
                "up": block.mlp.dense_h_to_4h,
                "down": block.mlp.dense_4h_to_h,
                "act": block.mlp.act,
            }[name]
        )

    def rotary(self, h: Tensor, positions: Tensor) -> Rotary:
        return self.body.rotary_emb(h, positions)

    def keys_values(self, layer: int, x: Tensor, rotary: Rotary, act: Act) -> tuple[Tensor, Tensor]:
        _, keys, values = self._qkv(layer, x, act)
        return rotate(keys, rotary), values

    def block(self, layer: int, h: Tensor, rotary: Rotary, attend: Attend, act: Act) -> Tensor:
        block = self.layers[layer]
        attn, mlp = block.attention, block.mlp

        x = block.input_layernorm(h)
        q, k, v = self._qkv(layer, x, act)
        dropout = attn.attention_dropout * attn.training
        seen = attend(rotate(q, rotary), rotate(k, rotary), v, attn.scaling, dropout)
        (o,) = self.linear(seen, attn.dense)
        o = block.post_attention_dropout(act(attn, x, act(attn.dense, seen, o)))

        # In Pythia both parts read h; in a few checkpoints the second reads the output of the first.
        u = h if block.use_parallel_residual else h + o
        x = block.post_attention_layernorm(u)
        (up,) = self.linear(x, mlp.dense_h_to_4h)
        up = act(mlp.dense_h_to_4h, x, up)
        inner = act(mlp.act, up, mlp.act.forward(up))
        (down,) = self.linear(inner, mlp.dense_4h_to_h)
        down = block.post_mlp_dropout(act(mlp, x, act(mlp.dense_4h_to_h, inner, down)))
        return h + o + down

    def _qkv(self, layer: int, x: Tensor, act: Act) -> tuple[Tensor, ...]:
        attn = self.layers[layer].attention
        (qkv,) = self.linear(x, attn.query_key_value)
        qkv = act(attn.query_key_value, x, qkv)
        return self.split_heads(qkv, 3 * attn.head_size).chunk(3, dim=-1)
