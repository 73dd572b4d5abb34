"""A method that is built in Python without numbers is the one of its entry in configs/method/."""

import inspect

import pytest

from iapt.cli.overrides import groups
from iapt.configuration.building import resolve
from iapt.configuration.plugins import Plugins
from iapt.methods.base import Method
from tests.composed import composed

# The class is the paper's text taken literally, its entry what learns from it (DEVIATIONS.md, Findings).
DIFFERENT = {"iapt": {"generator_norm", "hide_from_first", "up_init"}}


@pytest.mark.parametrize("name", [n for n in groups()["method"] if n != "iapt_8m"])
def test_the_defaults_of_a_method_are_the_numbers_of_its_entry(name: str):
    numbers = composed(f"method={name}")["method"]
    parameters = inspect.signature(resolve(numbers["_target_"], name, Method, Plugins())).parameters
    other = {key for key in parameters.keys() & numbers if parameters[key].default != numbers[key]}
    assert other == DIFFERENT.get(name, set())
