"""Configurations as a run would get them, composed from `configs/`."""

import copy
from functools import cache
from typing import Any

import iapt.cli.composing


@cache
def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    return iapt.cli.composing.composed(overrides)


def composed(*overrides: str) -> dict[str, Any]:
    """The resolved configuration of `iapt-train <overrides>`; the caller's own copy."""
    return copy.deepcopy(_composed(overrides))
