"""The engine against the Hugging Face model it runs, and its verbs against the same by hand."""

from functools import partial
from operator import methodcaller

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from iapt.backbone.base import Backbone
from iapt.backbone.dims import FAMILIES, PARTS
from iapt.backbone.tenants import SharedBackbone
from iapt.errors import BackboneError
from iapt.methods.base import Method
from tests.tiny import encoded, new_backbone, padded, shared_backbone, tiny_dims

ATOL = 1e-5
ROWS = [e.instruction + e.response for e in encoded()]


def gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def bare(family: str, attn: str = "sdpa") -> Backbone:
    backbone = shared_backbone(family, attn)
    backbone.detach()
    backbone.checkpointing = False
    return backbone


@torch.no_grad()
def hugging_face(backbone: Backbone, ids: Tensor, mask: Tensor) -> Tensor:
    """The model's own forward pass; positions count real tokens, so that left padding is right."""
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return backbone.model(input_ids=ids, attention_mask=mask.long(), position_ids=positions).logits


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("attn", ["eager", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_bare_logits_are_hugging_faces(family: str, attn: str, side: str):
    backbone = bare(family, attn)
    ids, mask = padded(ROWS, side)
    with torch.no_grad():
        logits = backbone(ids, mask)
    assert gap(logits[mask], hugging_face(backbone, ids, mask)[mask]) < ATOL


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
def test_prefill_and_steps_are_hugging_faces(family: str, side: str):
    backbone = bare(family)
    ids, mask = padded(ROWS, side)
    with torch.no_grad():
        logits, state = backbone.prefill(ids, mask)
        for new in (7, 8, 9):
            assert gap(logits, _last(backbone, state.lengths, new)) < ATOL
            logits = backbone.step(torch.full((len(ROWS),), new), state)


def _last(backbone: Backbone, lengths: Tensor, new: int) -> Tensor:
    """Next-token logits of each row alone, the tokens fed so far behind it."""
    found = []
    for row, n in zip(ROWS, lengths.tolist(), strict=True):
        text = torch.tensor([[*row, *range(7, new)]])
        assert text.shape[1] == n
        found.append(hugging_face(backbone, text, torch.ones_like(text).bool())[0, -1])
    return torch.stack(found)


@pytest.mark.parametrize("after_first", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_kept_soft_tokens_are_input_embeddings(family: str, after_first: bool):
    backbone = bare(family)
    soft = torch.randn(1, 3, backbone.dims.hidden_size)
    row = torch.tensor([ROWS[0]])
    place = int(after_first)
    backbone.soft_prompt(0, lambda h, mask: soft, keep=True, after_first=after_first)
    with torch.no_grad():
        logits = backbone(row)[0]
        embeds = backbone.model.get_input_embeddings()(row)
        positions = torch.arange(row.shape[1] + 3)[None]
        prompt = soft
        if family == "gpt2":  # soft tokens have no position there, and text keeps its own
            own = torch.arange(row.shape[1])[None]
            zeros = torch.zeros(1, 3, dtype=torch.long)
            positions = torch.cat([own[:, :place], zeros, own[:, place:]], 1)
            prompt = soft - backbone.model.transformer.wpe(zeros)
        full = torch.cat([embeds[:, :place], prompt, embeds[:, place:]], 1)
        expected = backbone.model(inputs_embeds=full, position_ids=positions).logits[0]
    backbone.detach()
    expected = torch.cat([expected[:place], expected[place + 3 :]])
    assert gap(logits, expected) < ATOL


@pytest.mark.parametrize("family", FAMILIES)
def test_a_constant_prefix_is_a_filled_cache(family: str):
    backbone = bare(family)
    d = backbone.dims
    keys, values = torch.randn(2, d.num_layers, d.num_kv_heads, 3, d.head_dim)
    for layer in range(d.num_layers):
        backbone.kv_prefix(layer, lambda layer=layer: (keys[layer], values[layer]))
    row = torch.tensor([ROWS[0]])
    with torch.no_grad():
        logits = backbone(row)
        cache = DynamicCache()
        for layer in range(d.num_layers):
            cache.update(keys[None, layer], values[None, layer], layer)
        start = 0 if family == "gpt2" else 3  # rotary positions of the text begin behind the prefix
        expected = backbone.model(
            row,
            past_key_values=cache,
            attention_mask=torch.ones(1, row.shape[1] + 3),
            position_ids=torch.arange(start, start + row.shape[1])[None],
        ).logits
    backbone.detach()
    assert gap(logits, expected) < ATOL


@pytest.mark.parametrize("after_first", [False, True])
def test_checkpointing_knows_where_soft_tokens_came_in(after_first: bool):
    """A block below the soft tokens is run again without them."""
    backbone = bare("llama")
    scale = torch.ones(backbone.dims.hidden_size, requires_grad=True)
    soft = torch.randn(3, backbone.dims.hidden_size, requires_grad=True)
    backbone.on_linear(0, "o", lambda x, y: y * scale)
    backbone.soft_prompt(
        2,
        lambda h, mask: h[:, :1] + soft.expand(len(h), -1, -1),
        keep=True,
        after_first=after_first,
    )
    ids, mask = padded(ROWS)
    found = []
    for checkpointing in (False, True):
        backbone.checkpointing = checkpointing
        loss = backbone(ids, mask)[mask].logsumexp(-1).sum()
        found.append(torch.autograd.grad(loss, [scale, soft]))
    bare("llama")
    for a, b in zip(*found, strict=True):
        assert gap(a, b) < 1e-4 * float(a.abs().max())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("part", ["attn", "ffn"])
def test_a_silenced_sublayer_adds_nothing(family: str, part: str):
    backbone = bare(family)
    other = new_backbone(family)
    for layer in range(backbone.dims.num_layers):
        backbone.on_sublayer(layer, part, lambda x, y: torch.zeros_like(y))
        for p in other.family.sublayer(layer, part).parameters():
            p.zero_()
    ids, mask = padded(ROWS)
    with torch.no_grad():
        assert gap(backbone(ids, mask)[mask], hugging_face(other, ids, mask)[mask]) < ATOL
    backbone.detach()


def test_blocks_replaced_by_their_input_leave_the_embeddings():
    backbone = bare("llama")
    for layer in range(backbone.dims.num_layers):
        backbone.on_block(layer, lambda h, out: h)
    ids, mask = padded(ROWS)
    model = backbone.model
    with torch.no_grad():
        expected = model.lm_head(model.model.norm(model.model.embed_tokens(ids)))
        assert torch.equal(backbone(ids, mask), expected)
    backbone.detach()


def test_final_states_are_the_bare_models():
    backbone = bare("llama")
    backbone.on_block(1, lambda h, out: h)
    ids, mask = padded(ROWS)
    model = backbone.model
    states = backbone.final_states(model.model.embed_tokens(ids), mask)
    expected = hugging_face(backbone, ids, mask)
    backbone.detach()
    assert not states.requires_grad
    assert gap(model.lm_head(states)[mask], expected[mask]) < ATOL


def test_an_empty_row_is_refused():
    ids, mask = padded(ROWS)
    mask[1] = False
    with pytest.raises(BackboneError, match="no real token"):
        bare("llama")(ids, mask)


def test_an_empty_instruction_is_refused_where_prompts_are_made_from_it():
    backbone = bare("llama")
    ids, mask = padded(ROWS)
    instruction = mask.clone()
    instruction[2] = False
    backbone(ids, mask, instruction)  # nothing looks at it
    backbone.soft_prompt(0, lambda h, m: h[:, :2])
    with pytest.raises(BackboneError, match="empty instruction"):
        backbone(ids, mask, instruction)
    with backbone.disabled():
        backbone(ids, mask, instruction)
    backbone.detach()


@pytest.mark.parametrize("family", FAMILIES)
def test_more_tokens_than_positions_are_refused_by_number(family: str):
    longest = tiny_dims(family).max_positions
    backbone = bare(family)
    ids = torch.full((1, longest + 1), 5)
    with pytest.raises(BackboneError, match=f"{longest + 1} tokens exceeds .* {longest} positions"):
        backbone(ids)
    mask = torch.ones_like(ids)
    mask[0, -1] = 0  # a pad takes no position
    with torch.no_grad():
        assert backbone(ids, mask).shape[1] == longest + 1


@torch.no_grad()
def test_padding_may_reach_beyond_the_last_position():
    backbone = bare("gpt2")
    ids, mask = padded(ROWS)
    wide = backbone.dims.max_positions
    more = [torch.nn.functional.pad(t, (0, wide)) for t in (ids, mask)]
    assert gap(backbone(*more)[:, : ids.shape[1]][mask], backbone(ids, mask)[mask]) < ATOL


def test_two_methods_that_keep_soft_tokens_are_refused():
    backbone = bare("llama")
    for layer in (0, 2):
        backbone.soft_prompt(layer, lambda h, m: h[:, :2], keep=True)
    with pytest.raises(BackboneError, match="one at a time"):
        backbone(torch.tensor([ROWS[0]]))
    backbone.detach()


@pytest.mark.parametrize("second", ["prompt", "prefix"])
@pytest.mark.parametrize("first", ["prompt", "prefix"])
def test_two_methods_in_front_of_one_block_are_refused(first: str, second: str):
    backbone = bare("llama")
    dims = backbone.dims

    def put(kind: str) -> None:
        if kind == "prompt":
            backbone.soft_prompt(1, lambda h, mask: h[:, :2])
        else:
            zeros = torch.zeros(dims.num_kv_heads, 2, dims.head_dim)
            backbone.kv_prefix(1, lambda: (zeros, zeros))

    put(first)
    with pytest.raises(BackboneError, match="block 1 already has"):
        put(second)
    backbone.detach()
    put(second)
    backbone.detach()


def test_weights_are_frozen_from_the_start():
    backbone = new_backbone("llama")
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert not backbone.model.training


WRONG_PLACES = [
    ("llama", "on_sublayer", (0, "attention"), r"block 0, 'attention': .* attn, ffn here.*'attn'"),
    ("gpt2", "on_sublayer", (0, "mlp"), "a gpt2 block has attn, ffn here"),
    ("gpt_neox", "on_linear", (0, "query"), "a gpt_neox block has q, k, v, o, up, down, qkv, act"),
    ("llama", "on_linear", (1, "act"), "a llama block has q, k, v, o, gate, up, down here"),
    ("llama", "on_linear", (5, "q"), "block 5: must be 0 to 4"),
    ("llama", "on_block", (99,), "block 99: must be 0 to 4"),
    ("llama", "soft_prompt", (-1,), "block -1: must be 0 to 4"),
    ("llama", "kv_prefix", (5,), "block 5: must be 0 to 4"),
]


class Calling(Method):
    """Calls one verb."""

    def __init__(self, verb: str, place: tuple[object, ...]) -> None:
        super().__init__()
        self.verb, self.place = verb, place

    def attach(self, backbone):
        getattr(backbone, self.verb)(*self.place, lambda *given: given[-1])


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("family", "verb", "place", "message"), WRONG_PLACES)
def test_a_place_that_there_is_not_is_refused(family: str, verb: str, place, message, shared: bool):
    backbone = bare(family)
    attach = (
        partial(SharedBackbone(backbone).add, "a") if shared else methodcaller("attach", backbone)
    )
    with pytest.raises(BackboneError, match=message):
        attach(Calling(verb, place))
    backbone.detach()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_place_that_is_allowed_exists(family: str):
    backbone = bare(family)
    for layer in range(backbone.dims.num_layers):
        for site in backbone.dims.outputs:
            backbone.on_linear(layer, site, lambda x, y: y)
        for part in PARTS:
            backbone.on_sublayer(layer, part, lambda x, y: y)
    backbone.detach()
