"""P-tuning: where the soft tokens stand, what they start as, and what is saved of them."""

import pytest
import torch

from iapt.backbone.dims import FAMILIES
from iapt.methods.p_tuning import PTuning
from tests.methods.other_backbones import trained_on
from tests.methods.paper_sizes import active, counted, preset, served, trained
from tests.methods.refused import assert_refused
from tests.saved import load_adapter, save_adapter
from tests.tiny import encoded, new_backbone, padded, shared_backbone

P = 5


def attached(family, **numbers):
    torch.manual_seed(1)
    backbone = shared_backbone(family)
    backbone.detach()
    method = PTuning(backbone.dims, **({"prompt_len": P, "latent_dim": 3} | numbers)).eval()
    method.attach(backbone)
    return backbone, method


def batch(side="right"):
    return padded([e.instruction + e.response for e in encoded()], side)


def test_counts_are_the_papers():
    method = preset("p_tuning")
    assert trained(method) == 9_439_488
    assert counted("p_tuning") == 64 * 36 * 4096 == 9_437_184
    assert served(method) == 64 * 4096
    assert active(method) == 0


@pytest.mark.parametrize(
    ("backbone", "size"), [("gpt2_large", 2_949_120 + 2_304), ("pythia_1b4", 4_718_592 + 2_304)]
)
def test_counts_on_the_other_backbones(backbone, size):
    assert trained_on(backbone, "p_tuning") == size


@pytest.mark.parametrize("latent_dim", [None, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_embeddings_put_in_front_by_hand(family, latent_dim):
    backbone, method = attached(family, latent_dim=latent_dim)
    ids, mask = batch()
    with torch.no_grad():
        ours = backbone(ids, mask)
        soft = method.vectors().expand(len(ids), -1, -1)
        text = backbone.family.embedding_table()[ids]
        places = torch.arange(P + ids.shape[1]).expand(len(ids), -1)
        if family == "gpt2":  # text keeps 0.., soft tokens have no position: take off what is added
            soft = soft - backbone.model.transformer.wpe.weight[0]
            places = (places - P).clamp(min=0)
        literal = backbone.model(
            inputs_embeds=torch.cat([soft, text], 1),
            attention_mask=torch.cat([torch.ones(len(ids), P, dtype=torch.bool), mask], 1),
            position_ids=places,
        ).logits[:, P:]
    torch.testing.assert_close(ours[mask], literal[mask], atol=1e-5, rtol=0)


def test_every_soft_token_has_its_own_projection():
    _, method = attached("llama")
    before = method.vectors()
    with torch.no_grad():
        method.vectors.projection[2] += 1
    changed = (method.vectors() - before).abs().amax(1) > 0
    assert changed.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("latent_dim", [None, 36])
@pytest.mark.parametrize("family", FAMILIES)
def test_soft_tokens_start_at_the_scale_of_the_embeddings(family, latent_dim):
    backbone, method = attached(family, prompt_len=64, latent_dim=latent_dim)
    ratio = float(method.vectors().detach().std() / backbone.family.embedding_table().std())
    assert 0.8 < ratio < 1.25
    fixed = PTuning(backbone.dims, prompt_len=64, latent_dim=latent_dim, init_std=3.0)
    fixed.attach(backbone)
    assert 0.8 < float(fixed.vectors().detach().std()) / 3 < 1.25


def test_the_scale_is_set_once_and_never_on_loaded_weights():
    backbone, method = attached("llama")
    first = method.vectors().detach().clone()
    backbone.detach()
    method.attach(backbone)
    assert torch.equal(method.vectors(), first)
    loaded = PTuning(backbone.dims, prompt_len=P, latent_dim=3)
    loaded.load_state_dict(method.state_dict())
    backbone.detach()
    loaded.attach(backbone)
    assert torch.equal(loaded.vectors(), first)


def test_a_saved_adapter_holds_the_soft_tokens_alone_and_gives_the_same_logits(tmp_path):
    backbone, method = attached("llama")
    ids, mask = batch("left")
    with torch.no_grad():
        trained_logits = backbone(ids, mask)
    save_adapter(tmp_path, method, {})
    served_form = PTuning(backbone.dims, prompt_len=P, latent_dim=3)
    load_adapter(tmp_path, served_form, {})
    assert sum(t.numel() for t in served_form.state_dict().values()) == P * 32
    fresh = new_backbone("llama")
    served_form.attach(fresh)
    with torch.no_grad():
        assert torch.equal(fresh(ids, mask), trained_logits)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"prompt_len": 0}, "method.prompt_len=0"),
        ({"latent_dim": 0}, "method.latent_dim=0"),
        ({"init_std": -1.0}, r"method.init_std=-1.0"),
    ],
)
def test_impossible_numbers_are_named(numbers, message):
    assert_refused("p_tuning", message, **numbers)
