"""Adapters written for peft, loaded by peft."""

import pytest
import torch

from iapt.backbone.dims import FAMILIES
from iapt.errors import AdapterError
from iapt.methods.houlsby import Houlsby
from iapt.methods.ia3 import IA3
from iapt.methods.lora import LoRA
from iapt.methods.peft_format import save_peft
from tests.methods import by_hand
from tests.tiny import new_backbone


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks for it
@pytest.mark.parametrize("build", [LoRA, IA3])
@pytest.mark.parametrize("family", FAMILIES)
def test_peft_loads_the_folder_and_computes_the_same_logits(family, build, tmp_path):
    peft = pytest.importorskip("peft")
    backbone = new_backbone(family)
    bare = by_hand.own_logits(backbone)
    method = by_hand.disturbed(build(backbone.dims))
    ours = by_hand.own_logits(backbone, method)
    save_peft(tmp_path, method, backbone, "nobody/tiny")
    assert (ours - bare).abs().max() > 0.1

    fresh = new_backbone(family)
    theirs = peft.PeftModel.from_pretrained(fresh.model, tmp_path).eval()
    loaded = {k for k in theirs.state_dict() if "lora_" in k or "ia3_" in k}
    assert len(loaded) == len(method.to_peft(backbone)[1])
    ids, mask = by_hand.tokens()
    with torch.no_grad():
        logits = theirs(input_ids=ids, attention_mask=mask).logits[mask]
    torch.testing.assert_close(logits, ours, atol=1e-5, rtol=0)


def test_methods_that_peft_lacks_refuse_by_name(tmp_path):
    backbone = new_backbone("llama")
    with pytest.raises(AdapterError, match="Houlsby has no counterpart in peft"):
        save_peft(tmp_path, Houlsby(backbone.dims), backbone, "nobody/tiny")
    assert not list(tmp_path.iterdir())
