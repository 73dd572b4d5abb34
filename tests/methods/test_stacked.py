"""Which methods can be stacked, and what a stack is made of."""

import pytest
import torch

from iapt.methods.bitfit import BitFit
from iapt.methods.iapt import IAPT
from iapt.methods.idpg import IDPG
from iapt.methods.lora import LoRA
from iapt.methods.stacked import Stackable, add_linear, linear
from tests.tiny import tiny_dims


def test_other_numbers_or_other_shapes_are_another_form():
    dims = tiny_dims("llama")
    plain = LoRA(dims)
    assert plain.form() == LoRA(dims).form() == LoRA(dims).eval().form()
    for other in (LoRA(dims, rank=2), LoRA(dims, alpha=4.0), LoRA(dims, sites=["q"]), BitFit(dims)):
        assert other.form() != plain.form()
    assert IAPT(dims, hide_from_first=True).form() != IAPT(dims).form()
    assert IAPT(dims, activation="gelu").form() != IAPT(dims, activation="relu").form()


def test_a_subclass_is_stacked_only_if_it_says_so():
    dims = tiny_dims("llama")

    class Other(LoRA):
        pass

    class Same(LoRA, Stackable):
        pass

    assert Other(dims).form() is None
    assert Same(dims).form() is not None


def test_a_generator_that_is_not_broadcast_is_left_to_the_loop():
    dims = tiny_dims("llama")
    assert IDPG(dims, 2, 8).form() is not None
    assert IDPG(dims, 2, 8, generator="phm", phm_order=4).form() is None


def test_a_stack_has_the_parameters_of_each_row_in_order():
    dims = tiny_dims("llama")
    first, second = IAPT(dims), IAPT(dims)
    stacked = first.stacked([first, second, first])
    others = dict(second.named_parameters())
    for name, p in first.named_parameters():
        found = _tensor(stacked, name)
        for row, own in zip(found, (p, others[name], p), strict=True):
            assert torch.equal(row, own)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("pooler", ["attention", "segment_mean"])
def test_a_stack_of_generators_serves_every_block_of_its_groups(pooler, gradients):
    """Without gradients, the keys of a group are made at its first block; groups may be cut short."""
    dims = tiny_dims("llama")
    rows = [IAPT(dims, 2, 8, 2, pooler=pooler, first_block=1, init_std=0.5) for _ in range(3)]
    stacked = rows[0].stacked(rows)
    h, mask = torch.randn(3, 5, dims.hidden_size), torch.ones(3, 5, dtype=torch.bool)
    with torch.set_grad_enabled(gradients):
        for layer in range(1, dims.num_layers):
            found = stacked.generate(layer, torch.nn.Identity(), h, mask)
            for i, own in enumerate(rows):
                alone = own.generate(layer, torch.nn.Identity(), h[i : i + 1], mask[:1])
                torch.testing.assert_close(found[i], alone[0], rtol=1e-4, atol=1e-5)


def _tensor(module, name):
    for part in name.split("."):
        module = getattr(module, part)
    return module


def test_a_batched_map_is_the_map_of_each_row():
    x, y = torch.randn(3, 5, 4), torch.randn(3, 5, 2)
    weight, bias = torch.randn(3, 2, 4), torch.randn(3, 2)
    for i in range(3):
        own = torch.nn.functional.linear(x[i], weight[i], bias[i])
        torch.testing.assert_close(linear(x, weight, bias)[i], own)
        torch.testing.assert_close(add_linear(y, x, weight, 0.5)[i], y[i] + 0.5 * (own - bias[i]))
