"""The manifest of a grid: its cells by name and hash, written before the first one runs.

Paths in it are relative to its folder, so that the folder can be moved and read from anywhere.
"""

import os
import re
import socket
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from iapt import __version__
from iapt.configuration.checking import faults
from iapt.configuration.identity import VERSION
from iapt.errors import DataError
from iapt.files import read_json, write_text
from iapt.grid.cells import Cell
from iapt.plan import Plan
from iapt.results.row import FileName, Moment
from iapt.results.row_files import row_path

Read = TypeVar("Read", bound=BaseModel)
FILE, CELL = "manifest.json", "cell.json"


class Entry(BaseModel):
    """A cell in a manifest.

    Attributes:
        words: Hydra's overrides that compose the run's configuration.
        name: those overrides that differ between cells.
        run_id: the name of the run's folder and row.
        config_hash: the full hash of the configuration; `run_id` ends with its start.
        cell_hash: the hash of the configuration without its seed.
        folder: the run's folder.
        row: the file of its row.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    words: tuple[str, ...]
    name: str
    run_id: FileName
    config_hash: str
    cell_hash: str
    folder: str
    row: str

    def job(self) -> list[str]:
        """Return the words of the run itself, without those for Hydra, which belong to the sweep."""
        return [word for word in self.words if not re.match(r"\+*hydra[./]", word)]


class Manifest(BaseModel):
    """manifest.json in a sweep's folder.

    Attributes:
        schema_version: version of this file.
        identity_version: version of the hashes in it.
        iapt: version of the package.
        created: when the sweep began.
        command: the words of the command.
        host: the machine of the sweep's own process; its runs may be on others.
        pid: the id of that process.
        complete: whether `cells` has all cells; if not, a sweeper that chooses cells as it goes adds them.
        cells: the cells, in the order of the sweep.
        path: the folder that the manifest was read from.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: Literal[1] = 1
    identity_version: int
    iapt: str
    created: Moment
    command: tuple[str, ...]
    host: str
    pid: int
    complete: bool
    cells: tuple[Entry, ...]
    path: Path = Path()

    def folder(self, cell: Entry) -> Path:
        """Return the folder of a cell's run."""
        return self._at(cell.folder)

    def number(self, job: Sequence[str]) -> int:
        """Return the number, from 0, of the cell whose run has these words."""
        return next(k for k, cell in enumerate(self.cells) if cell.job() == list(job))

    def row_file(self, cell: Entry) -> Path:
        """Return the file of a cell's row."""
        return self._at(cell.row)

    def _at(self, relative: str) -> Path:
        """Return the path relative to the working folder if it lies inside it, otherwise the absolute path."""
        path = Path(os.path.normpath(os.path.realpath(self.path) + "/" + relative))
        here = Path.cwd()
        return path.relative_to(here) if path.is_relative_to(here) else path


def write_manifest(
    folder: Path, command: Sequence[str], cells: Sequence[Cell], *, complete: bool
) -> Manifest:
    """Write the manifest of a sweep that begins now.

    Raises:
        StorageError: it cannot be written.
    """
    manifest = Manifest(
        identity_version=VERSION,
        iapt=__version__,
        created=datetime.now(timezone.utc),
        command=tuple(command),
        host=socket.gethostname(),
        pid=os.getpid(),
        complete=complete,
        cells=tuple(entry_of(folder, c.words, c.name, c.plan) for c in cells if complete),
        path=folder,
    )
    text = manifest.model_dump_json(indent=1, exclude={"path"})
    write_text(folder / FILE, text + "\n")
    return manifest


def entry_of(folder: Path, words: Sequence[str], name: str, plan: Plan) -> Entry:
    """Return a plan's entry in the manifest of a folder."""
    run = Path(plan.config["out"]) / plan.run_id
    row = row_path(Path(plan.config["rows"]), plan.run_id)
    return Entry(
        words=tuple(words),
        name=name,
        run_id=plan.run_id,
        config_hash=plan.config_hash,
        cell_hash=plan.cell_hash,
        folder=_relative(run, folder),
        row=_relative(row, folder),
    )


def _relative(path: Path, folder: Path) -> str:
    """Return a path relative to a folder; links are resolved first, because ".." does not lead back through one."""
    return os.path.relpath(os.path.realpath(path), os.path.realpath(folder))


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest in a sweep's folder, with the cells that a sweeper added.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise DataError(f"{folder}: not the folder of a sweep (it has no {FILE}).")
    manifest = _read(path, Manifest, "a manifest").model_copy(update={"path": folder})
    if manifest.complete:
        return manifest
    added = sorted(folder.glob(f"*/{CELL}"), key=lambda p: (len(p.parent.name), p.parent.name))
    cells = tuple(_read(path, Entry, "a cell") for path in added)
    return manifest.model_copy(update={"cells": cells})


def _read(path: Path, model: type[Read], what: str) -> Read:
    try:
        return model.model_validate(read_json(path))
    except ValidationError as error:
        said = " ".join(faults(error, model=model)[:3])
        raise DataError(f"{path}: not {what} of this version: {said}") from error


def sweeps(out: Path) -> Iterator[Path]:
    """Yield the folders of all sweeps under an output folder that have a manifest, the newest first."""
    for path in sorted(out.glob(f"sweeps/*/{FILE}"), key=lambda p: p.parent.name, reverse=True):
        yield path.parent
