"""From a configuration to a checked plan: finds every mistake before a model is loaded.

Below the commands, only this file and `run.py` see a whole configuration.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, TypeAdapter
from pydantic import dataclasses as checked_dataclasses

from iapt.backbone.config import BackboneConfig
from iapt.backbone.device import device_named
from iapt.backbone.dims import Dims
from iapt.backbone.quantized import check_library
from iapt.configuration import checking
from iapt.configuration.catalog import names, target_of
from iapt.configuration.checking import STRICT, Name, Text, checked, short
from iapt.configuration.identity import digest, distinctive, run_name, setting_of
from iapt.configuration.plugins import Plugins
from iapt.data.template import check_system_template
from iapt.entries import Once, build_logger, build_method, build_source, build_task
from iapt.errors import ConfigError, closest
from iapt.methods.base import Method, trained
from iapt.methods.outside import check_outside
from iapt.methods.searched import pending_search
from iapt.plan import OUTSIDE, Plan
from iapt.tasks.base import Fetching, Task
from iapt.tasks.evaluate_metric import module_of
from iapt.tasks.row_task import RowTask
from iapt.training.hparams import HParams

_ALL = Field(json_schema_extra={"allowed": "a whole number >= 1, or null for all"})
Limited = Annotated[checking.Count | None, _ALL]
Listed = Text | list[Text] | None
_PLUGINS: TypeAdapter[Listed] = TypeAdapter(Listed, config=STRICT)


@checked_dataclasses.dataclass(frozen=True, config=STRICT)
class Limit:
    """How many examples of each split to use at most; None for all."""

    train: Limited
    dev: Limited
    test: Limited


@checked_dataclasses.dataclass(frozen=True, config=STRICT)
class Settings:
    """The top level of a configuration; building `task`, `method`, `data` and `logger` checks those four.

    Attributes:
        plugins: further modules, besides `iapt`, that may contain a `_target_`: names, or paths of .py files.
    """

    task: dict[str, Any]
    backbone: BackboneConfig
    method: dict[str, Any]
    hparams: HParams
    data: dict[str, Any]
    logger: dict[str, Any]
    seed: Annotated[int, Field(ge=0, lt=2**32)]  # the range of every random generator
    limit: Limit
    device: Text
    out: Text
    rows: Text
    force: bool
    dry_run: bool
    variant: Name | Literal[""] = ""
    plugins: Listed = None


class _Faults:
    """Collects the messages of all checks, so that one attempt shows every mistake."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __enter__(self) -> "_Faults":
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if isinstance(error, ConfigError):
            self.lines += [line for line in str(error).splitlines() if line not in self.lines]
        return isinstance(error, ConfigError)

    def tell(self) -> None:
        if self.lines:
            raise ConfigError("\n".join(self.lines))


def make_plan(config: dict[str, Any], once: Once | None = None) -> Plan:
    """Check a resolved configuration and build everything that needs no weights.

    Args:
        config: a resolved configuration.
        once: shared by the plans of a grid, which then build each distinct entry once.

    Raises:
        ConfigError: naming every wrong field, its value and what is allowed.
    """
    if isinstance(config.get("method"), Mapping):  # the counting formula does not affect a run
        config = config | {"method": {k: v for k, v in config["method"].items() if k != "size"}}
    once, faults = once or Once(), _Faults()

    def key(group: str) -> tuple[object, ...]:
        return group, config.get(group), config.get("plugins")

    with faults:
        settings = checked(Settings, config)
    with faults:
        _check_tuned(config.get("method"))
    with faults:
        if isinstance(config.get("device", "auto"), str):  # otherwise `Settings` reports it
            device = device_named(config.get("device", "auto"))
    plugins = None
    with faults:
        listed = checked(_PLUGINS, config.get("plugins"), "plugins")
        plugins = Plugins.find(listed)
    if plugins is not None:
        with faults:
            task = once(partial(build_task, _entry(config, "task"), plugins), *key("task"))
        with faults:
            source = once(partial(build_source, _entry(config, "data"), plugins), *key("data"))
        with faults:
            logger = build_logger(_entry(config, "logger"), plugins)  # not shared: it has state
        with faults:
            sizes = _entry(config, "backbone").get("dims", {})
            dims = checked(Dims, sizes, "backbone.dims")
            bare = partial(_without_weights, _entry(config, "method"), dims, plugins)
            method = once(bare, *key("method"), dims)
            if plugins.hold(str(_entry(config, "method").get("_target_"))):
                once(partial(_check_own, config, dims, plugins), "own", *key("method"), dims)
    if config.get("variant") and any(line.startswith("method.") for line in faults.lines):
        faults.lines.append(
            f"variant={config['variant']}: sets values of the method that it belongs to; is it meant for "
            f"method={_entry(config, 'method').get('name')}?"
        )
    faults.tell()
    assert plugins is not None
    hparams, backbone = settings.hparams, settings.backbone
    with faults:
        check_system_template(backbone.template)
    with faults:
        check_library(backbone.quantization)
    for group in ("task", "method"):
        with faults:
            _refuse_taken(group, config[group])
    with faults:
        _check_parameters(method, hparams)
    with faults:
        _check_beams(hparams, task, backbone)
    positions = backbone.dims.max_positions - method.soft_tokens
    with faults:
        max_length = _room(hparams, task, backbone, positions)
    faults.tell()
    named = config["data"].get("path") is None
    rows = task.source(source) if isinstance(task, RowTask) else source  # perhaps the task's folder
    place = f"folder:{Path(rows.name).resolve().name}"
    data_name = source.name if named and rows is source else place
    cell = {
        "task": config["task"]["name"],
        "backbone": backbone.name,
        "method": config["method"]["name"],
        "hparams": hparams.name,
        "data": data_name,
        "seed": settings.seed,
        "variant": settings.variant,
    }
    identity = {k: v for k, v in config.items() if k not in (*OUTSIDE, "plugins")}
    if not named:
        identity["data"] = {"name": data_name}
    if not isinstance(source, Fetching) or config["task"].get("folder"):
        identity["data_fingerprint"] = once(  # released data is pinned by its task
            partial(task.fingerprint, source), "fingerprint", key("task"), key("data")
        )
    # A plugin's code determines what a run computes; the location of its file does not.
    targets = [config[group].get("_target_") for group in ("task", "method", "data")]
    targets.append(module_of(config["task"].get("metric")))
    used = once(partial(plugins.used_by, *targets), "code", config.get("plugins"), *targets)
    if used:
        identity["plugins"] = used
    same = distinctive(identity)
    config_hash = digest(same)
    outside = {k: v for k, v in config.items() if k in OUTSIDE}
    return Plan(
        config=outside | identity,
        cell=cell,
        run_id=run_name(cell, config_hash),
        config_hash=config_hash,
        cell_hash=digest({k: v for k, v in same.items() if k != "seed"}),
        setting_hash=digest(setting_of(same)),
        task=task,
        source=source,
        logger=logger,
        backbone=backbone,
        hparams=hparams,
        plugins=plugins,
        max_length=max_length,
        positions=positions,
        device=device,
        trainable=sum(p.numel() for p in trained(method).values()),
        passes=_passes(method, hparams),
    )


def _without_weights(entry: Mapping[str, Any], dims: Dims, plugins: Plugins) -> Method:
    with torch.device("meta"):
        return build_method(entry, dims, plugins)


def _check_own(config: Mapping[str, Any], dims: Dims, plugins: Plugins) -> None:
    """Check the user's own method where the tests of this package check its methods."""
    entry = config["method"]
    check_outside(partial(build_method, entry, dims, plugins), dims, str(entry.get("name")))


def _entry(config: Mapping[str, Any], group: str) -> Mapping[str, Any]:
    """Return an entry, and refuse a value that is not a mapping before it is built."""
    entry = config.get(group)
    if not isinstance(entry, Mapping):
        raise ConfigError(
            f"{group}={short(entry)}: must be a mapping, such as {group}=<entry> gives."
        )
    if group in ("task", "method"):
        checked(_Named, {"name": entry["name"]} if "name" in entry else {}, group)
    return entry


@checked_dataclasses.dataclass(frozen=True, config=STRICT)
class _Named:
    name: Name


@checked_dataclasses.dataclass(frozen=True, config=STRICT)
class _Tuned:
    """The rates of a method's entry, which `hparams=tuned` and `hparams=quick` use."""

    lr: checking.Positive
    arch_lr: checking.NonNegative
    lr_by_name: dict[str, checking.Positive]


def _check_tuned(method: object) -> None:
    """Check a method's own rates, even those that the preset does not use, since a misspelt one goes unnoticed."""
    if isinstance(method, Mapping) and "tuned" in method:
        checked(_Tuned, method["tuned"], "method.tuned")


def _refuse_taken(group: str, entry: Mapping[str, Any]) -> None:
    """Refuse a name of the package's for another class, whose rows would stand in tables as those of the package."""
    name, target = entry["name"], entry["_target_"]
    for taken in names(group):
        if taken.casefold() == name.casefold() and target != target_of(group, taken):
            raise ConfigError(
                f"{group}.name={name!r}: is the name of the {group} {taken} ({target_of(group, taken)}), and this "
                f"is {target!r}; give {group}.name another value, so that result rows can tell the two apart."
            )


def _check_parameters(method: Method, hparams: HParams) -> None:
    names = list(trained(method))
    if not names:
        raise ConfigError("method: has no parameters to train; make them in __init__(dims, ...).")
    parts = sorted({part for name in names for part in name.split(".") if not part.isdigit()})
    unknown = [key for key in hparams.lr_by_name if not any(key in name for name in names)]
    if unknown:
        raise ConfigError(
            "\n".join(
                f"hparams.lr_by_name.{key}: no parameter of {type(method).__name__} has this in its name; "
                f"the parts of their names are {', '.join(parts)}.{closest(key, parts)}"
                for key in unknown
            )
        )


def _passes(method: Method, hparams: HParams) -> float:
    search = pending_search(method)
    if search:  # each of its steps adds an Ω step and a Θ step
        return 1 + 2 * search.fraction
    return 1 + (1 / hparams.arch_every if method.arch_parameters() else 0)


def _check_beams(hparams: HParams, task: Task, backbone: BackboneConfig) -> None:
    key, beams = ("hparams", hparams.num_beams) if hparams.num_beams else ("task", task.num_beams)
    if beams > backbone.dims.vocab_size:
        raise ConfigError(
            f"{key}.num_beams={beams}: must be at most {backbone.dims.vocab_size}, the number of tokens "
            f"that {backbone.name} can begin an answer with."
        )


def _room(hparams: HParams, task: Task, backbone: BackboneConfig, positions: int) -> int:
    """Return the most tokens that an instruction and its answer may have, if the longest answer fits."""
    max_length = hparams.max_length_for(positions)
    if task.max_new_tokens >= max_length:
        raise ConfigError(
            f"task.max_new_tokens={task.max_new_tokens}: must be less than the {max_length} tokens that "
            f"hparams.max_length and {backbone.name} leave. Give a smaller one, such as "
            f"task.max_new_tokens={max_length // 4}."
        )
    return max_length
