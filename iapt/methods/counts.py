"""How large a method is: as it is made, and as training can leave it.

Counted on the modules themselves, which may lie on the meta device; no weights are needed.
"""

from dataclasses import asdict, dataclass
from typing import Any

from iapt.methods.base import Method


@dataclass(frozen=True)
class Sizes:
    """Numbers of scalars.

    Attributes:
        trained: in parameters.
        stored: in a saved adapter, which also holds what was found out about structure.
        active_at_decode: in parameters that take part in every decoding step.
    """

    trained: int
    stored: int
    active_at_decode: int


def sizes(method: Method) -> Sizes:
    """Measure a method as it is now."""
    return Sizes(
        trained=sum(p.numel() for p in method.parameters()),
        stored=sum(t.numel() for t in method.serving_state().values()),
        active_at_decode=method.active_at_decode(),
    )


def count(method: Method) -> dict[str, Any]:
    """Count a freshly made method.

    Returns:
        `counted` (the size under the rule of the paper's column), `reading` (how that comes about) and,
        for each field of `Sizes`, [at the start, fewest at the end, most at the end].
    """
    made, ends = asdict(sizes(method)), [asdict(sizes(ending)) for ending in method.endings()]
    uncounted = {
        name: p.numel()
        for name, p in method.named_parameters()
        if name.rpartition(".")[2] in method.uncounted
    }
    reading = method.reading()
    if uncounted:
        names = ", ".join(sorted({name.rpartition(".")[2] for name in uncounted}))
        reading += f"; not counted: {sum(uncounted.values()):,} ({names})"
    return {"counted": method.counted_parameters(), "reading": reading} | {
        field: [value, min(e[field] for e in ends), max(e[field] for e in ends)]
        for field, value in made.items()
    }
