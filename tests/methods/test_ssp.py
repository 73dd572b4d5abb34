"""SSP: gated candidates, the search under a budget, the cut, and training what is left."""

import itertools
from types import SimpleNamespace

import pytest
import torch

from iapt.backbone.dims import FAMILIES
from iapt.errors import ConfigError, TrainingError
from iapt.methods.base import Progress
from iapt.methods.ssp import SSP
from iapt.training import loop
from tests.methods import by_hand
from tests.methods.other_backbones import preset_on
from tests.methods.paper_sizes import counted, preset, served, trained
from tests.methods.refused import assert_refused
from tests.methods.short_runs import STEPS, Killed, assert_same_after_a_kill, short_run
from tests.saved import load_adapter, save_adapter
from tests.tiny import shared_backbone, tiny_dims


def small(dims):
    return SSP(dims, rank=2, budget=0.4)


def second_order(dims):
    return SSP(dims, rank=2, budget=0.4, order=2)


def weights_only(method):
    """Noise on the candidates, a spread of gates."""
    by_hand.disturbed(method)
    with torch.no_grad():
        method.gates.alpha.mul_(20)
    method.gates.redraw()
    return method


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_gated_updates_and_biases_are_added_to_every_projection(family, training):
    backbone = shared_backbone(family)
    method = weights_only(small(backbone.dims))
    method.train(training)
    gates = method.gates().detach()
    assert len(gates) == 5 * len(backbone.dims.linears) * 2

    def update(layer, site, candidates):
        low, bias = candidates["lora"], candidates["bias"].bias
        g = [gates[method.names.index(f"{layer}.{site}.{kind}")] for kind in ("lora", "bias")]
        return lambda x, y: y + g[0] * 8 * x @ low.lora_A.T @ low.lora_B.T + g[1] * bias

    hooks = [
        (by_hand.module(backbone, layer, site), update(layer, site, candidates))
        for layer, site, candidates in method.blocks.each()
    ]
    expected = by_hand.logits(backbone, hooks)
    torch.testing.assert_close(by_hand.own_logits(backbone, method), expected, atol=1e-4, rtol=0)


def test_a_fresh_method_is_neutral():
    backbone = shared_backbone("llama")
    backbone.detach()
    bare = by_hand.own_logits(backbone)
    method = small(backbone.dims)
    assert method.neutral
    torch.testing.assert_close(by_hand.own_logits(backbone, method), bare, atol=1e-5, rtol=0)


def test_both_steps_of_a_search_step_see_fresh_noise():
    method = small(tiny_dims("llama")).train()
    noises = []
    for step in (1, 2):
        method.on_arch_step_start(Progress(step, 4))
        noises.append(method.gates.noise.clone())
        method.on_step_start(Progress(step, 4))
        noises.append(method.gates.noise.clone())
    assert len({tuple(noise.tolist()) for noise in noises}) == 4


def test_the_expected_size_is_the_budget_through_the_whole_search(tmp_path):
    spent = []

    def seen(method, progress):
        if method.gates is not None:
            sizes = torch.tensor(method.sizes, dtype=torch.float64)
            spent.append(float((method.gates.probabilities().detach().double() * sizes).sum()))
            moved.append(float(method.gates.alpha.detach().abs().max()))

    moved: list[float] = []
    _, method, _ = short_run(small, tmp_path, seen=seen)
    assert len(spent) == round(0.3 * STEPS)
    assert moved[-1] > 0.05
    assert all(abs(s / method.budget - 1) < 1e-5 for s in spent)


@pytest.mark.parametrize("build", [small, second_order])
def test_training_searches_cuts_and_trains_what_is_left_for_the_full_schedule(build, tmp_path):
    seen = []
    _, method, history = short_run(build, tmp_path, seen=lambda m, p: seen.append(p))
    searching = round(0.3 * STEPS)
    assert seen == [Progress(t, searching) for t in range(1, searching + 1)] + [
        Progress(t, STEPS) for t in range(1, STEPS + 1)
    ]
    assert history.search_steps == searching
    assert build(tiny_dims("llama")).search.held_out == 0.5
    found = method.structure()
    assert trained(method) == found["parameters"] <= method.budget
    smallest = min(
        size
        for name, size in zip(method.names, method.sizes, strict=True)
        if name not in found["chosen"]
    )
    assert method.budget - found["parameters"] < smallest  # nothing more would have fitted
    assert method.arch_parameters() == []
    assert (tmp_path / "structure.json").exists()
    assert not (tmp_path / "search.safetensors").exists()


def test_a_search_of_another_configuration_is_not_gone_on_with(tmp_path):
    with pytest.raises(Killed):
        short_run(small, tmp_path, kill_after=2)
    with pytest.raises(
        TrainingError, match=r"search\.safetensors belongs to another configuration"
    ):
        short_run(small, tmp_path, identity="another")


def test_the_seconds_of_a_search_are_its_steps_and_its_evaluations(tmp_path, monkeypatch):
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr(loop, "time", clock)  # a second for each thing that is timed
    _, _, history = short_run(small, tmp_path)
    searching = round(0.3 * STEPS)
    evaluations = 1 + searching // 2  # before the first step, and after every second
    assert history.search_seconds == searching + evaluations
    assert (history.train_seconds, history.eval_seconds) == (STEPS, 1 + STEPS // 2)


def test_gradients_are_clipped_at_two_while_searching_and_at_the_runs_own_afterwards(
    tmp_path, monkeypatch
):
    clips = []
    clip = torch.nn.utils.clip_grad_norm_

    def noted(parameters, max_norm):
        clips.append(max_norm)
        return clip(parameters, max_norm)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", noted)
    _, _, history = short_run(small, tmp_path)
    assert (
        clips == [2.0] * 2 * history.search_steps + [1.0] * STEPS
    )  # gates and weights, then weights


def test_the_cut_keeps_the_most_probable_and_starts_them_afresh():
    torch.manual_seed(0)
    method = weights_only(small(tiny_dims("llama")))
    p = method.gates.probabilities().detach()
    method.end_search()
    kept = method.kept
    assert p[kept].mean() > p[~kept].mean()
    assert torch.equal(method.probabilities, p)
    names = {n for n, _ in method.named_parameters()}
    for i, name in enumerate(method.names):
        layer, site, kind = name.split(".")
        there = any(n.startswith(f"blocks.{layer}.{site}.{kind}.") for n in names)
        assert there == bool(kept[i])
    for name, parameter in method.named_parameters():
        assert bool(parameter.any()) == name.endswith("lora_A")


def test_after_the_cut_nothing_is_gated():
    backbone = shared_backbone("llama")
    method = weights_only(small(backbone.dims))
    method.end_search()
    by_hand.disturbed(method)

    def update(candidates):
        def fn(x, y):
            if "lora" in candidates:
                y = y + 8 * x @ candidates["lora"].lora_A.T @ candidates["lora"].lora_B.T
            return y + candidates["bias"].bias if "bias" in candidates else y

        return fn

    hooks = [
        (by_hand.module(backbone, layer, site), update(candidates))
        for layer, site, candidates in method.blocks.each()
    ]
    expected = by_hand.logits(backbone, hooks)
    torch.testing.assert_close(by_hand.own_logits(backbone, method), expected, atol=1e-4, rtol=0)


def test_a_run_killed_while_searching_and_while_training_resumes_to_the_same_bits(tmp_path):
    assert_same_after_a_kill(small, tmp_path, kill_after=(2, 5))


def test_a_saved_adapter_loads_into_a_method_that_has_not_searched(tmp_path):
    backbone = shared_backbone("gpt2")
    method = weights_only(small(backbone.dims))
    method.end_search()
    by_hand.disturbed(method)
    expected = by_hand.own_logits(backbone, method)
    save_adapter(tmp_path, method, {})
    loaded = small(backbone.dims).eval()
    backbone.detach()
    loaded.attach(backbone)
    load_adapter(tmp_path, loaded, {})
    assert torch.equal(by_hand.own_logits(backbone), expected)
    assert torch.equal(by_hand.own_logits(backbone, loaded), expected)
    assert loaded.structure() == method.structure()


@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_fills_the_budget_but_for_less_than_a_candidate(seed):
    method = small(tiny_dims("llama"))
    torch.manual_seed(seed)
    with torch.no_grad():
        method.gates.alpha.normal_()
    method.end_search()
    assert trained(method) == method.structure()["parameters"]
    assert served(method) == trained(method) + 2 * len(method.names)  # probabilities, chosen
    assert method.budget - max(method.sizes) < trained(method) <= method.budget


def test_counts_are_the_papers():
    method = preset("ssp")
    assert trained(method) == 19_988_480 + 1_359_872 + 448 == 21_348_352 + 448
    assert served(method) == trained(method) + 448 + 448 + 1  # probabilities, chosen, zeta
    assert sum(method.sizes) == 21_348_352
    assert method.budget == counted("ssp") == 8_600_000
    for name, candidates in (("gpt2_large", 6_312_960), ("pythia_1b4", 6_733_824)):
        other = preset_on(name, "ssp")
        assert sum(other.sizes) == candidates
        assert other.budget == round(0.4028414 * candidates)


def test_a_budget_for_everything_keeps_everything():
    method = SSP(tiny_dims("llama"), budget=1.0)
    method.end_search()
    assert method.kept.all()


def test_bad_numbers_are_named():
    with pytest.raises(ConfigError, match=r"method\.order=3: allowed are 1, 2"):
        SSP(tiny_dims("llama"), order=3)
    with pytest.raises(ConfigError, match=r"method\.rank=100000: must be from 1 to 32"):
        SSP(tiny_dims("llama"), rank=100_000)
    assert_refused("ssp", r"method\.budget=1\.5: must be", budget=1.5)
    assert_refused("ssp", r"method\.search_fraction=0: must be", search_fraction=0)
