"""When a step is run, when it is recorded, and when it is replayed."""

import pytest
import torch

from iapt.backbone.cache import FixedState
from iapt.errors import BackboneError
from iapt.inference.recorded import Recorded
from tests.gpu.on_devices import STAND_IN, backbone_on
from tests.gpu.stand_in import Device
from tests.tiny import encoded, padded

pytestmark = STAND_IN
ROOM = 6


def recorded(device: str) -> Recorded:
    backbone = backbone_on(device)
    ids, mask = (t.to(device) for t in padded([t.instruction for t in encoded()], "left"))
    with torch.no_grad():
        _, state = backbone.prefill(ids, mask, room=ROOM, fixed=True)
    assert isinstance(state, FixedState)
    return Recorded(backbone, state)


def step(model: Recorded, rows: int, gpu: Device) -> tuple[int, int]:
    """Feed a token per row; returns the graphs so far, and how often they were replayed."""
    with torch.no_grad():
        model.step(torch.full((rows,), 5).to(model._state.own.device))
    return len(gpu.graphs), sum(graph.replays for graph in gpu.graphs)


def test_a_size_is_run_once_then_recorded_once_and_replayed_from_then_on(gpu: Device) -> None:
    model = recorded("cuda")
    rows = len(encoded())
    assert [step(model, rows, gpu) for _ in range(3)] == [(0, 0), (1, 1), (1, 2)]
    model.keep(torch.tensor([0, 2]).to("cuda"))
    assert [step(model, 2, gpu) for _ in range(3)] == [(1, 2), (2, 3), (2, 4)]


def test_nothing_is_recorded_on_a_cpu(gpu: Device) -> None:
    model = recorded("cpu")
    assert [step(model, len(encoded()), gpu) for _ in range(3)] == [(0, 0)] * 3


def test_a_replayed_step_uses_up_room_too(gpu: Device) -> None:
    model = recorded("cuda")
    for _ in range(ROOM):
        step(model, len(encoded()), gpu)
    with pytest.raises(BackboneError, match=f"room for {ROOM} tokens"):
        step(model, len(encoded()), gpu)
