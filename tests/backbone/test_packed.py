"""Packed linear maps: the same numbers as the modules, and never stale."""

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from iapt.backbone import packed
from iapt.backbone.dims import FAMILIES
from iapt.backbone.packed import Kernels, Linears
from iapt.methods.lora import LoRA
from iapt.methods.merge import merge, unmerge
from tests.tiny import encoded, new_backbone, padded

ROWS = [e.instruction for e in encoded()]


class Odd(nn.Linear):
    """A kind of module that nobody knows here."""


def maps(kind: str, bias: bool = True) -> list[nn.Module]:
    torch.manual_seed(0)
    if kind == "conv1d":
        made: list[nn.Module] = [Conv1D(n, 12) for n in (20, 8)]
        for module in made:
            nn.init.normal_(module.bias)
        return made
    return [nn.Linear(12, n, bias=bias) for n in (20, 8)]


@pytest.mark.parametrize(("kind", "bias"), [("linear", True), ("linear", False), ("conv1d", True)])
@pytest.mark.parametrize("rows", [1, 3, 4, 40])
def test_side_by_side_maps_are_the_modules(kind: str, bias: bool, rows: int):
    modules = maps(kind, bias)
    for shape in ((rows, 12), (rows, 1, 12), (2, rows, 24)):
        x = torch.randn(shape)[..., :12]  # the last one is not contiguous
        linear = Linears(nn.ModuleList(modules))
        with torch.no_grad():
            found = linear(x, *modules)
            packed_rows = x[..., 0].numel() >= linear.kernels.rows[0]
            assert all(packed is not None for packed in linear._packed.values())
            assert bool(linear._packed) == packed_rows
            for y, module in zip(found, modules, strict=True):
                torch.testing.assert_close(y, module(x), atol=1e-5, rtol=0)


def test_maps_of_which_one_has_a_bias_are_the_modules():
    modules = [nn.Linear(12, 20), nn.Linear(12, 8, bias=False)]
    x = torch.randn(4, 12)
    with torch.no_grad():
        for y, module in zip(Linears(nn.ModuleList(modules))(x, *modules), modules, strict=True):
            torch.testing.assert_close(y, module(x), atol=1e-5, rtol=0)


def test_a_bias_that_a_map_gains_reaches_the_next_batch():
    module = nn.Linear(12, 8, bias=False)
    linear, x = Linears(module), torch.randn(4, 12)
    with torch.no_grad():
        (before,) = linear(x, module)
        module.bias = nn.Parameter(torch.ones(8))
        linear.refresh()
        (after,) = linear(x, module)
    torch.testing.assert_close(after, before + 1, atol=1e-5, rtol=0)


KERNELS = [Kernels((4, 100)), Kernels((1, 100), learning=True)]


def frozen(kind: str, bias: bool = True) -> nn.Module:
    return maps(kind, bias)[0].requires_grad_(False)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(("kind", "bias"), [("linear", True), ("linear", False), ("conv1d", True)])
def test_gradients_are_the_modules_and_its_hooks_do_not_act(
    kernels: Kernels, kind: str, bias: bool
):
    module = frozen(kind, bias)
    linear = Linears(module)
    linear.kernels = kernels
    for shape in ((1, 12), (7, 12), (2, 5, 24)):
        x = torch.randn(shape)[..., :12].requires_grad_()  # the last one is not contiguous
        expected = module(x)
        g = torch.randn_like(expected.mT).mT  # neither is this
        (dx,) = torch.autograd.grad(expected, x, g)
        hook = module.register_forward_hook(lambda module, args, y: y + 1)
        (y,) = linear(x, module)
        hook.remove()
        torch.testing.assert_close(y, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(torch.autograd.grad(y, x, g)[0], dx, atol=1e-5, rtol=0)


def test_what_onednn_cannot_learn_through_is_called(monkeypatch):
    """Only a frozen float32 weight is left to a product that has no gradient for it."""
    calls = []
    monkeypatch.setattr(packed, "product", lambda *args: calls.append(args))
    learns = frozen("linear")
    double, trained, biased = frozen("linear").double(), frozen("linear"), frozen("linear")
    trained.weight.requires_grad_()
    biased.bias.requires_grad_()

    for module in (double, trained, biased, Odd(12, 8).requires_grad_(False)):
        linear, x = Linears(module), torch.randn(4, 12, dtype=module.weight.dtype)
        linear.kernels = Kernels((1, 100), learning=True)
        assert torch.equal(linear(x, module)[0], module(x))
    assert not calls
    linear.kernels = Kernels((1, 100))
    linear(torch.randn(4, 12), learns)
    assert not calls
    linear.kernels = Kernels((1, 100), learning=True)
    linear(torch.randn(4, 12), learns)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("capability", "amd", "expected"),
    [
        ("AVX2", True, Kernels((2, 128))),
        ("AVX2", False, Kernels((2, 128))),
        ("AVX512", False, Kernels((4, packed.sys.maxsize))),
        ("AVX512", True, Kernels((1, packed.sys.maxsize), learning=True)),
    ],
)
def test_the_kind_of_cpu_alone_chooses_the_kernels(monkeypatch, capability, amd, expected):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(packed, "is_amd", lambda: amd)
    assert Kernels.of_this_cpu() == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_learns_alike_with_either_kernel(family: str):
    found = []
    for kernels in KERNELS:
        backbone = new_backbone(family)
        backbone.family.linear.kernels = kernels
        torch.manual_seed(1)
        method = LoRA(backbone.dims)
        method.attach(backbone)
        ids, mask = padded(ROWS)
        loss = backbone(ids, mask).logsumexp(-1).sum()
        found.append((loss, *torch.autograd.grad(loss, list(method.parameters()))))
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("change", ["in place", "replaced", "other storage", "bias"])
def test_changed_weights_are_packed_anew(change: str):
    module = nn.Linear(12, 8)
    linear = Linears(module)
    x = torch.randn(4, 12)
    with torch.no_grad():
        (before,) = linear(x, module)
        linear.refresh()
        first = linear._packed[(module,)]
        assert first is not None
        if change == "in place":
            module.weight.mul_(2)
        elif change == "replaced":
            module.weight = nn.Parameter(module.weight * 2)
        elif change == "other storage":
            module.weight.data = module.weight.data * 2
        else:
            module.bias.add_(1)
        linear.refresh()
        (after,) = linear(x, module)
        torch.testing.assert_close(after, module(x), atol=1e-5, rtol=0)
    assert not torch.allclose(before, after)


def test_what_cannot_be_packed_is_called():
    odd = Odd(12, 8)
    double = nn.Linear(12, 8).double()
    for module, dtype in ((odd, torch.float32), (double, torch.float64)):
        linear = Linears(module)
        x = torch.randn(4, 12, dtype=dtype)
        with torch.no_grad():
            assert torch.equal(linear(x, module)[0], module(x))
        assert linear._packed == {(module,): None}


def test_a_model_too_large_for_a_second_copy_is_not_packed(monkeypatch):
    module = nn.Linear(12, 8)
    before, linear = Linears(module), Linears(module)
    x = torch.randn(4, 12)
    with torch.no_grad():
        before(x, module)
        monkeypatch.setattr(packed, "LARGEST_SHARE", 1e-12)
        assert torch.equal(linear(x, module)[0], module(x))
        assert linear._packed == {(module,): None}
        module.weight.mul_(2)  # the weights are others, so their size may be, too
        before.refresh()
        before(x, module)
    assert before._packed == {(module,): None}


@pytest.mark.parametrize("family", FAMILIES)
def test_merging_and_undoing_it_reach_the_next_batch(family: str):
    """Merged weights are new tensors; packed ones of before must not answer for them."""
    backbone = new_backbone(family)
    torch.manual_seed(1)
    method = LoRA(backbone.dims)
    with torch.no_grad():
        for p in method.parameters():
            p.copy_(0.3 * torch.randn_like(p))
    method.attach(backbone)
    ids, mask = padded(ROWS)

    def logits() -> torch.Tensor:
        with torch.no_grad():
            _, state = backbone.prefill(ids, mask)
            return backbone.step(torch.tensor([4, 5, 6, 7]), state)

    attached = logits()
    with backbone.disabled():
        bare = logits()
    merge(method, backbone)
    torch.testing.assert_close(logits(), attached, atol=1e-4, rtol=0)
    unmerge(method, backbone)
    backbone.detach()
    assert torch.equal(logits(), bare)
    assert not torch.allclose(bare, attached, atol=1e-2)
