"""Learned-Adapter, a stand-in: the original's code and search are not public.

Known of the original (Zhang et al. 2023) is that adapter architectures are searched in a unified
space and then used for tuning.  Its activations, operations and search ("GDNAS") are unknown; what
follows is ours and must be reported as a reimplementation, not as the original.

Per block one adapter beside the whole block, as in `parallel_adapter.py`, with a searched inside:

    y = Block(h) + s * e(phi(x W_d)) W_u        W_d in R^{d x m}, W_u in R^{m x d}, x = LN1(h)
    phi  = sum_k softmax(a)_k phi_k             phi_k of ReLU, GELU, SiLU, tanh, LeakyReLU, identity
    e(z) = softmax(c)_0 z + softmax(c)_1 z W_e  W_e in R^{m x m} from the identity

Everything is done token by token, so decoding needs no state.  *Search*: first-order bilevel steps
(`arch_parameters` = a, c) on a training set cut in halves, for 20 % of the training steps; over the
next 20 %, a and c of all blocks are settled one after another, the most confident (lowest softmax
entropy) first.  *Training*: the settled adapters from a fresh start, for the full schedule.
9,437,184 to 9,478,656 parameters on LLaMA-2 7B, by the number of W_e that stay (Table 1: 9.5M).

Symbols: m -> bottleneck_dim, s -> scale.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iapt.backbone.dims import Dims
from iapt.errors import ConfigError
from iapt.methods.base import Method, Progress, Search
from iapt.methods.parallel_adapter import ParallelAdapter

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "leaky_relu": F.leaky_relu,
    "identity": lambda z: z,
}
INNER = ("none", "linear")
DECISIONS = {"activation": tuple(ACTIVATIONS), "inner": INNER}
UNDECIDED = -1


class SearchedOperation(nn.Module):
    """e(phi(z)): a mixture while it is searched, one activation and one inner map afterwards."""

    def __init__(self, bottleneck_dim: int) -> None:
        super().__init__()
        self.activation_logits: nn.Parameter | None = nn.Parameter(torch.zeros(len(ACTIVATIONS)))
        self.inner_logits: nn.Parameter | None = nn.Parameter(torch.zeros(len(INNER)))
        self.inner: nn.Parameter | None = nn.Parameter(torch.eye(bottleneck_dim))  # W_e
        for decision in DECISIONS:
            self.register_buffer(f"{decision}_choice", torch.tensor(UNDECIDED))
        self._choice = dict.fromkeys(
            DECISIONS, UNDECIDED
        )  # the same, readable without a device sync
        self.register_load_state_dict_post_hook(lambda module, _: module.read_choices())

    def read_choices(self) -> None:
        """Take over the choices that the buffers hold."""
        self._choice = {d: int(getattr(self, f"{d}_choice")) for d in DECISIONS}

    def forward(self, z: Tensor) -> Tensor:
        """(B,T,m) -> (B,T,m)."""
        phi = self._mix("activation", tuple(ACTIVATIONS.values()), z)
        return self._mix("inner", (lambda z: z, self._linear), phi)

    def _linear(self, z: Tensor) -> Tensor:
        assert self.inner is not None
        return z @ self.inner.to(z.dtype)

    def _mix(
        self, decision: str, candidates: Sequence[Callable[[Tensor], Tensor]], z: Tensor
    ) -> Tensor:
        """What was decided, of z; or every candidate, weighted by its softmax."""
        if self._choice[decision] != UNDECIDED:
            return candidates[self._choice[decision]](z)
        shares = self._softmax(decision).to(z.dtype)
        return torch.stack([w * f(z) for w, f in zip(shares, candidates, strict=True)]).sum(0)

    def _softmax(self, decision: str) -> Tensor:
        return torch.softmax(getattr(self, f"{decision}_logits").float(), dim=0)

    def entropy(self, decision: str) -> float:
        """Entropy of a decision's softmax in nats; infinite once it is made."""
        if self._choice[decision] != UNDECIDED:
            return math.inf
        p = self._softmax(decision).detach()
        return float(-(p * p.log()).sum())

    def decide(self, decision: str) -> None:
        """Settle a decision for its most probable candidate."""
        getattr(self, f"{decision}_choice").copy_(self._softmax(decision).argmax())
        self.read_choices()

    def choice(self, decision: str) -> str:
        """What was decided."""
        return DECISIONS[decision][self._choice[decision]]

    def settle(self) -> None:
        """Once both decisions are made: drop what only the search needed, start W_e afresh."""
        self.activation_logits = self.inner_logits = None
        if self.choice("inner") == "none":
            self.inner = None
        elif self.inner is not None:
            nn.init.eye_(self.inner)


class LearnedAdapterReimpl(ParallelAdapter):
    """Stand-in for Learned-Adapter.

    Args:
        dims: sizes of the backbone.
        bottleneck_dim: m.
        scale: s.
        input: "ln1" or "raw", what the adapter reads.
        search_fraction: steps of pure search as a share of the training steps.
        decide_fraction: steps over which decisions are made, likewise.
        arch_lr: learning rate of a and c.
    """

    uncounted = ("activation_logits", "inner_logits")

    def __init__(
        self,
        dims: Dims,
        bottleneck_dim: int = 36,
        scale: float = 4.0,
        input: str = "ln1",
        search_fraction: float = 0.2,
        decide_fraction: float = 0.2,
        arch_lr: float = 1e-3,
    ) -> None:
        for field, share in (
            ("search_fraction", search_fraction),
            ("decide_fraction", decide_fraction),
        ):
            if not 0 < share <= 1:
                raise ConfigError(f"method.{field}={share}: a share, must be in (0, 1].")
        self._bottleneck_dim = bottleneck_dim
        super().__init__(dims, bottleneck_dim, scale, input)
        self.decide_from = search_fraction / (search_fraction + decide_fraction)
        self.search = Search(search_fraction + decide_fraction, arch_lr, held_out=0.5)

    def activation(self, layer: int) -> nn.Module:
        return SearchedOperation(self._bottleneck_dim)

    def operations(self) -> list[SearchedOperation]:
        """The searched inside of every block's adapter."""
        return [block.activation for block in self.blocks]  # type: ignore[misc]

    def arch_parameters(self) -> list[nn.Parameter]:
        logits = [getattr(op, f"{d}_logits") for op in self.operations() for d in DECISIONS]
        return [p for p in logits if p is not None]

    def undecided(self) -> list[tuple[float, SearchedOperation, str]]:
        """Entropy, operation and name of every decision still to be made."""
        all_of = [(op.entropy(d), op, d) for op in self.operations() for d in DECISIONS]
        return [entry for entry in all_of if entry[0] < math.inf]

    def on_step_end(self, progress: Progress) -> None:
        if self.search is None:
            return
        start = self.decide_from * progress.total_steps
        share = (progress.step - start) / (progress.total_steps - start)
        due = math.ceil(share * len(DECISIONS) * len(self.blocks) - 1e-9)
        while (left := self.undecided()) and len(DECISIONS) * len(self.blocks) - len(left) < due:
            _, operation, decision = min(left, key=lambda entry: entry[0])
            operation.decide(decision)

    def ready(self, progress: Progress) -> bool:
        return not self.undecided()

    def end_search(self) -> None:
        for _, operation, decision in self.undecided():
            operation.decide(decision)
        self._settle()
        for block in self.blocks:
            block.reset()  # type: ignore[operator]

    def _settle(self) -> None:
        for operation in self.operations():
            operation.settle()
        self.search = None

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        searched = not any(name.endswith("_logits") for name in tensors)
        if self.search is None or not searched or not tensors:
            return
        for layer, operation in enumerate(self.operations()):
            for decision in DECISIONS:
                name = f"{decision}_choice"
                saved = tensors.get(f"blocks.{layer}.activation.{name}")
                if saved is not None:
                    getattr(operation, name).copy_(saved)
            operation.read_choices()
        self._settle()

    def structure(self) -> dict[str, Any]:
        if self.search is not None:
            return {}
        return {
            f"{layer}": {decision: op.choice(decision) for decision in DECISIONS}
            for layer, op in enumerate(self.operations())
        }

    def reading(self) -> str:
        inner = [op.inner for op in self.operations() if op.inner is not None]
        more = (
            f" + {len(inner)} inner maps × {' × '.join(map(str, inner[0].shape))}" if inner else ""
        )
        return (
            f"{super().reading()}{more}; a stand-in, not the original; the search drops inner maps"
        )

    def endings(self) -> list[Method]:
        """No block with an inner map, and every block with one."""
        if self.search is None:
            return [self]
        found: list[Method] = []
        for inner in range(len(INNER)):
            ending = copy.deepcopy(self)
            for operation in ending.operations():
                operation._choice = {"activation": 0, "inner": inner}
            ending._settle()
            found.append(ending)
        return found
