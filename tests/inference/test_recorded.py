"""Steps of fixed shapes: the same tokens, nothing that moves, and a recording that is replayed as it should be."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.cache import FixedState
from iapt.backbone.dims import FAMILIES
from iapt.backbone.tenants import SharedBackbone
from iapt.errors import BackboneError
from iapt.inference.generate import decode_batch
from iapt.inference.recorded import Recorded
from iapt.methods.houlsby import Houlsby
from iapt.methods.iapt import IAPT
from iapt.methods.lora import LoRA
from iapt.methods.p_tuning import PTuning
from tests.methods.by_hand import disturbed
from tests.tiny import EOS, PAD, encoded, new_backbone, padded

ROWS = [e.instruction for e in encoded()]
NEW = 7


def decoded(
    backbone: Backbone, beams: int, recorded: bool, eos: int = EOS, new: int = NEW
) -> list[list[int]]:
    ids, mask = padded(ROWS, "left")
    return decode_batch(
        backbone,
        ids,
        mask,
        num_beams=beams,
        max_new_tokens=new,
        eos_token_id=eos,
        pad_token_id=PAD,
        recorded=recorded,
    ).tolist()


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("build", [None, IAPT, LoRA, PTuning, Houlsby])
def test_fixed_shapes_give_the_same_tokens_also_when_rows_leave(build, family: str, beams: int):
    backbone = new_backbone(family)
    if build:
        disturbed(build(backbone.dims)).attach(backbone)
    ends_early = decoded(backbone, 1, recorded=False)[0][2]
    for eos in (EOS, ends_early):
        assert decoded(backbone, beams, True, eos) == decoded(backbone, beams, False, eos)


def test_fixed_shapes_have_room_for_long_answers():
    backbone = new_backbone("llama")
    texts = [decoded(backbone, 2, recorded, eos=-1, new=40) for recorded in (True, False)]
    assert texts[0] == texts[1]
    assert len(texts[0][0]) == 40


def test_fixed_shapes_give_tenants_the_same_tokens():
    backbone = SharedBackbone(new_backbone("llama"))
    for name, build in (("a", LoRA), ("b", LoRA), ("c", PTuning)):
        torch.manual_seed(ord(name))
        backbone.add(name, disturbed(build(backbone.dims)))
    with backbone.rows(["a", None, "c", "b"]):
        assert decoded(backbone, 3, recorded=True) == decoded(backbone, 3, recorded=False)


@torch.no_grad()
def test_nothing_that_a_step_reads_or_writes_moves():
    backbone = new_backbone("llama")
    _, state = backbone.prefill(*padded(ROWS), beams=3, room=4, fixed=True)
    assert isinstance(state, FixedState)

    def places() -> list[tuple[int, torch.Size]]:
        found = [state.mask, state.lengths, state.own, state._new, *state.keys, *state.values]
        return [(t.data_ptr(), t.shape) for t in found]

    before = places()
    for _ in range(4):
        backbone.step(torch.full((len(ROWS) * 3,), 5), state)
        state.reorder(torch.tensor([[2, 0, 0]] * len(ROWS)))
        assert places() == before
    with pytest.raises(BackboneError, match="room for 4 tokens"):
        backbone.step(torch.full((len(ROWS) * 3,), 5), state)


class Tape:
    """A graph without a GPU: recording leaves every tensor as it was, replaying runs the step on them."""

    recordings = 0

    def replay(self) -> None:
        state = self.model._state
        state.fed -= 1  # a replayed step counts nothing
        self.model._logits.copy_(self.model._backbone.step(self.model._tokens, state))


@contextmanager
def recording(tape: Tape) -> Iterator[None]:
    state = tape.model._state
    tensors = [state.own, state.lengths, state._new, *state.keys, *state.values]
    before = [t.clone() for t in tensors]
    Tape.recordings += 1
    yield
    for tensor, value in zip(tensors, before, strict=True):
        tensor.copy_(value)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_recorded_step_is_replayed_with_the_tokens_of_the_day(
    beams: int, monkeypatch: pytest.MonkeyPatch
):
    backbone = new_backbone("llama")
    ends_early = decoded(backbone, 1, recorded=False)[0][2]
    expected = [decoded(backbone, beams, False, eos) for eos in (EOS, ends_early)]

    class OnTape(Recorded):
        def __init__(self, backbone: Backbone, state: FixedState) -> None:
            super().__init__(backbone, state)
            self._records = True

        def _aside(self, tokens: Tensor) -> Tensor:
            return self._backbone.step(tokens, self._state)

        def step(self, tokens: Tensor) -> Tensor:
            Tape.model = self
            return super().step(tokens)

    monkeypatch.setattr("iapt.inference.generate.Recorded", OnTape)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Tape)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(Tape, "recordings", 0)
    assert decoded(backbone, beams, True, EOS) == expected[0]
    assert Tape.recordings == 1
    assert decoded(backbone, beams, True, ends_early) == expected[1]
    assert Tape.recordings > 1, "rows left, so the step had another size"
