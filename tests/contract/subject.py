"""What the contract is checked on: a method, built at will, and a tiny backbone."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.data.encode import Encoded
from iapt.methods.base import Method
from tests.tiny import encoded, new_backbone, padded, shared_backbone

ATOL = 1e-5
EFFECT = 1e-3

Build = Callable[[Dims], Method]


@dataclass
class Subject:
    """A method on one family.

    Attributes:
        build: makes the method for given sizes.
        family: of the backbone.
        own_weights: a backbone of its own, for methods that may spoil it.
    """

    build: Build
    family: str
    own_weights: bool = False
    texts: list[Encoded] = field(default_factory=encoded)

    def __post_init__(self) -> None:
        self.backbone: Backbone = (
            new_backbone(self.family) if self.own_weights else shared_backbone(self.family)
        )

    def new_method(self, noise: float = 0.05, seed: int = 0) -> Method:
        """Build in eval mode; noise on every trained parameter makes effects visible."""
        torch.manual_seed(seed)
        method = self.build(self.backbone.dims).eval()
        with torch.no_grad():
            for p in method.parameters():
                p.add_(noise * torch.randn_like(p))
        return method

    def attach(
        self, noise: float = 0.05, seed: int = 0, backbone: Backbone | None = None
    ) -> Method:
        """Attach a new method to a bare backbone (the subject's own by default)."""
        backbone = backbone or self.backbone
        backbone.detach()
        backbone.checkpointing = False
        backbone.train(False)
        method = self.new_method(noise, seed)
        method.attach(backbone)
        return method

    def instructions(self) -> list[tuple[int, ...]]:
        return [text.instruction for text in self.texts]


@dataclass
class Rows:
    """Padded whole sequences, as `Backbone.__call__` takes them."""

    ids: Tensor
    mask: Tensor
    instruction: Tensor

    def logits(self, backbone: Backbone) -> Tensor:
        """Logits (B, T, V), no gradient."""
        with torch.no_grad():
            return backbone(self.ids, self.mask, self.instruction)


def whole(texts: list[Encoded], side: str = "right") -> Rows:
    """Instruction and response of each text in one padded row."""
    ids, mask = padded([t.instruction + t.response for t in texts], side)
    order = mask.cumsum(1) - 1  # rank of a token in its row
    sizes = torch.tensor([len(t.instruction) for t in texts])
    return Rows(ids, mask, mask & (order < sizes[:, None]))


def gap(a: Tensor, b: Tensor) -> float:
    """Largest absolute difference."""
    return float((a.float() - b.float()).abs().max())
