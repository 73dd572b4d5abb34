"""From a configuration to a checked plan: every mistake found before a model is loaded.

This file and `run.py` are the only ones below the commands that see a configuration.
"""

import hashlib
import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from iapt.backbone.dims import Dims
from iapt.backbone.load import BackboneConfig
from iapt.data.source import limited
from iapt.errors import ConfigError, closest
from iapt.methods.base import Method
from iapt.tasks.base import Example, Split
from iapt.training.hparams import HParams

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
DEVICES = ("auto", "cpu", "cuda")
# Settings that say where a run goes, not what it computes.
OUTSIDE = ("out", "rows", "force", "dry_run", "logger", "device")


@dataclass(frozen=True)
class Plan:
    """Everything about a run that can be known without its weights."""

    config: dict[str, Any]
    cell: dict[str, Any]
    run_id: str
    config_hash: str
    cell_hash: str
    setting_hash: str
    task: Any
    source: Any
    backbone: BackboneConfig
    hparams: HParams
    max_length: int
    device: torch.device
    trainable: int

    def method(self) -> Method:
        """A freshly initialised method; draws from torch's random state."""
        return build_method(self.config["method"], self.backbone.dims)

    def examples(self) -> dict[Split, list[Example]]:
        """The three splits, limited as configured.

        Raises:
            DataError: the source lacks a split; the message says what is there.
        """
        return {
            split: limited(self.task.examples(split, self.source), self.config["limit"][split])
            for split in SPLITS
        }


def make_plan(config: dict[str, Any]) -> Plan:
    """Check a resolved configuration and build all that needs no weights.

    Raises:
        ConfigError: naming the field, the value, what is allowed.
    """
    hparams = HParams.from_mapping(config["hparams"])
    backbone = BackboneConfig.from_mapping(config["backbone"])
    with torch.device("meta"):
        method = build_method(config["method"], backbone.dims)
    positions = backbone.dims.max_positions - method.soft_tokens
    max_length = hparams.max_length_for(positions)
    if not isinstance(config["seed"], int) or config["seed"] < 0:
        raise ConfigError(f"seed={config['seed']!r}: must be a whole number >= 0.")
    for split in config["limit"]:
        n = config["limit"][split]
        if n is not None and (not isinstance(n, int) or n < 1):
            raise ConfigError(f"limit.{split}={n!r}: must be a whole number >= 1, or null for all.")
    task = build(config["task"], "task")
    if task.max_new_tokens >= max_length:
        raise ConfigError(
            f"task.max_new_tokens={task.max_new_tokens}: must be less than the {max_length} tokens of "
            "hparams.max_length and the backbone."
        )
    source = build(config["data"], "data")
    device = _device(config["device"])
    named = config["data"].get("path") is None
    data_name = source.name if named else f"folder:{Path(source.name).resolve().name}"
    cell = {
        "task": task.name,
        "backbone": backbone.name,
        "method": config["method"]["name"],
        "hparams": hparams.name,
        "data": data_name,
        "seed": config["seed"],
        "variant": config["variant"],
    }
    identity = {k: v for k, v in config.items() if k not in OUTSIDE}
    if not named:  # the same rows are the same data wherever the folder lies
        identity["data"] = {
            "name": data_name,
            "fingerprint": task.fingerprint(source),
        }
    config_hash = _hash(identity)
    variant = f"--{cell['variant']}" if cell["variant"] else ""
    return Plan(
        config=config | {"data": identity["data"]},
        cell=cell,
        run_id="--".join(
            (
                task.name,
                backbone.name,
                cell["method"] + variant,
                hparams.name,
                data_name.replace(":", "_"),
                f"seed{config['seed']}",
                config_hash[:8],
            )
        ),
        config_hash=config_hash,
        cell_hash=_hash({k: v for k, v in identity.items() if k != "seed"}),
        setting_hash=_hash(_setting(identity)),
        task=task,
        source=source,
        backbone=backbone,
        hparams=hparams,
        max_length=max_length,
        device=device,
        trainable=sum(p.numel() for p in method.parameters()),
    )


def build_method(config: Mapping[str, Any], dims: Dims) -> Method:
    """Instantiate configs/method/*.yaml: `_target_` with the entry's own numbers."""
    values = {k: v for k, v in config.items() if k not in ("name", "tuned")}
    method = build(values, "method", dims=dims)
    if not isinstance(method, Method):
        raise ConfigError(f"method._target_={config['_target_']!r}: is not a Method.")
    return method


def build(config: Mapping[str, Any], group: str, **extra: Any) -> Any:
    """Call an entry's `_target_` with its other values (and `extra`).

    Raises:
        ConfigError: the target does not exist, or does not take one of the values.
    """
    values = {k: v for k, v in config.items() if not (k.startswith("_") and k.endswith("_"))}
    module, _, name = str(config["_target_"]).rpartition(".")
    try:
        target = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{group}._target_={config['_target_']!r}: {error}.") from error
    try:
        return target(**extra, **values)
    except TypeError as error:
        raise ConfigError(f"{group}: {error} (in {config['_target_']}).") from error


def _device(name: str) -> torch.device:
    if name not in DEVICES and not name.startswith("cuda:"):
        raise ConfigError(
            f"device={name!r}: allowed are {', '.join(DEVICES)}, cuda:N.{closest(name, DEVICES)}"
        )
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"device={name}: torch {torch.__version__} sees no CUDA device; use device=cpu."
        )
    return torch.device(name)


def _setting(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What must agree for methods to be comparable: all but seed, task, method and its tuned rates."""
    kept = {k: v for k, v in identity.items() if k not in ("seed", "task", "method", "variant")}
    hparams = {
        k: v
        for k, v in kept["hparams"].items()
        if k not in ("lr", "lr_by_name", "arch_lr", "arch_every")
    }
    return kept | {"hparams": hparams}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
