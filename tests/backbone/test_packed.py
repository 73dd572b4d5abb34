"""Packed linear maps: the same numbers as the modules, and never stale."""

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from iapt.backbone import packed
from iapt.backbone.dims import FAMILIES
from iapt.backbone.packed import Linears
from iapt.methods.lora import LoRA
from iapt.methods.merge import merge, unmerge
from tests.tiny import encoded, new_backbone, padded

ROWS = [e.instruction for e in encoded()]


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
            packed_rows = x[..., 0].numel() >= linear._rows[0]
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


def test_gradients_pass_and_hooks_of_the_module_do_not_act():
    (module, _) = maps("linear")
    module.register_forward_hook(lambda module, args, y: y + 1)
    x = torch.randn(4, 12, requires_grad=True)
    (y,) = Linears(module)(x, module)
    assert torch.equal(y, module.forward(x))
    assert torch.autograd.grad(y.sum(), x)[0].abs().sum() > 0


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
    class Odd(nn.Linear):
        """A kind of module that nobody knows here."""

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
