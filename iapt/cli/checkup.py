"""The checks of `iapt-doctor`: each examines one part of this machine and changes nothing."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from iapt.cli.launchers import PLUGINS, needs
from iapt.configuration.catalog import entry, names
from iapt.errors import IaptError
from iapt.files import cache_root

if TYPE_CHECKING:
    from iapt.data.hub import Hub

LEAST_FREE_GIB = 5.0
EXTRAS = {"judge": "openai", "bench": "peft"}  # extra -> the module that it brings
State = Literal["good", "absent", "bad"]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        name: what was examined.
        state: "good", "absent" (and optional), or "bad": a run would fail.
        text: what was found.
        todo: what to do about it, or nothing.
    """

    name: str
    state: State
    text: str
    todo: str = ""


def checkup(config: Mapping[str, Any], network: bool = False) -> list[Finding]:
    """Look at everything that a run and a sweep need.

    Args:
        config: the resolved configuration of the run in question.
        network: also ask the hub for the backbone.
    """
    found = [_python(), *_torch(config), _threads(), *_backbone(config, network)]
    found += [*_data(config), *_folders(config), *_extras(), _wandb(), _slurm()]
    return found


def _python() -> Finding:
    return Finding("python", "good", f"{sys.version.split()[0]} ({sys.executable})")


def _torch(config: Mapping[str, Any]) -> Iterator[Finding]:
    import torch

    from iapt.backbone.device import device_named

    built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU"
    yield Finding("torch", "good", f"{torch.__version__}, built {built}")
    for i in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(i)
        bf16 = card.major >= 8  # in hardware; older cards only emulate it
        yield Finding(
            f"gpu {i}",
            "good",
            f"{card.name}, {card.total_memory / 2**30:.0f} GiB, bfloat16 {'yes' if bf16 else 'no'}",
            "" if bf16 else "backbone.dtype=float16 or float32",
        )
    if not torch.cuda.is_available():
        driver = shutil.which("nvidia-smi") is not None
        todo = "install a torch built for CUDA, see pytorch.org" if not torch.version.cuda else ""
        if driver and torch.version.cuda:
            todo = "torch's CUDA and the driver do not match: compare nvidia-smi with torch's build"
        yield Finding("gpu", "absent", "torch sees none", todo if driver else "")
    try:
        yield Finding("device", "good", f"{device_named(str(config['device']))}")
    except IaptError as error:
        yield Finding("device", "bad", str(error))


def _threads() -> Finding:
    import torch

    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    threads = torch.get_num_threads()
    text = f"{threads} for torch, {cores} cores for this process"
    if threads > cores:
        return Finding(
            "threads",
            "good",
            text,
            f"OMP_NUM_THREADS={cores} stops them from waiting for each other",
        )
    few = threads < cores and not torch.cuda.is_available()
    return Finding("threads", "good", text, f"OMP_NUM_THREADS={cores} uses all" if few else "")


def _backbone(config: Mapping[str, Any], network: bool) -> Iterator[Finding]:
    from iapt.backbone.config import BackboneConfig
    from iapt.backbone.device import device_named, memory_of
    from iapt.backbone.load import check_access, missing

    backbone = BackboneConfig.from_mapping(config["backbone"])
    lacking = missing(backbone)
    text = f"{backbone.name}, kind {backbone.kind}"
    if not lacking:
        yield Finding("backbone", "good", f"{text}: on this machine")
    elif backbone.kind == "hub":
        yield Finding("backbone", "absent", f"{text}: {lacking}", "the first run fetches it")
    elif lacking.startswith("not converted"):
        yield Finding(
            "backbone", "absent", f"{text}: {lacking}", "the first run does it (about 40 s)"
        )
    else:
        yield Finding("backbone", "bad", f"{text}: {lacking}")
    if network:
        try:
            check_access(backbone)
            yield Finding("hub", "good", f"{backbone.name} is accessible")
        except IaptError as error:
            yield Finding("hub", "bad", str(error))
    try:
        device = device_named(str(config["device"]))
    except IaptError:
        return
    size = backbone.bytes_of_weights(device) / 2**30
    if device.type == "cpu" and not hasattr(os, "sysconf"):
        return
    room = memory_of(device) / 2**30
    whose = "the GPU" if device.type == "cuda" else "this machine"
    text = f"the weights alone take {size:.1f} GiB of {whose}'s {room:.0f}"
    todo = "use a smaller backbone or a larger card" if size > room else ""
    yield Finding("memory", "bad" if size > room else "good", text, todo)


def _data(config: Mapping[str, Any]) -> Iterator[Finding]:
    from iapt.configuration.plugins import Plugins
    from iapt.data.hub import Hub, verify
    from iapt.entries import build_source, build_task
    from iapt.tasks.base import Fetching
    from iapt.tasks.row_task import RowTask

    hub, plugins = Hub(), Plugins.find(config.get("plugins"))
    try:
        task, source = build_task(config["task"], plugins), build_source(config["data"], plugins)
        hub = source if isinstance(source, Hub) else hub
        releases = task.releases() if isinstance(task, RowTask) else {}
        if isinstance(source, Fetching) and releases:
            for dataset, release in releases.items():
                folder = source.path / dataset if hasattr(source, "path") else None
                if not source.available(dataset):
                    todo = f"{_fetching(task.name, hub)}, or the first run does"
                    yield Finding("data", "absent", f"{dataset}: not fetched", todo)
                elif folder is not None and (faults := verify(folder, release)):
                    yield Finding(
                        "data", "bad", f"{folder}: {'; '.join(faults)}", "delete it and fetch again"
                    )
                else:
                    yield Finding("data", "good", f"{dataset}: present and intact")
        else:
            count = len(task.examples("train", source))
            yield Finding(
                "data", "good", f"{task.name} from {source.name}: {count:,} training examples"
            )
    except IaptError as error:
        yield Finding("data", "bad", str(error))
    yield _released(hub)


def _fetching(tasks: str, hub: "Hub") -> str:
    """Return the command that fetches the data of tasks to where a run looks for them."""
    place = "" if hub.path == type(hub)().path else f" out={hub.path}"
    return f"iapt-data fetch task={tasks}{place}"


def _released(hub: "Hub") -> Finding:
    """Say which of the released data sets are in the folder of data=hub."""
    from iapt.entries import build_row_task

    releases = {
        name for task in names("task") for name in build_row_task(entry("task", task)).releases()
    }
    there = sorted(name for name in releases if hub.available(name))
    text = f"{len(there)} of {len(releases)} released data sets in {hub.path}"
    if len(there) == len(releases):
        return Finding("hub data", "good", text, "iapt-data verify checks their content")
    return Finding("hub data", "absent", text, _fetching("all", hub))


def _folders(config: Mapping[str, Any]) -> Iterator[Finding]:
    places = {"out": Path(config["out"]), "rows": Path(config["rows"]), "cache": cache_root()}
    for name, place in places.items():
        there = next(p for p in (place, *place.absolute().parents) if os.path.lexists(p))
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            todo = (
                "choose another folder"
                if name != "cache"
                else "set IAPT_CACHE to a writable folder"
            )
            yield Finding(name, "bad", f"{place}: {there} cannot be written", todo)
            continue
        free = shutil.disk_usage(there).free / 2**30
        todo = "make room" if free < LEAST_FREE_GIB else ""
        yield Finding(name, "good", f"{place}: {free:,.0f} GiB free", todo)


def _extras() -> Iterator[Finding]:
    for launcher in PLUGINS:
        lacking = needs(launcher)
        text = f"launcher={launcher}"
        yield Finding("sweep", "absent" if lacking else "good", text, lacking)
    for extra, module in EXTRAS.items():
        there = find_spec(module) is not None
        todo = "" if there else f"pip install 'iapt[{extra}]'"
        yield Finding(f"iapt-{extra}", "good" if there else "absent", f"needs {module}", todo)


def _wandb() -> Finding:
    from iapt.training.loggers import account

    known = account()
    mode = os.environ.get("WANDB_MODE")
    text = f"{'an account' if known else 'no account'} on this machine{f', WANDB_MODE={mode}' if mode else ''}"
    return Finding("wandb", "good" if known else "absent", text, "" if known else "wandb login")


def _slurm() -> Finding:
    there = shutil.which("sbatch")
    if there:
        return Finding("slurm", "good", there)
    return Finding(
        "slurm", "absent", "no sbatch here, so launcher=slurm works only from a login node"
    )
