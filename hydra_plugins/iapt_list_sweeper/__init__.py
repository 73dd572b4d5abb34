"""A Hydra sweeper over the list of cells that `iapt-sweep` has planned: `hydra/sweeper=iapt_list`.

Hydra's own sweeper multiplies values, so it can run neither the union of several products nor only the cells
that are left, and it composes every cell again to check it.  This file is here because Hydra finds plugins
only in the namespace package `hydra_plugins`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class ListSweeperConf:
    """The sweeper's configuration, which needs no fields of its own, because the manifest has everything."""

    _target_: str = "hydra_plugins.iapt_list_sweeper.ListSweeper"


ConfigStore.instance().store(
    group="hydra/sweeper", name="iapt_list", node=ListSweeperConf, provider="iapt"
)


class ListSweeper(Sweeper):
    """Hands the cells in the manifest of the sweep's folder to whichever launcher is chosen."""

    launcher: Launcher
    folder: Path
    engine: str

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Set up the launcher (Hydra calls this)."""
        self.folder = Path(config.hydra.sweep.dir)
        self.engine = config.hydra.runtime.choices["hydra/launcher"]
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run all cells, whose words already include `arguments`, the words of the command."""
        from iapt.cli.lost_workers import launch_all  # Hydra imports every plugin for every command
        from iapt.grid.manifest import Entry, read_manifest

        def launch(cells: Sequence[Entry]) -> Any:
            returned = self.launcher.launch([cell.job() for cell in cells], initial_job_idx=0)
            for job in returned:
                job.return_value  # noqa: B018  # raises what the job raised
            return returned

        return launch_all(self.engine, read_manifest(self.folder), launch)
