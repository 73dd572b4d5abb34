"""A user's own method: what could not be trained, saved and loaded is refused by name before a run."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from iapt.backbone.dims import FAMILIES
from iapt.cli.overrides import groups
from iapt.configuration.plugins import Plugins
from iapt.entries import build_method
from iapt.errors import ConfigError
from iapt.methods.base import Method
from iapt.methods.outside import attach, check_outside
from tests.composed import composed
from tests.tiny import shared_backbone, tiny_dims

DIMS = tiny_dims("llama")


class Gain(Method):
    """y (1 + g) at every block's attention; the base of everything below."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(DIMS.num_layers))

    def attach(self, backbone):
        for layer in range(backbone.dims.num_layers):
            backbone.on_sublayer(
                layer, "attn", lambda x, y, layer=layer: y * (1 + self.gain[layer])
            )


class Failing(Gain):
    def attach(self, backbone):
        {}["x"]


class Misplaced(Gain):
    def attach(self, backbone):
        backbone.on_linear(0, "query", lambda x, y: y)


class Undefined(Gain):
    attach = Method.attach


class Idle(Gain):
    def attach(self, backbone):
        pass


class Later(Gain):
    def attach(self, backbone):
        self.later = nn.Parameter(torch.zeros(1))
        super().attach(backbone)


class Drawing(Gain):
    def attach(self, backbone):
        self.drawn = torch.randn(3)
        super().attach(backbone)


class Buffer(Gain):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Module()
        self.inner.register_buffer("fixed", torch.randn(3), persistent=False)


class Attribute(Gain):
    def __init__(self) -> None:
        super().__init__()
        self.parts = {"a": [torch.randn(3)]}


class Everything(Gain):
    def arch_parameters(self):
        return list(self.parameters())


class Generating(Gain):
    def arch_parameters(self):
        return (p for p in self.parameters())


class Vector(Gain):
    def penalty(self):
        return self.gain.abs()


class Number(Gain):
    def penalty(self):
        return 0.0


REFUSED = [
    (Failing, r"attach raised KeyError: 'x' \(test_outside\.py, line \d+\)\.$"),
    (
        Misplaced,
        r"attach raised BackboneError: block 0, 'query': .* \(test_outside\.py, line \d+\)",
    ),
    (Undefined, r"attach raised NotImplementedError: Undefined must define attach"),
    (Idle, r"attach calls none of the backbone's verbs"),
    (Later, r"attach makes later, which a saved adapter could not be loaded into"),
    (Drawing, r"attach draws random numbers"),
    (Buffer, r"inner\.fixed is drawn at random and not saved"),
    (Attribute, r"parts is drawn at random and not saved"),
    (Everything, r"arch_parameters returns all parameters"),
    (Generating, r"arch_parameters must return a list"),
    (Vector, r"penalty must return None or a scalar tensor"),
    (Number, r"penalty must return None or a scalar tensor"),
]


@pytest.mark.parametrize(("kind", "message"), REFUSED)
def test_what_could_not_be_trained_saved_and_loaded_is_refused(kind, message: str):
    with pytest.raises(ConfigError, match=rf"^method=mine: {message}") as caught:
        check_outside(kind, DIMS, "mine")
    assert "\n" not in str(caught.value)


class Seeded(Gain):
    """Drawn, but the same in every process."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.register_buffer("fixed", torch.randn(3, generator=draw), persistent=False)
        self.plain = torch.full((3, 3), -torch.inf).triu(1)
        self.register_buffer("saved", torch.randn(3))
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)
        self.listed = [self.gain, self.saved]


class Reading(Gain):
    """Its attach reads the backbone's weights, which only the run has."""

    def attach(self, backbone):
        assert float(backbone.family.embedding_table().std()) > 0
        super().attach(backbone)


@pytest.mark.parametrize("kind", [Gain, Seeded, Reading])
def test_what_is_saved_or_constant_is_allowed_and_nothing_is_drawn(kind: Callable[[], Method]):
    before = torch.get_rng_state()
    check_outside(kind, DIMS, "mine")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_run_attaches_under_the_same_checks():
    backbone = shared_backbone("llama")
    backbone.detach()
    with pytest.raises(ConfigError, match="method=mine: attach calls none"):
        attach(Idle(), backbone, "method=mine")
    attach(Reading(), backbone, "method=mine")
    backbone.detach()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", groups()["method"])
def test_the_methods_of_this_package_pass(name: str, family: str):
    entry, dims = composed(f"method={name}")["method"], tiny_dims(family)
    check_outside(partial(build_method, entry, dims), dims, name)


BUILT = """
import torch
from torch import nn
from iapt.methods.base import Method

class NoSuper(Method):
    def __init__(self, dims):
        pass

class NoSuperYet(Method):
    def __init__(self, dims):
        self.scale = nn.Parameter(torch.zeros(3))

class Lazy(Method):
    def __init__(self, dims):
        super().__init__()
        self.net = nn.LazyLinear(3)

class Values(Method):
    def __init__(self, dims):
        super().__init__()
        w = torch.randn(3)
        if w.abs().max() > 3:
            w = w / 2

class Named(Method):
    def __init__(self, dims, size: int = 2):
        super().__init__()
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoSuper", r"NoSuper\.__init__ must begin with super\(\)\.__init__\(\)\.$"),
        ("NoSuperYet", r"raised AttributeError: cannot assign .* \(toys\.py, line 12\)\.$"),
        ("Lazy", r"Lazy: net\.\w+ has no shape yet"),
        ("Values", r"raised RuntimeError: .*meta tensors \(toys\.py, line 23\)\.$"),
        ("Named", r"its __init__ takes 'size', which would never arrive"),
    ],
)
def test_a_class_that_cannot_be_built_is_told_in_one_line(name: str, message: str, tmp_path: Path):
    (tmp_path / "toys.py").write_text(BUILT)
    plugins = Plugins.find(str(tmp_path / "toys.py"))
    entry = {"name": "mine", "_target_": f"toys.{name}", "size": "L * d"}
    with pytest.raises(ConfigError, match=rf"^method.*{message}") as caught, torch.device("meta"):
        build_method(entry, DIMS, plugins)
    assert "\n" not in str(caught.value)
