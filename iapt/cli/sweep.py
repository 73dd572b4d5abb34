"""`iapt-sweep`: a grid of runs over seeds 0-4, through Hydra's multirun and any of its launchers.

The sweep plans every cell before it runs the first.  It skips finished cells, so repeating the command
fills the gaps; a failed run does not stop the others and is listed at the end.
"""

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from iapt.cli.command import config_dirs
from iapt.cli.composing import check_keys, composed, grid_of, plain
from iapt.cli.hydra_command import HydraCommand, Line, made_folder, run_hydra
from iapt.cli.launchers import check_launcher, own_gpu
from iapt.cli.overrides import groups, prepare, quoted, split_argument
from iapt.errors import IaptError
from iapt.files import read_json, write_json

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from iapt.grid.cells import Cell

COMMAND = HydraCommand(
    "iapt-sweep",
    "run a grid of comma-separated values over seeds 0-4; repeat it to resume.",
    (
        "iapt-sweep task=boolq,sst2 method=iapt,lora",
        "iapt-sweep task=boolq method=all seed=0",
        "iapt-sweep task=boolq method=all dry_run=true   # list the cells, finished or left",
        "iapt-sweep task=boolq method=iapt launcher=slurm launcher.partition=gpu   # or joblib, ray",
    ),
)
SEEDS = "seed=0,1,2,3,4"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (1 if a run failed)."""
    return COMMAND.main(_sweep, arguments)


def _sweep(line: Line) -> None:
    folders, words = config_dirs(line.words)
    keys = {split_argument(w)[0] for w in words}
    known = groups(folders)
    expanded = [_expand(w, known) for w in words] + ([] if "seed" in keys else [SEEDS])
    prepared = prepare([*(f"--config-dir={folder}" for folder in folders), *expanded])
    grid = grid_of(prepared)
    check_launcher(grid)
    check_keys(prepared)
    if line.shows:  # of the first cell
        run_hydra(lambda _: None, [*line.shows, *(values[0] for values in grid.values())])
        return
    cells = _cells(grid)
    if cells[0].plan.config["dry_run"]:
        _show(cells)
        return
    cells[0].plan.check_folders()
    folder = _folder(prepared)
    run_hydra(_job, ["--multirun", *prepared, f"hydra.sweep.dir={quoted(str(folder))}"])
    # Every job leaves its status in the sweep's folder, whichever machine it ran on.
    states = [
        read_json(p) for p in sorted(folder.glob("*/status.json"), key=lambda p: int(p.parent.name))
    ]
    failed = [s for s in states if s["status"] == "failed"]
    print(f"\n{len(states)} runs: {len(states) - len(failed)} finished, {len(failed)} failed.")
    for state in failed:
        print(f"  failed: {state['run']}\n    {state['error']}")
    if failed:
        raise IaptError("some runs failed; repeat the command to run only those.")
    print(
        "Tables: iapt-table summary (all settings), iapt-table table1 (the paper's setting only)."
    )


def _cells(grid: dict[str, list[str]]) -> "list[Cell]":
    """Plan the cells of a grid; only the first if another sweeper than Hydra's own chooses them."""
    from iapt.grid.cells import plan_cells

    searched = "hydra/sweeper" in grid
    return plan_cells(
        {key: values[:1] if searched else values for key, values in grid.items()}, composed
    )


def _show(cells: "list[Cell]") -> None:
    """Print the cells of a dry run, finished or left."""
    from iapt.results.row import row_path

    left = 0
    for plan in (cell.plan for cell in cells):
        done = row_path(Path(plan.config["rows"]), plan.run_id).is_file()
        left += not done
        state = "finished" if done else "left"
        print(f"  {state:<10}{plan.run_id}   {plan.trainable:,} trained parameters")
    print(f"\n{len(cells)} runs: {len(cells) - left} finished, {left} left. Nothing was started.")


def _job(config: "DictConfig") -> None:
    """Run one cell of the grid; never raises, so that the other cells run too."""
    import traceback

    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    name = " ".join(hydra.overrides.task)
    print(f"\n=== run {folder.name}: {name}", flush=True)
    state = {"status": "finished", "run": name, "error": ""}
    try:
        if (
            hydra.runtime.choices["hydra/launcher"] == "joblib"
        ):  # others share the GPUs out themselves
            own_gpu()
        from iapt.run import run

        row = run(plain(config, hydra.runtime.choices))
        state["run"] = row.run_id if row else name
    except Exception as error:  # noqa: BLE001  # listed at the end; the traceback is in the run's failed.txt
        state |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        if not isinstance(error, IaptError):
            traceback.print_exc()
        else:
            print(f"error: {error}", file=sys.stderr)
    write_json(folder / "status.json", state)


def _expand(word: str, known: dict[str, list[str]]) -> str:
    key, value = split_argument(word)
    return f"{key}={','.join(known[key])}" if value == "all" and key in known else word


def _folder(prepared: Sequence[str]) -> Path:
    """Make a folder for this sweep alone, even if another starts in the same second."""
    given = dict(split_argument(p) for p in prepared)
    if given.get("hydra.sweep.dir"):
        return made_folder("hydra.sweep.dir", Path(str(given["hydra.sweep.dir"])))
    start = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    return made_folder(
        "out", Path(given.get("out") or "runs") / "sweeps" / f"{start}-{os.getpid()}"
    )


if __name__ == "__main__":
    sys.exit(main())
