"""Saved adapters on disk: find one by the start of its name, read it, check it, import one from peft.

Only `import_peft` loads a backbone, because it needs the names of its modules.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from iapt.backbone.config import BackboneConfig
from iapt.backbone.dims import Dims
from iapt.backbone.load import Loaded, load_backbone
from iapt.configuration.building import resolve
from iapt.configuration.catalog import entry, names
from iapt.configuration.checking import checked, named, short
from iapt.configuration.plugins import Plugins
from iapt.data.tokens import Tokens
from iapt.entries import NO_PLUGINS, build_method
from iapt.errors import AdapterError, ConfigError, closest
from iapt.files import expanded, read_json
from iapt.methods.base import Method
from iapt.methods.peft_format import PeftCompatible, read_peft
from iapt.methods.saved import (
    TENSORS,
    AdapterConfig,
    Decoding,
    check_digest,
    check_finite,
    fit,
    read_config,
    read_finite,
    save_adapter,
    some,
    with_infinities,
)
from iapt.plan import Plan
from iapt.planning import Limit
from iapt.provenance import versions
from iapt.training.hparams import PAPER_MAX_LENGTH

LONGEST_NAME = 300  # of a model, in a file of others; longer ones are cut
SMALL = 10_000_000  # a number of parameters that fits any machine


@dataclass(frozen=True)
class Saved:
    """A saved adapter, read and checked, before its backbone is loaded.

    Attributes:
        folder: the folder of the adapter's two files.
        config: the content of adapter_config.json.
        backbone: the backbone it needs.
        run: config.json of its run; None for an adapter without a run.
        method: the method with its tensors, on the CPU, not attached.
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
            AdapterError: a file that loading reads, the dtype or the quantization differs.
        """
        if loaded.fingerprint != self.config.backbone_fingerprint:
            raise AdapterError(
                f"{self.folder}: trained on {self.backbone.name} with backbone_fingerprint="
                f"{self.config.backbone_fingerprint} (revision {self.config.revision}), "
                f"but the loaded one has {loaded.fingerprint} (revision {loaded.revision}): a file of its checkpoint "
                "(weights, configuration or tokenizer), its dtype or its quantization differs. Give the same files, "
                "with checkpoint=FOLDER if they have moved; a folder does not stand for the embedded model."
            )

    def moved(self, checkpoint: str | None) -> "Saved":
        """Return the same adapter for a backbone in another place, a hub id or a folder; None leaves it."""
        if checkpoint is None:
            return self
        place = whole_path(checkpoint)
        backbone = replace(self.backbone, kind="hub", checkpoint=place, revision=None)
        return replace(self, backbone=backbone)

    def tokens(self, tokenizer: Any) -> Tokens:
        """Return how the backbone reads text for this adapter."""
        longest = self.config.decoding.max_length
        return Tokens(tokenizer, self.backbone.template, self.backbone.bos, longest)


def whole_path(checkpoint: str) -> str:
    """Return the path from the root if a checkpoint is a folder, so that it holds everywhere; else the hub id."""
    folder = expanded(checkpoint)
    return str(folder.absolute()) if folder.is_dir() else checkpoint


def describe(plan: Plan, loaded: Loaded, num_beams: int) -> AdapterConfig:
    """Describe a run's adapter for its adapter_config.json: enough to use it without the run."""
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
        versions=versions(*plan.backbone.libraries),
    )


def find_run(name: str | Path) -> Path:
    """Return the one folder that matches a path, the start of one, or a pattern.

    Raises:
        AdapterError: no folder matches, or several do; the message lists them.
    """
    path = expanded(name)
    if path.is_dir():
        return path
    there = sorted(p for p in path.parent.glob("*") if _adapter(p))
    found = [p for p in there if fnmatchcase(p.name, f"{path.name}--*")]  # seed1 is not seed10
    found = found or [p for p in there if fnmatchcase(p.name, f"{path.name}*")]
    if len(found) == 1:
        return found[0]
    if found:
        raise AdapterError(
            f"{name}: {len(found)} runs match; choose one: {', '.join(p.name for p in found)}."
        )
    have = [p.name for p in there]
    raise AdapterError(
        f"{name}: there is no such run; {path.parent} has {', '.join(have) or 'none'}."
        f"{closest(path.name, have)}"
    )


def read_saved(folder: Path, plugins: Plugins = NO_PLUGINS) -> Saved:
    """Read an adapter from a run's folder or its own, check every field, and rebuild the method.

    Raises:
        AdapterError: the adapter is damaged, does not fit, or differs from the run's configuration.
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
    with _blaming(adapter):
        backbone = BackboneConfig.from_mapping(config.backbone)
        method = _build(config.method, backbone.dims, plugins)
    tensors = read_finite(adapter / TENSORS, with_infinities(method))
    fit(method, tensors, adapter)
    check_digest(config, tensors, adapter)
    return Saved(adapter, config, backbone, run, method.eval(), plugins)


def import_peft(
    folder: Path, out: Path, backbone: Mapping[str, Any], device: torch.device
) -> AdapterConfig:
    """Convert an adapter that the peft library trained to our format.

    Args:
        folder: adapter_config.json and adapter_model.safetensors, as peft writes them.
        out: the folder for the saved adapter.
        backbone: an entry of configs/backbone/, the model that the adapter was trained on.
        device: the device for the backbone.

    Returns:
        The saved adapter's configuration.

    Raises:
        AdapterError: none of our methods computes the same function; the message gives the reason.
    """
    peft_config, tensors = read_peft(folder)
    kind, numbers = _method_for(peft_config["peft_type"])
    config = BackboneConfig.from_mapping(backbone)
    place = {"checkpoint": whole_path(str(config.checkpoint))} if config.kind == "hub" else {}
    loaded = load_backbone(config, device)
    own, ours = kind.from_peft(peft_config, tensors, loaded.backbone)
    described = {k: v for k, v in numbers.items() if k != "tuned"} | own
    with _blaming(folder):
        method = _build(described, config.dims, NO_PLUGINS)
        decoding = _decoding(method, config.dims)
    check_finite(ours, folder)
    fit(method, ours, folder)
    base = str(peft_config.get("base_model_name_or_path") or "")[:LONGEST_NAME]
    made = AdapterConfig(
        method=described,
        backbone=dict(backbone) | place | {"dtype": loaded.dtype},
        backbone_fingerprint=loaded.fingerprint,
        revision=loaded.revision,
        decoding=decoding,
        trained={"peft": peft_config["peft_type"], "base_model": base},
        versions=versions(*config.libraries),
    )
    save_adapter(out, method, made)
    return made


def _adapter(folder: Path) -> Path | None:
    """Return the folder of an adapter's two files: a run's adapter/, or the folder itself."""
    places = (folder / "adapter", folder)
    return next((p for p in places if (p / "adapter_config.json").is_file()), None)


@contextmanager
def _blaming(folder: Path) -> Iterator[None]:
    """Name the folder whose configuration a fault in the block comes from."""
    try:
        yield
    # ConfigError names a wrong value; torch raises the last two for impossible sizes.
    except (ConfigError, AdapterError, RuntimeError, OverflowError) as error:
        raise AdapterError(f"{folder}: {error}") from error


def _build(numbers: Mapping[str, Any], dims: Dims, plugins: Plugins) -> Method:
    with torch.device("meta"):  # refuses absurd sizes before it allocates memory
        size = sum(p.numel() for p in build_method(numbers, dims, plugins).parameters())
    if size > max(SMALL, dims.num_weights):
        raise AdapterError(f"its method has {size:,} parameters, more than the backbone.")
    return build_method(numbers, dims, plugins)


def _decoding(method: Method, dims: Dims) -> Decoding:
    """Return how an imported adapter decodes, in the positions that its soft tokens leave."""
    left = dims.max_positions - method.soft_tokens
    if left < 2:
        raise AdapterError(
            f"its {method.soft_tokens:,} soft tokens leave no room for a text and an answer in the "
            f"{dims.max_positions:,} positions of the backbone."
        )
    longest = min(PAPER_MAX_LENGTH, left)
    answer = min(Decoding().max_new_tokens, max(1, longest // 4))  # the rest is for the text
    return Decoding(max_length=longest, max_new_tokens=answer)


def _method_for(peft_type: str) -> tuple[type[PeftCompatible], dict[str, Any]]:
    """Return the method that has this name in peft, and its entry of configs/method/."""
    known: dict[str, tuple[type[PeftCompatible], dict[str, Any]]] = {}
    for name in names("method"):
        numbers = entry("method", name)
        kind = resolve(numbers["_target_"], "method", Method, NO_PLUGINS)
        if issubclass(kind, PeftCompatible):
            known |= {word: (kind, numbers) for word in kind.peft_types if word not in known}
    if peft_type not in known:
        raise AdapterError(
            f"peft_type={named(peft_type)}: none of our methods computes the same function; allowed are "
            f"{', '.join(known)}."
        )
    return known[peft_type]


def _warn_of_changes(run: Mapping[str, Any], plugins: Plugins) -> None:
    """Warn if a plugin's code has changed since the run, because it may now compute something else."""
    trained_with = run.get("plugins")
    for name in plugins.files:
        then = trained_with.get(name) if isinstance(trained_with, dict) else None
        if then not in (None, plugins.digest(name)):
            warnings.warn(f"plugins={name}: its code has changed since training.", stacklevel=4)


def _agree(config: AdapterConfig, run: Any, folder: Path) -> None:
    """Check that the adapter's method, backbone and template are those of its run, which has limits."""
    if not isinstance(run, dict) or not isinstance(run.get("limit"), dict):
        raise AdapterError(f"{folder / 'config.json'}: is not a run's configuration.")
    with _blaming(folder / "config.json"):
        checked(Limit, run["limit"], "limit")
    groups, task = {"method": config.method, "backbone": config.backbone}, run.get("task")
    if isinstance(task, dict) and "template" in task.keys() & config.trained.keys():
        groups["task"] = task | {"template": config.trained["template"]}
    wrong = []
    for group, own in groups.items():
        other = run.get(group)
        other = other if isinstance(other, dict) else {}
        wrong += [
            f"{group}.{named(key)}: the adapter has {short(own.get(key))}, the run's config.json has "
            f"{short(other.get(key))}"
            for key in sorted(own.keys() | other.keys())
            if own.get(key) != other.get(key) and (group, key) != ("backbone", "dtype")
        ]
    if wrong:
        raise AdapterError(f"{folder} was changed after training: {some(wrong, '; ')}.")
