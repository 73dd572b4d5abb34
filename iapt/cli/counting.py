"""Every method entry counted on every backbone entry of the configuration folder, without weights."""

from typing import Any

from iapt.cli import overrides
from iapt.errors import ConfigError


def count_entries() -> dict[str, dict[str, dict[str, Any]]]:
    """Build each method on the meta device, with the numbers of its file, for each real backbone.

    Returns:
        Backbone -> method entry -> its counts (`iapt.methods.counts.count`), or `{"refused": message}`
        where the method says that it cannot be built for this backbone.
    """
    import torch
    from tqdm import tqdm

    from iapt.backbone.dims import Dims
    from iapt.methods.counts import count
    from iapt.plan import build_method

    entries = _entries("backbone", "method")
    real = {name: e for name, e in entries["backbone"].items() if e["kind"] != "tiny"}
    counts: dict[str, dict[str, dict[str, Any]]] = {backbone: {} for backbone in real}
    total = len(real) * len(entries["method"])
    with tqdm(total=total, desc="counting", unit="method", delay=2, dynamic_ncols=True) as bar:
        for backbone, found in counts.items():
            dims = Dims.from_mapping(real[backbone]["dims"])
            for method, values in entries["method"].items():
                try:
                    with torch.device("meta"):
                        built = build_method(values, dims)
                    found[method] = count(built, dims, values)
                except ConfigError as error:
                    found[method] = {"refused": str(error)}
                bar.update()
    return counts


def _entries(*groups: str) -> dict[str, Any]:
    """All entries of some groups, group -> name -> values, composed at once."""
    known = overrides.groups()
    words = [f"+{group}@{group}.{name}={name}" for group in groups for name in known[group]]
    entries = overrides.composed(words, name=None)
    return {group: entries[group] for group in groups}
