"""`iapt-train`: one run, from a configuration to its result row."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from iapt.cli.command import config_dirs
from iapt.cli.composing import check_keys, experiment_grid, plain
from iapt.cli.hydra_command import HydraCommand, Line, made_folder, run_hydra
from iapt.cli.launchers import refuse_launcher
from iapt.cli.overrides import prepare, refuse_grid, split_argument
from iapt.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

COMMAND = HydraCommand(
    "iapt-train",
    "train one method on one task, decode the test split, write one result row.",
    (
        "iapt-train task=boolq method=iapt",
        "iapt-train task=sst2 method=lora hparams.max_steps=100 data=<folder>",
        "iapt-train task=boolq method=iapt experiment=paper   # LLaMA-2 7B, released data, Appendix F; needs a GPU",
        "iapt-train --config-dir <folder> plugins=my_methods method=my_method   # <folder>/method/my_method.yaml",
        "iapt-train task=<path>/my_task.yaml method=lora",
        "torchrun --nproc-per-node=4 --no-python iapt-train task=boolq method=iapt   # one run on four GPUs",
    ),
    shares=True,
)
KEPT = ("task", "method", "variant", "seed", "plugins")  # keys that the paper's setting leaves open


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return COMMAND.main(_train, arguments)


def _train(line: Line) -> None:
    refuse_grid(line.words)
    refuse_launcher(line.words)
    prepared = check_keys(prepare(line.words))
    if grid := experiment_grid(prepared):
        raise ConfigError(
            f"experiment={grid[1]}: a grid of runs; iapt-sweep runs them. For one of them, give "
            "experiment=paper with task=... method=... seed=..."
        )
    given = dict(map(split_argument, line.words))
    if given.get("hydra.run.dir"):
        made_folder("hydra.run.dir", Path(str(given["hydra.run.dir"])))
    failures: list[Exception] = []
    rows: list[object] = []

    def task(config: "DictConfig") -> None:
        from hydra.core.hydra_config import HydraConfig

        from iapt.run import run

        try:
            rows.append(run(plain(config, HydraConfig.get().runtime.choices)))
        except Exception as error:  # noqa: BLE001  # Hydra would print a line of its own above it
            failures.append(error)

    run_hydra(task, [*line.shows, *prepared])
    if failures:
        raise failures[0]
    if rows and rows[0]:
        print(_further(line.words))


def _further(words: Sequence[str]) -> str:
    """Return the commands that follow this run: its other seeds, and the paper's setting."""
    folders, keys = config_dirs(words)
    flags = [part for folder in folders for part in ("--config-dir", str(folder))]
    grid = [w for w in keys if split_argument(w)[0] not in ("seed", "force")]
    paper = [w for w in keys if split_argument(w)[0].split(".")[0] in KEPT]
    return (
        f"  This is one seed. All seeds: {shlex.join(['iapt-sweep', *flags, *grid])}\n"
        "  The paper's setting (LLaMA-2 7B, released data; needs a GPU): "
        f"{shlex.join(['iapt-train', *flags, *paper, 'experiment=paper'])}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
