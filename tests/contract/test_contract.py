"""The contract every method keeps: each YAML of configs/method, on three families.

A new method is under it as soon as its YAML exists. Where an invariant does not apply, the method
says so by an attribute (`neutral`, `instruction_aware`, `soft_tokens`) and the check holds it to it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from iapt.backbone.dims import FAMILIES
from iapt.cli.configuration import groups
from iapt.methods.base import Method
from iapt.plan import build_method
from tests.composed import composed
from tests.contract import decoding, forward, training
from tests.contract.subject import Subject

METHODS = groups()["method"]
CHECKS = (*forward.CHECKS, *decoding.CHECKS, *training.CHECKS)


@cache
def numbers(name: str) -> dict[str, Any]:
    """The method's entry, its defaults resolved as a run would."""
    entry: dict[str, Any] = composed(f"method={name}")["method"]
    return entry


def method_subject(name: str, family: str) -> Subject:
    def build(dims: Any) -> Method:
        return build_method(numbers(name), dims)

    return Subject(build, family)


def test_methods_are_found_in_the_folder():
    assert {"iapt", "iapt_8m", "lora"} <= set(METHODS)
    for name in METHODS:
        assert numbers(name)["name"] == name


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", METHODS)
def test_method(name: str, family: str, check: Callable[[Subject], None]):
    check(method_subject(name, family))
