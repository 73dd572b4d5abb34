"""The Hugging Face model's own forward pass with functions hung on its modules by hand.

What methods do through the backbone's verbs is held against this; nothing here uses the engine.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.methods.base import Method
from tests.tiny import encoded, padded

PATHS = {
    "llama": {
        "q": "self_attn.q_proj",
        "k": "self_attn.k_proj",
        "v": "self_attn.v_proj",
        "o": "self_attn.o_proj",
        "gate": "mlp.gate_proj",
        "up": "mlp.up_proj",
        "act": "mlp.act_fn",
        "down": "mlp.down_proj",
        "ln1": "input_layernorm",
        "attn": "self_attn",
    },
    "gpt2": {
        "qkv": "attn.c_attn",
        "o": "attn.c_proj",
        "up": "mlp.c_fc",
        "act": "mlp.act",
        "down": "mlp.c_proj",
        "ln1": "ln_1",
    },
    "gpt_neox": {
        "qkv": "attention.query_key_value",
        "o": "attention.dense",
        "up": "mlp.dense_h_to_4h",
        "act": "mlp.act",
        "down": "mlp.dense_4h_to_h",
        "ln1": "input_layernorm",
    },
}
BLOCKS = {"llama": "model.layers", "gpt2": "transformer.h", "gpt_neox": "gpt_neox.layers"}
HEADS, HEAD_DIM = 4, 8  # of tests.tiny

Fn = Callable[[Tensor, Tensor], Tensor]  # (input, output) -> output


def module(backbone: Backbone, layer: int, site: str) -> nn.Module:
    """A module of one block; site "" is the block itself."""
    family = backbone.dims.family
    block = backbone.model.get_submodule(f"{BLOCKS[family]}.{layer}")
    return block.get_submodule(PATHS[family][site]) if site else block


def columns(family: str, site: str) -> slice | Tensor:
    """Which outputs of the fused projection are q, k or v."""
    third = "qkv".index(site)
    width = HEADS * HEAD_DIM
    if family == "gpt2":
        return slice(third * width, (third + 1) * width)
    starts = torch.arange(HEADS) * 3 * HEAD_DIM + third * HEAD_DIM
    return (starts[:, None] + torch.arange(HEAD_DIM)).flatten()


def logits(backbone: Backbone, hooks: Iterable[tuple[nn.Module, Fn]] = ()) -> Tensor:
    """Logits (B, T, V) of the model's own forward pass with these functions behind its modules."""
    backbone.detach()

    def behind(fn: Fn) -> Callable[..., object]:
        def hook(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], out: object):
            x = args[0] if args else kwargs["hidden_states"]
            if isinstance(out, tuple):
                return (fn(x, out[0]), *out[1:])
            assert isinstance(out, Tensor)
            return fn(x, out)

        return hook

    handles = [m.register_forward_hook(behind(fn), with_kwargs=True) for m, fn in hooks]
    try:
        ids, mask = tokens()
        with torch.no_grad():
            return backbone.model(ids, attention_mask=mask).logits[mask]
    finally:
        for handle in handles:
            handle.remove()


def tokens() -> tuple[Tensor, Tensor]:
    """Four right-padded rows, ids and mask (B, T)."""
    return padded([e.instruction + e.response for e in encoded()])


def own_logits(backbone: Backbone, method: Method | None = None) -> Tensor:
    """The same rows through the engine, with a method attached (None: whatever is attached now)."""
    if method is not None:
        backbone.detach()
        method.attach(backbone)
    ids, mask = tokens()
    with torch.no_grad():
        return backbone(ids, mask)[mask]


def disturbed(method: Method, noise: float = 0.1) -> Method:
    """The method in eval mode with noise on every parameter, so that all of it shows."""
    torch.manual_seed(3)
    with torch.no_grad():
        for p in method.parameters():
            p.add_(noise * torch.randn_like(p))
    return method.eval()
