"""From a configuration to a checked plan: every mistake found before a model is loaded.

This file and `run.py` are the only ones below the commands that see a configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, overload

import torch
from pydantic import Field, TypeAdapter
from pydantic import dataclasses as checked_dataclasses

from iapt.backbone.dims import Dims
from iapt.backbone.load import BackboneConfig
from iapt.configuration import building
from iapt.configuration.checking import STRICT, Count, Name, Text, checked, short
from iapt.configuration.identity import digest, run_name, setting_of
from iapt.configuration.plugins import Plugins
from iapt.data.source import limited
from iapt.data.template import check_system_template
from iapt.errors import ConfigError, DataError, StorageError, closest
from iapt.files import write_text
from iapt.methods.base import Method
from iapt.tasks.base import SPLITS, Example, Fetching, RowTask, Source, Split, Task
from iapt.tasks.evaluate_metric import module_of
from iapt.training.hparams import HParams
from iapt.training.loggers import RunLogger

DEVICES = ("auto", "cpu", "cuda")
# Settings that say where a run goes, not what it computes.
OUTSIDE = ("out", "rows", "force", "dry_run", "logger", "device")
KINDS: dict[str, type[Any]] = {"task": Task, "data": Source, "logger": RunLogger, "method": Method}
NO_PLUGINS = Plugins()

Limited = Annotated[
    Count | None,
    Field(json_schema_extra={"allowed": "a whole number >= 1, or null for all"}),
]
Listed = Text | list[Text] | None
_PLUGINS: TypeAdapter[Listed] = TypeAdapter(Listed, config=STRICT)


@checked_dataclasses.dataclass(frozen=True, config=STRICT)
class Limit:
    """At most this many examples of each split; None is all."""

    train: Limited
    dev: Limited
    test: Limited


@checked_dataclasses.dataclass(frozen=True, config=STRICT)
class Settings:
    """The top level of a configuration; `task`, `method`, `data` and `logger` are checked by what they build.

    Attributes:
        plugins: modules that a `_target_` may lie in beside `iapt`: names, or paths of .py files.
    """

    task: dict[str, Any]
    backbone: BackboneConfig
    method: dict[str, Any]
    hparams: HParams
    data: dict[str, Any]
    logger: dict[str, Any]
    seed: Annotated[int, Field(ge=0, lt=2**32)]  # what every generator takes
    limit: Limit
    device: Text
    out: Text
    rows: Text
    force: bool
    dry_run: bool
    variant: Name | Literal[""] = ""
    plugins: Listed = None


@dataclass(frozen=True)
class Plan:
    """Everything about a run that can be known without its weights."""

    config: dict[str, Any]
    cell: dict[str, Any]
    run_id: str
    config_hash: str
    cell_hash: str
    setting_hash: str
    task: Task
    source: Source
    logger: RunLogger
    backbone: BackboneConfig
    hparams: HParams
    plugins: Plugins
    max_length: int
    device: torch.device
    trainable: int

    def method(self) -> Method:
        """A freshly initialised method; draws from torch's random state."""
        return build_method(self.config["method"], self.backbone.dims, self.plugins)

    def examples(self) -> dict[Split, list[Example]]:
        """The three splits, limited as configured.

        Raises:
            DataError: the source lacks a split; the message says what is there.
        """
        return {
            split: limited(self.task.examples(split, self.source), self.config["limit"][split])
            for split in SPLITS
        }

    def sizes(self) -> dict[Split, int]:
        """How many examples each split has; of released data that is not here yet, how many it will have.

        Raises:
            DataError: as `examples`; also where nothing says how large a data set is before it is fetched.
        """
        task = self.task
        if (
            not isinstance(self.source, Fetching)
            or not isinstance(task, RowTask)
            or all(self.source.available(dataset) for dataset in task.releases())
        ):
            return {split: len(examples) for split, examples in self.examples().items()}
        released = task.released_sizes()
        for split in SPLITS:
            if split not in task.split_rule.splits() and split not in released:
                task.examples(split, self.source)  # says that there is none, before it fetches
            if split not in released:
                raise DataError(
                    f"task.sizes of {task.name} does not say how many rows make its {split} split. Add it, "
                    "or fetch the data first (iapt-data fetch)."
                )
        limit = self.config["limit"]
        return {split: min(released[split], limit[split] or released[split]) for split in SPLITS}

    def check_folders(self) -> None:
        """Make the folders that the run writes into, and write to them, before hours are spent.

        Raises:
            ConfigError: `out` or `rows` cannot be made or written.
        """
        for key in ("out", "rows"):
            probe = Path(self.config[key]) / f".{self.run_id}.probe"
            try:
                write_text(probe, "")
                probe.unlink()
            except (StorageError, OSError) as error:
                reason = error.__cause__ or error
                raise ConfigError(
                    f"{key}={self.config[key]}: the folder cannot be written ({reason})."
                ) from error


class _Faults:
    """Collects the messages of all checks, so that one try shows every mistake."""

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


def make_plan(config: dict[str, Any]) -> Plan:
    """Check a resolved configuration and build all that needs no weights.

    Raises:
        ConfigError: naming every field, its value, what is allowed.
    """
    if isinstance(config.get("method"), Mapping):  # a formula for counting is no part of what runs
        config = config | {"method": {k: v for k, v in config["method"].items() if k != "size"}}
    faults = _Faults()
    with faults:
        settings = checked(Settings, config)
    with faults:
        device = device_named(str(config.get("device", "auto")))
    plugins = None
    with faults:
        listed = checked(_PLUGINS, config.get("plugins"), "plugins")
        plugins = Plugins.find(listed)
    if plugins is not None:
        with faults:
            task = build(_entry(config, "task"), "task", plugins)
        with faults:
            source = build(_entry(config, "data"), "data", plugins)
        with faults:
            logger = build(_entry(config, "logger"), "logger", plugins)
        with faults, torch.device("meta"):
            dims = Dims.from_mapping(_entry(config, "backbone").get("dims", {}))
            method = build_method(_entry(config, "method"), dims, plugins)
    if config.get("variant") and any(line.startswith("method.") for line in faults.lines):
        faults.lines.append(
            f"variant={config['variant']}: changes values of the method that it belongs to; is it meant for "
            f"method={_entry(config, 'method').get('name')}?"
        )
    faults.tell()
    assert plugins is not None
    hparams, backbone = settings.hparams, settings.backbone
    with faults:
        check_system_template(backbone.template)
    with faults:
        _check_parameters(method, hparams)
    with faults:
        _check_beams(hparams, task, backbone)
    with faults:
        _check_room(method, hparams, task, backbone)
    faults.tell()
    named = config["data"].get("path") is None
    data_name = source.name if named else f"folder:{Path(source.name).resolve().name}"
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
    if not named:  # the same rows are the same data wherever the folder lies
        identity["data"] = {"name": data_name, "fingerprint": task.fingerprint(source)}
    # The code of a plugin is part of what a run computes; where the file lies is not.
    targets = [config[group].get("_target_") for group in ("task", "method", "data")]
    used = plugins.used_by(*targets, module_of(config["task"].get("metric")))
    if used:
        identity["plugins"] = used
    config_hash = digest(identity)
    outside = {k: v for k, v in config.items() if k in OUTSIDE}
    return Plan(
        config=outside | identity,
        cell=cell,
        run_id=run_name(cell, config_hash),
        config_hash=config_hash,
        cell_hash=digest({k: v for k, v in identity.items() if k != "seed"}),
        setting_hash=digest(setting_of(identity)),
        task=task,
        source=source,
        logger=logger,
        backbone=backbone,
        hparams=hparams,
        plugins=plugins,
        max_length=hparams.max_length_for(backbone.dims.max_positions - method.soft_tokens),
        device=device,
        trainable=sum(p.numel() for p in method.parameters()),
    )


def build_method(config: Mapping[str, Any], dims: Dims, plugins: Plugins = NO_PLUGINS) -> Method:
    """Build a method: `_target_` with the entry's own numbers, and the backbone's sizes."""
    values = {k: v for k, v in config.items() if k not in ("name", "tuned", "size")}
    method = building.build(values, "method", Method, plugins, dims=dims)
    assert isinstance(method, Method)
    return method


@overload
def build(
    config: Mapping[str, Any], group: Literal["task"], plugins: Plugins = NO_PLUGINS
) -> Task: ...
@overload
def build(
    config: Mapping[str, Any], group: Literal["data"], plugins: Plugins = NO_PLUGINS
) -> Source: ...
@overload
def build(
    config: Mapping[str, Any], group: Literal["logger"], plugins: Plugins = NO_PLUGINS
) -> RunLogger: ...
def build(config: Mapping[str, Any], group: str, plugins: Plugins = NO_PLUGINS) -> Any:
    """Build a task, a source of data or a logger from its entry of the configuration.

    Args:
        config: the entry, with its `_target_`.
        group: "task", "data" or "logger".
        plugins: modules that the target may lie in beside `iapt`.

    Raises:
        ConfigError: the target is not allowed, not there or of another kind, or does not take one of
            the values; all are named.
    """
    names = ("name",) if group == "task" else ()
    # A task's metric may be a module of the user's as well; other targets do not take `modules`.
    return building.build(config, group, KINDS[group], plugins, names=names, modules=plugins)


def build_row_task(config: Mapping[str, Any], plugins: Plugins = NO_PLUGINS) -> RowTask:
    """Build a task whose data sets can be fetched and counted.

    Raises:
        ConfigError: as `build`; also for a task that is not over rows of a data set.
    """
    task = build(config, "task", plugins)
    if not isinstance(task, RowTask):
        raise ConfigError(
            f"task._target_={config['_target_']!r}: has no data set to fetch or count; derive it from "
            "iapt.tasks.base.RowTask."
        )
    return task


def _entry(config: Mapping[str, Any], group: str) -> Mapping[str, Any]:
    """An entry as far as it is one; what else stands there is told by `Settings`."""
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


def _check_parameters(method: Method, hparams: HParams) -> None:
    names = [name for name, _ in method.named_parameters()]
    if not names:
        raise ConfigError("method: has no parameters to train; make them in __init__(dims, ...).")
    parts = sorted({part for name in names for part in name.split(".") if not part.isdigit()})
    unknown = [key for key in hparams.lr_by_name if not any(key in name for name in names)]
    if unknown:
        raise ConfigError(
            "\n".join(
                f"hparams.lr_by_name.{key}: no parameter of {type(method).__name__} has this in its name; "
                f"their names are made of {', '.join(parts)}.{closest(key, parts)}"
                for key in unknown
            )
        )


def _check_beams(hparams: HParams, task: Task, backbone: BackboneConfig) -> None:
    key, beams = ("hparams", hparams.num_beams) if hparams.num_beams else ("task", task.num_beams)
    if beams > backbone.dims.vocab_size:
        raise ConfigError(
            f"{key}.num_beams={beams}: must be at most {backbone.dims.vocab_size}, the tokens that "
            f"{backbone.name} can begin an answer with."
        )


def _check_room(method: Method, hparams: HParams, task: Task, backbone: BackboneConfig) -> None:
    max_length = hparams.max_length_for(backbone.dims.max_positions - method.soft_tokens)
    if task.max_new_tokens >= max_length:
        raise ConfigError(
            f"task.max_new_tokens={task.max_new_tokens}: must be less than the {max_length} tokens that "
            f"hparams.max_length and {backbone.name} leave. Give a smaller one, such as "
            f"task.max_new_tokens={max_length // 4}."
        )


def device_named(name: str) -> torch.device:
    """The device that a name means; "auto" is a GPU where there is one.

    Raises:
        ConfigError: no such name, or no such device.
    """
    if name not in DEVICES and not (name.startswith("cuda:") and name[5:].isdecimal()):
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
