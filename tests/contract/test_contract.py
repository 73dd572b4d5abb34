"""The contract every method keeps: each YAML of configs/method, on three families.

A new method is under it as soon as its YAML exists. Where an invariant does not apply, the method
says so by an attribute (`neutral`, `instruction_aware`, `soft_tokens`) and the check holds it to it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.backbone.dims import FAMILIES, Dims
from iapt.cli.overrides import groups
from iapt.entries import build_method
from iapt.methods.base import Method
from iapt.methods.counts import count
from tests.composed import composed
from tests.contract import decoding, forward, training
from tests.contract.subject import Subject
from tests.tiny import tiny_dims

METHODS = groups()["method"]
CHECKS = (*forward.CHECKS, *decoding.CHECKS, *training.CHECKS)


@cache
def numbers(name: str) -> dict[str, Any]:
    """The method's entry, its defaults resolved as a run would."""
    entry: dict[str, Any] = composed(f"method={name}")["method"]
    return entry


def method_subject(name: str, family: str) -> Subject:
    def build(dims: Any) -> Method:
        return build_method(numbers(name), dims)

    return Subject(build, family)


def test_methods_are_found_in_the_folder():
    assert {"iapt", "iapt_8m", "lora"} <= set(METHODS)
    for name in METHODS:
        assert numbers(name)["name"] == name


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", METHODS)
def test_method(name: str, family: str, check: Callable[[Subject], None]):
    check(method_subject(name, family))


class ScaledAttention(Method):
    """y = (1 + s) attn(x): what a first method of one's own looks like, with `attach` and nothing else."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((dims.num_layers,), 0.1))

    def attach(self, backbone: Backbone) -> None:
        for layer in range(backbone.dims.num_layers):
            backbone.on_sublayer(layer, "attn", self.scaled(layer))

    def scaled(self, layer: int) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda x, y: y * (1 + self.scale[layer]).to(y.dtype)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_method_with_nothing_but_attach(family: str, check: Callable[[Subject], None]):
    check(Subject(ScaledAttention, family))


def test_a_method_with_nothing_but_attach_is_counted():
    dims = tiny_dims("llama")
    counts = count(ScaledAttention(dims), dims, {"_target_": "somewhere.ScaledAttention"})
    assert counts == {
        "counted": 5,
        "reading": "",
        "trained": [5, 5],
        "stored": [5, 5],
        "active_at_decode": [5, 5],
    }
