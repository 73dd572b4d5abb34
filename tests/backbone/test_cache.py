"""The static cache that beams share, against a cache that is copied and concatenated."""

import pytest
import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.dims import FAMILIES
from tests.backbone.literal import Literal
from tests.tiny import VOCAB, encoded, padded, shared_backbone

ROWS = [e.instruction for e in encoded()]
ATOL = 1e-5


def prompted(family: str) -> Backbone:
    """Soft tokens for one block alone, for the stream from a block on, and a prefix."""
    backbone = shared_backbone(family)
    backbone.detach()
    d = backbone.dims
    draw = torch.Generator().manual_seed(3)
    backbone.soft_prompt(1, lambda h, mask: 2 * h[:, :2], hide_from_first=True)
    backbone.soft_prompt(2, lambda h, mask: 0.5 * h[:, :3], keep=True, after_first=True)
    keys = torch.randn(2, d.num_kv_heads, 4, d.head_dim, generator=draw)
    backbone.kv_prefix(3, lambda: (keys[0], keys[1]))
    backbone.on_linear(0, "k", lambda x, y: 1.3 * y)
    return backbone


@torch.no_grad()
@pytest.mark.parametrize(("room", "fixed"), [(1, False), (16, False), (6, True), (16, True)])
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_beams_that_change_places_go_on_as_copied_rows(
    family: str, beams: int, room: int, fixed: bool
):
    """Random choices among a row's beams, more tokens than there was room for, rows leaving."""
    backbone = prompted(family)
    long_way = Literal(backbone)
    ids, mask = padded(ROWS)
    draw = torch.Generator().manual_seed(1)

    def some(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=draw)

    expected, copied = long_way.prefill(ids, mask)
    found, state = backbone.prefill(ids, mask, beams=beams, room=room, fixed=fixed)
    torch.testing.assert_close(found, expected, atol=ATOL, rtol=0)
    rows = torch.arange(len(ROWS))
    copied.reorder_cache(rows.repeat_interleave(beams))
    for turn in range(6):
        if turn == 3:
            left = torch.tensor([3, 1])
            rows = rows[left]
            state.keep(left)
            copied.reorder_cache((left[:, None] * beams + torch.arange(beams)).flatten())
        tokens = some(VOCAB, len(rows) * beams)
        found = backbone.step(tokens, state)
        torch.testing.assert_close(found, long_way.step(tokens, copied), atol=ATOL, rtol=0)
        chosen = some(beams, len(rows), beams)
        state.reorder(chosen)
        copied.reorder_cache((torch.arange(len(rows))[:, None] * beams + chosen).flatten())
    backbone.detach()


@torch.no_grad()
def test_the_beams_of_a_row_read_one_copy_of_its_instruction():
    backbone = shared_backbone("llama")
    backbone.detach()
    ids, mask = padded(ROWS)
    _, one = backbone.prefill(ids, mask, beams=1, room=4)
    _, four = backbone.prefill(ids, mask, beams=4, room=4)
    text = ids.shape[1]
    assert one.keys[0].shape[2] == text + 4
    assert four.keys[0].shape[:2] == one.keys[0].shape[:2]
    assert four.keys[0].shape[2] == text + 4 * 4


@torch.no_grad()
def test_a_step_moves_no_keys():
    backbone = shared_backbone("llama")
    backbone.detach()
    _, state = backbone.prefill(*padded(ROWS), beams=2, room=3)
    places = [t.data_ptr() for t in (*state.keys, *state.values)]
    for _ in range(3):
        backbone.step(torch.full((8,), 5), state)
        state.reorder(torch.tensor([[1, 1]] * 4))
    assert [t.data_ptr() for t in (*state.keys, *state.values)] == places
