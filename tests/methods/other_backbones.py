"""A preset on any backbone of configs/backbone, as sizes alone."""

from typing import Any

import torch
import yaml

from iapt.backbone.dims import Dims
from iapt.configuration.catalog import CONFIG_DIR
from iapt.entries import build_method
from iapt.methods.base import Method


def preset_on(backbone: str, name: str, **changes: Any) -> Method:
    """A method of configs/method with the numbers of its file, on the meta device."""
    sizes = yaml.safe_load((CONFIG_DIR / "backbone" / f"{backbone}.yaml").read_text())["dims"]
    entry = yaml.safe_load((CONFIG_DIR / "method" / f"{name}.yaml").read_text())
    with torch.device("meta"):
        return build_method(entry | changes, Dims(**sizes))


def trained_on(backbone: str, name: str, **changes: Any) -> int:
    return sum(p.numel() for p in preset_on(backbone, name, **changes).parameters())
