"""How many matrix products a training step has: what is counted, beside the formula."""

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from torch.nn import functional as F

from iapt.backbone.dims import FAMILIES
from iapt.backbone.packed import Kernels
from iapt.inference import products as module
from iapt.inference.products import peak_rate, products_of, products_of_rows
from iapt.methods.iapt import IAPT
from iapt.methods.lora import LoRA
from iapt.training.step import response, weight_parameters
from tests.tiny import data, new_backbone


def test_a_product_has_two_operations_per_multiplication_forward_and_backward():
    x, w = torch.ones(5, 7, requires_grad=True), torch.ones(3, 7)
    assert products_of(lambda: F.linear(x, w)) == 2 * 5 * 7 * 3
    a, b, c = torch.ones(2, 5, 7), torch.ones(2, 7, 3), torch.ones(2, 5, 3)
    assert products_of(lambda: torch.bmm(a, b)) == 2 * (2 * 5 * 7 * 3)
    assert products_of(lambda: torch.baddbmm(c, a, b)) == 2 * (2 * 5 * 7 * 3)
    assert products_of(lambda: F.linear(x, w).sum().backward()) == 2 * (2 * 5 * 7 * 3)


@pytest.mark.parametrize("learning", [False, True])
def test_a_step_of_a_method_on_one_map_has_the_products_that_its_formula_says(learning: bool):
    """Frozen weights get no gradient; what lies in front of the first adapter has no backward pass."""
    backbone, rows, rank = new_backbone("llama"), data(), 4
    backbone.family.linear.kernels = Kernels((1, 100), learning)
    dims = backbone.dims
    method = LoRA(dims, rank=rank, sites=["up"])
    method.attach(backbone)

    def run(indices: Sequence[int]) -> None:
        out = response(backbone, rows.batch(indices), rows.eos_token_id)
        torch.autograd.grad(out.loss, weight_parameters(method))

    tokens, responses = sum(rows.sizes), sum(len(e.response) for e in rows.examples)
    inner, outer = dims.in_out("up")
    down = math.prod(dims.in_out("down"))
    frozen = sum(math.prod(dims.in_out(site)) for site in dims.linears)
    forward = dims.num_layers * (frozen + rank * (inner + outer))
    # Of block 0, only its last map lies behind its adapter; A and B have a gradient each, B's input one more.
    backward = (dims.num_layers - 1) * (frozen + 2 * rank * (inner + outer))
    backward += down + rank * (inner + outer) + rank * outer
    head = 2 * responses * dims.hidden_size * dims.vocab_size
    assert products_of_rows(rows, run) == 2 * (tokens * (forward + backward) + head)


def test_a_few_rows_tell_what_all_need_for_a_generator_of_soft_tokens_too():
    backbone = new_backbone("llama")
    rows = data(lengths=((6, 3), (4, 5), (9, 2), (5, 4), (12, 3), (7, 7)))
    method = IAPT(backbone.dims, bottleneck_dim=8)
    method.attach(backbone)
    asked: list[int] = []

    def run(indices: Sequence[int]) -> None:
        asked.extend(indices)
        out = response(backbone, rows.batch(indices), rows.eos_token_id)
        torch.autograd.grad(out.loss, weight_parameters(method))

    found = products_of_rows(rows, run)
    assert len(asked) == 3
    assert found == sum(products_of(lambda i=i: run([i])) for i in range(len(rows.examples)))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_peak_rate_is_of_the_best_size_and_the_best_repeat(
    family: str, monkeypatch: pytest.MonkeyPatch
):
    backbone = new_backbone(family)
    clock = itertools.cycle((3.0, 1.0))
    monkeypatch.setattr(module, "seconds_of", lambda *_: next(clock))
    linears = backbone.dims.linears
    weights = sum(a * b for a, b in map(backbone.dims.in_out, linears))
    # A second for each of two products of every map, whatever their size: 2 operations per weight and token.
    expected = 2 * 2 * max(module.TOKENS) * weights / (2 * len(linears))
    assert peak_rate(backbone, repeats=2) == pytest.approx(expected)
