"""Tenants of one kind are served together: what they get is what the loop, and each alone, would give."""

import gc
import weakref
from functools import cache
from unittest.mock import patch

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from iapt.backbone.dims import FAMILIES
from iapt.backbone.tenants import SharedBackbone
from iapt.cli.overrides import CONFIG_DIR, groups
from iapt.entries import build_method
from iapt.inference.generate import decode_batch
from iapt.methods.bitfit import BitFit
from iapt.methods.iapt import IAPT
from iapt.methods.lora import LoRA, LowRank
from tests.tiny import EOS, PAD, examples, padded, shared_backbone, whole

METHODS = groups()["method"]
COPIES = 3
NEW = 5
LOOPED = {"ssp", "learned_adapter"}  # every tenant has a structure of its own


@cache
def numbers(name):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = compose("config", overrides=[f"method={name}"])
    return OmegaConf.to_container(config.method, resolve=True)


def noisy(method, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in method.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return method.eval()


@cache
def methods(family):
    """Three tenants of every preset, each with parameters of its own."""
    dims = shared_backbone(family).dims
    return {
        f"{name}{i}": noisy(build_method(numbers(name), dims), 10 + i)
        for name in METHODS
        for i in range(COPIES)
    }


def shared(family, tenants, *, loop=False):
    backbone = shared_backbone(family)
    backbone.detach()
    made = SharedBackbone(backbone)
    for name, method in tenants.items():
        made.add(name, method)
    if loop:
        made._stack = None
    return made


def decoded(backbone, texts, beams, side, eos=EOS, least=NEW):
    ids, mask = padded([t.instruction for t in texts], side)
    out = decode_batch(
        backbone, ids, mask, num_beams=beams, max_new_tokens=NEW, min_new_tokens=least,
        eos_token_id=eos, pad_token_id=PAD,
    )  # fmt: skip
    return out.tolist()


def alone(family, method, text):
    backbone = shared_backbone(family)
    backbone.detach()
    if method is not None:
        method.attach(backbone)
    with torch.no_grad():
        logits = backbone(*whole([text]))[0]
    out = [decoded(backbone, [text], beams, "left")[0] for beams in (1, 3)]
    backbone.detach()
    return logits, out


@pytest.mark.parametrize("family", FAMILIES)
def test_tenants_of_every_kind_repeated_and_mixed_are_served_as_if_alone(family):
    own = {k: m for k, m in methods(family).items() if k[-1] != "2"}
    names = [None, *own, *list(own)[::2], None]
    texts = examples(len(names))
    expected = [alone(family, own.get(n), t) for n, t in zip(names, texts, strict=True)]
    tenants = shared(family, own)
    with tenants.rows(names), torch.no_grad():
        for side in ("right", "left"):
            ids, mask, instruction = whole(texts, side)
            logits = tenants(ids, mask, instruction)
            for i, (name, (single, _)) in enumerate(zip(names, expected, strict=True)):
                gap = float((logits[i][mask[i]] - single).abs().max())
                assert gap < 2e-5, f"{name} is off by {gap:.2g} in a batch padded on the {side}"
            for beams in (1, 3):
                found = decoded(tenants, texts, beams, side)
                assert found == [out[beams // 3] for _, out in expected]
    tenants.detach()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", METHODS)
def test_stacked_tenants_give_what_the_loop_gives(family, name):
    own = {k: m for k, m in methods(family).items() if k[:-1] == name}
    a, b, c = own
    names = [a, b, c, a, b, a, c, c]
    texts = examples(len(names))
    batch = whole(texts)
    looped = shared(family, own, loop=True)
    with looped.rows(names), torch.no_grad():
        expected = looped(*batch)
        answers = [decoded(looped, texts, beams, "right", eos=7, least=0) for beams in (1, 3)]
    looped.detach()
    tenants = shared(family, own)
    with tenants.rows(names), torch.no_grad():
        assert len(tenants._rows.groups) == (COPIES if name in LOOPED else 1)
        logits = tenants(*batch)
        torch.testing.assert_close(logits[batch[1]], expected[batch[1]], atol=2e-5, rtol=0)
        found = [decoded(tenants, texts, beams, "right", eos=7, least=0) for beams in (1, 3)]
    assert found == answers
    tenants.detach()


def test_no_tenant_of_a_kind_is_called_on_its_own():
    dims = shared_backbone("llama").dims
    own = {f"{i}": noisy(LoRA(dims), i) for i in range(6)}
    tenants = shared("llama", own)
    calls = []
    forward = LowRank.forward

    def counted(self, x, y):
        calls.append(len(x))
        return forward(self, x, y)

    ids, mask = padded([t.instruction for t in examples(6)])
    sites = dims.num_layers * len(dims.linears)
    with patch.object(LowRank, "forward", counted), tenants.rows(list(own)), torch.no_grad():
        _, state = tenants.prefill(ids, mask, beams=3)
        assert calls == [6] * sites
        tenants.step(torch.full((18,), 5), state)
        assert calls == [6] * 2 * sites, "the three beams of a row are one row"
    tenants.detach()


def test_generators_of_prompts_are_gone_when_decoding_begins():
    dims = shared_backbone("llama").dims
    own = {f"{i}": noisy(IAPT(dims, bottleneck_dim=8), i) for i in range(3)}
    own |= {f"bias{i}": noisy(BitFit(dims), i) for i in range(2)}
    tenants = shared("llama", own)
    made = []
    stacked = IAPT.stacked

    def watched(self, rows):
        method = stacked(self, rows)
        made.append(weakref.ref(method))
        return method

    ids, mask = padded([t.instruction for t in examples(5)])
    with patch.object(IAPT, "stacked", watched), tenants.rows(list(own)), torch.no_grad():
        _, state = tenants.prefill(ids, mask)
        gc.collect()
        assert [method() for method in made] == [None], "their memory is free again"
        (group,) = state.rows.groups
        assert isinstance(group[0].method, BitFit)
        assert group[1].tolist() == [3, 4]
    tenants.detach()


def test_gradients_reach_every_tenant():
    own = {k: m for k, m in methods("llama").items() if k[:-1] in ("lora", "iapt")}
    names = [*own, *own]
    texts = examples(len(names))
    parameters = [p for m in own.values() for p in m.parameters()]
    found = []
    for loop in (True, False):
        tenants = shared("llama", own, loop=loop)
        for tenants.checkpointing in (False, True):
            with tenants.rows(names):
                ids, mask, instruction = whole(texts)
                loss = tenants(ids, mask, instruction)[mask].logsumexp(-1).sum()
                found.append(torch.autograd.grad(loss, parameters, allow_unused=True))
        tenants.detach()
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_a_change_of_parameters_counts_in_the_next_pass():
    dims = shared_backbone("llama").dims
    own = {f"{i}": noisy(LoRA(dims), i) for i in range(2)}
    tenants = shared("llama", own)
    batch = whole(examples(2))
    with tenants.rows(["0", "1"]), torch.no_grad():
        before = tenants(*batch)
        for p in own["1"].parameters():
            p.zero_()
        after = tenants(*batch)
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1], atol=1e-3)
    tenants.detach()


def test_a_seat_made_in_training_leaves_dropout_on():
    dims = shared_backbone("llama").dims
    tenants = shared("llama", {f"{i}": LoRA(dims) for i in range(2)})
    tenants.train(True)
    try:
        with tenants.rows(["0", "1"]):
            tenants(*whole(examples(2)))
        assert tenants.model.training
    finally:
        tenants.train(False)
        tenants.detach()
