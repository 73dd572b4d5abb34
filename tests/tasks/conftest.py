"""Tasks as `configs/task/` describes them, over the sample that ships or a folder of real rows."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from iapt.data.source import Folder, Sample

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IAPT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def task_of() -> Callable[..., Any]:
    def make(name: str, *overrides: str) -> Any:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = compose(f"task/{name}", overrides=[f"task.{word}" for word in overrides])
        return instantiate(config.task)

    return make


@pytest.fixture(scope="session")
def source() -> Folder:
    """The folder named by IAPT_DATA, else the shipped sample."""
    return Folder(os.environ["IAPT_DATA"]) if os.environ.get("IAPT_DATA") else Sample()
