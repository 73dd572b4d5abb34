"""The parameters of every method entry on every backbone entry, counted without weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iapt.cli.composing import composed
from iapt.cli.overrides import add_entries
from iapt.configuration.plugins import Plugins
from iapt.errors import ConfigError


def count_entries(
    folders: Sequence[Path] = (), plugins: Sequence[str] = ()
) -> dict[str, dict[str, dict[str, Any]]]:
    """Build each method with the values of its entry on the meta device, for each real backbone.

    Args:
        folders: further entries, from `--config-dir`.
        plugins: modules that these entries may name.

    Returns:
        Backbone -> method entry -> its counts (`iapt.methods.counts.count`), or `{"refused": message}`
        where the method cannot be built for this backbone.
    """
    import torch

    from iapt.backbone.dims import Dims
    from iapt.configuration.checking import checked
    from iapt.entries import build_method
    from iapt.methods.counts import count
    from iapt.progress import progress

    trusted = Plugins.find(plugins, folders)
    entries = _entries(folders, "backbone", "method")
    real = {name: e for name, e in entries["backbone"].items() if e["kind"] != "tiny"}
    counts: dict[str, dict[str, dict[str, Any]]] = {backbone: {} for backbone in real}
    total = len(real) * len(entries["method"])
    with progress("counting", "method", total, delay=2) as bar:
        for backbone, found in counts.items():
            dims = checked(Dims, real[backbone]["dims"], "backbone.dims")
            for method, values in entries["method"].items():
                try:
                    with torch.device("meta"):
                        built = build_method(values, dims, trusted)
                    found[method] = count(built, dims, values)
                except ConfigError as error:
                    found[method] = {"refused": str(error)}
                bar.update()
    return counts


def _entries(folders: Sequence[Path], *groups: str) -> dict[str, Any]:
    """Compose all entries of some groups at once: group -> name -> values."""
    known = add_entries(folders)
    words = [f"+{group}@{group}.{name}={name}" for group in groups for name in known[group]]
    entries = composed(words, name=None)
    return {group: entries[group] for group in groups}
