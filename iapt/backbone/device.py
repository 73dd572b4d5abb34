"""The device of a run: a CPU or a CUDA GPU."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from iapt.backbone import processes
from iapt.errors import ConfigError, closest

DEVICES = ("auto", "cpu", "cuda")
# For glibc's mallopt: free memory beyond TRIM bytes returns to the system, and so does every freed
# allocation of at least MMAP bytes.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
TRIM, MMAP = 2**31 - 4096, 32 * 2**20  # the largest values it accepts


def device_named(name: str) -> torch.device:
    """Return the device of this name; "auto" is a GPU if there is one.

    Raises:
        ConfigError: the name is unknown, or this process cannot have such a device.
    """
    if name not in DEVICES and not (name.startswith("cuda:") and name[5:].isdecimal()):
        raise ConfigError(
            f"device={name!r}: allowed are {', '.join(DEVICES)}, cuda:N.{closest(name, DEVICES)}"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"device={name}: torch {torch.__version__} sees no CUDA device; use device=cpu."
        )
    if processes.count() > 1 and name != "cpu":
        return _own_gpu(name)
    if name.startswith("cuda:") and int(name[5:]) >= (gpus := torch.cuda.device_count()):
        raise ConfigError(f"device={name}: the last of this machine's GPUs is cuda:{gpus - 1}.")
    return torch.device(name)


def bytes_of(module: nn.Module) -> int:
    """Return the bytes of a module's parameters."""
    return sum(p.numel() * p.element_size() for p in module.parameters())


def memory_of(device: torch.device) -> int:
    """Return the size of a GPU's memory, or of the machine's memory for the CPU, in bytes."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def cpu_says(field: str) -> str | None:
    """Return what Linux says in a field about the first CPU, such as its "model name"; None elsewhere."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(field):
                return line.partition(":")[2].strip()
    return None


def is_amd() -> bool:
    """Return whether the CPU is AMD's, as far as Linux says so."""
    return cpu_says("vendor_id") == "AuthenticAMD"


def keep_freed_memory() -> None:
    """Keep the memory of freed CPU tensors in the process, for later tensors.

    By default, glibc returns it to the system and requests it again in every step, page by page.
    """
    with suppress(OSError, AttributeError):  # not glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, MMAP)
        mallopt(M_TRIM_THRESHOLD, TRIM)


def return_freed_memory() -> None:
    """Return to the system what `keep_freed_memory` has kept so far."""
    with suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _own_gpu(name: str) -> torch.device:
    """Return the GPU of this process among those that torchrun started on this machine."""
    gpus = torch.cuda.device_count()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes.count()))
    if name != "cuda":
        raise ConfigError(
            f"device={name}: one GPU, but the run has {processes.count()} processes; device=cuda gives each its own."
        )
    if here > gpus:
        raise ConfigError(
            f"device={name}: {here} processes on a machine with {gpus} GPUs; use torchrun --nproc-per-node={gpus}."
        )
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)  # what NCCL and other libraries use by default
    return device
