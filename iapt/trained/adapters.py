"""Saved adapters on disk: found by the beginning of a name, read, checked, brought in from peft.

Nothing here loads a backbone but `import_peft`, which has to ask it for the names of its modules.
"""

import importlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from iapt.backbone.load import BackboneConfig, Loaded, load_backbone
from iapt.configuration.catalog import entry, names
from iapt.configuration.plugins import Plugins
from iapt.data.tokens import Tokens
from iapt.errors import AdapterError, ConfigError, closest
from iapt.files import read_json
from iapt.methods.base import Method
from iapt.methods.peft_format import PeftCompatible, read_peft
from iapt.methods.saved import (
    TENSORS,
    AdapterConfig,
    Decoding,
    fit,
    read_config,
    read_tensors,
    save_adapter,
)
from iapt.plan import NO_PLUGINS, Plan, build_method
from iapt.provenance import versions

PAPER_MAX_LENGTH = 2048
SMALL = 10_000_000  # parameters that any machine has room for


@dataclass(frozen=True)
class Saved:
    """A saved adapter, read and checked; no backbone is loaded yet.

    Attributes:
        folder: of the adapter's two files.
        config: adapter_config.json.
        backbone: the one it needs.
        run: config.json of the run that made it; None for an adapter without a run.
        method: with its tensors, on the CPU, attached to nothing.
        plugins: modules outside `iapt` that its files may name.
    """

    folder: Path
    config: AdapterConfig
    backbone: BackboneConfig
    run: Mapping[str, Any] | None
    method: Method
    plugins: Plugins

    def check(self, loaded: Loaded) -> None:
        """Compare a loaded backbone with the one that the adapter was trained on.

        Raises:
            AdapterError: its weights are others.
        """
        if loaded.fingerprint != self.config.backbone_fingerprint:
            raise AdapterError(
                f"{self.folder}: trained on {self.backbone.name} with backbone_fingerprint="
                f"{self.config.backbone_fingerprint} (revision {self.config.revision}), "
                f"here it is {loaded.fingerprint} (revision {loaded.revision}): other weights, or another dtype."
            )

    def tokens(self, tokenizer: Any) -> Tokens:
        """How the backbone reads text for this adapter."""
        longest = self.config.decoding.max_length
        return Tokens(tokenizer, self.backbone.template, self.backbone.bos, longest)


def describe(plan: Plan, loaded: Loaded, num_beams: int) -> AdapterConfig:
    """What a run's saved adapter says of itself: enough to use it without the run."""
    return AdapterConfig(
        method=plan.config["method"],
        backbone=plan.config["backbone"] | {"dtype": loaded.dtype},
        backbone_fingerprint=loaded.fingerprint,
        revision=loaded.revision,
        decoding=Decoding(
            num_beams=num_beams,
            max_new_tokens=plan.task.max_new_tokens,
            batch_tokens=plan.hparams.eval_batch_tokens,
            max_length=plan.max_length,
        ),
        trained={"run": plan.run_id, "task": plan.task.name, "template": plan.task.template},
        versions=versions(),
    )


def find_run(name: str | Path) -> Path:
    """The folder that is meant by a path, the beginning of one, or a pattern.

    Raises:
        AdapterError: none matches, or several do; they are named.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    there = sorted(p for p in path.parent.glob("*") if _adapter(p))
    found = [p for p in there if fnmatchcase(p.name, f"{path.name}--*")]  # seed1 is not seed10
    found = found or [p for p in there if fnmatchcase(p.name, f"{path.name}*")]
    if len(found) == 1:
        return found[0]
    if found:
        raise AdapterError(
            f"{name}: {len(found)} runs begin so; say which: {', '.join(p.name for p in found)}."
        )
    have = [p.name for p in there]
    raise AdapterError(
        f"{name}: there is no such run; {path.parent} has {', '.join(have) or 'none'}."
        f"{closest(path.name, have)}"
    )


def read_saved(folder: Path, plugins: Plugins = NO_PLUGINS) -> Saved:
    """Read an adapter from a run's folder or its own, check every field, and rebuild the method.

    Raises:
        AdapterError: it is damaged, does not fit, or differs from the run's configuration.
    """
    adapter = _adapter(folder)
    if adapter is None:
        raise AdapterError(
            f"{folder} is neither a finished run (adapter/) nor a saved adapter (adapter_config.json)."
        )
    config = read_config(adapter)
    run = None
    if adapter != folder:
        run = read_json(folder / "config.json")
        _agree(config, run, folder)
        _warn_of_changes(run, plugins)
    tensors = read_tensors(adapter / TENSORS)
    try:
        backbone = BackboneConfig.from_mapping(config.backbone)
        with torch.device(
            "meta"
        ):  # numbers that nobody can have trained are found before memory is taken
            size = sum(p.numel() for p in _build(config, backbone, plugins).parameters())
        if size > max(SMALL, backbone.dims.num_weights):
            raise AdapterError(f"its method has {size:,} parameters, more than the backbone.")
        method = _build(config, backbone, plugins)
    # ConfigError says which number; torch says the rest (sizes that cannot be had).
    except (ConfigError, AdapterError, RuntimeError, OverflowError) as error:
        raise AdapterError(f"{adapter}: {error}") from error
    fit(method, tensors, adapter)
    return Saved(adapter, config, backbone, run, method.eval(), plugins)


def import_peft(
    folder: Path, out: Path, backbone: Mapping[str, Any], device: torch.device
) -> AdapterConfig:
    """Turn an adapter that the peft library trained into one of ours.

    Args:
        folder: adapter_config.json and adapter_model.safetensors, as peft writes them.
        out: the saved adapter's folder.
        backbone: an entry of configs/backbone/, the model it was trained on.
        device: where the backbone is loaded.

    Returns:
        What the saved adapter says of itself.

    Raises:
        AdapterError: no method of ours computes the same; the reason is named.
    """
    peft_config, tensors = read_peft(folder)
    kind, numbers = _method_for(peft_config["peft_type"])
    config = BackboneConfig.from_mapping(backbone)
    loaded = load_backbone(config, device)
    own, ours = kind.from_peft(peft_config, tensors, loaded.backbone)
    described = {k: v for k, v in numbers.items() if k != "tuned"} | own
    method = build_method(described, config.dims)
    fit(method, ours, folder)
    longest = min(PAPER_MAX_LENGTH, config.dims.max_positions - method.soft_tokens)
    made = AdapterConfig(
        method=described,
        backbone=dict(backbone) | {"dtype": loaded.dtype},
        backbone_fingerprint=loaded.fingerprint,
        revision=loaded.revision,
        decoding=Decoding(max_length=longest),
        trained={
            "peft": str(peft_config["peft_type"]),
            "base_model": str(peft_config.get("base_model_name_or_path")),
        },
        versions=versions(),
    )
    save_adapter(out, method, made)
    return made


def _adapter(folder: Path) -> Path | None:
    """The folder of an adapter's two files: a run's part, or the folder itself."""
    places = (folder / "adapter", folder)
    return next((p for p in places if (p / "adapter_config.json").is_file()), None)


def _build(config: AdapterConfig, backbone: BackboneConfig, plugins: Plugins) -> Method:
    return build_method(config.method, backbone.dims, plugins)


def _method_for(peft_type: str) -> tuple[type[PeftCompatible], dict[str, Any]]:
    """The method, and its entry of configs/method/, that is called so in peft."""
    known: dict[str, tuple[type[PeftCompatible], dict[str, Any]]] = {}
    for name in names("method"):
        numbers = entry("method", name)
        module, _, target = numbers["_target_"].rpartition(".")
        kind = getattr(importlib.import_module(module), target)
        if issubclass(kind, PeftCompatible):
            known |= {word: (kind, numbers) for word in kind.peft_types if word not in known}
    if peft_type not in known:
        raise AdapterError(
            f"peft_type={peft_type}: no method of ours computes the same; there are {', '.join(known)}."
            f"{closest(peft_type, known)}"
        )
    return known[peft_type]


def _warn_of_changes(run: Mapping[str, Any], plugins: Plugins) -> None:
    """A plugin whose code is not what the run was trained with may compute something else."""
    trained_with = run.get("plugins")
    for name in plugins.files:
        then = trained_with.get(name) if isinstance(trained_with, dict) else None
        if then not in (None, plugins.digest(name)):
            warnings.warn(f"plugins={name}: its code has changed since training.", stacklevel=4)


def _agree(config: AdapterConfig, run: Any, folder: Path) -> None:
    """The adapter's method and backbone must be those of the run that it lies in."""
    if not isinstance(run, dict) or not isinstance(run.get("limit"), dict):
        raise AdapterError(f"{folder / 'config.json'}: is no configuration of a run.")
    wrong = []
    for group, own in (("method", config.method), ("backbone", config.backbone)):
        other = run.get(group)
        other = other if isinstance(other, dict) else {}
        wrong += [
            f"{group}.{key}: the adapter has {own.get(key)!r}, the run's config.json {other.get(key)!r}"
            for key in sorted(own.keys() | other.keys())
            if own.get(key) != other.get(key) and (group, key) != ("backbone", "dtype")
        ]
    if wrong:
        raise AdapterError(f"{folder} was changed after training:\n  " + "\n  ".join(wrong[:8]))
