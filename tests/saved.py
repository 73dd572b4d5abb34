"""Adapters written and read without a run, where a test is about a method's tensors alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iapt.methods.base import Method
from iapt.methods.saved import TENSORS, AdapterConfig, fit, read_config, read_finite
from iapt.methods.saved import save_adapter as save

CONFIG = AdapterConfig(method={}, backbone={}, backbone_fingerprint="f", revision="random")


def save_adapter(folder: Path, method: Method, more: Mapping[str, Any]) -> None:
    """Write a method's adapter; `more` replaces entries of a plain configuration."""
    save(folder, method, CONFIG.model_copy(update=dict(more)))


def load_adapter(folder: Path, method: Method, expected: Mapping[str, Any]) -> None:
    """Read it into a method that was built with the same numbers."""
    config = read_config(folder).model_dump()
    assert {key: config[key] for key in expected} == dict(expected)
    fit(method, read_finite(folder / TENSORS), folder)
