"""P-tuning v2: prefixes equal to peft's and to a cache filled by hand; what is saved of them."""

import json
import warnings

import peft
import pytest
import torch
from transformers import DynamicCache

from iapt.backbone.dims import FAMILIES
from iapt.errors import AdapterError
from iapt.inference.generate import decode_batch
from iapt.methods.p_tuning_v2 import PTuningV2
from iapt.methods.peft_format import save_peft
from tests.methods.other_backbones import trained_on
from tests.methods.paper_sizes import active, counted, preset, served, trained
from tests.saved import load_adapter, save_adapter
from tests.tiny import EOS, PAD, encoded, new_backbone, padded, shared_backbone

P = 5
ROTARY = ("llama", "gpt_neox")


def attached(family, latent_dim=3, init_std=1.0):
    torch.manual_seed(1)
    backbone = shared_backbone(family)
    backbone.detach()
    method = PTuningV2(backbone.dims, P, latent_dim, init_std).eval()
    method.attach(backbone)
    return backbone, method


def batch(side="right"):
    return padded([e.instruction + e.response for e in encoded()], side)


def in_peft(folder, family):
    """The saved prefix on a model of peft's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
        return peft.PeftModel.from_pretrained(new_backbone(family).model, folder).eval()


def test_counts_are_the_papers():
    method = preset("p_tuning_v2")
    assert trained(method) == 9_439_488
    assert counted("p_tuning_v2") == 36 * 2 * 32 * 4096 == 9_437_184
    assert served(method) == 64 * 2 * 32 * 4096 == 16_777_216
    assert active(method) == 0


@pytest.mark.parametrize(
    ("backbone", "size"), [("gpt2_large", 3_317_760 + 2_304), ("pythia_1b4", 3_538_944 + 2_304)]
)
def test_counts_on_the_other_backbones(backbone, size):
    assert trained_on(backbone, "p_tuning_v2") == size


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_a_cache_filled_by_hand(family):
    backbone, method = attached(family)
    ids, mask = batch()
    cache = DynamicCache()
    with torch.no_grad():
        ours = backbone(ids, mask)
        for layer in range(backbone.dims.num_layers):
            keys, values = (t.expand(len(ids), -1, -1, -1) for t in method.keys_values(layer))
            cache.update(keys, values, layer)
        start = 0 if family == "gpt2" else P
        literal = backbone.model(
            ids,
            past_key_values=cache,
            attention_mask=torch.cat([torch.ones(len(ids), P, dtype=torch.bool), mask], 1),
            position_ids=start + torch.arange(ids.shape[1]).expand(len(ids), -1),
        ).logits
    torch.testing.assert_close(ours[mask], literal[mask], atol=1e-5, rtol=0)


def test_latents_are_shared_by_all_blocks():
    _, method = attached("llama")
    before = [torch.cat(method.keys_values(layer)) for layer in range(5)]
    with torch.no_grad():
        method.vectors.latent[2] += 1
    for layer in range(5):
        moved = (torch.cat(method.keys_values(layer)) - before[layer]).abs().amax((0, 2)) > 0
        assert moved.tolist() == [False, False, True, False, False]


def test_prefixes_start_at_the_given_scale():
    method = PTuningV2(shared_backbone("llama").dims, prompt_len=64, latent_dim=36, init_std=0.02)
    assert 0.8 < float(method.vectors().detach().std()) / 0.02 < 1.25


@pytest.mark.parametrize("latent_dim", [None, 3])
@pytest.mark.parametrize("family", ROTARY)
def test_peft_loads_the_exported_prefix_and_gives_the_same_logits(family, latent_dim, tmp_path):
    backbone, method = attached(family, latent_dim)
    save_peft(tmp_path, method, backbone, "tiny")
    ids, mask = batch()
    with torch.no_grad():
        ours = backbone(ids, mask)
        theirs = in_peft(tmp_path, family)(ids, attention_mask=mask.long()).logits
    torch.testing.assert_close(ours[mask], theirs[mask], atol=1e-5, rtol=0)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["num_virtual_tokens"] == P


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("family", ROTARY)
def test_peft_writes_the_same_text_with_the_exported_prefix(family, num_beams, tmp_path):
    backbone, method = attached(family)
    save_peft(tmp_path, method, backbone, "tiny")
    model = in_peft(tmp_path, family)
    for text in encoded():  # one by one: padding on the left is not peft's strength
        ids = torch.tensor([text.instruction])
        options = {"num_beams": num_beams, "max_new_tokens": 6}
        ours = decode_batch(
            backbone, ids, torch.ones_like(ids), eos_token_id=EOS, pad_token_id=PAD, **options
        )
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
                eos_token_id=EOS, pad_token_id=PAD, **options,
            )[:, ids.shape[1] :]  # fmt: skip
        assert ours.tolist() == theirs.tolist()


def test_gpt2_is_not_exported_and_the_reason_is_given(tmp_path):
    backbone, method = attached("gpt2")
    with pytest.raises(AdapterError, match="GPT-2 have no counterpart in peft"):
        save_peft(tmp_path / "peft", method, backbone, "tiny")
    assert not (tmp_path / "peft").exists()


def test_a_saved_adapter_holds_the_plain_prefix_and_gives_the_same_logits(tmp_path):
    backbone, method = attached("llama")
    ids, mask = batch("left")
    with torch.no_grad():
        trained_logits = backbone(ids, mask)
    save_adapter(tmp_path, method, {})
    served_form = PTuningV2(backbone.dims, P, 3)
    load_adapter(tmp_path, served_form, {})
    assert [n for n, _ in served_form.named_parameters()] == ["vectors.plain"]
    fresh = new_backbone("llama")
    served_form.attach(fresh)
    with torch.no_grad():
        torch.testing.assert_close(fresh(ids, mask), trained_logits, atol=1e-6, rtol=0)
