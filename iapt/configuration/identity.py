"""A run's name, and the hashes that say whether two runs are the same, in one cell, or comparable."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from iapt.configuration.checking import short
from iapt.errors import ConfigError

# Settings added after the first rows, with the value at which they change nothing.  At that value they are not
# part of the identity, so a run keeps its name, and a sweep does not run finished cells again.
NEUTRAL = {
    ("method", "first_block"): 0,
    ("method", "extension_base_text"): None,
    ("hparams", "on_long"): "error",
    ("backbone", "quantization"): None,
}
# Manifests record it.  Raise it when the code is changed to give the same words another hash on purpose.
VERSION = 1
LONGEST_NAME = 200  # bytes; file systems allow 255, and temporary files have longer names


def run_name(cell: Mapping[str, Any], config_hash: str) -> str:
    """Return the name of a run's folder and row.

    Raises:
        ConfigError: a part of the name is not allowed in a file name, or the name is too long.
    """
    variant = f"--{cell['variant']}" if cell["variant"] else ""
    data = str(cell["data"])
    run_id = "--".join(
        (
            cell["task"],
            cell["backbone"],
            cell["method"] + variant,
            cell["hparams"],
            data.replace(":", "_"),
            f"seed{cell['seed']}",
            config_hash[:8],
        )
    )
    if not data.isprintable() or "/" in data or "\\" in data:
        raise ConfigError(
            f"data.path: the folder's name, {short(data)}, is part of the run's; rename it."
        )
    if len(run_id.encode()) > LONGEST_NAME:
        raise ConfigError(
            f"run {short(run_id)}: its name has {len(run_id.encode())} bytes, at most {LONGEST_NAME} are allowed; give "
            "shorter names to task, backbone, method, hparams or the data folder."
        )
    return run_id


def distinctive(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of an identity that makes a run what it is, for hashing.

    Left out are the folders of its data, because the same rows are the same data anywhere, and what `NEUTRAL` lists.
    """
    left_out = {("task", "folder"), ("data", "root")}

    def kept(group: str, key: str, value: Any) -> bool:
        return (group, key) not in left_out and NEUTRAL.get((group, key), NEUTRAL) != value

    return {
        group: {k: v for k, v in entry.items() if kept(group, k, v)}
        if isinstance(entry, Mapping)
        else entry
        for group, entry in identity.items()
    }


def setting_of(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must agree for methods to be comparable: all but seed, task, method and its tuned rates."""
    own = ("seed", "task", "data_fingerprint", "method", "variant", "plugins")
    kept = {k: v for k, v in identity.items() if k not in own}
    rates = ("lr", "lr_by_name", "arch_lr", "arch_every")
    return kept | {"hparams": {k: v for k, v in kept["hparams"].items() if k not in rates}}


def digest(value: Any) -> str:
    """Hash a JSON value to 16 hex digits; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
