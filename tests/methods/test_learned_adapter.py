"""The Learned-Adapter stand-in: the mixture, the order of decisions, and what is left of it."""

import math

import pytest
import torch
from torch.nn import functional as F

from iapt.methods.base import Progress
from iapt.methods.learned_adapter import ACTIVATIONS, LearnedAdapterReimpl
from tests.methods import by_hand
from tests.methods.paper_sizes import active, counted, preset, served, trained
from tests.methods.refused import assert_refused
from tests.methods.short_runs import STEPS, assert_same_after_a_kill, short_run
from tests.saved import load_adapter, save_adapter
from tests.tiny import shared_backbone, tiny_dims


def small(dims):
    return LearnedAdapterReimpl(dims, bottleneck_dim=3)


def disturbed(dims, **numbers):
    return by_hand.disturbed(LearnedAdapterReimpl(dims, bottleneck_dim=3, **numbers), noise=0.5)


@pytest.mark.parametrize("source", ["ln1", "raw"])
def test_a_block_gets_a_mixture_of_activations_and_inner_maps(source):
    backbone = shared_backbone("llama")
    method = disturbed(backbone.dims, input=source)
    phi = (F.relu, F.gelu, F.silu, torch.tanh, F.leaky_relu, lambda z: z)

    def beside(layer):
        a = method.blocks[layer]
        shares = torch.softmax(a.activation.phi.logits, 0)
        straight, mapped = torch.softmax(a.activation.e.logits, 0)
        norm = by_hand.module(backbone, layer, "ln1") if source == "ln1" else lambda h: h

        def fn(h, y):
            low = norm(h) @ a.down.T
            z = sum(share * f(low) for share, f in zip(shares, phi, strict=True))
            return y + 4 * (straight * z + mapped * z @ a.activation.inner) @ a.up.T

        return fn

    hooks = [(by_hand.module(backbone, layer, ""), beside(layer)) for layer in range(5)]
    expected = by_hand.logits(backbone, hooks)
    torch.testing.assert_close(by_hand.own_logits(backbone, method), expected, atol=1e-4, rtol=0)


def test_a_fresh_method_is_exactly_neutral_and_its_inner_map_the_identity():
    backbone = shared_backbone("llama")
    backbone.detach()
    bare = by_hand.own_logits(backbone)
    method = small(backbone.dims)
    assert method.neutral
    assert torch.equal(method.operations()[0].inner, torch.eye(3))
    assert torch.equal(by_hand.own_logits(backbone, method), bare)


def test_the_search_trains_the_choices_on_one_half_of_the_training_set_and_then_decides_all():
    method = disturbed(tiny_dims("llama"), search_fraction=0.3, decide_fraction=0.1)
    assert method.search.fraction == pytest.approx(0.4)
    assert method.search.held_out == 0.5
    steps = [Progress(step, 40) for step in range(1, 41)]
    decided = []
    for progress in steps:
        method.on_step_end(progress)
        decided.append(sum(not choice.open for choice in method.choices()))
    assert decided == [0] * 30 + list(range(1, 11))  # the last tenth of a search four times as long


def test_decisions_are_made_one_after_another_the_most_confident_first():
    method = disturbed(tiny_dims("llama"))
    entropies = {choice: choice.entropy() for choice in method.choices()}
    order = []
    for step in range(1, 41):
        method.on_step_end(Progress(step, 40))
        order += [choice for choice in entropies if choice not in order and not choice.open]
        assert len(order) == max(0, math.ceil((step - 20) / 2))  # 10 decisions over 20 steps
        assert method.ready(Progress(step, 40)) == (step >= 39)
    assert order == sorted(entropies, key=entropies.__getitem__)
    sure = torch.tensor([9.0, *[0.0] * (len(ACTIVATIONS) - 1)])
    torch.nn.init.zeros_((choice := disturbed(tiny_dims("llama")).operations()[0].phi).logits)
    assert choice.entropy() == pytest.approx(math.log(len(ACTIVATIONS))), "of equal chances"
    with torch.no_grad():
        choice.logits.copy_(sure)
    assert 0 < choice.entropy() < 0.1


def test_a_decision_takes_the_most_probable_candidate_and_stops_its_logits():
    operation = disturbed(tiny_dims("llama")).operations()[0]
    z = torch.randn(2, 4, 3)
    best = int(operation.phi.logits.argmax())
    operation.phi.decide()
    with torch.no_grad():
        operation.e.logits.copy_(torch.tensor([30.0, -30.0]))
    expected = list(ACTIVATIONS.values())[best](z)
    torch.testing.assert_close(operation(z), expected)
    operation(z).sum().backward()
    assert operation.phi.logits.grad is None
    assert operation.e.logits.grad is not None
    assert operation.phi.chosen == list(ACTIVATIONS)[best]
    resumed = small(tiny_dims("llama")).operations()[0]
    resumed.load_state_dict(operation.state_dict())
    torch.testing.assert_close(resumed(z), expected)
    assert not resumed.phi.open


def test_training_searches_settles_and_starts_afresh_for_the_full_schedule(tmp_path):
    seen = []
    _, method, history = short_run(
        small, tmp_path, seen=lambda m, p: seen.append((p, m.search is not None))
    )
    searching = round(0.4 * STEPS)
    assert [p for p, searched in seen if searched] == [
        Progress(t, searching) for t in range(1, searching + 1)
    ]
    assert [p for p, searched in seen if not searched] == [
        Progress(t, STEPS) for t in range(1, STEPS + 1)
    ]
    assert history.search_steps == searching
    assert method.arch_parameters() == []
    assert set(method.structure()) == set("01234")
    for layer, operation in enumerate(method.operations()):
        found = method.structure()[str(layer)]
        assert found["activation"] in ACTIVATIONS
        assert (operation.inner is None) == (found["inner"] == "none")
        assert operation.phi.logits is None
    assert (tmp_path / "structure.json").exists()
    assert history.curve[0]["step"] == 0


def test_ending_the_search_starts_the_weights_afresh():
    torch.manual_seed(0)
    method = disturbed(tiny_dims("llama"))
    with torch.no_grad():
        for operation in method.operations():
            operation.e.logits.copy_(torch.tensor([0.0, 1.0]))
    before = method.blocks[0].down.clone()
    method.end_search()
    assert not any(block.up.any() for block in method.blocks)
    assert not torch.equal(method.blocks[0].down, before)
    assert all(torch.equal(op.inner, torch.eye(3)) for op in method.operations())
    assert method.search is None


def test_a_run_killed_while_searching_and_while_training_resumes_to_the_same_bits(tmp_path):
    assert_same_after_a_kill(small, tmp_path, kill_after=(4, 3))  # 4: some decisions are made


def test_a_saved_adapter_loads_into_a_method_that_has_not_searched(tmp_path):
    backbone = shared_backbone("llama")
    method = disturbed(backbone.dims)
    method.end_search()
    by_hand.disturbed(method)
    expected = by_hand.own_logits(backbone, method)
    save_adapter(tmp_path, method, {})
    loaded = small(backbone.dims).eval()
    backbone.detach()
    loaded.attach(backbone)
    load_adapter(tmp_path, loaded, {})
    assert torch.equal(by_hand.own_logits(backbone), expected)
    assert loaded.structure() == method.structure()
    assert trained(loaded) == trained(method)


def test_counts_lie_where_the_paper_says():
    method = preset("learned_adapter")
    assert trained(method) == 9_437_184 + 32 * 36 * 36 + 32 * 8
    assert counted("learned_adapter") == 9_478_656  # Table 1: 9.5M
    assert served(method) == trained(method) + 64  # and the choices
    for inner, size in enumerate((9_437_184, 9_478_656)):
        ending = preset("learned_adapter")
        for operation in ending.operations():
            operation.phi.take(0)
            operation.e.take(inner)
        ending._settle()
        assert trained(ending) == active(ending) == size
        assert served(ending) == size + 64


@pytest.mark.parametrize("end", [0, 1])
def test_a_search_leaves_no_inner_map_or_one_in_every_block(end):
    method = small(tiny_dims("llama"))
    with torch.no_grad():
        for operation in method.operations():
            operation.e.logits[end] += 1
    method.end_search()
    size = 5 * (2 * 32 * 3 + end * 3 * 3)
    assert (trained(method), served(method)) == (size, size + 10)


def test_bad_numbers_are_named():
    assert_refused("learned_adapter", r"method\.decide_fraction=0", decide_fraction=0)
