"""AdapterDrop: which blocks stay bare, and when that is drawn."""

from dataclasses import replace

import pytest
import torch

from iapt.errors import ConfigError
from iapt.methods.adapter_drop import AdapterDrop
from iapt.methods.base import Progress
from iapt.methods.houlsby import Houlsby
from tests.methods import by_hand
from tests.methods.other_backbones import trained_on
from tests.methods.paper_sizes import active, counted, preset, served, trained
from tests.tiny import shared_backbone, tiny_dims


def robust(**numbers):
    torch.manual_seed(5)
    return by_hand.disturbed(
        AdapterDrop(tiny_dims("llama"), robust=True, bottleneck_dim=3, **numbers)
    )


def as_houlsby(method, dropped):
    """Houlsby with the same adapters, those of the lowest blocks made the identity."""
    twin = Houlsby(tiny_dims("llama"), bottleneck_dim=3).eval()
    tensors = {k: v for k, v in method.state_dict().items() if k != "seed"}
    assert not twin.load_state_dict(tensors, strict=False).unexpected_keys
    with torch.no_grad():
        for name, p in twin.named_parameters():
            if int(name.split(".")[1]) < dropped:
                p.zero_()
    return twin


@pytest.mark.parametrize("n", [0, 1, 3])
def test_the_lowest_blocks_have_no_adapters_and_the_others_are_houlsbys(n):
    backbone = shared_backbone("llama")
    torch.manual_seed(0)
    method = AdapterDrop(backbone.dims, drop_layers=n, bottleneck_dim=3)
    by_hand.disturbed(method)
    assert sorted(method.blocks) == [str(layer) for layer in range(n, 5)]
    expected = by_hand.own_logits(backbone, as_houlsby(method, n))
    assert torch.equal(by_hand.own_logits(backbone, method), expected)


def test_robust_training_uses_the_steps_draw_and_evaluation_the_fixed_number():
    backbone = shared_backbone("llama")
    method = robust(drop_layers=2)
    assert sorted(method.blocks) == list("01234")
    for step in (1, 2, 3):
        method.on_step_start(Progress(step, 10))
        expected = by_hand.own_logits(backbone, as_houlsby(method, method._drawn))
        method.train()
        assert torch.equal(by_hand.own_logits(backbone, method), expected)
        method.eval()
        fixed = by_hand.own_logits(backbone, as_houlsby(method, 2))
        assert torch.equal(by_hand.own_logits(backbone, method), fixed)
    backbone.train(False)


def test_draws_cover_the_lower_ten_twelfths_evenly():
    method = robust()
    draws = []
    for step in range(1, 1001):
        method.on_step_start(Progress(step, 1000))
        draws.append(method._drawn)
    counts = [draws.count(n) for n in range(5)]  # floor(5 * 10 / 12) = 4
    assert sum(counts) == 1000
    assert min(counts) > 150


def test_of_twelve_blocks_at_most_ten_are_dropped_as_in_the_original():
    method = AdapterDrop(replace(tiny_dims("llama"), num_layers=12), robust=True, bottleneck_dim=1)
    draws = set()
    for step in range(1, 501):
        method.on_step_start(Progress(step, 500))
        draws.add(method._drawn)
    assert draws == set(range(11))


def test_a_draw_depends_on_saved_seed_and_step_alone():
    def draws(method, steps):
        found = []
        for step in steps:
            torch.rand(step)  # whatever else is drawn
            method.on_step_start(Progress(step, 40))
            found.append(method._drawn)
        return found

    first = robust()
    torch.manual_seed(77)
    resumed = AdapterDrop(tiny_dims("llama"), robust=True, bottleneck_dim=3)
    assert draws(resumed, range(1, 41)) != draws(first, range(1, 41))
    resumed.load_state_dict(first.state_dict())
    assert draws(resumed, range(20, 41)) == draws(first, range(1, 41))[19:]


def test_counts_are_the_papers():
    method = preset("adapter_drop")
    assert trained(method) == served(method) == active(method) == 9_142_272
    assert counted("adapter_drop") == 2 * 31 * 2 * 4096 * 18
    assert counted("adapter_drop", robust=True) == 9_437_184
    drawn = preset("adapter_drop", robust=True)
    assert trained(drawn) == 9_437_184
    assert active(drawn) == 9_142_272
    assert trained_on("gpt2_large", "adapter_drop") == 2 * 35 * 2 * 1280 * 18
    assert trained_on("pythia_1b4", "adapter_drop") == 2 * 23 * 2 * 2048 * 18


def test_dropping_every_block_is_refused():
    with pytest.raises(ConfigError, match=r"method\.drop_layers=5: must be from 0 to 4"):
        AdapterDrop(tiny_dims("llama"), drop_layers=5)
