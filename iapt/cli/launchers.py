"""How `iapt-sweep` starts its runs: the entries of `launcher=`, what they need, and which worker gets which GPU.

Every engine is a Hydra launcher plugin; the files in configs/launcher give each the fields that a user
sets.  Nothing heavy is imported at the top, because `--help` must answer at once.
"""

import os
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

from iapt.errors import ConfigError

# Entry -> Hydra's plugin, and the extra of this package that installs it.
PLUGINS = {
    "joblib": ("hydra_joblib_launcher", "joblib"),
    "ray": ("hydra_ray_launcher", "ray"),
    "slurm": ("hydra_submitit_launcher", "slurm"),
    "slurm_local": ("hydra_submitit_launcher", "slurm"),
}
_own: list[object] = []  # the lock of this worker's GPU, held until the process ends


def check_launcher(grid: Mapping[str, Sequence[str]]) -> None:
    """Refuse a launcher that cannot start anything, before Hydra composes it.

    Args:
        grid: a sweep's words by key, as `grid_of` returns them.

    Raises:
        ConfigError: several launchers, or one whose plugin is not installed.
    """
    words = grid.get("launcher", [])
    if len(words) > 1:
        raise ConfigError(
            f"launcher={','.join(w.split('=')[1] for w in words)}: a sweep takes one."
        )
    for word in words:
        lacking = needs(word.split("=")[1])
        if lacking:
            raise ConfigError(f"{word}: not installed; {lacking}.")


def refuse_launcher(words: Sequence[str]) -> None:
    """Refuse a launcher for a single run.

    Raises:
        ConfigError: naming the command that takes one.
    """
    for word in words:
        if word.partition("=")[0].split(".")[0] in ("launcher", "hydra/launcher"):
            raise ConfigError(
                f"{word}: only iapt-sweep takes a launcher; iapt-train starts its single run itself."
            )


def needs(entry: str) -> str:
    """Return what to do before a launcher can be used, or nothing."""
    plugin, extra = PLUGINS.get(entry, ("", ""))
    if not plugin or installed(plugin):
        return ""
    return f"pip install 'iapt[{extra}]'"


def installed(plugin: str) -> bool:
    """Say whether a Hydra plugin is installed."""
    try:
        return find_spec(f"hydra_plugins.{plugin}") is not None
    except ImportError:
        return False


def own_gpu(folder: Path | None = None) -> str | None:
    """Take a GPU that no other worker on this machine has, for as long as this process lives.

    The others become invisible to it, so it must not have used CUDA yet. With more workers than GPUs, it
    waits for one; a killed worker's GPU is free at once.

    Args:
        folder: the folder for the locks; default: this machine's folder for temporary files.

    Returns:
        The GPU's name as in CUDA_VISIBLE_DEVICES; None on a machine without GPUs.
    """
    if _own:
        return os.environ["CUDA_VISIBLE_DEVICES"]
    import torch
    from filelock import FileLock, Timeout

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = (
        [str(i) for i in range(torch.cuda.device_count())]
        if visible is None
        else visible.split(",")
    )
    # CUDA, too, ends the list at the first number that is no GPU's.
    names = list(takewhile(lambda name: not name.startswith("-"), filter(None, names)))
    place = folder or Path(tempfile.gettempdir())
    said = False
    while names:
        for name in names:
            safe = "".join(c if c.isalnum() else "-" for c in name)
            lock = FileLock(place / f"iapt-{os.getuid()}-{socket.gethostname()}-gpu-{safe}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            _own.append(lock)
            os.environ["CUDA_VISIBLE_DEVICES"] = name
            return name
        if not said:
            print(
                f"All {len(names)} GPUs are in use; waiting for one (launcher.workers={len(names)} is enough)."
            )
            said = True
        time.sleep(1)
    return None
