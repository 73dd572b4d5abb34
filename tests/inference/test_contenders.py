"""What is timed as decoding: so many tokens for everybody, each with its own method."""

from typing import Any

import pytest
import torch

from iapt.backbone.base import Backbone
from iapt.inference import contenders as module
from iapt.inference.contenders import PEER_GENERATE, PEER_PEFT, decoding
from iapt.methods.iapt import IAPT
from iapt.methods.lora import LoRA
from tests.tiny import EOS, PAD, new_backbone

IDS = torch.arange(5, 11)[None]


@pytest.mark.parametrize("recorded", [False, True])
def test_everybody_writes_the_tokens_asked_for_with_its_method_and_leaves_the_backbone_bare(
    recorded: bool, monkeypatch: pytest.MonkeyPatch
):
    backbone = new_backbone("llama")
    ours: list[tuple[bool, dict[str, Any]]] = []
    theirs: list[dict[str, Any]] = []
    monkeypatch.setattr(
        module, "decode_batch", lambda b, *_, **options: ours.append((bool(b._actions), options))
    )
    backbone.model.generate = lambda **options: theirs.append(options)
    method = LoRA(backbone.dims)
    found = decoding(
        backbone, {"lora": lambda: method}, IDS, EOS, PAD, 3, merged=True, recorded=recorded
    )
    assert list(found) == ["bare", "lora, merged", "lora", PEER_GENERATE, PEER_PEFT]
    for contender in found.values():
        with contender() as run:
            run(5)
            assert not method.training
        assert not backbone._actions
    assert [acts for acts, _ in ours] == [False, False, True]
    assert {options["recorded"] for _, options in ours} == {recorded}
    assert len(theirs) == 2
    for options in (*(options for _, options in ours), *theirs):
        asked = ("num_beams", "max_new_tokens", "min_new_tokens", "pad_token_id")
        assert [options[key] for key in asked] == [3, 5, 5, PAD]


@pytest.mark.parametrize("quantized", [False, True])
def test_only_what_can_be_merged_is_timed_merged(quantized: bool, monkeypatch: pytest.MonkeyPatch):
    backbone = new_backbone("llama")
    monkeypatch.setattr(Backbone, "quantized", quantized)
    methods = {
        "lora": lambda: LoRA(backbone.dims),
        "iapt": lambda: IAPT(backbone.dims, bottleneck_dim=8),
    }
    found = decoding(backbone, methods, IDS, EOS, PAD, 1, merged=True)
    assert [n for n in found if "merged" in n] == ([] if quantized else ["lora, merged"])
