"""Frozen linear maps by the CPU's fastest kernels.

*Packed, without gradients.*  A frozen weight never changes, so oneDNN can reorder it once instead of
for every product, and maps that read the same input (q, k and v; gate and up) become one product.
With some 4 to 24 rows, as in a decoding step, this is 1.1 to 3 times as fast as `F.linear`,
depending on the CPU.  It costs a second copy of the weights, so a model that is too large for that is
not packed.

*As they are, with gradients.*  torch's products are MKL's, which are at their best on Intel's CPUs; on
AMD's with AVX-512, oneDNN's are mostly 1.1 to 1.3 times as fast, without a copy.

The modules themselves are called in all other cases: on other devices, and for other kinds of module or
weight (such as quantised ones).
"""

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.pytorch_utils import Conv1D

from iapt.backbone.device import bytes_of, is_amd, memory_of

LARGEST_SHARE = 0.25  # of the machine's memory, for the packed copy
ROWS_HINT = 16  # oneDNN chooses the layout for this many rows


@dataclass(frozen=True)
class Kernels:
    """What is faster than `F.linear` on a kind of CPU (docs/speed.md has the measurements).

    Attributes:
        rows: the fewest and the most rows of a product for which packing pays.
        learning: whether oneDNN's product of weights as they are is faster, where gradients are needed.
    """

    rows: tuple[int, int]
    learning: bool = False

    @classmethod
    def of_this_cpu(cls) -> "Kernels":
        """Return what suits this machine; it depends on the kind of CPU alone, so that a run keeps its bits."""
        if "AVX512" not in torch.backends.cpu.get_cpu_capability():
            return cls((2, 128))
        return cls((1, sys.maxsize), learning=True) if is_amd() else cls((4, sys.maxsize))


@dataclass(frozen=True)
class Source:
    """A weight or bias at the time of packing."""

    tensor: Tensor
    storage: int
    version: int

    @classmethod
    def of(cls, tensor: Tensor) -> "Source":
        """Record a tensor's current state."""
        return cls(tensor, tensor.data_ptr(), tensor._version)

    def still(self, tensor: Tensor) -> bool:
        """Return whether this is the same tensor, unchanged since packing."""
        now = (tensor.data_ptr(), tensor._version)
        return self.tensor is tensor and (self.storage, self.version) == now


@dataclass(frozen=True)
class Packed:
    """One product in place of several maps, with the tensors it was made from."""

    weight: Tensor
    bias: Tensor | None
    sizes: list[int]
    sources: list[Source]

    def fresh(self, modules: tuple[nn.Module, ...]) -> bool:
        """Return whether the modules still hold these tensors, unchanged."""
        now = _tensors(modules)
        return len(now) == len(self.sources) and all(map(Source.still, self.sources, now))

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """Apply the maps: (..., in) -> one (..., out) per map."""
        y = product(x, self.weight, self.bias)
        return (y,) if len(self.sizes) == 1 else y.split(self.sizes, dim=-1)


class Linears:
    """Calls frozen linear modules, with packed weights where possible.

    Args:
        model: the model that has the modules; its size decides whether memory allows a second copy.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._packed: dict[tuple[nn.Module, ...], Packed | None] = {}
        self._affordable: bool | None = None
        self.kernels = Kernels.of_this_cpu()

    def __call__(self, x: Tensor, *modules: nn.Module) -> tuple[Tensor, ...]:
        """Return the outputs of linear modules for the same input (..., in), without calling their hooks."""
        if x.device.type != "cpu":
            return tuple(module.forward(x) for module in modules)
        if torch.is_grad_enabled():
            return tuple(self._learning(x, module) for module in modules)
        least, most = self.kernels.rows
        if least <= x.numel() // x.shape[-1] <= most:
            if modules not in self._packed:
                self._packed[modules] = self._pack(modules)
            packed = self._packed[modules]
            if packed is not None:
                return packed(x)
        return tuple(module.forward(x) for module in modules)

    def _learning(self, x: Tensor, module: nn.Module) -> Tensor:
        """Apply a module through which gradients may pass to x."""
        if self.kernels.learning and has_onednn() and _plain(module) and x.dtype == torch.float32:
            weight, bias = _out_by_in(module), getattr(module, "bias", None)
            if weight.dtype == x.dtype and not any(t.requires_grad for t in _tensors((module,))):
                out: Tensor = _Product.apply(x, weight, bias)  # type: ignore[no-untyped-call]
                return out
        found: Tensor = module.forward(x)
        return found

    def refresh(self) -> None:
        """Drop packed weights whose originals have changed (been merged into, moved or cast)."""
        stale = [m for m, packed in self._packed.items() if packed and not packed.fresh(m)]
        if stale or not self._packed:
            self._affordable = None
        for modules in stale:
            del self._packed[modules]

    def _pack(self, modules: tuple[nn.Module, ...]) -> Packed | None:
        if self._affordable is None:
            self._affordable = _affordable(self._model)
        if not (all(map(_plain, modules)) and self._affordable):
            return None
        weights = [_out_by_in(module) for module in modules]
        biases = [b for m in modules if (b := getattr(m, "bias", None)) is not None]
        if len(biases) not in (0, len(modules)):
            return None
        with torch.no_grad():
            try:
                packed = torch.ops.mkldnn._reorder_linear_weight(torch.cat(weights), ROWS_HINT)
            except RuntimeError:  # a dtype that this CPU's oneDNN does not pack
                return None
            bias = torch.cat(biases) if biases else None
        return Packed(packed, bias, [len(w) for w in weights], [*map(Source.of, _tensors(modules))])


class _Product(torch.autograd.Function):
    """x W^T + b, with a frozen weight W (out, in); dx = g W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return product(g, weight.T), None, None


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return oneDNN's x (..., in) W^T + b, for a weight (out, in) that is packed or not."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


def has_onednn() -> bool:
    """Return whether `product` can be called."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _affordable(model: nn.Module) -> bool:
    return has_onednn() and bytes_of(model) <= LARGEST_SHARE * memory_of(torch.device("cpu"))


def _plain(module: nn.Module) -> bool:
    return type(module) in (nn.Linear, Conv1D) and type(module.weight) is nn.Parameter


def _out_by_in(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.T if isinstance(module, Conv1D) else weight


def _tensors(modules: tuple[nn.Module, ...]) -> list[Tensor]:
    found = [getattr(module, name, None) for module in modules for name in ("weight", "bias")]
    return [t for t in found if t is not None]
