"""A user's own method may not see later tokens: found in one pass, whatever it was made with."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from iapt.backbone.dims import FAMILIES
from iapt.cli.overrides import groups
from iapt.entries import build_method
from iapt.errors import TrainingError
from iapt.methods.base import Method
from iapt.training.lookahead import check_lookahead
from tests.composed import composed
from tests.tiny import encoded, new_backbone, shared_backbone
from tests.training.short_run import bits

EXAMPLE = encoded(lengths=[(5, 2)])[0]


class Acting(Method):
    """Calls one verb with a function of a map (D, D) that is 0 at the start, and the function's arguments."""

    def __init__(self, verb: str, place: tuple[object, ...], fn: Callable[..., Any]) -> None:
        super().__init__()
        self.verb, self.place, self.fn = verb, place, fn
        self.map = nn.Parameter(torch.zeros(32, 32))

    def attach(self, backbone):
        getattr(backbone, self.verb)(*self.place, lambda a, b: self.fn(self.map, a, b))


def own(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return y + x @ w


def mean(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return y + x.mean(1, keepdim=True) @ w


def after(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return y + torch.cat([x[:, 1:], x[:, -1:]], 1) @ w


def masked(w: Tensor, h: Tensor, mask: Tensor) -> Tensor:
    return (h * mask[..., None]).sum(1, keepdim=True) @ w


def unmasked(w: Tensor, h: Tensor, mask: Tensor) -> Tensor:
    return h.sum(1, keepdim=True) @ w


def noisy(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return y + torch.randn_like(x) @ w


PLACES = {"on_linear": (0, "q"), "on_sublayer": (4, "ffn"), "on_block": (1,)}
AHEAD = [
    *((verb, place, fn) for verb, place in PLACES.items() for fn in (mean, after)),
    ("soft_prompt", (0,), unmasked),
]
BEHIND = [
    *((verb, place, fn) for verb, place in PLACES.items() for fn in (own, noisy)),
    ("soft_prompt", (0,), masked),
]


def check(method: Method, backbone) -> None:
    backbone.detach()
    method.attach(backbone)
    before, drawn = bits(method), torch.get_rng_state()
    try:
        check_lookahead(method, backbone, EXAMPLE, "method=mine")
    finally:
        backbone.detach()
        assert bits(method) == before
        assert torch.equal(torch.get_rng_state(), drawn)
        assert method.training


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("verb", "place", "fn"), AHEAD)
def test_a_function_that_sees_later_tokens_is_refused(verb: str, place, fn, dtype):
    def in_dtype(w: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return fn(w.to(a.dtype), a, b)

    with pytest.raises(TrainingError, match=r"^method=mine: it looks ahead: "):
        check(Acting(verb, place, in_dtype), shared_backbone("llama", dtype=dtype))


@pytest.mark.parametrize(("verb", "place", "fn"), BEHIND)
def test_a_function_of_each_token_or_of_the_instruction_passes(verb: str, place, fn):
    check(Acting(verb, place, fn), shared_backbone("gpt2"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", groups()["method"])
def test_the_methods_of_this_package_pass(name: str, family: str):
    backbone = new_backbone(family)
    check(build_method(composed(f"method={name}")["method"], backbone.dims), backbone)


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda w, x, y: {}["x"], r"raised KeyError: 'x' \(test_lookahead\.py, line \d+\)\.$"),
        (lambda w, x, y: None, r"raised AttributeError: 'NoneType'"),
        (lambda w, x, y: y.mul_(1 + w[0]), r"raised RuntimeError: .*test_lookahead\.py, line"),
        (lambda w, x, y: y[:, :-1], r"raised RuntimeError: "),
    ],
)
def test_a_function_that_fails_is_told_in_one_line(fn, message: str):
    with pytest.raises(TrainingError, match=rf"^method=mine: its first forward pass {message}"):
        check(Acting("on_sublayer", (0, "ffn"), fn), shared_backbone("llama"))
