"""Files made by tests stay out of the user's cache."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IAPT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
