"""The device of a run: a CPU or a CUDA GPU."""

import torch

from iapt.errors import ConfigError, closest

DEVICES = ("auto", "cpu", "cuda")


def device_named(name: str) -> torch.device:
    """Return the device of a name; "auto" is a GPU if there is one.

    Raises:
        ConfigError: there is no such name, or no such device.
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
