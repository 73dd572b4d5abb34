"""Logical sites on the three families: what q, k and v are inside fused projections."""

import pytest
import torch

from iapt.backbone.dims import FAMILIES
from tests.tiny import encoded, padded, shared_backbone

FUSED = ("gpt2", "gpt_neox")
ROWS = [e.instruction for e in encoded()]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_site_has_its_sizes(family: str):
    backbone = shared_backbone(family)
    backbone.detach()
    d = backbone.dims
    for site in {*d.sites, *d.linears}:
        module = backbone.family.site(1, site).module
        width = d.in_out(site)[0]
        out = backbone.family.site(1, site).take(module(torch.randn(2, 3, width)))
        assert out.shape == (2, 3, d.in_out(site)[1])


@pytest.mark.parametrize("family", FUSED)
def test_thirds_put_back_are_the_whole(family: str):
    backbone = shared_backbone(family)
    y = torch.randn(2, 3, 3 * backbone.dims.hidden_size)
    for site in ("q", "k", "v"):
        place = backbone.family.site(0, site)
        assert torch.equal(place.put(y, place.take(y)), y)
        changed = place.put(y, torch.zeros_like(place.take(y)))
        assert not place.take(changed).any()
        assert int((changed != y).sum()) == y.numel() // 3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("site", ["q", "k", "v"])
def test_a_change_of_one_leaves_the_others_bit_identical(family: str, site: str):
    """Keys and values in the cache, queries by their effect, of block 0, whose input stays the same."""
    backbone = shared_backbone(family)
    backbone.detach()
    ids, mask = padded(ROWS)
    with torch.no_grad():
        logits, before = backbone.prefill(ids, mask)
        backbone.on_linear(0, site, lambda x, y: 1.5 * y)
        changed, after = backbone.prefill(ids, mask)
    backbone.detach()
    same_keys, same_values = (
        torch.equal(getattr(before, t)[0], getattr(after, t)[0]) for t in ("keys", "values")
    )
    assert (same_keys, same_values) == (site != "k", site != "v")
    assert not torch.allclose(logits, changed, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_keys_and_values_are_what_the_block_caches(family: str):
    backbone = shared_backbone(family)
    backbone.detach()
    ids, mask = padded(ROWS)
    with torch.no_grad():
        _, state = backbone.prefill(ids, mask)
        place = torch.arange(ids.shape[1])[None]
        h = backbone.family.embed(ids, place)
        keys, values = backbone.family.keys_values(
            0, backbone.family.ln1(0)(h), backbone.family.rotary(h, place), backbone._act
        )
    width = ids.shape[1]
    assert torch.allclose(keys, state.keys[0][:, :, :width], atol=1e-6)
    assert torch.allclose(values, state.values[0][:, :, :width], atol=1e-6)
