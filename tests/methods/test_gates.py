"""Gates that spend an exact budget in expectation."""

import pytest
import torch

from iapt.methods.gates import BudgetedGates, cut, solve_shift


def gates(budget=40, n=12):
    torch.manual_seed(0)
    made = BudgetedGates([1 + i % 5 * 3 for i in range(n)], budget)
    with torch.no_grad():
        made.alpha.copy_(torch.randn(n) * 3)
    made.redraw()
    return made


def test_expected_size_is_the_budget_at_the_start_and_after_alpha_has_moved():
    for spread in (0, 1, 5):
        made = gates()
        sizes = torch.tensor(made.sizes, dtype=torch.float64)
        if spread == 0:
            made = BudgetedGates(made.sizes, 40)  # shift in closed form, never solved for
        else:
            with torch.no_grad():
                made.alpha.mul_(spread)
            made.redraw()
        spent = float((made.probabilities().detach().double() * sizes).sum())
        assert abs(spent / 40 - 1) < 1e-5


def test_a_budget_for_everything_opens_every_gate():
    made = gates(budget=10**6)
    assert made.eval()().min() > 0.999999
    assert cut(made.probabilities(), made.sizes, 10**6).all()


def test_the_shift_falls_with_the_budget_and_takes_no_gradient():
    made = gates()
    sizes = torch.tensor(made.sizes)
    shifts = [solve_shift(made.alpha, sizes, budget) for budget in (5, 20, 60)]
    assert shifts == sorted(shifts, reverse=True)
    assert not made.shift.requires_grad


def test_normalising_keeps_the_value_and_stops_gradients_from_changing_the_total():
    made = gates().eval()
    raw = torch.sigmoid(made.alpha - made.shift).clamp(1e-7, 1 - 1e-7)
    torch.testing.assert_close(made.probabilities(), raw, atol=1e-6, rtol=0)
    (total,) = torch.autograd.grad(made.probabilities().sum(), made.alpha)
    assert total.abs().max() < 1e-6
    (one,) = torch.autograd.grad(made.probabilities()[3], made.alpha)
    assert one[3] > 0
    assert one[:3].max() < 0  # what one gains the others lose


def test_training_gates_are_concrete_samples_whose_share_above_a_half_is_p():
    made = gates().train()
    p = made.probabilities().detach()
    draws = []
    for _ in range(3000):
        made.noise.copy_(torch.rand(len(p)).clamp(1e-7, 1 - 1e-7))
        draws.append(made().detach())
    above = (torch.stack(draws) > 0.5).float().mean(0)
    assert (above - p).abs().max() < 0.05
    u, s = made.noise, made()
    expected = torch.sigmoid(torch.log(u * p / ((1 - u) * (1 - p))))
    torch.testing.assert_close(s, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("budget", [40, 10**6])
def test_gates_that_are_all_but_decided_have_finite_values_and_gradients(budget):
    made = gates(budget).train()
    with torch.no_grad():
        made.alpha.copy_(torch.tensor([60.0, -60.0] * 6))
    made.redraw()
    made().sum().backward()
    assert bool(torch.isfinite(made()).all())
    assert bool(torch.isfinite(made.alpha.grad).all())


def test_noise_stays_until_it_is_redrawn_and_evaluation_has_none():
    made = gates().train()
    assert torch.equal(made(), made())
    before = made()
    made.redraw()
    assert not torch.equal(made(), before)
    assert torch.equal(made.eval()(), made.probabilities())


def test_the_cut_scans_on_after_a_misfit():
    p = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5])
    assert cut(p, [5, 4, 6, 2, 1], 10).tolist() == [True, True, False, False, True]
    assert cut(p, [5, 4, 6, 2, 1], 11).tolist() == [True, True, False, True, False]
    assert cut(p, [5, 4, 6, 2, 1], 0).tolist() == [False] * 5
