"""The contract's checks fail on methods that break it, one fault each.

Every broken method passes the checks that its fault does not touch: a sound twin of it is checked
first, so that a check that fails on everything would be noticed.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.methods.base import Method
from iapt.methods.searched import Reshaped
from tests.contract import decoding, forward, training
from tests.contract.subject import Subject

Check = Callable[[Subject], None]


class Shift(Method):
    """Sound: adds a trained vector to every output projection."""

    neutral = True

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.vectors = nn.ParameterList(
            torch.zeros(dims.hidden_size) for _ in range(dims.num_layers)
        )

    def attach(self, backbone: Backbone) -> None:
        for layer, vector in enumerate(self.vectors):
            backbone.on_linear(layer, "o", lambda x, y, v=vector: y + v.to(y.dtype))


class MeanPrompt(Method):
    """Sound: two soft tokens in every block, from the mean of the instruction's states."""

    soft_tokens = 2
    instruction_aware = True

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.maps = nn.ParameterList(
            torch.randn(dims.hidden_size, 2 * dims.hidden_size) / 6 for _ in range(dims.num_layers)
        )

    def weights(self, h: Tensor, mask: Tensor) -> Tensor:
        return mask / mask.sum(1, keepdim=True)

    def prompt(self, layer: int, h: Tensor, mask: Tensor) -> Tensor:
        pooled = (self.weights(h, mask).to(h.dtype)[..., None] * h).sum(1)
        return (pooled @ self.maps[layer].to(h.dtype)).unflatten(-1, (2, -1))

    def attach(self, backbone: Backbone) -> None:
        for layer in range(backbone.dims.num_layers):
            backbone.soft_prompt(layer, lambda h, m, i=layer: self.prompt(i, h, m))


class NotNeutral(Shift):
    """Says it starts neutral, and does not."""

    def __init__(self, dims: Dims) -> None:
        super().__init__(dims)
        nn.init.normal_(self.vectors[0])


class Idle(Shift):
    """Is never attached to anything."""

    def attach(self, backbone: Backbone) -> None:
        pass


class OwnHook(Shift):
    """Puts a hook where `disabled` and `detach` do not reach."""

    def attach(self, backbone: Backbone) -> None:
        module = backbone.family.site(0, "o").module
        module.register_forward_hook(lambda module, args, y: y + self.vectors[0])
        super().attach(backbone)


class OwnWeights(Shift):
    """Changes a frozen weight, where `disabled` and `detach` do not reach."""

    def attach(self, backbone: Backbone) -> None:
        weight = backbone.family.site(0, "o").module.weight
        assert isinstance(weight, torch.Tensor)
        with torch.no_grad():
            weight.mul_(1.5)
        super().attach(backbone)


class AddsModule(Shift):
    """Makes itself a part of the model."""

    def attach(self, backbone: Backbone) -> None:
        backbone.model.extra = self
        super().attach(backbone)


class Leaks(MeanPrompt):
    """Pools over the whole row: response and pads."""

    def weights(self, h: Tensor, mask: Tensor) -> Tensor:
        return torch.full(mask.shape, 1 / mask.shape[1])


class SeesResponse(Shift):
    """Adds what the sequence as a whole says, beside the block."""

    def attach(self, backbone: Backbone) -> None:
        for layer, vector in enumerate(self.vectors):
            backbone.on_block(
                layer, lambda h, out, v=vector: out + 20 * v * h.mean(1, keepdim=True)
            )


class WholeBatch(Shift):
    """Looks at the other rows of the batch."""

    def attach(self, backbone: Backbone) -> None:
        for layer, vector in enumerate(self.vectors):
            backbone.on_linear(layer, "o", lambda x, y, v=vector: y + v * y[:1, -1:].detach())


class ConstantPrompt(MeanPrompt):
    """Says it reads the instruction, and does not."""

    def prompt(self, layer: int, h: Tensor, mask: Tensor) -> Tensor:
        return self.maps[layer][:2, : h.shape[-1]].expand(len(h), -1, -1).to(h.dtype)


class FullPrecision(Shift):
    """Multiplies a bf16 stream by fp32 weights."""

    def attach(self, backbone: Backbone) -> None:
        for layer, vector in enumerate(self.vectors):
            backbone.on_block(layer, lambda h, out, v=vector: out + (h @ v)[..., None])


class WrongCount(MeanPrompt):
    """Makes two soft tokens, and says it is three."""

    soft_tokens = 3


class PromptsWhileDecoding(MeanPrompt):
    """Makes its soft tokens again for every new token."""

    def attach(self, backbone: Backbone) -> None:
        super().attach(backbone)
        step = Backbone.step

        def again(tokens: Tensor, state: Any) -> Tensor:
            for prompts in backbone._prompts:
                for prompt in prompts:
                    h = torch.zeros(len(tokens), 1, backbone.dims.hidden_size)
                    prompt.fn(h, torch.ones(len(tokens), 1, dtype=torch.bool))
            return step(backbone, tokens, state)

        backbone.step = again  # type: ignore[method-assign]


class Remembers(MeanPrompt):
    """Keeps the soft tokens of the last whole-sequence pass."""

    def prompt(self, layer: int, h: Tensor, mask: Tensor) -> Tensor:
        if not hasattr(self, "kept"):
            self.kept: dict[Any, Tensor] = {}
        key = (layer, tuple(h.shape))
        if key not in self.kept:
            self.kept[key] = super().prompt(layer, h, mask)
        return self.kept[key]


class CountsCalls(Shift):
    """Behaves differently each time."""

    calls = 0

    def attach(self, backbone: Backbone) -> None:
        def shift(x: Tensor, y: Tensor) -> Tensor:
            self.calls += 1
            return y + self.vectors[0] * self.calls

        backbone.on_linear(0, "o", shift)


class TrainsBackbone(Shift):
    """Holds a tensor of the backbone as its own."""

    def attach(self, backbone: Backbone) -> None:
        weight = backbone.family.ln1(0).weight
        assert isinstance(weight, nn.Parameter)
        self.taken = weight.requires_grad_(True)
        super().attach(backbone)


class DeadParameter(Shift):
    """Trains a tensor that nothing reads."""

    def __init__(self, dims: Dims) -> None:
        super().__init__(dims)
        self.unused = nn.Parameter(torch.randn(3))


class ForeignArchitecture(Shift):
    """Names a parameter as Θ that it does not hold."""

    def arch_parameters(self) -> list[nn.Parameter]:
        return [self.vectors[0], nn.Parameter(torch.zeros(2))]


class PenaltyPerPass(Shift):
    """Adds a term for each forward pass instead of each optimizer step."""

    passes = 0

    def attach(self, backbone: Backbone) -> None:
        def count(x: Tensor, y: Tensor) -> Tensor:
            self.passes += 1
            return y + self.vectors[0] + self.vectors[0].detach() * self.passes

        backbone.on_linear(0, "o", count)


class ForgetsOnSave(Shift):
    """Has a number that matters and is not saved."""

    def __init__(self, dims: Dims) -> None:
        super().__init__(dims)
        self.register_buffer("scale", torch.randn(1), persistent=False)

    def attach(self, backbone: Backbone) -> None:
        for layer, vector in enumerate(self.vectors):
            backbone.on_linear(layer, "o", lambda x, y, v=vector: y + (v * self.scale).to(y.dtype))


class MoreThanTrained(Shift, Reshaped):
    """Serves more of a parameter than it trains."""

    def serving_state(self) -> dict[str, Tensor]:
        return {name: tensor.repeat(2) for name, tensor in self.state_dict().items()}


FAULTS: list[tuple[Check, type[Method], type[Method]]] = [
    (forward.starts_neutral_or_says_not, NotNeutral, Shift),
    (forward.has_effect, Idle, Shift),
    (forward.disabled_is_bare, OwnWeights, Shift),
    (forward.detach_restores, OwnHook, Shift),
    (forward.detach_restores, AddsModule, Shift),
    (forward.is_causal, Leaks, MeanPrompt),
    (forward.is_causal, SeesResponse, Shift),
    (forward.ignores_padding, Leaks, MeanPrompt),
    (forward.rows_are_independent, WholeBatch, Shift),
    (forward.ignores_padding, WholeBatch, Shift),
    (forward.says_whether_it_reads_the_instruction, ConstantPrompt, MeanPrompt),
    (forward.runs_in_bfloat16, FullPrecision, Shift),
    (decoding.greedy_is_argmax_of_forward, SeesResponse, Shift),
    (decoding.beams_need_no_cache, SeesResponse, Shift),
    (decoding.batch_equals_alone, WholeBatch, Shift),
    (decoding.cache_holds_text_and_soft_tokens, WrongCount, MeanPrompt),
    (decoding.prompts_are_made_once, PromptsWhileDecoding, MeanPrompt),
    (decoding.leaves_no_state, CountsCalls, Shift),
    (training.two_forwards_then_two_backwards, Remembers, MeanPrompt),
    (training.trains_only_itself, TrainsBackbone, Shift),
    (training.trains_only_itself, DeadParameter, Shift),
    (training.micro_batches_change_no_gradient, PenaltyPerPass, Shift),
    (training.checkpointing_changes_no_gradient, CountsCalls, Shift),
    (training.saves_and_loads, ForgetsOnSave, Shift),
    (training.counts_its_parameters, MoreThanTrained, Shift),
    (training.counts_its_parameters, ForeignArchitecture, Shift),
]


@pytest.mark.parametrize(
    ("check", "broken", "sound"),
    FAULTS,
    ids=[f"{check.__name__}-{broken.__name__}" for check, broken, _ in FAULTS],
)
def test_a_broken_method_is_found(check: Check, broken: type[Method], sound: type[Method]):
    check(Subject(sound, "llama"))
    with pytest.raises((AssertionError, RuntimeError)):
        check(Subject(broken, "llama", own_weights=True))


def test_every_check_has_a_method_that_breaks_it():
    checks = {*forward.CHECKS, *decoding.CHECKS, *training.CHECKS}
    unbroken = {check.__name__ for check in checks - {check for check, _, _ in FAULTS}}
    # These compare two paths of the backbone itself; the oracles in tests/backbone break with them.
    literal = {"forward_is_literal", "gradients_are_literal", "decoding_is_literal"}
    assert unbroken == {"keeps_length", "eager_equals_sdpa", *literal}
