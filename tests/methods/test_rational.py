"""The rational activation: its fit, its range, its gradients."""

import torch
from torch import nn

from iapt.methods.rational import GELU_DENOMINATOR, GELU_NUMERATOR, Rational


def literal(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Eq. 3, power by power."""
    over = sum(c * x**j for j, c in enumerate(a))
    under = 1 + sum(c * x ** (i + 1) for i, c in enumerate(b)).abs()
    return over / under


def test_degrees_are_the_papers():
    assert len(GELU_NUMERATOR) == 6 + 1
    assert len(GELU_DENOMINATOR) == 5
    assert Rational().coefficients.numel() == 12


def test_it_starts_as_gelu_within_the_stated_bound():
    x = torch.linspace(-3, 3, 6001)
    with torch.no_grad():
        error = (Rational()(x) - nn.functional.gelu(x)).abs().max()
    assert float(error) < 1.3e-4


def test_horner_is_the_formula():
    draw = torch.Generator().manual_seed(0)
    rational = Rational()
    with torch.no_grad():
        rational.coefficients.copy_(torch.randn(12, generator=draw))
    a, b = rational.coefficients.double().split([7, 5])
    x = torch.randn(2, 3, 50, generator=draw)
    expected = literal(x.double(), a, b)
    assert torch.allclose(rational(x).double(), expected, rtol=1e-4, atol=1e-5)


def test_the_denominator_never_falls_below_one():
    rational = Rational()
    with torch.no_grad():
        rational.coefficients[:7] = torch.tensor([1.0, 0, 0, 0, 0, 0, 0])
        rational.coefficients[7:] = torch.randn(5)
    value = rational(torch.linspace(-50, 50, 999))
    assert bool((value <= 1).all())
    assert bool((value > 0).all())


def test_huge_and_zero_inputs_stay_finite_in_every_dtype():
    rational = Rational()
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.tensor([0.0, 1e4, -1e4], dtype=dtype, requires_grad=True)
        y = rational(x)
        assert y.dtype == dtype
        assert bool(y.isfinite().all())
        gradients = torch.autograd.grad(y.float().sum(), [x, rational.coefficients])
        assert all(bool(g.isfinite().all()) for g in gradients)


def test_a_stream_of_less_precision_is_rounded_only_at_the_end():
    rational, x = Rational(), torch.linspace(-8, 8, 99)
    for dtype in (torch.bfloat16, torch.float16):
        assert torch.equal(rational(x.to(dtype)), rational(x.to(dtype).float()).to(dtype))


def test_gradients_agree_with_finite_differences():
    """In fp64, written with the module's own Horner scheme, which otherwise computes in fp32."""
    from iapt.methods.rational import _horner

    def rational(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return _horner(x, a) / (1 + (x * _horner(x, b)).abs())

    x = torch.linspace(-2.9, 2.9, 7, dtype=torch.double, requires_grad=True)
    a = torch.tensor(GELU_NUMERATOR, dtype=torch.double, requires_grad=True)
    b = torch.tensor(GELU_DENOMINATOR, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(rational, (x, a, b))
    module = Rational()
    value = module(x.detach().float())
    assert torch.allclose(value, rational(x, a, b).float(), atol=1e-6)


def test_every_coefficient_gets_a_gradient():
    rational = Rational()
    x = torch.randn(200, generator=torch.Generator().manual_seed(1))
    rational(x).pow(2).sum().backward()
    assert bool((rational.coefficients.grad != 0).all())
