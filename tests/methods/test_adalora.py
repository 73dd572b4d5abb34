"""AdaLoRA: importance, schedule, masks and penalty, against formulas and against peft."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from iapt.errors import ConfigError
from iapt.methods.adalora import AdaLoRA
from iapt.methods.base import Progress
from iapt.methods.svd_low_rank import SVDLowRank
from tests.methods import by_hand
from tests.methods.other_backbones import trained_on
from tests.methods.paper_sizes import active, counted, preset, served, trained
from tests.methods.refused import assert_refused
from tests.methods.short_runs import STEPS, assert_same_after_a_kill, short_run
from tests.saved import load_adapter, save_adapter
from tests.tiny import new_backbone, shared_backbone, tiny_dims

SITES = ("q", "k", "v", "o", "gate", "up", "down")
MATRICES = 5 * len(SITES)


def small(dims):
    return AdaLoRA(dims, init_rank=4, target_rank=2)


def kept(method):
    return sum(int(delta.kept.sum()) for *_, delta in method.blocks.each())


def alive(method):
    return sum(int((delta.lora_E != 0).sum()) for *_, delta in method.blocks.each())


def test_the_update_is_p_lambda_q_with_the_initial_rank_in_the_denominator():
    backbone = shared_backbone("llama")
    method = by_hand.disturbed(small(backbone.dims))

    assert method.deltas()[0].scaling == 16 / (4 + 1e-5)  # as in peft, to the bit

    def update(delta):
        P, lam, Q = delta.lora_A.T, delta.lora_E[:, 0], delta.lora_B.T
        return lambda x, y: y + 16 / (4 + 1e-5) * ((x @ P) * lam) @ Q

    hooks = [
        (by_hand.module(backbone, layer, site), update(delta))
        for layer, site, delta in method.blocks.each()
    ]
    expected = by_hand.logits(backbone, hooks)
    torch.testing.assert_close(by_hand.own_logits(backbone, method), expected, atol=1e-5, rtol=0)


def test_both_matrices_start_normal_and_lambda_at_zero():
    torch.manual_seed(0)
    delta = SVDLowRank(100, 100, 50, 16.0, dropout=0.0)
    for matrix in (delta.lora_A, delta.lora_B):
        assert matrix.std().item() == pytest.approx(0.02, rel=0.05)
        assert matrix.mean().item() == pytest.approx(0, abs=0.001)
    assert not delta.lora_E.any()


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    delta = AdaLoRA(tiny_dims("llama"), dropout=0.5).blocks.at(0, "q")
    torch.nn.init.ones_(delta.lora_E)
    x, y = torch.ones(1, 3, 32), torch.zeros(1, 3, 32)
    assert not torch.equal(delta(x, y), delta(x, y))
    delta.eval()
    torch.testing.assert_close(delta(x, y), x @ delta.change_of_weight())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks for it
def test_fifty_steps_are_pefts():
    peft = pytest.importorskip("peft")
    steps = 50
    ids, mask = by_hand.tokens()
    target = ids[:, 1:][mask[:, 1:]]

    def cross_entropy(logits, **_):
        return F.cross_entropy(logits[:, :-1][mask[:, 1:]], target)

    torch.manual_seed(0)
    backbone = new_backbone("llama", dtype=torch.float64)
    ours = small(backbone.dims).double().train()
    ours.attach(backbone)
    config = peft.AdaLoraConfig(
        init_r=4,
        target_r=2,
        tinit=int(0.12 * steps),
        tfinal=int(0.5 * steps),
        deltaT=1,
        beta1=0.85,
        beta2=0.85,
        orth_reg_weight=0.1,
        total_step=steps,
        lora_alpha=16,
        task_type="CAUSAL_LM",  # without it peft leaves its penalty out
        lora_dropout=0.0,
        target_modules=[by_hand.PATHS["llama"][site] for site in SITES],
    )
    theirs = peft.get_peft_model(new_backbone("llama").model, config).double().train()
    layers = theirs.base_model.model.model.layers
    pairs = [
        (delta, layers[layer].get_submodule(by_hand.PATHS["llama"][site]))
        for layer, site, delta in ours.blocks.each()
    ]
    assert len(pairs) == MATRICES
    with torch.no_grad():
        for delta, module in pairs:
            for part in ("lora_A", "lora_E", "lora_B"):
                getattr(module, part)["default"].copy_(getattr(delta, part))
    theirs.base_model.model.loss_function = cross_entropy  # Hugging Face's own computes in fp32
    mine = torch.optim.AdamW(ours.parameters(), lr=1e-2, weight_decay=0.0)
    peers = torch.optim.AdamW(
        [p for p in theirs.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0
    )
    ranks = []
    for step in range(1, steps + 1):
        loss = cross_entropy(backbone(ids, mask)) + ours.penalty()
        loss.backward()
        mine.step()
        ours.on_step_end(Progress(step, steps))
        mine.zero_grad()
        ranks.append(alive(ours))

        their_loss = theirs(input_ids=ids, attention_mask=mask, labels=ids).loss
        their_loss.backward()
        peers.step()
        theirs.base_model.update_and_allocate(step)
        peers.zero_grad()
        assert abs(float(loss.detach()) - float(their_loss.detach())) < 1e-8, step
        for delta, module in pairs:
            same = (delta.lora_E != 0) == (module.lora_E["default"] != 0)
            assert bool(same.all()), step
    assert ranks[:6] == [4 * MATRICES] * 6
    assert ranks[6:25] == sorted(ranks[6:25], reverse=True)
    assert len(set(ranks)) > 8  # it falls in many steps, not at once
    assert ranks[24:] == [2 * MATRICES] * 26
    for delta, module in pairs:
        for part in ("lora_A", "lora_E", "lora_B"):
            torch.testing.assert_close(
                getattr(delta, part), getattr(module, part)["default"], atol=1e-8, rtol=0
            )


def test_a_long_run_on_the_same_gradients_is_pefts_to_the_bit():
    """Long runs part by rounding of the gradients alone: on equal ones nothing differs."""
    layer = pytest.importorskip("peft.tuners.adalora.layer")
    steps, gap, draw = 450, 1, torch.Generator().manual_seed(3)
    torch.manual_seed(0)
    ours = AdaLoRA(replace(tiny_dims("llama"), num_layers=1), init_rank=4, target_rank=2)
    theirs = torch.nn.Module()
    mine, peers = [], []
    for _, site, delta in ours.blocks.each():
        matrix = torch.nn.Module()
        theirs.add_module(site, matrix)
        for part in ("lora_A", "lora_E", "lora_B"):
            mine.append(getattr(delta, part))
            peers.append(torch.nn.Parameter(mine[-1].detach().clone()))
            matrix.add_module(part, torch.nn.ParameterDict({"default": peers[-1]}))
    config = SimpleNamespace(
        beta1=0.85,
        beta2=0.85,
        target_r=2,
        deltaT=gap,
        total_step=steps,
        tinit=int(0.12 * steps),
        tfinal=int(0.5 * steps),
    )
    allocator = layer.RankAllocator(theirs, config, "default")
    optimizers = [torch.optim.AdamW(each, lr=1e-3, weight_decay=0.0) for each in (mine, peers)]
    pattern, apart = None, []
    for step in range(1, steps + 1):
        for p, q in zip(mine, peers, strict=True):
            p.grad = q.grad = torch.randn(p.shape, generator=draw) + p.detach()
        for optimizer in optimizers:
            optimizer.step()
        ours.on_step_end(Progress(step, steps))
        if step < steps - config.tfinal:
            _, now = allocator.update_and_allocate(theirs, step)
            pattern = now or pattern
        elif step == steps - config.tfinal:
            _, pattern = allocator.update_and_allocate(theirs, step, force_mask=True)
        else:
            allocator.mask_using_rank_pattern(theirs, pattern)
        if not all(torch.equal(p, q) for p, q in zip(mine, peers, strict=True)):
            apart.append(step)
    assert not apart
    assert alive(ours) == 2 * len(ours.deltas())


def test_importance_follows_the_formulas():
    torch.manual_seed(0)
    delta = small(tiny_dims("llama")).blocks.at(0, "q")
    smooth = {part: [0.0, 0.0] for part in ("lora_A", "lora_E", "lora_B")}
    for _ in range(3):
        for part, (mean, spread) in smooth.items():
            w = getattr(delta, part)
            w.data.normal_()
            w.grad = torch.randn_like(w)
            now = (w * w.grad).abs().detach()
            mean = 0.85 * mean + 0.15 * now
            spread = 0.7 * spread + 0.3 * (now - mean).abs()
            smooth[part] = [mean, spread]
        delta.smooth_importance(0.85, 0.7)
    s = {part: mean * spread for part, (mean, spread) in smooth.items()}
    for i in range(4):
        expected = s["lora_E"][i, 0] + s["lora_A"][i].mean() + s["lora_B"][:, i].mean()
        torch.testing.assert_close(delta.scores()[i], expected)


def test_the_first_beta_smooths_the_sensitivity_and_the_second_the_uncertainty():
    method = AdaLoRA(tiny_dims("llama"), init_rank=4, target_rank=2, beta1=0.75, beta2=0.5)
    delta = method.blocks.at(0, "q")
    delta.lora_A.grad = torch.ones_like(delta.lora_A)
    now = delta.lora_A.detach().abs()
    method.on_step_end(Progress(1, 100))
    torch.testing.assert_close(delta.sensitivity_lora_A, 0.25 * now)
    torch.testing.assert_close(delta.uncertainty_lora_A, 0.5 * 0.75 * now)


def test_the_budget_is_cubic_between_warm_up_and_final_phase():
    method = AdaLoRA(tiny_dims("llama"), init_rank=8, target_rank=4)
    b = {t: method.budget(Progress(t, 1000)) for t in range(1, 1001)}
    assert {b[t] for t in range(1, 121)} == {8 * MATRICES}
    assert b[310] == int(4 * MATRICES + 4 * MATRICES * 0.5**3)  # half way between 120 and 500
    assert {b[t] for t in range(500, 1001)} == {4 * MATRICES}
    assert [b[t] for t in range(1, 1001)] == sorted(b.values(), reverse=True)


@pytest.mark.parametrize(
    ("total", "gap"),  # of 20,100 steps the warm-up is no multiple of the gap
    [(400, 1), (20_000, 40), (20_100, 40), (90_000, 100)],
)
def test_ranks_are_allotted_five_hundred_times_or_every_hundred_steps(total, gap, monkeypatch):
    method = AdaLoRA(tiny_dims("llama"), warmup=0.1, final=0.5)
    steps, smoothed = [], []
    first, stop = method.phases(total)
    for step in (*range(first + 1, first + 151), stop):
        monkeypatch.setattr(method, "_allocate", lambda _, step=step: steps.append(step))
        monkeypatch.setattr(
            SVDLowRank, "smooth_importance", lambda *_, step=step: smoothed.append(step)
        )
        method.on_step_end(Progress(step, total))
    assert steps == [s for s in range(first + 1, first + 151) if s % gap == 0] + [stop]
    assert max(smoothed) == first + 150, (
        "the last masking goes by the importance of the step before"
    )


def test_the_penalty_is_the_mean_distance_from_orthonormal():
    method = AdaLoRA(tiny_dims("llama"), init_rank=4, target_rank=2, orthogonality=0.3)
    grams = []
    for *_, delta in method.blocks.each():
        P, Q = delta.lora_A.T, delta.lora_B.T
        grams += [P.T @ P, Q @ Q.T]
    distances = [((gram - torch.eye(4)) ** 2).sum().sqrt() for gram in grams]
    torch.testing.assert_close(method.penalty(), 0.3 * sum(distances) / len(distances))
    assert AdaLoRA(tiny_dims("llama"), orthogonality=0.0).penalty() is None


def test_ranks_fall_to_the_budget_and_only_then_a_checkpoint_may_be_the_best(tmp_path, monkeypatch):
    def over_budget_is_better(backbone, method, *_):
        return (1.0 if kept(method) > 2 * MATRICES else 2.0), 0.0

    monkeypatch.setattr("iapt.training.state.evaluate", over_budget_is_better)
    ranks, stop = {}, STEPS // 2
    _, method, history = short_run(
        small, tmp_path, seen=lambda m, p: ranks.__setitem__(p.step, alive(m))
    )
    assert ranks[1] == 4 * MATRICES
    assert all(ranks[step] == 2 * MATRICES for step in range(stop, STEPS + 1))
    assert [method.ready(Progress(t, STEPS)) for t in (1, stop - 1, stop, STEPS)] == [
        *(False, False, True, True)
    ]
    assert [point["loss"] for point in history.curve if point["step"] < stop] == [1.0] * 3
    assert (history.best_step, history.best_loss) == (stop, 2.0)
    assert alive(method) == kept(method) == 2 * MATRICES
    assert method.structure()["total_rank"] == 2 * MATRICES
    assert len(set(method.structure()["ranks"].values())) > 1


def test_a_run_killed_before_and_after_the_freeze_resumes_to_the_same_bits(tmp_path):
    assert_same_after_a_kill(small, tmp_path, kill_after=(4, 5))


def test_a_saved_adapter_holds_the_kept_triplets_and_gives_the_same_logits(tmp_path):
    backbone, method, _ = short_run(small, tmp_path)
    expected = by_hand.own_logits(backbone, method)
    save_adapter(tmp_path / "adapter", method, {})
    stored = method.serving_state()
    assert sum(len(t) for name, t in stored.items() if name.endswith("lora_E")) == 2 * MATRICES
    loaded = small(backbone.dims).eval()
    load_adapter(tmp_path / "adapter", loaded, {})
    torch.testing.assert_close(by_hand.own_logits(backbone, loaded), expected, atol=1e-5, rtol=0)
    assert trained(loaded) == sum(t.numel() for t in stored.values()) == active(loaded)
    assert loaded.ready(Progress(1, STEPS)), "its ranks are final from the first step on"


def test_a_matrix_may_lose_all_its_ranks(tmp_path):
    backbone = shared_backbone("llama")
    method = by_hand.disturbed(small(backbone.dims))
    for layer, site, delta in method.blocks.each():
        delta.kept.fill_(site != "q" or layer != 2)
    method._mask()
    expected = by_hand.own_logits(backbone, method)
    assert method.serving_state()["blocks.2.q.lora_B"].shape == (32, 0)
    save_adapter(tmp_path, method, {})
    loaded = small(backbone.dims).eval()
    load_adapter(tmp_path, loaded, {})
    assert torch.equal(by_hand.own_logits(backbone, loaded), expected)


def test_equal_ranks_prune_nothing_and_equal_importances_are_pruned_exactly():
    for rank in (2, 4):
        method = AdaLoRA(tiny_dims("llama"), init_rank=rank, target_rank=2)
        for step in (1, 2, 3, 4):  # no gradients: every triplet is as unimportant as the next
            method.on_step_end(Progress(step, 4))
        assert kept(method) == 2 * MATRICES


@pytest.mark.parametrize("sign", [-1, 1])
def test_what_is_kept_is_stored_and_active_whichever_maps_keep_their_ranks(sign):
    method = small(tiny_dims("llama"))
    for *_, delta in method.blocks.each():
        width = delta.lora_A.shape[1] + delta.lora_B.shape[0]
        delta.sensitivity_lora_E.fill_(1000.0 + sign * width)
        delta.uncertainty_lora_E.fill_(1.0)
    method._allocate(method.budget(Progress(4, 4)))
    assert kept(method) == 2 * MATRICES
    left = sum(
        int(delta.kept.sum()) * (1 + delta.lora_A.shape[1] + delta.lora_B.shape[0])
        for *_, delta in method.blocks.each()
    )
    assert served(method) == active(method) == left < trained(method)


def test_counts_are_the_papers():
    method = preset("adalora")
    assert trained(method) == served(method) == active(method)
    assert trained(method) == 19_988_480 + 8 * 7 * 32 == 19_990_272
    assert counted("adalora") == 9_994_240
    assert trained_on("gpt2_large", "adalora") == 36 * 8 * (1280 * 6 + 5120 * 2 + 1280 * 2 + 4)
    assert trained_on("pythia_1b4", "adalora") == 24 * 8 * (2048 * 6 + 8192 * 2 + 2048 * 2 + 4)


def test_bad_numbers_are_named():
    with pytest.raises(ConfigError, match=r"method\.target_rank=9: must be from 1 to"):
        AdaLoRA(tiny_dims("llama"), target_rank=9)
    with pytest.raises(ConfigError, match=r"method\.warmup=0\.6, method\.final=0\.5"):
        AdaLoRA(tiny_dims("llama"), warmup=0.6)
    with pytest.raises(ConfigError, match=r"shares of the steps, together below 1"):
        AdaLoRA(tiny_dims("llama"), warmup=0.5, final=0.5)  # no step would be left to prune in
    with pytest.raises(ConfigError, match=r"method\.init_rank=33: must be from 1 to 32"):
        AdaLoRA(tiny_dims("llama"), init_rank=33)
    assert_refused("adalora", r"method\.beta1=1\.5", beta1=1.5)
    assert_refused("adalora", r"method\.orthogonality=-1", orthogonality=-1.0)
