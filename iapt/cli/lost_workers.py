"""When a launcher loses a worker: the other cells of the grid still finish.

Left to themselves, joblib ends every worker with the one that was killed, and submitit and Ray raise at the first
lost run, while the others are still queued or at work.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any

from iapt.errors import say
from iapt.interruption import Interrupted

if TYPE_CHECKING:
    from iapt.grid.manifest import Entry, Manifest
    from iapt.results.status import State

DYING = 10.0  # seconds, at most, until a killed process has released its lock
ENDING = 60.0  # seconds, at most, for a step and a checkpoint of a run that is asked to end
Launch = Callable[["Sequence[Entry]"], Any]


def launch_all(engine: str, manifest: "Manifest", launch: Launch) -> Any:
    """Run all cells of a manifest.

    After joblib has lost a worker, the cells that have not started run in new workers.  Then those that ended with
    it run again, one at a time, so that a cell which always dies takes no other with it.

    Args:
        engine: Hydra's name of the launcher.
        manifest: the cells.
        launch: lets the launcher run some cells; raises if it loses a worker.

    Returns:
        What `launch` returned for the cells of its last call.
    """
    if engine != "joblib":
        with _ENGINES.get(engine.partition("_")[0], nullcontext)():
            return launch(manifest.cells)
    with _joblib(manifest):
        return _launch_on_joblib(manifest, launch)


def _launch_on_joblib(manifest: "Manifest", launch: Launch) -> Any:
    left, again, returned = list(manifest.cells), list["Entry"](), None
    while left:
        try:
            returned = launch(left)
            break
        except Exception as error:
            states = _settled(manifest, left)
            lost = [cell for cell, state in zip(left, states, strict=True) if state == "killed"]
            if not lost:
                raise
            again += lost
            left = [cell for cell, state in zip(left, states, strict=True) if state == "planned"]
            say(
                "warning",
                f"{_name(error)}: runs that ended with it: {len(lost)}; they are repeated one at a time at the end.",
            )
    for cell in again:
        try:
            returned = launch([cell])
        except Exception as error:
            if _settled(manifest, [cell]) != ["killed"]:
                raise
            say("warning", f"{_name(error)}: {cell.run_id} was killed again.")
    return returned


def _settled(manifest: "Manifest", cells: "Sequence[Entry]") -> "list[State]":
    """Return the states once the workers that joblib kills are dead; runs that continue belong to another sweep."""
    from iapt.results.status import standing

    until = time.monotonic() + DYING
    while True:
        states = [standing(manifest.folder(c), manifest.row_file(c)).state for c in cells]
        if "running" not in states or time.monotonic() > until:
            return states
        time.sleep(0.2)


def _name(error: Exception) -> str:
    return f"a worker was killed ({type(error).__name__})"


@contextmanager
def _joblib(manifest: "Manifest") -> Iterator[None]:
    """Let the workers write their checkpoints when the sweep is told to end, before joblib kills them."""
    backend: Any = import_module("joblib._parallel_backends").LokyBackend
    original = backend.abort_everything

    def in_good_order(self: Any, *arguments: Any, **named: Any) -> None:
        try:
            error = sys.exc_info()[1]
            if isinstance(error, Interrupted):
                _end_runs(manifest, error.number)
        finally:  # a second signal does not wait
            original(self, *arguments, **named)

    backend.abort_everything = in_good_order
    try:
        yield
    finally:
        backend.abort_everything = original


def _end_runs(manifest: "Manifest", number: int) -> None:
    """Ask the runs of this process's workers to end; a worker whose run has ended stops and begins no other."""
    from iapt.results.status import standing

    workers = {child.pid for child in multiprocessing.active_children()}
    left = dict[int, "Entry"]()
    for cell in manifest.cells:
        status = standing(manifest.folder(cell), manifest.row_file(cell)).status
        if status and status.state == "running" and status.pid in workers:
            if number != signal.SIGINT:  # a terminal sends that to the workers too
                os.kill(status.pid, signal.SIGTERM)
            left[status.pid] = cell
    until = time.monotonic() + ENDING
    while left and time.monotonic() < until:
        for pid, cell in list(left.items()):
            if standing(manifest.folder(cell), manifest.row_file(cell)).state != "running":
                os.kill(pid, signal.SIGSTOP)
                del left[pid]
        time.sleep(0.05)


@contextmanager
def _submitit() -> Iterator[None]:
    """Let submitit wait for every job before it says that the first one is lost."""
    submitit: Any = import_module("submitit")
    original = submitit.AutoExecutor

    class Patient(original):  # type: ignore[misc, valid-type]
        def map_array(self, *arguments: Any) -> Any:
            jobs = super().map_array(*arguments)
            for job in jobs:
                job.wait()
            return jobs

    submitit.AutoExecutor = Patient
    try:
        yield
    finally:
        submitit.AutoExecutor = original


@contextmanager
def _ray() -> Iterator[None]:
    """Let Ray finish every run before it says that one is lost."""
    core: Any = import_module("hydra_plugins.hydra_ray_launcher._core")
    original, runs = core.launch_job_on_ray, list[Any]()

    def recorded(*arguments: Any) -> Any:
        runs.append(original(*arguments))
        return runs[-1]

    core.launch_job_on_ray = recorded
    try:
        yield
    except Exception:
        import_module("ray").wait(runs, num_returns=len(runs))
        raise
    finally:
        core.launch_job_on_ray = original


_ENGINES = {"submitit": _submitit, "ray": _ray}
