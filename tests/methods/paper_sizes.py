"""The paper's backbone as sizes alone, and a method's counts on it: no weights are made."""

from typing import Any

import torch
import yaml

from iapt.backbone.dims import Dims
from iapt.configuration.catalog import CONFIG_DIR
from iapt.entries import build_method
from iapt.methods.base import Method
from iapt.methods.counts import sizes
from iapt.methods.size_formula import SizeFormula


def llama2_7b() -> Dims:
    entry = yaml.safe_load((CONFIG_DIR / "backbone" / "llama2_7b.yaml").read_text())
    return Dims(**entry["dims"])


def preset(name: str, **changes: Any) -> Method:
    """A method of configs/method with the numbers of its file, on LLaMA-2 7B, on the meta device."""
    entry = yaml.safe_load((CONFIG_DIR / "method" / f"{name}.yaml").read_text())
    with torch.device("meta"):
        return build_method(entry | changes, llama2_7b())


def trained(method: Method) -> int:
    return sizes(method).trained


def served(method: Method) -> int:
    return sizes(method).stored


def active(method: Method) -> int:
    return sizes(method).active_at_decode


def counted(name: str, **changes: Any) -> int:
    """The size formula of a method's file on LLaMA-2 7B."""
    entry = yaml.safe_load((CONFIG_DIR / "method" / f"{name}.yaml").read_text()) | changes
    return SizeFormula(entry["size"], llama2_7b(), entry).value()
