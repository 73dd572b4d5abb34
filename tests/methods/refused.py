"""A method's file with a number that it does not allow, where a run would be built."""

import re
from typing import Any

import pytest

from iapt.entries import build_method
from iapt.errors import ConfigError
from tests.composed import composed
from tests.tiny import tiny_dims


def assert_refused(name: str, message: str, **changes: Any) -> None:
    """The error names the method's field and value, and says what is allowed."""
    with pytest.raises(ConfigError, match=message) as caught:
        build_method(composed(f"method={name}")["method"] | changes, tiny_dims("llama"))
    assert re.match(r"method\.\w+=.*: ", str(caught.value))
