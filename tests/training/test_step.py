"""One step: what the loss is, whose gradients it leaves, what the optimizer does with them."""

import pytest
import torch
from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.errors import TrainingError
from iapt.methods.base import Method
from iapt.methods.iapt import IAPT
from iapt.methods.lora import LoRA
from iapt.training.hparams import HParams
from iapt.training.step import (
    Optimizer,
    arch_step,
    evaluate,
    response,
    weight_parameters,
    weight_step,
)
from tests.tiny import EOS, data, encoded, new_backbone, shared_backbone

ALL = [0, 1, 2, 3]


def attached(method: Method | None = None) -> tuple[Backbone, Method]:
    backbone = shared_backbone("llama")
    backbone.detach()
    if method is None:
        torch.manual_seed(0)
        method = IAPT(backbone.dims, bottleneck_dim=8, init_std=0.2)
    method.eval().attach(backbone)
    return backbone, method


def by_hand(backbone: Backbone, seed: int = 0) -> tuple[float, int, list[bool]]:
    """Summed loss, token count and exactness, example by example without padding."""
    total, tokens, exact = 0.0, 0, []
    for text in encoded(seed):
        ids = torch.tensor([text.instruction + text.response])
        n = len(text.instruction)
        with torch.no_grad():
            logits = backbone(ids, None, torch.arange(ids.shape[1])[None] < n)[0]
        scores = logits.log_softmax(-1)[n - 1 : -1]  # the token before predicts
        total -= float(scores[range(len(text.response)), list(text.response)].sum())
        tokens += len(text.response)
        exact.append(scores.argmax(-1).tolist()[:-1] == list(text.response)[:-1])
    return total, tokens, exact


def test_the_loss_is_over_response_tokens_and_their_end():
    backbone, _ = attached()
    total, tokens, _ = by_hand(backbone)
    out = response(backbone, data().batch(ALL), EOS)
    assert out.tokens == tokens == sum(len(t.response) for t in encoded())
    assert float(out.loss.detach()) == pytest.approx(total, rel=1e-5)


def test_a_row_is_exact_if_every_token_but_the_end_is_the_likeliest():
    backbone, _ = attached()
    texts = encoded()
    ids = torch.tensor([texts[0].instruction])
    with torch.no_grad():
        likeliest = int(backbone(ids)[0, -1].argmax())
    texts[0] = type(texts[0])(texts[0].instruction, (likeliest, EOS))
    batch = type(data())(texts, 2, EOS).batch(ALL)
    assert response(backbone, batch, EOS).exact == 1


@pytest.mark.parametrize("budget", [1, 25, 10**6])
def test_evaluation_weights_every_token_alike_whatever_the_batches(budget: int):
    backbone, method = attached()
    total, tokens, exact = by_hand(backbone)
    method.train()
    loss, accuracy = evaluate(backbone, method, data(), budget)
    assert loss == pytest.approx(total / tokens, rel=1e-5)
    assert accuracy == 25.0 * sum(exact)
    assert not method.training
    assert not backbone.model.training


@pytest.mark.parametrize("step", [weight_step, arch_step])
def test_a_step_leaves_gradients_of_its_own_parameters_only(step):
    backbone, method = attached()
    loss = step(backbone, method, data(), ALL, 10**6)
    total, tokens, _ = by_hand(backbone)
    assert loss == pytest.approx(total / tokens, rel=1e-5)
    arch = {id(p) for p in method.arch_parameters()}
    for p in method.parameters():
        assert (p.grad is not None) == ((id(p) in arch) == (step is arch_step))


def test_gradients_of_the_last_batch_are_not_added_to():
    backbone, method = attached()
    weight_step(backbone, method, data(1), ALL, 10**6)
    weight_step(backbone, method, data(2), ALL, 10**6)
    again = [p.grad.clone() for p in weight_parameters(method) if p.grad is not None]
    backbone, method = attached()
    weight_step(backbone, method, data(2), ALL, 10**6)
    for a, b in zip(again, weight_parameters(method), strict=True):
        assert torch.equal(a, b.grad)


class Penalised(LoRA):
    """LoRA with half the squared norm of its A matrices as penalty."""

    def penalty(self) -> Tensor:
        return sum(d.lora_A.pow(2).sum() for _, _, d in self.blocks.each()) / 2  # type: ignore[return-value]


@pytest.mark.parametrize("budget", [1, 10**6])
def test_a_penalty_counts_once_for_an_optimizer_batch(budget: int):
    backbone, plain = attached(LoRA(shared_backbone("llama").dims))
    without = weight_step(backbone, plain, data(), ALL, budget)
    torch.manual_seed(0)
    method = Penalised(backbone.dims)
    method.load_state_dict(plain.state_dict())
    backbone, method = attached(method)
    loss = weight_step(backbone, method, data(), ALL, budget)
    assert loss == pytest.approx(without + float(method.penalty().detach()), rel=1e-5)
    for (_, _, a), (_, _, b) in zip(plain.blocks.each(), method.blocks.each(), strict=True):
        # B is zero, so that A has no gradient but the penalty's.
        assert torch.allclose(b.lora_A.grad - a.lora_A.grad, b.lora_A.detach(), atol=1e-6)
        assert torch.allclose(b.lora_B.grad, a.lora_B.grad, atol=1e-5)
    assert evaluate(backbone, method, data(), 10**6) == evaluate(*attached(plain), data(), 10**6)


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.ones(3))


def rates(steps: int, warmup: float) -> list[float]:
    """The rate that each step is taken at, for a peak of 1."""
    p = parameter()
    optimizer = Optimizer([("p", p)], 1.0, HParams("x", warmup=warmup), steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.adamw.param_groups[0]["lr"])
        p.grad = torch.ones(3)
        optimizer.apply()
    return found


def test_the_rate_rises_for_six_percent_of_the_steps_and_falls_to_the_last():
    found = rates(100, 0.06)
    assert found[:6] == pytest.approx([k / 6 for k in range(1, 7)])
    assert found[6:] == pytest.approx([(100 - k) / 94 for k in range(6, 100)])
    assert min(found) > 0


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.06), (3, 0.06), (10, 0.0), (4, 0.9)])
def test_no_step_is_wasted_at_rate_zero(steps: int, warmup: float):
    found = rates(steps, warmup)
    assert min(found) > 0
    assert max(found) == 1.0


def test_parameters_have_the_rate_of_their_name():
    names = ("poolers.0.queries", "poolers.1.queries", "poolers.1.keys", "down")
    # The last of several keys counts.
    hparams = HParams("x", lr_by_name={"poolers": 0.3, "queries": 0.5}, warmup=0.0)
    optimizer = Optimizer([(name, parameter()) for name in names], 0.1, hparams, 10)
    found = {g["lr"]: len(g["params"]) for g in optimizer.adamw.param_groups}
    assert found == {0.5: 2, 0.3: 1, 0.1: 1}


def test_gradients_are_clipped_together_and_the_norm_told():
    named = [("a", parameter()), ("b", parameter())]
    optimizer = Optimizer(named, 0.1, HParams("x", clip=0.5), 10)
    for _, p in named:
        p.grad = torch.full((3,), 2.0)
    assert optimizer.apply() == pytest.approx(24**0.5)
    clipped = torch.cat([p.grad for _, p in named if p.grad is not None])
    assert float(clipped.norm()) == pytest.approx(0.5, rel=1e-4)
    optimizer.zero()
    assert all(p.grad is None for _, p in named)


def test_a_gradient_that_is_not_finite_changes_nothing():
    p = parameter()
    optimizer = Optimizer([("p", p)], 0.1, HParams("x"), 10)
    p.grad = torch.tensor([1.0, float("nan"), 1.0])
    with pytest.raises(TrainingError, match="not finite; nothing was updated"):
        optimizer.apply()
    assert torch.equal(p, torch.ones(3))


def test_a_loss_that_is_not_finite_is_an_error_with_advice():
    backbone = new_backbone("llama")
    method = LoRA(backbone.dims)
    method.attach(backbone)
    with torch.no_grad():
        # Not in q: with AVX-512, torch's attention over fewer than 16 columns makes zeros of NaN.
        method.blocks.at(0, "v").lora_B.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"the loss is nan.*Lower hparams\.lr"):
        weight_step(backbone, method, data(), ALL, 10**6)


@pytest.mark.parametrize("budget", [1, 10**6])
def test_a_gradient_is_that_of_the_mean_over_the_batchs_tokens(budget: int):
    """AdamW hides the scale, but clipping and a penalty beside it do not."""
    backbone, method = attached()
    weights = weight_parameters(method)
    out = response(backbone, data().batch(ALL), EOS)
    expected = torch.autograd.grad(out.loss / out.tokens, weights)
    weight_step(backbone, method, data(), ALL, budget)
    for p, g in zip(weights, expected, strict=True):
        torch.testing.assert_close(p.grad, g, atol=1e-6, rtol=1e-4)


class Spare(LoRA):
    """LoRA with a parameter that its forward pass does not use."""

    def __init__(self, dims) -> None:
        super().__init__(dims)
        self.spare = parameter()


def test_a_parameter_that_the_loss_does_not_use_gets_no_gradient():
    backbone, method = attached(Spare(shared_backbone("llama").dims))
    weight_step(backbone, method, data(), ALL, 25)
    assert method.spare.grad is None
    assert all(p.grad is not None for n, p in method.named_parameters() if n != "spare")


def test_weight_decay_shrinks_what_has_no_gradient():
    p = parameter()
    optimizer = Optimizer([("p", p)], 0.1, HParams("x", warmup=0.0, weight_decay=0.5), 10)
    p.grad = torch.zeros(3)
    optimizer.apply()
    assert p.tolist() == pytest.approx([0.95] * 3)


class Summed(LoRA):
    """LoRA whose outputs and penalty also depend on the sum of a parameter."""

    def __init__(self, dims) -> None:
        super().__init__(dims)
        self.shift = nn.Parameter(torch.zeros(8))

    def attach(self, backbone):
        super().attach(backbone)
        backbone.on_sublayer(0, "ffn", lambda x, y: y * (1 + self.shift.sum()))

    def penalty(self):
        return (self.shift + 0.5).sum()


@pytest.mark.parametrize("part", ["loss", "penalty"])
def test_the_gradient_of_a_sum_can_be_clipped(part: str, monkeypatch):
    backbone, method = attached(Summed(shared_backbone("llama").dims))
    if part == "loss":
        monkeypatch.setattr(Summed, "penalty", LoRA.penalty)
    else:
        monkeypatch.setattr(Summed, "attach", LoRA.attach)
        _, method = attached(method)
    weight_step(backbone, method, data(), ALL, 10**6)
    optimizer = Optimizer(list(method.named_parameters()), 0.1, HParams("x", clip=1e-3), 10)
    optimizer.apply()
    assert method.shift.grad is not None
    assert method.shift.grad.unique().numel() == 1
    assert 0 < abs(float(method.shift.grad[0])) < 1e-3
