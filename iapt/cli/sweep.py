"""`iapt-sweep`: a grid of runs over seeds 0-4, through Hydra's multirun and any of its launchers.

The sweep plans every cell and writes its manifest before it runs the first.  It skips finished cells and
those on which another process works, so repeating the command fills the gaps, and two sweeps can share a
grid; a failed run does not stop the others and is listed at the end.
"""

import os
import signal
import socket
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iapt.cli import check
from iapt.cli.command import config_dirs
from iapt.cli.composing import Composer, check_keys, experiment_grid, grid_of, plain
from iapt.cli.hydra_command import HydraCommand, Line, made_folder, run_hydra
from iapt.cli.launchers import check_launcher, own_gpu
from iapt.cli.overrides import groups, prepare, quoted, split_argument
from iapt.errors import (
    BusyError,
    ConfigError,
    IaptError,
    IncompleteError,
    closest,
    printable,
    say,
)
from iapt.files import write_json
from iapt.interruption import Interrupted, interruptible

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from iapt.grid.cells import Cell
    from iapt.grid.manifest import Manifest
    from iapt.grid.states import CellState

COMMAND = HydraCommand(
    "iapt-sweep",
    "run a grid of comma-separated values over seeds 0-4; repeat it to resume.",
    (
        "iapt-sweep task=boolq,sst2 method=iapt,lora",
        "iapt-sweep task=boolq method=all seed=0",
        "iapt-sweep +experiment=table1 method=iapt,lora   # part of an experiment of the paper; needs a GPU",
        "iapt-sweep +experiment=table1 scale=small data=<folder>   # the same on a small model, on a CPU",
        "iapt-sweep task=boolq method=all dry_run=true   # the plan: cells done and left, time, memory, disk",
        "iapt-sweep task=boolq method=all dry_run=true estimate=measure   # with times from a few steps run now",
        "iapt-sweep task=boolq method=iapt launcher=slurm launcher.partition=gpu   # or joblib, ray",
        "iapt-sweep check                                # the state of the latest sweep; see check --help",
    ),
)
SEEDS = "seed=0,1,2,3,4"
SWEEPER = "hydra/sweeper"
ESTIMATES = ("estimate=auto", "estimate=measure")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    It is 0 if all runs are finished, 1 if some failed, 3 if none failed but some are not finished (killed,
    or running in another process), 2 for a wrong argument, and 128 + its number after a signal.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["check"]:
        return check.COMMAND.main(check.check, words[1:])
    return COMMAND.main(_sweep, words)


def _sweep(line: Line) -> None:
    from iapt.grid import renamed
    from iapt.grid.cells import plan_cells
    from iapt.grid.manifest import write_manifest
    from iapt.results.attempt import in_one_line

    folders, words = config_dirs(line.words)
    words, measures = _measures(words)
    known = groups(folders)
    expanded = [_expand(w, known) for w in words]
    prepared = prepare([*(f"--config-dir={folder}" for folder in folders), *expanded])
    grid = grid_of(prepared)
    check_launcher(grid)
    prepared = check_keys(prepared)
    cells_words = words_of_cells(prepared)
    if line.shows:  # of the first cell
        run_hydra(lambda _: None, [*line.shows, *cells_words[0]])
        return
    cells = plan_cells(cells_words, Composer())
    if warning := renamed.warning(cells):
        say("warning", warning)
    _show(cells, measures=measures)
    if cells[0].plan.config["dry_run"]:
        print("Nothing was started.")
        return
    cells[0].plan.check_folders()
    folder = _folder(prepared, Path(cells[0].plan.config["out"]))
    write_manifest(folder, line.words, cells, complete=SWEEPER not in grid)
    print(f"{len(cells)} runs in {folder}; `iapt-sweep check {folder}` shows their state.")
    try:
        run_hydra(_job, ["--multirun", *_jobs(prepared, folder)])
    except Exception as error:
        # A launcher raises its own error when one of its workers was killed.
        module = type(error).__module__.split(".")[0]
        if isinstance(error, IaptError) or module in ("hydra", "omegaconf"):
            raise
        say("warning", f"the launcher stopped: {in_one_line(error)}")
    except KeyboardInterrupt:
        _report(folder)
        raise
    _conclude(_report(folder))


def _report(folder: Path) -> "list[CellState]":
    """Print how the runs ended, whichever machine they ran on."""
    from iapt.grid.manifest import read_manifest
    from iapt.grid.states import counted, described, states_of

    states = states_of(read_manifest(folder))
    # A run that continues when a sweep ends belongs to another, so this sweep skipped it.
    lines = ["", counted(states, "skipped"), *described(states, "skipped")]
    print(printable("\n".join(lines)), flush=True)
    return states


def _conclude(states: "Sequence[CellState]") -> None:
    if any(s.now.state == "failed" for s in states):
        raise IaptError("some runs failed; repeat the command to run only those.")
    left = sum(s.now.state != "finished" for s in states)
    if left:
        raise IncompleteError(
            f"not finished: {left} of {len(states)} runs; repeat the command to run only those."
        )
    print(
        "Tables: iapt-table summary (all settings), iapt-table table1 (the paper's setting only)."
    )


def words_of_cells(prepared: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the words of every cell; of the first alone if a sweeper that the user names chooses them."""
    from iapt.grid.blocks import blocks_of, combinations

    given = grid_of(prepared)
    grid = experiment_grid(prepared)
    blocks = blocks_of(*grid) if grid else []
    if "seed" not in given and not any("seed" in block for block in blocks):
        given |= grid_of([SEEDS])
    found = combinations(given, blocks)
    return found[:1] if SWEEPER in given else found


def _jobs(prepared: Sequence[str], folder: Path) -> list[str]:
    """Return the words with which Hydra runs the cells of a folder's manifest."""
    words = [*prepared, f"hydra.sweep.dir={quoted(str(folder))}"]
    if any(split_argument(word)[0] == SWEEPER for word in prepared):
        return words
    return [*words, f"{SWEEPER}=iapt_list"]


def _measures(words: Sequence[str]) -> tuple[list[str], bool]:
    """Take `estimate=` out of the words, since it is about the plan; say whether it asks to measure."""
    given = [word for word in words if split_argument(word)[0] == "estimate"]
    for word in given:
        if word not in ESTIMATES or len(given) > 1:
            raise ConfigError(
                f"{' '.join(given)}: must be one of {', '.join(ESTIMATES)}.{closest(word, ESTIMATES)}"
            )
    return [word for word in words if word not in given], given == ["estimate=measure"]


def _show(cells: "Sequence[Cell]", *, measures: bool) -> None:
    """Print the plan of the grid."""
    from iapt.grid.measure import Measurements, check_measurable
    from iapt.grid.show import plan_text
    from iapt.results.row_files import read_rows, row_path
    from iapt.results.status import standing

    config = cells[0].plan.config
    out, rows = Path(config["out"]), Path(config["rows"])
    names = [cell.plan.run_id for cell in cells]
    states = [standing(out / name, row_path(rows, name)).state for name in names]
    measure = None
    if measures:
        check_measurable(cell.plan for cell in cells)
        measure = Measurements()
    known = read_rows(rows)[0] if rows.is_dir() else ()
    print(plan_text(cells, states, known, measure=measure), flush=True)


def _job(config: "DictConfig") -> None:
    """Run one cell of the grid; raises no error, so that the other cells run too."""
    import traceback

    from hydra.core.hydra_config import HydraConfig

    from iapt.grid.manifest import read_manifest
    from iapt.results.attempt import record_failure

    hydra = HydraConfig.get()
    values = plain(config, hydra.runtime.choices)
    manifest = read_manifest(Path(hydra.runtime.cwd) / hydra.sweep.dir)
    engine, number = hydra.runtime.choices["hydra/launcher"], hydra.job.num
    if manifest.complete:  # else another sweeper chooses the cells, and numbers them
        number = manifest.number(hydra.overrides.task)
    print(f"\n=== {_progress(manifest, number)}: {' '.join(hydra.overrides.task)}", flush=True)
    folder = None
    # submitit ignores SIGTERM and answers SIGUSR2 in the middle of a step, so that runs end without a checkpoint.
    queued = engine.startswith("submitit")
    try:
        with interruptible((signal.SIGTERM, signal.SIGUSR2) if queued else ()):
            if manifest.complete:
                folder = manifest.folder(manifest.cells[number])
            else:
                _add(Path(hydra.runtime.output_dir), hydra.overrides.task, values)
            if engine == "joblib" and values["device"] != "cpu":
                own_gpu()  # the other launchers share the GPUs out themselves
            from iapt.run import run

            run(values, wait=False, since=manifest.created)
    except BusyError as error:
        print(f"skipped: {error}", flush=True)
    except Interrupted as error:
        if (manifest.host, manifest.pid) == (socket.gethostname(), os.getpid()):
            raise  # this is the sweep's own process, and not a launcher's
        print("interrupted.", flush=True)
        if queued:
            if error.number == signal.SIGUSR2:  # which is submitit's again
                signal.raise_signal(error.number)  # queues the job again and ends
            # A result would say that there is nothing to queue again.
            raise SystemExit(error.exit_code) from error
    except Exception as error:  # noqa: BLE001  # listed at the end; failed.txt has the traceback
        if folder:
            record_failure(folder, error)
        if not isinstance(error, IaptError):
            traceback.print_exc()
        else:
            say("error", error)


def _add(folder: Path, words: Sequence[str], values: dict[str, Any]) -> None:
    """Add a cell that the sweeper chose to the manifest of its sweep."""
    from iapt.grid.manifest import CELL, entry_of
    from iapt.planning import make_plan

    entry = entry_of(folder.parent, words, " ".join(words), make_plan(values))
    write_json(folder / CELL, entry.model_dump())


def _progress(manifest: "Manifest", number: int) -> str:
    from iapt.grid.pace import progress_line

    if not manifest.complete:  # another sweeper chooses the cells
        return f"run {number}"
    rows = [manifest.row_file(cell) for cell in manifest.cells]
    return progress_line(number, rows, manifest.created.timestamp())


def _expand(word: str, known: dict[str, list[str]]) -> str:
    key, value = split_argument(word)
    return f"{key}={','.join(known[key])}" if value == "all" and key in known else word


def _folder(prepared: Sequence[str], out: Path) -> Path:
    """Make a folder for this sweep alone, even if another starts in the same second."""
    given = dict(split_argument(p) for p in prepared)
    if given.get("hydra.sweep.dir"):
        return made_folder("hydra.sweep.dir", Path(str(given["hydra.sweep.dir"])))
    start = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    return made_folder("out", out / "sweeps" / f"{start}-{os.getpid()}")


if __name__ == "__main__":
    sys.exit(main())
