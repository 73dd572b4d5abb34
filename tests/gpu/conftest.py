"""The device of a test in this folder."""

from collections.abc import Iterator

import pytest

from tests.gpu.stand_in import Device, stand_in


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """The device's name for torch; a stand-in is there during the test only."""
    if request.param != "stand-in":
        yield request.param
        return
    with stand_in():
        yield "cuda"


@pytest.fixture
def gpu() -> Iterator[Device]:
    """The stand-in itself, for tests of what happens on it."""
    with stand_in() as device:
        yield device
