"""Where a result comes from: versions, commit, memory, time."""

import gc
import os
import platform
import resource
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import iapt
from iapt.backbone import processes
from iapt.backbone.device import cpu_says, memory_of, return_freed_memory

LIBRARIES = (
    "torch",
    "transformers",
    "datasets",
    "tokenizers",
    "hydra-core",
    "rouge-score",
    "sqlglot",
)


def versions(*further: str) -> dict[str, str]:
    """Return the versions of iapt, Python and the libraries that can change a result, `further` ones too."""
    found = {"iapt": iapt.__version__, "python": sys.version.split()[0]}
    for name in (*LIBRARIES, *further):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found | {"torch": torch.__version__}  # with its build, as in +cpu or +cu130


def machine(device: torch.device) -> dict[str, Any]:
    """Return what a measurement ran on, and how busy it was."""
    found: dict[str, Any] = {
        "cpu": cpu_says("model name") or platform.processor() or platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory_of(torch.device("cpu")) / 2**30, 1),
        "load": round(os.getloadavg()[0], 2),
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


@cache
def git_state() -> dict[str, Any]:
    """Return the commit of this package's checkout and whether it is dirty; None for both outside one.

    The first call in a process counts: a commit made while it runs is not the code that it loaded.
    """
    here = Path(iapt.__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, timeout=20
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    # Neither where the package is installed, nor inside another project's checkout.
    with suppress(OSError, subprocess.TimeoutExpired):
        if git("ls-files", "--error-unmatch", "errors.py"):
            dirty = bool(git("status", "--porcelain", "--", "*.py", "*.yaml"))
            return {"commit": git("rev-parse", "HEAD"), "dirty": dirty}
    return {"commit": None, "dirty": None}


def reset_peak_memory(device: torch.device, *, alone: bool = False) -> None:
    """Start measuring peak memory: of a CUDA device, or of this process where Linux allows it.

    Args:
        device: the device.
        alone: leave out what the process keeps of earlier work. It is returned to the system, so what follows
            has to request memory again, and is slower at first.
    """
    gc.collect()
    if alone:
        return_freed_memory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): sets the high-water mark to now


def peak_memory_mib(device: torch.device) -> float:
    """Return peak memory in MiB: allocated on the CUDA device, or this process's resident set on a CPU.

    On a CPU the peak counts from `reset_peak_memory` on Linux, and from the start of the process elsewhere.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(n for n in lines if n.startswith("VmHWM:")).split()[1]) / 2**10  # kB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def device_name(device: torch.device) -> str:
    """Return a device's name as rows have it: the card's, or "cpu (2 threads)"."""
    several = f"{processes.count()} x " if processes.count() > 1 else ""
    if device.type == "cuda":
        return several + torch.cuda.get_device_name(device)
    return f"{several}cpu ({torch.get_num_threads()} threads)"


def utc_now() -> str:
    """Return the time, formatted as 2026-01-31T09:00:00Z."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
