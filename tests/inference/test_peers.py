"""The usual trainer beside ours: that it does the same work, and what its seconds are divided by."""

import itertools
from types import SimpleNamespace

import pytest

from iapt.backbone.dims import FAMILIES
from iapt.data.encode import Batch
from iapt.inference import peers
from iapt.inference.peers import peft_lora, trainer_seconds
from iapt.methods.lora import LoRA
from tests.tiny import data, new_backbone


class Told(list[Batch]):
    """Batches that tell which of them were taken."""

    def __init__(self, batches: list[Batch]) -> None:
        super().__init__(batches)
        self.taken: list[int] = []

    def __getitem__(self, i):  # type: ignore[no-untyped-def]
        self.taken.append(i)
        return super().__getitem__(i)


def test_each_batch_is_one_step_and_the_first_is_not_timed(monkeypatch: pytest.MonkeyPatch):
    ticks = itertools.count()  # a second for every step
    monkeypatch.setattr(peers, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    batches = Told([data().batch([i]) for i in range(4)])
    assert trainer_seconds(new_backbone("llama"), batches) == 3.0
    assert batches.taken == [0, 1, 2, 3], "in their order: the first one warms up"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_peers_lora_is_ours_in_size_and_scale_and_leaves_the_backbone_frozen(family: str):
    backbone = new_backbone(family)
    ours = LoRA(backbone.dims)
    with peft_lora(backbone) as model:
        trained = [p.numel() for p in model.parameters() if p.requires_grad]
        scales = {m.scaling["default"] for m in model.modules() if hasattr(m, "lora_A")}
    assert sum(trained) == sum(p.numel() for p in ours.parameters())
    assert scales == {ours.alpha / ours.rank}
    assert not any(p.requires_grad for p in backbone.model.parameters())
