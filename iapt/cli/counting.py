"""The parameters of every method entry on every backbone entry, counted without weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iapt.cli.composing import composed
from iapt.cli.overrides import add_entries, quoted
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
    entries, faults = _entries(folders, "backbone", "method")
    real = {name: e for name, e in entries["backbone"].items() if e["kind"] != "tiny"}
    counts: dict[str, dict[str, dict[str, Any]]] = {backbone: {} for backbone in real}
    refused = {
        name: {"refused": fault} for (group, name), fault in faults.items() if group == "method"
    }
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
                except Exception as error:  # noqa: BLE001  # a method of the user's may raise anything
                    found[method] = {"refused": f"{type(error).__name__}: {error}"}
                bar.update()
            found |= refused
    return counts


def _entries(
    folders: Sequence[Path], *groups: str
) -> tuple[dict[str, Any], dict[tuple[str, str], str]]:
    """Compose all entries of some groups at once: group -> name -> values; and the faults of `add_entries`."""
    known, faults = add_entries(folders)
    names = {group: [n for n in known[group] if (group, n) not in faults] for group in groups}
    # By number, because a name may be of several parts to Hydra, or none.
    words = [
        f"+{group}@{group}.n{number}={quoted(name)}"
        for group, found in names.items()
        for number, name in enumerate(found)
    ]
    entries = composed(words, name=None)
    return {
        group: {name: entries[group][f"n{number}"] for number, name in enumerate(found)}
        for group, found in names.items()
    }, faults
