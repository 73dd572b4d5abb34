"""The states of a grid's cells, from its manifest and the files on disk, whichever launcher ran them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iapt.grid.manifest import Entry, Manifest
from iapt.results.attempt import TRACEBACK
from iapt.results.status import STATES, Standing, standing


@dataclass(frozen=True)
class CellState:
    """What is known about a cell.

    Attributes:
        cell: its entry in the manifest.
        now: its state.
        before: whether it was finished before the sweep began.
        traceback: the file with the traceback of its failure, if there is one.
    """

    cell: Entry
    now: Standing
    before: bool
    traceback: str = ""


def states_of(manifest: Manifest) -> list[CellState]:
    """Return the state of each cell, in the manifest's order."""
    return [_state_of(manifest, cell) for cell in manifest.cells]


def counted(states: Sequence[CellState], running: str = "running") -> str:
    """Return "8 runs: 5 finished (2 before), 1 failed, 2 planned.".

    Args:
        states: the cells.
        running: what to call cells that a process is working on.
    """
    numbers = Counter(s.now.state for s in states)
    before = sum(s.before for s in states)
    parts = []
    for state in STATES:
        if numbers[state]:
            word = running if state == "running" else state
            note = f" ({before} before)" if state == "finished" and before else ""
            parts.append(f"{numbers[state]} {word}{note}")
    runs = "1 run" if len(states) == 1 else f"{len(states)} runs"
    return f"{runs}: {', '.join(parts) or 'none chosen yet'}."


def described(states: Sequence[CellState], running: str = "running") -> list[str]:
    """Return lines about the cells that began and did not finish, each with the reason."""
    lines = []
    for s in states:
        if s.now.state in ("finished", "planned"):
            continue
        word = running if s.now.state == "running" else s.now.state
        lines.append(f"  {word}: {s.cell.run_id}" + (f"  ({s.cell.name})" if s.cell.name else ""))
        lines += [f"    {part}" for part in (s.now.reason, s.traceback) if part]
    return lines


def as_json(manifest: Manifest, states: Sequence[CellState]) -> dict[str, Any]:
    """Return the manifest and the states as JSON values, for scripts."""
    numbers = Counter(s.now.state for s in states)
    return {
        "sweep": str(manifest.path),
        "command": list(manifest.command),
        "created": manifest.created.isoformat(),
        "identity_version": manifest.identity_version,
        "complete": is_complete(states),
        "states": {state: numbers[state] for state in STATES},
        "cells": [
            {
                "run_id": s.cell.run_id,
                "words": list(s.cell.words),
                "config_hash": s.cell.config_hash,
                "cell_hash": s.cell.cell_hash,
                "state": s.now.state,
                "before": s.before,
                "reason": s.now.reason,
                "traceback": s.traceback or None,
                "folder": str(manifest.folder(s.cell)),
                "row": str(manifest.row_file(s.cell)),
            }
            for s in states
        ],
    }


def is_complete(states: Sequence[CellState]) -> bool:
    """Return whether every cell is finished; false without cells."""
    return bool(states) and all(s.now.state == "finished" for s in states)


def _state_of(manifest: Manifest, cell: Entry) -> CellState:
    folder = manifest.folder(cell)
    now = standing(folder, manifest.row_file(cell))
    row, file = now.row, folder / TRACEBACK
    return CellState(
        cell,
        now,
        before=now.state == "finished" and row is not None and row.created < manifest.created,
        traceback=str(file) if now.state == "failed" and file.is_file() else "",
    )
