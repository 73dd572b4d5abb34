"""From a configuration to a checked plan: every mistake found before a model is loaded.

This file and `run.py` are the only ones below the commands that see a configuration.
"""

import hashlib
import importlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import torch

from iapt.backbone.dims import Dims
from iapt.backbone.load import BackboneConfig
from iapt.data.source import limited
from iapt.errors import ConfigError, closest
from iapt.methods.base import Method
from iapt.tasks.base import SPLITS, Example, Split
from iapt.training.hparams import HParams

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
    _check_top(config)
    hparams = HParams.from_mapping(config["hparams"])
    backbone = BackboneConfig.from_mapping(config["backbone"])
    with torch.device("meta"):
        method = build_method(config["method"], backbone.dims)
    positions = backbone.dims.max_positions - method.soft_tokens
    max_length = hparams.max_length_for(positions)
    task = build(config["task"], "task")
    if task.max_new_tokens >= max_length:
        raise ConfigError(
            f"task.max_new_tokens={task.max_new_tokens}: must be less than the {max_length} tokens that "
            f"hparams.max_length and {backbone.name} leave. Give a smaller one, such as "
            f"task.max_new_tokens={max_length // 4}."
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
        ConfigError: the target does not exist, or does not take one of the values; all are named.
    """
    values = {k: v for k, v in config.items() if not (k.startswith("_") and k.endswith("_"))}
    module, _, name = str(config["_target_"]).rpartition(".")
    try:
        target = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{group}._target_={config['_target_']!r}: {error}.") from error
    faults = _argument_faults(target, values, extra, group)
    if faults:
        raise ConfigError("\n".join(faults))
    try:
        return target(**extra, **values)
    except TypeError as error:
        raise ConfigError(f"{group}: {error} (in {config['_target_']}).") from error


def _argument_faults(
    target: Callable[..., Any], values: Mapping[str, Any], extra: Mapping[str, Any], group: str
) -> list[str]:
    """Values that a target's signature does not take, as far as its annotations are plain."""
    parameters, hints, own = _signature(target)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    known = [
        name
        for name, p in parameters.items()
        if name not in extra and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    faults = [
        f"{group}.{key}: unknown; allowed are {', '.join(known) or 'none'}.{closest(key, known)}"
        for key in values
        if key not in known and not open_ended
    ]
    faults += [
        f"{group}.{key}: missing."
        for key in known
        # A class may give its base class what that requires, so only its own are asked for.
        if key not in values and key in own and parameters[key].default is inspect.Parameter.empty
    ]
    return faults + [
        f"{group}.{key}={values[key]!r}: must be {_words(hints[key])}."
        for key in known
        if key in values and key in hints and not _fits(values[key], hints[key])
    ]


def _signature(
    target: Callable[..., Any],
) -> tuple[dict[str, inspect.Parameter], dict[str, Any], set[str]]:
    """Parameters, annotations, and which are the target's own.

    What a class hands on by `**` is looked up in its base classes.
    """
    layers: list[Any] = [target]
    if isinstance(target, type):
        layers = [vars(c)["__init__"] for c in target.__mro__ if "__init__" in vars(c)]
    parameters: dict[str, inspect.Parameter] = {}
    hints: dict[str, Any] = {}
    own: set[str] = set()
    for layer in layers:
        try:
            found, types = dict(inspect.signature(layer).parameters), get_type_hints(layer)
        except (TypeError, ValueError):  # built in, and silent about itself
            return {"any": inspect.Parameter("any", inspect.Parameter.VAR_KEYWORD)}, {}, set()
        found.pop("self", None)
        own = own or set(found)
        rest = [name for name, p in parameters.items() if p.kind is p.VAR_KEYWORD]
        for name in rest:
            del parameters[name]
        parameters, hints = found | parameters, types | hints
        if not any(p.kind is p.VAR_KEYWORD for p in found.values()):
            break
    return parameters, hints, own


_PLAIN = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    NoneType: "null",
}


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if hint in (int, float):
        return isinstance(value, int if hint is int else (int, float)) and not isinstance(
            value, bool
        )
    if hint in _PLAIN:
        return isinstance(value, hint)
    kind = get_origin(hint)
    if isinstance(kind, type) and issubclass(kind, Sequence | Mapping):
        return isinstance(value, list | tuple if issubclass(kind, Sequence) else dict)
    return True


def _words(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_words(one) for one in get_args(hint))
    kind = get_origin(hint)
    if isinstance(kind, type) and issubclass(kind, Sequence | Mapping):
        return "a list" if issubclass(kind, Sequence) else "a mapping"
    return _PLAIN.get(hint, getattr(hint, "__name__", str(hint)))


def _check_top(config: Mapping[str, Any]) -> None:
    """Check what belongs to no group."""
    seed, limit = config["seed"], config["limit"]
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ConfigError(f"seed={seed!r}: must be a whole number >= 0.")
    if not isinstance(limit, Mapping) or set(limit) != set(SPLITS):
        raise ConfigError(f"limit={limit!r}: must have {', '.join(SPLITS)}, as in limit.train=200.")
    for split, n in limit.items():
        if n is not None and (not isinstance(n, int) or isinstance(n, bool) or n < 1):
            raise ConfigError(f"limit.{split}={n!r}: must be a whole number >= 1, or null for all.")
    for key in ("force", "dry_run"):
        if not isinstance(config[key], bool):
            raise ConfigError(f"{key}={config[key]!r}: must be true or false.")
    for key in ("out", "rows", "device"):
        if not isinstance(config[key], str) or not config[key]:
            raise ConfigError(f"{key}={config[key]!r}: must be text.")


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
