"""Frozen linear maps, packed once in the layout that suits the CPU's matrix kernels best.

A frozen weight never changes, so oneDNN can reorder it once instead of for every product, and maps
that read the same input (q, k and v; gate and up) become one product.  With some 4 to 24 rows, as
in a decoding step, this is 1.1 to 3 times as fast as `F.linear`, depending on the CPU.

Packing costs a second copy of the weights.  The modules are called one by one if the model is too large
for that, on other devices, for other kinds of module or weight (such as quantised ones), and if
gradients are needed.
"""

import sys
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from iapt.backbone.device import bytes_of, memory_of

LARGEST_SHARE = 0.25  # of the machine's memory, for the packed copy
ROWS_HINT = 16  # oneDNN chooses the layout for this many rows
# Packing pays only for this many rows.
ROWS_AVX2 = (2, 128)
ROWS_AVX512 = (4, sys.maxsize)


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
        y = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
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
        wide = "AVX512" in torch.backends.cpu.get_cpu_capability()
        self._rows = ROWS_AVX512 if wide else ROWS_AVX2

    def __call__(self, x: Tensor, *modules: nn.Module) -> tuple[Tensor, ...]:
        """Return the outputs of linear modules for the same input (..., in), without calling their hooks."""
        least, most = self._rows
        worth = least <= x.numel() // x.shape[-1] <= most
        if worth and not torch.is_grad_enabled() and x.device.type == "cpu":
            if modules not in self._packed:
                self._packed[modules] = self._pack(modules)
            packed = self._packed[modules]
            if packed is not None:
                return packed(x)
        return tuple(module.forward(x) for module in modules)

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
        plain = all(
            type(module) in (nn.Linear, Conv1D) and type(module.weight) is nn.Parameter
            for module in modules
        )
        if not (plain and self._affordable):
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


def _affordable(model: nn.Module) -> bool:
    packs = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return packs and bytes_of(model) <= LARGEST_SHARE * memory_of(torch.device("cpu"))


def _out_by_in(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.T if isinstance(module, Conv1D) else weight


def _tensors(modules: tuple[nn.Module, ...]) -> list[Tensor]:
    found = [getattr(module, name, None) for module in modules for name in ("weight", "bias")]
    return [t for t in found if t is not None]
