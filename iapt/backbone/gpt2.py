"""GPT-2: learned absolute positions, fused q|k|v, linear maps stored as Conv1D (in x out).

    u = h + Attn(LN1(h));  y = u + c_proj(gelu(c_fc x)) with x = LN2(u)

Soft tokens get no position embedding, and text keeps positions 0, 1, ...
"""

from typing import Any

import torch
from torch import Tensor, nn

from iapt.backbone.family import Act, Attend, Family, Rotary, Site


class ThirdOfQKV(Site):
    """q, k or v inside the contiguous output [q | k | v] of `c_attn`."""

    def __init__(self, module: nn.Module, index: int) -> None:
        super().__init__(module)
        self.index = index

    def take(self, y: Tensor) -> Tensor:
        return y.chunk(3, dim=-1)[self.index]

    def put(self, y: Tensor, part: Tensor) -> Tensor:
        thirds = list(y.chunk(3, dim=-1))
        thirds[self.index] = part
        return torch.cat(thirds, dim=-1)


class GPT2(Family):
    """Family "gpt2"."""

    name = "gpt2"

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.body = model.transformer
        self.layers = self.body.h

    def ffn_size(self) -> int:
        return self.model.config.n_inner or 4 * self.model.config.n_embd

    def embed(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        return self.body.drop(self.body.wte(input_ids) + self.body.wpe(positions))

    def final_norm(self, h: Tensor) -> Tensor:
        return self.body.ln_f(h)

    def ln1(self, layer: int) -> nn.Module:
        return self.layers[layer].ln_1

    def sublayer(self, layer: int, part: str) -> nn.Module:
        return self.layers[layer].attn if part == "attn" else self.layers[layer].mlp

    def site(self, layer: int, name: str) -> Site:
        block = self.layers[layer]
        if name in ("q", "k", "v"):
            return ThirdOfQKV(block.attn.c_attn, "qkv".index(name))
        return Site(
            {
                "qkv": block.attn.c_attn,
                "o": block.attn.c_proj,
                "up": block.mlp.c_fc,
                "down": block.mlp.c_proj,
                "act": block.mlp.act,
            }[name]
        )

    def keys_values(self, layer: int, x: Tensor, rotary: Rotary, act: Act) -> tuple[Tensor, Tensor]:
        _, keys, values = self._qkv(layer, x, act)
        return keys, values

    def block(self, layer: int, h: Tensor, rotary: Rotary, attend: Attend, act: Act) -> Tensor:
        block = self.layers[layer]
        attn, mlp = block.attn, block.mlp

        x = block.ln_1(h)
        dropout = attn.attn_dropout.p * attn.training
        q, k, v = self._qkv(layer, x, act)
        seen = attend(q, k, v, attn.scaling, dropout)
        (o,) = self.linear(seen, attn.c_proj)
        h = h + act(attn, x, attn.resid_dropout(act(attn.c_proj, seen, o)))

        x = block.ln_2(h)
        (up,) = self.linear(x, mlp.c_fc)
        up = act(mlp.c_fc, x, up)
        inner = act(mlp.act, up, mlp.act.forward(up))
        (down,) = self.linear(inner, mlp.c_proj)
        return h + act(mlp, x, mlp.dropout(act(mlp.c_proj, inner, down)))

    def _qkv(self, layer: int, x: Tensor, act: Act) -> list[Tensor]:
        attn = self.layers[layer].attn
        (qkv,) = self.linear(x, attn.c_attn)
        parts = act(attn.c_attn, x, qkv).chunk(3, dim=-1)
        return [self.split_heads(part, attn.head_dim) for part in parts]
