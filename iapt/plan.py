"""A checked plan: everything that is known about a run before it loads weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from iapt.backbone.config import BackboneConfig
from iapt.configuration.plugins import Plugins
from iapt.data.source import limited
from iapt.entries import build_method
from iapt.errors import ConfigError, DataError, StorageError
from iapt.files import check_writable
from iapt.methods.base import Method
from iapt.tasks.base import SPLITS, Example, Fetching, Source, Split, Task
from iapt.tasks.row_task import RowTask
from iapt.training.hparams import HParams
from iapt.training.loggers import RunLogger

# Settings that say where a run goes, not what it computes.
OUTSIDE = ("out", "rows", "force", "dry_run", "logger", "device")


@dataclass(frozen=True)
class Plan:
    """What a run computes, and where it goes; `planning.make_plan` builds it.

    Attributes:
        max_length: the most tokens of an instruction with its response.
        positions: the most tokens that the backbone can read besides the method's soft tokens.
        trainable: the number of trained parameters.
        passes: backward passes per planned step: 1, or more with a search or Θ steps.
    """

    config: dict[str, Any]
    cell: dict[str, Any]
    run_id: str
    config_hash: str
    cell_hash: str
    setting_hash: str
    task: Task
    source: Source
    logger: RunLogger
    backbone: BackboneConfig
    hparams: HParams
    plugins: Plugins
    max_length: int
    positions: int
    device: torch.device
    trainable: int
    passes: float

    @property
    def own_method(self) -> bool:
        """Whether the method is the user's own, from one of the plugins."""
        return self.plugins.hold(self.config["method"]["_target_"])

    def method(self) -> Method:
        """Return a freshly initialised method, which draws from torch's random state."""
        return build_method(self.config["method"], self.backbone.dims, self.plugins)

    def examples(self) -> dict[Split, list[Example]]:
        """Return the three splits, limited as configured.

        Raises:
            DataError: the source lacks a split; the message lists those that it has.
        """
        return {
            split: limited(self.task.examples(split, self.source), self.config["limit"][split])
            for split in SPLITS
        }

    def place(self, example: Example) -> str:
        """Return the file and line of an example, or its id if its task has no rows."""
        if isinstance(self.task, RowTask):
            return self.task.place(example, self.source)
        return example.id

    def at_hand(self) -> bool:
        """Return whether the examples can be read without fetching anything."""
        source, task = self.source, self.task
        if not isinstance(source, Fetching) or not isinstance(task, RowTask):
            return True
        return all(source.available(dataset) for dataset in task.releases())

    def sizes(self) -> dict[Split, int]:
        """Return the number of examples in each split, even of released data that are yet to be fetched.

        Raises:
            DataError: as for `examples`; also if the data are yet to be fetched and the task states no sizes.
        """
        self.check_splits()
        if self.at_hand():
            return {split: len(examples) for split, examples in self.examples().items()}
        task = self.task
        assert isinstance(task, RowTask)
        released = task.released_sizes()
        for split in SPLITS:
            if split not in released:
                raise DataError(
                    f"task.sizes of {task.name} does not give the number of rows in its {split} split. Add it, "
                    "or fetch the data first (iapt-data fetch)."
                )
        limit = self.config["limit"]
        return {split: min(released[split], limit[split] or released[split]) for split in SPLITS}

    def check_splits(self) -> None:
        """Refuse a task without a split that a run needs, before anything is read or fetched.

        Raises:
            DataError: a split is missing; the message names it.
        """
        if isinstance(self.task, RowTask):
            for split in SPLITS:
                if split not in self.task.splits():
                    self.task.examples(split, self.source)  # raises, and says why

    def check_folders(self) -> None:
        """Make the run's folders and try to write to them, before hours of training.

        Raises:
            ConfigError: `out` or `rows` cannot be made or written.
        """
        for key in ("out", "rows"):
            try:
                check_writable(Path(self.config[key]))
            except StorageError as error:
                raise ConfigError(f"{key}={error}") from error
