"""Configurations as a run would get them, composed from `configs/`."""

import copy
from functools import cache
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from iapt.cli.configuration import CONFIG_DIR


@cache
def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        config = compose("config", overrides=list(overrides))
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return {str(k): v for k, v in values.items()}


def composed(*overrides: str) -> dict[str, Any]:
    """The resolved configuration of `iapt-train <overrides>`; the caller's own copy."""
    return copy.deepcopy(_composed(overrides))
