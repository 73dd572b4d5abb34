"""From an entry of the configuration to a method, a task, a source of data or a logger.

Every function raises a `ConfigError` if the entry's `_target_` is not allowed, does not exist or is of
another kind, or does not take one of the entry's values; the message names them all.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from iapt.backbone.dims import Dims
from iapt.configuration.building import build
from iapt.configuration.plugins import Plugins
from iapt.errors import ConfigError
from iapt.methods.base import Method
from iapt.methods.outside import check_built
from iapt.tasks.base import Source, Task
from iapt.tasks.row_task import RowTask
from iapt.training.loggers import RunLogger

T = TypeVar("T")
# Arguments of methods and tasks that come from elsewhere than their entries.
GIVEN = ("dims", "modules")
# Keys of a method's entry that its class never gets.
APART = ("name", "tuned", "size")
NO_PLUGINS = Plugins()


class Once:
    """Makes each distinct thing once, so that the plans of a grid share what its cells have in common.

    Only for things that nobody changes: tasks, sources, loggers, methods without weights, and facts about them.
    """

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __call__(self, make: Callable[[], T], *key: object) -> T:
        """Return what `make` made when this key came first.

        Args:
            make: makes it; an error is raised again each time.
            key: all that the result depends on, as JSON values or values with a telling `str`.
        """
        text = json.dumps(key, sort_keys=True, default=str)
        if text not in self._made:
            self._made[text] = make()
        made: T = self._made[text]
        return made


def build_method(entry: Mapping[str, Any], dims: Dims, plugins: Plugins = NO_PLUGINS) -> Method:
    """Build a method for a backbone of these sizes; draws from torch's random state."""
    method: Method = build(entry, "method", Method, plugins, apart=APART, dims=dims)
    check_built(method)
    return method


def build_task(entry: Mapping[str, Any], plugins: Plugins = NO_PLUGINS) -> Task:
    """Build a task; its metric may also come from a plugin."""
    task: Task = build(entry, "task", Task, plugins, names=("name",), modules=plugins)
    return task


def build_row_task(entry: Mapping[str, Any], plugins: Plugins = NO_PLUGINS) -> RowTask:
    """Build a task whose data sets can be fetched and counted.

    Raises:
        ConfigError: as the others; also for a task without a data set.
    """
    task = build_task(entry, plugins)
    if not isinstance(task, RowTask):
        raise ConfigError(
            f"task._target_={entry['_target_']!r}: has no data set to fetch or count; derive it from "
            "iapt.tasks.row_task.RowTask."
        )
    return task


def build_source(entry: Mapping[str, Any], plugins: Plugins = NO_PLUGINS) -> Source:
    """Build a source of data."""
    source: Source = build(entry, "data", Source, plugins)
    return source


def build_logger(entry: Mapping[str, Any], plugins: Plugins = NO_PLUGINS) -> RunLogger:
    """Build a run's logger."""
    logger: RunLogger = build(entry, "logger", RunLogger, plugins)
    return logger
