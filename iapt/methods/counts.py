"""The size of a method: measured on its modules, and computed from the formula in its YAML.

Modules may be on the meta device; no weights are needed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from iapt.backbone.dims import Dims
from iapt.methods.base import Method, trained
from iapt.methods.searched import Structured, serving_state
from iapt.methods.size_formula import SizeFormula


@dataclass(frozen=True)
class Sizes:
    """Numbers of scalars.

    Attributes:
        trained: in the parameters that training changes.
        stored: in a saved adapter, including the structure found.
        active_at_decode: in the parameters that every decoding step uses.
    """

    trained: int
    stored: int
    active_at_decode: int


def sizes(method: Method) -> Sizes:
    """Measure a method in its present state."""
    stored = serving_state(method)
    resting = tuple(
        f"{name}." if name else ""
        for name, module in method.named_modules()
        if not getattr(module, "decodes", True)
    )
    return Sizes(
        trained=sum(p.numel() for p in trained(method).values()),
        stored=sum(t.numel() for t in stored.values()),
        active_at_decode=sum(
            stored[name].numel()
            for name, _ in method.named_parameters()
            if name in stored and not name.startswith(resting)
        ),
    )


def count(method: Method, dims: Dims, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Count a freshly built method.

    Args:
        method: the method that its entry builds.
        dims: sizes of its backbone.
        entry: its YAML; `size` is optional.

    Returns:
        `counted` (the value of `size`, or what is trained without one), `reading` (`size` in numbers) and,
        for each field of `Sizes`, [at the start, at the end].
    """
    made = asdict(sizes(method))
    formula = SizeFormula(entry["size"], dims, entry) if entry.get("size") else None
    counted = formula.value() if formula else made["trained"]
    # Where training settles the structure, what is left depends on it; the formula says how much the budget allows.
    ends = isinstance(method, Structured) and formula is not None
    return {"counted": counted, "reading": formula.reading() if formula else ""} | {
        field: [size, counted if ends else size] for field, size in made.items()
    }
